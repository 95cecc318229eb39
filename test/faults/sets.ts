/** Faults in the IP sets, seen by a naive reader of all entries. */
import type { Fault } from "./fault.js";

const folder = "src/linux/netfilter/sets/";
const TEST = `${folder}ipsets.test.ts`;

export const SET_FAULTS: readonly Fault[] = [
  {
    id: "first-dimension-for-all", file: `${folder}ip-set.ts`, seenBy: TEST, why: "every dimension takes the first one's direction",
    find: "(reference.sources & (1 << index)) !== 0;", replace: "(reference.sources & 1) !== 0;",
  },
  {
    id: "protocol-always-tcp", file: `${folder}packet-port.ts`, seenBy: TEST, why: "a port of any protocol is TCP's",
    find: "return (protocol << 16) | (source ?", replace: "return (6 << 16) | (source ?",
  },
  {
    id: "prefix-off-by-one", file: `${folder}ip-set.ts`, seenBy: TEST, why: "a network is one bit longer",
    find: "(-1 << (32 - kept))", replace: "(-1 << (31 - kept))",
  },
  {
    id: "other-family", file: `${folder}ip-set.ts`, seenBy: TEST, why: "a set is asked about packets of the other family",
    find: "family === packet.family", replace: "family !== packet.family",
  },
  {
    id: "shortest-network-wins", file: `${folder}ip-set.ts`, seenBy: TEST, why: "the least specific network decides",
    find: "for (let one = 128; one >= 0; one--)", replace: "for (let one = 0; one <= 128; one++)",
  },
  {
    id: "icmp-code-ignored", file: `${folder}packet-port.ts`, seenBy: TEST, why: "an ICMP port has no code",
    find: "(packet.icmpType << 8) | packet.icmpCode", replace: "packet.icmpType << 8",
  },
  {
    id: "dimension-missing", file: `${folder}ip-set.ts`, seenBy: TEST, why: "a rule with too few dimensions matches",
    find: "reference.dimensions >= this.type.dimensions.length", replace: "reference.dimensions >= 1",
  },
  {
    id: "timeout-ignored", file: `${folder}element.ts`, seenBy: TEST, why: "an entry lives for ever",
    find: "if (clock.now > element.expires) return false;", replace: "",
  },
  {
    id: "invert-ignored", file: `${folder}set-rule.ts`, seenBy: TEST, why: "! before --match-set is not read",
    find: "(found === Found.Yes) !== match.invert", replace: "found === Found.Yes",
  },
];
