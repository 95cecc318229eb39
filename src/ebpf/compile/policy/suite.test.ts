/**
 * The policy suite at the level of map state: every probe of every NetworkPolicy scenario gets Cilium's
 * answer (`alt.cilium` where present, else `expect`) from the compiled maps under the reference lookup.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sharedDir } from "../../../../test/shared.js";
import type { Address } from "../../../cluster/address.js";
import { parseAddress, parsePrefix, prefixContains } from "../../../cluster/address.js";
import type { Cluster } from "../../../cluster/cluster.js";
import { readManifests } from "../../../cluster/manifests.js";
import { buildCluster } from "../../../cluster/timeline.js";
import { ciliumOptions } from "../../options.js";
import type { CompiledPolicies } from "../policies.js";
import { compilePolicies } from "../policies.js";
import { freshNumbers } from "../numbers.js";
import { allowed } from "./naive-lookup.fixture.js";

const FAMILIES = ["k8s-e2e", "cyclonus", "recipes", "edge"];
const PROTOCOL: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };

interface End {
  ns?: string;
  pod?: string;
  ip?: string;
  service?: string;
}
interface Probe {
  from: End;
  to: End;
  port: number | string;
  protocol: string;
  expect: string;
  alt?: Record<string, string>;
}
interface Scenario {
  name: string;
  manifests: { kind: string }[];
  probes: Probe[];
}

const shared = sharedDir();

describe.skipIf(shared === null)("policy suite on map state (needs TWINPLANE_SHARED)", () => {
  for (const family of FAMILIES) {
    it(family, () => {
      const folder = join(shared!, "policy-suite", family);
      const wrong: string[] = [];
      let probes = 0;
      for (const file of readdirSync(folder).sort()) {
        const scenario = JSON.parse(readFileSync(join(folder, file), "utf8")) as Scenario;
        if (
          scenario.manifests.some(
            ({ kind }) => kind === "ClusterNetworkPolicy" || kind.includes("AdminNetworkPolicy"),
          )
        )
          continue;
        const sources = scenario.manifests.map((object, index) => ({
          name: `${file}#${index}`,
          text: JSON.stringify(object),
        }));
        const cluster = buildCluster(readManifests(sources).objects);
        const { options } = ciliumOptions("cilium@1.20", cluster, { "enable-ipv6": true });
        const compiled = compilePolicies(cluster, options, [], freshNumbers());
        for (const probe of scenario.probes) {
          probes++;
          const verdict = judge(cluster, compiled, probe) ? "allow" : "deny";
          if (verdict === (probe.alt?.["cilium"] ?? probe.expect)) continue;
          wrong.push(`${scenario.name}: ${JSON.stringify(probe)} got ${verdict}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(probes).toBeGreaterThan(40);
    });
  }
});

function judge(cluster: Cluster, compiled: CompiledPolicies, probe: Probe): boolean {
  const protocol = PROTOCOL[probe.protocol];
  const source = endOf(cluster, probe.from, null);
  let destination = endOf(cluster, probe.to, source.address);
  let port = probe.port;
  if (probe.to.service !== undefined) ({ destination, port } = backendOf(cluster, probe));
  if (typeof port === "string") {
    const name = port;
    const found = cluster.pods[destination.pod].ports.find(
      (one) => one.name === name && one.protocol === probe.protocol,
    );
    if (found === undefined) return false;
    port = found.containerPort;
  }
  const maps = compiled.endpoints;
  if (source.pod >= 0 && maps.ofPod[source.pod] >= 0) {
    const remote = identityOf(cluster, compiled, destination.address, cluster.pods[source.pod].nodeName);
    if (!allowed(maps.maps[maps.ofPod[source.pod]], remote, 1, protocol, port)) return false;
  }
  if (destination.pod >= 0 && maps.ofPod[destination.pod] >= 0) {
    const remote = identityOf(cluster, compiled, source.address, cluster.pods[destination.pod].nodeName);
    if (!allowed(maps.maps[maps.ofPod[destination.pod]], remote, 0, protocol, port)) return false;
  }
  return true;
}

interface Found {
  address: Address;
  pod: number;
}

function endOf(cluster: Cluster, end: End, other: Address | null): Found {
  if (end.ip !== undefined) return { address: parseAddress(end.ip)!, pod: -1 };
  const pod = cluster.pods.findIndex((one) => one.namespace === end.ns && one.name === end.pod);
  if (pod < 0) return { address: parseAddress("0.0.0.0")!, pod };
  const ips = cluster.pods[pod].ips;
  return { address: ips.find((ip) => ip.family === other?.family) ?? ips[0], pod };
}

function backendOf(cluster: Cluster, probe: Probe): { destination: Found; port: number | string } {
  const service = cluster.services.find(
    (one) => one.namespace === probe.to.ns && one.name === probe.to.service,
  )!;
  const pod = cluster.pods.findIndex(
    (one) =>
      one.namespace === service.namespace &&
      Object.entries(service.selector ?? {}).every(([key, value]) => one.labels[key] === value),
  );
  const target = service.ports.find(
    (one) => one.port === probe.port && one.protocol === probe.protocol,
  )!.targetPort;
  return { destination: { address: cluster.pods[pod].ips[0], pod }, port: target };
}

/** ipcache lookup from a node: longest prefix, the node's own rows first. */
function identityOf(_cluster: Cluster, compiled: CompiledPolicies, address: Address, node: string): number {
  let best = parsePrefix("0.0.0.0/0")!.length - 1;
  let identity = 0;
  for (const entry of compiled.ipcache) {
    if (entry.node !== null && entry.node !== node) continue;
    if (!prefixContains(entry.prefix, address) || entry.prefix.length < best) continue;
    best = entry.prefix.length;
    identity = entry.identity;
  }
  return identity;
}
