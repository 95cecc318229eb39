/**
 * A cluster prepared for many questions: who has an address, and which policies isolate a pod. Built once for
 * a cluster; the policies of a pod are found when it is first asked about. Says nothing that the cluster does
 * not.
 */
import type { Address } from "../cluster/address.js";
import type { Cluster, NetworkPolicy, Pod } from "../cluster/cluster.js";
import { LabelIndex, labelsIn, requiredLabels } from "../cluster/label-index.js";
import { type Labels, matchesSelector } from "../cluster/selector.js";
import { type AdminSelection, adminSelections } from "./admin-policy.js";
import type { Party } from "./party.js";
import type { PolicyDirection, SpecOptions } from "./verdict.js";

interface PodPolicies {
  readonly Ingress: readonly NetworkPolicy[];
  readonly Egress: readonly NetworkPolicy[];
}

export class PolicyIndex {
  private readonly parties = new Map<string, Party>();
  private readonly podsByName = new Map<string, Pod>();
  private readonly policies: LabelIndex<NetworkPolicy>;
  private readonly policiesByPod = new Map<Pod, PodPolicies>();
  /** By namespace and labels. */
  private readonly policiesByLabels = new Map<string, PodPolicies>();
  private readonly adminByPod = new Map<Pod, AdminSelection>();

  constructor(private readonly cluster: Cluster, readonly options: SpecOptions) {
    for (const node of cluster.nodes) {
      for (const { address } of node.addresses) this.addNode(address, node.name);
      for (const device of node.facts.devices) {
        for (const { address } of device.addresses) this.addNode(address, node.name);
      }
    }
    for (const pod of cluster.pods) this.addPod(pod);
    this.policies = new LabelIndex(cluster.networkPolicies, ({ namespace, podSelector }) => requiredLabels(namespace, podSelector));
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

  /** Whether any policy in force selects the pod in the direction. */
  isSelected(pod: Pod, type: PolicyDirection): boolean {
    const admin = this.adminOf(pod);
    return this.policiesOf(pod, type).length > 0 || admin.Admin[type].length > 0 || admin.Baseline[type].length > 0;
  }

  /** The policies that isolate the pod in the direction, in the cluster's order. */
  policiesOf(pod: Pod, type: PolicyDirection): readonly NetworkPolicy[] {
    let found = this.policiesByPod.get(pod);
    if (found === undefined) {
      const key = JSON.stringify([pod.namespace, pod.labels]);
      found = this.policiesByLabels.get(key) ?? this.select(pod);
      this.policiesByLabels.set(key, found);
      this.policiesByPod.set(pod, found);
    }
    return found[type];
  }

  /** The cluster-wide policies that select the pod and have rules, by tier and direction, those of one priority together. */
  adminOf(pod: Pod): AdminSelection {
    let found = this.adminByPod.get(pod);
    if (found === undefined) {
      const { adminKinds } = this.options;
      const inForce = this.cluster.adminPolicies.filter(({ kind }) => adminKinds?.includes(kind) ?? true);
      found = adminSelections(inForce, pod, this.namespaceLabels(pod.namespace));
      this.adminByPod.set(pod, found);
    }
    return found;
  }

  /** Labels of the nodes that have the address in their status. */
  nodesOf(address: Address): readonly Labels[] {
    return this.cluster.nodes.filter((node) => node.addresses.some((one) => one.address.text === address.text)).map(({ labels }) => labels);
  }

  private addNode(address: Address, node: string): void {
    const known = this.parties.get(address.text);
    if (known?.nodes.includes(node)) return;
    const nodes = [...(known?.nodes ?? []), node];
    this.parties.set(address.text, { address, pod: null, nodes, claimedTwice: false });
  }

  private select({ namespace, labels }: Pod): PodPolicies {
    const selecting = this.policies.candidates(labelsIn(namespace, labels))
      .filter((policy) => policy.namespace === namespace && matchesSelector(policy.podSelector, labels));
    return {
      Ingress: selecting.filter(({ policyTypes }) => policyTypes.includes("Ingress")),
      Egress: selecting.filter(({ policyTypes }) => policyTypes.includes("Egress")),
    };
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
