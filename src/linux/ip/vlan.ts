/**
 * VLAN tags of a frame that comes in: taken off one by one, each by the VLAN device that has it. Follows
 * __netif_receive_skb_core and skb_vlan_untag (net/core), vlan_do_receive (net/8021q/vlan_core.c):
 *
 *     VLAN device of the tag     the frame goes on as that device's, and may have another tag
 *     none, identifier not 0     as if for another host: no protocol takes it
 *     none, identifier 0         a priority alone: the frame goes on without it
 *
 * A device with the identifier 0 is reckoned with only where the facts name one.
 */
import { isVlanTag, vlanIdOf } from "../../cluster/vlans.js";
import { PacketType } from "../../dataplane.js";
import { equalBytes, getU16 } from "./bytes.js";
import type { DeviceTable } from "./devices.js";
import type { Packet } from "./packet.js";
import { Reason } from "./reasons.js";

const TAG = 4;

export class Tags {
  /** Where the frame is once its tags are off; reused. */
  device = 0;
  etherType = 0;
  wireLength = 0;

  constructor(private readonly devices: DeviceTable) {}

  /**
   * Takes the tags off the packet's bytes. `protocol`: EtherType of a tag that the device had taken off already, with its
   * `tci`; 0: none. Says why the frame goes no further, or nothing.
   */
  takeOff(packet: Packet, wireLength: number, etherType: number, packetType: number, device: number, protocol: number,
    tci: number): string {
    this.device = device;
    this.etherType = etherType;
    this.wireLength = wireLength;
    let tag = protocol;
    let control = tci;
    let taken = 0;
    while (tag !== 0 || isVlanTag(this.etherType)) {
      if (tag === 0) {
        if (packet.captured < taken + TAG) return this.wireLength < TAG ? Reason.TooSmall : Reason.Truncated;
        tag = this.etherType;
        control = getU16(packet.bytes, taken);
        this.etherType = getU16(packet.bytes, taken + 2);
        this.wireLength -= TAG;
        taken += TAG;
      }
      const reason = this.hand(packetType, tag, vlanIdOf(control));
      if (reason !== "") return reason;
      tag = 0;
    }
    packet.bytes.copyWithin(0, taken, packet.captured);
    packet.captured -= taken;
    packet.length -= taken;
    return "";
  }

  private hand(packetType: number, protocol: number, id: number): string {
    const below = this.devices.get(this.device);
    if (below === undefined) return Reason.UnknownDevice;
    const device = this.devices.vlan(below.index, protocol, id);
    if (device === undefined) {
      if (id === 0) return "";
      return below.vlansUnknown ? Reason.UnknownVlan : Reason.OtherHost;
    }
    if (!device.up) return Reason.DeviceDown;
    // It is also meant by a frame for its own MAC address, which is not at hand.
    if (packetType === PacketType.OtherHost && !equalBytes(device.mac, 0, below.mac, 0, 6)) return Reason.VlanMac;
    this.device = device.index;
    return "";
  }
}
