/**
 * Which of a service's backends a node's frontend uses: all of them, the node's own, or those near it (SelectBackends
 * of pkg/loadbalancer/writer from 1.18; filterBackends of pkg/service and filterEndpoints of pkg/k8s before).
 *
 * Topology counts only with enable-service-topology.
 */
import type { Node, Service } from "../../cluster/cluster.js";
import type { CiliumOptions } from "../options.js";
import type { Candidate } from "./backends.js";
import { release, topologyOf } from "./service-annotations.js";

/** Whether rows of nodes differ by topology, so that each node needs one of its own. */
export function variesByNode(service: Service | null, options: CiliumOptions): boolean {
  if (service === null || !options["enable-service-topology"]) return false;
  // Up to 1.17 the hints alone decide, whatever the service asks for.
  return release(options) <= 17 || topologyOf(service, options) !== "";
}

/**
 * The backends of a frontend on `node`.
 *
 * @param ofService the backends of all the service's ports
 * @param local a Local traffic policy is the frontend's
 * @param locals made once for all frontends
 */
export function selectFor(
  node: Node,
  service: Service | null,
  candidates: readonly Candidate[],
  ofService: () => readonly Candidate[],
  local: boolean,
  options: CiliumOptions,
  locals: LocalCandidates,
): readonly Candidate[] {
  const near = service === null || !options["enable-service-topology"]
    ? candidates : nearest(node, service, candidates, ofService(), local, options);
  return local ? locals.of(near, node) : near;
}

/** Nodes' own backends; of one list they are told apart once, whatever the number of nodes. */
export class LocalCandidates {
  private readonly byNode = new WeakMap<readonly Candidate[], ReadonlyMap<string, readonly Candidate[]>>();

  of(candidates: readonly Candidate[], node: Node): readonly Candidate[] {
    let found = this.byNode.get(candidates);
    if (found === undefined) {
      found = byNodeName(candidates);
      this.byNode.set(candidates, found);
    }
    return found.has("") ? candidates.filter((one) => isLocal(one, node)) : found.get(node.name) ?? NONE;
  }
}

const NONE: readonly Candidate[] = [];

function byNodeName(candidates: readonly Candidate[]): ReadonlyMap<string, readonly Candidate[]> {
  const groups = new Map<string, Candidate[]>();
  for (const one of candidates) {
    const group = groups.get(one.nodeName);
    if (group === undefined) groups.set(one.nodeName, [one]);
    else group.push(one);
  }
  return groups;
}

/** `ofService`: the backends of all the service's ports. */
function nearest(
  node: Node,
  service: Service,
  candidates: readonly Candidate[],
  ofService: readonly Candidate[],
  local: boolean,
  options: CiliumOptions,
): readonly Candidate[] {
  const zone = node.labels["topology.kubernetes.io/zone"] ?? "";
  const version = release(options);
  if (version <= 17) {
    const anyLocal = service.externalTrafficPolicy === "Local" || service.internalTrafficPolicy === "Local";
    return zone === "" || anyLocal ? candidates : byHints(candidates, ofService, zone);
  }
  const mode = topologyOf(service, options);
  if (mode === "node") {
    const own = candidates.filter((one) => one.nodeName === node.name && isCandidate(one));
    return own.length > 0 ? own : candidates;
  }
  if (mode !== "zone" || zone === "") return candidates;
  if (version <= 19) return byHints(candidates, ofService, zone);
  const asked = candidates.filter((one) => isCandidate(one) && (!local || isLocal(one, node)));
  return byHints(candidates, asked, zone);
}

/** Those hinted to the zone, if all that are `asked` have hints and one has this zone's. */
function byHints(candidates: readonly Candidate[], asked: readonly Candidate[], zone: string): readonly Candidate[] {
  if (asked.some(({ hintZones }) => hintZones.length === 0)) return candidates;
  if (!asked.some(({ hintZones }) => hintZones.includes(zone))) return candidates;
  return candidates.filter(({ hintZones }) => hintZones.includes(zone));
}

/** topologyPreferenceCandidate: a backend on its way out has no hints, and is not to draw traffic. */
function isCandidate({ state }: Candidate): boolean {
  return state !== "terminating" && state !== "not-serving";
}

/** A backend whose node is not known counts as local everywhere. */
function isLocal({ nodeName }: Candidate, node: Node): boolean {
  return nodeName === "" || nodeName === node.name;
}
