/**
 * The policy map of every endpoint: which policies select it, whether each direction is enforced, and the
 * entries.
 *
 * Endpoints that the same policies select with the same named ports share one map; so do those whose maps
 * turn out equal. Numbers of maps follow their first endpoint in the order of pods by namespace and name.
 *
 * A map larger than `bpf-policy-map-max` cannot exist: which of its entries a real node holds depends on the
 * order of arrival. What the datapath would do with it is not known, so both directions are undecided.
 */
import type { Cluster, Pod } from "../../../cluster/cluster.js";
import type { Prefix } from "../../../cluster/address.js";
import { prefixOf } from "../../../cluster/address.js";
import type { Because } from "../../../dataplane.js";
import type { CiliumOptions } from "../../options.js";
import type { Identities, Identity } from "../identity.js";
import { nodeAddresses, Reserved } from "../identity.js";
import type { Numbers } from "../numbers.js";
import { CookieTable } from "./cookies.js";
import type { MapEntries, Shadowed } from "./mapstate.js";
import { ALLOW, MapState, precedenceOf, Traffic, trafficKey } from "./mapstate.js";
import type { OpaquePolicy } from "./opaque.js";
import type { PolicyRules, PortRange, Requirement, Rule } from "./rules.js";
import { IP_PROTOCOL } from "./rules.js";
import { SelectorCache } from "./selectors.js";
import { splitPortRange } from "./split.js";

export interface PolicyMap extends MapEntries {
  /** What Cilium would have to hold; more than the limit where `overflow`. */
  readonly size: number;
  readonly overflow: boolean;
  /** Why a direction drops what no entry allows: the policies that enforce it. A cookie; 0: not enforced. */
  readonly denyIngress: number;
  readonly denyEgress: number;
  /**
   * Cookie of a direction whose verdict is not known: an object that is not evaluated selects the endpoint,
   * or the map is too large. 0: known. The direction then holds one entry, for every packet.
   */
  readonly undecidedIngress: number;
  readonly undecidedEgress: number;
  /** Names of the policies that select the endpoints, sorted. */
  readonly policies: readonly string[];
  readonly shadowed: readonly Shadowed[];
}

export interface EndpointPolicies {
  readonly maps: readonly PolicyMap[];
  /** By `cluster.pods` index: index of `maps`, or -1 where the pod is no endpoint. */
  readonly ofPod: Int32Array;
  /** What a cookie stands for; 0 is none. */
  readonly cookies: ReadonlyMap<number, readonly Because[]>;
}

/** Priority levels: everything a NetworkPolicy says, then what the agent itself appends in the last tier. */
const NORMAL = 0;
/** Tiers start at multiples of ten (`perTierRoundUp`). */
const LAST_TIER = 10;

/** A PolicyMap whose cookies are those of the compile under way. */
type Draft = PolicyMap;

export function compileEndpointPolicies(
  cluster: Cluster,
  options: CiliumOptions,
  identities: Identities,
  rules: readonly PolicyRules[],
  opaque: readonly OpaquePolicy[],
  numbers: Numbers,
): EndpointPolicies {
  const selectors = new SelectorCache(identities);
  const cookies = new CookieTable();
  const compiler = new Compiler(options, selectors, cookies);
  const selecting = selectedBy(rules, selectors);
  const hiding = selectedBy(opaque, selectors);
  const hosts = options["policy-cidr-match-mode"] === "nodes" ? hostPrefixes(cluster) : null;

  const ofPod = new Int32Array(cluster.pods.length).fill(-1);
  const groups = new Map<string, number>();
  const contents = new Map<number, readonly number[]>();
  const drafts: Draft[] = [];
  const order = cluster.pods
    .map((_, index) => index)
    .sort((a, b) => byName(cluster.pods[a], cluster.pods[b]));
  for (const index of order) {
    const identity = identities.ofPod[index];
    if (identity === null) continue;
    const pod = cluster.pods[index];
    const never = options["enable-policy"] === "never";
    const policies = never ? [] : (selecting.get(identity.id) ?? []);
    const hidden = never ? [] : (hiding.get(identity.id) ?? []);
    const view = hosts === null ? "" : pod.nodeName;
    const ports = namedPorts(policies, rules, identity);
    const group = `${policies.join(",")}|${hidden.join(",")}|${ports}|${view}`;
    let map = groups.get(group);
    if (map === undefined) {
      const draft = compiler.compile(
        policies.map((at) => rules[at]),
        hidden.map((at) => opaque[at]),
        identity,
        hosts?.get(pod.nodeName) ?? [],
      );
      const hash = contentHash(draft);
      const alike = contents.get(hash) ?? [];
      map = alike.find((at) => sameContent(drafts[at], draft));
      if (map === undefined) {
        map = drafts.push(draft) - 1;
        contents.set(hash, [...alike, map]);
      }
      groups.set(group, map);
    }
    ofPod[index] = map;
  }
  const { becauses, numberOf } = cookies.renumbered(usedCookies(drafts), numbers.cookies);
  return { maps: drafts.map((draft) => finished(draft, numberOf)), ofPod, cookies: becauses };
}

class Compiler {
  private readonly localhost: Because;
  private readonly notEnforced: Because;

  constructor(
    private readonly options: CiliumOptions,
    private readonly selectors: SelectorCache,
    private readonly cookies: CookieTable,
  ) {
    this.localhost = {
      where: options.grades["allow-localhost"] === "read" ? options.where : null,
      object: "allow-localhost",
      rule: options["allow-localhost"],
    };
    this.notEnforced = {
      where: options.grades["enable-policy"] === "read" ? options.where : null,
      object: "enable-policy",
      rule: options["enable-policy"],
    };
  }

  compile(
    policies: readonly PolicyRules[],
    opaque: readonly OpaquePolicy[],
    subject: Identity,
    hosts: readonly Prefix[],
  ): Draft {
    const state = new MapState(this.cookies);
    const always = this.options["enable-policy"] === "always";
    let undecidedIngress = this.hide(
      state,
      Traffic.Ingress,
      opaque.filter((policy) => policy.ingress),
    );
    let undecidedEgress = this.hide(
      state,
      Traffic.Egress,
      opaque.filter((policy) => policy.egress),
    );
    const denyIngress =
      undecidedIngress !== 0
        ? 0
        : this.direction(
            state,
            Traffic.Ingress,
            policies,
            subject,
            hosts,
            policies.filter((policy) => policy.enforcesIngress),
            always,
          );
    const denyEgress =
      undecidedEgress !== 0
        ? 0
        : this.direction(
            state,
            Traffic.Egress,
            policies,
            subject,
            hosts,
            policies.filter((policy) => policy.enforcesEgress),
            always,
          );
    const names = policies.map((policy) => policy.name).sort();
    const { size, shadowed } = state;
    const overflow = size > this.options["bpf-policy-map-max"];
    if (!overflow) {
      return {
        ...state.entries(),
        size,
        overflow,
        denyIngress,
        denyEgress,
        undecidedIngress,
        undecidedEgress,
        policies: names,
        shadowed,
      };
    }
    const stub = new MapState(this.cookies);
    const because: Because = {
      where: null,
      object: "bpf-policy-map-max",
      rule: `${size} entries for a limit of ${this.options["bpf-policy-map-max"]}`,
    };
    undecidedIngress = this.everything(stub, Traffic.Ingress, this.cookies.of(because));
    undecidedEgress = this.everything(stub, Traffic.Egress, this.cookies.of(because));
    return {
      ...stub.entries(),
      size,
      overflow,
      denyIngress: 0,
      denyEgress: 0,
      undecidedIngress,
      undecidedEgress,
      policies: names,
      shadowed: [],
    };
  }

  private hide(state: MapState, direction: number, opaque: readonly OpaquePolicy[]): number {
    if (opaque.length === 0) return 0;
    return this.everything(state, direction, this.cookies.ofAll(opaque.map((policy) => policy.because)));
  }

  private everything(state: MapState, direction: number, cookie: number): number {
    state.insert(0, trafficKey(direction, 0, 0, 0), precedenceOf(NORMAL, ALLOW), cookie);
    return cookie;
  }

  /** Returns the cookie of the default deny; 0 where the direction is not enforced. */
  private direction(
    state: MapState,
    direction: number,
    policies: readonly PolicyRules[],
    subject: Identity,
    hosts: readonly Prefix[],
    enforcing: readonly PolicyRules[],
    always: boolean,
  ): number {
    if (enforcing.length === 0 && !always) {
      state.insert(
        0,
        trafficKey(direction, 0, 0, 0),
        precedenceOf(NORMAL, ALLOW),
        this.cookies.of(this.notEnforced),
      );
      return 0;
    }
    for (const policy of policies) {
      for (const rule of direction === Traffic.Ingress ? policy.ingress : policy.egress) {
        this.rule(state, direction, rule, subject, hosts);
      }
    }
    // The own node may always reach its pods (kubelet probes), unless something of higher precedence denies
    // it.
    if (direction === Traffic.Ingress && this.options["allow-localhost"] !== "policy") {
      state.insert(
        Reserved.Host,
        trafficKey(direction, 0, 0, 0),
        precedenceOf(LAST_TIER, ALLOW),
        this.cookies.of(this.localhost),
      );
    }
    const denying = enforcing.map((policy) => policyBecause(policy, direction));
    return this.cookies.ofAll(denying.length > 0 ? denying : [this.notEnforced]);
  }

  private rule(
    state: MapState,
    direction: number,
    rule: Rule,
    subject: Identity,
    hosts: readonly Prefix[],
  ): void {
    const cookie = this.cookies.of(rule.because);
    const precedence = precedenceOf(NORMAL, ALLOW);
    const ids = rule.peer.kind === "any" ? ANY_IDENTITY : this.selectors.selectIds(rule.peer, hosts);
    for (const range of rule.ports) {
      if (range.name === null) {
        for (const traffic of trafficKeys(direction, range))
          state.insertAll(ids, traffic, precedence, cookie);
      } else if (direction === Traffic.Ingress) {
        // On ingress the name is the subject's own.
        for (const port of numbersOf(subject, range)) {
          state.insertAll(ids, trafficKey(direction, range.protocol, port, 16), precedence, cookie);
        }
      } else {
        this.namedEgress(state, range, rule, hosts, cookie);
      }
    }
  }

  /**
   * On egress a name is each destination's own, so that even a wildcard peer becomes a list of identities and
   * nothing outside the cluster has a named port (cilium#45760). Up to 1.19 a name means one number in the
   * whole cluster, and a rule whose name means several is skipped.
   */
  private namedEgress(
    state: MapState,
    range: PortRange,
    rule: Rule,
    hosts: readonly Prefix[],
    cookie: number,
  ): void {
    const precedence = precedenceOf(NORMAL, ALLOW);
    const named = this.selectors.withNamedPort(range.name!);
    if (this.options.version !== "1.20") {
      const numbers = [...new Set(named.flatMap((identity) => numbersOf(identity, range)))];
      if (numbers.length !== 1) return;
      const ids = rule.peer.kind === "any" ? ANY_IDENTITY : this.selectors.selectIds(rule.peer, hosts);
      state.insertAll(ids, trafficKey(Traffic.Egress, range.protocol, numbers[0], 16), precedence, cookie);
      return;
    }
    for (const peer of rule.peer.kind === "any" ? named : this.selectors.select(rule.peer, hosts)) {
      for (const port of numbersOf(peer, range)) {
        state.insert(peer.id, trafficKey(Traffic.Egress, range.protocol, port, 16), precedence, cookie);
      }
    }
  }
}

const ANY_IDENTITY = Uint32Array.of(0);

function trafficKeys(direction: number, range: PortRange): number[] {
  if (range.first === 0 && range.last === 65535) return [trafficKey(direction, range.protocol, 0, 0)];
  return splitPortRange(range.first, range.last).map(({ port, prefixLength }) =>
    trafficKey(direction, range.protocol, port, prefixLength),
  );
}

function numbersOf(identity: Identity, range: PortRange): number[] {
  const found = new Set<number>();
  for (const port of identity.ports) {
    if (port.name.toLowerCase() === range.name && IP_PROTOCOL[port.protocol] === range.protocol)
      found.add(port.containerPort);
  }
  return [...found];
}

function policyBecause(policy: PolicyRules, direction: number): Because {
  return {
    where: policy.policy.where,
    object: policy.name,
    rule: direction === Traffic.Ingress ? "ingress" : "egress",
  };
}

/** Identity number -> indices of the policies that select it. */
function selectedBy(
  policies: readonly { readonly subject: readonly Requirement[] }[],
  selectors: SelectorCache,
): Map<number, number[]> {
  const selecting = new Map<number, number[]>();
  policies.forEach((policy, at) => {
    for (const identity of selectors.selectPods(policy.subject)) {
      const list = selecting.get(identity.id);
      if (list === undefined) selecting.set(identity.id, [at]);
      else list.push(at);
    }
  });
  return selecting;
}

/** What the ingress rules' port names mean for this subject; part of what makes two endpoints' maps equal. */
function namedPorts(policies: readonly number[], rules: readonly PolicyRules[], subject: Identity): string {
  const parts = new Set<string>();
  for (const at of policies) {
    for (const rule of rules[at].ingress) {
      for (const range of rule.ports) {
        if (range.name !== null)
          parts.add(`${range.name}/${range.protocol}=${numbersOf(subject, range).join(" ")}`);
      }
    }
  }
  return [...parts].sort().join(",");
}

function hostPrefixes(cluster: Cluster): Map<string, Prefix[]> {
  return new Map(
    cluster.nodes.map((node) => [
      node.name,
      nodeAddresses(node).map((address) => prefixOf(address, address.bytes.length * 8)),
    ]),
  );
}

/** A hash over the content; drafts with equal hashes are compared in full by `sameContent`. */
function contentHash(draft: Draft): number {
  let hash = (draft.denyIngress * 31 + draft.denyEgress) | 0;
  for (const column of [draft.identity, draft.traffic, draft.precedence, draft.cookie]) {
    for (let row = 0; row < column.length; row++) hash = Math.imul(hash ^ column[row], 0x01000193);
  }
  return hash;
}

function sameContent(a: Draft, b: Draft): boolean {
  if (a.denyIngress !== b.denyIngress || a.denyEgress !== b.denyEgress || a.size !== b.size) return false;
  if (a.policies.join() !== b.policies.join()) return false;
  return (
    sameColumn(a.identity, b.identity) &&
    sameColumn(a.traffic, b.traffic) &&
    sameColumn(a.precedence, b.precedence) &&
    sameColumn(a.cookie, b.cookie)
  );
}

function sameColumn(a: Uint32Array, b: Uint32Array): boolean {
  for (let row = 0; row < a.length; row++) if (a[row] !== b[row]) return false;
  return a.length === b.length;
}

function usedCookies(drafts: readonly Draft[]): Set<number> {
  const used = new Set<number>();
  for (const draft of drafts) {
    used.add(draft.denyIngress).add(draft.denyEgress);
    let last = 0;
    for (const cookie of draft.cookie) {
      if (cookie !== last) used.add(cookie);
      last = cookie;
    }
    for (const { cookie, by } of draft.shadowed) used.add(cookie).add(by);
  }
  return used;
}

function finished(draft: Draft, numberOf: ReadonlyMap<number, number>): PolicyMap {
  const number = (cookie: number): number => numberOf.get(cookie)!;
  return {
    ...draft,
    cookie: draft.cookie.map(number),
    denyIngress: number(draft.denyIngress),
    denyEgress: number(draft.denyEgress),
    undecidedIngress: number(draft.undecidedIngress),
    undecidedEgress: number(draft.undecidedEgress),
    shadowed: draft.shadowed.map((row) => ({ ...row, cookie: number(row.cookie), by: number(row.by) })),
  };
}

function byName(a: Pod, b: Pod): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
