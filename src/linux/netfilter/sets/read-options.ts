/** The words after `create NAME TYPE` and after an entry of `add`: options to data, or what is wrong with them. */
import { parseAddress } from "../../../cluster/address.js";
import { parseNumber, parsePort, wordsOf } from "../names.js";
import { Element } from "./element.js";
import { ipv4 } from "./read-entry.js";
import type { SetOptions, SetType } from "./set-types.js";

/** UINT_MAX / 1000 / 2, what ipset takes. */
const maxTimeout = 2147483;

type Writable<T> = { -readonly [key in keyof T]: T[key] };

/** The options of `create`, with the kernel's defaults and roundings. */
export function readCreateOptions(type: SetType, words: readonly string[]): SetOptions | string {
  const options: Writable<SetOptions> = {
    family: type.withFamily || (type.method === "bitmap" && type.dimensions[0] === "ip") ? 4 : 0,
    hashsize: 1024, maxelem: 65536, timeout: null, counters: false, comment: false, skbinfo: false, forceadd: false,
    bucketsize: null, initval: null, netmask: null, bitmask: null, markmask: -1, range: null, size: 8,
  };
  const late: [string, string][] = [];
  const said = new Set<string>();
  for (let at = 0; at < words.length; at++) {
    const name = words[at].replace(/^--(?=.)/, "");
    if ((name === "-4" || name === "-6") && type.withFamily) {
      if (said.has("family")) return `option ${name} is given beside a family`;
      said.add("family");
      options.family = name === "-4" ? 4 : 6;
      continue;
    }
    if (name === "counters" || name === "comment" || name === "skbinfo" || name === "forceadd") {
      if (!type.options.includes(name)) return `option ${name} is not one of ${type.name}`;
      options[name] = true;
      continue;
    }
    const value = words[++at];
    const key = name === "network" || name === "from" || name === "to" ? "range" : name;
    const old = name === "probes" || name === "resize" || name === "gc";
    if (!old && key !== "family" && !type.options.includes(key)) return `option ${name} is not one of ${type.name}`;
    if (key === "family" && !type.withFamily) return `${type.name} has no family`;
    if (value === undefined) return `option ${name} needs a value`;
    if (said.has(name)) return `option ${name} is given twice`;
    said.add(name);
    if (key === "family") {
      const family = ({ inet: 4, ipv4: 4, "-4": 4, inet6: 6, ipv6: 6, "-6": 6 } as const)[value];
      if (family === undefined) return `family ${value} is neither inet nor inet6`;
      options.family = family;
    } else if (!old) {
      late.push([name, value]);
    }
  }
  for (const [name, value] of late) {
    const fault = readOption(name, value, type, options);
    if (fault !== null) return fault;
  }
  if (options.bitmask !== null && options.netmask !== null) return "netmask and bitmask exclude each other";
  return type.method === "bitmap" ? checkRange(type, options) : options;
}

function readOption(name: string, value: string, type: SetType, options: Writable<SetOptions>): string | null {
  const number = parseNumber(value, 0xffffffff);
  const width = options.family === 6 ? 128 : 32;
  switch (name) {
    case "hashsize":
      if (number === null) break;
      options.hashsize = 2 ** Math.ceil(Math.log2(Math.max(64, number)));
      return null;
    case "maxelem":
      if (number === null) break;
      options.maxelem = number;
      return null;
    case "size":
      if (number === null) break;
      options.size = Math.max(4, number);
      return null;
    case "timeout":
      if (number === null || number > maxTimeout) return `timeout ${value} is not a number of seconds up to ${maxTimeout}`;
      options.timeout = number;
      return null;
    case "bucketsize":
      if (number === null || number > 255) break;
      // Even, 2 to 12 (AHASH_INIT_SIZE, AHASH_MAX_SIZE).
      options.bucketsize = Math.min(12, Math.max(2, number + (number % 2)));
      return null;
    case "initval":
      if (number === null) break;
      options.initval = number;
      return null;
    case "netmask":
      if (number === null || number < 1 || number > width) return `netmask ${value} is not from 1 to ${width}`;
      options.netmask = number === width ? null : number;
      return null;
    case "bitmask": {
      const address = parseAddress(value);
      if (address === null || address.family !== options.family) return `bitmask ${value} is not an address of the family`;
      options.bitmask = wordsOf(address.bytes);
      return null;
    }
    case "markmask":
      if (number === null || number === 0) break;
      options.markmask = number | 0;
      return null;
    default:
      return readRange(name, value, type, options);
  }
  return `${name} ${value} is not a number that it takes`;
}

/** `range from-to`, `range net/length`; of older versions `network`, `from`, `to`. */
function readRange(name: string, value: string, type: SetType, options: Writable<SetOptions>): string | null {
  const bound = (text: string): number => {
    if (type.dimensions[0] === "port") return parsePort(text.replace(/^(tcp|udp):/, "")) ?? -1;
    return ipv4(text, 0, text.length);
  };
  const slash = value.indexOf("/");
  const dash = value.indexOf("-");
  let low = bound(slash >= 0 ? value.slice(0, slash) : dash >= 0 ? value.slice(0, dash) : value);
  let high = dash >= 0 ? bound(value.slice(dash + 1)) : low;
  if (slash >= 0) {
    const length = parseNumber(value.slice(slash + 1), 32);
    if (length === null || low < 0 || type.dimensions[0] === "port") return `range ${value} is not a range`;
    const size = 2 ** (32 - length);
    low -= low % size;
    high = low + size - 1;
  }
  if (low < 0 || high < 0) return `${name} ${value} is not a range`;
  const [first, last] = options.range ?? [low, high];
  options.range = name === "from" ? [low, last] : name === "to" ? [first, high] : [Math.min(low, high), Math.max(low, high)];
  return null;
}

function checkRange(type: SetType, options: Writable<SetOptions>): SetOptions | string {
  if (options.range === null) return `${type.name} needs range from-to`;
  if (type.dimensions[0] === "port") return options;
  const step = options.netmask === null ? 1 : 2 ** (32 - options.netmask);
  const low = options.range[0] - (options.range[0] % step);
  const high = options.range[1] - (options.range[1] % step) + step - 1;
  options.range = [low, high];
  if ((high - low + 1) / step > 65536) return `the range has more than 65536 addresses or networks`;
  return options;
}

export interface EntryOptions {
  readonly element: Element;
  /** Seconds; null: the set's own. */
  readonly timeout: number | null;
  readonly before: string | null;
  readonly after: string | null;
}

/** Options of an entry, from the fourth word of its line. */
export function readEntryOptions(verb: "add" | "del", type: SetType, set: SetOptions,
  words: readonly string[]): EntryOptions | string {
  const element = new Element();
  let timeout: number | null = null;
  let before: string | null = null;
  let after: string | null = null;
  const nets = type.dimensions.includes("net");
  for (let at = 3; at < words.length; at++) {
    const name = words[at];
    if (verb === "del" && name !== "before" && name !== "after") return `option ${name} is not one of del`;
    if (name === "nomatch" && nets) {
      element.nomatch = true;
      continue;
    }
    if (name === "wildcard" && type.dimensions.includes("iface")) {
      element.wildcard = true;
      continue;
    }
    const value = words[++at];
    if (words.indexOf(name, 3) < at - 1) return `option ${name} is given twice`;
    const known = ["timeout", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue"].includes(name);
    if (!known && !(type.method === "list" && (name === "before" || name === "after"))) {
      return `option ${name} of an entry is not one of ${type.name}`;
    }
    if (value === undefined || value === "") return `option ${name} needs a value`;
    const extension = name === "packets" || name === "bytes" ? "counters" : name.startsWith("skb") ? "skbinfo" : name;
    if (known && (set[extension as "timeout"] === null || (set[extension as "counters"] as unknown) === false)) {
      return `${name} cannot be used: the set was created without ${extension}`;
    }
    switch (name) {
      case "timeout":
        timeout = parseNumber(value, maxTimeout);
        if (timeout === null) return `timeout ${value} is not a number of seconds up to ${maxTimeout}`;
        break;
      case "packets":
      case "bytes": {
        const count = /^\d{1,20}$/.test(value) ? Number(value) : Number.NaN;
        if (!(count < 2 ** 64)) return `${name} ${value} is not a number`;
        element[name] = count;
        break;
      }
      case "comment":
        if (value.length > 255) return "a comment has at most 255 characters";
        element.comment = value;
        break;
      case "before":
        before = value;
        break;
      case "after":
        after = value;
        break;
      default: {
        const text = skbText(name, value);
        if (text === null) return `${name} ${value} is not understood`;
        element.skbinfo += text;
      }
    }
  }
  return { element, timeout, before, after };
}

/** skbmark, skbprio and skbqueue as they are printed; nothing where they say nothing. */
function skbText(name: string, value: string): string | null {
  if (name === "skbmark") {
    const match = /^0x([0-9a-f]{1,8})(?:\/0x([0-9a-f]{1,8}))?$/i.exec(value);
    if (match === null) return null;
    const [mark, mask] = [match[1], match[2] ?? "ffffffff"].map((text) => Number.parseInt(text, 16));
    return ` skbmark 0x${mark.toString(16)}${mask === 0xffffffff ? "" : `/0x${mask.toString(16)}`}`;
  }
  if (name === "skbprio") {
    const match = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(value);
    return match === null ? null : ` skbprio ${match[1].toLowerCase()}:${match[2].toLowerCase()}`;
  }
  const queue = parseNumber(value, 65535);
  return queue === null ? null : queue === 0 ? "" : ` skbqueue ${queue}`;
}
