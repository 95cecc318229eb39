/**
 * Socket load balancing for processes of a node (bpf/bpf_sock.c): what connect() and sendmsg() do to the
 * destination. A replay sees packets, not sockets, so the first packet of a five-tuple stands for connect(),
 * and its choice is kept for the packets that follow. A reply reaches the application under the service's
 * address; on the wire it does not change, and neither does it here.
 *
 * Services whose choice the application would see refused (no backend) end the packet: connect() fails with
 * EHOSTUNREACH, nothing is sent.
 */
import {
  ConfigOption, CtTuple, DropReason, Identity, ReverseSkEntry, ReverseSkKey, ServiceEntry,
  ServiceFlag, ServiceFlag2, UndecidedReason,
} from "../abi.gen";
import { Tcp } from "../wire/tcp";
import { Address } from "./address";
import { Affinity } from "./affinity";
import { Chance } from "./chance";
import { Fragments } from "./fragments";
import { Frontend } from "./frontend";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet, TCP, UDP } from "./packet";
import { Service } from "./service";
import { ServiceMaps } from "./service_maps";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const KEY: usize = memory.data(<i32>ReverseSkKey.SIZE, 16);
const KEPT: usize = memory.data(<i32>ReverseSkEntry.SIZE, 16);

/** GO_ON with the destination translated, or left alone; DROP_NO_SERVICE where the call fails. */
export function translateSocket(): i32 {
  if (Packet.protocol != TCP && Packet.protocol != UDP) return GO_ON;
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  const found = frontend(tuple);
  if (found === null) return GO_ON;
  if (found.flags2 & <u8>ServiceFlag2.LOCALREDIRECT) return Verdict.undecided(UndecidedReason.LOCAL_REDIRECT);
  if ((found.flags2 & <u8>ServiceFlag2.L7_LOADBALANCER) || Frontend.delegates(found)) {
    return Verdict.undecided(UndecidedReason.L7_PROXY);
  }
  if (found.count == 0) return Frontend.passesOn(found) ? GO_ON : -<i32>DropReason.DROP_NO_SERVICE;
  if (leaveAlone(found, Tuple.daddr(tuple))) return GO_ON;
  Service.revNat = found.rev_nat_index;
  Service.cookie = found.cookie;
  const verdict = choose(found, tuple);
  if (verdict < 0) return verdict;
  return Translate.dnat(tuple, Service.chosen(), 0);
}

/** The service of the destination, or of the node port or host port under a node's address or loopback. */
function frontend(tuple: CtTuple): ServiceEntry | null {
  const found = Frontend.lookup(tuple, true);
  if (found !== null || !Options.has(ConfigOption.ENABLE_NODEPORT)) return found;
  const nodePort = Frontend.inNodePortRange(tuple.sport);
  const loopback = isLoopback(Tuple.daddr(tuple));
  if (!loopback) {
    const info = Maps.ipcache(Tuple.daddr(tuple));
    if (info === null) return null;
    const identity = Identities.known(info, Tuple.daddr(tuple));
    const remote = nodePort && Identities.isRemoteNode(identity);
    if (identity != <u32>Identity.HOST && !remote) return null;
  }
  const wild = Frontend.lookupAnyAddress(nodePort);
  // A host port bound to a loopback address is for loopback destinations only.
  if (wild !== null && !nodePort && (wild.flags2 & <u8>ServiceFlag2.LOOPBACK) && !loopback) return null;
  return wild;
}

/** sock4_skip_xlate: an external IP or host port that is not this node's is left to the network. */
function leaveAlone(found: ServiceEntry, address: usize): bool {
  const external = (found.flags & <u8>ServiceFlag.EXTERNAL_IP) != 0;
  const hostPort = (found.flags & <u8>ServiceFlag.HOSTPORT) != 0 && !isLoopback(address);
  if (!external && !hostPort) return false;
  const info = Maps.ipcache(address);
  return info === null || Identities.known(info, address) != <u32>Identity.HOST;
}

/** 127.0.0.0/8, ::1 */
function isLoopback(address: usize): bool {
  if (Packet.family == 4) return load<u8>(address) == 127;
  return load<u64>(address) == 0 && load<u64>(address, 8) == 0x0100000000000000;
}

/** The backend this socket has, or a new one: a SYN is a new connect(). */
function choose(found: ServiceEntry, tuple: CtTuple): i32 {
  const key = changetype<ReverseSkKey>(KEY);
  key.cookie = Chance.flow(tuple, 0);
  Address.copy(KEY + ReverseSkKey.ADDRESS, Tuple.daddr(tuple));
  key.port = tuple.sport;
  key.node = <u16>Packet.node;
  const opens = Packet.protocol == TCP && Packet.hasL4 && Packet.l4 + Tcp.FLAGS_END <= Packet.captured
    && (Tcp.flags(Packet.frame + Packet.l4) & (Tcp.SYN | Tcp.ACK)) == Tcp.SYN;
  const kept = ServiceMaps.socket(key);
  if (kept !== null && !opens && kept.rev_nat_index == found.rev_nat_index) {
    const backend = ServiceMaps.backend(kept.backend_id);
    if (backend !== null) {
      Service.backend = changetype<usize>(backend);
      Service.backendId = kept.backend_id;
      return GO_ON;
    }
  }
  const verdict = connect(found, tuple);
  if (verdict < 0) return verdict;
  const entry = changetype<ReverseSkEntry>(KEPT);
  Address.copy(KEPT + ReverseSkEntry.ADDRESS, Tuple.daddr(tuple));
  entry.port = tuple.sport;
  entry.rev_nat_index = found.rev_nat_index;
  entry.backend_id = Service.backendId;
  return ServiceMaps.setSocket(key, entry) < 0 ? Verdict.undecided(UndecidedReason.MAP_MEMORY) : GO_ON;
}

/** __sock4_xlate_fwd: the namespace's backend for a service with affinity, else a choice. */
function connect(found: ServiceEntry, tuple: CtTuple): i32 {
  if (!Affinity.has(found)) return Service.selectRandom(found, tuple);
  Affinity.clientSocket(found);
  if (Service.keepAffine(found)) return GO_ON;
  const verdict = Service.selectRandom(found, tuple);
  return verdict < 0 ? verdict : Affinity.refresh(Service.backendId);
}
