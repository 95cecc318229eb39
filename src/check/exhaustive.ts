/**
 * Both planes over every class of source, destination, port and protocol of a cluster: which pairs would fare otherwise
 * although nobody saw them talk. Each class is one packet through both planes, named as the comparison names packets of
 * captures; nothing here judges by itself.
 *
 * What is not judged is counted: classes beyond the budget of packets, packets that a plane cannot decide, and what cannot
 * be sent.
 */
import type { Prefix } from "../cluster/address.js";
import type { Cluster, Node } from "../cluster/cluster.js";
import type { Because, Plane } from "../dataplane.js";
import { type SettingSide, titleOf } from "../compare/catalogue/index.js";
import type { Judged } from "../compare/judged.js";
import type { Denial } from "../planes.js";
import type { Change, ChangeRow, ComparedPairs } from "../report/check.js";
import { Classes } from "./classes.js";
import { addEgressEdges, addIngressEdges, type Edges } from "./edge-pairs.js";
import { groupsOf } from "./groups.js";
import { outsideClasses } from "./outside.js";
import { addPodPairs } from "./pod-pairs.js";
import { type Probe, ProbeList } from "./probe.js";
import { reducedCluster } from "./reduce.js";
import { Senders } from "./send.js";
import { ServicePairs } from "./service-pairs.js";
import { PROTOCOL_NUMBERS, TrafficClasses, trafficText } from "./traffic.js";

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
  /** Versions and options of both. */
  readonly settings: readonly [SettingSide, SettingSide];
  /** Both planes for a cluster, and what policies' words deny in it. */
  readonly planesOf: (cluster: Cluster) => { readonly planes: readonly [Plane, Plane]; readonly denies: Denial };
}

/** A judged probe, for whoever compares; null: the same in both planes; a sentence: not judged. */
export type Told = (probe: Probe, judged: Judged | string | null) => void;

export function compareAll(input: ExhaustiveInput, told: Told = () => {}): ComparedPairs {
  const { list, classes, edges, traffic } = probesOf(input);
  const { probes } = list;
  const cluster = input.cluster.pods.length > input.reduceAbove ? reducedCluster(input.cluster, probes) : input.cluster;
  const { planes, denies } = input.planesOf(cluster);
  const senders = new Senders(cluster, planes, input.currentHasPolicy, denies, input.settings);
  const groups = new Groups();
  let pairs = 0;
  for (const probe of probes) {
    const judged = senders.send(probe);
    told(probe, judged);
    pairs += probe.pairs();
    if (judged !== null) groups.add(probe, judged);
  }
  const beyond = `beyond the ${input.most} packets that are sent at most (--max-probes)`;
  if (list.refused > 0) groups.refuse(beyond, list.refused, list.refusedPairs);
  return { podClasses: classes.pods.length, nodeClasses: new Set(classes.nodeClassOf).size, outsideClasses: edges.outside.length,
    classes: probes.length, pairs, protocols: [...traffic.protocols, "ICMP"], ...groups.result() };
}

interface Probes {
  readonly list: ProbeList;
  readonly classes: Classes;
  readonly edges: Edges;
  readonly traffic: TrafficClasses;
}

function probesOf({ cluster, prefixes, special, most }: ExhaustiveInput): Probes {
  const classes = new Classes(cluster, { prefixes: [...prefixes, ...clusterPrefixes(cluster)], special });
  const traffic = new TrafficClasses(cluster);
  const edges: Edges = { classes, traffic, outside: outsideClasses(cluster, classes.prefixes), nodePorts: nodePortsOf(cluster) };
  const list = new ProbeList(most);
  const senders = groupsOf(classes, "Egress");
  const receivers = groupsOf(classes, "Ingress");
  addEgressEdges(senders, edges, list);
  addIngressEdges(receivers, edges, list);
  const services = new ServicePairs(edges);
  // Where one end has no policy comes first: there are few of those, and most of the rest comes down to them.
  services.addOthers(senders, list);
  services.addFromOutside(receivers, list);
  for (const both of [false, true]) {
    services.add(senders, receivers, list, both);
    addPodPairs(senders, receivers, traffic, list, both);
  }
  return { list, classes, edges, traffic };
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

const EXAMPLES = 3;
const CHANGES: Readonly<Record<string, Change>> = { destination: "other destination", "source seen": "other source",
  "how refused": "other refusal" };
/** The gravest first. */
const GRAVITY: readonly Change[] = ["newly denied", "newly allowed", "other destination", "other source", "other refusal", "other"];

interface Growing extends ChangeRow {
  classes: number;
  pairs: number;
  readonly examples: ChangeRow["examples"][number][];
}

/** What was found, by difference, change and what decides it. */
class Groups {
  private readonly groups = new Map<string, Growing>();
  private readonly reasons = new Map<string, { classes: number; pairs: number }>();

  add(probe: Probe, judged: Judged | string): void {
    if (typeof judged === "string") this.refuse(judged, 1, probe.pairs());
    else if (judged.finding === null) this.refuse(judged.undecided === "" ? sidesReason(judged) : judged.undecided, 1, probe.pairs());
    else this.found(probe, judged, judged.finding);
  }

  refuse(reason: string, classes: number, pairs: number): void {
    const known = this.reasons.get(reason) ?? { classes: 0, pairs: 0 };
    known.classes += classes;
    known.pairs += pairs;
    this.reasons.set(reason, known);
  }

  result(): Pick<ComparedPairs, "groups" | "undecided"> {
    return {
      groups: [...this.groups.values()].sort((a, b) => Number(b.id === "UNEXPLAINED") - Number(a.id === "UNEXPLAINED")
        || GRAVITY.indexOf(a.change) - GRAVITY.indexOf(b.change) || b.pairs - a.pairs || (a.id + a.object < b.id + b.object ? -1 : 1)),
      undecided: [...this.reasons].map(([reason, counts]) => ({ reason, ...counts }))
        .sort((a, b) => b.pairs - a.pairs || (a.reason < b.reason ? -1 : 1)),
    };
  }

  private found(probe: Probe, judged: Judged, { id, facet, reachesNow, current, target }: NonNullable<Judged["finding"]>): void {
    const change = facet === "reached" ? (reachesNow ? "newly denied" : "newly allowed") : CHANGES[facet] ?? "other";
    const sides = judged.sides!;
    // Lines of manifests come before options and programs.
    const all = (change === "newly allowed" ? sides[0] : sides[1]).becauses;
    const becauses = [...all.filter(({ where }) => where !== null), ...all.filter(({ where }) => where === null)];
    const object = objectOf(probe, change, becauses);
    const key = JSON.stringify([id, change, object]);
    let group = this.groups.get(key);
    if (group === undefined) {
      group = { id, title: titleOf(id), change, object, becauses, classes: 0, pairs: 0, examples: [] };
      this.groups.set(key, group);
    }
    group.classes++;
    group.pairs += probe.pairs();
    if (group.examples.length < EXAMPLES) {
      group.examples.push({ source: judged.sourceName, destination: judged.destinationName, traffic: trafficText(probe.traffic), current,
        target });
    }
  }
}

/** The policies that deny, or the service; else the way. */
function objectOf({ service, way }: Probe, change: Change, becauses: readonly Because[]): string {
  const policies = [...new Set(becauses.filter(({ where }) => where !== null).map(({ object }) => object))];
  if ((change === "newly denied" || change === "newly allowed") && policies.length > 0) {
    return `${policies.slice(0, 3).join(", ")}${policies.length > 3 ? ` and ${policies.length - 3} more` : ""}`;
  }
  return service === "" ? way : `service ${service}`;
}

function sidesReason({ sides }: Judged): string {
  const reasons = (sides ?? []).map(({ reason }) => reason).filter((reason) => reason.startsWith("undecided"));
  return reasons.length === 0 ? "not judged" : [...new Set(reasons)].join("; ");
}
