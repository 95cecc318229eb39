/**
 * Cutting a datagram for a link: ip_do_fragment (net/ipv4/ip_output.c) and ip6_fragment (net/ipv6/ip6_output.c).
 *
 * A reassembled datagram leaves with the boundaries it came with when each piece fits (the kernel's fragment list,
 * fast path); else it is cut anew, never into pieces larger than the largest that came. One Fragmenter is reused.
 */
import { setIpv4Checksum, setU16, setU32 } from "./bytes.js";
import type { Packet } from "./packet.js";

export class Fragmenter {
  /** The fragment made by the last `next`. */
  readonly bytes = new Uint8Array(66000);
  length = 0;

  private packet: Packet | null = null;
  private headerLength = 0;
  private room = 0;
  private keepBoundaries = false;
  private piece = 0;
  private offset = 0;
  private left = 0;
  /** IPv6: place of the next-header byte that becomes 44. */
  private previous = 0;

  /** False where not even eight bytes of payload fit. `mtu` is the link's. */
  start(packet: Packet, mtu: number): boolean {
    this.packet = packet;
    this.piece = 0;
    this.offset = 0;
    let limit = mtu;
    if (packet.family === 4) {
      this.headerLength = (packet.bytes[0] & 15) * 4;
      if (packet.fragMaxSize > 0 && packet.fragMaxSize < limit) limit = packet.fragMaxSize;
      this.room = limit - this.headerLength;
    } else {
      this.headerLength = this.unfragmentable(packet);
      if (packet.fragMaxSize > 0) limit = Math.max(packet.fragMaxSize, 1280);
      this.room = limit - this.headerLength - 8;
    }
    this.left = packet.length - this.headerLength;
    this.keepBoundaries = this.boundariesFit(packet);
    return this.room >= 8;
  }

  /** Makes the next fragment; false after the last. */
  next(): boolean {
    if (this.left <= 0 || this.packet === null) return false;
    const packet = this.packet;
    let size = Math.min(this.left, this.room);
    if (this.keepBoundaries) size = packet.boundaries[this.piece++];
    else if (size < this.left) size &= ~7;
    this.left -= size;
    if (packet.family === 4) this.makeIpv4(packet, size);
    else this.makeIpv6(packet, size);
    this.offset += size;
    return true;
  }

  private makeIpv4(packet: Packet, size: number): void {
    const { bytes, headerLength, offset } = this;
    bytes.set(packet.bytes.subarray(0, headerLength), 0);
    const from = headerLength + offset;
    bytes.set(packet.bytes.subarray(from, from + size), headerLength);
    this.length = headerLength + size;
    setU16(bytes, 2, this.length);
    // Only the slow path puts DF back (IPSKB_FRAG_PMTU).
    const df = packet.fragPmtu && !this.keepBoundaries ? 0x4000 : 0;
    setU16(bytes, 6, df | (this.left > 0 ? 0x2000 : 0) | (offset >> 3));
    if (offset > 0 && headerLength > 20) blankUncopiedOptions(bytes, headerLength);
    setIpv4Checksum(bytes, 0);
  }

  private makeIpv6(packet: Packet, size: number): void {
    const { bytes, headerLength, offset } = this;
    bytes.set(packet.bytes.subarray(0, headerLength), 0);
    const next = bytes[this.previous];
    bytes[this.previous] = 44;
    bytes[headerLength] = next;
    bytes[headerLength + 1] = 0;
    setU16(bytes, headerLength + 2, offset | (this.left > 0 ? 1 : 0));
    // The kernel draws a new identification; no test may compare it.
    setU32(bytes, headerLength + 4, packet.fragmentId);
    const from = headerLength + offset;
    bytes.set(packet.bytes.subarray(from, from + size), headerLength + 8);
    this.length = headerLength + 8 + size;
    setU16(bytes, 4, this.length - 40);
  }

  /** "Correct geometry": the first piece a multiple of eight, none too long, all but the last multiples of eight. */
  private boundariesFit(packet: Packet): boolean {
    const { boundaries, boundaryCount } = packet;
    if (boundaryCount < 2) return false;
    for (let index = 0; index < boundaryCount; index++) {
      // The kernel's first piece is the head skb: it also holds what of the fragmentable part lies before the upper
      // layer. Later ones are compared with the room for payload.
      if (boundaries[index] > this.room) return false;
      if ((boundaries[index] & 7) !== 0 && index < boundaryCount - 1) return false;
    }
    return true;
  }

  /** ip6_find_1stfragopt: hop-by-hop, destination options before a routing header, routing. */
  private unfragmentable(packet: Packet): number {
    const { bytes } = packet;
    this.previous = 6;
    let next = bytes[6];
    let at = 40;
    let foundRouting = false;
    while (at + 8 <= packet.length) {
      if (next === 43) foundRouting = true;
      else if (next !== 0 && !(next === 60 && !foundRouting && bytes[at] === 43)) break;
      this.previous = at;
      next = bytes[at];
      at += (bytes[at + 1] + 1) * 8;
    }
    return at;
  }
}

/** ip_options_fragment: an option without the copied flag is blanked in all but the first fragment. */
function blankUncopiedOptions(bytes: Uint8Array, headerLength: number): void {
  for (let at = 20; at < headerLength;) {
    const type = bytes[at];
    if (type === 0) return;
    if (type === 1) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length < 2 || at + length > headerLength) return;
    if ((type & 0x80) === 0) bytes.fill(1, at, at + length);
    at += length;
  }
}
