/**
 * The cluster with those pods alone that probes are sent from and to. Pods that are left out are alike to some that stay, so
 * neither plane reads a policy otherwise; services keep the endpoints that stay, nodes and all policies stay. What a name of
 * a port stands for an engine may ask of all pods at once, so a pod stays for each number of each name.
 */
import type { Cluster, Pod } from "../cluster/cluster.js";
import type { Probe } from "./probe.js";

export function reducedCluster(cluster: Cluster, probes: readonly Probe[]): Cluster {
  const byAddress = new Map<string, Pod>();
  for (const pod of cluster.pods) if (!pod.hostNetwork) for (const ip of pod.ips) byAddress.set(ip.text, pod);
  const kept = new Set<Pod>(cluster.pods.filter(({ hostNetwork }) => hostNetwork));
  const keep = (address: string): void => {
    const pod = byAddress.get(address);
    if (pod !== undefined) kept.add(pod);
  };
  for (const { source, destination, backend } of probes) {
    keep(source.text);
    keep(destination.text);
    if (backend !== null) keep(backend.address.text);
  }
  const named = new Map(cluster.pods.filter(({ phase }) => phase !== "Succeeded" && phase !== "Failed")
    .flatMap((pod) => pod.ports.filter(({ name }) => name !== "")
      .map(({ name, protocol, containerPort }) => [`${name} ${protocol} ${containerPort}`, pod] as const)));
  for (const pod of named.values()) kept.add(pod);
  const gone = cluster.pods.filter((pod) => !kept.has(pod) && !pod.hostNetwork);
  const names = new Set(gone.flatMap((pod) => pod.ips.map(({ text }) => text)));
  return {
    ...cluster,
    pods: cluster.pods.filter((pod) => kept.has(pod)),
    endpointSlices: cluster.endpointSlices.map((slice) => ({ ...slice,
      endpoints: slice.endpoints.filter(({ addresses }) => addresses.every(({ text }) => !names.has(text))) })),
  };
}
