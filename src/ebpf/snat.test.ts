/**
 * Source NAT of the programs against a second implementation (snat.fixture.ts): the same candidates, the same entries, in
 * every version and both families; and the observed behaviour of the port search when few ports are free.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BASE_OPTIONS, Bench, field, POD_DEVICE } from "../../test/programs.js";
import { frame, packet, read } from "../../test/packets.js";
import { testSeed } from "../../test/seed.js";
import { addressFromBytes } from "../cluster/address.js";
import { DropReason, EndpointFlag } from "../contract/codes.js";
import { chance, type Draw, NaiveNat, type NatPacket, outKey } from "./snat.fixture.js";

const VERSIONS = [16, 17, 18, 19, 20] as const;
const seed = testSeed("snat.test.ts");
const PODS = { 4: ["10.1.0.1", "10.1.0.2", "10.1.0.3"], 6: ["fd10:1::1", "fd10:1::2", "fd10:1::3"] } as const;
const REMOTES = { 4: ["203.0.113.1", "203.0.113.2"], 6: ["2001:db8::1", "2001:db8::2"] } as const;
const NODE = { 4: ["192.168.0.1", "192.168.0.9"], 6: ["fd00::1", "fd00::9"] } as const;
const TCP = 6;
const UDP = 17;

type Family = 4 | 6;

class NatBench extends Bench {
  constructor(version: number, range: readonly [number, number] = [32768, 65535]) {
    super(version);
    this.options([...BASE_OPTIONS, "ENABLE_IPV6", "ENABLE_BPF_MASQUERADE_IPV6"]);
    this.configure({ nodeport_snat_port_min: range[0], nodeport_snat_port_max: range[1] });
    for (const family of [4, 6] as const) {
      for (const pod of PODS[family]) this.endpoint(pod, POD_DEVICE, 300);
      this.endpoint(NODE[family][0], 0, 1, EndpointFlag.values.HOST);
    }
    this.ipcache("0.0.0.0/0", 9);
    this.ipcache("::/0", 10);
  }

  /** From now on the node masquerades to this address. */
  address(family: Family, which: 0 | 1): void {
    const key = { node: 0 };
    this.put("twinplane_nodes", key, { ...this.lookup("twinplane_nodes", key), [`masquerade${family}`]: field(NODE[family][which]) });
  }

  map(family: Family) {
    return this.machine.map(family === 4 ? "cilium_snat_v4_external" : "cilium_snat_v6_external");
  }

  /** Text of every entry, as the second implementation has them. */
  entries(family: Family): string[] {
    const text = (bytes: Uint8Array): string => addressFromBytes(bytes.subarray(0, family === 4 ? 4 : 16)).text;
    return [...this.map(family).entries()].map(([key, value]) => `${key.flags === 0 ? "OUT" : "IN"} ${key.nexthdr} `
      + `${text(key.saddr)}:${key.sport}>${text(key.daddr)}:${key.dport} = ${text(value.addr)}:${value.port}`).sort();
  }

  forget(family: Family, line: string): void {
    const { protocol, from, sport, to, dport } = parse(line);
    this.remove(family === 4 ? "cilium_snat_v4_external" : "cilium_snat_v6_external", { saddr: field(from), sport, daddr: field(to),
      dport, nexthdr: protocol, flags: line.startsWith("OUT") ? 0 : 1, node: 0 });
  }

  /** The source port or identifier a packet leaves with; null: dropped for want of a port. */
  out(one: NatPacket): number | null {
    const ran = this.run("TO_NETDEV", frame(bytesOf(one, true)));
    if (ran.verdict === -DropReason.values.DROP_NAT_NO_MAPPING) return null;
    expect(ran.verdict).toBe(1);
    return isEcho(one) ? echoId(ran.frame) : read(ran.frame.subarray(14)).sport;
  }

  /** The destination that an answer has then. */
  in(one: NatPacket): string {
    const ran = this.run("FROM_NETDEV", frame(bytesOf(one, false)));
    const { to, dport } = read(ran.frame.subarray(14));
    return `${to}:${isEcho(one) ? echoId(ran.frame) : dport}`;
  }
}

const isEcho = ({ protocol }: NatPacket): boolean => protocol === 1 || protocol === 58;
const echoId = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint16(bytes[14] >> 4 === 6 ? 58 : 38);

function parse(line: string): NatPacket {
  const [, protocol, from, sport, to, dport] = /^(?:OUT|IN) (\d+) (.*):(\d+)>(.*):(\d+)$/.exec(line)!;
  return { protocol: Number(protocol), from, sport: Number(sport), to, dport: Number(dport) };
}

/** Echo requests have their identifier as source port, replies as destination port. */
function bytesOf(one: NatPacket, request: boolean): Uint8Array {
  const { protocol, from, to, sport, dport } = one;
  if (!isEcho(one)) return packet({ from, to, sport, dport, protocol: protocol === TCP ? "TCP" : "UDP" });
  const id = request ? sport : dport;
  const type = protocol === 1 ? (request ? 8 : 0) : request ? 128 : 129;
  return packet({ from, to, protocol: "ICMP", icmp: [type, 0, Uint8Array.of(id >> 8, id & 255, 0, 1)] });
}

/** The bench's own chance: seed 20, plane 0, the packet's tuple as the programs have it. */
const draw: Draw = ({ protocol, from, to, sport, dport }, number) => chance(20n, 0n, { saddr: field(from), daddr: field(to), sport, dport,
  nexthdr: protocol, node: 0 }, number) & 0xffff;

describe.each(VERSIONS)("version %i: the programs and the second implementation", (version) => {
  it.each([4, 6] as const)("agree on ports, entries and answers, IPv%i", (family) => {
    const step = fc.record({
      act: fc.constantFrom("out", "out", "out", "in", "forget", "move"),
      pod: fc.nat(2), remote: fc.nat(1), protocol: fc.constantFrom(TCP, UDP, 1), sport: fc.nat(23), dport: fc.nat(1), any: fc.nat(),
    });
    fc.assert(fc.property(fc.nat(40), fc.array(step, { minLength: 20, maxLength: 120 }), (width, steps) => {
      const range = [40000, 40001 + width] as const;
      const bench = new NatBench(version, range);
      const naive = new NaiveNat(version, range, draw);
      let target: 0 | 1 = 0;
      for (const { act, pod, remote, protocol: any, sport, dport, any: pick } of steps) {
        const protocol = any === 1 && family === 6 ? 58 : any;
        const echo = any === 1;
        const address = NODE[family][target];
        if (act === "out") {
          // Ports below, in and above the range.
          const one = { protocol, from: PODS[family][pod], to: REMOTES[family][remote], sport: 39990 + sport,
            dport: echo ? 0 : 80 + dport };
          expect(bench.out(one)).toBe(naive.out(one, address, echo));
        } else if (act === "in") {
          const made = [...naive.entries.keys()].filter((key) => key.startsWith("IN")).sort();
          const one = pick % 4 > 0 && made.length > 0 ? parse(made[pick % made.length])
            : { protocol, from: REMOTES[family][remote], to: address, sport: echo ? 0 : 80 + dport, dport: 39995 + (pick % (width + 10)) };
          const found = naive.in(one, isEcho(one));
          expect(bench.in(one)).toBe(found === null ? `${one.to}:${one.dport}` : `${found.address}:${found.port}`);
        } else if (act === "forget") {
          const keys = [...naive.entries.keys()].sort();
          if (keys.length === 0) continue;
          const key = keys[pick % keys.length];
          naive.entries.delete(key);
          bench.forget(family, key);
        } else {
          target = target === 0 ? 1 : 0;
          bench.address(family, target);
        }
        expect(bench.entries(family)).toEqual([...naive.entries].map(([key, to]) => `${key} = ${to.address}:${to.port}`).sort());
      }
    }), { seed, numRuns: 12 });
  });
});

describe("the search when few ports are free (observed on the real programs)", () => {
  const FLOWS = 40;

  const key = (port: number) => ({ saddr: field(REMOTES[4][0]), sport: 443, daddr: field(NODE[4][0]), dport: port, nexthdr: TCP, flags: 1,
    node: 0 }) as never;
  const taken = (port: number): string => `IN ${TCP} ${REMOTES[4][0]}:443>${NODE[4][0]}:${port}`;
  const benches = new Map<number, NatBench>();

  /** All ports of the range taken, one bench a version. */
  function fullBench(version: number): NatBench {
    const known = benches.get(version);
    if (known !== undefined) return known;
    const bench = new NatBench(version);
    take(bench, Array.from({ length: 32768 }, (_, index) => 32768 + index));
    benches.set(version, bench);
    return bench;
  }

  function take(bench: NatBench, ports: readonly number[]): void {
    bench.map(4).update(ports.map((port) => [key(port), { addr: field("10.9.9.9"), port: 1 }]) as never);
  }

  /** New flows of which each finds only these ports free; the ports they get. */
  function search(version: number, first: number, last: number): (number | null)[] {
    const bench = fullBench(version);
    const free = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    bench.map(4).delete(free.map(key));
    const naive = new NaiveNat(version, [32768, 65535], draw);
    for (let port = 32768; port < 65536; port++) if (port < first || port > last) naive.entries.set(taken(port), { address: "", port: 0 });
    const ports = Array.from({ length: FLOWS }, (_, flow) => {
      const one: NatPacket = { protocol: TCP, from: PODS[4][0], to: REMOTES[4][0], sport: 1000 + flow, dport: 443 };
      const port = bench.out(one);
      expect([flow, port]).toEqual([flow, naive.out(one, NODE[4][0])]);
      if (port !== null) {
        for (const line of [outKey(one), taken(port)]) {
          bench.forget(4, line);
          naive.entries.delete(line);
        }
      }
      return port;
    });
    take(bench, free);
    return ports;
  }
  const found = (ports: readonly (number | null)[]): number => ports.filter((port) => port !== null).length;

  it.each([[16, 0, 0], [17, FLOWS, FLOWS], [18, FLOWS, FLOWS], [19, FLOWS, FLOWS], [20, FLOWS, FLOWS]])(
    "version %i: the last port alone, the last but one alone", (version, last, lastButOne) => {
      expect(found(search(version, 65535, 65535))).toBe(last);
      expect(found(search(version, 65534, 65534))).toBe(lastButOne);
    });

  it.each(VERSIONS)("version %i: a port in the middle alone is not found", (version) => {
    expect(found(search(version, 40000, 40000)) + found(search(version, 50000, 50000))).toBe(0);
  });

  it("the first 1024: from 1.17 on the walk comes round to the first, in 1.16 only chance hits them", () => {
    const first = (version: number): (number | null)[] => search(version, 32768, 33791);
    expect(found(first(16))).toBeLessThan(10);
    for (const version of [17, 18, 19, 20]) {
      const ports = first(version);
      expect([version, found(ports)]).toEqual([version, FLOWS]);
      expect(ports.filter((port) => port === 32768).length).toBeGreaterThan(FLOWS * 0.8);
    }
  });

  it("the last 1024: from 1.17 on always, in 1.16 only by chance", () => {
    const last = (version: number): number => found(search(version, 64512, 65535));
    expect(last(16)).toBeLessThan(10);
    for (const version of [17, 18, 19, 20]) expect([version, last(version)]).toEqual([version, FLOWS]);
  });
});
