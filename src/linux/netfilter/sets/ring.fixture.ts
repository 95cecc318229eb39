/** Test support: random IP sets, rules that ask and change them, and frames that are near their entries. */
/** mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

const addresses4 = ["10.20.0.1", "10.20.0.2", "10.20.1.1", "10.21.0.1", "10.20.0.129", "192.168.7.7", "10.20.0.0", "11.0.0.1"];
const addresses6 = ["fd00:20::1", "fd00:20::2", "fd00:20:0:1::1", "fd00:21::1", "fd00:20::8000:1", "2001:db8::7", "fd00:20::"];
const lengths4 = [1, 7, 8, 15, 16, 17, 23, 24, 25, 30, 31, 32];
const lengths6 = [1, 7, 8, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128];
const ports = [53, 80, 81, 0];
const devices = ["a0", "a01", "b0", "a", "a0", "lo"];
const icmpTypes: readonly (readonly [number, number])[] = [[8, 0], [0, 0], [3, 1], [3, 3], [200, 7]];
const icmp6Types: readonly (readonly [number, number])[] = [[128, 0], [129, 0], [1, 4], [135, 0], [200, 7]];
const extensions = ["timeout 600", "counters", "comment", "skbinfo"];

const oddOptions = [
  "netmask 33", "netmask 0", "netmask 24", "maxelem 2", "hashsize 5", "family inet7", "family inet6", "foo 3",
    "timeout 2147484", "timeout 2147483",
  "range 5-1", "size 3", "markmask 0x1", "bucketsize 3", "timeout", "counters counters", "bitmask 255.0.0.0", "comment", "-6",
    "--maxelem 7",
  "timeout 3 timeout 4", "maxelem 0", "netmask 128",
];
const oddEntries: readonly ((entry: string) => string)[] = [
  (entry) => `${entry},1`, (entry) => entry.slice(0, entry.lastIndexOf(",")), () => "10.20.0.1", () => "fd00:20::1",
    () => "10.20.0.1,80",
  () => "0.0.0.0", () => "0.0.0.0,80", () => "::,80", (entry) => entry.replace(/^[^,/]+/, "10.20.0.1-10.20.0.9"),
    (entry) => entry.replace(/\/\d+/, "/0"),
  (entry) => entry.replace(/\/\d+/, "/33"), (entry) => entry.replace(/(tcp|udp):\d+/, "gre:5"),
    (entry) => entry.replace(/(tcp|udp):\d+/, "icmp:300/1"),
  (entry) => entry.replace(/(tcp|udp):\d+/, "tcp:65536"), (entry) => entry.replace(/(tcp|udp):\d+/, "tcp:9-5"),
    (entry) => entry.replace(/(tcp|udp):\d+/, "6:80"),
  (entry) => entry.replace(/(tcp|udp):\d+/, "icmpv6:1/4"), (entry) => entry.replace(/(tcp|udp):\d+/, "icmp:ping"),
    (entry) => entry.replace(/(tcp|udp):\d+/, "none:5"),
  (entry) => entry.replace(/(tcp|udp):\d+/, "TCP:80"), (entry) => entry.replace(/(tcp|udp):\d+/, "0:0"), () => "0.0.0.0/31",
    () => "0.0.0.0-255.255.255.255",
  (entry) => `${entry}/32`, () => "10.20.0.9-10.20.0.1", () => "200", () => "::", (entry) => entry.replace(/[^,]+$/,
    "averylongdevicename"),
];
const oddEntryOptions = [
  "nomatch", "wildcard", "timeout 2147484", "timeout", "packets 18446744073709551615", "packets 3", "bytes x",
    "comment \"x\"", "comment", "skbmark 5",
  "skbmark 0x5/0xff", "skbprio 1", "skbprio 1:2", "skbqueue 65535", "foo", "before s2", "after s3", "before s", "timeout 7",
];

export interface Frame {
  readonly family: 4 | 6;
  readonly link: "a0" | "a01";
  readonly bytes: Uint8Array;
  readonly headerLength: number;
  readonly protocol: number;
  readonly fragmentOffset: number;
  /** false: the stack drops it after PREROUTING. */
  readonly forwarded: boolean;
  /** Its length is part of a group's code; else it goes alone. */
  readonly coded: boolean;
}

export interface RingSet {
  readonly name: string;
  readonly type: string;
  readonly family: 0 | 4 | 6;
  /** Networks in it time out, or in a member: how long an added network gets depends on when the kernel cleans up. */
  readonly expiring: boolean;
}

export class RingMaker {
  readonly next: () => number;
  private readonly types: readonly string[];

  constructor(seed: number, types: readonly string[]) {
    this.next = random(seed);
    this.types = types;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)];
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  // ---- sets --------------------------------------------------------------------------------------------------

  /** An `ipset restore` text of sets of every type and family, and what rules need to know of each. */
  sets(copies: number): { text: string; sets: RingSet[] } {
    const lines: string[] = [];
    const sets: RingSet[] = [];
    for (const type of this.types.filter((name) => name !== "list:set")) {
      for (const family of type.startsWith("bitmap:port") ? [0 as const] : type.startsWith("bitmap") ? [4 as const]
        : [4 as const, 6 as const]) {
        for (let copy = 0; copy < copies; copy++) {
          const name = `${type.replace(/[^a-z]/g, "")}${family}${copy}`;
          const first = lines.length;
          const options = this.createOptions(type, family);
          lines.push(`create ${name} ${type}${options}`);
          for (let count = Math.floor(this.next() * 9); count > 0; count--) {
            const entry = this.entry(type, family, options);
            const nomatch = type.includes("net") && this.chance(0.3) ? " nomatch" : "";
            const wild = type.includes("iface") && this.chance(0.3) && !entry.includes("physdev") ? " wildcard" : "";
            lines.push(`add -exist ${name} ${entry}${this.entryOptions(options, type)}${nomatch}${wild}`);
          }
          if (this.chance(0.2)) lines.push(`del -exist ${name} ${this.entry(type, family)}`);
          const expiring = type.includes("net") && lines.slice(first).some((line) => line.includes("timeout 1 ")
            || line.endsWith("timeout 1"));
          sets.push({ name, type, family, expiring });
        }
      }
    }
    if (this.types.includes("list:set")) {
      const members = [...sets];
      for (let copy = 0; copy < copies * 3; copy++) {
        const name = `list${copy}`;
        const options = extensions.filter(() => this.chance(0.25));
        lines.push(`create ${name} list:set ${options.join(" ")}`);
        const chosen = new Set(Array.from({ length: Math.floor(this.next() * 5) }, () => this.pick(members).name));
        sets.push({ name, type: "list:set", family: 0, expiring: members.some((one) => one.expiring && chosen.has(one.name)) });
        let before = "";
        for (const member of chosen) {
          const place = before !== "" && this.chance(0.4) ? ` ${this.pick(["before", "after"])} ${before}` : "";
          lines.push(`add ${name} ${member}${this.entryOptions(options.join(" "), "list:set")}${place}`);
          before = member;
        }
      }
    }
    if (sets.length > 3 && this.chance(0.5)) {
      const [a] = sets;
      const twin = sets.find((one) => one !== a && one.type === a.type && one.family === a.family);
      if (twin !== undefined) lines.push(`swap ${a.name} ${twin.name}`);
    }
    return { text: `${lines.join("\n")}\n`, sets };
  }

  createOptions(type: string, family: 0 | 4 | 6): string {
    const options = extensions.filter(() => this.chance(0.25));
    if (type.startsWith("hash")) options.unshift(`family ${family === 6 ? "inet6" : "inet"}`);
    if (type === "bitmap:port") options.push(this.pick(["range 0-100", "range 53-90", "range 50-60000"]));
    if (type === "bitmap:ip") {
      options.push(this.pick(["range 10.20.0.0/16", "range 10.20.0.1-10.20.1.0", "range 10.20.0.0-10.20.0.129"]));
      if (options.at(-1)?.includes("/16") && this.chance(0.4)) options.push(this.pick(["netmask 24", "netmask 31"]));
    }
    if ((type === "hash:ip" || type === "hash:ip,port") && this.chance(0.4)) {
      options.push(this.pick(family === 6
        ? ["netmask 64", "netmask 33", "bitmask ffff:ffff::1"] : ["netmask 24", "netmask 31", "netmask 9",
          "bitmask 255.0.255.3"]));
    }
    if (type === "hash:ip,mark" && this.chance(0.5)) options.push("markmask 0x3");
    return options.map((option) => ` ${option}`).join("");
  }

  /** An `ipset restore` text of one set and a few lines about it, most of them with something odd in them. */
  oddLines(): string {
    const type = this.pick(this.types);
    const family = type.startsWith("bitmap:port") || type === "list:set" ? 0 : type.startsWith("bitmap") ? 4 : this.pick([4,
      6] as const);
    let options = this.createOptions(type, family);
    if (this.chance(0.3)) options += ` ${this.pick(oddOptions)}`;
    const lines = [`create s ${type}${options}`];
    // In all lines or in none: ipset sends consecutive lines in one message, with the first one's flag.
    const exist = this.pick(["", "", " -exist"]);
    for (let count = this.pick([1, 1, 2, 3]); count > 0; count--) {
      let entry = type === "list:set" ? this.pick(["s2", "s3", "s", "none", "s2,s3"]) : this.entry(type, family, options);
      if (this.chance(0.3)) entry = this.pick(oddEntries)(entry);
      let text = this.chance(0.4) ? this.entryOptions(options, type) : "";
      if (this.chance(0.25)) text += ` ${this.pick(oddEntryOptions)}`;
      lines.push(`${this.chance(0.8) ? "add" : "del"}${exist} s ${entry}${text}`);
    }
    if (this.chance(0.2)) lines.push(this.pick(["swap s s2", "swap s s3", "rename s t", "rename s s2", "destroy s",
      "destroy s2", "flush s", "flush none",
      "create s hash:ip", "create -exist s2 hash:ip family inet", "foo s", "create", "add s", "create u nohash", "swap s",
        "# nothing", ""]));
    return `create s2 hash:ip\ncreate s3 hash:net family inet6\n${lines.join("\n")}\n`;
  }

  private entryOptions(options: string, type: string): string {
    let text = "";
    // What has timed out stays in the way of hash:net,iface until the kernel has cleaned up.
    if (options.includes("timeout")
      && this.chance(0.5)) text += ` timeout ${this.pick(type === "hash:net,iface" ? [0, 300] : [0, 1, 300])}`;
    if (options.includes("counters")
      && this.chance(0.4)) text += ` packets ${this.pick([0, 3, 10])} bytes ${this.pick([0, 1000])}`;
    if (options.includes("comment") && this.chance(0.4)) text += ` comment ${this.pick(['"two words"', '"one"'])}`;
    if (options.includes("skbinfo") && this.chance(0.4)) text += this.pick([" skbmark 0x10/0xff", " skbprio 1:10",
      " skbqueue 3"]);
    return text;
  }

  /** An entry that the set takes, most of the time. */
  entry(type: string, family: 0 | 4 | 6, options = ""): string {
    // A range begins at the masked address: that may be millions of entries.
    const ranges = !/mask/.test(options) || !type.startsWith("hash:ip");
    return type.slice(type.indexOf(":") + 1).split(",").map((part, index) => {
      const address = this.pick(family === 6 ? addresses6 : addresses4);
      switch (part) {
        case "ip":
          if (type === "bitmap:ip") return this.pick(["10.20.0.1", "10.20.0.2", "10.20.0.129", "10.20.0.1-10.20.0.3",
            "10.20.0.2/31"]);
          if (family !== 6 && index === 0 && ranges && this.chance(0.15)) return this.pick(["10.20.0.0/30",
            "10.20.0.1-10.20.0.3", "10.20.1.1/32"]);
          return address;
        case "net": {
          if (family !== 6 && this.chance(0.08)) return this.pick(["10.20.0.1-10.20.1.9", "10.20.0.0-10.21.255.255"]);
          const zero = /iface|net,net|net,port,net/.test(type) && this.chance(0.15);
          return `${address}/${zero ? 0 : this.pick(family === 6 ? lengths6 : lengths4)}`;
        }
        case "port":
          if (type.startsWith("bitmap")) return this.pick(["53", "80", "81", "60-90", "tcp:80", "udp:53"]);
          return this.portText(family === 6 ? 6 : 4);
        case "iface":
          return `${this.chance(0.1) ? "physdev:" : ""}${this.pick(devices)}`;
        case "mark":
          return this.pick(["0x0", "0x1", "0x5"]);
        default:
          throw new Error(`no entry for ${part}`);
      }
    }).join(",");
  }

  private portText(family: 4 | 6): string {
    const [type, code] = this.pick(family === 6 ? icmp6Types : icmpTypes);
    return this.pick([
      `tcp:${this.pick(ports)}`, `udp:${this.pick(ports)}`, `${this.pick(ports)}`, `sctp:${this.pick(ports)}`, "udp:50-82",
      `udplite:${this.pick(ports)}`, `${family === 6 ? "icmpv6" : "icmp"}:${type}/${code}`, "gre:0", "dccp:0", "tcp:80-81",
    ]);
  }

  // ---- rules -------------------------------------------------------------------------------------------------

  /** `*raw`, `*mangle` and `*filter` of a family; every set is asked, in every way that makes a difference. */
  rules(family: 4 | 6, all: readonly RingSet[], count: number): string {
    const sets = all.filter((set) => set.family === 0 || set.family === family);
    const chain = (table: string, hook: string, lines: string[]): string =>
      `*${table}\n:${hook} ACCEPT [0:0]\n${lines.map((line) => `-A ${hook} ${line}\n`).join("")}COMMIT\n`;
    const matches = Array.from({ length: count }, (_, index) => this.match(sets[index % sets.length]));
    const changes = Array.from({ length: Math.floor(count / 8) }, () => {
      const set = this.pick(sets.filter((one) => !one.expiring && (one.type !== "list:set" || this.chance(0.5))));
      const dims = this.directions(set, 1);
      const options = this.pick(["", "", " --exist", " --timeout 200", " --exist --timeout 0"]);
      const target = this.chance(0.7) ? `--add-set ${set.name} ${dims}${options}` : `--del-set ${set.name} ${dims}`;
      return `${this.match(this.pick(sets))} -j SET ${target}`;
    });
    return chain("raw", "PREROUTING", ["", ...matches.filter(() => this.chance(0.3))])
      + chain("mangle", "FORWARD", changes) + chain("filter", "FORWARD", matches);
  }

  private match(set: { name: string; type: string }): string {
    let text = `-m set ${this.chance(0.2) ? "! " : ""}--match-set ${set.name} ${this.directions(set, 0.9)}`;
    if (this.chance(0.2)) text += " --return-nomatch";
    if (this.chance(0.15)) text += " ! --update-counters";
    if (this.chance(0.1)) text += " ! --update-subcounters";
    if (this.chance(0.15)) text += this.pick([" --packets-gt 4", " --packets-lt 12", " ! --packets-eq 3", " --packets-eq 10"]);
    if (this.chance(0.1)) text += this.pick([" --bytes-gt 1200", " --bytes-lt 900", " ! --bytes-eq 0"]);
    return text;
  }

  /** As many as the type has dimensions, now and then one less or more. */
  private directions(set: { type: string }, exact: number): string {
    const dims = set.type === "list:set" ? this.pick([1, 2, 3]) : set.type.split(",").length;
    const count = Math.max(1, this.chance(exact) ? dims : dims + this.pick([-1, 1]));
    return Array.from({ length: count }, () => this.pick(["src", "dst"])).join(",");
  }

  // ---- frames ------------------------------------------------------------------------------------------------

  /**
   * Groups of frames whose lengths tell which of them a rule counted: 100 + 2^i bytes, so that packets and bytes of a
   * group have one reading. What has another length goes alone.
   */
  groups(family: 4 | 6, count: number): Frame[][] {
    const groups: Frame[][] = [];
    for (let made = 0; made < count; made++) {
      const last = groups.at(-1);
      const open = last?.[0].coded === true && last.length < 10;
      const frame = this.frame(family, 100 + 2 ** (open ? last.length : 0));
      if (frame.coded && open) last?.push(frame);
      else groups.push([frame]);
    }
    return groups;
  }

  private frame(family: 4 | 6, length: number): Frame {
    const pool = family === 6 ? addresses6 : addresses4;
    const unspecified = this.chance(0.02);
    const source = unspecified ? (family === 6 ? "::" : "0.0.0.0") : this.pick(pool);
    const [type, code] = this.pick(family === 6 ? icmp6Types : icmpTypes);
    const protocol = this.pick([6, 6, 6, 17, 17, 17, 132, 136, family === 6 ? 58 : 1, family === 6 ? 1 : 58, 47, 33, 253]);
    const cut = this.chance(0.06);
    const fragment = cut ? "" : this.pick(["", "", "", "", "", "", "", "", "", "later", "first"]);
    const extended = family === 6 && fragment !== "" ? 8 : 0;
    const header = (family === 6 ? 40 : 20) + extended;
    const total = cut ? header + this.pick([0, 4, 7, 8, 11, 12, 19, 20]) : length;
    const bytes = new Uint8Array(total);
    const payload = bytes.subarray(header);
    for (let at = 0; at < payload.length; at++) payload[at] = 0xa5;
    const upper = [this.pick(ports) || 9, this.pick(ports) || 9];
    const first = protocol === 1 || protocol === 58 ? [type, code, 0, 0, 0, 1, 0, 1] : [upper[0] >> 8, upper[0] & 255,
      upper[1] >> 8, upper[1] & 255];
    payload.set(first.slice(0, payload.length));
    if (protocol === 6 && payload.length >= 20) payload.set([0x50, 0x10], 12);
    const offset = fragment === "later" ? 185 : 0;
    const more = fragment === "first";
    if (family === 4) {
      bytes.set([0x45, 0, total >> 8, total & 255, 0, 7, (more ? 0x20 : 0) | (offset >> 8), offset & 255, 64, protocol]);
      bytes.set(source.split(".").map(Number), 12);
      bytes.set(this.pick(pool).split(".").map(Number), 16);
      const sum = headerSum(bytes.subarray(0, 20));
      bytes[10] = sum >> 8;
      bytes[11] = sum & 255;
    } else {
      const next = extended > 0 ? 44 : protocol;
      bytes.set([0x60, 0, 0, 0, (total - 40) >> 8, (total - 40) & 255, next, 64]);
      bytes.set(bytes6(source), 8);
      bytes.set(bytes6(this.pick(pool)), 24);
      if (extended > 0) bytes.set([protocol, 0, (offset * 8) >> 8, ((offset * 8) & 0xf8) | (more ? 1 : 0), 0, 0, 0, 7], 40);
    }
    return {
      family, link: this.pick(["a0", "a01"] as const), bytes, headerLength: header, protocol, fragmentOffset: offset * 8,
      forwarded: !unspecified, coded: !cut,
    };
  }
}

function headerSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Of an IPv6 text without an IPv4 part. */
export function bytes6(text: string): number[] {
  const [head, tail] = text.split("::");
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = groups(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return all.flatMap((group) => [group >> 8, group & 255]);
}
