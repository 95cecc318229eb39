/**
 * Levels: tiers and priorities of a direction's rules as whole numbers, 0 the first (`pkg/policy/rules.go`
 * computeTierPriorities, resolveL4Policy, 1.20).
 *
 * Each tier starts at a multiple of ten. After a rule that passes, as many levels stay free as all later tiers need, since
 * what is passed to takes its place there. Without passes, priorities or tiers other than Normal all rules are at level 0,
 * as in every version.
 */
import type { CiliumVersion } from "../../options.js";
import { type PolicyEntry, Tier } from "./entry.js";

export type Level = number;
const ROUND_UP = 10;
const TIERS = 256;

export class LevelTable {
  private readonly levels = new Map<string, Level>();
  /** Of the agent's own rules, after all others. */
  readonly last: Level;
  /** Whether any rule passes. */
  readonly passes: boolean;
  /** First levels of the tiers, ascending, each once. */
  readonly bases: readonly Level[];

  constructor(entries: readonly PolicyEntry[], version: CiliumVersion) {
    this.passes = entries.some(({ verdict }) => verdict === "pass");
    const sorted = [...new Map(entries.map((entry) => [key(entry), entry])).values()]
      .sort((a, b) => a.tier - b.tier || a.priority - b.priority);
    const plain = sorted.length === 0 || (sorted.length === 1 && sorted[0].tier === Tier.Normal);
    if (plain) {
      for (const entry of sorted) this.levels.set(key(entry), 0);
      // Up to 1.18 there is one level for everything; later the agent's own rules have a tier.
      this.last = version === "1.19" || version === "1.20" ? ROUND_UP : 0;
      this.bases = [0, ROUND_UP];
      return;
    }
    const passing = new Set(entries.filter(({ verdict }) => verdict === "pass").map(key));
    const room = roomOfTiers(sorted, passing);
    const base: Level[] = [0];
    for (let tier = 1; tier < TIERS; tier++) base.push(base[tier - 1] + room[tier - 1] - room[tier]);
    this.bases = [...new Set(base)];
    let [level, tier, step] = [0, -1, 1];
    for (const entry of sorted) {
      if (entry.tier === tier) level += step;
      else [level, tier] = [base[entry.tier], entry.tier];
      this.levels.set(key(entry), level);
      step = passing.has(key(entry)) && tier < Tier.DefaultPolicy ? room[tier + 1] + 1 : 1;
    }
    this.last = base[Tier.DefaultPolicy];
  }

  of(entry: PolicyEntry): Level {
    return this.levels.get(key(entry))!;
  }
}

/** Levels that a tier and all after it need. The agent's own rules are always the last tier. */
function roomOfTiers(sorted: readonly PolicyEntry[], passing: ReadonlySet<string>): number[] {
  const levels = new Array<number>(TIERS).fill(0);
  const passes = new Array<number>(TIERS).fill(0);
  levels[Tier.DefaultPolicy] = 1;
  for (const entry of sorted) {
    levels[entry.tier]++;
    if (passing.has(key(entry))) passes[entry.tier]++;
  }
  const room = levels.map(roundUp);
  for (let tier = TIERS - 2; tier >= 0; tier--) room[tier] = roundUp(room[tier] + (passes[tier] + 1) * room[tier + 1]);
  return room;
}

function roundUp(count: number): number {
  return Math.ceil(count / ROUND_UP) * ROUND_UP;
}

function key({ tier, priority }: PolicyEntry): string {
  return `${tier}/${priority}`;
}
