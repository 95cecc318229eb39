/**
 * Profiles: what a plane is asked to be, and how it is built.
 *
 *     kube-proxy            kube-proxy's iptables rules, no policy engine
 *     kube-proxy+spec       the same, with NetworkPolicy judged by the words of its API
 *     cilium@1.20           Cilium's eBPF dataplane
 */
import { type Family, type Prefix, prefixContains, prefixOf } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Problem } from "./cluster/problem.js";
import type { Plane } from "./dataplane.js";
import { createEbpfPlane } from "./ebpf/plane.js";
import { KUBE_PROXY_DEFAULTS } from "./iptables/kubeproxy/config.js";
import { createIptablesPlane } from "./iptables/plane.js";
import type { IptablesConfig } from "./iptables/planeNode.js";
import type { PolicyEngine } from "./iptables/policy.js";
import { evaluateAddresses } from "./spec/evaluate.js";
import { PolicyIndex } from "./spec/policy-index.js";

export interface Profile {
  readonly text: string;
  readonly engine: "kube-proxy" | "kube-proxy+spec" | "cilium";
  /** Enforces NetworkPolicy at all. */
  readonly policyEngine: boolean;
}

/** What both planes are told of the network beside the cluster's objects. */
export interface Network {
  /** Pod ranges, one of a family: kube-proxy's clusterCIDR, Cilium's native routing CIDR. */
  readonly clusterCidrs: readonly Prefix[];
  /** Destinations beside the pod ranges that see a pod's own address. */
  readonly nonMasqueradeCidrs: readonly Prefix[];
}

export interface PlaneInputs {
  readonly cluster: Cluster;
  readonly epochNs: bigint;
  readonly wasm: { readonly fast: Uint8Array<ArrayBuffer>; readonly traced: Uint8Array<ArrayBuffer> };
  readonly network: Network;
  readonly seed: number;
  readonly traced: boolean;
}

export const PROFILES_HELP = `Profiles:
  kube-proxy        iptables rules of kube-proxy, no policy engine
  kube-proxy+spec   the same with NetworkPolicy as the API's words say
  cilium@1.20       Cilium's eBPF dataplane, that version`;

/** The profile, or a sentence that says what is wrong with the text. */
export function parseProfile(text: string): Profile | string {
  if (text === "kube-proxy" || text === "kube-proxy+spec") return { text, engine: text, policyEngine: text === "kube-proxy+spec" };
  if (/^cilium@1\.\d+$/.test(text)) return { text, engine: "cilium", policyEngine: true };
  return `no profile '${text}'; expected kube-proxy, kube-proxy+spec or cilium@1.20`;
}

export function buildPlane(name: string, profile: Profile, inputs: PlaneInputs): Plane {
  const { cluster, epochNs, network, seed, traced } = inputs;
  if (profile.engine === "cilium") {
    return createEbpfPlane({ name, profile: profile.text, cluster, epochNs, wasm: inputs.wasm, seed, traced });
  }
  return createIptablesPlane({
    name, profile: profile.engine, cluster, epochNs, seed, traced, config: iptablesConfig(network), udpCleanup: false,
    ...(profile.engine === "kube-proxy+spec" ? { policyEngine: specEngine } : {}),
  });
}

function iptablesConfig(network: Network): IptablesConfig {
  return {
    kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: network.clusterCidrs },
    masquerade: network.clusterCidrs.length === 0 ? { agent: "none" }
      : { agent: "cni", clusterCIDR: network.clusterCidrs, nonMasqueradeCIDRs: network.nonMasqueradeCidrs, randomFully: false },
  };
}

/** iptables engines match a pod by its address too, so an ipBlock does. */
function specEngine(cluster: Cluster): PolicyEngine {
  const index = new PolicyIndex(cluster, { ipBlockMatchesPods: true });
  return (source, destination, protocol, port) => evaluateAddresses(index, source, destination, protocol, port);
}

/**
 * The network as far as the cluster shows it: the least range that holds all nodes' podCIDRs, and the networks of the
 * nodes' uplinks. Each guess is a warning, because a wrong one changes who is masqueraded.
 */
export function assumedNetwork(cluster: Cluster, given: Partial<Network>, problems: Problem[]): Network {
  const clusterCidrs = given.clusterCidrs ?? [4, 6].flatMap((family) => leastCover(cluster, family as Family));
  const nonMasqueradeCidrs = given.nonMasqueradeCidrs ?? uplinkNetworks(cluster);
  const assume = (option: string, prefixes: readonly Prefix[], from: string): void => {
    problems.push({ where: null, severity: "warning",
      what: `${option} not given; assumed ${prefixes.map((one) => one.text).join(", ") || "none"} from ${from}` });
  };
  if (given.clusterCidrs === undefined) assume("--cluster-cidr", clusterCidrs, "the nodes' podCIDRs");
  if (given.nonMasqueradeCidrs === undefined) assume("--non-masquerade-cidr", nonMasqueradeCidrs, "the nodes' networks");
  return { clusterCidrs, nonMasqueradeCidrs };
}

function leastCover(cluster: Cluster, family: Family): Prefix[] {
  const ranges = cluster.nodes.flatMap((node) => node.podCIDRs).filter((range) => range.address.family === family);
  if (ranges.length === 0) return [];
  for (let length = Math.min(...ranges.map((range) => range.length)); ; length--) {
    const cover = prefixOf(ranges[0].address, length);
    if (ranges.every((range) => prefixContains(cover, range.address))) return [cover];
  }
}

function uplinkNetworks(cluster: Cluster): Prefix[] {
  const networks = new Map<string, Prefix>();
  for (const node of cluster.nodes) {
    for (const device of node.facts.devices) {
      if (device.kind !== "uplink") continue;
      for (const { address, length } of device.addresses) {
        const linkLocal = address.family === 6 && address.bytes[0] === 0xfe && (address.bytes[1] & 0xc0) === 0x80;
        const network = prefixOf(address, length);
        if (!linkLocal && length < address.bytes.length * 8) networks.set(network.text, network);
      }
    }
  }
  return [...networks.values()].sort((a, b) => (a.text < b.text ? -1 : 1));
}
