/**
 * Rules as Felix builds them: comments, matches, an action, spelled as it feeds them to iptables-restore. A chain is
 * a list of them; its hashes come last, when it is whole.
 *
 * Source: felix/iptables/{renderer,match_builder,actions}.go.
 */
import type { Because } from "../../dataplane.js";
import type { TableName } from "../ruleset.js";

export interface FelixRule {
  readonly comments: readonly string[];
  readonly match: string;
  /** Empty: the rule only carries its comment. */
  readonly action: string;
  readonly becauses: readonly Because[];
  /** Why a packet that comes here cannot be judged; null for the rules that Felix has. */
  readonly undecided: string | null;
}

export interface FelixChain {
  readonly table: TableName;
  readonly name: string;
  readonly rules: readonly FelixRule[];
}

/** Longer comments are cut. */
const MAX_COMMENT = 256;

export const ACCEPT = "--jump ACCEPT";
export const DROP = "--jump DROP";
export const RETURN = "--jump RETURN";

export function rule(match: string, action: string, becauses: readonly Because[], ...comments: string[]): FelixRule {
  return { comments, match, action, becauses, undecided: null };
}

/** Stands where Felix would have rules that are not modelled. */
export function unknownRule(why: string, becauses: readonly Because[]): FelixRule {
  return { comments: [`not modelled: ${why}`], match: "", action: "", becauses, undecided: why };
}

/** What Felix writes behind `-A CHAIN` and the comment with the hash. */
export function ruleText(one: FelixRule): string {
  // A comment goes through a shell-like reader that knows no way to write a quote.
  const comments = one.comments
    .map((text) => `-m comment --comment "${text.replace(/[^\w @%+=:,./-]/g, "_").slice(0, MAX_COMMENT)}"`);
  return [...comments, one.match, one.action].filter((part) => part !== "").join(" ");
}

/** The chain a rule leads to, or null. */
export function targetOf(one: FelixRule): string | null {
  return /^--(?:jump|goto) (cali-\S+)$/.exec(one.action)?.[1] ?? null;
}

export function jump(chain: string): string {
  return `--jump ${chain}`;
}

export function goTo(chain: string): string {
  return `--goto ${chain}`;
}

export function setMark(bits: number): string {
  return `--jump MARK --set-mark ${hex(bits)}/${hex(bits)}`;
}

export function clearMark(bits: number): string {
  return `--jump MARK --set-mark 0/${hex(bits)}`;
}

export function setMaskedMark(bits: number, mask: number): string {
  return `--jump MARK --set-mark ${hex(bits)}/${hex(mask)}`;
}

export function marked(bit: number): string {
  return `-m mark --mark ${hex(bit)}/${hex(bit)}`;
}

export function notMarked(bits: number): string {
  return `-m mark --mark 0/${hex(bits)}`;
}

/** Any of the bits. */
export function anyMarked(bits: number): string {
  return `-m mark ! --mark 0/${hex(bits)}`;
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`;
}
