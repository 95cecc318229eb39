import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import { type ConntrackFlow, readConntrackFlows } from "./conntrack-flow.js";

function one(text: string): ConntrackFlow {
  const { flows, problems } = readConntrackFlows({ name: "ct", text });
  expect(problems).toEqual([]);
  expect(flows.length).toBe(1);
  return flows[0];
}

function spell(flow: ConntrackFlow): string {
  const tuple = (one: ConntrackFlow["original"]): string => {
    const icmp = one.icmp === null ? "" : ` ${Object.values(one.icmp)}`;
    return `${one.source.text}:${one.sourcePort}>${one.destination.text}:${one.destinationPort}${icmp}`;
  };
  const flags = `${flow.unreplied ? "U" : ""}${flow.assured ? "A" : ""}`;
  return `${flow.timeNs} ${flow.event} ${flow.family} ${flow.protocol} ${flow.timeoutSeconds} ${flow.state} `
    + `${tuple(flow.original)} ${tuple(flow.reply)} ${flags} ${flow.id}`;
}

/** Original and reply tuple of UDP from 10.0.0.1:5 to 10.0.0.2:53. */
const UDP = "src=10.0.0.1 dst=10.0.0.2 sport=5 dport=53 src=10.0.0.2 dst=10.0.0.1 sport=53 dport=5";

describe("readConntrackFlows", () => {
  test.each<[string, string]>([
    ["[1795357819.041554]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT "
      + "src=10.0.0.1 dst=10.96.0.1 sport=5 dport=80 [UNREPLIED] "
      + "src=10.0.0.2 dst=10.0.0.1 sport=8080 dport=5 id=7",
    "1795357819041554000 NEW 4 6 120 SYN_SENT 10.0.0.1:5>10.96.0.1:80 10.0.0.2:8080>10.0.0.1:5 U 7"],
    [`[1.5]\t[DESTROY] ipv4     2 udp      17 ${UDP} [ASSURED] id=4294967295`,
      "1500000000 DESTROY 4 17 null  10.0.0.1:5>10.0.0.2:53 10.0.0.2:53>10.0.0.1:5 A 4294967295"],
    ["[1.000001]\t    [NEW] ipv4     2 icmp     1 30 "
      + "src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=9377 [UNREPLIED] "
      + "src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=9377 id=736972753",
    "1000001000 NEW 4 1 30  10.0.0.1:0>10.0.0.2:0 8,0,9377 10.0.0.2:0>10.0.0.1:0 0,0,9377 U 736972753"],
    ["tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=5 dport=80 packets=3 bytes=4 "
      + "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=5 packets=1 bytes=2 [ASSURED] mark=0 use=1",
    "null null 4 6 431999 ESTABLISHED 10.0.0.1:5>10.0.0.2:80 10.0.0.2:80>10.0.0.1:5 A null"],
    ["ipv6     10 unknown  50 600 src=fd00::1 dst=fd00::2 src=fd00::2 dst=fd00::1 mark=0 use=1",
      "null null 6 50 600  fd00::1:0>fd00::2:0 fd00::2:0>fd00::1:0  null"],
  ])("%s", (text, expected) => {
    expect(spell(one(text))).toBe(expected);
  });

  test("a deletion asked for by a process is told from one by the kernel", () => {
    const line = `[1.5]\t[DESTROY] ipv4 2 udp 17 120 ${UDP}`;
    expect(one(line).byUserspace).toBe(false);
    expect(one(`${line} id=1 [USERSPACE] portid=2 progname=conntrack`).byUserspace).toBe(true);
  });

  test.each([
    "garbage",
    "tcp 6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2",
    "ipv6 10 tcp 6 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1",
    "tcp 6 1 X src=10.0.0.1 dst=10.0.0.2 sport=70000 dport=1 src=10.0.0.2 dst=10.0.0.1",
    "tcp 6 1 X src=10.0.0.300 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1",
    "[1.5]",
  ])("a damaged line is a Problem with its line: %s", (bad) => {
    const good = `udp 17 ${UDP}`;
    const { flows, problems } = readConntrackFlows({ name: "ct", text: `${good}\n\n${bad}\n${good}\n`
      + "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.\n" });
    expect(flows.map((flow) => flow.line)).toEqual([1, 4]);
    expect(problems).toMatchObject([{ where: { file: "ct", line: 3 }, severity: "error" }]);
  });
});

const lab = join(sharedDir() ?? "/nonexistent", "traces", "lab");

describe.skipIf(!existsSync(lab))("the recorded events (needs TWINPLANE_SHARED)", () => {
  test("every line of every recording is read", () => {
    const files = readdirSync(lab, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("ct-events.txt"));
    expect(files.length).toBeGreaterThan(200);
    let lines = 0;
    for (const file of files) {
      const text = readFileSync(join(lab, file), "utf8");
      const { flows, problems } = readConntrackFlows({ name: file, text });
      expect(problems).toEqual([]);
      const all = text.split("\n");
      const wanted = all.filter((line) => line.includes("src="));
      expect(flows.length).toBe(wanted.length);
      for (const flow of flows) {
        // An independent look at the same line.
        const line = all[flow.line - 1];
        const numbers = [...line.matchAll(/ src=(\S+) dst=(\S+)/g)].flatMap((match) => [match[1], match[2]]);
        expect([flow.original.source.text, flow.original.destination.text, flow.reply.source.text,
          flow.reply.destination.text]).toEqual(numbers);
        expect(flow.id).toBe(Number(/id=(\d+)(?: \[USERSPACE\].*)?$/.exec(line.trim())?.[1]));
      }
      lines += flows.length;
    }
    expect(lines).toBeGreaterThan(2000);
  });
});
