/**
 * A node's facts as they are once Cilium runs there. Facts are read from the node as it is, under the network that it
 * has now; the kernel model needs its devices, routes and sysctls under Cilium:
 *
 *   - pods' devices are lxc…, with the MTU of the uplink (pkg/mtu), and no reverse path filter
 *   - with native routing there is no tunnel device
 *   - without endpoint routes what goes to pods is routed to cilium_host
 */
import type { Device, Node, NodeFacts, Route } from "../../cluster/cluster.js";
import { uplinkOf } from "../compile/node.js";
import type { CiliumOptions } from "../options.js";

export const HOST_DEVICE = "cilium_host";

export function factsUnderCilium(node: Node, options: CiliumOptions): NodeFacts {
  const { facts } = node;
  const mtu = uplinkOf(node)?.mtu ?? 0;
  const native = options["routing-mode"] === "native";
  const gone = new Set(facts.devices.filter((device) => native && device.kind === "tunnel").map((device) => device.index));
  const devices = facts.devices.filter((device) => !gone.has(device.index)).map((device): Device => (
    device.kind === "pod" ? { ...device, name: `lxc${device.index}`, mtu: mtu === 0 ? device.mtu : mtu } : device));
  const host = hostDevice(devices, mtu);
  const pods = new Set(devices.filter((device) => device.kind === "pod").map((device) => device.index));
  const routes = facts.routes.filter((route) => route.device === null || !gone.has(route.device));
  return {
    ...facts,
    devices: devices.includes(host) ? devices : [...devices, host],
    routes: options["enable-endpoint-routes"] ? routes : routes.map((route): Route => (
      route.device !== null && pods.has(route.device) && route.type === "unicast" ? { ...route, device: host.index, via: null } : route)),
    sysctls: { ...facts.sysctls, ...reversePathOff(devices, host) },
  };
}

/** The node's own, or one with the next free ifindex. */
function hostDevice(devices: readonly Device[], mtu: number): Device {
  const own = devices.find((device) => device.name === HOST_DEVICE);
  return own ?? { index: Math.max(0, ...devices.map((device) => device.index)) + 1, name: HOST_DEVICE, kind: "other", mac: "",
    mtu: mtu === 0 ? 1500 : mtu, up: true, addresses: [], pod: null, vxlan: null };
}

/** pkg/datapath/loader (net.ipv4.conf.all.rp_filter, and each device of Cilium's). */
function reversePathOff(devices: readonly Device[], host: Device): Record<string, string> {
  const own = devices.filter((device) => device.kind === "pod").map((device) => device.name);
  return Object.fromEntries(["all", host.name, ...own].map((name) => [`net.ipv4.conf.${name}.rp_filter`, "0"]));
}
