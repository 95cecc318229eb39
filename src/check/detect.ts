/**
 * Which dataplane a cluster has now, as far as its objects show it: the DaemonSets and pods of policy engines, Cilium's own
 * configuration and image. What nothing shows is kube-proxy without a policy engine, and that is said.
 */
import type { Cluster, OtherObject } from "../cluster/cluster.js";

export interface Detected {
  /** A profile's name. */
  readonly profile: string;
  /** What shows it, for a sentence. */
  readonly because: string;
}

/** Names of DaemonSets, which their pods' labels `k8s-app` share. */
const ENGINES: readonly { readonly name: string; readonly profile: string }[] = [
  { name: "azure-npm", profile: "kube-proxy+npm" },
  { name: "calico-node", profile: "kube-proxy+calico" },
];

export function detectCurrent(cluster: Cluster, versions: readonly string[]): Detected {
  const cilium = daemonSet(cluster, "cilium");
  const config = cluster.others.find((one) => one.kind === "ConfigMap" && one.name === "cilium-config");
  if (cilium !== undefined || config !== undefined || hasPods(cluster, "cilium")) {
    const version = cilium === undefined ? null : imageVersion(cilium);
    const shown = cilium !== undefined ? "DaemonSet cilium" : config !== undefined ? "ConfigMap cilium-config" : "pods of cilium";
    if (version !== null && versions.includes(version)) {
      return { profile: `cilium@${version}`, because: `${shown}, whose image is ${version}` };
    }
    const newest = versions[versions.length - 1];
    return { profile: `cilium@${newest}`, because: version === null ? `${shown}; which version it is was not found, so the newest was taken`
      : `${shown}; its version ${version} has no profile, so the newest was taken` };
  }
  for (const { name, profile } of ENGINES) {
    if (daemonSet(cluster, name) !== undefined) return { profile, because: `DaemonSet ${name}` };
    if (hasPods(cluster, name)) return { profile, because: `pods with k8s-app: ${name}` };
  }
  return { profile: "kube-proxy", because: "no Azure NPM, Calico or Cilium is among the objects" };
}

function daemonSet(cluster: Cluster, name: string): OtherObject | undefined {
  return cluster.others.find((one) => one.kind === "DaemonSet" && one.name === name);
}

function hasPods(cluster: Cluster, name: string): boolean {
  return cluster.pods.some((pod) => pod.labels["k8s-app"] === name);
}

/** `1.18` of an image `…/cilium:v1.18.6`, or null. */
function imageVersion({ object }: OtherObject): string | null {
  const spec = object["spec"] as { template?: { spec?: { containers?: readonly { image?: unknown }[] } } } | undefined;
  for (const { image } of spec?.template?.spec?.containers ?? []) {
    const found = /\/cilium[^/]*:v?(\d+\.\d+)\b/.exec(String(image));
    if (found !== null) return found[1];
  }
  return null;
}
