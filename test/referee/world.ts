/**
 * A small cluster, compiled by our compiler for the configuration of the objects at hand: a node of our own with three pods, another
 * node, services of every type with one backend each (so that nothing is drawn by chance), policies in both directions.
 */
import { readManifests } from "../../src/cluster/manifests.js";
import { buildCluster } from "../../src/cluster/timeline.js";
import { compileImage, type MapImage } from "../../src/ebpf/image.js";
import { capacitiesOf, Loader } from "../../src/ebpf/loader.js";
import { createMachine, type Machine } from "../../src/ebpf/machine.js";
import { ciliumOptions } from "../../src/ebpf/options.js";
import { moduleBytes } from "../programs.js";
import { type NodeConfig, optionsOf } from "./node-config.js";

export interface World {
  readonly machine: Machine;
  readonly image: MapImage;
  readonly node4: string;
  readonly node6: string | null;
  readonly families: readonly (4 | 6)[];
  /** Addresses by family, of pods here, pods elsewhere, frontends (with port and protocol) and outside. */
  readonly local: Addresses;
  readonly remote: Addresses;
  readonly outside: Addresses;
  readonly frontends: readonly Frontend[];
}

export type Addresses = Readonly<Record<4 | 6, readonly string[]>>;
export interface Frontend { readonly address: string; readonly port: number; readonly protocol: number; readonly outside: boolean }

const OUTSIDE: Addresses = { 4: ["198.51.100.9", "203.0.113.77"], 6: ["2001:db8::9", "2001:db8:77::1"] };
const LOAD_BALANCER = { 4: "203.0.113.5", 6: "2001:db8:5::5" } as const;
export const NODE_PORT = 30080;

export function buildWorld(version: string, config: NodeConfig, overrides: Record<string, unknown> = {}): World {
  const node4 = config.ipv4("IPV4_DIRECT_ROUTING") ?? "192.168.0.1";
  const node6 = config.has("ENABLE_IPV6") ? config.ipv6("IPV6_DIRECT_ROUTING") ?? "fd00:0:0:0:0:0:0:1" : null;
  const families: (4 | 6)[] = node6 === null ? [4] : config.has("ENABLE_IPV4") ? [4, 6] : [6];
  const local = podAddresses(config, 200, 3);
  const remote = podAddresses(config, 201, 2);
  const objects = cluster(node4, node6, families, local, remote);
  const { objects: read } = readManifests(objects.map((one, index) => ({ name: `object-${index}.json`, text: JSON.stringify(one) })));
  const built = buildCluster(read);
  const { options } = ciliumOptions(`cilium@${version}`, built, { ...optionsOf(config), ...overrides });
  const image = compileImage({ cluster: built, options, nodes: ["node-1", "node-2"] });
  const machine = createMachine({ fast: moduleBytes(), traced: moduleBytes() }, capacitiesOf(image, 1 << 14));
  new Loader(machine).load(image);
  const frontends = families.flatMap((family): Frontend[] => {
    const service = (outside: boolean, address: string, port = 80, protocol = 6): Frontend => ({ address, port, protocol, outside });
    const own = family === 4 ? node4 : node6!;
    return [service(false, clusterIp(family, 1)), service(false, clusterIp(family, 2), 53, 17), service(false, clusterIp(family, 3)),
      service(true, LOAD_BALANCER[family]), service(true, own, NODE_PORT)];
  });
  return { machine, image, node4, node6, families, local, remote, outside: OUTSIDE, frontends };
}

/** Inside the prefix that is not masqueraded, so that pods look like pods to it. */
function podAddresses(config: NodeConfig, block: number, count: number): Addresses {
  const base4 = (config.ipv4("IPV4_SNAT_EXCLUSION_DST_CIDR") ?? "10.0.0.0").split(".").map(Number);
  const base6 = (config.ipv6("IPV6_SNAT_EXCLUSION_DST_CIDR") ?? "fd00:10:0:0:0:0:0:0").split(":").slice(0, 4);
  const wide = config.number("IPV4_SNAT_EXCLUSION_DST_CIDR_LEN", 8) <= 8;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  return {
    4: numbers.map((last) => (wide ? [base4[0], block, 0, last] : [base4[0], base4[1], block, last]).join(".")),
    6: numbers.map((last) => [...base6, "0", "0", block.toString(16), last.toString(16)].join(":")),
  };
}

function clusterIp(family: 4 | 6, last: number): string {
  return family === 4 ? `10.96.0.${last}` : `fd00:96::${last}`;
}

function cluster(node4: string, node6: string | null, families: readonly (4 | 6)[], local: Addresses, remote: Addresses): object[] {
  const node = (name: string, addresses: (string | null)[]): object => ({
    apiVersion: "v1", kind: "Node", metadata: { name },
    status: { addresses: addresses.filter((one) => one !== null).map((address) => ({ type: "InternalIP", address })) },
  });
  const pod = (name: string, nodeName: string, of: Addresses, index: number, app: string): object => ({
    apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default", labels: { app } },
    spec: { nodeName, containers: [{ name: "c" }] },
    status: { phase: "Running", podIPs: families.map((family) => ({ ip: of[family][index] })) },
  });
  const service = (name: string, last: number, backend: string, more: object = {}, port: object = { port: 80, targetPort: 8080 },
    status: object = {}): object[] => [
    { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" },
      spec: { ipFamilies: families.map((one) => `IPv${one}`), ipFamilyPolicy: families.length > 1 ? "PreferDualStack" : "SingleStack",
        clusterIPs: families.map((one) => clusterIp(one, last)), ports: [port], ...more }, status },
    ...families.map((family) => ({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
      metadata: { name: `${name}-${family}`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
      addressType: `IPv${family}`, ports: [{ name: "", port: (port as { targetPort: number }).targetPort,
        protocol: (port as { protocol?: string }).protocol ?? "TCP" }],
      endpoints: backend === "" ? [] : [{ addresses: [(backend === "local" ? local : remote)[family][0]],
        nodeName: backend === "local" ? "node-1" : "node-2", conditions: { ready: true } }] })),
  ];
  const policy = (name: string, spec: object): object => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
    metadata: { name, namespace: "default" }, spec });
  const second = node4.replace(/\d+$/, (last) => String((Number(last) % 250) + 2));
  return [
    node("node-1", [node4, node6]), node("node-2", [second, node6 === null ? null : node6.replace(/[^:]*$/, "fffe")]),
    pod("web", "node-1", local, 0, "web"), pod("client", "node-1", local, 1, "client"), pod("free", "node-1", local, 2, "free"),
    pod("db", "node-2", remote, 0, "db"), pod("other", "node-2", remote, 1, "other"),
    ...service("db", 1, "remote"), ...service("dns", 2, "remote", {}, { port: 53, targetPort: 5353, protocol: "UDP" }),
    ...service("empty", 3, ""),
    ...service("front", 4, "remote", { type: "LoadBalancer", allocateLoadBalancerNodePorts: false }, { port: 80, targetPort: 8080 },
      { loadBalancer: { ingress: families.map((family) => ({ ip: LOAD_BALANCER[family] })) } }),
    ...service("web", 5, "local", { type: "NodePort" }, { port: 80, targetPort: 8080, nodePort: NODE_PORT }),
    policy("web", { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "client" } } }],
      ports: [{ port: 8080 }] }, { from: [{ ipBlock: { cidr: "198.51.100.0/24" } }, { ipBlock: { cidr: "2001:db8::/64" } }],
      ports: [{ port: 8080 }, { port: 9000, endPort: 9100 }] }] }),
    policy("client", { podSelector: { matchLabels: { app: "client" } }, policyTypes: ["Egress"], egress: [
      { to: [{ podSelector: { matchLabels: { app: "db" } } }], ports: [{ port: 8080 }, { port: 5353, protocol: "UDP" }] },
      { to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["203.0.113.0/24"] } }], ports: [{ port: 443 }] }] }),
  ];
}
