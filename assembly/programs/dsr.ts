/**
 * Direct server return (bpf/lib/nodeport.h): a request to a backend of another node goes there with the client's address,
 * and carries the service's in an option; the backend's node remembers that, and its replies go straight to the client.
 *
 *     load balancer   option into the packet (dsr_option.ts) -> out by the routes, or option of a tunnel (dsr_geneve.ts) ->
 *                     into the tunnel; nothing is remembered but the choice
 *     backend's node  option read -> conntrack entry with the service's address -> on to the pod
 *     reply           nodeport.ts puts the service's address back, from that entry (up to 1.18: from the NAT table)
 *
 * TCP carries the option on its SYN only, other protocols on every packet. In an IP header of its own a request needs none:
 * dsr_ipip.ts.
 */
import {
  CtBit, CtDirection, CtStatus, CtTuple, DropReason, DsrMode, NatEntry, Program, ServiceEntry, ServiceFlag2, TunnelProtocol,
  TupleFlag, UndecidedReason, UpdateFlag,
} from "../abi.gen";
import { Tcp } from "../wire/tcp";
import { Address } from "./address";
import { Conntrack, ENTRY_DSR, FORWARD } from "./conntrack";
import { Deliver } from "./deliver";
import { answerTooLarge } from "./dsr_answer";
import { DsrGeneve } from "./dsr_geneve";
import { DsrOption } from "./dsr_option";
import { roomFor } from "./dsr_room";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet, TCP } from "./packet";
import { Steps } from "./steps";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const SERVICE_ADDRESS: usize = memory.data(16, 16);
const ASIDE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ENTRY: usize = memory.data(<i32>NatEntry.SIZE, 16);

// ---- what `read` found
let servicePort: u16 = 0;

export class Dsr {
  /** The packet under way belongs to a connection that another node balanced; `receive` says it. */
  static received: bool = false;

  /** nodeport_uses_dsr: requests for this service's remote backends go to them directly. */
  static uses(found: ServiceEntry, protocol: u8): bool {
    const mode = Options.config.dsr_mode;
    if (mode == <u8>DsrMode.SNAT) return false;
    if (mode <= <u8>DsrMode.DSR_IPIP || mode == <u8>DsrMode.IPIP_BY_XDP) return true;
    return mode <= <u8>DsrMode.HYBRID_IPIP
      ? protocol == TCP : (found.flags2 & <u8>ServiceFlag2.FWD_MODE_DSR) != 0;
  }

  /** Every service's: replies through this node are none of a service's (ENABLE_DSR without _HYBRID and _BYUSER). */
  @inline
  static get always(): bool {
    const mode = Options.config.dsr_mode;
    return mode != <u8>DsrMode.SNAT && mode <= <u8>DsrMode.DSR_IPIP;
  }

  /** The service's address goes as an option (DSR_ENCAP_NONE), not in a tunnel's header. */
  @inline
  static get byOption(): bool {
    const mode = Options.config.dsr_mode;
    return mode == <u8>DsrMode.DSR_OPT || mode == <u8>DsrMode.HYBRID_OPT || mode == <u8>DsrMode.OWN_OPT;
  }

  /** In a Geneve tunnel's header (DSR_ENCAP_GENEVE). */
  @inline
  static get byTunnel(): bool {
    const mode = Options.config.dsr_mode;
    return mode == <u8>DsrMode.DSR_GENEVE || mode == <u8>DsrMode.HYBRID_GENEVE || mode == <u8>DsrMode.OWN_GENEVE;
  }

  /** In an IP header of its own (DSR_ENCAP_IPIP). */
  @inline
  static get byIpip(): bool {
    return Options.dsr && !Dsr.byOption && !Dsr.byTunnel;
  }

  /**
   * tail_nodeport_ipv4_dsr: sends the packet, which is addressed to its backend, with 16 bytes of service address and the
   * port in wire order.
   */
  static send(address: usize, port: u16): i32 {
    if (Dsr.byTunnel) return intoTunnel(address, port);
    const verdict = addOption(address, port);
    if (verdict != GO_ON) return verdict;
    // fib_redirect counts no hop, fib_redirect_v4 does.
    return Deliver.byRoute(Packet.family == 4);
  }

  /**
   * nodeport_extract_dsr_v4, nodeport_dsr_ingress_ipv4: PASS where the packet belongs to a connection that another node
   * balanced, and goes on to its pod; GO_ON where it does not. The tuple is in conntrack's order, and turned round
   * where PASS comes back.
   */
  static receive(tuple: CtTuple): i32 {
    Dsr.received = false;
    const here = Dsr.byTunnel ? Program.FROM_OVERLAY : Program.FROM_NETDEV;
    if (Dsr.byIpip || Steps.program != <u8>here) return GO_ON;
    const carries = read(tuple);
    if (carries != Verdict.PASS) return carries;
    Dsr.received = true;
    return remember(tuple);
  }

  /** Where the reply of a remembered connection comes from: the address at `to`; the port, or 0 where nothing is known. */
  static restored(tuple: CtTuple, natAddress: usize, natPort: u16, to: usize): u16 {
    if (Options.version >= 19 && natPort != 0) {
      Address.copy(to, natAddress);
      return natPort;
    }
    const known = changetype<CtTuple>(ASIDE);
    Tuple.copy(known, tuple);
    Tuple.swapPorts(known);
    known.flags = <u8>TupleFlag.OUT;
    const entry = Maps.nat(known);
    if (entry === null) return 0;
    Address.copy(to, changetype<usize>(entry));
    return entry.port;
  }
}

/** encap_geneve_dsr_opt4, encap_geneve_dsr_opt6. */
function intoTunnel(address: usize, port: u16): i32 {
  const info = DsrGeneve.remote();
  if (info === null) return -DropReason.DROP_NO_TUNNEL_ENDPOINT;
  if (Options.config.tunnel_protocol != <u8>TunnelProtocol.GENEVE) return Verdict.undecided(UndecidedReason.DSR);
  const carries = Packet.protocol == TCP ? hasSyn() : Verdict.PASS;
  if (carries < 0) return carries;
  const room = roomFor(DsrGeneve.overhead(carries == Verdict.PASS));
  return room != 0 ? answerTooLarge(room, address, port) : DsrGeneve.send(info, address, port, carries == Verdict.PASS);
}

/** dsr_set_opt4, dsr_set_ext6. */
function addOption(address: usize, port: u16): i32 {
  if (Packet.protocol == TCP) {
    const syn = hasSyn();
    if (syn != Verdict.PASS) return syn;
  }
  return DsrOption.add(address, port);
}

/** PASS: the segment has SYN. */
function hasSyn(): i32 {
  if (!Packet.hasL4) return Verdict.undecided(UndecidedReason.FRAGMENT);
  const short = Packet.need(Packet.l4 + 12, 2, DropReason.DROP_CT_INVALID_HDR);
  if (short < 0) return short;
  return (Tcp.flags(Packet.frame + Packet.l4) & Tcp.SYN) != 0 ? Verdict.PASS : GO_ON;
}

// ---- the backend's node

/** PASS with the service in SERVICE_ADDRESS and `servicePort`, which is 0 for a connection that is known already. */
function read(tuple: CtTuple): i32 {
  const reversed = changetype<CtTuple>(ASIDE);
  servicePort = 0;
  if (tuple.nexthdr == TCP) {
    const syn = hasSyn();
    if (syn < 0) return syn;
    Tuple.copy(reversed, tuple);
    Tuple.reverse(reversed);
    if (syn == GO_ON) {
      const entry = Conntrack.peek(reversed, <u8>TupleFlag.OUT);
      return entry !== null && (entry.bits & <u16>CtBit.DSR_INTERNAL) != 0 ? Verdict.PASS : GO_ON;
    }
  }
  // A SYN without the option leaves an older connection's entry: ct_update_dsr looks for it under the wrong direction.
  if (Dsr.byTunnel) {
    servicePort = DsrGeneve.read(SERVICE_ADDRESS);
    return servicePort != 0 ? Verdict.PASS : GO_ON;
  }
  const carries = DsrOption.read(SERVICE_ADDRESS);
  if (carries == Verdict.PASS) servicePort = DsrOption.port;
  return carries;
}

function remember(tuple: CtTuple): i32 {
  Tuple.reverse(tuple);
  const status = Conntrack.lookup(tuple, CtDirection.EGRESS, FORWARD, ENTRY_DSR, 0);
  if (status < 0) return status;
  // A segment past the handshake does not make its entry anew, and replies need it.
  if (status == CtStatus.ESTABLISHED && Conntrack.overdue && servicePort == 0) return Overdue.undecided();
  if (status == CtStatus.ESTABLISHED && !(tuple.nexthdr == TCP && servicePort != 0)) {
    Conntrack.confirm(tuple);
    return Verdict.PASS;
  }
  if (servicePort == 0) return -DropReason.DROP_INVALID;
  Conntrack.blank();
  const draft = Conntrack.draft;
  draft.src_sec_id = Identities.world;
  draft.bits = <u16>CtBit.DSR_INTERNAL;
  if (Options.version >= 19) {
    Address.copy(changetype<usize>(draft), SERVICE_ADDRESS);
    draft.nat_port = servicePort;
  }
  const full = Conntrack.create(tuple, CtDirection.EGRESS, false);
  if (full < 0) return full;
  return Options.version >= 20 ? Verdict.PASS : rememberInNat(tuple);
}

/** snat_v4_create_dsr: up to 1.18 the service's address is a source translation of the reply; 1.19 still makes it. */
function rememberInNat(tuple: CtTuple): i32 {
  const known = changetype<CtTuple>(ASIDE);
  Tuple.copy(known, tuple);
  Tuple.swapPorts(known);
  known.flags = <u8>TupleFlag.OUT;
  const entry = changetype<NatEntry>(ENTRY);
  memory.fill(ENTRY, 0, NatEntry.SIZE);
  Address.copy(ENTRY, SERVICE_ADDRESS);
  entry.port = servicePort;
  entry.created = Packet.now;
  const refused = Maps.setNat(known, entry, <u32>UpdateFlag.ANY);
  return refused < 0 ? Verdict.refused(refused, DropReason.DROP_NAT_NO_MAPPING) : Verdict.PASS;
}
