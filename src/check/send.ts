/** Probes through both planes, each a connection of its own, and what the comparison says of each. */
import type { Cluster } from "../cluster/cluster.js";
import type { SettingSide } from "../compare/catalogue/index.js";
import { Comparison, type PolicyDenies } from "../compare/comparison.js";
import { differingFacets } from "../compare/facets.js";
import type { PacketListener } from "../compare/judged.js";
import { Names } from "../compare/names.js";
import { End, FrameBlock, PacketType, type Pin, type Plane, StepResults } from "../dataplane.js";
import { entryPacket } from "../replay/entryPacket.js";
import { Flow } from "../replay/flows.js";
import type { Packet } from "../replay/loop.js";
import { Outcome } from "../replay/outcome.js";
import { viewOf } from "../replay/reading.js";
import { EtherType } from "../wire/index.js";
import type { Judgement } from "./heard.js";
import type { Probe } from "./probe.js";

const TTL = 64;
/** Between probes: connections that nobody answers are forgotten before tables fill up. */
const APART_NS = 10e6;
const FIRST_PORT = 10_000;
const SOURCE_PORTS = 50_000;
/** Findings that one comparison holds: it looks through them for each new one. */
const FINDINGS = 200;

export class Senders {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  private readonly names: Names;
  private readonly nodes: ReadonlyMap<string, number>;
  private readonly devices = new Map<string, number>();
  private readonly uplinks = new Map<string, number>();
  private readonly outcomes: readonly [Outcome, Outcome] = [new Outcome(), new Outcome()];
  private comparison: Comparison;
  private judged: Judgement | null = null;
  /** What is under way. */
  private probe: Probe | null = null;
  private sent = 0;

  constructor(cluster: Cluster, private readonly planes: readonly [Plane, Plane], private readonly currentHasPolicy: boolean,
    private readonly denies: PolicyDenies, private readonly settings: readonly [SettingSide, SettingSide] | null = null) {
    this.names = new Names(cluster);
    this.nodes = new Map(planes[0].nodes.map((name, number) => [name, number]));
    for (const node of cluster.nodes) {
      for (const device of node.facts.devices) {
        if (device.pod !== null) this.devices.set(device.pod, device.index);
        else if (device.kind === "uplink" && !this.uplinks.has(node.name)) this.uplinks.set(node.name, device.index);
      }
    }
    this.comparison = this.newComparison();
  }

  /** null: the same in both. A sentence: it cannot be sent. */
  send(probe: Probe): Judgement | string | null {
    const place = this.placeOf(probe);
    if (typeof place === "string") return place;
    const number = this.sent++;
    const { source, destination, traffic: { protocol }, port, backend } = probe;
    const sourcePort = FIRST_PORT + (number % SOURCE_PORTS);
    const isEcho = protocol === 1 || protocol === 58;
    const bytes = entryPacket(protocol, { source, destination, sourcePort, destinationPort: isEcho ? sourcePort : port },
      false, number + 1, TTL);
    const etherType = source.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
    const timeNs = 1e9 + number * APART_NS;
    const pin: Pin | null = backend === null ? null : { backend, sourcePort: null };
    for (const index of [0, 1] as const) this.step(index, bytes, etherType, place.node, place.device, timeNs, pin);
    const [current, target] = this.outcomes;
    if (isSame(current, target)) return null;
    const view = viewOf(bytes, etherType, place.node, place.device, timeNs);
    const flow = new Flow();
    flow.entry[0].set(view.tuple);
    flow.entryNode[0] = place.node;
    flow.entryDevice[0] = place.device;
    const packet: Packet = { view, views: [view], flow, direction: 0, kind: "request", outcomes: this.outcomes, moot: [false, false],
      restored: [false, false] };
    if (this.comparison.findings.size >= FINDINGS) this.comparison = this.newComparison();
    this.judged = null;
    this.probe = probe;
    this.comparison.judge(packet);
    const found = this.judged as Judgement | null;
    if (found === null) throw new Error("the comparison told nothing of a packet");
    return found.class === "same" || found.class === "otherChoice" ? null : found;
  }

  /** How the last probe ended in both planes, as a text that is equal for ends that are alike. */
  fates(): string {
    return this.outcomes.map(({ end, arrived, answerProtocol, answerType, answerCode }) =>
      `${end}${arrived ? "+" : "-"}${answerProtocol === 0 ? "" : `${answerProtocol}/${answerType}/${answerCode}`}`).join(" ");
  }

  private step(index: 0 | 1, bytes: Uint8Array, etherType: number, node: number, device: number, timeNs: number, pin: Pin | null): void {
    const { block, results } = this;
    block.borrow(bytes, 0, bytes.length, bytes.length, etherType, PacketType.Host, node, device, timeNs);
    if (pin !== null) block.pin[0] = block.pins.push(pin);
    results.clear();
    this.planes[index].step(block, results);
    this.outcomes[index].read(results, 0);
  }

  private placeOf({ sender }: Probe): { node: number; device: number } | string {
    const name = sender.kind === "pod" ? sender.pod.nodeName : sender.kind === "node" ? sender.node.name : sender.via.name;
    const node = this.nodes.get(name);
    if (node === undefined) return `node ${name} is not among the objects`;
    if (sender.kind === "node") return { node, device: 0 };
    const device = sender.kind === "outside" ? this.uplinks.get(name) : this.devices.get(`${sender.pod.namespace}/${sender.pod.name}`);
    if (device !== undefined) return { node, device };
    return sender.kind === "outside" ? `node ${name} has no uplink`
      : `node ${name} has no device of pod ${sender.pod.namespace}/${sender.pod.name}`;
  }

  private newComparison(): Comparison {
    const listener: PacketListener = {
      packet: (_packet, names, found, saidBy) => {
        const side = (index: 0 | 1): Judgement["sides"][number] => {
          const said = saidBy(index);
          return { reason: said.reason, becauses: said.journey.becauses, get text() {
            return said.text;
          } };
        };
        const { source, destination } = this.probe!;
        this.judged = { ...found, sourceName: names.describe(source.text), destinationName: names.describe(destination.text),
          sides: [side(0), side(1)] };
      },
      unasked: () => {
        throw new Error("a probe was not asked about");
      },
    };
    return new Comparison(this.planes, () => this.names, this.currentHasPolicy, this.denies, listener, this.settings,
      { predicts: false });
  }
}

/** The comparison would call it the same: asked first, since most are. */
function isSame(current: Outcome, target: Outcome): boolean {
  if (current.end !== target.end || current.end === End.Undecided || current.end === End.Held) return false;
  return differingFacets(current, target, false, true) === 0 && current.arrived === target.arrived
    && (!current.arrived || (current.node === target.node && current.device === target.device && current.ttl === target.ttl
      && current.checksum === target.checksum));
}
