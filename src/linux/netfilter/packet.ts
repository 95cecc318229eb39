/**
 * What netfilter reads of a packet, in numbers: one reused object, filled from the bytes at every hook and
 * again after the bytes were rewritten.
 *
 * Addresses are four signed 32-bit words, most significant first; an IPv4 address is the last word, the
 * others are 0. Ports are host order. Reads never pass `skb.length`: what is cut off shows as `l4Short`.
 */
import type { Skb } from "../skb.js";

export const Proto = {
  Icmp: 1,
  Tcp: 6,
  Udp: 17,
  Dccp: 33,
  Gre: 47,
  Esp: 50,
  Icmp6: 58,
  Sctp: 132,
  UdpLite: 136,
} as const;

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const { Tcp, Udp, UdpLite, Sctp, Dccp, Icmp, Icmp6 } = Proto;

export const TcpFlag = { Fin: 1, Syn: 2, Rst: 4, Psh: 8, Ack: 16, Urg: 32, Ece: 64, Cwr: 128 } as const;

export class Packet {
  family: 4 | 6 = 4;
  protocol = 0;
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  /** Offset of the upper-layer header. */
  l4 = 0;
  /** Bytes from the upper-layer header to the end. */
  l4Length = 0;
  /** A fragment other than the first: there is no upper-layer header. */
  laterFragment = false;
  /** The header of TCP (20 bytes), UDP (8), SCTP (12 for matches), ICMP (4) is not all there. */
  l4Short = false;
  /** The header begins with two ports, and they are there. */
  hasPorts = false;
  /** 0 for protocols without ports. */
  sourcePort = 0;
  destinationPort = 0;
  tcpFlags = 0;
  icmpType = 0;
  icmpCode = 0;

  load(skb: Skb): void {
    const bytes = skb.bytes;
    this.family = skb.family;
    this.protocol = skb.protocol;
    this.readAddresses(bytes);
    this.l4 = skb.headerLength;
    this.l4Length = skb.length - skb.headerLength;
    this.laterFragment = skb.fragmentOffset > 0;
    this.readPorts(bytes);
  }

  /** What NAT changes. */
  readTranslated(bytes: Uint8Array): void {
    this.readAddresses(bytes);
    if (!this.hasPorts) return;
    const at = this.l4;
    this.sourcePort = (bytes[at] << 8) | bytes[at + 1];
    this.destinationPort = (bytes[at + 2] << 8) | bytes[at + 3];
  }

  readAddresses(bytes: Uint8Array): void {
    if (this.family === 4) {
      this.s3 = word(bytes, 12);
      this.d3 = word(bytes, 16);
      this.s0 = this.s1 = this.s2 = this.d0 = this.d1 = this.d2 = 0;
      return;
    }
    this.s0 = word(bytes, 8);
    this.s1 = word(bytes, 12);
    this.s2 = word(bytes, 16);
    this.s3 = word(bytes, 20);
    this.d0 = word(bytes, 24);
    this.d1 = word(bytes, 28);
    this.d2 = word(bytes, 32);
    this.d3 = word(bytes, 36);
  }

  readPorts(bytes: Uint8Array): void {
    const at = this.l4;
    const length = this.laterFragment ? 0 : this.l4Length;
    this.sourcePort = this.destinationPort = this.tcpFlags = this.icmpType = this.icmpCode = 0;
    this.l4Short = this.hasPorts = false;
    switch (this.protocol) {
      case Tcp:
        if (length < 20) {
          this.l4Short = true;
          return;
        }
        this.tcpFlags = bytes[at + 13];
        break;
      case Udp:
      case UdpLite:
        if (length < 8) {
          this.l4Short = true;
          return;
        }
        break;
      case Sctp:
      case Dccp:
        if (length < 12) {
          this.l4Short = true;
          return;
        }
        break;
      case Icmp:
      case Icmp6:
        if (length < 4) {
          this.l4Short = true;
          return;
        }
        this.icmpType = bytes[at];
        this.icmpCode = bytes[at + 1];
        return;
      default:
        return;
    }
    this.hasPorts = true;
    this.sourcePort = (bytes[at] << 8) | bytes[at + 1];
    this.destinationPort = (bytes[at + 2] << 8) | bytes[at + 3];
  }
}

/** The 32-bit word at an offset, wire order, as a signed number. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}

export function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function half(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function putHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
