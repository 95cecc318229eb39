/**
 * One node of the iptables plane: its rules, generated from the cluster or read from its own dump, its
 * netfilter and its IP stack. Rules and stack follow a change of the cluster; connections, NAT and `recent`
 * lists stay.
 */
import { parseAddress, type Family } from "../cluster/address.js";
import type { Cluster, Device, Node, NodeFacts } from "../cluster/cluster.js";
import type { Because, Step } from "../dataplane.js";
import { LinuxNode, type TunnelResolver } from "../linux/node.js";
import type { ConntrackRecord } from "../linux/netfilter/conntrack-record.js";
import { createNetfilter, type Netfilter } from "../linux/netfilter/netfilter.js";
import { RuleCache } from "../linux/netfilter/rule-cache.js";
import type { RuleSet } from "../linux/netfilter/rule-set.js";
import type { TableName } from "../linux/netfilter/rule.js";
import { type IpSets, parseIpSets } from "../linux/netfilter/sets/ipsets.js";
import type { NodeServices } from "../linux/skb.js";
import type { NodeOwnRules } from "./dump/ownRules.js";
import { namedSets, type SetMaker } from "./dump/ownSets.js";
import type { Journeys } from "./journeys.js";
import { kubeProxySysctls, type KubeProxyConfig } from "./kubeproxy/config.js";
import { UdpCleanup, udpSlicesChanged } from "./kubeproxy/conntrackCleanup.js";
import { generateKubeProxy } from "./kubeproxy/generate.js";
import { ServiceRuleMemo } from "./kubeproxy/serviceRuleMemo.js";
import { masqueradePart, type MasqueradeConfig } from "./masquerade/cni.js";
import { NodeHooks, type RuleOrigin } from "./nodeHooks.js";
import { PolicyGate, type PolicyEngine } from "./policy.js";
import { joinRules, type NodeRules, type RulePart } from "./ruleset.js";
import { LastTables } from "./tables.js";

export interface IptablesConfig {
  readonly kubeProxy: KubeProxyConfig;
  readonly masquerade: MasqueradeConfig;
  /** Further programs' rules, in the order in which they put theirs in place: policy engines, portmap. */
  readonly programs?: readonly RuleProgram[];
  /** Sysctls that those programs set, by their names under /proc/sys with dots. */
  readonly sysctls?: (cluster: Cluster, node: Node) => Readonly<Record<string, string>>;
}

/** A program that keeps rules on every node: what it writes for a node and a family. */
export type RuleProgram = (cluster: Cluster, node: Node, family: Family) => RulePart;

/** A text of a node, and the file it is from. */
export interface DumpText {
  readonly file: string;
  readonly text: string;
}

/**
 * A node's own `iptables-save` and `ip6tables-save` texts; null: that family's rules are generated. `sets` is its
 * `ipset save`; null: sets are what the generators make.
 */
export interface NodeDump {
  readonly v4: DumpText | null;
  readonly v6: DumpText | null;
  readonly sets: DumpText | null;
}

export interface PlaneNodeOptions {
  readonly number: number;
  readonly node: Node;
  readonly cluster: Cluster;
  readonly config: IptablesConfig;
  /** The plane's. */
  readonly shared: SharedRules;
  /** The node's own rules and sets, in place of generated ones. */
  readonly own: NodeOwnRules | null;
  /** Makes the sets that such rules name where the node did not say its sets. */
  readonly setMaker?: SetMaker | undefined;
  readonly engine: PolicyEngine | null;
  readonly journeys: Journeys;
  readonly chance: (flow: number, draw: number) => number;
  readonly tunnels: TunnelResolver;
  readonly steps: Step[] | null;
}

/** Generated rules, as lines and read. */
interface NodeRuleSet {
  readonly set: RuleSet;
  readonly lines: NodeRules;
}

/** What the nodes of a plane have in common, by family: rules that are equal on several are made and read once. */
export class SharedRules {
  private readonly caches = { 4: new RuleCache(4), 6: new RuleCache(6) };
  private readonly services = { 4: new ServiceRuleMemo(), 6: new ServiceRuleMemo() };
  private readonly tables = { 4: new LastTables(), 6: new LastTables() };
  private readonly last: { [family in Family]: NodeRuleSet | null } = { 4: null, 6: null };
  private read: { readonly text: string; readonly sets: IpSets } | null = null;
  private asked: { readonly before: Cluster; readonly after: Cluster; readonly 4: boolean; readonly 6: boolean } | null = null;

  of(cluster: Cluster, node: Node, family: Family, config: IptablesConfig): NodeRuleSet {
    const lines = generatedRules(cluster, node, family, config, this.services[family], this.tables[family]);
    const last = this.last[family];
    if (last?.lines.equals(lines) === true) return last;
    const { rules, problems } = this.caches[family].build(lines.tables, `rules of ${node.name} for IPv${family}`);
    // A rule that we write and do not understand ourselves is our own mistake.
    if (problems.length > 0) throw new Error(`generated rules: ${problems[0].what}`);
    return this.last[family] = { set: rules, lines };
  }

  /** Sets of generated rules, which none of those rules changes, so that nodes whose sets are equal share them. */
  setsOf(text: string, file: string): IpSets {
    if (this.read?.text !== text) {
      const { sets, problems } = parseIpSets(text, file);
      if (problems.length > 0) throw new Error(`generated sets: ${problems[0].what}`);
      this.read = { text, sets };
    }
    return this.read.sets;
  }

  /** Whether a change touches slices that kube-proxy's UDP clean-up looks at; each node asks the same. */
  udpSlicesChanged(before: Cluster, after: Cluster, family: Family, { kubeProxy }: IptablesConfig): boolean {
    const { asked } = this;
    if (asked?.before !== before || asked.after !== after) {
      this.asked = { before, after, 4: udpSlicesChanged(before, after, 4, kubeProxy),
        6: udpSlicesChanged(before, after, 6, kubeProxy) };
    }
    return this.asked![family];
  }
}

interface FamilyRules {
  /** The generators' sets of this family. */
  readonly sets: string;
  readonly set: RuleSet;
  readonly because: RuleOriginOfFamily;
}

type RuleOriginOfFamily = (table: string, chain: string, position: number) => readonly Because[];

/** kube-proxy sizes conntrack by the node's CPUs, which no fact tells; the table has no limit here. */
const CORES = 4;

/** The text generated for a node and a family: kube-proxy's part and the masquerade agent's. */
export function generatedRules(cluster: Cluster, node: Node, family: Family, config: IptablesConfig,
  memo = new ServiceRuleMemo(), last = new LastTables()): NodeRules {
  return joinRules([
    generateKubeProxy({ cluster, node, family, config: config.kubeProxy, memo }),
    masqueradePart(config.masquerade, family),
    ...(config.programs ?? []).map((program) => program(cluster, node, family)),
  ], last);
}

export class PlaneNode {
  readonly number: number;
  readonly name: string;
  readonly hooks: NodeHooks;
  linux: LinuxNode;
  private readonly netfilter: Netfilter;
  private readonly services = new SwitchedServices();
  private facts: NodeFacts;
  private kinds: (Device["kind"] | undefined)[] = [];
  private cluster: Cluster;
  /** Rules in place. */
  private rules4: FamilyRules;
  private rules6: FamilyRules;

  constructor(private readonly options: PlaneNodeOptions) {
    const { node, cluster, journeys, steps } = options;
    this.number = options.number;
    this.name = node.name;
    this.cluster = cluster;
    this.facts = node.facts;
    this.rules4 = this.rules(cluster, node, 4, null);
    this.rules6 = this.rules(cluster, node, 6, null);
    this.netfilter = createNetfilter({
      services: this.services, rules4: this.rules4.set, rules6: this.rules6.set, sets: this.setsOf(), chance: options.chance,
      sysctls: this.sysctls(node),
    });
    this.hooks = new NodeHooks({ node: node.name, netfilter: this.netfilter, journeys, steps });
    this.linux = this.stack(node);
    this.hooks.change(originOf(this.rules4, this.rules6), gateOf(node.facts, options.engine));
  }

  deviceKind(index: number): Device["kind"] | undefined {
    return this.kinds[index];
  }

  /** The node in another cluster. Fragments that wait are forgotten where its devices or routes changed. */
  change(cluster: Cluster, node: Node, engine: PolicyEngine | null, cleanUp: boolean): void {
    const before = this.cluster;
    this.cluster = cluster;
    const { rules4, rules6 } = this;
    this.rules4 = this.rules(cluster, node, 4, rules4);
    this.rules6 = this.rules(cluster, node, 6, rules6);
    if (this.rules4.sets !== rules4.sets || this.rules6.sets !== rules6.sets) this.netfilter.replaceSets(this.setsOf());
    if (this.rules4.set !== rules4.set || this.rules6.set !== rules6.set) {
      this.netfilter.replaceRules(this.rules4.set, this.rules6.set);
    }
    if (node.facts !== this.facts && JSON.stringify(node.facts) !== JSON.stringify(this.facts)) {
      this.facts = node.facts;
      this.linux = this.stack(node);
    }
    this.hooks.change(originOf(this.rules4, this.rules6), gateOf(node.facts, engine));
    for (const family of [4, 6] as const) {
      if (cleanUp && this.options.shared.udpSlicesChanged(before, cluster, family, this.options.config)) this.cleanUp(cluster,
        family);
    }
  }

  deleteConntrack(entry: Parameters<Netfilter["deleteConntrack"]>[0]): void {
    this.netfilter.deleteConntrack(entry);
  }

  /** `iptables-save -c` (family 4) or `ip6tables-save -c`: the rules in place with what they counted. */
  save(family: Family): string {
    return this.netfilter.save(family);
  }

  /** Live connections, oldest first, as `conntrack -L` shows them. */
  conntrack(): ConntrackRecord[] {
    return this.netfilter.conntrack();
  }

  /** kube-proxy's step after a sync: UDP entries that lead to no serving endpoint any more. */
  private cleanUp(cluster: Cluster, family: Family): void {
    const cleanup = new UdpCleanup(cluster, family, this.options.config.kubeProxy);
    for (const { family: of, protocol, original, reply } of this.netfilter.conntrack()) {
      if (of !== family || protocol !== 17) continue;
      const stale = cleanup.isStale(original.destination, original.destinationPort ?? 0, reply.source,
        reply.sourcePort ?? 0);
      if (!stale) continue;
      this.netfilter.deleteConntrack({
        node: this.name, family, protocol, originalSource: parseAddress(original.source),
        originalDestination: parseAddress(original.destination), originalSourcePort: original.sourcePort,
        originalDestinationPort: original.destinationPort, replySource: parseAddress(reply.source),
      });
    }
  }

  /** What the node says itself comes before what programs would have set. */
  private sysctls(node: Node): Readonly<Record<string, string>> {
    const { config } = this.options;
    return { ...kubeProxySysctls(config.kubeProxy, node, CORES), ...config.sysctls?.(this.cluster, node), ...node.facts.sysctls };
  }

  private stack(node: Node): LinuxNode {
    const { facts } = node;
    this.kinds = [];
    for (const device of facts.devices) this.kinds[device.index] = device.kind;
    return new LinuxNode({
      name: this.name, facts: { ...facts, sysctls: this.sysctls(node) },
      tunnels: this.options.tunnels,
      netfilter: (services) => {
        this.services.target = services;
        return this.hooks;
      },
    });
  }

  /** @param before the rules in place; equal text is not read again. A dump's rules stay, and sets it did not say follow. */
  private rules(cluster: Cluster, node: Node, family: Family, before: FamilyRules | null): FamilyRules {
    const { config } = this.options;
    const own = family === 4 ? this.options.own?.v4 : this.options.own?.v6;
    if (own !== null && own !== undefined) {
      const unsaid = this.options.own?.sets === null;
      const made = unsaid ? this.options.setMaker?.(cluster, node, family, own.lines.join("\n")) ?? "" : "";
      return { sets: namedSets(own.set, made), set: own.set, because: (table, chain, position) => {
        const line = own.set.tables.get(table as TableName)?.chains.get(chain)?.rules[position - 1]?.line;
        return line === undefined ? [] : [{ where: { file: own.file, line }, object: `rule of node ${node.name}`,
          rule: own.lines[line - 1] ?? "" }];
      } };
    }
    const { set, lines } = this.options.shared.of(cluster, node, family, config);
    const because: RuleOriginOfFamily = (table, chain, position) => lines.becauseAt(table, chain, position);
    return { sets: lines.sets, set: before !== null && sameTables(before.set, set) ? before.set : set, because };
  }

  /** The node's own sets where it said them, else the generators' of both families. */
  private setsOf(): IpSets {
    const own = this.options.own?.sets ?? null;
    if (own !== null) return own;
    const [text, file] = [this.rules4.sets + this.rules6.sets, `sets of ${this.name}`];
    // A node's own rules may add to sets.
    if (this.options.own === null) return this.options.shared.setsOf(text, file);
    const { sets, problems } = parseIpSets(text, file);
    if (problems.length > 0) throw new Error(`generated sets: ${problems[0].what}`);
    return sets;
  }
}

/** The services of the stack under way; a new stack takes over the old one's netfilter. */
class SwitchedServices implements NodeServices {
  target: NodeServices | null = null;

  addressType(bytes: Uint8Array, offset: number, family: 4 | 6, device?: number): ReturnType<NodeServices["addressType"]> {
    return this.now().addressType(bytes, offset, family, device);
  }

  // Both are absent where the stack does not know routes, which a match takes for undecided.
  get wayBack(): NodeServices["wayBack"] {
    return this.now().wayBack;
  }

  get pathMtu(): NodeServices["pathMtu"] {
    return this.now().pathMtu;
  }

  deviceName(index: number): string {
    return this.now().deviceName(index);
  }

  masqueradeAddress(device: number, skb: Parameters<NodeServices["masqueradeAddress"]>[1]):
  ReturnType<NodeServices["masqueradeAddress"]> {
    return this.now().masqueradeAddress(device, skb);
  }

  reject(...call: Parameters<NodeServices["reject"]>): void {
    this.now().reject(...call);
  }

  get sysctls(): Readonly<Record<string, string>> {
    return this.now().sysctls;
  }

  private now(): NodeServices {
    if (this.target === null) throw new Error("a node's rules were asked before its stack was there");
    return this.target;
  }
}

function gateOf(facts: NodeFacts, engine: PolicyEngine | null): PolicyGate | null {
  return engine === null ? null : new PolicyGate(facts.devices, engine);
}

function originOf(rules4: FamilyRules, rules6: FamilyRules): RuleOrigin {
  return (family, table, chain, position) => (family === 4 ? rules4 : rules6).because(table, chain, position);
}

/** Shared tables are one object where they are equal. */
function sameTables(a: RuleSet, b: RuleSet): boolean {
  return a.tables.size === b.tables.size && [...a.tables].every(([name, table]) => b.tables.get(name) === table);
}
