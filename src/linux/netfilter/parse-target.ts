/** Targets: from the words after `-j` or `-g` to a Target, or the text of what is wrong. Nothing throws. */
import type { Family } from "../../cluster/address.js";
import { parseAddress } from "../../cluster/address.js";
import { parseNumber, parsePortRange, wordsOf } from "./names.js";
import { type Option, parseMasked } from "./parse-match.js";
import type { TargetExtension } from "./extension.js";
import type { NatSpec, TableName, Target } from "./rule.js";
import { readSetTarget } from "./sets/set-rule.js";
import { readDscpTarget, readTosTarget, readTtlTarget } from "./targets/header-byte.js";
import { isQuiet, readQuiet } from "./targets/quiet.js";
import { readTcpMss } from "./targets/tcpmss.js";

export type TargetResult = Target | string;

/** iptables' names of what a REJECT answers, with the ones iptables-save prints on the right. */
const rejects: Readonly<Record<Family, Readonly<Record<string, string>>>> = {
  4: {
    "icmp-net-unreachable": "icmp-net-unreachable",
    "net-unreach": "icmp-net-unreachable",
    "icmp-host-unreachable": "icmp-host-unreachable",
    "host-unreach": "icmp-host-unreachable",
    "icmp-proto-unreachable": "icmp-proto-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "icmp-port-unreachable": "icmp-port-unreachable",
    "port-unreach": "icmp-port-unreachable",
    "icmp-net-prohibited": "icmp-net-prohibited",
    "net-prohib": "icmp-net-prohibited",
    "icmp-host-prohibited": "icmp-host-prohibited",
    "host-prohib": "icmp-host-prohibited",
    "icmp-admin-prohibited": "icmp-admin-prohibited",
    "admin-prohib": "icmp-admin-prohibited",
    "tcp-reset": "tcp-reset",
    "tcp-rst": "tcp-reset",
  },
  6: {
    "icmp6-no-route": "icmp6-no-route",
    "no-route": "icmp6-no-route",
    "icmp6-adm-prohibited": "icmp6-adm-prohibited",
    "adm-prohibited": "icmp6-adm-prohibited",
    "icmp6-addr-unreachable": "icmp6-addr-unreachable",
    "addr-unreach": "icmp6-addr-unreachable",
    "icmp6-port-unreachable": "icmp6-port-unreachable",
    "port-unreach": "icmp6-port-unreachable",
    "icmp6-policy-fail": "icmp6-policy-fail",
    "policy-fail": "icmp6-policy-fail",
    "icmp6-reject-route": "icmp6-reject-route",
    "reject-route": "icmp6-reject-route",
    "tcp-reset": "tcp-reset",
  },
};

/** `-j NAME options`, for a NAME that is no chain of the table. */
export function parseTarget(
  name: string,
  options: readonly Option[],
  family: Family,
  table: TableName,
): TargetResult {
  switch (name) {
    case "ACCEPT":
    case "DROP":
    case "RETURN":
      return options.length > 0 ? `${name} takes no options` : { kind: "verdict", verdict: name };
    case "REJECT":
      return readReject(options, family, table);
    case "DNAT":
    case "SNAT":
    case "MASQUERADE":
    case "REDIRECT":
      return table === "nat" ? readNat(name, options, family) : `${name} belongs into the nat table`;
    case "MARK":
      return readMark(options);
    case "CONNMARK":
      return readConnmark(options);
    case "NOTRACK":
      if (options.length > 0) return "NOTRACK takes no options";
      return table === "raw" ? { kind: "notrack", name } : "NOTRACK belongs into the raw table";
    case "CT":
      if (table !== "raw") return "CT belongs into the raw table";
      return options.length === 1 && options[0].name === "--notrack"
        ? { kind: "notrack", name }
        : unmodelled(name, options);
    case "SET":
      return readSetTarget(options) ?? unmodelled(name, options);
    default: {
      if (isQuiet(name)) {
        const quiet = readQuiet(name, options);
        if (quiet === null) return unmodelled(name, options);
        return "fault" in quiet ? quiet.fault : { kind: "log", text: quiet.text };
      }
      const reader = extensions[name];
      if (reader === undefined || !Object.hasOwn(extensions, name)) return unmodelled(name, options);
      if (table !== "mangle") return `${name} belongs into the mangle table`;
      const read = reader(options, family, name);
      if (read === null) return unmodelled(name, options);
      return typeof read === "string" ? read : { kind: "extension", extension: read };
    }
  }
}

const extensions: Readonly<
  Record<string, (options: readonly Option[], family: Family, name: string) => TargetExtension | string | null>
> = {
  TOS: readTosTarget,
  DSCP: readDscpTarget,
  TTL: readTtlTarget,
  HL: readTtlTarget,
  TCPMSS: readTcpMss,
};

function words(name: string, options: readonly Option[]): string {
  const quote = (value: string): string =>
    /^[\w./:,%@+=-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`;
  return [name, ...options.flatMap((option) => [option.name, ...option.values.map(quote)])].join(" ");
}

function unmodelled(name: string, options: readonly Option[]): Target {
  return { kind: "unmodelled", text: words(name, options) };
}

function readReject(options: readonly Option[], family: Family, table: TableName): TargetResult {
  if (table !== "filter") return "REJECT belongs into the filter table";
  if (options.length === 0)
    return { kind: "reject", with: family === 4 ? "icmp-port-unreachable" : "icmp6-port-unreachable" };
  const value = options[0].values[0] ?? "";
  if (options.length !== 1 || options[0].name !== "--reject-with") return unmodelled("REJECT", options);
  const known = rejects[family][value];
  return known === undefined
    ? `--reject-with ${value} is not an answer of IPv${family}`
    : { kind: "reject", with: known };
}

function readNat(
  name: "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT",
  options: readonly Option[],
  family: Family,
): TargetResult {
  let spec: NatSpec = {
    address: null,
    lastAddress: null,
    addressText: "",
    minPort: 0,
    maxPort: 0,
    random: false,
    randomFully: false,
    persistent: false,
    basePort: -1,
  };
  let given = false;
  for (const option of options) {
    const value = option.values[0] ?? "";
    if (option.name === "--random") {
      spec = { ...spec, random: true };
    } else if (option.name === "--random-fully" && name !== "DNAT" && name !== "REDIRECT") {
      spec = { ...spec, randomFully: true };
    } else if (option.name === "--persistent" && (name === "DNAT" || name === "SNAT")) {
      spec = { ...spec, persistent: true };
    } else if (
      (option.name === "--to-destination" && name === "DNAT") ||
      (option.name === "--to-source" && name === "SNAT")
    ) {
      const read = readEndpoint(value, family, name === "DNAT");
      if (typeof read === "string") return read;
      if (given) return `${option.name} is given twice`;
      spec = { ...spec, ...read };
      given = true;
    } else if (option.name === "--to-ports" && (name === "MASQUERADE" || name === "REDIRECT")) {
      const range = parsePortRange(value, "-");
      if (range === null || range.min === 0) return `--to-ports ${value} is not a port or a range of ports`;
      spec = { ...spec, minPort: range.min, maxPort: range.max };
    } else {
      return unmodelled(name, options);
    }
  }
  if ((name === "DNAT" || name === "SNAT") && !given)
    return `${name} needs ${name === "DNAT" ? "--to-destination" : "--to-source"}`;
  return { kind: "nat", name, range: spec };
}

/**
 * `1.2.3.4`, `1.2.3.4-1.2.3.9`, `1.2.3.4:80`, `1.2.3.4:80-90`, `:80`, `[fd00::1]:80`; of DNAT also a shifted range of
 * ports, `1.2.3.4:80-90/7000`.
 */
function readEndpoint(
  text: string,
  family: Family,
  mayShift: boolean,
): Pick<NatSpec, "address" | "lastAddress" | "addressText" | "minPort" | "maxPort" | "basePort"> | string {
  const match =
    family === 4
      ? /^([\d.]*(?:-[\d.]+)?)(?::(.+))?$/.exec(text)
      : /^(?:\[([^\]]*)\]|([^[\]]*))(?::(.+))?$/.exec(text);
  let addressText = "";
  let portText: string | undefined;
  if (family === 6 && !text.startsWith("[")) {
    addressText = text;
  } else if (match !== null) {
    addressText = match[1] ?? "";
    portText = family === 4 ? match[2] : match[3];
  } else {
    return `${text} is not an address with or without a port`;
  }
  const [first, last, more] = addressText.split("-");
  const address = first === "" ? null : parseAddress(first);
  const lastAddress = last === undefined ? address : parseAddress(last);
  if (more !== undefined || (addressText !== "" && (address?.family !== family || lastAddress?.family !== family)))
    return `${text} is not an IPv${family} address`;
  const [rangeText, baseText, beyond] = portText?.split("/") ?? [];
  const range = portText === undefined ? { min: 0, max: 0 } : parsePortRange(rangeText, "-");
  const base = baseText === undefined ? -1 : parseNumber(baseText, 65535);
  const isBadShift = base === null || beyond !== undefined || (base >= 0 && !mayShift);
  if (range === null || (portText !== undefined && range.min === 0) || isBadShift)
    return `${portText ?? ""} is not a port or a range of ports`;
  if (address === null && portText === undefined) return `${text} is not an address with or without a port`;
  const single = address?.text === lastAddress?.text;
  return {
    address: address === null ? null : wordsOf(address.bytes),
    lastAddress: lastAddress === null ? null : wordsOf(lastAddress.bytes),
    addressText: address === null ? "" : single ? address.text : `${address.text}-${lastAddress?.text ?? ""}`,
    minPort: range.min,
    maxPort: range.max,
    basePort: base ?? -1,
  };
}

function readMark(options: readonly Option[]): TargetResult {
  const option = options[0];
  if (options.length !== 1)
    return "MARK needs one of --set-xmark, --set-mark, --and-mark, --or-mark, --xor-mark";
  const change = markChange(option.name, option.values[0] ?? "");
  if (change === null) return `${option.name} ${option.values[0] ?? ""} is not a change of the mark`;
  return { kind: "mark", ...change };
}

/** mark = (mark & ~clear) ^ xor, as libxt_MARK turns each spelling into --set-xmark. */
function markChange(name: string, text: string): { clear: number; xor: number } | null {
  const masked = parseMasked(text);
  const plain = parseNumber(text, 0xffffffff);
  switch (name) {
    case "--set-xmark":
      return masked === null ? null : { clear: masked.mask, xor: masked.value };
    case "--set-mark":
      return masked === null ? null : { clear: (masked.mask | masked.value) >>> 0, xor: masked.value };
    case "--and-mark":
      return plain === null ? null : { clear: ~plain >>> 0, xor: 0 };
    case "--or-mark":
      return plain === null ? null : { clear: plain, xor: plain };
    case "--xor-mark":
      return plain === null ? null : { clear: 0, xor: plain };
    default:
      return null;
  }
}

function readConnmark(options: readonly Option[]): TargetResult {
  const shifts = options.filter(({ name }) => name === "--left-shift-mark" || name === "--right-shift-mark");
  const rest = options.filter((option) => !shifts.includes(option));
  const bits = shifts.length === 0 ? 0 : parseNumber(shifts[0].values[0] ?? "", 31);
  if (shifts.length > 1 || bits === null) return "CONNMARK takes one of --left-shift-mark and --right-shift-mark, up to 31";
  const shift = shifts.length > 0 && shifts[0].name === "--right-shift-mark" ? -bits : bits;
  const first = rest[0];
  if (first === undefined) return "CONNMARK needs an option";
  if (first.name === "--save-mark" || first.name === "--restore-mark") {
    let ctMask = 0xffffffff;
    let nfMask = 0xffffffff;
    for (const { name, values } of rest.slice(1)) {
      const value = parseNumber(values[0] ?? "", 0xffffffff);
      if (value === null) return `${name} ${values[0] ?? ""} is not a mask`;
      if (name === "--mask") ctMask = nfMask = value;
      else if (name === "--ctmask") ctMask = value;
      else if (name === "--nfmask") nfMask = value;
      else return unmodelled("CONNMARK", options);
    }
    const mode = first.name === "--save-mark" ? "save" : "restore";
    return { kind: "connmark", mode, clear: 0, xor: 0, ctMask, nfMask, shift };
  }
  const change = rest.length === 1 ? markChange(first.name, first.values[0] ?? "") : null;
  if (change === null) return unmodelled("CONNMARK", options);
  return { kind: "connmark", mode: "set", ...change, ctMask: 0, nfMask: 0, shift };
}
