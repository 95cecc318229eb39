/**
 * The selector cache: which identities a peer selects.
 *
 * An inverted index leads from a label to the identities that have it, so a selector costs what its rarest
 * label costs, not the number of pods; equal selectors are evaluated once. Results are sorted by number and
 * shared: they must not be written to.
 */
import type { Prefix } from "../../../cluster/address.js";
import { prefixContains } from "../../../cluster/address.js";
import type { Identities, Identity } from "../identity.js";
import { Reserved } from "../identity.js";
import type { Peer, Requirement } from "./rules.js";

const NONE: readonly Identity[] = [];

export class SelectorCache {
  private readonly pods: readonly Identity[];
  private readonly withKey = new Map<string, Identity[]>();
  private readonly withValue = new Map<string, Identity[]>();
  private readonly results = new Map<string, readonly Identity[]>();
  private readonly idLists = new Map<readonly Identity[], Uint32Array>();
  private readonly cidrs: readonly Identity[];

  constructor(private readonly identities: Identities) {
    this.pods = identities.all.filter((identity) => identity.kind === "pod");
    this.cidrs = identities.all.filter((identity) => identity.prefix !== null);
    for (const identity of this.pods) {
      for (const [key, value] of identity.podLabels!) {
        append(this.withKey, key, identity);
        append(this.withValue, `${key}=${value}`, identity);
      }
    }
  }

  /**
   * The identities a peer selects; for `any` see `everything`. `hostPrefixes` are the addresses of the node
   * whose policy is compiled where CIDRs may select nodes, empty elsewhere: `host` is another address on
   * every node.
   */
  select(peer: Peer, hostPrefixes: readonly Prefix[]): readonly Identity[] {
    if (peer.kind === "any") throw new Error("the wildcard peer is identity 0, not a list");
    if (peer.kind === "labels")
      return this.cached(textOf(peer.requirements), () => this.labelPeers(peer.requirements));
    const key = `${peer.prefix.text}!${peer.except.map((except) => except.text).join(",")}!${hostPrefixes
      .map((prefix) => prefix.text)
      .join(",")}`;
    return this.cached(key, () => this.cidrPeers(peer.prefix, peer.except, hostPrefixes));
  }

  /** Pods' identities that satisfy all requirements. */
  selectPods(requirements: readonly Requirement[]): readonly Identity[] {
    return this.cached(textOf(requirements), () => this.labelPeers(requirements));
  }

  /** Numbers of what a peer selects, sorted. */
  selectIds(peer: Peer, hostPrefixes: readonly Prefix[]): Uint32Array {
    const selected = this.select(peer, hostPrefixes);
    let ids = this.idLists.get(selected);
    if (ids === undefined) {
      ids = Uint32Array.from(selected, (identity) => identity.id).sort();
      this.idLists.set(selected, ids);
    }
    return ids;
  }

  /** Identities of pods that have a port of this name (lower case). */
  withNamedPort(name: string): readonly Identity[] {
    return this.cached(`port ${name}`, () =>
      this.pods.filter((identity) => identity.ports.some((port) => port.name.toLowerCase() === name)),
    );
  }

  private cached(key: string, compute: () => readonly Identity[]): readonly Identity[] {
    let result = this.results.get(key);
    if (result === undefined) {
      result = compute();
      this.results.set(key, result);
    }
    return result;
  }

  private labelPeers(requirements: readonly Requirement[]): readonly Identity[] {
    let candidates = this.pods;
    for (const requirement of requirements) {
      const having = this.candidates(requirement);
      if (having !== null && having.length < candidates.length) candidates = having;
    }
    return candidates.filter((identity) => satisfies(identity.podLabels!, requirements));
  }

  /** Everything that can satisfy one requirement, or null where that is no small list. */
  private candidates({ key, operator, values }: Requirement): readonly Identity[] | null {
    if (operator === "Exists") return this.withKey.get(key) ?? NONE;
    if (operator !== "In") return null;
    if (values.length === 1) return this.withValue.get(`${key}=${values[0]}`) ?? NONE;
    return this.withKey.get(key) ?? NONE;
  }

  /**
   * A CIDR selects the CIDR identities inside it and not inside an exception. Length 0 is world: it selects
   * all that carries the world label of its family, world itself included.
   */
  private cidrPeers(
    prefix: Prefix,
    except: readonly Prefix[],
    hostPrefixes: readonly Prefix[],
  ): readonly Identity[] {
    const selected = this.cidrs.filter((identity) => {
      const own = identity.prefix!;
      if (prefix.length === 0 ? !this.isWorld(identity, prefix) : !inside(own, prefix)) return false;
      return !except.some((out) => inside(own, out));
    });
    if (prefix.length === 0)
      selected.push(prefix.address.family === 4 ? this.identities.world.v4 : this.identities.world.v6);
    else if (
      hostPrefixes.some((own) => inside(own, prefix)) &&
      !hostPrefixes.some((own) => except.some((out) => inside(own, out)))
    ) {
      selected.push(this.identities.byId.get(Reserved.Host)!);
    }
    return selected.sort((a, b) => a.id - b.id);
  }

  private isWorld(identity: Identity, prefix: Prefix): boolean {
    const world = prefix.address.family === 4 ? this.identities.world.v4 : this.identities.world.v6;
    return identity.kind === "cidr" && identity.labels.includes(world.labels[0]);
  }
}

/** Kubernetes' selector semantics: NotIn and DoesNotExist hold where the key is missing. */
export function satisfies(
  labels: ReadonlyMap<string, string>,
  requirements: readonly Requirement[],
): boolean {
  for (const { key, operator, values } of requirements) {
    const value = labels.get(key);
    if (operator === "In" && (value === undefined || !values.includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && values.includes(value)) return false;
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
  }
  return true;
}

function inside(inner: Prefix, outer: Prefix): boolean {
  return inner.length >= outer.length && prefixContains(outer, inner.address);
}

function textOf(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => `${key} ${operator} ${[...values].sort().join(",")}`)
    .sort()
    .join(";");
}

function append(index: Map<string, Identity[]>, key: string, identity: Identity): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [identity]);
  else list.push(identity);
}
