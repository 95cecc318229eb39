/**
 * Dates the changes of a cluster from what conntrack saw: when new endpoints took effect, when the old ones
 * came back, and which entries were deleted by hand or by kube-proxy.
 *
 * A change of endpoints shows in NEW entries of the services it touches (original destination is an address
 * and port of the service, reply source is the endpoint chosen):
 *
 *      before ──o───────o──────(───────────────────)──────n────────▶ time
 *         last choice only the          ▲        first choice only the
 *         old set allows            the change   new set allows
 *
 * The caller says within which bracket of time the change happened (the two test cases around it, the times
 * of two dumps); evidence narrows the bracket, and the change is dated in its middle. Where the choices
 * contradict the bracket there is a Problem, and no change is made up. Node ports are not looked at: they
 * have every address of the node.
 *
 * A deletion shows in a DESTROY of a live UDP entry: asked for by a process, or earlier than the timeout that
 * the entry's last event gave it, which no timer does. (TCP entries also end early by themselves, when a
 * tuple is used again in TIME_WAIT, so for TCP only the kernel's own word counts.) Where the entry led to an
 * endpoint that left, the deletion is taken for kube-proxy's: all entries of that protocol from the service
 * address to that endpoint. Other deletions remove the one entry that was seen.
 *
 * Event times are when the tool read the event; a date is as exact as that.
 */
import type { Cluster, ConntrackDelete, Service, TimelineChange } from "./cluster.js";
import type { ConntrackFlow } from "./conntrack-flow.js";
import type { Problem } from "./problem.js";

export interface ObservedNode {
  readonly node: string;
  /** Events in the order read. */
  readonly flows: readonly ConntrackFlow[];
}

/** The change came after the first time and before the second. ns since the Unix epoch. */
export interface Bracket {
  readonly afterNs: bigint;
  readonly beforeNs: bigint;
}

export interface ObservedChanges {
  /** Oldest first. */
  readonly changes: readonly TimelineChange[];
  readonly problems: readonly Problem[];
}

/** kube-proxy deletes all entries of an endpoint in one go; its DESTROY events come this close together. */
const ONE_DELETION_NS = 1_000_000_000n;

/**
 * @param change where `after` took the place of `before`
 * @param back where `before` came back, or null where it did not
 */
export function changesFromEvents(before: Cluster, after: Cluster, nodes: readonly ObservedNode[],
  change: Bracket, back: Bracket | null): ObservedChanges {
  const problems: Problem[] = [];
  const changes: TimelineChange[] = [];
  const left = endpointsOnlyIn(before, after);
  const arrived = endpointsOnlyIn(after, before);
  const atNs = dateOf("the change of endpoints", change, nodes, left, arrived, problems);
  if (atNs !== null) changes.push({ atNs, kind: "cluster", cluster: after });
  if (back !== null) {
    const backNs = dateOf("the return of the endpoints", back, nodes, arrived, left, problems);
    if (backNs !== null) changes.push({ atNs: backNs, kind: "cluster", cluster: before });
  }
  for (const node of nodes) changes.push(...deletionsOn(node, left));
  changes.sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
  return { changes, problems };
}

/** The middle of the bracket that evidence has narrowed; null, with a Problem, where nothing is left. */
function dateOf(what: string, bracket: Bracket, nodes: readonly ObservedNode[], onlyOld: ReadonlySet<string>,
  onlyNew: ReadonlySet<string>, problems: Problem[]): bigint | null {
  const found = { after: bracket.afterNs, before: bracket.beforeNs };
  for (const { flows } of nodes) {
    for (const flow of flows) {
      if (flow.event !== "NEW" || flow.timeNs === null) continue;
      // Choices outside the bracket belong to other changes.
      if (flow.timeNs <= bracket.afterNs || flow.timeNs >= bracket.beforeNs) continue;
      const choice = choiceOf(flow);
      if (onlyOld.has(choice) && flow.timeNs > found.after) found.after = flow.timeNs;
      if (onlyNew.has(choice) && flow.timeNs < found.before) found.before = flow.timeNs;
    }
  }
  if (found.after < found.before) return (found.after + found.before) / 2n;
  problems.push({ where: null, severity: "error",
    what: `${what} cannot be dated: a connection still got an old endpoint at ${found.after} ns although `
      + `another had got a new one by ${found.before} ns; expected all old choices before all new ones; the `
      + "change is not used" });
  return null;
}

function deletionsOn(observed: ObservedNode, gone: ReadonlySet<string>): TimelineChange[] {
  const deletions: { atNs: bigint; kind: "conntrack-delete"; entry: ConntrackDelete }[] = [];
  const endsAt = new Map<string, bigint>();
  const lastAt = new Map<string, bigint>();
  for (const flow of observed.flows) {
    if (flow.timeNs === null) continue;
    const key = entryKey(flow);
    if (flow.event !== "DESTROY") {
      const left = flow.timeoutSeconds;
      if (left !== null) endsAt.set(key, flow.timeNs + BigInt(left) * 1_000_000_000n);
      continue;
    }
    const tooEarly = flow.protocol === 17 && flow.timeNs < (endsAt.get(key) ?? 0n);
    endsAt.delete(key);
    if (!flow.byUserspace && !tooEarly) continue;
    const entry = gone.has(choiceOf(flow)) ? byEndpoint(observed.node, flow) : byTuple(observed.node, flow);
    const asked = deletionKey(entry);
    const earlier = lastAt.get(asked);
    if (earlier !== undefined && flow.timeNs - earlier < ONE_DELETION_NS) continue;
    lastAt.set(asked, flow.timeNs);
    deletions.push({ atNs: flow.timeNs, kind: "conntrack-delete", entry });
  }
  return deletions;
}

/** What kube-proxy asks for: `conntrack -D --orig-dst <service> -p udp --dst-nat <endpoint>`. */
function byEndpoint(node: string, flow: ConntrackFlow): ConntrackDelete {
  return {
    node, family: flow.family, protocol: flow.protocol,
    originalSource: null, originalDestination: flow.original.destination,
    originalSourcePort: null, originalDestinationPort: null,
    replySource: flow.reply.source,
  };
}

function byTuple(node: string, flow: ConntrackFlow): ConntrackDelete {
  return {
    node, family: flow.family, protocol: flow.protocol,
    originalSource: flow.original.source, originalDestination: flow.original.destination,
    originalSourcePort: flow.original.sourcePort, originalDestinationPort: flow.original.destinationPort,
    replySource: flow.reply.source,
  };
}

function deletionKey(entry: ConntrackDelete): string {
  return `${entry.protocol} ${entry.originalSource?.text} ${entry.originalSourcePort} `
    + `${entry.originalDestination?.text} ${entry.originalDestinationPort} ${entry.replySource?.text}`;
}

function entryKey(flow: ConntrackFlow): string {
  const { source, destination, sourcePort, destinationPort } = flow.original;
  return `${flow.protocol} ${source.text} ${sourcePort} ${destination.text} ${destinationPort}`;
}

/** Service address and endpoint of an entry, as endpointsOnlyIn spells them. */
function choiceOf(flow: ConntrackFlow): string {
  return choiceKey(flow.protocol, flow.original.destination.text, flow.original.destinationPort,
    flow.reply.source.text, flow.reply.sourcePort);
}

function choiceKey(protocol: number, service: string, servicePort: number, endpoint: string,
  endpointPort: number): string {
  return `${protocol} ${service} ${servicePort} ${endpoint} ${endpointPort}`;
}

/** Choices (service address and port, endpoint) that the one cluster allows and the other does not. */
function endpointsOnlyIn(one: Cluster, other: Cluster): Set<string> {
  const there = choices(other);
  return new Set([...choices(one)].filter((choice) => !there.has(choice)));
}

function choices(cluster: Cluster): Set<string> {
  const found = new Set<string>();
  const slices = new Map<string, Cluster["endpointSlices"][number][]>();
  for (const slice of cluster.endpointSlices) {
    const key = `${slice.namespace}/${slice.serviceName}`;
    slices.set(key, [...(slices.get(key) ?? []), slice]);
  }
  for (const service of cluster.services) {
    const ofService = slices.get(`${service.namespace}/${service.name}`) ?? [];
    for (const slice of ofService) addChoices(service, slice, found);
  }
  return found;
}

function addChoices(service: Service, slice: Cluster["endpointSlices"][number], found: Set<string>): void {
  const virtual = service.loadBalancerIngress.map((one) => one.ip);
  const frontends = [...service.clusterIPs, ...service.externalIPs, ...virtual];
  for (const port of service.ports) {
    const target = slice.ports.find((one) => one.name === port.name && one.protocol === port.protocol);
    if (target === undefined) continue;
    const protocol = port.protocol === "TCP" ? 6 : port.protocol === "UDP" ? 17 : 132;
    for (const endpoint of slice.endpoints) {
      if (!endpoint.ready || endpoint.addresses.length === 0) continue;
      for (const frontend of frontends) {
        found.add(choiceKey(protocol, frontend.text, port.port, endpoint.addresses[0].text, target.port));
      }
    }
  }
}
