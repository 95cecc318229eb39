/**
 * Ports of fragmented datagrams (bpf/lib/ipv4.h, ipv6.h): the first fragment writes them into the node's
 * table, later ones read them. A later fragment that comes before the first is lost (175). Entries go by LRU
 * only.
 */
import { CtTuple, DropReason, Errno, FragEntry, FragKey, UndecidedReason } from "../abi.gen";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

const KEY: usize = memory.data(<i32>FragKey.SIZE, 16);
const PORTS: usize = memory.data(<i32>FragEntry.SIZE, 8);

export class Fragments {
  /**
   * Loads the packet's ports into a tuple whose addresses are the packet's, in conntrack's order: the
   * packet's source port goes to `dport`, its destination port to `sport`.
   */
  static ports(tuple: CtTuple): i32 {
    if (!Packet.fragment) {
      const short = Packet.need(Packet.l4, 4, DropReason.DROP_CT_INVALID_HDR);
      if (short < 0) return short;
      const ports = load<u32>(Packet.frame + Packet.l4);
      tuple.dport = <u16>ports;
      tuple.sport = <u16>(ports >> 16);
      return GO_ON;
    }
    return fragmentPorts(tuple);
  }
}

function fragmentPorts(tuple: CtTuple): i32 {
  const tracked = Options.fragments;
  if (!Packet.hasL4) {
    if (!tracked) return -DropReason.DROP_FRAG_NOSUPPORT;
    const known = Maps.fragment(fragmentKey());
    if (known === null) return -DropReason.DROP_FRAG_NOT_FOUND;
    tuple.dport = known.sport;
    tuple.sport = known.dport;
    return GO_ON;
  }
  const short = Packet.need(Packet.l4, 4, DropReason.DROP_CT_INVALID_HDR);
  if (short < 0) return short;
  const ports = changetype<FragEntry>(PORTS);
  ports.sport = load<u16>(Packet.frame + Packet.l4);
  ports.dport = load<u16>(Packet.frame + Packet.l4 + 2);
  tuple.dport = ports.sport;
  tuple.sport = ports.dport;
  // A refused update is only counted by Cilium; the first fragment goes on. Where the entry is missing only
  // because memory here ran out, the later fragments would be judged wrongly.
  if (tracked && Maps.setFragment(fragmentKey(), ports) == -<i32>Errno.ENOMEM) {
    return Verdict.undecided(UndecidedReason.MAP_MEMORY);
  }
  return GO_ON;
}

/** Addresses as the packet has them now: after a translation the same datagram has a second entry. */
function fragmentKey(): FragKey {
  const key = changetype<FragKey>(KEY);
  Address.read(KEY + FragKey.DADDR, Packet.destination, Packet.family);
  Address.read(KEY + FragKey.SADDR, Packet.source, Packet.family);
  key.id = Packet.fragmentId;
  key.proto = Packet.protocol;
  key.node = <u16>Packet.node;
  return key;
}
