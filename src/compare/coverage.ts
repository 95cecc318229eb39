/** What the traffic touched: services by their frontends, policies by the pods they select. */
import type { Cluster, Pod } from "../cluster/cluster.js";
import { matchesSelector } from "../cluster/selector.js";
import type { Frontend } from "./names.js";

export class Coverage {
  private readonly services = new Set<string>();
  private readonly senders = new Set<Pod>();
  private readonly receivers = new Set<Pod>();

  touch(source: Pod | null, destination: Pod | null, frontend: Frontend | null): void {
    if (source !== null) this.senders.add(source);
    if (destination !== null) this.receivers.add(destination);
    if (frontend !== null) this.services.add(`${frontend.service.namespace}/${frontend.service.name}`);
  }

  /** A pod that a plane delivered to, behind a service or not. */
  receive(pod: Pod | null): void {
    if (pod !== null) this.receivers.add(pod);
  }

  /** Services that no packet addressed and policies none of whose pods sent or received, sorted. */
  untouched(cluster: Cluster): { services: string[]; policies: string[] } {
    const services = cluster.services.filter((one) => !one.headless && one.type !== "ExternalName")
      .map((one) => `${one.namespace}/${one.name}`).filter((name) => !this.services.has(name));
    const policies = cluster.networkPolicies.filter((policy) => {
      const selected = (pod: Pod): boolean => pod.namespace === policy.namespace && matchesSelector(policy.podSelector, pod.labels);
      return !(policy.policyTypes.includes("Ingress") && [...this.receivers].some(selected))
        && !(policy.policyTypes.includes("Egress") && [...this.senders].some(selected));
    }).map((one) => `${one.namespace}/${one.name}`);
    return { services: services.sort(), policies: policies.sort() };
  }
}
