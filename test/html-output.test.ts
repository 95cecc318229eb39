/**
 * The HTML report as a browser has it: Debian's Chromium, headless, over the DevTools protocol. No error, sorting and
 * filtering work, and a name that is markup stays text.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderHtml } from "../src/report/html/html.js";
import type { FindingRow, Report } from "../src/report/report.js";
import { outputsOf, POLICY } from "./outputs.js";

const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
  .find((name) => spawnSync(name, ["--version"], { encoding: "utf8" }).status === 0);
if (CHROMIUM === undefined && process.env.TWINPLANE_REQUIRE_KERNEL === "1") throw new Error("Chromium is not installed");

const HOSTILE = "<img src=x onerror=alert(1)>";
const stories = ["clusterip-tcp", "nodeport-cluster", "hairpin", "no-endpoints", "dns-udp", "icmp-errors"];

/** A page in Chromium: commands over a pipe, messages end with a zero byte. */
class Browser {
  readonly errors: string[] = [];
  private readonly waiting = new Map<number, (result: Record<string, unknown>) => void>();
  private readonly events: { method: string; taken: () => void }[] = [];
  private session = "";
  private next = 1;
  private rest = "";

  private constructor(private readonly child: ChildProcess) {
    child.stdio[4]!.on("data", (chunk: Buffer) => this.receive(chunk.toString("utf8")));
  }

  static async open(url: string, width: number): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "twinplane-chromium-"));
    const child = spawn(CHROMIUM!, ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
      `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    child.on("exit", () => rmSync(profile, { recursive: true, force: true }));
    const browser = new Browser(child);
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    browser.session = String((await browser.send("Target.attachToTarget", { targetId, flatten: true })).sessionId);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await browser.send(`${domain}.enable`);
    await browser.send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 });
    const loaded = new Promise<void>((taken) => browser.events.push({ method: "Page.loadEventFired", taken }));
    await browser.send("Page.navigate", { url });
    await loaded;
    return browser;
  }

  send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.next++;
    const session = this.session === "" ? {} : { sessionId: this.session };
    const pipe = this.child.stdio[3] as NodeJS.WritableStream;
    pipe.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }

  /** The value of an expression in the page. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true }) as
      { result: { value: T }; exceptionDetails?: { text: string } };
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  }

  close(): void {
    this.child.kill();
  }

  private receive(text: string): void {
    const parts = (this.rest + text).split("\0");
    this.rest = parts.pop() ?? "";
    for (const part of parts) this.message(JSON.parse(part) as { id?: number; method?: string; params?: unknown; result?: Record<string, unknown> });
  }

  private message({ id, method = "", params, result }: { id?: number; method?: string; params?: unknown; result?: Record<string, unknown> }): void {
    if (id !== undefined) this.waiting.get(id)?.(result ?? {});
    const event = this.events.findIndex((one) => one.method === method);
    if (event >= 0) this.events.splice(event, 1)[0].taken();
    const said = JSON.stringify(params ?? {});
    if (method === "Runtime.exceptionThrown" || method === "Page.javascriptDialogOpening") this.errors.push(`${method} ${said}`);
    if (method === "Runtime.consoleAPICalled" || method === "Log.entryAdded") this.errors.push(`${method} ${said}`);
    if (method === "Network.requestWillBeSent" && !said.includes('"url":"file:')) this.errors.push(`${method} ${said}`);
  }
}

const COLUMNS = { change: 0, id: 1, source: 2, flows: 5, packets: 6 } as const;
const cells = (column: number): string => `[...document.querySelectorAll("#changes-table tr.row")].map((row) => row.cells[${column}].textContent)`;
const click = (key: string): string => `document.querySelector("th[data-key=${key}] button").click()`;
const type = (id: string, value: string): string =>
  `(() => { const one = document.getElementById(${JSON.stringify(id)}); one.value = ${JSON.stringify(value)};`
  + " one.dispatchEvent(new Event(\"input\", { bubbles: true })); })()";

describe("the file", () => {
  it("lets nothing in but its own style and script, and its data cannot end their element", async () => {
    const html = await page();
    expect(html).toMatch(/Content-Security-Policy" content="default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; base-uri/);
    expect(html.match(/<script/g)).toHaveLength(2);
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).not.toMatch(/https?:\/\/(?!\S*github)/i);
    expect(html).not.toContain("<img");
    expect(html).toContain("\\u003cimg src=x onerror=alert(1)\\u003e");
  });
});

const where = CHROMIUM === undefined ? "Chromium is not installed: the page is not opened" : "in Chromium";
describe.skipIf(CHROMIUM === undefined)(where, () => {
  let folder = "";
  let browser: Browser;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "twinplane-html-"));
    writeFileSync(join(folder, "report.html"), await page());
    browser = await Browser.open(`file://${join(folder, "report.html")}`, 1280);
  }, 120_000);
  afterAll(() => {
    browser.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("opens without an error, an alert, a request", async () => {
    expect(await browser.value("document.querySelectorAll('main section').length")).toBeGreaterThanOrEqual(4);
    expect(await browser.value("document.querySelectorAll('img').length")).toBe(0);
    expect(await browser.value("document.body.textContent.includes('<img src=x onerror=alert(1)>')")).toBe(true);
    expect(browser.errors).toEqual([]);
  });

  it("first says the verdict, how much was judged, and the three worst changes", async () => {
    const text = await browser.value<string>("document.querySelector('header').textContent");
    expect(text).toMatch(/kube-proxy → cilium@1\.20/);
    expect(text).toMatch(/flows would behave differently.*exit code 1: \d+ differences/);
    expect(await browser.value("document.querySelectorAll('ol.worst li').length")).toBe(3);
    expect(await browser.value("document.querySelector('ol.worst li strong').textContent")).toBe("Newly dropped or refused");
    expect(await browser.value("document.querySelector('ol.worst').getBoundingClientRect().bottom < innerHeight")).toBe(true);
  });

  it("sorts by any column, both ways, and back and forth again", async () => {
    const plain = await browser.value<string[]>(cells(COLUMNS.source));
    await browser.value(click("packets"));
    const down = await browser.value<string[]>(cells(COLUMNS.packets));
    const numbers = down.map((one) => Number(one.replaceAll(",", "")));
    expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
    expect(new Set(numbers).size).toBeGreaterThan(1);
    expect(await browser.value("document.querySelector('th[data-key=packets]').getAttribute('aria-sort')")).toBe("descending");
    await browser.value(click("packets"));
    expect(await browser.value<string[]>(cells(COLUMNS.packets))).toEqual([...down].sort((a, b) => Number(a) - Number(b)));
    await browser.value(click("source"));
    const names = await browser.value<string[]>(cells(COLUMNS.source));
    expect(names).toEqual([...plain].sort());
    expect(names).not.toEqual(plain);
  });

  it("filters by words and by choice, and says how many are left", async () => {
    const all = await browser.value<string[]>(cells(COLUMNS.id));
    await browser.value(type("filter-id", "POL-NOENGINE"));
    const chosen = await browser.value<string[]>(cells(COLUMNS.id));
    expect(chosen).toEqual(all.filter((one) => one === "POL-NOENGINE"));
    expect(chosen.length).toBeGreaterThan(0);
    expect(chosen.length).toBeLessThan(all.length);
    expect(await browser.value("document.querySelector('#changes-table caption').textContent")).toBe(`${chosen.length} of ${all.length} changes`);
    await browser.value(type("filter-id", ""));
    await browser.value(type("filter-text", "ONERROR"));
    expect(await browser.value<string[]>(cells(COLUMNS.source))).toEqual([expect.stringContaining(HOSTILE)]);
    await browser.value(type("filter-text", "no such word"));
    expect(await browser.value<string[]>(cells(COLUMNS.source))).toEqual([]);
    await browser.value(type("filter-text", ""));
    expect(await browser.value<string[]>(cells(COLUMNS.id))).toHaveLength(all.length);
  });

  it("a change opens by the keyboard to its page: because, example packet, what each side does, what to do", async () => {
    await browser.value(type("filter-id", "POL-NOENGINE"));
    await browser.value("document.querySelector('#changes-table tr.row td button').focus()");
    for (const kind of ["rawKeyDown", "char", "keyUp"]) {
      await browser.send("Input.dispatchKeyEvent", { type: kind, key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: kind === "char" ? "\r" : "" });
    }
    const opened = "[...document.querySelectorAll('#changes-table tr.page')].filter((one) => !one.hidden)";
    expect(await browser.value(`${opened}.length`)).toBe(1);
    const text = await browser.value<string>(`${opened}[0].textContent`);
    for (const part of ["Because", "Example packet", "Today", "Cilium", "What to do", "How it is known"]) expect(text).toContain(part);
    expect(await browser.value("document.querySelector('#changes-table tr.row td button').getAttribute('aria-expanded')")).toBe("true");
    expect(browser.errors).toEqual([]);
  });

  it("nothing is wider than a phone's screen", async () => {
    const phone = await Browser.open(`file://${join(folder, "report.html")}`, 390);
    try {
      expect(await phone.value("document.documentElement.scrollWidth")).toBeLessThanOrEqual(390);
      expect(phone.errors).toEqual([]);
    } finally {
      phone.close();
    }
  }, 60_000);
});

let made: Promise<string> | null = null;

/** The report of recordings, with a row whose names are markup. */
function page(): Promise<string> {
  made ??= (async () => {
    const run = await outputsOf({ stories, formats: ["json"], manifests: POLICY });
    const report = JSON.parse(run.text("json")) as Report;
    const [first] = report.findings;
    const hostile: FindingRow = { ...first, source: `default/${HOSTILE}`, title: "</script><script>alert(1)</script>", packets: 1, flows: 1,
      becauses: [{ where: null, object: `default/${HOSTILE}`, rule: "\"'><svg onload=alert(1)>" }] };
    return renderHtml({ ...report, findings: [...report.findings, hostile],
      untouched: { ...report.untouched, services: [`default/${HOSTILE}`] } });
  })();
  return made;
}
