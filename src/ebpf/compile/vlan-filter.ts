/**
 * VLAN_FILTER of each device: which VLAN tags Cilium's programs there let through to the kernel. From vlanFilterMacros
 * (pkg/datapath/linux/config/config.go, alike from 1.16 to 1.20):
 *
 *     vlan-bpf-bypass holds 0        every tag
 *     a VLAN device of the node      its tag at the device below, where Cilium runs at both or the option names the VLAN
 *     anything else                  none: DROP_VLAN_FILTERED (182)
 *
 * A VLAN that the option names and no device has is not in the filter. Devices that Cilium runs at are the uplinks here; of
 * VLAN devices also those that the agent selects by themselves (isSelectedDevice, pkg/datapath/linux/devices_controller.go).
 */
import type { Address } from "../../cluster/address.js";
import type { Device, NodeFacts } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { CiliumOptions } from "../options.js";
import { isLinkLocal } from "./identity.js";

/** The agent writes no configuration with more. */
export const MOST_VLANS = 5;

export interface TagFilter {
  /** Of a device that carries VLANs. `unknown`: its VLAN devices are not known. */
  readonly carries: "nothing" | "some" | "all" | "unknown";
  /** Of a VLAN device: dropped at the device below; through Cilium's program; past it. Null: it is none. */
  readonly arrives: "filtered" | "program" | "kernel" | null;
}

export const NO_TAGS: TagFilter = { carries: "nothing", arrives: null };

export interface TagFilters {
  /** VLANs in the node's filters. */
  readonly listed: number;
  of(device: Device): TagFilter;
}

export function tagFilters(facts: NodeFacts, options: CiliumOptions): TagFilters {
  const bypassed = new Set(options["vlan-bpf-bypass"].split(/[\s,]+/).filter((word) => word !== "").map(Number));
  const all = bypassed.has(0);
  const byIndex = new Map(facts.devices.map((device) => [device.index, device]));
  const isListed = (device: Device): boolean => {
    const below = device.vlan === undefined ? undefined : byIndex.get(device.vlan.parent);
    return device.vlan !== undefined && below !== undefined && runsAt(below, facts, options)
      && (runsAt(device, facts, options) || bypassed.has(device.vlan.id));
  };
  const listed = all ? [] : facts.devices.filter(isListed);
  return {
    listed: listed.length,
    of: (device) => ({
      carries: device.vlansUnknown === true ? "unknown" : all ? "all"
        : listed.some(({ vlan }) => vlan?.parent === device.index) ? "some" : "nothing",
      arrives: arrival(device),
    }),
  };

  function arrival(device: Device): TagFilter["arrives"] {
    if (device.vlan === undefined) return null;
    const below = byIndex.get(device.vlan.parent);
    const through = all || below === undefined || !runsAt(below, facts, options) || listed.includes(device);
    return !through ? "filtered" : runsAt(device, facts, options) ? "program" : "kernel";
  }
}

/** Uplinks; VLAN devices that the option names or, without it, that are up, have an address and a route to one that is not link-local. */
function runsAt(device: Device, { routes }: NodeFacts, { devices }: CiliumOptions): boolean {
  if (device.kind === "uplink") return true;
  if (devices !== "") return device.vlan !== undefined && isNamed(devices, device.name);
  return device.vlan !== undefined && device.kind === "other" && device.up && device.addresses.length > 0
    && !EXCLUDED.test(device.name)
    && routes.some((route) => route.device === device.index && isGlobalUnicast(route.destination.address));
}

/** deviceFilter.match of option `devices`: names, or beginnings with a `+`. */
export function isNamed(devices: string, name: string): boolean {
  return devices.split(/[\s,]+/).some((one) => (one.endsWith("+") ? name.startsWith(one.slice(0, -1)) : name === one));
}

/** ExcludedDevicePrefixes (pkg/defaults). */
const EXCLUDED = /^(cilium_|lo|lxc|cni|docker)/;

/** netip.Addr.IsGlobalUnicast. */
function isGlobalUnicast(address: Address): boolean {
  const [first] = address.bytes;
  const special = address.family === 4 ? first === 127 || first >> 4 === 14 || address.text === "255.255.255.255"
    : first === 0xff || address.text === "::1";
  return !special && !isLinkLocal(address) && address.bytes.some((byte) => byte !== 0);
}

export function tooManyVlans(node: string, found: number): Problem {
  return { where: null, severity: "error", what: `node ${node} has ${found} VLANs that Cilium would let through, and the agent`
    + ` takes ${MOST_VLANS} at most and does not start; expected vlan-bpf-bypass=0, which lets all through` };
}
