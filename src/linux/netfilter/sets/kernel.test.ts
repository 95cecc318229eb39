/**
 * IP sets against this machine's kernel: random sets, rules and frames; the counters of the rules say which of them
 * matched which frame. And random `ipset restore` lines: what ipset refuses is a Problem here, what it takes is saved
 * alike. The recorder is ring.py beside this file.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../../test/seed.js";
import { Hook, type NodeServices, Skb } from "../../skb.js";
import { createNetfilter, type Netfilter } from "../netfilter.js";
import { parseRuleSet } from "../rule-set.js";
import { IpSets, parseIpSets } from "./ipsets.js";
import { type Frame, RingMaker } from "./ring.fixture.js";

const seed = testSeed("src/linux/netfilter/sets/kernel");
const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const recorder = join(import.meta.dirname, "ring.py");

/** Types of sets the kernel knows; none where the ring cannot run. */
function probe(): string[] {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return [];
  const tools = ["ip", "ipset", "iptables-legacy-restore", "iptables-nft-restore", "ip6tables-legacy-restore",
    "ip6tables-nft-restore"];
  if (tools.some((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)) return [];
  const done = spawnSync(python, [recorder, "probe"], { encoding: "utf8" });
  return done.status === 0 ? done.stdout.split("\n").filter((line) => line !== "") : [];
}

const types = probe();
if (types.length === 0 && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but the ring of IP sets cannot run here");
}

type Counters = Record<string, [number, number][]>;
interface RoundAnswer {
  readonly said: string[];
  readonly before: number;
  readonly after: number;
  readonly groups: Counters[];
  readonly saved: string;
  readonly rules: string[];
}
interface LineAnswer {
  readonly code: number;
  readonly said: string;
  readonly saved: string;
}

function record(question: object): { rounds: RoundAnswer[]; lines: LineAnswer[] } {
  const done = spawnSync(python, [recorder, "run"], { input: JSON.stringify(question), encoding: "utf8", maxBuffer: 1 << 28 });
  expect(done.status, done.stderr).toBe(0);
  return JSON.parse(done.stdout);
}

const services: NodeServices = {
  ...({} as NodeServices),
  addressType: () => "UNICAST",
  deviceName: (index) => ["", "a0", "a01", "b0"][index],
  masqueradeAddress: () => null,
  reject: () => {},
  sysctls: {},
};

function skbOf(frame: Frame, timeNs: number): Skb {
  const skb = new Skb();
  skb.bytes = Uint8Array.from(frame.bytes);
  skb.length = frame.bytes.length;
  skb.family = frame.family;
  skb.headerLength = frame.headerLength;
  skb.protocol = frame.protocol;
  skb.fragmentOffset = frame.fragmentOffset;
  skb.inDevice = frame.link === "a0" ? 1 : 2;
  skb.timeNs = timeNs;
  return skb;
}

function pass(netfilter: Netfilter, frame: Frame, timeNs: number): void {
  const skb = skbOf(frame, timeNs);
  netfilter.hook(Hook.Prerouting, skb);
  if (!frame.forwarded) return;
  skb.outDevice = 3;
  netfilter.hook(Hook.Forward, skb);
}

function countersOf(saved: string): Counters {
  const tables: Counters = {};
  let table = "";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const match = /^\[(\d+):(\d+)\] -A/.exec(line);
    if (match !== null) {
      tables[table] ??= [];
      tables[table].push([Number(match[1]), Number(match[2])]);
    }
  }
  return tables;
}

/** `ipset save` without what is the kernel's choice, entries sorted; timeouts to ten seconds. */
function comparable(saved: string): string[] {
  return saved.split("\n").filter((line) => line !== "").map((line) => line
    .replace(/ (hashsize|bucketsize|initval) \S+/g, "")
    .replace(/^(add .* timeout )(\d+)/, (_, before: string, seconds: string) => before + Math.ceil(Number(seconds) / 10)))
    .sort();
}

describe.skipIf(types.length === 0)("IP sets of a real kernel (needs root, network namespaces, ipset, iptables)", () => {
  it("match the same frames, count alike, and hold the same at the end", () => {
    const maker = new RingMaker(seed, types);
    const rounds = (["legacy", "nft"] as const).map((tool) => {
      const { text, sets } = maker.sets(2);
      const rules4 = maker.rules(4, sets, sets.length * 2);
      const rules6 = maker.rules(6, sets, sets.length * 2);
      const groups = [...maker.groups(4, 60), ...maker.groups(6, 50)];
      return { tool, sets: text, rules4, rules6, wait: 2.2, groups };
    });
    const question = rounds.map((round) => ({
      ...round,
      groups: round.groups.map((frames) => ({
        family: frames[0].family, frames: frames.map(({ link, bytes }) => [link, Buffer.from(bytes).toString("hex")]),
      })),
    }));
    const answer = record({ rounds: question, lines: [] });
    let compared = 0;
    let matched = 0;
    const wrong: string[] = [];
    for (const [index, round] of rounds.entries()) {
      const real = answer.rounds[index];
      expect(real.said).toEqual([]);
      expect(real.before).toBeGreaterThan(2.1);
      expect(real.after).toBeLessThan(100);
      const sets = new IpSets();
      expect(sets.load(round.sets, { nowNs: 0 })).toEqual([]);
      const rules4 = parseRuleSet(round.rules4, "v4", 4);
      const rules6 = parseRuleSet(round.rules6, "v6", 6);
      expect([...rules4.problems, ...rules6.problems]).toEqual([]);
      const netfilter = createNetfilter({ services, rules4: rules4.rules, rules6: rules6.rules, sets, chance: () => 0 });
      expect(netfilter.setProblems()).toEqual([]);
      for (const [number, frames] of round.groups.entries()) {
        for (const frame of frames) pass(netfilter, frame, 3e9);
        const { family } = frames[0];
        const ours = countersOf(netfilter.save(family));
        for (const [table, rows] of Object.entries(ours)) {
          compared += rows.length * frames.length;
          for (const [row, counters] of rows.entries()) {
            if (String(counters) === String(real.groups[number][table]?.[row])) continue;
            const rule = (family === 4 ? rules4 : rules6).rules.save(false).split(`*${table}\n`)[1].split("\n")
              .filter((line) => line.startsWith("-A"))[row];
            wrong.push(`${round.tool} group ${number} ${table} rule ${row + 1} ${rule}: ours ${counters}, the kernel's `
              + `${real.groups[number][table]?.[row]}; ${frames.map(describeFrame).join(" | ")}; ${about(round.sets, rule)}`);
          }
          matched += rows.reduce((sum, [packets]) => sum + packets, 0);
        }
        if (wrong.length > 0) break;
      }
      expect(wrong.slice(0, 2)).toEqual([]);
      expect(comparable(sets.save())).toEqual(comparable(real.saved));
      for (const [place, rules] of [rules4, rules6].entries()) {
        const printed = (text: string): string[] => text.split("\n").filter((line) => line.startsWith("-A")).sort();
        expect(printed(rules.rules.save(false))).toEqual(printed(real.rules[place]));
      }
    }
    console.log({ compared, matched });
    expect(compared).toBeGreaterThan(2000);
    expect(matched).toBeGreaterThan(compared / 20);
  }, 120_000);

  it("take and refuse the same lines", () => {
    const maker = new RingMaker(seed + 1, types);
    const lines = Array.from({ length: 250 }, () => maker.oddLines());
    const answers = record({ rounds: [], lines }).lines;
    let taken = 0;
    const wrong: string[] = [];
    for (const [index, text] of lines.entries()) {
      const { sets, problems } = parseIpSets(text, "lines");
      const { code, said, saved } = answers[index];
      if ((problems.length === 0) !== (code === 0)) {
        wrong.push(`${text}ours: ${problems.map(({ what }) => what).join("; ")}; ipset: ${code} ${said}`);
      } else if (code === 0) {
        taken++;
        if (comparable(sets.save()).join() !== comparable(saved).join()) wrong.push(`${text}ours: ${sets.save()}ipset: ${saved}`);
      }
    }
    console.log({ lines: lines.length, taken });
    expect(wrong.slice(0, 8)).toEqual([]);
    expect(taken).toBeGreaterThan(lines.length / 8);
    expect(taken).toBeLessThan(lines.length * 0.9);
  }, 120_000);
});

/** Lines of the sets that a rule names, and of members of lists among them. */
function about(text: string, rule: string): string {
  const lines = text.split("\n");
  const names = new Set([...rule.matchAll(/-set (\S+)/g)].map((match) => match[1]));
  for (const line of lines) if (names.has(line.split(" ")[1])
    && line.split(" ")[1].startsWith("list")) names.add(line.split(" ")[2]);
  return lines.filter((line) => line.split(" ").some((word) => names.has(word))).join("; ");
}

function describeFrame(frame: Frame): string {
  const { bytes, family, link, protocol, headerLength, fragmentOffset } = frame;
  const hex = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString("hex");
  const addresses = family === 4 ? `${bytes.subarray(12, 16).join(".")} ${bytes.subarray(16, 20).join(".")}`
    : `${hex(8, 24)} ${hex(24, 40)}`;
  return `${link} ${addresses} ${protocol} ${hex(headerLength, headerLength + 4)} +${fragmentOffset} ${bytes.length} bytes`;
}
