/**
 * The text of an entry -> its keys: `10.0.0.0/24,tcp:80-90` and the like, ranges spelled out as the kernel does. Read
 * without regular expressions: a dump may have hundreds of thousands of lines.
 *
 * Source: lib/parse.c of ipset, net/netfilter/ipset/ip_set_hash_*.c (uadt).
 */
import { parsePort, parseProtocol } from "../names.js";
import { icmpPort } from "./icmp-names.js";
import type { Dimension, Layout, SetOptions, SetType } from "./set-types.js";

/** Takes one key (to be copied) and says what is wrong with it; null: go on. */
export type KeySink = (key: Int32Array, device: string) => string | null;

/** Protocols with ports: a range may follow. Others have 0 alone. */
const withPorts: ReadonlySet<number> = new Set([6, 17, 132, 136]);

class AddressSpan {
  /** IPv4, unsigned. */
  low = 0;
  high = 0;
  length = 0;
  /** IPv4 `from-to`: several networks. */
  ranged = false;
  readonly words = new Int32Array(4);
}

export class EntryReader {
  private readonly type: SetType;
  private readonly layout: Layout;
  private readonly options: SetOptions;
  private readonly key: Int32Array;
  private readonly spans = [new AddressSpan(), new AddressSpan()];
  private lowPort = 0;
  private highPort = 0;
  private protocol = 0;
  private device = "";
  /**
   * hash:ip,port, and hash:ip with a bitmask: where a range or network begins is masked, the addresses after that
   * are not. They are in the set, and no packet finds them.
   */
  readonly unmasked: boolean;

  constructor(type: SetType, layout: Layout, options: SetOptions) {
    const masks = options.bitmask !== null || (options.netmask !== null && type.name === "hash:ip,port");
    this.unmasked = masks && layout.words === 1 && /^hash:ip(,port)?$/.test(type.name);
    this.type = type;
    this.layout = layout;
    this.options = options;
    this.key = new Int32Array(layout.width);
  }

  /** Null, or what is wrong with the text or with the first key that `sink` refused. */
  read(text: string, sink: KeySink): string | null {
    const { dimensions } = this.type;
    let from = 0;
    let addresses = 0;
    for (let index = 0; index < dimensions.length; index++) {
      const comma = text.indexOf(",", from);
      const last = index === dimensions.length - 1;
      if (last ? comma >= 0 : comma < 0) {
        // bitmap:ip,mac takes an address alone; its MAC is learned from the first packet.
        if (!last && dimensions[index + 1] === "mac" && this.type.method === "bitmap") {
          this.key[this.layout.mac] = -1;
          const fault = this.address(text.slice(from), "ip", true, this.spans[0]);
          return fault ?? this.each(sink);
        }
        return `${text} is not an entry of ${this.type.name}; expected ${dimensions.join(",")}`;
      }
      const part = last ? text.slice(from) : text.slice(from, comma);
      from = comma + 1;
      const dimension = dimensions[index];
      const fault = dimension === "ip" || dimension === "net"
        ? this.address(part, dimension, addresses === 0 || dimension === "net", this.spans[addresses++])
        : this.other(dimension, part);
      if (fault !== null) return fault;
    }
    return this.each(sink);
  }

  private other(dimension: Dimension, part: string): string | null {
    const { layout, key } = this;
    switch (dimension) {
      case "port":
        return this.ports(part);
      case "mark": {
        const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(part) ? Number(part) : Number.NaN;
        if (!(value <= 0xffffffff)) return `${part} is not a mark`;
        key[layout.mark] = value & this.options.markmask;
        return null;
      }
      case "mac": {
        const bytes = /^([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}$/i.test(part)
          ? part.split(":").map((byte) => Number.parseInt(byte, 16)) : null;
        if (bytes === null || bytes.every((byte) => byte === 0)) return `${part} is not a MAC address`;
        key[layout.mac] = (bytes[0] << 8) | bytes[1];
        key[layout.mac + 1] = (bytes[2] << 24) | (bytes[3] << 16) | (bytes[4] << 8) | bytes[5];
        return null;
      }
      default: {
        const name = part.startsWith("physdev:") ? part.slice(8) : part;
        if (name === "" || name.length > 15) return `${name} is not a device name of 1 to 15 characters`;
        this.device = part;
        return null;
      }
    }
  }

  /** `80`, `tcp:80`, `udp:80-90`, `icmp:echo-request`, `icmp:8/0`, `gre:0`. */
  private ports(part: string): string | null {
    const colon = part.indexOf(":");
    const name = colon < 0 ? "tcp" : part.slice(0, colon);
    const text = part.slice(colon + 1);
    const protocol = name === "tcp" ? 6 : name === "udp" ? 17 : parseProtocol(name);
    if (protocol === null || name === "all") return `${name} is not a protocol`;
    this.protocol = this.type.method === "bitmap" ? 0 : protocol;
    if (protocol === 1 || protocol === 58) {
      const port = icmpPort(text, protocol);
      if ((protocol === 58) !== (this.options.family === 6)) return `${name} is not a protocol of IPv${this.options.family}`;
      if (port === null) return `${text} is not an ICMP type/code`;
      this.lowPort = this.highPort = port;
      return null;
    }
    const dash = withPorts.has(protocol) ? text.indexOf("-") : -1;
    const low = portNumber(dash < 0 ? text : text.slice(0, dash));
    const high = dash < 0 ? low : portNumber(text.slice(dash + 1));
    if (low === null || high === null) return `${text} is not a port or a range of ports`;
    if (!withPorts.has(protocol) && low !== 0) return `protocol ${name} has no ports; expected ${name}:0`;
    if (protocol === 0) return "protocol 0 cannot be in a set";
    this.lowPort = Math.min(low, high);
    this.highPort = Math.max(low, high);
    return null;
  }

  private address(text: string, kind: "ip" | "net", ranges: boolean, span: AddressSpan): string | null {
    return this.layout.words === 1 ? this.address4(text, kind, ranges, span) : this.address6(text, kind, ranges, span);
  }

  private address4(text: string, kind: "ip" | "net", ranges: boolean, span: AddressSpan): string | null {
    const what = kind === "net" ? "an IPv4 network" : ranges ? "an IPv4 address, network or range" : "an IPv4 address";
    const slash = text.indexOf("/");
    const dash = slash < 0 ? text.indexOf("-") : -1;
    const end = slash >= 0 ? slash : dash >= 0 ? dash : text.length;
    const low = ipv4(text, 0, end);
    if (low < 0) return `${text} is not ${what}`;
    span.ranged = false;
    span.length = 32;
    span.low = span.high = this.unmasked && kind === "ip" ? this.masked(low) : low;
    if (slash >= 0) {
      const length = decimal(text, slash + 1, 32);
      if (length < 0) return `${text} is not ${what}`;
      if (kind === "ip" && !ranges) return `${text} is not ${what}`;
      if (kind === "ip" && this.unmasked) return this.rangeOfMasked(span, low, length);
      if (kind === "net" && length === 0 && !this.type.zeroNets) return `${this.type.name} holds no /0; ${text} was found`;
      const size = 2 ** (32 - length);
      span.low = low - (low % size);
      span.high = span.low + size - 1;
      span.length = length;
    } else if (dash >= 0) {
      const high = ipv4(text, dash + 1, text.length);
      if (high < 0 || !ranges) return `${text} is not ${what}`;
      span.low = Math.min(low, high);
      span.high = Math.max(low, high);
      if (kind === "net" && span.high - span.low === 0xffffffff) return `${text} is the whole address space`;
      span.ranged = true;
      if (kind === "ip" && this.unmasked) span.low = this.masked(span.low);
    }
    return null;
  }

  /** hash:ip,port: a network is that of the masked address. */
  private rangeOfMasked(span: AddressSpan, address: number, length: number): null {
    const size = 2 ** (32 - length);
    const low = this.masked(address);
    span.low = low - (low % size);
    span.high = span.low + size - 1;
    return null;
  }

  private masked(address: number): number {
    const { netmask, bitmask } = this.options;
    const kept = netmask === null ? address : address - (address % 2 ** (32 - netmask));
    return (bitmask === null ? kept : kept & bitmask[3]) >>> 0;
  }

  private address6(text: string, kind: "ip" | "net", ranges: boolean, span: AddressSpan): string | null {
    const slash = text.indexOf("/");
    const end = slash < 0 ? text.length : slash;
    const bracketed = text.startsWith("[") && text[end - 1] === "]";
    span.length = slash < 0 ? 128 : decimal(text, slash + 1, 128);
    span.ranged = false;
    if (!ipv6(text.slice(bracketed ? 1 : 0, bracketed ? end - 1 : end), span.words) || span.length < 0) {
      return `${text} is not an IPv6 ${kind === "net" ? "network" : "address"}`;
    }
    if (kind === "ip" && (span.length !== 128 || (slash >= 0
      && !ranges))) return `${text} is not an IPv6 address; a set of addresses takes no networks`;
    if (span.length === 0 && !this.type.zeroNets) return `${this.type.name} holds no /0; ${text} was found`;
    for (let index = 0; index < 4; index++) {
      const kept = span.length - index * 32;
      if (kept < 32) span.words[index] = kept <= 0 ? 0 : span.words[index] & (-1 << (32 - kept));
    }
    return null;
  }

  // ---- every key of a text -----------------------------------------------------------------------------------

  private each(sink: KeySink): string | null {
    return this.layout.first < 0 ? this.eachPort(sink) : this.eachAddress(0, sink);
  }

  private eachAddress(which: 0 | 1, sink: KeySink): string | null {
    const { layout, key, type, options } = this;
    const span = this.spans[which];
    const at = which === 0 ? layout.first : layout.second;
    const kinds = type.dimensions.filter((dimension) => dimension === "ip" || dimension === "net");
    const next = (length: number): string | null => {
      if (layout.prefixes >= 0 && kinds[which] === "net") {
        key[layout.prefixes] = (key[layout.prefixes] & ~(0xff << (which * 8))) | (length << (which * 8));
      }
      return which === 0 ? this.eachPort(sink) : sink(key, this.device);
    };
    if (layout.words === 4) {
      key.set(span.words, at);
      return next(span.length);
    }
    if (kinds[which] === "net" && !span.ranged) {
      key[at] = span.low | 0;
      return next(span.length);
    }
    // A netmask makes one entry of many addresses.
    const step = options.netmask === null || this.unmasked ? 1 : 2 ** (32 - options.netmask);
    for (let low = kinds[which] === "ip" ? span.low - (span.low % step) : span.low; low <= span.high;) {
      key[at] = low | 0;
      const length = kinds[which] === "net" ? blockLength(low, span.high) : 32;
      const fault = next(length);
      if (fault !== null) return fault;
      low += kinds[which] === "net" ? 2 ** (32 - length) : step;
    }
    return null;
  }

  private eachPort(sink: KeySink): string | null {
    const { layout, key } = this;
    const after = (): string | null => (layout.second < 0 ? sink(key, this.device) : this.eachAddress(1, sink));
    if (layout.port < 0) return after();
    for (let port = this.lowPort; port <= this.highPort; port++) {
      key[layout.port] = port | (this.protocol << 16);
      const fault = after();
      if (fault !== null) return fault;
    }
    return null;
  }
}

/** Length of the largest network that begins at `low` and does not pass `high` (ip_set_range_to_cidr: never /0). */
function blockLength(low: number, high: number): number {
  for (let length = 1; length < 32; length++) {
    const size = 2 ** (32 - length);
    if (low % size === 0 && low + size - 1 <= high) return length;
  }
  return 32;
}

function portNumber(text: string): number | null {
  const value = decimal(text, 0, 65535);
  return value >= 0 ? value : parsePort(text);
}

/** A plain decimal number up to `max`, -1 where it is none. */
function decimal(text: string, from: number, max: number): number {
  if (from >= text.length || text.length - from > 5) return -1;
  let value = 0;
  for (let at = from; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value <= max ? value : -1;
}

/** Dotted quad in text[from, to), unsigned; -1 where it is none. */
export function ipv4(text: string, from: number, to: number): number {
  let value = 0;
  let part = -1;
  let parts = 0;
  for (let at = from; at <= to; at++) {
    const code = at === to ? 46 : text.charCodeAt(at);
    if (code === 46) {
      if (part < 0 || part > 255 || ++parts > 4) return -1;
      value = value * 256 + part;
      part = -1;
    } else {
      if (code < 48 || code > 57) return -1;
      part = Math.max(part, 0) * 10 + code - 48;
    }
  }
  return parts === 4 ? value : -1;
}

/** RFC 4291 text into four words; false where it is none. Zones are none. */
export function ipv6(text: string, words: Int32Array): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups: number[] = [];
  let gap = -1;
  for (let side = 0; side < halves.length; side++) {
    if (side === 1) gap = groups.length;
    if (halves[side] === "") continue;
    const parts = halves[side].split(":");
    for (let index = 0; index < parts.length; index++) {
      const part = parts[index];
      const last = side === halves.length - 1 && index === parts.length - 1;
      const quad = last && part.includes(".") ? ipv4(part, 0, part.length) : -1;
      if (quad >= 0) {
        groups.push(Math.floor(quad / 65536), quad % 65536);
        continue;
      }
      if (!/^[0-9a-f]{1,4}$/i.test(part)) return false;
      groups.push(Number.parseInt(part, 16));
    }
  }
  if (gap < 0 ? groups.length !== 8 : groups.length > 7) return false;
  if (gap >= 0) groups.splice(gap, 0, ...new Array<number>(8 - groups.length).fill(0));
  for (let index = 0; index < 4; index++) words[index] = (groups[index * 2] << 16) | groups[index * 2 + 1];
  return true;
}
