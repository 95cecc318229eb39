/**
 * The port of a packet as IP sets see it (ip_set_get_ip4_port, ip_set_get_ip6_port): `port | protocol << 16`, -1 where
 * the packet has none to look at. ICMP's type and code stand for a port, other protocols have port 0.
 */
import { type Packet, Proto } from "../packet.js";

/** Header that must be there, bytes. */
const lengths: Readonly<Record<number, number>> = {
  [Proto.Tcp]: 20, [Proto.Sctp]: 12, [Proto.Udp]: 8, [Proto.UdpLite]: 8, [Proto.Icmp]: 8, [Proto.Icmp6]: 8,
};
const NoNextHeader = 59;

export function packetPort(packet: Packet, source: boolean): number {
  const { protocol, family } = packet;
  const needed = headerLength(protocol);
  if (family === 4 && protocol === 0) return -1;
  if (family === 6 && protocol === NoNextHeader) return -1;
  if (packet.laterFragment) {
    // IPv4 lets protocols without ports through; ICMPv6 is none that it knows.
    const portless = family === 4 && (needed === 0 || protocol === Proto.Icmp6);
    return portless ? protocol << 16 : -1;
  }
  if (needed === 0) return protocol << 16;
  if (packet.l4Length < needed) return -1;
  if (protocol === Proto.Icmp || protocol === Proto.Icmp6) {
    return (protocol << 16) | (packet.icmpType << 8) | packet.icmpCode;
  }
  return (protocol << 16) | (source ? packet.sourcePort : packet.destinationPort);
}

function headerLength(protocol: number): number {
  return lengths[protocol] ?? 0;
}
