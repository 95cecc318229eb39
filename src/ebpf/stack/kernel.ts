/**
 * The kernel of one Cilium node, as packets meet it that a program passes up: src/linux with the rules that stand on
 * the node. Rules and routes follow a change of the cluster; connections stay.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, ConntrackDelete, Device, Node, NodeFacts } from "../../cluster/cluster.js";
import { createNetfilter, type Netfilter } from "../../linux/netfilter/netfilter.js";
import { RuleCache } from "../../linux/netfilter/rule-cache.js";
import type { RuleSet } from "../../linux/netfilter/rule-set.js";
import { type IpSets, parseIpSets } from "../../linux/netfilter/sets/ipsets.js";
import { LinuxNode } from "../../linux/node.js";
import type { NodeServices } from "../../linux/skb.js";
import type { CiliumOptions } from "../options.js";
import { ciliumRules } from "./cilium-rules.js";
import { factsUnderCilium } from "./facts.js";
import { StackHooks } from "./memory.js";
import { HOST_DEVICE } from "./own-rule.js";
import type { RuleGiver, StackRules } from "./rules.js";

export interface KernelOptions {
  readonly cilium: CiliumOptions;
  readonly rules: RuleGiver;
  readonly chance: (flow: number, draw: number) => number;
  readonly traced: boolean;
  /** Rules that are equal on several nodes are read once. */
  readonly caches: Readonly<Record<Family, RuleCache>>;
}

export class NodeKernel {
  readonly hooks: StackHooks;
  linux: LinuxNode;
  private readonly netfilter: Netfilter;
  private services: NodeServices | null = null;
  private devices = new Map<number, Device>();
  private given: Readonly<Record<Family, StackRules>>;
  /** Those that the stack was built of. */
  private facts: NodeFacts | null = null;
  private host = 0;
  private readonly name: string;

  constructor(readonly number: number, node: Node, cluster: Cluster, private readonly options: KernelOptions) {
    this.name = node.name;
    this.given = this.rulesOf(cluster, node);
    this.netfilter = createNetfilter({
      services: this.lateServices(), rules4: this.read(node, 4), rules6: this.read(node, 6), sets: this.sets(node),
      chance: options.chance, sysctls: node.facts.sysctls,
    });
    this.hooks = new StackHooks(node.name, this.netfilter, options.traced, this.origin);
    this.linux = this.build(factsUnderCilium(node, cluster, options.cilium));
  }

  device(index: number): Device | undefined {
    return this.devices.get(index);
  }

  /** Where the kernel sees a packet come in: what a program took out of a tunnel comes by cilium_host. */
  ingress(index: number): number {
    return this.devices.has(index) ? index : this.host;
  }

  change(cluster: Cluster, node: Node): void {
    const before = this.given;
    this.given = this.rulesOf(cluster, node);
    this.netfilter.replaceRules(this.read(node, 4), this.read(node, 6));
    if (before[4].sets !== this.given[4].sets || before[6].sets !== this.given[6].sets) this.netfilter.replaceSets(this.sets(node));
    const facts = factsUnderCilium(node, cluster, this.options.cilium);
    if (JSON.stringify(facts) !== JSON.stringify(this.facts)) this.linux = this.build(facts);
  }

  deleteConntrack(entry: ConntrackDelete): void {
    this.netfilter.deleteConntrack(entry);
  }

  /** `iptables-save -c` or `ip6tables-save -c`. */
  save(family: Family): string {
    return this.netfilter.save(family);
  }

  private rulesOf(cluster: Cluster, node: Node): Readonly<Record<Family, StackRules>> {
    const of = (family: Family): StackRules =>
      this.options.rules(cluster, node, family, ciliumRules(cluster, node, family, this.options.cilium));
    return { 4: of(4), 6: of(6) };
  }

  private read(node: Node, family: Family): RuleSet {
    const { rules, problems } = this.options.caches[family].build(this.given[family].tables, `rules of ${node.name} for IPv${family}`);
    // A rule that we write and do not understand ourselves is our own mistake.
    if (problems.length > 0) throw new Error(`generated rules: ${problems[0].what}`);
    return rules;
  }

  private sets(node: Node): IpSets {
    const { sets, problems } = parseIpSets(this.given[4].sets + this.given[6].sets, `sets of ${node.name}`);
    if (problems.length > 0) throw new Error(`generated sets: ${problems[0].what}`);
    return sets;
  }

  private build(facts: NodeFacts): LinuxNode {
    this.facts = facts;
    this.devices = new Map(facts.devices.map((device) => [device.index, device]));
    this.host = facts.devices.find(({ name }) => name === HOST_DEVICE)!.index;
    return new LinuxNode({ name: this.name, facts, netfilter: (services) => {
      this.services = services;
      return this.hooks;
    } });
  }

  private readonly origin = (family: Family, table: string, chain: string, position: number): ReturnType<StackRules["becauseAt"]> =>
    this.given[family].becauseAt(table, chain, position);

  /** Netfilter outlives the stack that it asks. */
  private lateServices(): NodeServices {
    const now = (): NodeServices => {
      if (this.services === null) throw new Error("a node's rules were asked before its stack was there");
      return this.services;
    };
    return {
      addressType: (...call) => now().addressType(...call), deviceName: (index) => now().deviceName(index),
      masqueradeAddress: (...call) => now().masqueradeAddress(...call), reject: (...call) => now().reject(...call),
      wayBack: (skb) => now().wayBack!(skb), pathMtu: (skb) => now().pathMtu!(skb),
      get sysctls() {
        return now().sysctls;
      },
    };
  }
}
