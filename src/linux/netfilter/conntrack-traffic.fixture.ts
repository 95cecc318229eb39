/**
 * Test support: random packets of a few connections that meet one another's ports, as client, server and routers send
 * them through a node that translates. What the server sends depends on what the node let through, so the packets are
 * made one by one: `next` gives one, `saw` is told what came of it.
 */
import { Random } from "./random.fixture.js";

export interface Injection {
  /** `a0`: clients' side; `b0`: servers'. */
  readonly link: "a0" | "b0";
  readonly bytes: Uint8Array;
  readonly what: string;
}

export interface Addresses {
  readonly clients: readonly Uint8Array[];
  /** Where clients send. */
  readonly targets: readonly Uint8Array[];
  readonly router: Uint8Array;
}

/** A packet that came out at the servers' side, and what is known of its connection's sequence numbers. */
interface Seen {
  readonly request: Uint8Array;
  readonly forwarded: Uint8Array;
  clientSeq: number;
  serverSeq: number;
}

const TCP_FIRST = ["S", "S", "S", "S", "S", "A", "PA", "R", "F", "SA", "SF", "FA", "", "RA", "SU"];
const TCP_NEXT = ["A", "A", "PA", "PA", "PA", "FA", "R", "RA", "S", "SA"];
const TCP_ANSWER = ["SA", "SA", "SA", "A", "A", "PA", "FA", "R", "RA", "S"];
const TCP_BITS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 };
/** RFC 4960 chunk types; INIT and INIT ACK are the most. */
const SCTP_CHUNKS = [1, 1, 1, 2, 2, 10, 11, 0, 3, 6, 7, 8, 14, 4, 5, 9, 200];
const PORTS = [1000, 1001, 1002, 40000];
const OTHER_PROTOCOLS = [33, 47, 50, 99, 136];

export class ConntrackTraffic {
  private readonly seen: Seen[] = [];
  private last: { injection: Injection; seen: Seen | null } | null = null;

  /** @param crowded TCP only, that begins and ends: more connections than there are ports for */
  constructor(private readonly random: Random, private readonly addresses: Addresses, private readonly crowded = false) {}

  next(): Injection {
    const { random } = this;
    if (this.crowded) return this.crowd();
    const kind = random.below(100);
    let injection: Injection;
    let of: Seen | null = null;
    if (this.seen.length === 0 || kind < 25) {
      injection = this.request();
    } else {
      of = random.chance(0.7) ? this.seen[Math.max(0, this.seen.length - 1 - random.below(3))] : random.pick(this.seen);
      if (kind < 50) injection = this.continued(of);
      else if (kind < 85) injection = this.answer(of);
      else injection = this.error(of);
    }
    return this.remember(injection, of);
  }

  private remember(injection: Injection, seen: Seen | null): Injection {
    this.last = { injection, seen };
    return injection;
  }

  /** SYNs of the last client to one place, from ports that come back, and what opens and resets them. */
  private crowd(): Injection {
    const { random, addresses } = this;
    const known = this.seen.length === 0 ? null : this.seen[Math.max(0, this.seen.length - 1 - random.below(4))];
    const kind = random.below(10);
    if (known !== null && kind < 3) return this.remember(this.answer(known, "SA"), known);
    if (known !== null && kind < 6) return this.remember(this.continued(known, random.pick(["R", "A", "R"])), known);
    const from = addresses.clients[addresses.clients.length - 1];
    const to = addresses.targets[addresses.targets.length - 1];
    const seq = random.pick([1000, 2000, 100000, 4000000000]) + random.below(3);
    const upper = this.upper(6, 1000 + random.below(12), 80, "S", seq, 0, true);
    return this.remember(this.made("a0", from, to, 6, upper, "crowd"), null);
  }

  /** What left the node for the last packet, by the servers' side. */
  saw(forwarded: Uint8Array | null): void {
    if (this.last === null || forwarded === null) return;
    const { injection, seen } = this.last;
    if (injection.link !== "a0" || seen !== null || injection.what.startsWith("error")) return;
    const serverSeq = this.random.below(2 ** 32);
    this.seen.push({ request: injection.bytes, forwarded, clientSeq: tcpSeq(injection.bytes) + 1, serverSeq });
    if (this.seen.length > 12) this.seen.shift();
  }

  private request(): Injection {
    const { random, addresses } = this;
    const from = random.pick(addresses.clients);
    const to = random.pick(addresses.targets);
    const protocol = random.pick([6, 6, 6, 6, 17, 17, 17, 132, 132, from.length === 4 ? 1 : 58, from.length === 4 ? 1 : 58,
      ...(random.chance(0.5) ? OTHER_PROTOCOLS : [])]);
    const [sport, dport] = [random.pick(PORTS), random.pick([80, 80, 80, 80, 81, 53, 9999])];
    const upper = this.upper(protocol, sport, dport, random.pick(TCP_FIRST), random.below(2 ** 32), 0, true);
    return this.made("a0", from, to, protocol, upper, `request ${protocol}`);
  }

  private continued(seen: Seen, flags = this.random.pick(TCP_NEXT)): Injection {
    const { request } = seen;
    const { protocol, at, size } = layout(request);
    const [seq, ack] = [this.near(seen.clientSeq), this.near(seen.serverSeq)];
    const upper = this.upper(protocol, u16(request, at), u16(request, at + 2), flags, seq, ack, true);
    if (protocol === 6) seen.clientSeq = (seen.clientSeq + upper.length - 20 + (/[SF]/.test(flags) ? 1 : 0)) >>> 0;
    return this.made("a0", source(request, size), destination(request, size), protocol, upper, `more ${protocol} ${flags}`);
  }

  private answer(seen: Seen, flags = this.random.pick(TCP_ANSWER)): Injection {
    const { forwarded } = seen;
    const { protocol, at, size } = layout(forwarded);
    const [sport, dport] = [u16(forwarded, at + 2), u16(forwarded, at)];
    const icmp = protocol === 1 || protocol === 58;
    const [seq, ack] = [this.near(seen.serverSeq), this.near(seen.clientSeq)];
    const upper = this.upper(protocol, icmp ? u16(forwarded, at + 4) : sport, dport, flags, seq, ack, false);
    if (protocol === 6) seen.serverSeq = (seen.serverSeq + upper.length - 20 + (/[SF]/.test(flags) ? 1 : 0)) >>> 0;
    return this.made("b0", destination(forwarded, size), source(forwarded, size), protocol, upper, `answer ${protocol} ${flags}`);
  }

  /** An ICMP error about what the servers' side saw, or from the clients' side about an answer to it. */
  private error(seen: Seen): Injection {
    const { random, addresses } = this;
    const { forwarded } = seen;
    const { size } = layout(forwarded);
    const v4 = size === 4;
    const quoted = new Uint8Array(forwarded.subarray(0, (v4 ? 20 : 40) + random.pick([8, 8, 8, 16, 28, 4])));
    if (random.chance(0.1)) quoted[quoted.length - 1] ^= 1;
    const body = new Uint8Array(8 + quoted.length);
    body[0] = v4 ? random.pick([3, 3, 3, 11, 12, 4, 5]) : random.pick([1, 1, 2, 3, 4]);
    body[1] = random.pick([0, 1, 3, 4]);
    if (body[0] === 2 || (v4 && body[0] === 3 && body[1] === 4)) new DataView(body.buffer).setUint16(6, 1300);
    body.set(quoted, 8);
    const from = random.chance(0.5) ? addresses.router : destination(forwarded, size);
    const to = random.chance(0.9) ? source(forwarded, size) : random.pick(addresses.clients);
    return this.made("b0", from, to, v4 ? 1 : 58, body, "error");
  }

  private upper(protocol: number, sport: number, dport: number, flags: string, seq: number, ack: number,
    fromClient: boolean): Uint8Array {
    const { random } = this;
    const payload = random.pick([0, 0, 1, 10, 100]);
    const ports = (length: number): [Uint8Array, DataView] => {
      const bytes = new Uint8Array(length);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, sport);
      view.setUint16(2, dport);
      return [bytes, view];
    };
    if (protocol === 6) {
      const [bytes, view] = ports(20 + (flags.includes("S") || flags === "R" ? 0 : payload));
      view.setUint32(4, seq >>> 0);
      view.setUint32(8, flags.includes("A") ? ack >>> 0 : 0);
      bytes[12] = 0x50;
      bytes[13] = [...flags].reduce((bits, flag) => bits | TCP_BITS[flag], 0);
      view.setUint16(14, 5000);
      return bytes;
    }
    if (protocol === 17 || protocol === 136) {
      const [bytes, view] = ports(8 + payload);
      view.setUint16(4, bytes.length);
      return bytes;
    }
    if (protocol === 132) return this.sctp(sport, dport, fromClient);
    if (protocol === 1 || protocol === 58) {
      const bytes = new Uint8Array(8 + payload);
      const view = new DataView(bytes.buffer);
      if (protocol === 1) bytes[0] = fromClient ? random.pick([8, 8, 8, 8, 13, 0, 17]) : random.pick([0, 0, 0, 14, 8]);
      else bytes[0] = fromClient ? random.pick([128, 128, 128, 129, 139]) : random.pick([129, 129, 128]);
      // The identifier is the port of an echo.
      view.setUint16(4, sport);
      view.setUint16(6, random.below(4));
      return bytes;
    }
    const [bytes] = ports(16 + payload);
    if (protocol === 47) bytes.set([0, 0, 8, 0]);
    return bytes;
  }

  private sctp(sport: number, dport: number, fromClient: boolean): Uint8Array {
    const { random } = this;
    const chunks = Array.from({ length: random.pick([1, 1, 1, 2]) }, () => random.pick(SCTP_CHUNKS));
    const tagOf = (client: boolean): number => (client ? 0x11111111 : 0x22222222);
    const bytes = new Uint8Array(12 + chunks.length * 20);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, sport);
    view.setUint16(2, dport);
    // A packet carries its receiver's tag, an INIT none.
    view.setUint32(4, chunks[0] === 1 ? 0 : random.chance(0.9) ? tagOf(!fromClient) : random.pick([0, tagOf(fromClient), 7]));
    for (const [index, chunk] of chunks.entries()) {
      const at = 12 + index * 20;
      bytes[at] = chunk;
      bytes[at + 1] = random.chance(0.1) ? 1 : 0;
      view.setUint16(at + 2, 20);
      view.setUint32(at + 4, tagOf(fromClient));
    }
    return bytes;
  }

  private made(link: "a0" | "b0", from: Uint8Array, to: Uint8Array, protocol: number, upper: Uint8Array,
    what: string): Injection {
    const { random } = this;
    const bytes = datagram(from, to, protocol, upper, random.below(65535) + 1, random.pick([64, 64, 64, 64, 1]));
    if (random.chance(0.03)) {
      bytes[bytes.length - 1] ^= 0x55;
      return { link, bytes, what: `${what} (damaged)` };
    }
    return { link, bytes, what };
  }

  /** Mostly the number itself. */
  private near(value: number): number {
    const { random } = this;
    return random.chance(0.85) ? value : (value + random.pick([-1, 1, 100, 6000, -70000, 2 ** 31])) >>> 0;
  }
}

/** An unfragmented packet with right checksums. */
export function datagram(from: Uint8Array, to: Uint8Array, protocol: number, upper: Uint8Array, id: number,
  ttl: number): Uint8Array {
  const v4 = from.length === 4;
  const head = v4 ? 20 : 40;
  const bytes = new Uint8Array(head + upper.length);
  const view = new DataView(bytes.buffer);
  if (v4) {
    bytes.set([0x45, 0]);
    view.setUint16(2, bytes.length);
    view.setUint16(4, id);
    bytes.set([ttl, protocol], 8);
    bytes.set(from, 12);
    bytes.set(to, 16);
    view.setUint16(10, ~sum(bytes.subarray(0, 20), 0) & 0xffff);
  } else {
    bytes[0] = 0x60;
    view.setUint16(4, upper.length);
    bytes.set([protocol, ttl], 6);
    bytes.set(from, 8);
    bytes.set(to, 24);
  }
  bytes.set(upper, head);
  if (protocol === 132) {
    view.setUint32(head + 8, crc32c(bytes.subarray(head)), true);
    return bytes;
  }
  const field = protocol === 6 ? 16 : protocol === 17 || protocol === 136 ? 6 : protocol === 1 || protocol === 58 ? 2 : -1;
  if (field < 0) return bytes;
  view.setUint16(head + field, 0);
  // UDP-Lite: a coverage of the whole datagram, so its length.
  const pseudo = protocol === 1 ? 0 : sum(from, 0) + sum(to, 0) + protocol + upper.length;
  const value = ~fold(sum(bytes.subarray(head), pseudo)) & 0xffff;
  view.setUint16(head + field, value === 0 && protocol === 17 ? 0xffff : value);
  return bytes;
}

export function layout(bytes: Uint8Array): { readonly protocol: number; readonly at: number; readonly size: 4 | 16 } {
  if (bytes[0] >> 4 === 4) return { protocol: bytes[9], at: (bytes[0] & 15) * 4, size: 4 };
  return { protocol: bytes[6], at: 40, size: 16 };
}

function source(bytes: Uint8Array, size: 4 | 16): Uint8Array {
  return size === 4 ? bytes.slice(12, 16) : bytes.slice(8, 24);
}

function destination(bytes: Uint8Array, size: 4 | 16): Uint8Array {
  return size === 4 ? bytes.slice(16, 20) : bytes.slice(24, 40);
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function tcpSeq(bytes: Uint8Array): number {
  const { protocol, at } = layout(bytes);
  return protocol === 6 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 4) : 0;
}

function sum(bytes: Uint8Array, start: number): number {
  let total = start;
  for (let at = 0; at < bytes.length; at++) total += at % 2 === 0 ? bytes[at] << 8 : bytes[at];
  return fold(total);
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 65536);
  return folded;
}

/** RFC 9260 appendix A; as stored in the packet read little-endian. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const [at, byte] of bytes.entries()) {
    crc ^= at >= 8 && at < 12 ? 0 : byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
