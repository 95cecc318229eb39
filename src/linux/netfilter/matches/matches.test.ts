/**
 * What a packet alone cannot show on a kernel in a test: limit over time, owner and mac of packets that are not known, what
 * an undecided match does to the rule it stands in; and dumps that are broken anywhere.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testSeed } from "../../../../test/seed.js";
import { CtInfo, Hook, type NodeServices, Skb, Verdict } from "../../skb.js";
import { jhash4, scaled } from "../address-range.js";
import { createNetfilter, type Netfilter } from "../netfilter.js";
import { parseRuleSet } from "../rule-set.js";

const services: NodeServices = {
  addressType: () => "UNICAST",
  deviceName: (index) => ["", "eth0", "lo", "eth1"][index],
  masqueradeAddress: () => null,
  reject: () => {},
  sysctls: {},
};

function load(rules: string, family: 4 | 6 = 4, sysctls: Readonly<Record<string, string>> = {}): Netfilter {
  const [mine, other] = [parseRuleSet(rules, "x", family), parseRuleSet("", "y", family === 4 ? 6 : 4)];
  expect(mine.problems.filter(({ what }) => !what.includes("connlimit"))).toEqual([]);
  return createNetfilter({
    services: { ...services, sysctls }, chance: () => 0,
    rules4: family === 4 ? mine.rules : other.rules, rules6: family === 4 ? other.rules : mine.rules,
  });
}

function filter(lines: readonly string[]): Netfilter {
  return load(`*filter\n${lines.join("\n")}\nCOMMIT\n`);
}

/** UDP from 10.0.0.1:1000 to 10.0.0.2:53 that entered on eth0, with `more` on top. */
function packet(more: Partial<Skb> = {}, protocol = 17, tcpFlags = 0): Skb {
  const skb = new Skb();
  skb.bytes = new Uint8Array(64);
  skb.bytes.set([0x45, 0, 0, 44, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3, 232, 0, 53]);
  skb.bytes[33] = tcpFlags;
  return Object.assign(skb, { length: 44, headerLength: 20, protocol, inDevice: 1, outDevice: 3, ctinfo: CtInfo.Untracked, ...more });
}

test("physdev says no, and is not decided where bridged packets come to iptables", () => {
  const rules = "*filter\n-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT\n";
  const verdict = (sysctls: Readonly<Record<string, string>>): Verdict => load(rules, 4, sysctls).hook(Hook.Forward, packet());
  expect(verdict({})).toBe(Verdict.Drop);
  expect(verdict({ "net.bridge.bridge-nf-call-iptables": "0" })).toBe(Verdict.Drop);
  expect(verdict({ "net.bridge.bridge-nf-call-iptables": "1" })).toBe(Verdict.Undecided);
});

describe("limit", () => {
  test("lets a burst through, then the rate, on virtual time", () => {
    fc.assert(
      fc.property(
        fc.constantFrom([10, 1], [1, 5], [3, 20], [250, 5], [7, 2]),
        fc.array(fc.integer({ min: 0, max: 2_000 }), { minLength: 1, maxLength: 60 }),
        ([rate, burst], gapsMs) => {
          const rule = `-A PREROUTING -m limit --limit ${rate}/s --limit-burst ${burst} -j ACCEPT`;
          const netfilter = load(`*raw\n${rule}\n-A PREROUTING -j DROP\nCOMMIT\n`);
          // The bucket, in packets: what a jiffy of 4 ms brings, as the kernel rounds the cost of one.
          const cost = Math.floor((Math.floor(10000 / rate) * 32000) / 10000);
          const cap = Math.floor((Math.floor(10000 / rate) * burst * 32000) / 10000);
          let credit = cap;
          let time = 1e9;
          let jiffy = 250;
          for (const gap of gapsMs) {
            time += gap * 1e6;
            credit = Math.min(cap, credit + (Math.floor(time / 4e6) - jiffy) * 128);
            jiffy = Math.floor(time / 4e6);
            const passes = credit >= cost;
            if (passes) credit -= cost;
            const skb = packet({ timeNs: time, outDevice: 0, ctinfo: CtInfo.Invalid });
            expect(netfilter.hook(Hook.Prerouting, skb) === Verdict.Accept, `${rate}/s burst ${burst} at ${time}`).toBe(passes);
          }
        },
      ),
      { numRuns: 200, seed: testSeed("limit") },
    );
  });

  test("over a long time the rate is the rate", () => {
    const netfilter = load("*raw\n-A PREROUTING -m limit --limit 20/s -j ACCEPT\n-A PREROUTING -j DROP\nCOMMIT\n");
    let passed = 0;
    for (let ms = 0; ms < 60_000; ms += 5) {
      const skb = packet({ timeNs: 1e9 + ms * 1e6, outDevice: 0, ctinfo: CtInfo.Invalid });
      if (netfilter.hook(Hook.Prerouting, skb) === Verdict.Accept) passed++;
    }
    expect(passed).toBeGreaterThanOrEqual(1199);
    expect(passed).toBeLessThanOrEqual(1206);
  });

  test.each(["1/day", "10001/s", "0/s", "5/week", "5/"])("%s is refused", (rate) => {
    const { problems } = parseRuleSet(`*filter\n-A INPUT -m limit --limit ${rate}\nCOMMIT\n`, "x", 4);
    expect(problems).toHaveLength(1);
  });
});

describe("what is not known of a packet", () => {
  const own = (more: Partial<Skb> = {}, protocol = 17, flags = 0): Skb => packet({ inDevice: 0, local: true, ...more }, protocol, flags);

  test.each([
    ["-m owner --uid-owner 0", Verdict.Undecided, own()],
    ["-m owner ! --uid-owner 0", Verdict.Undecided, own()],
    ["-m owner --socket-exists", Verdict.Drop, own()],
    ["-m owner ! --socket-exists", Verdict.Accept, own()],
    ["-m owner --socket-exists", Verdict.Drop, own({}, 6, 2)],
    // A closed socket still acknowledges.
    ["-m owner --socket-exists", Verdict.Undecided, own({}, 6, 16)],
    // What the node made itself: an ICMP error has a socket of the kernel, a TCP reset none.
    ["-m owner --socket-exists", Verdict.Undecided, own({ local: false })],
    ["-m owner --uid-owner 0 -p tcp", Verdict.Accept, own()],
    ["-m owner --uid-owner 0 -m mark --mark 1", Verdict.Accept, own()],
    ["-m mark --mark 1 -m owner --uid-owner 0", Verdict.Accept, own()],
    ["-m owner --uid-owner 0 -m statistic --mode nth --every 2 --packet 1", Verdict.Undecided, own()],
    ["-m statistic --mode nth --every 2 --packet 1 -m owner --uid-owner 0", Verdict.Accept, own()],
  ] as const)("OUTPUT %s", (rule, wanted, skb) => {
    const netfilter = filter([`-A OUTPUT ${rule} -j DROP`]);
    expect(netfilter.hook(Hook.Output, skb)).toBe(wanted);
    if (wanted === Verdict.Undecided) expect(netfilter.reason).toMatch(/^undecided: filter\/OUTPUT rule 1: the socket/);
  });

  test.each([
    ["-m mac --mac-source 02:00:00:00:00:01", null, 1, Verdict.Undecided],
    ["-m mac --mac-source 02:00:00:00:00:01", [2, 0, 0, 0, 0, 1], 1, Verdict.Drop],
    ["-m mac ! --mac-source 02:00:00:00:00:01", [2, 0, 0, 0, 0, 1], 1, Verdict.Accept],
    ["-m mac ! --mac-source 02:00:00:00:00:01", null, 2, Verdict.Accept],
    ["-m mac --mac-source 02:00:00:00:00:01 -p tcp", null, 1, Verdict.Accept],
    ["-p udp -m mac --mac-source 02:00:00:00:00:01 -m udp --dport 54", null, 1, Verdict.Accept],
    ["-m rpfilter --invert", null, 1, Verdict.Accept],
  ] as const)("INPUT %s, MAC %s", (rule, mac, device, wanted) => {
    const netfilter = filter([`-A INPUT ${rule === "-m rpfilter --invert" ? "-p tcp " : ""}${rule} -j DROP`]);
    const sourceMac = mac === null ? null : Uint8Array.from(mac);
    expect(netfilter.hook(Hook.Input, packet({ sourceMac, inDevice: device, outDevice: 0 }))).toBe(wanted);
  });

  test("rpfilter without routes, u32 and TCP options behind a short capture", () => {
    const raw = load("*raw\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n");
    expect(raw.hook(Hook.Prerouting, packet({ outDevice: 0 }))).toBe(Verdict.Undecided);
    const cut = packet();
    cut.has = (end) => end <= 28;
    expect(filter(['-A FORWARD -m u32 --u32 "40=1" -j DROP']).hook(Hook.Forward, cut)).toBe(Verdict.Undecided);
    expect(filter(['-A FORWARD -m u32 --u32 "24=1" -j DROP']).hook(Hook.Forward, cut)).toBe(Verdict.Accept);
    expect(filter(['-A FORWARD ! -d 10.0.0.2 -m u32 --u32 "40=1" -j DROP']).hook(Hook.Forward, cut)).toBe(Verdict.Accept);
  });

  test("behind an unmodelled match nothing is counted that may not have come so far", () => {
    const netfilter = filter(["-A FORWARD -m connlimit --connlimit-above 3 -m recent --name A --set -m mark --mark 1 -j DROP",
      "-A FORWARD -m recent --name A --rcheck -j DROP"]);
    expect(netfilter.hook(Hook.Forward, packet())).toBe(Verdict.Accept);
    expect(netfilter.hook(Hook.Forward, packet({ mark: 1 }))).toBe(Verdict.Undecided);
    expect(netfilter.hook(Hook.Forward, packet())).toBe(Verdict.Accept);
  });
});

test("limit spends its credit on whom a later match turns away", () => {
  const netfilter = filter(["-A FORWARD -m limit --limit 1/hour --limit-burst 1 -m mark --mark 1 -j DROP"]);
  expect(netfilter.hook(Hook.Forward, packet())).toBe(Verdict.Accept);
  expect(netfilter.hook(Hook.Forward, packet({ mark: 1 }))).toBe(Verdict.Accept);
});

test("a rule behind NOTRACK sees the packet untracked", () => {
  const netfilter = load("*raw\n-A PREROUTING -m mark --mark 0 -j CT --notrack\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n"
    + "-A PREROUTING -m conntrack --ctstate UNTRACKED -j MARK --set-mark 7\nCOMMIT\n");
  const skb = packet({ outDevice: 0, ctinfo: CtInfo.Invalid });
  expect([netfilter.hook(Hook.Prerouting, skb), skb.mark]).toEqual([Verdict.Accept, 7]);
});

test("reciprocal_scale and jhash2 stay in range", () => {
  fc.assert(fc.property(fc.integer(), fc.integer(), fc.integer({ min: 1, max: 0xffffffff }), (word, initial, range) => {
    const hash = jhash4(word, 0, 0, 0, initial);
    expect(Number.isInteger(hash) && hash >= 0 && hash <= 0xffffffff).toBe(true);
    expect(scaled(hash, range)).toBeLessThan(range);
  }), { seed: testSeed("jhash") });
});
