/**
 * toServices: the services a rule means, as peers (`pkg/policy/k8s/service.go`).
 *
 * A service without a selector stands for the addresses of its EndpointSlices. One with a selector stands for the pods it
 * selects, whatever their readiness, from 1.17; 1.16 knows only services without.
 */
import { prefixOf } from "../../../cluster/address.js";
import type { CiliumSelector, CiliumServiceReference } from "../../../cluster/cilium/types.js";
import type { Cluster, Service } from "../../../cluster/cluster.js";
import type { CiliumVersion } from "../../options.js";
import { POD_NAMESPACE_LABEL } from "../labels.js";
import type { Peer, Requirement } from "./entry.js";
import { satisfies } from "./selectors.js";

export class ServicePeers {
  private readonly byName = new Map<string, Service[]>();

  constructor(private readonly cluster: Cluster, private readonly version: CiliumVersion) {
    for (const service of cluster.services) this.byName.set(service.name, [...(this.byName.get(service.name) ?? []), service]);
  }

  /** A selector counts before a name; an empty namespace is any. */
  peersOf({ k8sService, k8sServiceSelector }: CiliumServiceReference): Peer[] {
    const inNamespace = (wanted: string) => (service: Service): boolean => wanted === "" || wanted === service.namespace;
    if (k8sServiceSelector !== null) {
      return this.cluster.services.filter(inNamespace(k8sServiceSelector.namespace))
        .filter((service) => matchesLabels(service, k8sServiceSelector.selector)).flatMap((service) => this.peers(service));
    }
    if (k8sService === null) return [];
    return (this.byName.get(k8sService.serviceName) ?? []).filter(inNamespace(k8sService.namespace))
      .flatMap((service) => this.peers(service));
  }

  private peers(service: Service): Peer[] {
    const selector = Object.entries(service.selector ?? {});
    if (selector.length > 0) {
      if (this.version === "1.16") return [];
      const requirements = [[POD_NAMESPACE_LABEL, service.namespace], ...selector]
        .map(([key, value]): Requirement => ({ source: "k8s", key, operator: "In", values: [value] }));
      return [{ kind: "labels", requirements }];
    }
    const addresses = this.cluster.endpointSlices
      .filter((slice) => slice.namespace === service.namespace && slice.serviceName === service.name)
      .flatMap((slice) => slice.endpoints.flatMap((endpoint) => endpoint.addresses));
    return addresses.map((address) => ({ kind: "cidr", prefix: prefixOf(address, address.bytes.length * 8), except: [] }));
  }
}

/** The source of a key does not matter for labels of services. */
function matchesLabels(service: Service, selector: CiliumSelector): boolean {
  return satisfies(new Map(Object.entries(service.labels)), selector.requirements.map((one) => ({ ...one, source: "any" })));
}
