/**
 * Numbers and names that iptables texts use: protocols, a few service ports, ICMP types, TCP flags,
 * addresses.
 */
import { type Family, parseAddress } from "../../cluster/address.js";
import { word } from "./packet.js";
import type { AddressSpec } from "./rule.js";

const protocolNumbers: Readonly<Record<string, number>> = {
  all: 0,
  icmp: 1,
  igmp: 2,
  ipencap: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  "ipv6-icmp": 58,
  sctp: 132,
  udplite: 136,
};

/** How iptables-save prints them. */
const protocolTexts: Readonly<Record<number, string>> = {
  0: "all",
  1: "icmp",
  2: "igmp",
  4: "ipencap",
  6: "tcp",
  17: "udp",
  33: "dccp",
  41: "ipv6",
  47: "gre",
  50: "esp",
  51: "ah",
  58: "ipv6-icmp",
  132: "sctp",
  136: "udplite",
};

/** /etc/services, the ones that rules of nodes name. */
const servicePorts: Readonly<Record<string, number>> = {
  ftp: 21,
  ssh: 22,
  smtp: 25,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  http: 80,
  ntp: 123,
  snmp: 161,
  https: 443,
};

/** [type, first code, last code]; a type of 255 means any. */
const icmpNames: Readonly<Record<string, readonly [number, number, number]>> = {
  any: [255, 0, 255],
  "echo-reply": [0, 0, 255],
  pong: [0, 0, 255],
  "destination-unreachable": [3, 0, 255],
  "network-unreachable": [3, 0, 0],
  "host-unreachable": [3, 1, 1],
  "protocol-unreachable": [3, 2, 2],
  "port-unreachable": [3, 3, 3],
  "fragmentation-needed": [3, 4, 4],
  "source-route-failed": [3, 5, 5],
  "network-unknown": [3, 6, 6],
  "host-unknown": [3, 7, 7],
  "network-prohibited": [3, 9, 9],
  "host-prohibited": [3, 10, 10],
  "tos-network-unreachable": [3, 11, 11],
  "tos-host-unreachable": [3, 12, 12],
  "communication-prohibited": [3, 13, 13],
  "host-precedence-violation": [3, 14, 14],
  "precedence-cutoff": [3, 15, 15],
  "source-quench": [4, 0, 255],
  redirect: [5, 0, 255],
  "network-redirect": [5, 0, 0],
  "host-redirect": [5, 1, 1],
  "tos-network-redirect": [5, 2, 2],
  "tos-host-redirect": [5, 3, 3],
  "echo-request": [8, 0, 255],
  ping: [8, 0, 255],
  "router-advertisement": [9, 0, 255],
  "router-solicitation": [10, 0, 255],
  "time-exceeded": [11, 0, 255],
  "ttl-exceeded": [11, 0, 255],
  "ttl-zero-during-transit": [11, 0, 0],
  "ttl-zero-during-reassembly": [11, 1, 1],
  "parameter-problem": [12, 0, 255],
  "ip-header-bad": [12, 0, 0],
  "required-option-missing": [12, 1, 1],
  "timestamp-request": [13, 0, 255],
  "timestamp-reply": [14, 0, 255],
  "address-mask-request": [17, 0, 255],
  "address-mask-reply": [18, 0, 255],
};

const icmp6Names: Readonly<Record<string, readonly [number, number, number]>> = {
  "destination-unreachable": [1, 0, 255],
  "no-route": [1, 0, 0],
  "communication-prohibited": [1, 1, 1],
  "beyond-scope": [1, 2, 2],
  "address-unreachable": [1, 3, 3],
  "reject-route": [1, 6, 6],
  "port-unreachable": [1, 4, 4],
  "packet-too-big": [2, 0, 255],
  "time-exceeded": [3, 0, 255],
  "ttl-exceeded": [3, 0, 255],
  "ttl-zero-during-transit": [3, 0, 0],
  "ttl-zero-during-reassembly": [3, 1, 1],
  "parameter-problem": [4, 0, 255],
  "bad-header": [4, 0, 0],
  "unknown-header-type": [4, 1, 1],
  "unknown-option": [4, 2, 2],
  "echo-request": [128, 0, 255],
  ping: [128, 0, 255],
  "echo-reply": [129, 0, 255],
  pong: [129, 0, 255],
  "router-solicitation": [133, 0, 255],
  "router-advertisement": [134, 0, 255],
  "neighbour-solicitation": [135, 0, 255],
  "neighbor-solicitation": [135, 0, 255],
  "neighbour-advertisement": [136, 0, 255],
  "neighbor-advertisement": [136, 0, 255],
  redirect: [137, 0, 255],
};

const tcpFlagBits: Readonly<Record<string, number>> = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ALL: 63,
  NONE: 0,
};

/**
 * A number in decimal, 0x hexadecimal or 0 octal, as strtoul reads it; null where it is none or above `max`.
 */
export function parseNumber(text: string, max: number): number | null {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text)) return null;
  const octal = text.length > 1 && text.startsWith("0") && !/^0x/i.test(text);
  if (octal && /[89]/.test(text)) return null;
  const value = octal ? Number.parseInt(text, 8) : Number(text);
  return value <= max ? value : null;
}

export function parseProtocol(text: string): number | null {
  const name = text.toLowerCase();
  return Object.hasOwn(protocolNumbers, name) ? protocolNumbers[name] : parseNumber(text, 255);
}

export function protocolText(protocol: number): string {
  return protocolTexts[protocol] ?? String(protocol);
}

export function parsePort(text: string): number | null {
  const name = text.toLowerCase();
  return Object.hasOwn(servicePorts, name) ? servicePorts[name] : parseNumber(text, 65535);
}

/** `80`, `80:90`, `:90`, `80:`. */
export function parsePortRange(text: string, separator: string): { min: number; max: number } | null {
  const at = text.indexOf(separator);
  const first = at < 0 ? text : text.slice(0, at);
  const last = at < 0 ? text : text.slice(at + 1);
  const min = first === "" ? 0 : parsePort(first);
  const max = last === "" ? 65535 : parsePort(last);
  return min === null || max === null || min > max || text === "" || text === separator ? null : { min, max };
}

export function parseIcmpType(text: string, family: Family): readonly [number, number, number] | null {
  const names = family === 4 ? icmpNames : icmp6Names;
  if (Object.hasOwn(names, text.toLowerCase())) return names[text.toLowerCase()];
  const [typeText, codeText] = text.split("/", 2);
  const type = parseNumber(typeText, 255);
  if (type === null) return null;
  if (codeText === undefined) return [type, 0, 255];
  const code = parseNumber(codeText, 255);
  return code === null ? null : [type, code, code];
}

export function parseTcpFlags(text: string): number | null {
  let bits = 0;
  for (const name of text.split(",")) {
    const bit = Object.hasOwn(tcpFlagBits, name.toUpperCase()) ? tcpFlagBits[name.toUpperCase()] : undefined;
    if (bit === undefined) return null;
    bits |= bit;
  }
  return bits;
}

/** iptables-save's order. */
export function tcpFlagsText(bits: number): string {
  if (bits === 0) return "NONE";
  const names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"].filter((_, bit) => (bits & (1 << bit)) !== 0);
  return names.join(",");
}

export type Words = [number, number, number, number];

export function wordsOf(bytes: Uint8Array): Words {
  if (bytes.length === 4) return [0, 0, 0, word(bytes, 0)];
  return [word(bytes, 0), word(bytes, 4), word(bytes, 8), word(bytes, 12)];
}

/**
 * `1.2.3.4`, `1.2.3.0/24`, `1.2.3.0/255.255.255.0`, `fd00::/8`; host bits are cleared. Null: not of this
 * family.
 */
export function parseAddressSpec(text: string, family: Family, invert: boolean): AddressSpec | null {
  const slash = text.indexOf("/");
  const found = addressWords(slash < 0 ? text : text.slice(0, slash), family);
  if (found === null) return null;
  const maskText = slash < 0 ? (family === 4 ? "32" : "128") : text.slice(slash + 1);
  const mask = maskWords(maskText, family);
  if (mask === null) return null;
  const words: Words = [found[0] & mask[0], found[1] & mask[1], found[2] & mask[2], found[3] & mask[3]];
  const length = prefixLength(mask, family);
  const suffix = length === null ? wordsText(mask, family) : String(length);
  return { words, mask, invert, text: `${wordsText(words, family)}/${suffix}` };
}

/** Null: not of this family. Texts of large clusters are full of IPv4 addresses, so these are read here. */
function addressWords(text: string, family: Family): Words | null {
  if (family === 4) {
    const value = ipv4Word(text);
    return value === null ? null : [0, 0, 0, value];
  }
  const address = parseAddress(text);
  return address === null || address.family !== 6 ? null : wordsOf(address.bytes);
}

/** Four decimal numbers up to 255 without leading zeros, as parseAddress takes them; else null. */
function ipv4Word(text: string): number | null {
  let word = 0;
  let part = -1;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x2e) {
      if (part < 0 || ++dots > 3) return null;
      word = (word << 8) | part;
      part = -1;
    } else {
      if (code < 0x30 || code > 0x39 || part === 0) return null;
      part = (part < 0 ? 0 : part * 10) + code - 0x30;
      if (part > 255) return null;
    }
  }
  return dots === 3 && part >= 0 ? (word << 8) | part : null;
}

function maskWords(text: string, family: Family): Words | null {
  const length = /^\d{1,3}$/.test(text) ? Number(text) : null;
  if (length === null) {
    const mask = parseAddress(text);
    return mask === null || mask.family !== family ? null : wordsOf(mask.bytes);
  }
  if (length > (family === 4 ? 32 : 128)) return null;
  if (family === 4) return [0, 0, 0, length === 0 ? 0 : (-1 << (32 - length)) | 0];
  return [0, 1, 2, 3].map((index) => {
    const kept = Math.min(32, Math.max(0, length - index * 32));
    return kept === 0 ? 0 : (-1 << (32 - kept)) | 0;
  }) as Words;
}

function prefixLength(mask: Words, family: Family): number | null {
  let length = 0;
  for (let index = family === 4 ? 3 : 0; index < 4; index++) {
    const ones = Math.clz32(~mask[index]);
    if (mask[index] !== (ones === 0 ? 0 : (-1 << (32 - ones)) | 0)) return null;
    // After a word that is not all ones there are zeros only.
    if (ones > 0 && length !== (family === 4 ? 0 : index * 32)) return null;
    length += ones;
  }
  return length;
}

/** The canonical text of an address in words. */
export function wordsText(words: readonly number[], family: Family): string {
  const last = words[3];
  if (family === 4) return `${last >>> 24}.${(last >>> 16) & 255}.${(last >>> 8) & 255}.${last & 255}`;
  const halves: string[] = [];
  for (const value of words) halves.push((value >>> 16).toString(16), (value & 0xffff).toString(16));
  return parseAddress(halves.join(":"))?.text ?? halves.join(":");
}
