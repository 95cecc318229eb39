/**
 * The node of the kernel ring and the world around it, by the address plan of the random clusters (RANGES in
 * src/iptables/kubeproxy/random.fixture.ts): its devices, addresses, routes and neighbours, as the executor builds them
 * and as `ip` then tells of them.
 *
 *     eth0      uplink: the default route, the other node and its pods; two addresses of one network
 *     eth1      a second network, with some of the clients behind it
 *     cbr0, veth1 …    pods of this node, several behind each; some of the devices have an address of their own
 *     lo        one of the load balancers' addresses, as an appliance or an operator binds it
 *
 * Every neighbour is permanent, so that no ARP and no neighbour discovery is in the way.
 */
import type { NodeFacts } from "../../src/cluster/cluster.js";
import { readManifests } from "../../src/cluster/manifests.js";
import { readNodeFacts } from "../../src/cluster/node-facts.js";
import { HERE } from "../../src/iptables/kubeproxy/random.fixture.js";

export interface Link {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  /** Of the world's end. */
  readonly worldMac: string;
  readonly mtu: number;
}

export const LINKS: readonly Link[] = ["eth0", "eth1", "cbr0", "veth1", "veth2", "veth3", "veth4"].map((name, at) => (
  { name, index: at + 2, mac: `02:00:00:00:01:0${at}`, worldMac: `02:00:00:00:02:0${at}`, mtu: 1500 }));
export const LOOPBACK = 1;
const POD_LINKS = ["cbr0", "veth1", "veth2", "veth3", "veth4"];
export const PODS = 24;

/** The node's own addresses by family; the last is the one that every family has on lo. */
export const OWN: Readonly<Record<4 | 6, readonly string[]>> = {
  4: ["192.168.0.2", "192.168.0.22", "192.168.7.2", "198.51.100.4", "10.244.0.254", "127.0.0.1"],
  6: ["fd00::2", "fd00::22", "fd00:7::2", "2001:db8:b::4", "fd00:10:244::fe", "::1"],
};
export const BARRIER = ["eth0", "192.168.0.2"] as const;

/** Sysctls before any device is there. */
export const SYSCTLS: Readonly<Record<string, string>> = {
  "net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv6.conf.default.forwarding": "1",
  "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0",
  "net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf.default.send_redirects": "0",
  "net.ipv4.icmp_ratelimit": "0", "net.ipv4.icmp_ratemask": "0", "net.ipv6.icmp.ratelimit": "0", "net.ipv6.icmp.ratemask": "",
  "net.ipv4.icmp_echo_ignore_all": "1", "net.ipv6.icmp.echo_ignore_all": "1",
  "net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.all.accept_dad": "0",
  "net.ipv6.conf.default.router_solicitations": "0", "net.ipv6.conf.default.accept_ra": "0",
  "net.ipv6.conf.default.mldv1_unsolicited_report_interval": "1", "net.ipv6.conf.default.mldv2_unsolicited_report_interval": "1",
};

/** Lines for `ip -batch`, run in the node. */
export function commands(): string[] {
  const lines = [
    "addr add 192.168.0.2/24 dev eth0", "addr add 192.168.0.22/24 dev eth0", "addr add 192.168.7.2/24 dev eth1",
    "addr add 198.51.100.4/32 dev lo", "addr add 10.244.0.254/32 dev veth1", "addr add fd00::2/64 dev eth0 nodad",
    "addr add fd00::22/64 dev eth0 nodad", "addr add fd00:7::2/64 dev eth1 nodad", "addr add 2001:db8:b::4/128 dev lo nodad",
    "addr add fd00:10:244::fe/128 dev veth1 nodad",
  ];
  const neighbour = (address: string, device: string): void => {
    lines.push(`neigh add ${address} lladdr ${link(device).worldMac} dev ${device} nud permanent`);
  };
  for (const host of [1, 3, 9, 77]) {
    for (const network of ["192.168.0.", "fd00::"]) neighbour(`${network}${host}`, "eth0");
    for (const network of ["192.168.7.", "fd00:7::"]) neighbour(`${network}${host}`, "eth1");
  }
  const route = (to: string, via: string, device: string): void => {
    lines.push(`route add ${to} via ${via} dev ${device}`);
  };
  route("default", "192.168.0.1", "eth0");
  route("default", "fd00::1", "eth0");
  route("10.244.1.0/24", "192.168.0.3", "eth0");
  route("fd00:10:244:1::/64", "fd00::3", "eth0");
  route("203.0.113.128/25", "192.168.7.1", "eth1");
  route("2001:db8:c::80/121", "fd00:7::1", "eth1");
  for (let host = 1; host <= PODS; host++) {
    for (const pod of [`10.244.0.${host}`, `fd00:10:244::${host.toString(16)}`]) {
      lines.push(`route add ${pod} dev ${podLink(host)}`);
      neighbour(pod, podLink(host));
    }
  }
  return lines;
}

/** The device behind which a pod of this node is, by the last number of its address. */
export function podLink(host: number): string {
  return POD_LINKS[host % POD_LINKS.length];
}

export function link(name: string): Link {
  const found = LINKS.find((one) => one.name === name);
  if (found === undefined) throw new Error(`the ring has no device ${name}`);
  return found;
}

export function linkName(index: number): string {
  return index === LOOPBACK ? "lo" : LINKS.find((one) => one.index === index)?.name ?? `device ${index}`;
}

/** The facts, read by the product's own reader from what `ip` says, with what the ring sets by hand. */
export function factsOf(dump: unknown): NodeFacts {
  const pods = Array.from({ length: PODS }, (_, at) => ({
    apiVersion: "v1", kind: "Pod", metadata: { namespace: "ns", name: `p${at + 1}` }, spec: { nodeName: HERE.name },
    status: { phase: "Running", podIPs: [{ ip: `10.244.0.${at + 1}` }, { ip: `fd00:10:244::${(at + 1).toString(16)}` }] },
  }));
  const { objects } = readManifests([{ name: "pods.yaml", text: JSON.stringify({ apiVersion: "v1", kind: "List", items: pods }) }]);
  const { facts, problems } = readNodeFacts([{ name: "net.json", text: JSON.stringify(dump) }], HERE.name, objects);
  if (facts === null || problems.length > 0) throw new Error(`the ring's own facts: ${problems[0]?.what}`);
  return facts;
}
