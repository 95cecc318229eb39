/**
 * Services and EndpointSlices -> frontends with their backends, the backend list, source ranges.
 *
 * A frontend whose backends are filtered to the node (a Local traffic policy) has one row for every node,
 * because the rows differ; `node` says which. Where the external and the internal policy differ, an external
 * frontend has two scopes: 0 for traffic from outside, 1 for traffic from inside the cluster.
 *
 * Numbers depend on the objects only: backends by address, port and protocol; services (rev_nat_id) by
 * frontend address, port, protocol and scope. A backend that is terminating counts only where no active one
 * is left, and only if it still serves.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import type { Cluster, EndpointSlice, Service } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import type { FrontendPlan, FrontendType } from "./frontends.js";
import { planFrontends } from "./frontends.js";
import { byAddress, byPrefix } from "./identity.js";
import type { Numbering, Numbers } from "./numbers.js";
import { IP_PROTOCOL } from "./policy/entry.js";

export interface Backend {
  readonly id: number;
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  /** Active in at least one service, else terminating. */
  readonly terminating: boolean;
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
}

export interface FrontendFlags {
  readonly routable: boolean;
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  readonly twoScopes: boolean;
  readonly sourceRange: boolean;
  readonly sourceRangeDeny: boolean;
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
  readonly affinityMatches: readonly { readonly backend: number; readonly revNatId: number }[];
}

/** A backend as one service sees it. */
interface Candidate {
  readonly key: string;
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  readonly nodeName: string;
  readonly terminating: boolean;
  readonly because: Because;
}

/** loadbalancer.DefaultBackendWeight. */
const DEFAULT_WEIGHT = 100;

type Draft = Omit<Frontend, "revNatId" | "active" | "terminating" | "weights"> & {
  readonly candidates: readonly Candidate[];
  readonly ranges: readonly Prefix[];
};

export function compileServices(
  cluster: Cluster,
  options: CiliumOptions,
  problems: Problem[],
  numbers: Numbers,
): CompiledServices {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of cluster.endpointSlices) {
    const key = `${slice.namespace}/${slice.serviceName}`;
    slices.set(key, [...(slices.get(key) ?? []), slice]);
  }
  const drafts: Draft[] = [];
  const cache = new Map<string, readonly Candidate[]>();
  for (const plan of planFrontends(cluster, options)) {
    drafts.push(...draftsOf(plan, cluster, options, candidatesOf(plan, slices, cache)));
  }
  const kept = withoutConflicts(drafts, problems);
  const backends = numberBackends(kept, numbers.backends);
  const idOf = new Map(backends.map((backend) => [backendKey(backend), backend.id]));
  const revNat = numberFrontends(kept, numbers.services, problems);
  const frontends = kept.map((draft) => finish(draft, idOf, revNat)).sort(byFrontend);
  return {
    frontends,
    backends,
    sourceRanges: sourceRangesOf(kept, revNat),
    affinityMatches: affinityOf(frontends),
  };
}

/** Up to two scopes, and one row a node where a scope is local. */
function draftsOf(
  plan: FrontendPlan,
  cluster: Cluster,
  options: CiliumOptions,
  candidates: readonly Candidate[],
): Draft[] {
  const { service } = plan;
  const wildcard = plan.port === 0;
  const external = plan.type !== "ClusterIP";
  const extLocal =
    service !== null && service.externalTrafficPolicy === "Local" && service.type !== "ClusterIP";
  const intLocal = service !== null && service.internalTrafficPolicy === "Local";
  const twoScopes = external && service !== null && extLocal !== intLocal;
  const ranges = service === null || wildcard ? [] : sourceRanges(plan, service, options);
  const flags: FrontendFlags = {
    routable: plan.routable,
    externalLocal: extLocal && !wildcard,
    internalLocal: intLocal && !wildcard,
    twoScopes,
    sourceRange: ranges.length > 0,
    wildcard,
    sourceRangeDeny:
      ranges.length > 0 && service?.annotations["service.cilium.io/src-ranges-policy"] === "deny",
  };
  const affinity =
    service !== null &&
    !wildcard &&
    service.sessionAffinity === "ClientIP" &&
    options["enable-session-affinity"];
  const base = {
    type: plan.type,
    address: plan.address,
    port: plan.port,
    protocol: plan.protocol,
    flags,
    affinityTimeout: affinity ? service.sessionAffinityTimeoutSeconds : 0,
    because: plan.because,
    ranges,
    maglev: !wildcard && hasMaglev(plan, options),
    owner: ownerOf(plan),
  };
  const scopes = [{ scope: 0, local: external ? extLocal : intLocal }];
  if (twoScopes) scopes.push({ scope: 1, local: intLocal });
  return scopes.flatMap(({ scope, local }) => {
    if (!local || wildcard) return [{ ...base, scope, node: plan.node, candidates }];
    const nodes = plan.node === null ? cluster.nodes.map((node) => node.name) : [plan.node];
    return nodes.map((node) => ({
      ...base,
      scope,
      node,
      candidates: candidates.filter((candidate) => candidate.nodeName === node),
    }));
  });
}

/** useMaglev: frontends that can be reached from outside (pkg/loadbalancer/reconciler, pkg/service). */
function hasMaglev(plan: FrontendPlan, options: CiliumOptions): boolean {
  if (plan.address.bytes.every((byte) => byte === 0)) return false;
  if (options["bpf-lb-algorithm"] !== "maglev") return false;
  return plan.type !== "ClusterIP" || options["bpf-lb-external-clusterip"];
}

/** Only load balancer frontends are checked, unless bpf-lb-source-range-all-types. */
function sourceRanges(plan: FrontendPlan, service: Service, options: CiliumOptions): readonly Prefix[] {
  if (plan.type !== "LoadBalancer" && !options["bpf-lb-source-range-all-types"]) return [];
  return service.loadBalancerSourceRanges;
}

function candidatesOf(
  plan: FrontendPlan,
  slices: ReadonlyMap<string, readonly EndpointSlice[]>,
  cache: Map<string, readonly Candidate[]>,
): readonly Candidate[] {
  if (plan.pod !== null) return hostPortCandidate(plan);
  if (plan.service === null || plan.servicePort === null) return [];
  const { service, servicePort } = plan;
  const family = plan.address.family;
  const key = `${service.namespace}/${service.name} ${servicePort.name} ${servicePort.protocol} ${family}`;
  let found = cache.get(key);
  if (found === undefined) {
    found = sliceCandidates(
      slices.get(`${service.namespace}/${service.name}`) ?? [],
      servicePort.name,
      servicePort.protocol,
      family,
    );
    cache.set(key, found);
  }
  return found;
}

function sliceCandidates(
  slices: readonly EndpointSlice[],
  name: string,
  protocol: Service["ports"][number]["protocol"],
  family: 4 | 6,
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== (family === 4 ? "IPv4" : "IPv6")) continue;
    for (const port of slice.ports) {
      if (port.name !== name || port.protocol !== protocol) continue;
      for (const endpoint of slice.endpoints) {
        const terminating = endpoint.terminating || !endpoint.ready;
        // Not ready and not on its way out: no backend. On its way out: only while it still serves.
        if (terminating && !(endpoint.terminating && endpoint.serving)) continue;
        for (const address of endpoint.addresses) {
          const one = {
            address,
            port: port.port,
            protocol: IP_PROTOCOL[protocol],
            nodeName: endpoint.nodeName,
            terminating,
            because: { where: slice.where, object: `${slice.namespace}/${slice.name}`, rule: address.text },
          };
          const key = backendKey(one);
          const before = found.get(key);
          if (before === undefined || (before.terminating && !terminating)) found.set(key, { key, ...one });
        }
      }
    }
  }
  return [...found.values()].sort(byBackend);
}

function hostPortCandidate(plan: FrontendPlan): Candidate[] {
  const pod = plan.pod!;
  const address = pod.ips.find((ip) => ip.family === plan.address.family);
  const port = pod.ports.find(
    (one) => one.hostPort === plan.port && IP_PROTOCOL[one.protocol] === plan.protocol,
  );
  if (address === undefined || port === undefined) return [];
  const one = {
    address,
    port: port.containerPort,
    protocol: plan.protocol,
    nodeName: pod.nodeName,
    terminating: false,
    because: plan.because,
  };
  return [{ key: backendKey(one), ...one }];
}

/** Two services cannot own one frontend: the first by name keeps it, as a Problem says. */
function withoutConflicts(drafts: readonly Draft[], problems: Problem[]): Draft[] {
  const owners = new Map<string, Draft>();
  const sorted = [...drafts].sort((a, b) => compare(a.owner, b.owner) || compare(rowKey(a), rowKey(b)));
  return sorted.filter((draft) => {
    const key = rowKey(draft);
    const owner = owners.get(key);
    if (owner === undefined) {
      owners.set(key, draft);
      return true;
    }
    if (!draft.flags.wildcard && draft.owner !== owner.owner) {
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

function numberBackends(drafts: readonly Draft[], numbers: Numbering): Backend[] {
  const found = new Map<string, Candidate>();
  for (const { candidates } of drafts) {
    for (const candidate of candidates) {
      const before = found.get(candidate.key);
      if (before === undefined || (before.terminating && !candidate.terminating))
        found.set(candidate.key, candidate);
    }
  }
  return [...found.values()]
    .sort(byBackend)
    .map(({ key, ...candidate }) => ({ id: numbers.of(key), ...candidate }));
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

function finish(
  draft: Draft,
  idOf: ReadonlyMap<string, number>,
  revNat: ReadonlyMap<string, number>,
): Frontend {
  const { candidates, ranges: _, ...frontend } = draft;
  const ids = (terminating: boolean): number[] =>
    candidates.filter((one) => one.terminating === terminating).map((one) => idOf.get(one.key)!);
  const active = ids(false);
  const terminating = ids(true);
  const none = active.length === 0;
  return {
    ...frontend,
    weights: (none ? terminating : active).map(() => DEFAULT_WEIGHT),
    revNatId: revNat.get(frontendKey(draft)) ?? 0,
    active: none ? terminating : active,
    terminating: none ? [] : terminating,
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

function affinityOf(frontends: readonly Frontend[]): { backend: number; revNatId: number }[] {
  const found = new Map<string, { backend: number; revNatId: number }>();
  for (const { affinityTimeout, revNatId, active } of frontends) {
    if (affinityTimeout === 0) continue;
    for (const backend of active) found.set(`${revNatId} ${backend}`, { backend, revNatId });
  }
  return [...found.values()].sort((a, b) => a.revNatId - b.revNatId || a.backend - b.backend);
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
  return `${frontendKey(draft)} ${draft.node ?? ""}`;
}

function backendKey({
  address,
  port,
  protocol,
}: {
  address: Address;
  port: number;
  protocol: number;
}): string {
  return `${address.text} ${port} ${protocol}`;
}

type Placed = { readonly address: Address; readonly port: number; readonly protocol: number };

function byBackend(a: Placed, b: Placed): number {
  return byAddress(a.address, b.address) || a.port - b.port || a.protocol - b.protocol;
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
