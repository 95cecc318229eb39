/** What is sent through both planes for a class of pairs: the first packet of one connection, and how many pairs it stands for. */
import type { Address } from "../cluster/address.js";
import type { Node, Pod } from "../cluster/cluster.js";
import type { Traffic } from "./traffic.js";

export type Way = "pod to pod" | "pod to service" | "outside to service" | "outside to pod" | "node to pod" | "pod to node"
  | "pod to outside";

export type Sender =
  | { readonly kind: "pod"; readonly pod: Pod }
  | { readonly kind: "node"; readonly node: Node }
  /** A host outside whose packets enter by this node's uplink. */
  | { readonly kind: "outside"; readonly via: Node };

export interface Probe {
  readonly way: Way;
  readonly sender: Sender;
  readonly source: Address;
  readonly destination: Address;
  readonly traffic: Traffic;
  /** A port of the traffic's interval. */
  readonly port: number;
  /** The backend that a service's first packet is to take, where the plane may choose it. */
  readonly backend: { readonly address: Address; readonly port: number } | null;
  /** `namespace/name` of the service; empty where there is none. */
  readonly service: string;
  /** All services that it stands for; absent: that one alone. */
  readonly services?: readonly string[];
  /** How many pairs of ends it stands for. */
  readonly pairs: () => number;
}

/** Takes probes until there is no more room; what comes then is counted and not judged. */
export class ProbeList {
  readonly probes: Probe[] = [];
  /** Classes without room, and the pairs they stand for. */
  refused = 0;
  refusedPairs = 0;

  constructor(private readonly most: number) {}

  get full(): boolean {
    return this.probes.length >= this.most;
  }

  add(probe: Probe): void {
    if (!this.full) this.probes.push(probe);
    else this.refuse(1, probe.pairs());
  }

  /** Classes that are not even made, because there is no room. */
  refuse(classes: number, pairs: number): void {
    this.refused += classes;
    this.refusedPairs += pairs;
  }
}
