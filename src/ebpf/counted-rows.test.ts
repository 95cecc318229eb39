import { describe, expect, test } from "vitest";
import type { Cluster } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { scaledCluster } from "../check/scale.js";
import { Random } from "../linux/netfilter/random.fixture.js";
import { compileForLimits } from "./image.js";
import { checkLimits } from "./limits.js";
import { ciliumOptions } from "./options.js";

/** Clusters of one version. */
const CLUSTERS = 60;
const SEED = Number(process.env["TWINPLANE_SEED"] ?? 20261123);

describe.each(["1.16", "1.17", "1.18", "1.19", "1.20"])("rows of services that are counted alone, Cilium %s", (version) => {
  test("are as many as those of a whole compile, of the same node and owners", () => {
    let fewer = 0;
    for (let number = 0; number < CLUSTERS; number++) {
      const random = new Random(SEED + number * 7919 + Number(version.slice(2)));
      const cluster = grown(randomCluster(random), random);
      const { options: known } = ciliumOptions(`cilium@${version}`, cluster, {});
      const options = { ...known, "kube-proxy-replacement": random.below(4) > 0, "enable-service-topology": random.below(5) === 0,
        "enable-internal-traffic-policy": random.below(4) > 0, "bpf-lb-source-range-all-types": random.below(2) === 0 };
      const [quick, whole] = [true, false].map((counted) => compileForLimits({ cluster, options }, counted));
      expect(checkLimits(quick, 0), `cluster ${number}`).toEqual(checkLimits(whole, 0));
      expect(quick.problems).toEqual(whole.problems);
      if (quick.services.frontends.length < whole.services.frontends.length) fewer++;
    }
    expect(fewer).toBeGreaterThan(CLUSTERS / 4);
  });
});

/** Some are grown, so that there are nodes that nothing stands on. */
function grown(cluster: Cluster, random: Random): Cluster {
  const times = random.below(4);
  return times < 2 ? cluster : scaledCluster(cluster, cluster.pods.length * times, random.below(2) === 0 ? "labels" : "replicas");
}

/** Few addresses, ports and names, so that services get in one another's way. */
function randomCluster(random: Random): Cluster {
  const nodes = Array.from({ length: 1 + random.below(5) }, (_, index) => `n${(index * 7) % 10}`);
  const pick = <T>(list: readonly T[]): T => random.pick(list);
  const policy = (): string => pick(["Local", "Local", "Cluster"]);
  const items: object[] = nodes.map((name, index) => ({ apiVersion: "v1", kind: "Node", metadata: { name, labels: zone(pick(["", "a", "b"])) },
    status: { addresses: [{ type: "InternalIP", address: `192.168.0.${index + 1}` }] } }));
  const pods = Array.from({ length: 3 + random.below(6) }, (_, index) => ({ ip: `10.0.0.${index + 1}`, node: pick(nodes) }));
  pods.forEach(({ ip, node }, index) => items.push({ apiVersion: "v1", kind: "Pod", metadata: { name: `p${index}`, namespace: "shop" },
    spec: { nodeName: node, containers: [{ name: "c",
      ports: random.below(4) === 0 ? [{ containerPort: 8080, hostPort: pick([80, 443]) }] : [{ containerPort: 8080 }] }] },
    status: { podIP: ip } }));
  const services = 1 + random.below(5);
  for (let index = 0; index < services; index++) {
    const type = pick(["ClusterIP", "NodePort", "LoadBalancer"]);
    const ports = Array.from({ length: 1 + random.below(2) }, (_, at) => ({ name: `port-${at}`, port: pick([80, 443]),
      protocol: pick(["TCP", "TCP", "UDP"]), ...(type === "ClusterIP" ? {} : { nodePort: 30000 + random.below(3) }) }));
    items.push({ apiVersion: "v1", kind: "Service", metadata: { name: `s${index}`, namespace: "shop" },
      spec: { type, clusterIP: `10.96.0.${1 + random.below(4)}`, internalTrafficPolicy: policy(), ports,
        ...(type === "ClusterIP" ? {} : { externalTrafficPolicy: policy() }),
        externalIPs: random.below(3) === 0 ? [pick(["203.0.113.1", "192.168.0.1"])] : [],
        ...(random.below(2) === 0 ? { sessionAffinity: "ClientIP" } : {}),
        ...(type === "LoadBalancer" && random.below(2) === 0 ? { loadBalancerSourceRanges: ["198.51.100.0/24", "192.0.2.0/24"] } : {}) },
      status: type === "LoadBalancer" ? { loadBalancer: { ingress: [{ ip: `198.51.100.${1 + random.below(3)}` }] } } : {} });
    const slices = random.below(3);
    for (let slice = 0; slice < slices; slice++) {
      items.push({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
        metadata: { name: `s${index}-${slice}`, namespace: "shop", labels: { "kubernetes.io/service-name": `s${index}` } },
        ports: ports.map(({ name, protocol }) => ({ name, protocol, port: 8080 })),
        endpoints: Array.from({ length: 1 + random.below(4) }, () => {
          const { ip, node } = pick(pods);
          const stands = random.below(12) === 0 ? {} : { nodeName: random.below(12) === 0 ? "gone" : node };
          return { addresses: [ip], ...stands, conditions: pick(CONDITIONS) };
        }) });
    }
  }
  return buildCluster(readManifests([{ name: "cluster.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items }) }]).objects);
}

const CONDITIONS = [{ ready: true }, { ready: true }, { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true }, { ready: false, serving: false }];

function zone(name: string): Record<string, string> {
  return name === "" ? {} : { "topology.kubernetes.io/zone": name };
}
