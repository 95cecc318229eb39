/**
 * Flow logs under other addresses and names, as `hubble observe -o jsonpb` prints flows, one a line, whatever form they had (Azure's rows
 * too). Only what twinplane reads of a flow is written.
 */
import { FlowLog } from "../flows/log.js";
import { Connections } from "../flows/connections.js";
import type { Problem } from "../cluster/problem.js";
import type { Mapping } from "./mapping.js";
import { address, asObject, fields, type Json, labelKey, list, name, type Shape, text, time, Unmappable } from "./shape.js";

/** Of the protocol's own enumerations: verdicts, reasons, points. */
const word = text((value) => (/^[A-Za-z0-9_/ -]{0,60}$/.test(value) && !value.includes(".") ? value : null), "a word of Hubble's");
const CONSTANT = text((value) => (/^[A-Z][A-Z0-9_]{0,60}$|^$/.test(value) ? value : null), "a constant of Hubble's");
const number: Shape = (value, _, at) => {
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string" && /^\d{0,20}$/.test(value)) return value;
  throw new Unmappable(at, "a number");
};

/** `k8s:app=web`: source, key and value; others are dropped. */
const labels: Shape = (value, mapping, at) => {
  if (!Array.isArray(value)) return [];
  return value.flatMap((one: unknown) => {
    const match = /^(k8s|reserved|any):([^=]*)(?:=(.*))?$/.exec(typeof one === "string" ? one : "");
    if (match === null) return [];
    if (match[1] === "reserved") return /^[a-z0-9-]{1,20}$/.test(match[2]) ? [`reserved:${match[2]}`] : [];
    return [`${labelKey(`${match[1]}:${match[2]}`, mapping, at)}=${mapping.name(match[3] ?? "")}`];
  });
};

/** Reserved identities are the same everywhere; of the others only their kind is left, as its lowest number. */
const identity: Shape = (value) => {
  if (typeof value !== "number" || !(value > 0)) return undefined;
  return value < 256 ? value : value < 0x1000000 ? 256 : value < 0x2000000 ? 0x1000000 : 0x2000000;
};
/** A cluster's name stands before a node's. */
const nodeName = text((value, mapping) => value.split("/").map((part) => mapping.name(part)).join("/"));
const party = fields({ namespace: name, pod_name: name, identity, labels, workloads: list(fields({ name, kind: kindOf })) });
const flags = fields({ FIN: number, SYN: number, RST: number, PSH: number, ACK: number, URG: number, ECE: number, CWR: number,
  NS: number });
const ports = fields({ source_port: number, destination_port: number, flags });
const icmp = fields({ type: number, code: number });

const flow = fields({
  time, verdict: CONSTANT, drop_reason: number, drop_reason_desc: CONSTANT, IP: fields({ source: address, destination: address }),
  l4: fields({ TCP: ports, UDP: ports, SCTP: ports, ICMPv4: icmp, ICMPv6: icmp, VRRP: fields({}), IGMP: fields({}) }),
  source: party, destination: party, Type: word, node_name: nodeName, is_reply: number, reply: number, traffic_direction: CONSTANT,
  event_type: fields({ type: number, sub_type: number }), trace_observation_point: CONSTANT, sock_xlate_point: CONSTANT,
  policy_match_type: number, destination_service: fields({ name, namespace: name }), source_service: fields({ name, namespace: name }),
  aggregate: fields({ ingress_flow_count: number, egress_flow_count: number, unknown_direction_flow_count: number }),
});

function kindOf(value: unknown, _mapping: Mapping, at: string): unknown {
  if (value === null || value === undefined || (typeof value === "string" && /^[A-Za-z]{0,30}$/.test(value))) return value;
  throw new Unmappable(at, "a kind of workload");
}

const OTHER_KINDS = ["node_status", "agent_event", "debug_event"];

/** One JSON value of a log. */
export function anonymiseFlow(value: unknown, mapping: Mapping, at: string): Json {
  const object = asObject(without(value), at);
  const other = OTHER_KINDS.find((kind) => typeof object[kind] === "object");
  if (other !== undefined) return { [other]: {} };
  if (typeof object["lost_events"] === "object") {
    return { lost_events: fields({ num_events_lost: number })(object["lost_events"], mapping, at) };
  }
  const inner = typeof object["flow"] === "object" ? asObject(object["flow"], at) : object;
  if (!("IP" in inner) && !("source" in inner) && !("verdict" in inner)) {
    throw new Unmappable(at, "a flow, as hubble observe -o jsonpb prints it");
  }
  const beside = fields({ node_name: nodeName, time })(object === inner ? {} : object, mapping, at);
  return { flow: without(flow(inner, mapping, at)), ...asObject(without(beside), at) };
}

/** Fields that say nothing are left out, as proto3 does; what a row lacks is null. */
function without(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((one) => one !== null && one !== undefined).map(without);
  if (typeof value !== "object" || value === null) return value;
  const said = Object.entries(value).filter(([, one]) => one !== null && one !== undefined);
  return Object.fromEntries(said.map(([key, one]) => [key, without(one)]));
}

/** Reads a log as `--input-file` does and hands on what stands for each flow. */
export class FlowLogAnonymiser extends FlowLog {
  constructor(file: string, private readonly mapping: Mapping, problems: Problem[], private readonly out: (line: string) => void) {
    super(file, new Connections(), problems);
  }

  protected override take(value: unknown, line: number, at = ""): void {
    const mapped = anonymiseFlow(value, this.mapping, `line ${line}${at === "" ? "" : ` ${at.trimEnd().replace(/:$/, "")}`}`);
    this.used++;
    this.out(`${JSON.stringify(mapped)}\n`);
  }
}
