/**
 * What is found for classes of pairs is what is found for every pair: random clusters, each pair of pods, nodes and hosts
 * outside by itself through planes of the whole cluster, held against the classes of src/check, whose planes know the
 * representatives alone.
 */
import { describe, expect, it } from "vitest";
import type { Address } from "../src/cluster/address.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildCluster } from "../src/cluster/timeline.js";
import { compareAll, type ExhaustiveInput, type ToldPairs } from "../src/check/exhaustive.js";
import { gistOf, heardOf } from "../src/check/heard.js";
import { inseparableIn } from "../src/check/inseparable.js";
import { firstOfEach, internalOf } from "../src/check/edge-pairs.js";
import { outsideClasses } from "../src/check/outside.js";
import { Classes } from "../src/check/classes.js";
import { portWithin } from "../src/check/pod-pairs.js";
import type { Probe, Sender } from "../src/check/probe.js";
import { Senders } from "../src/check/send.js";
import { type Traffic, TrafficClasses } from "../src/check/traffic.js";
import { assumedNetwork, buildPlane, parseProfile, policyDenial, type Profile, settingOf } from "../src/planes.js";
import { baseCluster, labels, NAMESPACE_LABELS, NAMESPACES, type Plain, POD_LABELS, PORT_NAMES, PORTS } from "./policy-ring/clusters.js";
import { policies } from "./policy-ring/policies.js";
import { Random } from "./policy-ring/random.js";
import { moduleBytes } from "./programs.js";
import { testSeed } from "./seed.js";

const WASM = { fast: moduleBytes(), traced: moduleBytes(true) } as never;
const CIDRS = ["10.244.0.0/16", "10.244.1.0/24", "192.168.50.0/24", "192.168.50.11/32", "0.0.0.0/0", "203.0.113.0/24", "10.244.2.16/28"];
const CURRENT = ["kube-proxy+npm", "kube-proxy+calico", "kube-proxy+spec", "kube-proxy"];
const TARGET = ["cilium@1.16", "cilium@1.18", "cilium@1.20", "aks@1.34"];
const CLUSTERS = 16;
const seed = testSeed("check-ring");

function selector(random: Random, from: Readonly<Record<string, readonly string[]>>): Plain {
  if (random.chance(25)) return {};
  const [first, second] = Object.keys(from);
  if (random.chance(60)) return { matchLabels: labels(random, { [first]: from[first], [second]: from[second] }, 60) };
  const key = random.pick(Object.keys(from));
  const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
  return { matchExpressions: [{ key, operator, ...(operator.endsWith("In") ? { values: [random.pick(from[key])] } : {}) }] };
}

function peer(random: Random): Plain {
  if (random.chance(35)) return { ipBlock: { cidr: random.pick(CIDRS) } };
  const pods = selector(random, POD_LABELS);
  if (random.chance(50)) return { podSelector: pods };
  return { namespaceSelector: selector(random, NAMESPACE_LABELS), ...(random.chance(50) ? { podSelector: pods } : {}) };
}

function port(random: Random): Plain {
  if (random.chance(25)) return { port: random.pick(PORT_NAMES), protocol: random.pick(["TCP", "UDP"]) };
  const first = random.pick(PORTS);
  return { port: first, protocol: random.pick(["TCP", "UDP"]), ...(random.chance(25) ? { endPort: first + random.below(30) } : {}) };
}

function rules(random: Random, peers: "from" | "to"): Plain[] {
  return Array.from({ length: random.below(3) }, () => ({
    ...(random.chance(80) ? { [peers]: Array.from({ length: 1 + random.below(2) }, () => peer(random)) } : {}),
    ...(random.chance(60) ? { ports: Array.from({ length: 1 + random.below(2) }, () => port(random)) } : {}),
  }));
}

function networkPolicy(random: Random, index: number): Plain {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `np${index}`, namespace: random.pick(NAMESPACES) },
    spec: { podSelector: selector(random, POD_LABELS), policyTypes: random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"],
      ["Ingress", "Egress"]]),
      ingress: rules(random, "from"), egress: rules(random, "to") } };
}

/** Services with some of the pods behind them, of whatever namespace, at ports that policies name; some with a port of nodes. */
function services(random: Random, items: readonly Plain[]): Plain[] {
  const pods = items.filter(({ kind, spec }) => kind === "Pod" && (spec as Plain).hostNetwork !== true);
  return ["one", "two", "three"].flatMap((name, index) => {
    const namespace = random.pick(NAMESPACES);
    const target = random.pick([80, 8080, 9090]);
    const open = random.chance(40) ? { type: "NodePort", ports: [{ port: 80, targetPort: target, nodePort: 30080 + index }] }
      : { ports: [{ port: random.pick([80, target]), targetPort: target }] };
    const endpoints = pods.filter(() => random.chance(40)).map(({ metadata, spec, status }) => ({
      addresses: [(status as { podIPs: { ip: string }[] }).podIPs[0].ip], nodeName: (spec as Plain).nodeName, conditions: { ready: true },
      targetRef: { kind: "Pod", ...(metadata as Plain) } }));
    return [
      { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { clusterIP: `10.96.1.${10 + index}`, ...open } },
      { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
        metadata: { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } },
        ports: [{ port: target, protocol: "TCP" }], endpoints },
    ];
  });
}

function draw(number: number): { cluster: Cluster; current: Profile; target: Profile } {
  const random = new Random(number);
  const base = baseCluster(random);
  const drawn = Array.from({ length: 2 + random.below(5) }, (_, index) => networkPolicy(random, index));
  const others = random.chance(25) ? policies(random, { version: 16, v6: false, tiers: false, nodes: false, hosts: false }) : [];
  const { objects } = readManifests([{ name: "cluster", text: JSON.stringify({ apiVersion: "v1", kind: "List",
    items: [...base.items, ...services(random, base.items), ...drawn, ...others] }) }]);
  return { cluster: buildCluster(objects), current: profile(random.pick(CURRENT)), target: profile(random.pick(TARGET)) };
}

function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function inputOf({ cluster, current, target }: ReturnType<typeof draw>): ExhaustiveInput {
  const network = assumedNetwork(cluster, {}, []);
  return { cluster, prefixes: [...network.clusterCidrs, ...network.nonMasqueradeCidrs], special: new Set(), most: 1_000_000, reduceAbove: 0,
    currentHasPolicy: current.policyEngine, settings: [settingOf(current, cluster, network), settingOf(target, cluster, network)],
    inseparable: inseparableIn(cluster, [current, target], network), planesOf: (some) => {
      const inputs = { cluster: some, epochNs: 0n, wasm: WASM, network, seed: 1, traced: false, udpCleanup: true };
      return { planes: [buildPlane("current", current, inputs), buildPlane("target", target, inputs)], denies: policyDenial(some, target) };
    } };
}

/** How many ports of how many pairs fare how, by way. */
type Sums = Record<string, number>;

function add(sums: Sums, { way, traffic, pairs, gist }: Omit<ToldPairs, "services">): void {
  const key = `${way} ${traffic.protocol} ${gist}`;
  sums[key] = (sums[key] ?? 0) + pairs * (traffic.last - traffic.first + 1);
}

function byClasses(input: ExhaustiveInput): { sums: Sums; services: Set<string>; sent: number; composed: number } {
  const sums: Sums = {};
  const services = new Set<string>();
  const { classes, composed, undecided } = compareAll(input, (pairs) => {
    if (pairs.services.length === 0) add(sums, pairs);
    else if (pairs.way === "pod to service") for (const name of pairs.services) services.add(`${name} ${pairs.gist}`);
  });
  expect(undecided.filter(({ reason }) => /^beyond|by themselves|placed/.test(reason))).toEqual([]);
  return { sums, services, sent: classes, composed };
}

function byPairs(input: ExhaustiveInput): { sums: Sums; services: Set<string>; sent: number } {
  const { cluster } = input;
  const classes = new Classes(cluster, { prefixes: input.prefixes, special: new Set() });
  const traffic = new TrafficClasses(cluster);
  const all = traffic.between(cluster.networkPolicies, cluster.networkPolicies);
  const { planes, denies } = input.planesOf(cluster, false);
  const senders = new Senders(cluster, planes, input.currentHasPolicy, denies, input.settings);
  const gist = (probe: Probe): string => gistOf(heardOf(senders.send(probe), senders.fates()));
  const sums: Sums = {};
  const services = new Set<string>();
  let sent = 0;
  const send = (way: Probe["way"], sender: Sender, from: readonly Address[], to: readonly Address[], one: Traffic,
    number: number): void => {
    for (const destination of to) {
      const source = from.find(({ family }) => family === destination.family);
      if (source === undefined) continue;
      const own = one.protocol === 1 && destination.family === 6 ? { ...one, protocol: 58 } : one;
      const probe: Probe = { way, sender, source, destination, traffic: own, port: number, backend: null, service: "", pairs: () => 1 };
      sent++;
      add(sums, { way, traffic: own, pairs: 1, gist: gist(probe) });
    }
  };
  const pods = [...classes.classOf.keys()];
  const outside = outsideClasses(cluster, classes.prefixes);
  for (const one of all) {
    for (const pod of pods) {
      const sender: Sender = { kind: "pod", pod };
      for (const other of pods) if (other !== pod) send("pod to pod", sender, pod.ips, other.ips, one, portWithin(one, other));
      for (const node of classes.nodes) {
        send("pod to node", sender, pod.ips, firstOfEach(internalOf(node), ({ family }) => `${family}`), one, one.first);
        send("node to pod", { kind: "node", node }, internalOf(node), pod.ips, one, portWithin(one, pod));
      }
      const via = classes.nodes.find(({ name }) => name === pod.nodeName)!;
      for (const { address } of outside) {
        send("pod to outside", sender, pod.ips, [address], one, one.first);
        send("outside to pod", { kind: "outside", via }, [address], pod.ips, one, portWithin(one, pod));
      }
    }
  }
  for (const service of cluster.services) {
    for (const { port: number, nodePort, name, protocol } of service.ports) {
      const fronts = [...service.clusterIPs.map((address) => ({ address, port: number })), ...(nodePort === 0 ? []
        : classes.nodes.flatMap(internalOf).filter(({ family }) => family === 4).map((address) => ({ address, port: nodePort })))];
      const slices = cluster.endpointSlices.filter((slice) => slice.serviceName === service.name && slice.namespace === service.namespace);
      const backends = slices.flatMap(({ ports, endpoints }) => ports.filter((own) => own.name === name && own.protocol === protocol)
        .flatMap(({ port }) => endpoints.flatMap(({ addresses }) => addresses.map((address) => ({ address, port })))));
      for (const pod of pods) {
        for (const { address: destination, port } of fronts) {
          for (const backend of backends.length === 0 ? [null] : backends) {
            const source = pod.ips.find(({ family }) => family === destination.family);
            // A pod that comes back to itself is asked for by the service's own address alone.
            if (source === undefined || (port === nodePort && backend?.address.text === source.text)) continue;
            const found = gist({ way: "pod to service", sender: { kind: "pod", pod }, source, destination,
              traffic: { protocol: 6, first: port, last: port }, port, backend, service: service.name, pairs: () => 1 });
            services.add(`${service.namespace}/${service.name} ${found}`);
          }
        }
      }
    }
  }
  return { sums, services, sent };
}

describe("classes of pairs and all pairs", () => {
  const composed: number[] = [];

  it.each(Array.from({ length: CLUSTERS }, (_, index) => seed * 1000 + index))("cluster %i", (number) => {
    const drawn = draw(number);
    const input = inputOf(drawn);
    const classes = byClasses(input);
    const pairs = byPairs(input);
    const say = `${drawn.current.text} -> ${drawn.target.text}, ${classes.sent} for ${pairs.sent}`;
    expect({ say, ...classes.sums }).toEqual({ say, ...pairs.sums });
    expect({ say, services: [...classes.services].sort() }).toEqual({ say, services: [...pairs.services].sort() });
    composed.push(classes.composed);
  });

  it("has pairs with policies at both ends in most clusters", () => {
    expect(composed.filter((count) => count > 0).length).toBeGreaterThan(CLUSTERS / 2);
  });
});
