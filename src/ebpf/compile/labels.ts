/**
 * The labels of a security identity: which labels of a pod count, and how Cilium writes them. Which count is the label
 * filter's (label-filter.ts).
 */
import type { ContainerPort, Namespace, Pod } from "../../cluster/cluster.js";
import type { CiliumVersion } from "../options.js";
import type { LabelFilter } from "./label-filter.js";

export const POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace";
export const NAMESPACE_LABELS_PREFIX = "io.cilium.k8s.namespace.labels.";
export const CLUSTER_LABEL = "io.cilium.k8s.policy.cluster";
export const SERVICE_ACCOUNT_LABEL = "io.cilium.k8s.policy.serviceaccount";
const NAMED_PORTS_LABEL = "io.cilium.k8s.named-ports";

/**
 * A pod's identity labels, key without source -> value. Labels of the namespace are prefixed as Cilium
 * prefixes them, so a namespaceSelector is a selector on these keys.
 */
export function identityLabels(
  pod: Pod,
  namespace: Namespace | undefined,
  clusterName: string,
  filter: LabelFilter,
): Map<string, string> {
  const labels = new Map<string, string>();
  for (const [key, value] of Object.entries(pod.labels)) {
    if (filter.keeps(key)) labels.set(key, value);
  }
  const namespaceLabels = namespace?.labels ?? { "kubernetes.io/metadata.name": pod.namespace };
  for (const [key, value] of Object.entries(namespaceLabels)) {
    const prefixed = NAMESPACE_LABELS_PREFIX + key;
    if (filter.keeps(prefixed)) labels.set(prefixed, value);
  }
  // Set last: a pod's own label of the same key does not count (pkg/k8s/labels.go).
  const own: readonly [string, string][] = [[POD_NAMESPACE_LABEL, pod.namespace], [CLUSTER_LABEL, clusterName],
    [SERVICE_ACCOUNT_LABEL, pod.serviceAccountName]];
  for (const [key, value] of own) if (value !== "" && filter.keeps(key)) labels.set(key, value);
  return labels;
}

/**
 * Cilium's text of a label set, sorted; equal sets have equal text. Holds the named ports, see
 * `namedPortsText`.
 */
export function labelTexts(
  labels: ReadonlyMap<string, string>,
  ports: readonly ContainerPort[],
  version: CiliumVersion,
): string[] {
  const texts: string[] = [];
  for (const [key, value] of labels) texts.push(`k8s:${key}=${value}`);
  const named = version === "1.20" ? namedPortsText(ports) : "";
  if (named !== "") texts.push(`gen:${NAMED_PORTS_LABEL}=${named}`);
  return texts.sort();
}

/**
 * The named ports of a pod as one sorted text. From 1.20 they are a generated label, so pods that map a name
 * to different numbers have different identities and egress rules by port name stay exact (cilium#45760).
 */
function namedPortsText(ports: readonly ContainerPort[]): string {
  const named = ports.filter((port) => port.name !== "");
  return named
    .map((port) => `${port.name}-${port.containerPort}-${port.protocol}`)
    .sort()
    .join("_");
}
