/**
 * Every struct that crosses between the host and the WebAssembly module, or lies in one of its maps.
 *
 * Addresses are 16 bytes in wire order: IPv6 as it is, IPv4 in the first four bytes with zeros behind it. Ports are
 * be16. Ids (identities, backends, reverse NAT, nodes) are host-order numbers. `lifetime` and other times are whole
 * seconds since the plane's epoch. `node` is an index into Plane.nodes. `cookie` is the number of a rule set, by
 * which the host finds the manifest lines behind an entry; 0 means none.
 *
 * Where a struct is Cilium's, its fields have Cilium's names, but not always its widths: one struct serves IPv4 and
 * IPv6, state that is per node in reality carries the node, and unions are spelled out.
 *
 * records.ts has the structs that lie in no map.
 */
import { be16, bytes, struct, u8, u16, u32, u64 } from "./layout.js";

export * from "./records.js";

const address = bytes(16);

// ---- connection tracking and NAT (bpf/lib/common.h, bpf/lib/conntrack.h, bpf/lib/nat.h) ----------------------

/**
 * ipv4_ct_tuple and ipv6_ct_tuple in one. In conntrack maps the addresses of an egress entry are swapped and the
 * ports natural, those of a SERVICE entry the other way round; in NAT maps both are natural. The family is that of
 * the map.
 */
export const CtTuple = struct("CtTuple", "Key of conntrack and NAT maps.", {
  daddr: [address, "destination address, as the map's convention swaps it"],
  saddr: [address, "source address"],
  dport: [be16, "destination port; the identifier of an ICMP echo request"],
  sport: [be16, "source port; the identifier of an ICMP echo reply"],
  nexthdr: [u8, "IP protocol number"],
  flags: [u8, "TupleFlag"],
  node: [u16, "the node whose table this is"],
});

export const CtEntry = struct("CtEntry", "ct_entry: what is known of a connection in one direction.", {
  nat_addr: [address, "original destination of a pod-to-NodePort connection; else zero"],
  packets: [u64, "counted only with bpf-conntrack-accounting"],
  bytes: [u64, "counted only with bpf-conntrack-accounting"],
  lifetime: [u32, "expires at this second; an expired entry matches until it is collected"],
  backend_id: [u32, "SERVICE entries: the chosen backend"],
  bits: [u16, "CtBit"],
  rev_nat_index: [u16, "service id for the reverse translation; 0: none"],
  nat_port: [be16, "original destination port that belongs to nat_addr"],
  tx_flags_seen: [u8, "TCP flags seen since the last report, sent"],
  rx_flags_seen: [u8, "TCP flags seen since the last report, received"],
  src_sec_id: [u32, "identity of the source when the entry was made"],
  last_tx_report: [u32, "second of the last report, sent"],
  last_rx_report: [u32, "second of the last report, received"],
  journey: [u32, "the host's number of the journey shared by this connection's packets"],
});

export const NatEntry = struct("NatEntry", "nat_entry: address and port to put in.", {
  addr: [address, "to_saddr of an OUT entry, to_daddr of an IN entry"],
  port: [be16, "to_sport or to_dport"],
  needs_ct: [u8, "1: kept alive by a conntrack entry"],
  pad: [u8, "zero"],
  created: [u32, "second of creation"],
});

export const FragKey = struct("FragKey", "ipv4_frag_id and ipv6_frag_id: names the fragments of a datagram.", {
  daddr: [address, "destination address"],
  saddr: [address, "source address"],
  id: [u32, "identification: the header's bytes, IPv4's two bytes first and zeros behind"],
  proto: [u8, "IP protocol number"],
  pad: [u8, "zero"],
  node: [u16, "the node whose table this is"],
});

export const FragEntry = struct("FragEntry", "ipv4_frag_l4ports: the ports that only the first fragment carries.", {
  sport: [be16, "source port"],
  dport: [be16, "destination port"],
});

// ---- services (bpf/lib/lb.h) ---------------------------------------------------------------------------------

export const ServiceKey = struct("ServiceKey", "lb4_key and lb6_key.", {
  address: [address, "frontend address"],
  dport: [be16, "frontend port; 0 in a wildcard entry"],
  backend_slot: [u16, "0: the service itself; 1..count+qcount: its backends"],
  proto: [u8, "IP protocol number; 0: any"],
  scope: [u8, "LookupScope"],
  node: [u16, "node that has this entry; AllNodes for every node"],
});

export const ServiceEntry = struct("ServiceEntry", "lb4_service and lb6_service.", {
  backend_id: [u32, "slot > 0: backend. Slot 0: algorithm << 24 | affinity timeout in seconds, or the L7 proxy port"],
  count: [u16, "active backends, in slots 1..count"],
  rev_nat_index: [u16, "service id, key of the reverse NAT map"],
  flags: [u8, "ServiceFlag"],
  flags2: [u8, "ServiceFlag2"],
  qcount: [u16, "quarantined and terminating backends, in the slots after the active ones"],
  cookie: [u32, "rule set"],
});

export const BackendKey = struct("BackendKey", "Key of the backend maps.", {
  backend_id: [u32, "as in ServiceEntry.backend_id"],
});

export const BackendEntry = struct("BackendEntry", "lb4_backend and lb6_backend.", {
  address: [address, "backend address"],
  port: [be16, "backend port"],
  proto: [u8, "IP protocol number"],
  flags: [u8, "BackendState"],
  cluster_id: [u16, "0 without a cluster mesh"],
  zone: [u8, "number of the zone; 0: none"],
  pad: [u8, "zero"],
  cookie: [u32, "rule set"],
});

export const RevNatKey = struct("RevNatKey", "Key of the reverse NAT maps.", {
  rev_nat_index: [u16, "service id"],
  pad: [u16, "zero"],
});

export const RevNatEntry = struct("RevNatEntry", "lb4_reverse_nat: the frontend to restore in replies.", {
  address: [address, "frontend address"],
  port: [be16, "frontend port"],
  pad: [u16, "zero"],
});

export const AffinityKey = struct("AffinityKey", "lb4_affinity_key: a client and a service.", {
  client_id: [address, "client address, or its network namespace cookie as a u64 in the first 8 bytes"],
  rev_nat_id: [u16, "service id"],
  netns_cookie: [u8, "1: client_id is a cookie (socket load balancing)"],
  pad1: [u8, "zero"],
  node: [u16, "the node whose table this is"],
  pad2: [u16, "zero"],
});

export const AffinityEntry = struct("AffinityEntry", "lb_affinity_val.", {
  last_used: [u32, "second of the last packet"],
  backend_id: [u32, "the backend to keep"],
});

export const AffinityMatchKey = struct("AffinityMatchKey", "lb_affinity_match: a backend that still is the service's.", {
  backend_id: [u32, "backend"],
  rev_nat_id: [u16, "service id"],
  pad: [u16, "zero"],
});

export const Present = struct("Present", "Value of a map that is used as a set.", {
  present: [u32, "1"],
});

export const SourceRangeKey = struct("SourceRangeKey", "lb4_src_range_key: LPM over client prefixes of a service.", {
  prefixlen: [u32, "bits of what follows: 32 + prefix length"],
  rev_nat_id: [u16, "service id"],
  pad: [u16, "zero"],
  address: [address, "client prefix"],
});

export const MaglevKey = struct("MaglevKey", "Outer key of the Maglev maps.", {
  rev_nat_id: [u16, "service id"],
  node: [u16, "node that has this table; AllNodes for every node"],
});

export const MaglevIndex = struct("MaglevIndex", "Key of one Maglev table.", {
  index: [u32, "hash of the flow modulo the table size"],
});

export const MaglevEntry = struct("MaglevEntry", "One place of a Maglev table.", {
  backend_id: [u32, "backend"],
});

/** lb4_reverse_sk: a translation made at the socket, so that later views of the flow can be told apart. */
export const ReverseSkKey = struct("ReverseSkKey", "Key of the socket load balancing's reverse maps.", {
  cookie: [u64, "socket cookie; here a hash of the flow"],
  address: [address, "backend address"],
  port: [be16, "backend port"],
  node: [u16, "the node the socket lives on"],
  pad: [u32, "zero"],
});

export const ReverseSkEntry = struct("ReverseSkEntry", "What the socket had asked for.", {
  address: [address, "frontend address"],
  port: [be16, "frontend port"],
  rev_nat_index: [u16, "service id"],
  backend_id: [u32, "chosen backend"],
});

// ---- identities and endpoints --------------------------------------------------------------------------------

export const IpcacheKey = struct("IpcacheKey", "ipcache_key: LPM over addresses.", {
  prefixlen: [u32, "bits of what follows: 32 + prefix length"],
  cluster_id: [u16, "0 without a cluster mesh"],
  pad: [u8, "zero"],
  family: [u8, "Family"],
  address: [address, "prefix, host bits zero"],
});

export const IpcacheEntry = struct("IpcacheEntry", "remote_endpoint_info.", {
  tunnel_endpoint: [address, "node to encapsulate to"],
  sec_identity: [u32, "identity"],
  pad: [u16, "zero"],
  key: [u8, "encryption key number"],
  flags: [u8, "IpcacheFlag"],
  cookie: [u32, "rule set: what named this prefix"],
});

export const EndpointKey = struct("EndpointKey", "endpoint_key, with the node that has the endpoint.", {
  address: [address, "endpoint address"],
  node: [u16, "the node whose table this is"],
  family: [u8, "Family"],
  pad1: [u8, "zero"],
  pad2: [u32, "zero"],
});

export const EndpointInfo = struct("EndpointInfo", "endpoint_info: a local endpoint of a node.", {
  ifindex: [u32, "host end of its veth; 0: the host itself"],
  lxc_id: [u16, "endpoint id"],
  pad: [u16, "zero"],
  flags: [u32, "EndpointFlag"],
  sec_id: [u32, "identity"],
  mac: [bytes(6), "the endpoint's own MAC address"],
  node_mac: [bytes(6), "MAC address of the host end"],
  policy: [u32, "index into cilium_policy_v2: the policy map this endpoint shares with its equals"],
  parent_ifindex: [u32, "0: none"],
});

export const DeviceKey = struct("DeviceKey", "A device of a node.", {
  ifindex: [u32, "ifindex; 0: processes of the node"],
  node: [u16, "node"],
  pad: [u16, "zero"],
});

/** What Cilium writes into the .rodata.config of the program it attaches to this device. */
export const NodeClock = struct("NodeClock", "A node's clock, which never goes back.", {
  seconds: [u32, "seconds since the plane's epoch"],
});

export const DeviceEntry = struct("DeviceEntry", "What a device is, and whose.", {
  ipv4: [address, "endpoint or device address; zero: none"],
  ipv6: [address, "endpoint or device address; zero: none"],
  kind: [u8, "DeviceKind"],
  flags: [u8, "DeviceFlag"],
  lxc_id: [u16, "endpoint id; 0: no endpoint"],
  sec_id: [u32, "identity of the endpoint"],
  policy: [u32, "index into cilium_policy_v2"],
  mtu: [u32, "bytes from the network header on"],
  mac: [bytes(6), "MAC address of the device"],
  endpoint_mac: [bytes(6), "MAC address of the pod behind it"],
  peer: [u32, "uplinks: ifindex of cilium_host; else 0"],
});

// ---- policy (bpf/lib/policy.h) -------------------------------------------------------------------------------

/**
 * policy_key, byte for byte Cilium's:
 *
 *      0         4         8  9        10       12
 *     | prefixlen | sec_label | egress | protocol | dport |
 */
export const PolicyKey = struct("PolicyKey", "policy_key: LPM; a lookup always uses prefixlen 64.", {
  prefixlen: [u32, "40 + 8 with a protocol + 0..16 port bits"],
  sec_label: [u32, "remote identity; 0: any"],
  egress: [u8, "bit 0: 1 egress, 0 ingress"],
  protocol: [u8, "IP protocol number; 0: any"],
  dport: [be16, "destination port of the flow, or ICMP type"],
});

/** policy_entry, byte for byte Cilium's from 1.19 on. */
export const PolicyEntry = struct("PolicyEntry", "policy_entry.", {
  proxy_port: [be16, "0: no redirect"],
  deny: [u8, "bit 0: deny; bits 3..7: lpm_prefix_length 0..24"],
  auth_type: [u8, "bits 0..6: type; bit 7: has_explicit_auth_type"],
  precedence: [u32, "higher wins; 1.16 to 1.18 profiles keep their own priority here"],
  cookie: [u32, "rule set"],
});

/** Outer key of cilium_policy_v2. In Cilium each endpoint has a map; here equal policies share one. */
export const PolicyIndex = struct("PolicyIndex", "Outer key of the policy maps.", {
  policy: [u32, "as in EndpointInfo.policy"],
});

export const InnerMap = struct("InnerMap", "Value of a map-in-map.", {
  inner: [u32, "number of an inner map plus one; 0: none"],
});

export const IpMasqKey = struct("IpMasqKey", "ip_masq_agent's non-masquerade prefixes, LPM.", {
  prefixlen: [u32, "prefix length"],
  address: [address, "destination prefix"],
});

/** The source address is always given in full, so a prefix has at least 128 bits. */
export const EgressPolicyKey = struct("EgressPolicyKey", "egress_gw_policy_key: LPM on (source /32, destination prefix).", {
  prefixlen: [u32, "bits of what follows: 128 + prefix length"],
  saddr: [address, "source endpoint address"],
  daddr: [address, "destination prefix"],
});

export const EgressPolicyEntry = struct("EgressPolicyEntry", "egress_gw_policy_entry.", {
  egress_ip: [address, "source address to use; zero: none found"],
  gateway_ip: [address, "gateway node; first bytes 0: none, 1: excluded destination"],
  cookie: [u32, "rule-set id of the policy; not in Cilium's entry"],
});

// ---- nodes and the fabric ------------------------------------------------------------------------------------

export const NodeKey = struct("NodeKey", "Key of tables with one entry a node.", {
  node: [u32, "node"],
});

export const NodeEntry = struct("NodeEntry", "What a node's programs are configured with.", {
  ipv4: [address, "the node's IPv4 address; zero: none"],
  ipv6: [address, "the node's IPv6 address; zero: none"],
  masquerade4: [address, "source address of masqueraded IPv4; zero: none"],
  masquerade6: [address, "source address of masqueraded IPv6; zero: none"],
  router4: [address, "cilium_host's IPv4 address (CiliumInternalIP); zero: not known"],
  router6: [address, "cilium_host's IPv6 address; zero: not known"],
  pod_cidr4: [address, "the node's IPv4 pod prefix"],
  pod_cidr6: [address, "the node's IPv6 pod prefix"],
  pod_cidr4_length: [u8, "prefix length"],
  pod_cidr6_length: [u8, "prefix length"],
  options: [u16, "NodeOption"],
  direct_routing_ifindex: [u32, "device towards other nodes"],
  host_ifindex: [u32, "cilium_host; 0: none"],
  tunnel_ifindex: [u32, "cilium_vxlan or cilium_geneve; 0: none"],
  host_policy: [u32, "index into cilium_policy_v2 for the host firewall"],
  host_sec_id: [u32, "identity of the host endpoint"],
});

export const FibKey = struct("FibKey", "LPM over a node's routes.", {
  prefixlen: [u32, "bits of what follows: 32 + prefix length"],
  node: [u16, "node"],
  pad: [u8, "zero"],
  family: [u8, "Family"],
  address: [address, "destination prefix"],
});

export const FibEntry = struct("FibEntry", "Where a node sends a destination.", {
  next_hop: [address, "gateway; zero: the destination is on the link"],
  ifindex: [u32, "device to leave through"],
  next_node: [u16, "uplink: the node that receives the frame; AllNodes: nobody in the cluster"],
  kind: [u8, "FibKind"],
  family: [u8, "Family of next_hop"],
  next_ifindex: [u32, "uplink: device where the next node receives it"],
  mac: [bytes(6), "MAC address of the next hop"],
  pad: [u16, "zero"],
});

/** Cilium's .rodata.config values that hold for every node; options and limits by Cilium's names. */
export const Config = struct("Config", "One entry: the plane's configuration.", {
  native_routing_cidr4: [address, "ipv4-native-routing-cidr"],
  native_routing_cidr6: [address, "ipv6-native-routing-cidr"],
  service_loopback_ipv4: [address, "ipv4-service-loopback-address"],
  service_loopback_ipv6: [address, "ipv6-service-loopback-address"],
  seed: [u64, "seed of every draw"],
  options: [u32, "ConfigOption"],
  version: [u32, "profile: 16 for Cilium 1.16 … 20 for 1.20"],
  ct_connection_timeout_tcp: [u32, "seconds"],
  ct_connection_timeout_other: [u32, "seconds"],
  ct_service_timeout_tcp: [u32, "seconds"],
  ct_service_timeout_other: [u32, "seconds"],
  ct_service_close_grace: [u32, "seconds"],
  ct_syn_timeout: [u32, "seconds"],
  ct_close_timeout: [u32, "seconds"],
  ct_gc_seconds: [u32, "an entry is collected when it is overdue for longer; 0: nothing collects"],
  ct_pad: [u32, "zero"],
  ct_report_interval: [u32, "seconds"],
  ct_report_flags: [u32, "monitor-aggregation-flags, TCP flag bits"],
  maglev_table_size: [u32, "bpf-lb-maglev-table-size"],
  hash_init4_seed: [u32, "jhash seed for IPv4"],
  hash_init6_seed: [u32, "jhash seed for IPv6"],
  snat_collision_retries: [u32, "tries before NAT_NO_MAPPING"],
  cluster_id: [u32, "0 without a cluster mesh"],
  nodeport_port_min: [u16, "host order"],
  nodeport_port_max: [u16, "host order"],
  nodeport_snat_port_min: [u16, "host order"],
  nodeport_snat_port_max: [u16, "host order"],
  tunnel_port: [be16, "UDP port of the tunnel"],
  tunnel_protocol: [u8, "TunnelProtocol"],
  lb_algorithm: [u8, "LbAlgorithm"],
  native_routing_cidr4_length: [u8, "prefix length; with an all-zero address 255: none"],
  native_routing_cidr6_length: [u8, "prefix length; with an all-zero address 255: none"],
  monitor_aggregation: [u8, "0 none, 1 lowest, 2 low, 3 medium, 4 maximum"],
  dsr_mode: [u8, "DsrMode"],
  plane: [u32, "number of the plane, part of every draw"],
  lb_options: [u32, "LbOption"],
});

// ---- metrics and programs ----------------------------------------------------------------------------------

export const MetricsKey = struct("MetricsKey", "metrics_key, without the source line.", {
  reason: [u8, "DropReason or MetricReason"],
  dir: [u8, "MetricDirection"],
  node: [u16, "node"],
});

export const MetricsValue = struct("MetricsValue", "metrics_value.", {
  count: [u64, "packets"],
  bytes: [u64, "bytes from the network header on"],
});

export const ProgramKey = struct("ProgramKey", "Key of a program array.", {
  index: [u32, "index"],
});

export const ProgramEntry = struct("ProgramEntry", "A program to jump to.", {
  program: [u32, "index in the module's function table; 0: none"],
});
