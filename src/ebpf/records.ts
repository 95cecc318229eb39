/**
 * What the compilers found, as records of the contract: one function for each kind of entry. No decisions
 * here, only field by field translation into keys and values.
 */
import type { Address, Prefix } from "../cluster/address.js";
import { parseAddress, parsePrefix } from "../cluster/address.js";
import type { AnyRecord } from "../contract/codec.js";
import { addressField } from "../contract/codec.js";
import {
  AllNodes,
  BackendState,
  ConfigOption,
  DeviceFlag,
  DeviceKind,
  DsrMode,
  EndpointFlag,
  Family,
  FibKind,
  IpcacheFlag,
  LbAlgorithm,
  LbOption,
  NodeOption,
  ServiceFlag,
  ServiceFlag2,
  TunnelProtocol,
} from "../contract/codes.js";
import type { MapName } from "../contract/maps.js";
import type { Because } from "../dataplane.js";
import type { CandidateState } from "./compile/backends.js";
import type { FibRow } from "./compile/fib.js";
import { Reserved } from "./compile/identity.js";
import type { EgressGatewayEntry } from "./compile/egress-gateway.js";
import type { IpMasqEntry } from "./compile/ipmasq.js";
import type { IpcacheEntry } from "./compile/ipcache.js";
import { maglevSeeds } from "./compile/maglev.js";
import type { CompiledDevice, CompiledEndpoint, CompiledNode, CompiledNodes } from "./compile/node.js";
import { parseMac } from "./compile/node.js";
import type { CompiledServices, Frontend } from "./compile/service.js";
import type { MapEntry } from "./image.js";
import type { CiliumOptions, OptionValues } from "./options.js";

/** Node number that means every node. */
const EVERY_NODE = AllNodes.values.ALL;
/** Length that means no prefix. */
const NO_PREFIX = 255;
/** Bits in front of the address in LPM keys. */
const HEAD_BITS = 32;
/** enable-ipv6's loopback for hairpin traffic (pkg/defaults). */
const SERVICE_LOOPBACK_IPV6 = "fe80::1";
/** TCP flags that are reported at once: FIN, SYN, RST (monitor-aggregation-flags). */
const REPORT_FLAGS = 0x07;

export function configRecord(options: CiliumOptions, seed: bigint, plane: number, egressGateways = false): MapEntry {
  const [nodePortMin, nodePortMax] = options["node-port-range"];
  const native4 = parsePrefix(options["ipv4-native-routing-cidr"]);
  const native6 = parsePrefix(options["ipv6-native-routing-cidr"]);
  const [, jhash4, jhash6] = maglevSeeds(options["bpf-lb-maglev-hash-seed"]);
  return [
    { node: 0 },
    {
      native_routing_cidr4: fieldOf(native4?.address ?? null),
      native_routing_cidr4_length: native4?.length ?? NO_PREFIX,
      native_routing_cidr6: fieldOf(native6?.address ?? null),
      native_routing_cidr6_length: native6?.length ?? NO_PREFIX,
      service_loopback_ipv4: fieldOf(parseAddress(options["ipv4-service-loopback-address"])),
      service_loopback_ipv6: fieldOf(parseAddress(SERVICE_LOOPBACK_IPV6)),
      seed: BigInt.asUintN(64, seed),
      plane,
      options: (optionBits(options) | (egressGateways ? ConfigOption.values.ENABLE_EGRESS_GATEWAY : 0)) >>> 0,
      version: Number(options.version.slice(2)),
      ct_connection_timeout_tcp: options["bpf-ct-timeout-regular-tcp"],
      ct_connection_timeout_other: options["bpf-ct-timeout-regular-any"],
      ct_service_timeout_tcp: options["bpf-ct-timeout-service-tcp"],
      ct_service_timeout_other: options["bpf-ct-timeout-service-any"],
      ct_service_close_grace: options["bpf-ct-timeout-service-tcp-grace"],
      ct_syn_timeout: options["bpf-ct-timeout-regular-tcp-syn"],
      ct_close_timeout: options["bpf-ct-timeout-regular-tcp-fin"],
      ct_gc_seconds: longestCollection(options),
      ct_report_interval: 5,
      ct_report_flags: REPORT_FLAGS,
      maglev_table_size: options["bpf-lb-maglev-table-size"],
      hash_init4_seed: jhash4,
      hash_init6_seed: jhash6,
      snat_collision_retries: 32,
      cluster_id: options["cluster-id"],
      nodeport_port_min: nodePortMin,
      nodeport_port_max: nodePortMax,
      // The range behind the node ports; without node ports SNAT starts where ephemeral ports do.
      nodeport_snat_port_min: options["kube-proxy-replacement"] ? nodePortMax + 1 : 32768,
      nodeport_snat_port_max: 65535,
      tunnel_port: tunnelPort(options),
      tunnel_protocol: tunnelProtocol(options),
      lb_algorithm:
        options["bpf-lb-algorithm"] === "maglev" ? LbAlgorithm.values.MAGLEV : LbAlgorithm.values.RANDOM,
      monitor_aggregation: 3,
      dsr_mode: dsrMode(options),
      lb_options: LB_SWITCHES.reduce((bits, [bit, on]) => (on(options) ? bits | bit : bits), 0),
    },
  ];
}

/** Encapsulation is there for pods' traffic in tunnel mode (pkg/datapath/tunnel). */
export function tunnelProtocol(options: OptionValues): number {
  if (options["routing-mode"] !== "tunnel") return TunnelProtocol.values.NONE;
  return options["tunnel-protocol"] === "vxlan" ? TunnelProtocol.values.VXLAN : TunnelProtocol.values.GENEVE;
}

/** tunnel-port 0 is the protocol's own: Linux's for VXLAN, IANA's for Geneve (pkg/defaults). */
export function tunnelPort(options: OptionValues): number {
  if (options["tunnel-port"] !== 0) return options["tunnel-port"];
  return options["tunnel-protocol"] === "vxlan" ? 8472 : 6081;
}

/** ConntrackGCMaxLRUInterval (pkg/defaults): where nothing is set the agent adapts the interval, up to this. */
const LONGEST_GC = 12 * 3600;

function longestCollection(options: CiliumOptions): number {
  return options["conntrack-gc-interval"] || options["conntrack-gc-max-interval"] || LONGEST_GC;
}

const LB_SWITCHES: readonly (readonly [number, (options: OptionValues) => boolean])[] = [
  [LbOption.values.ALGORITHM_ANNOTATION, (o) => o["bpf-lb-algorithm-annotation"]],
  [LbOption.values.PMTU_DISCOVERY, (o) => o["enable-pmtu-discovery"]],
  [LbOption.values.NO_ENDPOINTS_UNROUTABLE, (o) => !o["enable-no-service-endpoints-routable"]],
];

/** bpf-lb-mode and bpf-lb-dsr-dispatch in one; services have a mode of their own from 1.17 on. */
function dsrMode(options: CiliumOptions): number {
  const own = options["bpf-lb-mode-annotation"] && options.version !== "1.16";
  const mode = own ? "OWN" : options["bpf-lb-mode"] === "hybrid" ? "HYBRID" : "DSR";
  if (!own && options["bpf-lb-mode"] === "snat") return DsrMode.values.SNAT;
  const dispatch = { opt: "OPT", geneve: "GENEVE", ipip: "IPIP" } as const;
  return DsrMode.values[`${mode}_${dispatch[options["bpf-lb-dsr-dispatch"]]}`];
}

/** `agent`: a masquerade agent writes the node's iptables. */
const SWITCHES: readonly (readonly [number, (options: OptionValues, agent: boolean) => boolean])[] = [
  [ConfigOption.values.ENABLE_IPV4, (o) => o["enable-ipv4"]],
  [ConfigOption.values.ENABLE_IPV6, (o) => o["enable-ipv6"]],
  [ConfigOption.values.DUAL_STACK, (o) => o["enable-ipv4"] && o["enable-ipv6"]],
  [ConfigOption.values.ENABLE_SOURCE_IP_VERIFICATION, (o) => o["enable-source-ip-verification"]],
  [ConfigOption.values.ENABLE_IPV4_FRAGMENT_TRACKING, (o) => o["enable-ipv4-fragment-tracking"]],
  [ConfigOption.values.ENABLE_IPV6_FRAGMENT_TRACKING, (o) => o["enable-ipv6-fragment-tracking"]],
  [ConfigOption.values.ENABLE_ICMP_RULES, (o) => o["enable-icmp-rules"]],
  [ConfigOption.values.ALLOW_ICMP_FRAG_NEEDED, (o) => o["allow-icmp-frag-needed"]],
  [ConfigOption.values.POLICY_AUDIT_MODE, (o) => o["policy-audit-mode"]],
  [ConfigOption.values.POLICY_DENY_RESPONSE_ICMP, (o) => o["policy-deny-response"] === "icmp"],
  [
    ConfigOption.values.SERVICE_NO_BACKEND_RESPONSE_REJECT,
    (o) => o["service-no-backend-response"] === "reject",
  ],
  [
    ConfigOption.values.ENABLE_BPF_MASQUERADE_IPV4,
    (o) => o["enable-bpf-masquerade"] && o["enable-ipv4-masquerade"],
  ],
  [
    ConfigOption.values.ENABLE_BPF_MASQUERADE_IPV6,
    (o) => o["enable-bpf-masquerade"] && o["enable-ipv6-masquerade"] && o["enable-ipv6"],
  ],
  [
    ConfigOption.values.IPTABLES_MASQUERADE_IPV4,
    (o, agent) => !o["enable-bpf-masquerade"] && (o["enable-ipv4-masquerade"] || agent),
  ],
  [
    ConfigOption.values.IPTABLES_MASQUERADE_IPV6,
    (o, agent) => !o["enable-bpf-masquerade"] && o["enable-ipv6"] && (o["enable-ipv6-masquerade"] || agent),
  ],
  [ConfigOption.values.ENABLE_IP_MASQ_AGENT, (o) => o["enable-ip-masq-agent"] && o["enable-bpf-masquerade"]],
  [ConfigOption.values.ENABLE_REMOTE_NODE_MASQUERADE, (o) => o["enable-remote-node-masquerade"]],
  [ConfigOption.values.TUNNEL_MODE, (o) => o["routing-mode"] === "tunnel"],
  [ConfigOption.values.ENABLE_ENDPOINT_ROUTES, (o) => o["enable-endpoint-routes"]],
  [ConfigOption.values.ENABLE_NODEPORT, (o) => o["kube-proxy-replacement"]],
  [ConfigOption.values.ENABLE_PER_PACKET_LB, (o) => !o["bpf-lb-sock"] || o["bpf-lb-sock-hostns-only"]],
  [ConfigOption.values.ENABLE_SOCKET_LB, (o) => o["bpf-lb-sock"]],
  [ConfigOption.values.SOCKET_LB_HOST_ONLY, (o) => o["bpf-lb-sock-hostns-only"]],
  [ConfigOption.values.ENABLE_HOST_FIREWALL, (o) => o["enable-host-firewall"]],
  // BPF host routing needs kube-proxy replacement and BPF masquerading (daemon/cmd/daemon.go).
  [
    ConfigOption.values.ENABLE_HOST_ROUTING,
    (o) =>
      !o["enable-host-legacy-routing"] &&
      o["kube-proxy-replacement"] &&
      (o["enable-bpf-masquerade"] || !o["enable-ipv4-masquerade"]),
  ],
  [ConfigOption.values.ENABLE_EXTENDED_IP_PROTOCOLS, (o) => o["enable-extended-ip-protocols"]],
  [ConfigOption.values.EXTERNAL_CLUSTERIP, (o) => o["bpf-lb-external-clusterip"]],
  [ConfigOption.values.ENABLE_SCTP, (o) => o["enable-sctp"]],
  [ConfigOption.values.ENABLE_POLICY, (o) => o["enable-policy"] !== "never"],
];

function optionBits(options: CiliumOptions): number {
  return SWITCHES.reduce((bits, [bit, on]) => (on(options, options.masqueradeAgent) ? bits | bit : bits), 0) >>> 0;
}

export function nodeRecord(node: CompiledNode, index: number, options: CiliumOptions, nodeStack = false): MapEntry {
  const agent = (options.masqueradeAgent ? NodeOption.values.MASQUERADE_AGENT : 0) | (nodeStack ? NodeOption.values.HOST_STACK : 0);
  return [
    { node: index },
    {
      ipv4: fieldOf(node.ipv4),
      ipv6: fieldOf(node.ipv6),
      masquerade4: fieldOf(node.masquerade.get(node.directRouting)?.[4] ?? node.ipv4),
      masquerade6: fieldOf(node.masquerade.get(node.directRouting)?.[6] ?? node.ipv6),
      router4: fieldOf(node.router4),
      router6: fieldOf(node.router6),
      pod_cidr4: fieldOf(node.podCidr4?.address ?? null),
      pod_cidr4_length: node.podCidr4?.length ?? NO_PREFIX,
      pod_cidr6: fieldOf(node.podCidr6?.address ?? null),
      pod_cidr6_length: node.podCidr6?.length ?? NO_PREFIX,
      options: node.known ? NodeOption.values.MANAGED | agent : 0,
      direct_routing_ifindex: node.directRouting,
      host_ifindex: node.ciliumHost,
      tunnel_ifindex: node.tunnel,
      host_policy: Math.max(0, node.hostPolicy),
      host_sec_id: Reserved.Host,
    },
  ];
}

const DEVICE_KIND: Readonly<Record<string, number>> = {
  loopback: DeviceKind.values.LOOPBACK,
  uplink: DeviceKind.values.UPLINK,
  pod: DeviceKind.values.POD,
  tunnel: DeviceKind.values.TUNNEL,
  other: DeviceKind.values.OTHER,
};

/** A device of a node; without a device, the processes of the node (ifindex 0). */
export function deviceRecords(
  { node, device, endpoint }: Omit<CompiledDevice, "device"> & { device: CompiledDevice["device"] | null },
  hosts: CompiledNodes,
  options: CiliumOptions,
): MapEntry {
  if (device === null) {
    return [
      { ifindex: 0, node },
      {
        kind: DeviceKind.values.HOST,
        sec_id: Reserved.Host,
        mtu: 0,
        ipv4: fieldOf(hosts.nodes[node].ipv4),
        ipv6: fieldOf(hosts.nodes[node].ipv6),
      },
    ];
  }
  const addresses = endpoint?.addresses ?? device.addresses.map(({ address }) => address);
  const uplink = device.kind === "uplink";
  const addressOf = (family: 4 | 6): Address | null => (uplink ? hosts.nodes[node].masquerade.get(device.index)?.[family]
    : addresses.find((address) => address.family === family)) ?? null;
  let flags = 0;
  if (device.kind === "pod") {
    flags = endpoint === null ? DeviceFlag.values.UNMANAGED : DeviceFlag.values.POLICY;
    if (!options["enable-source-ip-verification"]) flags |= DeviceFlag.values.ANY_SOURCE;
  }
  return [
    { ifindex: device.index, node },
    {
      ipv4: fieldOf(addressOf(4)),
      ipv6: fieldOf(addressOf(6)),
      kind: device.name === "cilium_host" ? DeviceKind.values.HOST : DEVICE_KIND[device.kind],
      flags,
      lxc_id: endpoint?.endpointId ?? 0,
      sec_id: endpoint?.identity ?? 0,
      policy: endpoint?.policy ?? 0,
      // The facts are of the present network, whose tunnel may have made the pods' MTU smaller.
      mtu: device.kind === "pod" ? hosts.nodes[node].mtu : device.mtu,
      mac: parseMac(device.mac),
      endpoint_mac: endpoint?.mac ?? new Uint8Array(6),
      peer: uplink ? hosts.nodes[node].ciliumHost : 0,
    },
  ];
}

export function endpointRecords(endpoint: CompiledEndpoint): MapEntry[] {
  const value = {
    ifindex: endpoint.ifindex,
    lxc_id: endpoint.endpointId,
    flags: endpoint.host ? EndpointFlag.values.HOST : 0,
    sec_id: endpoint.identity,
    mac: endpoint.mac,
    node_mac: endpoint.nodeMac,
    policy: Math.max(0, endpoint.policy),
    parent_ifindex: 0,
  };
  return endpoint.addresses.map((address) => [
    { address: addressField(address.bytes), node: endpoint.node, family: familyOf(address) },
    value,
  ]);
}

export function ipcacheRecord({ prefix, identity, tunnelEndpoint, nodeAddress }: IpcacheEntry): MapEntry {
  let flags = nodeAddress ? IpcacheFlag.values.NODE_ADDRESS : 0;
  if (tunnelEndpoint !== null) flags |= IpcacheFlag.values.HAS_TUNNEL_EP;
  if (tunnelEndpoint?.family === 6) flags |= IpcacheFlag.values.IPV6_TUNNEL_EP;
  return [
    {
      prefixlen: HEAD_BITS + prefix.length,
      family: familyOf(prefix.address),
      address: addressField(prefix.address.bytes),
    },
    { sec_identity: identity, tunnel_endpoint: fieldOf(tunnelEndpoint), flags },
  ];
}

export function ipMasqRecord({ range }: IpMasqEntry): [MapName, MapEntry] {
  return [range.address.family === 4 ? "cilium_ipmasq_v4" : "cilium_ipmasq_v6",
    [{ prefixlen: range.length, address: addressField(range.address.bytes) }, { present: 1 }]];
}

/** 0.0.0.2: a gateway that is not evaluated; see assembly/programs/egress_gateway.ts. */
const UNKNOWN_GATEWAY = Uint8Array.of(0, 0, 0, 2);

export function egressGatewayRecord({ source, destination }: EgressGatewayEntry): [MapName, MapEntry] {
  return [source.family === 4 ? "cilium_egress_gw_policy_v4" : "cilium_egress_gw_policy_v6",
    [{ prefixlen: 128 + destination.length, saddr: addressField(source.bytes), daddr: addressField(destination.address.bytes) },
      { gateway_ip: addressField(UNKNOWN_GATEWAY) }]];
}

const FIB_KIND: Readonly<Record<FibRow["kind"], number>> = {
  endpoint: FibKind.values.ENDPOINT,
  uplink: FibKind.values.UPLINK,
  local: FibKind.values.LOCAL_STACK,
  unreachable: FibKind.values.UNREACHABLE,
  device: FibKind.values.DEVICE,
};

export function fibRecord(row: FibRow): MapEntry {
  return [
    lpmKey(row.prefix, { node: row.node, family: familyOf(row.prefix.address) }),
    {
      next_hop: fieldOf(row.nextHop),
      ifindex: row.ifindex,
      next_node: row.nextNode < 0 ? EVERY_NODE : row.nextNode,
      kind: FIB_KIND[row.kind],
      family: row.nextHop === null ? 0 : familyOf(row.nextHop),
      next_ifindex: row.nextIfindex,
      mac: row.mac,
    },
  ];
}

/** In the map a backend that terminates and does not serve is like one that does. */
const BACKEND_STATE: Readonly<Record<CandidateState, number>> = {
  active: BackendState.values.ACTIVE,
  terminating: BackendState.values.TERMINATING,
  "not-serving": BackendState.values.TERMINATING,
  maintenance: BackendState.values.MAINTENANCE,
};

/** Services, backends, reverse NAT, affinity matches and source ranges, into the maps of their family. */
export function serviceRecords(
  services: CompiledServices,
  options: CiliumOptions,
  nodes: ReadonlyMap<string, number>,
  cookieOf: (because: Because) => number,
  put: (name: MapName, entry: MapEntry) => void,
): void {
  for (const backend of services.backends) {
    put(backend.address.family === 4 ? "cilium_lb4_backends_v3" : "cilium_lb6_backends_v3", [
      { backend_id: backend.id },
      {
        address: addressField(backend.address.bytes),
        port: backend.port,
        proto: backend.protocol,
        flags: BACKEND_STATE[backend.state],
        cookie: cookieOf(backend.because),
      },
    ]);
  }
  const named = new Set<number>();
  for (const frontend of services.frontends) {
    const node = frontend.node === null ? EVERY_NODE : nodes.get(frontend.node);
    if (node === undefined) continue;
    frontendRecords(frontend, node, cookieOf(frontend.because), options, put);
    if (frontend.flags.wildcard || named.has(frontend.revNatId)) continue;
    named.add(frontend.revNatId);
    put(frontend.address.family === 4 ? "cilium_lb4_reverse_nat" : "cilium_lb6_reverse_nat", [
      { rev_nat_index: frontend.revNatId },
      { address: addressField(frontend.address.bytes), port: frontend.port },
    ]);
  }
  for (const { backend, revNatId } of services.affinityMatches) {
    put("cilium_lb_affinity_match", [{ backend_id: backend, rev_nat_id: revNatId }, { present: 1 }]);
  }
  for (const { revNatId, prefix } of services.sourceRanges) {
    put(prefix.address.family === 4 ? "cilium_lb4_source_range" : "cilium_lb6_source_range", [
      lpmKey(prefix, { rev_nat_id: revNatId }),
      { present: 1 },
    ]);
  }
}

function frontendRecords(
  frontend: Frontend,
  node: number,
  cookie: number,
  options: CiliumOptions,
  put: (name: MapName, entry: MapEntry) => void,
): void {
  const name = frontend.address.family === 4 ? "cilium_lb4_services_v2" : "cilium_lb6_services_v2";
  const key = {
    address: addressField(frontend.address.bytes),
    dport: frontend.port,
    scope: frontend.scope,
    node,
    // 1.16 keeps no protocol in the key, so services on one port with different protocols are one.
    proto: options.version === "1.16" ? 0 : frontend.protocol,
  };
  const common = { rev_nat_index: frontend.revNatId, cookie };
  put(name, [
    { ...key, backend_slot: 0 },
    {
      ...common,
      // LB_ALGORITHM_SHIFT. 1.16 has no algorithm there, and no timeout is as long.
      backend_id: ((frontend.algorithm << 24) | frontend.affinityTimeout) >>> 0,
      count: frontend.active.length,
      qcount: frontend.terminating.length,
      flags: flagsOf(frontend),
      flags2: flags2Of(frontend),
    },
  ]);
  [...frontend.active, ...frontend.terminating].forEach((backend, index) => {
    put(name, [
      { ...key, backend_slot: index + 1 },
      { ...common, backend_id: backend, flags: flagsOf(frontend) },
    ]);
  });
}

export function flagsOf({ type, flags, affinityTimeout }: Frontend): number {
  let bits = 0;
  if (type === "ExternalIPs") bits |= ServiceFlag.values.EXTERNAL_IP;
  if (type === "NodePort") bits |= ServiceFlag.values.NODEPORT;
  if (type === "HostPort") bits |= ServiceFlag.values.HOSTPORT;
  if (type === "LoadBalancer") bits |= ServiceFlag.values.LOADBALANCER;
  if (flags.externalLocal) bits |= ServiceFlag.values.EXT_LOCAL_SCOPE;
  if (flags.routable) bits |= ServiceFlag.values.ROUTABLE;
  if (flags.sourceRange) bits |= ServiceFlag.values.SOURCE_RANGE;
  if (affinityTimeout > 0) bits |= ServiceFlag.values.AFFINITY;
  return bits;
}

export function flags2Of({ flags }: Frontend): number {
  let bits = 0;
  if (flags.internalLocal) bits |= ServiceFlag2.values.INT_LOCAL_SCOPE;
  if (flags.twoScopes) bits |= ServiceFlag2.values.TWO_SCOPES;
  if (flags.loopback) bits |= ServiceFlag2.values.LOOPBACK;
  if (flags.dsr) bits |= ServiceFlag2.values.FWD_MODE_DSR;
  if (flags.localRedirect) bits |= ServiceFlag2.values.LOCALREDIRECT;
  if (flags.l7) bits |= ServiceFlag2.values.L7_LOADBALANCER;
  // On the service itself this bit says that the source ranges deny.
  if (flags.sourceRangeDeny) bits |= ServiceFlag2.values.QUARANTINED;
  return bits;
}

function lpmKey(prefix: Prefix, rest: AnyRecord): AnyRecord {
  return { prefixlen: HEAD_BITS + prefix.length, address: addressField(prefix.address.bytes), ...rest };
}

function fieldOf(address: Address | null): Uint8Array {
  return address === null ? new Uint8Array(16) : addressField(address.bytes);
}

function familyOf(address: Address): number {
  return address.family === 4 ? Family.values.IPV4 : Family.values.IPV6;
}
