/**
 * Connection tracking and NAT against this machine's kernel: random packets of few connections go through a namespace
 * that translates, one by one. What left must be what the model sends, rules that count states must count alike, and
 * `conntrack -L` must list the model's entries: states, timeouts, flags, tuples.
 *
 * TWINPLANE_CONNTRACK_EPISODES: how many runs of 40 packets on a fresh table; 60 by default.
 */
import { describe, expect, it } from "vitest";
import { KernelNode, kernelMissing, type Sent } from "../../../test/kernel/node.js";
import { testSeed } from "../../../test/seed.js";
import { parseAddress } from "../../cluster/address.js";
import { readManifests } from "../../cluster/manifests.js";
import type { NodeFacts } from "../../cluster/cluster.js";
import { readNodeFacts } from "../../cluster/node-facts.js";
import { End, PacketType, type Pin } from "../../dataplane.js";
import { LinuxNode, type NodeSink } from "../node.js";
import type { NetfilterHooks } from "../skb.js";
import { formatRecord } from "./conntrack-record.js";
import { type Addresses, ConntrackTraffic, type Injection, layout } from "./conntrack-traffic.fixture.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { Random } from "./random.fixture.js";
import { parseRuleSet } from "./rule-set.js";

const seed = testSeed("src/linux/netfilter/conntrack-ring");
const EPISODES = Number(process.env.TWINPLANE_CONNTRACK_EPISODES ?? 60);
const PACKETS = 40;

const missing = kernelMissing(["iptables-restore", "ip6tables-restore", "conntrack", "ethtool"]);
if (missing !== null && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error(`TWINPLANE_REQUIRE_KERNEL=1, but the conntrack ring cannot run here: ${missing}`);
}

const SETUP = {
  name: `tw-conntrack-${process.pid}`,
  links: {
    a0: { mac: "02:00:00:00:0a:01", peer: "02:00:00:00:0a:02", mtu: 1500, addresses: ["10.1.0.1/24", "fd00:1::1/64"],
      neighbours: ["10.1.0.2", "10.1.0.3", "10.1.0.4", "fd00:1::2", "fd00:1::3", "fd00:1::4"] },
    b0: { mac: "02:00:00:00:0b:01", peer: "02:00:00:00:0b:02", mtu: 1500, addresses: ["10.2.0.1/24", "fd00:2::1/64"],
      neighbours: ["10.2.0.5", "10.2.0.6", "10.2.0.9", "fd00:2::5", "fd00:2::6", "fd00:2::9"] },
  },
  sysctls: {
    "net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0", "net.ipv4.icmp_ratelimit": "0", "net.ipv6.icmp.ratelimit": "0",
    "net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv6.auto_flowlabels": "0", "net.ipv6.flowlabel_reflect": "0",
  },
  routes: ["default via 10.2.0.9 dev b0", "default via fd00:2::9 dev b0"],
};

const STATES = ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"];

function rules(family: 4 | 6): string {
  const v4 = family === 4;
  const [vip, backend, node] = v4 ? ["10.96.0.1", "10.2.0.5", "10.2.0.1"] : ["fd00:96::1", "fd00:2::5", "fd00:2::1"];
  const client = (last: number): string => (v4 ? `10.1.0.${last}` : `fd00:1::${last}`);
  const bracketed = v4 ? backend : `[${backend}]`;
  const lines = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"];
  if (v4) lines.push("-A PREROUTING -d 198.18.0.2/32 -j CT --notrack");
  lines.push("-A PREROUTING -p udp -m udp --dport 9999 -j CT --notrack", "COMMIT");
  lines.push("*mangle", ":FORWARD ACCEPT [0:0]", ":INPUT ACCEPT [0:0]");
  if (v4) lines.push("-A FORWARD -d 198.18.0.2/32 -j ACCEPT");
  for (const chain of ["FORWARD", "INPUT"]) {
    for (const state of STATES) lines.push(`-A ${chain} -m conntrack --ctstate ${state}`);
    for (const status of ["SEEN_REPLY", "ASSURED", "CONFIRMED"]) lines.push(`-A ${chain} -m conntrack --ctstatus ${status}`);
    lines.push(`-A ${chain} -m conntrack --ctdir ORIGINAL`, `-A ${chain} -m conntrack --ctdir REPLY`,
      `-A ${chain} -m conntrack --ctstate SNAT`, `-A ${chain} -m conntrack --ctstate DNAT`,
      `-A ${chain} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT`);
  }
  lines.push("COMMIT", "*nat", ...["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"].map((chain) => `:${chain} ACCEPT [0:0]`));
  const toVip = `-A PREROUTING -d ${vip}/${v4 ? 32 : 128}`;
  for (const protocol of ["tcp", "udp", "sctp"]) {
    lines.push(`${toVip} -p ${protocol} -m ${protocol} --dport 80 -j DNAT --to-destination ${bracketed}:8080`);
  }
  lines.push(`${toVip} -p ${v4 ? "icmp" : "ipv6-icmp"} -j DNAT --to-destination ${backend}`,
    `-A POSTROUTING -s ${client(2)}/${v4 ? 32 : 128} -o b0 -j MASQUERADE`,
    `-A POSTROUTING -s ${client(3)}/${v4 ? 32 : 128} -o b0 -j MASQUERADE --random-fully`);
  for (const protocol of ["tcp", "udp"]) {
    const to = `${v4 ? node : `[${node}]`}:5000-5002`;
    lines.push(`-A POSTROUTING -s ${client(4)}/${v4 ? 32 : 128} -o b0 -p ${protocol} -j SNAT --to-source ${to}`);
  }
  return [...lines, "COMMIT", ""].join("\n");
}

const text = (address: string): Uint8Array => parseAddress(address)?.bytes ?? new Uint8Array(0);
const ADDRESSES: Readonly<Record<4 | 6, Addresses>> = {
  4: { clients: ["10.1.0.2", "10.1.0.3", "10.1.0.4"].map(text), router: text("10.2.0.9"),
    targets: ["10.96.0.1", "10.96.0.1", "10.2.0.5", "10.2.0.6"].map(text) },
  6: { clients: ["fd00:1::2", "fd00:1::3", "fd00:1::4"].map(text), router: text("fd00:2::9"),
    targets: ["fd00:96::1", "fd00:96::1", "fd00:2::5", "fd00:2::6"].map(text) },
};

/** Sysctls of an episode, by its number: the kernel's defaults, and both ways of being strict and lenient about TCP. */
const VARIANTS: readonly Readonly<Record<string, string>>[] = [
  { "net.netfilter.nf_conntrack_tcp_loose": "1", "net.netfilter.nf_conntrack_tcp_be_liberal": "0" },
  { "net.netfilter.nf_conntrack_tcp_loose": "1", "net.netfilter.nf_conntrack_tcp_be_liberal": "0" },
  { "net.netfilter.nf_conntrack_tcp_loose": "0", "net.netfilter.nf_conntrack_tcp_be_liberal": "0" },
  { "net.netfilter.nf_conntrack_tcp_loose": "1", "net.netfilter.nf_conntrack_tcp_be_liberal": "1" },
];

/** What the model sends. */
class Ear implements NodeSink {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  sent: { device: number; bytes: Uint8Array }[] = [];
  /** Given to the node's own stack, whose sockets answer as they will. */
  delivered = false;
  transmit(device: number, bytes: Uint8Array, offset: number, length: number): void {
    this.sent.push({ device, bytes: bytes.slice(offset, offset + length) });
  }
  enter(): void {}
  local(): void {
    this.delivered = true;
  }
}

interface Model {
  readonly node: LinuxNode;
  readonly netfilter: Netfilter;
  readonly devices: Readonly<Record<string, number>>;
}

/** What `ip` says of the node. */
async function factsOf(kernel: KernelNode): Promise<NodeFacts> {
  const sources = [];
  const asked = [["link", "-d link"], ["addr", "addr"], ["route4", "route show table all"], ["route6", "-6 route show table all"],
    ["neigh", "neigh"]];
  for (const [name, argv] of asked) {
    sources.push({ name: `${name}.json`, text: (await kernel.run(["ip", "-j", ...argv.split(" ")])) || "[]" });
  }
  const { facts } = readNodeFacts(sources, "node", readManifests([]).objects);
  if (facts === null) throw new Error("no facts of the node");
  return facts;
}

function modelOf(known: NodeFacts, variant: Readonly<Record<string, string>>): Model {
  const facts = { ...known, sysctls: { ...SETUP.sysctls, ...variant } };
  let netfilter: Netfilter | null = null;
  const node = new LinuxNode({ name: "node", facts, netfilter: (services): NetfilterHooks => {
    netfilter = createNetfilter({ services, rules4: parsed(4), rules6: parsed(6),
      chance: (flow, draw) => Math.imul(flow ^ Math.imul(draw + 1, 0x9e3779b1), 0x85ebca6b) >>> 0 });
    return netfilter;
  } });
  const devices = Object.fromEntries(facts.devices.map((device) => [device.name, device.index]));
  return { node, netfilter: netfilter as unknown as Netfilter, devices };
}

function parsed(family: 4 | 6): ReturnType<typeof parseRuleSet>["rules"] {
  const { rules: set, problems } = parseRuleSet(rules(family), `v${family}`, family);
  if (problems.length > 0) throw new Error(problems[0].what);
  return set;
}

/** The port that the kernel gave a translated packet, for the model to take where it is one it could have given. */
function pinOf(sent: readonly Sent[], link: string): Pin | null {
  const forwarded = sent.find((one) => one.link !== link);
  if (forwarded === undefined) return null;
  const { protocol, at } = layout(forwarded.bytes);
  // The kernel gives a node information query an identifier and leaves the packet's alone (icmpv6_manip_pkt).
  if (protocol === 58 && forwarded.bytes[at] !== 128) return null;
  const port = protocol === 1 || protocol === 58 ? at + 4 : at;
  return { backend: null, sourcePort: (forwarded.bytes[port] << 8) | forwarded.bytes[port + 1] };
}

/** Neighbour discovery and group membership of the node itself: IPv6 to a multicast group. */
function isOwnAffair(bytes: Uint8Array): boolean {
  return bytes[0] >> 4 === 6 && bytes[24] === 0xff;
}

/** Identification of packets the node itself makes is its own affair. */
function normal(bytes: Uint8Array): string {
  const copy = bytes.slice();
  if (copy[0] >> 4 === 4 && copy[9] === 1 && [3, 11, 12].includes(copy[20])) copy.set([0, 0], 4);
  if (copy[0] >> 4 === 4 && copy[9] === 1 && [3, 11, 12].includes(copy[20])) copy.set([0, 0], 10);
  return Buffer.from(copy).toString("hex");
}

function counters(save: string): string[] {
  let table = "";
  return save.split("\n").flatMap((line) => {
    if (line.startsWith("*")) table = line;
    return table === "*mangle" && line.includes("--ct") ? [line] : [];
  });
}

/** `conntrack -L` and the model's entries as lines that must be equal; timeouts within a second. */
function entries(lines: readonly string[]): Map<string, number> {
  return new Map(lines.filter((line) => /src=/.test(line)).map((line) => {
    const [, seconds] = /^\S+\s+\d+\s+(\d+)/.exec(line) ?? [];
    const rest = line.replace(/^(\S+)\s+(\d+)\s+\d+/, "$2").replace(/(mark|use|secctx|zone)=\S+/g, "")
      .replace(/sport=0 dport=0/g, "").replace(/type=140 code=0 id=\d+/, "type=140").replace(/\s+/g, " ")
      .replace(/src=(\S+) dst=(\S+) srckey=\S+ dstkey=\S+/g, "src=$1 dst=$2").trim();
    return [rest, Number(seconds)] as const;
  }));
}

describe.skipIf(missing !== null)(`the kernel's connection tracking (${missing ?? "here"})`, () => {
  it("agrees with the model packet by packet", async () => {
    const kernel = new KernelNode(SETUP);
    const disagreements: string[] = [];
    const tally = new Map<string, number>();
    try {
      await kernel.ready();
      const facts = await factsOf(kernel);
      for (let episode = 0; episode < EPISODES && disagreements.length < 5; episode++) {
        const variant = VARIANTS[episode % VARIANTS.length];
        await kernel.run(["sysctl", "-qw", ...Object.entries(variant).map(([key, value]) => `${key}=${value}`)]);
        const chosen: Episode = { seed: seed * 1000 + episode, family: episode % 3 === 2 ? 6 : 4, pause: episode % 20 === 7,
          crowded: episode % 10 === 4 };
        await run(kernel, modelOf(facts, variant), chosen, disagreements, tally);
      }
    } finally {
      await kernel.close();
    }
    console.log(Object.fromEntries([...tally].sort()));
    expect(disagreements).toEqual([]);
    expect(tally.get("packets")).toBe(EPISODES * PACKETS);
  });
});

interface Episode {
  readonly seed: number;
  readonly family: 4 | 6;
  /** Two seconds and a little pass in the middle: UDP flows older than that become streams. */
  readonly pause: boolean;
  /** More connections than the node has ports for. */
  readonly crowded: boolean;
}

async function run(kernel: KernelNode, { node, netfilter, devices }: Model, episode: Episode, disagreements: string[],
  tally: Map<string, number>): Promise<void> {
  const { seed: seedOf, family, pause, crowded } = episode;
  const count = (what: string): void => void tally.set(what, (tally.get(what) ?? 0) + 1);
  await kernel.run(["conntrack", "-F"]);
  // Loaded anew, so that counters and connections begin together.
  await kernel.run([family === 4 ? "iptables-restore" : "ip6tables-restore"], rules(family));
  const names = Object.fromEntries(Object.entries(devices).map(([name, index]) => [index, name]));
  const traffic = new ConntrackTraffic(new Random(seedOf), ADDRESSES[family], crowded);
  const log: string[] = [];
  for (let number = 0; number < PACKETS; number++) {
    if (pause && number === PACKETS / 2) await kernel.sleep(2.1);
    const injection: Injection = traffic.next();
    const sent = (await kernel.inject(injection.link, injection.bytes)).filter((one) => !isOwnAffair(one.bytes));
    const ear = new Ear();
    const { bytes, link } = injection;
    node.receive(bytes, 0, bytes.length, bytes.length, family === 4 ? 0x0800 : 0x86dd, PacketType.Host, devices[link],
      performance.now() * 1e6, pinOf(sent, link), ear);
    const theirs = sent.map((one) => `${one.link} ${normal(one.bytes)}`);
    const ours = ear.sent.map((one) => `${names[one.device]} ${normal(one.bytes)}`);
    log.push(`${injection.what} ${link} ${Buffer.from(bytes).toString("hex")} -> ${theirs.join(" ") || "nothing"}`);
    count("packets");
    count(`protocol ${layout(injection.bytes).protocol}`);
    if (ear.delivered && sent.every((one) => one.link === injection.link)) {
      count("delivered to the node");
      // What the node's sockets answer is not the model's to know; that it was sent is.
      for (const one of sent) node.output(one.bytes, 0, one.bytes.length, performance.now() * 1e6, null, new Ear());
    } else if (ear.end === End.Undecided) count(ear.reason);
    else if (theirs.join("\n") !== ours.join("\n")) {
      disagreements.push(`seed ${seedOf} packet ${number}: kernel ${theirs.join(" ") || "nothing"}`
        + `\n  model ${ours.join(" ") || "nothing"}`
        + ` (${ear.reason})\n  ${log.slice(-12).join("\n  ")}`);
      return;
    }
    traffic.saw(sent.find((one) => injection.link === "a0" && one.link === "b0")?.bytes ?? null);
  }
  const before = disagreements.length;
  await compareTables(kernel, netfilter, family, seedOf, disagreements, count);
  if (disagreements.length > before) disagreements.push(log.join("\n"));
}

async function compareTables(kernel: KernelNode, netfilter: Netfilter, family: 4 | 6, seedOf: number, disagreements: string[],
  count: (what: string) => void): Promise<void> {
  const kernelCounters = counters(await kernel.run([family === 4 ? "iptables-save" : "ip6tables-save", "-c", "-t", "mangle"]));
  const modelCounters = counters(netfilter.save(family));
  for (const [index, line] of kernelCounters.entries()) {
    if (!line.startsWith("[0:0]")) count(line.replace(/^\S+ -A \S+ /, ""));
    if (line === modelCounters[index]) continue;
    disagreements.push(`seed ${seedOf}: kernel counts ${line}\n  model ${modelCounters[index]}`);
  }
  const listed = await kernel.run(["conntrack", "-L", "-f", family === 4 ? "ipv4" : "ipv6"]);
  const theirs = entries(listed.split("\n"));
  const ours = entries(netfilter.conntrack().map((record) => formatRecord(record)));
  for (const [entry, seconds] of theirs) {
    count("entries");
    const mine = ours.get(entry);
    if (mine === undefined || Math.abs(mine - seconds) > 1) {
      disagreements.push(`seed ${seedOf}: kernel has ${seconds} ${entry}\n  model ${mine}`);
    }
  }
  for (const entry of ours.keys()) if (!theirs.has(entry)) disagreements.push(`seed ${seedOf}: only the model has ${entry}`);
}
