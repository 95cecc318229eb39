/**
 * Source NAT once more, written from the reference alone (cilium.md 5, cilium-versions.md 7) and bpf/lib/nat.h, with a
 * plain Map of texts: what the programs must do, packet by packet and entry by entry.
 */

export interface NatPacket {
  /** IP protocol number. */
  readonly protocol: number;
  readonly from: string;
  readonly sport: number;
  readonly to: string;
  readonly dport: number;
}

interface Entry {
  readonly address: string;
  readonly port: number;
}

/** 16 bits of chance for the n-th draw of a packet. */
export type Draw = (packet: NatPacket, draw: number) => number;

const RETRIES = 32;

export class NaiveNat {
  /** `OUT protocol from:sport>to:dport` and `IN …`, each to an address and a port. */
  readonly entries = new Map<string, Entry>();
  /** Ports tried for the last packet. */
  tried: number[] = [];

  constructor(private readonly version: number, private readonly range: readonly [number, number], private readonly draw: Draw) {}

  /** The source port that a pod's packet leaves with, as `target`; null: DROP_NAT_NO_MAPPING. */
  out(packet: NatPacket, target: string, echo = false): number | null {
    const [min, max] = echo && this.version >= 18 ? [0, 0xffff] : this.range;
    const key = outKey(packet);
    const known = this.entries.get(key);
    this.tried = [];
    if (known !== undefined) {
      const twin = inKey(packet, known.address, known.port);
      if (known.address === target) {
        if (this.version >= 17 && !this.entries.has(twin)) this.entries.set(twin, { address: packet.from, port: packet.sport });
        return known.port;
      }
      this.entries.delete(key);
      this.entries.delete(twin);
    }
    let draws = 0;
    const random = (): number => clamp(this.version, min, max, this.draw(packet, draws++));
    let port = packet.sport >= min && packet.sport <= max ? packet.sport : random();
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      this.tried.push(port);
      const twin = inKey(packet, target, port);
      if (!this.entries.has(twin)) {
        this.entries.set(twin, { address: packet.from, port: packet.sport });
        this.entries.set(key, { address: target, port });
        return port;
      }
      port = attempt === 0 ? random() : clamp(this.version, min, max, (port + 1) & 0xffff);
    }
    return null;
  }

  /** Whom an answer goes to; null: nobody is known, and it stays as it is. */
  in(packet: NatPacket, echo = false): Entry | null {
    const [min, max] = this.range;
    if (!echo && (packet.dport < min || packet.dport > max)) return null;
    const known = this.entries.get(`IN ${packet.protocol} ${packet.from}:${packet.sport}>${packet.to}:${packet.dport}`);
    if (known === undefined) return null;
    const out = outKey({ protocol: packet.protocol, from: known.address, sport: known.port, to: packet.from, dport: packet.sport });
    if (this.version >= 18 && !this.entries.has(out)) this.entries.set(out, { address: packet.to, port: packet.dport });
    return known;
  }
}

function clamp(version: number, min: number, max: number, value: number): number {
  if (version === 16) return (value % (max - min)) + min;
  return min + Math.floor((value * (max - min + 1)) / 65536);
}

export function outKey({ protocol, from, sport, to, dport }: NatPacket): string {
  return `OUT ${protocol} ${from}:${sport}>${to}:${dport}`;
}

function inKey({ protocol, to, dport }: NatPacket, target: string, port: number): string {
  return `IN ${protocol} ${to}:${dport}>${target}:${port}`;
}

/** The plane's chance (assembly/programs/chance.ts): splitmix64 over seed, plane and flow, the upper half of the n-th. */
export function chance(seed: bigint, plane: bigint, tuple: { readonly daddr: Uint8Array; readonly saddr: Uint8Array;
  readonly dport: number; readonly sport: number; readonly nexthdr: number; readonly node: number }, draw: number): number {
  const word = (bytes: Uint8Array, at: number): bigint => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);
  const wire = (port: number): bigint => BigInt(((port & 255) << 8) | (port >> 8));
  let hash = mix(seed + GAMMA * (plane + 1n));
  for (const bytes of [tuple.daddr, tuple.saddr]) for (const at of [0, 8]) hash = mix(hash ^ word(bytes, at));
  hash = mix(hash ^ (wire(tuple.dport) | (wire(tuple.sport) << 16n) | (BigInt(tuple.nexthdr) << 32n) | (BigInt(tuple.node) << 48n)));
  return Number(mix(hash ^ BigInt.asUintN(64, BigInt(draw) * GAMMA)) >> 32n);
}

const GAMMA = 0x9e3779b97f4a7c15n;

function mix(value: bigint): bigint {
  const wrap = (number: bigint): bigint => BigInt.asUintN(64, number);
  let hash = wrap(value + GAMMA);
  hash = wrap((hash ^ (hash >> 30n)) * 0xbf58476d1ce4e5b9n);
  hash = wrap((hash ^ (hash >> 27n)) * 0x94d049bb133111ebn);
  return hash ^ (hash >> 31n);
}
