/**
 * Ethernet II header. Check once with `fits`, then read.
 *
 *     0        6        12    14
 *     +--------+--------+-----+----
 *     |  dest  | source | type| payload
 *     +--------+--------+-----+----
 */
export class Ethernet {
  static readonly LENGTH: i32 = 14;
  static readonly IPV4: u16 = 0x0800;
  static readonly ARP: u16 = 0x0806;
  static readonly VLAN: u16 = 0x8100;
  static readonly IPV6: u16 = 0x86dd;
  static readonly QINQ: u16 = 0x88a8;

  @inline
  static fits(length: i32): bool {
    return length >= Ethernet.LENGTH;
  }

  /** Host order. */
  @inline
  static type(frame: usize): u16 {
    return bswap(load<u16>(frame, 12));
  }

  @inline
  static setType(frame: usize, type: u16): void {
    store<u16>(frame, bswap(type), 12);
  }

  /** Copies six bytes at `mac` into the destination. */
  @inline
  static setDestination(frame: usize, mac: usize): void {
    store<u32>(frame, load<u32>(mac));
    store<u16>(frame, load<u16>(mac, 4), 4);
  }

  @inline
  static setSource(frame: usize, mac: usize): void {
    store<u32>(frame, load<u32>(mac), 6);
    store<u16>(frame, load<u16>(mac, 4), 10);
  }

  /**
   * Whether Cilium takes the type for an Ethernet II one (bpf/lib/eth.h, eth_is_supported_ethertype): it
   * compares against 0x0600 in network order on a little endian machine, so only 802.3 lengths whose low byte
   * is zero are refused.
   */
  @inline
  static supported(frame: usize): bool {
    return load<u16>(frame, 12) >= 0x0006;
  }
}
