/**
 * The maps by Cilium's names: the descriptor of each, at a fixed address. What a map holds is said in
 * src/contract/maps.ts; how to use one, by its kind, in maps/.
 */
import { MapDescriptor, MapNumber } from "./abi.gen";
import { descriptors } from "./maps/memory";

export const cilium_lb4_services_v2 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_services_v2 * MapDescriptor.SIZE);
export const cilium_lb6_services_v2 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_services_v2 * MapDescriptor.SIZE);
export const cilium_lb4_backends_v3 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_backends_v3 * MapDescriptor.SIZE);
export const cilium_lb6_backends_v3 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_backends_v3 * MapDescriptor.SIZE);
export const cilium_lb4_reverse_nat = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_reverse_nat * MapDescriptor.SIZE);
export const cilium_lb6_reverse_nat = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_reverse_nat * MapDescriptor.SIZE);
export const cilium_lb4_affinity = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_affinity * MapDescriptor.SIZE);
export const cilium_lb6_affinity = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_affinity * MapDescriptor.SIZE);
export const cilium_lb_affinity_match = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb_affinity_match * MapDescriptor.SIZE);
export const cilium_lb4_source_range = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_source_range * MapDescriptor.SIZE);
export const cilium_lb6_source_range = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_source_range * MapDescriptor.SIZE);
export const cilium_lb4_maglev = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_maglev * MapDescriptor.SIZE);
export const cilium_lb6_maglev = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_maglev * MapDescriptor.SIZE);
export const cilium_lb4_reverse_sk = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb4_reverse_sk * MapDescriptor.SIZE);
export const cilium_lb6_reverse_sk = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lb6_reverse_sk * MapDescriptor.SIZE);
export const cilium_ct4_global = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ct4_global * MapDescriptor.SIZE);
export const cilium_ct_any4_global = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ct_any4_global * MapDescriptor.SIZE);
export const cilium_ct6_global = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ct6_global * MapDescriptor.SIZE);
export const cilium_ct_any6_global = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ct_any6_global * MapDescriptor.SIZE);
export const cilium_snat_v4_external = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_snat_v4_external * MapDescriptor.SIZE);
export const cilium_snat_v6_external = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_snat_v6_external * MapDescriptor.SIZE);
export const cilium_ipv4_frag_datagrams = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ipv4_frag_datagrams * MapDescriptor.SIZE);
export const cilium_ipv6_frag_datagrams = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ipv6_frag_datagrams * MapDescriptor.SIZE);
export const cilium_ipcache_v2 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ipcache_v2 * MapDescriptor.SIZE);
export const cilium_lxc = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_lxc * MapDescriptor.SIZE);
export const cilium_policy_v2 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_policy_v2 * MapDescriptor.SIZE);
export const cilium_call_policy = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_call_policy * MapDescriptor.SIZE);
export const cilium_ipmasq_v4 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ipmasq_v4 * MapDescriptor.SIZE);
export const cilium_ipmasq_v6 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_ipmasq_v6 * MapDescriptor.SIZE);
export const cilium_egress_gw_policy_v4 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_egress_gw_policy_v4 * MapDescriptor.SIZE);
export const cilium_egress_gw_policy_v6 = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_egress_gw_policy_v6 * MapDescriptor.SIZE);
export const cilium_metrics = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_metrics * MapDescriptor.SIZE);
export const cilium_events = changetype<MapDescriptor>(descriptors + <usize>MapNumber.cilium_events * MapDescriptor.SIZE);
export const twinplane_config = changetype<MapDescriptor>(descriptors + <usize>MapNumber.twinplane_config * MapDescriptor.SIZE);
export const twinplane_nodes = changetype<MapDescriptor>(descriptors + <usize>MapNumber.twinplane_nodes * MapDescriptor.SIZE);
export const twinplane_devices = changetype<MapDescriptor>(descriptors + <usize>MapNumber.twinplane_devices * MapDescriptor.SIZE);
export const twinplane_fib = changetype<MapDescriptor>(descriptors + <usize>MapNumber.twinplane_fib * MapDescriptor.SIZE);
