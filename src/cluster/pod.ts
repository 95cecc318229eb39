/** Reads Pods and Nodes. Environment variables, volumes and the like are not looked at. */
import type { Address } from "./address.js";
import { readAddress, readPort, readPrefix, readProtocol } from "./addresses.js";
import type { ContainerPort, Node, ObjectMeta, Pod } from "./cluster.js";
import type { Field } from "./field.js";
import { timeNsOf } from "./time.js";

/** A Node as its manifest has it; what is known of its devices comes from elsewhere. */
export type NodeObject = Omit<Node, "facts">;

export function readPod(root: Field, meta: ObjectMeta): Pod {
  const spec = root.get("spec");
  const status = root.get("status");
  // An init container that restarts is a sidecar: it serves as long as the others.
  const sidecars = spec.get("initContainers").items()
    .filter((container) => container.get("restartPolicy").value === "Always");
  return {
    ...meta,
    nodeName: spec.get("nodeName").string(),
    ips: readIPs(status, "podIPs", "podIP"),
    ...hostIPsOf(status),
    hostNetwork: spec.get("hostNetwork").boolean(false),
    serviceAccountName: spec.get("serviceAccountName").string("default") || "default",
    ports: [...portsOf(spec.get("containers").items()), ...portsOf(sidecars).map((port) => ({ ...port, sidecar: true as const }))],
    phase: status.get("phase").string("Running") || "Running",
    ...ownerOf(root.get("metadata"), meta), ...lifetimeOf(root.get("metadata"), status),
  };
}

/** Deletion has the time until which the pod may take to end. */
function lifetimeOf(metadata: Field, status: Field): Pick<Pod, "lifetime"> {
  const time = (field: Field): bigint | null => (typeof field.value === "string" ? timeNsOf(field.value) : null);
  const since = time(status.get("startTime")) ?? time(metadata.get("creationTimestamp"));
  const until = time(metadata.get("deletionTimestamp"));
  if (since === null && until === null) return {};
  return { lifetime: { ...(since === null ? {} : { since }), ...(until === null ? {} : { until }) } };
}

/** A ReplicaSet of a Deployment has its name and the hash that its pods have as a label. */
function ownerOf(metadata: Field, { labels }: ObjectMeta): { owner?: string } {
  const owner = metadata.get("ownerReferences").items().find((one) => one.get("controller").value === true);
  const name = owner?.get("name").value;
  if (typeof name !== "string" || name === "") return {};
  const hash = labels["pod-template-hash"];
  return { owner: hash !== undefined && name.endsWith(`-${hash}`) ? name.slice(0, -hash.length - 1) : name };
}

export function readNode(root: Field, meta: ObjectMeta): NodeObject {
  const spec = root.get("spec");
  const cidrs = spec.get("podCIDRs").items();
  const single = spec.get("podCIDR");
  const version = root.get("status").get("nodeInfo").get("kubeletVersion");
  if (cidrs.length === 0 && !single.absent && single.value !== "") cidrs.push(single);
  return {
    ...meta,
    addresses: root.get("status").get("addresses").items().flatMap((item) => {
      const type = item.get("type").string();
      // The other types (Hostname, InternalDNS, ExternalDNS) are names; CiliumInternalIP is cilium_host's, as CiliumNode says it.
      if (type !== "InternalIP" && type !== "ExternalIP" && type !== "CiliumInternalIP") return [];
      const address = readAddress(item.get("address"));
      return address === null ? [] : [{ type, address }];
    }),
    ...(typeof version.value === "string" ? { kubeletVersion: version.value } : {}),
    podCIDRs: cidrs.map((field) => readPrefix(field, false)).filter((prefix) => prefix !== null),
  };
}

function hostIPsOf(status: Field): Pick<Pod, "hostIPs"> {
  const hostIPs = readIPs(status, "hostIPs", "hostIP");
  return hostIPs.length === 0 ? {} : { hostIPs };
}

function readIPs(status: Field, plural: string, singular: string): Address[] {
  const list = status.get(plural).items().map((item) => item.get("ip"));
  const single = status.get(singular);
  if (list.length === 0 && !single.absent && single.value !== "") list.push(single);
  return list.map(readAddress).filter((address) => address !== null);
}

function portsOf(containers: readonly Field[]): ContainerPort[] {
  return containers.flatMap((container) => container.get("ports").items().map(readContainerPort));
}

function readContainerPort(field: Field): ContainerPort {
  if (field.get("containerPort").absent) {
    field.refuse("found no containerPort, expected a number from 1 to 65535");
  }
  const hostPort = field.get("hostPort");
  return {
    name: field.get("name").string(),
    containerPort: readPort(field.get("containerPort"), 0),
    protocol: readProtocol(field.get("protocol")),
    hostPort: hostPort.value === 0 ? 0 : readPort(hostPort, 0),
    hostIP: field.get("hostIP").string(),
  };
}
