/** Faults in what becomes of VLAN tags, and the test that must see each. */
import type { Fault } from "./fault.js";

const FILTER = "src/ebpf/compile/vlan-filter.ts";
const PROGRAMS = "src/ebpf/vlan.test.ts";
const KERNEL = "src/linux/vlan.test.ts";

export const VLAN_FAULTS: readonly Fault[] = [
  {
    id: "vlan-not-looked-at", file: "assembly/programs/from_netdev.ts", seenBy: PROGRAMS,
    find: "if (Packet.tagged) return Vlan.filter(false);", replace: "", why: "tagged frames are policed as if they had no tag",
  },
  {
    id: "vlan-not-looked-at-going-out", file: "assembly/programs/to_netdev.ts", seenBy: PROGRAMS,
    find: "if (Packet.tagged) return Vlan.filter(true);", replace: "", why: "a pod's tagged frame is masqueraded",
  },
  {
    id: "vlan-taken-without-device", file: "assembly/programs/stations.ts", seenBy: PROGRAMS,
    find: "    Vlan.receive();\n    return At.END;", replace: "    return At.STACK;", why: "the stack takes frames of VLANs that the node does not have",
  },
  {
    id: "vlan-tag-stays", file: "assembly/programs/passage.ts", seenBy: PROGRAMS,
    find: "Packet.tagged = record.vlan_id != 0;", replace: "Packet.tagged = Packet.tagged || record.vlan_id != 0;",
    why: "the next packet has the tag of the one before",
  },
  {
    id: "vlan-bypassed-without-device", file: FILTER, seenBy: `${FILTER.slice(0, -3)}.test.ts`,
    find: "(runsAt(device, facts, options) || bypassed.has(device.vlan.id))", replace: "runsAt(device, facts, options)", why: "the option names nothing",
  },
  {
    id: "vlan-link-local-selects", file: FILTER, seenBy: `${FILTER.slice(0, -3)}.test.ts`,
    find: "return !special && !isLinkLocal(address) &&", replace: "return !special &&", why: "a link-local address makes Cilium run at a device",
  },
  {
    id: "vlan-protocol-ignored", file: "src/linux/ip/devices.ts", seenBy: KERNEL,
    find: "one?.vlan?.parent === parent && one.vlan.protocol === protocol", replace: "one?.vlan?.parent === parent",
    why: "an 802.1ad tag is for the 802.1Q device of its number",
  },
  {
    id: "vlan-priority-dropped", file: "src/linux/ip/vlan.ts", seenBy: KERNEL,
    find: "if (id === 0) return \"\";", replace: "", why: "a priority tag is taken for a VLAN",
  },
  {
    id: "vlan-without-device-received", file: "src/linux/ip/vlan.ts", seenBy: KERNEL,
    find: "return below.vlansUnknown ? Reason.UnknownVlan : Reason.OtherHost;", replace: "return \"\";",
    why: "frames of VLANs that the node does not have come in by the device below",
  },
];
