/** The compiled tables against a slow reading of the same rules, on random rule sets and packets. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CtInfo, Hook, type NodeServices, Skb, Verdict } from "../skb.js";
import { Connection, Status } from "./connection.js";
import { createNetfilter } from "./netfilter.js";
import { Packet } from "./packet.js";
import { type Chain, type Match, type Rule, StateBit, type Table } from "./rule.js";
import { parseRuleSet } from "./rule-set.js";

const services: NodeServices = {
  addressType: (bytes, offset) => (bytes[offset + 3] === 1 ? "LOCAL" : "UNICAST"),
  deviceName: (index) => ["", "eth0", "eth1", "pod0"][index],
  masqueradeAddress: () => null,
  reject: () => {},
  sysctls: {},
};

const net = fc.constantFrom("10.0.0.0/8", "10.0.0.1", "10.0.1.0/24", "10.0.0.0/255.0.255.0");
const bang = fc.constantFrom("", "! ");
const part = fc.oneof(
  fc.tuple(bang, fc.constantFrom("-s", "-d"), net).map(([not, flag, text]) => `${not}${flag} ${text}`),
  fc
    .tuple(bang, fc.constantFrom("-i", "-o"), fc.constantFrom("eth0", "eth+", "pod0"))
    .map(([not, flag, text]) => `${not}${flag} ${text}`),
  fc
    .tuple(bang, fc.constantFrom("0x1", "0x0/0x1", "0x4/0x6"))
    .map(([not, mark]) => `-m mark ${not}--mark ${mark}`),
  fc
    .tuple(bang, fc.constantFrom("--sport", "--dport"), fc.constantFrom("80", "1:100", "53"))
    .map(([not, flag, port]) => `-p tcp -m tcp ${not}${flag} ${port}`),
  fc
    .tuple(bang, fc.constantFrom("80,81", "1:60,443"))
    .map(([not, ports]) => `-p udp -m multiport ${not}--dports ${ports}`),
  fc
    .tuple(
      bang,
      fc.constantFrom("UNTRACKED", "NEW", "INVALID,NEW", "ESTABLISHED", "RELATED,ESTABLISHED,DNAT", "SNAT"),
    )
    .map(([not, state]) => `-m conntrack ${not}--ctstate ${state}`),
  fc
    .tuple(fc.integer({ min: 1, max: 3 }))
    .map(([every]) => `-m statistic --mode nth --every ${every} --packet 0`),
  fc.constantFrom(
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --src-type LOCAL",
    '-m comment --comment "x y"',
    "-m connlimit --connlimit-above 5",
  ),
);
/** Parts about one subject are said once in a rule. */
const matches = fc.uniqueArray(part, {
  maxLength: 4,
  selector: (text) => /-[sdiop]\b|-m \S+/.exec(text)?.[0] ?? text,
});
const target = fc.constantFrom(
  "-j ACCEPT",
  "-j DROP",
  "-j RETURN",
  "-j A",
  "-j B",
  "-g B",
  "-g C",
  "-j MARK --or-mark 0x1",
  "-j MARK --xor-mark 0x4",
  "-j MARK --set-mark 0x2",
  "",
);
const line = fc
  .tuple(fc.constantFrom("FORWARD", "A", "B", "C"), matches, target)
  .map(([chain, parts, jump]) => {
    // Chains may only jump onwards: FORWARD -> A -> B -> C.
    const order = ["FORWARD", "A", "B", "C"];
    const to = /-[jg] ([ABC])$/.exec(jump)?.[1];
    return `-A ${chain} ${parts.join(" ")} ${to !== undefined && order.indexOf(to) <= order.indexOf(chain) ? "-j RETURN" : jump}`;
  });
/** As in KUBE-SERVICES: what the shortcut of long chains is for. */
const service = fc
  .tuple(
    fc.constantFrom("FORWARD", "A"),
    fc.constantFrom("1", "2", "1.1"),
    fc.constantFrom("tcp", "udp"),
    fc.constantFrom(53, 80, 81),
    fc.constantFrom(
      "-j MARK --xor-mark 0x4",
      "-j MARK --or-mark 0x1",
      "-j B",
      "-j ACCEPT",
      "-m statistic --mode nth --every 2 --packet 0 -j DROP",
      "",
    ),
  )
  .map(
    ([chain, host, protocol, port, jump]) =>
      `-A ${chain} -m ${protocol} -p ${protocol} -d 10.0.${host.includes(".") ? host : `0.${host}`} --dport ${port} ${jump}`,
  );
const rules = fc
  .tuple(
    fc.constantFrom("ACCEPT", "DROP"),
    fc.oneof(
      fc.array(line, { minLength: 1, maxLength: 14 }),
      fc.array(fc.oneof(service, service, service, service, service, service, line), {
        minLength: 30,
        maxLength: 70,
      }),
    ),
  )
  .map(
    ([policy, lines]) =>
      `*filter\n:FORWARD ${policy} [0:0]\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]\n${lines.join("\n")}\nCOMMIT\n`,
  );
const packetSpec = fc.record({
  source: fc.constantFrom(1, 2, 257),
  destination: fc.constantFrom(1, 2, 257),
  protocol: fc.constantFrom(6, 17, 1),
  sourcePort: fc.constantFrom(53, 80, 1000),
  destinationPort: fc.constantFrom(53, 80, 81, 443),
  inDevice: fc.constantFrom(0, 1, 3),
  outDevice: fc.constantFrom(1, 2),
  mark: fc.constantFrom(0, 1, 2, 4),
  cut: fc.constantFrom(false, false, false, true),
  ctinfo: fc.constantFrom(...Object.values(CtInfo)),
  status: fc.subarray([Status.SourceNat, Status.DestinationNat]).map((bits) => bits.reduce((a, b) => a | b, 0)),
});
type PacketSpec = typeof packetSpec extends fc.Arbitrary<infer T> ? T : never;

describe("compiled rules", () => {
  test("do as a slow reader of the same rules, with the same counters", () => {
    const seen = new Set<number>();
    fc.assert(
      fc.property(rules, fc.array(packetSpec, { minLength: 1, maxLength: 8 }), (text, specs) => {
        // A rule may say -p tcp and -p udp; such rules are undecided for both readers.
        const { rules: set } = parseRuleSet(text, "f", 4);
        const slow = new SlowReader(parseRuleSet(text, "f", 4).rules.tables.get("filter") as Table);
        const netfilter = createNetfilter({
          services,
          rules4: set,
          rules6: parseRuleSet("", "f", 6).rules,
          chance: () => 0,
        });
        for (const spec of specs) {
          const skb = build(spec);
          const other = build(spec);
          const verdict = netfilter.hook(Hook.Forward, skb);
          seen.add(verdict);
          expect([verdict, skb.mark], text).toEqual([slow.run(other), other.mark]);
        }
        const counters = (table: Table): unknown =>
          [...table.chains.values()].map((chain) => [
            chain.name,
            chain.policy === null ? null : chain.packets,
            chain.rules.map((rule) => [rule.packets, rule.bytes]),
          ]);
        const saved = parseRuleSet(netfilter.save(4), "saved", 4).rules;
        expect(counters(saved.tables.get("filter") as Table), text).toEqual(counters(slow.table));
      }),
      { numRuns: 1500, seed: Number(process.env.TWINPLANE_SEED ?? 3) },
    );
    expect([...seen].sort()).toEqual([Verdict.Accept, Verdict.Drop, Verdict.Undecided]);
  });
});

function build(spec: PacketSpec): Skb {
  const skb = new Skb();
  const length = spec.cut ? 23 : 44;
  skb.bytes = new Uint8Array(44);
  skb.bytes.set([
    0x45,
    0,
    0,
    44,
    0,
    0,
    0,
    0,
    64,
    spec.protocol,
    0,
    0,
    10,
    0,
    spec.source >> 8,
    spec.source & 255,
    10,
    0,
    spec.destination >> 8,
    spec.destination & 255,
    spec.sourcePort >> 8,
    spec.sourcePort & 255,
    spec.destinationPort >> 8,
    spec.destinationPort & 255,
  ]);
  Object.assign(skb, {
    length,
    headerLength: 20,
    protocol: spec.protocol,
    inDevice: spec.inDevice,
    outDevice: spec.outDevice,
    mark: spec.mark,
    ctinfo: spec.ctinfo,
  });
  if (spec.ctinfo < CtInfo.Untracked) skb.ct = Object.assign(new Connection(1), { status: spec.status });
  return skb;
}

/** XT_CONNTRACK_STATE_BIT of a packet. */
function slowState(skb: Skb): number {
  const ct = skb.ct as Connection | null;
  if (ct === null) return skb.ctinfo === CtInfo.Untracked ? StateBit.Untracked : StateBit.Invalid;
  const { Established, Related, New, Snat, Dnat } = StateBit;
  return (
    [Established, Related, New, Established, Related][skb.ctinfo] |
    ((ct.status & Status.SourceNat) !== 0 ? Snat : 0) |
    ((ct.status & Status.DestinationNat) !== 0 ? Dnat : 0)
  );
}

/** Rules read one by one, by recursion, with nothing prepared. */
class SlowReader {
  readonly table: Table;
  private readonly nth = new Map<Match, number>();

  constructor(table: Table) {
    this.table = table;
  }

  run(skb: Skb): Verdict {
    const forward = this.table.chains.get("FORWARD") as Chain;
    const verdict = this.chain(forward, skb);
    if (verdict !== "RETURN") return verdict;
    forward.packets++;
    return forward.policy === "DROP" ? Verdict.Drop : Verdict.Accept;
  }

  private chain(chain: Chain, skb: Skb): Verdict | "RETURN" {
    for (const rule of chain.rules) {
      const matched = this.matches(rule, skb);
      if (matched === "drop")
        return rule.matches.some(({ kind }) => kind === "unmodelled") ? Verdict.Undecided : Verdict.Drop;
      if (!matched) continue;
      rule.packets++;
      rule.bytes += skb.length;
      const { target: to } = rule;
      if (rule.matches.some(({ kind }) => kind === "unmodelled") || to.kind === "unmodelled")
        return Verdict.Undecided;
      if (to.kind === "verdict")
        return to.verdict === "RETURN" ? "RETURN" : to.verdict === "DROP" ? Verdict.Drop : Verdict.Accept;
      if (to.kind === "mark") skb.mark = ((skb.mark & ~to.clear) ^ to.xor) >>> 0;
      if (to.kind === "jump") {
        const verdict = this.chain(this.table.chains.get(to.chain) as Chain, skb);
        if (verdict !== "RETURN" || to.goto) return verdict;
      }
    }
    return "RETURN";
  }

  private matches(rule: Rule, skb: Skb): boolean | "drop" {
    const packet = new Packet();
    packet.load(skb);
    const inNet = (
      spec: { words: readonly number[]; mask: readonly number[]; invert: boolean } | null,
      word: number,
    ): boolean => spec === null || ((word & spec.mask[3]) === spec.words[3]) !== spec.invert;
    const onDevice = (spec: Rule["inDevice"], index: number): boolean => {
      if (spec === null) return true;
      const name = services.deviceName(index);
      return (spec.prefix ? name.startsWith(spec.name) : name === spec.name) !== spec.invert;
    };
    if (!inNet(rule.source, packet.s3) || !inNet(rule.destination, packet.d3)) return false;
    if (!onDevice(rule.inDevice, skb.inDevice) || !onDevice(rule.outDevice, skb.outDevice)) return false;
    if (rule.protocol !== null && (packet.protocol === rule.protocol.value) === rule.protocol.invert)
      return false;
    for (const [at, match] of rule.matches.entries()) {
      // Behind one that is not modelled nothing is counted.
      if (match.kind === "statistic" && rule.matches.slice(0, at).some(({ kind }) => kind === "unmodelled")) continue;
      const result = this.match(match, packet, skb);
      if (result !== true) return result;
    }
    return true;
  }

  private match(match: Match, packet: Packet, skb: Skb): boolean | "drop" {
    const within = (spec: { min: number; max: number; invert: boolean } | null, port: number): boolean =>
      spec === null || (port >= spec.min && port <= spec.max) !== spec.invert;
    switch (match.kind) {
      case "ports":
        if (packet.protocol !== match.protocol) return false;
        return packet.l4Short
          ? "drop"
          : within(match.source, packet.sourcePort) && within(match.destination, packet.destinationPort);
      case "multiport":
        if (packet.l4Short) return "drop";
        return (
          match.ranges.some(
            ({ min, max }) => packet.destinationPort >= min && packet.destinationPort <= max,
          ) !== match.invert
        );
      case "mark":
        return ((skb.mark & match.mark.mask) >>> 0 === match.mark.value) !== match.mark.invert;
      case "conntrack":
        return (((match.state?.value ?? 0) & slowState(skb)) !== 0) !== match.state?.invert;
      case "extension": {
        const asked = /^-m addrtype (! )?--(src|dst)-type LOCAL$/.exec(match.extension.text);
        if (asked === null) throw new Error("only addrtype LOCAL is generated");
        return ((asked[2] === "src" ? packet.s3 : packet.d3) & 255) === 1 === (asked[1] === undefined);
      }
      case "statistic": {
        if (match.mode !== "nth") throw new Error("only nth is generated");
        const met = this.nth.get(match) ?? 0;
        this.nth.set(match, met + 1);
        return met % match.every === match.packet;
      }
      default:
        return true;
    }
  }
}
