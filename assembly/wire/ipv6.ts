/**
 * IPv6 header (RFC 8200) and the walk over extension headers as Cilium does it (bpf/lib/ipv6.h): at most
 * four, hop-by-hop, routing, destination, authentication and fragment; "no next header" and anything longer
 * is refused.
 *
 *     0              4         6          7           8        24     40
 *     +--------------+---------+----------+-----------+--------+------+
 *     | ver,tc,label | payload | next hdr | hop limit | source | dest |
 *     +--------------+---------+----------+-----------+--------+------+
 */
export class Ipv6 {
  static readonly LENGTH: i32 = 40;
  static readonly SOURCE: i32 = 8;
  static readonly DESTINATION: i32 = 24;
  static readonly MAX_EXTENSIONS: i32 = 4;

  // Extension header numbers, RFC 8200 and RFC 4302.
  static readonly HOP: u8 = 0;
  static readonly ROUTING: u8 = 43;
  static readonly FRAGMENT: u8 = 44;
  static readonly AUTH: u8 = 51;
  static readonly NONE: u8 = 59;
  static readonly DEST: u8 = 60;

  static readonly FRAGMENT_LENGTH: i32 = 8;

  @inline
  static fits(length: i32): bool {
    return length >= Ipv6.LENGTH;
  }

  @inline
  static version(ip: usize): u8 {
    return load<u8>(ip) >> 4;
  }

  /** Host order. */
  @inline
  static payloadLength(ip: usize): u16 {
    return bswap(load<u16>(ip, 4));
  }

  @inline
  static nextHeader(ip: usize): u8 {
    return load<u8>(ip, 6);
  }

  @inline
  static hopLimit(ip: usize): u8 {
    return load<u8>(ip, 7);
  }

  @inline
  static decrementHopLimit(ip: usize): void {
    store<u8>(ip, load<u8>(ip, 7) - 1, 7);
  }

  @inline
  static isExtension(next: u8): bool {
    return next == Ipv6.HOP || next == Ipv6.ROUTING || next == Ipv6.FRAGMENT || next == Ipv6.AUTH
      || next == Ipv6.DEST;
  }

  /** Length in bytes of the extension header of kind `kind` at `header`. */
  @inline
  static extensionLength(kind: u8, header: usize): i32 {
    if (kind == Ipv6.FRAGMENT) return Ipv6.FRAGMENT_LENGTH;
    const units = <i32>load<u8>(header, 1);
    // RFC 4302 counts the authentication header in words of four bytes, minus two.
    return kind == Ipv6.AUTH ? (units + 2) << 2 : (units + 1) << 3;
  }

  /** Offset and "more" of a fragment header, host order: 13 bits offset, two reserved, one "more". */
  @inline
  static fragment(header: usize): u16 {
    return bswap(load<u16>(header, 2));
  }

  /** Identification, wire order. */
  @inline
  static fragmentId(header: usize): u32 {
    return load<u32>(header, 4);
  }
}
