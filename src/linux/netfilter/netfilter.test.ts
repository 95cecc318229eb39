/**
 * The hooks together: what survives a reload, affinity lists, untracked packets, refusals, what is not
 * decided.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../cluster/address.js";
import { Csum, CtInfo, Hook, type NodeServices, Skb, Verdict } from "../skb.js";
import { formatRecord } from "./conntrack-record.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { half } from "./packet.js";
import { RecentLists, RecentOp } from "./recent.js";
import { parseRuleSet, RuleSet } from "./rule-set.js";

const none = new RuleSet(6);

function create(text: string, rejected: string[] = [], trace: string[] | null = null,
  sysctls: Readonly<Record<string, string>> = {}): Netfilter {
  const services: NodeServices = {
    addressType: () => "UNICAST",
    deviceName: (index) => ["", "eth0", "eth1"][index],
    sysctls,
    masqueradeAddress: () => parseAddress("192.168.0.1"),
    reject: (_skb, kind, hook) => rejected.push(`${kind} ${hook}`),
  };
  return createNetfilter({
    services,
    rules4: parseRuleSet(text, "node.rules", 4).rules,
    rules6: none,
    chance: () => 0,
    traceSink:
      trace === null
        ? null
        : (table, chain, number, _text, verdict) => trace.push(`${table}/${chain}:${number} ${verdict}`),
  });
}

function udp(sourcePort: number, seconds: number, source = "10.0.0.1"): Skb {
  const skb = new Skb();
  const address = parseAddress(source)?.bytes ?? [];
  const bytes = Uint8Array.from([
    0x45,
    0,
    0,
    28,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    ...address,
    10,
    96,
    0,
    10,
    sourcePort >> 8,
    sourcePort & 255,
    0,
    53,
    0,
    8,
    0,
    0,
  ]);
  Object.assign(skb, {
    bytes,
    length: 28,
    headerLength: 20,
    protocol: 17,
    inDevice: 1,
    timeNs: seconds * 1e9,
    csum: Csum.None,
  });
  return skb;
}

function forward(netfilter: Netfilter, skb: Skb): Verdict {
  let verdict = netfilter.hook(Hook.Prerouting, skb);
  skb.outDevice = 2;
  if (verdict === Verdict.Accept) verdict = netfilter.hook(Hook.Forward, skb);
  return verdict === Verdict.Accept ? netfilter.hook(Hook.Postrouting, skb) : verdict;
}

const destination = (skb: Skb): string => skb.bytes.slice(16, 20).join(".");
const dnat = (to: string): string =>
  `*nat\n-A PREROUTING -d 10.96.0.10 -p udp -m udp --dport 53 -j DNAT --to-destination ${to}:5353\nCOMMIT\n`;

describe("netfilter", () => {
  test("a connection keeps its backend when the rules change; deleting the entry moves it", () => {
    const netfilter = create(dnat("10.1.0.1"));
    const first = udp(4000, 1);
    expect(forward(netfilter, first)).toBe(Verdict.Accept);
    expect(destination(first)).toBe("10.1.0.1");
    netfilter.replaceRules(parseRuleSet(dnat("10.1.0.2"), "b", 4).rules, none);
    const second = udp(4000, 2);
    forward(netfilter, second);
    expect(destination(second)).toBe("10.1.0.1");
    const other = udp(4001, 2);
    forward(netfilter, other);
    expect(destination(other)).toBe("10.1.0.2");
    const filter = {
      node: "",
      family: 4 as const,
      protocol: 17,
      originalSource: null,
      originalDestination: parseAddress("10.96.0.10"),
      originalSourcePort: null,
      originalDestinationPort: 53,
      replySource: parseAddress("10.1.0.1"),
    };
    expect(netfilter.deleteConntrack(filter)).toBe(1);
    const third = udp(4000, 3);
    forward(netfilter, third);
    expect(destination(third)).toBe("10.1.0.2");
  });

  test("UDP without an answer ends after 30 seconds; the entry shows as conntrack -L prints it", () => {
    const netfilter = create(dnat("10.1.0.1"));
    forward(netfilter, udp(4000, 1));
    forward(netfilter, udp(4001, 11));
    expect(netfilter.conntrack().map(formatRecord)).toEqual([
      "udp      17 20 src=10.0.0.1 dst=10.96.0.10 sport=4000 dport=53 [UNREPLIED] " +
        "src=10.1.0.1 dst=10.0.0.1 sport=5353 dport=4000 mark=0 use=1",
      "udp      17 30 src=10.0.0.1 dst=10.96.0.10 sport=4001 dport=53 [UNREPLIED] " +
        "src=10.1.0.1 dst=10.0.0.1 sport=5353 dport=4001 mark=0 use=1",
    ]);
    forward(netfilter, udp(4002, 31));
    expect(netfilter.conntrack().map(({ original }) => original.sourcePort)).toEqual([4001, 4002]);
  });

  test("time does not run backwards", () => {
    const netfilter = create(dnat("10.1.0.1"));
    forward(netfilter, udp(4000, 100));
    forward(netfilter, udp(4001, 20));
    expect(netfilter.conntrack().map(({ timeout }) => timeout)).toEqual([30, 30]);
  });

  test("REJECT asks for its answer and drops; DROP, policies and cut headers name themselves", () => {
    const rejected: string[] = [];
    const netfilter = create(
      "*filter\n:FORWARD DROP [0:0]\n:X -\n-A FORWARD -p udp -m udp --sport 1 -j REJECT\n" +
        "-A FORWARD -p udp -m udp --sport 2 -j X\n-A X -j DROP\nCOMMIT\n",
      rejected,
    );
    const reasons = [1, 2, 3].map((port) => {
      expect(forward(netfilter, udp(port, 1))).toBe(Verdict.Drop);
      return netfilter.reason;
    });
    expect(reasons).toEqual([
      "filter/FORWARD REJECT icmp-port-unreachable",
      "filter/X",
      "filter/FORWARD policy",
    ]);
    expect(rejected).toEqual([`icmp-port-unreachable ${Hook.Forward}`]);
    const cut = udp(1, 1);
    cut.length = 24;
    expect(forward(netfilter, cut)).toBe(Verdict.Drop);
    expect(netfilter.reason).toBe("filter/FORWARD: cut header");
  });

  test("what is not modelled is undecided for whom it concerns, and only for them", () => {
    const netfilter = create(
      "*filter\n-A FORWARD -s 10.0.0.1 -m connlimit --connlimit-above 1 -j ACCEPT\n" +
        "-A FORWARD -s 10.0.0.2 -j FANCY\nCOMMIT\n",
    );
    expect(forward(netfilter, udp(1, 1, "10.0.0.1"))).toBe(Verdict.Undecided);
    expect(netfilter.reason).toBe(
      "undecided: filter/FORWARD rule 1: match -m connlimit --connlimit-above 1 is not modelled",
    );
    expect(forward(netfilter, udp(1, 1, "10.0.0.2"))).toBe(Verdict.Undecided);
    expect(netfilter.reason).toBe("undecided: filter/FORWARD rule 2: target FANCY is not modelled");
    expect(forward(netfilter, udp(1, 1, "10.0.0.3"))).toBe(Verdict.Accept);
  });

  test("NOTRACK: no connection, no NAT, state UNTRACKED", () => {
    const netfilter = create(
      "*raw\n-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack\nCOMMIT\n" +
        `${dnat("10.1.0.1")}*filter\n-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP\nCOMMIT\n`,
    );
    const skb = udp(4000, 1);
    expect(forward(netfilter, skb)).toBe(Verdict.Drop);
    expect([skb.ct, skb.ctinfo, destination(skb), netfilter.conntrackCount]).toEqual([
      null,
      CtInfo.Untracked,
      "10.96.0.10",
      0,
    ]);
  });

  test("counters and the trace show the rules walked", () => {
    const trace: string[] = [];
    const netfilter = create(
      "*filter\n:A -\n-A FORWARD -j A\n-A A -p tcp -j DROP\n-A A -p udp -j RETURN\n" +
        "-A FORWARD -j ACCEPT\nCOMMIT\n",
      [],
      trace,
    );
    forward(netfilter, udp(1, 1));
    expect(trace).toEqual(["filter/FORWARD:1 A", "filter/A:2 RETURN", "filter/FORWARD:2 ACCEPT"]);
    expect(netfilter.save(4)).toContain(
      "[1:28] -A FORWARD -j A\n[1:28] -A FORWARD -j ACCEPT\n[0:0] -A A -p tcp -j DROP\n" +
        "[1:28] -A A -p udp -j RETURN\n",
    );
  });

  test("affinity: 100 clients for each endpoint, the longest not seen goes first, lists survive a reload", () => {
    const text =
      "*nat\n:SVC -\n:SEP-A -\n:SEP-B -\n-A PREROUTING -j SVC\n" +
      "-A SVC -m recent --name A --rcheck --seconds 10 --reap -j SEP-A\n-A SVC -m recent --name B --rcheck --seconds 10 --reap -j SEP-B\n" +
      "-A SVC -m statistic --mode nth --every 2 --packet 0 -j SEP-A\n-A SVC -j SEP-B\n" +
      "-A SEP-A -p udp -m recent --name A --set -m udp -j DNAT --to-destination 10.1.0.1:1\n" +
        "-A SEP-B -p udp -m recent --name B --set -m udp -j DNAT --to-destination 10.1.0.2:1\n" +
        "COMMIT\n";
    const netfilter = create(text);
    let port = 1;
    const ask = (seconds: number, source = "10.0.0.1"): string => {
      const skb = udp(port++, seconds, source);
      forward(netfilter, skb);
      return destination(skb);
    };
    expect([ask(1), ask(2), ask(3, "10.0.0.2"), ask(4, "10.0.0.2")]).toEqual([
      "10.1.0.1",
      "10.1.0.1",
      "10.1.0.2",
      "10.1.0.2",
    ]);
    netfilter.replaceRules(parseRuleSet(text, "b", 4).rules, none);
    // Nine seconds after the last time it is still bound, eleven after it is not.
    expect([ask(11), ask(13, "10.0.0.2")]).toEqual(["10.1.0.1", "10.1.0.2"]);
    const lists = new RecentLists();
    const query = {
      list: "L",
      op: RecentOp.Set,
      seconds: 0,
      hitcount: 0,
      reap: false,
      rttl: false,
      invert: false,
    };
    for (let client = 0; client < 250; client++) lists.match(query, String(client), 64, client);
    expect(lists.addresses("L")).toHaveLength(100);
    expect(lists.addresses("L")[0]).toBe("150");
    lists.match({ ...query, op: RecentOp.Update }, "150", 64, 1000);
    lists.match(query, "new", 64, 1001);
    expect(lists.match({ ...query, op: RecentOp.Check }, "150", 64, 1002)).toBe(true);
    expect(lists.match({ ...query, op: RecentOp.Check }, "151", 64, 1002)).toBe(false);
  });

  test("an error made here belongs to the connection of the packet it is about", () => {
    const netfilter = create(dnat("10.1.0.1"));
    const skb = udp(4000, 1);
    netfilter.hook(Hook.Prerouting, skb);
    const made = new Skb();
    const quoted = skb.bytes.slice(0, 28);
    made.bytes = Uint8Array.from([
      0x45,
      0,
      0,
      56,
      0,
      0,
      0,
      0,
      64,
      1,
      0,
      0,
      192,
      168,
      0,
      1,
      10,
      0,
      0,
      1,
      11,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...quoted,
    ]);
    Object.assign(made, { length: 56, headerLength: 20, protocol: 1, timeNs: 1e9 });
    netfilter.attach(made, skb);
    expect(made.ctinfo).toBe(CtInfo.RelatedReply);
    expect(netfilter.hook(Hook.Output, made)).toBe(Verdict.Accept);
    made.outDevice = 1;
    expect(netfilter.hook(Hook.Postrouting, made)).toBe(Verdict.Accept);
    // The outer source and the quoted destination are what the client asked for.
    expect([
      made.bytes.slice(12, 16).join("."),
      made.bytes.slice(44, 48).join("."),
      half(made.bytes, 50),
    ]).toEqual(["10.96.0.10", "10.96.0.10", 53]);
  });

  test("no bytes make it throw", () => {
    const text = `*nat
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.1:8080
-A PREROUTING -s 10.0.0.0/8 -j DNAT --to-destination 10.1.0.2
-A POSTROUTING -j MASQUERADE
COMMIT
*filter
-A FORWARD -p tcp -m tcp --sport 1 -j REJECT --reject-with tcp-reset
-A FORWARD -m conntrack --ctstate INVALID -j ACCEPT
COMMIT
`;
    const netfilter = create(text);
    const verdicts = new Set<number>();
    const bytes = fc.uint8Array({ minLength: 40, maxLength: 90 });
    const protocol = fc.constantFrom(1, 6, 17, 33, 47, 50, 58, 132, 136, 200);
    const fuzz = fc.tuple(bytes, protocol, fc.constantFrom(4 as const, 6 as const), fc.nat(99), fc.constantFrom(0, 1, 2, 3, 4));
    fc.assert(fc.property(fuzz, ([content, number, family, end, hook]) => {
      const skb = new Skb();
      const headerLength = family === 4 ? 20 : 40;
      const length = Math.max(headerLength, Math.min(content.length, end));
      Object.assign(skb, { bytes: content.slice(), length, family, protocol: number, headerLength, inDevice: 1, timeNs: end * 1e9 });
      if (content[0] % 3 !== 0) skb.csum = Csum.Right;
      // An error may quote a packet seen before.
      if (content[1] % 2 === 0) skb.bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
      verdicts.add(forward(netfilter, skb));
      const lone = new Skb();
      Object.assign(lone, skb, { ct: null, ctinfo: CtInfo.Invalid });
      verdicts.add(netfilter.hook(hook as Hook, lone));
    }), { numRuns: 3000, seed: Number(process.env.TWINPLANE_SEED ?? 11) });
    expect([...verdicts].sort()).toEqual([Verdict.Accept, Verdict.Drop]);
    expect(netfilter.conntrackCount).toBeGreaterThan(100);
  });

  test("a connection more than nf_conntrack_max is not judged, until one of those there has ended", () => {
    const netfilter = create("*filter\n:FORWARD ACCEPT\nCOMMIT\n", [], null, { "net.netfilter.nf_conntrack_max": "2" });
    const send = (port: number, seconds: number): string => {
      const skb = udp(port, seconds);
      const verdict = netfilter.hook(Hook.Prerouting, skb);
      if (verdict !== Verdict.Accept) return netfilter.reason;
      skb.outDevice = 2;
      netfilter.hook(Hook.Forward, skb);
      netfilter.hook(Hook.Postrouting, skb);
      return "through";
    };
    expect([send(1, 0), send(2, 10), send(1, 11), send(3, 12)]).toEqual(["through", "through", "through",
      "undecided: the connection tracking table is full (nf_conntrack_max 2)"]);
    // The second connection's 30 seconds are over.
    expect(send(3, 40.5)).toBe("through");
  });
});
