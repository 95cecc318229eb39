/**
 * Faults seeded in the programs' policy step and host policies, which the policy ring must see, and in what recorded runs show of
 * proxies, drawn ports and direct server return.
 */
import type { Fault } from "./fault.js";

const RING = "test/policy-ring/ring.test.ts";
const POLICY = "assembly/programs/policy.ts";
const HOST = "assembly/programs/host_policy.ts";

const VECTORS = "test/vectors.test.ts";
const IPIP = "src/ebpf/dsr-ipip.test.ts";

function fault(id: string, file: string, find: string, replace: string, why: string, seenBy = RING): Fault {
  return { id: `program-${id}`, file, find, replace, why, seenBy };
}

export const CILIUM_PROGRAM_FAULTS: readonly Fault[] = [
  fault("own-entry-always-wins", POLICY, "(own === null || beats(any, own))", "own === null", "the identity's own entry wins over everybody's"),
  fault("shorter-prefix-wins", POLICY, "const longer = prefixLength(any) > prefixLength(own);", "const longer = prefixLength(any) < prefixLength(own);",
    "1.16: the shorter port prefix decides"),
  fault("precedence-reversed", POLICY, "return any.precedence > own.precedence ||", "return any.precedence < own.precedence ||",
    "the lower precedence wins"),
  fault("deny-unseen", POLICY, "if (denies(chosen)) return -DropReason.DROP_POLICY_DENY;", "", "an entry that denies allows"),
  fault("authentication-unseen", POLICY, "return auth != 0 ? -DropReason.DROP_POLICY_AUTH_REQUIRED : GO_ON;", "return GO_ON;",
    "nobody has to authenticate"),
  fault("icmp-type-unread", POLICY, "if (rules) keyPort = <u16>Icmp.type(icmp) << 8;", "", "an ICMP type is no port"),
  fault("ingress-for-egress", POLICY, "key.egress = egress ? 1 : 0;", "key.egress = 0;", "what a pod sends is judged as what it receives"),
  fault("proxy-forgotten", POLICY, "Policy.proxyPort = chosen.proxy_port;", "Policy.proxyPort = 0;", "no packet goes to a proxy"),
  fault("protocol-of-any", POLICY, "key.protocol = protocol;", "key.protocol = 6;", "every packet is TCP's"),
  fault("everybody-unasked", POLICY, "if (own !== null) return judge(own, any, true);\n  return untrackedFragment",
    "if (own !== null) return judge(own, any, true);\n  if (egress) return GO_ON;\n  return untrackedFragment", "without an entry egress goes on"),
  fault("host-is-remote", "assembly/programs/identity.ts",
    "return Identities.isRemoteNode(identity) && isOwnAddress(address) ? <u32>Identity.HOST : identity;", "return identity;",
    "a pod's own node is another node to it"),
  fault("host-egress-unasked", HOST, "if (verdict != GO_ON) return verdict;\n      proxyPort", "proxyPort", "a node may send anything"),
  fault("host-unknown-allows", HOST, "if (Policy.proxyPort == <u16>PolicyPort.UNDECIDED) return Verdict.PROXY;", "",
    "a node receives what nobody knows it may"),
  fault("proxy-hop-uncounted", "assembly/programs/to_pod.ts", "if (atDevice && port != <u16>PolicyPort.UNDECIDED) {", "if (false) {",
    "no hop is counted on the way to a proxy", VECTORS),
  fault("draw-by-remainder", "assembly/programs/nat_mapping.ts", "((<u32>value * ports) >> 16)", "(<u32>value % ports)",
    "a drawn port is a remainder in every version", VECTORS),
  fault("ipip-hop-of-ipv6", "assembly/programs/dsr_ipip.ts", "Deliver.byRoute(Packet.family == 4)", "Deliver.byRoute(true)",
    "IPv6 counts a hop as well", VECTORS),
  fault("ipip-end-of-the-service", "assembly/programs/dsr_ipip.ts", "Tunnel.inIp(address)", "Tunnel.inIp(NAMED)",
    "the packet goes to another address than the backend's", VECTORS),
  fault("ipip-choice-anew", "assembly/programs/dsr_ipip.ts", "isNamed = true;", "",
    "the backend's node chooses again, and translates the port", IPIP),
  fault("ipip-outer-length", "assembly/programs/tunnel.ts", "outerHeader4(source, ecn, payload + header, Tunnel.IPIP)",
    "outerHeader4(source, ecn, payload, Tunnel.IPIP)", "the outer length is the inner one's", IPIP),
  fault("rules-spare-an-overdue-reply", "assembly/programs/masquerade.ts", "isReply(tuple) == PUNT && !Conntrack.overdue)) return GO_ON;",
    "isReply(tuple) == PUNT)) return GO_ON;", "the nat table's rules spare a reply whose entry may be collected", "test/conntrack-gc.test.ts"),
];
