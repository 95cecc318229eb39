/**
 * A Calico rule as iptables rules. What iptables cannot ask in one rule is asked in blocks before it: ports of several
 * lists, and addresses with exceptions, leave their answer in a scratch bit of the mark.
 *
 * Source: felix/rules/policy.go (ProtoRuleToIptablesRules, matchBlockBuilder, SplitPortList).
 */
import type { Family } from "../../cluster/address.js";
import { MARK } from "./config.js";
import type { IpSetBuilder } from "./ipSets.js";
import type { CalicoRule, PolicyDirection, PortRange } from "./policies.js";
import { clearMark, type FelixRule, marked, RETURN, rule, setMark, setMaskedMark } from "./rule.js";

/** What a multiport match takes; a range counts two. */
const MOST_PORTS = 15;

/** The rules of a chain `cali-pi-` or `cali-po-`: they mark a packet that some rule allows. */
export function policyRules(rules: readonly CalicoRule[], direction: PolicyDirection, family: Family, sets: IpSetBuilder,
  comment: string): FelixRule[] {
  const out = rules.flatMap((one) => (isOfFamily(one, family) ? ruleOf(one, direction, sets) : []));
  // At the end of a chain it says nothing.
  if (out.at(-1)?.action === RETURN) out.pop();
  if (out.length === 0) return [rule("", "", [], comment)];
  return [{ ...out[0], comments: [comment] }, ...out.slice(1)];
}

/** A rule about addresses of the other family is left out; one without addresses is in both. */
function isOfFamily({ net }: CalicoRule, family: Family): boolean {
  return net === null || net.includes(":") === (family === 6);
}

function ruleOf(one: CalicoRule, direction: PolicyDirection, sets: IpSetBuilder): FelixRule[] {
  const because = [one.because];
  const [side, short] = direction === "inbound" ? ["--source", "src"] : ["--destination", "dst"];
  const protocol = one.protocol === null ? [] : [`-p ${one.protocol}`];
  const splits = splitPorts(one.ports);
  // A named port is looked up among the endpoints that the rule selects as its destination.
  const named = one.namedPorts.map((port) => "-m set --match-set "
    + `${sets.namedPort(direction === "outbound" ? one.selector : null, one.protocol ?? "tcp", port)} dst,dst`);
  const blocks: FelixRule[] = [];
  const portsInBlock = splits.length + named.length > 1;
  const { scratch0, scratch1 } = MARK;
  if (portsInBlock) {
    blocks.push(rule("", setMaskedMark(0, scratch0 | scratch1), because));
    for (const split of splits) blocks.push(rule([...protocol, multiport(split)].join(" "), setMark(scratch0), because));
    for (const match of named) blocks.push(rule(match, setMark(scratch0), because));
  }
  if (one.notNets.length > 0) {
    if (blocks.length === 0) blocks.push(rule("", setMaskedMark(scratch0, scratch0 | scratch1), because));
    for (const net of one.notNets) blocks.push(rule(`${side} ${net}`, clearMark(scratch0), because));
  }
  // Where names alone say the ports, their sets hold the selected endpoints only, so that these need not be asked for.
  const selected = one.selector === null || (direction === "outbound" && named.length > 0 && splits.length === 0) ? []
    : [`-m set --match-set ${sets.selected(one.selector)} ${short}`];
  const match = [
    ...protocol, ...(one.net === null ? [] : [`${side} ${one.net}`]), ...selected,
    ...(portsInBlock ? [] : [...splits.map(multiport), ...named]),
    ...(blocks.length === 0 ? [] : [marked(scratch0)]),
  ].join(" ");
  return [...blocks, rule(match, setMark(MARK.accept), because), rule(marked(MARK.accept), RETURN, because)];
}

function multiport(ports: readonly PortRange[]): string {
  const texts = ports.map(({ first, last }) => (first === last ? `${first}` : `${first}:${last}`));
  return `-m multiport --destination-ports ${texts.join(",")}`;
}

function splitPorts(ports: readonly PortRange[]): PortRange[][] {
  const splits: PortRange[][] = [];
  let left = 0;
  for (const range of ports) {
    const slots = range.first === range.last ? 1 : 2;
    if (left < slots) {
      splits.push([]);
      left = MOST_PORTS;
    }
    splits[splits.length - 1].push(range);
    left -= slots;
  }
  return splits;
}
