/** A node's devices as the packet path needs them: by ifindex, with the sysctls that apply to each. */
import type { Address } from "../../cluster/address.js";
import type { Device, NodeFacts, VlanLink } from "../../cluster/cluster.js";
import { End } from "../../dataplane.js";

export interface DeviceEntry {
  readonly index: number;
  readonly name: string;
  readonly kind: Device["kind"];
  readonly mtu: number;
  readonly up: boolean;
  /** What became of a packet that left by it, VXLAN apart; a tunnel of another kind takes it nobody knows where. */
  readonly behind: typeof End.Delivered | typeof End.Left | typeof End.Undecided;
  readonly mac: Uint8Array;
  readonly vxlan: { readonly vni: number; readonly port: number; readonly local: Address | null } | null;
  readonly forwarding4: boolean;
  readonly forwarding6: boolean;
  /** 0 off, 1 strict, 2 loose (RFC 3704): the larger of `all` and the device. */
  readonly rpFilter: number;
  readonly acceptLocal: boolean;
  readonly acceptSourceRoute: boolean;
  readonly routeLocalnet: boolean;
  /** Of a VLAN device. */
  readonly vlan: VlanLink | null;
  /** Whether VLAN devices stand on it is not known. */
  readonly vlansUnknown: boolean;
}

export class DeviceTable {
  /** ifindex of the loopback device; 1 where the facts name none. */
  readonly loopback: number;
  private readonly entries: (DeviceEntry | undefined)[] = [];

  constructor(facts: NodeFacts) {
    let loopback = 1;
    const conf = new DeviceConf(facts.sysctls);
    for (const device of facts.devices) {
      if (device.kind === "loopback") loopback = device.index;
      this.entries[device.index] = entryOf(device, conf);
    }
    this.loopback = loopback;
    this.entries[loopback] ??= entryOf({
      index: loopback, name: "lo", kind: "loopback", mac: "", mtu: 65536, up: true, addresses: [], pod: null,
      vxlan: null,
    }, conf);
  }

  get(index: number): DeviceEntry | undefined {
    return this.entries[index];
  }

  /** The VLAN device on `parent` that takes this tag. */
  vlan(parent: number, protocol: number, id: number): DeviceEntry | undefined {
    return this.entries.find((one) => one?.vlan?.parent === parent && one.vlan.protocol === protocol && one.vlan.id === id);
  }

  /** The device of this VNI and UDP port. */
  vxlan(vni: number, port: number): DeviceEntry | undefined {
    return this.entries.find((entry) => entry?.vxlan?.vni === vni && entry.vxlan.port === port);
  }

  hasVxlanPort(port: number): boolean {
    for (const entry of this.entries) if (entry?.vxlan?.port === port) return true;
    return false;
  }
}

/** `aa:bb:…` to six bytes; anything else is all zero. */
export function macBytes(text: string): Uint8Array {
  const parts = text.split(":");
  return Uint8Array.from({ length: 6 }, (_, index) => Number.parseInt(parts[index] ?? "0", 16) || 0);
}

function entryOf(device: Device, conf: DeviceConf): DeviceEntry {
  return {
    index: device.index, name: device.name, kind: device.kind, mtu: device.mtu, up: device.up,
    behind: device.kind === "pod" ? End.Delivered : device.kind === "tunnel" ? End.Undecided : End.Left,
    mac: macBytes(device.mac), vxlan: device.vxlan, vlan: device.vlan ?? null, vlansUnknown: device.vlansUnknown === true,
    ...conf.of(device.name),
  };
}

type Settings = Pick<DeviceEntry, "forwarding4" | "forwarding6" | "rpFilter" | "acceptLocal" | "acceptSourceRoute" | "routeLocalnet">;

const SCOPE = /^net\.ipv[46]\.conf\.(.+)\.[^.]+$/;

/** What sysctls say of devices. Most have none of their own: those are alike. */
class DeviceConf {
  private readonly scopes = new Set<string>();
  private readonly common: Settings;

  constructor(private readonly sysctls: NodeFacts["sysctls"]) {
    for (const key of Object.keys(sysctls)) {
      const scope = SCOPE.exec(key)?.[1];
      if (scope !== undefined) this.scopes.add(scope);
    }
    this.common = this.settings([]);
  }

  of(device: string): Settings {
    // sysctl(8) writes the dot of `flannel.1` as a slash.
    const scopes = [device.replaceAll(".", "/"), device].filter((scope) => this.scopes.has(scope));
    return scopes.length === 0 ? this.common : this.settings(scopes);
  }

  /** @param scopes under which the device may have its own, the first before the others */
  private settings(scopes: readonly string[]): Settings {
    const read = (family: string, scope: string, key: string): number | null => {
      const text = this.sysctls[`net.${family}.conf.${scope}.${key}`];
      return text === undefined ? null : Number.parseInt(text, 10);
    };
    const of = (family: string, key: string): number | null => {
      for (const scope of scopes) {
        const value = read(family, scope, key);
        if (value !== null) return value;
      }
      return null;
    };
    const all = (key: string): number => read("ipv4", "all", key) ?? 0;
    const own = (key: string): number => of("ipv4", key) ?? 0;
    const forwarding = Number.parseInt(this.sysctls["net.ipv4.ip_forward"] ?? "1", 10);
    return {
      forwarding4: (of("ipv4", "forwarding") ?? forwarding) !== 0,
      forwarding6: (of("ipv6", "forwarding") ?? read("ipv6", "all", "forwarding") ?? 1) !== 0,
      // IN_DEV_MAXCONF, IN_DEV_ORCONF, IN_DEV_ANDCONF of include/linux/inetdevice.h.
      rpFilter: Math.max(all("rp_filter"), own("rp_filter")),
      acceptLocal: all("accept_local") !== 0 || own("accept_local") !== 0,
      acceptSourceRoute: all("accept_source_route") !== 0 && own("accept_source_route") !== 0,
      routeLocalnet: all("route_localnet") !== 0 || own("route_localnet") !== 0,
    };
  }
}
