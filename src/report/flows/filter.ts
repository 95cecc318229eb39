/**
 * Which flows are printed, with `hubble observe`'s options and meaning (hubble/cmd/observe/flows_filter.go): values of one
 * option are alternatives, options narrow one another, options for either end (`--pod`, `--ip`, `--port`, `--namespace`)
 * ask source or destination as a whole, `--not` turns the option behind it; those turned exclude together.
 */
import { type Address, parseAddress, parsePrefix, type Prefix, prefixContains } from "../../cluster/address.js";
import type { HubbleFlow } from "./hubble.js";

export const FILTER_NAMES = ["from-pod", "to-pod", "pod", "from-namespace", "to-namespace", "namespace", "from-ip", "to-ip", "ip",
  "from-port", "to-port", "port", "from-label", "to-label", "label", "protocol", "verdict", "drop-reason-desc", "traffic-direction",
  "node-name"] as const;
export type FilterName = (typeof FILTER_NAMES)[number];

/** One option as given, in order. */
export interface FilterTerm {
  readonly name: FilterName;
  readonly value: string;
  readonly not: boolean;
}

export type FlowTest = (flow: HubbleFlow) => boolean;

/** A test of flows, or what is wrong with the options. */
export function flowFilter(terms: readonly FilterTerm[]): FlowTest | string {
  for (const term of terms) {
    const wrong = wrongWith(term);
    if (wrong !== null) return wrong;
  }
  const wanted = terms.filter((term) => !term.not);
  const unwanted = terms.filter((term) => term.not);
  return (flow) => (wanted.length === 0 || eitherWay(wanted, flow)) && (unwanted.length === 0 || !eitherWay(unwanted, flow));
}

const VERDICTS = ["FORWARDED", "DROPPED", "AUDIT", "REDIRECTED", "ERROR", "TRACED", "TRANSLATED", "VERDICT_UNKNOWN"];
const PROTOCOLS = ["tcp", "udp", "sctp", "icmp", "icmpv4", "icmpv6"];

function wrongWith({ name, value }: FilterTerm): string | null {
  if (name.endsWith("ip") && parseAddress(value) === null && parsePrefix(value) === null) {
    return `--${name} is an address or a CIDR, not '${value}'`;
  }
  if (name.endsWith("port") && !(/^\d+$/.test(value) && Number(value) <= 65535)) return `--${name} is a port number, not '${value}'`;
  if (name === "verdict" && !VERDICTS.includes(value)) return `--verdict is one of ${VERDICTS.join(", ")}, not '${value}'`;
  if (name === "protocol" && !PROTOCOLS.includes(value.toLowerCase())) {
    return `--protocol is one of ${PROTOCOLS.join(", ")}, not '${value}'; no layer 7 is replayed`;
  }
  if (name === "traffic-direction" && !["INGRESS", "EGRESS"].includes(value.toUpperCase())) {
    return `--traffic-direction is ingress or egress, not '${value}'`;
  }
  return null;
}

/** Options for either end ask the source in one reading and the destination in the other. */
function eitherWay(terms: readonly FilterTerm[], flow: HubbleFlow): boolean {
  return (["source", "destination"] as const).some((end) => {
    const byField = new Map<string, FilterTerm[]>();
    for (const term of terms) {
      const field = fieldOf(term.name, end);
      byField.set(field, [...(byField.get(field) ?? []), term]);
    }
    return [...byField].every(([field, alternatives]) => alternatives.some(({ value }) => holds(flow, field, value)));
  });
}

/** `source pod`, `verdict`. */
function fieldOf(name: FilterName, either: "source" | "destination"): string {
  if (name.startsWith("from-")) return `source ${name.slice(5)}`;
  if (name.startsWith("to-")) return `destination ${name.slice(3)}`;
  return ["pod", "namespace", "ip", "port", "label"].includes(name) ? `${either} ${name}` : name;
}

function holds(flow: HubbleFlow, field: string, value: string): boolean {
  const [end, what] = field.split(" ") as ["source" | "destination", string | undefined];
  switch (what ?? field) {
    case "pod": return isPod(flow[end], value);
    case "namespace": return flow[end].namespace === value || flow[`${end}_service`]?.namespace === value;
    case "ip": return isAddress(flow.IP?.[end], value);
    case "port": return Object.values(flow.l4 ?? {}).some((layer) => layer[`${end}_port`] === Number(value));
    case "label": return (flow[end].labels ?? []).some((label) => label === value || label.slice(label.indexOf(":") + 1) === value
      || label.slice(label.indexOf(":") + 1).startsWith(`${value}=`) || (!value.includes("=") && label === value));
    case "protocol": return isProtocol(flow, value.toLowerCase());
    case "verdict": return flow.verdict === value;
    case "drop-reason-desc": return flow.drop_reason_desc === value;
    case "traffic-direction": return flow.traffic_direction === value.toUpperCase();
    case "node-name": return flow.node_name === value;
    default: throw new Error(`no filter ${field}`);
  }
}

/** `[namespace/]prefix`: without a namespace `default`, with an empty one any; without a name all pods of it. */
function isPod({ namespace = "", pod_name: pod = "" }: HubbleFlow["source"], value: string): boolean {
  const slash = value.indexOf("/");
  const wanted = slash < 0 ? "default" : value.slice(0, slash);
  return pod !== "" && (wanted === "" || namespace === wanted) && pod.startsWith(value.slice(slash + 1));
}

function isAddress(text: string | undefined, value: string): boolean {
  const address: Address | null = parseAddress(text ?? "");
  if (address === null) return false;
  const prefix: Prefix | null = value.includes("/") ? parsePrefix(value) : null;
  return prefix !== null ? prefixContains(prefix, address) : parseAddress(value)?.text === address.text;
}

function isProtocol({ l4 }: HubbleFlow, value: string): boolean {
  const names = Object.keys(l4 ?? {}).map((name) => name.toLowerCase());
  return value === "icmp" ? names.some((name) => name.startsWith("icmp")) : names.includes(value);
}
