/** Rules passed over (chain-index.ts, nextForState) change nothing: the same rules walked one by one are the model. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { Hook, type NodeServices, type Skb } from "../skb.js";
import { addressHash, ChainIndex, Key, keyHash } from "./chain-index.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { parseRuleSet } from "./rule-set.js";
import { StateBit } from "./rule.js";
import { stateOf } from "./evaluate.js";
import { parseIpSets } from "./sets/ipsets.js";
import { build, devices, filterText, hostText, packetSpec, type PacketSpec, setLines, setRules } from "./shortcuts.fixture.js";

const seed = testSeed("src/linux/netfilter/shortcuts");
const services: NodeServices = {
  addressType: (bytes, offset, family) => (bytes[offset + (family === 4 ? 3 : 15)] === 1 ? "LOCAL" : "UNICAST"),
  deviceName: (index) => devices[index], masqueradeAddress: () => null, reject: () => {}, sysctls: {},
};

interface Walked {
  readonly netfilter: Netfilter;
  readonly trace: string[];
}

function load(text: string, family: 4 | 6, shortcuts: boolean, sets = ""): Walked {
  const trace: string[] = [];
  const [rules4, rules6] = ([4, 6] as const).map((of) => parseRuleSet(of === family ? text : "", "f", of).rules);
  const chance = (flow: number, draw: number): number => Math.imul(flow ^ Math.imul(draw + 1, 0x9e3779b1), 0x85ebca6b) >>> 0;
  const netfilter = createNetfilter({ services, rules4, rules6, chance, shortcuts, sets: parseIpSets(sets, "s").sets,
    traceSink: (table, chain, number, rule, verdict) => trace.push(`${table} ${chain} ${number} ${rule} ${verdict}`) });
  return { netfilter, trace };
}

function forward({ netfilter }: Walked, skb: Skb): unknown {
  const verdict = netfilter.hook(Hook.Forward, skb);
  const { mark, ct } = skb as unknown as { mark: number; ct: { mark: number; draws: number } | null };
  return [verdict, verdict === 0 ? "" : netfilter.reason, mark, ct?.mark, ct?.draws];
}

function same(text: string, family: 4 | 6, specs: readonly PacketSpec[], sets = ""): void {
  const [short, long] = [load(text, family, true, sets), load(text, family, false, sets)];
  for (const [index, spec] of specs.entries()) {
    // Lists of `recent` see time pass.
    const of = (walked: Walked): unknown => forward(walked, build(spec, family, 1e9 + index * 4e8));
    expect(of(short), `${text}${JSON.stringify(spec)}`).toEqual(of(long));
  }
  expect(short.trace, text).toEqual(long.trace);
  expect(short.netfilter.save(family)).toBe(long.netfilter.save(family));
  expect(short.netfilter.ipSets.save()).toBe(long.netfilter.ipSets.save());
}

test.each([4, 6] as const)("random IPv%i rules have the outcomes, marks, counters and traces of a walk without shortcuts",
  (family) => {
  const passed = new Map<Key, number>();
  const states = new Set<number>();
  const { seek } = ChainIndex.prototype;
  ChainIndex.prototype.seek = function (row, ...rest) {
    const found = seek.call(this, row, ...rest);
    for (const key of Object.values(Key)) if (this.has(key)) passed.set(key, (passed.get(key) ?? 0) + found - row);
    return found;
  };
  try {
    fc.assert(fc.property(filterText(family), fc.array(packetSpec, { minLength: 4, maxLength: 12 }), (text, specs) => {
      for (const spec of specs) states.add(stateOf(build(spec, family, 0)) & 0x10f);
      same(text, family, specs);
    }), { seed, numRuns: 600 });
  } finally {
    ChainIndex.prototype.seek = seek;
  }
  // Every key was in use and let rows be passed over; every state was met.
  for (const key of Object.values(Key)) expect(passed.get(key) ?? 0).toBeGreaterThan(200);
  const { Invalid, Established, Related, New, Untracked } = StateBit;
  expect([...states].sort((a, b) => a - b)).toEqual([Invalid, Established, Related, New, Untracked]);
});

test.each([[4, false], [4, true], [6, false], [6, true]] as const)(
  "rows that ask IP sets, of IPv%i, sets that change: %s, have the outcomes of a walk without shortcuts", (family, changing) => {
  let passed = 0;
  const { seek } = ChainIndex.prototype;
  ChainIndex.prototype.seek = function (row, ...rest) {
    const found = seek.call(this, row, ...rest);
    passed += found - row;
    return found;
  };
  try {
    fc.assert(fc.property(setRules(changing), setLines(family), fc.array(packetSpec, { minLength: 4, maxLength: 12 }),
      (text, sets, specs) => same(text, family, specs, sets)), { seed, numRuns: 400 });
  } finally {
    ChainIndex.prototype.seek = seek;
  }
  expect(passed).toBeGreaterThan(200);
});

test("rows of different values with one hash stay apart", () => {
  fc.assert(fc.property(fc.constantFrom(6, 17), fc.constantFrom(6, 17), fc.constantFrom(53, 80, 443), fc.constantFrom(81, 8080),
    fc.integer({ min: 1, max: 200 }),
    (protocol, otherProtocol, port, otherPort, host) => {
      const address = (10 << 24) | host;
      const twin = sameHash(address, (protocol << 16) | port, (otherProtocol << 16) | otherPort);
      const of = (words: number, rest: number): number => keyHash(Key.Service, addressHash(0, 0, 0, words), rest);
      expect(of(twin, (otherProtocol << 16) | otherPort)).toBe(of(address, (protocol << 16) | port));
      const name = (number: number): string => (number === 6 ? "tcp" : "udp");
      const text = (words: number): string => [24, 16, 8, 0].map((shift) => (words >>> shift) & 255).join(".");
      const line = (words: number, of: number, at: number, jump: string): string =>
        `-A FORWARD -d ${text(words)} -p ${name(of)} -m ${name(of)} --dport ${at} ${jump}`;
      const filler = Array.from({ length: 20 }, (_, index) => line(address + index + 300, 6, 9, ""));
      const rules = ["*filter", ":FORWARD DROP [0:0]", ...filler, line(twin, otherProtocol, otherPort, "-j DROP"),
        line(address, protocol, port, ""),
        line(twin, otherProtocol, otherPort, ""), line(address, protocol, port, "-j ACCEPT"), "COMMIT", ""].join("\n");
      const walked = load(rules, 4, true);
      const skb = build({ source: 1, destination: 1, protocol, sourcePort: 1, destinationPort: port, inDevice: 1, outDevice: 1,
        mark: 0, flags: 2,
        cut: false, later: false, ctinfo: 8, connmark: 0, status: 0 }, 4, 0);
      new DataView(skb.bytes.buffer).setInt32(16, address);
      expect(walked.netfilter.hook(Hook.Forward, skb)).toBe(0);
      expect(walked.trace.map((one) => one.split(" ")[2])).toEqual(["22", "24"]);
    }), { seed, numRuns: 50 });
});

test("of many rules for one service each is met, in order", () => {
  const line = (index: number): string =>
    `-A FORWARD -d ${hostText(1, 4)} -p tcp -m tcp --dport 80 `
    + `-m statistic --mode nth --every ${1 + (index % 3)} --packet 0 -j MARK --set-mark ${index}`;
  const text = ["*filter", ":FORWARD ACCEPT [0:0]", ...Array.from({ length: 500 }, (_, index) => line(index)), "COMMIT",
    ""].join("\n");
  const spec: PacketSpec = { source: 2, destination: 1, protocol: 6, sourcePort: 1, destinationPort: 80, inDevice: 1,
    outDevice: 2, mark: 0, flags: 2,
    cut: false, later: false, ctinfo: 2, connmark: 0, status: 0 };
  same(text, 4, [spec, spec, { ...spec, destination: 2 }, spec]);
});

/** The address whose hash with `to` is that of `address` with `from` (keyHash and addressHash turned round). */
function sameHash(address: number, from: number, to: number): number {
  const multiplier = 0x85ebca6b;
  let inverse = multiplier;
  for (let round = 0; round < 5; round++) inverse = Math.imul(inverse, 2 - Math.imul(multiplier, inverse));
  const hash = addressHash(0, 0, 0, address);
  const wanted = hash ^ (hash >>> 13) ^ from ^ to;
  const value = wanted ^ (wanted >>> 13) ^ (wanted >>> 26);
  return Math.imul(value, inverse);
}
