/**
 * Options of matches: from the words after `-m name` to a Match. An option that is not known makes the match
 * unmodelled; nothing throws.
 */
import { type Family, parseAddress } from "../../cluster/address.js";
import type { Extension } from "./extension.js";
import type { Option } from "./matches/options.js";
import { extensionReaders } from "./matches/registry.js";
import { readChunkTypes } from "./matches/sctp-chunks.js";
import { readTcpOption } from "./matches/tcp-option.js";
import {
  parseAddressSpec,
  parseIcmpType,
  parseNumber,
  parsePortRange,
  parseProtocol,
  parseTcpFlags,
  wordsOf,
} from "./names.js";
import { RecentOp } from "./recent.js";
import {
  type AddressSpec,
  type ConntrackAddress,
  conntrackAddresses,
  type ConntrackPort,
  conntrackPorts,
  type MaskSpec,
  type Match,
  type NumberSpec,
  type RangeSpec,
  StateBit,
} from "./rule.js";
import { readSetMatch } from "./sets/set-rule.js";

export type { Option } from "./matches/options.js";

/** A match, or the text of what is wrong with it. */
export type MatchResult = Match | string;

const portProtocols: Readonly<Record<string, number>> = {
  tcp: 6,
  udp: 17,
  sctp: 132,
  udplite: 136,
  dccp: 33,
};

/** The names of matches that parseMatch reads. */
export function isKnownMatch(name: string): boolean {
  return Object.hasOwn(portProtocols, name) || Object.hasOwn(readers, name) || extensionReaders.has(name);
}

export function parseMatch(name: string, options: readonly Option[], family: Family): MatchResult {
  if (Object.hasOwn(portProtocols, name)) return readPorts(portProtocols[name], options);
  if (Object.hasOwn(readers, name)) return readers[name](options, family, name);
  const read = extensionReaders.get(name)?.(options, family, name) ?? null;
  if (read === null) return unmodelled(name, options);
  return typeof read === "string" ? read : { kind: "extension", extension: read };
}

export function unmodelled(name: string, options: readonly Option[]): Match {
  const words = options.flatMap((option) => [...(option.invert ? ["!"] : []), option.name, ...option.values]);
  return { kind: "unmodelled", text: [`-m ${name}`, ...words].join(" ") };
}

/** XT_MAX_COMMENT_LEN, without the byte that ends it: what is longer is cut. */
const longestComment = 255;

const readers: Readonly<
  Record<string, (options: readonly Option[], family: Family, name: string) => MatchResult>
> = {
  multiport: readMultiport,
  icmp: readIcmp,
  icmp6: readIcmp,
  mark: (options) => readMark("mark", options),
  connmark: (options) => readMark("connmark", options),
  conntrack: readConntrack,
  state: readConntrack,
  statistic: readStatistic,
  recent: readRecent,
  set: (options, _family, name) => readSetMatch(options) ?? unmodelled(name, options),
  comment: (options) => {
    const text = options.length === 1 && options[0].name === "--comment" ? options[0].values[0] : undefined;
    if (text === undefined) return "the comment match needs --comment and a text";
    return { kind: "comment", text: text.slice(0, longestComment) };
  },
  nfacct: (options) => {
    const name =
      options.length === 1 && options[0].name === "--nfacct-name" ? options[0].values[0] : undefined;
    return name === undefined ? "the nfacct match needs --nfacct-name and a name" : { kind: "nfacct", name };
  },
};

function readPorts(protocol: number, options: readonly Option[]): MatchResult {
  let source: RangeSpec | null = null;
  let destination: RangeSpec | null = null;
  let flags: MaskSpec | null = null;
  let extra: Extension | null = null;
  for (const option of options) {
    const { name, values, invert } = option;
    const range = parsePortRange(values[0] ?? "", ":");
    if (
      name === "--sport" ||
      name === "--source-port" ||
      name === "--dport" ||
      name === "--destination-port"
    ) {
      if (range === null) return `${name} ${values[0] ?? ""} is not a port or a range of ports`;
      if (name.startsWith("--s")) source = { ...range, invert };
      else destination = { ...range, invert };
    } else if (name === "--syn" && protocol === 6) {
      flags = { mask: 0x17, value: 2, invert };
    } else if (name === "--tcp-flags" && protocol === 6) {
      const mask = parseTcpFlags(values[0] ?? "");
      const value = parseTcpFlags(values[1] ?? "");
      if (mask === null || value === null)
        return "--tcp-flags needs two lists of FIN,SYN,RST,PSH,ACK,URG,ALL or NONE";
      flags = { mask, value, invert };
    } else if (name === "--tcp-option" && protocol === 6) {
      extra = readTcpOption(option);
      if (extra === null) return `--tcp-option ${values.join(" ")} is not a number from 1 to 255`;
    } else if (name === "--chunk-types" && protocol === 132) {
      extra = readChunkTypes(option);
      if (extra === null) return unmodelled("sctp", options);
    } else {
      return unmodelled(
        Object.keys(portProtocols).find((key) => portProtocols[key] === protocol) ?? "",
        options,
      );
    }
  }
  return { kind: "ports", protocol, source, destination, flags, extra };
}

function readMultiport(options: readonly Option[]): MatchResult {
  const option = options[0];
  if (options.length !== 1) return "the multiport match needs one list of ports";
  const side = /^--(sports|source-ports)$/.test(option.name)
    ? "sports"
    : /^--(dports|destination-ports)$/.test(option.name)
      ? "dports"
      : option.name === "--ports"
        ? "ports"
        : null;
  if (side === null) return unmodelled("multiport", options);
  const ranges: { min: number; max: number }[] = [];
  for (const text of (option.values[0] ?? "").split(",")) {
    const range = parsePortRange(text, ":");
    if (range === null) return `${option.name} ${option.values[0] ?? ""} is not a list of ports`;
    ranges.push(range);
  }
  // XT_MULTI_PORTS: a range takes two places.
  const places = ranges.reduce((sum, { min, max }) => sum + (min === max ? 1 : 2), 0);
  if (places > 15) return `${option.name} has more than 15 ports`;
  return { kind: "multiport", side, ranges, invert: option.invert };
}

function readIcmp(options: readonly Option[], family: Family, name: string): MatchResult {
  const option = options[0];
  if (options.length !== 1 || !/^--icmp(v6)?-type$/.test(option.name)) return unmodelled(name, options);
  const type = parseIcmpType(option.values[0] ?? "", family);
  if (type === null) return `${option.values[0] ?? ""} is not an ICMP type known here`;
  return { kind: "icmp", type: type[0], minCode: type[1], maxCode: type[2], invert: option.invert };
}

function readMark(kind: "mark" | "connmark", options: readonly Option[]): MatchResult {
  const option = options[0];
  if (options.length !== 1 || option.name !== "--mark") return unmodelled(kind, options);
  const mark = parseMasked(option.values[0] ?? "");
  return mark === null
    ? `--mark ${option.values[0] ?? ""} is not a value or value/mask`
    : { kind, mark: { ...mark, invert: option.invert } };
}

/** `value` or `value/mask`, 32 bits each. */
export function parseMasked(text: string): { value: number; mask: number } | null {
  const [valueText, maskText] = text.split("/", 2);
  const value = parseNumber(valueText, 0xffffffff);
  const mask = maskText === undefined ? 0xffffffff : parseNumber(maskText, 0xffffffff);
  return value === null || mask === null ? null : { value, mask };
}

const stateNames: Readonly<Record<string, number>> = {
  INVALID: StateBit.Invalid,
  NEW: StateBit.New,
  ESTABLISHED: StateBit.Established,
  RELATED: StateBit.Related,
  UNTRACKED: StateBit.Untracked,
  SNAT: StateBit.Snat,
  DNAT: StateBit.Dnat,
};

/** enum ip_conntrack_status; NONE asks for no bit: it never holds, and always does inverted. */
const statusNames: Readonly<Record<string, number>> = {
  EXPECTED: 1,
  SEEN_REPLY: 2,
  ASSURED: 4,
  CONFIRMED: 8,
  NONE: 0,
};

function readConntrack(options: readonly Option[], family: Family, name: string): MatchResult {
  let state: NumberSpec | null = null;
  let status: NumberSpec | null = null;
  let protocol: NumberSpec | null = null;
  let original: boolean | null = null;
  const addresses: { field: ConntrackAddress; spec: AddressSpec }[] = [];
  const ports: { field: ConntrackPort; spec: RangeSpec }[] = [];
  for (const option of options) {
    const value = option.values[0] ?? "";
    const field = option.name.slice(2);
    if (option.name === "--ctstate" || (name === "state" && option.name === "--state")) {
      const bits = bitsOf(value, stateNames);
      if (bits === null) return `${option.name} ${value} is not a list of connection states`;
      state = { value: bits, invert: option.invert };
    } else if (option.name === "--ctstatus") {
      const bits = bitsOf(value, statusNames);
      if (bits === null) return unmodelled(name, options);
      status = { value: bits, invert: option.invert };
    } else if (option.name === "--ctproto") {
      const number = parseProtocol(value);
      if (number === null) return `--ctproto ${value} is not a protocol`;
      protocol = { value: number, invert: option.invert };
    } else if (option.name === "--ctdir" && /^(original|reply)$/i.test(value) && !option.invert) {
      original = value.toUpperCase() === "ORIGINAL";
    } else if (conntrackAddresses.includes(field as ConntrackAddress)) {
      const spec = parseAddressSpec(value, family, option.invert);
      if (spec === null) return `${option.name} ${value} is not an IPv${family} address or network`;
      addresses.push({ field: field as ConntrackAddress, spec });
    } else if (conntrackPorts.includes(field as ConntrackPort)) {
      const range = parsePortRange(value, ":");
      if (range === null) return `${option.name} ${value} is not a port or a range of ports`;
      ports.push({ field: field as ConntrackPort, spec: { ...range, invert: option.invert } });
    } else {
      return unmodelled(name, options);
    }
  }
  if (options.length === 0) return `the ${name} match needs an option`;
  return {
    kind: "conntrack",
    name: name === "state" ? "state" : "conntrack",
    state,
    status,
    protocol,
    original,
    addresses,
    ports,
  };
}

function bitsOf(text: string, names: Readonly<Record<string, number>>): number | null {
  let bits = 0;
  for (const part of text.split(",")) {
    const bit = Object.hasOwn(names, part.toUpperCase()) ? names[part.toUpperCase()] : undefined;
    if (bit === undefined) return null;
    bits |= bit;
  }
  return bits;
}

function readStatistic(options: readonly Option[]): MatchResult {
  const option = (name: string): Option | undefined => options.find((candidate) => candidate.name === name);
  const mode = option("--mode")?.values[0];
  const known = options.every(({ name }) =>
    ["--mode", "--probability", "--every", "--packet"].includes(name),
  );
  if (!known || (mode !== "random" && mode !== "nth")) return unmodelled("statistic", options);
  if (mode === "random") {
    const text = option("--probability")?.values[0] ?? "";
    const probability = /^\d*\.?\d+(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (!(probability >= 0 && probability <= 1)) return `--probability ${text} is not a number from 0 to 1`;
    // libxt_statistic: lround(0x80000000 * p), compared with 31 random bits.
    return {
      kind: "statistic",
      mode,
      probability: Math.round(0x80000000 * probability),
      invert: option("--probability")?.invert ?? false,
    };
  }
  const every = parseNumber(option("--every")?.values[0] ?? "", 0xffffffff);
  const packet = parseNumber(option("--packet")?.values[0] ?? "0", 0xffffffff);
  if (every === null || every === 0 || packet === null || packet >= every)
    return "statistic --mode nth needs --every N and --packet 0 to N-1";
  return { kind: "statistic", mode, every, packet, invert: option("--every")?.invert ?? false };
}

function readRecent(options: readonly Option[], family: Family): MatchResult {
  let list = "DEFAULT";
  let op = 0;
  let seconds = 0;
  let hitcount = 0;
  let reap = false;
  let rttl = false;
  let destination = false;
  let invert = false;
  let mask: readonly [number, number, number, number] = [-1, -1, -1, -1];
  const ops: Readonly<Record<string, number>> = {
    "--set": RecentOp.Set,
    "--rcheck": RecentOp.Check,
    "--update": RecentOp.Update,
    "--remove": RecentOp.Remove,
  };
  for (const option of options) {
    const value = option.values[0] ?? "";
    if (Object.hasOwn(ops, option.name)) {
      if (op !== 0) return "recent takes one of --set, --rcheck, --update, --remove";
      op = ops[option.name];
      invert = option.invert;
    } else if (option.name === "--name") {
      list = value;
    } else if (option.name === "--seconds" || option.name === "--hitcount") {
      const number = parseNumber(value, 0xffffffff);
      if (number === null || number === 0) return `${option.name} ${value} is not a number above 0`;
      if (option.name === "--seconds") seconds = number;
      else hitcount = number;
    } else if (option.name === "--reap") {
      reap = true;
    } else if (option.name === "--rttl") {
      rttl = true;
    } else if (option.name === "--rsource" || option.name === "--rdest") {
      destination = option.name === "--rdest";
    } else if (option.name === "--mask") {
      const address = parseAddress(value);
      if (address?.family !== family) return `--mask ${value} is not a mask of IPv${family}`;
      mask = wordsOf(address.bytes);
    } else {
      return unmodelled("recent", options);
    }
  }
  if (op === 0) return "recent takes one of --set, --rcheck, --update, --remove";
  if (reap && seconds === 0) return "recent --reap needs --seconds";
  if ((op === RecentOp.Set || op === RecentOp.Remove) && (seconds !== 0 || hitcount !== 0))
    return "recent --set and --remove take no --seconds or --hitcount";
  // XT_RECENT_MAX_NSTAMPS.
  if (hitcount > 65535) return `--hitcount ${hitcount} is above 65535`;
  return { kind: "recent", list, op, seconds, hitcount, reap, rttl, destination, invert, mask };
}
