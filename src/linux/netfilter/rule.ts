/**
 * iptables rules as data: what the parser reads, the printer prints and the compiler compiles. Types only.
 *
 * Addresses are four 32-bit words as in Packet, ports are host order, masks are unsigned.
 */
import type { Extension, TargetExtension } from "./extension.js";
import type { SetMatch, SetTarget } from "./sets/set-rule.js";

export type TableName = "raw" | "mangle" | "nat" | "filter" | "security";
export const tableNames: readonly TableName[] = ["raw", "mangle", "nat", "filter", "security"];

/** Built-in chains of each table, in the order iptables-save prints them. */
export const builtinChains: Readonly<Record<TableName, readonly string[]>> = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
};

export interface AddressSpec {
  readonly words: readonly [number, number, number, number];
  readonly mask: readonly [number, number, number, number];
  readonly invert: boolean;
  /** `10.0.0.0/8`, as iptables-save prints it. */
  readonly text: string;
}

export interface NumberSpec {
  readonly value: number;
  readonly invert: boolean;
}

export interface DeviceSpec {
  /** Without the trailing `+`. */
  readonly name: string;
  /** `name+`: any device whose name starts so. */
  readonly prefix: boolean;
  readonly invert: boolean;
}

export interface RangeSpec {
  readonly min: number;
  readonly max: number;
  readonly invert: boolean;
}

export interface MaskSpec {
  readonly value: number;
  readonly mask: number;
  readonly invert: boolean;
}

/** Bits of `--ctstate`: XT_CONNTRACK_STATE_BIT, _SNAT, _DNAT, _UNTRACKED. */
export const StateBit = {
  Invalid: 1,
  Established: 2,
  Related: 4,
  New: 8,
  Snat: 64,
  Dnat: 128,
  Untracked: 256,
} as const;

export type Match =
  | {
      readonly kind: "ports";
      /** 6, 17, 132, 136 or 33: also the name of the match. */
      readonly protocol: number;
      readonly source: RangeSpec | null;
      readonly destination: RangeSpec | null;
      /** `--tcp-flags mask compared`. */
      readonly flags: MaskSpec | null;
      /** `--tcp-option`, `--chunk-types`. */
      readonly extra: Extension | null;
    }
  | {
      readonly kind: "multiport";
      readonly side: "sports" | "dports" | "ports";
      readonly ranges: readonly { readonly min: number; readonly max: number }[];
      readonly invert: boolean;
    }
  | {
      readonly kind: "icmp";
      readonly type: number;
      readonly minCode: number;
      readonly maxCode: number;
      readonly invert: boolean;
    }
  | { readonly kind: "mark"; readonly mark: MaskSpec }
  | { readonly kind: "connmark"; readonly mark: MaskSpec }
  | {
      readonly kind: "conntrack";
      /** `state` prints `-m state --state`. */
      readonly name: "conntrack" | "state";
      readonly state: NumberSpec | null;
      readonly status: NumberSpec | null;
      readonly protocol: NumberSpec | null;
      /** true: ORIGINAL. */
      readonly original: boolean | null;
      readonly addresses: readonly { readonly field: ConntrackAddress; readonly spec: AddressSpec }[];
      readonly ports: readonly { readonly field: ConntrackPort; readonly spec: RangeSpec }[];
    }
  /** Read, printed and judged by a file of `matches/`. */
  | { readonly kind: "extension"; readonly extension: Extension }
  | {
      readonly kind: "statistic";
      readonly mode: "random";
      readonly probability: number;
      readonly invert: boolean;
    }
  | {
      readonly kind: "statistic";
      readonly mode: "nth";
      readonly every: number;
      readonly packet: number;
      readonly invert: boolean;
    }
  | {
      readonly kind: "recent";
      readonly list: string;
      readonly op: number;
      readonly seconds: number;
      readonly hitcount: number;
      readonly reap: boolean;
      readonly rttl: boolean;
      readonly destination: boolean;
      readonly invert: boolean;
      readonly mask: readonly [number, number, number, number];
    }
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "nfacct"; readonly name: string }
  | SetMatch
  /** A match this engine does not know: the rule can be ruled out by its other matches, never matched. */
  | { readonly kind: "unmodelled"; readonly text: string };

export const conntrackAddresses = ["ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst"] as const;
export type ConntrackAddress = (typeof conntrackAddresses)[number];
export const conntrackPorts = ["ctorigsrcport", "ctorigdstport", "ctreplsrcport", "ctrepldstport"] as const;
export type ConntrackPort = (typeof conntrackPorts)[number];

export interface NatSpec {
  readonly address: readonly [number, number, number, number] | null;
  /** The last of a range; `address` where it is one. */
  readonly lastAddress: readonly [number, number, number, number] | null;
  /** `10.0.0.1`, `fd00::1`, `10.0.0.1-10.0.0.9`; empty without an address. */
  readonly addressText: string;
  /** 0: none. */
  readonly minPort: number;
  readonly maxPort: number;
  readonly random: boolean;
  readonly randomFully: boolean;
  readonly persistent: boolean;
  /** `--to-destination :9000-9010/7000`: the port that maps to the first; -1: none. */
  readonly basePort: number;
}

export type Target =
  /** No target: the rule only counts. */
  | { readonly kind: "none" }
  | { readonly kind: "verdict"; readonly verdict: "ACCEPT" | "DROP" | "RETURN" }
  | { readonly kind: "jump"; readonly chain: string; readonly goto: boolean }
  | { readonly kind: "reject"; readonly with: string }
  | {
      readonly kind: "nat";
      readonly name: "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT";
      readonly range: NatSpec;
    }
  /** mark = (mark & ~clear) ^ xor; `set` prints as --set-xmark. */
  | { readonly kind: "mark"; readonly clear: number; readonly xor: number }
  | {
      readonly kind: "connmark";
      readonly mode: "set" | "save" | "restore";
      readonly clear: number;
      readonly xor: number;
      readonly ctMask: number;
      readonly nfMask: number;
      /** Bits to the left, below 0 to the right. */
      readonly shift: number;
    }
  | { readonly kind: "notrack"; readonly name: "CT" | "NOTRACK" }
  | SetTarget
  /** Changes the packet; read, printed and carried out by a file of `targets/`. */
  | { readonly kind: "extension"; readonly extension: TargetExtension }
  /** LOG and others that change nothing a dataplane shows. `text` is what follows `-j`. */
  | { readonly kind: "log"; readonly text: string }
  | { readonly kind: "unmodelled"; readonly text: string };

export interface Rule {
  readonly file: string;
  /** Line of the text it was read from, 1-based. */
  readonly line: number;
  readonly source: AddressSpec | null;
  readonly destination: AddressSpec | null;
  readonly inDevice: DeviceSpec | null;
  readonly outDevice: DeviceSpec | null;
  /** 0 is "all". */
  readonly protocol: NumberSpec | null;
  readonly matches: readonly Match[];
  readonly target: Target;
  packets: number;
  bytes: number;
}

export interface Chain {
  readonly name: string;
  /** null for a chain of the user. */
  policy: "ACCEPT" | "DROP" | null;
  /** Counters of the policy. */
  packets: number;
  bytes: number;
  rules: Rule[];
}

export interface Table {
  readonly name: TableName;
  /** Built-in chains first; each in order of creation. */
  readonly chains: Map<string, Chain>;
  /**
   * Never changed again, its chains and rules neither, and loaded without counters: nodes may share it, and the
   * counters in it mean nothing.
   */
  readonly frozen?: true;
}

/** What a match or target is not modelled for, in one phrase; null where all of a rule is. */
export function unmodelledPart(rule: Rule): string | null {
  for (const match of rule.matches) if (match.kind === "unmodelled") return `match ${match.text}`;
  return rule.target.kind === "unmodelled" ? `target ${rule.target.text}` : null;
}
