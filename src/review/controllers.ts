/**
 * What a cluster makes of a change of manifests by itself, so that a repository's files are enough: a Service keeps the addresses
 * and node ports that were given to it, a workload's pods get the labels and ports of its new template (and are gone with it), and
 * EndpointSlices of what was touched are made anew. What the change states itself is left as it is stated.
 */
import type { OtherObject, Pod, Service } from "../cluster/cluster.js";
import { ObjectReading } from "../cluster/field.js";
import type { ManifestObjects } from "../cluster/manifests.js";
import { readMeta } from "../cluster/meta.js";
import { isPassingLabel } from "../cluster/pod-identity.js";
import { readPod } from "../cluster/pod.js";
import { templateOf } from "../cluster/synthetic.js";
import type { Problem } from "../cluster/problem.js";

interface Named {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export function withControllers(before: ManifestObjects, after: ManifestObjects): { objects: ManifestObjects; problems: Problem[] } {
  const problems: Problem[] = [];
  const was = new Map(before.services.map((one) => [nameOf(one), one]));
  const services = after.services.map((one) => keepingAssigned(one, was.get(nameOf(one))));
  const pods = podsAfter(before, after, problems);
  const given = new Set<object>(before.endpointSlices);
  const stale = new Set(services.filter((one) => {
    const old = was.get(nameOf(one));
    return old !== undefined && Object.keys(one.selector ?? {}).length > 0
      && endpointsOf(old, before.pods) !== endpointsOf(one, pods);
  }).map(nameOf));
  const endpointSlices = after.endpointSlices.filter((one) => !given.has(one) || !stale.has(`${one.namespace}/${one.serviceName}`));
  return { objects: { ...after, services, pods, endpointSlices }, problems };
}

/** Source: kube-apiserver pkg/registry/core/service (patchAllocatedValues). */
function keepingAssigned(service: Service, old: Service | undefined): Service {
  if (old === undefined || service === old || service.type === "ExternalName") return service;
  const sameAddresses = service.clusterIPs.length === 0 && !service.headless && !old.headless;
  const hasNodePorts = service.type !== "ClusterIP" && old.type !== "ClusterIP";
  const balanced = service.type === "LoadBalancer" && old.type === "LoadBalancer";
  return {
    ...service,
    ...(sameAddresses ? { clusterIPs: old.clusterIPs, ipFamilies: old.ipFamilies } : {}),
    ports: !hasNodePorts ? service.ports : service.ports.map((port) => (port.nodePort !== 0 ? port : { ...port,
      nodePort: old.ports.find((one) => one.port === port.port && one.protocol === port.protocol)?.nodePort ?? 0 })),
    ...(balanced && service.loadBalancerIngress.length === 0 ? { loadBalancerIngress: old.loadBalancerIngress } : {}),
    ...(balanced && service.healthCheckNodePort === 0 && service.externalTrafficPolicy === "Local"
      ? { healthCheckNodePort: old.healthCheckNodePort } : {}),
  };
}

/** Pods of workloads that the change touches; a pod that the change states itself is as stated. */
function podsAfter(before: ManifestObjects, after: ManifestObjects, problems: Problem[]): readonly Pod[] {
  const old = new Map(before.others.map((one) => [titleOf(one), one]));
  const now = new Map(after.others.map((one) => [titleOf(one), one]));
  const given = new Set<object>(before.pods);
  const touched = new Map<string, Pod | null>();
  for (const [title, workload] of now) {
    const template = templateOf(workload);
    const earlier = old.get(title);
    if (template === null || earlier === undefined || earlier === workload) continue;
    if (JSON.stringify(templateOf(earlier)) === JSON.stringify(template)) continue;
    const pod = templatePod(workload, template, problems);
    if (pod !== null) touched.set(nameOf(workload), pod);
  }
  for (const [title, workload] of old) {
    if (templateOf(workload) !== null && !now.has(title)) touched.set(nameOf(workload), null);
  }
  if (touched.size === 0) return after.pods;
  return after.pods.flatMap((pod) => {
    const like = pod.owner === undefined || !given.has(pod) ? undefined : touched.get(`${pod.namespace}/${pod.owner}`);
    if (like === undefined) return [pod];
    if (like === null) return [];
    const passing = Object.entries(pod.labels).filter(([key]) => isPassingLabel(key));
    return [{ ...pod, labels: { ...Object.fromEntries(passing), ...like.labels }, ports: like.ports,
      serviceAccountName: like.serviceAccountName }];
  });
}

function templatePod(workload: OtherObject, template: unknown, problems: Problem[]): Pod | null {
  const reading = new ObjectReading({ where: () => workload.where }, problems);
  reading.title = titleOf(workload);
  const { metadata, spec } = template as { readonly metadata?: object; readonly spec?: unknown };
  const root = reading.root({ metadata: { ...metadata, name: workload.name, namespace: workload.namespace }, spec });
  const pod = readPod(root, readMeta(root, "Pod", true));
  return reading.refused ? null : pod;
}

/** What its EndpointSlices are made of: equal texts make equal slices. */
function endpointsOf({ namespace, selector, ports }: Service, pods: readonly Pod[]): string {
  const chosen = pods.filter((pod) => pod.namespace === namespace
    && Object.entries(selector ?? {}).every(([key, value]) => pod.labels[key] === value));
  return JSON.stringify([ports.map(({ name, protocol, targetPort }) => [name, protocol, targetPort]),
    chosen.map((pod) => [pod.name, pod.ports.map((port) => [port.name, port.protocol, port.containerPort])])]);
}

function nameOf({ namespace, name }: Omit<Named, "kind">): string {
  return `${namespace}/${name}`;
}

function titleOf({ kind, namespace, name }: Named): string {
  return `${kind} ${namespace}/${name}`;
}
