/**
 * Rewriting of addresses and ports with the checksums kept (bpf/lib/lb.h, bpf/lib/nat.h, bpf/lib/csum.h). The
 * bytes and both checksums come out as the kernel's helpers leave them: IPv4 header by difference, TCP and
 * UDP by difference over the pseudo header, a UDP checksum of zero untouched and a computed zero written as
 * 0xffff.
 *
 * SCTP keeps its checksum when only an address changes; a port may not change (154).
 */
import { BackendEntry, CtTuple, DropReason, StepKind, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Tcp } from "../wire/tcp";
import { Udp } from "../wire/udp";
import { Address } from "./address";
import { ICMP, ICMPV6, Packet, SCTP, TCP, UDP } from "./packet";
import { Steps } from "./steps";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const OLD: usize = memory.data(16, 16);

export class Translate {
  /**
   * lb4_dnat_request: the packet goes to the backend; for a loopback flow also from the loopback address. The
   * tuple (conntrack's order) follows, except that a loopback flow keeps its destination there.
   */
  static dnat(tuple: CtTuple, backend: BackendEntry, loopback: usize): i32 {
    const port = tuple.sport;
    const address = changetype<usize>(backend) + BackendEntry.ADDRESS;
    if (loopback == 0) Address.copy(Tuple.daddr(tuple), address);
    if (backend.port != 0) tuple.sport = backend.port;
    let sum = setAddress(Packet.destination, address, 0);
    if (loopback != 0) sum = setAddress(Packet.source, loopback, sum);
    sealIpv4(sum);
    if (!Packet.hasL4) return GO_ON;
    const wrong = fixPseudo(sum);
    if (wrong < 0) return wrong;
    if (backend.port == 0 || backend.port == port) return GO_ON;
    return setPort(Packet.l4, Tcp.DESTINATION_PORT, port, backend.port);
  }

  /** lb_l4_xlate alone: the backend's port (0: none), in the packet and in the tuple. */
  static port(tuple: CtTuple, port: u16): i32 {
    const before = tuple.sport;
    if (port == 0) return GO_ON;
    tuple.sport = port;
    return port == before || !Packet.hasL4 ? GO_ON : setPort(Packet.l4, Tcp.DESTINATION_PORT, before, port);
  }

  /**
   * __lb4_rev_nat: a reply comes from the frontend again; of a loopback flow, it goes back to the pod it came
   * from. `port` 0 leaves the port.
   */
  static reverse(tuple: CtTuple, address: usize, port: u16, loopback: bool): i32 {
    let sum: u32 = 0;
    if (loopback) {
      Address.read(OLD, Packet.source, Packet.family);
      sum = setAddress(Packet.destination, OLD, 0);
    }
    sum = setAddress(Packet.source, address, sum);
    sealIpv4(sum);
    Address.copy(Tuple.saddr(tuple), loopback ? OLD : address);
    if (!Packet.hasL4) return GO_ON;
    if (port != 0) {
      const protocol = tuple.nexthdr;
      if (protocol == TCP || protocol == UDP || protocol == SCTP) {
        if (port != tuple.dport) {
          const wrong = setPort(Packet.l4, Tcp.SOURCE_PORT, tuple.dport, port);
          if (wrong < 0) return wrong;
        }
      } else if (protocol != ICMP && protocol != ICMPV6) return -DropReason.DROP_UNKNOWN_L4;
    }
    return fixPseudo(sum);
  }

  /**
   * snat_v4_rewrite_headers: address and port of one side, of the packet itself or of one embedded in an ICMP
   * error. `ip` and `l4` are offsets from the frame, `atSource` says which address, `portOffset` counts from
   * `l4`. `diff` is added to the ICMP checksum for what changed in the quote.
   */
  static rewrite(ip: i32, l4: i32, protocol: u8, hasL4: bool, atSource: bool, newAddress: usize, oldPort: u16,
    newPort: u16, portOffset: i32, diff: u32): i32 {
    const family = Packet.family;
    const field = Packet.frame + ip + (family == 4 ? (atSource ? Ipv4.SOURCE : Ipv4.DESTINATION)
      : (atSource ? Ipv6.SOURCE : Ipv6.DESTINATION));
    Address.read(OLD, field, family);
    if (Address.equal(OLD, newAddress) && oldPort == newPort && diff == 0) return GO_ON;
    const sum = Checksum.diffAddress(OLD, newAddress, 0);
    Address.write(field, newAddress, family);
    if (family == 4) Checksum.replaceByDiff(Packet.frame + ip + Ipv4.CHECKSUM, sum);
    if (TRACE) {
      Steps.write(StepKind.REWRITE, Steps.NO_MAP, newAddress, Address.LENGTH, <u32>bswap(newPort), 0, ip);
    }
    if (!hasL4) return GO_ON;
    const icmp4 = protocol == ICMP && family == 4;
    if (oldPort != newPort) {
      if (protocol == SCTP) return -DropReason.DROP_CSUM_L4;
      if (protocol != TCP && protocol != UDP && protocol != (family == 4 ? ICMP : ICMPV6)) {
        return -DropReason.DROP_UNKNOWN_L4;
      }
      const wrong = setPortOf(protocol, l4, portOffset, oldPort, newPort);
      if (wrong < 0) return wrong;
    }
    const checksum = pseudoChecksum(protocol);
    if (checksum != 0) {
      const short = Packet.need(l4 + checksum, 2, DropReason.DROP_CSUM_L4);
      if (short < 0) return short;
      Checksum.l4ReplaceByDiff(Packet.frame + l4 + checksum, sum, protocol == UDP, true, Packet.partial
        && ip == Ethernet.LENGTH);
    }
    if (diff != 0 && icmp4) {
      const short = Packet.need(l4 + Icmp.CHECKSUM, 2, DropReason.DROP_CSUM_L4);
      if (short < 0) return short;
      Checksum.l4ReplaceByDiff(Packet.frame + l4 + Icmp.CHECKSUM, diff, false, false, false);
    }
    return GO_ON;
  }
}

/** Writes 16 bytes at `address` into a header field and adds what it changes to `sum`. */
function setAddress(field: usize, address: usize, sum: u32): u32 {
  const family = Packet.family;
  if (family == 4) {
    const old = load<u32>(field);
    const fresh = load<u32>(address);
    store<u32>(field, fresh);
    sum = Checksum.diff(old, fresh, sum);
  } else {
    sum = Checksum.diffAddress(field, address, sum);
    Address.copy(field, address);
  }
  if (TRACE) {
    Steps.write(StepKind.REWRITE, Steps.NO_MAP, address, Address.LENGTH, 0, 0, <i32>(field - Packet.frame));
  }
  return sum;
}

function sealIpv4(sum: u32): void {
  if (Packet.family == 4) Checksum.replaceByDiff(Packet.ip + Ipv4.CHECKSUM, sum);
}

/** Offset of the checksum that covers a pseudo header; 0: there is none (csum_l4_offset_and_flags). */
function pseudoChecksum(protocol: u8): i32 {
  if (protocol == TCP) return Tcp.CHECKSUM;
  if (protocol == UDP) return Udp.CHECKSUM;
  return protocol == ICMPV6 ? Icmpv6.CHECKSUM : 0;
}

function fixPseudo(sum: u32): i32 {
  const checksum = pseudoChecksum(Packet.protocol);
  if (checksum == 0) return GO_ON;
  const short = Packet.need(Packet.l4 + checksum, 2, DropReason.DROP_CSUM_L4);
  if (short < 0) return short;
  Checksum.l4ReplaceByDiff(Packet.frame + Packet.l4 + checksum, sum, Packet.protocol == UDP, true,
    Packet.partial);
  return GO_ON;
}

function setPort(l4: i32, offset: i32, from: u16, to: u16): i32 {
  return setPortOf(Packet.protocol, l4, offset, from, to);
}

/** l4_modify_port. */
function setPortOf(protocol: u8, l4: i32, offset: i32, from: u16, to: u16): i32 {
  if (protocol == SCTP) return -DropReason.DROP_CSUM_L4;
  const checksum = protocol == ICMP ? Icmp.CHECKSUM : pseudoChecksum(protocol);
  if (checksum == 0) return Verdict.undecided(UndecidedReason.PROTOCOL);
  // The port is written before the checksum is looked for: a quote cut short keeps the new port
  // (l4_modify_port).
  const cut = Packet.need(l4 + offset, 2, DropReason.DROP_WRITE_ERROR);
  if (cut < 0) return cut;
  store<u16>(Packet.frame + l4 + offset, to);
  const short = Packet.need(l4 + checksum, 2, DropReason.DROP_CSUM_L4);
  if (short < 0) return short;
  const offloaded = Packet.partial && l4 == Packet.l4;
  Checksum.l4Replace(Packet.frame + l4 + checksum, from, to, protocol == UDP, offloaded);
  return GO_ON;
}
