/** Faults of the current plane: kube-proxy's rules, netfilter, the node's IP stack, the network, the masquerade agent. */
import type { Mutant } from "./mutation.js";

const SERVICE_RULES = "src/iptables/kubeproxy/serviceRules.ts";
const FIXED = "src/iptables/kubeproxy/fixed.ts";
const MANIP = "src/linux/netfilter/manip.ts";
const NODE = "src/linux/node.ts";

const FAULTS: readonly Omit<Mutant, "plane">[] = [
  // ---- kube-proxy's rules
  {
    id: "external-policy-swapped", file: SERVICE_RULES, stories: ["lab/nodeport-local", "lab/loadbalancer"],
    find: "if (!info.externalPolicyLocal) {", replace: "if (info.externalPolicyLocal) {",
    why: "externalTrafficPolicy Local loses the client's address, and Cluster gets Local's short cuts",
  },
  {
    id: "mark-masq-sets-no-bit", file: FIXED, stories: ["lab/nodeport-cluster"],
    find: "`-j MARK --or-mark ${mark}`", replace: "`-j MARK --or-mark 0x0`",
    why: "KUBE-MARK-MASQ marks nothing, so no service traffic is masqueraded",
  },
  {
    id: "dnat-port", file: SERVICE_RULES, stories: ["lab/clusterip-tcp"],
    find: "-j DNAT --to-destination ${endpoint.text}",
    replace: "-j DNAT --to-destination ${endpoint.address.text}:${this.input.info.port}",
    why: "the endpoint is asked at the service's port, not at its own",
  },
  {
    id: "refusal-swapped", file: SERVICE_RULES, stories: ["lab/no-endpoints", "lab/nodeport-local", "lab/internal-local"],
    find: "return this.input.endpoints.hasAny ? \"DROP\" : \"REJECT\";",
    replace: "return this.input.endpoints.hasAny ? \"REJECT\" : \"DROP\";",
    why: "a service without endpoints is silent, one without local endpoints answers",
  },
  {
    id: "hairpin-not-masqueraded", file: SERVICE_RULES, stories: ["lab/hairpin"],
    find: "-s ${endpoint.address.text} -j KUBE-MARK-MASQ", replace: "-s ${endpoint.address.text} -j MARK --or-mark 0x0",
    why: "an endpoint that reaches itself sees its own address as the client",
  },
  {
    id: "pods-taken-for-strangers", file: SERVICE_RULES, stories: ["lab/clusterip-tcp"],
    find: "`${detector.ifNotLocal} `", replace: "`${detector.ifLocal} `",
    why: "detectLocalMode turned round: pods are masqueraded on the way to a cluster IP",
  },
  {
    id: "source-range-not-enforced", file: SERVICE_RULES, stories: ["lab/loadbalancer"],
    find: "${match} -j DROP`", replace: "${match} -j ACCEPT`",
    why: "KUBE-PROXY-FIREWALL lets through who is outside loadBalancerSourceRanges",
  },
  {
    id: "every-endpoint-is-local", file: "src/iptables/kubeproxy/endpoints.ts", stories: ["lab/nodeport-local", "lab/internal-local"],
    find: "endpoint.nodeName !== \"\" && endpoint.nodeName === nodeName", replace: "endpoint.nodeName !== \"\"",
    why: "traffic policy Local leads to endpoints of other nodes",
  },
  // ---- netfilter
  {
    id: "no-reverse-nat", file: "src/linux/netfilter/netfilter.ts", stories: ["lab/clusterip-tcp", "lab/dns-udp"], breaksLoop: true,
    find: "if ((ct.status & statusBit(manip, direction)) === 0) return Accept;",
    replace: "if (direction === 1 || (ct.status & statusBit(manip, direction)) === 0) return Accept;",
    why: "answers keep the endpoint's address instead of the service's",
  },
  {
    id: "masquerade-address", file: "src/linux/ip/routing.ts", stories: ["lab/hairpin", "lab/nodeport-cluster"],
    find: "return this.book.select4(device, (skb as Packet).route?.gateway ?? null);",
    replace: "return this.book.select4(this.devices.get(skb.inDevice)?.kind === \"pod\" ? 2 : device, null);",
    why: "what a pod sends is masqueraded with an address of another device than it leaves by",
  },
  {
    id: "udp-entry-ends-at-once", file: "src/linux/netfilter/timeouts.ts", stories: ["lab/dns-udp"],
    find: "seconds(\"udp_timeout\", 30)", replace: "seconds(\"udp_timeout\", 30) / 1e9",
    why: "a UDP conntrack entry lives 30 ns, so answers are strangers",
  },
  {
    id: "icmp-quote-not-translated", file: MANIP, stories: ["lab/icmp-errors"],
    find: "if (!rewrite(skb, quoted, upper, skb.length, other, inner)) return false;",
    replace: "void inner; void upper;",
    why: "the packet quoted in an ICMP error keeps the endpoint's address",
  },
  {
    id: "icmp-error-in-wrong-direction", file: "src/linux/netfilter/track.ts", stories: ["lab/icmp-errors"],
    find: "node.direction === Reply ? RelatedReply : Related",
    replace: "node.direction === Reply ? Related : RelatedReply",
    why: "an error about a request is translated as if it were about an answer",
  },
  {
    id: "checksum-ignores-addresses", file: MANIP, stories: ["lab/clusterip-tcp"],
    find: "~fold((~held & 0xffff) + moved + renumbered)", replace: "~fold((~held & 0xffff) + renumbered)",
    why: "NAT leaves a wrong TCP checksum: the endpoint drops what it gets",
  },
  {
    id: "syn-ack-invalid", file: "src/linux/netfilter/tcp-state.ts", stories: ["lab/clusterip-tcp"],
    find: "...[10, 2, 11, 11, 11, 11, 11, 11, 11, 2], // SYN+ACK",
    replace: "...[10, 10, 11, 11, 11, 11, 11, 11, 11, 2], // SYN+ACK",
    why: "conntrack takes the answer to a SYN for invalid, and KUBE-FORWARD drops it",
  },
  // ---- the node's IP stack
  {
    id: "ttl-kept", file: NODE, stories: ["lab/clusterip-tcp"],
    find: "decreaseTtl(packet);", replace: "void decreaseTtl;",
    why: "forwarding does not count hops",
  },
  {
    id: "ttl-one-forwarded", file: NODE, stories: ["lab/icmp-errors"],
    find: "if (bytes[8] <= 1) return", replace: "if (bytes[8] < 1) return",
    why: "a packet with TTL 1 is forwarded with TTL 0 instead of answered",
  },
  {
    id: "hop-limit-kept", file: NODE, stories: ["lab/ipv6"],
    find: "bytes[7]--;", replace: "",
    why: "forwarding does not count IPv6 hops",
  },
  {
    id: "fragments-cut-smaller", file: "src/linux/ip/fragment.ts", stories: ["lab/udp-fragments"],
    find: "this.room = limit - this.headerLength;", replace: "this.room = limit - this.headerLength - 8;",
    why: "a reassembled datagram leaves in other pieces than it came in",
  },
  {
    id: "last-fragment-has-more", file: "src/linux/ip/fragment.ts", stories: ["lab/udp-fragments"],
    find: "setU16(bytes, 6, df | (this.left > 0 ? 0x2000 : 0)", replace: "setU16(bytes, 6, df | (this.left >= 0 ? 0x2000 : 0)",
    why: "the last fragment says that more follow, so nobody can put the datagram together",
  },
  {
    id: "icmp-from-uplink-address", file: "src/linux/ip/routing.ts", stories: ["lab/icmp-errors", "lab/no-endpoints"],
    find: "if (about.family === 4) return this.source(back, 4, about.bytes, 12);",
    replace: "if (about.family === 4) return this.book.select4(2, null);",
    why: "an ICMP error comes from the uplink's address, not from the one on the way back",
  },
  {
    id: "icmp6-reject-code", file: "src/linux/ip/icmp.ts", stories: ["lab/ipv6"],
    find: "\"icmp6-port-unreachable\": [6, 1, 4]", replace: "\"icmp6-port-unreachable\": [6, 1, 3]",
    why: "REJECT answers with address unreachable instead of port unreachable",
  },
  {
    id: "vxlan-vni", file: NODE, stories: ["lab-vxlan/clusterip-tcp"],
    find: "vxlan.vni,", replace: "vxlan.vni + 1,",
    why: "the tunnel carries a VNI that the other node does not know",
  },
  // ---- between nodes, and out of the cluster
  {
    id: "fabric-one-owner", file: "src/fabric/fabric.ts", stories: ["lab/clusterip-tcp"],
    find: "this.rows.set(prefix.text, { prefix, node: number, device });",
    replace: "this.rows.set(prefix.text, { prefix, node: 0, device });",
    why: "every address is behind the first node (both planes ask the same network)",
  },
  {
    id: "pods-masqueraded-in-cluster", file: "src/iptables/masquerade/cni.ts", stories: ["lab/clusterip-tcp"],
    find: "`-d ${pods.text} -j RETURN`", replace: "`-d ${pods.text} -j MASQUERADE`",
    why: "pods see the node's address of other pods",
  },
  {
    id: "pods-not-masqueraded", file: "src/iptables/masquerade/cni.ts", stories: ["lab/pod-to-outside"],
    find: "`-j MASQUERADE${", replace: "`-j ACCEPT${",
    why: "a pod's own address leaves the cluster",
  },
];

export const CURRENT_MUTANTS: readonly Mutant[] = FAULTS.map((fault) => ({ ...fault, plane: "current" }));
