/**
 * NAT on bytes: what comes back is restored, checksums stay right, ports stay in their class, pins and
 * affinity.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../cluster/address.js";
import { Csum, CtInfo, Hook, type NodeServices, Skb, Verdict } from "../skb.js";
import { fold, pseudoSum, sctpChecksum, sumBytes, verifyChecksum } from "./checksum.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { half, Packet, putHalf } from "./packet.js";
import { parseRuleSet } from "./rule-set.js";

const rules = (protocol: string, extra = ""): string => `*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -d 10.96.0.99 -j REJECT
COMMIT
*nat
:SVC - [0:0]
:SEP1 - [0:0]
:SEP2 - [0:0]
:SEP3 - [0:0]
-A PREROUTING -p ${protocol} -m ${protocol} -d 10.96.0.10 --dport 80 -j SVC
-A SVC -m statistic --mode random --probability 0.3333333333 -j SEP1
-A SVC -m statistic --mode random --probability 0.5 -j SEP2
-A SVC -j SEP3
-A SEP1 -p ${protocol} -m ${protocol} -j DNAT --to-destination 10.244.2.1:8080
-A SEP2 -p ${protocol} -m ${protocol} -j DNAT --to-destination 10.244.2.2:8080
-A SEP3 -p ${protocol} -m ${protocol} -j DNAT --to-destination 10.244.2.3:8080
-A POSTROUTING -s 10.244.1.0/24 -j MASQUERADE${extra}
COMMIT
`;
const rules6 = `*nat
-A PREROUTING -p tcp -m tcp -d fd00::10 --dport 80 -j DNAT --to-destination [fd01::2]:8080
-A PREROUTING -p udp -m udp -d fd00::10 --dport 80 -j DNAT --to-destination [fd01::2]:8080
-A POSTROUTING -j MASQUERADE
COMMIT
`;

function mixed(flow: number, draw: number): number {
  const hash = Math.imul(flow ^ Math.imul(draw + 1, 0x9e3779b1), 0x85ebca6b);
  return Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35) ^ (hash >>> 13);
}

function node(text4: string, chance = mixed): { netfilter: Netfilter; rejected: string[] } {
  const rejected: string[] = [];
  const services: NodeServices = {
    addressType: () => "UNICAST",
    deviceName: (index) => `eth${index}`,
    sysctls: {},
    masqueradeAddress: (_device, skb) => parseAddress(skb.family === 4 ? "192.168.50.11" : "fd02::11"),
    reject: (_skb, kind) => rejected.push(kind),
  };
  return {
    rejected,
    netfilter: createNetfilter({
      services,
      chance,
      rules4: parseRuleSet(text4, "4", 4).rules,
      rules6: parseRuleSet(rules6, "6", 6).rules,
    }),
  };
}

interface Flow {
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

function build(flow: Flow, payload = 5, flags = 2): Skb {
  const source = parseAddress(flow.source)?.bytes ?? new Uint8Array(4);
  const destination = parseAddress(flow.destination)?.bytes ?? new Uint8Array(4);
  const v4 = source.length === 4;
  const header = v4 ? 20 : 40;
  const upper = flow.protocol === 6 ? 20 : flow.protocol === 132 ? 12 + 20 : 8;
  const length = header + upper + payload;
  const bytes = new Uint8Array(length);
  if (v4) {
    bytes.set([0x45, 0, length >> 8, length, 0, 1, 0, 0, 64, flow.protocol, 0, 0, ...source, ...destination]);
    putHalf(bytes, 10, ~fold(sumBytes(bytes, 0, 20)) & 0xffff);
  } else {
    bytes.set([0x60, 0, 0, 0, (length - 40) >> 8, length - 40, flow.protocol, 64, ...source, ...destination]);
  }
  putHalf(bytes, header, flow.sourcePort);
  putHalf(bytes, header + 2, flow.destinationPort);
  for (let at = header + upper; at < length; at++) bytes[at] = at * 31;
  if (flow.protocol === 6) bytes.set([0x50, flags], header + 12);
  if (flow.protocol === 17) putHalf(bytes, header + 4, 8 + payload);
  if (flow.protocol === 132) bytes.set([1, 0, 0, 20, 1, 2, 3, 4], header + 12);
  const skb = new Skb();
  Object.assign(skb, {
    bytes,
    length,
    headerLength: header,
    protocol: flow.protocol,
    family: v4 ? 4 : 6,
    inDevice: 1,
    timeNs: 1e9,
  });
  fillChecksum(skb);
  return skb;
}

function fillChecksum(skb: Skb): void {
  const { bytes, headerLength: at, length } = skb;
  if (skb.protocol === 132) {
    new DataView(bytes.buffer).setUint32(at + 8, sctpChecksum(bytes, at, length - at), true);
    return;
  }
  const field = at + (skb.protocol === 6 ? 16 : 6);
  putHalf(bytes, field, 0);
  const sum = ~fold(sumBytes(bytes, at, length - at) + pseudoSum(skb, skb.protocol, length - at)) & 0xffff;
  putHalf(bytes, field, sum === 0 ? 0xffff : sum);
}

function through(netfilter: Netfilter, skb: Skb): Verdict {
  let verdict = netfilter.hook(Hook.Prerouting, skb);
  skb.outDevice = 2;
  if (verdict === Verdict.Accept) verdict = netfilter.hook(Hook.Forward, skb);
  return verdict === Verdict.Accept ? netfilter.hook(Hook.Postrouting, skb) : verdict;
}

/** The packet that answers what came out: ends swapped. */
function answer(skb: Skb, flags = 18): Skb {
  const { bytes, headerLength: at } = skb;
  const v4 = skb.family === 4;
  const text = (from: number): string =>
    v4 ? bytes.slice(from, from + 4).join(".") : hex(bytes.subarray(from, from + 16));
  return build(
    {
      protocol: skb.protocol,
      source: text(v4 ? 16 : 24),
      destination: text(v4 ? 12 : 8),
      sourcePort: half(bytes, at + 2),
      destinationPort: half(bytes, at),
    },
    9,
    flags,
  );
}

function hex(bytes: Uint8Array): string {
  return Array.from({ length: 8 }, (_, index) => half(bytes, index * 2).toString(16)).join(":");
}

function describeSkb(skb: Skb): string {
  const { bytes, headerLength: at } = skb;
  const v4 = skb.family === 4;
  const text = (from: number): string =>
    v4
      ? bytes.slice(from, from + 4).join(".")
      : (parseAddress(hex(bytes.subarray(from, from + 16)))?.text ?? "");
  return `${text(v4 ? 12 : 8)} ${half(bytes, at)} > ${text(v4 ? 16 : 24)} ${half(bytes, at + 2)}`;
}

function checksum(skb: Skb): Csum {
  const again = new Skb();
  Object.assign(again, skb, { csum: Csum.Unknown });
  const packet = new Packet();
  packet.load(again);
  verifyChecksum(again, packet);
  return again.csum;
}

const flowArbitrary = fc
  .record({
    protocol: fc.constantFrom(6, 17, 132),
    sourcePort: fc.integer({ min: 1, max: 65535 }),
    client: fc.integer({ min: 1, max: 250 }),
    v6: fc.boolean(),
    masquerade: fc.boolean(),
    payload: fc.integer({ min: 0, max: 40 }),
  })
  .map((spec) => ({ ...spec, v6: spec.v6 && spec.protocol !== 132 }));

describe("NAT", () => {
  test("answers come back as from whom was asked, all checksums right", () => {
    const nodes = new Map([
      [6, node(rules("tcp"))],
      [17, node(rules("udp"))],
      [132, node(rules("sctp"))],
    ]);
    fc.assert(
      fc.property(flowArbitrary, (spec) => {
        const netfilter = nodes.get(spec.protocol)?.netfilter as Netfilter;
        const source = spec.v6
          ? `fd00:1::${spec.client.toString(16)}`
          : `10.244.${spec.masquerade ? 1 : 7}.${spec.client}`;
        const flow = {
          protocol: spec.protocol,
          source,
          sourcePort: spec.sourcePort,
          destination: spec.v6 ? "fd00::10" : "10.96.0.10",
          destinationPort: 80,
        };
        const out = build(flow, spec.protocol === 132 ? 0 : spec.payload);
        expect(through(netfilter, out)).toBe(Verdict.Accept);
        expect(describeSkb(out)).toMatch(spec.v6 ? / > fd01::2 8080$/ : / > 10\.244\.2\.[123] 8080$/);
        if (spec.v6 || spec.masquerade) expect(describeSkb(out)).toMatch(/^(192\.168\.50\.11|fd02::11) /);
        expect(checksum(out)).toBe(Csum.Right);
        if (!spec.v6) expect(fold(sumBytes(out.bytes, 0, 20))).toBe(0xffff);
        if (spec.protocol === 132) return;
        const back = answer(out);
        expect(through(netfilter, back)).toBe(Verdict.Accept);
        expect(back.ctinfo).toBe(CtInfo.EstablishedReply);
        expect(describeSkb(back)).toBe(
          `${flow.destination} 80 > ${parseAddress(source)?.text} ${spec.sourcePort}`,
        );
        expect(checksum(back)).toBe(Csum.Right);
      }),
      { numRuns: 400, seed: Number(process.env.TWINPLANE_SEED ?? 5) },
    );
  });

  test.each([
    ["10.244.1.20", "10.96.0.10", "203.0.113.1", "192.168.50.11"],
    ["fd00:1::20", "fd00::10", "fd00:9::1", "fd02::11"],
  ])("an ICMP error from the way is translated for %s, quoted packet and checksums too", (client, service, router, node11) => {
    const { netfilter } = node(rules("udp"));
    const out = build({ protocol: 17, source: client, sourcePort: 4000, destination: service, destinationPort: 80 });
    expect(through(netfilter, out)).toBe(Verdict.Accept);
    const error = (to: string): Skb => {
      const v4 = out.family === 4;
      const quoted = out.bytes.slice(0, out.length);
      const skb = build({ protocol: 17, source: router, sourcePort: 0, destination: to, destinationPort: 0 }, quoted.length);
      const at = skb.headerLength;
      skb.protocol = v4 ? 1 : 58;
      skb.bytes[v4 ? 9 : 6] = skb.protocol;
      skb.bytes.set([v4 ? 3 : 1, v4 ? 1 : 0, 0, 0, 0, 0, 0, 0, ...quoted], at);
      const sum = fold(sumBytes(skb.bytes, at, skb.length - at) + (v4 ? 0 : pseudoSum(skb, 58, skb.length - at)));
      putHalf(skb.bytes, at + 2, ~sum & 0xffff);
      if (v4) {
        putHalf(skb.bytes, 10, 0);
        putHalf(skb.bytes, 10, ~fold(sumBytes(skb.bytes, 0, 20)) & 0xffff);
      }
      return skb;
    };
    const back = error(node11);
    expect(through(netfilter, back)).toBe(Verdict.Accept);
    expect(back.ctinfo).toBe(CtInfo.RelatedReply);
    const inner = new Skb();
    const quoted = back.bytes.slice(back.headerLength + 8);
    Object.assign(inner, { bytes: quoted, length: quoted.length, family: out.family, headerLength: out.headerLength, protocol: 17 });
    expect(describeSkb(inner)).toBe(`${client} 4000 > ${service} 80`);
    expect(describeSkb(back).split(" ")[3]).toBe(client);
    expect([checksum(back), checksum(inner)]).toEqual([Csum.Right, Csum.Right]);
    // Sent to somebody who had no part in the connection: INVALID.
    const stray = error(out.family === 4 ? "10.244.1.77" : "fd00:1::77");
    netfilter.hook(Hook.Prerouting, stray);
    expect([stray.ct, stray.ctinfo]).toEqual([null, CtInfo.Invalid]);
  });

  test("UDP without checksum stays without; an offloaded one stays a pseudo-header sum", () => {
    const { netfilter } = node(rules("udp"));
    const flow = {
      protocol: 17,
      source: "10.244.1.20",
      sourcePort: 4000,
      destination: "10.96.0.10",
      destinationPort: 80,
    };
    const none = build(flow);
    putHalf(none.bytes, 26, 0);
    expect(through(netfilter, none)).toBe(Verdict.Accept);
    expect(half(none.bytes, 26)).toBe(0);
    const partial = build({ ...flow, sourcePort: 4001 });
    putHalf(partial.bytes, 26, pseudoSum(partial, 17, 13));
    expect(through(netfilter, partial)).toBe(Verdict.Accept);
    expect(partial.csum).toBe(Csum.Partial);
    expect(half(partial.bytes, 26)).toBe(pseudoSum(partial, 17, 13));
  });

  test("a wrong checksum is INVALID: not translated, dropped by the rule for it", () => {
    const { netfilter } = node(rules("tcp"));
    const skb = build({
      protocol: 6,
      source: "10.244.1.20",
      sourcePort: 4000,
      destination: "10.96.0.10",
      destinationPort: 80,
    });
    skb.bytes[36] ^= 1;
    expect(through(netfilter, skb)).toBe(Verdict.Drop);
    expect(netfilter.reason).toBe("filter/FORWARD");
    expect(describeSkb(skb)).toContain("> 10.96.0.10 80");
  });

  test("a packet given up on its way leaves nothing: the next one of its ports is new and keeps them", () => {
    const { netfilter } = node(rules("udp"));
    const send = (destination: string): Skb =>
      build({ protocol: 17, source: "10.244.1.20", sourcePort: 4000, destination, destinationPort: 80 });
    const address = parseAddress("10.244.2.2") ?? (null as never);
    const pin = { backend: { address, port: 8080 }, sourcePort: null };
    // Translated, then dropped by the stack (too big, TTL, no route): POSTROUTING never confirms it.
    const lost = send("10.96.0.10");
    lost.pin = pin;
    expect(netfilter.hook(Hook.Prerouting, lost)).toBe(Verdict.Accept);
    lost.outDevice = 2;
    expect(netfilter.hook(Hook.Forward, lost)).toBe(Verdict.Accept);
    expect(describeSkb(lost)).toBe("10.244.1.20 4000 > 10.244.2.2 8080");
    expect(netfilter.conntrackCount).toBe(0);
    const next = send("10.96.0.10");
    next.pin = pin;
    expect(through(netfilter, next)).toBe(Verdict.Accept);
    expect(next.ctinfo).toBe(CtInfo.New);
    expect(describeSkb(next)).toBe("192.168.50.11 4000 > 10.244.2.2 8080");
    expect(netfilter.lastEligibleSourcePorts).toBeNull();
    expect(netfilter.conntrack().map(({ id }) => id)).toEqual([next.ct?.id]);
  });

  test("a segment outside the window is INVALID: not translated, dropped by the rule for it", () => {
    const { netfilter } = node(rules("tcp"));
    const ends = { source: "10.244.1.20", destination: "10.96.0.10" };
    const flow = { protocol: 6, ...ends, sourcePort: 4000, destinationPort: 80 };
    const numbered = (skb: Skb, seq: number, ack: number): Skb => {
      const view = new DataView(skb.bytes.buffer);
      view.setUint32(skb.headerLength + 4, seq);
      view.setUint32(skb.headerLength + 8, ack);
      view.setUint16(skb.headerLength + 14, 1000);
      fillChecksum(skb);
      return skb;
    };
    const syn = numbered(build(flow, 0, 2), 5000, 0);
    expect(through(netfilter, syn)).toBe(Verdict.Accept);
    expect(through(netfilter, numbered(answer(syn), 7000, 5001))).toBe(Verdict.Accept);
    expect(through(netfilter, numbered(build(flow, 0, 16), 5001, 7006))).toBe(Verdict.Accept);
    const far = numbered(build(flow, 10, 16), 900000, 7006);
    expect(through(netfilter, far)).toBe(Verdict.Drop);
    expect([netfilter.reason, far.ct, far.ctinfo]).toEqual(["filter/FORWARD", null, CtInfo.Invalid]);
    expect(describeSkb(far)).toContain("> 10.96.0.10 80");
    expect(through(netfilter, numbered(build(flow, 10, 16), 5001, 7006))).toBe(Verdict.Accept);
  });

  test("a taken port is replaced inside its class, and the eligible range is told", () => {
    for (const [port, min, max] of [
      [400, 1, 511],
      [700, 600, 1023],
      [40000, 1024, 65535],
    ]) {
      const { netfilter } = node(rules("tcp"));
      const send = (source: string): Skb => {
        const skb = build({
          protocol: 6,
          source,
          sourcePort: port,
          destination: "8.8.8.8",
          destinationPort: 443,
        });
        expect(through(netfilter, skb)).toBe(Verdict.Accept);
        return skb;
      };
      expect(describeSkb(send("10.244.1.20"))).toBe(`192.168.50.11 ${port} > 8.8.8.8 443`);
      expect(netfilter.lastEligibleSourcePorts).toBeNull();
      const second = half(send("10.244.1.21").bytes, 20);
      expect(netfilter.lastEligibleSourcePorts).toEqual([min, max]);
      expect(second !== port && second >= min && second <= max).toBe(true);
      const third = half(send("10.244.1.22").bytes, 20);
      expect(new Set([port, second, third]).size).toBe(3);
    }
  });

  test("--random-fully draws at once; a pin is taken inside the class and refused outside", () => {
    const { netfilter } = node(rules("tcp", " --random-fully"));
    const send = (client: number, pinned: number | null): { port: number; flags: number } => {
      const skb = build({
        protocol: 6,
        source: `10.244.1.${client}`,
        sourcePort: 40000,
        destination: "8.8.8.8",
        destinationPort: 443,
      });
      skb.pin = pinned === null ? null : { backend: null, sourcePort: pinned };
      expect(through(netfilter, skb)).toBe(Verdict.Accept);
      return { port: half(skb.bytes, 20), flags: skb.pinFlags };
    };
    expect(send(1, null).port).not.toBe(40000);
    expect(send(2, 55869)).toEqual({ port: 55869, flags: 1 });
    // Taken now, and outside the class.
    expect(send(3, 55869).flags).toBe(2);
    expect(send(4, 800).flags).toBe(2);
  });

  test("a pinned backend is taken where it is eligible, and the set is told", () => {
    const { netfilter } = node(rules("tcp"));
    const send = (sourcePort: number, backend: string): { text: string; flags: number } => {
      const skb = build({
        protocol: 6,
        source: "10.244.7.1",
        sourcePort,
        destination: "10.96.0.10",
        destinationPort: 80,
      });
      skb.pin = {
        backend: { address: parseAddress(backend) ?? (null as never), port: 8080 },
        sourcePort: null,
      };
      netfilter.hook(Hook.Prerouting, skb);
      return { text: describeSkb(skb).split(" > ")[1], flags: skb.pinFlags };
    };
    let port = 2000;
    for (const backend of ["10.244.2.1", "10.244.2.2", "10.244.2.3"]) {
      expect(send(port++, backend)).toEqual({ text: `${backend} 8080`, flags: 1 });
      expect(netfilter.lastEligibleBackends).toEqual([
        "10.244.2.1:8080",
        "10.244.2.2:8080",
        "10.244.2.3:8080",
      ]);
    }
    expect(send(port++, "10.244.2.9").flags).toBe(2);
  });

  test("chance reaches every backend, and about equally", () => {
    const { netfilter } = node(rules("tcp"));
    const counts = new Map<string, number>();
    for (let port = 1024; port < 4024; port++) {
      const skb = build({
        protocol: 6,
        source: "10.244.7.1",
        sourcePort: port,
        destination: "10.96.0.10",
        destinationPort: 80,
      });
      netfilter.hook(Hook.Prerouting, skb);
      const backend = describeSkb(skb).split(" > ")[1];
      counts.set(backend, (counts.get(backend) ?? 0) + 1);
    }
    expect(counts.size).toBe(3);
    for (const count of counts.values()) expect(count).toBeGreaterThan(850);
  });
});
