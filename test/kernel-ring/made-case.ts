/**
 * One case made by hand, of what chance seldom brings. Services without endpoints are spoken to with wrong checksums:
 * conntrack looks at the checksum of what enters only, REJECT at that of everything it would answer, but not at SCTP's.
 * And clients with one source port are masqueraded on the way to one endpoint.
 */
import { KUBE_PROXY_DEFAULTS } from "../../src/iptables/kubeproxy/config.js";
import { RANGES } from "../../src/iptables/kubeproxy/random.fixture.js";
import type { Case, Flow, FrontEnd } from "./case.js";
import type { Transport } from "./frames.js";

export function madeCase(frontEnd: FrontEnd): Case {
  const protocols: readonly Transport[] = ["TCP", "UDP", "SCTP"];
  const service = {
    apiVersion: "v1", kind: "Service", metadata: { namespace: "ns", name: "empty" },
    spec: { type: "NodePort", clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00:10:96::1"], ipFamilies: ["IPv4", "IPv6"], externalIPs: [],
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 80, nodePort: 30080 })) },
    status: { loadBalancer: { ingress: [] } },
  };
  const served = {
    apiVersion: "v1", kind: "Service", metadata: { namespace: "ns", name: "served" },
    spec: { type: "NodePort", clusterIP: "10.96.0.2", clusterIPs: ["10.96.0.2"], ipFamilies: ["IPv4"], externalIPs: [],
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 80, nodePort: 30081 })) },
    status: { loadBalancer: { ingress: [] } },
  };
  const slice = {
    apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
    metadata: { namespace: "ns", name: "served-1", labels: { "kubernetes.io/service-name": "served" } },
    ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 8080 })),
    endpoints: [{ addresses: ["10.244.0.1"], nodeName: "here", conditions: {} }],
  };
  const clients = ["203.0.113.7", "203.0.113.8", "192.168.0.77", "10.244.1.5"].flatMap((from) => protocols.flatMap((protocol) => [400, 700, 25000].map(
    (sport): Flow => ({ kind: "made by hand > node port", device: "eth0", from, to: "192.168.0.2", protocol, sport, dport: 30081, ttl: 64,
      opening: "open", error: "none", late: false }))));
  const ways = [["", "192.168.0.2", "192.168.7.2", 30080], ["", "192.168.0.2", "10.96.0.1", 80], ["eth0", "203.0.113.7", "192.168.0.2", 30080],
    ["veth1", "10.244.0.1", "10.96.0.1", 80], ["", "fd00::2", "fd00:7::2", 30080], ["", "fd00::2", "fd00:10:96::1", 80],
    ["eth0", "2001:db8:c::7", "fd00::2", 30080], ["veth1", "fd00:10:244::1", "fd00:10:96::1", 80]] as const;
  const refused = ways.flatMap(([device, from, to, dport], way) => protocols.flatMap((protocol, at) => (["open", "damaged"] as const).map(
    (opening, kind): Flow => ({ kind: "made by hand > no endpoint", device, from, to, protocol, sport: 20000 + way * 10 + at * 2 + kind, dport, ttl: 64,
      opening, error: "none", late: false }))));
  return {
    name: `${frontEnd} made`, frontEnd, objects: [service, served, slice], later: [service, served, slice], reload: "full", cleanUp: false,
    kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: RANGES.pods, randomFully: false }, masquerade: { agent: "none" }, pauseMs: 0, npm: false, flows: [...refused, ...clients],
  };
}
