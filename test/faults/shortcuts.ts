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
];
