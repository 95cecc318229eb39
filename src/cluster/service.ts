/**
 * Reads Services and EndpointSlices, defaulted as the API server does.
 *
 * A manifest that was never in a cluster has no cluster IP and no node port: the cluster allocates them. Such
 * a Service has no address here. Source: kubernetes pkg/apis/core/v1/defaults.go, and the API
 * documentation of ServiceSpec and EndpointSlice.
 */
import type { Address } from "./address.js";
import { readAddress, readPort, readPrefix, readProtocol } from "./addresses.js";
import type { Endpoint, EndpointSlice, ObjectMeta, Service, ServicePort } from "./cluster.js";
import type { Field } from "./field.js";

const TYPES = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] as const;
const POLICIES = ["Cluster", "Local"] as const;
const IP_FAMILIES = ["IPv4", "IPv6"] as const;

export function readService(root: Field, meta: ObjectMeta): Service {
  const spec = root.get("spec");
  const type = spec.get("type").oneOf(TYPES, "ClusterIP");
  const headless = spec.get("clusterIP").value === "None"
    || spec.get("clusterIPs").items()[0]?.value === "None";
  const clusterIPs = headless || type === "ExternalName" ? [] : readClusterIPs(spec);
  const selector = spec.get("selector");
  return {
    ...meta, type, clusterIPs, headless,
    ipFamilies: readFamilies(spec.get("ipFamilies"), clusterIPs),
    externalIPs: addressesOf(spec.get("externalIPs")),
    loadBalancerIngress: readIngress(root.get("status").get("loadBalancer").get("ingress")),
    loadBalancerSourceRanges: spec.get("loadBalancerSourceRanges").items()
      .map((item) => readPrefix(item, false)).filter((prefix) => prefix !== null),
    externalTrafficPolicy: spec.get("externalTrafficPolicy").oneOf(POLICIES, "Cluster"),
    internalTrafficPolicy: spec.get("internalTrafficPolicy").oneOf(POLICIES, "Cluster"),
    sessionAffinity: spec.get("sessionAffinity").oneOf(["None", "ClientIP"], "None"),
    sessionAffinityTimeoutSeconds: spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds")
      .integer(10800),
    healthCheckNodePort: readNodePort(spec.get("healthCheckNodePort")),
    publishNotReadyAddresses: spec.get("publishNotReadyAddresses").boolean(false),
    trafficDistribution: spec.get("trafficDistribution").string(),
    loadBalancerClass: spec.get("loadBalancerClass").string(),
    selector: selector.absent ? null : selector.stringMap(),
    ports: spec.get("ports").items().map(readServicePort),
  };
}

export function readEndpointSlice(root: Field, meta: ObjectMeta): EndpointSlice {
  const addressType = root.get("addressType").oneOf(["IPv4", "IPv6", "FQDN"], "IPv4");
  return {
    ...meta, addressType,
    serviceName: meta.labels["kubernetes.io/service-name"] ?? "",
    ports: root.get("ports").items().map((port) => ({
      name: port.get("name").string(),
      protocol: readProtocol(port.get("protocol")),
      // A slice port without a number means "every port"; kube-proxy and Cilium leave it out (port 0 here).
      port: readPort(port.get("port"), 0),
    })),
    endpoints: root.get("endpoints").items().map((endpoint) => readEndpoint(endpoint, addressType)),
  };
}

function readEndpoint(field: Field, addressType: EndpointSlice["addressType"]): Endpoint {
  const conditions = field.get("conditions");
  const ready = conditions.get("ready").boolean(true);
  const target = field.get("targetRef");
  const hints = field.get("hints");
  return {
    addresses: addressType === "FQDN" ? [] : endpointAddresses(field.get("addresses"), addressType),
    nodeName: field.get("nodeName").string(),
    zone: field.get("zone").string(),
    ready,
    serving: conditions.get("serving").boolean(ready),
    ...(conditions.get("serving").absent && !ready ? { servingAbsent: true } : {}),
    terminating: conditions.get("terminating").boolean(false),
    targetRef: target.absent ? null : {
      kind: target.get("kind").string(),
      namespace: target.get("namespace").string(),
      name: target.get("name").string(),
    },
    hintZones: hints.get("forZones").items().map((zone) => zone.get("name").string()),
    hintNodes: hints.get("forNodes").items().map((node) => node.get("name").string()),
  };
}

function endpointAddresses(field: Field, addressType: "IPv4" | "IPv6"): Address[] {
  const family = addressType === "IPv4" ? 4 : 6;
  const addresses: Address[] = [];
  for (const item of field.items()) {
    const address = readAddress(item);
    if (address === null) continue;
    if (address.family === family) addresses.push(address);
    else item.skip(`found ${address.text}, expected an ${addressType} address, the slice's addressType`);
  }
  return addresses;
}

function readClusterIPs(spec: Field): Address[] {
  const list = addressesOf(spec.get("clusterIPs"));
  if (list.length > 0) return list;
  const single = spec.get("clusterIP");
  if (single.absent || single.value === "") return [];
  const address = readAddress(single);
  return address === null ? [] : [address];
}

/** Families follow from the cluster IPs where the field is absent. */
function readFamilies(field: Field, clusterIPs: readonly Address[]): Service["ipFamilies"] {
  const items = field.items();
  if (items.length > 0) return items.map((item) => item.oneOf(IP_FAMILIES, "IPv4"));
  return clusterIPs.map((address) => (address.family === 4 ? "IPv4" : "IPv6"));
}

/** Entries with a hostname only have no address and are left out, as kube-proxy does. */
function readIngress(field: Field): Service["loadBalancerIngress"] {
  const ingress: { ip: Address; ipMode: "VIP" | "Proxy" }[] = [];
  for (const item of field.items()) {
    const ip = item.get("ip");
    if (ip.absent || ip.value === "") continue;
    const address = readAddress(ip);
    const ipMode = item.get("ipMode").oneOf(["VIP", "Proxy"], "VIP");
    if (address !== null) ingress.push({ ip: address, ipMode });
  }
  return ingress;
}

function readServicePort(field: Field): ServicePort {
  const port = readPort(field.get("port"), 0);
  if (field.get("port").absent) field.refuse("found no port, expected a number from 1 to 65535");
  const target = field.get("targetPort");
  return {
    name: field.get("name").string(),
    protocol: readProtocol(field.get("protocol")),
    port,
    // 0 and "" mean "not set", as in the API's IntOrString.
    targetPort: typeof target.value === "string" && target.value !== "" ? target.value
      : target.absent || target.value === 0 || target.value === "" ? port : readPort(target, port),
    nodePort: readNodePort(field.get("nodePort")),
  };
}

function readNodePort(field: Field): number {
  return field.value === 0 ? 0 : readPort(field, 0);
}

function addressesOf(field: Field): Address[] {
  return field.items().map(readAddress).filter((address) => address !== null);
}
