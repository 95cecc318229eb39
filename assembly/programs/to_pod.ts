/**
 * The endpoint's program for packets on their way into a pod (cil_to_container, or the tail call that local
 * delivery makes; bpf/bpf_lxc.c):
 *
 *     conntrack -> source identity -> ingress policy, or reverse translation of a reply
 *     -> conntrack entry -> pod
 */
import { Config, CtBit, CtDirection, CtStatus, CtTuple, PolicyPort, RevNatEntry, TupleFlag } from "../abi.gen";
import { Address } from "./address";
import { BOTH, Conntrack } from "./conntrack";
import { Deliver } from "./deliver";
import { Identities, Mark } from "./identity";
import { Neighbour } from "./neighbour";
import { Options } from "./options";
import { Packet } from "./packet";
import { Policy } from "./policy";
import { ServiceMaps } from "./service_maps";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ADDRESS: usize = memory.data(16, 16);
/** Service of the request that `fromLoopback` found. */
let loopbackService: u16 = 0;

/**
 * `identity` and `policy` are the endpoint's; the source's identity is in `Packet.sourceIdentity`. At the endpoint's own
 * device (`atDevice`, tail_ipv4_to_endpoint) a reserved one gives way to what the source's address says, and neighbour
 * discovery passes; the tail call (tail_ipv4_policy) takes the identity as it is.
 */
export function toPod(identity: u32, policy: u32, atDevice: bool): i32 {
  const short = Packet.parse();
  if (short < 0) return short;
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  const status = Conntrack.lookupPacket(tuple, CtDirection.INGRESS, BOTH);
  if (status < 0) return status;
  Address.read(ADDRESS, Packet.source, Packet.family);
  if (atDevice && Neighbour.isDiscovery()) return Verdict.DELIVER;
  const source = atDevice ? Identities.resolveSource(Packet.sourceIdentity, ADDRESS) : Packet.sourceIdentity;
  Packet.sourceIdentity = source;
  Packet.destinationIdentity = identity;
  if (status == CtStatus.REPLY || status == CtStatus.RELATED) {
    const doubt = Conntrack.overdue ? Policy.asNew(policy, source, tuple, false) : GO_ON;
    return doubt == GO_ON ? returning(tuple, atDevice) : doubt;
  }
  return arriving(tuple, status, policy, source, atDevice);
}

/** Replies are not judged; one that was translated at its request is translated back. */
function returning(tuple: CtTuple, atDevice: bool): i32 {
  if (Conntrack.has(<u16>CtBit.PROXY_REDIRECT) || Conntrack.has(<u16>CtBit.FROM_L7LB)) return toProxy(0, atDevice);
  if (Conntrack.revNat == 0 && Conntrack.natPort == 0) return Verdict.DELIVER;
  const loopback = Conntrack.has(<u16>CtBit.LB_LOOPBACK);
  let address = Conntrack.natAddress;
  let port = Conntrack.natPort;
  if (port == 0) {
    const frontend = ServiceMaps.revNat(Conntrack.revNat);
    // A service that is gone: the reply goes on as it is.
    if (frontend === null) return Verdict.DELIVER;
    address = changetype<usize>(frontend) + RevNatEntry.ADDRESS;
    port = frontend.port;
  }
  const wrong = Translate.reverse(tuple, address, port, loopback);
  return wrong < 0 ? wrong : Verdict.DELIVER;
}

function arriving(tuple: CtTuple, status: i32, policy: u32, source: u32, atDevice: bool): i32 {
  let proxyPort: u16 = 0;
  let loopback = false;
  if (status == CtStatus.NEW && fromLoopback(tuple)) loopback = true;
  else if (!Conntrack.has(<u16>CtBit.LB_LOOPBACK)) {
    const untracked = !Options.fragments && Packet.fragment;
    const verdict = Policy.ingress(policy, source, tuple.nexthdr, tuple.dport, untracked);
    if (verdict != GO_ON) return verdict;
    proxyPort = Policy.proxyPort;
  }
  if (status == CtStatus.NEW) {
    Conntrack.blank();
    const draft = Conntrack.draft;
    draft.src_sec_id = source;
    if (loopback) {
      draft.bits |= <u16>CtBit.LB_LOOPBACK;
      // 1.16 notes the service here too, though nothing reads it.
      if (Options.version == 16) draft.rev_nat_index = loopbackService;
    }
    if (proxyPort != 0) draft.bits |= <u16>CtBit.PROXY_REDIRECT;
    if (Packet.fromTunnel && !atDevice) draft.bits |= <u16>CtBit.FROM_TUNNEL;
    const full = Conntrack.create(tuple, CtDirection.INGRESS, true);
    if (full < 0) return full;
  } else Conntrack.confirm(tuple);
  return proxyPort != 0 ? toProxy(proxyPort, atDevice) : Verdict.DELIVER;
}

/**
 * To the proxy at `port`, in wire order; 0: it has the connection. The mark says so, and at the endpoint's own device the
 * packet goes by way of cilium_net, which counts a hop (ctx_redirect_to_proxy_hairpin).
 */
function toProxy(port: u16, atDevice: bool): i32 {
  if (atDevice && port != <u16>PolicyPort.UNDECIDED) {
    const expired = Deliver.countHop();
    if (expired != GO_ON) return expired;
  }
  Packet.mark = Mark.TO_PROXY | (<u32>port << 16);
  return Verdict.PROXY;
}

/** The request side of a pod that reaches itself: from the loopback address, with an entry that says so. */
function fromLoopback(tuple: CtTuple): bool {
  const own = changetype<usize>(Options.config)
    + (Packet.family == 4 ? Config.SERVICE_LOOPBACK_IPV4 : Config.SERVICE_LOOPBACK_IPV6);
  Address.read(ADDRESS, Packet.source, Packet.family);
  if (!Address.equal(ADDRESS, own)) return false;
  const request = Conntrack.peek(tuple, <u8>TupleFlag.OUT);
  if (request === null || (request.bits & <u16>CtBit.LB_LOOPBACK) == 0) return false;
  loopbackService = request.rev_nat_index;
  return true;
}
