/**
 * NetworkPolicy through Calico's rules against the API's words (src/spec): random clusters, random first packets, the
 * whole way through every node. Where Calico is known to judge otherwise the difference has a name here, and what is
 * left is a disagreement.
 */
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { type Address, parseAddress, parsePrefix, prefixContains } from "../../cluster/address.js";
import type { Cluster, Pod } from "../../cluster/cluster.js";
import { End } from "../../dataplane.js";
import { evaluateAddresses } from "../../spec/evaluate.js";
import { PolicyIndex } from "../../spec/policy-index.js";
import type { Evaluation } from "../../spec/verdict.js";
import { CALICO_DEFAULTS, VXLAN_PORT } from "./config.js";
import { calicoPlane, PROTOCOL, type Probe, Prober, type Fate } from "./probe.fixture.js";
import { Chance, PORTS, randomCluster } from "./random.fixture.js";

const seed = testSeed("src/iptables/calico/policy");
/** Fewer where a fault is looked for, which shows soon. */
const CLUSTERS = Number(process.env.TWINPLANE_CLUSTERS ?? 170);
const PROBES = 400;
const CONFIG = { ...CALICO_DEFAULTS, assumedPools: ["10.244.0.0/16", "fd00:244::/32"]
  .map((cidr) => ({ cidr: parsePrefix(cidr)!, natOutgoing: true })) };

/**
 * Where Calico judges otherwise than the API's words: each says what it is known to do with packets that it holds for,
 * and a packet that meets another end is a disagreement.
 */
const DIFFERENCES: readonly Difference[] = [
  {
    // cali-fw- drops it before any policy.
    name: "a pod may not send to the VXLAN port",
    holds: ({ probe, pod }) => pod !== null && probe.protocol === "UDP" && probe.port === VXLAN_PORT,
    denied: () => true,
  },
  {
    // cali-wl-to-host goes through the pod's egress policies before it accepts.
    name: "a pod's egress policies apply on the way to its own node",
    holds: ({ probe, pod, cluster }) => pod !== null && isNode(cluster, pod.nodeName, probe.destination),
    denied: ({ bare }) => bare().egress.verdict === "deny",
  },
];

interface Difference {
  readonly name: string;
  holds(asked: Asked): boolean;
  denied(asked: Asked): boolean;
}

interface Asked {
  readonly probe: Probe;
  readonly cluster: Cluster;
  /** The sending pod. */
  readonly pod: Pod | null;
  /** The spec's answer as if nodes were strangers. */
  readonly bare: () => Evaluation;
}

describe("random clusters", () => {
  it("Calico's rules and the words of the API agree, but for what is named", () => {
    const counts = { probes: 0, allowed: 0, denied: 0, isolated: 0 };
    const named = new Map<string, number>();
    const wrong: string[] = [];
    for (let run = 0; run < CLUSTERS; run++) {
      const chance = new Chance(seed * 7919 + run);
      const cluster = randomCluster(chance);
      const index = new PolicyIndex(cluster, { ipBlockMatchesPods: true });
      let strangers: PolicyIndex | null = null;
      const prober = new Prober(calicoPlane(cluster, CONFIG), cluster);
      for (let number = 0; number < PROBES; number++) {
        const probe = randomProbe(chance, cluster);
        if (probe === null) continue;
        const protocol = probe.protocol === "ICMP" && probe.source.family === 6 ? 58 : PROTOCOL[probe.protocol];
        const ask = (of: PolicyIndex): Evaluation => evaluateAddresses(of, probe.source, probe.destination, protocol, probe.port);
        const words = ask(index);
        const fate = prober.send(probe);
        const allowed = fate.end === End.Delivered || fate.end === End.Left;
        counts.probes++;
        counts[allowed ? "allowed" : "denied"]++;
        if (words.egress.isolated || words.ingress.isolated) counts.isolated++;
        const asked: Asked = { probe, cluster, pod: index.party(probe.source).pod,
          bare: () => ask(strangers ??= new PolicyIndex({ ...cluster, nodes: [] }, { ipBlockMatchesPods: true })) };
        const difference = DIFFERENCES.find((one) => one.holds(asked));
        const denied = difference?.denied(asked) ?? !words.allowed;
        const right = denied ? fate.end === End.Dropped && /^filter\/cali-[ft]w-/.test(fate.reason) : allowed;
        const sourceRight = !allowed || fate.seenSource === expectedSource(asked);
        if (!right || !sourceRight || (difference === undefined && !blames(fate, words))) {
          wrong.push(`cluster ${run}: ${sentence(probe)}: ${fate.end} ${fate.reason} from ${fate.seenSource}, `
            + `words: ${words.allowed}`);
        } else if (difference !== undefined && denied === words.allowed) {
          named.set(difference.name, (named.get(difference.name) ?? 0) + 1);
        }
      }
    }
    console.log(counts, Object.fromEntries(named), `unnamed: ${wrong.length}`);
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(counts.probes).toBeGreaterThan(CLUSTERS * 300);
    expect(counts.denied).toBeGreaterThan(counts.probes / 10);
    expect(counts.isolated).toBeGreaterThan(counts.probes / 4);
    for (const { name } of DIFFERENCES) expect(named.get(name) ?? 0, name).toBeGreaterThan(CLUSTERS / 20);
  }, 600_000);
});

/** Whether a denial names every policy that isolates the pod, and beside them only those that let it out of its own. */
function blames({ end, journey }: Fate, words: Evaluation): boolean {
  if (end !== End.Dropped) return true;
  const out = words.egress.verdict === "deny";
  const by = new Set((out ? words.egress.by : words.ingress.by).map((one) => one.object));
  const passed = new Set(out ? [] : words.egress.by.map((one) => one.object));
  const named = new Set(journey.becauses.map((one) => one.object));
  return [...by].every((one) => named.has(one)) && [...named].every((one) => by.has(one) || passed.has(one));
}

/** Masquerading is for what pods send out of the pools, and not to their own node. */
function expectedSource({ probe, pod, cluster }: Asked): string {
  const { source, destination } = probe;
  const inPools = CONFIG.assumedPools.some(({ cidr }) => prefixContains(cidr, destination));
  if (pod === null || inPools || isNode(cluster, pod.nodeName, destination)) return source.text;
  const node = cluster.nodes.find((one) => one.name === pod.nodeName)!;
  return node.addresses.find((one) => one.address.family === source.family)!.address.text;
}

/** Null where nothing would travel: no path between the families, or a pod to itself. */
function randomProbe(chance: Chance, cluster: Cluster): Probe | null {
  const family = chance.happens(0.7) ? 4 : 6;
  const [source, destination] = [end(chance, cluster, family), end(chance, cluster, family)];
  if (source === null || destination === null || source.address.text === destination.address.text) return null;
  if (source.at === null && destination.at === null) return null;
  const protocol = chance.one(["TCP", "TCP", "UDP", "SCTP", "ICMP"] as const);
  return {
    source: source.address, destination: destination.address, protocol,
    port: protocol === "ICMP" ? 0 : port(chance, cluster),
    at: source.at ?? { node: chance.one(cluster.nodes).name, from: "uplink" },
  };
}

function end(chance: Chance, cluster: Cluster, family: 4 | 6): { address: Address; at: Probe["at"] | null } | null {
  const of = (list: readonly Address[]): Address | undefined => list.find((one) => one.family === family);
  const kind = chance.number(10);
  if (kind === 0) {
    const text = family === 4 ? `203.0.113.${1 + chance.number(40)}` : `2001:db8::${1 + chance.number(40)}`;
    return { address: parseAddress(text)!, at: null };
  }
  if (kind < 3) {
    const node = chance.one(cluster.nodes);
    const address = of(node.addresses.map((one) => one.address));
    return address === undefined ? null : { address, at: { node: node.name, from: "process" } };
  }
  const pod = chance.one(cluster.pods.filter((one) => !one.hostNetwork && one.phase === "Running"));
  const address = pod === undefined ? undefined : of(pod.ips);
  return address === undefined ? null
    : { address, at: { node: pod.nodeName, from: { pod: `${pod.namespace}/${pod.name}` } } };
}

/** Often one that a policy or a pod names, or the one behind. */
function port(chance: Chance, cluster: Cluster): number {
  const kind = chance.number(20);
  if (kind > 14 && cluster.networkPolicies.length > 0) {
    const policy = chance.one(cluster.networkPolicies);
    const ports = [...policy.ingress, ...policy.egress].flatMap((rule) => rule.ports ?? [])
      .flatMap((one) => (typeof one.port === "number" ? [one.port, one.endPort ?? one.port] : []));
    if (ports.length > 0) return chance.one(ports) + (chance.happens(0.2) ? 1 : 0);
  }
  if (kind === 0) return VXLAN_PORT;
  if (kind < 14) return chance.one(PORTS) + (chance.happens(0.2) ? 1 : 0);
  return 1000 + chance.number(430);
}

function isNode(cluster: Cluster, name: string, address: Address): boolean {
  return cluster.nodes.find((node) => node.name === name)!.addresses.some((one) => one.address.text === address.text);
}

function sentence({ source, destination, protocol, port: to, at }: Probe): string {
  return `${source.text} > ${destination.text} ${protocol}/${to} at ${at.node} ${JSON.stringify(at.from)}`;
}
