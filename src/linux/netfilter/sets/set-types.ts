/**
 * The types of IP sets as data: what an entry consists of, which options `create` takes, in the order `ipset save`
 * prints them, and where each part of an entry stands in its key.
 *
 * Source: net/netfilter/ipset/ip_set_*.c of Linux, man ipset(8).
 */
export type Dimension = "ip" | "net" | "port" | "iface" | "mark" | "mac" | "set";

export interface SetType {
  readonly name: string;
  readonly method: "hash" | "bitmap" | "list";
  readonly dimensions: readonly Dimension[];
  /** false: of no family or IPv4 alone (bitmap:ip). */
  readonly withFamily: boolean;
  /** A prefix length of 0 is taken (IP_SET_HASH_WITH_NET0). */
  readonly zeroNets: boolean;
  /** An address of 0 is refused, in entries and in packets. */
  readonly refusesZero: boolean;
  /** Options of `create` beside family. */
  readonly options: readonly string[];
}

const extensions = ["timeout", "counters", "comment", "skbinfo"];
const hashed = ["hashsize", "maxelem", ...extensions, "forceadd", "bucketsize", "initval"];

function hash(name: string, more: Partial<SetType> = {}): SetType {
  return {
    name: `hash:${name}`, method: "hash", dimensions: name.split(",") as Dimension[], withFamily: true, zeroNets: false,
    refusesZero: false, options: hashed, ...more,
  };
}

function bitmap(name: string, options: readonly string[]): SetType {
  return {
    name: `bitmap:${name}`, method: "bitmap", dimensions: name.split(",") as Dimension[], withFamily: false,
    zeroNets: false, refusesZero: false, options,
  };
}

const types: readonly SetType[] = [
  hash("ip", {
    options: ["hashsize", "maxelem", "netmask", "bitmask", ...extensions, "forceadd", "bucketsize", "initval"],
    refusesZero: true,
  }),
  hash("net"),
  hash("ip,port", { options: [...hashed, "netmask", "bitmask"], refusesZero: true }),
  hash("net,port"),
  hash("ip,port,ip"),
  hash("ip,port,net"),
  hash("net,net", { options: [...hashed, "netmask", "bitmask"], zeroNets: true }),
  hash("net,port,net", { zeroNets: true }),
  hash("ip,mark", { options: ["markmask", ...hashed] }),
  hash("mac", { withFamily: false }),
  hash("ip,mac"),
  hash("net,iface", { zeroNets: true }),
  bitmap("port", ["range", ...extensions]),
  bitmap("ip", ["range", "netmask", ...extensions]),
  bitmap("ip,mac", ["range", ...extensions]),
  {
    name: "list:set", method: "list", dimensions: ["set"], withFamily: false, zeroNets: false, refusesZero: false,
    options: ["size", ...extensions],
  },
];

/** Names of ipset's first versions. */
const aliases: Readonly<Record<string, string>> = {
  iphash: "hash:ip", nethash: "hash:net", ipporthash: "hash:ip,port", netporthash: "hash:net,port",
  ipportiphash: "hash:ip,port,ip", ipportnethash: "hash:ip,port,net", ipmap: "bitmap:ip", macipmap: "bitmap:ip,mac",
  portmap: "bitmap:port", setlist: "list:set",
};

export function setType(name: string): SetType | null {
  const full = aliases[name] ?? name;
  return types.find((type) => type.name === full) ?? null;
}

/** What `create` says, with the kernel's defaults. */
export interface SetOptions {
  /** 0: of no family, asked by packets of both. */
  readonly family: 0 | 4 | 6;
  /** A power of two, at least 64 (what `create` says; growth is not followed). */
  readonly hashsize: number;
  readonly maxelem: number;
  /** Seconds; null: entries have no timeout. 0: none by default. */
  readonly timeout: number | null;
  readonly counters: boolean;
  readonly comment: boolean;
  readonly skbinfo: boolean;
  readonly forceadd: boolean;
  /** null where `create` did not say it: then `ipset save` of an older version does not either. */
  readonly bucketsize: number | null;
  readonly initval: number | null;
  /** Prefix length; null where there is none. */
  readonly netmask: number | null;
  /** Words as in Packet; null where there is none. */
  readonly bitmask: readonly [number, number, number, number] | null;
  readonly markmask: number;
  /** First and last of a bitmap, unsigned. */
  readonly range: readonly [number, number] | null;
  readonly size: number;
}

/**
 * Where the parts of an entry stand in its key of 32-bit words; -1: the type has no such part. An address takes one
 * word (IPv4) or four.
 */
export class Layout {
  readonly words: 1 | 4;
  readonly first: number;
  readonly second: number;
  /** port | protocol << 16; a bitmap's port has no protocol. */
  readonly port: number;
  /** First prefix length | second << 8. */
  readonly prefixes: number;
  readonly mark: number;
  /** Two words: 16 bits and 32 bits. */
  readonly mac: number;
  readonly width: number;

  constructor(type: SetType, family: 0 | 4 | 6) {
    const { dimensions } = type;
    this.words = family === 6 ? 4 : 1;
    let width = 0;
    const take = (wanted: boolean, words: number): number => {
      if (!wanted) return -1;
      width += words;
      return width - words;
    };
    const addresses = dimensions.filter((dimension) => dimension === "ip" || dimension === "net").length;
    this.first = take(addresses > 0, this.words);
    this.second = take(addresses > 1, this.words);
    this.port = take(dimensions.includes("port"), 1);
    this.prefixes = take(dimensions.includes("net"), 1);
    this.mark = take(dimensions.includes("mark"), 1);
    this.mac = take(dimensions.includes("mac"), 2);
    this.width = width;
  }
}
