/**
 * Rules -> flat numbers, for one table of one family: what is equal for all nodes that have these rules.
 * Counters and what matches remember are a node's own (compiled-table.ts). Every rule is one row of `code`; the tests that cannot
 * have a side effect and come before any that can are in the row (rows.ts), the rest is a list of CompiledMatch.
 *
 * A chain is consecutive rows and one row more, Op.End. Nothing is reordered: a packet meets the same rules
 * in the same order as in the text, and the same counters move.
 */
import type { Family } from "../../cluster/address.js";
import { choiceRuns, type ChoiceRun } from "./choice.js";
import { addressHash, ChainIndex, deviceHash, indexFrom, Key, keyHash, plain } from "./chain-index.js";
import { CompiledMatch, isPure, remembers } from "./compiled-match.js";
import { NatRange } from "./nat.js";
import { printRule } from "./print.js";
import {
  type AddressSpec,
  type Chain,
  type DeviceSpec,
  type Match,
  type Rule,
  StateBit,
  type Table,
  type TableName,
  type Target,
  unmodelledPart,
} from "./rule.js";
import { loopedChain } from "./jumps.js";
import { Op, Row, stride } from "./rows.js";
import { SetRows } from "./set-rows.js";
import type { IpSets } from "./sets/ipsets.js";
import type { SetMatch } from "./sets/set-rule.js";

export interface CompiledTarget {
  readonly target: Target;
  readonly range: NatRange;
}

export class TableProgram {
  readonly name: TableName;
  readonly family: Family;
  readonly code: Int32Array;
  readonly matches: CompiledMatch[][] = [];
  readonly targets: CompiledTarget[] = [];
  readonly chains: Chain[] = [];
  /** First row of each of `chains`. */
  readonly firstRows: Int32Array;
  /** The rule of a row; null for Op.End. */
  readonly rules: (Rule | null)[] = [];
  /** Index into `chains` of a row. */
  readonly chainOf: Int32Array;
  /** Why a row drops or does not decide; "" where it does neither. */
  readonly reasons: string[] = [];
  readonly indexes: ChainIndex[] = [];
  /**
   * By the bit number of a packet's state (StateBit), then by row: the first row from there on that the state
   * alone does not rule out, times two, plus one where the row matches in this state, whatever else the packet
   * is. What is passed over has no effect: the state is tested before anything that could have one.
   */
  readonly nextForState: readonly Int32Array[];
  private readonly setRows: (SetRows | null)[] = [];
  private readonly indexesBySets = new WeakMap<IpSets, { readonly version: number; readonly indexes: readonly ChainIndex[] }>();
  /** By row, of those that were asked for. */
  private readonly texts: (string | undefined)[] = [];
  private readonly starts = new Map<string, number>();
  private readonly looped: boolean;
  private readonly table: Table;

  constructor(table: Table, family: Family) {
    this.name = table.name;
    this.family = family;
    this.table = table;
    this.looped = loopedChain(table) !== null;
    this.firstRows = new Int32Array(table.chains.size);
    let rows = 0;
    let number = 0;
    for (const chain of table.chains.values()) {
      this.starts.set(chain.name, rows);
      this.firstRows[number++] = rows;
      rows += chain.rules.length + 1;
    }
    this.code = new Int32Array(rows * stride);
    this.chainOf = new Int32Array(rows);
    let row = 0;
    for (const chain of table.chains.values()) row = this.compileChain(chain, row);
    this.nextForState = Array.from({ length: 9 }, (_, bit) => this.skips(1 << bit));
  }

  /** First row of a chain, -1 where there is none. */
  start(chain: string): number {
    return this.starts.get(chain) ?? -1;
  }

  /** `indexes`, with what sets hold as they are now. */
  indexesOf(sets: IpSets): readonly ChainIndex[] {
    if (!this.setRows.some((rows) => rows !== null) || !sets.timeless) return this.indexes;
    let found = this.indexesBySets.get(sets);
    if (found?.version !== sets.version) {
      found = { version: sets.version,
        indexes: this.indexes.map((index, at) => this.setRows[at]?.index(sets, this.family) ?? index) };
      this.indexesBySets.set(sets, found);
    }
    return found.indexes;
  }

  /** Text of a row for `trace`. */
  text(row: number): string {
    const rule = this.rules[row];
    const chain = this.chains[this.chainOf[row]];
    return this.texts[row] ??= rule === null
      ? `policy ${chain.policy ?? "RETURN"}`
      : `-A ${chain.name}${printRule(rule, this.family)}`;
  }

  /** Fills the rows of a chain; the first row after them. */
  private compileChain(chain: Chain, first: number): number {
    const { rules } = chain;
    const index = this.chains.push(chain) - 1;
    const runs = choiceRuns(chain, this.table);
    const place = `${this.name}/${chain.name}`;
    for (let position = 0; position < rules.length; position++) {
      this.compileRule(first + position, rules[position], place, position, runs);
    }
    const end = first + rules.length;
    this.chainOf.fill(index, first, end + 1);
    this.act(end, Op.End, index);
    if (rules.length >= indexFrom) this.index(first, end);
    this.rules.push(null);
    this.reasons.push(chain.policy === "DROP" ? `${place} policy` : "");
    return end + 1;
  }

  private compileRule(
    row: number,
    rule: Rule,
    place: string,
    position: number,
    runs: readonly (ChoiceRun | null)[] | null,
  ): void {
    const base = row * stride;
    this.rules.push(rule);
    this.code[base] = this.baseMatches(base, rule);
    const rest = this.hoist(base, rule);
    if (rest.length > 0) {
      for (const compiled of rest) {
        if (compiled.match.kind !== "statistic") continue;
        compiled.run = runs?.[position] ?? null;
        compiled.position = compiled.run === null ? 0 : position - compiled.run.first;
      }
      this.code[base] |= Row.Matches;
      this.code[base + 23] = this.matches.push(rest) - 1;
    }
    const unmodelled = unmodelledPart(rule);
    const reason = this.compileTarget(row, rule.target, place);
    this.reasons.push(
      unmodelled === null
        ? reason
        : `undecided: ${place} rule ${position + 1}: ${unmodelled} is not modelled`,
    );
    if (unmodelled !== null) this.act(row, Op.Undecided);
  }

  private act(row: number, op: number, argument = 0): void {
    this.code[row * stride + 24] = op;
    this.code[row * stride + 25] = argument;
  }

  /** nextForState of one state. */
  private skips(state: number): Int32Array {
    const { code } = this;
    const next = new Int32Array(this.chainOf.length);
    for (let row = next.length - 1; row >= 0; row--) {
      const flags = code[row * stride];
      const wanted = code[row * stride + 20];
      // SNAT and DNAT are said beside the state and may hold or not.
      const known = (flags & Row.State) !== 0 && (wanted & (StateBit.Snat | StateBit.Dnat)) === 0;
      const ruledOut = known && ((wanted & state) !== 0) === ((flags & Row.StateNot) !== 0);
      const certain = flags === 0 || (known && (flags & ~(Row.State | Row.StateNot)) === 0);
      next[row] = ruledOut ? next[row + 1] : row * 2 + (certain ? 1 : 0);
    }
    return next;
  }

  /** Makes the shortcut of the chain in rows [first, end). */
  private index(first: number, end: number): void {
    const keys = new Int8Array(end - first);
    const hashes = new Int32Array(end - first);
    let found = 0;
    const asking = new Map<number, readonly SetMatch[]>();
    for (let row = first; row < end; row++) {
      const key = this.keyOf(row);
      keys[row - first] = key;
      if (key === plain) {
        const sets = this.setsFirst(row);
        if (sets.length > 0) asking.set(row - first, sets);
        continue;
      }
      hashes[row - first] = this.hashOf(key, row);
      found++;
    }
    if (found + asking.size < indexFrom || this.indexes.length === 0xffff) return;
    this.indexes.push(new ChainIndex(first, keys, hashes));
    this.setRows.push(asking.size < indexFrom ? null : new SetRows(first, keys, hashes, asking));
    for (let row = first; row <= end; row++) this.code[row * stride + 26] = this.indexes.length;
  }

  /** The sets that a row asks before anything that could remember the packet. */
  private setsFirst(row: number): SetMatch[] {
    const base = row * stride;
    const found: SetMatch[] = [];
    if ((this.code[base] & Row.Matches) === 0) return found;
    for (const { match, pureAfter } of this.matches[this.code[base + 23]]) {
      if (match.kind !== "set" || !pureAfter) break;
      found.push(match);
    }
    return found;
  }

  /** What a row is found by; `plain` where it wants no one value of anything. */
  private keyOf(row: number): Key | typeof plain {
    const { code } = this;
    const base = row * stride;
    const flags = code[base];
    const ports = Row.Protocol | Row.Header | Row.DestinationPort;
    const range = code[base + 19];
    const onePort =
      (flags & (ports | Row.ProtocolNot | Row.DestinationPortNot)) === ports && (range & 0xffff) === range >>> 16;
    const destination = (flags & Row.DestinationNot) === 0 && this.isWhole(flags & Row.Destination, base + 14);
    if (destination) return onePort ? Key.Service : Key.Destination;
    if ((flags & Row.SourceNot) === 0 && this.isWhole(flags & Row.Source, base + 6)) return Key.Source;
    const rule = this.rules[row];
    if (isOneDevice(rule?.outDevice)) return Key.OutDevice;
    if (isOneDevice(rule?.inDevice)) return Key.InDevice;
    return onePort ? Key.Port : plain;
  }

  /** Whether the mask at `at` is that of a single address; `given`: there is an address at all. */
  private isWhole(given: number, at: number): boolean {
    const { code } = this;
    if (given === 0 || code[at + 3] !== -1) return false;
    return this.family === 4 || (code[at] & code[at + 1] & code[at + 2]) === -1;
  }

  private hashOf(key: Key, row: number): number {
    const { code } = this;
    const base = row * stride;
    const rule = this.rules[row];
    const port = (code[base + 1] << 16) | (code[base + 19] & 0xffff);
    const address = (at: number): number => addressHash(code[at], code[at + 1], code[at + 2], code[at + 3]);
    switch (key) {
      case Key.Service:
        return keyHash(key, address(base + 10), port);
      case Key.Destination:
        return keyHash(key, address(base + 10), 0);
      case Key.Source:
        return keyHash(key, address(base + 2), 0);
      case Key.OutDevice:
        return keyHash(key, deviceHash(rule?.outDevice?.name ?? ""), 0);
      case Key.InDevice:
        return keyHash(key, deviceHash(rule?.inDevice?.name ?? ""), 0);
      case Key.Port:
        return keyHash(key, 0, port);
    }
  }

  /** Addresses, protocol, devices. */
  private baseMatches(base: number, rule: Rule): number {
    const { code } = this;
    let flags = 0;
    if (rule.source !== null) {
      flags |= Row.Source | (rule.source.invert ? Row.SourceNot : 0);
      this.put(rule.source, base + 2);
    }
    if (rule.destination !== null) {
      flags |= Row.Destination | (rule.destination.invert ? Row.DestinationNot : 0);
      this.put(rule.destination, base + 10);
    }
    // `-p all` says nothing.
    if (rule.protocol !== null && rule.protocol.value !== 0) {
      flags |= Row.Protocol | (rule.protocol.invert ? Row.ProtocolNot : 0);
      code[base + 1] = rule.protocol.value;
    }
    if (rule.inDevice !== null || rule.outDevice !== null) flags |= Row.Devices;
    return flags;
  }

  /** Words and mask at `at`. Typed arrays' own set() is slow for four. */
  private put({ words, mask }: AddressSpec, at: number): void {
    const { code } = this;
    for (let word = 0; word < 4; word++) {
      code[at + word] = words[word];
      code[at + 4 + word] = mask[word];
    }
  }

  /** Moves tests without side effects into the row, as long as none with a side effect came before them. */
  private hoist(base: number, rule: Rule): CompiledMatch[] {
    const { code } = this;
    const rest: CompiledMatch[] = [];
    let pure = true;
    let doubtful = false;
    for (const match of rule.matches) {
      const flags = code[base];
      if (match.kind === "unmodelled") doubtful = true;
      if (match.kind === "comment" || match.kind === "unmodelled") continue;
      if (pure && rest.length === 0 && match.kind === "ports" && match.flags === null && match.extra === null) {
        // It may drop the packet: no test may change sides with it.
        pure = false;
        code[base] |= Row.Header;
        if (match.source !== null) {
          code[base] |= Row.SourcePort | (match.source.invert ? Row.SourcePortNot : 0);
          code[base + 18] = match.source.min | (match.source.max << 16);
        }
        if (match.destination !== null) {
          code[base] |= Row.DestinationPort | (match.destination.invert ? Row.DestinationPortNot : 0);
          code[base + 19] = match.destination.min | (match.destination.max << 16);
        }
      } else if (pure && match.kind === "mark" && (flags & Row.Mark) === 0) {
        code[base] |= Row.Mark | (match.mark.invert ? Row.MarkNot : 0);
        code[base + 21] = match.mark.value;
        code[base + 22] = match.mark.mask;
      } else if (pure && match.kind === "conntrack" && isStateOnly(match) && (flags & Row.State) === 0) {
        code[base] |= Row.State | (match.state?.invert ? Row.StateNot : 0);
        code[base + 20] = match.state?.value ?? 0;
      } else {
        // Whether a packet comes this far is not known behind an unmodelled match, so nothing may be remembered of it.
        if (doubtful && remembers(match)) continue;
        rest.push(new CompiledMatch(match));
        if (!isPure(match)) pure = false;
      }
    }
    for (let at = rest.length - 2; at >= 0; at--) rest[at].pureAfter = rest[at + 1].pureAfter && !remembers(rest[at + 1].match);
    return rest;
  }

  private compileTarget(row: number, target: Target, place: string): string {
    const { table, looped } = this;
    switch (target.kind) {
      case "none":
      case "log":
        this.act(row, Op.Continue);
        return "";
      case "verdict":
        this.act(row, target.verdict === "ACCEPT" ? Op.Accept : target.verdict === "DROP" ? Op.Drop : Op.Return);
        return target.verdict === "DROP" ? place : "";
      case "jump": {
        const chain = table.chains.get(target.chain);
        if (chain === undefined || chain.policy !== null || looped) {
          this.act(row, Op.Undecided);
          const why = looped ? "is in a table with a loop" : "is no chain of a user";
          return `undecided: ${place} jumps to ${target.chain}, which ${why}`;
        }
        this.act(row, target.goto ? Op.Goto : Op.Jump, this.start(target.chain));
        return "";
      }
      case "unmodelled":
        this.act(row, Op.Undecided);
        return "";
      default: {
        this.act(row, Op.Target, this.targets.push({ target, range: rangeOf(target) }) - 1);
        if (target.kind === "extension") return `${place} ${target.extension.text}`;
        if (target.kind === "reject") return `${place} REJECT ${target.with}`;
        return target.kind === "nat" ? `${place} ${target.name}: no address to use` : "";
      }
    }
  }
}

/** A name that a device either has or not: `eth+` and `! eth0` are many. */
function isOneDevice(spec: DeviceSpec | null | undefined): boolean {
  return spec != null && !spec.prefix && !spec.invert;
}

function isStateOnly(match: Extract<Match, { kind: "conntrack" }>): boolean {
  return (
    match.state !== null &&
    match.status === null &&
    match.protocol === null &&
    match.original === null &&
    match.addresses.length === 0 &&
    match.ports.length === 0
  );
}

function rangeOf(target: Target): NatRange {
  const range = new NatRange();
  if (target.kind !== "nat") return range;
  const spec = target.range;
  range.hasAddress = spec.address !== null;
  if (spec.address !== null) [range.a0, range.a1, range.a2, range.a3] = spec.address;
  if (spec.lastAddress !== null) [range.b0, range.b1, range.b2, range.b3] = spec.lastAddress;
  range.persistent = spec.persistent;
  range.basePort = spec.basePort;
  range.minPort = spec.minPort;
  range.maxPort = spec.maxPort;
  // NF_NAT_RANGE_PROTO_RANDOM_ALL is either kind of random.
  range.random = spec.random || spec.randomFully;
  return range;
}
