/**
 * The first packet of a connection, and the first answer to it, made from a tuple: TCP SYN and SYN-ACK, a UDP
 * datagram, an ICMP echo request and reply, SCTP INIT and INIT ACK. Packets of one connection share what NAT leaves
 * alone, so that replay takes them for one packet on its way.
 *
 * Sources: RFC 791, 8200, 9293, 768, 792, 4443, 9260.
 */
import type { Address } from "../cluster/address.js";
import { Decoded, DecodeStatus, decode, EtherType, internetChecksum, Protocol, sctpChecksum, sum16 } from "../wire/index.js";

export interface PacketTuple {
  readonly source: Address;
  readonly destination: Address;
  /** Host order; of ICMP echo both are the identifier. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const SYN = 0x02;
const ACK = 0x10;
const SYN_ACK = SYN | ACK;
/** Offset of the checksum in the upper-layer header, by IP protocol number. */
export const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 58: 2, 6: 16, 17: 6, 132: 8 };
const fields = new Decoded();

/** Protocols that a packet can be made of. */
export function hasFirstPacket(protocol: number): boolean {
  return protocol in CHECKSUM_AT;
}

/**
 * @param connection a number that tells the packets of one connection from those of others
 * @param tcpFlags instead of SYN, or SYN and ACK
 */
export function entryPacket(protocol: number, tuple: PacketTuple, answer: boolean, connection: number, ttl: number,
  tcpFlags = answer ? SYN_ACK : SYN): Uint8Array {
  const upper = upperLayer(protocol, tuple, answer, connection, tcpFlags);
  const v6 = tuple.source.family === 6;
  const head = v6 ? 40 : 20;
  const bytes = new Uint8Array(head + upper.length);
  const view = new DataView(bytes.buffer);
  bytes.set(upper, head);
  if (v6) {
    bytes[0] = 0x60;
    view.setUint16(4, upper.length);
    bytes[6] = protocol;
    bytes[7] = ttl;
  } else {
    bytes[0] = 0x45;
    view.setUint16(2, bytes.length);
    view.setUint16(4, connection & 0xffff);
    // Not to be fragmented, as TCP sends it.
    view.setUint16(6, 0x4000);
    bytes[8] = ttl;
    bytes[9] = protocol;
  }
  bytes.set(tuple.source.bytes, v6 ? 8 : 12);
  bytes.set(tuple.destination.bytes, v6 ? 24 : 16);
  if (!v6) view.setUint16(10, ~sum16(bytes, 0, 20) & 0xffff);
  settle(bytes, head + CHECKSUM_AT[protocol]);
  return bytes;
}

/** Writes the transport checksum of a made packet, at `at`. */
export function settle(bytes: Uint8Array, at: number): void {
  decode(bytes, 0, bytes.length, bytes.length, EtherType.None, fields);
  if (fields.status !== DecodeStatus.Ok) throw new Error(`a packet made from a tuple does not decode: status ${fields.status}`);
  const view = new DataView(bytes.buffer);
  if (fields.protocol === Protocol.Sctp) view.setUint32(at, sctpChecksum(bytes, fields));
  else view.setUint16(at, internetChecksum(bytes, fields));
}

function upperLayer(protocol: number, tuple: PacketTuple, answer: boolean, connection: number, tcpFlags: number): Uint8Array {
  switch (protocol) {
    case 6:
      return tcp(tuple, answer, connection, tcpFlags);
    case 17:
      return udp(tuple, connection);
    case 132:
      return sctp(tuple, answer, connection);
    default:
      return echo(protocol, tuple, answer, connection);
  }
}

function tcp(tuple: PacketTuple, answer: boolean, connection: number, flags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(20));
  ports(view, tuple);
  // Both sides begin at the same number; what is no SYN comes after them, and acknowledges the other's.
  view.setUint32(4, (connection + ((flags & SYN) === 0 ? 1 : 0)) >>> 0);
  if (answer || (flags & SYN_ACK) === ACK) view.setUint32(8, (connection + 1) >>> 0);
  view.setUint8(12, 5 << 4);
  view.setUint8(13, flags);
  view.setUint16(14, 0xffff);
  return new Uint8Array(view.buffer);
}

function udp(tuple: PacketTuple, connection: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  ports(view, tuple);
  view.setUint16(4, 12);
  view.setUint32(8, connection >>> 0);
  return new Uint8Array(view.buffer);
}

/** INIT, or INIT ACK with the state cookie that it must have. */
function sctp(tuple: PacketTuple, answer: boolean, connection: number): Uint8Array {
  const chunk = answer ? 28 : 20;
  const view = new DataView(new ArrayBuffer(12 + chunk));
  ports(view, tuple);
  // An INIT has no verification tag; what answers it has the tag the INIT announced, which is never 0.
  if (answer) view.setUint32(4, (connection + 1) >>> 0);
  view.setUint8(12, answer ? 2 : 1);
  view.setUint16(14, chunk);
  view.setUint32(16, (connection + 1) >>> 0);
  view.setUint32(20, 0xffff);
  view.setUint16(24, 1);
  view.setUint16(26, 1);
  view.setUint32(28, connection >>> 0);
  if (answer) {
    view.setUint16(32, 7);
    view.setUint16(34, 8);
    view.setUint32(36, connection >>> 0);
  }
  return new Uint8Array(view.buffer);
}

function echo(protocol: number, tuple: PacketTuple, answer: boolean, connection: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint8(0, protocol === 1 ? (answer ? 0 : 8) : answer ? 129 : 128);
  view.setUint16(4, tuple.sourcePort);
  view.setUint16(6, connection & 0xffff);
  view.setUint32(8, connection >>> 0);
  return new Uint8Array(view.buffer);
}

function ports(view: DataView, tuple: PacketTuple): void {
  view.setUint16(0, tuple.sourcePort);
  view.setUint16(2, tuple.destinationPort);
}
