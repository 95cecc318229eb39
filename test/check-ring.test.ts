/**
 * What is found for classes of pairs is what is found for every pair: random clusters, each pair of pods, nodes and hosts
 * outside by itself through planes of the whole cluster, held against the classes of src/check, whose planes know the
 * representatives alone.
 */
import { describe, expect, it } from "vitest";
import type { Address } from "../src/cluster/address.js";
import type { Judged } from "../src/compare/judged.js";
import { compareAll, type ExhaustiveInput } from "../src/check/exhaustive.js";
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

/** What is found, without names. */
function keyOf(judged: Judged | string | null): string {
  if (judged === null || typeof judged === "string") return judged ?? "same";
  const { finding } = judged;
  return finding === null ? "undecided" : `${finding.id} ${finding.facet} ${finding.reachesNow}`;
}

/** How many ports of how many pairs fare how, by way. */
type Sums = Record<string, number>;

function add(sums: Sums, probe: Probe, judged: Judged | string | null, pairs: number): void {
  const key = `${probe.way} ${probe.traffic.protocol} ${keyOf(judged)}`;
  sums[key] = (sums[key] ?? 0) + pairs * (probe.traffic.last - probe.traffic.first + 1);
}

function byClasses(input: ExhaustiveInput): { sums: Sums; services: Set<string>; sent: number } {
  const sums: Sums = {};
  const services = new Set<string>();
  const { classes, undecided } = compareAll(input, (probe, judged) => {
    if (probe.service === "") add(sums, probe, judged, probe.pairs());
    else if (probe.way === "pod to service") services.add(`${probe.service} ${keyOf(judged)}`);
  });
  expect(undecided.filter(({ reason }) => reason.startsWith("beyond"))).toEqual([]);
  return { sums, services, sent: classes };
}

function byPairs(input: ExhaustiveInput): { sums: Sums; services: Set<string>; sent: number } {
  const { cluster } = input;
  const classes = new Classes(cluster, { prefixes: input.prefixes, special: new Set() });
  const traffic = new TrafficClasses(cluster);
  const all = traffic.between(cluster.networkPolicies, cluster.networkPolicies);
  const { planes, denies } = input.planesOf(cluster);
  const senders = new Senders(cluster, planes, input.currentHasPolicy, denies, input.settings);
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
      add(sums, probe, senders.send(probe), 1);
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
      for (const { address } of outside) send("pod to outside", sender, pod.ips, [address], one, one.first);
    }
  }
  for (const service of cluster.services) {
    for (const { port: number, name, protocol } of service.ports) {
      for (const slice of cluster.endpointSlices) {
        if (slice.serviceName !== service.name || slice.namespace !== service.namespace) continue;
        const target = slice.ports.find((some) => some.name === name && some.protocol === protocol);
        for (const pod of pods) {
          for (const backend of slice.endpoints.flatMap(({ addresses }) => addresses)) {
            for (const destination of service.clusterIPs) {
              const source = pod.ips.find(({ family }) => family === destination.family);
              if (source === undefined || target === undefined) continue;
              const judged = senders.send({ way: "pod to service", sender: { kind: "pod", pod }, source, destination,
                traffic: { protocol: 6, first: number, last: number }, port: number, backend: { address: backend, port: target.port },
                service: service.name, pairs: () => 1 });
              services.add(`${service.namespace}/${service.name} ${keyOf(judged)}`);
            }
          }
        }
      }
    }
  }
  return { sums, services, sent };
}

describe("classes of pairs and all pairs", () => {
  it.each(Array.from({ length: CLUSTERS }, (_, index) => seed * 1000 + index))("cluster %i", (number) => {
    const drawn = draw(number);
    const input = inputOf(drawn);
    const classes = byClasses(input);
    const pairs = byPairs(input);
    const say = `${drawn.current.text} -> ${drawn.target.text}, ${classes.sent} for ${pairs.sent}`;
    const outsideless = Object.fromEntries(Object.entries(classes.sums).filter(([key]) => !key.startsWith("outside to pod")));
    expect({ say, ...outsideless }).toEqual({ say, ...pairs.sums });
    for (const one of pairs.services) expect([...classes.services]).toContain(one);
  });
});
