/**
 * CiliumEgressGatewayPolicy: which packets it may touch (pkg/egressgateway). Which node is the gateway and which address
 * it has are not evaluated: what a selected pod sends to a destination of the policy is undecided.
 *
 * Keys of cilium_egress_gw_policy_v4 and _v6: the pod's address and the destination prefix. A nodeSelector of
 * `selectors`, which can only select fewer pods, is passed over.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { parsePrefix } from "../../cluster/address.js";
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import type { Identities } from "./identity.js";
import { NAMESPACE_LABELS_PREFIX } from "./labels.js";

export interface EgressGatewayEntry {
  readonly source: Address;
  readonly destination: Prefix;
}

type Fields = Readonly<Record<string, unknown>>;

/** Both whole families: the destinations of a policy that names none that can be read. */
const EVERYWHERE = ["0.0.0.0/0", "::/0"].map((text) => parsePrefix(text)!);

export function compileEgressGateways(cluster: Cluster, identities: Identities): EgressGatewayEntry[] {
  const found = new Map<string, EgressGatewayEntry>();
  for (const policy of cluster.others) {
    if (policy.kind !== "CiliumEgressGatewayPolicy") continue;
    const destinations = destinationsOf(policy);
    cluster.pods.forEach((pod, index) => {
      const labels = identities.ofPod[index]?.podLabels ?? null;
      if (labels === null || !selectorsOf(policy).some((selector) => selects(selector, labels))) return;
      for (const source of pod.ips) {
        for (const destination of destinations) {
          if (destination.address.family === source.family) found.set(`${source.text} ${destination.text}`, { source, destination });
        }
      }
    });
  }
  return [...found.values()];
}

function destinationsOf({ object }: OtherObject): readonly Prefix[] {
  const listed = listOf(fields(object["spec"])["destinationCIDRs"]).map((text) => (typeof text === "string" ? parsePrefix(text) : null));
  return listed.length === 0 || listed.includes(null) ? EVERYWHERE : (listed as Prefix[]);
}

function selectorsOf({ object }: OtherObject): readonly Fields[] {
  return listOf(fields(object["spec"])["selectors"]).map(fields);
}

/** Whether the pod may be selected; what cannot be read of a selector selects. */
function selects(selector: Fields, labels: ReadonlyMap<string, string>): boolean {
  return matches(fields(selector["podSelector"]), "", labels)
    && matches(fields(selector["namespaceSelector"]), NAMESPACE_LABELS_PREFIX, labels);
}

function matches(selector: Fields, prefix: string, labels: ReadonlyMap<string, string>): boolean {
  const labelOf = (key: unknown): string | undefined => labels.get(prefix + String(key).replace(/^(k8s|any)[:.]/, ""));
  for (const [key, wanted] of Object.entries(fields(selector["matchLabels"]))) if (labelOf(key) !== wanted) return false;
  for (const { key, operator, values } of listOf(selector["matchExpressions"]).map(fields)) {
    const value = labelOf(key);
    if (operator === "In" && (value === undefined || !listOf(values).includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && listOf(values).includes(value)) return false;
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
  }
  return true;
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
