/**
 * Geneve header (RFC 8926), behind UDP, with options of up to 252 bytes; an Ethernet frame follows.
 *
 *     0           1         2          4     7          8
 *     +-----------+---------+----------+-----+----------+---------+-----
 *     |version,len| O, C    | protocol | VNI | reserved | options | frame
 *     +-----------+---------+----------+-----+----------+---------+-----
 */
export class Geneve {
  static readonly LENGTH: i32 = 8;
  /** ETH_P_TEB as it stands on the wire. */
  private static readonly ETHERNET: u16 = 0x5865;

  /** geneve_udp_encap_recv (drivers/net/geneve.c): version 0, an Ethernet frame inside, no control message. */
  static valid(header: usize): bool {
    return (load<u8>(header) >> 6) == 0 && (load<u8>(header, 1) & 0x80) == 0
      && load<u16>(header, 2) == Geneve.ETHERNET;
  }

  /** Bytes up to the frame. */
  @inline
  static length(header: usize): i32 {
    return Geneve.LENGTH + (<i32>(load<u8>(header) & 0x3f) << 2);
  }

  @inline
  static vni(header: usize): u32 {
    return bswap(load<u32>(header, 4)) >> 8;
  }

  /** A header with the options at `options`, `length` bytes in words of four; a critical one is announced. */
  static write(header: usize, vni: u32, options: usize, length: i32): void {
    const critical = length != 0 && (load<u8>(options, 2) & 0x80) != 0;
    store<u8>(header, <u8>(length >> 2));
    store<u8>(header, critical ? 0x40 : 0, 1);
    memory.copy(header + Geneve.LENGTH, options, length);
    store<u16>(header, Geneve.ETHERNET, 2);
    store<u32>(header, bswap(vni << 8), 4);
  }
}
