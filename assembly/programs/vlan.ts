/**
 * VLAN tags that a device took off (skb->vlan_present). Cilium's programs at devices of the node let through only the VLANs
 * of its VLAN_FILTER (bpf/bpf_host.c, allow_vlan); the pods' and the tunnel's programs never look.
 *
 * A frame for a VLAN device that the node has enters at that device here. So a frame that still has its tag is of a VLAN
 * without a device at the device where it came in, or sent out of one by a pod.
 */
import { DeviceFlag, DropReason, FrameEnd, KernelReason, Program, UndecidedReason } from "../abi.gen";
import { Maps } from "./maps";
import { Outcome } from "./outcome";
import { Packet } from "./packet";
import { Verdict } from "./verdict";

export class Vlan {
  /** cil_from_netdev and cil_to_netdev on a tagged frame: PASS hands it to the kernel as it is, unpoliced. */
  static filter(leaves: bool): i32 {
    const flags = flagsHere();
    if (flags & <u8>DeviceFlag.VLAN_UNKNOWN) return Verdict.undecided(UndecidedReason.VLAN);
    if (flags & <u8>DeviceFlag.VLAN_ALL) return Verdict.PASS;
    if (leaves && (flags & <u8>DeviceFlag.VLAN_SOME)) return Verdict.undecided(UndecidedReason.VLAN);
    return -DropReason.DROP_VLAN_FILTERED;
  }

  /** __netif_receive_skb_core: what no VLAN device took is taken to be for another host. */
  static receive(): void {
    if (flagsHere() & <u8>DeviceFlag.VLAN_UNKNOWN) {
      Outcome.fail(Verdict.undecided(UndecidedReason.VLAN), Program.STACK);
    } else Outcome.end(FrameEnd.Dropped, KernelReason.OTHERHOST, Program.STACK);
  }
}

function flagsHere(): u8 {
  const device = Maps.device(Packet.device);
  return device === null ? <u8>DeviceFlag.VLAN_UNKNOWN : device.flags;
}
