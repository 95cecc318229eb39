/**
 * The selector cache: which identities a peer selects.
 *
 * An inverted index leads from a label to the pods' identities that have it, so a selector costs what its rarest
 * label costs, not the number of pods; equal selectors are evaluated once. Identities that are no pods are few kinds and
 * are looked through only where a selector could mean one. Results are sorted by number and shared: they must not be
 * written to.
 */
import type { Prefix } from "../../../cluster/address.js";
import { prefixContains } from "../../../cluster/address.js";
import type { Identities, Identity } from "../identity.js";
import { Reserved } from "../identity.js";
import { CLUSTER_LABEL } from "../labels.js";
import type { Peer, Requirement } from "./entry.js";

const NONE: readonly Identity[] = [];

/** What differs from node to node: `host` is another address on each, and may run the API server. */
export interface HostView {
  readonly node: string;
  /** The node's addresses where CIDRs may select nodes, empty elsewhere. */
  readonly prefixes: readonly Prefix[];
  /** Labels beside reserved:host: that the API server runs there, the node's own where policies may select by them. */
  readonly labels: readonly string[];
}

export const PLAIN_HOST: HostView = { node: "", prefixes: [], labels: [] };

interface LabelOf {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

export class SelectorCache {
  private readonly pods: readonly Identity[];
  private readonly others: readonly { readonly identity: Identity; readonly labels: readonly LabelOf[] }[];
  private readonly withKey = new Map<string, Identity[]>();
  private readonly withValue = new Map<string, Identity[]>();
  private readonly results = new Map<string, readonly Identity[]>();
  private readonly idLists = new Map<readonly Identity[], Uint32Array>();
  private readonly texts = new Map<Peer, string>();
  private readonly cidrs: readonly Identity[];

  constructor(private readonly identities: Identities) {
    this.pods = identities.all.filter((identity) => identity.kind === "pod");
    this.others = identities.all.filter((identity) => identity.kind !== "pod")
      .map((identity) => ({ identity, labels: identity.labels.map(parseLabel) }));
    this.cidrs = identities.all.filter((identity) => identity.prefix !== null);
    for (const identity of this.pods) {
      for (const [key, value] of identity.podLabels!) {
        append(this.withKey, key, identity);
        append(this.withValue, `${key}=${value}`, identity);
      }
    }
  }

  /** Equal for peers that select alike; empty for the wildcard. */
  textOf(peer: Peer): string {
    let text = this.texts.get(peer);
    if (text === undefined) {
      text = peerText(peer);
      this.texts.set(peer, text);
    }
    return text;
  }

  /** The identities a peer selects, as a node sees them. */
  select(peer: Peer, host: HostView): readonly Identity[] {
    if ("node" in peer && peer.node !== host.node) return NONE;
    switch (peer.kind) {
      case "any": throw new Error("the wildcard peer is identity 0, not a list");
      case "labels": {
        const own = host.labels.join(";");
        return this.cached(`${own} ${this.textOf(peer)}`, () => this.labelPeers(peer.requirements, host.labels));
      }
      case "cidr": {
        const own = host.prefixes.map((prefix) => prefix.text).join(",");
        return this.cached(`${own}!${this.textOf(peer)}`, () => this.cidrPeers(peer.prefix, peer.except, host.prefixes));
      }
      case "unknown": return this.cached(this.textOf(peer), () => this.unknownPeers(peer.within));
    }
  }

  /** Pods' identities that satisfy all requirements. */
  selectPods(requirements: readonly Requirement[]): readonly Identity[] {
    return this.cached(`pods ${requirementsText(requirements)}`, () => this.podPeers(requirements));
  }

  /** Numbers of what a peer selects, sorted. */
  selectIds(peer: Peer, host: HostView): Uint32Array {
    const selected = this.select(peer, host);
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

  private labelPeers(requirements: readonly Requirement[], hostLabels: readonly string[]): readonly Identity[] {
    const selected = [...this.podPeers(requirements)];
    // Only pods have labels of Kubernetes, apart from the cluster's; a requirement that such a label be there leaves nothing
    // else.
    const podsOnly = requirements.some(({ source, key, operator }) =>
      source === "k8s" && key !== CLUSTER_LABEL && (operator === "In" || operator === "Exists"));
    if (podsOnly) return selected;
    const added = hostLabels.map(parseLabel);
    for (const { identity, labels } of this.others) {
      const own = identity.id === Reserved.Host ? [...labels, ...added] : labels;
      if (requirements.every((one) => holds(one, valuesOf(own, one)))) selected.push(identity);
    }
    return selected.sort((a, b) => a.id - b.id);
  }

  private podPeers(requirements: readonly Requirement[]): readonly Identity[] {
    let candidates = this.pods;
    for (const requirement of requirements) {
      const having = this.candidates(requirement);
      if (having !== null && having.length < candidates.length) candidates = having;
    }
    return candidates.filter((identity) => satisfies(identity.podLabels!, requirements));
  }

  /** Every pod that can satisfy one requirement, or null where that is no small list. */
  private candidates({ source, key, operator, values }: Requirement): readonly Identity[] | null {
    if (operator !== "In" && operator !== "Exists") return null;
    if (source !== "k8s" && source !== "any") return NONE;
    if (operator === "In" && values.length === 1) return this.withValue.get(`${key}=${values[0]}`) ?? NONE;
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

  /** Everything that such a peer might select: all of the outside, or of one prefix of it. */
  private unknownPeers(within: Prefix | undefined): readonly Identity[] {
    const { world, all } = this.identities;
    if (within !== undefined) return this.cidrPeers(within, [], []);
    return all.filter(({ id, kind }) => kind === "cidr" || id === world.v4.id || id === world.v6.id);
  }
}

/** Kubernetes' selector semantics on a pod's labels: NotIn and DoesNotExist hold where the key is missing. */
export function satisfies(
  labels: ReadonlyMap<string, string>,
  requirements: readonly Requirement[],
): boolean {
  for (const requirement of requirements) {
    const { source, key, operator, values } = requirement;
    const value = source === "k8s" || source === "any" ? labels.get(key) : undefined;
    if (operator === "In" && (value === undefined || !values.includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && values.includes(value)) return false;
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
  }
  return true;
}

/** Whether labels given as texts with their source satisfy all. */
export function satisfiedBy(labels: readonly string[], requirements: readonly Requirement[]): boolean {
  const parsed = labels.map(parseLabel);
  return requirements.every((one) => holds(one, valuesOf(parsed, one)));
}

function holds({ operator, values }: Requirement, found: readonly string[]): boolean {
  switch (operator) {
    case "In": return found.some((value) => values.includes(value));
    case "NotIn": return !found.some((value) => values.includes(value));
    case "Exists": return found.length > 0;
    case "DoesNotExist": return found.length === 0;
  }
}

function valuesOf(labels: readonly LabelOf[], { source, key }: Requirement): string[] {
  return labels.filter((label) => label.key === key && (source === "any" || label.source === source)).map(({ value }) => value);
}

/** `source:key=value`; a CIDR's key holds its prefix. */
function parseLabel(text: string): LabelOf {
  const colon = text.indexOf(":");
  const rest = text.slice(colon + 1);
  const equals = rest.indexOf("=");
  return {
    source: text.slice(0, colon),
    key: equals < 0 ? rest : rest.slice(0, equals),
    value: equals < 0 ? "" : rest.slice(equals + 1),
  };
}

function inside(inner: Prefix, outer: Prefix): boolean {
  return inner.length >= outer.length && prefixContains(outer, inner.address);
}

function peerText(peer: Peer): string {
  switch (peer.kind) {
    case "any": return "";
    case "labels": return `labels ${requirementsText(peer.requirements)}`;
    case "cidr": return `cidr ${peer.prefix.text}!${peer.except.map((except) => except.text).join(",")}${onNode(peer.node)}`;
    case "unknown": return `unknown ${peer.within?.text ?? ""}${onNode(peer.node)}`;
  }
}

function onNode(node: string | undefined): string {
  return node === undefined ? "" : ` on ${node}`;
}

function requirementsText(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ source, key, operator, values }) => `${source}:${key} ${operator} ${[...values].sort().join(",")}`)
    .sort()
    .join(";");
}

function append(index: Map<string, Identity[]>, key: string, identity: Identity): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [identity]);
  else list.push(identity);
}
