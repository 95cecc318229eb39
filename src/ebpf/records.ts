/**
 * What the compilers found, as records of the contract: one function for each kind of entry. No decisions
 * here, only field by field translation into keys and values.
 */
import type { Address, Prefix } from "../cluster/address.js";
import type { AnyRecord } from "../contract/codec.js";
import { addressField } from "../contract/codec.js";
import {
  AllNodes,
  BackendState,
  DeviceFlag,
  DeviceKind,
  EndpointFlag,
  Family,
  FibKind,
  IpcacheFlag,
  NodeOption,
  ServiceFlag,
  ServiceFlag2,
} from "../contract/codes.js";
import type { MapName } from "../contract/maps.js";
import type { Because } from "../dataplane.js";
import type { CandidateState } from "./compile/backends.js";
import type { FibRow } from "./compile/fib.js";
import { Reserved } from "./compile/identity.js";
import type { EgressGatewayEntry } from "./compile/egress-gateway.js";
import type { IpMasqEntry } from "./compile/ipmasq.js";
import type { IpcacheEntry } from "./compile/ipcache.js";
import { keepsProtocol } from "./compile/service-annotations.js";
import type { CompiledDevice, CompiledEndpoint, CompiledNode, CompiledNodes } from "./compile/node.js";
import { parseMac } from "./compile/node.js";
import type { CompiledServices, Frontend } from "./compile/service.js";
import type { MapEntry } from "./image.js";
import type { CiliumOptions } from "./options.js";

/** Node number that means every node. */
const EVERY_NODE = AllNodes.values.ALL;
/** Length that means no prefix. */
export const NO_PREFIX = 255;
/** Bits in front of the address in LPM keys. */
const HEAD_BITS = 32;

export function nodeRecord(node: CompiledNode, index: number, options: CiliumOptions, nodeStack = false): MapEntry {
  const agent = (options.masqueradeAgent ? NodeOption.values.MASQUERADE_AGENT : 0) | (nodeStack ? NodeOption.values.HOST_STACK : 0)
    | (options["install-iptables-rules"] ? 0 : NodeOption.values.UNMARKED);
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

const CARRIES: Readonly<Record<CompiledDevice["tags"]["carries"], number>> = { nothing: 0, some: DeviceFlag.values.VLAN_SOME,
  all: DeviceFlag.values.VLAN_ALL, unknown: DeviceFlag.values.VLAN_UNKNOWN };

/** A device of a node; without a device, the processes of the node (ifindex 0). */
export function deviceRecords(
  { node, device, endpoint, tags }: Omit<CompiledDevice, "device"> & { device: CompiledDevice["device"] | null },
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
  flags |= CARRIES[tags.carries];
  if (tags.arrives === "filtered") flags |= DeviceFlag.values.VLAN_FILTERED;
  if (tags.arrives === "kernel") flags |= DeviceFlag.values.UNMANAGED;
  const atProgram = tags.arrives === "program" || tags.arrives === "filtered";
  return [
    { ifindex: device.index, node },
    {
      ipv4: fieldOf(addressOf(4)),
      ipv6: fieldOf(addressOf(6)),
      kind: device.name === "cilium_host" ? DeviceKind.values.HOST : atProgram ? DeviceKind.values.UPLINK : DEVICE_KIND[device.kind],
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

/** Gateways that are none (assembly/programs/egress_gateway.ts): 0.0.0.2, ours, is one that is not evaluated. */
const NO_GATEWAY: Readonly<Record<"none" | "excluded" | "unknown", number>> = { none: 0, excluded: 1, unknown: 2 };

export function egressGatewayRecord(entry: EgressGatewayEntry, cookie: number): [MapName, MapEntry] {
  const { source, destination, way, gateway, egress } = entry;
  const address = way === "gateway" ? gateway!.bytes : Uint8Array.of(0, 0, 0, NO_GATEWAY[way]);
  return [source.family === 4 ? "cilium_egress_gw_policy_v4" : "cilium_egress_gw_policy_v6",
    [{ prefixlen: 128 + destination.length, saddr: addressField(source.bytes), daddr: addressField(destination.address.bytes) },
      { gateway_ip: addressField(address), egress_ip: fieldOf(egress), cookie }]];
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
  for (const [revNatId, kept] of affinityMatches(services)) {
    for (const backend of kept) put("cilium_lb_affinity_match", [{ backend_id: backend, rev_nat_id: revNatId }, { present: 1 }]);
  }
  for (const { revNatId, prefix } of services.sourceRanges) {
    put(prefix.address.family === 4 ? "cilium_lb4_source_range" : "cilium_lb6_source_range", [
      lpmKey(prefix, { rev_nat_id: revNatId }),
      { present: 1 },
    ]);
  }
}

/** Backends that clients may be kept at, by rev_nat_id, both in order. */
export function affinityMatches({ frontends, keptByAffinity }: CompiledServices)
  : (readonly [revNatId: number, backends: readonly number[]])[] {
  const found = new Map<number, Set<number>>();
  for (const frontend of frontends) {
    const kept = keptByAffinity(frontend);
    if (kept.length === 0) continue;
    const backends = found.get(frontend.revNatId) ?? new Set();
    found.set(frontend.revNatId, backends);
    for (const backend of kept) backends.add(backend);
  }
  return [...found].sort(([a], [b]) => a - b).map(([revNatId, backends]) => [revNatId, [...backends].sort((a, b) => a - b)]);
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
    // Where the key keeps no protocol, services on one port with different protocols are one.
    proto: keepsProtocol(options) ? frontend.protocol : 0,
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

export function fieldOf(address: Address | null): Uint8Array {
  return address === null ? new Uint8Array(16) : addressField(address.bytes);
}

function familyOf(address: Address): number {
  return address.family === 4 ? Family.values.IPV4 : Family.values.IPV6;
}
