/**
 * ICMP for IPv4 (RFC 792). The quoted packet of an error starts after eight bytes.
 *
 *     0    1    2        4          6          8
 *     +----+----+--------+----------+----------+--------
 *     |type|code|checksum| echo id  | sequence | quote
 *     +----+----+--------+----------+----------+--------
 */
export class Icmp {
  static readonly LENGTH: i32 = 8;
  static readonly CHECKSUM: i32 = 2;
  static readonly ECHO_ID: i32 = 4;

  static readonly ECHO_REPLY: u8 = 0;
  static readonly DESTINATION_UNREACHABLE: u8 = 3;
  static readonly REDIRECT: u8 = 5;
  static readonly ECHO: u8 = 8;
  static readonly TIME_EXCEEDED: u8 = 11;
  static readonly PARAMETER_PROBLEM: u8 = 12;

  /** Codes of type 3. */
  static readonly PORT_UNREACHABLE: u8 = 3;
  static readonly FRAGMENTATION_NEEDED: u8 = 4;
  static readonly PACKET_FILTERED: u8 = 13;
  /** NR_ICMP_UNREACH, the last code of type 3 that the kernel knows. */
  static readonly LAST_UNREACHABLE: u8 = 15;

  @inline
  static type(icmp: usize): u8 {
    return load<u8>(icmp);
  }

  @inline
  static code(icmp: usize): u8 {
    return load<u8>(icmp, 1);
  }

  /** Wire order. */
  @inline
  static echoId(icmp: usize): u16 {
    return load<u16>(icmp, 4);
  }
}
