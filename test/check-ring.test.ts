/**
 * What is found for classes of pairs is what is found for every pair: random clusters, each pair of pods, nodes and hosts
 * outside by itself through planes of the whole cluster, held against the classes of src/check, whose planes know the
 * representatives alone.
 */
import { describe, expect, it } from "vitest";
import type { Address } from "../src/cluster/address.js";
import { compareAll, type ExhaustiveInput, type ToldPairs } from "../src/check/exhaustive.js";
import { gistOf, heardOf } from "../src/check/heard.js";
import { firstOfEach, internalOf } from "../src/check/edge-pairs.js";
import { outsideClasses } from "../src/check/outside.js";
import { Classes } from "../src/check/classes.js";
import { portWithin } from "../src/check/pod-pairs.js";
import type { Probe, Sender } from "../src/check/probe.js";
import { Senders } from "../src/check/send.js";
import { type Traffic, TrafficClasses } from "../src/check/traffic.js";
import { draw, inputOf } from "./check-clusters.js";
import { testSeed } from "./seed.js";

const CLUSTERS = 16;
const seed = testSeed("check-ring");

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
