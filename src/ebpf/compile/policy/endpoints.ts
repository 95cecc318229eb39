/**
 * The policy map of every endpoint: which policies select it, and the map that follows.
 *
 * Endpoints that the same policies select with the same named ports share one map; so do those whose maps
 * turn out equal. Numbers of maps follow their first endpoint in the order of pods by namespace and name; the nodes'
 * host endpoints come after.
 */
import type { Cluster, Pod } from "../../../cluster/cluster.js";
import type { Prefix } from "../../../cluster/address.js";
import { prefixOf } from "../../../cluster/address.js";
import type { Because } from "../../../dataplane.js";
import type { CiliumOptions } from "../../options.js";
import type { Identities } from "../identity.js";
import { apiserverAddresses, hostLabels, nodeAddresses, nodeSelectorLabels } from "../identity.js";
import type { Numbers } from "../numbers.js";
import { Compiler, numbersOf, type PolicyMap, type Subject } from "./compiler.js";
import { CookieTable } from "./cookies.js";
import type { PolicyRules, Redirect } from "./entry.js";
import { overflowed } from "./overflow.js";
import { Proxies } from "./proxies.js";
import { type HostView, PLAIN_HOST, satisfiedBy, SelectorCache } from "./selectors.js";
import { ValueTable } from "./values.js";

export type { PolicyMap } from "./compiler.js";

export interface EndpointPolicies {
  readonly maps: readonly PolicyMap[];
  /** By `cluster.pods` index: index of `maps`, or -1 where the pod is no endpoint. */
  readonly ofPod: Int32Array;
  /** By `cluster.nodes` index: the host endpoint's map, for the host firewall; -1 where it is off. */
  readonly ofNode: Int32Array;
  /** What a cookie stands for; 0 is none. */
  readonly cookies: ReadonlyMap<number, readonly Because[]>;
}

export function compileEndpointPolicies(
  cluster: Cluster,
  options: CiliumOptions,
  identities: Identities,
  rules: readonly PolicyRules[],
  numbers: Numbers,
): EndpointPolicies {
  const selectors = new SelectorCache(identities);
  const cookies = new CookieTable();
  const compiler = new Compiler(options, identities, selectors, cookies, new ValueTable(), new Proxies(redirectsOf(rules)));
  const maps = new Maps(options, rules, compiler);
  const never = options["enable-policy"] === "never";
  const selecting = never ? new Map<number, number[]>() : selectedBy(rules, selectors);
  const hosts = hostViews(cluster, options);
  const ofPod = new Int32Array(cluster.pods.length).fill(-1);
  const order = cluster.pods
    .map((_, index) => index)
    .sort((a, b) => byName(cluster.pods[a], cluster.pods[b]));
  for (const index of order) {
    const identity = identities.ofPod[index];
    if (identity === null) continue;
    const host = hosts.get(cluster.pods[index].nodeName) ?? PLAIN_HOST;
    ofPod[index] = maps.of(selecting.get(identity.id) ?? [], { ports: cluster.pods[index].ports, isHost: false, host });
  }
  const ofNode = new Int32Array(cluster.nodes.length).fill(-1);
  if (options["enable-host-firewall"]) {
    cluster.nodes.forEach((node, index) => {
      const host = hosts.get(node.name) ?? PLAIN_HOST;
      const labels = hostLabels(node, options, host.labels);
      const own = never ? [] : rules.flatMap((one, at) => (one.forNodes && satisfiedBy(labels, one.subject) ? [at] : []));
      ofNode[index] = maps.of(own, { ports: [], isHost: true, host });
    });
  }
  const { becauses, numberOf } = cookies.renumbered(usedCookies(maps.made), numbers.cookies);
  return { maps: maps.made.map((map) => finished(map, numberOf)), ofPod, ofNode, cookies: becauses };
}

/** Maps made so far, each content once. */
class Maps {
  readonly made: PolicyMap[] = [];
  private readonly groups = new Map<string, number>();
  private readonly contents = new Map<number, readonly number[]>();
  /** Of each of the rules: some peer is one node's alone. */
  private readonly byNode: readonly boolean[];

  constructor(private readonly options: CiliumOptions, private readonly rules: readonly PolicyRules[],
    private readonly compiler: Compiler) {
    this.byNode = rules.map(({ ingress, egress }) => [...ingress.entries, ...egress.entries].some(({ peer }) => "node" in peer));
  }

  of(policies: readonly number[], subject: Subject): number {
    const { isHost, host } = subject;
    const view = `${isHost ? "host" : ""}${host.labels.join(" ")} ${host.prefixes.map(({ text }) => text).join(" ")}`;
    const node = policies.some((at) => this.byNode[at]) ? host.node : "";
    const group = `${policies.join(",")}|${this.namedPorts(policies, subject)}|${view}|${node}`;
    let map = this.groups.get(group);
    if (map === undefined) {
      const compiled = overflowed(this.compiler.compile(policies.map((at) => this.rules[at]), subject), this.options, this.compiler);
      const hash = contentHash(compiled);
      const alike = this.contents.get(hash) ?? [];
      map = alike.find((at) => sameContent(this.made[at], compiled));
      if (map === undefined) {
        map = this.made.push(compiled) - 1;
        this.contents.set(hash, [...alike, map]);
      }
      this.groups.set(group, map);
    }
    return map;
  }

  /** What the ingress rules' port names mean for this subject; part of what makes two endpoints' maps equal. */
  private namedPorts(policies: readonly number[], subject: Subject): string {
    const parts = new Set<string>();
    for (const at of policies) {
      for (const { ports } of this.rules[at].ingress.entries) {
        for (const range of ports) {
          if (range.name !== null) parts.add(`${range.name}/${range.protocol}=${numbersOf(subject, range).join(" ")}`);
        }
      }
    }
    return [...parts].sort().join(",");
  }
}

/** Identity number -> indices of the policies that select it. */
function selectedBy(policies: readonly PolicyRules[], selectors: SelectorCache): Map<number, number[]> {
  const selecting = new Map<number, number[]>();
  policies.forEach((policy, at) => {
    if (policy.forNodes) return;
    for (const identity of selectors.selectPods(policy.subject)) {
      const list = selecting.get(identity.id);
      if (list === undefined) selecting.set(identity.id, [at]);
      else list.push(at);
    }
  });
  return selecting;
}

function redirectsOf(rules: readonly PolicyRules[]): Redirect[] {
  return rules.flatMap(({ ingress, egress }) => [...ingress.entries, ...egress.entries])
    .flatMap(({ ports }) => ports.flatMap(({ redirect }) => (redirect === undefined ? [] : [redirect])));
}

/** Nodes whose host differs from the plain one: by its addresses, or because the API server runs there. */
function hostViews(cluster: Cluster, options: CiliumOptions): Map<string, HostView> {
  const apiserver = apiserverAddresses(cluster);
  const nodes = options["policy-cidr-match-mode"] === "nodes";
  return new Map(cluster.nodes.map((node) => {
    const addresses = nodeAddresses(node);
    const prefixes: Prefix[] = nodes ? addresses.map((address) => prefixOf(address, address.bytes.length * 8)) : [];
    const labels = nodeSelectorLabels(node, options);
    if (addresses.some((address) => apiserver.has(address.text))) labels.push("reserved:kube-apiserver");
    return [node.name, { node: node.name, prefixes, labels: labels.sort() }];
  }));
}

/** A hash over the content; maps with equal hashes are compared in full by `sameContent`. */
function contentHash(map: PolicyMap): number {
  let hash = (map.denyIngress * 31 + map.denyEgress) | 0;
  for (const column of [map.identity, map.traffic, map.precedence, map.cookie]) {
    for (let row = 0; row < column.length; row++) hash = Math.imul(hash ^ column[row], 0x01000193);
  }
  return hash;
}

function sameContent(a: PolicyMap, b: PolicyMap): boolean {
  if (a.denyIngress !== b.denyIngress || a.denyEgress !== b.denyEgress || a.size !== b.size) return false;
  if (a.policies.join() !== b.policies.join()) return false;
  return COLUMNS.every((name) => sameColumn(a[name], b[name]));
}

/** The columns of a map. */
export const COLUMNS = ["identity", "traffic", "precedence", "cookie", "proxyPort", "auth"] as const;

export function sameColumn(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let row = 0; row < a.length; row++) if (a[row] !== b[row]) return false;
  return true;
}

function usedCookies(maps: readonly PolicyMap[]): Set<number> {
  const used = new Set<number>();
  for (const map of maps) {
    used.add(map.denyIngress).add(map.denyEgress);
    let last = 0;
    for (const cookie of map.cookie) {
      if (cookie !== last) used.add(cookie);
      last = cookie;
    }
    for (const cookie of map.undecided) used.add(cookie);
    for (const { cookie, by } of map.shadowed) used.add(cookie).add(by);
  }
  return used;
}

function finished(map: PolicyMap, numberOf: ReadonlyMap<number, number>): PolicyMap {
  const number = (cookie: number): number => numberOf.get(cookie)!;
  return {
    ...map,
    cookie: map.cookie.map(number),
    denyIngress: number(map.denyIngress),
    denyEgress: number(map.denyEgress),
    undecided: map.undecided.map(number).sort((a, b) => a - b),
    shadowed: map.shadowed.map((row) => ({ ...row, cookie: number(row.cookie), by: number(row.by) })),
  };
}

function byName(a: Pod, b: Pod): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
