/**
 * xt_recent's lists (net/netfilter/xt_recent.c): named lists of addresses with the times they were seen,
 * shared by all rules of a node that name them, of both families. They outlive a reload of the rules.
 *
 * A list holds 100 addresses (ip_list_tot); a new address pushes out the one that was longest not updated. Of each it
 * keeps as many times as the largest --hitcount that names the list, rounded up to a power of two, or 32 without one.
 * `--reap` removes at most the one entry that was longest not updated. Times are virtual ns.
 *
 * The mask of a list is that of the first rule that names it; the families, which may share a list, have one each here.
 */
export const RecentOp = { Set: 1, Check: 2, Update: 4, Remove: 8 } as const;

const listLimit = 100;
/** Times an address is kept with where no rule of the list has a --hitcount. */
const plainStamps = 32;
const wholeAddress: readonly [number, number, number, number] = [-1, -1, -1, -1];

/** What the rules say of a list. */
export interface ListShape {
  readonly mask: readonly [number, number, number, number];
  readonly stamps: number;
}

/** recent_mt_check: how many times a list keeps for the sake of one rule. */
export function stampsFor(hitcount: number): number {
  return hitcount === 0 ? plainStamps : 2 ** Math.ceil(Math.log2(hitcount));
}

interface Entry {
  readonly key: string;
  readonly stamps: number[];
  /** Where the next stamp goes. */
  index: number;
  ttl: number;
}

export interface RecentQuery {
  readonly list: string;
  readonly op: number;
  readonly seconds: number;
  readonly hitcount: number;
  readonly reap: boolean;
  readonly rttl: boolean;
  readonly invert: boolean;
}

export class RecentLists {
  /** In the order of last update: the Map's own order, entries are re-inserted when updated. */
  private readonly lists = new Map<string, Map<string, Entry>>();

  private readonly shapes = new Map<string, { masks: [ListShape["mask"] | null, ListShape["mask"] | null]; stamps: number }>();

  /** A family's rules that are put in place name the list: a larger number of times empties it. */
  declare(name: string, family: 4 | 6, { mask, stamps }: ListShape): void {
    const at = family === 4 ? 0 : 1;
    const shape = this.shapes.get(name);
    if (shape === undefined) {
      this.shapes.set(name, { masks: family === 4 ? [mask, null] : [null, mask], stamps });
      return;
    }
    shape.masks[at] ??= mask;
    if (stamps <= shape.stamps) return;
    shape.stamps = stamps;
    this.lists.get(name)?.clear();
  }

  maskOf(name: string, family: 4 | 6): ListShape["mask"] {
    return this.shapes.get(name)?.masks[family === 4 ? 0 : 1] ?? wholeAddress;
  }

  /** recent_mt: whether the match holds for an address; records it as the operation says. */
  match(query: RecentQuery, address: string, ttl: number, nowNs: number): boolean {
    let list = this.lists.get(query.list);
    if (list === undefined) {
      list = new Map();
      this.lists.set(query.list, list);
    }
    let held = query.invert;
    const entry = lookUp(list, address, query.rttl ? ttl : 0);
    if (entry === undefined) {
      if (query.op !== RecentOp.Set) return held;
      if (list.size >= listLimit) list.delete(list.keys().next().value as string);
      list.set(address, { key: address, stamps: [nowNs], index: 1, ttl });
      return !held;
    }
    if (query.op === RecentOp.Set) {
      held = !held;
    } else if (query.op === RecentOp.Remove) {
      list.delete(entry.key);
      return !held;
    } else {
      const oldest = nowNs - query.seconds * 1e9;
      let hits = 0;
      for (const stamp of entry.stamps) {
        if (query.seconds !== 0 && stamp < oldest) continue;
        if (query.hitcount === 0 || ++hits >= query.hitcount) {
          held = !held;
          break;
        }
      }
      if (query.reap) reap(list, oldest);
    }
    if (query.op === RecentOp.Set || (query.op === RecentOp.Update && held)) {
      entry.index %= this.shapes.get(query.list)?.stamps ?? plainStamps;
      entry.stamps[entry.index++] = nowNs;
      entry.ttl = ttl;
      list.delete(entry.key);
      list.set(entry.key, entry);
    }
    return held;
  }

  /** Forgets the lists that no rule names any more. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.lists.keys()) if (!names.has(name)) this.lists.delete(name);
    for (const name of this.shapes.keys()) if (!names.has(name)) this.shapes.delete(name);
  }

  /** Addresses of a list, longest not updated first. */
  addresses(list: string): string[] {
    return [...(this.lists.get(list)?.keys() ?? [])];
  }
}

function lookUp(list: Map<string, Entry>, address: string, ttl: number): Entry | undefined {
  const entry = list.get(address);
  return entry !== undefined && ttl !== 0 && entry.ttl !== 0 && entry.ttl !== ttl ? undefined : entry;
}

/** recent_entry_reap: only the head of the list is looked at. */
function reap(list: Map<string, Entry>, oldest: number): void {
  const head = list.values().next().value;
  if (head !== undefined && head.stamps[head.index - 1] < oldest) list.delete(head.key);
}
