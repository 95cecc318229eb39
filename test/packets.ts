/**
 * Packets for tests, from the network header on: built with right checksums, checked by a straightforward
 * sum, read back field by field. Written from the RFCs and on purpose not shared with the product's own
 * readers.
 */
import { address } from "./programs.js";

export interface PacketInput {
  readonly from: string;
  readonly to: string;
  readonly protocol: "TCP" | "UDP" | "ICMP";
  readonly sport?: number;
  readonly dport?: number;
  /** TCP flag byte; SYN by default. */
  readonly flags?: number;
  readonly ttl?: number;
  readonly payload?: Uint8Array;
  /** ICMP type, code and the four bytes after the checksum. */
  readonly icmp?: readonly [number, number, Uint8Array];
  /** IPv4 identification and flags with offset. */
  readonly id?: number;
  readonly fragment?: number;
  /** UDP without a checksum. */
  readonly noChecksum?: boolean;
}

export interface PacketRead {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
  readonly ttl: number;
}

export const SYN = 2;
export const ACK = 16;
export const FIN = 1;
export const RST = 4;

export function packet(input: PacketInput): Uint8Array {
  const source = address(input.from);
  const destination = address(input.to);
  const v6 = source.family === 6;
  const upper = upperLayer(input, v6);
  const head = v6 ? 40 : 20;
  const bytes = new Uint8Array(head + upper.length);
  const view = new DataView(bytes.buffer);
  const number = { TCP: 6, UDP: 17, ICMP: v6 ? 58 : 1 }[input.protocol];
  bytes.set(upper, head);
  if (v6) {
    bytes[0] = 0x60;
    view.setUint16(4, upper.length);
    bytes[6] = number;
    bytes[7] = input.ttl ?? 64;
    bytes.set(source.bytes, 8);
    bytes.set(destination.bytes, 24);
  } else {
    bytes[0] = 0x45;
    view.setUint16(2, bytes.length);
    view.setUint16(4, input.id ?? 0);
    view.setUint16(6, input.fragment ?? 0);
    bytes[8] = input.ttl ?? 64;
    bytes[9] = number;
    bytes.set(source.bytes, 12);
    bytes.set(destination.bytes, 16);
    view.setUint16(10, ~sum(bytes.subarray(0, 20)) & 0xffff);
  }
  const field = head + checksumAt(number);
  if (((input.fragment ?? 0) & 0x1fff) === 0 && input.noChecksum !== true) {
    const value = ~upperSum(bytes) & 0xffff;
    view.setUint16(field, value === 0 && number === 17 ? 0xffff : value);
  }
  return bytes;
}

/** The frame with an Ethernet header in front. */
export function frame(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(14 + bytes.length);
  whole.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  new DataView(whole.buffer).setUint16(12, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800);
  whole.set(bytes, 14);
  return whole;
}

export function read(bytes: Uint8Array): PacketRead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const v6 = bytes[0] >> 4 === 6;
  const head = v6 ? 40 : (bytes[0] & 15) * 4;
  const text = (at: number): string => textOf(bytes.subarray(at, at + (v6 ? 16 : 4)));
  return { from: text(v6 ? 8 : 12), to: text(v6 ? 24 : 16), protocol: bytes[v6 ? 6 : 9], ttl: bytes[v6
    ? 7 : 8],
    sport: head + 4 <= bytes.length ? view.getUint16(head) : 0, dport: head + 4 <= bytes.length
      ? view.getUint16(head + 2) : 0 };
}

/** What is wrong with the checksums of an unfragmented packet; empty: nothing. */
export function wrongChecksums(bytes: Uint8Array): string {
  const v6 = bytes[0] >> 4 === 6;
  if (!v6 && sum(bytes.subarray(0, (bytes[0] & 15) * 4)) !== 0xffff) return "IPv4 header";
  const number = bytes[v6 ? 6 : 9];
  const head = v6 ? 40 : (bytes[0] & 15) * 4;
  const field = head + checksumAt(number);
  if (number === 17 && bytes[field] === 0 && bytes[field + 1] === 0) {
    return v6 ? "UDP over IPv6 without a checksum" : "";
  }
  return upperSum(bytes) === 0xffff ? "" : `upper layer ${number}`;
}

function upperLayer(input: PacketInput, v6: boolean): Uint8Array {
  const payload = input.payload ?? new Uint8Array(0);
  const later = ((input.fragment ?? 0) & 0x1fff) !== 0;
  if (later) return payload;
  if (input.protocol === "ICMP") {
    const [type, code, rest] = input.icmp ?? [v6 ? 128 : 8, 0, Uint8Array.of(0, 7, 0, 1)];
    return Uint8Array.of(type, code, 0, 0, ...rest, ...payload);
  }
  const bytes = new Uint8Array((input.protocol === "TCP" ? 20 : 8) + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, input.sport ?? 40000);
  view.setUint16(2, input.dport ?? 80);
  if (input.protocol === "TCP") {
    view.setUint32(4, 1000);
    bytes[12] = 0x50;
    bytes[13] = input.flags ?? SYN;
    view.setUint16(14, 65535);
  } else view.setUint16(4, bytes.length);
  bytes.set(payload, bytes.length - payload.length);
  return bytes;
}

function checksumAt(protocol: number): number {
  return protocol === 6 ? 16 : protocol === 17 ? 6 : 2;
}

/** Folded sum of the upper layer with its pseudo header, where it has one. */
function upperSum(bytes: Uint8Array): number {
  const v6 = bytes[0] >> 4 === 6;
  const head = v6 ? 40 : (bytes[0] & 15) * 4;
  const number = bytes[v6 ? 6 : 9];
  const upper = bytes.subarray(head);
  if (number === 1) return sum(upper);
  const addresses = v6 ? bytes.subarray(8, 40) : bytes.subarray(12, 20);
  return sum(Uint8Array.of(...addresses, 0, number, upper.length >> 8, upper.length & 255, ...upper));
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at] << 8) | (bytes[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

function textOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_,
    index) => ((bytes[2 * index] << 8) | bytes[2 * index + 1]).toString(16));
  return address(groups.join(":")).text;
}
