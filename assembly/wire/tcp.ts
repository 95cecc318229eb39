/**
 * TCP header (RFC 9293). Ports are wire order; flags are the byte as it stands.
 *
 *     0     2     4      8      12       13     14       16        18
 *     +-----+-----+------+------+--------+------+--------+---------+------
 *     |sport|dport| seq  | ack  |data off| flags| window |checksum | urgent
 *     +-----+-----+------+------+--------+------+--------+---------+------
 */
export class Tcp {
  static readonly MIN_LENGTH: i32 = 20;
  static readonly SOURCE_PORT: i32 = 0;
  static readonly DESTINATION_PORT: i32 = 2;
  /** Cilium reads bytes 12..15 for the flags (l4_load_tcp_flags): a header cut before 16 is invalid. */
  static readonly FLAGS_END: i32 = 14;
  static readonly CHECKSUM: i32 = 16;

  static readonly FIN: u8 = 1;
  static readonly SYN: u8 = 2;
  static readonly RST: u8 = 4;
  static readonly ACK: u8 = 16;

  @inline
  static flags(tcp: usize): u8 {
    return load<u8>(tcp, 13);
  }
}
