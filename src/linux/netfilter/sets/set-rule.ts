/**
 * The `set` match and the SET target of iptables: options to data, data to iptables-save's text, and what they do with
 * a packet.
 *
 * Source: extensions/libxt_set.c, libxt_SET.c of iptables, net/netfilter/xt_set.c.
 */
import { parseNumber } from "../names.js";
import { type CounterTest, Found, SetFlag, type SetContext, type SetQuery, type SetReference } from "./element.js";
import type { IpSets } from "./ipsets.js";

/** As parse-match's: one option with its words. */
interface Option {
  readonly name: string;
  readonly values: readonly string[];
  readonly invert: boolean;
}

export interface SetMatch extends SetQuery {
  readonly kind: "set";
  readonly invert: boolean;
}

export interface SetTarget {
  readonly kind: "set";
  readonly add: SetReference | null;
  /** SetFlag.Exist or 0. */
  readonly flags: number;
  /** Seconds; null: the set's own. */
  readonly timeout: number | null;
  readonly delete: SetReference | null;
}

const counterOption = /^--(packets|bytes)-(eq|lt|gt)$/;

/** The match, the text of what is wrong, or null for an option that is not known. */
export function readSetMatch(options: readonly Option[]): SetMatch | string | null {
  let reference: SetReference | null = null;
  let invert = false;
  let flags = 0;
  const tests: Record<string, CounterTest | null> = { packets: null, bytes: null };
  for (const option of options) {
    const counter = counterOption.exec(option.name);
    if (option.name === "--match-set" || option.name === "--set") {
      if (reference !== null) return "--match-set is given twice";
      const read = readReference(option);
      if (typeof read === "string") return read;
      reference = read;
      invert = option.invert;
    } else if (option.name === "--return-nomatch" && !option.invert) {
      flags |= SetFlag.ReturnNomatch;
    } else if (option.name === "--update-counters") {
      if (option.invert) flags |= SetFlag.SkipCounters;
    } else if (option.name === "--update-subcounters") {
      if (option.invert) flags |= SetFlag.SkipSubcounters;
    } else if (counter !== null) {
      const text = option.values[0] ?? "";
      const value = /^\d{1,20}$/.test(text) ? Number(text) : null;
      if (value === null) return `${option.name} ${text} is not a number`;
      if (option.invert && counter[2] !== "eq") return `! ${option.name} is refused by iptables`;
      if (tests[counter[1]] !== null) return `one of --${counter[1]}-eq, -lt and -gt is allowed`;
      tests[counter[1]] = { op: option.invert ? "ne" : (counter[2] as "eq" | "lt" | "gt"), value };
      flags |= SetFlag.MatchCounters;
    } else {
      return null;
    }
  }
  if (reference === null) return "the set match needs --match-set, a name and src or dst";
  return { kind: "set", ...reference, invert, flags, packets: tests.packets, bytes: tests.bytes };
}

export function readSetTarget(options: readonly Option[]): SetTarget | string | null {
  const references: Record<string, SetReference | null> = { "--add-set": null, "--del-set": null };
  let flags = 0;
  let timeout: number | null = null;
  for (const option of options) {
    if (option.invert) return `! ${option.name} is refused by iptables`;
    if (option.name === "--add-set" || option.name === "--del-set") {
      if (references[option.name] !== null) return `${option.name} is given twice`;
      const read = readReference(option);
      if (typeof read === "string") return read;
      references[option.name] = read;
    } else if (option.name === "--exist") {
      flags |= SetFlag.Exist;
    } else if (option.name === "--timeout") {
      timeout = parseNumber(option.values[0] ?? "", 0xfffffffe);
      if (timeout === null) return `--timeout ${option.values[0] ?? ""} is not a number of seconds`;
      // set_target_v3 cuts it to what fits into jiffies.
      timeout = Math.min(timeout, Math.floor(0xffffffff / 1000));
    } else {
      // --map-set moves skbinfo of an entry into the packet.
      return null;
    }
  }
  const { "--add-set": add, "--del-set": del } = references;
  if (add === null && del === null) return "SET needs --add-set or --del-set";
  if (add === null && (flags !== 0 || timeout !== null)) return "SET takes --exist and --timeout with --add-set only";
  return { kind: "set", add, flags, timeout, delete: del };
}

function readReference(option: Option): SetReference | string {
  const [set, directions] = option.values;
  if (option.values.length !== 2) return `${option.name} needs the name of a set and src or dst for each dimension`;
  if (set.length > 31) return `the name ${set} of a set is longer than 31 characters`;
  const parts = directions.split(",");
  if (parts.length > 6 || parts.some((part) => part !== "src" && part !== "dst")) {
    return `${option.name} ${set} ${directions}: expected up to 6 of src and dst`;
  }
  const sources = parts.reduce((bits, part, index) => bits | (part === "src" ? 1 << index : 0), 0);
  return { set, dimensions: parts.length, sources };
}

export function printSetMatch(match: SetMatch): string {
  let text = `-m set ${match.invert ? "! " : ""}--match-set ${printReference(match)}`;
  if ((match.flags & SetFlag.ReturnNomatch) !== 0) text += " --return-nomatch";
  if ((match.flags & SetFlag.SkipCounters) !== 0) text += " ! --update-counters";
  if ((match.flags & SetFlag.SkipSubcounters) !== 0) text += " ! --update-subcounters";
  return text + printCounter("packets", match.packets) + printCounter("bytes", match.bytes);
}

export function printSetTarget(target: SetTarget): string {
  let text = "SET";
  if (target.add !== null) text += ` --add-set ${printReference(target.add)}`;
  if (target.flags !== 0) text += " --exist";
  if (target.timeout !== null) text += ` --timeout ${target.timeout}`;
  return target.delete === null ? text : `${text} --del-set ${printReference(target.delete)}`;
}

function printReference({ set, dimensions, sources }: SetReference): string {
  const parts = Array.from({ length: dimensions }, (_, index) => ((sources & (1 << index)) !== 0 ? "src" : "dst"));
  return `${set} ${parts.join(",")}`;
}

function printCounter(name: string, test: CounterTest | null): string {
  if (test === null) return "";
  return test.op === "ne" ? ` ! --${name}-eq ${test.value}` : ` --${name}-${test.op} ${test.value}`;
}

/** set_match_v4: Found.No, Yes or Undecided. */
export function matchSet(match: SetMatch, sets: IpSets, context: SetContext): Found {
  const found = sets.test(match, context);
  if (found === Found.Undecided) return Found.Undecided;
  return (found === Found.Yes) !== match.invert ? Found.Yes : Found.No;
}

/** set_target_v3: "" where it was done, taken or not; else why that is not decided. */
export function changeSets(target: SetTarget, sets: IpSets, context: SetContext): string {
  const { add, delete: del } = target;
  if (add !== null && sets.add(add, target.flags, target.timeout, context) === "undecided") return sets.whyUndecided(add.set,
    context.packet.family);
  if (del !== null && sets.delete(del, context) === "undecided") return sets.whyUndecided(del.set, context.packet.family);
  return "";
}
