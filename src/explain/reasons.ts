/**
 * What drop reasons that programs return mean, and what to look at: by Hubble's names. A reason that is not here is
 * explained by why it does not arise (`src/ebpf/reason-support.ts`).
 */
export interface ReasonText {
  readonly what: string;
  readonly look: string;
}

export const REASON_TEXTS: Readonly<Record<string, ReasonText>> = {
  INVALID_SOURCE_IP: {
    what: "A pod sent from an address that is not its own, or the packet's source is an address of the node it enters.",
    look: "Pods that route for others (VPN, NAT) need enable-source-ip-verification=false.",
  },
  POLICY_DENIED: {
    what: "A default deny: some policy selects the pod in this direction, and no rule allows the peer, protocol and port.",
    look: "`trace` names the policies that made the default deny. Rules apply to the port behind the service, not to the service's.",
  },
  INVALID_PACKET_DROPPED: {
    what: "The packet ends before its headers do, or an ICMP packet is a fragment (1.18 and later).",
    look: "The sender, or a path that cuts packets.",
  },
  CT_TRUNCATED_OR_INVALID_HEADER: {
    what: "The packet ends before the ports or flags that connection tracking needs.",
    look: "The sender, or a path that cuts packets.",
  },
  CT_MISSING_TCP_ACK_FLAG: {
    what: "The packet is too big for where it goes and may not be fragmented; Cilium answers fragmentation needed where it can.",
    look: "The MTU of the pods' devices. Hubble gives this number the name of a reason that is no longer in use.",
  },
  CT_UNKNOWN_L4_PROTOCOL: {
    what: "The protocol is none that connection tracking knows: TCP, UDP, ICMP, and SCTP where it is switched on.",
    look: "enable-sctp for SCTP; enable-extended-ip-protocols for GRE, ESP, IGMP and others (1.19 and later).",
  },
  UNSUPPORTED_L3_PROTOCOL: {
    what: "The frame holds neither IPv4 nor IPv6 nor ARP, or a family that is switched off.",
    look: "enable-ipv4 and enable-ipv6.",
  },
  ERROR_WRITING_TO_PACKET: { what: "A header could not be written.", look: "Nothing: no packet of a capture brings it about." },
  UNKNOWN_L4_PROTOCOL: { what: "Translation met a protocol without ports that it knows.", look: "The protocol of the packet." },
  UNKNOWN_ICMPV4_CODE: {
    what: "Translation met an ICMP message whose type or code it does not translate.",
    look: "Which types are translated depends on the version: only fragmentation needed in 1.16.",
  },
  UNKNOWN_ICMPV6_CODE: {
    what: "Translation met an ICMPv6 message whose type or code it does not translate.",
    look: "Which types are translated depends on the version.",
  },
  UNKNOWN_L3_TARGET_ADDRESS: {
    what: "A neighbour solicitation asks for an address that Cilium answers for no one at.",
    look: "The address asked for: a pod that is gone, or an address of another node.",
  },
  STALE_OR_UNROUTABLE_IP: {
    what: "The destination is in the node's pod range and no endpoint has it.",
    look: "A pod that is gone, or a backend that an EndpointSlice still lists.",
  },
  ERROR_WHILE_CORRECTING_L4_CHECKSUM: {
    what: "The checksum of a quoted header could not be corrected: an ICMP error quotes too little of TCP.",
    look: "The router that made the error; 1.18 and 1.20 translate it, 1.17 and 1.19 do not.",
  },
  CT_MAP_INSERTION_FAILED: {
    what: "Connection tracking had no room for an entry.",
    look: "bpf-ct-global-tcp-max and bpf-ct-global-any-max.",
  },
  INVALID_IPV6_EXTENSION_HEADER: { what: "An IPv6 extension header cannot be followed.", look: "The sender." },
  IP_FRAGMENTATION_NOT_SUPPORTED: {
    what: "A fragment, where fragments are not followed: IPv6 before 1.18, or fragment tracking switched off.",
    look: "enable-ipv4-fragment-tracking and enable-ipv6-fragment-tracking; the datagram's size.",
  },
  SERVICE_BACKEND_NOT_FOUND: {
    what: "A service without a usable backend (service-no-backend-response=drop, or nobody to answer), or, from 1.19 on, a port that"
      + " is none of the service's.",
    look: "The service's EndpointSlices and traffic policies; differences SVC-NOENDPOINT, SVC-ETPLOCAL-NOLOCAL, SVC-UNKNOWN-PORT.",
  },
  UNKNOWN_CONNECTION_TRACKING_STATE: { what: "Connection tracking answered what it never answers.", look: "Nothing." },
  UNSUPPORTED_L2_PROTOCOL: { what: "The frame has no link layer that Cilium reads.", look: "The device." },
  NO_MAPPING_FOR_NAT_MASQUERADE: {
    what: "No source port is free for the translation, or an answer finds no translation.",
    look: "How many connections one node has to one destination.",
  },
  UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE: {
    what: "BPF masquerade met a protocol that it does not translate.",
    look: "It translates TCP, UDP and ICMP echo.",
  },
  FIB_LOOKUP_FAILED: { what: "The node's routes do not say where the packet goes.", look: "The node's routes." },
  ENCAPSULATION_TRAFFIC_IS_PROHIBITED: {
    what: "A pod sent UDP to the tunnel's port, which would pass for Cilium's own.",
    look: "What the pod sends to port 8472 (VXLAN) or 6081 (Geneve).",
  },
  INVALID_IDENTITY: {
    what: "The tunnel's packet carries an identity that no peer may have.",
    look: "Who else sends to the tunnel's port.",
  },
  NAT_NOT_NEEDED: { what: "A translation was asked for that is none.", look: "Nothing: it is used inside alone." },
  IS_A_CLUSTERIP: {
    what: "A packet from outside to a ClusterIP.",
    look: "Expose the service, or set bpf-lb-external-clusterip; difference SVC-CLUSTERIP-EXT.",
  },
  FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND: {
    what: "A later fragment came before the first one, or after it was forgotten.",
    look: "Datagrams above the MTU, paths that reorder; differences PROTO-FRAG and CAP-FRAG.",
  },
  FORBIDDEN_ICMPV6_MESSAGE: {
    what: "An ICMPv6 message that the host firewall does not let through.",
    look: "enable-host-firewall.",
  },
  DENIED_BY_LB_SRC_RANGE_CHECK: {
    what: "The client is outside the service's loadBalancerSourceRanges.",
    look: "loadBalancerSourceRanges; difference SVC-LBSRCRANGES.",
  },
  POLICY_DENY: {
    what: "A deny rule matches. It comes before every allow, whoever allows.",
    look: "`trace` names the rule: CiliumNetworkPolicy with ingressDeny or egressDeny, or a ClusterNetworkPolicy.",
  },
  AUTH_REQUIRED: {
    what: "A rule asks for mutual authentication, which no packet of a capture can show to have happened.",
    look: "authentication.mode in the rule.",
  },
  NO_EGRESS_GATEWAY: { what: "An egress gateway policy selects the packet and names no gateway.", look: "CiliumEgressGatewayPolicy." },
  DROP_NO_EGRESS_IP: { what: "The egress gateway has no address to send from.", look: "CiliumEgressGatewayPolicy." },
  NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT: {
    what: "The packet has to go through a tunnel, and no endpoint of it is known: DSR through Geneve from a node without a tunnel.",
    look: "tunnel-protocol, bpf-lb-dsr-dispatch and the node's InternalIP.",
  },
  TTL_EXCEEDED: {
    what: "The hop count ran out where a program forwards the packet. Nobody is told.",
    look: "Loops, and traceroute; difference PROTO-TTL.",
  },
  VLAN_FILTERED: {
    what: "The frame has a VLAN tag that the device's filter does not let through: no VLAN device of the node that Cilium runs at has"
      + " it, and vlan-bpf-bypass does not name it.",
    look: "vlan-bpf-bypass, ip -d link on the node; difference NODE-VLAN.",
  },
};
