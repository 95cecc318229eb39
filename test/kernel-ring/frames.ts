/**
 * Bytes of the kernel ring's packets, from the network header on: built with right checksums, read back, turned round
 * into an answer, quoted in an ICMP error. Written from the RFCs, and on purpose not with the product's readers.
 */
import { parseAddress } from "../../src/cluster/address.js";

export type Transport = "TCP" | "UDP" | "SCTP" | "ICMP";

export interface Segment {
  readonly from: string;
  readonly to: string;
  readonly protocol: Transport;
  readonly sport: number;
  readonly dport: number;
  readonly ttl?: number;
  /** TCP: flag byte, sequence and acknowledgement numbers. */
  readonly flags?: number;
  readonly seq?: number;
  readonly ack?: number;
  /** SCTP: verification tag, chunk type, and the tag an INIT or INIT ACK gives. */
  readonly tag?: number;
  readonly chunk?: number;
  readonly initTag?: number;
  /** ICMP: type and code; `sport` is the identifier, `dport` the sequence number. */
  readonly icmp?: readonly [number, number];
  readonly payload?: Uint8Array;
  /** IPv4 identification. */
  readonly id?: number;
  readonly damaged?: boolean;
}

export const Tcp = { Fin: 1, Syn: 2, Rst: 4, Push: 8, Ack: 16 } as const;
export const Chunk = { Data: 0, Init: 1, InitAck: 2, CookieEcho: 10, CookieAck: 11 } as const;
const NUMBERS: Readonly<Record<Transport, readonly [v4: number, v6: number]>> = {
  TCP: [6, 6], UDP: [17, 17], SCTP: [132, 132], ICMP: [1, 58],
};

export function build(input: Segment): Uint8Array {
  const [source, destination] = [addressBytes(input.from), addressBytes(input.to)];
  const six = source.length === 16;
  const upper = upperLayer(input, six);
  const protocol = NUMBERS[input.protocol][six ? 1 : 0];
  const head = six ? 40 : 20;
  const bytes = new Uint8Array(head + upper.length);
  bytes.set(upper, head);
  if (six) {
    bytes[0] = 0x60;
    put16(bytes, 4, upper.length);
    bytes.set([protocol, input.ttl ?? 64], 6);
    bytes.set(source, 8);
    bytes.set(destination, 24);
  } else {
    bytes[0] = 0x45;
    put16(bytes, 2, bytes.length);
    put16(bytes, 4, input.id ?? 1);
    bytes.set([input.ttl ?? 64, protocol], 8);
    bytes.set(source, 12);
    bytes.set(destination, 16);
    put16(bytes, 10, ~sum(bytes.subarray(0, 20)) & 0xffff);
  }
  fill(bytes);
  if (input.damaged === true) bytes[bytes.length - 1] ^= 0x55;
  return bytes;
}

/** What can be read of a whole packet without extension headers; null where it is none of ours. */
export interface Image {
  readonly six: boolean;
  readonly protocol: Transport;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  /** ICMP type; TCP flags; SCTP chunk type. */
  readonly kind: number;
  readonly at: number;
}

export function look(bytes: Uint8Array): Image | null {
  const six = bytes[0] >> 4 === 6;
  const at = six ? 40 : (bytes[0] & 15) * 4;
  const number = bytes[six ? 6 : 9];
  const protocol = (Object.keys(NUMBERS) as Transport[]).find((one) => NUMBERS[one][six ? 1 : 0] === number);
  if (protocol === undefined || bytes.length < at + 8) return null;
  const icmp = protocol === "ICMP";
  return {
    six, protocol, at, from: bytes.subarray(six ? 8 : 12, six ? 24 : 16), to: bytes.subarray(six ? 24 : 16, six ? 40 : 20),
    sport: get16(bytes, icmp ? at + 4 : at), dport: get16(bytes, icmp ? at + 6 : at + 2),
    kind: icmp ? bytes[at] : protocol === "TCP" ? bytes[at + 13] : protocol === "SCTP" ? bytes[at + 12] : 0,
  };
}

/** Whether an ICMP message tells of an error, and so quotes a packet. */
export function isError(image: Image): boolean {
  return image.protocol === "ICMP" && (image.six ? image.kind < 128 : [3, 4, 5, 11, 12].includes(image.kind));
}

/** What the receiver of a packet answers; `more` says what of it is new. */
export function turned(bytes: Uint8Array, more: Partial<Segment>): Uint8Array {
  const image = look(bytes);
  if (image === null) throw new Error("a packet that cannot be answered");
  const { protocol, at } = image;
  const echo: Partial<Segment> = protocol === "ICMP" ? { icmp: [image.six ? 129 : 0, 0], sport: image.sport, dport: image.dport } : {};
  const tcp: Partial<Segment> = protocol === "TCP" ? { seq: get32(bytes, at + 8), ack: (get32(bytes, at + 4) + 1) >>> 0 } : {};
  return build({ protocol, from: addressText(image.to), to: addressText(image.from), sport: image.dport, dport: image.sport,
    ...echo, ...tcp, ...more });
}

/** An ICMP error that quotes a packet as its receiver, or a router on its way, sends it. */
export function errorAbout(bytes: Uint8Array, from: string, kind: readonly [number, number], info = 0): Uint8Array {
  const image = look(bytes);
  if (image === null) throw new Error("a packet that cannot be quoted");
  return build({ protocol: "ICMP", from, to: addressText(image.from), sport: info >>> 16, dport: info & 0xffff, icmp: kind,
    payload: bytes.slice(0, image.six ? 1200 : 500) });
}

export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const text = Array.from({ length: 8 }, (_, at) => get16(bytes, at * 2).toString(16)).join(":");
  return parseAddress(text)?.text ?? text;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** One line for a failure message. */
export function describe(bytes: Uint8Array): string {
  const image = look(bytes);
  if (image === null) return hexOf(bytes);
  const inner = isError(image) ? ` quoting [${describe(bytes.slice(image.at + 8))}]` : "";
  const [open, close] = image.six ? ["[", "]"] : ["", ""];
  return `${image.protocol} ${open}${addressText(image.from)}${close}:${image.sport} > ${open}${addressText(image.to)}${close}:`
    + `${image.dport} kind ${image.kind} ttl ${bytes[image.six ? 7 : 8]} length ${bytes.length}${inner}`;
}

export function addressBytes(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`not an address: ${text}`);
  return parsed.bytes;
}

function upperLayer(input: Segment, six: boolean): Uint8Array {
  const payload = input.payload ?? new Uint8Array(0);
  const head = new Uint8Array({ TCP: 20, UDP: 8, SCTP: 12, ICMP: 8 }[input.protocol]);
  put16(head, 0, input.sport);
  put16(head, 2, input.dport);
  switch (input.protocol) {
    case "TCP":
      put32(head, 4, input.seq ?? 1000);
      put32(head, 8, input.ack ?? 0);
      head.set([0x50, input.flags ?? Tcp.Syn, 0xff, 0xff], 12);
      return join(head, payload);
    case "UDP":
      put16(head, 4, 8 + payload.length);
      return join(head, payload);
    case "ICMP": {
      const [type, code] = input.icmp ?? [six ? 128 : 8, 0];
      head.set([type, code, 0, 0], 0);
      put16(head, 4, input.sport);
      put16(head, 6, input.dport);
      return join(head, payload);
    }
    case "SCTP":
      put32(head, 4, input.tag ?? 0);
      return join(head, chunkOf(input));
  }
}

/** RFC 9260, section 3.3: INIT and INIT ACK have 20 bytes, a cookie four, data twelve and what it carries. */
function chunkOf(input: Segment): Uint8Array {
  const type = input.chunk ?? Chunk.Init;
  const size = type === Chunk.Init || type === Chunk.InitAck ? 20 : type === Chunk.CookieEcho ? 8 : type === Chunk.CookieAck ? 4 : 20;
  const bytes = new Uint8Array(size);
  bytes[0] = type;
  bytes[1] = type === Chunk.Data ? 3 : 0;
  put16(bytes, 2, size);
  if (type === Chunk.Init || type === Chunk.InitAck) {
    put32(bytes, 4, input.initTag ?? 1);
    put32(bytes, 8, 65536);
    put32(bytes, 12, 0x00010001);
    put32(bytes, 16, 1);
  }
  return bytes;
}

function fill(bytes: Uint8Array): void {
  const image = look(bytes);
  if (image === null) return;
  const { protocol, at, six } = image;
  const upper = bytes.subarray(at);
  if (protocol === "SCTP") {
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(at + 8, crc32c(upper), true);
    return;
  }
  const field = at + (protocol === "TCP" ? 16 : protocol === "UDP" ? 6 : 2);
  const pseudo = protocol === "ICMP" && !six ? 0
    : sum(bytes.subarray(six ? 8 : 12, at)) + NUMBERS[protocol][six ? 1 : 0] + upper.length;
  const value = ~fold(pseudo + sum(upper)) & 0xffff;
  put16(bytes, field, value === 0 && protocol === "UDP" ? 0xffff : value);
}

/** Castagnoli's polynomial, reflected (RFC 9260, appendix A); the field itself is zero. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78);
  }
  return ~crc >>> 0;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at] << 8) | (bytes[at + 1] ?? 0);
  return fold(total);
}

function fold(value: number): number {
  let folded = value;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function get32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 255;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}
