/**
 * Every damaged and every wild capture through the whole command line: data up to the damage, or one clear sentence
 * with the byte offset; never a stack trace, never a hang, never silence.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "./cli.js";
import { sharedDir } from "./shared.js";

const shared = sharedDir();
/** No file takes a second; one that takes this long has made it hang. */
const HANG_MS = 60_000;

interface Row {
  readonly file: string;
  readonly expect: string;
  /** Packets that tcpdump and tshark read. */
  readonly tcpdump: number;
  readonly tshark: number;
}

describe.skipIf(shared === null)("damaged captures (needs TWINPLANE_SHARED)", () => {
  const folder = join(shared ?? "", "traces", "damaged");
  const rows = shared === null ? [] : csv(join(folder, "MANIFEST.csv")).map((row): Row => ({
    file: row.file, expect: row.expect, tcpdump: Number(row.tcpdump_packets), tshark: Number(row.tshark_packets),
  }));

  it("there are some, and each file has a row", () => {
    const files = readdirSync(folder).filter((name) => name !== "MANIFEST.csv");
    expect(files.length).toBeGreaterThan(40);
    expect(files.sort()).toEqual(rows.map((row) => row.file).sort());
  });

  it.each(rows.map((row) => [row.file, row] as const))("%s", async (_name, row) => {
    const { exitCode, report, stderr } = await compareJson(join(folder, row.file));
    const errors = report.problems.filter((one) => one.severity === "error");
    const { records } = report.packets;
    expect(stderr).toBe("");
    expect([0, 1, 2, 3]).toContain(exitCode);

    const saysError = /error/.test(row.expect) && !/no error/.test(row.expect);
    const mayRead = /error or|or error|or one error|read, or/.test(row.expect);
    if (saysError && !mayRead) {
      expect(errors).toHaveLength(1);
      expect(errors[0].what).toMatch(/^byte \d+: /);
      expect(errors[0].where?.file).toBe(join(folder, row.file));
    }
    if (!saysError) expect(errors).toEqual([]);
    const promised = /^(\d+) (?:packets?|records)/.exec(row.expect);
    // A record header that is a file header counts as one record more, as the row says.
    if (promised !== null && !/then/.test(row.expect)) expect(records).toBe(Number(promised[1]));
    else if (promised !== null) expect(records).toBeGreaterThanOrEqual(Number(promised[1]));
    if (records === 0) expect(exitCode).toBe(errors.length > 0 ? 2 : 3);
    else expect(exitCode).not.toBe(2);
  }, HANG_MS);
});

describe.skipIf(shared === null)("wild captures (needs TWINPLANE_SHARED)", () => {
  const folder = join(shared ?? "", "traces", "wild");
  const rows = shared === null ? [] : csv(join(folder, "MANIFEST.csv"));

  it("there are some", () => {
    expect(rows.length).toBeGreaterThan(30);
  });

  it.each(rows.map((row) => [row.file, row] as const))("%s", async (_name, row) => {
    const { exitCode, report, stderr } = await compareJson(join(folder, row.file));
    expect(stderr).toBe("");
    const errors = report.problems.filter((one) => one.severity === "error");
    const { packets } = report;
    // None of them was taken in this cluster, so none may be judged as if it had been.
    expect(exitCode).toBe(packets.records === 0 && errors.length > 0 ? 2 : 3);
    expect(report.verdict.why).toMatch(exitCode === 2 ? /could not be read/ : /do not match the cluster|no packet could be replayed/);
    if (/^read(?!.*damage)/.test(row.expect)) {
      expect(errors).toEqual([]);
      expect(packets.records).toBe(Number(row.packets));
    } else expect(errors.length + report.captures[0].notes.length + packets.records).toBeGreaterThan(0);
    if (/unsupported link type/.test(row.expect)) expect(errors.map((one) => one.what).join()).toMatch(/link type \w+ \(\d+\) is not supported/);
    // Nothing is lost on the way: each record is a packet, a copy, or set aside by name.
    const aside = packets.aside.reduce((sum, [, number]) => sum + number, 0);
    const unread = report.captures[0].notes.reduce((sum, note) => sum + Number(/^(\d+) packets of an unsupported/.exec(note)?.[1] ?? 0), 0);
    expect(packets.replayed + packets.copies + aside).toBe(packets.records - unread);
  }, HANG_MS);
});

interface JsonReport {
  readonly packets: { readonly records: number; readonly replayed: number; readonly copies: number; readonly aside: [string, number][] };
  readonly captures: { readonly notes: string[] }[];
  readonly problems: { readonly where: { readonly file: string } | null; readonly severity: string; readonly what: string }[];
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

async function compareJson(file: string): Promise<{ exitCode: number; report: JsonReport; stderr: string }> {
  const { exitCode, stdout, stderr } = await runCli(["compare", "-f", "traces/lab/cluster.yaml", "-r", `node1=${file}`,
    "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "-o", "json"]);
  const report = JSON.parse(stdout) as JsonReport;
  expect(report.verdict.exitCode).toBe(exitCode);
  return { exitCode, report, stderr };
}

/** Rows of a CSV file by the names of its columns (RFC 4180). */
function csv(file: string): Record<string, string>[] {
  const [names, ...rows] = readFileSync(file, "utf8").trim().split("\n").map((line) =>
    [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((match) => match[1].replace(/^"|"$/g, "").replaceAll('""', '"')));
  return rows.map((row) => Object.fromEntries(names.map((name, index) => [name, row[index] ?? ""])));
}
