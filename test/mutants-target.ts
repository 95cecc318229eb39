/** Faults of the target plane: what is compiled into Cilium's maps, and the programs that read them. */
import type { Mutant } from "./mutation.js";

const RECORDS = "src/ebpf/records.ts";
const FRONTENDS = "src/ebpf/compile/frontends.ts";
const TO_POD = "assembly/programs/to_pod.ts";
const FROM_POD = "assembly/programs/from_pod.ts";
const POD_SERVICE = "assembly/programs/pod_service.ts";
const POLICY = "assembly/programs/policy.ts";
const CONNTRACK = "assembly/programs/conntrack.ts";
const NODEPORT = "assembly/programs/nodeport.ts";
const MASQUERADE = "assembly/programs/masquerade.ts";
const DELIVER = "assembly/programs/deliver.ts";
const TRANSLATE = "assembly/programs/translate.ts";

const FAULTS: readonly Omit<Mutant, "plane">[] = [
  // ---- maps
  {
    id: "backend-port", file: RECORDS, stories: ["lab/clusterip-tcp"],
    find: "port: backend.port,", replace: "port: backend.port + 1,",
    why: "the backend map has another port than the EndpointSlice",
  },
  {
    id: "backend-port-udp", file: RECORDS, stories: ["lab/dns-udp"],
    find: "port: backend.port,", replace: "port: backend.port + 1,",
    why: "the same, seen by UDP only",
  },
  {
    id: "reverse-nat-port", file: RECORDS, stories: ["lab/clusterip-tcp"],
    find: "{ address: addressField(frontend.address.bytes), port: frontend.port },",
    replace: "{ address: addressField(frontend.address.bytes), port: frontend.port + 1 },",
    why: "answers come from another port than was asked",
  },
  {
    id: "pods-are-world", file: "src/ebpf/compile/ipcache.ts", stories: ["lab/clusterip-tcp+policy"],
    find: "put(shared, prefix, identity.id, tunnel ? (", replace: "put(shared, prefix, identities.world.v4.id, tunnel ? (",
    why: "the ipcache gives pods the identity of the outside",
  },
  {
    id: "policy-direction", file: "src/ebpf/loader.ts", stories: ["lab/clusterip-tcp+policy", "lab/pod-to-outside+policy"],
    find: "keyView.setUint8(at + 8, trafficDirection(traffic));", replace: "keyView.setUint8(at + 8, 1 - trafficDirection(traffic));",
    why: "ingress rules are loaded as egress rules and the other way round",
  },
  {
    id: "policy-port", file: "src/ebpf/loader.ts", stories: ["lab/clusterip-tcp+policy", "lab/dns-udp+policy"],
    find: "trafficPort(traffic), false);", replace: "trafficPort(traffic), true);",
    why: "ports of policy entries are in the wrong byte order",
  },
  {
    id: "node-port-not-routable", file: FRONTENDS, stories: ["lab/nodeport-cluster"],
    find: "add(node.name, \"NodePort\", address, \"nodePort\", true);",
    replace: "add(node.name, \"NodePort\", address, \"nodePort\", false);",
    why: "the frontend of a node's address does not take traffic from outside",
  },
  {
    id: "node-port-on-first-node", file: FRONTENDS, stories: ["lab/nodeport-cluster"],
    find: "add(node.name, \"NodePort\", address, \"nodePort\", true);",
    replace: "add(nodes[0].node.name, \"NodePort\", address, \"nodePort\", true);",
    why: "the second node has no frontend for its own address",
  },
  {
    id: "local-policy-ignored", file: "src/ebpf/compile/service-topology.ts", stories: ["lab/nodeport-local", "lab/internal-local"],
    find: "return local ? locals.of(near, node) : near;", replace: "return near;",
    why: "traffic policy Local chooses from the endpoints of all nodes",
  },
  {
    id: "routes-to-nobody", file: "src/ebpf/compile/fib.ts", stories: ["lab/clusterip-tcp", "lab/dns-udp"],
    find: "nextNode: owner.node,", replace: "nextNode: -1,",
    why: "what leaves for a pod of another node leaves the cluster instead",
  },
  {
    id: "native-range-of-one-address", file: "src/ebpf/config-record.ts", stories: ["lab/clusterip-tcp", "lab/dns-udp"],
    find: "native_routing_cidr4_length: native4?.length ?? NO_PREFIX,", replace: "native_routing_cidr4_length: 32,",
    why: "ipv4-native-routing-cidr excludes nothing: pods see the node's address of other pods",
  },
  // ---- services and connection tracking
  {
    id: "replies-not-reversed", file: TO_POD, stories: ["lab/clusterip-tcp", "lab/dns-udp"], breaksLoop: true,
    find: "if (Conntrack.revNat == 0 && Conntrack.natPort == 0) return Verdict.DELIVER;", replace: "return Verdict.DELIVER;",
    why: "answers keep the backend's address instead of the service's",
  },
  {
    id: "node-port-replies-not-reversed", file: NODEPORT, stories: ["lab/nodeport-cluster"], breaksLoop: true,
    find: "Maps.revNat(Conntrack.revNat);", replace: "Maps.revNat(0);",
    why: "answers to outside keep the backend's address",
  },
  {
    id: "reply-direction", file: CONNTRACK, stories: ["lab/clusterip-tcp"], breaksLoop: true,
    find: "return egress ? <u8>TupleFlag.IN : <u8>TupleFlag.OUT;", replace: "return egress ? <u8>TupleFlag.OUT : <u8>TupleFlag.IN;",
    why: "replies are looked for under the flags of requests",
  },
  {
    id: "hairpin-not-recognised", file: POD_SERVICE, stories: ["lab/hairpin"],
    find: "PodService.loopback = hasLoopback() && Address.equal(Tuple.saddr(tuple), Service.backend);", replace: "",
    why: "a pod that reaches itself sees its own address as the client",
  },
  {
    id: "hairpin-not-noted", file: FROM_POD, stories: ["lab/hairpin"],
    find: "if (PodService.loopback) draft.bits |= <u16>CtBit.LB_LOOPBACK;", replace: "",
    why: "the entry of a pod that reaches itself does not say so, and its answer goes astray",
  },
  {
    id: "source-range-not-checked", file: "assembly/programs/frontend.ts", stories: ["lab/loadbalancer"],
    find: "return listed != denies;", replace: "return true;",
    why: "loadBalancerSourceRanges lets everybody through",
  },
  {
    id: "source-range-reversed", file: "assembly/programs/frontend.ts", stories: ["lab/loadbalancer"],
    find: "return listed != denies;", replace: "return listed == denies;",
    why: "loadBalancerSourceRanges refuses whom it should allow",
  },
  {
    id: "refused-with-another-code", file: "assembly/programs/answer.ts", stories: ["lab/no-endpoints"],
    find: "unreachable4(Icmp.PORT_UNREACHABLE)", replace: "unreachable4(10)",
    why: "a service without backends answers host prohibited instead of port unreachable",
  },
  {
    id: "backend-chosen-anew", file: "assembly/programs/service.ts", stories: ["lab/clusterip-tcp"],
    find: "ENTRY_SERVICE, found.rev_nat_index);", replace: "ENTRY_SERVICE, found.rev_nat_index + 1);",
    why: "every packet of a connection may go to another backend",
  },
  // ---- policy
  {
    id: "policy-own-entry-only", file: POLICY, stories: ["lab/dns-udp+policy"],
    find: "key.sec_label = 0;", replace: "key.sec_label = remote;",
    why: "the second lookup, by identity 0, is left out: a rule for everybody allows nobody",
  },
  {
    id: "policy-own-entry-only-no-engine", file: POLICY, stories: ["lab/dns-udp+unenforced"],
    find: "key.sec_label = 0;", replace: "key.sec_label = remote;",
    why: "the same, where the current side has no policy engine to compare with",
  },
  {
    id: "policy-default-allow", file: POLICY, stories: ["lab/hairpin+policy", "lab/pod-to-outside+policy"],
    find: ": -DropReason.DROP_POLICY;", replace: ": GO_ON;",
    why: "what no rule allows is allowed",
  },
  {
    id: "policy-judges-replies", file: TO_POD, stories: ["lab/clusterip-tcp+policy", "lab/dns-udp+policy"],
    find: "if (status == CtStatus.REPLY || status == CtStatus.RELATED) {", replace: "if (status == CtStatus.RELATED) {",
    why: "answers need a rule of their own, and are not turned back",
  },
  {
    id: "policy-judges-by-sender", file: FROM_POD, stories: ["lab/clusterip-tcp+policy"],
    find: "Policy.egress(device.policy, remote, tuple.nexthdr, tuple.dport)",
    replace: "Policy.egress(device.policy, Packet.sourceIdentity, tuple.nexthdr, tuple.dport)",
    why: "egress is judged by the sender's identity instead of the receiver's",
  },
  // ---- source NAT
  {
    id: "snat-reply-range", file: "assembly/programs/snat.ts", stories: ["lab/nodeport-cluster", "lab/pod-to-outside"], breaksLoop: true,
    find: "if (port < Snat.minPort || port > Snat.maxPort) return PUNT;", replace: "if (port > Snat.minPort) return PUNT;",
    why: "answers to translated ports are taken for the node's own",
  },
  {
    id: "snat-port-below-range", file: "assembly/programs/nat_mapping.ts", stories: ["lab/nodeport-cluster", "lab/pod-to-outside"],
    find: "if (wanted < Snat.minPort || wanted > Snat.maxPort) port = draw(tuple);", replace: "port = 1000;",
    why: "translated ports lie below the range, where answers are taken for the node's own",
  },
  {
    id: "node-port-source-kept", file: NODEPORT, stories: ["lab/nodeport-cluster"],
    find: "const verdict = Snat.service(tuple); if (verdict < 0) return verdict;", replace: "const verdict = GO_ON;",
    why: "a backend on another node sees the client, and answers past the node that was asked",
  },
  {
    id: "pods-not-masqueraded", file: MASQUERADE, stories: ["lab/pod-to-outside"],
    find: "return sender !== null ? to(masquerade) : PUNT;", replace: "return PUNT;",
    why: "a pod's own address leaves the cluster",
  },
  {
    id: "masqueraded-by-another-node", file: RECORDS, stories: ["lab/pod-to-outside"],
    find: "masquerade4: fieldOf(node.masquerade.get(node.directRouting)?.[4] ?? node.ipv4),",
    replace: "masquerade4: fieldOf(node.ipv4).map((byte, at) => (at === 3 ? byte ^ 7 : byte)),",
    why: "pods leave the cluster under the other node's address, and answers go there",
  },
  // ---- bytes
  {
    id: "header-checksum-kept", file: TRANSLATE, stories: ["lab/clusterip-tcp"],
    find: "if (Packet.family == 4) Checksum.replaceByDiff(Packet.ip + Ipv4.CHECKSUM, sum);", replace: "",
    why: "a translated packet has a wrong IPv4 header checksum, and the next node drops it",
  },
  {
    id: "tcp-checksum-kept", file: TRANSLATE, stories: ["lab/clusterip-tcp", "lab/dns-udp"],
    find: "const checksum = pseudoChecksum(Packet.protocol);", replace: "const checksum = 0;",
    why: "a translated packet has a wrong TCP checksum, and the receiver drops it",
  },
  {
    id: "ttl-kept", file: DELIVER, stories: ["lab/icmp-errors", "lab/clusterip-tcp"],
    find: "Ipv4.decrementTtl(Packet.ip);", replace: "",
    why: "delivery to a pod of the same node does not count a hop",
  },
  {
    id: "ttl-counted-twice", file: DELIVER, stories: ["lab/clusterip-tcp", "lab/icmp-errors"],
    find: "Ipv4.decrementTtl(Packet.ip);", replace: "Ipv4.decrementTtl(Packet.ip); Ipv4.decrementTtl(Packet.ip);",
    why: "a node counts two hops",
  },
  {
    id: "ttl-two-dropped", file: DELIVER, stories: ["lab/icmp-errors"],
    find: "if (Ipv4.ttl(Packet.ip) <= 1) return", replace: "if (Ipv4.ttl(Packet.ip) <= 2) return",
    why: "a packet with one hop left is dropped a hop early",
  },
  {
    id: "later-fragments-lost", file: "assembly/programs/fragments.ts", stories: ["lab/udp-fragments"],
    find: "key.id = Packet.fragmentId;", replace: "key.id = Packet.fragmentId ^ <u32>(Packet.hasL4 ? 1 : 0);",
    why: "later fragments do not find the ports of the first, so that no fragmented datagram arrives",
  },
  {
    id: "icmp-errors-unrelated", file: CONNTRACK, stories: ["lab/icmp-errors"],
    find: "} else if (type == Icmp.DESTINATION_UNREACHABLE || type == Icmp.TIME_EXCEEDED", replace: "} else if (type == Icmp.TIME_EXCEEDED",
    why: "port unreachable about a service's backend comes from the backend, not from the service",
  },
];

export const TARGET_MUTANTS: readonly Mutant[] = FAULTS.map((fault) => ({ ...fault, plane: "target" }));
