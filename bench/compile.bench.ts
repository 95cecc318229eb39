import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { compileImage } from "../src/ebpf/image.js";
import { ciliumOptions } from "../src/ebpf/options.js";
import { dumpRules } from "../src/planes.js";
import { type Figure, msOf, type Question, single } from "./bench.js";

const NODES = 200;
const PODS = 20_000;
const SERVICES = 1_000;
const POLICIES = 1_000;
/** Pods of one application have the same labels; a policy selects one application and admits another. */
const APPLICATIONS = 1_000;

export const question: Question = {
  question: `How long does compiling take for ${PODS} pods, ${SERVICES} services and ${POLICIES} policies?`,
  async run(): Promise<Figure[]> {
    const texts = [{ name: "cluster.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [...objects()] }) }];
    const cluster = read(texts);
    const { options } = ciliumOptions("cilium@1.20", cluster, {});
    let entries = 0;
    const image = await msOf("map image of the eBPF plane, all nodes", () => {
      const made = compileImage({ cluster, options });
      entries = made.policies.endpoints.maps.reduce((sum, map) => sum + map.size, 0);
      for (const list of made.maps.values()) entries += list.length;
      return entries;
    });
    let bytes = 0;
    const network = { clusterCidrs: [], nonMasqueradeCidrs: [] };
    const rules = await msOf("iptables text of one node, both families", () => bytes = dumpRules(cluster, network, "node-0").length);
    return [
      await msOf("reading the manifests (JSON)", () => read(texts).pods.length, `${(texts[0].text.length / 1e6).toFixed(1)} MB`),
      image, single("entries of that image", entries, "entries"), rules, single("length of that text", bytes / 1e6, "MB"),
    ];
  },
};

function read(texts: readonly { name: string; text: string }[]): Cluster {
  const { objects: found, problems } = readManifests(texts);
  const { initial, problems: more } = buildTimeline({ initial: found });
  const error = [...problems, ...more].find((problem) => problem.severity === "error");
  if (error !== undefined || initial.pods.length !== PODS) throw new Error(`the cluster is not what it should be: ${error?.what}`);
  return initial;
}

const address = (pod: number): string => `10.${pod >> 14}.${(pod >> 7) & 127}.${(pod & 127) + 1}`;
const service = (index: number): string => `10.96.${index >> 8}.${index & 255}`;
const app = (index: number): { app: string } => ({ app: `app-${index % APPLICATIONS}` });
const NAMESPACE = "default";

function* objects(): Generator<object> {
  for (let index = 0; index < NODES; index++) {
    yield { apiVersion: "v1", kind: "Node", metadata: { name: `node-${index}` }, spec: { podCIDRs: [`10.${index >> 7}.${index & 127}.0/24`] },
      status: { addresses: [{ type: "InternalIP", address: `192.168.${index >> 8}.${index & 255}` }] } };
  }
  for (let index = 0; index < PODS; index++) {
    yield { apiVersion: "v1", kind: "Pod", metadata: { name: `pod-${index}`, namespace: NAMESPACE, labels: app(index) },
      spec: { nodeName: `node-${(index >> 7) % NODES}`, containers: [{ name: "c", ports: [{ containerPort: 8080, name: "web" }] }] },
      status: { phase: "Running", podIPs: [{ ip: address(index) }] } };
  }
  for (let index = 0; index < SERVICES; index++) {
    yield { apiVersion: "v1", kind: "Service", metadata: { name: `service-${index}`, namespace: NAMESPACE },
      spec: { clusterIP: service(index), clusterIPs: [service(index)], selector: app(index), ports: [{ port: 80, targetPort: 8080, protocol: "TCP" }] } };
    yield { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: `service-${index}-1`, namespace: NAMESPACE, labels: { "kubernetes.io/service-name": `service-${index}` } },
      ports: [{ port: 8080, protocol: "TCP" }],
      endpoints: Array.from({ length: PODS / APPLICATIONS }, (_, round) => index + round * APPLICATIONS)
        .map((pod) => ({ addresses: [address(pod)], nodeName: `node-${(pod >> 7) % NODES}`, conditions: { ready: true } })) };
  }
  for (let index = 0; index < POLICIES; index++) {
    yield { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `policy-${index}`, namespace: NAMESPACE },
      spec: { podSelector: { matchLabels: app(index) }, policyTypes: ["Ingress"],
        ingress: [{ from: [{ podSelector: { matchLabels: app(index + 1) } }, { podSelector: { matchLabels: app(index + 7) } }],
          ports: [{ port: 8080, protocol: "TCP" }] }] } };
  }
}
