/**
 * The labels of a security identity: which labels of a pod count, and how Cilium writes them.
 *
 * The default filter is that of `pkg/labelsfilter/filter.go`: each pattern is matched at the start of the
 * key; of the ignoring patterns that match, the shortest counts, of the including ones the longest; a label
 * is kept when no ignoring pattern matches, or when the including match is longer. A user's own `labels` list
 * is not read here.
 */
import type { ContainerPort, Namespace, Pod } from "../../cluster/cluster.js";
import type { CiliumVersion } from "../options.js";

export const POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace";
export const NAMESPACE_LABELS_PREFIX = "io.cilium.k8s.namespace.labels.";
export const CLUSTER_LABEL = "io.cilium.k8s.policy.cluster";
export const SERVICE_ACCOUNT_LABEL = "io.cilium.k8s.policy.serviceaccount";
const NAMED_PORTS_LABEL = "io.cilium.k8s.named-ports";

const INCLUDE: readonly RegExp[] = [
  /io\.kubernetes\.pod\.namespace/,
  /io\.cilium\.k8s\.namespace\.labels/,
  /app\.kubernetes\.io/,
  /io\.cilium\.k8s\.policy\.cluster/,
];
const IGNORE: readonly RegExp[] = [
  /io\.kubernetes/,
  /kubernetes\.io/,
  /statefulset\.kubernetes\.io\/pod-name/,
  /apps\.kubernetes\.io\/pod-index/,
  /batch\.kubernetes\.io\/job-completion-index/,
  /batch\.kubernetes\.io\/controller-uid/,
  /.*beta\.kubernetes\.io/,
  /k8s\.io/,
  /pod-template-generation/,
  /pod-template-hash/,
  /controller-revision-hash/,
  /annotation.*/,
  /controller-uid/,
  /etcd_node/,
];

const decided = new Map<string, boolean>();

/** Whether a label with this key is part of an identity under Cilium's default list. */
export function isIdentityLabel(key: string): boolean {
  let kept = decided.get(key);
  if (kept === undefined) {
    const ignored = matchLengths(IGNORE, key).reduce(
      (least, length) => (least === 0 ? length : Math.min(least, length)),
      0,
    );
    const included = Math.max(0, ...matchLengths(INCLUDE, key));
    kept = ignored === 0 || included > ignored;
    if (decided.size < 100_000) decided.set(key, kept);
  }
  return kept;
}

/**
 * A pod's identity labels, key without source -> value. Labels of the namespace are prefixed as Cilium
 * prefixes them, so a namespaceSelector is a selector on these keys.
 */
export function identityLabels(
  pod: Pod,
  namespace: Namespace | undefined,
  clusterName: string,
): Map<string, string> {
  const labels = new Map<string, string>();
  for (const [key, value] of Object.entries(pod.labels)) {
    if (isIdentityLabel(key)) labels.set(key, value);
  }
  const namespaceLabels = namespace?.labels ?? { "kubernetes.io/metadata.name": pod.namespace };
  for (const [key, value] of Object.entries(namespaceLabels)) {
    const prefixed = NAMESPACE_LABELS_PREFIX + key;
    if (isIdentityLabel(prefixed)) labels.set(prefixed, value);
  }
  // Set last: a pod's own label of the same key does not count (pkg/k8s/labels.go).
  labels.set(POD_NAMESPACE_LABEL, pod.namespace);
  labels.set(CLUSTER_LABEL, clusterName);
  if (pod.serviceAccountName !== "") labels.set(SERVICE_ACCOUNT_LABEL, pod.serviceAccountName);
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

function matchLengths(patterns: readonly RegExp[], key: string): number[] {
  const lengths: number[] = [];
  for (const pattern of patterns) {
    const match = pattern.exec(key);
    if (match !== null && match.index === 0) lengths.push(match[0].length);
  }
  return lengths;
}
