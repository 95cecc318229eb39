/**
 * Egress policies that do not allow everything, where that differs: a pod to its own node, which NetworkPolicy always
 * allows and Cilium does not; and DNS on the node, which is that in particular.
 *
 * A pod that another policy allows everything is the same on both sides.
 */
import type { NetworkPolicy, Pod } from "../cluster/cluster.js";
import { type Flag, type FlagSetting, type OneCheck, podsOf, titleOfObject } from "./flags.js";
import type { Selection } from "./selection.js";

/** Where AKS's LocalDNS listens on every node. */
const LOCAL_DNS = "169.254.10.10";

export function egressFlags({ cluster, selection }: FlagSetting): OneCheck {
  const flags: Flag[] = [];
  const dns = localDns(cluster);
  let objects = 0;
  for (const policy of cluster.networkPolicies) {
    if (!policy.policyTypes.includes("Egress") || policy.egress.some((rule) => rule.peers === null && rule.ports === null)) continue;
    objects++;
    const pods = selection.subject(policy).filter((pod) => !isOpen(selection, pod) && !namesHost(cluster, pod));
    if (pods.length === 0) continue;
    const of = { check: "egress" as const, object: titleOfObject(policy), where: policy.where, ...podsOf(pods) };
    const ports = policy.egress.some((rule) => rule.peers === null) ? " but at the ports it allows to anyone" : "";
    flags.push({ ...of, id: "POL-LOCALNODE-EGRESS",
      what: `a pod's own node is always allowed by NetworkPolicy; Cilium denies it${ports} (entity host)` });
    if (dns !== null) {
      flags.push({ ...of, id: "POL-LOCALDNS", what: `DNS is answered on the pod's own node (${dns}), which Cilium denies${ports}` });
    }
  }
  return { flags, tally: { check: "egress", objects, flagged: new Set(flags.map(({ object }) => object)).size,
    otherwise: "they select no pod, or another policy allows those pods everything" } };
}

/** Another policy allows the pod every destination. */
function isOpen(selection: Selection, pod: Pod): boolean {
  return selection.isolating(pod, "Egress").some((policy: NetworkPolicy) =>
    policy.egress.some((rule) => rule.peers === null && rule.ports === null));
}

/** A policy of Cilium's own kind names the host; whether it selects the pod is left to the comparison of both planes. */
function namesHost({ ciliumPolicies }: FlagSetting["cluster"], pod: Pod): boolean {
  return ciliumPolicies.some((policy) => (policy.namespace === "" || policy.namespace === pod.namespace)
    && policy.rules.some((rule) => rule.endpointSelector !== null && rule.endpointSelector.requirements.length === 0
      && rule.egress.some(({ entities, toPorts }) => toPorts === null && (entities ?? []).some((one) => one === "host" || one === "all"))));
}

/** What answers DNS on every node, or null. */
function localDns(cluster: FlagSetting["cluster"]): string | null {
  const cache = cluster.pods.find((pod) => pod.hostNetwork && pod.labels["k8s-app"] === "node-local-dns");
  if (cache !== undefined) return `${cache.namespace}/${cache.name}`;
  const local = cluster.nodes.some((node) => node.facts.devices.some((device) =>
    device.addresses.some(({ address }) => address.text === LOCAL_DNS)));
  return local ? `LocalDNS, ${LOCAL_DNS}` : null;
}
