/** Pairs of a class of pods and the backends of one class behind a port of a service, for composing. */
import { type CellProbe, type Cells, exceeds, type Item, meet, NodeSets, Stand } from "./cells.js";
import type { Classes, PodClass } from "./classes.js";
import { type Behind, isLocal, serviceProbes } from "./service-pairs.js";
import type { Traffic } from "./traffic.js";

/** Policies judge a service's traffic at the backend's port, which is one of a service's traits. */
const ANY: Traffic = { protocol: 0, first: 0, last: 0 };

interface ServiceItem extends Item {
  readonly behind: Behind;
  /** A policy of it is Local. */
  readonly local: boolean;
  /** Nodes of its backends, and of all endpoints of its port. */
  readonly homes: Uint32Array;
  readonly endpoints: Uint32Array;
}

export class ServiceCells implements Cells {
  readonly items: readonly ServiceItem[];
  private readonly nodes: NodeSets;

  constructor(private readonly classes: Classes, behind: readonly Behind[]) {
    this.nodes = new NodeSets(classes.pods, classes.nodes.length);
    const numbers = new Map<string, number>();
    const setOf = (names: Iterable<string>): Uint32Array => {
      const set = new Uint32Array(Math.ceil(classes.nodes.length / 32));
      for (const name of names) {
        const node = classes.nodeNumbers.get(name)!;
        set[node >> 5] |= 1 << (node & 31);
      }
      return set;
    };
    this.items = behind.map((one) => {
      if (!numbers.has(one.traits)) numbers.set(one.traits, numbers.size);
      return { class: one.backends[0].class, traits: numbers.get(one.traits)!, behind: one, local: isLocal(one.service),
        homes: setOf(one.backends.map(({ pod }) => pod.nodeName)), endpoints: setOf(one.nodes) };
    });
  }

  serviceOf(item: number): readonly string[] {
    const { namespace, name } = this.items[item].behind.service;
    return [`${namespace}/${name}`];
  }

  stands(sender: PodClass, item: number): number {
    const { behind, local, homes, endpoints, class: own } = this.items[item];
    const nodes = this.nodes.of(sender);
    const itself = sender === own;
    const one = itself ? behind.backends.some(({ pod }) => sender.byNode.get(this.classes.nodeNumbers.get(pod.nodeName)!)!.length > 1)
      : meet(nodes, homes);
    const two = local ? exceeds(nodes, endpoints) : exceeds(nodes, homes) || exceeds(homes, nodes)
      || sender.byNode.size > 1;
    return (one ? 1 << Stand.OneNode : 0) | (two ? 1 << Stand.TwoNodes : 0) | (itself ? 1 << Stand.Itself : 0);
  }

  pairs(sender: PodClass, _item: number, stand: Stand): number {
    return stand === Stand.Itself ? 1 : sender.pods.length;
  }

  probes(sender: PodClass, item: number, stand: Stand): CellProbe[] {
    const { behind } = this.items[item];
    return [...serviceProbes(behind, [sender], this.classes, this.serviceOf(item))].filter((one) => one.stand === stand)
      .map(({ shape, probe }): CellProbe => ({ shape, traffic: ANY, probe }));
  }
}
