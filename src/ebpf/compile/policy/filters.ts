/**
 * Entries of one endpoint and direction, merged as Cilium merges them before they go into the map: one filter for each
 * tier, protocol and port, with one policy for each selector in it (`pkg/policy/rule.go` mergePortProto, l4.go L4Filter).
 *
 * Two rules that ask for different proxies or authentication of the same selector and port cannot be merged; Cilium then
 * keeps the endpoint's earlier policy, whatever that was, so `conflicts` says what to blame.
 */
import type { Because } from "../../../dataplane.js";
import type { CiliumVersion } from "../../options.js";
import type { CookieTable } from "./cookies.js";
import type { AuthMode, Peer, PolicyEntry, PortRange, Redirect, Verdict } from "./entry.js";
import type { SelectorCache } from "./selectors.js";
import { authOf, redirectLow } from "./values.js";

export interface Filter {
  readonly tier: number;
  readonly range: PortRange;
  /** By selector text; the wildcard's is empty. */
  readonly selectors: Map<string, SelectorPolicy>;
  /** What merging left out: the map would leave it out as well, and says by what. */
  readonly overruled: SelectorPolicy[];
}

export interface SelectorPolicy {
  readonly peer: Peer;
  readonly verdict: Verdict;
  /** Ordered level of the direction, 0 the first. */
  readonly level: number;
  readonly redirect: Redirect | null;
  readonly auth: AuthMode | null;
  readonly cookie: number;
}

export class Filters {
  private readonly filters = new Map<string, Filter>();
  readonly conflicts: Because[] = [];
  /** Rules that speak of authentication. */
  readonly authenticated: Because[] = [];

  constructor(private readonly selectors: SelectorCache, private readonly cookies: CookieTable) {}

  /** Earlier tiers first: a pass must be known before what it passes to (pass-state.ts). */
  get list(): Filter[] {
    return [...this.filters.values()].sort((a, b) => a.tier - b.tier);
  }

  add(entry: PolicyEntry, level: number): void {
    const cookie = this.cookies.of(entry.because);
    if (entry.auth !== null) this.authenticated.push(entry.because);
    const text = this.selectors.textOf(entry.peer);
    for (const range of entry.ports) {
      const { verdict, peer, auth } = entry;
      const own: SelectorPolicy = { peer, verdict, level, redirect: range.redirect ?? null, auth, cookie };
      const filter = this.filterOf(entry.tier, range);
      const known = filter.selectors.get(text);
      filter.selectors.set(text, known === undefined ? own : this.merged(filter, known, own, entry.because));
    }
  }

  private filterOf(tier: number, range: PortRange): Filter {
    const key = `${tier}/${range.protocol}/${range.name ?? ""}/${range.first}-${range.last}`;
    let filter = this.filters.get(key);
    if (filter === undefined) {
      filter = { tier, range, selectors: new Map(), overruled: [] };
      this.filters.set(key, filter);
    }
    return filter;
  }

  /** The better level wins; on one level a deny over all, an allow over a pass; allows join. */
  private merged(filter: Filter, known: SelectorPolicy, added: SelectorPolicy, because: Because): SelectorPolicy {
    const joined = { ...known, cookie: this.cookies.join(known.cookie, added.cookie) };
    const order = known.level - added.level || RANK[known.verdict] - RANK[added.verdict];
    if (order !== 0) {
      filter.overruled.push(order < 0 ? added : known);
      return order < 0 ? known : added;
    }
    if (known.verdict !== "allow") return joined;
    if (known.auth !== null && added.auth !== null && known.auth !== added.auth) this.conflicts.push(because);
    return { ...joined, auth: known.auth ?? added.auth, redirect: this.mergedRedirect(known.redirect, added.redirect, because) };
  }

  /** `mergeRedirect`: no parser and TLS give way to another; of two listeners the one of the better priority. */
  private mergedRedirect(known: Redirect | null, added: Redirect | null, because: Because): Redirect | null {
    if (known === null || added === null) return known ?? added;
    if (known.parser !== added.parser) {
      if (known.parser === "tls" && added.parser !== "dns" && added.parser !== "crd") return added;
      if (added.parser === "tls" && known.parser !== "dns" && known.parser !== "crd") return known;
      this.conflicts.push(because);
      return known;
    }
    if (added.listener === "" || (added.listener === known.listener && added.priority === known.priority)) return known;
    // 0 is no priority, which is the worst.
    const [own, other] = [(known.priority - 1) & 0xff, (added.priority - 1) & 0xff];
    if (own < other && known.listener !== "") return known;
    if (known.listener === "" || other < own) return added;
    this.conflicts.push(because);
    return known;
  }
}

const RANK: Readonly<Record<Verdict, number>> = { deny: 0, allow: 1, pass: 2 };

/**
 * Whether the filter's wildcard makes the entries of a selector needless, so that the agent leaves them out. To 1.17 a
 * redirect also covers plain allows (`covers`); from 1.18 only what is equal is covered.
 */
export function coveredByWildcard(policy: SelectorPolicy, wildcard: SelectorPolicy, version: CiliumVersion): boolean {
  if (version === "1.16" || version === "1.17") {
    if (wildcard.verdict === "deny") return true;
    if (policy.verdict === "deny") return false;
    const auth = authOf(policy.auth);
    if (auth !== authOf(wildcard.auth) && !(version === "1.16" && policy.auth === null)) return false;
    if (policy.redirect === null) return true;
    return wildcard.redirect !== null && sameRedirect(policy.redirect, wildcard.redirect);
  }
  return policy.verdict === wildcard.verdict && policy.level === wildcard.level && authOf(policy.auth) === authOf(wildcard.auth)
    && lowOf(policy) === lowOf(wildcard) && (policy.redirect === null) === (wildcard.redirect === null)
    && (policy.redirect === null || sameRedirect(policy.redirect, wildcard.redirect!));
}

function lowOf(policy: SelectorPolicy): number {
  return policy.redirect === null ? 0 : redirectLow(policy.redirect.priority);
}

function sameRedirect(a: Redirect, b: Redirect): boolean {
  return a.listener === b.listener && a.priority === b.priority && a.parser === b.parser;
}
