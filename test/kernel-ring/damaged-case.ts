/**
 * One case made by hand: services without endpoints are spoken to with wrong checksums. Conntrack looks at the checksum of
 * what enters only, REJECT at that of everything it would answer, but not at SCTP's.
 */
import { KUBE_PROXY_DEFAULTS } from "../../src/iptables/kubeproxy/config.js";
import { RANGES } from "../../src/iptables/kubeproxy/random.fixture.js";
import type { Case, Flow, FrontEnd } from "./case.js";
import type { Transport } from "./frames.js";

export function damagedCase(frontEnd: FrontEnd): Case {
  const protocols: readonly Transport[] = ["TCP", "UDP", "SCTP"];
  const service = {
    apiVersion: "v1", kind: "Service", metadata: { namespace: "ns", name: "empty" },
    spec: { type: "NodePort", clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00:10:96::1"], ipFamilies: ["IPv4", "IPv6"], externalIPs: [],
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 80, nodePort: 30080 })) },
    status: { loadBalancer: { ingress: [] } },
  };
  const ways = [["", "192.168.0.2", "192.168.7.2", 30080], ["", "192.168.0.2", "10.96.0.1", 80], ["eth0", "203.0.113.7", "192.168.0.2", 30080],
    ["veth1", "10.244.0.1", "10.96.0.1", 80], ["", "fd00::2", "fd00:7::2", 30080], ["", "fd00::2", "fd00:10:96::1", 80],
    ["eth0", "2001:db8:c::7", "fd00::2", 30080], ["veth1", "fd00:10:244::1", "fd00:10:96::1", 80]] as const;
  const flows = ways.flatMap(([device, from, to, dport], way) => protocols.flatMap((protocol, at) => (["open", "damaged"] as const).map(
    (opening, kind): Flow => ({ kind: "made by hand > no endpoint", device, from, to, protocol, sport: 20000 + way * 10 + at * 2 + kind, dport, ttl: 64,
      opening, error: "none", late: false }))));
  return {
    name: `${frontEnd} damaged`, frontEnd, objects: [service], later: [service], reload: "full", cleanUp: false,
    kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: RANGES.pods }, masquerade: { agent: "none" }, pauseMs: 0, npm: false, flows,
  };
}
