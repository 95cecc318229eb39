/**
 * Calico's workload endpoints: the pods that have an address of their own, with the labels that selectors ask about,
 * and on their own node the device that leads to them. Host-network pods are part of their node and no endpoints.
 *
 * Source: libcalico-go conversion.go (IsReadyCalicoPod, IsFinished), workload_endpoint_default.go.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node, NodeFacts, Pod } from "../../cluster/cluster.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";
import { vethName } from "./names.js";
import { type EndpointLabels, NAMESPACE_LABEL, NAMESPACE_PREFIX, ORCHESTRATOR_LABEL, type Selector } from "./selector.js";

export interface WorkloadEndpoint {
  readonly pod: Pod;
  readonly labels: EndpointLabels;
}

/** An endpoint of the node whose rules are written. */
export interface LocalEndpoint extends WorkloadEndpoint {
  readonly device: string;
}

/** Names by which CNI plugins that work with Calico call their devices; the first where nothing tells. */
const KNOWN_PREFIXES = ["cali", "azv"];

/** All of the cluster, by namespace and name. */
export function workloadEndpoints(cluster: Cluster): WorkloadEndpoint[] {
  return cluster.pods.filter(isEndpoint).map((pod) => ({ pod, labels: labelsOf(pod, cluster) }))
    .sort((a, b) => byteOrder(a.pod.namespace, b.pod.namespace) || byteOrder(a.pod.name, b.pod.name));
}

/** Endpoints of a cluster, found by their labels: a large one has thousands of selectors. */
export class EndpointIndex {
  /** `key`, NUL, `value` -> endpoints that have the label, in the list's order. */
  private readonly byLabel = new Map<string, WorkloadEndpoint[]>();

  constructor(private readonly all: readonly WorkloadEndpoint[]) {
    for (const endpoint of all) for (const [key, value] of endpoint.labels) {
      const list = this.byLabel.get(`${key}\0${value}`);
      if (list === undefined) this.byLabel.set(`${key}\0${value}`, [endpoint]);
      else list.push(endpoint);
    }
  }

  /** Those that the selector takes, in the list's order. */
  selected(selector: Selector): WorkloadEndpoint[] {
    let among = this.all;
    for (const [key, value] of selector.requires) {
      const some = this.byLabel.get(`${key}\0${value}`) ?? [];
      if (some.length < among.length) among = some;
    }
    return among.filter(({ labels }) => selector.holds(labels));
  }
}

function isEndpoint(pod: Pod): boolean {
  return !pod.hostNetwork && pod.nodeName !== "" && pod.ips.length > 0
    && pod.phase !== "Succeeded" && pod.phase !== "Failed";
}

/** What Calico sets itself stands above a label of the same name. */
function labelsOf(pod: Pod, cluster: Cluster): EndpointLabels {
  const labels = new Map<string, string>();
  const namespace = cluster.namespaces.get(pod.namespace)?.labels ?? {};
  for (const [key, value] of Object.entries(namespace)) labels.set(NAMESPACE_PREFIX + key, value);
  labels.set(`${NAMESPACE_PREFIX}projectcalico.org/name`, pod.namespace);
  for (const [key, value] of Object.entries(pod.labels)) labels.set(key, value);
  labels.set(NAMESPACE_LABEL, pod.namespace);
  labels.set(ORCHESTRATOR_LABEL, "k8s");
  return labels;
}

/** Endpoints of the node with their devices: as its facts say, else as the CNI plugin would name them. */
export function localEndpoints(endpoints: readonly WorkloadEndpoint[], node: Node): LocalEndpoint[] {
  const devices = new Map<string, string>();
  for (const device of node.facts.devices) {
    if (device.kind === "pod" && device.pod !== null) devices.set(device.pod, device.name);
  }
  const prefix = devicePatterns(node.facts).find((one) => one.endsWith("+"))?.slice(0, -1) ?? KNOWN_PREFIXES[0];
  return endpoints.map((endpoint) => {
    const { namespace, name } = endpoint.pod;
    return { ...endpoint, device: devices.get(`${namespace}/${name}`) ?? vethName(prefix, namespace, name) };
  });
}

/**
 * Felix's InterfacePrefix as device matches (`cali+`): what the node's pod devices are called. A name without a known
 * form is matched as a whole.
 */
export function devicePatterns(facts: NodeFacts): string[] {
  const patterns = new Set<string>();
  for (const { kind, name } of facts.devices) {
    if (kind !== "pod") continue;
    const prefix = KNOWN_PREFIXES.find((one) => name.startsWith(one)) ?? /^([a-z]+?)[0-9a-f]{8,}$/.exec(name)?.[1];
    patterns.add(prefix === undefined ? name : `${prefix}+`);
  }
  return patterns.size === 0 ? [`${KNOWN_PREFIXES[0]}+`] : [...patterns].sort(byteOrder);
}

/** Addresses of a family. */
export function addressesOf(endpoint: WorkloadEndpoint, family: Family): string[] {
  return endpoint.pod.ips.filter((ip) => ip.family === family).map((ip) => ip.text);
}
