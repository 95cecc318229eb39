/**
 * kube-proxy's iptables mode for one node and one IP family: Cluster and configuration to `iptables-restore`
 * text.
 *
 * Guarantees: the text is a function of the cluster at that instant and the configuration. Services come
 * sorted by namespace/name, port name and protocol, where kube-proxy has Go's map order. A partial sync
 * writes what kube-proxy's would: all shared chains, and the own chains of changed services only.
 *
 * Source: pkg/proxy/iptables/proxier.go of the v1.33 era. Not here: the nftables and IPVS modes, the canary
 * chains (no packet reaches them), retries of a failed restore.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import { ruleLine, type Rule, type RulePart, type TableName } from "../ruleset.js";
import { isServiceChain } from "./chains.js";
import { localDetector, type KubeProxyConfig } from "./config.js";
import { categorizeEndpoints, endpointsOf, slicesByService } from "./endpoints.js";
import { forwardRules, jumpRules, localnetRules, masqueradeRules, nodePortJumps } from "./fixed.js";
import { localhostNodePorts, primaryAddress } from "./nodeAddresses.js";
import { servicePorts } from "./servicePorts.js";
import { serviceRules, type ServiceRules } from "./serviceRules.js";

export interface KubeProxyInput {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly family: Family;
  readonly config: KubeProxyConfig;
  /** Services (`namespace/name`) whose own chains are written; null: all of them, a full sync. */
  readonly changed?: ReadonlySet<string> | null;
  /** Chains of nat found on the node; service chains among them that nothing uses any more are deleted. */
  readonly existingChains?: readonly string[];
}

export interface KubeProxyRules extends RulePart {
  /** What kube-proxy feeds to `iptables-restore --noflush --counters`: its own chains, no jumps. */
  readonly restoreText: string;
  /** Comments of the per-endpoint rules are left out. */
  readonly largeCluster: boolean;
}

export function generateKubeProxy(input: KubeProxyInput): KubeProxyRules {
  const { config, node, family } = input;
  const { services, largeCluster } = allServiceRules(input);
  const filterChains = ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL", ...(localhostNodePorts(config, node, family) ? ["KUBE-FIREWALL"] : [])];
  const active = services.flatMap((entry) => entry.rules.chains);
  const natChains = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ",
    ...services.flatMap((entry) => (entry.written ? entry.rules.chains : []))];
  const head = [...masqueradeRules(config), ...localnetRules(config, node, family),
    ...services.flatMap(({ rules, written }) => (written ? [...rules.dispatch, ...rules.own] : rules.dispatch))];
  const tail = [...nodePortJumps(config, node, family), ...forwardRules(config, node)];
  const stale = staleChains(input.existingChains ?? [], active);
  return {
    jumps: jumpRules(),
    // The jump to KUBE-FIREWALL is made for both families, so the chain exists even where it stays empty.
    chains: [...chainsIn("filter", [...filterChains.filter((chain) => chain !== "KUBE-FIREWALL"), "KUBE-FIREWALL"]),
      ...chainsIn("nat", natChains)],
    rules: [...head, ...tail],
    restoreText: restoreText(filterChains, natChains, head, stale, tail),
    largeCluster,
  };
}

function allServiceRules({ cluster, node, family, config, changed }: KubeProxyInput):
{ services: { rules: ServiceRules; written: boolean }[]; largeCluster: boolean } {
  const slices = slicesByService(cluster.endpointSlices, family, config);
  const here = { nodeName: node.name, zone: node.labels["topology.kubernetes.io/zone"] ?? "" };
  const ports = servicePorts(cluster.services, family, config).map((info) => {
    const key = `${info.service.namespace}/${info.service.name}`;
    const own = slices.get(key) ?? [];
    return { info, key, slices: own, all: endpointsOf(info, own, node.name) };
  });
  const total = ports.reduce((sum, port) => sum + port.all.length, 0);
  const largeCluster = total > config.largeClusterEndpointsThreshold;
  const detector = localDetector(config, node, family);
  const nodeAddress = primaryAddress(config, node, family);
  const services = ports.map((port) => ({
    rules: serviceRules({
      info: port.info, slices: port.slices, config, detector, nodeAddress, largeCluster,
      localhostNodePorts: localhostNodePorts(config, node, family),
      endpoints: categorizeEndpoints(port.all, port.info, here, config),
    }),
    written: changed === undefined || changed === null || changed.has(port.key),
  }));
  return { services, largeCluster };
}

/** Service chains that stood on the node and that nothing uses after this sync, sorted. */
function staleChains(existing: readonly string[], active: readonly string[]): string[] {
  const used = new Set(active);
  return existing.filter((chain) => isServiceChain(chain) && !used.has(chain)).sort();
}

function chainsIn(table: TableName, chains: readonly string[]): { table: TableName; chain: string }[] {
  return chains.map((chain) => ({ table, chain }));
}

/**
 * A `:CHAIN - [0:0]` line creates or flushes the chain; chains without a line stay as they are. A stale chain is
 * flushed by its line and then deleted, after every rule that could have led to it was rewritten.
 */
function restoreText(filterChains: readonly string[], natChains: readonly string[], head: readonly Rule[],
  stale: readonly string[], tail: readonly Rule[]): string {
  const lines: string[] = [];
  const write = (rules: readonly Rule[], table: TableName): void => {
    for (const rule of rules) if (rule.table === table) lines.push(ruleLine(rule));
  };
  lines.push("*filter", ...filterChains.map(chainLine));
  write(head, "filter");
  write(tail, "filter");
  lines.push("COMMIT", "*nat", ...natChains.map(chainLine), ...stale.map(chainLine));
  write(head, "nat");
  lines.push(...stale.map((chain) => `-X ${chain}`));
  write(tail, "nat");
  lines.push("COMMIT", "");
  return lines.join("\n");
}

function chainLine(chain: string): string {
  return `:${chain} - [0:0]`;
}
