/**
 * What a pod may send at all (bpf/bpf_lxc.c, cil_from_container up to load balancing): Ethernet type, fragments, neighbour
 * discovery, its own source address.
 */
import { ConfigOption, DeviceEntry, DeviceFlag, DropReason, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Address } from "./address";
import { Neighbour } from "./neighbour";
import { Options } from "./options";
import { Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

/** GO_ON with the packet parsed, an answer, PASS for what the stack takes, or a drop. */
export function admit(device: DeviceEntry): i32 {
  const cut = Packet.need(0, Ethernet.LENGTH, DropReason.DROP_UNSUPPORTED_L2);
  if (cut < 0) return cut;
  if (!Ethernet.supported(Packet.frame)) return -DropReason.DROP_UNSUPPORTED_L2;
  const type = Ethernet.type(Packet.frame);
  const ipv4 = Options.has(ConfigOption.ENABLE_IPV4);
  // ARP is answered by the program or passed up; either way it is the link's business.
  if (ipv4 && type == Ethernet.ARP) return Verdict.undecided(UndecidedReason.LINK_LAYER);
  if (!(type == Ethernet.IPV4 && ipv4) && !(type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6))) {
    return -DropReason.DROP_UNKNOWN_L3;
  }
  const unread = Packet.parse();
  return Packet.family == 4 ? admit4(device, unread) : admit6(device, unread);
}

function admit4(device: DeviceEntry, unread: i32): i32 {
  if (unread < 0) return unread;
  if (Packet.fragment && !Options.fragments) {
    // 1.16 and 1.17 go on and read what stands where the ports would be.
    return Options.version >= 18
      ? -<i32>DropReason.DROP_FRAG_NOSUPPORT : Verdict.undecided(UndecidedReason.FRAGMENT);
  }
  return sourceIsItsOwn(device) ? GO_ON : -DropReason.DROP_INVALID_SIP;
}

/**
 * Extension headers are walked first where fragments are not tracked (from 1.18), else only after the source was
 * checked; neighbour discovery comes before both checks of addresses.
 */
function admit6(device: DeviceEntry, unread: i32): i32 {
  if (!Packet.headerFits) return unread;
  const walksFirst = Options.version >= 18 && !Options.fragments;
  if (walksFirst && unread < 0) return unread;
  if (Neighbour.isDiscovery()) return Neighbour.fromPod();
  if (!sourceIsItsOwn(device)) return -DropReason.DROP_INVALID_SIP;
  return unread;
}

/** is_valid_lxc_src_ip. */
function sourceIsItsOwn(device: DeviceEntry): bool {
  if (!Options.has(ConfigOption.ENABLE_SOURCE_IP_VERIFICATION)
    || (device.flags & <u8>DeviceFlag.ANY_SOURCE)) {
    return true;
  }
  const own = changetype<usize>(device) + (Packet.family == 4 ? DeviceEntry.IPV4 : DeviceEntry.IPV6);
  if (Packet.family == 4) return load<u32>(own) == load<u32>(Packet.source);
  return Address.equal(own, Packet.source);
}
