/**
 * What the agent puts into an object when it loads it: addresses, identities, device numbers, switches. From 1.18 on by name in
 * .rodata.config; before, by the names of a template's placeholders.
 */
import type { CiliumOptions } from "../../src/ebpf/options.js";

export interface Endpoint {
  readonly ifindex: number;
  readonly lxcId: number;
  readonly identity: number;
  /** Dotted and colon-separated; null without the family. */
  readonly ipv4: string | null;
  readonly ipv6: string | null;
}

export interface NodeSettings {
  readonly version: number;
  readonly options: CiliumOptions;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly uplink: number;
  readonly hashSeeds: readonly [number, number];
}

const LOOPBACK6 = "fe80:0:0:0:0:0:0:1";

/** `endpoint` null: the program of the uplink. Numbers, or hex of the bytes as they lie in memory. */
export function settings(node: NodeSettings, endpoint: Endpoint | null): Record<string, number | string> {
  return node.version >= 18 ? variables(node, endpoint) : placeholders(node, endpoint);
}

function variables({ options, ipv4, ipv6, uplink, hashSeeds }: NodeSettings, endpoint: Endpoint | null): Record<string, number | string> {
  const own = endpoint ?? { ifindex: uplink, lxcId: 0, identity: 1, ipv4: null, ipv6: null };
  const [low, high] = options["node-port-range"];
  const bit = (value: boolean): number => (value ? 1 : 0);
  return {
    security_label: own.identity, interface_ifindex: own.ifindex, interface_mac: "020000000001", endpoint_id: own.lxcId,
    endpoint_ipv4: bytes(own.ipv4, 4), endpoint_ipv6: bytes(own.ipv6, 16), secctx_from_ipcache: bit(endpoint === null), device_mtu: 1500,
    nat_ipv4_masquerade: bytes(ipv4, 4), nat_ipv6_masquerade: bytes(ipv6, 16),
    service_loopback_ipv4: bytes(options["ipv4-service-loopback-address"], 4), service_loopback_ipv6: bytes(LOOPBACK6, 16),
    ephemeral_min: 32768, direct_routing_dev_ifindex: uplink, supports_fib_lookup_skip_neigh: 1, supports_fib_lookup_src: 1,
    kernel_hz: 250, enable_jiffies: 0, allow_icmp_frag_needed: bit(options["allow-icmp-frag-needed"]),
    enable_icmp_rule: bit(options["enable-icmp-rules"]), enable_remote_node_masquerade: bit(options["enable-remote-node-masquerade"]),
    enable_ipv4_fragments: bit(options["enable-ipv4-fragment-tracking"]), enable_ipv6_fragments: bit(options["enable-ipv6-fragment-tracking"]),
    enable_identity_mark: 1, nodeport_port_min: low, nodeport_port_max: high, hash_init4_seed: hashSeeds[0], hash_init6_seed: hashSeeds[1],
    tunnel_port: 8472, tunnel_protocol: options["tunnel-protocol"] === "geneve" ? 2 : 1, enable_arp_responder: 1, cluster_id_bits: 8,
    enable_endpoint_routes: bit(options["enable-endpoint-routes"]), enable_no_service_endpoints_routable: 1, host_ep_id: 1,
    enable_extended_ip_protocols: bit(options["enable-extended-ip-protocols"]),
    policy_deny_response_enabled: bit(options["policy-deny-response"] === "icmp"), enable_conntrack_accounting: 1, enable_policy_accounting: 1,
  };
}

function placeholders({ ipv6, uplink }: NodeSettings, endpoint: Endpoint | null): Record<string, number | string> {
  const own = endpoint ?? { ifindex: uplink, lxcId: 0, identity: 1, ipv4: null, ipv6: null };
  const halves = (name: string, text: string): Record<string, string> => ({ [`${name}_1`]: text.slice(0, 16), [`${name}_2`]: text.slice(16) });
  return {
    LXC_IPV4: bytes(own.ipv4, 4), LXC_ID: own.lxcId, SECLABEL: own.identity, SECLABEL_IPV4: own.identity, SECLABEL_IPV6: own.identity,
    THIS_INTERFACE_MAC_1: "02000000", THIS_INTERFACE_MAC_2: "0001", interface_ifindex: own.ifindex, THIS_INTERFACE_IFINDEX: own.ifindex,
    NATIVE_DEV_IFINDEX: own.ifindex, ENDPOINT_NETNS_COOKIE: 0, POLICY_VERDICT_LOG_FILTER: 0,
    ...(endpoint === null ? { SECCTX_FROM_IPCACHE: 2 } : {}), ...halves("LXC_IP", bytes(own.ipv6, 16)),
    ...halves("IPV6_MASQUERADE", bytes(ipv6, 16)),
  };
}

/** An address' bytes as hex; zeros for null. */
function bytes(address: string | null, size: 4 | 16): string {
  if (address === null) return "00".repeat(size);
  if (size === 4) return address.split(".").map((part) => Number(part).toString(16).padStart(2, "0")).join("");
  return address.split(":").map((part) => part.padStart(4, "0")).join("");
}
