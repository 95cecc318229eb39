/**
 * Runs a case on a kernel and records what it did. Knows nothing of the model: what is sent after a flow's first packet
 * follows from what the kernel itself let out.
 *
 * Rounds, each through all flows in order: opening packets; answers of who got them, turned round; the clients' second
 * packets; errors; then the counters. After the change of the cluster: the first flows once more with their answers, new
 * flows, and the counters again.
 */
import { generateKubeProxy } from "../../src/iptables/kubeproxy/generate.js";
import { kubeProxySysctls } from "../../src/iptables/kubeproxy/config.js";
import { UdpCleanup, udpSlicesChanged } from "../../src/iptables/kubeproxy/conntrackCleanup.js";
import { generatedRules } from "../../src/iptables/planeNode.js";
import type { NodeRules } from "../../src/iptables/ruleset.js";
import type { Cluster, NodeFacts } from "../../src/cluster/cluster.js";
import { type Case, clusterFrom, configOf, connectionLine, type Flow, type FrameEvent, nodeOf, type Recording, type RingEvent, type Step } from "./case.js";
import { build, bytesOf, Chunk, errorAbout, hexOf, isError, look, type Segment, Tcp, turned } from "./frames.js";
import type { FrameResult, Kernel } from "./kernel.js";
import { OWN } from "./topology.js";

/** The sysctls of a node that no kube-proxy was on. */
const UNTOUCHED = { "net.ipv4.conf.all.route_localnet": "0", "net.netfilter.nf_conntrack_tcp_be_liberal": "0" };
const PAYLOAD = new TextEncoder().encode("ring    ");

/** Affinity of a second holds through a phase only if that is over well before. */
const LONGEST_PHASE_NS = 0.8e9;
const TRIES = 5;

export async function runCase(kernel: Kernel, one: Case, facts: NodeFacts): Promise<Recording> {
  for (let tried = 1; tried < TRIES; tried++) {
    const recording = await new Run(kernel, one, facts).run();
    if (one.pauseMs === 0 || longestPhase(recording) < LONGEST_PHASE_NS) return recording;
  }
  throw new Error(`${one.name}: this machine takes longer for a few flows than their affinity lasts`);
}

function longestPhase({ events }: Recording): number {
  const times = (steps: readonly Step[]): number[] => events.flatMap((event) => (event.kind === "frame" && steps.includes(event.step)
    ? [event.timeNs] : []));
  const change = events.find((event) => event.kind === "change");
  const opened = times(["open"]);
  const early = opened.filter((time) => time < (change?.kind === "change" ? change.timeNs : 0));
  const late = opened.slice(early.length);
  return Math.max(0, ...[[...early, ...times(["second"])], late].map((list) => Math.max(...list) - Math.min(...list)).filter(Number.isFinite));
}

/** What a flow's packets became, as far as the next ones depend on it. */
interface Progress {
  /** Where the flow's latest packet came out, and as what; device "" is the node itself. */
  image: { device: string; bytes: Uint8Array } | null;
  /** The answer was let through. */
  answered: boolean;
}

class Run {
  private readonly events: RingEvent[] = [];
  private readonly progress: Progress[];

  constructor(private readonly kernel: Kernel, private readonly one: Case, private readonly facts: NodeFacts) {
    this.progress = one.flows.map(() => ({ image: null, answered: false }));
  }

  async run(): Promise<Recording> {
    const { kernel, one, facts } = this;
    const before = clusterFrom(one.objects, facts);
    const after = clusterFrom(one.later, facts);
    await kernel.clear();
    await kernel.sysctls({ ...UNTOUCHED, ...settable(kubeProxySysctls(one.kubeProxy, nodeOf(facts), 4)) });
    await kernel.sink(sinkPorts(one.flows));
    const rules = this.rulesOf(before);
    await kernel.loadSets(rules.map(({ sets }) => sets).join(""));
    await this.load(rules);
    const early = one.flows.flatMap((flow, index) => (flow.late ? [] : [index]));
    await this.round("open", early);
    await this.round("answer", early);
    await this.round("second", early);
    await this.round("answer second", early);
    await this.round("error", early.filter((index) => one.flows[index].error !== "none"));
    await this.counters(false);
    await this.change(before, after);
    await this.counters(true);
    await new Promise((resolve) => setTimeout(resolve, one.pauseMs));
    await this.round("again", early);
    await this.round("answer again", early);
    const late = one.flows.flatMap((flow, index) => (flow.late ? [index] : []));
    await this.round("open", late);
    await this.round("answer", late);
    await this.counters(false);
    return { facts, events: this.events };
  }

  // ---- rules ----

  private rulesOf(cluster: Cluster): NodeRules[] {
    return ([4, 6] as const).map((family) => generatedRules(cluster, nodeOf(this.facts), family, configOf(this.one)));
  }

  private async load([four, six]: readonly NodeRules[]): Promise<void> {
    const error = await this.kernel.load([[4, four.text], [6, six.text]], false);
    if (error !== "") throw new Error(`${this.one.name}: the kernel refuses the rules: ${error}`);
  }

  private async change(before: Cluster, after: Cluster): Promise<void> {
    const { one, kernel } = this;
    const [old, now] = [this.rulesOf(before), this.rulesOf(after)];
    const same = (part: (rules: NodeRules) => string): boolean => old.every((rules, at) => part(rules) === part(now[at]));
    // Loading what is there already would start counters anew, of rules and of `nth`; the model leaves them alone.
    if (!same(({ sets }) => sets)) await kernel.loadSets(now.map(({ sets }) => sets).join(""));
    if (!same(({ text }) => text)) {
      if (one.reload === "full") await this.load(now);
      else await this.partialSync(after);
    }
    if (one.cleanUp) {
      for (const family of [4, 6] as const) {
        if (udpSlicesChanged(before, after, family, one.kubeProxy)) await this.cleanUp(new UdpCleanup(after, family, one.kubeProxy));
      }
    }
    this.events.push({ kind: "change", timeNs: await kernel.now() });
  }

  private async partialSync(after: Cluster): Promise<void> {
    const { one, kernel, facts } = this;
    const saved = await kernel.save();
    const changed = changedServices(one);
    const texts = ([4, 6] as const).map((family, at) => {
      const existingChains = [...saved[at].matchAll(/^:(KUBE-\S+) /gm)].map((match) => match[1]);
      const { restoreText } = generateKubeProxy({ cluster: after, node: nodeOf(facts), family, config: one.kubeProxy, changed, existingChains });
      return [family, restoreText] as const;
    });
    const error = await kernel.load(texts, true);
    if (error !== "") throw new Error(`${one.name}: the kernel refuses the partial sync: ${error}`);
  }

  private async cleanUp(cleanup: UdpCleanup): Promise<void> {
    const family = cleanup.family === 4 ? "ipv4" : "ipv6";
    const listed = await this.kernel.conntrack(["-L", "-f", family, "-p", "udp"]);
    for (const line of listed.split("\n")) {
      const values = [...line.matchAll(/\b(src|dst|sport|dport)=(\S+)/g)].map((match) => match[2]);
      if (values.length < 8 || !cleanup.isStale(values[1], Number(values[3]), values[4], Number(values[6]))) continue;
      await this.kernel.conntrack(["-D", "-f", family, "-p", "udp", "--orig-src", values[0], "--orig-dst", values[1],
        "--orig-port-src", values[2], "--orig-port-dst", values[3]]);
    }
  }

  private async counters(baseline: boolean): Promise<void> {
    this.events.push({ kind: "counters", baseline, texts: await this.kernel.save() });
    if (!baseline) this.events.push({ kind: "connections", lines: await this.connections() });
  }

  private async connections(): Promise<string[]> {
    const texts = [await this.kernel.conntrack(["-L", "-f", "ipv4"]), await this.kernel.conntrack(["-L", "-f", "ipv6"])];
    return texts.flatMap((text) => text.split("\n")).filter((line) => line !== "").map(connectionLine).sort();
  }

  // ---- packets ----

  private async round(step: Step, flows: readonly number[]): Promise<void> {
    const sent = flows.flatMap((flow) => {
      const packet = this.packet(step, flow);
      return packet === null ? [] : [{ flow, ...packet }];
    });
    const results = await this.kernel.frames(sent.map(({ device, bytes }) => [device, hexOf(bytes)]));
    results.forEach((result, at) => this.learn(step, sent[at], result));
  }

  private learn(step: Step, sent: { flow: number; device: string; bytes: Uint8Array }, result: FrameResult): void {
    const { flow, device, bytes } = sent;
    const { t, left, local, errno } = result;
    this.events.push({ kind: "frame", flow, step, device, bytes: hexOf(bytes), timeNs: t, left, local, errno } satisfies FrameEvent);
    const progress = this.progress[flow];
    const image = imageOf(bytes, result);
    if (step === "answer") progress.answered = image !== null;
    if (step === "open" || step === "second" || step === "again") progress.image = image;
  }

  /** The packet of a step and the device it enters; null where the flow has none. */
  private packet(step: Step, index: number): { device: string; bytes: Uint8Array } | null {
    const flow = this.one.flows[index];
    const { image, answered } = this.progress[index];
    switch (step) {
      case "open":
        return { device: flow.device, bytes: build(opening(flow, index)) };
      case "answer":
        return image === null ? null : { device: image.device, bytes: turned(image.bytes, ANSWER[flow.protocol](index)) };
      case "second":
        return { device: flow.device, bytes: build(second(flow, index, answered)) };
      case "answer second":
        return image === null ? null : { device: image.device, bytes: turned(image.bytes, ANSWER_SECOND[flow.protocol](index)) };
      case "error":
        return image === null ? null : { device: image.device, bytes: errorFrom(flow, image) };
      case "again":
        return { device: flow.device, bytes: build(again(flow, index, answered)) };
      case "answer again":
        return image === null ? null : { device: image.device, bytes: turned(image.bytes, ANSWER_AGAIN[flow.protocol](index)) };
    }
  }
}

/** Where a packet came out: the image is of its protocol and no error about it. */
function imageOf(bytes: Uint8Array, { left, local }: FrameResult): Progress["image"] {
  const sent = look(bytes);
  const isIt = (hex: string): boolean => {
    const seen = look(bytesOf(hex));
    return seen !== null && sent !== null && seen.protocol === sent.protocol && !isError(seen);
  };
  const out = left.find(([, hex]) => isIt(hex));
  if (out !== undefined) return { device: out[0], bytes: bytesOf(out[1]) };
  const here = local.find(isIt);
  return here === undefined ? null : { device: "", bytes: bytesOf(here) };
}

// ---- a flow's packets: numbers that both ends of a conversation agree on ----

const CLIENT_SEQ = 1000;
const SERVER_SEQ = 7000;
const CLIENT_TAG = 0x1111;
const SERVER_TAG = 0x2222;

function base(flow: Flow, index: number): Segment {
  const { from, to, protocol, sport, dport, ttl } = flow;
  return { from, to, protocol, sport, dport: protocol === "ICMP" ? index + 1 : dport, ttl, id: index + 1 };
}

function opening(flow: Flow, index: number): Segment {
  const segment = { ...base(flow, index), damaged: flow.opening === "damaged", seq: CLIENT_SEQ };
  switch (flow.protocol) {
    case "TCP": {
      const flags = flow.opening === "middle" ? Tcp.Ack : flow.opening === "stray" ? [Tcp.Fin, Tcp.Syn | Tcp.Ack, Tcp.Rst][index % (flow.device === "" ? 2 : 3)] : Tcp.Syn;
      return { ...segment, flags, ack: flags & Tcp.Ack ? SERVER_SEQ + 1 : 0 };
    }
    case "SCTP": {
      const chunk = flow.opening === "middle" ? Chunk.Data : flow.opening === "stray" ? Chunk.CookieAck : Chunk.Init;
      return { ...segment, chunk, tag: chunk === Chunk.Init ? 0 : SERVER_TAG, initTag: CLIENT_TAG };
    }
    default:
      return { ...segment, payload: PAYLOAD };
  }
}

function second(flow: Flow, index: number, answered: boolean): Segment {
  if (!answered) return opening(flow, index);
  const segment = { ...base(flow, index), seq: CLIENT_SEQ + 1, ack: SERVER_SEQ + 1, flags: Tcp.Ack | Tcp.Push };
  return flow.protocol === "SCTP" ? { ...segment, chunk: Chunk.CookieEcho, tag: SERVER_TAG } : { ...segment, ttl: 64, payload: PAYLOAD };
}

function again(flow: Flow, index: number, answered: boolean): Segment {
  if (!answered) return opening(flow, index);
  const segment = { ...second(flow, index, answered), seq: CLIENT_SEQ + 1 + PAYLOAD.length, ack: SERVER_SEQ + 1 };
  return flow.protocol === "SCTP" ? { ...segment, chunk: Chunk.Data } : segment;
}

type Answers = Readonly<Record<Flow["protocol"], (index: number) => Partial<Segment>>>;

const ANSWER: Answers = {
  TCP: () => ({ flags: Tcp.Syn | Tcp.Ack, seq: SERVER_SEQ }), UDP: () => ({ payload: PAYLOAD }), ICMP: () => ({ payload: PAYLOAD }),
  SCTP: () => ({ chunk: Chunk.InitAck, tag: CLIENT_TAG, initTag: SERVER_TAG }),
};
const ANSWER_SECOND: Answers = {
  ...ANSWER, TCP: () => ({ flags: Tcp.Ack, seq: SERVER_SEQ + 1, ack: CLIENT_SEQ + 1 + PAYLOAD.length }),
  SCTP: () => ({ chunk: Chunk.CookieAck, tag: CLIENT_TAG }),
};
const ANSWER_AGAIN: Answers = {
  ...ANSWER_SECOND, TCP: () => ({ flags: Tcp.Ack, seq: SERVER_SEQ + 1, ack: CLIENT_SEQ + 1 + 2 * PAYLOAD.length }),
  SCTP: () => ({ chunk: Chunk.Data, tag: CLIENT_TAG }),
};

/** From who got the packet, or from a router that could not pass it on. */
function errorFrom(flow: Flow, image: { device: string; bytes: Uint8Array }): Uint8Array {
  const seen = look(image.bytes);
  if (seen === null) throw new Error("an image that cannot be read");
  const answer = look(turned(image.bytes, {}));
  const receiver = addressOf(answer?.from ?? new Uint8Array(0));
  const router = seen.six ? "fd00::9" : "192.168.0.9";
  switch (flow.error) {
    case "size":
      return errorAbout(image.bytes, router, seen.six ? [2, 0] : [3, 4], 1300);
    case "host":
      return errorAbout(image.bytes, router, seen.six ? [1, 3] : [3, 1]);
    default:
      return errorAbout(image.bytes, receiver, seen.six ? [1, 4] : [3, 3]);
  }
}

function addressOf(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join(".") : Array.from({ length: 8 }, (_, at) => (
    (bytes[at * 2] << 8) | bytes[at * 2 + 1]).toString(16)).join(":");
}

/** UDP ports of the node that flows speak to or from. */
function sinkPorts(flows: readonly Flow[]): number[] {
  const ports = flows.filter((flow) => flow.protocol === "UDP").flatMap((flow) => [
    ...(isOwn(flow.to) ? [flow.dport] : []), ...(flow.device === "" || isOwn(flow.from) ? [flow.sport] : [])]);
  return [...new Set(ports)];
}

function isOwn(address: string): boolean {
  return OWN[address.includes(":") ? 6 : 4].includes(address);
}

/** The size of the conntrack table is the whole machine's. */
function settable(sysctls: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(sysctls).filter(([name]) => name !== "net.netfilter.nf_conntrack_max"));
}

/** `namespace/name` of the services that kube-proxy sees changed. */
function changedServices({ objects, later }: Case): Set<string> {
  const texts = (list: Case["objects"]): Map<string, string> => {
    const found = new Map<string, string>();
    for (const one of list) {
      const { namespace, name, labels } = one.metadata;
      const key = `${namespace}/${one.kind === "Service" ? name : labels["kubernetes.io/service-name"]}`;
      found.set(key, (found.get(key) ?? "") + JSON.stringify(one));
    }
    return found;
  };
  const [before, after] = [texts(objects), texts(later)];
  return new Set([...before.keys(), ...after.keys()].filter((key) => before.get(key) !== after.get(key)));
}
