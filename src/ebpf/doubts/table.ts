/**
 * Option values that the programs here have no model for, and exactly the packets that each may touch: those are undecided,
 * all others are judged. Which ones it may touch is told from a frame's images (hops.ts), so what was dropped before it
 * came there stays dropped.
 *
 * Sources are files of the five trees. Options that the agent refuses together are in ../refusals.ts.
 */
import { parseAddress, parsePrefix, type Prefix, prefixContains } from "../../cluster/address.js";
import { isNamed } from "../compile/vlan-filter.js";
import { hasTunnel, tunnelPort } from "../encapsulation.js";
import type { OptionName } from "../option-values.js";
import type { CiliumOptions } from "../options.js";
import type { Hop } from "./hops.js";
import type { Surroundings } from "./surroundings.js";

export interface Doubt {
  readonly option: OptionName;
  readonly when: (options: CiliumOptions) => boolean;
  /** What is undecided, and why. */
  readonly why: string;
  readonly touches: (hops: readonly Hop[], around: Surroundings) => boolean;
}

const UDP = 17;
const IPV4 = 0x0800;
const ARP = 0x0806;
const ICMPV6 = 58;
/** RFC 6052 and RFC 8215, of which 1.16 takes the second (lib/nat_46x64.h). */
const TRANSLATED: readonly Prefix[] = [parsePrefix("64:ff9b::/96")!, parsePrefix("64:ff9b:1::/48")!];

const encrypts = (o: CiliumOptions): boolean => o["enable-wireguard"] || o["enable-ipsec"] || o["enable-ztunnel"];

export const DOUBTS: readonly Doubt[] = [
  // lib/wireguard.h, lib/ipsec.h: between pods, tunnels' packets as they are; with encrypt-node between nodes too.
  ...(["enable-wireguard", "enable-ipsec", "enable-ztunnel"] as const).map((option): Doubt => ({
    option, when: (o) => o[option], why: "what pods of different nodes send one another is encrypted on its way",
    touches: (hops, around) => hops.some((hop, at) => crosses(hops, at) && isPods(hop, around)),
  })),
  { option: "encrypt-node", when: (o) => o["encrypt-node"] && encrypts(o),
    why: "what nodes send one another is encrypted on its way", touches: (hops) => hops.some((_, at) => crosses(hops, at)) },
  // lib/encrypt.h, strict_allow: what both ends of a prefix send unencrypted is dropped at the device.
  ...(["enable-encryption-strict-mode", "enable-encryption-strict-mode-egress", "enable-encryption-strict-mode-ingress"] as const)
    .map((option): Doubt => ({
      option, when: (o) => o[option], why: "what goes over a device of the node unencrypted may be dropped",
      touches: (hops) => hops.some(({ kind }) => kind === "uplink"),
    })),
  // lib/nodeport.h in bpf_xdp.c: services are translated before the device's tc program; its code is the same, what of it
  // differs by where it runs (routes, neighbours, headers in tunnels) is not.
  { option: "bpf-lb-acceleration", when: (o) => o["bpf-lb-acceleration"] !== "disabled" && o["kube-proxy-replacement"],
    why: "what a service's translation changes at a device of the node is translated by XDP",
    touches: (hops, { options }) => hops.some((hop, at) => comesIn(hop) && !isTunnels(hop, options) && changes(hop, hops[at + 1])) },
  // bpf_xdp.c: the list is set by hand (cilium-dbg prefilter), and in no object.
  { option: "enable-xdp-prefilter", when: (o) => o["enable-xdp-prefilter"], why: "its list of denied prefixes is in no object",
    touches: (hops) => hops.some(comesIn) },
  // bpf_lxc.c, bpf_overlay.c: by the destination, and by the sender's address out of a tunnel.
  { option: "enable-vtep", when: (o) => o["enable-vtep"], why: "what goes to or comes from vtep-cidr takes a tunnel that is not Cilium's",
    touches: (hops, { options }) => {
      const ranges = vtepRanges(options);
      return hops.some(({ source, destination }) => within(ranges, source) || within(ranges, destination));
    } },
  // lib/nodeport.h: IPv4 that finds no service and is not for the node itself, IPv6 to the prefixes, and answers to either.
  { option: "enable-nat46x64-gateway", when: (o) => o["enable-nat46x64-gateway"],
    why: "what the gateway translates between IPv4 and IPv6",
    touches: (hops, around) => hops.some((hop) => within(TRANSLATED, hop.source) || within(TRANSLATED, hop.destination)
      || (comesIn(hop) && hop.type === IPV4 && toGateway(hop, around))) },
  // bpf_lxc.c, lib/nodeport.h: its maps are written by no agent of these trees, but answers of services' backends take another way.
  { option: "enable-srv6", when: (o) => o["enable-srv6"], why: "answers to services from outside take segment routing's program",
    touches: ([first, ...rest]) => first.kind === "pod" && rest.some(({ source, sourcePort }) =>
      source !== first.source || sourcePort !== first.sourcePort) },
  // pkg/loadbalancer/healthserver, pkg/service: a service of its own, answered by the agent.
  { option: "enable-health-check-loadbalancer-ip", when: (o) => o["enable-health-check-loadbalancer-ip"] && o["kube-proxy-replacement"],
    why: "health checks at a load balancer's address are answered by the agent",
    touches: (hops, around) => hops.some((hop) => around.isHealthCheck(hop.destination, hop.destinationPort, hop.protocol)) },
  // What the other plugin's rules do in the stack is in no object; portmap only translates host ports.
  { option: "cni-chaining-mode", when: (o) => !["none", "", "portmap"].includes(o["cni-chaining-mode"]),
    why: "what a program passes on meets the other plugin's rules", touches: (hops) => hops.length > 1 },
  { option: "cni-chaining-mode", when: (o) => o["cni-chaining-mode"] === "portmap", why: "host ports are translated by the plugin portmap",
    touches: (hops, around) => hops.some((hop) => around.isHostPort(around.ownerOf(hop.destination), hop.destinationPort)) },
  // pkg/datapath/linux/config: pods behind netkit have no link layer, so nothing answers ARP; redirects end in the same pods.
  { option: "datapath-mode", when: (o) => o["datapath-mode"] === "netkit" || o["datapath-mode"] === "auto",
    why: "pods behind netkit devices resolve no neighbours", touches: ([first]) => first.kind === "pod" && resolves(first) },
  { option: "datapath-mode", when: (o) => o["datapath-mode"] === "lb-only", why: "a load balancer without pods is not modelled",
    touches: () => true },
  // pkg/datapath/linux/devices_controller.go, deviceFilter: where the agent attaches no program, what passes is the kernel's alone.
  { option: "devices", when: (o) => o.devices !== "", why: "the agent attaches no program to a device that it does not name",
    touches: (hops, around) => hops.some(({ kind, node, device }) =>
      kind === "uplink" && !isNamed(around.options.devices, around.nameOf(node, device))) },
  // pkg/datapath/tables/direct_routing_device.go: by it what is balanced to another node leaves, with its address.
  { option: "direct-routing-device", when: (o) => o["direct-routing-device"] !== "",
    why: "which device and address what is balanced to other nodes leaves by", touches: (hops, around) => hops.some((hop, at) =>
      hop.kind === "uplink" && !isNamed(around.options["direct-routing-device"], around.nameOf(hop.node, hop.device))
      && hops.some((one, other) => other < at && changes(one, hop))) },
  // pkg/clustermesh: an annotated service has the backends of all clusters of the mesh, for which a cluster needs a number.
  { option: "cluster-id", when: (o) => o["cluster-id"] !== 0, why: "a global service has backends in clusters of which nothing is given",
    touches: (hops, around) => hops.some((hop) => around.isGlobal(hop.destination, hop.destinationPort, hop.protocol)) },
  // Without kube-proxy-replacement, kube-proxy's rules stand beside Cilium's.
  { option: "kube-proxy-replacement", when: (o) => !o["kube-proxy-replacement"],
    why: "what services from outside are, and host ports, is left to kube-proxy and other plugins",
    touches: (hops, around) => hops.some((hop, at) => (at > 0 || hop.kind !== "pod")
      && (around.isKubeProxys(hop.destination, hop.destinationPort, hop.protocol)
        || around.isHostPort(around.ownerOf(hop.destination), hop.destinationPort))) },
];

/** From one node to another: out of a device here and in there, or in from a node where it was not seen. */
function crosses(hops: readonly Hop[], at: number): boolean {
  const hop = hops[at];
  const next = hops[at + 1];
  return (hop.at === "out" && next?.at === "in" && next.node !== hop.node) || (hop.at === "enter" && hop.kind === "uplink");
}

/** Between pods, or a tunnel's packet between nodes. */
function isPods(hop: Hop, around: Surroundings): boolean {
  return (around.isPod(hop.source) && around.isPod(hop.destination)) || isTunnels(hop, around.options);
}

function isTunnels({ protocol, destinationPort }: Hop, options: CiliumOptions): boolean {
  return hasTunnel(options) && protocol === UDP && destinationPort === tunnelPort(options);
}

/** To a device's ingress programs from outside the node. */
function comesIn({ at, kind }: Hop): boolean {
  return kind === "uplink" && (at === "enter" || at === "in");
}

function changes(hop: Hop, next: Hop | undefined): boolean {
  return next !== undefined && (hop.source !== next.source || hop.destination !== next.destination
    || hop.sourcePort !== next.sourcePort || hop.destinationPort !== next.destinationPort);
}

/** Not for the node itself, or to a port of it that an answer to a translated connection may come to. */
function toGateway(hop: Hop, around: Surroundings): boolean {
  const [, lastNodePort] = around.options["node-port-range"];
  return around.ownerOf(hop.destination) !== hop.node || hop.destinationPort > lastNodePort;
}

function resolves({ type, protocol }: Hop): boolean {
  return type === ARP || (type !== IPV4 && protocol === ICMPV6);
}

/** vtep-cidr, each as long as vtep-mask says where that is given (up to 1.18). */
function vtepRanges(options: CiliumOptions): Prefix[] {
  const mask = parseAddress(options["vtep-mask"]);
  const bits = mask === null ? null : [...mask.bytes].reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
  return options["vtep-cidr"].split(/[\s,]+/).flatMap((text) => {
    const range = text === "" ? null : parsePrefix(bits === null ? text : `${text.split("/")[0]}/${bits}`);
    return range === null ? [] : [range];
  });
}

function within(ranges: readonly Prefix[], text: string): boolean {
  const address = text === "" ? null : parseAddress(text);
  return address !== null && ranges.some((range) => range.address.family === address.family && prefixContains(range, address));
}
