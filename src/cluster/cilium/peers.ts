/**
 * Reads the members of a rule that say who the other side is.
 *
 * Source: cilium pkg/policy/api/rule_validation.go (IngressCommonRule, EgressCommonRule, CIDRRule), service.go, fqdn.go.
 */
import { parsePrefix, prefixContains, type Prefix } from "../address.js";
import type { Field } from "../field.js";
import type { Conditions } from "./conditions.js";
import { readSelector } from "./selector.js";
import { CILIUM_ENTITIES, type CiliumCIDRRule, type CiliumDirectionRule, type CiliumFQDN, type CiliumGroup,
  type CiliumServiceReference } from "./types.js";

type Peers = Pick<CiliumDirectionRule,
  "endpoints" | "requires" | "cidr" | "cidrSet" | "entities" | "groups" | "nodes" | "services" | "fqdns">;

/** @param side `from` or `to` */
export function readPeers(rule: Field, side: "from" | "to", deny: boolean, conditions: Conditions): Peers {
  const member = (name: string): Field => rule.get(`${side}${name}`);
  const egress = side === "to";
  refuseTwoMembers(rule, ["Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups",
    ...(egress ? ["Services", ...(deny ? [] : ["FQDNs"])] : [])].map(member));
  if (count(member("Requires")) > 0) {
    conditions.add(member("Requires"), `${side}Requires`, { until: 18 });
  }
  if (count(member("Nodes")) > 0) {
    conditions.add(member("Nodes"), `${side}Nodes`, { option: "enable-node-selector-labels" });
  }
  return {
    endpoints: list(member("Endpoints"), (item) => readSelector(item)),
    requires: list(member("Requires"), (item) => readSelector(item)),
    cidr: list(member("CIDR"), (item) => readCIDR(item)),
    cidrSet: list(member("CIDRSet"), (item) => readCIDRRule(item, conditions)),
    entities: list(member("Entities"), (item) => item.oneOf(CILIUM_ENTITIES, "none")),
    groups: list(member("Groups"), readGroup),
    nodes: list(member("Nodes"), (item) => readSelector(item)),
    services: egress ? list(member("Services"), readService) : null,
    fqdns: egress && !deny ? list(member("FQDNs"), readFQDN) : null,
  };
}

/** null where the field is absent. */
export function list<T>(field: Field, read: (item: Field) => T): T[] | null {
  return field.absent ? null : field.items().map(read);
}

/** The text must be a prefix: the CRD has `format: cidr`, so a bare address is refused there. */
export function readCIDR(field: Field): Prefix {
  const text = field.string();
  const prefix = text.includes("/") ? parsePrefix(text) : null;
  if (prefix !== null) return prefix;
  field.refuse(`found "${text}", expected a CIDR such as 10.0.0.0/8 or fd00::/64`);
  return parsePrefix("0.0.0.0/32")!;
}

/** A name or a pattern of names, exactly one. */
export function readFQDN(field: Field): CiliumFQDN {
  field.onlyKnows("matchName", "matchPattern");
  const name = field.get("matchName");
  const pattern = field.get("matchPattern");
  if (name.absent === pattern.absent) field.refuse("expected exactly one of matchName and matchPattern");
  checkName(name, /^([-a-zA-Z0-9_]+[.]?)+$/);
  checkName(pattern, /^([-a-zA-Z0-9_*]+[.]?)+$/);
  return {
    matchName: name.absent ? null : name.string(),
    matchPattern: pattern.absent ? null : pattern.string(),
  };
}

function checkName(field: Field, pattern: RegExp): void {
  if (field.absent) return;
  const text = field.string();
  if (text.length <= 255 && pattern.test(text)) return;
  field.refuse(`found "${text}", expected labels of letters, digits, - and _ with single dots, at most 255 characters`);
}

/** Two members with content in one rule are refused, whichever they are. */
function refuseTwoMembers(rule: Field, members: readonly Field[]): void {
  const [first, second] = members.filter((one) => count(one) > 0);
  if (second === undefined) return;
  rule.refuse(`found ${first.name} and ${second.name} in one rule, expected one of them; two rules are ORed`, "Cilium");
}

function count(field: Field): number {
  return Array.isArray(field.value) ? field.value.length : 0;
}

function readCIDRRule(field: Field, conditions: Conditions): CiliumCIDRRule {
  field.onlyKnows("cidr", "cidrGroupRef", "cidrGroupSelector", "except");
  const given = ["cidr", "cidrGroupRef", "cidrGroupSelector"].map((name) => field.get(name)).filter((one) => !one.absent);
  if (given.length !== 1) field.refuse("expected exactly one of cidr, cidrGroupRef and cidrGroupSelector");
  const [cidrField, ref, selector] = [field.get("cidr"), field.get("cidrGroupRef"), field.get("cidrGroupSelector")];
  if (!ref.absent && !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(ref.string())) {
    ref.refuse(`found "${ref.string()}", expected the name of a CiliumCIDRGroup`);
  }
  if (!selector.absent) conditions.add(selector, "cidrGroupSelector", { since: 17 });
  const cidr = cidrField.absent ? null : readCIDR(cidrField);
  return {
    cidr,
    cidrGroupRef: ref.absent ? null : ref.string(),
    cidrGroupSelector: selector.absent ? null : readSelector(selector, "cidrgroup"),
    except: field.get("except").items().map((item) => readExcept(item, cidr, conditions)),
  };
}

function readExcept(field: Field, cidr: Prefix | null, conditions: Conditions): Prefix {
  const except = readCIDR(field);
  if (cidr === null) return except;
  if (!prefixContains(cidr, except.address) && !containsHost(cidr, field.string())) {
    field.refuse(`found ${except.text}, expected a CIDR inside ${cidr.text}`, "Cilium");
  } else if (except.length < cidr.length) {
    // Until 1.19 only the address was compared.
    conditions.add(field, `${except.text}, which is wider than ${cidr.text},`, { until: 19 });
  }
  return except;
}

/** netip.Prefix.Contains looks at the address as it was written, with its host bits. */
function containsHost(cidr: Prefix, text: string): boolean {
  const host = parsePrefix(text.split("/")[0]);
  return host !== null && prefixContains(cidr, host.address);
}

function readGroup(field: Field): CiliumGroup {
  field.onlyKnows("aws");
  const aws = field.get("aws");
  if (aws.absent) return { aws: null };
  aws.onlyKnows("labels", "securityGroupsIds", "securityGroupsNames", "region");
  return { aws: {
    labels: aws.get("labels").stringMap(),
    securityGroupsIds: aws.get("securityGroupsIds").items().map((item) => item.string()),
    securityGroupsNames: aws.get("securityGroupsNames").items().map((item) => item.string()),
    region: aws.get("region").string(),
  } };
}

function readService(field: Field): CiliumServiceReference {
  field.onlyKnows("k8sService", "k8sServiceSelector");
  const [byName, bySelector] = [field.get("k8sService"), field.get("k8sServiceSelector")];
  byName.onlyKnows("serviceName", "namespace");
  bySelector.onlyKnows("selector", "namespace");
  if (!bySelector.absent && bySelector.get("selector").absent) bySelector.refuse("found no selector, expected one");
  return {
    k8sService: byName.absent ? null
      : { serviceName: byName.get("serviceName").string(), namespace: byName.get("namespace").string() },
    k8sServiceSelector: bySelector.absent ? null
      : { selector: readSelector(bySelector.get("selector")), namespace: bySelector.get("namespace").string() },
  };
}
