/**
 * VXLAN header (RFC 7348), behind UDP; an Ethernet frame follows. What Linux's driver refuses
 * (drivers/net/vxlan, vxlan_rcv: no VNI flag, or reserved bits that are not zero) is no header here.
 *
 *     0      1          4     7          8
 *     +------+----------+-----+----------+-----
 *     |flags | reserved | VNI | reserved | frame
 *     +------+----------+-----+----------+-----
 */
export class Vxlan {
  static readonly LENGTH: i32 = 8;

  static valid(header: usize): bool {
    return load<u32>(header) == 0x08 && load<u8>(header, 7) == 0;
  }

  @inline
  static vni(header: usize): u32 {
    return bswap(load<u32>(header, 4)) >> 8;
  }

  static write(header: usize, vni: u32): void {
    store<u32>(header, 0x08);
    store<u32>(header, bswap(vni << 8), 4);
  }
}
