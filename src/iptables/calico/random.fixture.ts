/**
 * Test support: random clusters with NetworkPolicies of every form, from one seed. Three nodes, pods of three
 * namespaces, host-network pods, pods that have ended, IPv6 in half of the clusters.
 */
import { readManifests } from "../../cluster/manifests.js";
import type { Cluster } from "../../cluster/cluster.js";
import { buildCluster } from "../../cluster/timeline.js";

/** Numbers from a seed: mulberry32. */
export class Chance {
  constructor(private state: number) {}

  /** From 0 up to `below`. */
  number(below: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 0x100000000) * below);
  }

  happens(share: number): boolean {
    return this.number(1000) < share * 1000;
  }

  one<T>(list: readonly T[]): T {
    return list[this.number(list.length)];
  }

  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.number(most + 1) }, make);
  }
}

const NAMESPACES = ["blue", "green", "red"];
const KEYS = ["app", "tier", "zone.example/x"];
const VALUES = ["a", "b", ""];
export const NODES = ["n1", "n2", "n3"];
export const PORT_NAMES = ["web", "dns", "admin"];
export const PORTS = [53, 80, 81, 82, 90, 443, 8080];
const PROTOCOLS = ["TCP", "UDP", "SCTP"];

export function randomCluster(chance: Chance): Cluster {
  const v6 = chance.happens(0.5);
  const objects = [
    ...NODES.map((name, index) => node(name, index + 1)),
    ...NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: labels(chance) } })),
    ...Array.from({ length: 10 + chance.number(6) }, (_, index) => pod(chance, index, v6)),
    ...Array.from({ length: chance.number(9) }, (_, index) => policy(chance, index)),
  ];
  return clusterOf(objects);
}

export function clusterOf(objects: readonly object[]): Cluster {
  const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  const { objects: read, problems } = readManifests([{ name: "random.json", text }]);
  const refused = problems.filter((one) => one.severity === "error");
  if (refused.length > 0) throw new Error(refused[0].what);
  return buildCluster(read);
}

/** Node `index` has 192.0.2.index and fd00:2::index, and pods from 10.244.index.0/24. */
export function node(name: string, index: number): object {
  return { apiVersion: "v1", kind: "Node", metadata: { name },
    spec: { podCIDRs: [`10.244.${index}.0/24`, `fd00:244:${index}::/64`] },
    status: { addresses: [`192.0.2.${index}`, `fd00:2::${index}`].map((address) => ({ type: "InternalIP", address })) } };
}

function pod(chance: Chance, index: number, v6: boolean): object {
  const at = chance.number(NODES.length);
  const hostNetwork = chance.happens(0.1);
  const ips = [`10.244.${at + 1}.${10 + index}`, ...(v6 ? [`fd00:244:${at + 1}::${10 + index}`] : [])];
  return {
    apiVersion: "v1", kind: "Pod",
    metadata: { namespace: chance.one(NAMESPACES), name: `p${index}`, labels: labels(chance) },
    spec: { nodeName: NODES[at], hostNetwork, containers: [{ name: "c", ports: ports(chance) }] },
    status: { phase: chance.happens(0.06) ? chance.one(["Succeeded", "Failed"]) : "Running",
      podIPs: hostNetwork ? [] : ips.map((ip) => ({ ip })) },
  };
}

function ports(chance: Chance): object[] {
  const used = new Set<string>();
  return chance.some(4, () => ({
    name: chance.one(PORT_NAMES), containerPort: chance.one(PORTS), protocol: chance.one(PROTOCOLS),
  })).filter((one) => !used.has(one.name) && used.add(one.name) !== undefined);
}

function labels(chance: Chance): Record<string, string> {
  return Object.fromEntries(chance.some(3, () => [chance.one(KEYS), chance.one(VALUES)]));
}

function policy(chance: Chance, index: number): object {
  const ingress = chance.some(3, () => rule(chance, "from"));
  const egress = chance.some(3, () => rule(chance, "to"));
  const types = chance.one([["Ingress"], ["Egress"], ["Ingress", "Egress"], undefined]);
  return {
    apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
    metadata: { namespace: chance.one(NAMESPACES), name: `policy-${index}` },
    spec: { podSelector: selector(chance, 0.5), ...(types === undefined ? {} : { policyTypes: types }),
      ...(chance.happens(0.8) ? { ingress } : {}), ...(chance.happens(0.6) ? { egress } : {}) },
  };
}

function rule(chance: Chance, peers: "from" | "to"): object {
  return {
    ...(chance.happens(0.75) ? { [peers]: chance.some(3, () => peer(chance)) } : {}),
    ...(chance.happens(0.6) ? { ports: policyPorts(chance) } : {}),
  };
}

function peer(chance: Chance): object {
  if (chance.happens(0.35)) return { ipBlock: ipBlock(chance) };
  const both = chance.number(3);
  return { ...(both === 1 ? {} : { podSelector: selector(chance, 0.3) }),
    ...(both === 0 ? {} : { namespaceSelector: selector(chance, 0.3) }) };
}

function ipBlock(chance: Chance): object {
  return chance.one([
    { cidr: "0.0.0.0/0" }, { cidr: "0.0.0.0/0", except: ["10.244.1.0/24", "203.0.113.0/28"] },
    { cidr: "10.244.0.0/16", except: ["10.244.2.0/25"] }, { cidr: "10.244.1.0/24" }, { cidr: "203.0.113.0/24" },
    { cidr: "192.0.2.0/24" }, { cidr: "192.0.2.2/32" }, { cidr: "::/0" }, { cidr: "fd00:244::/32", except: ["fd00:244:1::/64"] },
    { cidr: "fd00:2::/64" }, { cidr: "2001:db8::/32" },
  ]);
}

/** Names alone, more numbers than one match takes, or any mixture. */
function policyPorts(chance: Chance): object[] {
  const kind = chance.number(8);
  if (kind < 2) return [{ port: chance.one(PORT_NAMES), protocol: chance.one(PROTOCOLS) }];
  if (kind === 2) return Array.from({ length: 20 + chance.number(15) }, (_, index) => ({ port: 1000 + 10 * index }));
  return chance.some(4, () => policyPort(chance));
}

function policyPort(chance: Chance): object {
  const protocol = chance.happens(0.3) ? {} : { protocol: chance.one(PROTOCOLS) };
  const kind = chance.number(10);
  if (kind === 0) return protocol.protocol === undefined ? { protocol: "TCP" } : protocol;
  if (kind < 4) return { ...protocol, port: chance.one(PORT_NAMES) };
  const port = chance.happens(0.5) ? chance.one(PORTS) : 1000 + 7 * chance.number(60);
  return kind < 7 ? { ...protocol, port } : { ...protocol, port, endPort: port + chance.number(12) };
}

function selector(chance: Chance, empty: number): object {
  if (chance.happens(empty)) return {};
  const matchExpressions = chance.some(2, () => {
    const operator = chance.one(["In", "NotIn", "Exists", "DoesNotExist"]);
    const values = operator.endsWith("In") ? { values: [chance.one(VALUES), ...chance.some(1, () => chance.one(VALUES))] } : {};
    return { key: chance.one(KEYS), operator, ...values };
  });
  return { ...(chance.happens(0.6) ? { matchLabels: labels(chance) } : {}),
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}) };
}
