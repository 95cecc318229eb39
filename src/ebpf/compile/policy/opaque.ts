/**
 * Policy objects that are known to apply but are not evaluated: CiliumNetworkPolicy and
 * CiliumClusterwideNetworkPolicy.
 *
 * Only their selectors and directions are read. A direction of an endpoint that such a policy may decide is
 * undecided, never taken as allowed or denied. A selector that cannot be read selects every pod it could.
 */
import type { OtherObject } from "../../../cluster/cluster.js";
import type { Because } from "../../../dataplane.js";
import { POD_NAMESPACE_LABEL } from "../labels.js";
import type { Requirement } from "./rules.js";

export interface OpaquePolicy {
  readonly subject: readonly Requirement[];
  readonly ingress: boolean;
  readonly egress: boolean;
  readonly because: Because;
}

const OPERATORS: ReadonlySet<string> = new Set(["In", "NotIn", "Exists", "DoesNotExist"]);

/** Empty for objects of other kinds, and for host policies (`nodeSelector`), which select no pod. */
export function opaquePolicies(object: OtherObject): OpaquePolicy[] {
  const clusterwide = object.kind === "CiliumClusterwideNetworkPolicy";
  if (!clusterwide && object.kind !== "CiliumNetworkPolicy") return [];
  const name = clusterwide ? object.name : `${object.namespace}/${object.name}`;
  const specs = [object.object["spec"], ...list(object.object["specs"])].filter(isRecord);
  return specs
    .filter((spec) => spec["nodeSelector"] === undefined)
    .map((spec, index) => {
      const own: Requirement[] = clusterwide
        ? [{ key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] }]
        : [{ key: POD_NAMESPACE_LABEL, operator: "In", values: [object.namespace] }];
      return {
        subject: [...own, ...requirements(spec["endpointSelector"])],
        ingress: has(spec, "ingress"),
        egress: has(spec, "egress"),
        because: {
          where: object.where,
          object: `${object.kind} ${name}`,
          rule: specs.length > 1 ? `specs[${index}]` : "spec",
        },
      };
    });
}

/** An empty list is as good as none; a rule section that is there decides its direction. */
function has(spec: Readonly<Record<string, unknown>>, direction: "ingress" | "egress"): boolean {
  return [spec[direction], spec[`${direction}Deny`]].some((section) => list(section).length > 0);
}

function requirements(selector: unknown): Requirement[] {
  if (!isRecord(selector)) return [];
  const found: Requirement[] = [];
  for (const [key, value] of Object.entries(
    isRecord(selector["matchLabels"]) ? selector["matchLabels"] : {},
  )) {
    const plain = withoutSource(key);
    if (plain !== null && typeof value === "string")
      found.push({ key: plain, operator: "In", values: [value] });
  }
  for (const expression of list(selector["matchExpressions"])) {
    if (
      !isRecord(expression) ||
      typeof expression["key"] !== "string" ||
      !OPERATORS.has(String(expression["operator"]))
    )
      continue;
    const plain = withoutSource(expression["key"]);
    if (plain === null) continue;
    found.push({
      key: plain,
      operator: expression["operator"] as Requirement["operator"],
      values: list(expression["values"]).map(String),
    });
  }
  return found;
}

/**
 * `k8s:app` and `any:app` are `app`; other sources are not labels of pods, and a requirement on them is left
 * out.
 */
function withoutSource(key: string): string | null {
  const match = /^(k8s|any)[:.](.*)$/.exec(key);
  if (match !== null) return match[2];
  return key.includes(":") ? null : key;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
