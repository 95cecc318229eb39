/** Flows in a line each, as `hubble observe -o compact` prints them (hubble/pkg/printer/printer.go). */
import { printable } from "../printable.js";
import { DROP_REASONS } from "./drop-reasons.js";
import type { HubbleEndpoint, HubbleFlow } from "./hubble.js";

/** Without its newline. */
export function compactLine(flow: HubbleFlow): string {
  const source = { name: hostOf(flow, "source"), identity: identityText(flow.source) };
  const destination = { name: hostOf(flow, "destination"), identity: identityText(flow.destination) };
  const [left, right] = flow.is_reply === true ? [destination, source] : [source, destination];
  const arrow = flow.is_reply === undefined ? "<>" : flow.is_reply ? "<-" : "->";
  return printable(`${stamp(flow.time)}: ${left.name} ${left.identity} ${arrow} ${right.name} ${right.identity} ${typeOf(flow)}`
    + ` ${flow.verdict} (${flow.Summary ?? ""})`);
}

/** Go's time.StampMilli: `Jan _2 15:04:05.000`, in UTC so that the same flows give the same lines everywhere. */
function stamp(time: string): string {
  const month = MONTHS[Number(time.slice(5, 7)) - 1];
  const fraction = (/\.(\d+)Z$/.exec(time)?.[1] ?? "").padEnd(3, "0").slice(0, 3);
  return `${month} ${String(Number(time.slice(8, 10))).padStart(2)} ${time.slice(11, 19)}.${fraction}`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function hostOf(flow: HubbleFlow, end: "source" | "destination"): string {
  if (flow.IP === undefined) return "";
  const { namespace = "", pod_name: pod = "" } = flow[end];
  const service = flow[`${end}_service`];
  const host = pod !== "" ? `${service?.namespace ?? namespace}/${pod}` : service !== undefined ? `${service.namespace}/${service.name}`
    : flow.IP[end];
  const [layer] = Object.values(flow.l4 ?? {});
  const port = layer?.[`${end}_port`];
  if (port === undefined || port === 0) return host;
  return host.includes(":") ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}

/** Names of reserved identities, pkg/identity. */
const RESERVED: Readonly<Record<number, string>> = { 0: "unknown", 1: "host", 2: "world", 6: "remote-node" };

function identityText({ identity = 0 }: HubbleEndpoint): string {
  return `(${RESERVED[identity] ?? `ID:${identity}`})`;
}

const POINT_NAMES: Readonly<Record<string, string>> = { TO_ENDPOINT: "to-endpoint", TO_HOST: "to-host", TO_NETWORK: "to-network" };

function typeOf(flow: HubbleFlow): string {
  switch (flow.event_type.type) {
    case 1: return DROP_REASONS[flow.drop_reason_desc ?? ""]?.[1] ?? "Success";
    case 4: return POINT_NAMES[flow.trace_observation_point ?? ""] ?? "";
    case 5: return `policy-verdict:none ${flow.traffic_direction ?? "TRAFFIC_DIRECTION_UNKNOWN"}`;
    default: return "UNKNOWN";
  }
}
