/** Pairs of classes of pods, for composing. */
import { type CellProbe, type Cells, type Item, meet, NodeSets, Stand } from "./cells.js";
import type { Classes, PodClass } from "./classes.js";
import { place } from "./groups.js";
import { podProbes } from "./pod-pairs.js";
import type { Traffic } from "./traffic.js";

export class PodCells implements Cells {
  readonly items: readonly Item[];
  private readonly nodes: NodeSets;

  constructor(classes: Classes, receivers: readonly PodClass[]) {
    this.items = receivers.map((one) => ({ class: one, traits: 0 }));
    this.nodes = new NodeSets(classes.pods, classes.nodes.length);
  }

  serviceOf(): readonly string[] {
    return [];
  }

  stands(sender: PodClass, item: number): number {
    const receiver = this.items[item].class;
    const two = sender.byNode.size > 1 || receiver.byNode.size > 1;
    if (sender === receiver) {
      const one = sender.pods.length > sender.byNode.size;
      return (one ? 1 << Stand.OneNode : 0) | (two ? 1 << Stand.TwoNodes : 0);
    }
    const one = meet(this.nodes.of(sender), this.nodes.of(receiver));
    return (one ? 1 << Stand.OneNode : 0) | (two || !one ? 1 << Stand.TwoNodes : 0);
  }

  pairs(sender: PodClass, item: number, stand: Stand): number {
    const receiver = this.items[item].class;
    const itself = sender === receiver ? sender.pods.length : 0;
    const all = sender.pods.length * receiver.pods.length - itself;
    const one = meet(this.nodes.of(sender), this.nodes.of(receiver)) ? onOneNode(sender, receiver) - itself : 0;
    return stand === Stand.OneNode ? one : all - one;
  }

  probes(sender: PodClass, item: number, stand: Stand, traffic: readonly Traffic[]): CellProbe[] {
    const placed = place([sender], [this.items[item].class], stand === Stand.OneNode);
    if (placed === null) return [];
    return traffic.flatMap((one) => podProbes(...placed, one, () => 0).map((probe): CellProbe =>
      ({ shape: probe.destination.family === 4 ? "IPv4" : "IPv6", traffic: probe.traffic, probe })));
  }
}

function onOneNode(a: PodClass, b: PodClass): number {
  const [few, many] = a.byNode.size <= b.byNode.size ? [a, b] : [b, a];
  let sum = 0;
  for (const [node, { length }] of few.byNode) sum += length * (many.byNode.get(node)?.length ?? 0);
  return sum;
}
