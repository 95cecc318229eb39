/**
 * xt_recent's lists (net/netfilter/xt_recent.c): named lists of addresses with the times they were seen,
 * shared by all rules of a node that name them, of both families. They outlive a reload of the rules.
 *
 * A list holds 100 addresses (ip_list_tot) and 20 times each (ip_pkt_list_tot); a new address pushes out the
 * one that was longest not updated. `--reap` removes at most the one entry that was longest not updated.
 * Times are virtual ns.
 */
export const RecentOp = { Set: 1, Check: 2, Update: 4, Remove: 8 } as const;

const listLimit = 100;
const stampLimit = 20;

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
      entry.index %= stampLimit;
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
