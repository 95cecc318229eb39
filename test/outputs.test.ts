/** What holds for every output: the same bytes from the same input in any order, and nothing of secrets and payloads. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FORMATS } from "../src/cli/outputs.js";
import { runCli } from "./cli.js";
import { LAB, outputsOf, POLICY } from "./outputs.js";

const STORIES = ["nodeport-cluster", "no-endpoints", "icmp-errors"];
/** What the lab's clients and servers say to one another. */
const PAYLOAD = "HTTP/1.1 200 OK";
const SECRET = "sup3r-s3cret-planted";

const WITH_SECRETS = `${POLICY}---
apiVersion: v1
kind: Secret
metadata: {name: planted, namespace: default, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":"${SECRET}"}'}}
stringData: {password: ${SECRET}}
---
apiVersion: v1
kind: Pod
metadata: {name: planted, namespace: default, labels: {app: planted}, annotations: {token: ${SECRET}}}
spec:
  nodeName: node1
  containers: [{name: a, image: b, env: [{name: PASSWORD, value: ${SECRET}}], args: ["--password=${SECRET}"]}]
status: {phase: Running, podIPs: [{ip: 10.244.1.99}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: planted, namespace: default}
data: {password: ${SECRET}}
`;

describe("every output", () => {
  const wanted = { stories: STORIES, formats: FORMATS, manifests: WITH_SECRETS, args: ["--verbose"] };

  it("is the same in a second run, and with the inputs in another order", async () => {
    const first = await outputsOf(wanted);
    const again = await outputsOf(wanted);
    const turned = await outputsOf({ ...wanted, turned: true });
    for (const format of FORMATS) {
      expect(first.text(format).length, format).toBeGreaterThan(200);
      expect(again.text(format) === first.text(format), `${format} in a second run`).toBe(true);
      expect(turned.text(format) === first.text(format), `${format} with the inputs turned round`).toBe(true);
    }
    expect(turned.exitCode).toBe(first.exitCode);
  });

  it("has no secret of the manifests, no environment variable and no payload of the captures", async () => {
    const inCaptures = STORIES.flatMap((story) => ["node1", "node2"].map((node) => readFileSync(join(LAB, story, `${node}.any.pcap`), "latin1")));
    expect(inCaptures.some((bytes) => bytes.includes(PAYLOAD))).toBe(true);
    const run = await outputsOf(wanted);
    for (const format of FORMATS) {
      const bytes = run.bytes.get(format)!.toString("latin1");
      for (const word of [SECRET, Buffer.from(SECRET).toString("base64"), PAYLOAD, PAYLOAD.slice(0, 8)]) {
        expect(bytes.includes(word), `${word} in ${format}`).toBe(false);
      }
    }
    expect(`${run.stdout}${run.stderr}`).not.toMatch(new RegExp(`${SECRET}|${PAYLOAD}`));
  });
});

describe("several outputs", () => {
  const demo = ["compare", "--demo"];

  it.each([
    [["-o", "text", "-o", "json"], "text and json would both be printed; name a file, as in -o json=FILE"],
    [["-o", "json=a", "--out-file", "b"], "--out-file is for an output that names no file itself"],
    [["-o", "json=/dev/null", "-o", "text=/dev/null"], "two outputs cannot both be /dev/null"],
    [["-o", "json=no/such/folder/x"], "cannot write no/such/folder/x: no such file or folder"],
    [["-o", "json="], "Expected a file behind '='"],
    [["-o", "sarif"], "Allowed choices are text, json, markdown"],
  ])("%j is refused", async (args, message) => {
    const { exitCode, stderr } = await runCli([...demo, ...args]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it("a usage error leaves no file behind, and a file that was there as it was", async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-outputs-"));
    try {
      const [fresh, old] = [join(folder, "fresh.json"), join(folder, "old.html")];
      writeFileSync(old, "before");
      const { exitCode } = await runCli([...demo, "--min-judged", "0", "-o", `json=${fresh}`, "-o", `html=${old}`]);
      expect([exitCode, existsSync(fresh), readFileSync(old, "utf8")]).toEqual([2, false, "before"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("of the bundled recordings are one each", async () => {
    const { exitCode, stdout } = await runCli([...demo, "-o", "junit"]);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/<testsuite name="kube-proxy to cilium@1\.20" tests="\d+" failures="\d+" errors="0">/);
  });
});

describe("JUnit", () => {
  const counts = (text: string): number[] => [/tests="(\d+)" failures="(\d+)" errors="(\d+)"/.exec(text) ?? []].flatMap((one) =>
    one.slice(1).map(Number));

  it("fails what --fail-on counts", async () => {
    const failed = new Map<string, number[]>();
    for (const failOn of ["any", "unexplained", "none"]) {
      const run = await outputsOf({ stories: ["icmp-errors", "no-endpoints"], formats: ["junit"], args: ["--fail-on", failOn] });
      failed.set(failOn, counts(run.text("junit")));
      expect(run.text("junit").match(/<failure /g)?.length ?? 0).toBe(counts(run.text("junit"))[1]);
      expect(run.text("junit").match(/<testcase /g)).toHaveLength(counts(run.text("junit"))[0]);
    }
    expect(failed.get("any")?.[1]).toBe(failed.get("any")![0] - 1);
    expect(failed.get("none")?.[1]).toBe(0);
  });

  it("what could not be judged is an error", async () => {
    const run = await outputsOf({ stories: ["icmp-errors"], formats: ["junit"], args: ["--min-judged", "100", "--cluster-cidr", "10.0.0.0/8"],
      manifests: "" });
    expect(run.text("junit")).toContain(run.exitCode >= 2 ? "<error message=" : 'errors="0"');
  });
});

describe("Markdown", () => {
  it("names the three worst before all else, and nothing in a name is markup", async () => {
    // Names of objects are none that could be markup, those of files are.
    const called = "[x](evil) <b>@you |`.yaml";
    const run = await outputsOf({ stories: ["nodeport-cluster", "icmp-errors"], formats: ["markdown"], called });
    const text = run.text("markdown");
    expect(text).toContain("&#64;you");
    expect(text.split("\n").slice(0, 8).filter((line) => /^[123]\. \*\*Newly dropped or refused\*\*/.test(line))).toHaveLength(3);
    expect(text).not.toMatch(/<b>|\[x\]|@you|`\.yaml/);
    const rows = text.split("\n").filter((line) => line.startsWith("| "));
    for (const row of rows) expect([9, 5, 3]).toContain(row.split("|").length - 1);
  });
});

it("the screen names the three worst changes before the rest", async () => {
  const run = await outputsOf({ stories: ["nodeport-cluster", "icmp-errors", "no-endpoints"], formats: ["text", "json"] });
  const lines = run.lines("text");
  expect(lines[1]).toMatch(/^The 3 worst of \d+ changes:$/);
  const worst = lines.slice(2, 5).map((line) => /^ {2}\d\. (.*?): .*, (\d+) flows? \(\S+\)$/.exec(line));
  expect(worst.map((one) => one?.[1])).toEqual(["Newly dropped or refused", "Newly dropped or refused", "Newly dropped or refused"]);
  const flows = worst.map((one) => Number(one?.[2]));
  expect(flows).toEqual([...flows].sort((a, b) => b - a));
  expect(run.text("text")).not.toMatch(/expected (difference|change)/i);
});
