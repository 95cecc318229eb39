/**
 * The chains that Felix has on every node, and how built-in chains lead to them: at their heads, but behind all others
 * in nat POSTROUTING (kube-proxy's own masquerading clears its bit first), and at the end of FORWARD the acceptance of
 * what policies allowed.
 *
 * Felix judges a pod's packets in FORWARD before kube-proxy's chains, on their way to their own node too; what
 * processes of the node send to its pods is never judged (cali-OUTPUT).
 *
 * Source: felix/rules/{static,nat}.go, felix/dataplane/linux/int_dataplane.go (setUpIptablesNormal).
 */
import type { Family } from "../../cluster/address.js";
import type { Because } from "../../dataplane.js";
import type { TableName } from "../ruleset.js";
import { ALL_MARKS, type CalicoPool, MARK } from "./config.js";
import type { IpSetBuilder } from "./ipSets.js";
import { ACCEPT, clearMark, DROP, type FelixChain, type FelixRule, goTo, jump, marked, notMarked, RETURN, rule, setMark,
  unknownRule } from "./rule.js";
import type { Unmodelled } from "./unmodelled.js";

export interface StaticInput {
  readonly family: Family;
  /** Matches of the devices that lead to pods. */
  readonly devices: readonly string[];
  readonly pools: readonly CalicoPool[];
  readonly sets: IpSetBuilder;
  /** Of services, that no packet may be forwarded to (BGPConfiguration). */
  readonly blocked: readonly string[];
  readonly unmodelled: Unmodelled;
}

/** A rule in a built-in chain. */
export interface StaticJump {
  readonly table: TableName;
  readonly chain: string;
  readonly place: "head" | "end";
  readonly rule: FelixRule;
}

export function staticJumps(): StaticJump[] {
  const head = (table: TableName, chain: string): StaticJump => (
    { table, chain, place: "head", rule: rule("", jump(`cali-${chain}`), felix(`${table} ${chain}`)) });
  const end = (table: TableName, chain: string, one: FelixRule): StaticJump => ({ table, chain, place: "end", rule: one });
  return [
    head("raw", "PREROUTING"), head("raw", "OUTPUT"),
    head("mangle", "PREROUTING"), head("mangle", "POSTROUTING"),
    head("filter", "INPUT"), head("filter", "FORWARD"), head("filter", "OUTPUT"),
    end("filter", "FORWARD", rule(marked(MARK.accept), ACCEPT, felix("filter FORWARD"), "Policy explicitly accepted packet.")),
    // Later tables know by it what FORWARD let through.
    end("filter", "FORWARD", rule("", setMark(MARK.accept), felix("filter FORWARD"))),
    head("nat", "PREROUTING"), head("nat", "OUTPUT"),
    end("nat", "POSTROUTING", rule("", jump("cali-POSTROUTING"), felix("nat POSTROUTING"))),
  ];
}

export function staticChains(input: StaticInput): FelixChain[] {
  return [...rawChains(input), ...mangleChains(input), ...filterChains(input), ...natChains(input)];
}

/** Strict reverse path filtering of pods; host endpoints' untracked policies. */
function rawChains({ devices, unmodelled }: StaticInput): FelixChain[] {
  const chain = builder("raw");
  const { accept, scratch0 } = MARK;
  return [
    chain("cali-PREROUTING", [
      ["", clearMark(ALL_MARKS)],
      ...devices.map((device) => [`--in-interface ${device}`, setMark(scratch0)] as const),
      [marked(scratch0), jump("cali-rpf-skip")],
      [`${marked(scratch0)} -m rpfilter --invert --validmark`, DROP],
      [notMarked(scratch0), jump("cali-from-host-endpoint")],
      [marked(accept), ACCEPT],
    ]),
    chain("cali-OUTPUT", [
      ["", clearMark(ALL_MARKS)], ["", jump("cali-to-host-endpoint")], [marked(accept), ACCEPT],
    ]),
    chain("cali-rpf-skip", []),
    ...hostEndpointChains("raw", ["cali-from-host-endpoint", "cali-to-host-endpoint"], unmodelled),
  ];
}

function mangleChains({ unmodelled }: StaticInput): FelixChain[] {
  const chain = builder("mangle");
  const { accept } = MARK;
  const accepted = "Host endpoint policy accepted packet.";
  return [
    chain("cali-PREROUTING", [
      ["-m conntrack --ctstate RELATED,ESTABLISHED", ACCEPT],
      [marked(accept), ACCEPT],
      ["", jump("cali-from-host-endpoint")],
      [marked(accept), ACCEPT, accepted],
    ]),
    chain("cali-POSTROUTING", [
      [marked(accept), RETURN],
      ["", clearMark(ALL_MARKS)],
      ["-m conntrack --ctstate DNAT", jump("cali-to-host-endpoint")],
      [marked(accept), RETURN, accepted],
    ]),
    ...hostEndpointChains("mangle", ["cali-from-host-endpoint", "cali-to-host-endpoint"], unmodelled),
  ];
}

function filterChains({ family, devices, blocked, unmodelled }: StaticInput): FelixChain[] {
  const chain = builder("filter");
  const { accept } = MARK;
  const accepted = "Host endpoint policy accepted packet.";
  return [
    chain("cali-FORWARD", [
      ["", clearMark(ALL_MARKS & ~accept)],
      [notMarked(accept), jump("cali-from-hep-forward")],
      ...devices.flatMap((device) => [[`--in-interface ${device}`, jump("cali-from-wl-dispatch")] as const,
        [`--out-interface ${device}`, jump("cali-to-wl-dispatch")] as const]),
      ["", jump("cali-to-hep-forward")],
      ["", jump("cali-cidr-block")],
    ]),
    withUnknown(chain("cali-INPUT", [
      ...devices.map((device) => [`--in-interface ${device}`, goTo("cali-wl-to-host")] as const),
      [marked(accept), ACCEPT],
      ["", clearMark(ALL_MARKS)],
      ["", jump("cali-from-host-endpoint")],
      [marked(accept), ACCEPT, accepted],
    ]), unmodelled.ofTunnels),
    withUnknown(chain("cali-OUTPUT", [
      [marked(accept), ACCEPT],
      ...devices.map((device) => [`--out-interface ${device}`, RETURN] as const),
      ["", clearMark(ALL_MARKS)],
      ["-m conntrack ! --ctstate DNAT", jump("cali-to-host-endpoint")],
      [marked(accept), ACCEPT, accepted],
    ]), unmodelled.ofTunnels),
    chain("cali-wl-to-host", [
      ...(family === 6 ? ROUTER_ICMP6.map((type) => [`-p 58 -m icmp6 --icmpv6-type ${type}`, ACCEPT] as const) : []),
      ["", jump("cali-from-wl-dispatch")],
      // A policy that forbids it has dropped the packet by now.
      ["", ACCEPT, "Configured DefaultEndpointToHostAction"],
    ]),
    chain("cali-cidr-block", blocked.map((cidr) => [`--destination ${cidr}`, DROP] as const)),
    ...hostEndpointChains("filter", ["cali-from-host-endpoint", "cali-to-host-endpoint", "cali-from-hep-forward",
      "cali-to-hep-forward"], unmodelled),
  ];
}

/** Listener queries, reports and dones; router and neighbour solicitations; neighbour advertisements. */
const ROUTER_ICMP6 = [130, 131, 132, 133, 135, 136];

/** Floating addresses are off by default, so their chains are empty. */
function natChains({ pools, sets, family, unmodelled }: StaticInput): FelixChain[] {
  const chain = builder("nat");
  const own = pools.filter(({ cidr }) => cidr.address.family === family);
  // Both sets are there with or without a rule.
  const all = sets.pools("all-ipam-pools", own);
  const masquerading = sets.pools("masq-ipam-pools", own.filter((pool) => pool.natOutgoing));
  return [
    chain("cali-PREROUTING", [["", jump("cali-fip-dnat")]]),
    chain("cali-OUTPUT", [["", jump("cali-fip-dnat")]]),
    withUnknown(chain("cali-POSTROUTING", [["", jump("cali-fip-snat")], ["", jump("cali-nat-outgoing")]]), unmodelled.ofTunnels),
    chain("cali-fip-dnat", []), chain("cali-fip-snat", []),
    chain("cali-nat-outgoing", own.some((pool) => pool.natOutgoing)
      ? [[`-m set --match-set ${masquerading} src -m set ! --match-set ${all} dst`, "--jump MASQUERADE --random-fully"]] : []),
  ];
}

/** Empty where no host endpoint is on the node. */
function hostEndpointChains(table: TableName, names: readonly string[], unmodelled: Unmodelled): FelixChain[] {
  return names.map((name) => withUnknown({ table, name, rules: [] }, unmodelled.ofHostChain(table, name)));
}

function withUnknown(chain: FelixChain, unknown: Unmodelled["ofTunnels"]): FelixChain {
  return { ...chain, rules: [...unknown.map(({ why, because }) => unknownRule(why, [because])), ...chain.rules] };
}

type Line = readonly [match: string, action: string, comment?: string];

function builder(table: TableName): (name: string, lines: readonly Line[]) => FelixChain {
  return (name, lines) => ({ table, name, rules: lines.map(([match, action, comment]) => (
    rule(match, action, felix(`${table} ${name}`), ...(comment === undefined ? [] : [comment])))) });
}

function felix(what: string): readonly Because[] {
  return [{ where: null, object: "calico felix", rule: what }];
}
