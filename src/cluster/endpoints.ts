/**
 * Endpoints objects, the older form of EndpointSlices. kube-proxy and Cilium read slices only; a cluster writes those of a service
 * with a selector beside its Endpoints, and those of a service without one out of them (EndpointSliceMirroring). A dump that has the
 * Endpoints alone therefore says what the slices held.
 *
 * Source: kubernetes staging/src/k8s.io/endpointslice (reconcile), pkg/controller/endpointslicemirroring/utils.go.
 */
import { readAddress, readPort, readProtocol } from "./addresses.js";
import type { Endpoint, EndpointSlice, OtherObject } from "./cluster.js";
import { type Field, ObjectReading } from "./field.js";
import type { Problem } from "./problem.js";

const SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror";

/**
 * The slices that a cluster has for these Endpoints, one for each subset and family: addresses that are not ready are endpoints that
 * do not serve.
 *
 * @param zoneOf a node's zone by its name
 */
export function slicesOfEndpoints(endpoints: OtherObject, hasSelector: boolean, zoneOf: (node: string) => string, problems: Problem[])
  : EndpointSlice[] {
  if (!hasSelector && endpoints.labels[SKIP_MIRROR] === "true") return [];
  const reading = new ObjectReading({ where: () => endpoints.where }, problems);
  reading.title = `Endpoints ${endpoints.namespace}/${endpoints.name}`;
  const slices: EndpointSlice[] = [];
  for (const subset of reading.root(endpoints.object).get("subsets").items()) {
    const read = [...subset.get("addresses").items().flatMap((one) => readEndpoint(one, true, zoneOf)),
      ...subset.get("notReadyAddresses").items().flatMap((one) => readEndpoint(one, false, zoneOf))];
    const ports = subset.get("ports").items().map((port) => ({ name: port.get("name").string(),
      protocol: readProtocol(port.get("protocol")), port: readPort(port.get("port"), 0) }));
    for (const family of [4, 6] as const) {
      const ofFamily = read.filter((one) => one.addresses[0].family === family);
      if (ofFamily.length === 0) continue;
      slices.push({ kind: "EndpointSlice", namespace: endpoints.namespace, name: `${endpoints.name}-endpoints-${slices.length + 1}`,
        labels: { "kubernetes.io/service-name": endpoints.name }, annotations: {}, where: endpoints.where,
        addressType: `IPv${family}`, serviceName: endpoints.name, ports, endpoints: ofFamily });
    }
  }
  return slices;
}

function readEndpoint(field: Field, ready: boolean, zoneOf: (node: string) => string): Endpoint[] {
  const address = readAddress(field.get("ip"));
  if (address === null) return [];
  const nodeName = field.get("nodeName").string();
  const target = field.get("targetRef");
  return [{ addresses: [address], nodeName, zone: nodeName === "" ? "" : zoneOf(nodeName), ready, serving: ready, terminating: false,
    targetRef: target.absent ? null : { kind: target.get("kind").string(), namespace: target.get("namespace").string(),
      name: target.get("name").string() },
    hintZones: [], hintNodes: [] }];
}
