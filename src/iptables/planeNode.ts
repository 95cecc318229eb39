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
import { parseRuleSet, type RuleSet } from "../linux/netfilter/rule-set.js";
import type { TableName } from "../linux/netfilter/rule.js";
import { type IpSets, parseIpSets } from "../linux/netfilter/sets/ipsets.js";
import type { NodeServices } from "../linux/skb.js";
import type { NodeOwnRules } from "./dump/ownRules.js";
import { namedSets, type SetMaker } from "./dump/ownSets.js";
import type { Journeys } from "./journeys.js";
import { kubeProxySysctls, type KubeProxyConfig } from "./kubeproxy/config.js";
import { UdpCleanup, udpSlicesChanged } from "./kubeproxy/conntrackCleanup.js";
import { generateKubeProxy } from "./kubeproxy/generate.js";
import { masqueradePart, type MasqueradeConfig } from "./masquerade/cni.js";
import { NodeHooks, type RuleOrigin } from "./nodeHooks.js";
import { PolicyGate, type PolicyEngine } from "./policy.js";
import { joinRules, type NodeRules, type RulePart } from "./ruleset.js";

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

interface FamilyRules {
  readonly text: string;
  /** The generators' sets of this family. */
  readonly sets: string;
  readonly set: RuleSet;
  readonly because: (line: number) => readonly Because[];
}

/** kube-proxy sizes conntrack by the node's CPUs, which no fact tells; the table has no limit here. */
const CORES = 4;

/** The text generated for a node and a family: kube-proxy's part and the masquerade agent's. */
export function generatedRules(cluster: Cluster, node: Node, family: Family, config: IptablesConfig): NodeRules {
  return joinRules([
    generateKubeProxy({ cluster, node, family, config: config.kubeProxy }),
    masqueradePart(config.masquerade, family),
    ...(config.programs ?? []).map((program) => program(cluster, node, family)),
  ]);
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
      if (cleanUp && udpSlicesChanged(before, cluster, family, this.options.config.kubeProxy)) this.cleanUp(cluster, family);
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
      return { text: "", sets: namedSets(own.set, made), set: own.set, because: (line) => [{ where: { file: own.file, line },
        object: `rule of node ${node.name}`, rule: own.lines[line - 1] ?? "" }] };
    }
    const { text, sets, becauseAt, undecided } = generatedRules(cluster, node, family, config);
    if (before !== null && before.text === text) return { text, sets, set: before.set, because: becauseAt };
    const parsed = parseRuleSet(text, `rules of ${node.name} for IPv${family}`, family);
    // A rule that we write and do not understand ourselves is our own mistake.
    if (parsed.problems.length > 0) throw new Error(`generated rules: ${parsed.problems[0].what}`);
    markUndecided(parsed.rules, undecided);
    return { text, sets, set: parsed.rules, because: becauseAt };
  }

  /** The node's own sets where it said them, else the generators' of both families. */
  private setsOf(): IpSets {
    const own = this.options.own?.sets ?? null;
    if (own !== null) return own;
    const { sets, problems } = parseIpSets(this.rules4.sets + this.rules6.sets, `sets of ${this.name}`);
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

/** Where a program has rules that are not modelled, nothing is decided. */
function markUndecided(set: RuleSet, lines: ReadonlyMap<number, string>): void {
  if (lines.size === 0) return;
  for (const { chains } of set.tables.values()) {
    for (const chain of chains.values()) {
      chain.rules = chain.rules.map((rule) => {
        const why = lines.get(rule.line);
        return why === undefined ? rule : { ...rule, matches: [...rule.matches, { kind: "unmodelled", text: why }] };
      });
    }
  }
}

function originOf(rules4: FamilyRules, rules6: FamilyRules): RuleOrigin {
  return (family, table, chain, position) => {
    const { set, because } = family === 4 ? rules4 : rules6;
    const rule = set.tables.get(table as TableName)?.chains.get(chain)?.rules[position - 1];
    return rule === undefined ? [] : because(rule.line);
  };
}
