/**
 * Which pods of two snapshots are one pod to a dataplane: the same by name, or of one owner with the same labels, ports and
 * service account, on one node. A Deployment's pods have other names after each rollout, and are no others to any policy.
 */
import type { ObjectMeta, Pod } from "./cluster.js";

/** Set by controllers, and others for the next pod of the same owner. */
const PASSING = new RegExp("^(pod-template-hash|controller-revision-hash|pod-template-generation|controller-uid|job-name)$"
  + "|^statefulset\\.kubernetes\\.io/|^apps\\.kubernetes\\.io/pod-index$|^batch\\.kubernetes\\.io/");

export function isPassingLabel(key: string): boolean {
  return PASSING.test(key);
}

/** Labels that the next pod of the same owner has too, sorted by key. */
export function lastingLabels({ labels }: Pick<ObjectMeta, "labels">): [key: string, value: string][] {
  return Object.entries(labels).filter(([key]) => !isPassingLabel(key)).sort(([a], [b]) => (a < b ? -1 : 1));
}

export function isSamePod(one: Pod, other: Pod): boolean {
  if (one.namespace !== other.namespace || one.nodeName !== other.nodeName) return false;
  return one.name === other.name || (one.owner !== undefined && likenessOf(one) === likenessOf(other));
}

/** What pods that stand for one another have alike; each of another owner, or of none, has its own. */
export function likenessOf(pod: Pod): string {
  const { namespace, name, nodeName, owner, serviceAccountName } = pod;
  if (owner === undefined) return JSON.stringify([namespace, nodeName, name]);
  const ports = pod.ports.map((port) => [port.name, port.containerPort, port.protocol, port.hostPort, port.hostIP, port.sidecar === true]);
  return JSON.stringify([namespace, nodeName, [owner], serviceAccountName, lastingLabels(pod), ports]);
}

/** Whether it has an address of its own. */
export function hasOwnAddress(pod: Pod): boolean {
  return !pod.hostNetwork && !hasEnded(pod) && pod.ips.length > 0;
}

/** Its containers ran to their end; the address that its status still has is nobody's, or another pod's. */
export function hasEnded({ phase }: Pick<Pod, "phase">): boolean {
  return phase === "Succeeded" || phase === "Failed";
}
