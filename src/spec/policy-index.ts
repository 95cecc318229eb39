/**
 * A cluster prepared for many questions: who has an address, and which policies isolate a pod. Built once for
 * a cluster; the policies of a pod are found when it is first asked about. Says nothing that the cluster does
 * not.
 */
import type { Address } from "../cluster/address.js";
import type { Cluster, NetworkPolicy, Pod } from "../cluster/cluster.js";
import { type Labels, matchesSelector } from "../cluster/selector.js";
import type { SpecOptions } from "./network-policy.js";
import type { Party } from "./party.js";

interface PodPolicies {
  readonly ingress: readonly NetworkPolicy[];
  readonly egress: readonly NetworkPolicy[];
}

const NO_POLICIES: readonly NetworkPolicy[] = [];

export class PolicyIndex {
  private readonly parties = new Map<string, Party>();
  private readonly podsByName = new Map<string, Pod>();
  private readonly policiesByNamespace = new Map<string, NetworkPolicy[]>();
  private readonly policiesByPod = new Map<Pod, PodPolicies>();

  constructor(private readonly cluster: Cluster, readonly options: SpecOptions) {
    for (const node of cluster.nodes) {
      for (const { address } of node.addresses) this.addNode(address, node.name);
      for (const device of node.facts.devices) {
        for (const { address } of device.addresses) this.addNode(address, node.name);
      }
    }
    for (const pod of cluster.pods) this.addPod(pod);
    for (const policy of cluster.networkPolicies) {
      const policies = this.policiesByNamespace.get(policy.namespace);
      if (policies === undefined) this.policiesByNamespace.set(policy.namespace, [policy]);
      else policies.push(policy);
    }
  }

  /** Who has the address: a pod, nodes, or a stranger. */
  party(address: Address): Party {
    return this.parties.get(address.text) ?? { address, pod: null, nodes: [], claimedTwice: false };
  }

  /** The pod of this name, also a host-network one; null where there is none. */
  pod(namespace: string, name: string): Pod | null {
    return this.podsByName.get(`${namespace}/${name}`) ?? null;
  }

  nodeAddresses(name: string): readonly Address[] {
    const node = this.cluster.nodes.find((one) => one.name === name);
    return node?.addresses.filter((one) => one.type === "InternalIP").map((one) => one.address) ?? [];
  }

  namespaceLabels(name: string): Labels {
    return this.cluster.namespaces.get(name)?.labels ?? {};
  }

  /** The policies that isolate the pod in the direction, in the cluster's order. */
  policiesOf(pod: Pod, type: "Ingress" | "Egress"): readonly NetworkPolicy[] {
    const candidates = this.policiesByNamespace.get(pod.namespace);
    if (candidates === undefined) return NO_POLICIES;
    let found = this.policiesByPod.get(pod);
    if (found === undefined) {
      const selecting = candidates.filter((policy) => matchesSelector(policy.podSelector, pod.labels));
      found = {
        ingress: selecting.filter((policy) => policy.policyTypes.includes("Ingress")),
        egress: selecting.filter((policy) => policy.policyTypes.includes("Egress")),
      };
      this.policiesByPod.set(pod, found);
    }
    return type === "Ingress" ? found.ingress : found.egress;
  }

  private addNode(address: Address, node: string): void {
    const known = this.parties.get(address.text);
    if (known?.nodes.includes(node)) return;
    const nodes = [...(known?.nodes ?? []), node];
    this.parties.set(address.text, { address, pod: null, nodes, claimedTwice: false });
  }

  private addPod(pod: Pod): void {
    this.podsByName.set(`${pod.namespace}/${pod.name}`, pod);
    // A host-network pod is its node; a pod that has ended owns no address.
    if (pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") return;
    for (const address of pod.ips) {
      const known = this.parties.get(address.text);
      const claimedTwice = known !== undefined && known.pod !== null && known.pod !== pod;
      this.parties.set(address.text, { address, pod, nodes: [], claimedTwice });
    }
  }
}
