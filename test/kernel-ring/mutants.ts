/**
 * Faults that the kernel ring must see: in kube-proxy's generator, NPM's, the masquerade agent's, netfilter and the IP
 * stack. A generator's fault reaches a live kernel too, which then does the same wrong thing: such faults are seen against
 * recordings, of rules as they should be. A fault of the engine is seen against both.
 */
import { CURRENT_MUTANTS } from "../mutants-current.js";
import type { Mutant } from "../mutation.js";

export type RingMutant = Pick<Mutant, "id" | "file" | "find" | "replace" | "why">;

/** Of the faults of the stories' ring those that one node shows. */
const SHARED = ["external-policy-swapped", "mark-masq-sets-no-bit", "dnat-port", "refusal-swapped", "hairpin-not-masqueraded",
  "pods-taken-for-strangers", "source-range-not-enforced", "every-endpoint-is-local", "no-reverse-nat", "udp-entry-ends-at-once",
  "icmp-quote-not-translated", "icmp-error-in-wrong-direction", "checksum-ignores-addresses", "syn-ack-invalid", "ttl-kept",
  "ttl-one-forwarded", "hop-limit-kept", "icmp-from-uplink-address", "icmp6-reject-code", "pods-masqueraded-in-cluster"];

const SERVICE_RULES = "src/iptables/kubeproxy/serviceRules.ts";
const ENDPOINTS = "src/iptables/kubeproxy/endpoints.ts";
const FIXED = "src/iptables/kubeproxy/fixed.ts";
const NETFILTER = "src/linux/netfilter/netfilter.ts";
const NAT = "src/linux/netfilter/nat.ts";

const EVALUATE = "src/linux/netfilter/evaluate.ts";
const MATCH = "src/linux/netfilter/match.ts";
const RECENT = "src/linux/netfilter/recent.ts";
const SCTP = "src/linux/netfilter/sctp.ts";
const NODE = "src/linux/node.ts";
const MARTIAN = "src/linux/ip/martian.ts";

const RULES: readonly RingMutant[] = [
  {
    id: "terminating-never-serve", file: ENDPOINTS, find: "return isServing(one.endpoint) && one.endpoint.terminating;",
    replace: "return isServing(one.endpoint) && !one.endpoint.terminating;", why: "without ready endpoints nothing falls back to those that still serve",
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
    replace: "-m addrtype --src-type LOCAL ` + \"-j KUBE-MARK-MASQ\"", why: "the node itself does not reach endpoints of other nodes",
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
  {
    id: "pods-keep-their-address", file: "src/iptables/masquerade/cni.ts", find: "`-j MASQUERADE${config.randomFully ? \" --random-fully\" : \"\"}`",
    replace: "\"-j ACCEPT\"", why: "a pod's own address leaves the cluster",
  },
  {
    id: "npm-drops-count-at-once", file: "src/iptables/npm/rules.ts", find: "`MARK --set-mark ${MARKS[direction]}`", replace: "\"DROP\"",
    why: "a policy drops what a later one would have allowed",
  },
];

const ENGINE: readonly RingMutant[] = [
  // ---- netfilter
  {
    id: "reload-forgets-connections", file: NETFILTER, find: "this.rules4 = rules4; this.rules6 = rules6; this.compiled",
    replace: "this.rules4 = rules4; this.rules6 = rules6; this.tracker.table.delete({ node: \"\", family: 4, protocol: 6, originalSource: null, "
      + "originalDestination: null, originalSourcePort: null, originalDestinationPort: null, replySource: null }); this.compiled",
    why: "established connections lose their endpoint when rules change",
  },
  {
    id: "bytes-short-by-one", file: EVALUATE, find: "counts[row * 2 + 1] += skb.length; if (this.trace !== null) "
      + "this.tell(table, row); switch", replace: "counts[row * 2 + 1] += skb.length - 1; if (this.trace !== null) this.tell(table, row); switch",
    why: "a rule's bytes are counted short by one",
  },
  {
    id: "forward-not-filtered", file: NETFILTER, find: "return verdict === Accept ? this.filter(first, hook, skb) : verdict; case Postrouting:",
    replace: "return verdict; case Postrouting:",
    why: "FORWARD is never asked",
  },
  {
    id: "mark-without-mask", file: EVALUATE, find: "((this.skb.mark & code[base + 22]) === code[base + 21])",
    replace: "((this.skb.mark & code[base + 22]) !== 0 && this.skb.mark === code[base + 21])", why: "a mark is compared whole, also the bits of others",
  },
  {
    id: "related-is-new", file: EVALUATE, find: "case RelatedReply: return StateBit.Related;", replace: "case RelatedReply: return StateBit.New;",
    why: "an error about a connection passes for the beginning of one",
  },
  {
    id: "port-class", file: NAT, find: "min = 600; size = 424;", replace: "min = 1024; size = 64512;",
    why: "a masqueraded privileged port becomes an unprivileged one",
  },
  {
    id: "ports-shared", file: NAT, find: "return this.table.taken(this.probe, ct); } ", replace: "void ct; return false; } ",
    why: "two connections are masqueraded to one port",
  },
  {
    id: "stranger-is-remembered", file: RECENT, find: "if (query.op !== RecentOp.Set) return held;", replace: "if (query.op !== RecentOp.Set) return !held;",
    why: "affinity holds for clients that were never seen",
  },
  {
    id: "affinity-only-when-over", file: RECENT, find: "stamp < oldest) continue;", replace: "stamp > oldest) continue;",
    why: "affinity holds once its time is over, and not before",
  },
  {
    id: "checksum-not-looked-at", file: "src/linux/netfilter/track.ts",
    find: "const wrong = hook === Prerouting && this.checkChecksums && skb.csum === Wrong;", replace: "const wrong = false;",
    why: "damaged packets begin connections",
  },
  {
    id: "middle-begins-nothing", file: "src/linux/netfilter/tcp.ts", find: "this.loose = number(\"loose\", 1) !== 0;",
    replace: "this.loose = number(\"loose\", 1) > 1;", why: "a connection is not picked up in its middle",
  },
  {
    id: "sctp-handshake-forgotten", file: SCTP, find: "...[1, 1, 3, 3, 4, 5, 6, 7, 1], // COOKIE ECHO", replace: "...[1, 1, 2, 2, 2, 5, 6, 7, 1], // COOKIE ECHO",
    why: "an association stays in its first step",
  },
  {
    id: "sctp-checksum-left", file: "src/linux/netfilter/manip.ts", find: "const crc = sctpChecksum(bytes, at, length);",
    replace: "const crc = sctpChecksum(bytes, at, length) + 1;", why: "NAT leaves a wrong CRC in SCTP",
  },
  {
    id: "nth-one-late", file: MATCH, find: "compiled.count === match.every - 1", replace: "compiled.count === 0",
    why: "statistic nth begins elsewhere in its round",
  },
  // ---- the IP stack
  {
    id: "damaged-is-rejected", file: NODE, find: "if (isDamaged(packet)) return;", replace: "void isDamaged;",
    why: "REJECT answers packets with a wrong checksum",
  },
  {
    id: "route-kept-after-dnat", file: NODE, find: "(moved || packet.mark !== mark)", replace: "(packet.mark !== mark && moved)",
    why: "what the node sends to a service leaves by the way to the service's address",
  },
  {
    id: "postrouting-not-asked", file: NODE, find: "private sendOut(packet: Packet): void { if (!this.hook(Hook.Postrouting, packet)) return;",
    replace: "private sendOut(packet: Packet): void {", why: "nothing is masqueraded, and no connection confirmed",
  },
  {
    id: "localnet-always-martian", file: "src/linux/ip/devices.ts", find: "routeLocalnet: all(\"route_localnet\") !== 0",
    replace: "routeLocalnet: all(\"route_localnet\") > 1", why: "packets for localhost are martians whatever kube-proxy set",
  },
  {
    id: "own-source-let-in", file: MARTIAN, find: "if (!device.acceptLocal && routes.lookupLocal(bytes, 12)?.local === true) return Reason.LocalSource;",
    replace: "", why: "a packet from outside with one of the node's own addresses is believed",
  },
];

export const RING_MUTANTS: readonly RingMutant[] = [...CURRENT_MUTANTS.filter((mutant) => SHARED.includes(mutant.id)), ...RULES, ...ENGINE];
