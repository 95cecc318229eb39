/**
 * What the kernel and the wire know of the frame under way, beside its bytes (packet.ts): when it was recorded, whom it
 * was addressed to on its link, and whether an offload merged it.
 */
import { ConfigOption, DeviceEntry, DeviceKind, FrameRecord, NodeClock } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { isPartial, Packet, TCP } from "./packet";
import { Policy } from "./policy";
import { Service } from "./service";
import { Tunnel } from "./tunnel";
import { GO_ON } from "./verdict";

/** Seconds, as recorded. */
let seconds: u32 = 0;

export class Passage {
  /** Whom the frame was addressed to where it entered; at the next node it is that node (LinkPacketType). */
  static packetType: u8 = 0;
  /** TCP segments that an offload merged: their own size is that of the device where they entered, at most. */
  static merged: bool = false;
  /** MTU of the device where the frame entered; 0: it was a process. */
  static entryMtu: u32 = 0;
  /** It is inside a tunnel's packet. */
  static tunnelled: bool = false;

  /** Makes the record's frame the packet under way, on its node. */
  static open(record: FrameRecord): void {
    Passage.place(record.offset, record.length, record.wire_length, record.ether_type);
    Packet.mark = record.mark;
    Packet.device = record.device;
    Packet.tagged = record.vlan_id != 0;
    Packet.sourceIdentity = 0;
    Packet.destinationIdentity = 0;
    seconds = record.seconds;
    Passage.packetType = record.packet_type;
    Passage.merged = false;
    Passage.entryMtu = 0;
    Passage.tunnelled = false;
    Packet.fromTunnel = false;
    Passage.toNode(record.node);
    Service.pin = record.pin;
    Overdue.forget();
    Service.pinned = 0;
    Service.revNat = 0;
    Service.backendId = 0;
    Policy.cookie = 0;
    Policy.before = 0;
  }

  /** The bytes of the packet under way, with an empty link header in front. */
  static place(offset: usize, length: u32, wireLength: u32, type: u16): void {
    Packet.frame = offset - Ethernet.LENGTH;
    Packet.captured = <i32>length + Ethernet.LENGTH;
    Packet.wire = <i32>wireLength + Ethernet.LENGTH;
    memory.fill(Packet.frame, 0, Ethernet.LENGTH);
    Ethernet.setType(Packet.frame, type);
    Passage.readChecksum();
  }

  /** Looks whether the upper layer's checksum is one that offload was to complete. */
  static readChecksum(): void {
    const type = Ethernet.type(Packet.frame);
    const isIp = type == Ethernet.IPV4 || type == Ethernet.IPV6;
    Packet.partial = isIp && Packet.parse() == GO_ON && isPartial();
  }

  static toNode(node: u32): void {
    Packet.node = node;
    // A node's clock never goes back: frames that are late are judged at the time of its latest one.
    Packet.now = seconds;
    const at = Maps.clock(node);
    if (at != 0) {
      const clock = changetype<NodeClock>(at);
      if (clock.seconds < seconds) clock.seconds = seconds;
      Packet.now = clock.seconds;
    }
    Options.useNode(Maps.node(node));
  }

  /**
   * The device where the frame comes in first says how large the parts of a merged one are at most. In tunnel mode, and with
   * egress gateways, the routes in a pod leave room for the tunnel's headers (pkg/mtu, RouteMTU).
   */
  static enter(device: DeviceEntry): void {
    if (Passage.entryMtu != 0 || Passage.merged) return;
    const larger = <u32>(Packet.wire - Ethernet.LENGTH) > device.mtu;
    Passage.merged = larger && Packet.protocol == TCP && !Packet.fragment;
    const roomed = device.kind == <u8>DeviceKind.POD
      && (Options.has(ConfigOption.TUNNEL_MODE) || Options.has(ConfigOption.ENABLE_EGRESS_GATEWAY));
    Passage.entryMtu = roomed ? device.mtu - min(device.mtu, Tunnel.overhead) : device.mtu;
  }

  /** Whether a device takes the frame in one piece; an MTU of 0 is not known. */
  static fits(device: DeviceEntry): bool {
    if (device.mtu == 0 || <u32>(Packet.wire - Ethernet.LENGTH) <= device.mtu) return true;
    return Passage.merged && Passage.entryMtu + (Passage.tunnelled ? Tunnel.overhead : 0) <= device.mtu;
  }
}
