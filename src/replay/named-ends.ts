/**
 * A connection that nobody recorded, from names on a command line: `web-a`, `default/web`, `service:default/web:http`,
 * `203.0.113.9`, `[fd00::1]:80`. A name that fits nothing, or several things, is said; nothing is chosen for the user but the
 * family, which is the first that both ends have, and what a service leaves no choice of.
 */
import { type Address, parseAddress } from "../cluster/address.js";
import type { Cluster, Node, Pod, Service } from "../cluster/cluster.js";
import { hasEnded } from "../cluster/pod-identity.js";
import type { Connection } from "../flows/connections.js";
import type { FlowParty } from "../flows/flow.js";

export interface NamedEnds {
  readonly from: string;
  readonly to: string;
  /** TCP, UDP, SCTP or ICMP; null: the service's where it has one, else TCP. */
  readonly protocol: NamedProtocol | null;
  /** Node by whose uplink a packet from outside comes in; null: where the cluster leaves no choice. */
  readonly via: string | null;
}

export const NAMED_PROTOCOLS = ["TCP", "UDP", "SCTP", "ICMP"] as const;
export type NamedProtocol = (typeof NAMED_PROTOCOLS)[number];

type End =
  | { readonly kind: "pod"; readonly is: Pod; readonly text: string }
  | { readonly kind: "service"; readonly is: Service; readonly text: string }
  | { readonly kind: "node"; readonly is: Node; readonly text: string }
  | { readonly kind: "address"; readonly is: Address; readonly text: string };

const NUMBERS: Readonly<Record<NamedProtocol, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 };
const ICMPV6 = 58;
const LISTED = 6;

/** The connection, and what its ends are called; or each thing that is wrong, as a sentence. */
export function connectionNamed(cluster: Cluster, named: NamedEnds)
  : { connection: Connection; text: string } | { wrong: readonly string[] } {
  const wrong: string[] = [];
  const attempt = <T>(what: () => T): T | null => {
    try {
      return what();
    } catch (error) {
      if (!(error instanceof NameError)) throw error;
      wrong.push(error.message);
      return null;
    }
  };
  const from = attempt(() => endOf(cluster, named.from, "--from", ["pod", "node"]));
  const target = attempt(() => {
    const { name, port } = splitPort(named.to);
    const end = endOf(cluster, name, "--to", ["pod", "service", "node"]);
    return { end, ...portOf(end, port, named.protocol) };
  });
  if (from === null || target === null) return { wrong };
  const entered = attempt(() => entranceOf(cluster, from, target.end, named.via));
  const pair = attempt(() => familyPair(from, target.end));
  if (entered === null || pair === null) return { wrong };
  const isIcmp = target.protocol === "ICMP";
  const protocol = isIcmp && pair.source.family === 6 ? ICMPV6 : NUMBERS[target.protocol];
  return {
    text: `one ${target.protocol} packet from ${from.text} to ${target.end.text}${isIcmp ? "" : ` port ${target.port}`}`,
    connection: {
      protocol, source: partyOf(from, pair.source, 0), destination: partyOf(target.end, pair.destination, isIcmp ? 0 : target.port),
      service: "", timeNs: null, node: "", file: "", line: 0, entered, events: 1, verdicts: new Map(), fates: new Set(),
    },
  };
}

/** What is wrong with a name, in a sentence. */
class NameError extends Error {}

function partyOf(end: End, address: Address, port: number): FlowParty {
  const pod = end.kind === "pod" ? end.is : null;
  return { address, port, namespace: pod?.namespace ?? "", pod: pod?.name ?? "", workload: "", reserved: "", identity: 0 };
}

/** A port behind the last colon; an IPv6 address that has one is in brackets. */
function splitPort(text: string): { name: string; port: string } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { name: bracketed[1], port: bracketed[2] ?? "" };
  if (parseAddress(text) !== null) return { name: text, port: "" };
  const kind = /^(pod|service|node):/.exec(text)?.[0] ?? "";
  const rest = text.slice(kind.length);
  const colon = rest.indexOf(":");
  return colon < 0 ? { name: text, port: "" } : { name: kind + rest.slice(0, colon), port: rest.slice(colon + 1) };
}

function endOf(cluster: Cluster, given: string, option: string, kinds: readonly string[]): End {
  const address = parseAddress(given.replace(/^\[([^\]]*)\]$/, "$1"));
  if (address !== null) return { kind: "address", is: address, text: address.text };
  const prefix = /^(pod|service|node):(.*)$/.exec(given);
  if (prefix !== null && !kinds.includes(prefix[1])) {
    throw new NameError(`${option} takes ${kinds.join(", ")} or an address, not '${given}'`);
  }
  const name = prefix?.[2] ?? given;
  const wanted = prefix === null ? kinds : [prefix[1]];
  const all: End[] = [
    ...(wanted.includes("pod") ? cluster.pods.map((is): End => ({ kind: "pod", is, text: `pod ${is.namespace}/${is.name}` })) : []),
    ...(wanted.includes("service")
      ? cluster.services.map((is): End => ({ kind: "service", is, text: `service ${is.namespace}/${is.name}` })) : []),
    ...(wanted.includes("node") ? cluster.nodes.map((is): End => ({ kind: "node", is, text: `node ${is.name}` })) : []),
  ];
  const found = all.filter(({ text }) => {
    const full = text.slice(text.indexOf(" ") + 1);
    return full === name || (!name.includes("/") && full.endsWith(`/${name}`));
  });
  if (found.length === 1) {
    const [{ kind, is, text }] = found;
    if (kind === "pod" && hasEnded(is)) {
      throw new NameError(`${option}: ${text} has ended (${is.phase}): its address is nobody's now, or another pod's; an address in its`
        + " place asks about whoever has it");
    }
    return found[0];
  }
  const what = wanted.join(", ").replace(/, (\w+)$/, " or $1");
  if (found.length === 0) {
    throw new NameError(`${option}: the manifests hold no ${what} '${name}'${all.length === 0 ? "" : `; they hold ${someOf(all)}`}`);
  }
  throw new NameError(`${option}: '${given}' fits ${someOf(found)}; write which, as in ${found[0].text.replace(" ", ":")}`);
}

function someOf(ends: readonly End[]): string {
  return ends.slice(0, LISTED).map((one) => one.text).join(", ") + (ends.length > LISTED ? ", …" : "");
}

/** The port that is connected to, and by which protocol. */
function portOf(end: End, text: string, wanted: NamedProtocol | null): { port: number; protocol: NamedProtocol } {
  if (wanted === "ICMP") {
    if (text !== "") throw new NameError("--to: ICMP has no ports; leave the port out");
    return { port: 0, protocol: wanted };
  }
  const ports = end.kind === "service" ? end.is.ports.map((one) => ({ name: one.name, port: one.port, protocol: one.protocol }))
    : end.kind === "pod" ? end.is.ports.map((one) => ({ name: one.name, port: one.containerPort, protocol: one.protocol })) : [];
  const ofProtocol = ports.filter((one) => wanted === null || one.protocol === wanted);
  const listed = `${end.text} has ${ofProtocol.length === 0 ? `no ${wanted ?? ""} port` : ofProtocol.map((one) =>
    `${one.port}/${one.protocol}${one.name === "" ? "" : ` ${one.name}`}`).join(", ")}`.replace("  ", " ");
  if (/^\d+$/.test(text)) {
    const port = Number(text);
    if (port < 1 || port > 65535) throw new NameError(`--to: a port is a number from 1 to 65535, not '${text}'`);
    const protocols = new Set(ofProtocol.filter((one) => one.port === port).map((one) => one.protocol));
    return { port, protocol: wanted ?? (protocols.size === 1 ? [...protocols][0] : "TCP") };
  }
  const fits = text === "" ? (end.kind === "service" ? ofProtocol : []) : ofProtocol.filter((one) => one.name === text);
  if (fits.length === 1) return { port: fits[0].port, protocol: fits[0].protocol };
  if (text === "" && end.kind !== "service") {
    const example = end.kind === "address" && end.is.family === 6 ? `[${end.text}]` : end.text.replace(" ", ":");
    throw new NameError(`--to: no port; write one, as in ${example}:80, or --protocol ICMP`);
  }
  const found = text === "" ? "no port" : `'${text}' is no one port`;
  throw new NameError(`--to: ${found} of ${end.text}; expected a number or a name: ${listed}`);
}

/** Node by whose uplink the packet comes in; empty: its sender is in the cluster. */
function entranceOf(cluster: Cluster, from: End, to: End, via: string | null): string {
  if (via !== null && !cluster.nodes.some((node) => node.name === via)) {
    const nodes = cluster.nodes.slice(0, LISTED).map((one) => one.name).join(", ");
    throw new NameError(`--via: the manifests hold no node '${via}'; they hold ${nodes}`);
  }
  const isOutside = from.kind === "address" && !isInside(cluster, from.is);
  if (!isOutside && via !== null) throw new NameError(`--via: ${from.text} is in the cluster; --via is of packets from outside`);
  if (!isOutside) return "";
  const { is } = to.kind === "address" ? to : { is: null };
  const own = to.kind === "node" ? to.is.name : to.kind === "pod" ? to.is.nodeName
    : is === null ? "" : cluster.pods.find((pod) => pod.ips.some((ip) => ip.text === is.text))?.nodeName
      ?? cluster.nodes.find((node) => addressesOf(node).some((one) => one.text === is.text))?.name ?? "";
  const entered = via ?? (own !== "" ? own : cluster.nodes.length === 1 ? cluster.nodes[0].name : "");
  if (entered === "") throw new NameError(`--from ${from.text} is outside the cluster; say with --via by which node it comes in`);
  // A packet to a pod or node comes in at that node.
  if (own !== "" && entered !== own) throw new NameError(`--via ${entered}: what is sent to ${to.text} from outside comes in at ${own}`);
  return entered;
}

function isInside(cluster: Cluster, address: Address): boolean {
  return cluster.pods.some((pod) => pod.ips.some((one) => one.text === address.text))
    || cluster.nodes.some((node) => addressesOf(node).some((one) => one.text === address.text));
}

function familyPair(from: End, to: End): { source: Address; destination: Address } {
  const sources = addressesOfEnd(from);
  const destinations = addressesOfEnd(to);
  if (sources.length === 0) throw new NameError(`--from: ${from.text} has no address`);
  if (destinations.length === 0) throw new NameError(`--to: ${to.text} has no ${to.kind === "service" ? "cluster " : ""}address`);
  for (const destination of destinations) {
    const source = sources.find((one) => one.family === destination.family);
    if (source !== undefined) return { source, destination };
  }
  throw new NameError(`${from.text} and ${to.text} have no addresses of one family`);
}

function addressesOfEnd(end: End): readonly Address[] {
  switch (end.kind) {
    case "pod": return end.is.ips;
    case "service": return end.is.clusterIPs;
    case "node": return addressesOf(end.is);
    case "address": return [end.is];
  }
}

function addressesOf(node: Node): Address[] {
  const internal = node.addresses.filter((one) => one.type === "InternalIP").map((one) => one.address);
  const known = new Set(internal.map((one) => one.text));
  const uplinks = node.facts.devices.filter((device) => device.kind !== "loopback").flatMap((device) => device.addresses);
  return [...internal, ...uplinks.map((one) => one.address).filter((one) => !known.has(one.text))];
}
