/** IP sets without a kernel: lookups against a reader that goes through the entries one by one, and cases by hand. */
import { describe, expect, it, test } from "vitest";
import { testSeed } from "../../../../test/seed.js";
import { Hook, type NodeServices, Skb, Verdict } from "../../skb.js";
import { createNetfilter, type Netfilter } from "../netfilter.js";
import { parseRuleSet } from "../rule-set.js";
import { EntryTable } from "./entry-table.js";
import { IpSets, parseIpSets } from "./ipsets.js";
import { bytes6, type Frame, random, RingMaker } from "./ring.fixture.js";

const seed = testSeed("src/linux/netfilter/sets");
const hashTypes = ["hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:net,net",
  "hash:net,port,net", "hash:ip,mark", "bitmap:port", "bitmap:ip"];
const devices = ["", "a0", "a01", "b0"];
const services = { deviceName: (index: number) => devices[index], addressType: () => "UNICAST", masqueradeAddress: () => null,
  reject: () => {}, sysctls: {} } as NodeServices;

function skbOf(frame: Frame, timeNs = 0): Skb {
  const skb = new Skb();
  Object.assign(skb, { bytes: Uint8Array.from(frame.bytes), length: frame.bytes.length, family: frame.family,
    protocol: frame.protocol,
    headerLength: frame.headerLength, fragmentOffset: frame.fragmentOffset, inDevice: frame.link === "a0" ? 1 : 2,
      outDevice: 3, timeNs });
  return skb;
}

function load(sets: IpSets, family: 4 | 6, lines: string[]): Netfilter {
  const text = `*filter\n:FORWARD ACCEPT [0:0]\n${lines.map((line) => `-A FORWARD ${line}\n`).join("")}COMMIT\n`;
  const rules = { 4: parseRuleSet("", "none", 4).rules, 6: parseRuleSet("", "none", 6).rules };
  const { rules: own, problems } = parseRuleSet(text, "rules", family);
  expect(problems).toEqual([]);
  rules[family] = own;
  return createNetfilter({ services, rules4: rules[4], rules6: rules[6], sets, chance: () => 0 });
}

function counts(netfilter: Netfilter, family: 4 | 6): number[] {
  return [...netfilter.save(family).matchAll(/^\[(\d+):\d+\] -A/gm)].map((match) => Number(match[1]));
}

/** A frame of one protocol and two ports. */
function frame(source: string, destination: string, protocol = 6, ports: [number, number] = [1000, 80]): Frame {
  const bytes = new Uint8Array(60);
  bytes.set([0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0, ...source.split(".").map(Number),
    ...destination.split(".").map(Number)]);
  bytes.set([ports[0] >> 8, ports[0] & 255, ports[1] >> 8, ports[1] & 255], 20);
  return { family: 4, link: "a0", bytes, headerLength: 20, protocol, fragmentOffset: 0, forwarded: true, coded: true };
}

// ---- one entry after the other ------------------------------------------------------------------------------------

function number(text: string): bigint {
  const bytes = text.includes(":") ? bytes6(text) : text.split(".").map(Number);
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function numberAt(bytes: Uint8Array, at: number, size: number): bigint {
  return bytes.subarray(at, at + size).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** protocol:port as an entry says it, null where the packet has none. */
function portOf({ bytes, protocol, headerLength, fragmentOffset, family }: Frame, source: boolean): string | null {
  const needed: Record<number, number> = { 6: 20, 17: 8, 132: 12, 136: 8, 1: 8, 58: 8 };
  if (fragmentOffset > 0 && (family === 6 || (protocol in needed && protocol !== 58))) return null;
  if (fragmentOffset > 0 || !(protocol in needed)) return `${protocol}:0`;
  if (bytes.length - headerLength < needed[protocol]) return null;
  const at = headerLength + (source || protocol === 1 || protocol === 58 ? 0 : 2);
  return `${protocol}:${bytes[at] * 256 + bytes[at + 1]}`;
}

/** What the entries of a saved set say: the longest networks decide, the first dimension's length before the second's. */
function slowTest(saved: string[], create: string, directions: string[], frame: Frame, names: Record<string, number>): boolean {
  const bits = frame.family === 4 ? 32n : 128n;
  const size = Number(bits) / 8;
  const address = (source: boolean): bigint => numberAt(frame.bytes, (frame.family === 4 ? 12 : 8) + (source ? 0 : size), size);
  const netmask = / netmask (\d+)/.exec(create);
  const bitmask = / bitmask (\S+)/.exec(create);
  const type = create.split(" ")[2];
  let best: { rank: number; nomatch: boolean } | null = null;
  for (const line of saved) {
    const [, , entry, ...options] = line.split(" ");
    let rank = 0;
    const holds = entry.split(",").every((part, index) => {
      const kind = type.slice(type.indexOf(":") + 1).split(",")[index];
      const source = directions[index] === "src";
      if (kind === "mark") return Number(part) === 0;
      if (kind === "port") {
        const port = portOf(frame, source);
        if (type === "bitmap:port") return port !== null && /^(6|17):/.test(port) && port.split(":")[1] === part;
        const [name, value] = part.split(/:(.*)/);
        const icmp = /^(\d+)\/(\d+)$/.exec(value);
        const wanted = icmp !== null ? Number(icmp[1]) * 256 + Number(icmp[2]) : (names[value] ?? Number(value));
        return port === `${({ tcp: 6, udp: 17, sctp: 132, udplite: 136, icmp: 1, "ipv6-icmp": 58, gre: 47, dccp: 33 })[name]}:${wanted}`;
      }
      let own = address(source);
      if (netmask !== null) own = (own >> (bits - BigInt(netmask[1]))) << (bits - BigInt(netmask[1]));
      if (bitmask !== null) own &= number(bitmask[1]);
      const [text, length] = part.split("/");
      const shift = bits - BigInt(kind === "net" ? (length ?? bits) : bits);
      if (kind === "net") rank = rank * 200 + Number(bits - shift);
      return own >> shift === number(text) >> shift;
    });
    if (holds && (best === null || rank > best.rank)) best = { rank, nomatch: options.includes("nomatch") };
  }
  return best !== null && !best.nomatch;
}

describe("lookups", () => {
  it("do as a reader that goes through all entries", () => {
    const names = { "echo-request": 2048, "echo-reply": 0, "host-unreachable": 769, "port-unreachable": 771 };
    const names6 = { "echo-request": 32768, "echo-reply": 33024, "port-unreachable": 260, "neighbour-solicitation": 34560 };
    let matched = 0;
    let asked = 0;
    for (let run = 0; run < 25; run++) {
      const maker = new RingMaker(seed * 1000 + run, hashTypes);
      const { text, sets: made } = maker.sets(1);
      // Without what changes with time and counting.
      const { sets, problems } = parseIpSets(text.replace(/ (timeout \d+|counters|packets \d+|bytes \d+)/g, ""), "sets");
      expect(problems).toEqual([]);
      const saved = sets.save().split("\n");
      for (const family of [4, 6] as const) {
        const used = made.filter((set) => set.family === 0 || set.family === family);
        const directions = used.map(({ type }) => type.split(",").map(() => maker.pick(["src", "dst"])));
        const netfilter = load(sets, family, used.map(({ name },
          index) => `-m set --match-set ${name} ${directions[index].join(",")}`));
        let before = counts(netfilter, family);
        for (const one of maker.groups(family, 12).flat()) {
          netfilter.hook(Hook.Forward, skbOf(one));
          const after = counts(netfilter, family);
          for (const [index, { name }] of used.entries()) {
            const create = saved.find((line) => line.startsWith(`create ${name} `)) ?? "";
            const slow = slowTest(saved.filter((line) => line.startsWith(`add ${name} `)), create, directions[index], one,
              family === 4 ? names : names6);
            asked++;
            if (slow) matched++;
            expect(after[index] - before[index],
              `${create} ${directions[index]} ${one.bytes}\n${saved.filter((line) => line.startsWith(`add ${name} `))}`)
              .toBe(slow ? 1 : 0);
          }
          before = after;
        }
      }
    }
    expect(asked).toBeGreaterThan(5000);
    expect(matched).toBeGreaterThan(asked / 30);
  });

  it("hold in a table that grows, shrinks and is found again", () => {
    const next = random(seed);
    const table = new EntryTable(2);
    const model = new Map<string, Int32Array>();
    for (let step = 0; step < 20000; step++) {
      const key = Int32Array.of(Math.floor(next() * 60), Math.floor(next() * 50) << 24);
      const text = key.join();
      const place = table.find(key);
      expect(place >= 0).toBe(model.has(text));
      if (place >= 0) expect([...table.keys.subarray(place * 2, place * 2 + 2)].join()).toBe(text);
      if (place < 0 && next() < 0.55) {
        table.add(key);
        model.set(text, key);
      } else if (place >= 0 && next() < 0.5) {
        table.delete(place);
        model.delete(text);
      }
      expect(table.count).toBe(model.size);
    }
  });
});

describe("sets of rules", () => {
  test("a list asks its sets in order, also those of fewer dimensions, and none of more", () => {
    const { sets,
      problems } = parseIpSets("create a hash:ip counters\nadd a 10.0.0.1\ncreate b hash:ip,port counters\nadd b 10.0.0.1,tcp:80\n"
      + "create l list:set\nadd l a\nadd l b before a\n", "sets");
    expect(problems).toEqual([]);
    const netfilter = load(sets, 4, ["-m set --match-set l src,dst", "-m set --match-set l src"]);
    netfilter.hook(Hook.Forward, skbOf(frame("10.0.0.1", "10.0.0.2")));
    expect(counts(netfilter, 4)).toEqual([1, 1]);
    // Two dimensions: b has it; one: b is passed over.
    expect(sets.save()).toContain("add b 10.0.0.1,tcp:80 packets 1 bytes 60");
    expect(sets.save()).toContain("add a 10.0.0.1 packets 1 bytes 60");
    expect(sets.save().trim().split("\n").slice(-2)).toEqual(["add l b", "add l a"]);
  });

  test("ICMP type and code are a port; ! turns the answer round; --return-nomatch finds exceptions", () => {
    const { sets } = parseIpSets("create p hash:ip,port\nadd p 10.0.0.1,icmp:3/1\n"
      + "create n hash:net\nadd n 10.0.0.0/8\nadd n 10.0.0.0/24 nomatch\n", "sets");
    const netfilter = load(sets, 4, ["-m set --match-set p src,src", "-m set ! --match-set p src,src", "-m set --match-set n src",
      "-m set --match-set n src --return-nomatch"]);
    const pass = (one: Frame): number[] => {
      const before = counts(netfilter, 4);
      netfilter.hook(Hook.Forward, skbOf(one));
      return counts(netfilter, 4).map((count, index) => count - before[index]);
    };
    expect(pass(frame("10.0.0.1", "10.0.0.9", 1, [0x0301, 0]))).toEqual([1, 0, 0, 1]);
    expect(pass(frame("10.0.0.1", "10.0.0.9", 1, [0x0303, 0]))).toEqual([0, 1, 0, 1]);
    expect(pass(frame("10.0.1.1", "10.0.0.9", 1, [0x0301, 0]))).toEqual([0, 1, 1, 0]);
  });

  test("timeouts count from the first packet, or from the time given", () => {
    const text = "create a hash:ip timeout 100\nadd a 10.0.0.1 timeout 5\nadd a 10.0.0.2\nadd a 10.0.0.3 timeout 0\n";
    const passes = (sets: IpSets, seconds: number, source: string): boolean => {
      const netfilter = load(sets, 4, ["-m set --match-set a src"]);
      netfilter.hook(Hook.Forward, skbOf(frame(source, "10.0.0.9"), seconds * 1e9));
      return counts(netfilter, 4)[0] === 1;
    };
    const late = new IpSets();
    late.load(text);
    expect(passes(late, 1e9, "10.0.0.1")).toBe(true);
    expect(passes(late, 1e9 + 6, "10.0.0.1")).toBe(false);
    expect(passes(late, 1e9 + 99, "10.0.0.2")).toBe(true);
    expect(passes(late, 1e9 + 101, "10.0.0.2")).toBe(false);
    expect(passes(late, 2e9, "10.0.0.3")).toBe(true);
    const dated = new IpSets();
    dated.load(text, { nowNs: 1e18 });
    expect(passes(dated, 1e9 + 6, "10.0.0.1")).toBe(false);
  });

  test("a set that is missing, of the other family or not modelled is undecided and a Problem", () => {
    const { sets,
      problems } = parseIpSets("create six hash:ip family inet6\ncreate odd hash:odd\nadd odd 1\ncreate mac hash:mac\n"
      + "create l list:set\nadd l odd\nadd l six\n", "sets");
    expect(problems.map(({ where }) => where?.line)).toEqual([2]);
    for (const [name, reason, refused] of [
      ["none", "IP set none is not loaded", true], ["six", "IP set six is not of IPv4", true],
      ["odd", "IP set odd: sets of type hash:odd are not modelled", false],
      ["mac", "IP set mac: sets of type hash:mac look at MAC addresses", false],
      ["l", "IP set l: sets of type hash:odd are not modelled", false],
    ] as const) {
      const netfilter = load(sets, 4, ["-p udp -m set --match-set none src", `-m set ! --match-set ${name} src -j DROP`]);
      expect(netfilter.hook(Hook.Forward, skbOf(frame("10.0.0.1", "10.0.0.2"))), name).toBe(Verdict.Undecided);
      expect(netfilter.reason).toBe(`undecided: filter/FORWARD rule 2: ${reason}`);
      expect(netfilter.setProblems().map(({ where }) => where?.line)).toEqual(refused ? [3, 4] : [3]);
    }
    const netfilter = load(sets, 4, ["-j SET --add-set none src"]);
    expect(netfilter.hook(Hook.Forward, skbOf(frame("10.0.0.1", "10.0.0.2")))).toBe(Verdict.Undecided);
    netfilter.replaceSets(parseIpSets("create none hash:ip\n", "sets").sets);
    expect(netfilter.hook(Hook.Forward, skbOf(frame("10.0.0.1", "10.0.0.2")))).toBe(Verdict.Accept);
    expect(netfilter.ipSets.save()).toContain("add none 10.0.0.1\n");
  });

  test("what is said wrong is a Problem with its line; the rest is loaded", () => {
    const { sets,
      problems } = parseIpSets("create a hash:ip\nadd a 10.0.0.1\nadd a 10.0.0.1\nadd a x\nadd b 10.0.0.1\ncreate a hash:net\n"
      + 'create c hash:ip frobnicate 3\nadd a 10.0.0.2 comment "x"\nfoo\n# note\n\nadd a 10.0.0.3\n', "f");
    expect(problems.map(({ where, what }) => `${where?.file}:${where?.line} ${what}`)).toEqual([
      "f:3 10.0.0.1 is in the set already", "f:4 x is not an IPv4 address, network or range", "f:5 set b is not there",
      "f:6 set a is there already", "f:7 option frobnicate is not one of hash:ip",
      "f:8 comment cannot be used: the set was created without comment",
      "f:9 foo is not a command known here; expected create, add, del, flush, destroy, swap or rename",
    ]);
    expect(sets.names()).toEqual(["a", "c"]);
    expect(sets.save()).toContain("add a 10.0.0.1\nadd a 10.0.0.3\n");
  });

  test("no text makes it throw, and what it saves reads back the same", () => {
    const maker = new RingMaker(seed, [...hashTypes, "hash:net,iface", "hash:mac",
      "list:set"].filter((type) => type !== "hash:mac"));
    for (let run = 0; run < 300; run++) {
      const text = maker.oddLines();
      const cut = text.slice(0, Math.floor(maker.next() * text.length));
      for (const one of [text, cut]) {
        const saved = parseIpSets(one, "f").sets.save();
        const again = parseIpSets(saved, "again");
        expect(again.sets.save()).toBe(saved);
      }
    }
  });
});
