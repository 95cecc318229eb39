/**
 * Reads the rules of a proxy under toPorts. Packets do not meet them; that there are any sends packets to the proxy.
 *
 * Source: cilium pkg/policy/api/l4.go L7Rules, http.go; Kafka and l7proto until 1.19.
 */
import type { Field } from "../field.js";
import type { Conditions } from "./conditions.js";
import { list, readFQDN } from "./peers.js";
import type { CiliumHTTPRule, CiliumL7Rules } from "./types.js";

const KINDS = ["http", "dns", "kafka", "l7proto"];

export function readL7Rules(field: Field, conditions: Conditions): CiliumL7Rules {
  field.onlyKnows(...KINDS, "l7");
  const given = KINDS.filter((kind) => !field.get(kind).absent);
  if (given.length !== 1) field.refuse(`expected exactly one of http, dns, kafka and l7proto`);
  for (const kind of given.slice(0, 1)) if (kind === "kafka" || kind === "l7proto") {
    conditions.add(field.get(kind), `${kind} rules`, { until: 19 });
  }
  const [kafka, l7proto] = [field.get("kafka"), field.get("l7proto")];
  return {
    http: list(field.get("http"), readHTTPRule),
    dns: list(field.get("dns"), readFQDN),
    kafka: kafka.absent ? null : kafka.items().length,
    l7proto: l7proto.absent ? null : l7proto.string(),
    l7: field.get("l7").items().length,
  };
}

/** Rules that a packet must be shown to a proxy for; `http: []` has none. */
export function ruleCount(rules: CiliumL7Rules): number {
  return (rules.http?.length ?? 0) + (rules.dns?.length ?? 0) + (rules.kafka ?? 0) + rules.l7;
}

function readHTTPRule(field: Field): CiliumHTTPRule {
  field.onlyKnows("path", "method", "host", "headers", "headerMatches");
  for (const name of ["path", "method"]) checkExpression(field.get(name));
  const matches = field.get("headerMatches").items();
  for (const match of matches) {
    match.onlyKnows("mismatch", "name", "secret", "value");
    if (match.get("name").string() === "") match.refuse("found no header name, expected one");
    if (!match.get("mismatch").absent) match.get("mismatch").oneOf(["LOG", "ADD", "DELETE", "REPLACE"], "LOG");
    readSecret(match.get("secret"), false);
  }
  return {
    path: field.get("path").string(),
    method: field.get("method").string(),
    host: field.get("host").string(),
    headers: field.get("headers").items().map((item) => item.string()),
    headerMatches: matches.length,
  };
}

export function readSecret(field: Field, required: boolean): void {
  if (field.absent && !required) return;
  field.onlyKnows("namespace", "name");
  if (field.get("name").absent) field.refuse("found no secret with a name, expected one");
}

/** Go's regexp has no look-around and no back references; beyond those, what JavaScript cannot read Go cannot either. */
function checkExpression(field: Field): void {
  const text = field.string();
  const foreign = text.replace(/\(\?[a-zA-Z]*-?[a-zA-Z]*[):]/g, "(?:").replaceAll("(?P<", "(?<").replace(/\[\[:\^?\w+:\]/g, "[");
  if (!/\(\?<?[=!]|\\[1-9]/.test(text) && compiles(foreign)) return;
  field.refuse(`found "${text}", expected a regular expression of RE2`, "Cilium");
}

function compiles(expression: string): boolean {
  try {
    new RegExp(expression);
    return true;
  } catch {
    return false;
  }
}
