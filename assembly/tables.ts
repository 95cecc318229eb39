/**
 * The maps by Cilium's names: the descriptor of each, at a fixed address. What a map holds is said in
 * src/contract/maps.ts; how to use one, by its kind, in maps/.
 *
 * Written out so that asc folds each to a constant.
 */
import { MapDescriptor, MapNumber } from "./abi.gen";
import { descriptors } from "./maps/memory";

const AT: usize = descriptors;
const SIZE: usize = MapDescriptor.SIZE;

export const cilium_lb4_services_v2 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_services_v2);
export const cilium_lb6_services_v2 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_services_v2);
export const cilium_lb4_backends_v3 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_backends_v3);
export const cilium_lb6_backends_v3 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_backends_v3);
export const cilium_lb4_reverse_nat = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_reverse_nat);
export const cilium_lb6_reverse_nat = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_reverse_nat);
export const cilium_lb4_affinity = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_affinity);
export const cilium_lb6_affinity = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_affinity);
export const cilium_lb_affinity_match =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb_affinity_match);
export const cilium_lb4_source_range =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_source_range);
export const cilium_lb6_source_range =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_source_range);
export const cilium_lb4_maglev = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_maglev);
export const cilium_lb6_maglev = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_maglev);
export const cilium_lb4_reverse_sk = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb4_reverse_sk);
export const cilium_lb6_reverse_sk = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lb6_reverse_sk);
export const cilium_ct4_global = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ct4_global);
export const cilium_ct_any4_global = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ct_any4_global);
export const cilium_ct6_global = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ct6_global);
export const cilium_ct_any6_global = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ct_any6_global);
export const cilium_snat_v4_external =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_snat_v4_external);
export const cilium_snat_v6_external =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_snat_v6_external);
export const cilium_ipv4_frag_datagrams =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ipv4_frag_datagrams);
export const cilium_ipv6_frag_datagrams =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ipv6_frag_datagrams);
export const cilium_ipcache_v2 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ipcache_v2);
export const cilium_lxc = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_lxc);
export const cilium_policy_v2 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_policy_v2);
export const cilium_call_policy = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_call_policy);
export const cilium_ipmasq_v4 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ipmasq_v4);
export const cilium_ipmasq_v6 = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_ipmasq_v6);
export const cilium_egress_gw_policy_v4 =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_egress_gw_policy_v4);
export const cilium_egress_gw_policy_v6 =
  changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_egress_gw_policy_v6);
export const cilium_metrics = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_metrics);
export const cilium_events = changetype<MapDescriptor>(AT + SIZE * MapNumber.cilium_events);
export const twinplane_config = changetype<MapDescriptor>(AT + SIZE * MapNumber.twinplane_config);
export const twinplane_nodes = changetype<MapDescriptor>(AT + SIZE * MapNumber.twinplane_nodes);
export const twinplane_devices = changetype<MapDescriptor>(AT + SIZE * MapNumber.twinplane_devices);
export const twinplane_clocks = changetype<MapDescriptor>(AT + SIZE * MapNumber.twinplane_clocks);
export const twinplane_fib = changetype<MapDescriptor>(AT + SIZE * MapNumber.twinplane_fib);
