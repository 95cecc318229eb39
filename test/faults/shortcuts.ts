/** Faults in the shortcuts through long chains, seen by the walk without them. */
import type { Fault } from "./fault.js";

const folder = "src/linux/netfilter/";
const TEST = `${folder}shortcuts.test.ts`;

export const SHORTCUT_FAULTS: readonly Fault[] = [
  {
    id: "seek-equal-row", file: `${folder}chain-index.ts`, seenBy: TEST, why: "the row the walk stands at is passed over",
    find: "rows[middle] < row", replace: "rows[middle] <= row",
  },
  {
    id: "plain-row-skipped", file: `${folder}chain-index.ts`, seenBy: TEST, why: "a port's rows are looked up as TCP's",
    find: "packet.protocol << 16", replace: "6 << 16",
  },
  {
    id: "snat-state-passed-over", file: `${folder}compile.ts`, seenBy: TEST, why: "rules that want SNAT or DNAT are passed over by the state",
    find: "(wanted & (StateBit.Snat | StateBit.Dnat)) === 0", replace: "true",
  },
  {
    id: "cut-header-shortcut", file: `${folder}evaluate.ts`, seenBy: TEST, why: "a cut header takes the shortcut",
    find: "shortcuts && !packet.l4Short", replace: "shortcuts",
  },
  {
    id: "counted-set-unasked", file: `${folder}set-rows.ts`, seenBy: TEST, why: "a set behind one that counts keeps packets from it",
    find: "if (sets.counts(set)) break;", replace: "",
  },
  {
    id: "index-of-former-sets", file: `${folder}compiled-table.ts`, seenBy: TEST, why: "what SET adds or takes is not in the index",
    find: "if (this.sets === sets && this.version === sets.version) return;", replace: "if (this.sets === sets) return;",
  },
  {
    id: "index-of-nomatch", file: `${folder}sets/ip-set.ts`, seenBy: TEST, why: "networks and their exceptions are taken for addresses",
    find: "if (elements[place].nomatch || (layout.prefixes >= 0 && table.keys[base + layout.prefixes] !== layout.words * 32)) return null;",
    replace: "",
  },
];
