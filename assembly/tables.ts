/**
 * The maps by Cilium's names: the descriptor of each, at a fixed address. What a map holds is said in
 * src/contract/maps.ts; how to use one, by its kind, in maps/.
 */
import { MapDescriptor, MapNumber } from "./abi.gen";
import { descriptors } from "./maps/memory";

class Table {
  @inline
  static at(number: u32): MapDescriptor {
    return changetype<MapDescriptor>(descriptors + <usize>number * MapDescriptor.SIZE);
  }
}

export const cilium_lb4_services_v2 = Table.at(MapNumber.cilium_lb4_services_v2);
export const cilium_lb6_services_v2 = Table.at(MapNumber.cilium_lb6_services_v2);
export const cilium_lb4_backends_v3 = Table.at(MapNumber.cilium_lb4_backends_v3);
export const cilium_lb6_backends_v3 = Table.at(MapNumber.cilium_lb6_backends_v3);
export const cilium_lb4_reverse_nat = Table.at(MapNumber.cilium_lb4_reverse_nat);
export const cilium_lb6_reverse_nat = Table.at(MapNumber.cilium_lb6_reverse_nat);
export const cilium_lb4_affinity = Table.at(MapNumber.cilium_lb4_affinity);
export const cilium_lb6_affinity = Table.at(MapNumber.cilium_lb6_affinity);
export const cilium_lb_affinity_match = Table.at(MapNumber.cilium_lb_affinity_match);
export const cilium_lb4_source_range = Table.at(MapNumber.cilium_lb4_source_range);
export const cilium_lb6_source_range = Table.at(MapNumber.cilium_lb6_source_range);
export const cilium_lb4_maglev = Table.at(MapNumber.cilium_lb4_maglev);
export const cilium_lb6_maglev = Table.at(MapNumber.cilium_lb6_maglev);
export const cilium_lb4_reverse_sk = Table.at(MapNumber.cilium_lb4_reverse_sk);
export const cilium_lb6_reverse_sk = Table.at(MapNumber.cilium_lb6_reverse_sk);
export const cilium_ct4_global = Table.at(MapNumber.cilium_ct4_global);
export const cilium_ct_any4_global = Table.at(MapNumber.cilium_ct_any4_global);
export const cilium_ct6_global = Table.at(MapNumber.cilium_ct6_global);
export const cilium_ct_any6_global = Table.at(MapNumber.cilium_ct_any6_global);
export const cilium_snat_v4_external = Table.at(MapNumber.cilium_snat_v4_external);
export const cilium_snat_v6_external = Table.at(MapNumber.cilium_snat_v6_external);
export const cilium_ipv4_frag_datagrams = Table.at(MapNumber.cilium_ipv4_frag_datagrams);
export const cilium_ipv6_frag_datagrams = Table.at(MapNumber.cilium_ipv6_frag_datagrams);
export const cilium_ipcache_v2 = Table.at(MapNumber.cilium_ipcache_v2);
export const cilium_lxc = Table.at(MapNumber.cilium_lxc);
export const cilium_policy_v2 = Table.at(MapNumber.cilium_policy_v2);
export const cilium_call_policy = Table.at(MapNumber.cilium_call_policy);
export const cilium_ipmasq_v4 = Table.at(MapNumber.cilium_ipmasq_v4);
export const cilium_ipmasq_v6 = Table.at(MapNumber.cilium_ipmasq_v6);
export const cilium_egress_gw_policy_v4 = Table.at(MapNumber.cilium_egress_gw_policy_v4);
export const cilium_egress_gw_policy_v6 = Table.at(MapNumber.cilium_egress_gw_policy_v6);
export const cilium_metrics = Table.at(MapNumber.cilium_metrics);
export const cilium_events = Table.at(MapNumber.cilium_events);
export const twinplane_config = Table.at(MapNumber.twinplane_config);
export const twinplane_nodes = Table.at(MapNumber.twinplane_nodes);
export const twinplane_devices = Table.at(MapNumber.twinplane_devices);
export const twinplane_fib = Table.at(MapNumber.twinplane_fib);
