/**
 * IPv4 header (RFC 791). `fits` checks the fixed 20 bytes; `headerLength` is what the header says and is not
 * checked against anything, as in Cilium.
 *
 *     0   1   2         4     6       8     9         10       12      16     20
 *     +---+---+---------+-----+-------+-----+---------+--------+-------+------+
 *     |ihl|tos|total len| id  | frag  | ttl |protocol |checksum| source| dest |
 *     +---+---+---------+-----+-------+-----+---------+--------+-------+------+
 */
import { Checksum } from "./checksum";

export class Ipv4 {
  static readonly MIN_LENGTH: i32 = 20;
  static readonly SOURCE: i32 = 12;
  static readonly DESTINATION: i32 = 16;
  static readonly CHECKSUM: i32 = 10;
  /** RFC 791: fragment offset field and "more fragments", host order. */
  static readonly OFFSET_MASK: u16 = 0x1fff;
  static readonly MORE_FRAGMENTS: u16 = 0x2000;

  @inline
  static fits(length: i32): bool {
    return length >= Ipv4.MIN_LENGTH;
  }

  @inline
  static version(ip: usize): u8 {
    return load<u8>(ip) >> 4;
  }

  /** Bytes, options included; 0..60. */
  @inline
  static headerLength(ip: usize): i32 {
    return <i32>(load<u8>(ip) & 15) << 2;
  }

  @inline
  static tos(ip: usize): u8 {
    return load<u8>(ip, 1);
  }

  /** Host order. */
  @inline
  static totalLength(ip: usize): u16 {
    return bswap(load<u16>(ip, 2));
  }

  /** Wire order. */
  @inline
  static id(ip: usize): u16 {
    return load<u16>(ip, 4);
  }

  /** Flags and offset, host order. */
  @inline
  static fragment(ip: usize): u16 {
    return bswap(load<u16>(ip, 6));
  }

  @inline
  static ttl(ip: usize): u8 {
    return load<u8>(ip, 8);
  }

  @inline
  static protocol(ip: usize): u8 {
    return load<u8>(ip, 9);
  }

  /** Wire order. */
  @inline
  static source(ip: usize): u32 {
    return load<u32>(ip, 12);
  }

  /** Wire order. */
  @inline
  static destination(ip: usize): u32 {
    return load<u32>(ip, 16);
  }

  /** TTL minus one with the checksum kept, as ipv4_dec_ttl does through bpf_l3_csum_replace. */
  @inline
  static decrementTtl(ip: usize): void {
    const ttl = load<u8>(ip, 8);
    store<u8>(ip, ttl - 1, 8);
    // The TTL is the first byte of its word, so the zero-extended byte is the word's change as loaded.
    Checksum.replace2(ip + Ipv4.CHECKSUM, <u16>ttl, <u16>(ttl - 1));
  }

  /** TTL minus one as the kernel's forwarding path does it (ip_decrease_ttl, include/net/ip.h). */
  @inline
  static decrementTtlForwarding(ip: usize): void {
    // htons(0x0100) as loaded on a little endian machine.
    const check = <u32>load<u16>(ip, 10) + 1;
    store<u16>(ip, <u16>(check >= 0xffff ? check + 1 : check), 10);
    store<u8>(ip, load<u8>(ip, 8) - 1, 8);
  }

  /** Computes the header checksum of a header without options and stores it. */
  static seal(ip: usize): void {
    store<u16>(ip, 0, 10);
    store<u16>(ip, Checksum.fold(Checksum.partial(ip, Ipv4.MIN_LENGTH, 0)), 10);
  }
}
