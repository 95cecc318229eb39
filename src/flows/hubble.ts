/**
 * One JSON value of a Hubble flow log -> a RecordedFlow: what `hubble observe -o jsonpb` prints, what the exporter and
 * Retina write (`{"flow": …}` with the node beside it), or the flow alone.
 *
 * Which way a packet went is taken from is_reply, which drops and some trace events do not have; then from TCP's SYN;
 * then a drop by policy, or any event of a policy verdict (type 5), was the first packet, because answers do not reach policy.
 * Else it is not told.
 *
 * Source: cilium api/v1/flow/flow.proto and api/v1/observer/observer.proto (GetFlowsResponse); for is_reply
 * pkg/hubble/parser/threefour/parser.go decodeIsReply. proto3 leaves out fields that are zero.
 */
import { parseAddress } from "../cluster/address.js";
import { timeNsOf } from "../cluster/time.js";
import type { Fate, FlowParty, RecordedFlow } from "./flow.js";

export type FlowLine =
  | { readonly kind: "flow"; readonly flow: RecordedFlow }
  /** Events that the log itself says it lost. */
  | { readonly kind: "lost"; readonly events: number }
  /** Something else that such a log holds. */
  | { readonly kind: "aside"; readonly why: string }
  | { readonly kind: "bad"; readonly what: string };

type Fields = Readonly<Record<string, unknown>>;

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMPv4: 1, ICMPv6: 58, VRRP: 112, IGMP: 2 };
/** Echo request and reply. */
const ECHO: Readonly<Record<number, readonly [request: number, reply: number]>> = { 1: [8, 0], 58: [128, 129] };
/** MessageTypePolicyVerdict of pkg/monitor/api. */
const POLICY_VERDICT = 5;
/** Reserved identities' names, where a field mask left the labels out. */
const RESERVED: Readonly<Record<number, string>> = { 1: "host", 2: "world", 3: "unmanaged", 4: "health", 5: "init", 6: "remote-node",
  7: "kube-apiserver", 8: "ingress", 9: "world-ipv4", 10: "world-ipv6" };
const POLICY_REASONS = new Set(["POLICY_DENIED", "POLICY_DENY"]);

export function readHubble(value: unknown): FlowLine {
  if (!isFields(value)) return { kind: "bad", what: "found no JSON object; expected a flow as hubble observe -o jsonpb prints it" };
  if (isFields(value["lost_events"])) {
    return { kind: "lost", events: Number(value["lost_events"]["num_events_lost"] ?? 1) || 1 };
  }
  for (const other of ["node_status", "agent_event", "debug_event"]) {
    if (isFields(value[other])) return { kind: "aside", why: "of another kind than flows" };
  }
  const flow = isFields(value["flow"]) ? value["flow"] : value;
  if (!("IP" in flow) && !("source" in flow) && !("verdict" in flow)) {
    return { kind: "bad", what: "found no flow; expected fields as IP, l4, source, destination and verdict" };
  }
  return readFlow(flow, textOf(flow["node_name"]) || textOf(value["node_name"]), textOf(flow["time"]) || textOf(value["time"]));
}

function readFlow(flow: Fields, node: string, time: string): FlowLine {
  if (flow["Type"] === "L7") return { kind: "aside", why: "of layer 7, inside connections that have flows of their own" };
  const l4 = fieldsOf(flow["l4"]);
  const name = Object.keys(PROTOCOLS).find((one) => isFields(l4[one]));
  if (name === undefined) return { kind: "aside", why: "without a protocol that is known" };
  const protocol = PROTOCOLS[name];
  const header = fieldsOf(l4[name]);
  if (textOf(flow["sock_xlate_point"]).endsWith("_REV")) return { kind: "aside", why: "answers at a socket" };
  const ip = fieldsOf(flow["IP"]);
  const source = partyOf(fieldsOf(flow["source"]), ip["source"], header["source_port"]);
  const destination = partyOf(fieldsOf(flow["destination"]), ip["destination"], header["destination_port"]);
  if (source === null || destination === null) return { kind: "bad", what: "found an address or a port that is none" };
  const isEcho = ECHO[protocol];
  const icmpType = Number(header["type"] ?? 0);
  if (isEcho !== undefined && !isEcho.includes(icmpType)) return { kind: "aside", why: "ICMP other than echo" };
  const timeNs = time === "" ? null : timeNsOf(time);
  if (time !== "" && timeNs === null) return { kind: "bad", what: "found a time that is none; expected RFC 3339" };
  const service = fieldsOf(flow["destination_service"]);
  const dropReason = textOf(flow["drop_reason_desc"]);
  return { kind: "flow", flow: {
    timeNs, node: nodeName(node), verdict: textOf(flow["verdict"]) || "VERDICT_UNKNOWN", isPolicyVerdict: isPolicyVerdict(flow), dropReason,
    fate: fateOf(flow), protocol, source, destination,
    service: textOf(service["name"]) === "" ? "" : `${textOf(service["namespace"])}/${textOf(service["name"])}`,
    direction: isEcho !== undefined ? (icmpType === isEcho[0] ? "request" : "answer")
      : directionOf(flow, fieldsOf(header["flags"]), protocol, dropReason),
    fromNetwork: flow["trace_observation_point"] === "FROM_NETWORK",
    events: eventsOf(fieldsOf(flow["aggregate"])),
  } };
}

function directionOf(flow: Fields, flags: Fields, protocol: number, dropReason: string): RecordedFlow["direction"] {
  if (protocol === 6 && flags["SYN"] === true) return flags["ACK"] === true ? "answer" : "request";
  // A deprecated field that is false both for requests and where it is not known.
  if (flow["is_reply"] === true || flow["reply"] === true) return "answer";
  if (flow["is_reply"] === false) return "request";
  const policed = (POLICY_REASONS.has(dropReason) || isPolicyVerdict(flow)) && (protocol !== 6 || Object.keys(flags).length === 0);
  return policed ? "request" : "unknown";
}

function isPolicyVerdict(flow: Fields): boolean {
  return fieldsOf(flow["event_type"])["type"] === POLICY_VERDICT;
}

/**
 * A packet that is seen at its receiver's device has passed policy at both ends, and so has one that the receiver's policy lets in.
 * Where there is no policy engine, being let through is no event.
 */
function fateOf(flow: Fields): Fate | null {
  const verdict = flow["verdict"];
  if (verdict === "DROPPED") return POLICY_REASONS.has(textOf(flow["drop_reason_desc"])) ? "denied" : null;
  if (verdict !== "FORWARDED") return null;
  const isLetIn = isPolicyVerdict(flow) && flow["traffic_direction"] === "INGRESS";
  return isLetIn || flow["trace_observation_point"] === "TO_ENDPOINT" ? "arrived" : null;
}

/** null where the address or the port is none. An address may be left out, as long as the pod is named. */
function partyOf(endpoint: Fields, ip: unknown, port: unknown): FlowParty | null {
  const address = textOf(ip) === "" ? null : parseAddress(textOf(ip));
  if (address === null && textOf(ip) !== "") return null;
  const number = Number(port ?? 0);
  if (!Number.isInteger(number) || number < 0 || number > 0xffff) return null;
  const workloads = Array.isArray(endpoint["workloads"]) ? endpoint["workloads"] : [];
  const labels = Array.isArray(endpoint["labels"]) ? endpoint["labels"] : [];
  const identity = Number(endpoint["identity"] ?? 0);
  const reserved = labels.find((one): one is string => typeof one === "string" && one.startsWith("reserved:"));
  return {
    address, port: number, namespace: textOf(endpoint["namespace"]), pod: textOf(endpoint["pod_name"]),
    workload: textOf(fieldsOf(workloads[0])["name"]),
    reserved: reserved === undefined ? RESERVED[identity] ?? "" : reserved.slice("reserved:".length),
    identity: Number.isInteger(identity) && identity > 0 ? identity : 0,
  };
}

/** Hubble prefixes a node's name with its cluster's, where that has one. */
function nodeName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

function eventsOf(aggregate: Fields): number {
  const counts = ["ingress_flow_count", "egress_flow_count", "unknown_direction_flow_count"].map((name) => Number(aggregate[name] ?? 0));
  const sum = counts.reduce((total, one) => total + (Number.isFinite(one) ? one : 0), 0);
  return Math.max(1, sum);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
