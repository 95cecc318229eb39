/**
 * Ports of AdminNetworkPolicy and BaselineAdminNetworkPolicy (`ports`), and of ClusterNetworkPolicy (`protocols`).
 *
 * Source: kubernetes-sigs/network-policy-api apis/v1alpha1/shared_types.go, apis/v1alpha2/clusternetworkpolicy_types.go.
 */
import type { AdminPort } from "./admin-policy.js";
import { readPort, readProtocol } from "./addresses.js";
import type { Protocol } from "./cluster.js";
import type { Field } from "./field.js";

const LAST_PORT = 65535;
const PROTOCOLS: readonly [field: string, protocol: Protocol][] = [["tcp", "TCP"], ["udp", "UDP"], ["sctp", "SCTP"]];

/** null where the list is absent, which means every port and protocol. */
export function readAdminPorts(field: Field, form: "ports" | "protocols", most: number): AdminPort[] | null {
  if (field.absent) return null;
  const items = field.items();
  if (items.length === 0 || items.length > most) field.refuse(`found ${items.length} items, expected 1 to ${most}, or no ${form}`);
  return items.map(form === "ports" ? readAdminPort : readClusterProtocol);
}

/** v1alpha1: exactly one of portNumber, portRange and namedPort. */
function readAdminPort(field: Field): AdminPort {
  onlyOne(field, "portNumber", "portRange", "namedPort");
  const named = field.get("namedPort");
  if (!named.absent) return { kind: "named", name: named.string() };
  const number = field.get("portNumber");
  if (!number.absent) {
    number.onlyKnows("protocol", "port");
    const port = requiredPort(number.get("port"));
    return { kind: "range", protocol: protocolOf(number.get("protocol")), first: port, last: port };
  }
  const range = field.get("portRange");
  range.onlyKnows("protocol", "start", "end");
  return { kind: "range", protocol: protocolOf(range.get("protocol")), ...readRange(range) };
}

/** v1alpha2: exactly one of tcp, udp, sctp and destinationNamedPort. */
function readClusterProtocol(field: Field): AdminPort {
  onlyOne(field, "tcp", "udp", "sctp", "destinationNamedPort");
  const named = field.get("destinationNamedPort");
  if (!named.absent) return { kind: "named", name: named.string() };
  const [name, protocol] = PROTOCOLS.find(([one]) => !field.get(one).absent) ?? PROTOCOLS[0];
  const transport = field.get(name);
  transport.onlyKnows("destinationPort");
  const port = transport.get("destinationPort");
  if (port.absent) {
    transport.refuse("found no destinationPort, expected one; without it the item says nothing");
    return { kind: "range", protocol, first: 1, last: 0 };
  }
  onlyOne(port, "number", "range");
  const range = port.get("range");
  if (!range.absent) {
    const read = readRange(range);
    if (read.first >= read.last) range.refuse(`found ${read.first} to ${read.last}, expected start below end`);
    return { kind: "range", protocol, ...read };
  }
  const number = requiredPort(port.get("number"));
  return { kind: "range", protocol, first: number, last: number };
}

/** The schema's default stands for an absent protocol; the empty text passes the schema, and "not specified" is TCP. */
function protocolOf(field: Field): Protocol {
  return field.value === "" ? "TCP" : readProtocol(field);
}

/** "start must be less than end" are v1alpha1's words; its schema does not check them, and such a range is of no port. */
function readRange(field: Field): { first: number; last: number } {
  const [first, last] = [requiredPort(field.get("start")), requiredPort(field.get("end"))];
  if (first > last) field.warn(`found ${first} to ${last}, expected start below end; it matches no port`);
  return { first, last };
}

function requiredPort(field: Field): number {
  if (field.absent) field.refuse(`found no port, expected 1 to ${LAST_PORT}`);
  return readPort(field, 0);
}

function onlyOne(field: Field, ...names: string[]): void {
  field.onlyKnows(...names);
  const given = names.filter((name) => !field.get(name).absent);
  if (given.length === 1) return;
  field.refuse(`found ${given.length === 0 ? "none" : given.join(" and ")}, expected exactly one of ${names.join(", ")}`);
}
