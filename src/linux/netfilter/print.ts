/**
 * A rule as iptables-save prints it, from ` -s …` on: one spelling for one meaning, whatever spelling it was
 * read in.
 */
import type { Family } from "../../cluster/address.js";
import { protocolText, tcpFlagsText, wordsText } from "./names.js";
import { RecentOp } from "./recent.js";
import {
  type DeviceSpec,
  type MaskSpec,
  type Match,
  type NatSpec,
  type RangeSpec,
  type Rule,
  StateBit,
  type Target,
} from "./rule.js";
import { printSetMatch, printSetTarget } from "./sets/set-rule.js";

export function printRule(rule: Rule, family: Family): string {
  let text = "";
  if (rule.source !== null) text += `${not(rule.source)} -s ${rule.source.text}`;
  if (rule.destination !== null) text += `${not(rule.destination)} -d ${rule.destination.text}`;
  if (rule.inDevice !== null) text += `${not(rule.inDevice)} -i ${device(rule.inDevice)}`;
  if (rule.outDevice !== null) text += `${not(rule.outDevice)} -o ${device(rule.outDevice)}`;
  if (rule.protocol !== null && rule.protocol.value !== 0)
    text += `${not(rule.protocol)} -p ${protocolText(rule.protocol.value)}`;
  for (const match of rule.matches) text += ` ${printMatch(match, family)}`;
  return text + printTarget(rule.target);
}

function not(spec: { readonly invert: boolean }): string {
  return spec.invert ? " !" : "";
}

function bang(spec: { readonly invert: boolean }): string {
  return spec.invert ? "! " : "";
}

function device(spec: DeviceSpec): string {
  return spec.prefix ? `${spec.name}+` : spec.name;
}

/** xtables_save_string: quoted unless all of letters, digits, `_` and `-`. */
function quoted(text: string): string {
  return /^[-\w]+$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

function masked(spec: MaskSpec): string {
  return spec.mask >>> 0 === 0xffffffff ? hex(spec.value) : `${hex(spec.value)}/${hex(spec.mask)}`;
}

function range(spec: { readonly min: number; readonly max: number }): string {
  return spec.min === spec.max ? String(spec.min) : `${spec.min}:${spec.max}`;
}

function option(name: string, spec: RangeSpec | null): string {
  return spec === null ? "" : ` ${bang(spec)}--${name} ${range(spec)}`;
}

function printMatch(match: Match, family: Family): string {
  switch (match.kind) {
    case "ports": {
      let text = `-m ${protocolText(match.protocol)}${option("sport", match.source)}${option("dport", match.destination)}`;
      if (match.extra !== null) text += ` ${match.extra.text}`;
      if (match.flags !== null)
        text += ` ${bang(match.flags)}--tcp-flags ${tcpFlagsText(match.flags.mask)} ${tcpFlagsText(match.flags.value)}`;
      return text;
    }
    case "multiport":
      return `-m multiport ${bang(match)}--${match.side} ${match.ranges.map(range).join(",")}`;
    case "icmp": {
      const type =
        match.minCode === match.maxCode
          ? `${match.type}/${match.minCode}`
          : match.type === 255 && family === 4
            ? "any"
            : String(match.type);
      return family === 4
        ? `-m icmp ${bang(match)}--icmp-type ${type}`
        : `-m icmp6 ${bang(match)}--icmpv6-type ${type}`;
    }
    case "mark":
    case "connmark":
      return `-m ${match.kind} ${bang(match.mark)}--mark ${masked(match.mark)}`;
    case "conntrack":
      return printConntrack(match);
    case "extension":
      return match.extension.text;
    case "statistic":
      return match.mode === "random"
        ? `-m statistic --mode random ${bang(match)}--probability ${(match.probability / 0x80000000).toFixed(11)}`
        : `-m statistic --mode nth ${bang(match)}--every ${match.every} --packet ${match.packet}`;
    case "recent":
      return printRecent(match, family);
    case "comment":
      return `-m comment --comment ${quoted(match.text)}`;
    case "nfacct":
      // iptables 1.8.9 writes the second space.
      return `-m nfacct --nfacct-name  ${quoted(match.name)}`;
    case "set":
      return printSetMatch(match);
    case "unmodelled":
      return match.text;
  }
}

const stateOrder: readonly (readonly [string, number])[] = [
  ["INVALID", StateBit.Invalid],
  ["NEW", StateBit.New],
  ["RELATED", StateBit.Related],
  ["ESTABLISHED", StateBit.Established],
  ["UNTRACKED", StateBit.Untracked],
  ["SNAT", StateBit.Snat],
  ["DNAT", StateBit.Dnat],
];
const statusOrder: readonly (readonly [string, number])[] = [
  ["EXPECTED", 1],
  ["SEEN_REPLY", 2],
  ["ASSURED", 4],
  ["CONFIRMED", 8],
];

function bitNames(bits: number, order: readonly (readonly [string, number])[]): string {
  return order
    .filter(([, bit]) => (bits & bit) !== 0)
    .map(([name]) => name)
    .join(",");
}

function printConntrack(match: Extract<Match, { kind: "conntrack" }>): string {
  if (match.name === "state" && match.state !== null) {
    return `-m state ${bang(match.state)}--state ${bitNames(match.state.value, stateOrder)}`;
  }
  let text = "-m conntrack";
  if (match.state !== null)
    text += ` ${bang(match.state)}--ctstate ${bitNames(match.state.value, stateOrder)}`;
  if (match.protocol !== null) text += ` ${bang(match.protocol)}--ctproto ${match.protocol.value}`;
  for (const { field, spec } of match.addresses)
    text += ` ${bang(spec)}--${field} ${spec.text.replace(/\/(32|128)$/, "")}`;
  for (const { field, spec } of match.ports) text += option(field, spec);
  if (match.status !== null)
    text += ` ${bang(match.status)}--ctstatus ${bitNames(match.status.value, statusOrder) || "NONE"}`;
  if (match.original !== null) text += ` --ctdir ${match.original ? "ORIGINAL" : "REPLY"}`;
  return text;
}

function printRecent(match: Extract<Match, { kind: "recent" }>, family: Family): string {
  const op =
    match.op === RecentOp.Set
      ? "--set"
      : match.op === RecentOp.Check
        ? "--rcheck"
        : match.op === RecentOp.Update
          ? "--update"
          : "--remove";
  let text = `-m recent ${bang(match)}${op}`;
  if (match.seconds !== 0) text += ` --seconds ${match.seconds}`;
  if (match.reap) text += " --reap";
  if (match.hitcount !== 0) text += ` --hitcount ${match.hitcount}`;
  if (match.rttl) text += " --rttl";
  const mask = wordsText(match.mask, family);
  return `${text} --name ${match.list} --mask ${mask} ${match.destination ? "--rdest" : "--rsource"}`;
}

export function printTarget(target: Target): string {
  switch (target.kind) {
    case "none":
      return "";
    case "verdict":
      return ` -j ${target.verdict}`;
    case "jump":
      return ` -${target.goto ? "g" : "j"} ${target.chain}`;
    case "reject":
      return ` -j REJECT --reject-with ${target.with}`;
    case "nat":
      return ` -j ${target.name}${printNat(target.name, target.range)}`;
    case "mark":
      return ` -j MARK --set-xmark ${hex(target.xor)}/${hex(target.clear)}`;
    case "connmark":
      if (target.mode === "set") return ` -j CONNMARK --set-xmark ${hex(target.xor)}/${hex(target.clear)}${shift(target)}`;
      return ` -j CONNMARK --${target.mode}-mark --nfmask ${hex(target.nfMask)} --ctmask ${hex(target.ctMask)}${shift(target)}`;
    case "notrack":
      return target.name === "CT" ? " -j CT --notrack" : " -j NOTRACK";
    case "set":
      return ` -j ${printSetTarget(target)}`;
    case "extension":
      return ` -j ${target.extension.text}`;
    case "log":
    case "unmodelled":
      return ` -j ${target.text}`;
  }
}

function shift({ shift: by }: { readonly shift: number }): string {
  return by === 0 ? "" : ` --${by < 0 ? "right" : "left"}-shift-mark ${Math.abs(by)}`;
}

function printNat(name: string, range: NatSpec): string {
  const ports =
    range.minPort === 0
      ? ""
      : range.minPort === range.maxPort
        ? String(range.minPort)
        : `${range.minPort}-${range.maxPort}${range.basePort < 0 ? "" : `/${range.basePort}`}`;
  let text = "";
  if (name === "DNAT" || name === "SNAT") {
    const address =
      range.addressText.includes(":") && ports !== "" ? `[${range.addressText}]` : range.addressText;
    text = ` --to-${name === "DNAT" ? "destination" : "source"} ${address}${ports === "" ? "" : `:${ports}`}`;
  } else if (ports !== "") {
    text = ` --to-ports ${ports}`;
  }
  if (range.random) text += " --random";
  if (range.randomFully) text += " --random-fully";
  if (range.persistent) text += " --persistent";
  return text;
}
