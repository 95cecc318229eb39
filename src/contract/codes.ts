/**
 * Every numbered name in the contract. Numbers are Cilium's (reference: bpf/lib/drop_reasons.h, bpf/lib/common.h,
 * bpf/lib/lb.h, pkg/monitor/api, pkg/identity of Cilium 1.20-dev) or the kernel's; sets marked "ours" are not.
 *
 * A number that was ever used is not given to anything else: retired numbers stay listed with their old meaning.
 */
import { Emission, End, PacketType } from "../dataplane.js";
import { codes } from "./layout.js";

/** Values are the positive form of the programs' negative return codes. */
export const DropReason = codes("DropReason", "Why a packet was dropped, Cilium's numbers.", {
  DROP_INVALID_SIP: 132,
  DROP_POLICY: 133,
  DROP_INVALID: 134,
  DROP_CT_INVALID_HDR: 135,
  DROP_FRAG_NEEDED: 136,
  DROP_CT_UNKNOWN_PROTO: 137,
  DROP_UNKNOWN_L3: 139,
  DROP_MISSED_TAIL_CALL: 140,
  DROP_WRITE_ERROR: 141,
  DROP_UNKNOWN_L4: 142,
  DROP_UNKNOWN_ICMP4_CODE: 143,
  DROP_UNKNOWN_ICMP4_TYPE: 144,
  DROP_UNKNOWN_ICMP6_CODE: 145,
  DROP_UNKNOWN_ICMP6_TYPE: 146,
  DROP_NO_TUNNEL_KEY: 147,
  DROP_UNKNOWN_TARGET: 150,
  DROP_UNROUTABLE: 151,
  DROP_CSUM_L3: 153,
  DROP_CSUM_L4: 154,
  DROP_CT_CREATE_FAILED: 155,
  DROP_INVALID_EXTHDR: 156,
  DROP_FRAG_NOSUPPORT: 157,
  DROP_NO_SERVICE: 158,
  DROP_UNSUPP_SERVICE_PROTO: 159,
  DROP_NO_TUNNEL_ENDPOINT: 160,
  DROP_NAT_46X64_DISABLED: 161,
  DROP_EDT_HORIZON: 162,
  DROP_UNKNOWN_CT: 163,
  DROP_HOST_UNREACHABLE: 164,
  DROP_NO_CONFIG: 165,
  DROP_UNSUPPORTED_L2: 166,
  DROP_NAT_NO_MAPPING: 167,
  DROP_NAT_UNSUPP_PROTO: 168,
  DROP_NO_FIB: 169,
  DROP_ENCAP_PROHIBITED: 170,
  DROP_INVALID_IDENTITY: 171,
  DROP_UNKNOWN_SENDER: 172,
  DROP_NAT_NOT_NEEDED: 173,
  DROP_IS_CLUSTER_IP: 174,
  DROP_FRAG_NOT_FOUND: 175,
  DROP_FORBIDDEN_ICMP6: 176,
  DROP_NOT_IN_SRC_RANGE: 177,
  DROP_PROXY_LOOKUP_FAILED: 178,
  DROP_PROXY_SET_FAILED: 179,
  DROP_PROXY_UNKNOWN_PROTO: 180,
  DROP_POLICY_DENY: 181,
  DROP_VLAN_FILTERED: 182,
  DROP_INVALID_VNI: 183,
  DROP_INVALID_TC_BUFFER: 184,
  DROP_NO_SID: 185,
  DROP_NAT46: 187,
  DROP_NAT64: 188,
  DROP_POLICY_AUTH_REQUIRED: 189,
  DROP_CT_NO_MAP_FOUND: 190,
  DROP_SNAT_NO_MAP_FOUND: 191,
  DROP_INVALID_CLUSTER_ID: 192,
  DROP_DSR_ENCAP_UNSUPP_PROTO: 193,
  DROP_NO_EGRESS_GATEWAY: 194,
  DROP_UNENCRYPTED_TRAFFIC: 195,
  DROP_TTL_EXCEEDED: 196,
  DROP_NO_NODE_ID: 197,
  DROP_RATE_LIMITED: 198,
  DROP_IGMP_HANDLED: 199,
  DROP_IGMP_SUBSCRIBED: 200,
  DROP_MULTICAST_HANDLED: 201,
  DROP_HOST_NOT_READY: 202,
  DROP_EP_NOT_READY: 203,
  DROP_NO_EGRESS_IP: 204,
  DROP_PUNT_PROXY: 205,
  DROP_NO_DEVICE: 206,
}, {
  132: "Invalid source ip",
  133: "Policy denied",
  134: "Invalid packet",
  135: "CT: Truncated or invalid header",
  136: "Fragmentation needed",
  137: "CT: Unknown L4 protocol",
  139: "Unsupported L3 protocol",
  140: "Missed tail call",
  141: "Error writing to packet",
  142: "Unknown L4 protocol",
  143: "Unknown ICMPv4 code",
  144: "Unknown ICMPv4 type",
  145: "Unknown ICMPv6 code",
  146: "Unknown ICMPv6 type",
  147: "Error retrieving tunnel key",
  150: "Unknown L3 target address",
  151: "Stale or unroutable IP",
  153: "Error while correcting L3 checksum",
  154: "Error while correcting L4 checksum",
  155: "CT: Map insertion failed",
  156: "Invalid IPv6 extension header",
  157: "IP fragmentation not supported",
  158: "Service backend not found",
  159: "Unsupported service protocol",
  160: "No tunnel/encapsulation endpoint",
  161: "NAT 46/64 not enabled",
  162: "Reached EDT rate-limiting drop horizon",
  163: "Unknown connection tracking state",
  164: "Local host is unreachable",
  165: "No configuration available to perform policy decision",
  166: "Unsupported L2 protocol",
  167: "No mapping for NAT masquerade",
  168: "Unsupported protocol for NAT masquerade",
  169: "FIB lookup failed",
  170: "Encapsulation traffic is prohibited",
  171: "Invalid identity",
  172: "Unknown sender",
  173: "NAT not needed",
  174: "Is a ClusterIP",
  175: "First logical datagram fragment not found",
  176: "Forbidden ICMPv6 message",
  177: "Denied by LB src range check",
  178: "Socket lookup failed",
  179: "Socket assign failed",
  180: "Proxy redirection not supported for protocol",
  181: "Policy denied by denylist",
  182: "VLAN traffic disallowed by VLAN filter",
  183: "Incorrect VNI from VTEP",
  184: "Failed to update or lookup TC buffer",
  185: "No SID was found for the IP address",
  187: "L3 translation from IPv4 to IPv6 failed (NAT46)",
  188: "L3 translation from IPv6 to IPv4 failed (NAT64)",
  189: "Authentication required",
  190: "No conntrack map found",
  191: "No nat map found",
  192: "Invalid ClusterID",
  193: "Unsupported packet protocol for DSR encapsulation",
  194: "No egress gateway found",
  195: "Traffic is unencrypted",
  196: "TTL exceeded",
  197: "No node ID found",
  198: "Rate limited",
  199: "IGMP handled",
  200: "IGMP subscribed",
  201: "Multicast handled",
  202: "Host datapath not ready",
  203: "Endpoint policy program not available",
  204: "No Egress IP configured",
  205: "Punt to proxy",
  206: "No device",
}, {
  130: "Invalid source mac",
  131: "Invalid destination mac",
  138: "CT: Can't create entry from packet",
  148: "Invalid Geneve option",
  149: "Unknown L3 target address (older form)",
  152: "No matching local container found",
  186: "Missing SRv6 state (up to 1.18)",
});

export const MetricReason = codes("MetricReason", "Reasons counted for packets that are not dropped.", {
  REASON_FORWARDED: 0,
  REASON_PLAINTEXT: 3,
  REASON_DECRYPT: 4,
  REASON_LB_NO_BACKEND_SLOT: 5,
  REASON_LB_NO_BACKEND: 6,
  REASON_LB_REVNAT_UPDATE: 7,
  REASON_LB_REVNAT_STALE: 8,
  REASON_FRAG_PACKET: 9,
  REASON_FRAG_PACKET_UPDATE: 10,
  REASON_DECRYPTING: 12,
  REASON_ENCRYPTING: 13,
  REASON_LB_REVNAT_DELETE: 14,
  REASON_MTU_ERROR_MSG: 15,
}, {}, { 1: "unused", 2: "unused", 11: "missed custom tail call" });

export const MetricDirection = codes("MetricDirection", "Direction counted in cilium_metrics.", {
  UNKNOWN: 0, INGRESS: 1, EGRESS: 2, SERVICE: 3,
});

export const VerdictReason = codes("VerdictReason", "The reason field of trace events.", {
  POLICY: 0, CT_ESTABLISHED: 1, CT_REPLY: 2, CT_RELATED: 3, UNKNOWN: 5, SRV6_ENCAP: 6, SRV6_DECAP: 7, ENCRYPTED: 128,
}, {}, { 4: "CT_REOPENED" });

export const MatchType = codes("MatchType", "How the policy entry matched.", {
  NONE: 0, L3_ONLY: 1, L3_L4: 2, L4_ONLY: 3, ALL: 4, L3_PROTO: 5, PROTO_ONLY: 6,
});

export const EventType = codes("EventType", "Monitor event types.", {
  DROP: 1, DEBUG: 2, CAPTURE: 3, TRACE: 4, POLICY_VERDICT: 5, CAPTURE2: 6, TRACE_SOCK: 7,
});

export const TracePoint = codes("TracePoint", "Observation points.", {
  TO_LXC: 0, TO_PROXY: 1, TO_HOST: 2, TO_STACK: 3, TO_OVERLAY: 4, FROM_LXC: 5, FROM_PROXY: 6, FROM_HOST: 7,
  FROM_STACK: 8, FROM_OVERLAY: 9, FROM_NETWORK: 10, TO_NETWORK: 11, FROM_CRYPTO: 12, TO_CRYPTO: 13,
}, {
  0: "to-endpoint", 1: "to-proxy", 2: "to-host", 3: "to-stack", 4: "to-overlay", 5: "from-endpoint",
  6: "from-proxy", 7: "from-host", 8: "from-stack", 9: "from-overlay", 10: "from-network", 11: "to-network",
  12: "from-crypto", 13: "to-crypto",
});

// ---- conntrack -----------------------------------------------------------------------------------------------

export const TupleFlag = codes("TupleFlag", "Flags of a conntrack or NAT tuple.", {
  OUT: 0, IN: 1, RELATED: 2, SERVICE: 4,
});

export const CtBit = codes("CtBit", "Bits of CtEntry.bits; the last two ours.", {
  RX_CLOSING: 1, TX_CLOSING: 2, LB_LOOPBACK: 8, SEEN_NON_SYN: 16, NODE_PORT: 32, PROXY_REDIRECT: 64,
  DSR_INTERNAL: 128, FROM_L7LB: 256, FROM_TUNNEL: 1024,
  /** A packet met it when it may have been collected, and none has made it anew since. */
  DOUBTED: 0x4000,
  /** Made anew where it was collected, and so with the lifetime of a SYN; else with the longer one. */
  TENTATIVE: 0x8000,
}, {}, { 4: "unused (was nat46)", 512: "unused" });

export const CtStatus = codes("CtStatus", "Result of a conntrack lookup.", {
  NEW: 0, ESTABLISHED: 1, REPLY: 2, RELATED: 3,
});

export const CtDirection = codes("CtDirection", "Which way a lookup is made.", { EGRESS: 0, INGRESS: 1, SERVICE: 2 });

export const CtScope = codes("CtScope", "Which directions of a connection a lookup tries.", {
  FORWARD: 0, REVERSE: 1, BIDIR: 2,
});

export const CtKind = codes("CtKind", "Which kinds of SERVICE entry a lookup accepts.", {
  ANY: 0, NODEPORT: 1, DSR: 2, SVC: 4,
});

// ---- services ------------------------------------------------------------------------------------------------

export const ServiceFlag = codes("ServiceFlag", "Bits of ServiceEntry.flags.", {
  EXTERNAL_IP: 1, NODEPORT: 2, EXT_LOCAL_SCOPE: 4, HOSTPORT: 8, AFFINITY: 16, LOADBALANCER: 32, ROUTABLE: 64,
  SOURCE_RANGE: 128,
});

export const ServiceFlag2 = codes("ServiceFlag2", "Bits of ServiceEntry.flags2.", {
  LOCALREDIRECT: 1, NAT_46X64: 2, L7_LOADBALANCER: 4, LOOPBACK: 8, INT_LOCAL_SCOPE: 16, TWO_SCOPES: 32,
  /** On a slot: quarantined. On the service itself: the source ranges deny. */
  QUARANTINED: 64,
  FWD_MODE_DSR: 128,
});

export const BackendState = codes("BackendState", "BackendEntry.flags.", {
  ACTIVE: 0, TERMINATING: 1, QUARANTINED: 2, MAINTENANCE: 3,
});

export const LookupScope = codes("LookupScope", "ServiceKey.scope.", { EXTERNAL: 0, INTERNAL: 1 });

export const LbAlgorithm = codes("LbAlgorithm", "bpf-lb-algorithm.", { UNSPEC: 0, RANDOM: 1, MAGLEV: 2 });

export const LbOption = codes("LbOption", "Bits of Config.lb_options: switches of load balancing; ours.", {
  /** bpf-lb-algorithm-annotation. */
  ALGORITHM_ANNOTATION: 1,
  /** enable-pmtu-discovery: what DSR would make too large is answered. */
  PMTU_DISCOVERY: 2,
  /** enable-no-service-endpoints-routable is off: what finds no backend goes on as it is (from 1.19). */
  NO_ENDPOINTS_UNROUTABLE: 4,
  /** bpf-lb-proto-diff is off: services are looked for without a protocol. */
  ANY_PROTOCOL: 8,
});

export const DsrMode = codes("DsrMode", "bpf-lb-mode and bpf-lb-dsr-dispatch; ours.", {
  SNAT: 0, DSR_OPT: 1, DSR_GENEVE: 2, DSR_IPIP: 3, HYBRID_OPT: 4, HYBRID_GENEVE: 5, HYBRID_IPIP: 6,
  /** Each service says (bpf-lb-mode-annotation). */
  OWN_OPT: 7, OWN_GENEVE: 8, OWN_IPIP: 9,
  /** In IP headers by XDP (up to 1.18), which is not modelled: what it may touch is undecided. */
  IPIP_BY_XDP: 10,
});

// ---- identities, endpoints, nodes -----------------------------------------------------------------------------

export const Identity = codes("Identity", "Reserved and well-known identities.", {
  UNKNOWN: 0, HOST: 1, WORLD: 2, UNMANAGED: 3, HEALTH: 4, INIT: 5, REMOTE_NODE: 6, KUBE_APISERVER: 7, INGRESS: 8,
  WORLD_IPV4: 9, WORLD_IPV6: 10,
  KUBE_DNS: 102, EKS_KUBE_DNS: 103, CORE_DNS: 104, CILIUM_OPERATOR: 105, EKS_CORE_DNS: 106,
  /** First identity the cluster allocates. */
  MIN_ALLOCATED: 256,
  /** Local scope: CIDR and FQDN identities. */
  LOCAL_SCOPE: 0x01000000,
  REMOTE_NODE_SCOPE: 0x02000000,
}, {
  0: "reserved:unknown", 1: "reserved:host", 2: "reserved:world", 3: "reserved:unmanaged", 4: "reserved:health",
  5: "reserved:init", 6: "reserved:remote-node", 7: "reserved:kube-apiserver", 8: "reserved:ingress",
  9: "reserved:world-ipv4", 10: "reserved:world-ipv6",
});

export const Family = codes("Family", "ENDPOINT_KEY_IPV4 and _IPV6.", { IPV4: 1, IPV6: 2 });

export const IpcacheFlag = codes("IpcacheFlag", "IpcacheEntry.flags.", {
  SKIP_TUNNEL: 1, HAS_TUNNEL_EP: 2, IPV6_TUNNEL_EP: 4, REMOTE_CLUSTER: 8,
  /** Ours: an address of a node in its own network, which no route through cilium_host covers. */
  NODE_ADDRESS: 128,
});

export const EndpointFlag = codes("EndpointFlag", "EndpointInfo.flags.", {
  HOST: 1, ATHOSTNS: 2, NO_SNAT_V4: 4, NO_SNAT_V6: 8,
});

export const DeviceKind = codes("DeviceKind", "DeviceEntry.kind; ours.", {
  NONE: 0, POD: 1, UPLINK: 2, HOST: 3, TUNNEL: 4, LOOPBACK: 5, OTHER: 6,
});

export const DeviceFlag = codes("DeviceFlag", "Bits of DeviceEntry.flags; ours.", {
  /** An endpoint whose addresses are not checked (source verification off for it). */
  ANY_SOURCE: 1,
  /** Not Cilium's: frames pass untouched. */
  UNMANAGED: 2,
  /** Policy is enforced here (host firewall or endpoint). */
  POLICY: 4,
  /** VLAN_FILTER lets every tag through (vlan-bpf-bypass with 0). */
  VLAN_ALL: 8,
  /** VLAN_FILTER of this device lets some tags through: those of VLAN devices. */
  VLAN_SOME: 16,
  /** Whether VLAN devices stand on it is not known, and so neither what its VLAN_FILTER holds. */
  VLAN_UNKNOWN: 32,
  /** A VLAN device whose frames the filter of the device below drops. */
  VLAN_FILTERED: 64,
});

export const NodeOption = codes("NodeOption", "Bits of NodeEntry.options; ours.", {
  /** Runs Cilium. */
  MANAGED: 1, HOST_FIREWALL: 2,
  /** The iptables rules are those of a masquerade agent, whose exceptions are not known here. */
  MASQUERADE_AGENT: 4,
  /** The host walks what programs pass up through the node's kernel; else routes alone decide. */
  HOST_STACK: 8,
  /** No rule in OUTPUT marks what the node itself sends (install-iptables-rules is off). */
  UNMARKED: 16,
});

export const FibKind = codes("FibKind", "FibEntry.kind; ours.", {
  NONE: 0, ENDPOINT: 1, UPLINK: 2, LOCAL_STACK: 3, UNREACHABLE: 4, DEVICE: 5,
});

export const AllNodes = codes("AllNodes", "The node number that means every node, or none; ours.", { ALL: 0xffff });

export const TunnelProtocol = codes("TunnelProtocol", "tunnel-protocol; ours.", { NONE: 0, VXLAN: 1, GENEVE: 2 });

export const ConfigOption = codes("ConfigOption", "Bits of Config.options: Cilium's options that are switches; ours.", {
  ENABLE_IPV4: 0x1,
  ENABLE_IPV6: 0x2,
  ENABLE_SOURCE_IP_VERIFICATION: 0x4,
  ENABLE_IPV4_FRAGMENT_TRACKING: 0x8,
  ENABLE_IPV6_FRAGMENT_TRACKING: 0x10,
  ENABLE_ICMP_RULES: 0x20,
  ALLOW_ICMP_FRAG_NEEDED: 0x40,
  POLICY_AUDIT_MODE: 0x80,
  POLICY_DENY_RESPONSE_ICMP: 0x100,
  SERVICE_NO_BACKEND_RESPONSE_REJECT: 0x200,
  ENABLE_BPF_MASQUERADE_IPV4: 0x400,
  ENABLE_BPF_MASQUERADE_IPV6: 0x800,
  ENABLE_IP_MASQ_AGENT: 0x1000,
  ENABLE_REMOTE_NODE_MASQUERADE: 0x2000,
  /** routing-mode tunnel. */
  TUNNEL_MODE: 0x4000,
  ENABLE_ENDPOINT_ROUTES: 0x8000,
  /** kube-proxy-replacement: NodePort and its SNAT are Cilium's. */
  ENABLE_NODEPORT: 0x10000,
  /** Services are translated packet by packet at the pod (bpf-lb-sock off, or left on for some traffic). */
  ENABLE_PER_PACKET_LB: 0x20000,
  ENABLE_SOCKET_LB: 0x40000,
  ENABLE_EGRESS_GATEWAY: 0x80000,
  ENABLE_HOST_FIREWALL: 0x100000,
  /** enable-bpf-host-routing: forwards without the stack. */
  ENABLE_HOST_ROUTING: 0x200000,
  ENABLE_EXTENDED_IP_PROTOCOLS: 0x400000,
  CONNTRACK_ACCOUNTING: 0x800000,
  EXTERNAL_CLUSTERIP: 0x1000000,
  /** Both families: world is 9 and 10 instead of 2. */
  DUAL_STACK: 0x2000000,
  /** Full socket LB only in the host namespace. */
  SOCKET_LB_HOST_ONLY: 0x4000000,
  ENABLE_POLICY: 0x8000000,
  ENABLE_SCTP: 0x10000000,
  /** The node's iptables masquerade: the agent's rules without enable-bpf-masquerade, or a masquerade agent's. */
  IPTABLES_MASQUERADE_IPV4: 0x20000000,
  IPTABLES_MASQUERADE_IPV6: 0x40000000,
});

// ---- programs and their records (ours) -------------------------------------------------------------------------

export const Program = codes("Program", "Entry programs by the names they are attached under; ours.", {
  NONE: 0, FROM_CONTAINER: 1, TO_CONTAINER: 2, FROM_NETDEV: 3, TO_NETDEV: 4, FROM_HOST: 5, TO_HOST: 6,
  FROM_OVERLAY: 7, TO_OVERLAY: 8, SOCK4_CONNECT: 9, SOCK6_CONNECT: 10, STACK: 11, FABRIC: 12,
}, {
  1: "cil_from_container", 2: "cil_to_container", 3: "cil_from_netdev", 4: "cil_to_netdev", 5: "cil_from_host",
  6: "cil_to_host", 7: "cil_from_overlay", 8: "cil_to_overlay", 9: "cil_sock4_connect", 10: "cil_sock6_connect",
  11: "stack", 12: "fabric",
});

export const StepKind = codes("StepKind", "What a StepRecord is about; ours.", {
  ENTER: 1, LOOKUP: 2, UPDATE: 3, DELETE: 4, VERDICT: 5, CONNTRACK: 6, SERVICE: 7, POLICY: 8, SNAT: 9, REWRITE: 10,
  LEAVE: 11, DRAW: 12, CREATE: 13, FRAGMENT: 14, ROUTE: 15, STACK: 16,
});

export const PinFlag = codes("PinFlag", "Bits of PinRecord.flags; ours.", { BACKEND: 1, SOURCE_PORT: 2, IPV6: 4 });

export const UndecidedReason = codes("UndecidedReason", "Why a program would not judge; ours.", {
  NONE: 0, TRUNCATED: 1, NOT_MODELLED: 2, NO_DEVICE: 3, MAP_MEMORY: 4, TUNNEL: 5, IPV6_EXTENSION: 6, L7_PROXY: 7,
  SCTP_CHECKSUM: 8, NO_ROUTE: 9, CHECKSUM: 10, DSR: 11, ENCRYPTION: 12, MULTICAST: 13, LINK_LAYER: 14, LOOP: 15,
  NO_NODE_FACTS: 16, SOCKET_LB: 17, PROTOCOL: 18, AFFINITY: 19, MAGLEV: 20, SOURCE_RANGE: 21, EGRESS_GATEWAY: 22,
  HOST_FIREWALL: 23,
  FRAGMENT: 24, ICMP: 25, TUNNEL_DEVICE: 26, ROUTE_DEVICE: 27, LOCAL_REDIRECT: 28, NAT46X64: 29, OWN_INTERFACE: 30,
  PROGRAM: 31, MTU: 32, TTL: 33, UNREACHABLE: 34, POLICY_RESPONSE: 35, BROKEN_HEADER: 36, MASQUERADE: 37,
  MARTIAN: 38, IP_OPTIONS: 39, ROUTER_ADDRESS: 60, SOURCE_CHOICE: 61, CONNTRACK_GC: 70, VLAN: 80, VLAN_ONWARD: 81, VLAN_STACKED: 82,
}, {
  1: "the capture holds too little of the packet", 2: "not modelled", 3: "the device is not known on this node",
  4: "the memory reserved for a map is used up", 5: "a tunnel's packet that the kernel may refuse", 6: "IPv6 extension header",
  7: "L7 proxy", 8: "SCTP checksum cannot be rebuilt", 9: "the node's routes do not say", 10: "checksum unknown",
  11: "DSR", 12: "encryption", 13: "multicast", 14: "link layer", 15: "the frame came round too often",
  16: "nothing is known of the node", 17: "balanced at the pod's socket; the capture shows the service", 18: "protocol",
  19: "session affinity", 20: "Maglev", 21: "load balancer source ranges", 22: "egress gateway", 23: "host firewall",
  24: "a fragment, with fragment tracking off", 25: "ICMP",
  26: "a tunnel device of the node's present network, not of Cilium",
  27: "the node's route leads to a device that is neither a pod's nor an uplink",
  28: "local redirect policy", 29: "a service between IPv4 and IPv6",
  30: "the pod leaves by an interface of its own", 31: "a program that is not modelled",
  32: "larger than the device's MTU", 33: "the hop count runs out, and the answer to that is not modelled",
  34: "the node's route is unreachable, and the kernel's answer to that is not modelled",
  35: "policy-deny-response=icmp", 36: "a broken IP header leaves the cluster",
  37: "masquerading in the node's iptables",
  38: "a source or destination that the node's kernel may refuse as martian",
  39: "IPv4 options that the node's kernel acts on",
  60: "the address that Cilium gives cilium_host is not known",
  61: "a process of the node sends into Cilium's tunnel, and its address would be another one there",
  80: "whether the node has a device for the frame's VLAN is not known",
  81: "where a frame with a VLAN tag gets to from there is not modelled",
  82: "a VLAN tag behind another",
  70: "conntrack-gc: an entry past its lifetime may or may not have been collected",
});

export const PolicyPort = codes("PolicyPort", "A proxy port of policy entries that is none; ours.", {
  UNDECIDED: 0xffff,
}, { 65535: "the rule's peers are not known" });

export const OwnProgram = codes("OwnProgram", "What a program of the user's own leaves instead of a rule set's id; ours.", {
  COOKIE: 0x7fffffff,
});

export const KernelReason = codes("KernelReason", "Why the node's kernel, not a program, dropped a packet; numbers ours.", {
  OTHERHOST: 501, IP_INHDR: 502, IP_CSUM: 503, PKT_TOO_SMALL: 504, INVALID_PROTO: 505, TUNNEL_TXINFO: 506,
});

/** Where the host hands back a packet that it walked through a node's kernel. */
export const StackExit = codes("StackExit", "Where a packet goes on from the node's kernel; ours.", {
  LOCAL: 1, UPLINK: 2, ENDPOINT: 3, CILIUM_HOST: 4,
});
export const FrameEnd = codes("FrameEnd", "What became of a frame; AtStack: it waits for the host to walk the node's kernel.",
  { ...End, AtStack: 9 });
export const EmissionKind = codes("EmissionKind", "Where an emission was seen.", Emission);
export const LinkPacketType = codes("LinkPacketType", "Who a frame was addressed to.", PacketType);

// ---- bpf(2) --------------------------------------------------------------------------------------------------

export const MapKind = codes("MapKind", "enum bpf_map_type, include/uapi/linux/bpf.h.", {
  NONE: 0, HASH: 1, ARRAY: 2, PROG_ARRAY: 3, LRU_HASH: 9, LPM_TRIE: 11, ARRAY_OF_MAPS: 12, HASH_OF_MAPS: 13,
  RINGBUF: 27,
});

export const UpdateFlag = codes("UpdateFlag", "Flags of an update.", { ANY: 0, NOEXIST: 1, EXIST: 2 });

export const Errno = codes("Errno", "Error numbers of map operations; results are their negatives.", {
  ENOENT: 2, E2BIG: 7, EBADF: 9, ENOMEM: 12, EBUSY: 16, EEXIST: 17, EINVAL: 22, ENOSPC: 28, ENOTSUPP: 524,
});

/** MapDescriptor.node_offset of a map without a node in its key. */
export const NotPartitioned = codes("NotPartitioned", "No node in the key; ours.", { NONE: 0xffff });
