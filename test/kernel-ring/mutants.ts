/** Faults that the kernel ring must see: in kube-proxy's generator, the masquerade agent's, netfilter and the IP stack. */
import { CURRENT_MUTANTS } from "../mutants-current.js";
import type { Mutant } from "../mutation.js";

export type RingMutant = Pick<Mutant, "id" | "file" | "find" | "replace" | "why">;

/** Of the faults of the stories' ring those that one node shows. */
const SHARED = ["external-policy-swapped", "mark-masq-sets-no-bit", "dnat-port", "refusal-swapped", "hairpin-not-masqueraded",
  "pods-taken-for-strangers", "source-range-not-enforced", "every-endpoint-is-local", "no-reverse-nat", "udp-entry-ends-at-once",
  "icmp-quote-not-translated", "icmp-error-in-wrong-direction", "checksum-ignores-addresses", "syn-ack-invalid", "ttl-kept",
  "ttl-one-forwarded", "hop-limit-kept", "icmp-from-uplink-address", "icmp6-reject-code", "pods-masqueraded-in-cluster",
  "pods-not-masqueraded"];

const SERVICE_RULES = "src/iptables/kubeproxy/serviceRules.ts";
const ENDPOINTS = "src/iptables/kubeproxy/endpoints.ts";
const FIXED = "src/iptables/kubeproxy/fixed.ts";
const NETFILTER = "src/linux/netfilter/netfilter.ts";
const NAT = "src/linux/netfilter/nat.ts";

const OWN: readonly RingMutant[] = [
  // ---- kube-proxy's rules
  {
    id: "terminating-never-serve", file: ENDPOINTS, find: "return one.endpoint.serving && one.endpoint.terminating;", replace: "return false;",
    why: "without ready endpoints nothing falls back to those that still serve",
  },
  {
    id: "hints-of-other-zones", file: ENDPOINTS, find: "endpoint.hintZones.includes(here.zone)", replace: "endpoint.hintZones.length > 0",
    why: "topology hints lead to every zone that has any",
  },
  {
    id: "vip-itself-not-let-in", file: SERVICE_RULES, find: "`${comment} -s ${address.text} -j ${info.chains.ext}`",
    replace: "`${comment} -s ${address.text}`", why: "what a VIP says to itself is dropped although the node's range is let in",
  },
  {
    id: "node-shut-out-by-local", file: SERVICE_RULES, find: "-m addrtype --src-type LOCAL ` + `-j ${info.chains.svc}`",
    replace: "-m addrtype --src-type LOCAL ` + `-j ${this.policyChain}`", why: "the node itself reaches local endpoints only",
  },
  {
    id: "affinity-is-not-remembered", file: SERVICE_RULES, find: "`-m recent --name ${chain} --set `", replace: "\"\"",
    why: "no client is ever remembered, so each connection gets another endpoint",
  },
  {
    id: "localhost-let-in", file: FIXED, find: "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    replace: "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT", why: "neighbours reach what listens on localhost only",
  },
  {
    id: "random-fully-forgotten", file: FIXED, find: "(config.randomFully ? \" --random-fully\" : \"\")", replace: "\"\"",
    why: "the source port is kept where kube-proxy lets the kernel draw it",
  },
  // ---- netfilter
  {
    id: "reload-forgets-connections", file: NETFILTER, find: "this.rules4 = rules4; this.rules6 = rules6; this.compiled",
    replace: "this.rules4 = rules4; this.rules6 = rules6; this.tracker.table.delete({ node: \"\", family: 4, protocol: 6, originalSource: null, "
      + "originalDestination: null, originalSourcePort: null, originalDestinationPort: null, replySource: null }); this.compiled",
    why: "established connections lose their endpoint when rules change",
  },
  {
    id: "counters-count-what-fails", file: "src/linux/netfilter/evaluate.ts", find: "packets[row]++; bytes[row] += skb.length; if (this.trace !== null) "
      + "this.tell(table, row); switch", replace: "packets[row]++; bytes[row] += skb.length - 1; if (this.trace !== null) this.tell(table, row); switch",
    why: "a rule's bytes are counted short by one",
  },
  {
    id: "port-class", file: NAT, find: "min = 600; size = 424;", replace: "min = 1024; size = 64512;",
    why: "a masqueraded privileged port becomes an unprivileged one",
  },
  {
    id: "sctp-init-ack-unknown", file: "src/linux/netfilter/sctp.ts", find: "...[1, 1, 2, 3, 4, 5, 6, 7, 1], // INIT ACK",
    replace: "...[0, 0, 0, 0, 0, 0, 0, 0, 0], // INIT ACK", why: "an association's own INIT ACK does not count",
  },
  {
    id: "affinity-never-ends-reverse", file: "src/linux/netfilter/recent.ts", find: "RecentOp.Check", replace: "RecentOp.Remove",
    why: "asking whether a client is remembered forgets it",
  },
  {
    id: "damaged-is-rejected", file: "src/linux/node.ts", find: "if (isDamaged(packet)) return;", replace: "void isDamaged;",
    why: "REJECT answers packets with a wrong checksum",
  },
  {
    id: "nth-one-late", file: "src/linux/netfilter/match.ts", find: "compiled.count === match.every - 1", replace: "compiled.count === 0",
    why: "statistic nth begins elsewhere in its round",
  },
  // ---- the IP stack
  {
    id: "localnet-always-martian", file: "src/linux/ip/devices.ts", find: "routeLocalnet: all(\"route_localnet\") !== 0",
    replace: "routeLocalnet: all(\"route_localnet\") > 1", why: "packets for localhost are martians whatever kube-proxy set",
  },
];

export const RING_MUTANTS: readonly RingMutant[] = [...CURRENT_MUTANTS.filter((mutant) => SHARED.includes(mutant.id)), ...OWN];
