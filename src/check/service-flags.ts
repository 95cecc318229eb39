/**
 * Services that are reached from outside over any node (externalTrafficPolicy Cluster) and whose backends ingress
 * policies isolate: what kube-proxy masquerades on the backend's own node passes before Azure NPM's chain, and Cilium
 * judges it. A backend whose policies admit anyone at its port is the same on both sides.
 */
import type { NetworkPolicy, NetworkPolicyPort, Pod, Service } from "../cluster/cluster.js";
import { type Flag, type FlagSetting, type OneCheck, podsOf, titleOfObject } from "./flags.js";
import type { Selection } from "./selection.js";

export function externalTrafficFlags({ cluster, selection }: FlagSetting): OneCheck {
  const flags: Flag[] = [];
  const byAddress = new Map(selection.pods.flatMap((pod) => pod.ips.map((ip) => [ip.text, pod] as const)));
  const outside = cluster.services.filter(isFromOutside);
  for (const service of outside) {
    const isolated = new Map<Pod, readonly NetworkPolicy[]>();
    for (const { pod, port, protocol } of backendsOf(service, cluster, byAddress)) {
      const policies = selection.isolating(pod, "Ingress");
      if (policies.length > 0 && !admitsAnyone(selection, pod, port, protocol)) isolated.set(pod, policies);
    }
    if (isolated.size === 0) continue;
    const policies = [...new Set([...isolated.values()].flat())]
      .map((one) => `${one.namespace}/${one.name} (${one.where.file}:${one.where.line})`);
    flags.push({ check: "external traffic policy", id: "POL-LB-INGRESS", object: titleOfObject(service), where: service.where,
      ...podsOf(isolated.keys()),
      what: `${service.type} with externalTrafficPolicy Cluster, and its backends are under ${policies.slice(0, 3).join(", ")}`
        + `${policies.length > 3 ? ` and ${policies.length - 3} more` : ""}; Azure NPM lets such traffic past where the backend is on the`
        + " node that it enters, Cilium judges all of it" });
  }
  return { flags, tally: { check: "external traffic policy", objects: outside.length, flagged: flags.length,
    otherwise: "no ingress policy isolates their backends, or policies admit anyone at the backends' ports" } };
}

function isFromOutside({ type, externalTrafficPolicy, externalIPs }: Service): boolean {
  return externalTrafficPolicy === "Cluster" && (type === "NodePort" || type === "LoadBalancer" || externalIPs.length > 0);
}

interface BackendPort {
  readonly pod: Pod;
  readonly port: number;
  readonly protocol: string;
}

function backendsOf(service: Service, { endpointSlices }: FlagSetting["cluster"], byAddress: ReadonlyMap<string, Pod>): BackendPort[] {
  return endpointSlices.filter((slice) => slice.namespace === service.namespace && slice.serviceName === service.name)
    .flatMap((slice) => slice.endpoints.flatMap(({ addresses }) => addresses.flatMap(({ text }) => {
      const pod = byAddress.get(text);
      return pod === undefined ? [] : slice.ports.map(({ port, protocol }) => ({ pod, port, protocol }));
    })));
}

/** A rule without peers lets anyone in at the port. */
function admitsAnyone(selection: Selection, pod: Pod, port: number, protocol: string): boolean {
  return selection.isolating(pod, "Ingress").some((policy) => policy.ingress.some((rule) => rule.peers === null
    && (rule.ports === null || rule.ports.some((one) => one.protocol === protocol && holdsPort(one, pod, port)))));
}

function holdsPort({ port, endPort, protocol }: NetworkPolicyPort, pod: Pod, number: number): boolean {
  if (port === null) return true;
  if (typeof port === "number") return number >= port && number <= (endPort ?? port);
  return pod.ports.some((one) => one.name === port && one.protocol === protocol && one.containerPort === number);
}
