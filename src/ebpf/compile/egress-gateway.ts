/**
 * CiliumEgressGatewayPolicy -> cilium_egress_gw_policy_v4 and _v6 (pkg/egressgateway): which pods' packets to which
 * destinations go through which node, and leave it with which address.
 *
 *     selectors -> pods        destinationCIDRs, excludedCIDRs -> prefixes        egressGateway(s) -> gateways.ts
 *
 * The table is the same on all nodes but for the egress address, which only the gateway itself knows, and only it asks for.
 * A policy that the agent cannot parse has no entry; where two policies say different things of one key, the agent's choice
 * is that of a map's order: such an entry is unknown.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { parsePrefix } from "../../cluster/address.js";
import type { Cluster, Node, OtherObject, Pod } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import { type Chosen, chooseGateway, type GatewaySpec, type Needed, resolveGateways } from "./egress-gateway-node.js";
import { type Fields, fieldsOf, listOf, matchesLabels } from "./egress-gateway-selector.js";
import type { Identities } from "./identity.js";
import { NAMESPACE_LABELS_PREFIX, POD_NAMESPACE_LABEL } from "./labels.js";
import { release } from "./service-annotations.js";

export interface EgressGatewayEntry {
  readonly source: Address;
  readonly destination: Prefix;
  /** `excluded`: the destination keeps the way it has; `unknown`: not evaluated. */
  readonly way: "gateway" | "none" | "excluded" | "unknown";
  /** The gateway's address; null: there is none. */
  readonly gateway: Address | null;
  /** What the packet leaves it with; null: it has none. */
  readonly egress: Address | null;
  readonly because: Because;
}

/** Entries that the map has room for (egress-gateway-policy-map-max). */
const MOST = 16384;

export function compileEgressGateways(cluster: Cluster, options: CiliumOptions, identities: Identities,
  problems: Problem[]): EgressGatewayEntry[] {
  const policies = cluster.others.filter((one) => one.kind === "CiliumEgressGatewayPolicy");
  if (!options["enable-egress-gateway"]) {
    for (const policy of policies) {
      problems.push({ where: policy.where, severity: "warning",
        what: `CiliumEgressGatewayPolicy ${policy.name} is not read: enable-egress-gateway is off` });
    }
    return [];
  }
  const found = new Map<string, EgressGatewayEntry>();
  for (const object of policies) {
    const policy = readPolicy(object, release(options));
    if (typeof policy === "string") {
      problems.push({ where: object.where, severity: "error",
        what: `CiliumEgressGatewayPolicy ${object.name}: ${policy}; the agent cannot parse it and does not apply it` });
    } else addPolicy(cluster, options, identities, policy, found);
  }
  if (found.size <= MOST) return [...found.values()];
  problems.push({ where: null, severity: "error",
    what: `egress gateway policies need ${found.size} entries, and the map holds ${MOST}; which are missing is not known` });
  return [...found.values()].slice(0, MOST).map(unknown);
}

interface Policy {
  readonly because: Because;
  readonly selectors: readonly Fields[];
  readonly nodeSelectors: readonly Fields[];
  readonly destinations: readonly Prefix[];
  readonly excluded: readonly Prefix[];
  readonly gateways: readonly GatewaySpec[];
}

/** ParseCEGP; a text says what is wrong. */
function readPolicy({ object, name, where }: OtherObject, version: number): Policy | string {
  const spec = fieldsOf(object["spec"]);
  if (!Array.isArray(spec["destinationCIDRs"])) return "found no destinationCIDRs, expected a list";
  const several = version >= 18 ? listOf(spec["egressGateways"]) : [];
  const gateways = several.length > 0 ? several.map(readGateway) : [readGateway(spec["egressGateway"])];
  const wrong = gateways.find((one) => typeof one === "string");
  if (typeof wrong === "string") return wrong;
  const destinations = prefixes(spec["destinationCIDRs"]);
  if (typeof destinations === "string") return `found destination "${destinations}", expected a CIDR`;
  const excluded = prefixes(spec["excludedCIDRs"]);
  if (typeof excluded === "string") return `found excluded destination "${excluded}", expected a CIDR`;
  const selectors = listOf(spec["selectors"]).map(fieldsOf);
  if (selectors.some((one) => one["namespaceSelector"] === undefined && one["podSelector"] === undefined)) {
    return "found a selector without podSelector and namespaceSelector, expected one of them";
  }
  const nodeSelectors = version >= 17 ? selectors.map((one) => one["nodeSelector"]).filter((one) => one !== undefined).map(fieldsOf) : [];
  const because = { where, object: `CiliumEgressGatewayPolicy ${name}`, rule: "egressGateway" };
  return { because, selectors, nodeSelectors, destinations, excluded, gateways: gateways as GatewaySpec[] };
}

function readGateway(value: unknown): GatewaySpec | string {
  if (value === undefined || value === null) return "found no egressGateway, expected one";
  const { nodeSelector, interface: device = "", egressIP = "" } = fieldsOf(value);
  if (nodeSelector === undefined) return "found no nodeSelector, expected one";
  if (device !== "" && egressIP !== "") return "found interface and egressIP, expected one of them";
  const egress = egressIP === "" ? null : parsePrefix(`${String(egressIP)}/${String(egressIP).includes(":") ? 128 : 32}`);
  if (egressIP !== "" && egress === null) return `found egressIP "${String(egressIP)}", expected an address`;
  return { nodeSelector: fieldsOf(nodeSelector), device: String(device), egress: egress?.address ?? null };
}

function prefixes(value: unknown): Prefix[] | string {
  const found: Prefix[] = [];
  for (const text of listOf(value)) {
    const prefix = typeof text === "string" && text.includes("/") ? parsePrefix(text) : null;
    if (prefix === null) return String(text);
    found.push(prefix);
  }
  return found;
}

function addPolicy(cluster: Cluster, options: CiliumOptions, identities: Identities, policy: Policy,
  found: Map<string, EgressGatewayEntry>): void {
  const version = release(options);
  const needs: Needed = { 4: policy.destinations.some(({ address }) => address.family === 4),
    6: policy.destinations.some(({ address }) => address.family === 6) };
  const gateways = resolveGateways(cluster, policy.gateways, needs, version);
  const nodes = new Map(cluster.nodes.map((node) => [node.name, node]));
  cluster.pods.forEach((pod, index) => {
    const labels = identities.ofPod[index]?.podLabels ?? null;
    if (labels === null || !policy.selectors.some((one) => selects(one, labels))) return;
    if (!onSelectedNode(policy, nodes.get(pod.nodeName))) return;
    const chosen = chooseGateway(gateways, endpointUid(cluster, pod));
    for (const source of pod.ips) {
      // IPv6 has policies from 1.18 on.
      if (source.family === 6 && version < 18) continue;
      const { because } = policy;
      for (const destination of policy.destinations) put(found, { source, destination, because, ...wayOf(chosen, destination) });
      for (const destination of policy.excluded) put(found, { source, destination, because, ...NOWHERE, way: "excluded" });
    }
  });
}

const NOWHERE = { gateway: null, egress: null } as const;

function wayOf(chosen: Chosen, destination: Prefix): Pick<EgressGatewayEntry, "way" | "gateway" | "egress"> {
  if (chosen === "none" || chosen === "unknown") return { ...NOWHERE, way: chosen };
  const egress = chosen.egress(destination);
  return egress === "unknown" ? { ...NOWHERE, way: "unknown" } : { way: "gateway", gateway: chosen.address, egress };
}

function put(found: Map<string, EgressGatewayEntry>, entry: EgressGatewayEntry): void {
  if (entry.source.family !== entry.destination.address.family) return;
  const key = `${entry.source.text} ${entry.destination.text}`;
  const before = found.get(key);
  found.set(key, before === undefined || sameWay(before, entry) ? entry : unknown(entry));
}

function sameWay(a: EgressGatewayEntry, b: EgressGatewayEntry): boolean {
  return a.way === b.way && a.gateway?.text === b.gateway?.text && a.egress?.text === b.egress?.text;
}

function unknown(entry: EgressGatewayEntry): EgressGatewayEntry {
  return { ...entry, ...NOWHERE, way: "unknown" };
}

/** One of `selectors`: both of its parts hold; an empty namespaceSelector is any namespace. */
function selects(selector: Fields, labels: ReadonlyMap<string, string>): boolean {
  const namespaces = selector["namespaceSelector"];
  if (namespaces !== undefined && !labels.has(POD_NAMESPACE_LABEL)) return false;
  return matchesLabels(fieldsOf(selector["podSelector"]), "", labels)
    && matchesLabels(fieldsOf(namespaces), NAMESPACE_LABELS_PREFIX, labels);
}

/** Selectors' node selectors count apart from their pod selectors: any of them. */
function onSelectedNode(policy: Policy, node: Node | undefined): boolean {
  if (policy.nodeSelectors.length === 0) return true;
  return node !== undefined && policy.nodeSelectors.some((one) => matchesLabels(one, "", new Map(Object.entries(node.labels))));
}

/** Of the pod's CiliumEndpoint, where the objects have it. */
function endpointUid(cluster: Cluster, pod: Pod): string | null {
  const endpoint = cluster.others.find((one) => one.kind === "CiliumEndpoint" && one.namespace === pod.namespace && one.name === pod.name);
  const uid = endpoint === undefined ? null : fieldsOf(endpoint.object["metadata"])["uid"];
  return typeof uid === "string" && uid !== "" ? uid : null;
}
