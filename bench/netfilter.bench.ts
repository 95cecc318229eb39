import { parseAddress } from "../src/cluster/address.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { generatedRules, SharedRules } from "../src/iptables/planeNode.js";
import { CompiledTable } from "../src/linux/netfilter/compiled-table.js";
import { createNetfilter } from "../src/linux/netfilter/netfilter.js";
import { parseRuleSet, type RuleSet } from "../src/linux/netfilter/rule-set.js";
import { Csum, CtInfo, Hook, type NodeServices, Skb, Verdict } from "../src/linux/skb.js";
import { type Figure, msOf, nsPerOperation, perSecond, type Question, single } from "./bench.js";
import { clusterIp, clusterOf, datagram, generators as config, podIp, segment, withChangedSlice } from "./services.js";

const SERVICES = 10_000;
const CONNECTIONS = 64;
const PACKETS = 100_000;
const NEW = 500;
const NEW_LINEAR = 20;
const MOST_RUNS = 11;

/** Connections of the kinds a node carries: who talks to whom. A client outside the cluster is masqueraded. */
const KINDS = [
  { what: "to a cluster IP", udp: false, client: podIp(7, 40), server: clusterIp },
  { what: "to a cluster IP, masqueraded", udp: false, client: "203.0.113.9", server: clusterIp },
  { what: "pod to pod", udp: false, client: podIp(7, 40), server: (service: number) => podIp(3, service % 60) },
  { what: "pod to pod, UDP", udp: true, client: podIp(7, 40), server: (service: number) => podIp(3, service % 60) },
] as const;

export const question: Question = {
  question: `What do ${SERVICES} services cost the netfilter engine: loading their rules, opening a connection, a packet within one?`,
  async run(): Promise<Figure[]> {
    const cluster = clusterOf({ nodes: 100, services: SERVICES });
    const { text } = generatedRules(cluster, cluster.nodes[0], 4, config);
    const rules = parseRuleSet(text, "bench", 4).rules;
    return [
      single("rules", text.split("\n").filter((line) => line.startsWith("-A ")).length, "rules",
        "one node, IPv4, 1 or 2 endpoints a service"),
      ...await loading(cluster, text, rules), ...await changing(cluster), ...await opening(rules), ...await established(rules),
    ];
  },
};

async function loading(cluster: Cluster, text: string, rules: RuleSet): Promise<Figure[]> {
  const { nodes } = cluster;
  const write = (): number => generatedRules(cluster, nodes[0], 4, config).text.length;
  return [
    await msOf("writing the rules as text, nothing known before", write, `${(text.length / 1e6).toFixed(1)} MB`),
    await msOf("reading the text", () => parseRuleSet(text, "bench", 4).rules.tables.size),
    await msOf("compiling what was read", () => [...rules.tables.values()].reduce((sum, table) => sum
      + new CompiledTable(table, 4).rules.length, 0)),
  ];
}

/** Each run changes another slice of the cluster as it was left. */
async function changing(cluster: Cluster): Promise<Figure[]> {
  const shared = new SharedRules();
  let now = cluster;
  let service = 0;
  let set = shared.of(now, now.nodes[0], 4, config).set;
  const figures = [await msOf("an EndpointSlice changes: the rules of the first node", () => {
    now = withChangedSlice(now, service++);
    set = shared.of(now, now.nodes[0], 4, config).set;
    return compiled(set);
  }, "one of its services loses its endpoints")];
  figures.push(await msOf("… and of each further node with the same rules", () =>
    compiled(shared.of(now, now.nodes[service++ % 100], 4, config).set)));
  return figures;
}

function compiled(set: RuleSet): number {
  return [...set.tables.values()].reduce((sum, table) => sum + new CompiledTable(table, 4).rules.length, 0);
}

async function opening(rules: RuleSet): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const shortcuts of [true, false]) {
    for (const [place, service] of [["first", 0], ["middle", SERVICES >> 1], ["last", SERVICES - 1]] as const) {
      const engine = new Engine(rules, shortcuts);
      const each = shortcuts ? NEW : NEW_LINEAR;
      const syns = Array.from({ length: each * MOST_RUNS }, (_, index) =>
        segment(podIp(7, 40), clusterIp(service), 1024 + index, 2));
      let next = 0;
      figures.push(await nsPerOperation(`new flow to the ${place} service${shortcuts ? "" : ", every rule compared"}`, each,
        () => {
        for (const end = next + each; next < end; next++) engine.pass(syns[next], 3, 2);
        return next;
      }, "PREROUTING, FORWARD, POSTROUTING; DNAT and conntrack included"));
    }
  }
  return figures;
}

async function established(rules: RuleSet): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const kind of KINDS) {
    const engine = new Engine(rules, true);
    const packets = Array.from({ length: CONNECTIONS }, (_, index) =>
      (kind.udp ? udpPackets : tcpPackets)(engine, kind.client, kind.server(index * 31), 40_000 + index)).flat();
    const figure = await nsPerOperation(`established packet, ${kind.what}`, PACKETS, () => {
      for (let index = 0; index < PACKETS; index++) {
        const answer = (index & 1) === 1;
        engine.pass(packets[index & (2 * CONNECTIONS - 1)], answer ? 2 : 3, answer ? 3 : 2);
      }
      return PACKETS;
    }, `both ways, ${CONNECTIONS} connections, 64 bytes of payload one way, checksums verified; three hooks, no routing`);
    figures.push(figure, perSecond(figure, `established packets, ${kind.what}`, "packets/s"));
  }
  return figures;
}

/** Opens a connection; a data segment of its client and what acknowledges it, as the engine is handed them. */
function tcpPackets(engine: Engine, client: string, server: string, port: number): Uint8Array[] {
  const { bytes } = engine.pass(segment(client, server, port, 2, { seq: 100, ack: 0 }), 3, 2);
  const [source, endpoint] = [bytes.subarray(12, 16).join("."), bytes.subarray(16, 20).join(".")];
  const [sourcePort, endpointPort] = [(bytes[20] << 8) | bytes[21], (bytes[22] << 8) | bytes[23]];
  const back = (flags: number, numbers: { seq: number; ack: number }): Uint8Array =>
    segment(endpoint, source, endpointPort, flags, numbers, 0, sourcePort);
  engine.pass(back(0x12, { seq: 500, ack: 101 }), 2, 3);
  engine.pass(segment(client, server, port, 0x10, { seq: 101, ack: 501 }), 3, 2);
  return [segment(client, server, port, 0x18, { seq: 101, ack: 501 }, 64), back(0x10, { seq: 501, ack: 101 })];
}

function udpPackets(engine: Engine, client: string, server: string, port: number): Uint8Array[] {
  const packets = [datagram(client, server, port, 53, 64), datagram(server, client, 53, port, 0)];
  engine.pass(packets[0], 3, 2);
  engine.pass(packets[1], 2, 3);
  return packets;
}

const NAMES = ["", "lo", "eth0", "veth0"];
const SERVICES_OF_NODE: NodeServices = {
  addressType: () => "UNICAST", deviceName: (index) => NAMES[index], masqueradeAddress: () => parseAddress("192.168.0.0"),
    reject: () => {}, sysctls: {},
};

/** Hands packets to the hooks as a node does that forwards them. */
class Engine {
  private readonly netfilter;
  private readonly skb = new Skb();

  constructor(rules4: RuleSet, shortcuts: boolean) {
    const chance = (flow: number, draw: number): number => Math.imul(flow ^ draw, 0x85ebca6b) >>> 0;
    this.netfilter = createNetfilter({ services: SERVICES_OF_NODE, rules4, rules6: parseRuleSet("", "bench", 6).rules, chance,
      shortcuts });
    this.skb.bytes = new Uint8Array(2048);
    this.skb.timeNs = 1e9;
  }

  pass(bytes: Uint8Array, inDevice: number, outDevice: number): Skb {
    const { skb, netfilter } = this;
    skb.bytes.set(bytes);
    skb.length = bytes.length;
    skb.headerLength = 20;
    skb.protocol = bytes[9];
    skb.mark = 0;
    skb.ct = null;
    skb.ctinfo = CtInfo.Invalid;
    skb.csum = Csum.Unknown;
    skb.inDevice = inDevice;
    skb.outDevice = 0;
    skb.timeNs += 1000;
    let verdict = netfilter.hook(Hook.Prerouting, skb);
    skb.outDevice = outDevice;
    if (verdict === Verdict.Accept) verdict = netfilter.hook(Hook.Forward, skb);
    if (verdict === Verdict.Accept) verdict = netfilter.hook(Hook.Postrouting, skb);
    if (verdict !== Verdict.Accept) throw new Error(`a packet ended otherwise: ${netfilter.reason}`);
    return skb;
  }
}
