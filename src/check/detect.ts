/**
 * Which dataplane a cluster has now, as far as its objects show it: the DaemonSets and pods of policy engines, Cilium's own
 * configuration and image. What nothing shows is kube-proxy without a policy engine, and that is said.
 */
import type { Cluster, OtherObject } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import type { Profile } from "../planes.js";

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

/** What the objects show of the cluster that the profiles compared leave out; each is a comparison that somebody did not mean. */
export function profileHints(cluster: Cluster, current: Profile, target: Profile, versions: readonly string[]): Problem[] {
  const hints: string[] = [];
  const shown = detectCurrent(cluster, versions);
  const shownEngine = shown.profile.split("@")[0];
  // A cilium-config alone may be the target's.
  if (shown.profile !== "kube-proxy" && current.engine !== shownEngine && !shown.because.startsWith("ConfigMap")) {
    hints.push(`${shown.because}: the cluster seems to have ${shown.profile}, and ${current.text} is compared; `
      + `--current ${shown.profile} compares what it has`);
  }
  const policies = cluster.networkPolicies.length + cluster.adminPolicies.length + cluster.ciliumPolicies.length;
  if (shown.profile !== "kube-proxy" && policies === 0 && cluster.pods.length > 0) {
    hints.push(`${shown.because}, and no policy is among the objects (kubectl get all leaves them out): if the cluster has some,`
      + " nothing said here holds; kubectl get networkpolicies -A -o yaml has them");
  }
  const version = cluster.nodes.find(({ labels }) => labels["kubernetes.azure.com/cluster"] !== undefined)?.kubeletVersion;
  const minor = /^v?(\d+\.\d+)/.exec(version ?? "")?.[1];
  if (minor !== undefined && /^cilium@/.test(target.text)) {
    hints.push(`the nodes are AKS's, of Kubernetes ${minor}: ${target.text} has Cilium's own options; --target aks@${minor} has the`
      + " version and options that AKS does, where it is known");
  }
  return hints.map((what) => ({ where: null, severity: "warning", what }));
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
