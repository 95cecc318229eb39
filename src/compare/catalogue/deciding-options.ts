/**
 * Cilium's options whose values decide how the target fares in a difference: what a reader would turn, beside the manifests' lines.
 * An option that a version does not have decides nothing there.
 */
import type { Because } from "../../dataplane.js";
import type { Situation } from "./difference.js";

export function decidingOptions(id: string, situation: Situation): Because[] {
  const { target } = situation;
  return (DECIDING[id]?.(situation) ?? []).flatMap((name) => {
    const where = target.optionPlace?.(name);
    return where === undefined ? [] : [{ where, object: name, rule: valueText(target.options[name]) }];
  });
}

/** By the rows that they are of, in the catalogue's order; option names as Cilium's. */
export const DECIDING: Readonly<Record<string, (situation: Situation) => readonly string[]>> = {
  "POL-IPBLOCK-NODE": () => ["policy-cidr-match-mode"],
  "POL-NS-NOTIN": () => ["policy-default-local-cluster"],
  "POL-LABEL-FILTER": () => ["labels"],
  "POL-DENY-RESP": () => ["policy-deny-response"],
  "POL-HOST-PROBE": () => ["allow-localhost"],
  "POL-UNKNOWN-L4": () => ["enable-extended-ip-protocols"],
  "POL-SOURCE-IP": () => ["enable-source-ip-verification"],
  "PROTO-SCTP": () => ["enable-sctp"],
  "PROTO-FRAG": (s) => [isV6(s) ? "enable-ipv6-fragment-tracking" : "enable-ipv4-fragment-tracking"],
  "PROTO-HOPS": () => ["routing-mode"],
  "NODE-VLAN": () => ["vlan-bpf-bypass"],
  "SVC-CLUSTERIP-EXT": () => ["bpf-lb-external-clusterip"],
  "SVC-LBSRCRANGES": () => ["bpf-lb-source-range-all-types"],
  "SVC-NOENDPOINT": () => ["service-no-backend-response"],
  "SVC-ETPLOCAL-NOLOCAL": () => ["service-no-backend-response"],
  "SVC-NODEPORT-ADDRS": () => ["nodeport-addresses"],
  "SVC-HOSTPORT": () => ["node-port-range"],
  "SVC-TOPOLOGY": () => ["enable-service-topology"],
  "CT-TIMEOUT": () => ["bpf-ct-timeout-service-tcp"],
  "NAT-PORT-CLASH": () => ["enable-bpf-masquerade", "node-port-range"],
  "NAT-PROTO": ({ protocol }) => (protocol === "SCTP" ? ["enable-sctp"] : ["enable-bpf-masquerade"]),
  "NAT-LOCAL-BACKEND": () => ["bpf-lb-mode"],
  "NAT-MASQ-SET": masqueradeOptions,
};

/** To another node, or to what is neither node nor pod: by its family's range, or by an agent's file. */
function masqueradeOptions(s: Situation): string[] {
  const { names, current, target } = s;
  if (names.node(current.destination) !== null) return ["enable-remote-node-masquerade"];
  if (target.options["enable-ip-masq-agent"] === true) return ["enable-ip-masq-agent"];
  return [isV6(s) ? "ipv6-native-routing-cidr" : "ipv4-native-routing-cidr"];
}

function isV6({ source }: Situation): boolean {
  return source.includes(":");
}

/** As a cilium-config has it. */
function valueText(value: unknown): string {
  const text = Array.isArray(value) ? value.join(",") : String(value);
  return text === "" ? "not set" : text;
}
