/**
 * Every map of the Cilium plane: name, type, key, value, Cilium's default limit. A map's number is its place in
 * this list. Names are those of Cilium 1.20; IPv4 and IPv6 have maps and limits of their own where Cilium does.
 *
 * Maps named `twinplane_*` hold what Cilium keeps in program configuration or asks the kernel for.
 */
import { map, type MapDeclaration } from "./layout.js";
import * as s from "./structs.js";

/** Map numbers below this are declared here; the rest are free for programs that users bring. */
export const MAX_MAPS = 72;

const service4 = "Frontends and their backend slots, IPv4 (bpf-lb-map-max).";
const service6 = "Frontends and their backend slots, IPv6 (bpf-lb-map-max).";
/** bpf-lb-maglev-table-size default. */
const maglev = { kind: "array", key: s.MaglevIndex, value: s.MaglevEntry, maxEntries: 16381 } as const;
/** bpf-policy-map-max default. */
const policy = { kind: "lpm_trie", key: s.PolicyKey, value: s.PolicyEntry, maxEntries: 16384 } as const;

export const cilium_lb4_services_v2 =
  map("cilium_lb4_services_v2", "hash", s.ServiceKey, s.ServiceEntry, 65536, service4);
export const cilium_lb6_services_v2 =
  map("cilium_lb6_services_v2", "hash", s.ServiceKey, s.ServiceEntry, 65536, service6);
export const cilium_lb4_backends_v3 =
  map("cilium_lb4_backends_v3", "hash", s.BackendKey, s.BackendEntry, 65536, "Backends, IPv4.");
export const cilium_lb6_backends_v3 =
  map("cilium_lb6_backends_v3", "hash", s.BackendKey, s.BackendEntry, 65536, "Backends, IPv6.");
export const cilium_lb4_reverse_nat =
  map("cilium_lb4_reverse_nat", "hash", s.RevNatKey, s.RevNatEntry, 65536, "Service id to frontend, IPv4.");
export const cilium_lb6_reverse_nat =
  map("cilium_lb6_reverse_nat", "hash", s.RevNatKey, s.RevNatEntry, 65536, "Service id to frontend, IPv6.");
export const cilium_lb4_affinity =
  map("cilium_lb4_affinity", "lru_hash", s.AffinityKey, s.AffinityEntry, 65536, "Session affinity, IPv4.",
    { node: "node" });
export const cilium_lb6_affinity =
  map("cilium_lb6_affinity", "lru_hash", s.AffinityKey, s.AffinityEntry, 65536, "Session affinity, IPv6.",
    { node: "node" });
export const cilium_lb_affinity_match =
  map("cilium_lb_affinity_match", "hash", s.AffinityMatchKey, s.Present, 65536, "Backends that affinity may keep.");
export const cilium_lb4_source_range =
  map("cilium_lb4_source_range", "lpm_trie", s.SourceRangeKey, s.Present, 65536, "loadBalancerSourceRanges, IPv4.");
export const cilium_lb6_source_range =
  map("cilium_lb6_source_range", "lpm_trie", s.SourceRangeKey, s.Present, 65536, "loadBalancerSourceRanges, IPv6.");
export const cilium_lb4_maglev =
  map("cilium_lb4_maglev", "hash_of_maps", s.MaglevKey, s.InnerMap, 65536,
    "Maglev tables, IPv4: by service, then by the flow's hash.", { inner: maglev });
export const cilium_lb6_maglev =
  map("cilium_lb6_maglev", "hash_of_maps", s.MaglevKey, s.InnerMap, 65536,
    "Maglev tables, IPv6: by service, then by the flow's hash.", { inner: maglev });
export const cilium_lb4_reverse_sk =
  map("cilium_lb4_reverse_sk", "lru_hash", s.ReverseSkKey, s.ReverseSkEntry, 262144,
    "Translations made at sockets, IPv4.", { node: "node" });
export const cilium_lb6_reverse_sk =
  map("cilium_lb6_reverse_sk", "lru_hash", s.ReverseSkKey, s.ReverseSkEntry, 262144,
    "Translations made at sockets, IPv6.", { node: "node" });

export const cilium_ct4_global =
  map("cilium_ct4_global", "lru_hash", s.CtTuple, s.CtEntry, 524288, "Connections, IPv4 TCP (bpf-ct-global-tcp-max).",
    { node: "node" });
export const cilium_ct_any4_global =
  map("cilium_ct_any4_global", "lru_hash", s.CtTuple, s.CtEntry, 262144,
    "Connections, IPv4 other than TCP (bpf-ct-global-any-max).", { node: "node" });
export const cilium_ct6_global =
  map("cilium_ct6_global", "lru_hash", s.CtTuple, s.CtEntry, 524288, "Connections, IPv6 TCP (bpf-ct-global-tcp-max).",
    { node: "node" });
export const cilium_ct_any6_global =
  map("cilium_ct_any6_global", "lru_hash", s.CtTuple, s.CtEntry, 262144,
    "Connections, IPv6 other than TCP (bpf-ct-global-any-max).", { node: "node" });
export const cilium_snat_v4_external =
  map("cilium_snat_v4_external", "lru_hash", s.CtTuple, s.NatEntry, 524288,
    "Source translations and their reverse, IPv4 (bpf-nat-global-max).", { node: "node" });
export const cilium_snat_v6_external =
  map("cilium_snat_v6_external", "lru_hash", s.CtTuple, s.NatEntry, 524288,
    "Source translations and their reverse, IPv6 (bpf-nat-global-max).", { node: "node" });
export const cilium_ipv4_frag_datagrams =
  map("cilium_ipv4_frag_datagrams", "lru_hash", s.FragKey, s.FragEntry, 8192,
    "Ports of fragmented datagrams, IPv4 (bpf-fragments-map-max).", { node: "node" });
export const cilium_ipv6_frag_datagrams =
  map("cilium_ipv6_frag_datagrams", "lru_hash", s.FragKey, s.FragEntry, 8192,
    "Ports of fragmented datagrams, IPv6 (bpf-fragments-map-max).", { node: "node" });

export const cilium_ipcache_v2 =
  map("cilium_ipcache_v2", "lpm_trie", s.IpcacheKey, s.IpcacheEntry, 512000, "Address to identity, both families.");
export const cilium_lxc =
  map("cilium_lxc", "hash", s.EndpointKey, s.EndpointInfo, 65535, "Local endpoints of each node.", { node: "node" });
export const cilium_policy_v2 =
  map("cilium_policy_v2", "array_of_maps", s.PolicyIndex, s.InnerMap, 65536,
    "Policy maps: one for each distinct endpoint policy (bpf-policy-map-max limits each).",
    { inner: policy });
export const cilium_call_policy =
  map("cilium_call_policy", "prog_array", s.ProgramKey, s.ProgramEntry, 65536, "Policy programs by endpoint.");
export const cilium_ipmasq_v4 =
  map("cilium_ipmasq_v4", "lpm_trie", s.IpMasqKey, s.Present, 16384, "nonMasqueradeCIDRs, IPv4.");
export const cilium_ipmasq_v6 =
  map("cilium_ipmasq_v6", "lpm_trie", s.IpMasqKey, s.Present, 16384, "nonMasqueradeCIDRs, IPv6.");
export const cilium_egress_gw_policy_v4 =
  map("cilium_egress_gw_policy_v4", "lpm_trie", s.EgressPolicyKey, s.EgressPolicyEntry, 16384,
    "Egress gateway policies, IPv4.");
export const cilium_egress_gw_policy_v6 =
  map("cilium_egress_gw_policy_v6", "lpm_trie", s.EgressPolicyKey, s.EgressPolicyEntry, 16384,
    "Egress gateway policies, IPv6.");
export const cilium_metrics =
  map("cilium_metrics", "hash", s.MetricsKey, s.MetricsValue, 65536, "Packets and bytes by reason and direction.");
export const cilium_events =
  map("cilium_events", "ringbuf", s.ProgramKey, s.StepRecord, 1 << 20, "Steps, in the traced module.");

export const twinplane_config =
  map("twinplane_config", "array", s.NodeKey, s.Config, 1, "The plane's configuration, one entry.");
export const twinplane_nodes =
  map("twinplane_nodes", "array", s.NodeKey, s.NodeEntry, 65535, "Each node's own addresses and options.");
export const twinplane_devices =
  map("twinplane_devices", "hash", s.DeviceKey, s.DeviceEntry, 1 << 20, "Devices of every node.");
export const twinplane_fib =
  map("twinplane_fib", "lpm_trie", s.FibKey, s.FibEntry, 1 << 20, "Routes of every node.");
export const twinplane_clocks =
  map("twinplane_clocks", "array", s.NodeKey, s.NodeClock, 65535, "The latest second that each node has seen.");

/** In the order of their numbers. */
export const maps = [
  cilium_lb4_services_v2, cilium_lb6_services_v2, cilium_lb4_backends_v3, cilium_lb6_backends_v3,
  cilium_lb4_reverse_nat, cilium_lb6_reverse_nat, cilium_lb4_affinity, cilium_lb6_affinity, cilium_lb_affinity_match,
  cilium_lb4_source_range, cilium_lb6_source_range, cilium_lb4_maglev, cilium_lb6_maglev, cilium_lb4_reverse_sk,
  cilium_lb6_reverse_sk, cilium_ct4_global, cilium_ct_any4_global, cilium_ct6_global, cilium_ct_any6_global,
  cilium_snat_v4_external, cilium_snat_v6_external, cilium_ipv4_frag_datagrams, cilium_ipv6_frag_datagrams,
  cilium_ipcache_v2, cilium_lxc, cilium_policy_v2, cilium_call_policy, cilium_ipmasq_v4, cilium_ipmasq_v6,
  cilium_egress_gw_policy_v4, cilium_egress_gw_policy_v6, cilium_metrics, cilium_events, twinplane_config,
  twinplane_nodes, twinplane_devices, twinplane_fib, twinplane_clocks,
] as const satisfies readonly MapDeclaration[];

export type MapName = (typeof maps)[number]["name"];

/** The number of a map by its name. */
export function mapNumber(name: string): number {
  const number = maps.findIndex((declared) => declared.name === name);
  if (number < 0) throw new Error(`there is no map ${name}`);
  return number;
}
