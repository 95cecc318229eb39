/**
 * Reads toPorts: ports, what a proxy must check, and where that is refused.
 *
 * Source: cilium pkg/policy/api/l4.go, rule_validation.go (PortRule, PortProtocol, L7Rules), pkg/iana/svcname.go.
 */
import type { Field } from "../field.js";
import type { Conditions } from "./conditions.js";
import { readL7Rules, readSecret, ruleCount } from "./l7.js";
import { CILIUM_PROTOCOLS, type CiliumL7Rules, type CiliumPort, type CiliumPortRule } from "./types.js";

/** Of toPorts items and of ICMP fields. */
export const MAX_ITEMS = 40;

/** First version that knows the protocol, where not all do; the CRD refuses it before. */
const PROTOCOL_SINCE: Readonly<Record<string, number>> = { VRRP: 19, IGMP: 19, GRE: 20, IPIP: 20, IPV6: 20, ESP: 20, AH: 20 };

export interface PortPlace {
  readonly ingress: boolean;
  readonly deny: boolean;
  /** Of a rule with a nodeSelector. */
  readonly host: boolean;
}

export function readPortRule(field: Field, place: PortPlace, conditions: Conditions): CiliumPortRule {
  if (place.deny) field.onlyKnows("ports");
  else field.onlyKnows("ports", "terminatingTLS", "originatingTLS", "serverNames", "listener", "rules");
  const rules = place.deny || field.get("rules").absent ? null : readL7Rules(field.get("rules"), conditions);
  const ports = readPorts(field.get("ports"), place.deny, conditions);
  const portRule: CiliumPortRule = {
    ports,
    terminatingTLS: !place.deny && readTLS(field.get("terminatingTLS")),
    originatingTLS: !place.deny && readTLS(field.get("originatingTLS")),
    serverNames: place.deny ? [] : readServerNames(field.get("serverNames")),
    listener: place.deny ? null : readListener(field.get("listener")),
    rules,
    where: field.where(),
  };
  if (rules !== null && ruleCount(rules) > 0) checkL7(field, rules, ports, portRule, place, conditions);
  if (portRule.listener !== null && place.ingress) {
    field.get("listener").refuse("found a listener on ingress, expected it on egress only", "Cilium");
  }
  return portRule;
}

function readPorts(field: Field, deny: boolean, conditions: Conditions): CiliumPort[] {
  const items = field.items();
  if (items.length > MAX_ITEMS) {
    field.refuse(`found ${items.length} ports, expected at most ${MAX_ITEMS}`, deny ? "Cilium" : "the API server");
  }
  return items.map((item) => readPort(item, conditions));
}

function readPort(field: Field, conditions: Conditions): CiliumPort {
  field.onlyKnows("port", "endPort", "protocol");
  const protocol = field.get("protocol").oneOf(CILIUM_PROTOCOLS, "ANY");
  const since = PROTOCOL_SINCE[protocol];
  if (since !== undefined) conditions.add(field.get("protocol"), `protocol ${protocol}`, { since });
  const portField = field.get("port");
  const text = portField.string();
  if (portField.absent) {
    conditions.add(field, "no port", { since: 19, option: "enable-extended-ip-protocols" });
    return { port: 0, endPort: 0, protocol };
  }
  const port = isServiceName(text) ? text.toLowerCase() : parsePort(text);
  if (port === null) {
    portField.refuse(`found port "${text}", expected a number from 0 to 65535 in quotes, or a container port's name of at most 15 `
      + "letters, digits and - with a letter", "Cilium");
  }
  if (since !== undefined && typeof port === "number" && port !== 0) {
    portField.refuse(`found port "${text}" with protocol ${protocol}, expected none or "0"`, "Cilium");
  }
  const endPort = field.get("endPort").integer(0);
  if (endPort < 0 || endPort > 65535) field.get("endPort").refuse(`found ${endPort}, expected a port from 0 to 65535`);
  if (typeof port === "string" && endPort > 0) {
    field.get("endPort").warn(`found endPort with the named port "${port}", which Cilium ignores; expected a number`);
  }
  return { port: port ?? 0, endPort, protocol };
}

function isServiceName(text: string): boolean {
  return text.length <= 15 && /^([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*$/.test(text);
}

/** Go's ParseUint with base 0: a leading 0 means octal. Hexadecimal text is a service's name by then. */
function parsePort(text: string): number | null {
  if (!/^\d+(_\d+)*$/.test(text)) return null;
  const digits = text.replaceAll("_", "");
  const octal = digits.length > 1 && digits.startsWith("0");
  if (octal && /[89]/.test(digits)) return null;
  const port = Number.parseInt(digits, octal ? 8 : 10);
  return port > 65535 ? null : port;
}

function readTLS(field: Field): boolean {
  if (field.absent) return false;
  field.onlyKnows("secret", "trustedCA", "certificate", "privateKey");
  readSecret(field.get("secret"), true);
  return true;
}

/** Names of TLS servers, with wildcards. Older schemas take any text. */
function readServerNames(field: Field): string[] {
  if (field.absent) return [];
  const items = field.items();
  if (items.length === 0) field.refuse("found an empty list, expected at least one name");
  for (const item of items) {
    if (item.string() === "" || item.string().length > 255 || !/^([-a-zA-Z0-9_*]+[.]?)+$/.test(item.string())) {
      item.refuse(`found "${item.string()}", expected a server's name`);
    }
  }
  return items.map((item) => item.string());
}

function readListener(field: Field): CiliumPortRule["listener"] {
  if (field.absent) return null;
  field.onlyKnows("envoyConfig", "name", "priority");
  const config = field.get("envoyConfig");
  config.onlyKnows("kind", "name");
  const kind = config.get("kind").absent ? ""
    : config.get("kind").oneOf(["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"], "CiliumEnvoyConfig");
  for (const name of [config.get("name"), field.get("name")]) {
    if (name.string() === "") name.refuse("found no name, expected one");
  }
  const priority = field.get("priority").integer(0);
  if (!field.get("priority").absent && (priority < 1 || priority > 100)) {
    field.get("priority").refuse(`found ${priority}, expected 1 to 100`);
  }
  return { kind, envoyConfig: config.get("name").string(), name: field.get("name").string(), priority };
}

/** Where L7 rules are not taken. */
function checkL7(field: Field, rules: CiliumL7Rules, ports: readonly CiliumPort[], portRule: CiliumPortRule, place: PortPlace,
  conditions: Conditions): void {
  const rulesField = field.get("rules");
  const dns = rules.dns !== null && rules.dns.length > 0;
  conditions.add(rulesField, "L7 rules", { option: "enable-l7-proxy" });
  if (dns && place.ingress) rulesField.refuse("found DNS rules on ingress, expected them on egress only", "Cilium");
  if (place.host && (place.ingress || !dns)) {
    rulesField.refuse("found L7 rules in a rule for nodes, expected none but DNS rules on egress", "Cilium");
  } else if (place.host) conditions.add(rulesField, "DNS rules for nodes", { since: 17 });
  if (portRule.serverNames.length > 0 && !portRule.terminatingTLS) {
    field.get("serverNames").refuse("found serverNames with L7 rules, expected terminatingTLS too", "Cilium");
  }
  if (portRule.listener !== null) field.get("listener").refuse("found a listener with L7 rules, expected one of them", "Cilium");
  if (dns && ports.length === 0) field.refuse("found DNS rules without ports, expected port 53", "Cilium");
  if (ports.some((one) => one.port === 0)) field.refuse("found L7 rules with port 0, expected a port", "Cilium");
  if (!dns && ports.some((one) => one.protocol !== "TCP")) {
    field.refuse("found L7 rules with a protocol other than TCP, expected protocol: TCP", "Cilium");
  }
  if (!ports.some((one) => typeof one.port === "number" && one.endPort > one.port)) return;
  if (dns) field.refuse("found DNS rules with a range of ports, expected single ports", "Cilium");
  else conditions.add(field, "L7 rules with a range of ports", { since: 17 });
}
