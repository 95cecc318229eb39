import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Address, parseAddress, parsePrefix, type Prefix } from "../cluster/address.js";
import type { Device, NodeFacts, Route } from "../cluster/cluster.js";
import { End } from "../dataplane.js";
import { getU16, setIpv4Checksum, setU16 } from "./ip/bytes.js";
import { LinuxNode, type NodeSink } from "./node.js";
import { Csum, Hook, type NetfilterHooks, type NodeServices, type Skb, Verdict } from "./skb.js";
import { seeded } from "./seeded.fixture.js";

const address = (text: string): Address => parseAddress(text) as Address;
const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;

function device(index: number, name: string, kind: Device["kind"], mtu: number, ...own: string[]): Device {
  return {
    index, name, kind, mac: `02:00:00:00:00:0${index}`, mtu, up: true, pod: null, vxlan: null,
    addresses: own.map((text) => ({ address: address(text.split("/")[0]), length: Number(text.split("/")[1]) })),
  };
}

function route(destination: string, more: Partial<Route>): Route {
  return { destination: prefix(destination), table: "main", type: "unicast", via: null, device: null, prefSrc: null,
    metric: 0, mtu: null, ...more };
}

const LO = 1;
const POD = 2;
const UPLINK = 3;
const FLANNEL = 4;
const TUNL = 5;
const facts: NodeFacts = {
  devices: [
    device(LO, "lo", "loopback", 65536, "127.0.0.1/8", "::1/128"), device(POD, "v-pod", "pod", 1500, "10.244.1.1/32"),
    device(UPLINK, "eth0", "uplink", 1400, "192.168.50.11/24", "fd00:50::11/64"),
    { ...device(FLANNEL, "flannel.1", "tunnel", 1350, "10.244.1.0/32"),
      vxlan: { vni: 1, port: 8472, local: address("192.168.50.11") } },
    device(TUNL, "tunl0", "tunnel", 1480, "10.244.1.2/32"),
  ],
  routes: [
    ...["10.244.1.1", "10.244.1.0", "192.168.50.11", "127.0.0.0/8"].map((text) =>
      route(text, { table: "local", type: "local", device: POD })),
    route("fd00:50::11", { table: "local", type: "local", device: UPLINK }),
    route("192.168.50.255", { table: "local", type: "broadcast", device: UPLINK }),
    route("10.244.1.10", { device: POD }), route("192.168.50.0/24", { device: UPLINK, prefSrc: address("192.168.50.11") }),
    route("0.0.0.0/0", { device: UPLINK, via: address("192.168.50.1") }),
    route("10.244.2.0/24", { device: FLANNEL, via: address("10.244.2.0") }),
    route("10.244.3.0/24", { device: TUNL, via: address("192.168.50.13") }),
    route("10.9.0.0/16", { type: "unreachable" }), route("10.8.0.0/16", { type: "prohibit" }),
    route("10.7.0.0/16", { type: "blackhole" }), route("fd00:9::/64", { device: UPLINK, via: address("fd00:50::1") }),
    route("fd00:1::/64", { device: POD }),
  ],
  neighbours: [{ address: address("10.244.2.0"), device: FLANNEL, mac: "02:00:00:00:00:99" }],
  sysctls: {}, source: "assumed",
};

interface Heard {
  readonly what: "out" | "in" | "local";
  readonly device: number;
  readonly bytes: Uint8Array;
  readonly made: number;
}

class Ear implements NodeSink {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  heard: Heard[] = [];
  transmit(index: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void {
    this.heard.push({ what: "out", device: index, bytes: bytes.slice(offset, offset + length), made });
  }
  enter(index: number, bytes: Uint8Array, offset: number, length: number): void {
    this.heard.push({ what: "in", device: index, bytes: bytes.slice(offset, offset + length), made: 0 });
  }
  local(bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void {
    this.heard.push({ what: "local", device: 0, bytes: bytes.slice(offset, offset + length), made });
  }
}

class Hooks implements NetfilterHooks {
  reason = "";
  readonly seen: string[] = [];
  onHook: (hook: Hook, skb: Skb) => Verdict = () => Verdict.Accept;
  hook(hook: Hook, skb: Skb): Verdict {
    this.seen.push(`${Object.keys(Hook)[hook]} ${skb.inDevice}>${skb.outDevice}`);
    return this.onHook(hook, skb);
  }
  attach(): void {}
}

interface Bench {
  readonly node: LinuxNode;
  readonly hooks: Hooks;
  services: NodeServices;
}

function bench(): Bench {
  const hooks = new Hooks();
  let services: NodeServices | null = null;
  const node = new LinuxNode({
    name: "node1", facts, tunnels: () => ({ remote: address("192.168.50.12"), mac: null }),
    netfilter: (given) => {
      services = given;
      return hooks;
    },
  });
  return { node, hooks, services: services as unknown as NodeServices };
}

interface Ipv4Options {
  readonly ttl?: number;
  readonly df?: boolean;
  readonly protocol?: number;
  readonly size?: number;
  readonly tos?: number;
  readonly options?: readonly number[];
}

function ipv4(from: string, to: string, more: Ipv4Options = {}): Uint8Array {
  const options = more.options ?? [];
  const header = 20 + options.length;
  const bytes = new Uint8Array(header + (more.size ?? 40));
  bytes[0] = 0x40 | (header / 4);
  bytes[1] = more.tos ?? 0;
  setU16(bytes, 2, bytes.length);
  bytes[6] = more.df === true ? 0x40 : 0;
  bytes[8] = more.ttl ?? 64;
  bytes[9] = more.protocol ?? 17;
  bytes.set(address(from).bytes, 12);
  bytes.set(address(to).bytes, 16);
  bytes.set(options, 20);
  setIpv4Checksum(bytes, 0);
  return bytes;
}

function ipv6(from: string, to: string, size: number, hopLimit = 64): Uint8Array {
  const bytes = new Uint8Array(40 + size);
  bytes[0] = 0x60;
  setU16(bytes, 4, size);
  bytes.set([17, hopLimit], 6);
  bytes.set(address(from).bytes, 8);
  bytes.set(address(to).bytes, 24);
  return bytes;
}

function receive(one: Bench, bytes: Uint8Array, index = POD, packetType = 0, wire = bytes.length): Ear {
  const ear = new Ear();
  const etherType = bytes[0] >> 4 === 6 ? 0x86dd : 0x0800;
  one.node.receive(bytes, 0, bytes.length, wire, etherType, packetType, index, 0, null, ear);
  return ear;
}

const text = (bytes: Uint8Array, at: number): string => bytes.subarray(at, at + 4).join(".");

describe("a forwarded packet", () => {
  it("passes PREROUTING, FORWARD and POSTROUTING and loses one of its TTL", () => {
    const one = bench();
    const ear = receive(one, ipv4("10.244.1.10", "203.0.113.9"));
    expect(one.hooks.seen).toEqual(["Prerouting 2>0", "Forward 2>3", "Postrouting 2>3"]);
    expect(ear.end).toBe(End.Left);
    expect(ear.heard).toEqual([{ what: "out", device: UPLINK, made: 0,
      bytes: ipv4("10.244.1.10", "203.0.113.9", { ttl: 63 }) }]);
  });

  it.each([
    ["TTL exceeded", ipv4("10.244.1.10", "203.0.113.9", { ttl: 1 }), 11, 0, 0],
    ["host unreachable", ipv4("10.244.1.10", "10.9.0.1"), 3, 1, 0],
    ["prohibited", ipv4("10.244.1.10", "10.8.0.1"), 3, 13, 0],
    ["fragmentation needed", ipv4("10.244.1.10", "203.0.113.9", { df: true, size: 1401 }), 3, 4, 1400],
  ])("is answered with %s from the address that leads back", (_name, bytes, type, code, mtu) => {
    const ear = receive(bench(), bytes);
    expect(ear.end).toBe(End.Answered);
    expect(ear.heard.length).toBe(1);
    const [{ bytes: error, device: out, made }] = ear.heard;
    expect([out, made, text(error, 12), text(error, 16)]).toEqual([POD, 1, "10.244.1.1", "10.244.1.10"]);
    expect([error[1], error[8], error[20], error[21], getU16(error, 26)]).toEqual([0xc0, 64, type, code, mtu]);
    expect(error.subarray(28)).toEqual(bytes.subarray(0, Math.min(bytes.length, 548)));
  });

  it.each([
    ["blackhole", ipv4("10.244.1.10", "10.7.0.1"), 0], ["a broadcast frame", ipv4("10.244.1.10", "203.0.113.9"), 1],
    ["a frame for another host", ipv4("10.244.1.10", "203.0.113.9"), 3],
    ["a source of the node itself", ipv4("192.168.50.11", "203.0.113.9"), 0],
    ["a source of 127/8", ipv4("127.0.0.1", "203.0.113.9"), 0], ["multicast", ipv4("10.244.1.10", "239.1.1.1"), 0],
    ["a loose source route", ipv4("10.244.1.10", "203.0.113.9", { options: [131, 7, 4, 10, 0, 0, 1, 0] }), 0],
    ["an error about an error", ipv4("10.244.1.10", "203.0.113.9", { ttl: 1, protocol: 1 }).fill(3, 20, 21), 0],
  ])("vanishes: %s", (_name, bytes, packetType) => {
    const ear = receive(bench(), bytes, POD, packetType);
    expect([ear.end, ear.heard]).toEqual([End.Dropped, []]);
  });

  it("has the outgoing address written into a record-route slot, and keeps full ones", () => {
    const free = receive(bench(), ipv4("10.244.1.10", "203.0.113.9", { options: [7, 7, 4, 0, 0, 0, 0, 1] }));
    expect([...free.heard[0].bytes.subarray(20, 28)]).toEqual([7, 7, 8, 192, 168, 50, 11, 1]);
    const full = receive(bench(), ipv4("10.244.1.10", "203.0.113.9", { options: [7, 7, 8, 1, 2, 3, 4, 1] }));
    expect([...full.heard[0].bytes.subarray(20, 28)]).toEqual([7, 7, 8, 1, 2, 3, 4, 1]);
  });

  it("of IPv6 is answered with packet too big, and with time exceeded", () => {
    const big = receive(bench(), ipv6("fd00:1::10", "fd00:9::1", 1361));
    expect([big.end, big.heard[0].bytes[40], getU16(big.heard[0].bytes, 46), big.heard[0].bytes.length])
      .toEqual([End.Answered, 2, 1400, 1280]);
    const old = receive(bench(), ipv6("fd00:1::10", "fd00:9::1", 8, 1));
    expect([old.heard[0].bytes[40], old.heard[0].bytes[41]]).toEqual([3, 0]);
  });

  it("is cut where it has no DF and does not fit", () => {
    const ear = receive(bench(), ipv4("10.244.1.10", "203.0.113.9", { size: 1480 }));
    expect(ear.heard.map((one) => one.bytes.length)).toEqual([1396, 124]);
  });
});

describe("a packet of the node", () => {
  it("to itself crosses the loopback device inside", () => {
    const one = bench();
    const ear = new Ear();
    const bytes = ipv4("192.168.50.11", "10.244.1.1");
    one.node.output(bytes, 0, bytes.length, 0, null, ear);
    expect(one.hooks.seen).toEqual(["Output 0>1", "Postrouting 0>1", "Prerouting 1>0", "Input 1>0"]);
    expect([ear.end, ear.heard]).toEqual([End.Delivered, [{ what: "local", device: 0, bytes, made: 0 }]]);
  });

  it("is routed again where OUTPUT changed its destination", () => {
    const one = bench();
    one.hooks.onHook = (hook, skb) => {
      if (hook === Hook.Output) skb.bytes.set([10, 244, 1, 10], 16);
      return Verdict.Accept;
    };
    const ear = new Ear();
    const bytes = ipv4("192.168.50.11", "10.96.0.10");
    one.node.output(bytes, 0, bytes.length, 0, null, ear);
    expect(one.hooks.seen).toEqual(["Output 0>3", "Postrouting 0>2"]);
    expect([ear.end, ear.heard[0].device]).toEqual([End.Delivered, POD]);
  });
});

describe("a tunnel", () => {
  it("into a tunnel of another kind is not judged", () => {
    const ear = receive(bench(), ipv4("10.244.1.10", "10.244.3.20"));
    expect(ear).toMatchObject({ end: End.Undecided, reason: "undecided: the route leads into a tunnel that is not VXLAN" });
  });

  it("wraps what leaves and unwraps what comes, for the other end to read the same packet", () => {
    const one = bench();
    const ear = receive(one, ipv4("10.244.1.10", "10.244.2.10"));
    expect(ear.heard.map((heard) => [heard.what, heard.device, heard.made])).toEqual([["out", FLANNEL, 0], ["out", UPLINK, 1]]);
    expect(one.hooks.seen).toEqual(["Prerouting 2>0", "Forward 2>4", "Postrouting 2>4", "Output 0>3", "Postrouting 0>3"]);
    expect(ear.end).toBe(End.Left);
    const outer = ear.heard[1].bytes;
    expect([text(outer, 12), text(outer, 16), getU16(outer, 22)]).toEqual(["192.168.50.11", "192.168.50.12", 8472]);
    // Turned round: as if the other node had sent it to a pod of this one.
    const back = outer.slice();
    back.set(outer.subarray(12, 16), 16);
    back.set(outer.subarray(16, 20), 12);
    setIpv4Checksum(back, 0);
    back.set([2, 0, 0, 0, 0, FLANNEL], 36);
    const inner = ipv4("10.244.2.10", "10.244.1.10", { ttl: 63 });
    back.set(inner, 50);
    const came = receive(bench(), back, UPLINK);
    expect(came.heard.map((heard) => [heard.what, heard.device])).toEqual([["in", FLANNEL], ["out", POD]]);
    expect(came.heard[0].bytes).toEqual(inner);
    expect([came.end, came.heard[1].bytes[8]]).toEqual([End.Delivered, 62]);
  });
});

describe("a REJECT", () => {
  it("is answered and ends as rejected; one that may not be answered is a drop", () => {
    for (const [kind, protocol, end] of [["icmp-port-unreachable", 17, End.Rejected], ["tcp-reset", 6, End.Rejected],
      ["tcp-reset", 17, End.Dropped]] as const) {
      const one = bench();
      one.hooks.onHook = (hook, skb) => {
        // Conntrack found the checksum right.
        skb.csum = Csum.Right;
        if (hook !== Hook.Forward) return Verdict.Accept;
        one.services.reject(skb, kind, hook);
        one.hooks.reason = "filter/FORWARD";
        return Verdict.Drop;
      };
      const bytes = ipv4("10.244.1.10", "203.0.113.9", { protocol });
      bytes.set([0, 0, 0, 100, 0, 0, 0, 0, 0x50, 2], 24);
      const ear = receive(one, bytes);
      expect([ear.end, ear.reason, ear.heard.length]).toEqual([end, "filter/FORWARD", end === End.Rejected ? 1 : 0]);
      if (kind === "tcp-reset" && end === End.Rejected) {
        const reset = ear.heard[0].bytes;
        // 20 bytes of payload behind the header, and the SYN.
        expect([text(reset, 12), reset[33], getU16(reset, 30)]).toEqual(["203.0.113.9", 0x14, 121]);
      }
    }
  });
});

describe("a cut capture", () => {
  it("is forwarded as far as it goes, and undecided where the ports are missing", () => {
    const whole = ipv4("10.244.1.10", "203.0.113.9", { size: 500 });
    const cut = receive(bench(), whole.subarray(0, 60), POD, 0, whole.length);
    expect([cut.end, cut.heard[0].bytes.length]).toEqual([End.Left, 60]);
    expect(receive(bench(), whole.subarray(0, 26), POD, 0, whole.length).end).toBe(End.Undecided);
  });

  it("never throws, whatever the bytes say and wherever they end", () => {
    const one = bench();
    const seeds = [ipv4("10.244.1.10", "203.0.113.9", { protocol: 6, size: 60 }), ipv4("10.244.1.10", "10.244.2.10", { ttl: 1 }),
      ipv4("10.244.1.10", "10.9.0.1", { options: [7, 7, 4, 0, 0, 0, 0, 1] }), ipv6("fd00:1::10", "fd00:9::1", 60),
      receive(bench(), ipv4("10.244.1.10", "10.244.2.10")).heard[1].bytes];
    seeded(fc.property(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), fc.nat(),
      fc.nat(3), fc.boolean(), fc.constantFrom(POD, UPLINK, FLANNEL, 9), (seed, changes, keep, packetType, mend, index) => {
        const bytes = seed.slice();
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        if (mend && bytes[0] >> 4 === 4 && (bytes[0] & 15) * 4 <= bytes.length) setIpv4Checksum(bytes, 0);
        const cut = bytes.subarray(0, keep % (bytes.length + 1));
        const ear = new Ear();
        const etherType = bytes[0] >> 4 === 6 ? 0x86dd : 0x0800;
        one.node.receive(cut, 0, cut.length, bytes.length, etherType, packetType, index, 0, null, ear);
        expect(ear.end).not.toBe(End.None);
        one.node.output(cut, 0, cut.length, 0, null, ear);
        expect(ear.end).not.toBe(End.None);
      }), 3000);
  });
});
