/**
 * The compiled maps, and the live ones, as text close to what `cilium-dbg bpf … list` prints. Lines are
 * sorted, so equal contents give equal text.
 */
import type { Address } from "../cluster/address.js";
import { addressFromBytes } from "../cluster/address.js";
import type { Because } from "../dataplane.js";
import {
  trafficDirection,
  trafficPort,
  trafficPortPrefixLength,
  trafficProtocol,
} from "./compile/policy/traffic.js";
import { EXPLICIT_AUTH, isDeny, precedenceFor, UNDECIDED_PORT } from "./compile/policy/values.js";
import type { MapImage } from "./image.js";
import type { Machine } from "./machine.js";
import { flags2Of, flagsOf } from "./records.js";
import { ServiceFlag, ServiceFlag2 } from "../contract/codes.js";

const PROTOCOL: Readonly<Record<number, string>> = {
  0: "ANY",
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMPv6",
  132: "SCTP",
};

const CT_MAPS = [
  "cilium_ct4_global",
  "cilium_ct_any4_global",
  "cilium_ct6_global",
  "cilium_ct_any6_global",
] as const;

/** Everything, one section a map. */
export function dumpImage(image: MapImage): string {
  return [
    section("identity", dumpIdentities(image)),
    section("bpf ipcache list", dumpIpcache(image)),
    section("bpf endpoint list", dumpEndpoints(image)),
    section("bpf lb list", dumpServices(image)),
    section("bpf policy get --all", dumpPolicies(image)),
  ].join("\n");
}

/** `cilium-dbg identity list`. */
export function dumpIdentities(image: MapImage): string[] {
  return image.policies.identities.all.map(({ id, labels }) => `${id}\t${labels.join(",")}`);
}

/** `cilium-dbg bpf ipcache list`; rows of one node name it. */
export function dumpIpcache(image: MapImage): string[] {
  return image.policies.ipcache.map(({ prefix, identity, tunnelEndpoint, node }) => {
    const where = node === null ? "" : ` node=${node}`;
    return `${prefix.text}\tidentity=${identity} tunnelendpoint=${tunnelEndpoint?.text ?? "0.0.0.0"}${where}`;
  });
}

/** `cilium-dbg bpf endpoint list`. */
export function dumpEndpoints(image: MapImage): string[] {
  return image.hosts.endpoints.flatMap((endpoint) =>
    endpoint.addresses.map(
      (address) =>
        `${image.nodes[endpoint.node]}\t${address.text}\t` +
        (endpoint.host
          ? "(localhost)"
          : `id=${endpoint.endpointId} sec_id=${endpoint.identity} ifindex=${endpoint.ifindex} ` +
            `policy=${endpoint.policy} ${endpoint.owner}`),
    ),
  );
}

/** `cilium-dbg bpf lb list`: a line for each slot. */
export function dumpServices(image: MapImage): string[] {
  const backends = new Map(image.services.backends.map((backend) => [backend.id, backend]));
  return image.services.frontends.flatMap((frontend) => {
    const { active, terminating, affinityTimeout, revNatId } = frontend;
    const where = frontend.node === null ? "" : ` node=${frontend.node}`;
    const name = endpointText(frontend) + (frontend.scope === 1 ? "/i" : "");
    const flags = flagText(flagsOf(frontend), flags2Of(frontend), frontend.type);
    const affinity = affinityTimeout > 0 ? ` affinity=${affinityTimeout}s` : "";
    const counts = `active=${active.length} quarantined=${terminating.length}${affinity}`;
    const slots = [...active, ...terminating].map(
      (id, index) => `${name} (${index + 1})\t${endpointText(backends.get(id)!)} (${revNatId}) (${index + 1})${where}`,
    );
    return [`${name} (0)\t(${revNatId}) [${flags}] ${counts}${where} ${frontend.owner}`, ...slots];
  });
}

function endpointText({ address, port, protocol }: { address: Address; port: number; protocol: number }): string {
  return `${bracket(address.text, address.family)}:${port}/${PROTOCOL[protocol]}`;
}

/** `cilium-dbg bpf policy get --all`: a block for each distinct map. */
export function dumpPolicies(image: MapImage): string[] {
  const { maps } = image.policies.endpoints;
  const owners = new Map<number, string[]>();
  for (const { policy, owner } of image.hosts.endpoints)
    owners.set(policy, [...(owners.get(policy) ?? []), owner]);
  return maps.flatMap((map, index) => {
    const lines = [`policy ${index} (${map.size} entries): ${(owners.get(index) ?? []).sort().join(" ")}`];
    if (map.overflow) lines.push(`  OVERFLOW: more than ${image.options["bpf-policy-map-max"]} entries`);
    for (const [direction, cookie] of [
      ["Ingress", map.denyIngress],
      ["Egress", map.denyEgress],
    ] as const) {
      if (cookie !== 0) lines.push(`  default deny ${direction}\t${becauseOf(image.cookies.get(cookie))}`);
    }
    for (let row = 0; row < map.identity.length; row++) {
      const direction = trafficDirection(map.traffic[row]) === 1 ? "Egress" : "Ingress";
      const verdict = verdictOf(map.precedence[row], map.proxyPort[row] ?? 0, map.auth[row] ?? 0);
      const what = `${verdict}\t${direction}\t${map.identity[row]}\t${portOf(map.traffic[row])}`;
      const why = becauseOf(image.cookies.get(map.cookie[row]));
      lines.push(`  ${what}\tprecedence=${precedenceFor(map.precedence[row], image.options.version)}\t${why}`);
    }
    return lines;
  });
}

/** `cilium-dbg bpf ct list global`: live entries of all nodes. */
export function dumpConntrack(machine: Machine, nodes: readonly string[]): string[] {
  const lines: string[] = [];
  for (const name of CT_MAPS) {
    for (const [key, value] of machine.map(name).entries()) {
      const kind = key.flags & 4 ? "SVC" : key.flags & 1 ? "IN" : "OUT";
      const related = key.flags & 2 ? " related" : "";
      const ends = `${addressOf(key.daddr, name)}:${key.dport} -> ${addressOf(key.saddr, name)}:${key.sport}`;
      const state = `expires=${value.lifetime} RevNAT=${value.rev_nat_index} SourceSecurityID=${value.src_sec_id}`;
      const bits = `BackendID=${value.backend_id} Flags=0x${value.bits.toString(16)}${related}`;
      lines.push(`${nodes[key.node]}\t${PROTOCOL[key.nexthdr] ?? key.nexthdr} ${kind} ${ends} ${state} ${bits}`);
    }
  }
  return lines.sort();
}

/** `cilium-dbg bpf nat list`. */
export function dumpNat(machine: Machine, nodes: readonly string[]): string[] {
  const lines: string[] = [];
  for (const name of ["cilium_snat_v4_external", "cilium_snat_v6_external"] as const) {
    for (const [key, value] of machine.map(name).entries()) {
      const [kind, side] = key.flags & 1 ? ["IN", "DST"] : ["OUT", "SRC"];
      const ends = `${addressOf(key.saddr, name)}:${key.sport} -> ${addressOf(key.daddr, name)}:${key.dport}`;
      const to = `XLATE_${side} ${addressOf(value.addr, name)}:${value.port} Created=${value.created}`;
      lines.push(`${nodes[key.node]}\t${PROTOCOL[key.nexthdr] ?? key.nexthdr} ${kind} ${ends} ${to}`);
    }
  }
  return lines.sort();
}

function section(title: string, lines: readonly string[]): string {
  return [`# ${title}`, ...lines, ""].join("\n");
}

/** `Deny`, `Allow`, `Allow proxy=10000 auth=required`, or `Undecided`. */
function verdictOf(precedence: number, proxyPort: number, auth: number): string {
  if (proxyPort === UNDECIDED_PORT) return "Undecided";
  const type = auth & ~EXPLICIT_AUTH;
  const proxy = proxyPort === 0 ? "" : ` proxy=${proxyPort}`;
  return (isDeny(precedence) ? "Deny" : "Allow") + proxy + (type === 0 ? "" : ` auth=${type === 1 ? "spire" : "test-always-fail"}`);
}

/** `80/TCP`, `80-83/TCP` for a block of ports, `ANY`. */
function portOf(traffic: number): string {
  const protocol = trafficProtocol(traffic);
  if (protocol === 0) return "ANY";
  const length = trafficPortPrefixLength(traffic);
  if (length === 0) return `ANY/${PROTOCOL[protocol] ?? protocol}`;
  const port = trafficPort(traffic);
  const last = port + (1 << (16 - length)) - 1;
  return `${port}${last > port ? `-${last}` : ""}/${PROTOCOL[protocol] ?? protocol}`;
}

function flagText(flags: number, flags2: number, type: string): string {
  const names: string[] = [type];
  if (flags & ServiceFlag.values.EXT_LOCAL_SCOPE) names.push("Local");
  if (flags2 & ServiceFlag2.values.INT_LOCAL_SCOPE) names.push("InternalLocal");
  if (flags2 & ServiceFlag2.values.TWO_SCOPES) names.push("two-scopes");
  if (flags & ServiceFlag.values.SOURCE_RANGE)
    names.push(flags2 & ServiceFlag2.values.QUARANTINED ? "deny source-range" : "check source-range");
  if (flags & ServiceFlag.values.AFFINITY) names.push("sessionAffinity");
  if (!(flags & ServiceFlag.values.ROUTABLE)) names.push("non-routable");
  if (flags2 & ServiceFlag2.values.LOOPBACK) names.push(type === "HostPort" ? "loopback" : "delegate-if-local");
  if (flags2 & ServiceFlag2.values.FWD_MODE_DSR) names.push("dsr");
  return names.join(", ");
}

function becauseOf(becauses: readonly Because[] | undefined): string {
  return (becauses ?? [])
    .map(
      ({ where, object, rule }) =>
        `${object} ${rule}${where === null ? "" : ` (${where.file}:${where.line})`}`,
    )
    .join("; ");
}

function addressOf(field: Uint8Array, map: string): string {
  const six = /(ct6|any6|v6)/.test(map);
  return bracket(addressFromBytes(six ? field : field.subarray(0, 4)).text, six ? 6 : 4);
}

function bracket(text: string, family: 4 | 6): string {
  return family === 6 ? `[${text}]` : text;
}
