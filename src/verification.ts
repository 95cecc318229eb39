/**
 * Nodes' own rules held against the generated ones: how far the model of what runs on a node can be trusted.
 */
import type { Cluster } from "./cluster/cluster.js";
import { optionsOfDump } from "./iptables/dump/options.js";
import { type OwnRules, readOwnRules } from "./iptables/dump/ownRules.js";
import { signsOfAge } from "./iptables/dump/owners.js";
import { verifyRules } from "./iptables/dump/verify.js";
import type { KubeProxyConfig } from "./iptables/kubeproxy/config.js";
import type { MasqueradeConfig } from "./iptables/masquerade/cni.js";
import { generatedRules, type NodeDump } from "./iptables/planeNode.js";
import { parseRuleSet, type RuleSet } from "./linux/netfilter/rule-set.js";
import { assumedNetwork, type GivenNetwork, iptablesConfig, type Network } from "./planes.js";
import type { VerifiedDump } from "./report/verify.js";

/** One result for each node and family with a dump, in the order of names. Nodes that the cluster lacks are left out. */
export function verifyDumps(cluster: Cluster, network: Network, given: GivenNetwork,
  dumps: ReadonlyMap<string, NodeDump>): VerifiedDump[] {
  const fixed = new Set<keyof KubeProxyConfig>(given.clusterCidrs === undefined ? []
    : ["clusterCIDR", "detectLocalMode", "detectLocal"]);
  return [...dumps.keys()].sort().flatMap((name) => {
    const node = cluster.nodes.find((one) => one.name === name);
    const dump = dumps.get(name);
    if (node === undefined || dump === undefined) return [];
    return ([4, 6] as const).flatMap((family): VerifiedDump[] => {
      const text = family === 4 ? dump.v4 : dump.v6;
      if (text === null) return [];
      const own = readOwnRules(text, family);
      const engine = policyEngineOf(own.set);
      const masquerade = masqueradeOf(own, cluster, network, given);
      const base = iptablesConfig(masquerade === undefined ? network : { ...network, masquerade }, engine);
      const programs: [string, string][] = engine === "kube-proxy" ? [] : [["policy engine", engine.replace("kube-proxy+", "")]];
      if (masquerade !== network.masquerade) programs.push(["masquerade agent", masquerade?.agent ?? "cni"]);
      const options = optionsOfDump(own.set, base.kubeProxy, fixed);
      const made = generatedRules(cluster, node, family, { ...base, kubeProxy: options.config });
      const { rules: set, problems } = parseRuleSet(made.text, `rules of ${name} for IPv${family}`, family);
      if (problems.length > 0) throw new Error(`generated rules: ${problems[0].what}`);
      return [{
        node: name, family, file: text.file, options: [...programs, ...options.read],
        writtenBy: signsOfAge(own.set), problems: own.problems,
        ...verifyRules(own.set, { set, because: (line) => made.becauseOfLine(line) }, family),
      }];
    });
  });
}

/** Who enforces policy on the node of a dump, by its chains. */
export function policyEngineOf(set: RuleSet): "kube-proxy" | "kube-proxy+npm" | "kube-proxy+calico" {
  const chains = [...set.tables.get("filter")?.chains.keys() ?? []];
  if (chains.some((chain) => chain.startsWith("AZURE-NPM"))) return "kube-proxy+npm";
  return chains.some((chain) => chain.startsWith("cali-")) ? "kube-proxy+calico" : "kube-proxy";
}

/**
 * Who masquerades on the node, by the chains of the dump. What the agent is told comes from the network where that has
 * the same agent, else from the cluster's objects.
 */
function masqueradeOf(own: OwnRules, cluster: Cluster, network: Network, given: GivenNetwork): MasqueradeConfig | undefined {
  const chains = own.set.tables.get("nat")?.chains;
  const agent = chains?.has("IP-MASQ-AGENT") === true ? "ip-masq-agent" : chains?.has("CNI-MASQ") === true ? "cni" : "none";
  if ((network.masquerade?.agent ?? "cni") === agent) return network.masquerade;
  const { clusterCidrs, nonMasqueradeCidrs } = network;
  const stated = agent === "cni" ? { ...given, nonMasqueradeCidrs } : given;
  return assumedNetwork(cluster, { ...stated, clusterCidrs, masqueradeAgent: agent }, []).masquerade;
}
