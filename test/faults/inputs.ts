/** Faults in what reads and gives away inputs: whose address it is, whose clock is off, what a name stands for, what is left of a name. */
import type { Fault } from "./fault.js";

const STALE = "test/stale-snapshot.test.ts";
const ANONYMISE = "test/anonymise-traffic.test.ts";
const TRACE = "test/cli-trace.test.ts";

export const INPUT_FAULTS: readonly Fault[] = [
  { id: "input-snapshot-for-ever", file: "src/replay/snapshot.ts", seenBy: STALE, why: "a snapshot holds at any time, whatever the user says",
    find: "return this.isOther(pod.since, atNs) ? AFTER : \"\";", replace: "return \"\";" },
  { id: "input-listing-of-1970", file: "src/replay/loop.ts", seenBy: STALE, why: "what has no time is of 1970, before any pod was made",
    find: "first.timed ? first.timeNs : null", replace: "first.timeNs" },
  { id: "input-clock-backwards", file: "src/replay/clocks.ts", seenBy: "test/clock.test.ts", why: "the correction goes the wrong way",
    find: "(next === b ? -aheadNs : aheadNs)", replace: "(next === b ? aheadNs : -aheadNs)" },
  { id: "input-first-name-taken", file: "src/replay/named-ends.ts", seenBy: TRACE, why: "of several things with a name the first is taken",
    find: "if (found.length === 1) {", replace: "if (found.length >= 1) {" },
  { id: "input-own-backends", file: "src/cli/trace.ts", seenBy: TRACE, why: "each side goes to a backend of its own",
    find: "first.report.packets.otherChoice > 0 ?", replace: "first.report.packets.otherChoice < 0 ?" },
  { id: "input-identity-unread", file: "src/replay/flow-parties.ts", seenBy: "test/cli-flows.test.ts", why: "an identity says nothing of an address",
    find: "const kind = kindOfIdentity(party.identity);", replace: "const kind = kindOfIdentity(0);" },
  { id: "input-chain-kept", file: "src/anonymise/chains.ts", seenBy: ANONYMISE, why: "a chain whose service is not known keeps its hash",
    find: "return made[1] + this.alike(name, made[2], CHAIN_LENGTH - made[1].length);", replace: "return name;" },
  { id: "input-comment-kept", file: "src/anonymise/comments.ts", seenBy: ANONYMISE, why: "a comment that is nobody's own program's stays",
    find: "const pseudonym = names.word(\"comment\", text, 16);", replace: "const pseudonym = text;" },
  { id: "input-chain-of-old-name", file: "src/anonymise/chains.ts", seenBy: ANONYMISE, why: "chains do not follow their services' other names",
    find: "const known = this.known.get(name);", replace: "const known = this.known.get(\"\");" },
  { id: "input-endpoint-kept", file: "src/anonymise/chains.ts", seenBy: ANONYMISE, why: "the backend's address stays",
    find: "`[${mapped}]`}:${match[3]}`;", replace: "`[${mapped}]`}:${match[3]}`.replace(mapped, match[1] ?? match[2]);" },
  { id: "input-flow-label-kept", file: "src/anonymise/flows.ts", seenBy: ANONYMISE, why: "values of labels stay",
    find: "=${mapping.name(match[3] ?? \"\")}`];", replace: "=${match[3] ?? \"\"}`];" },
  { id: "input-identity-kept", file: "src/anonymise/flows.ts", seenBy: ANONYMISE, why: "numbers of identities stay",
    find: "value < 0x1000000 ? 256 :", replace: "value < 0x1000000 ? value :" },
];
