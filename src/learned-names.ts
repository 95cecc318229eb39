/**
 * What Cilium's agents learn of DNS names from the answers in captures, as dated changes of the timeline.
 *
 * An answer counts where the request went through the DNS proxy of the client's node: some rule with `dns` lets the client ask
 * that server for that name (by the words of the policies, with the server after service translation). From the time of the
 * answer on all pods of the node may reach its addresses by toFQDNs rules, until its time to live is over. After that the agent
 * keeps an address as long as connections to it live, until a garbage collection whose time nothing shows: from then on such
 * rules are undecided for the address. Addresses that pods have are theirs, whatever names say.
 *
 * Source: Cilium pkg/fqdn/doc.go, pkg/fqdn/messagehandler, pkg/fqdn/namemanager/gc.go.
 */
import type { Address } from "./cluster/address.js";
import type { Cluster, Timeline, TimelineChange } from "./cluster/cluster.js";
import type { DNSNames, LearnedAddress } from "./cluster/names.js";
import type { Problem } from "./cluster/problem.js";
import { ciliumOptions } from "./ebpf/options.js";
import type { Profile } from "./planes.js";
import type { SeenAnswer } from "./replay/dns-answers.js";
import { CiliumSpec } from "./spec/cilium/evaluate.js";
import { isNamed } from "./spec/cilium/fqdn.js";
import { ciliumSpecOptions } from "./spec/cilium/options.js";

/** The newest, whose patterns mean most. */
const WIDEST = 20;
const NANOSECONDS = 1_000_000_000n;

/** Whether a toFQDNs rule of some time means the name; null: there is no such rule. */
export function wantedNames(timelines: readonly Timeline[]): ((name: string) => boolean) | null {
  const selectors = timelines.flatMap(clustersOf).flatMap(({ ciliumPolicies }) => ciliumPolicies).flatMap(({ rules }) => rules)
    .flatMap(({ egress }) => egress).flatMap(({ fqdns }) => fqdns ?? []);
  return selectors.length === 0 ? null : (name) => selectors.some((one) => isNamed(one, name, WIDEST));
}

/**
 * @param timelines the current side's and the target's: each side's policies say what its own proxy sees
 * @param answers about wanted names, in any order
 * @param captured nodes of the captures: what was seen on the client's own counts, where that is one of them
 * @param known what is known before
 */
export function learnNames(timelines: readonly [Timeline, Timeline], answers: readonly SeenAnswer[], captured: ReadonlySet<string>,
  profiles: readonly [Profile, Profile], known: DNSNames | undefined): { changes: TimelineChange[]; problems: Problem[] } {
  const problems = new Map<string, Problem>();
  const sorted = [...answers].sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : order(a.name, b.name)));
  const bySide = profiles.map((profile, side) => (profile.engine !== "cilium" ? []
    : namesOverTime(timelines[side], sorted, captured, profile, known, problems)));
  const changes = bySide.flatMap((list, side) => list.map(({ atNs, names }): TimelineChange =>
    ({ atNs, kind: "names", names: side === 0 ? [names, null] : [null, names] })));
  return { changes: changes.sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0)), problems: [...problems.values()] };
}

interface Known {
  readonly atNs: bigint;
  readonly names: DNSNames;
}

/** What is known after each answer that says something new, and after each time to live that ends. */
function namesOverTime(timeline: Timeline, answers: readonly SeenAnswer[], captured: ReadonlySet<string>, profile: Profile,
  known: DNSNames | undefined, problems: Map<string, Problem>): Known[] {
  const spans = new Map<string, Span[]>();
  let proxy = new DNSProxy(timeline.initial, profile);
  for (const answer of answers) {
    const cluster = clusterAt(timeline, answer.atNs);
    if (proxy.cluster !== cluster) proxy = new DNSProxy(cluster, profile);
    const pod = proxy.podOf(answer.client);
    if (pod === undefined || (captured.has(pod.nodeName) && answer.node !== pod.nodeName)) continue;
    if (!proxy.passes(answer)) {
      const what = `${pod.namespace}/${pod.name} was told the addresses of ${answer.name}, which a toFQDNs rule names, but no rule with dns`
        + ` hands that question to the DNS proxy of ${profile.text}: its agent learns nothing from it`;
      problems.set(what, { where: pod.where, severity: "warning", what });
      continue;
    }
    for (const address of answer.addresses) addSpan(spans, pod.nodeName, address, answer, proxy.minTtlSec);
  }
  return snapshots([...spans].sort(([a], [b]) => order(a, b)).flatMap(([, list]) => list), known);
}

/** An address of a name on a node, learned at one time and expired at another. */
interface Span {
  readonly node: string;
  readonly name: string;
  readonly address: Address;
  readonly fromNs: bigint;
  untilNs: bigint;
}

function addSpan(spans: Map<string, Span[]>, node: string, address: Address, { name, atNs, ttlSec }: SeenAnswer, minTtlSec: number): void {
  const key = `${node} ${name} ${address.text}`;
  const list = spans.get(key) ?? [];
  const untilNs = atNs + BigInt(Math.max(ttlSec, minTtlSec)) * NANOSECONDS;
  const last = list.at(-1);
  if (last !== undefined && last.untilNs >= atNs) last.untilNs = untilNs > last.untilNs ? untilNs : last.untilNs;
  else spans.set(key, [...list, { node, name, address, fromNs: atNs, untilNs }]);
}

/** Spans of one address are disjoint and follow one another. */
function snapshots(spans: readonly Span[], known: DNSNames | undefined): Known[] {
  const times = [...new Set(spans.flatMap(({ fromNs, untilNs }) => [fromNs, untilNs]))].sort((a, b) => (a < b ? -1 : 1));
  return times.map((atNs) => {
    const latest = new Map<string, LearnedAddress>();
    for (const { node, name, address, fromNs, untilNs } of spans) {
      if (fromNs <= atNs) latest.set(`${node} ${name} ${address.text}`, { node, name, address, expired: untilNs <= atNs });
    }
    return { atNs, names: { addresses: known?.addresses ?? new Map(), complete: known?.complete ?? false, learned: [...latest.values()] } };
  });
}

/** Which requests the policies of a cluster hand to the DNS proxy. */
class DNSProxy {
  readonly minTtlSec: number;
  private readonly spec: CiliumSpec;
  private readonly version: number;
  private readonly pods: ReadonlyMap<string, Cluster["pods"][number]>;

  constructor(readonly cluster: Cluster, profile: Profile) {
    const { options } = ciliumOptions(profile.text, cluster);
    this.version = Number(options.version.split(".")[1]);
    this.minTtlSec = options["tofqdns-min-ttl"];
    this.spec = new CiliumSpec(cluster, ciliumSpecOptions(this.version, { ...options }));
    this.pods = new Map(cluster.pods.filter((pod) => !pod.hostNetwork).flatMap((pod) => pod.ips.map(({ text }) => [text, pod])));
  }

  podOf(address: Address): Cluster["pods"][number] | undefined {
    return this.pods.get(address.text);
  }

  /** Whichever endpoint of a service it was: all of them go through the proxy. */
  passes({ client, server, protocol, port, name }: SeenAnswer): boolean {
    const servers = this.behind(server, protocol, port);
    return servers.length > 0 && servers.every(([address, number]) => {
      const { verdict, proxied, queries } = this.spec.evaluate(client, address, protocol, number).egress;
      // What rules with and without dns come to in 1.16 depends on their peers.
      const redirected = proxied === "all" || (proxied === "some" && this.version > 16);
      return verdict === "allow" && redirected && queries.some((one) => isNamed(one, name, this.version));
    });
  }

  /** The address itself, or the endpoints of the service that has it. */
  private behind(server: Address, protocol: 6 | 17, port: number): (readonly [Address, number])[] {
    const name = protocol === 6 ? "TCP" : "UDP";
    const service = this.cluster.services.find(({ clusterIPs }) => clusterIPs.some(({ text }) => text === server.text));
    if (service === undefined) return [[server, port]];
    const asked = service.ports.find((one) => one.port === port && one.protocol === name);
    const slices = this.cluster.endpointSlices.filter((one) => one.namespace === service.namespace && one.serviceName === service.name);
    return slices.flatMap(({ ports, endpoints }) => ports.filter((one) => one.name === asked?.name && one.protocol === name)
      .flatMap((one) => endpoints.flatMap(({ addresses }) => addresses.filter(({ family }) => family === server.family)
        .map((address) => [address, one.port] as const))));
  }
}

function clustersOf({ initial, changes }: Timeline): Cluster[] {
  return [initial, ...changes.flatMap((change) => (change.kind === "cluster" ? [change.cluster] : []))];
}

function clusterAt({ initial, changes }: Timeline, atNs: bigint): Cluster {
  let cluster = initial;
  for (const change of changes) if (change.kind === "cluster" && change.atNs <= atNs) cluster = change.cluster;
  return cluster;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
