/**
 * Where a policy map entry comes from: the number in its `cookie` field stands for a set of rules.
 *
 * Equal keys join their sets. While compiling, numbers are handed out in order of first use; 0 is the empty
 * set. Afterwards `renumbered` gives numbers that depend on the sets only, not on the order of work.
 */
import type { Because } from "../../../dataplane.js";
import type { Numbering } from "../numbers.js";

export class CookieTable {
  private readonly origins: Because[] = [];
  /** Each set is a sorted list of origin numbers. */
  private readonly sets: (readonly number[])[] = [[]];
  private readonly numbers = new Map<string, number>([["", 0]]);
  /** first * 2^26 + second -> joined. */
  private readonly joins = new Map<number, number>();
  private readonly ofOrigin = new Map<Because, number>();

  /** The cookie of one origin. */
  of(because: Because): number {
    let cookie = this.ofOrigin.get(because);
    if (cookie === undefined) {
      cookie = this.number([this.origins.push(because) - 1]);
      this.ofOrigin.set(because, cookie);
    }
    return cookie;
  }

  ofAll(becauses: readonly Because[]): number {
    return becauses.reduce((joined, because) => this.join(joined, this.of(because)), 0);
  }

  /** The cookie of both sets together. */
  join(first: number, second: number): number {
    if (first === second || second === 0) return first;
    if (first === 0) return second;
    const key = first < second ? first * 0x4000000 + second : second * 0x4000000 + first;
    let joined = this.joins.get(key);
    if (joined === undefined) {
      const union = new Set([...this.sets[first], ...this.sets[second]]);
      joined = this.number([...union].sort((a, b) => a - b));
      this.joins.set(key, joined);
    }
    return joined;
  }

  becauses(cookie: number): Because[] {
    return this.sets[cookie].map((origin) => this.origins[origin]).sort(byBecause);
  }

  /**
   * Lasting numbers for the given cookies, handed out in the order of their text, and what each stands for.
   */
  renumbered(
    used: Iterable<number>,
    numbers: Numbering,
  ): { becauses: Map<number, readonly Because[]>; numberOf: ReadonlyMap<number, number> } {
    const rows = [...new Set(used)]
      .filter((cookie) => cookie !== 0)
      .map((cookie) => {
        const becauses = this.becauses(cookie);
        return { cookie, becauses, text: becauses.map(becauseText).join("\n") };
      });
    rows.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
    const becauses = new Map<number, readonly Because[]>();
    const numberOf = new Map<number, number>([[0, 0]]);
    for (const row of rows) {
      const number = numbers.of(row.text);
      becauses.set(number, row.becauses);
      numberOf.set(row.cookie, number);
    }
    return { becauses, numberOf };
  }

  private number(set: readonly number[]): number {
    const key = set.join(",");
    let cookie = this.numbers.get(key);
    if (cookie === undefined) {
      cookie = this.sets.push(set) - 1;
      this.numbers.set(key, cookie);
    }
    return cookie;
  }
}

export function becauseText(because: Because): string {
  const where =
    because.where === null ? "" : `${because.where.file}:${String(because.where.line).padStart(9, "0")}`;
  return `${because.object}\t${because.rule}\t${where}`;
}

function byBecause(a: Because, b: Because): number {
  const first = becauseText(a);
  const second = becauseText(b);
  return first < second ? -1 : first > second ? 1 : 0;
}
