/** Sets and entries as `ipset save` prints them; entries in the order of their keys, as `ipset save -sorted` has them. */
import { protocolText, wordsText } from "../names.js";
import type { Element, SetClock } from "./element.js";
import { icmpPortText } from "./icmp-names.js";
import type { IpSet } from "./ip-set.js";
import type { SetOptions, SetType } from "./set-types.js";

export function createLine(name: string, type: SetType, options: SetOptions): string {
  let text = `create ${name} ${type.name}`;
  if (type.withFamily) text += ` family ${options.family === 6 ? "inet6" : "inet"}`;
  for (const option of type.options) text += optionText(option, type, options);
  return text;
}

function optionText(option: string, type: SetType, options: SetOptions): string {
  switch (option) {
    case "hashsize":
    case "maxelem":
    case "size":
      return ` ${option} ${options[option]}`;
    case "timeout":
    case "netmask":
    case "bucketsize":
      return options[option] === null ? "" : ` ${option} ${options[option]}`;
    case "initval":
      return options.initval === null ? "" : ` initval 0x${options.initval.toString(16).padStart(8, "0")}`;
    case "markmask":
      return ` markmask 0x${(options.markmask >>> 0).toString(16).padStart(8, "0")}`;
    case "bitmask":
      return options.bitmask === null ? "" : ` bitmask ${wordsText(options.bitmask, options.family === 6 ? 6 : 4)}`;
    case "range": {
      const [first, last] = options.range ?? [0, 0];
      const text = (value: number): string => (type.dimensions[0] === "port" ? String(value) : address4(value));
      return ` range ${text(first)}-${text(last)}`;
    }
    case "counters":
    case "comment":
    case "skbinfo":
    case "forceadd":
      return options[option] ? ` ${option}` : "";
    default:
      throw new Error(`option ${option} of a set is not printed`);
  }
}

/** `add` lines of a set, in the order of the keys. */
export function addLines(name: string, set: IpSet): string[] {
  const { table } = set;
  const { keys, width } = table;
  const order = Array.from({ length: table.count }, (_, place) => place);
  order.sort((a, b) => {
    for (let index = 0; index < width; index++) {
      const difference = (keys[a * width + index] >>> 0) - (keys[b * width + index] >>> 0);
      if (difference !== 0) return difference;
    }
    return 0;
  });
  const lines: string[] = [];
  for (const place of order) {
    const key = keys.subarray(place * width, (place + 1) * width);
    for (let element: Element | null = set.elements[place]; element !== null; element = element.next) {
      if (set.clock.now > element.expires) continue;
      lines.push(`add ${name} ${entryText(set, key, element)}${extensionsText(set.options, element, set.clock)}`);
    }
  }
  return lines;
}

function entryText(set: IpSet, key: Int32Array, element: Element): string {
  const { layout, type } = set;
  let addresses = 0;
  const parts = type.dimensions.map((dimension) => {
    switch (dimension) {
      case "ip":
      case "net": {
        const which = addresses++;
        const at = which === 0 ? layout.first : layout.second;
        const text = layout.words === 1 ? address4(key[at] >>> 0) : wordsText(Array.from(key.subarray(at, at + 4)), 6);
        const length = dimension === "net" ? (key[layout.prefixes] >>> (which * 8)) & 0xff : layout.words * 32;
        return length === layout.words * 32 ? text : `${text}/${length}`;
      }
      case "port":
        return type.method === "bitmap" ? String(key[layout.port]) : portText(key[layout.port]);
      case "mark":
        return `0x${(key[layout.mark] >>> 0).toString(16).padStart(8, "0")}`;
      case "mac":
        return macText(key[layout.mac], key[layout.mac + 1]);
      case "iface":
        return `${element.physdev ? "physdev:" : ""}${element.iface}`;
      default:
        throw new Error(`entries have no part ${dimension}`);
    }
  });
  return parts.filter((part) => part !== "").join(",");
}

function portText(word: number): string {
  const protocol = word >>> 16;
  const port = word & 0xffff;
  return `${protocolText(protocol)}:${protocol === 1 || protocol === 58 ? icmpPortText(port, protocol) : port}`;
}

/** "" for an entry whose MAC is not known yet. */
function macText(high: number, low: number): string {
  if (high < 0) return "";
  const byte = (value: number): string => (value & 0xff).toString(16).padStart(2, "0").toUpperCase();
  return [high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low].map(byte).join(":");
}

export function extensionsText(options: SetOptions, element: Element, clock: SetClock): string {
  let text = "";
  if (options.timeout !== null) {
    // ip_set_timeout_get: whole seconds, 1 for less; 0 stands for ever.
    const left = Math.floor((element.expires - clock.now) / 1e9);
    text += ` timeout ${element.expires === Infinity ? 0 : Math.max(1, left)}`;
  }
  if (element.nomatch) text += " nomatch";
  if (element.wildcard) text += " wildcard";
  if (options.counters) text += ` packets ${element.packets} bytes ${element.bytes}`;
  if (element.comment !== "" && element.comment !== null) text += ` comment "${element.comment}"`;
  return text + element.skbinfo;
}

function address4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}
