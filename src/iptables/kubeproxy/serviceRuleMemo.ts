/**
 * What was worked out for a service port stays good while its Service and its EndpointSlices are the same objects:
 * a cluster that changed in one slice, or another node, needs few rules anew. Kept by the objects themselves, so
 * what goes out of use goes by itself.
 *
 * One memo serves one configuration and one IP family.
 */
import type { Cluster, EndpointSlice, Service } from "../../cluster/cluster.js";
import type { Rule, RulePart } from "../ruleset.js";
import { equalRules } from "../tables.js";
import type { EndpointInfo } from "./endpoints.js";
import type { ServicePortInfo } from "./servicePorts.js";
import type { ServiceRules } from "./serviceRules.js";

/** A service port with its slices, as one instant has them. */
export class PortMemo {
  /** Rules differ between nodes beyond what all ports' do: by local endpoints, hints, a firewall's own address. */
  readonly dependsOnNode: boolean;
  private readonly bySituation = new Map<string, ServiceRules>();

  /** @param all endpoints on any node; `local` in them means nothing */
  constructor(readonly info: ServicePortInfo, readonly slices: readonly EndpointSlice[], readonly all: readonly EndpointInfo[]) {
    this.dependsOnNode = info.usesLocalEndpoints || (info.sourceRanges.length > 0 && info.loadBalancerVIPs.length > 0)
      || slices.some((slice) => slice.endpoints.some((one) => one.hintZones.length > 0 || one.hintNodes.length > 0));
  }

  /** The rules in a situation: all that they depend on beside the port, its slices and the configuration. */
  rules(situation: string, make: () => ServiceRules): ServiceRules {
    let rules = this.bySituation.get(situation);
    if (rules === undefined) {
      // A plane of many nodes meets many situations and needs each once.
      if (this.bySituation.size >= 4) this.bySituation.clear();
      rules = make();
      this.bySituation.set(situation, rules);
    }
    return rules;
  }
}

/** What a full sync writes of a node. */
export interface WrittenRules {
  /** All rules but the tail, and the names of nat's chains in the order of their lines. */
  readonly head: readonly Rule[];
  readonly natChains: readonly string[];
  readonly chains: RulePart["chains"];
  readonly rules: readonly Rule[];
}

/** All that they depend on. */
interface WrittenFrom {
  readonly services: readonly ServiceRules[];
  readonly first: readonly Rule[];
  readonly tail: readonly Rule[];
  readonly filterChains: readonly string[];
}

export class ServiceRuleMemo {
  private node: { readonly from: WrittenFrom; readonly made: WrittenRules } | null = null;
  private last: Pick<Cluster, "services"> & { readonly slices: Cluster["endpointSlices"]; readonly ports: readonly PortMemo[] }
    | null = null;
  private readonly infos = new WeakMap<Service, readonly ServicePortInfo[]>();
  private readonly byInfo = new WeakMap<ServicePortInfo, PortMemo>();

  /** The ports of a cluster; `make` where the last call was for other objects. */
  ports({ services, endpointSlices: slices }: Cluster, make: () => readonly PortMemo[]): readonly PortMemo[] {
    if (this.last?.services !== services || this.last.slices !== slices) this.last = { services, slices, ports: make() };
    return this.last.ports;
  }

  infosOf(service: Service, make: () => readonly ServicePortInfo[]): readonly ServicePortInfo[] {
    let infos = this.infos.get(service);
    if (infos === undefined) {
      infos = make();
      this.infos.set(service, infos);
    }
    return infos;
  }

  /** The rules of a node: the last one's, where they are equal; most nodes' are. */
  written(from: WrittenFrom, make: () => WrittenRules): WrittenRules {
    const last = this.node?.from;
    const isLast = last !== undefined && last.services.length === from.services.length
      && last.services.every((rules, at) => rules === from.services[at]) && equalRules(last.first, from.first)
      && equalRules(last.tail, from.tail) && last.filterChains.join() === from.filterChains.join();
    if (!isLast) this.node = { from, made: make() };
    return this.node!.made;
  }

  port(info: ServicePortInfo, slices: readonly EndpointSlice[], endpoints: () => readonly EndpointInfo[]): PortMemo {
    const known = this.byInfo.get(info);
    if (known !== undefined && known.slices.length === slices.length
      && known.slices.every((slice, at) => slice === slices[at])) return known;
    const made = new PortMemo(info, slices, endpoints());
    this.byInfo.set(info, made);
    return made;
  }
}
