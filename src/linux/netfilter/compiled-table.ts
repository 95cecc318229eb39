/**
 * A table's rules on one node: the program that nodes of equal rules share, with this node's counters and what
 * its matches remember (nth counts).
 */
import type { Family } from "../../cluster/address.js";
import { type CompiledTarget, TableProgram } from "./compile.js";
import { CompiledMatch, keepsState } from "./compiled-match.js";
import { stride } from "./rows.js";
import type { ChainIndex } from "./chain-index.js";
import type { Chain, Rule, Table, TableName } from "./rule.js";
import type { IpSets } from "./sets/ipsets.js";

/** Programs of tables that do not change any more. */
const programs = new WeakMap<Table, TableProgram>();

export class CompiledTable {
  readonly name: TableName;
  // The program's, see there.
  readonly code: Int32Array;
  readonly targets: readonly CompiledTarget[];
  readonly chains: readonly Chain[];
  readonly firstRows: Int32Array;
  readonly rules: readonly (Rule | null)[];
  readonly chainOf: Int32Array;
  readonly reasons: readonly string[];
  indexes: readonly ChainIndex[];
  readonly nextForState: readonly Int32Array[];
  // The node's own, by row.
  /** Packets at row * 2, bytes at row * 2 + 1. */
  readonly counts: Float64Array;
  readonly matches: readonly (readonly CompiledMatch[])[];
  private readonly program: TableProgram;
  /** The sets that `indexes` know of, as they were. */
  private sets: IpSets | null = null;
  private version = 0;

  constructor(table: Table, family: Family) {
    const program = programOf(table, family);
    this.program = program;
    this.name = program.name;
    this.code = program.code;
    this.targets = program.targets;
    this.chains = program.chains;
    this.firstRows = program.firstRows;
    this.rules = program.rules;
    this.chainOf = program.chainOf;
    this.reasons = program.reasons;
    this.indexes = program.indexes;
    this.nextForState = program.nextForState;
    this.counts = new Float64Array(this.rules.length * 2);
    this.matches = ownMatches(program.matches);
    if (table.frozen !== true) this.loadCounters();
  }

  /** Takes sets into the indexes; sets that change while packets ask them are left out. */
  follow(sets: IpSets): void {
    if (this.sets === sets && this.version === sets.version) return;
    this.indexes = this.sets === sets ? this.program.indexes : this.program.indexesOf(sets);
    this.sets = sets;
    this.version = sets.version;
  }

  /** Op of a row. */
  op(row: number): number {
    return this.code[row * stride + 24];
  }

  /** Argument of a row's Op. */
  argument(row: number): number {
    return this.code[row * stride + 25];
  }

  /** First row of a chain, -1 where there is none. */
  start(chain: string): number {
    return this.program.start(chain);
  }

  /** Text of a row for `trace`. */
  text(row: number): string {
    return this.program.text(row);
  }

  /** Packets and bytes of a rule, position from 0; of the policy at the position after the last rule. */
  counters(chain: string, position: number): readonly [number, number] {
    const row = this.start(chain) + position;
    return [this.counts[row * 2], this.counts[row * 2 + 1]];
  }

  private loadCounters(): void {
    for (let row = 0; row < this.rules.length; row++) {
      const holder = this.rules[row] ?? this.chains[this.chainOf[row]];
      this.counts[row * 2] = holder.packets;
      this.counts[row * 2 + 1] = holder.bytes;
    }
  }
}

function programOf(table: Table, family: Family): TableProgram {
  if (table.frozen !== true) return new TableProgram(table, family);
  let program = programs.get(table);
  if (program === undefined) {
    program = new TableProgram(table, family);
    programs.set(table, program);
  }
  return program;
}

/** Matches that remember something, made anew for this node; the others are shared. */
function ownMatches(shared: readonly CompiledMatch[][]): readonly (readonly CompiledMatch[])[] {
  if (!shared.some((list) => list.some(keepsState))) return shared;
  return shared.map((list) => (list.some(keepsState) ? list.map(copyOf) : list));
}

function copyOf(compiled: CompiledMatch): CompiledMatch {
  const copy = new CompiledMatch(compiled.match);
  copy.run = compiled.run;
  copy.position = compiled.position;
  copy.pureAfter = compiled.pureAfter;
  return copy;
}
