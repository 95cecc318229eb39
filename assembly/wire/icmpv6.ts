/**
 * ICMPv6 (RFC 4443) and the two neighbour discovery messages Cilium answers or passes (RFC 4861). The
 * checksum covers a pseudo header, unlike ICMP's. Same fields at the same places as ICMP.
 */
export class Icmpv6 {
  static readonly LENGTH: i32 = 8;
  static readonly CHECKSUM: i32 = 2;
  static readonly ECHO_ID: i32 = 4;

  static readonly DESTINATION_UNREACHABLE: u8 = 1;
  static readonly PACKET_TOO_BIG: u8 = 2;
  static readonly TIME_EXCEEDED: u8 = 3;
  static readonly PARAMETER_PROBLEM: u8 = 4;
  static readonly ECHO_REQUEST: u8 = 128;
  static readonly ECHO_REPLY: u8 = 129;
  static readonly LISTENER_QUERY: u8 = 130;
  static readonly ROUTER_SOLICITATION: u8 = 133;
  static readonly NEIGHBOUR_SOLICITATION: u8 = 135;
  static readonly NEIGHBOUR_ADVERTISEMENT: u8 = 136;
  static readonly REDIRECT: u8 = 137;

  static readonly ADMIN_PROHIBITED: u8 = 1;
  static readonly PORT_UNREACHABLE: u8 = 4;
  /** ICMPV6_REJECT_ROUTE, the last code of type 1 that Cilium takes. */
  static readonly LAST_UNREACHABLE: u8 = 6;

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
