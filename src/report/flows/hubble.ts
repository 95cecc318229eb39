/**
 * Flows as Hubble has them: one event for each packet, where its way in one plane ends. Field names, enums and their
 * order are those of api/v1/flow/flow.proto (Cilium 1.20), JSON as `hubble observe -o jsonpb` prints it; how a field is
 * filled follows pkg/hubble/parser/threefour/parser.go.
 *
 * What a live agent knows and nobody else does is left out: endpoint ids, numbers of identities that are not reserved,
 * MAC addresses, uuids. What was not judged has the verdict VERDICT_UNKNOWN and its reason in the summary, so that no
 * packet is missing; the id of a difference stands in the summary too.
 */
import type { FiveTuple, Judged, JudgedSide } from "../../compare/judged.js";
import type { Names } from "../../compare/names.js";
import { type Because, End } from "../../dataplane.js";
import { DROP_REASONS } from "./drop-reasons.js";
import { icmpText } from "./icmp-texts.js";

/** enum Verdict; TRACED, TRANSLATED, AUDIT and ERROR do not arise. */
export type Verdict = "VERDICT_UNKNOWN" | "FORWARDED" | "DROPPED" | "REDIRECTED";

export interface HubbleEndpoint {
  readonly identity?: number;
  readonly namespace?: string;
  readonly labels?: readonly string[];
  readonly pod_name?: string;
}

export interface HubblePolicy {
  readonly name: string;
  readonly namespace?: string;
  readonly kind: string;
}

export interface HubbleFlow {
  readonly time: string;
  readonly verdict: Verdict;
  readonly drop_reason?: number;
  readonly IP?: { readonly source: string; readonly source_xlated?: string; readonly destination: string; readonly ipVersion: string };
  readonly l4?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly source: HubbleEndpoint;
  readonly destination: HubbleEndpoint;
  readonly Type: "L3_L4";
  readonly node_name: string;
  readonly reply?: boolean;
  readonly event_type: { readonly type?: number; readonly sub_type?: number };
  readonly source_service?: { readonly name: string; readonly namespace: string };
  readonly destination_service?: { readonly name: string; readonly namespace: string };
  readonly traffic_direction?: "INGRESS" | "EGRESS";
  readonly trace_observation_point?: string;
  readonly trace_reason?: string;
  readonly drop_reason_desc?: string;
  readonly is_reply?: boolean;
  readonly Summary?: string;
  readonly egress_allowed_by?: readonly HubblePolicy[];
  readonly ingress_allowed_by?: readonly HubblePolicy[];
  readonly egress_denied_by?: readonly HubblePolicy[];
  readonly ingress_denied_by?: readonly HubblePolicy[];
}

/** A line of `-o jsonpb` without its newline. */
export function hubbleLine(flow: HubbleFlow): string {
  return JSON.stringify({ flow, node_name: flow.node_name, time: flow.time });
}

/** pkg/monitor/api: MessageTypeDrop, MessageTypeTrace, MessageTypePolicyVerdict. */
const DROP = 1;
const TRACE = 4;
const POLICY_VERDICT = 5;

/** The event of one plane; null: the packet never was in that plane, for what it answers did not arrive there. */
export function hubbleFlow(judged: Judged, plane: 0 | 1): HubbleFlow | null {
  const side = judged.sides?.[plane];
  if (side === undefined) return unjudged(judged, judged.tuple, "", judged.undecided);
  if (side.end === End.None) return null;
  if (side.end === End.Undecided) return unjudged(judged, side.entered, side.node, side.reason);
  if (side.end === End.Held) return unjudged(judged, side.entered, side.node, "held: waits for further fragments");
  return judgedFlow(judged, side);
}

function unjudged(judged: Judged, tuple: FiveTuple, node: string, why: string): HubbleFlow {
  return {
    time: timeText(judged), verdict: "VERDICT_UNKNOWN", ...layers(judged, tuple, tuple.source),
    source: endpoint(judged.names, tuple.source, node), destination: endpoint(judged.names, tuple.destination, node),
    Type: "L3_L4", node_name: node, event_type: {}, ...services(judged.names, tuple), ...replyOf(judged),
    Summary: [summary(judged), why].filter((part) => part !== "").join("; "),
  };
}

function judgedFlow(judged: Judged, side: JudgedSide): HubbleFlow {
  const { names } = judged;
  const event = eventOf(judged, side);
  const there = side.arrived ?? { ...side.entered, ...translated(side) };
  const direction = directionOf(judged, side);
  const isReply = event.event_type.type === TRACE ? replyOf(judged) : {};
  return {
    time: timeText(judged), verdict: event.verdict, ...number("drop_reason", event.reason), ...layers(judged, there, side.entered.source),
    source: endpoint(names, side.entered.source, side.node), destination: endpoint(names, there.destination, side.node),
    Type: "L3_L4", node_name: side.node, ...(isReply.is_reply === true ? { reply: true } : {}), event_type: event.event_type,
    ...services(names, { ...there, source: side.entered.source }),
    ...(direction === null ? {} : { traffic_direction: direction }), ...event.trace,
    ...(event.reason === 0 ? {} : { drop_reason_desc: side.reason }), ...isReply,
    Summary: [summary(judged), differenceOf(judged), event.other].filter((part) => part !== "").join("; "),
    ...policiesOf(judged, side, event.verdict),
  };
}

interface Event {
  readonly verdict: Verdict;
  /** Number of the drop reason; 0 where it is none that Hubble knows. */
  readonly reason: number;
  readonly event_type: HubbleFlow["event_type"];
  readonly trace: Pick<HubbleFlow, "trace_observation_point" | "trace_reason">;
  /** An end that Hubble has no words for. */
  readonly other: string;
}

/** Points of `enum TraceObservationPoint`, and pkg/monitor/api's number of each. */
const POINTS = { TO_ENDPOINT: 0, TO_HOST: 2, TO_NETWORK: 11 } as const;

function eventOf(judged: Judged, side: JudgedSide): Event {
  if (side.end === End.Delivered || side.end === End.Left) {
    const point = side.end === End.Left ? "TO_NETWORK"
      : judged.names.pod(side.arrived?.destination ?? "") === null ? "TO_HOST" : "TO_ENDPOINT";
    return { verdict: "FORWARDED", reason: 0, event_type: eventType(TRACE, POINTS[point]),
      trace: { trace_observation_point: point, ...traceReason(judged) }, other: "" };
  }
  if (side.end === End.Redirected) {
    return { verdict: "REDIRECTED", reason: 0, event_type: eventType(POLICY_VERDICT, 0), trace: {}, other: "" };
  }
  const known = DROP_REASONS[side.reason];
  return { verdict: "DROPPED", reason: known?.[0] ?? 0, event_type: eventType(DROP, known?.[0] ?? 0), trace: {},
    other: known === undefined || side.end !== End.Dropped ? side.text : "" };
}

const SYN = 0x02;

/** What conntrack said; of a request without flags it is not known whether it is the first. */
function traceReason({ kind, tuple, tcpFlags }: Judged): { trace_reason?: string } {
  if (kind === "reply") return { trace_reason: "REPLY" };
  if (kind === "error") return { trace_reason: "RELATED" };
  if (kind !== "request" || tuple.protocol !== 6) return {};
  return { trace_reason: (tcpFlags & SYN) !== 0 ? "NEW" : "ESTABLISHED" };
}

/** Zero is the default of a number in JSON too, and not printed. */
function eventType(type: number, subType: number): HubbleFlow["event_type"] {
  return { type, ...number("sub_type", subType) };
}

function number<Key extends string>(key: Key, value: number): Partial<Record<Key, number>> {
  return value === 0 ? {} : { [key]: value } as Record<Key, number>;
}

function replyOf({ kind }: Judged): { is_reply?: boolean } {
  return kind === "unknown" ? {} : { is_reply: kind === "reply" };
}

/** Translated before it was dropped: to the backend that was chosen. */
function translated({ backend }: JudgedSide): Partial<FiveTuple> {
  if (backend === null) return {};
  const colon = backend.lastIndexOf(":");
  return { destination: backend.slice(0, colon).replace(/^\[|\]$/g, ""), destinationPort: Number(backend.slice(colon + 1)) };
}

/** Of a connection, seen from the pod where it ended; null where that was no pod. */
function directionOf({ names, kind }: Judged, side: JudgedSide): "INGRESS" | "EGRESS" | null {
  if (side.arrived !== null) {
    if (names.pod(side.arrived.destination) !== null) return kind === "reply" ? "EGRESS" : "INGRESS";
    if (side.end === End.Delivered && names.pod(side.entered.source) !== null) return kind === "reply" ? "INGRESS" : "EGRESS";
    return null;
  }
  const said = new Set(side.becauses.flatMap((one) => (policyOf(names, one) === null ? [] : [directionIn(one)])));
  const [only] = said;
  return said.size === 1 ? only : null;
}

function directionIn(because: Because): "INGRESS" | "EGRESS" | null {
  const match = /(?:^|[.\s])(ingress|egress)(?=Deny|[[.\s]|$)/i.exec(because.rule);
  return match === null ? null : match[1].toLowerCase() === "ingress" ? "INGRESS" : "EGRESS";
}

/** Policies that allowed or denied it, by the direction their rules are of. */
function policiesOf({ names }: Judged, side: JudgedSide, verdict: Verdict): Partial<HubbleFlow> {
  const word = verdict === "DROPPED" ? "denied_by" : "allowed_by";
  if (verdict === "DROPPED" && side.reason !== "POLICY_DENIED" && side.reason !== "POLICY_DENY") return {};
  const found = (direction: "EGRESS" | "INGRESS"): HubblePolicy[] => {
    const list = side.becauses.filter((one) => directionIn(one) === direction).flatMap((one) => policyOf(names, one) ?? []);
    return list.filter((one, index) => list.findIndex((other) => JSON.stringify(other) === JSON.stringify(one)) === index);
  };
  const [egress, ingress] = [found("EGRESS"), found("INGRESS")];
  return { ...(egress.length === 0 ? {} : { [`egress_${word}`]: egress }),
    ...(ingress.length === 0 ? {} : { [`ingress_${word}`]: ingress }) };
}

const POLICY_KIND = /^(\w*Policy) (?:([^/]+)\/)?([^/]+)$/;

/** `default/web` is a NetworkPolicy's, other kinds stand before the name. */
function policyOf(names: Names, { object }: Because): HubblePolicy | null {
  const match = POLICY_KIND.exec(object);
  if (match !== null) return { name: match[3], ...(match[2] === undefined ? {} : { namespace: match[2] }), kind: match[1] };
  const found = names.policies.find((one) => `${one.namespace}/${one.name}` === object);
  return found === undefined ? null : { name: found.name, namespace: found.namespace, kind: "NetworkPolicy" };
}

function layers(judged: Judged, tuple: FiveTuple, source: string): Pick<HubbleFlow, "IP" | "l4"> {
  if (tuple.source === "") return {};
  const xlated = source === tuple.source ? {} : { source_xlated: tuple.source };
  return { IP: { source, ...xlated, destination: tuple.destination, ipVersion: tuple.destination.includes(":") ? "IPv6" : "IPv4" },
    ...layer4(judged, tuple) };
}

/** Bits of the TCP header from the right, and the order in which messages have them. */
const TCP_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const;

function layer4(judged: Judged, { protocol, sourcePort, destinationPort }: FiveTuple): Pick<HubbleFlow, "l4"> {
  const ports = { source_port: sourcePort, destination_port: destinationPort };
  const icmp = { ...number("type", judged.icmpType), ...number("code", judged.icmpCode) };
  switch (protocol) {
    case 6: return { l4: { TCP: { ...ports, flags: Object.fromEntries(TCP_FLAGS.filter((_, bit) => ((judged.tcpFlags >> bit) & 1) === 1)
      .map((name) => [name, true])) } } };
    case 17: return { l4: { UDP: ports } };
    case 132: return { l4: { SCTP: ports } };
    case 1: return judged.icmpType < 0 ? {} : { l4: { ICMPv4: icmp } };
    case 58: return judged.icmpType < 0 ? {} : { l4: { ICMPv6: icmp } };
    default: return {};
  }
}

/** Order of the words of a summary. */
const SUMMARY_FLAGS = ["SYN", "ACK", "RST", "FIN", "PSH", "URG", "ECE", "CWR"] as const;

function summary({ tuple: { protocol }, tcpFlags, icmpType, icmpCode }: Judged): string {
  if (protocol === 6) {
    return `TCP Flags: ${SUMMARY_FLAGS.filter((name) => ((tcpFlags >> TCP_FLAGS.indexOf(name)) & 1) === 1).join(", ")}`;
  }
  if (protocol === 1 && icmpType >= 0) return `ICMPv4 ${icmpText(false, icmpType, icmpCode)}`;
  if (protocol === 58 && icmpType >= 0) return `ICMPv6 ${icmpText(true, icmpType, icmpCode)}`;
  return protocol === 17 ? "UDP" : protocol === 132 ? "SCTP" : "";
}

function differenceOf({ finding }: Judged): string {
  return finding === null ? "" : `cmp=DIFF id=${finding.id}`;
}

/** Reserved identities, pkg/identity: what every cluster numbers alike. */
const HOST = 1;
const WORLD = 2;
const REMOTE_NODE = 6;

function endpoint(names: Names, address: string, node: string): HubbleEndpoint {
  if (address === "") return {};
  const pod = names.pod(address);
  if (pod !== null) {
    const labels = [...Object.entries(pod.labels).map(([key, value]) => `k8s:${key}=${value}`),
      `k8s:io.kubernetes.pod.namespace=${pod.namespace}`].sort();
    return { namespace: pod.namespace, labels, pod_name: pod.name };
  }
  const owner = names.node(address);
  if (owner !== null) {
    return owner === node ? { identity: HOST, labels: ["reserved:host"] } : { identity: REMOTE_NODE, labels: ["reserved:remote-node"] };
  }
  if (names.knows(address)) return {};
  return { identity: WORLD, labels: ["reserved:world"] };
}

const PORT_PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

function services(names: Names, tuple: FiveTuple): Pick<HubbleFlow, "source_service" | "destination_service"> {
  const at = (address: string, port: number): { name: string; namespace: string } | null => {
    const frontend = names.frontend(address, PORT_PROTOCOLS[tuple.protocol] ?? "", port);
    return frontend === null || frontend.port === null ? null
      : { name: frontend.service.name, namespace: frontend.service.namespace };
  };
  const source = at(tuple.source, tuple.sourcePort);
  const destination = at(tuple.destination, tuple.destinationPort);
  return { ...(source === null ? {} : { source_service: source }), ...(destination === null ? {} : { destination_service: destination }) };
}

/** As protobuf's JSON has it: UTC, with 0, 3, 6 or 9 digits behind the second. */
export function timeText({ timeSec, timeFracNs }: { readonly timeSec: number; readonly timeFracNs: number }): string {
  const whole = new Date(timeSec * 1000).toISOString().slice(0, -5);
  const digits = String(timeFracNs).padStart(9, "0").replace(/(000){1,3}$/, "");
  return `${whole}${digits === "" ? "" : `.${digits}`}Z`;
}
