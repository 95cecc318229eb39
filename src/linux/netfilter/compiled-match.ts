/** Matches of a rule that are not in its row: their state, and which of them may be asked in any order. */
import type { ChoiceRun } from "./choice.js";
import { Matched, type Test } from "./extension.js";
import type { Match } from "./rule.js";

/** A match that is not in the row, with the state it keeps. */
export class CompiledMatch {
  readonly match: Match;
  /** statistic nth: packets since it last matched. */
  count = 0;
  /** statistic: the choice it is part of, and which member it stands for. */
  run: ChoiceRun | null = null;
  position = 0;
  /** No match after it in the rule remembers anything: they may be asked where this one is undecided. */
  pureAfter = true;
  /** Of an extension. */
  readonly test: Test;

  constructor(match: Match) {
    this.match = match;
    const extension = match.kind === "extension" ? match.extension : match.kind === "ports" ? match.extra : null;
    this.test = extension === null ? () => Matched.Undecided : extension.start();
    if (match.kind === "statistic" && match.mode === "nth") this.count = match.every - 1 - match.packet;
  }
}

/** Matches whose every packet is judged by itself. What is not named here may keep state in its CompiledMatch. */
const withoutState: ReadonlySet<Match["kind"]> = new Set([
  "ports",
  "multiport",
  "icmp",
  "mark",
  "connmark",
  "conntrack",
  "set",
  "recent",
  "comment",
  "nfacct",
  "unmodelled",
]);

export function keepsState({ match }: CompiledMatch): boolean {
  if (match.kind === "statistic") return match.mode === "nth";
  return match.kind === "extension" ? !match.extension.pure : !withoutState.has(match.kind);
}

/** Neither remembers nor drops, and always decides: may be tested in any order. */
export function isPure(match: Match): boolean {
  return match.kind === "extension" ? match.extension.pure : withoutEffect.has(match.kind);
}

const withoutEffect: ReadonlySet<Match["kind"]> = new Set(["mark", "connmark", "conntrack", "set"]);

/** What its answer was, or that it was asked, changes later answers. */
export function remembers(match: Match): boolean {
  return match.kind === "extension" ? !match.extension.pure : !memoryless.has(match.kind);
}

const memoryless: ReadonlySet<Match["kind"]> = new Set([...withoutEffect, "ports", "multiport", "icmp", "comment", "nfacct"]);
