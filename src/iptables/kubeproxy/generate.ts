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
import type { Cluster, EndpointSlice, Node } from "../../cluster/cluster.js";
import { ruleLine, type Rule, type RulePart, type TableName } from "../ruleset.js";
import { isServiceChain } from "./chains.js";
import { localDetector, type KubeProxyConfig } from "./config.js";
import { categorizeEndpoints, endpointsOf, slicesByService } from "./endpoints.js";
import { forwardRules, jumpRules, localnetRules, masqueradeRules, nodePortJumps } from "./fixed.js";
import { localhostNodePorts, primaryAddress } from "./nodeAddresses.js";
import { servicePorts } from "./servicePorts.js";
import { ServiceRuleMemo, type WrittenRules } from "./serviceRuleMemo.js";
import { serviceRules, type ServiceRules } from "./serviceRules.js";

export interface KubeProxyInput {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly family: Family;
  readonly config: KubeProxyConfig;
  /** Services (`namespace/name`) whose own chains are written; null: all of them, a full sync. */
  readonly changed?: ReadonlySet<string> | null;
  /** What earlier calls with this configuration and family worked out; absent: nothing. */
  readonly memo?: ServiceRuleMemo;
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
  const { config, node, family, memo } = input;
  const { services, largeCluster } = allServiceRules(input);
  const filterChains = ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL", ...(localhostNodePorts(config, node, family) ? ["KUBE-FIREWALL"] : [])];
  const first = [...masqueradeRules(config), ...localnetRules(config, node, family)];
  const tail = [...nodePortJumps(config, node, family), ...forwardRules(config, node)];
  const make = (): WrittenRules => written(services, first, tail, filterChains);
  // A full sync alone writes all services' own chains.
  const { head, natChains, chains, rules } = memo === undefined || input.changed != null ? make()
    : memo.written({ services: services.map((entry) => entry.rules), first, tail, filterChains }, make);
  const existing = (input.existingChains ?? []).filter(isServiceChain);
  const stale = existing.length === 0 ? [] : staleChains(existing, services.flatMap((entry) => entry.rules.chains));
  return { jumps: jumpRules(), chains, rules, get restoreText() {
    return restoreText(filterChains, natChains, head, stale, tail);
  }, largeCluster };
}

function written(services: readonly { rules: ServiceRules; written: boolean }[], first: readonly Rule[], tail: readonly Rule[],
  filterChains: readonly string[]): WrittenRules {
  const natChains = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"];
  // Tens of thousands on a large cluster: pushed one by one.
  const head = [...first];
  for (const entry of services) {
    for (const rule of entry.rules.dispatch) head.push(rule);
    if (!entry.written) continue;
    for (const rule of entry.rules.own) head.push(rule);
    for (const chain of entry.rules.chains) natChains.push(chain);
  }
  return { head, natChains,
    // The jump to KUBE-FIREWALL is made for both families, so the chain exists even where it stays empty.
    chains: [...chainsIn("filter", [...filterChains.filter((chain) => chain !== "KUBE-FIREWALL"), "KUBE-FIREWALL"]),
      ...chainsIn("nat", natChains)],
    rules: [...head, ...tail] };
}

function allServiceRules({ cluster, node, family, config, changed, memo = new ServiceRuleMemo() }: KubeProxyInput):
{ services: { rules: ServiceRules; written: boolean }[]; largeCluster: boolean } {
  const here = { nodeName: node.name, zone: node.labels["topology.kubernetes.io/zone"] ?? "" };
  const ports = memo.ports(cluster, () => {
    const slices = slicesByService(cluster.endpointSlices, family, config);
    return servicePorts(cluster.services, family, config, memo).map((info) => {
      const own = slices.get(`${info.service.namespace}/${info.service.name}`) ?? NO_SLICES;
      return memo.port(info, own, () => endpointsOf(info, own, ""));
    });
  });
  const total = ports.reduce((sum, port) => sum + port.all.length, 0);
  const largeCluster = total > config.largeClusterEndpointsThreshold;
  const detector = localDetector(config, node, family);
  const nodeAddress = primaryAddress(config, node, family);
  const onLocalhost = localhostNodePorts(config, node, family);
  const common = `${largeCluster} ${detector?.ifLocal} ${onLocalhost}`;
  const own = `${common} ${node.name} ${here.zone} ${nodeAddress?.text}`;
  const services = ports.map((port) => {
    const { info, slices, dependsOnNode } = port;
    const make = (): ServiceRules => {
      const all = dependsOnNode ? endpointsOf(info, slices, node.name) : port.all;
      return serviceRules({
        info, slices, config, detector, nodeAddress, largeCluster, localhostNodePorts: onLocalhost,
        endpoints: categorizeEndpoints(all, info, here, config),
      });
    };
    const rules = port.rules(dependsOnNode ? own : common, make);
    return { rules, written: changed == null || changed.has(`${info.service.namespace}/${info.service.name}`) };
  });
  return { services, largeCluster };
}

const NO_SLICES: readonly EndpointSlice[] = [];

/** Service chains that stood on the node and that nothing uses after this sync, sorted. */
function staleChains(existing: readonly string[], active: readonly string[]): string[] {
  const used = new Set(active);
  return existing.filter((chain) => !used.has(chain)).sort();
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
