/**
 * Options of Cilium that the dataplane works by and that are not evaluated: where a cilium-config gives one a value under
 * which packets fare otherwise, that is said. Names outside this table and option-values.ts decide nothing about a packet
 * (metrics, limits of the agent, the control plane), or are told from objects.
 *
 * Source: flags in pkg/option, daemon/cmd and the Helm chart's cilium-configmap.yaml of the five trees.
 */
import type { Problem, Where } from "../cluster/problem.js";

interface Foreign {
  /** Values under which nothing differs; the first is the agent's default. */
  readonly usual: readonly string[];
  /** What is not evaluated, and what is instead. */
  readonly what: string;
}

const FOREIGN: Readonly<Record<string, Foreign>> = {
  "enable-wireguard": { usual: ["false"], what: "what nodes send one another is evaluated as it is before encryption" },
  "enable-ipsec": { usual: ["false"], what: "what nodes send one another is evaluated as it is before encryption" },
  "enable-encryption-strict-mode": { usual: ["false"], what: "what is not encrypted is not dropped for it" },
  "enable-internal-traffic-policy": { usual: ["true"], what: "internalTrafficPolicy is heeded all the same" },
  "enable-svc-source-range-check": { usual: ["true"], what: "loadBalancerSourceRanges are checked all the same" },
  "bpf-lb-proto-diff": { usual: ["true"], what: "services are told apart by protocol all the same" },
  "enable-srv6": { usual: ["false"], what: "segment routing is not evaluated" },
  "enable-vtep": { usual: ["false"], what: "foreign tunnel endpoints are not evaluated" },
  "enable-nat46x64-gateway": { usual: ["false"], what: "translation between IPv4 and IPv6 is not evaluated" },
  "install-iptables-rules": { usual: ["true"], what: "the agent's iptables rules are evaluated as if it kept them" },
  "prepend-iptables-chains": { usual: ["true"], what: "the agent's chains are evaluated as if they stood before all others" },
  "iptables-random-fully": { usual: ["false"], what: "the node's iptables are evaluated as keeping a source port that is free" },
  "enable-health-check-loadbalancer-ip": { usual: ["false"], what: "health checks at a load balancer's address are not answered" },
  "enable-xdp-prefilter": { usual: ["false"], what: "its list of denied prefixes is not evaluated" },
  "cni-chaining-mode": { usual: ["none", ""], what: "what the plugin before Cilium does to packets is not evaluated" },
  "datapath-mode": { usual: ["veth"], what: "pods are evaluated as behind veth devices" },
  "egress-masquerade-interfaces": { usual: [""], what: "masquerading is evaluated for every device" },
  "enable-masquerade-to-route-source": { usual: ["false"], what: "masquerading is evaluated with the device's address" },
};

/** What a cluster's cilium-config says of such options; where each is not as usual. */
export function foreignProblems(data: Readonly<Record<string, unknown>>, where: Where | null): Problem[] {
  return Object.entries(FOREIGN).flatMap(([name, { usual, what }]): Problem[] => {
    const raw = data[name];
    const text = raw === undefined || raw === null ? usual[0] : String(raw).trim();
    return usual.includes(text) ? [] : [{ where, severity: "warning", what: `option ${name}=${text}: ${what}` }];
  });
}

/** For `twinplane support`. */
export function foreignOptions(): { readonly name: string; readonly what: string }[] {
  return Object.entries(FOREIGN).map(([name, { usual: [standard], what }]) =>
    ({ name, what: `other than ${standard === "" ? '""' : standard}: ${what}` }));
}
