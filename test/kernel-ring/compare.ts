/**
 * Runs a recorded case through the plane's own node and holds it against what the kernel did: every packet that left,
 * every packet that reached a socket, every counter of every rule, and every entry of the conntrack table.
 *
 * Two things are chance: the endpoint that a `statistic` rule picks and the port of a masquerade. The model is pinned to
 * the kernel's choice and takes it only where it lies in the set the model itself computed; a refused pin disagrees.
 * Not compared: the identification and flow label of what the node makes itself, and of what a raw socket of IPv6 does
 * not tell (class, label, hop limit).
 */
import { addressFromBytes } from "../../src/cluster/address.js";
import { End, type Pin } from "../../src/dataplane.js";
import { Journeys } from "../../src/iptables/journeys.js";
import { PlaneNode, SharedRules } from "../../src/iptables/planeNode.js";
import { formatRecord } from "../../src/linux/netfilter/conntrack-record.js";
import type { NodeSink } from "../../src/linux/node.js";
import { type Case, clusterFrom, configOf, connectionLine, type FrameEvent, nodeOf, type Recording } from "./case.js";
import { countersOf, type Counters, differing } from "./counters.js";
import { addressText, bytesOf, describe, hexOf, isError, look } from "./frames.js";
import { link, linkName } from "./topology.js";

export interface Verdict {
  /** In words, the first few packets' in full. */
  readonly disagreements: readonly string[];
  /** Flows with a packet that the model would not judge, by reason. */
  readonly undecided: ReadonlyMap<string, number>;
  readonly flows: number;
  readonly packets: number;
  /** What the kernel's rules counted, both phases added; by family. */
  readonly counted: readonly Counters[];
}

export function compare(one: Case, recording: Recording): Verdict {
  return new Comparison(one, recording).run();
}

/** An image as it is compared: where it went and what it is, as text. */
type Seen = string;

class Comparison implements NodeSink {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  private seen: Seen[] = [];
  private readonly node: PlaneNode;
  private readonly disagreements: string[] = [];
  private readonly undecidedFlows = new Map<number, string>();
  private baseline: readonly Counters[] | null = null;
  private modelBaseline: readonly Counters[] | null = null;
  private readonly counted: Counters[] = [];
  private packets = 0;
  private chosen: ReadonlyMap<string, number> = new Map();

  constructor(private readonly one: Case, private readonly recording: Recording) {
    const { facts } = recording;
    const cluster = clusterFrom(one.objects, facts);
    this.node = new PlaneNode({
      number: 0, node: nodeOf(facts), cluster, config: configOf(one), engine: null, own: null, shared: new SharedRules(),
        journeys: new Journeys(),
      chance: (flow, draw) => Math.imul(flow ^ (draw + 1), 0x9e3779b1) >>> 0, tunnels: () => null, steps: null,
    });
  }

  run(): Verdict {
    for (const [at, event] of this.recording.events.entries()) {
      if (at === 0 || event.kind === "change") this.chosen = this.choicesAfter(at);
      if (event.kind === "frame") this.frame(event);
      else if (event.kind === "change") this.change();
      else if (event.kind === "connections") this.connections(event.lines);
      else this.counters(event.baseline, event.texts);
    }
    const undecided = new Map<string, number>();
    for (const reason of this.undecidedFlows.values()) undecided.set(reason, (undecided.get(reason) ?? 0) + 1);
    return { disagreements: this.disagreements, undecided, flows: this.one.flows.length, packets: this.packets,
      counted: this.counted };
  }

  private frame(event: FrameEvent): void {
    const { node } = this;
    const bytes = bytesOf(event.bytes);
    this.packets++;
    this.seen = [];
    this.end = End.None;
    this.pinFlags = 0;
    node.hooks.begin();
    const pin = this.pinOf(event, bytes);
    if (event.device === "") node.linux.output(bytes, 0, bytes.length, event.timeNs, pin, this);
    else {
      node.linux.receive(bytes, 0, bytes.length, bytes.length, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800, 0, link(event.device).index,
        event.timeNs, pin, this);
    }
    if ((this.end as End) === End.Undecided) {
      this.undecidedFlows.set(event.flow, this.reason);
      return;
    }
    const kernel = [...event.left.map(([device, hex]) => seenAt(device, bytesOf(hex))),
      ...event.local.map((hex) => seenAt("local", bytesOf(hex)))];
    const refused = (this.pinFlags & 2) === 0 ? "" : "; the kernel's choice is not one of the model's";
    if (refused !== "" || kernel.sort().join() !== this.seen.sort().join()) {
      this.disagree(`flow ${event.flow} (${this.one.flows[event.flow].kind}) ${event.step} at ${event.device || "a process"}: `
        + `${describe(bytes)}\n    kernel: ${textOf(kernel)}${event.errno === "" ? "" : ` (${event.errno})`}\n    model:  ${textOf(this.seen)} `
        + `(end ${this.end} ${this.reason})${refused}`);
    }
  }

  private change(): void {
    const { one, recording } = this;
    this.node.change(clusterFrom(one.later, recording.facts), nodeOf(recording.facts), null, one.cleanUp);
  }

  private counters(baseline: boolean, texts: readonly [string, string]): void {
    const kernel = texts.map(countersOf);
    const model = [this.node.save(4), this.node.save(6)].map(countersOf);
    if (baseline) {
      this.baseline = kernel;
      this.modelBaseline = model;
      return;
    }
    for (const at of [0, 1]) {
      const sum = countersSince(kernel[at], this.baseline?.[at]);
      const undecided = this.undecidedFlows.size > 0;
      const differences = differing(sum, countersSince(model[at], this.modelBaseline?.[at]), undecided);
      for (const text of differences.slice(0, 8)) this.disagree(`counters of IPv${at === 0 ? 4 : 6}: ${text}`);
      this.counted.push(sum);
    }
  }

  private connections(lines: readonly string[]): void {
    if (this.undecidedFlows.size > 0) return;
    const kernel = new Set(lines);
    const model = new Set(this.node.conntrack().map((record) => connectionLine(formatRecord(record))));
    const only = (one: ReadonlySet<string>, other: ReadonlySet<string>): string[] => [...one].filter((line) => !other.has(line));
    for (const line of only(kernel, model).slice(0, 8)) this.disagree(`connections: the kernel alone has ${line}`);
    for (const line of only(model, kernel).slice(0, 8)) this.disagree(`connections: the model alone has ${line}`);
  }

  /** What the kernel chose: of the packet that came out, where it is the one that went in. */
  private pinOf(event: FrameEvent, bytes: Uint8Array): Pin | null {
    const sent = look(bytes);
    if (sent === null || isError(sent)) return null;
    const images = [...event.left.map(([, hex]) => hex), ...event.local].map((hex) => look(bytesOf(hex)));
    const image = images.find((one) => one !== null && one.protocol === sent.protocol && !isError(one)) ?? null;
    // Masqueraded on the loopback device and dropped behind it: the connection tells.
    if (image === null) {
      const port = this.chosen.get(`${addressText(sent.from)} ${addressText(sent.to)} ${sent.sport} ${sent.dport}`);
      return port === undefined ? null : { backend: null, sourcePort: port };
    }
    const free = this.one.kubeProxy.statisticMode === "random" && image.protocol !== "ICMP";
    return { backend: free ? { address: addressFromBytes(image.to), port: image.dport } : null, sourcePort: image.sport };
  }

  /** Source ports as NAT chose them, by a connection's original addresses and ports, from the next table of connections. */
  private choicesAfter(at: number): Map<string, number> {
    const table = this.recording.events.slice(at).find((event) => event.kind === "connections");
    const found = new Map<string, number>();
    for (const line of table?.kind === "connections" ? table.lines : []) {
      const values = [...line.matchAll(/\b(?:src|dst|sport|dport)=(\S+)/g)].map((match) => match[1]);
      if (values.length === 8) found.set(values.slice(0, 4).join(" "), Number(values[7]));
    }
    return found;
  }

  private disagree(text: string): void {
    this.disagreements.push(`${this.one.name}: ${text}`);
  }

  // ---- NodeSink ----

  transmit(device: number, bytes: Uint8Array, offset: number, length: number): void {
    this.seen.push(seenAt(linkName(device), bytes.slice(offset, offset + length)));
  }

  enter(): void {}

  local(bytes: Uint8Array, offset: number, length: number): void {
    this.seen.push(seenAt("local", bytes.slice(offset, offset + length)));
  }
}

function seenAt(device: string, bytes: Uint8Array): Seen {
  const image = look(bytes);
  // The node draws the identification, or the flow label, of its own errors.
  const made = image !== null && isError(image);
  if (made || device === "local") {
    if (bytes[0] >> 4 === 6) bytes.fill(0, 1, 4);
    else if (made) bytes.fill(0, 4, 6).fill(0, 10, 12);
    if (bytes[0] >> 4 === 6 && device === "local") {
      bytes[0] = 0x60;
      bytes[7] = 0;
    }
  }
  return `${device} ${hexOf(bytes)}`;
}

function textOf(seen: readonly Seen[]): string {
  if (seen.length === 0) return "nothing";
  return seen.map((one) => {
    const at = one.indexOf(" ");
    return `${one.slice(0, at)}: ${describe(bytesOf(one.slice(at + 1)))} ${one.slice(at + 1)}`;
  }).join(" and ");
}

function countersSince(now: Counters, before: Counters | undefined): Counters {
  if (before === undefined) return now;
  return now.map((line, at) => ({ ...line, packets: line.packets - before[at].packets, bytes: line.bytes - before[at].bytes }));
}
