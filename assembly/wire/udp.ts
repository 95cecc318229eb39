/**
 * UDP header (RFC 768). A checksum of zero means that there is none (IPv4).
 *
 *     0     2     4      6         8
 *     +-----+-----+------+---------+
 *     |sport|dport|length|checksum |
 *     +-----+-----+------+---------+
 */
export class Udp {
  static readonly LENGTH: i32 = 8;
  static readonly CHECKSUM: i32 = 6;

  /** As it stands on the wire. */
  @inline
  static checksum(udp: usize): u16 {
    return load<u16>(udp, 6);
  }
}
