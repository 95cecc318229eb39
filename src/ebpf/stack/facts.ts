/**
 * A node's facts as they are once Cilium runs there. Facts are read from the node as it is, under the network that it
 * has now; the kernel model needs its devices, routes and sysctls under Cilium:
 *
 *   - pods' devices are lxc…, with the MTU of the uplink (pkg/mtu), and no reverse path filter
 *   - there is no tunnel device: with native routing none at all, else programs take packets into and out of it
 *   - without endpoint routes what goes to pods is routed to cilium_host
 *   - with tunnels other nodes' pods are routed to cilium_host (pkg/datapath/linux/node.go), whose address is the node's own
 */
import type { Prefix } from "../../cluster/address.js";
import { prefixOf } from "../../cluster/address.js";
import type { Cluster, Device, Node, NodeFacts, Route } from "../../cluster/cluster.js";
import { routerAddress, uplinkOf } from "../compile/node.js";
import type { CiliumOptions } from "../options.js";
import { HOST_DEVICE } from "./own-rule.js";

export function factsUnderCilium(node: Node, cluster: Cluster, options: CiliumOptions): NodeFacts {
  const { facts } = node;
  const mtu = uplinkOf(node)?.mtu ?? 0;
  const gone = new Set(facts.devices.filter((device) => device.kind === "tunnel").map((device) => device.index));
  const devices = facts.devices.filter((device) => !gone.has(device.index)).map((device): Device => (
    device.kind === "pod" ? { ...device, name: `lxc${device.index}`, mtu: mtu === 0 ? device.mtu : mtu } : device));
  const host = hostDevice(devices, mtu);
  const pods = new Set(devices.filter((device) => device.kind === "pod").map((device) => device.index));
  const tunnelled = options["routing-mode"] === "tunnel" ? hostRoutes(node, cluster, host.index) : [];
  const replaced = new Set(tunnelled.map(({ destination }) => destination.text));
  const routes = facts.routes.filter(({ device, destination }) => (device === null || !gone.has(device))
    && !replaced.has(destination.text));
  return {
    ...facts,
    devices: devices.includes(host) ? devices : [...devices, host],
    routes: [...(options["enable-endpoint-routes"] ? routes : routes.map((route): Route => (
      route.device !== null && pods.has(route.device) && route.type === "unicast" ? { ...route, device: host.index, via: null } : route))),
    ...tunnelled],
    sysctls: { ...facts.sysctls, ...reversePathOff(devices, host) },
  };
}

/** Towards other nodes' pods, and of cilium_host's own addresses. */
function hostRoutes(node: Node, cluster: Cluster, device: number): Route[] {
  const route = (destination: Prefix, type: "unicast" | "local"): Route => ({ destination, type, table: type === "local" ? "local" : "main",
    via: null, device, prefSrc: null, metric: 0, mtu: null });
  const others = cluster.nodes.filter(({ name }) => name !== node.name).flatMap(({ podCIDRs }) => podCIDRs);
  const own = ([4, 6] as const).flatMap((family) => routerAddress(node, family) ?? []);
  return [...others.map((range) => route(range, "unicast")),
    ...own.map((address) => route(prefixOf(address, address.bytes.length * 8), "local"))];
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
