/**
 * Reads a NetworkPolicy, defaulted and validated as the API server does. One the API server would refuse is
 * not used at all: half a policy would allow or deny what the user never asked for.
 *
 * Source: kubernetes pkg/apis/networking/validation/validation.go and the API documentation of
 * NetworkPolicySpec.
 */
import { prefixContains } from "./address.js";
import { readPort, readPrefix, readProtocol } from "./addresses.js";
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule, ObjectMeta }
  from "./cluster.js";
import type { Field } from "./field.js";
import { readLabelSelector } from "./label-selector.js";
import { isPortName } from "./meta.js";

export function readNetworkPolicy(root: Field, meta: ObjectMeta): NetworkPolicy {
  const spec = root.get("spec");
  spec.onlyKnows("podSelector", "policyTypes", "ingress", "egress");
  const ingress = spec.get("ingress").items().map((rule) => readRule(rule, "from"));
  const egress = spec.get("egress").items().map((rule) => readRule(rule, "to"));
  return {
    ...meta,
    podSelector: readLabelSelector(spec.get("podSelector")),
    policyTypes: readPolicyTypes(spec.get("policyTypes"), egress.length > 0),
    ingress, egress,
  };
}

/** Absent or empty: Ingress, and Egress where there is an egress rule. */
function readPolicyTypes(field: Field, hasEgress: boolean): NetworkPolicy["policyTypes"] {
  const items = field.items();
  if (items.length === 0) return hasEgress ? ["Ingress", "Egress"] : ["Ingress"];
  if (items.length > 2) field.refuse(`found ${items.length} policy types, expected at most two`);
  return items.map((item) => item.oneOf(["Ingress", "Egress"], "Ingress"));
}

function readRule(field: Field, peersName: "from" | "to"): NetworkPolicyRule {
  field.onlyKnows(peersName, "ports");
  const peers = field.get(peersName).items().map(readPeer);
  const ports = field.get("ports").items().map(readPolicyPort);
  return {
    peers: peers.length === 0 ? null : peers,
    ports: ports.length === 0 ? null : ports,
    where: field.where(),
  };
}

function readPeer(field: Field): NetworkPolicyPeer {
  field.onlyKnows("podSelector", "namespaceSelector", "ipBlock");
  const pods = field.get("podSelector");
  const namespaces = field.get("namespaceSelector");
  const ipBlock = field.get("ipBlock");
  if (pods.absent && namespaces.absent && ipBlock.absent) {
    field.refuse("found an empty peer, expected podSelector, namespaceSelector or ipBlock");
  }
  if (!ipBlock.absent && !(pods.absent && namespaces.absent)) {
    field.refuse("found ipBlock beside a selector, expected ipBlock alone or selectors alone");
  }
  return {
    podSelector: pods.absent ? null : readLabelSelector(pods),
    namespaceSelector: namespaces.absent ? null : readLabelSelector(namespaces),
    ipBlock: ipBlock.absent ? null : readIPBlock(ipBlock),
  };
}

function readIPBlock(field: Field): NetworkPolicyPeer["ipBlock"] {
  field.onlyKnows("cidr", "except");
  const cidr = readPrefix(field.get("cidr"), true);
  const except = [];
  for (const item of field.get("except").items()) {
    const prefix = readPrefix(item, true);
    if (prefix === null) continue;
    except.push(prefix);
    if (cidr === null || (prefixContains(cidr, prefix.address) && prefix.length > cidr.length)) continue;
    item.refuse(`found ${prefix.text}, expected a CIDR inside ${cidr.text} and smaller than it`);
  }
  return cidr === null ? null : { cidr, except };
}

function readPolicyPort(field: Field): NetworkPolicyPort {
  field.onlyKnows("protocol", "port", "endPort");
  const protocol = readProtocol(field.get("protocol"));
  const port = readPortOrName(field.get("port"));
  const endPortField = field.get("endPort");
  if (endPortField.absent) return { protocol, port, endPort: null };
  const endPort = readPort(endPortField, 0);
  if (typeof port === "string") {
    endPortField.refuse(`found endPort with the named port "${port}", expected a number`);
  } else if (port === null) endPortField.refuse("found endPort without port, expected both");
  else if (endPort < port) endPortField.refuse(`found ${endPort}, expected at least the port, ${port}`);
  return { protocol, port, endPort };
}

function readPortOrName(field: Field): number | string | null {
  if (field.absent) return null;
  if (typeof field.value !== "string") return readPort(field, 0);
  if (!isPortName(field.value)) {
    field.refuse(`found port "${field.value}", expected a number from 1 to 65535 without quotes, or a `
      + "container port's name (at most 15 lower-case letters, digits and -, with a letter)");
  }
  return field.value;
}
