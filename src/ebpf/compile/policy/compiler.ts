/**
 * The policy map of one endpoint: the rules that select it, in order of level, as entries.
 *
 * Source: cilium pkg/policy/repository.go computePolicyEnforcementAndRules, resolve.go DistillPolicy, l4.go toMapState.
 */
import type { Prefix } from "../../../cluster/address.js";
import { parsePrefix } from "../../../cluster/address.js";
import type { ContainerPort } from "../../../cluster/cluster.js";
import type { Because } from "../../../dataplane.js";
import type { CiliumOptions } from "../../options.js";
import type { Identities, Identity } from "../identity.js";
import { Reserved } from "../identity.js";
import type { CookieTable } from "./cookies.js";
import type { PolicyEntry, PolicyRules, PortRange, Requirement } from "./entry.js";
import { IP_PROTOCOL } from "./entry.js";
import { coveredByWildcard, type Filter, Filters, type SelectorPolicy } from "./filters.js";
import { type Level, LevelTable } from "./levels.js";
import { LongestPrefixState } from "./longest-prefix-state.js";
import { type MapEntries, MapState, type PolicyState, type Shadowed } from "./mapstate.js";
import { PassState } from "./pass-state.js";
import type { Proxies } from "./proxies.js";
import type { HostView, SelectorCache } from "./selectors.js";
import { splitPortRange } from "./split.js";
import { Traffic, trafficKey } from "./traffic.js";
import { ALLOW, authOf, DENY, LEAST, precedenceOf, redirectLow, UNDECIDED_PORT, type ValueTable } from "./values.js";

/** One endpoint's map. While compiling goes on its cookies are those of the compile (`CookieTable`). */
export interface PolicyMap extends MapEntries {
  /** What Cilium would have to hold; more than the limit where `overflow`. */
  readonly size: number;
  readonly overflow: boolean;
  /** Why a direction drops what no entry allows: the policies that enforce it. A cookie; 0: not enforced. */
  readonly denyIngress: number;
  readonly denyEgress: number;
  /** Cookies of entries whose verdict is not known, sorted; such entries have the proxy port UNDECIDED_PORT. */
  readonly undecided: readonly number[];
  /** Names of the policies that select the endpoints, sorted. */
  readonly policies: readonly string[];
  readonly shadowed: readonly Shadowed[];
}

export interface Subject {
  /** The endpoint's own: before 1.20 pods of one identity may differ in them. */
  readonly ports: readonly ContainerPort[];
  /** A node's host endpoint. */
  readonly isHost: boolean;
  readonly host: HostView;
}

export class Compiler {
  private readonly localhost: Because;
  private readonly enablePolicy: Because;
  private readonly byPrefix = new Map<number, readonly Prefix[]>();

  constructor(
    private readonly options: CiliumOptions,
    private readonly identities: Identities,
    private readonly selectors: SelectorCache,
    private readonly cookies: CookieTable,
    private readonly values: ValueTable,
    private readonly proxies: Proxies,
  ) {
    this.localhost = this.option("allow-localhost");
    this.enablePolicy = this.option("enable-policy");
  }

  compile(policies: readonly PolicyRules[], subject: Subject): PolicyMap {
    const plans = [
      this.plan(policies, Traffic.Ingress, subject),
      this.plan(policies, Traffic.Egress, subject),
    ];
    const conflicts = plans.flatMap(({ filters }) => filters.conflicts);
    const names = [...new Set(policies.map((policy) => policy.name))].sort();
    // How 1.16 hands authentication on between entries is not modelled.
    if (this.options.version === "1.16") conflicts.push(...plans.flatMap(({ filters }) => filters.authenticated));
    if (conflicts.length > 0) return this.unknown(names, [...new Set(conflicts)]);
    const state = this.stateFor(plans);
    const left = plans.flatMap((plan) => this.fill(state, plan, subject));
    const entries = state.entries();
    return {
      ...entries,
      size: state.size,
      overflow: this.overflows(state.size),
      denyIngress: plans[0].deny,
      denyEgress: plans[1].deny,
      undecided: undecidedOf(entries),
      policies: names,
      shadowed: left.length === 0 ? state.shadowed : [...state.shadowed, ...left],
    };
  }

  /** An endpoint of which nothing is known: one undecided entry for each direction. */
  unknown(policies: readonly string[], becauses: readonly Because[], size = 0): PolicyMap {
    const cookie = this.cookies.ofAll(becauses);
    return { ...this.alone(this.values.of(precedenceOf(0, ALLOW), UNDECIDED_PORT), cookie), size,
      overflow: this.overflows(size), undecided: [cookie], policies };
  }

  /** An endpoint that nothing may leave or reach. */
  locked(policies: readonly string[], because: Because, size: number): PolicyMap {
    return { ...this.alone(this.values.of(precedenceOf(0, DENY)), this.cookies.of(because)), size, overflow: this.overflows(size),
      undecided: [], policies };
  }

  private overflows(size: number): boolean {
    return size > this.options["bpf-policy-map-max"];
  }

  /** One entry for each direction and every packet. */
  private alone(value: number, cookie: number): Omit<PolicyMap, "size" | "overflow" | "undecided" | "policies"> {
    const state = new MapState(this.cookies, this.values);
    for (const direction of [Traffic.Ingress, Traffic.Egress]) state.insertAll(ANY_IDENTITY, trafficKey(direction, 0, 0, 0), value, cookie);
    return { ...state.entries(), denyIngress: 0, denyEgress: 0, shadowed: [] };
  }

  /** What one direction of the endpoint holds, before it becomes entries. */
  private plan(policies: readonly PolicyRules[], direction: number, { isHost }: Subject): Plan {
    const rules = policies.map((policy) => ({ policy, rules: direction === Traffic.Ingress ? policy.ingress : policy.egress }))
      .filter((one) => one.rules.enforces);
    const always = this.options["enable-policy"] === "always";
    const filters = new Filters(this.selectors, this.cookies);
    const levels = new LevelTable(rules.flatMap((one) => one.rules.entries), this.options.version);
    if (rules.length === 0 && !always) return { direction, filters, levels, extra: [this.wildcard(0)], deny: 0 };
    const denying = rules.filter((one) => one.rules.defaultDeny);
    const requirements = rules.flatMap((one) => one.rules.requires);
    const denyRequirements = rules.flatMap((one) => one.rules.requiresDeny);
    for (const { rules: { entries } } of rules) {
      for (const entry of entries) {
        filters.add(required(entry, entry.verdict === "deny" ? denyRequirements : requirements), levels.of(entry));
      }
    }
    const enforced = denying.length > 0 || always;
    const extra: Extra[] = [];
    const localhost = direction === Traffic.Ingress && this.allowsLocalhost(isHost, rules.length, enforced);
    if (localhost) extra.push({ identity: Reserved.Host, level: levels.last, low: ALLOW, because: [this.localhost] });
    // Without a default deny the rules only add: all else is allowed, after everything.
    if (!enforced || levels.passes) {
      // The agent's own rules have an order: the exception for the own node comes before the deny.
      extra.push({ identity: 0, level: levels.last + (localhost && enforced ? 1 : 0), low: enforced ? DENY : ALLOW,
        because: (enforced ? denying : rules).map((one) => becauseOf(one.policy, direction)) });
    }
    const becauses = denying.map((one) => becauseOf(one.policy, direction));
    const deny = enforced ? this.cookies.ofAll(becauses.length > 0 ? becauses : [this.enablePolicy]) : 0;
    return { direction, filters, levels, extra, deny };
  }

  /**
   * The own node may always reach its pods (kubelet probes), unless something of higher precedence denies it. From 1.20
   * this is a rule beside others: a direction enforced by enable-policy=always alone has none.
   */
  private allowsLocalhost(isHost: boolean, rules: number, enforced: boolean): boolean {
    if (isHost || this.options["allow-localhost"] === "policy") return false;
    return this.options.version === "1.20" ? enforced && rules > 0 : true;
  }

  private stateFor(plans: readonly Plan[]): PolicyState {
    const all = plans.map(({ filters }) => filters.list.flatMap(({ selectors, overruled }) => [...selectors.values(), ...overruled]));
    const has = (wanted: (policy: SelectorPolicy) => boolean): [boolean, boolean] => [all[0].some(wanted), all[1].some(wanted)];
    if (this.options.version === "1.16") {
      return new LongestPrefixState(this.cookies, this.values, has(({ verdict }) => verdict === "deny"), (id) => this.prefixesOf(id));
    }
    if (has(({ verdict }) => verdict === "pass").includes(true)) {
      return new PassState(this.cookies, this.values, plans.map(({ levels }) => levels.bases));
    }
    return new MapState(this.cookies, this.values, has(({ auth }) => auth !== null));
  }

  /** Returns what a filter's wildcard makes needless: a row for each selector, which names its first identity. */
  private fill(state: PolicyState, plan: Plan, subject: Subject): Shadowed[] {
    const left: Shadowed[] = [];
    for (const filter of plan.filters.list) {
      const wildcard = filter.selectors.get("");
      for (const policy of filter.overruled) this.insert(state, plan.direction, filter, policy, subject);
      for (const policy of filter.selectors.values()) {
        const skipped = wildcard !== undefined && policy !== wildcard && !isAnyPort(filter.range)
          && coveredByWildcard(policy, wildcard, this.options.version);
        if (!skipped) this.insert(state, plan.direction, filter, policy, subject);
        else left.push(this.leftOut(plan.direction, filter, policy, wildcard, subject.host));
      }
    }
    for (const { identity, level, low, because } of plan.extra) {
      state.insertAll(Uint32Array.of(identity), trafficKey(plan.direction, 0, 0, 0), this.values.of(precedenceOf(level, low)),
        this.cookies.ofAll(because));
    }
    return left;
  }

  private leftOut(direction: number, { range }: Filter, policy: SelectorPolicy, by: SelectorPolicy, host: HostView): Shadowed {
    const traffic = range.name === null ? trafficKeys(direction, range)[0] : trafficKey(direction, range.protocol, 0, 0);
    return {
      identity: this.selectors.selectIds(policy.peer, host)[0] ?? 0,
      traffic,
      precedence: this.values.precedence(this.valueOf(policy, direction)),
      cookie: policy.cookie,
      by: by.cookie,
    };
  }

  private insert(state: PolicyState, direction: number, filter: Filter, policy: SelectorPolicy, subject: Subject): void {
    const { peer, cookie } = policy;
    const value = this.valueOf(policy, direction);
    const ids = peer.kind === "any" ? ANY_IDENTITY : this.selectors.selectIds(peer, subject.host);
    const { range } = filter;
    if (range.name === null) {
      for (const traffic of trafficKeys(direction, range)) state.insertAll(ids, traffic, value, cookie);
    } else if (direction === Traffic.Ingress) {
      // On ingress the name is the subject's own.
      for (const port of numbersOf(subject, range)) {
        state.insertAll(ids, trafficKey(direction, range.protocol, port, 16), value, cookie);
      }
    } else this.insertNamed(state, range, policy, ids, value, subject.host);
  }

  /**
   * On egress a name is each destination's own, so that even a wildcard peer becomes a list of identities and
   * nothing outside the cluster has a named port (cilium#45760). Up to 1.19 a name means one number in the
   * whole cluster, and a rule whose name means several is skipped.
   */
  private insertNamed(state: PolicyState, range: PortRange, { peer, cookie }: SelectorPolicy, ids: Uint32Array, value: number,
    host: HostView): void {
    const named = this.selectors.withNamedPort(range.name!);
    if (this.options.version !== "1.20") {
      const numbers = [...new Set(named.flatMap((identity) => numbersOf(identity, range)))];
      if (numbers.length === 1) state.insertAll(ids, trafficKey(Traffic.Egress, range.protocol, numbers[0], 16), value, cookie);
      return;
    }
    for (const identity of peer.kind === "any" ? named : this.selectors.select(peer, host)) {
      for (const port of numbersOf(identity, range)) {
        state.insertAll(Uint32Array.of(identity.id), trafficKey(Traffic.Egress, range.protocol, port, 16), value, cookie);
      }
    }
  }

  private valueOf({ peer, verdict, level, redirect, auth }: SelectorPolicy, direction: number): number {
    if (verdict === "pass") return this.values.of(precedenceOf(level, LEAST));
    // What an unknown peer selects is decided by everything that does not depend on it.
    if (peer.kind === "unknown") return this.values.of(precedenceOf(level, verdict === "deny" ? DENY : LEAST), UNDECIDED_PORT);
    if (verdict === "deny") return this.values.of(precedenceOf(level, DENY));
    if (redirect === null) return this.values.of(precedenceOf(level, ALLOW), 0, authOf(auth));
    return this.values.of(precedenceOf(level, redirectLow(redirect.priority)), this.proxies.portOf(redirect, direction), authOf(auth));
  }

  private wildcard(level: Level): Extra {
    return { identity: 0, level, low: ALLOW, because: [this.enablePolicy] };
  }

  private prefixesOf(identity: number): readonly Prefix[] {
    let prefixes = this.byPrefix.get(identity);
    if (prefixes === undefined) {
      const { world, byId } = this.identities;
      const own = byId.get(identity)?.prefix ?? null;
      prefixes = [
        ...(own === null ? [] : [own]),
        ...(identity === world.v4.id ? [parsePrefix("0.0.0.0/0")!] : []),
        ...(identity === world.v6.id ? [parsePrefix("::/0")!] : []),
      ];
      this.byPrefix.set(identity, prefixes);
    }
    return prefixes;
  }

  private option(name: "allow-localhost" | "enable-policy"): Because {
    return { where: this.options.grades[name] === "read" ? this.options.where : null, object: name, rule: this.options[name] };
  }
}

interface Plan {
  readonly direction: number;
  readonly filters: Filters;
  readonly levels: LevelTable;
  readonly extra: readonly Extra[];
  /** Cookie of the default deny; 0 where the direction is not enforced. */
  readonly deny: number;
}

/** An entry of the agent's own. */
interface Extra {
  readonly identity: number;
  readonly level: Level;
  readonly low: number;
  readonly because: readonly Because[];
}

const ANY_IDENTITY = Uint32Array.of(0);

/**
 * fromRequires narrows the rules' fromEndpoints, and nothing else (`GetSourceEndpointSelectorsWithRequirements`, 1.18). A
 * NetworkPolicy's rule without peers has a wildcard there (pkg/k8s/network_policy.go).
 */
function required(entry: PolicyEntry, requirements: readonly Requirement[]): PolicyEntry {
  const { peer } = entry;
  if (requirements.length === 0) return entry;
  if (peer.kind === "any" && peer.endpoints === true) return { ...entry, peer: { kind: "labels", requirements } };
  if (peer.kind !== "labels" || peer.fixed === true) return entry;
  return { ...entry, peer: { kind: "labels", requirements: [...peer.requirements, ...requirements] } };
}

/** Two that are not known stand in one entry, with a cookie of both. */
function undecidedOf({ proxyPort, cookie }: MapEntries): number[] {
  const found = new Set<number>();
  for (let row = 0; row < cookie.length; row++) if (proxyPort[row] === UNDECIDED_PORT) found.add(cookie[row]);
  return [...found].sort((a, b) => a - b);
}

function isAnyPort(range: PortRange): boolean {
  return range.name === null && range.first === 0;
}

export function trafficKeys(direction: number, range: PortRange): number[] {
  if (range.first === 0 && range.last === 65535) return [trafficKey(direction, range.protocol, 0, 0)];
  return splitPortRange(range.first, range.last).map(({ port, prefixLength }) =>
    trafficKey(direction, range.protocol, port, prefixLength),
  );
}

/** Numbers of a named port of the identity's pods. */
export function numbersOf(identity: Pick<Identity, "ports">, range: PortRange): number[] {
  const found = new Set<number>();
  for (const port of identity.ports) {
    if (port.name.toLowerCase() === range.name && IP_PROTOCOL[port.protocol] === range.protocol)
      found.add(port.containerPort);
  }
  return [...found];
}

function becauseOf(policy: PolicyRules, direction: number): Because {
  return { where: policy.where, object: policy.name, rule: direction === Traffic.Ingress ? "ingress" : "egress" };
}
