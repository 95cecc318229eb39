/**
 * What Felix makes of a cluster on every node alike, made once: endpoints, the policies that select them, members of
 * sets, chains of policies. For one cluster and one configuration, neither of which changes.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import { LabelIndex } from "../../cluster/label-index.js";
import type { Rule } from "../ruleset.js";
import { EndpointIndex, type WorkloadEndpoint, workloadEndpoints } from "./endpoints.js";
import { type IpSet, IpSetBuilder } from "./ipSets.js";
import { calicoPolicies, type CalicoPolicy, type PolicyDirection } from "./policies.js";
import type { FelixChain, FelixRule } from "./rule.js";
import type { EndpointLabels } from "./selector.js";

interface PolicyChain {
  readonly chain: FelixChain;
  /** Those that its rules name. */
  readonly sets: IpSetBuilder;
}

export class FelixCluster {
  readonly hasIPv6: boolean;
  private readonly endpoints: EndpointIndex;
  private readonly policies: LabelIndex<CalicoPolicy>;
  private readonly byNode = new Map<string, WorkloadEndpoint[]>();
  /** Policies by the labels of what they select, whatever directions they have. */
  private readonly selecting = new Map<EndpointLabels, readonly CalicoPolicy[]>();
  private readonly byLabels = new Map<string, readonly CalicoPolicy[]>();
  private readonly members: Readonly<Record<Family, Map<string, IpSet>>> = { 4: new Map(), 6: new Map() };
  private readonly chains: Readonly<Record<Family, Map<string, PolicyChain>>> = { 4: new Map(), 6: new Map() };
  private readonly lines = new WeakMap<FelixChain, readonly Rule[]>();

  constructor(readonly cluster: Cluster) {
    this.hasIPv6 = cluster.pods.some((pod) => pod.ips.some((ip) => ip.family === 6));
    const endpoints = workloadEndpoints(cluster);
    this.endpoints = new EndpointIndex(endpoints);
    this.policies = new LabelIndex(calicoPolicies(cluster), ({ selector }) => selector.requires);
    for (const endpoint of endpoints) {
      const own = this.byNode.get(endpoint.pod.nodeName);
      if (own === undefined) this.byNode.set(endpoint.pod.nodeName, [endpoint]);
      else own.push(endpoint);
    }
  }

  /** Endpoints of a node, by namespace and name. */
  endpointsOf(node: string): readonly WorkloadEndpoint[] {
    return this.byNode.get(node) ?? [];
  }

  /** The policies that isolate the endpoint in the direction, in the order in which they are judged. */
  policiesOf({ labels }: WorkloadEndpoint, direction: PolicyDirection): readonly CalicoPolicy[] {
    let found = this.selecting.get(labels);
    if (found === undefined) {
      const key = JSON.stringify([...labels]);
      found = this.byLabels.get(key) ?? this.policies.candidates(labels).filter(({ selector }) => selector.holds(labels));
      this.byLabels.set(key, found);
      this.selecting.set(labels, found);
    }
    return found.filter((policy) => policy[direction] !== null);
  }

  /** The sets of one node, none yet. */
  sets(family: Family): IpSetBuilder {
    return new IpSetBuilder(family, this.endpoints, this.members[family]);
  }

  /** The chain of that name in the filter table, made for the first node that has it; `sets` gets those that it names. */
  chain(name: string, family: Family, sets: IpSetBuilder, make: (sets: IpSetBuilder) => FelixRule[]): FelixChain {
    let found = this.chains[family].get(name);
    if (found === undefined) {
      const own = this.sets(family);
      found = { chain: { table: "filter", name, rules: make(own) }, sets: own };
      this.chains[family].set(name, found);
    }
    sets.include(found.sets);
    return found.chain;
  }

  /** A chain's rules as they are written; a chain that nodes share is written once. */
  written(chain: FelixChain, write: (chain: FelixChain) => readonly Rule[]): readonly Rule[] {
    let found = this.lines.get(chain);
    if (found === undefined) this.lines.set(chain, found = write(chain));
    return found;
  }
}
