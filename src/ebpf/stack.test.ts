/**
 * What the kernel of a node and of a pod does to frames that programs let through: headers it refuses, frames too
 * large for a device, hops that run out, clocks, and memory that runs out.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACK, packet, type PacketInput } from "../../test/packets.js";
import { BASE_OPTIONS, Bench, type OptionName, POD_DEVICE, UPLINK, type WalkInput } from "../../test/programs.js";
import { testSeed } from "../../test/seed.js";
import { DropReason, EndpointFlag, FibKind, KernelReason, UndecidedReason } from "../contract/codes.js";
import { End } from "../dataplane.js";

const A = "10.1.0.1";
const B = "10.1.0.2";
const FAR = "10.2.0.3";
const CLIENT = "203.0.113.9";
const A6 = "fd10:1::1";
const B6 = "fd10:1::2";
const B_DEVICE = 11;
const seed = testSeed("stack.test.ts");

/** Pods a and b on node 0; 10.2.0.0/16 and everything else leave by the uplink through the stack. */
function node(options: readonly OptionName[] = ["ENABLE_ENDPOINT_ROUTES"], uplinkMtu = 1500, podMtu = 1500): Bench {
  const bench = new Bench();
  bench.options([...BASE_OPTIONS, "ENABLE_IPV6", ...options]);
  for (const egress of [true, false]) bench.allow(egress, 0);
  for (const [v4, v6, device, identity] of [[A, A6, POD_DEVICE, 300], [B, B6, B_DEVICE, 301]] as const) {
    bench.pod(v4, identity, 0, v6, device);
    bench.put("twinplane_devices", { node: 0, ifindex: device },
      { ...bench.lookup("twinplane_devices", { node: 0, ifindex: device }), mtu: podMtu });
    for (const [ip, length] of [[v4, 32], [v6, 128]] as const) {
      bench.endpoint(ip, device, identity);
      bench.ipcache(`${ip}/${length}`, identity);
      bench.route(`${ip}/${length}`, FibKind.values.ENDPOINT, device);
    }
  }
  bench.endpoint("192.168.0.1", 0, 1, EndpointFlag.values.HOST);
  bench.put("twinplane_devices", { node: 0, ifindex: UPLINK }, { kind: 2, mtu: uplinkMtu });
  return bench;
}

function end(bench: Bench, row: WalkInput): string {
  const [{ outcome }] = bench.walk([row]);
  const reasons = outcome.end === End.Undecided
    ? UndecidedReason.values : { ...DropReason.values, ...KernelReason.values };
  const name = Object.entries(End).find(([, value]) => value === outcome.end)![0];
  const reason = Object.entries(reasons).find(([, value]) => value === outcome.reason)?.[0];
  return outcome.reason === 0 ? name : `${name} ${reason}`;
}

const udp = (input: Partial<PacketInput> = {}): Uint8Array =>
  packet({ from: CLIENT, to: A, protocol: "UDP", sport: 5000, dport: 9, ...input });

/** The packet with bytes changed, and the IPv4 header's checksum made right again. */
function changed(bytes: Uint8Array, change: (bytes: Uint8Array) => void, seal = true): Uint8Array {
  const copy = bytes.slice();
  change(copy);
  if (!seal) return copy;
  const length = Math.max(20, (copy[0] & 15) * 4);
  copy.set([0, 0], 10);
  let sum = 0;
  for (let at = 0; at < length; at += 2) sum += (copy[at] << 8) | (copy[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.set([(~sum >> 8) & 0xff, ~sum & 0xff], 10);
  return copy;
}

describe("headers a kernel refuses", () => {
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["a right header", udp(), "Delivered"],
    ["version 5", changed(udp(), (bytes) => bytes.set([0x55])), "Dropped IP_INHDR"],
    ["version 6", changed(udp(), (bytes) => bytes.set([0x65])), "Dropped IP_INHDR"],
    ["a header of 16 bytes", changed(udp(), (bytes) => bytes.set([0x44])), "Dropped IP_INHDR"],
    ["a header longer than the packet", changed(udp(), (bytes) => bytes.set([0x4f])), "Dropped PKT_TOO_SMALL"],
    ["a wrong checksum", changed(udp(), (bytes) => bytes.set([bytes[10] ^ 1], 10), false), "Dropped IP_CSUM"],
    ["a total length above the frame's", changed(udp(), (bytes) => bytes.set([0, 99], 2)), "Dropped PKT_TOO_SMALL"],
    ["a total length below the header's", changed(udp(), (bytes) => bytes.set([0, 19], 2)), "Dropped IP_INHDR"],
  ];

  it.each(cases)("%s, at the stack of the node", (_name, bytes, expected) => {
    // Without fragment tracking or services in the way, from_netdev hands everything to the stack.
    const bench = node();
    bench.options(["ENABLE_IPV4", "ENABLE_ENDPOINT_ROUTES"]);
    expect(end(bench, { packet: bytes, device: UPLINK, etherType: 0x0800 })).toBe(expected);
  });

  it("are refused by the pod where the stack of the node is passed by", () => {
    const bench = node(["ENABLE_HOST_ROUTING"]);
    const walked = bench.walk([{ device: POD_DEVICE, etherType: 0x0800,
      packet: changed(packet({ from: A, to: B, protocol: "UDP" }), (bytes) => bytes.set([0x65])) }]);
    expect(walked[0].images.map(({ device }) => device)).toEqual([B_DEVICE]);
    expect(walked[0].outcome).toMatchObject({ end: End.Dropped, reason: KernelReason.values.IP_INHDR });
    expect(end(bench, { device: POD_DEVICE, etherType: 0x0800,
      packet: changed(packet({ from: A, to: CLIENT, protocol: "UDP" }), (bytes) => bytes.set([0x65])) }))
      .toBe("Undecided BROKEN_HEADER");
  });

  it("are not judged from what the capture does not hold", () => {
    const bytes = changed(udp(), (copy) => copy.set([0x4f]));
    const long = new Uint8Array(200);
    long.set(bytes);
    expect(end(node(), { packet: long.subarray(0, 40), wire: 200, device: UPLINK, etherType: 0x0800 }))
      .toBe("Undecided TRUNCATED");
  });

  it("of IPv6: the version, the length, hop-by-hop options", () => {
    const right = packet({ from: "2001:db8::9", to: A6, protocol: "UDP" });
    const ends = [right, changed(right, (bytes) => bytes.set([0x40]), false), changed(right, (bytes) => bytes.set([0, 99], 4), false)]
      .map((bytes) => {
        const bench = node();
        bench.options(["ENABLE_IPV4", "ENABLE_IPV6", "ENABLE_ENDPOINT_ROUTES"]);
        return end(bench, { packet: bytes, device: UPLINK, etherType: 0x86dd });
      });
    expect(ends).toEqual(["Delivered", "Dropped IP_INHDR", "Dropped PKT_TOO_SMALL"]);
  });

  // Up to the addresses: those decide where it goes.
  it("any header with one byte changed is delivered only where the kernel's own rules are met", () => {
    fc.assert(fc.property(fc.nat(11), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, seal) => {
      const bytes = changed(udp(), (copy) => {
        copy[at] ^= flip;
      }, seal && at !== 10 && at !== 11);
      const bench = node();
      bench.options(["ENABLE_IPV4", "ENABLE_ENDPOINT_ROUTES", "ENABLE_EXTENDED_IP_PROTOCOLS"]);
      const got = end(bench, { packet: bytes, device: UPLINK, etherType: 0x0800 });
      if (got === "Delivered") expect(accepted(bytes)).toBe(true);
      else if (/^Dropped (IP|PKT)_/.test(got)) expect(accepted(bytes)).toBe(false);
    }), { seed, numRuns: 150 });
  });
});

/** ip_rcv_core, read from its description. */
function accepted(bytes: Uint8Array): boolean {
  const length = (bytes[0] & 15) * 4;
  const total = (bytes[2] << 8) | bytes[3];
  if (bytes[0] >> 4 !== 4 || length < 20 || length > bytes.length) return false;
  let sum = 0;
  for (let at = 0; at < length; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum === 0xffff && total <= bytes.length && total >= length;
}

describe("what the stack forwards", () => {
  it("is addressed to the node on its link", () => {
    const bench = node();
    const to = packet({ from: A, to: CLIENT, protocol: "TCP" });
    expect([0, 1, 2, 3].map((packetType) => end(bench, { packet: to, device: POD_DEVICE, packetType })))
      .toEqual(["Left", "Dropped INVALID_PROTO", "Dropped INVALID_PROTO", "Dropped OTHERHOST"]);
  });

  it("has a hop left, and options that only travel along", () => {
    const bench = node();
    expect(end(bench, { packet: packet({ from: A, to: CLIENT, protocol: "TCP", ttl: 1 }), device: POD_DEVICE }))
      .toBe("Undecided TTL");
    const withOption = (option: readonly number[]): Uint8Array => {
      const plain = packet({ from: A, to: CLIENT, protocol: "UDP" });
      const bytes = new Uint8Array(plain.length + 4);
      bytes.set(plain.subarray(0, 20));
      bytes.set(option, 20);
      bytes.set(plain.subarray(20), 24);
      return changed(bytes, (copy) => copy.set([0x46, 0, 0, bytes.length]));
    };
    expect([[1, 1, 1, 0], [148, 4, 0, 0], [7, 4, 4, 0], [68, 4, 5, 0], [131, 3, 4, 0], [148, 9, 0, 0]]
      .map((option) => end(bench, { packet: withOption(option), device: POD_DEVICE })))
      .toEqual(["Left", "Left", ...Array.from({ length: 4 }, () => "Undecided IP_OPTIONS")]);
  });

  it("fits the device it leaves by, unless an offload merged its segments", () => {
    const long = (protocol: "TCP" | "UDP", length: number): Uint8Array =>
      packet({ from: A, to: CLIENT, protocol, payload: new Uint8Array(length - (protocol === "TCP" ? 40 : 28)) });
    const ends = (uplink: number, pod: number, ...frames: Uint8Array[]): string[] =>
      frames.map((bytes) => end(node(undefined, uplink, pod), { packet: bytes, device: POD_DEVICE }));
    expect(ends(1400, 1500, long("UDP", 1400), long("UDP", 1401), long("TCP", 1401), long("TCP", 9000)))
      .toEqual(["Left", "Undecided MTU", "Undecided MTU", "Undecided MTU"]);
    expect(ends(1500, 1500, long("TCP", 9000), long("UDP", 9000))).toEqual(["Left", "Undecided MTU"]);
    expect(ends(0, 0, long("UDP", 9000))).toEqual(["Left"]);
    const bench = node(undefined, 1500, 1400);
    expect(end(bench, { packet: udp({ payload: new Uint8Array(1400) }), device: UPLINK })).toBe("Undecided MTU");
    expect(end(bench, { packet: long("TCP", 9000), device: 0 })).toBe("Left");
  });

  it("is left open where the node's iptables may masquerade it, and only there", () => {
    const bench = node(["ENABLE_ENDPOINT_ROUTES", "IPTABLES_MASQUERADE_IPV4"]);
    bench.options(["ENABLE_IPV4", "ENABLE_IPV4_FRAGMENT_TRACKING", "ENABLE_ENDPOINT_ROUTES", "IPTABLES_MASQUERADE_IPV4"]);
    bench.ipcache("192.168.0.2/32", 6);
    const out = (to: string, more: Partial<PacketInput> = {}): string =>
      end(bench, { packet: packet({ from: A, to, protocol: "TCP", ...more }), device: POD_DEVICE });
    expect([out(CLIENT), out(FAR), out("192.168.0.2")]).toEqual(["Undecided MASQUERADE", "Left", "Left"]);
    expect(end(bench, { packet: packet({ from: "192.168.0.1", to: CLIENT, protocol: "TCP" }), device: 0 })).toBe("Left");
    // A reply to a client outside is no new connection to the nat table.
    expect(end(bench, { packet: packet({ from: CLIENT, to: A, protocol: "TCP", sport: 7000, dport: 81 }), device: UPLINK }))
      .toBe("Delivered");
    expect(out(CLIENT, { sport: 81, dport: 7000, flags: ACK })).toBe("Left");
    expect(out(CLIENT, { sport: 82, dport: 7000, flags: ACK })).toBe("Undecided MASQUERADE");
  });
});

describe("a node's clock", () => {
  it("never goes back, and is no other node's", () => {
    const bench = node();
    bench.put("twinplane_nodes", { node: 1 }, { ...bench.lookup("twinplane_nodes", { node: 0 }) });
    bench.put("twinplane_devices", { node: 1, ifindex: UPLINK }, { kind: 2, mtu: 1500 });
    const clock = (number: number): unknown => bench.lookup("twinplane_clocks", { node: number })?.seconds;
    const at = (seconds: number, number: number): void => {
      bench.walk([{ packet: udp(), device: UPLINK, seconds, node: number }]);
    };
    at(5000, 1);
    at(1000, 0);
    expect([clock(0), clock(1)]).toEqual([1000, 5000]);
    at(900, 0);
    at(1001, 0);
    at(4000, 1);
    expect([clock(0), clock(1)]).toEqual([1001, 5000]);
  });
});
