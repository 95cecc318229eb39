/**
 * What both planes are told of the network beside the cluster's objects, and how much of it the objects show.
 *
 * What the user states comes first, then what objects say (kube-proxy's configuration, ip-masq-agent's), then a guess
 * from the nodes. Each guess is a warning, because a wrong one changes who is masqueraded.
 */
import { type Family, type Prefix, prefixContains, prefixOf } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import type { DNSNames } from "./cluster/names.js";
import type { Problem, Where } from "./cluster/problem.js";
import type { KubeProxyConfig } from "./iptables/kubeproxy/config.js";
import { readKubeProxyConfiguration } from "./iptables/kubeproxy/configuration.js";
import type { MasqueradeConfig } from "./iptables/masquerade/cni.js";
import { type IpMasqAgentReading, readIpMasqAgent } from "./iptables/masquerade/ip-masq-agent-config.js";
import { PORTMAP_DEFAULTS, type PortmapConfig } from "./iptables/portmap/portmap.js";

export interface Network {
  /** Pod ranges, one of a family: Cilium's native routing CIDR, and kube-proxy's where nothing else says it. */
  readonly clusterCidrs: readonly Prefix[];
  /** Destinations beside the pod ranges that see a pod's own address. */
  readonly nonMasqueradeCidrs: readonly Prefix[];
  /** Absent: kube-proxy's defaults with the pod ranges as clusterCIDR. */
  readonly kubeProxy?: KubeProxyConfig;
  /** Absent: by the two lists above, as a CNI plugin does it. */
  readonly masquerade?: MasqueradeConfig;
  /** What forwards host ports; absent: nothing does. */
  readonly portmap?: PortmapConfig;
  /** What is known of DNS names, for toFQDNs; absent: nothing. */
  readonly names?: DNSNames;
}

/** What the user states; what is not stated is left out. */
export interface GivenNetwork extends Partial<Network> {
  /** Flag --masquerade. */
  readonly masqueradeAgent?: MasqueradeConfig["agent"];
}

/** The network as far as the cluster shows it. */
export function assumedNetwork(cluster: Cluster, given: GivenNetwork, problems: Problem[]): Network {
  const read = readKubeProxyConfiguration(cluster);
  if (given.kubeProxy === undefined) {
    problems.push(...read.problems);
    if (read.refusal !== null) problems.push({ where: null, severity: "error", what: read.refusal });
  }
  const assume = (option: string, prefixes: readonly Prefix[], from: string): readonly Prefix[] => {
    problems.push({ where: null, severity: "warning",
      what: `${option} not given; assumed ${prefixes.map((one) => one.text).join(", ") || "none"} from ${from}` });
    return prefixes;
  };
  const said = read.source === null ? [] : read.config.clusterCIDR;
  const clusterCidrs = given.clusterCidrs ?? (said.length > 0 ? said
    : assume("--cluster-cidr", [4, 6].flatMap((family) => leastCover(cluster, family as Family)), "the nodes' podCIDRs"));
  const agent = readIpMasqAgent(cluster);
  const name = given.masqueradeAgent ?? (agent.sources.length > 0 ? "ip-masq-agent" : "cni");
  const nonMasqueradeCidrs = given.nonMasqueradeCidrs ?? (name === "ip-masq-agent" && given.masquerade === undefined
    ? agent.config.nonMasqueradeCIDRs.map((one) => one.range)
    : assume("--non-masquerade-cidr", uplinkNetworks(cluster), "the nodes' networks"));
  const masquerade = given.masquerade ?? (name !== "ip-masq-agent" ? cniMasquerade(name, clusterCidrs, nonMasqueradeCidrs)
    : ipMasqAgent(agent, given.nonMasqueradeCidrs, problems));
  const portmap = given.kubeProxy === undefined ? assumedPortmap(cluster, problems) : given.portmap;
  return {
    clusterCidrs, nonMasqueradeCidrs, masquerade, ...(portmap === undefined ? {} : { portmap }),
    ...(given.names === undefined ? {} : { names: given.names }),
    kubeProxy: given.kubeProxy ?? { ...read.config,
      clusterCIDR: given.clusterCidrs ?? (read.source === null ? clusterCidrs : read.config.clusterCIDR) },
  };
}

/** Why the cluster's kube-proxy cannot be replayed, or null. */
export function kubeProxyRefusal(cluster: Cluster): string | null {
  return readKubeProxyConfiguration(cluster).refusal;
}

/** The mode of the cluster's kube-proxy where it is not modelled, and where it is set; null: it is modelled. */
export function unmodelledKubeProxy(cluster: Cluster): { readonly mode: string; readonly where: Where | null } | null {
  return readKubeProxyConfiguration(cluster).unmodelled;
}

/** Masquerading by the pod ranges, as today's CNI plugins write it; nobody does it where no pod range is known. */
export function cniMasquerade(agent: "cni" | "none", clusterCIDR: readonly Prefix[],
  nonMasqueradeCIDRs: readonly Prefix[]): MasqueradeConfig {
  if (agent === "none" || clusterCIDR.length === 0) return { agent: "none" };
  return { agent, clusterCIDR, nonMasqueradeCIDRs, randomFully: false };
}

function ipMasqAgent(reading: IpMasqAgentReading, given: readonly Prefix[] | undefined, problems: Problem[]): MasqueradeConfig {
  const warn = (what: string): void => {
    problems.push({ where: null, severity: "warning", what });
  };
  if (given !== undefined) {
    return { ...reading.config, stopped: false, nonMasqueradeCIDRs: given.map((range) => ({ range, where: null })) };
  }
  problems.push(...reading.problems);
  if (!reading.runs && reading.sources.length > 0) {
    warn(`ip-masq-agent assumed to run on every node, from ${reading.sources.join(", ")}; --masquerade says otherwise`);
  }
  if (!reading.sources.some((source) => source.startsWith("ConfigMap"))) {
    warn(`no configuration file of ip-masq-agent is among the objects; assumed its built-in ranges ${
      reading.config.nonMasqueradeCIDRs.map((one) => one.range.text).join(", ")}`);
  }
  return reading.config;
}

/** A kubenet node has a bridge cbr0, and its portmap leaves masquerading to kube-proxy (AgentBaker's kubenet template). */
function assumedPortmap(cluster: Cluster, problems: Problem[]): PortmapConfig | undefined {
  const pods = cluster.pods.filter((pod) => !pod.hostNetwork && pod.ports.some((port) => port.hostPort !== 0));
  if (pods.length === 0) return undefined;
  const kubenet = cluster.nodes.some((node) => node.facts.devices.some((device) => device.name === "cbr0"));
  const who = pods.length === 1 ? "a pod has" : `${pods.length} pods have`;
  problems.push({ where: pods[0].where, severity: "warning", what: `${who} host ports; assumed that the CNI plugin portmap `
    + `forwards them${kubenet ? ", marking with KUBE-MARK-MASQ as on kubenet" : ""}` });
  return kubenet ? { ...PORTMAP_DEFAULTS, name: "kubenet", externalSetMarkChain: "KUBE-MARK-MASQ" } : PORTMAP_DEFAULTS;
}

/** The least range of a family that holds all nodes' podCIDRs. */
function leastCover(cluster: Cluster, family: Family): Prefix[] {
  const ranges = cluster.nodes.flatMap((node) => node.podCIDRs).filter((range) => range.address.family === family);
  if (ranges.length === 0) return [];
  for (let length = Math.min(...ranges.map((range) => range.length)); ; length--) {
    const cover = prefixOf(ranges[0].address, length);
    if (ranges.every((range) => prefixContains(cover, range.address))) return [cover];
  }
}

/** The networks of the nodes' uplinks. */
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
