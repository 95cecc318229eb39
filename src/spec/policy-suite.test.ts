/**
 * The policy suite: every probe of every scenario must get the expected verdict, under the reading of ipBlock that
 * the probe's verdict is for.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import { parseAddress } from "../cluster/address.js";
import type { Cluster, Pod, Protocol } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { matchesSelector } from "../cluster/selector.js";
import { buildCluster } from "../cluster/timeline.js";
import { evaluateAddresses, evaluateFlow, type FlowEnd } from "./evaluate.js";
import { PolicyIndex } from "./policy-index.js";

interface End { ns?: string; pod?: string; ip?: string; service?: string }
interface Probe {
  from: End; to: End; port: number | string; protocol: Protocol; expect: string;
  alt?: { ipblock_matches_pods?: string; ipblock_ignores_pods?: string };
}
interface Scenario { name: string; manifests: { kind: string }[]; probes: Probe[] }

const shared = sharedDir();
const suite = shared === null ? "" : join(shared, "policy-suite");
/** Scenarios and probes of each family, so that none is left out unseen. */
const FAMILIES = {
  "cyclonus": [256, 22_986], "edge": [20, 101], "k8s-e2e": [58, 506], "npapi-anp-v1alpha1": [58, 289],
  "npapi-cnp-v1alpha2": [60, 295], "policy-assistant": [21, 892], "recipes": [17, 50],
};

function scenarios(): Scenario[] {
  return readdirSync(suite, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => JSON.parse(readFileSync(join(suite, file), "utf8")));
}

function clusterOf(scenario: Scenario): Cluster {
  const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: scenario.manifests });
  const manifests = readManifests([{ name: scenario.name, text }]);
  expect(manifests.problems.filter((problem) => problem.severity === "error")).toEqual([]);
  return buildCluster(manifests.objects);
}

/** A service stands for each of its backends: all of them give the same verdict in this suite. */
function ends(cluster: Cluster, end: End, probe: Probe): { end: FlowEnd; port: number }[] {
  const number = (pod: Pod | undefined): number => (typeof probe.port === "number" ? probe.port
    : pod?.ports.find((port) => port.name === probe.port && port.protocol === probe.protocol)?.containerPort
      ?? -1);
  if (end.ip !== undefined) return [{ end: { ip: parseAddress(end.ip)! }, port: number(undefined) }];
  if (end.pod !== undefined) {
    const pod = cluster.pods.find((one) => one.namespace === end.ns && one.name === end.pod)!;
    return [{ end: { pod }, port: number(pod) }];
  }
  const service = cluster.services.find((one) => one.namespace === end.ns && one.name === end.service)!;
  const port = service.ports.find((one) => one.protocol === probe.protocol
    && (one.port === probe.port || one.name === probe.port))!;
  const selector = { matchLabels: service.selector!, matchExpressions: [] };
  return cluster.pods.filter((pod) => pod.namespace === end.ns && matchesSelector(selector, pod.labels))
    .map((pod) => ({ end: { pod }, port: typeof port.targetPort === "number" ? port.targetPort
      : pod.ports
        .find((one) => one.name === port.targetPort && one.protocol === port.protocol)!.containerPort }));
}

function wanted(probe: Probe, matches: boolean): string {
  return (matches ? probe.alt?.ipblock_matches_pods : probe.alt?.ipblock_ignores_pods) ?? probe.expect;
}

describe.skipIf(!existsSync(suite))("policy suite (needs TWINPLANE_SHARED)", () => {
  for (const ipBlockMatchesPods of [true, false]) {
    test(`every probe, ipBlock ${ipBlockMatchesPods ? "matches" : "ignores"} pods`, () => {
      const counts = new Map<string, { scenarios: number; probes: number; alt: number }>();
      const wrong: string[] = [];
      for (const scenario of scenarios()) {
        const cluster = clusterOf(scenario);
        const index = new PolicyIndex(cluster, { ipBlockMatchesPods });
        const family = scenario.name.split("/")[0];
        const count = counts.get(family) ?? { scenarios: 0, probes: 0, alt: 0 };
        counts.set(family, count);
        count.scenarios++;
        for (const probe of scenario.probes) {
          count.probes++;
          if (wanted(probe, true) !== wanted(probe, false)) count.alt++;
          const [{ end: source }] = ends(cluster, probe.from, probe);
          const targets = ends(cluster, probe.to, probe);
          expect(targets.length).toBeGreaterThan(0);
          for (const target of targets) {
            const verdict = evaluateFlow(index, { source, destination: target.end, port: target.port,
              protocol: probe.protocol });
            const got = verdict?.allowed ? "allow" : "deny";
            if (got !== wanted(probe,
              ipBlockMatchesPods)) wrong.push(`${scenario.name}: ${JSON.stringify(probe)}`);
          }
        }
      }
      console.log(`ipBlockMatchesPods ${ipBlockMatchesPods}:`, Object.fromEntries(counts));
      expect(wrong.slice(0, 20)).toEqual([]);
      expect(Object.fromEntries([...counts].map(([family, one]) => [family, [one.scenarios, one.probes]]))).toEqual(FAMILIES);
    });
  }

  test("asked by addresses, the answer is the same", () => {
    const number = { TCP: 6, UDP: 17, SCTP: 132 } as const;
    let asked = 0;
    for (const scenario of scenarios().filter((one) => !one.name.startsWith("cyclonus"))) {
      const cluster = clusterOf(scenario);
      const index = new PolicyIndex(cluster, { ipBlockMatchesPods: true });
      for (const probe of scenario.probes) {
        const [{ end: source }] = ends(cluster, probe.from, probe);
        for (const target of ends(cluster, probe.to, probe)) {
          if (!("pod" in source) || !("pod" in target.end)) continue;
          const from = index.pod(source.pod.namespace, source.pod.name)!.ips;
          const to = index.pod(target.end.pod.namespace, target.end.pod.name)!.ips;
          const named = evaluateFlow(index, { source, destination: target.end, port: target.port,
            protocol: probe.protocol });
          expect(evaluateAddresses(index, from[0], to[0], number[probe.protocol], target.port))
            .toEqual(named);
          asked++;
        }
      }
    }
    expect(asked).toBeGreaterThan(500);
  });
});
