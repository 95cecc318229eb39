/**
 * VLAN tags as a node's devices have them: which device a tagged frame is for, as far as the node's facts say.
 *
 * Source: __netif_receive_skb_core (net/core/dev.c) and vlan_do_receive (net/8021q/vlan_core.c): the device that has the
 * tag's EtherType and identifier takes the frame; without one the frame is as if for another host, unless the
 * identifier is 0, which is a priority and no VLAN.
 */
import type { Device } from "./cluster.js";

/** EtherTypes that the kernel takes for a VLAN tag (eth_type_vlan); 0x9100 is none to it. */
export const VLAN_8021Q = 0x8100;
export const VLAN_8021AD = 0x88a8;

export function isVlanTag(etherType: number): boolean {
  return etherType === VLAN_8021Q || etherType === VLAN_8021AD;
}

/** Identifier of a tag's control information; the upper bits are its priority. */
export function vlanIdOf(tci: number): number {
  return tci & 0x0fff;
}

/** ifindex of the VLAN device on `parent` that takes frames with this tag; 0: the facts name none. */
export function vlanDevice(devices: Iterable<Device>, parent: number, protocol: number, id: number): number {
  for (const { index, vlan } of devices) {
    if (vlan !== undefined && vlan.parent === parent && vlan.protocol === protocol && vlan.id === id) return index;
  }
  return 0;
}
