/**
 * Both planes over every class of source, destination, port and protocol of a cluster: which pairs would fare otherwise
 * although nobody saw them talk. Each class is one packet through both planes, named as the comparison names packets of
 * captures; nothing here judges by itself. Pairs of which both ends have policies are put together out of what each end
 * says by itself (compose.ts).
 *
 * What is not judged is counted: classes beyond the budget of packets, packets that a plane cannot decide, and what cannot
 * be sent.
 */
import type { Prefix } from "../cluster/address.js";
import type { Cluster, NetworkPolicy, Node } from "../cluster/cluster.js";
import type { SettingSide } from "../compare/catalogue/index.js";
import { Names } from "../compare/names.js";
import type { Plane } from "../dataplane.js";
import type { Denial } from "../planes.js";
import type { ComparedPairs } from "../report/check.js";
import { ChangeGroups } from "./change-groups.js";
import { Classes } from "./classes.js";
import { Composition, settle } from "./compose.js";
import { addEgressEdges, addIngressEdges, type Edges } from "./edge-pairs.js";
import { type Group, groupsOf } from "./groups.js";
import { halfOf } from "./halves.js";
import { gistOf, type Heard, heardOf } from "./heard.js";
import { outsideClasses } from "./outside.js";
import { PodCells } from "./pod-cells.js";
import { addPodPairs } from "./pod-pairs.js";
import { probesOfParts } from "./parts.js";
import { type Probe, ProbeList, type Way } from "./probe.js";
import { reducedCluster } from "./reduce.js";
import type { Direction } from "./selection.js";
import { Senders } from "./send.js";
import { ServiceCells } from "./service-cells.js";
import { ServicePairs } from "./service-pairs.js";
import { PROTOCOL_NUMBERS, type Traffic, TrafficClasses, trafficText } from "./traffic.js";

export interface ExhaustiveInput {
  readonly cluster: Cluster;
  /** Prefixes that planes tell addresses apart by beside policies. */
  readonly prefixes: readonly Prefix[];
  /** Nodes whose rules are their own. */
  readonly special: ReadonlySet<string>;
  /** Packets sent at most. */
  readonly most: number;
  /** Pods above which those that no packet needs are left out of the planes. */
  readonly reduceAbove: number;
  readonly currentHasPolicy: boolean;
  /** Versions and options of both; null: not known. */
  readonly settings: readonly [SettingSide, SettingSide] | null;
  /** Whether a policy's two directions cannot be looked at one by one: an engine says something of the policy as a whole. */
  readonly inseparable: (policy: NetworkPolicy) => boolean;
  /** Both planes for a cluster, and what policies' words deny in it. @param half policies lack a direction there */
  readonly planesOf: (cluster: Cluster, half: boolean) => { readonly planes: readonly [Plane, Plane]; readonly denies: Denial };
}

/** What is told of a class of pairs, for whoever compares: the gist of what came of it (`gistOf`). */
export interface ToldPairs {
  readonly way: Way;
  readonly services: readonly string[];
  readonly traffic: Traffic;
  readonly pairs: number;
  readonly gist: string;
}

export function compareAll(input: ExhaustiveInput, told: ((pairs: ToldPairs) => void) | null = null): ComparedPairs {
  const work = workOf(input);
  const { list, classes, edges, traffic, compositions } = work;
  const { probes } = list;
  const beyond = `beyond the ${input.most} packets that are sent at most (--max-probes)`;
  const halves = hearHalves(input, work, beyond);
  const groups = new ChangeGroups();
  const representatives = compositions.flatMap((one) => [...one.representatives()]);
  const differing = compositions.flatMap((one) => [...one.differing(false)]);
  const sender = senderOf(input, input.cluster, [...probes, ...[...representatives, ...differing].map(({ probe }) => probe)], false);
  for (const { probe, combination, egress, ingress } of representatives) settle(combination, sender.hear(probe), egress, ingress);
  let shown = 0;
  for (const one of compositions) for (const { probe, show } of one.differing(true)) {
    if (probes.length + halves + representatives.length + shown >= input.most) break;
    show(sender.hear(probe));
    shown++;
  }
  let pairs = 0;
  for (const probe of probes) {
    const judged = sender.senders.send(probe);
    const heard = heardOf(judged, sender.senders.fates());
    const own = probe.pairs();
    pairs += own;
    told?.({ way: probe.way, services: probe.services ?? (probe.service === "" ? [] : [probe.service]), traffic: probe.traffic, pairs: own,
      gist: gistOf(heard) });
    if (heard.undecided !== "") groups.refuse(heard.undecided, 1, own);
    else if (heard.found !== null && judged !== null && typeof judged !== "string") {
      const { found } = heard;
      groups.found(found, probe.way, probe.service, own, () => ({ source: judged.sourceName, destination: judged.destinationName,
        traffic: trafficText(probe.traffic), current: found.current, target: found.target }));
    }
  }
  const names = new Names(input.cluster);
  for (const one of compositions) pairs += one.tally(groups, (address) => names.describe(address));
  if (told !== null) for (const one of compositions) one.tell(told);
  if (list.refused > 0) groups.refuse(beyond, list.refused, list.refusedPairs);
  return { podClasses: classes.pods.length, nodeClasses: new Set(classes.nodeClassOf).size, outsideClasses: edges.outside.length,
    classes: probes.length + halves + representatives.length + shown,
    composed: compositions.reduce((sum, { composed }) => sum + composed, 0), pairs,
    protocols: [...traffic.protocols, "ICMP"], ...groups.result() };
}

interface Sender {
  readonly senders: Senders;
  hear(probe: Probe): Heard;
}

function senderOf(input: ExhaustiveInput, cluster: Cluster, probes: readonly Probe[], half: boolean): Sender {
  const some = input.cluster.pods.length > input.reduceAbove ? reducedCluster(cluster, probes) : cluster;
  const { planes, denies } = input.planesOf(some, half);
  const senders = new Senders(some, planes, input.currentHasPolicy, denies, input.settings);
  return { senders, hear: (probe) => {
    const judged = senders.send(probe);
    return heardOf(judged, senders.fates());
  } };
}

/** Asks both ends by themselves. Returns how many packets that took. */
function hearHalves(input: ExhaustiveInput, { list, compositions }: Work, beyond: string): number {
  let left = input.most - list.probes.length;
  const before = left;
  for (const direction of ["Egress", "Ingress"] as const) {
    const parts = compositions.map((one) => (direction === "Egress" ? one.egress : one.ingress));
    const probes = parts.flatMap((one) => [...probesOfParts(one)]);
    if (probes.length === 0) continue;
    const { hear } = senderOf(input, halfOf(input.cluster, direction), probes, true);
    for (const one of parts) one.hear((probe) => (left-- > 0 ? hear(probe) : heardOf(beyond, "")));
  }
  for (const one of compositions) one.meet();
  return before - Math.max(0, left);
}

interface Work {
  readonly list: ProbeList;
  readonly classes: Classes;
  readonly edges: Edges;
  readonly traffic: TrafficClasses;
  readonly compositions: readonly Composition[];
}

function workOf({ cluster, prefixes, special, most, inseparable }: ExhaustiveInput): Work {
  const classes = new Classes(cluster, { prefixes: [...prefixes, ...clusterPrefixes(cluster)], special });
  const traffic = new TrafficClasses(cluster);
  const edges: Edges = { classes, traffic, outside: outsideClasses(cluster, classes.prefixes), nodePorts: nodePortsOf(cluster) };
  const list = new ProbeList(most);
  const groups = (direction: Direction): Group[] => groupsOf(classes, direction);
  const [senders, receivers] = [groups("Egress"), groups("Ingress")];
  addEgressEdges(senders, edges, list);
  addIngressEdges(receivers, edges, list);
  const services = new ServicePairs(edges);
  services.addOthers(senders, list);
  services.addFromOutside(receivers, list);
  const composes = ({ open, policies }: Group): boolean => !open && !policies.some(inseparable);
  const [own, other] = [new Set(senders.filter(composes)), new Set(receivers.filter(composes))];
  // Where one end has no policy comes first: there are few of those.
  for (const open of [true, false]) {
    const asks = (from: Group, to: Group): boolean => (from.open || to.open) === open && !(own.has(from) && other.has(to));
    services.add(senders, receivers, list, asks);
    addPodPairs(senders, receivers, traffic, list, asks);
  }
  const compositions = [
    new Composition("pod to pod", new PodCells(classes, [...other].flatMap((group) => group.classes)), classes, [...own], [...other],
      traffic),
    new Composition("pod to service", new ServiceCells(classes, services.behind), classes, [...own], [...other], traffic),
  ];
  return { list, classes, edges, traffic, compositions };
}

/** What services and nodes' own routes tell addresses apart by. */
function clusterPrefixes({ services, nodes }: Cluster): Prefix[] {
  return [...services.flatMap(({ loadBalancerSourceRanges }) => loadBalancerSourceRanges),
    ...nodes.filter(({ facts }) => facts.source === "read").flatMap((node: Node) => node.facts.routes.map(({ destination }) => destination)
      .filter(({ address, length }) => length < address.bytes.length * 8))];
}

function nodePortsOf({ services, pods }: Cluster): Set<string> {
  return new Set([
    ...services.flatMap(({ ports }) => ports.filter(({ nodePort }) => nodePort > 0)
      .map(({ protocol, nodePort }) => `${PROTOCOL_NUMBERS[protocol]} ${nodePort}`)),
    ...pods.flatMap(({ ports }) => ports.filter(({ hostPort }) => hostPort > 0)
      .map(({ protocol, hostPort }) => `${PROTOCOL_NUMBERS[protocol]} ${hostPort}`)),
  ]);
}
