/**
 * Comments of rules. Programs' own sentences stay, services in them get the names that stand for them; any other comment is
 * somebody's text, and a pseudonym takes its place.
 */
import type { ChainNames } from "./chains.js";

/** As kube-proxy, kubelet, ip-masq-agent and the CNI plugins write them. */
const FIXED: ReadonlySet<string> = new Set([
  "kubernetes service portals", "kubernetes load balancer firewall", "kubernetes forwarding rules", "kubernetes postrouting rules",
  "kubernetes externally-visible service portals", "kubernetes service traffic requiring SNAT", "kubernetes forwarding conntrack rule",
  "kubernetes forwarding conntrack pod source rule", "kubernetes forwarding conntrack pod destination rule",
  "kubernetes service nodeports; NOTE: this must be the last rule in this chain", "kubernetes health check service ports",
  "kubernetes service cluster ip + port for masquerade purpose", "kubernetes firewall for dropping marked packets",
  "block incoming localnet connections", "cni masquerade", "CNI portfwd masquerade mark", "CNI portfwd requiring masquerade",
  "ip-masq-agent: local traffic is not subject to MASQUERADE",
  "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)",
  "\\\"ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain\\\"",
  "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain",
  "flanneld forward", "flanneld masq", "CNI firewall plugin rules", "CNI firewall plugin admin overrides",
]);
const NAME = "([a-z0-9.-]+/[a-z0-9.-]+(?::[a-z0-9-]+)?)";
/** A service within a sentence of kube-proxy's. */
const SENTENCES = [
  new RegExp(`^()${NAME}( (?:cluster IP|external IP|loadbalancer IP|has no endpoints|has no local endpoints|health check node port))?$`),
  new RegExp(`^((?:masquerade|pod|masquerade LOCAL|route LOCAL) traffic for )${NAME}( external destinations)$`),
  new RegExp(`^(other traffic to )${NAME}( will be dropped by KUBE-PROXY-FIREWALL)$`),
];
const TO_ENDPOINT = new RegExp(`^${NAME} -> (\\S+)$`);

const NOT_ACCEPTED = new RegExp(`^${NAME} traffic not accepted by (KUBE-FW-[A-Z2-7]{16})$`);

/** @param text without its quotes */
export function anonymiseComment(text: string, names: ChainNames): string {
  if (FIXED.has(text)) return text;
  const to = TO_ENDPOINT.exec(text);
  const endpoint = to === null ? null : names.endpoint(to[2]);
  if (to !== null && endpoint !== null) return `${names.portName(to[1])} -> ${endpoint}`;
  const firewall = NOT_ACCEPTED.exec(text);
  if (firewall !== null) return `${names.portName(firewall[1])} traffic not accepted by ${names.chain(firewall[2])}`;
  for (const sentence of SENTENCES) {
    const match = sentence.exec(text);
    if (match !== null) return `${match[1]}${names.portName(match[2])}${match[3] ?? ""}`;
  }
  const pseudonym = names.word("comment", text, 16);
  // By these two the program that wrote a rule is told.
  const writer = /^(cali:|cilium)/i.exec(text)?.[0] ?? "x";
  return `${writer}${writer.toLowerCase() === "cilium" ? " " : ""}${pseudonym}`;
}

/** The service port that a comment of kube-proxy's names; null: none. */
export function servicePortOf(text: string): string | null {
  const to = TO_ENDPOINT.exec(text);
  if (to !== null) return to[1];
  return SENTENCES.map((sentence) => sentence.exec(text)?.[2]).find((one) => one !== undefined) ?? null;
}
