/**
 * Services and EndpointSlices -> frontends with their backends, the backend list, source ranges.
 *
 * A frontend whose backends depend on the node (a Local traffic policy, topology) has one row for every node; `node`
 * says which. Where the external and the internal policy differ, node ports and load balancer addresses have two
 * scopes: 0 for traffic from outside, 1 for traffic from inside the cluster; external IPs only say so and have none.
 *
 * Numbers depend on the objects only: backends by address, port and protocol; services (rev_nat_id) by
 * frontend address, port, protocol and scope. A backend that is terminating counts only where no active one
 * is left, and only if it still serves.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import type { Cluster, EndpointSlice, Node, Service } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { LbAlgorithm } from "../../contract/codes.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import type { Candidate, CandidateState, Placed } from "./backends.js";
import { backendKey, byBackend, candidatesFor, rank } from "./backends.js";
import type { FrontendPlan, FrontendType } from "./frontends.js";
import { planFrontends } from "./frontends.js";
import { byPrefix } from "./identity.js";
import { checkNodePortAddresses } from "./node-port-addresses.js";
import type { Numbering, Numbers } from "./numbers.js";
import { IP_PROTOCOL } from "./policy/entry.js";
import { DEFAULT_WEIGHT, deniesRanges, keepsProtocol, ownAlgorithm, release, usesDsr } from "./service-annotations.js";
import type { RedirectedAddress, Redirects } from "./service-redirects.js";
import { findRedirects } from "./service-redirects.js";
import { LocalCandidates, selectFor, variesByNode } from "./service-topology.js";

export interface Backend {
  readonly id: number;
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  /** The best that a service gives it. */
  readonly state: CandidateState;
  /** Node of the endpoint; empty where unknown. */
  readonly nodeName: string;
  readonly because: Because;
}

export interface Frontend {
  /** Null: every node. */
  readonly node: string | null;
  readonly type: FrontendType;
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  /** LookupScope: 0 external, 1 internal. */
  readonly scope: number;
  readonly revNatId: number;
  readonly flags: FrontendFlags;
  /** Seconds; 0: no affinity. */
  readonly affinityTimeout: number;
  /** LbAlgorithm of its own; UNSPEC: that of the node. */
  readonly algorithm: number;
  /** Backend ids of slots 1..count. */
  readonly active: readonly number[];
  /** Backend ids of the slots behind, counted in qcount: they keep what they have and get nothing new. */
  readonly terminating: readonly number[];
  /** Weights of `active`. */
  readonly weights: readonly number[];
  /** Has a Maglev table. */
  readonly maglev: boolean;
  readonly because: Because;
  /** `namespace/name` of the Service, or of the pod of a host port. */
  readonly owner: string;
  /**
   * Only where rows are made to be counted (compileServices' `counted`). `each`: an empty row of every node. `more`: what the
   * node's row has beyond that.
   */
  readonly part?: "each" | "more";
}

export interface FrontendFlags {
  readonly routable: boolean;
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  readonly twoScopes: boolean;
  readonly sourceRange: boolean;
  readonly sourceRangeDeny: boolean;
  readonly loopback: boolean;
  readonly dsr: boolean;
  /** Of a CiliumLocalRedirectPolicy, or of a proxy's: not evaluated. */
  readonly localRedirect: boolean;
  readonly l7: boolean;
  readonly wildcard: boolean;
}

export interface SourceRange {
  readonly revNatId: number;
  readonly prefix: Prefix;
}

export interface CompiledServices {
  readonly frontends: readonly Frontend[];
  readonly backends: readonly Backend[];
  readonly sourceRanges: readonly SourceRange[];
  /** Ids of a frontend's backends that cilium_lb_affinity_match has, in some order: those that clients may be kept at. */
  readonly keptByAffinity: (frontend: Frontend) => readonly number[];
}

/** A frontend's backends by what they serve. */
type Slots = Pick<Frontend, "active" | "terminating" | "weights">;

type Draft = Omit<Frontend, "revNatId" | "active" | "terminating" | "weights"> & {
  readonly candidates: readonly Candidate[];
  readonly ranges: readonly Prefix[];
};

/** @param counted rows are only counted: a frontend of a Local policy has none for nodes without a backend, see `Frontend.part` */
export function compileServices(
  cluster: Cluster,
  options: CiliumOptions,
  problems: Problem[],
  numbers: Numbers,
  counted = false,
): CompiledServices {
  checkNodePortAddresses(options, problems);
  const backendsOf = candidateFinder(cluster, options);
  const redirects = findRedirects(cluster);
  const drafts: Draft[] = redirects.addresses.map(redirectedDraft);
  const nodes = new Map(cluster.nodes.map((node) => [node.name, node]));
  for (const plan of planFrontends(cluster, options)) drafts.push(...draftsOf(plan, nodes, options, backendsOf, redirects, counted));
  const whole = counted ? withoutMixed(drafts, nodes, options, backendsOf.locals) : drafts;
  const kept = withoutConflicts(whole, options, problems).flatMap((draft) => countedParts(draft, nodes, backendsOf.locals));
  const backends = numberBackends(kept, numbers.backends);
  const idOf = new Map(backends.map((backend) => [backendKey(backend), backend.id]));
  const revNat = numberFrontends(kept, numbers.services, problems);
  const slots = new Map<readonly Candidate[], Slots>();
  const frontends = kept.map((draft) => finish(draft, idOf, revNat, slots)).sort(byFrontend);
  return {
    frontends,
    backends,
    sourceRanges: sourceRangesOf(kept, revNat),
    keptByAffinity: affinityOf(backends, options),
  };
}

interface CandidateFinder {
  /** The backends of a frontend. */
  of(plan: FrontendPlan): readonly Candidate[];
  /** The backends of all the service's ports, of both families. */
  ofService(service: Service): readonly Candidate[];
  readonly locals: LocalCandidates;
}

function candidateFinder(cluster: Cluster, options: CiliumOptions): CandidateFinder {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of cluster.endpointSlices) {
    const key = `${slice.namespace}/${slice.serviceName}`;
    const list = slices.get(key);
    if (list === undefined) slices.set(key, [slice]);
    else list.push(slice);
  }
  const cache = new Map<string, readonly Candidate[]>();
  const find = (service: Service, port: Service["ports"][number], family: 4 | 6): readonly Candidate[] => {
    const name = `${service.namespace}/${service.name}`;
    const key = `${name} ${port.name} ${port.protocol} ${family}`;
    let found = cache.get(key);
    if (found === undefined) {
      found = candidatesFor(slices.get(name) ?? [], port, family, options);
      cache.set(key, found);
    }
    return found;
  };
  return {
    of: (plan) => {
      if (plan.pod !== null) return hostPortCandidate(plan);
      if (plan.service === null || plan.servicePort === null) return [];
      return find(plan.service, plan.servicePort, plan.address.family);
    },
    locals: new LocalCandidates(),
    ofService: (service) => service.ports.flatMap((port) => [...find(service, port, 4), ...find(service, port, 6)]),
  };
}

function hostPortCandidate(plan: FrontendPlan): Candidate[] {
  const pod = plan.pod!;
  const address = pod.ips.find((ip) => ip.family === plan.address.family);
  const port = pod.ports.find(
    (one) => one.hostPort === plan.port && IP_PROTOCOL[one.protocol] === plan.protocol,
  );
  if (address === undefined || port === undefined) return [];
  const place = { address, port: port.containerPort, protocol: plan.protocol };
  return [{ key: backendKey(place), ...place, nodeName: pod.nodeName, state: "active", weight: DEFAULT_WEIGHT, hintZones: [],
    because: plan.because }];
}

/** Up to two scopes, and one row a node where a scope's backends depend on it. */
function draftsOf(
  plan: FrontendPlan,
  byName: ReadonlyMap<string, Node>,
  options: CiliumOptions,
  backendsOf: CandidateFinder,
  redirects: Redirects,
  counted: boolean,
): Draft[] {
  const { service } = plan;
  const wildcard = plan.port === 0;
  const extLocal = service !== null && service.externalTrafficPolicy === "Local";
  const intLocal = service !== null && service.internalTrafficPolicy === "Local" && readsInternalPolicy(options);
  const external = plan.type !== "ClusterIP" && plan.type !== "HostPort";
  const twoScopes = external && !wildcard && extLocal !== intLocal;
  const ranges = service === null || wildcard || !checksRanges(plan.type, options) ? [] : service.loadBalancerSourceRanges;
  const affine = service !== null && !wildcard && service.sessionAffinity === "ClientIP" && options["enable-session-affinity"];
  const base = {
    type: plan.type,
    address: plan.address,
    port: plan.port,
    protocol: plan.protocol,
    flags: {
      routable: plan.routable,
      // From 1.18 the flag is the service's, whatever the frontend.
      externalLocal: extLocal && !wildcard && (external || release(options) >= 18),
      internalLocal: intLocal && !wildcard,
      twoScopes,
      sourceRange: ranges.length > 0,
      sourceRangeDeny: ranges.length > 0 && service !== null && deniesRanges(service, options),
      loopback: plan.loopback && !wildcard,
      dsr: !wildcard && usesDsr(service, plan.protocol, options),
      localRedirect: plan.type === "ClusterIP" && !wildcard && redirects.local.has(ownerOf(plan)),
      l7: !wildcard && isProxied(plan, redirects),
      wildcard,
    },
    affinityTimeout: affine ? service.sessionAffinityTimeoutSeconds : 0,
    algorithm: wildcard ? LbAlgorithm.values.UNSPEC : ownAlgorithm(service, options),
    maglev: !wildcard && hasMaglev(plan, options),
    because: plan.because,
    ranges,
    owner: ownerOf(plan),
  };
  const candidates = backendsOf.of(plan);
  const inside = intLocal && options["enable-internal-traffic-policy"];
  const scopes = [{ scope: 0, local: plan.type === "ClusterIP" ? inside : external && extLocal }];
  if (twoScopes && plan.type !== "ExternalIPs") scopes.push({ scope: 1, local: inside });
  return scopes.flatMap(({ scope, local }) => {
    if (wildcard || (!local && !variesByNode(service, options))) return [{ ...base, scope, node: plan.node, candidates }];
    if (counted && plan.node === null && byName.size > 1 && !options["enable-service-topology"]
      && candidates.every(({ nodeName }) => nodeName !== "")) return [{ ...base, scope, node: null, candidates, part: "each" as const }];
    const own = plan.node === null ? undefined : byName.get(plan.node);
    const nodes = plan.node === null ? [...byName.values()] : own === undefined ? [] : [own];
    const ofService = (): readonly Candidate[] => (service === null ? candidates : backendsOf.ofService(service));
    return nodes.map((node) => ({
      ...base,
      scope,
      node: node.name,
      candidates: selectFor(node, service, candidates, ofService, local, options, backendsOf.locals),
    }));
  });
}

/** Where rows of single nodes have the same address and port, which of them a node keeps depends on the node: all are made there. */
function withoutMixed(drafts: readonly Draft[], nodes: ReadonlyMap<string, Node>, options: CiliumOptions, locals: LocalCandidates): Draft[] {
  const counts = new Map<string, number>();
  const keyOf = (draft: Draft): string => frontendKey(keepsProtocol(options) ? draft : { ...draft, protocol: 0 });
  for (const draft of drafts) {
    if (draft.node === null && draft.part === undefined) continue;
    const key = keyOf(draft);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return drafts.flatMap((draft) => {
    if (draft.part === undefined || counts.get(keyOf(draft)) === 1) return [draft];
    const { part: _, ...row } = draft;
    return [...nodes.values()].map((node) => ({ ...row, node: node.name, candidates: locals.of(draft.candidates, node) }));
  });
}

/** The empty row of every node, and what nodes with backends have beyond it. */
function countedParts(draft: Draft, nodes: ReadonlyMap<string, Node>, locals: LocalCandidates): Draft[] {
  if (draft.part === undefined) return [draft];
  const homes = [...new Set(draft.candidates.map(({ nodeName }) => nodeName))].flatMap((name) => nodes.get(name) ?? []);
  return [{ ...draft, candidates: [] }, ...homes.map((node): Draft => ({ ...draft, part: "more", node: node.name,
    candidates: locals.of(draft.candidates, node) }))];
}

/** Without enable-internal-traffic-policy 1.17 reads every service as Cluster; 1.18 only does not choose backends by it. */
function readsInternalPolicy(options: CiliumOptions): boolean {
  return release(options) === 18 || options["enable-internal-traffic-policy"];
}

/** A proxy takes frontends by the service's port, node ports too. */
function isProxied(plan: FrontendPlan, { proxied }: Redirects): boolean {
  const ports = proxied.get(ownerOf(plan));
  return plan.servicePort !== null && ports !== undefined && (ports.length === 0 || ports.includes(plan.servicePort.port));
}

/** An address of a local redirect policy's own. */
function redirectedDraft({ address, port, protocol, because }: RedirectedAddress): Draft {
  const off = { routable: false, externalLocal: false, internalLocal: false, twoScopes: false, sourceRange: false,
    sourceRangeDeny: false, loopback: false, dsr: false, l7: false, wildcard: false };
  return { node: null, type: "ClusterIP", address, port, protocol, scope: 0, flags: { ...off, localRedirect: true },
    affinityTimeout: 0, algorithm: LbAlgorithm.values.UNSPEC, maglev: false, because, owner: because.object, candidates: [], ranges: [] };
}

/**
 * Which frontends check loadBalancerSourceRanges: those of a load balancer; with bpf-lb-source-range-all-types more or
 * all. 1.18 checks them at every frontend, external IPs are among the load balancer's from 1.20.
 */
function checksRanges(type: FrontendType, options: CiliumOptions): boolean {
  if (!options["enable-svc-source-range-check"]) return false;
  const all = options["bpf-lb-source-range-all-types"];
  switch (release(options)) {
    case 16: return type === "LoadBalancer";
    case 17: return type === "LoadBalancer"
      || (all && (type === "NodePort" || (type === "ClusterIP" && options["bpf-lb-external-clusterip"])));
    case 18: return true;
    case 19: return all || type === "LoadBalancer";
    default: return all || type === "LoadBalancer" || type === "ExternalIPs";
  }
}

/** useMaglev: frontends that can be reached from outside, or whose service asks for it (from 1.18 whatever they are). */
function hasMaglev(plan: FrontendPlan, options: CiliumOptions): boolean {
  if (plan.address.bytes.every((byte) => byte === 0)) return false;
  const own = ownAlgorithm(plan.service, options);
  if (release(options) >= 18 && own !== LbAlgorithm.values.UNSPEC) return own === LbAlgorithm.values.MAGLEV;
  // 1.17 with annotations asks the annotation alone.
  const annotated = release(options) === 17 && options["bpf-lb-algorithm-annotation"];
  if (annotated ? own !== LbAlgorithm.values.MAGLEV : options["bpf-lb-algorithm"] !== "maglev") return false;
  return plan.type !== "ClusterIP" || options["bpf-lb-external-clusterip"];
}

/** Two services cannot own one frontend: the first by name keeps it, as a Problem says. */
function withoutConflicts(drafts: readonly Draft[], options: CiliumOptions, problems: Problem[]): Draft[] {
  const owners = new Map<string, Draft>();
  const sorted = [...drafts].sort((a, b) => compare(a.owner, b.owner) || compare(rowKey(a), rowKey(b)));
  return sorted.filter((draft) => {
    // Without a protocol in the key one of a port's two protocols is programmed.
    const key = rowKey(keepsProtocol(options) ? draft : { ...draft, protocol: 0 });
    const owner = owners.get(key);
    if (owner === undefined) {
      owners.set(key, draft);
      return true;
    }
    const other = backendTexts(draft) !== backendTexts(owner);
    if (draft.owner === owner.owner && draft.protocol !== owner.protocol && other) {
      problems.push({
        where: draft.because.where,
        severity: "warning",
        what:
          `${draft.owner} has port ${draft.port} for two protocols with different backends; Cilium ${options.version} has one of ` +
          "them, which one is chance; the TCP one is evaluated",
      });
    } else if (!draft.flags.wildcard && draft.owner !== owner.owner) {
      problems.push({
        where: draft.because.where,
        severity: "warning",
        what:
          `${draft.owner} and ${owner.owner} both have frontend ` +
          `${draft.address.text}:${draft.port}; the first by name has it`,
      });
    }
    return false;
  });
}

function backendTexts({ candidates }: Draft): string {
  return candidates.map(({ address, port }) => `${address.text} ${port}`).join(" ");
}

function numberBackends(drafts: readonly Draft[], numbers: Numbering): Backend[] {
  const found = new Map<string, Candidate>();
  for (const candidates of new Set(drafts.map((draft) => draft.candidates))) {
    for (const candidate of candidates) {
      const before = found.get(candidate.key);
      if (before === undefined || rank(candidate.state) < rank(before.state)) found.set(candidate.key, candidate);
    }
  }
  return [...found.values()]
    .sort(byBackend)
    .map(({ key, weight: _, hintZones: __, ...candidate }) => ({ id: numbers.of(key), ...candidate }));
}

function numberFrontends(
  drafts: readonly Draft[],
  numbers: Numbering,
  problems: Problem[],
): Map<string, number> {
  const named = drafts.filter((draft) => !draft.flags.wildcard);
  const keys = new Map(named.map((draft) => [frontendKey(draft), draft]));
  const sorted = [...keys.entries()].sort(([, a], [, b]) => byFrontend(a, b));
  if (sorted.length > 65535) {
    problems.push({
      where: null,
      severity: "error",
      what: `${sorted.length} frontends need more than the 65535 numbers of cilium_lb4_reverse_nat`,
    });
  }
  return new Map(sorted.map(([key]) => [key, numbers.of(key)]));
}

/** @param slots of the candidates seen before: frontends of one service port on many nodes have the same */
function finish(
  draft: Draft,
  idOf: ReadonlyMap<string, number>,
  revNat: ReadonlyMap<string, number>,
  slots: Map<readonly Candidate[], Slots>,
): Frontend {
  const { candidates, ranges: _, ...frontend } = draft;
  const known = slots.get(candidates) ?? slotsOf(candidates, idOf);
  slots.set(candidates, known);
  return { ...frontend, revNatId: revNat.get(frontendKey(draft)) ?? 0, ...known };
}

function slotsOf(candidates: readonly Candidate[], idOf: ReadonlyMap<string, number>): Slots {
  const inState = (...states: CandidateState[]): Candidate[] =>
    states.flatMap((state) => candidates.filter((one) => one.state === state));
  const active = inState("active");
  // Proxy-terminating-endpoints: those on their way out serve where nothing else is left (KEP-1669).
  const used = active.length > 0 ? active : inState("terminating");
  const behind = active.length > 0 ? inState("terminating", "not-serving") : inState("not-serving");
  return {
    active: used.map(({ key }) => idOf.get(key)!),
    terminating: behind.map(({ key }) => idOf.get(key)!),
    weights: used.map(({ weight }) => weight),
  };
}

function sourceRangesOf(drafts: readonly Draft[], revNat: ReadonlyMap<string, number>): SourceRange[] {
  const found = new Map<string, SourceRange>();
  for (const draft of drafts) {
    const revNatId = revNat.get(frontendKey(draft)) ?? 0;
    for (const prefix of draft.ranges) {
      if (prefix.address.family === draft.address.family)
        found.set(`${revNatId} ${prefix.text}`, { revNatId, prefix });
    }
  }
  return [...found.values()].sort((a, b) => a.revNatId - b.revNatId || byPrefix(a.prefix, b.prefix));
}

/** Up to 1.17 every backend of the service may be kept; later only an active one. */
function affinityOf(backends: readonly Backend[], options: CiliumOptions): CompiledServices["keptByAffinity"] {
  const live = new Set(backends.filter(({ state }) => state === "active").map(({ id }) => id));
  return ({ affinityTimeout, active, terminating }) => {
    if (affinityTimeout === 0) return [];
    return release(options) <= 17 ? [...active, ...terminating] : active.filter((id) => live.has(id));
  };
}

function ownerOf(plan: FrontendPlan): string {
  const object = plan.service ?? plan.pod!;
  return `${object.namespace}/${object.name}`;
}

function frontendKey({
  address,
  port,
  protocol,
  scope,
}: {
  address: Address;
  port: number;
  protocol: number;
  scope: number;
}): string {
  return `${address.text} ${port} ${protocol} ${scope}`;
}

function rowKey(draft: Draft): string {
  return `${frontendKey(draft)} ${draft.node ?? (draft.part === undefined ? "" : "*")}`;
}

function byFrontend(
  a: Placed & { scope: number; node: string | null },
  b: Placed & { scope: number; node: string | null },
): number {
  return byBackend(a, b) || a.scope - b.scope || compare(a.node ?? "", b.node ?? "");
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
