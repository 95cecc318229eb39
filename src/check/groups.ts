/**
 * Pod classes by what has a say over them in one direction: those that the same policies select stand together, and for
 * each such group the classes at the other end fall into those that its policies tell apart. So ingress and egress are
 * each as many classes as their own policies make, not their product with all the rest.
 */
import type { Address } from "../cluster/address.js";
import type { NetworkPolicy, Pod } from "../cluster/cluster.js";
import { matchesSelector } from "../cluster/selector.js";
import { type Classes, numbered, type PodClass } from "./classes.js";
import { numbersOf, ofAddress, ofPod, type Requirement, requirementsOf, rulesIn } from "./requirement.js";
import type { Direction } from "./selection.js";

export interface Group {
  readonly direction: Direction;
  readonly policies: readonly NetworkPolicy[];
  /** No policy has a say. */
  readonly open: boolean;
  readonly classes: readonly PodClass[];
  /** By class of the other end: a number, equal where the group's policies see no difference. */
  readonly peers: Int32Array;
  /** The same for an address that is no pod's; equal texts are alike. */
  addressKey(address: Address): string;
}

/** Groups of a direction, those that no policy selects first. */
export function groupsOf(classes: Classes, direction: Direction): Group[] {
  const { cluster, hasOtherKinds } = classes;
  const members = new Map<string, PodClass[]>();
  const numbers = new Map(cluster.networkPolicies.map((policy, index) => [policy, index]));
  for (const one of classes.pods) {
    const own = direction === "Ingress" ? namedPorts(one) : "";
    const key = JSON.stringify([one.policies[direction].map((policy) => [numbers.get(policy), ...holding(policy, one)]), one.nodeClass, own,
      one.pods[0].ips.map(({ family }) => family), hasOtherKinds ? one.index : -1]);
    const list = members.get(key);
    if (list === undefined) members.set(key, [one]);
    else list.push(one);
  }
  const columns = new Columns(classes);
  const groups = [...members.values()].map((list) => groupOf(list, direction, columns, classes));
  return [...groups.filter(({ open }) => open), ...groups.filter(({ open }) => !open)];
}

function groupOf(list: readonly PodClass[], direction: Direction, columns: Columns, { hasOtherKinds, pods }: Classes): Group {
  const policies = list[0].policies[direction];
  const requirements = new Map(policies.flatMap((policy) => [...requirementsOf(policy, direction)]));
  const all = hasOtherKinds ? Int32Array.from(pods, ({ index }) => index) : columns.joined(requirements);
  return { direction, policies, open: policies.length === 0 && !hasOtherKinds, classes: list, peers: all,
    addressKey: (address) => (hasOtherKinds ? columns.blocksOf(address)
      : [...requirements.values()].map((one) => ofAddress(one, address)).join("")) };
}

/** Which single expressions of the policy's selector hold for the class. */
function holding({ podSelector }: NetworkPolicy, { pods: [pod] }: PodClass): number[] {
  return podSelector.matchExpressions.map((one) => Number(matchesSelector({ matchLabels: {}, matchExpressions: [one] }, pod.labels)));
}

/** The numbers that names of its ingress rules have in its own pods. */
function namedPorts({ policies, pods: [pod] }: PodClass): string {
  const names = policies.Ingress.flatMap((policy) => rulesIn(policy, "Ingress")).flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ port }) => (typeof port === "string" ? [port] : [])));
  return [...new Set(names)].sort().map((name) => `${name}=${numbersOf(pod, name).join()}`).join(";");
}

/** What each requirement says of each class, worked out once. */
class Columns {
  private readonly columns = new Map<string, Int32Array>();
  private readonly texts = new Map<string, number>();

  constructor(private readonly classes: Classes) {}

  blocksOf(address: Address): string {
    return this.classes.blocksOf(address);
  }

  /** Per class: a number, equal where all of these requirements say the same. */
  joined(requirements: ReadonlyMap<string, Requirement>): Int32Array {
    const { pods } = this.classes;
    let joined = new Int32Array(pods.length);
    for (const [key, requirement] of requirements) {
      const column = this.column(key, requirement);
      const pairs = new Map<number, number>();
      const next = new Int32Array(pods.length);
      for (let index = 0; index < pods.length; index++) {
        const pair = joined[index] * 0x100000 + column[index];
        let number = pairs.get(pair);
        if (number === undefined) pairs.set(pair, number = pairs.size);
        next[index] = number;
      }
      joined = next;
    }
    return joined;
  }

  private column(key: string, requirement: Requirement): Int32Array {
    let column = this.columns.get(key);
    if (column === undefined) {
      column = Int32Array.from(this.classes.pods, ({ pods }) => numbered(this.texts, ofPod(requirement, pods[0], this.classes.cluster)));
      this.columns.set(key, column);
    }
    return column;
  }
}

/** Classes by their number in a group's eyes. */
export function split(classes: readonly PodClass[], peers: Int32Array): Map<number, PodClass[]> {
  const found = new Map<number, PodClass[]>();
  for (const one of classes) {
    const key = peers[one.index];
    const list = found.get(key);
    if (list === undefined) found.set(key, [one]);
    else list.push(one);
  }
  return found;
}

/** Two different pods, one of each list, on one node or on two; null where there are none. Low nodes come first. */
export function place(from: readonly PodClass[], to: readonly PodClass[], sameNode: boolean): [Pod, Pod] | null {
  for (const receiver of to) {
    for (const [node, receivers] of receiver.byNode) {
      for (const sender of from) {
        if (!sameNode) {
          for (const [other, senders] of sender.byNode) if (other !== node) return [senders[0], receivers[0]];
          continue;
        }
        for (const pod of sender.byNode.get(node) ?? []) {
          const other = receivers.find((one) => one !== pod);
          if (other !== undefined) return [pod, other];
        }
      }
    }
  }
  return null;
}

/** How many ordered pairs of different pods of two lists are on one node, or on two. */
export function countPairs(from: readonly PodClass[], to: readonly PodClass[], sameNode: boolean): number {
  const [a, b] = [perNode(from), perNode(to)];
  let same = 0;
  for (const [node, count] of a) same += count * (b.get(node) ?? 0);
  const known = new Set(from);
  const self = to.reduce((sum, one) => sum + (known.has(one) ? one.pods.length : 0), 0);
  return sameNode ? same - self : total(a) * total(b) - same;
}

export function podsOf(classes: readonly PodClass[]): number {
  return classes.reduce((sum, one) => sum + one.pods.length, 0);
}

function perNode(classes: readonly PodClass[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { byNode } of classes) for (const [node, pods] of byNode) counts.set(node, (counts.get(node) ?? 0) + pods.length);
  return counts;
}

function total(counts: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
