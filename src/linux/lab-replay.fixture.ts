/**
 * Test support: replays the recorded lab runs through LinuxNode and compares. Reads files, so nothing but tests may
 * import it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Address } from "../cluster/address.js";
import type { NodeFacts } from "../cluster/cluster.js";
import { type ConntrackFlow, readConntrackFlows } from "../cluster/conntrack-flow.js";
import { readManifests } from "../cluster/manifests.js";
import { readNodeFacts } from "../cluster/node-facts.js";
import { End, type Pin } from "../dataplane.js";
import { fold, getU16, getU32, setIpv4Checksum, setU16, sum16 } from "./ip/bytes.js";
import { LabNetfilter } from "./lab-netfilter.fixture.js";
import { LinuxNode, type NodeSink } from "./node.js";

export interface CaseRow {
  input: number;
  output: number;
  localOut: number;
  undecided: number;
  disagreements: number;
}

export interface RunResult {
  readonly cases: Map<string, CaseRow>;
  readonly disagreements: string[];
  readonly undecided: Map<string, number>;
}

interface Recorded {
  readonly name: string;
  readonly number: number;
  /** ns since the run began. */
  readonly time: number;
  readonly device: number;
  readonly packetType: number;
  readonly etherType: number;
  readonly bytes: Uint8Array;
  /** On the wire. */
  readonly length: number;
}

interface Sent {
  readonly time: number;
  readonly device: number;
  readonly image: string;
  readonly text: string;
  readonly name: string;
  /** Came out of a tunnel, to be found among what entered. */
  readonly entered: boolean;
}

export function labRuns(shared: string): string[] {
  return readdirSync(join(shared, "traces/lab")).filter((name) => name.endsWith("-nth")).sort();
}

/** `snap`: as if the capture had been cut there, in bytes from the network header. */
export function replayRun(shared: string, run: string, snap = Number.POSITIVE_INFINITY): RunResult {
  const folder = join(shared, "traces/lab", run);
  const result: RunResult = { cases: new Map(), disagreements: [], undecided: new Map() };
  const nodes = readdirSync(folder).flatMap((file) => /^(node\d+)\.net\.json$/.exec(file)?.[1] ?? []).sort();
  for (const node of nodes) new NodeReplay(folder, node, result, snap).run();
  return result;
}

const MADE_PROTOCOLS = new Set([2]);

class NodeReplay {
  private readonly node: LinuxNode;
  private readonly netfilter: LabNetfilter;
  private readonly records: Recorded[];
  private readonly flows: ConntrackFlow[] = [];
  private readonly startNs: bigint;
  private readonly pins = new Map<string, { time: number; pin: Pin; used: boolean }[]>();
  private readonly deletes: { time: number; flow: ConntrackFlow }[] = [];
  private readonly fragmentTuples = new Map<string, string>();
  private readonly pending: Sent[] = [];
  private readonly vxlan: number;
  /** The node's addresses: only from these its processes send. */
  private readonly own: ReadonlySet<string>;
  private now = 0;
  private undecidedAt = -1e9;
  private current = "";

  constructor(folder: string, private readonly name: string, private readonly result: RunResult,
    private readonly snap: number) {
    const read = (file: string): string => readFileSync(join(folder, file), "utf8");
    const objects = readManifests([{ name: "cluster.yaml", text: read("cluster.yaml") }]).objects;
    const netJson = `${name}.net.json`;
    const facts = readNodeFacts([{ name: netJson, text: read(netJson) }], name, objects).facts;
    if (facts === null) throw new Error(`no facts of ${name}`);
    this.startNs = BigInt((JSON.parse(read("meta.json")) as { started: number }).started) - 1_000_000_000n;
    this.netfilter = new LabNetfilter(name, read(`${name}.v4.rules`), read(`${name}.v6.rules`));
    this.vxlan = facts.devices.find((device) => device.vxlan !== null)?.index ?? -1;
    this.own = new Set(facts.devices.flatMap((device) => device.addresses.map((one) => hex(one.address.bytes, 0, 16))));
    this.node = new LinuxNode({
      name, facts, netfilter: (services) => this.netfilter.create(services),
      tunnels: (gateway) => tunnelOf(gateway, objects.nodes.map((node) => ({
        address: node.addresses.find((one) => one.type === "InternalIP" && one.address.family === 4)?.address,
        podCIDRs: node.podCIDRs.map((prefix) => prefix.address.text),
      })), facts),
    });
    this.records = this.readRecords(folder);
    this.readFlows(folder);
  }

  run(): void {
    for (const record of this.records) {
      this.now = record.time;
      this.current = record.name;
      while (this.deletes.length > 0 && this.deletes[0].time <= record.time) {
        this.netfilter.destroy((this.deletes.shift() as { flow: ConntrackFlow }).flow);
      }
      if (this.ignored(record)) continue;
      if (record.packetType !== 4) this.enter(record);
      else this.leave(record);
    }
    for (const sent of this.pending) this.disagree(`the model sent what the kernel did not: ${sent.text}`, sent.name);
  }

  /** Loopback is inside the model; neighbour discovery, MLD and IGMP are the node's own affair. */
  private ignored(record: Recorded): boolean {
    // T26.l2 sends a frame with a VLAN tag, which `-i any` does not show; the kernel, without such a device, drops it.
    if (record.name === "T26.l2" && record.packetType !== 4 && getU16(record.bytes, 4) === 1901) return true;
    if (record.device === 1 || (record.etherType !== 0x0800 && record.etherType !== 0x86dd)) return true;
    const { bytes } = record;
    if (record.etherType === 0x0800) return MADE_PROTOCOLS.has(bytes[9]);
    const at = bytes[6] === 0 ? 40 + (bytes[41] + 1) * 8 : 40;
    const protocol = bytes[6] === 0 ? bytes[40] : bytes[6];
    const type = bytes[at];
    return protocol === 58 && ((type >= 130 && type <= 137) || type === 143);
  }

  private enter(record: Recorded): void {
    const entered = this.take(record, true);
    if (record.device === this.vxlan) {
      if (entered === null) this.disagree(`came out of the tunnel unforeseen: ${describe(record.bytes)}`, record.name);
      return;
    }
    const row = this.row(record.name);
    row.input++;
    const choices = this.pinsOf(record);
    const pin = choices?.find((one) => !one.used) ?? null;
    const sink = this.sink();
    this.node.receive(record.bytes, 0, record.bytes.length, record.length, record.etherType, record.packetType,
      record.device, record.time, pin?.pin ?? null, sink);
    if (pin !== null && (sink.pinFlags & 1) !== 0) pin.used = true;
    if (sink.pinFlags & 2) this.disagree(`the recorded choice was refused: ${describe(record.bytes)}`, record.name);
    if (sink.end === End.Undecided) {
      this.undecided(sink.reason, record.name);
      this.undecidedAt = record.time;
    }
  }

  private leave(record: Recorded): void {
    const row = this.row(record.name);
    row.output++;
    if (this.take(record, false) !== null) return;
    // What the model said it cannot tell is not compared.
    if (record.time - this.undecidedAt < 1e6) return;
    if (isError(record.bytes)) {
      this.disagree(`the kernel sent what the model did not: ${describe(record.bytes)}`, record.name);
      return;
    }
    row.localOut++;
    const original = this.beforeNat(record);
    if (!this.own.has(sourceText(original)) || isTunnel(original)) {
      this.disagree(`the kernel forwarded what the model did not: ${describe(record.bytes)}`, record.name);
      return;
    }
    const sink = this.sink();
    const choices = this.pinsOf({ ...record, bytes: original });
    const pin = choices?.find((one) => !one.used) ?? null;
    this.node.output(original, 0, original.length, record.time, pin?.pin ?? null, sink);
    if (pin !== null && (sink.pinFlags & 1) !== 0) pin.used = true;
    if (sink.end === End.Undecided) this.undecided(sink.reason, record.name);
    if (sink.end === End.Held) return;
    if (this.take(record, false) === null) {
      this.disagree(`sent by a process, left otherwise (end ${sink.end} ${sink.reason}): `
        + `${describe(original)} should leave as ${describe(record.bytes)}`, record.name);
    }
  }

  private sink(): NodeSink {
    const push = (device: number, bytes: Uint8Array, length: number, made: number, entered: boolean): void => {
      const copy = bytes.slice(0, length);
      this.pending.push({
        time: this.now, device, image: image(copy.subarray(0, this.snap), made === 1), name: this.current, entered,
        text: `${device} ${describe(copy)}`,
      });
    };
    return {
      end: End.None, reason: "", pinFlags: 0,
      transmit: (device, bytes, _offset, length, made) => push(device, bytes, length, made, false),
      enter: (device, bytes, _offset, length) => push(device, bytes, length, 0, true),
      local: () => {},
    };
  }

  /** Takes out of `pending` what equals the record; a packet made by the node compares without its identification. */
  private take(record: Recorded, entered: boolean): Sent | null {
    const plain = image(record.bytes.subarray(0, this.snap), false);
    const made = image(record.bytes.subarray(0, this.snap), true);
    const index = this.pending.findIndex((sent) => sent.device === record.device && sent.entered === entered
      && (sent.image === plain || sent.image === made) && record.time - sent.time < 2e9);
    if (index < 0) return null;
    return this.pending.splice(index, 1)[0];
  }

  private pinsOf(record: Recorded): { time: number; pin: Pin; used: boolean }[] | null {
    const { bytes } = record;
    const key = tupleKey(bytes) ?? this.fragmentTuples.get(fragmentKey(bytes)) ?? "";
    const all = this.pins.get(key);
    if (all === undefined) return null;
    // The event is read after it happened: what is long over belongs to an earlier use of the tuple.
    return all.filter((one) => one.time > record.time - 2e6 && one.time < record.time + 1.5e9);
  }

  /** A packet of a local process as it was before NAT: by the connection that it belongs to. */
  private beforeNat(record: Recorded): Uint8Array {
    const bytes = record.bytes.slice();
    const key = tupleKey(bytes) ?? this.fragmentTuples.get(fragmentKey(bytes));
    if (key === undefined) return bytes;
    let found: ConntrackFlow | null = null;
    for (const flow of this.flows) {
      const time = Number((flow.timeNs as bigint) - this.startNs);
      if (time > record.time + 1.5e9) break;
      if (flow.event === "DESTROY") continue;
      if (flowKey(flow, "reply", true) === key || flowKey(flow, "original", true) === key) found = flow;
    }
    if (found === null) return bytes;
    if (flowKey(found, "reply", true) === key) rewrite(bytes, found.original, false);
    else rewrite(bytes, found.reply, false);
    return bytes;
  }

  private row(name: string): CaseRow {
    let row = this.result.cases.get(name);
    if (row === undefined) {
      row = { input: 0, output: 0, localOut: 0, undecided: 0, disagreements: 0 };
      this.result.cases.set(name, row);
    }
    return row;
  }

  private disagree(text: string, name: string): void {
    this.row(name).disagreements++;
    this.result.disagreements.push(`${this.name} ${name}: ${text}`);
  }

  private undecided(reason: string, name: string): void {
    this.row(name).undecided++;
    this.result.undecided.set(reason, (this.result.undecided.get(reason) ?? 0) + 1);
  }

  private readRecords(folder: string): Recorded[] {
    const records: Recorded[] = [];
    for (const name of readdirSync(folder)) {
      if (!/^T\d/.test(name)) continue;
      const bytes = readFileSync(join(folder, name, `${this.name}.any.pcap`));
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 24, number = 1; at + 16 <= bytes.length; number++) {
        const seconds = BigInt(view.getUint32(at, true)) * 1_000_000_000n + BigInt(view.getUint32(at + 4, true));
        const captured = view.getUint32(at + 8, true);
        const sll = at + 16;
        // SLL2: protocol 2, reserved 2, ifindex 4, hardware type 2, packet type 1, address length 1, address 8.
        records.push({
          name, number, time: Number(seconds - this.startNs), device: view.getUint32(sll + 4, false),
          packetType: bytes[sll + 10], etherType: view.getUint16(sll, false),
          bytes: Uint8Array.from(bytes.subarray(sll + 20, sll + Math.min(captured, 20 + this.snap))),
          length: captured - 20,
        });
        at = sll + captured;
      }
    }
    records.sort((a, b) => a.time - b.time || a.number - b.number);
    for (const { bytes } of records) {
      const key = tupleKey(bytes);
      if (key !== null && isFragment(bytes)) this.fragmentTuples.set(fragmentKey(bytes), key);
    }
    return records;
  }

  private readFlows(folder: string): void {
    for (const name of readdirSync(folder)) {
      if (!/^T\d/.test(name)) continue;
      const file = `${this.name}.ct-events.txt`;
      this.flows.push(...readConntrackFlows({ name: file, text: readFileSync(join(folder, name, file), "utf8") }).flows);
    }
    this.flows.sort((a, b) => Number((a.timeNs as bigint) - (b.timeNs as bigint)));
    for (const flow of this.flows) {
      // T22: `conntrack -D` of the UDP entries that still led to the endpoint that left.
      if (flow.event === "DESTROY" && flow.protocol === 17 && flow.original.destination.text === "10.96.0.120") {
        this.deletes.push({ time: Number((flow.timeNs as bigint) - this.startNs), flow });
      }
      if (flow.event !== "NEW") continue;
      const key = flowKey(flow, "original", false);
      const icmp = flow.reply.icmp;
      const list = this.pins.get(key) ?? [];
      list.push({
        time: Number((flow.timeNs as bigint) - this.startNs), used: false,
        pin: {
          backend: icmp === null ? { address: flow.reply.source, port: flow.reply.sourcePort } : null,
          sourcePort: icmp === null ? flow.reply.destinationPort : icmp.id,
        },
      });
      this.pins.set(key, list);
    }
  }
}

function tunnelOf(gateway: Address, nodes: readonly { address: Address | undefined; podCIDRs: readonly string[] }[],
  facts: NodeFacts): { remote: Address; mac: string | null } | null {
  // flannel: the tunnel device of a node has the network address of its pod range.
  const node = nodes.find((one) => one.podCIDRs.includes(gateway.text));
  const mac = facts.neighbours.find((one) => one.address.text === gateway.text)?.mac ?? null;
  return node?.address === undefined ? null : { remote: node.address, mac };
}

/** What is compared, as hex: without what the kernel draws. */
function image(bytes: Uint8Array, made: boolean): string {
  const copy = Buffer.from(trimmed(bytes));
  if (copy.length >= 20 && copy[0] >> 4 === 4) {
    const header = (copy[0] & 15) * 4;
    if (made) copy.fill(0, 4, 6).fill(0, 10, 12);
    // The port that the kernel draws is in the checksum: what is compared is whether that is right.
    if (made && copy[9] === 17 && getU16(copy, header + 2) === 8472) {
      const sum = fold(sum16(copy, 12, 8) + 17 + copy.length - header + sum16(copy, header, copy.length - header));
      setU16(copy, header + 6, sum);
      copy.fill(0, header, header + 2);
      // An answer of the node inside: its identification was compared, or masked, on the tunnel's device.
      const inner = header + 30;
      if (copy[inner] >> 4 === 4) copy.fill(0, inner + 4, inner + 6).fill(0, inner + 10, inner + 12);
      else copy.fill(0, inner + 1, inner + 4);
    }
  } else if (copy.length >= 40) {
    if (made) copy.fill(0, 1, 4);
    if (copy[6] === 44) copy.fill(0, 44, 48);
  }
  return copy.toString("latin1");
}

function trimmed(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 20) return bytes;
  const length = bytes[0] >> 4 === 4 ? getU16(bytes, 2) : getU16(bytes, 4) + 40;
  return length < bytes.length ? bytes.subarray(0, length) : bytes;
}

function isFragment(bytes: Uint8Array): boolean {
  return bytes[0] >> 4 === 4 ? (getU16(bytes, 6) & 0x3fff) !== 0 : bytes[6] === 44;
}

function fragmentKey(bytes: Uint8Array): string {
  const four = bytes[0] >> 4 === 4;
  if (!isFragment(bytes)) return "";
  return four ? `${hex(bytes, 12, 8)} ${getU16(bytes, 4)}` : `${hex(bytes, 8, 32)} ${getU32(bytes, 44)}`;
}

interface Layers {
  readonly protocol: number;
  readonly at: number;
}

/** Upper layer of a first or whole packet; null where there is none to read. */
function layers(bytes: Uint8Array): Layers | null {
  if (bytes.length < 20) return null;
  if (bytes[0] >> 4 === 4) {
    const at = (bytes[0] & 15) * 4;
    return (getU16(bytes, 6) & 0x1fff) !== 0 || bytes.length < at + 8 ? null : { protocol: bytes[9], at };
  }
  if (bytes.length < 48) return null;
  if (bytes[6] !== 44) return { protocol: bytes[6], at: 40 };
  return (getU16(bytes, 42) & 0xfff8) !== 0 || bytes.length < 56 ? null : { protocol: bytes[40], at: 48 };
}

function hasPorts(protocol: number): boolean {
  return protocol === 6 || protocol === 17 || protocol === 132;
}

function tupleKey(bytes: Uint8Array): string | null {
  const upper = layers(bytes);
  if (upper === null) return null;
  const addresses = bytes[0] >> 4 === 4 ? hex(bytes, 12, 8) : hex(bytes, 8, 32);
  const { protocol, at } = upper;
  if (hasPorts(protocol)) return `${protocol} ${addresses} ${getU16(bytes, at)} ${getU16(bytes, at + 2)}`;
  if (protocol === 1 || protocol === 58) return `${protocol} ${addresses} ${bytes[at] & 0xf7} ${getU16(bytes, at + 4)}`;
  return `${protocol} ${addresses}`;
}

function flowKey(flow: ConntrackFlow, side: "original" | "reply", reversed: boolean): string {
  const tuple = flow[side];
  const [from, to] = reversed ? [tuple.destination, tuple.source] : [tuple.source, tuple.destination];
  const addresses = hex(from.bytes, 0, from.bytes.length) + hex(to.bytes, 0, to.bytes.length);
  if (tuple.icmp !== null) return `${flow.protocol} ${addresses} ${tuple.icmp.type & 0xf7} ${tuple.icmp.id}`;
  if (!hasPorts(flow.protocol)) return `${flow.protocol} ${addresses}`;
  const [a, b] = reversed ? [tuple.destinationPort, tuple.sourcePort] : [tuple.sourcePort, tuple.destinationPort];
  return `${flow.protocol} ${addresses} ${a} ${b}`;
}

/** Gives a packet the addresses and ports of a tuple, and its checksums anew. */
function rewrite(bytes: Uint8Array, tuple: ConntrackFlow["original"], _reply: boolean): void {
  const four = bytes[0] >> 4 === 4;
  const upper = layers(bytes);
  const from = four ? 12 : 8;
  const size = four ? 8 : 32;
  let before = 0;
  let after = 0;
  for (let at = from; at < from + size; at += 2) before += getU16(bytes, at);
  bytes.set(tuple.source.bytes, from);
  bytes.set(tuple.destination.bytes, from + size / 2);
  for (let at = from; at < from + size; at += 2) after += getU16(bytes, at);
  if (four) setIpv4Checksum(bytes, 0);
  if (upper === null) return;
  const { protocol, at } = upper;
  if (hasPorts(protocol)) {
    before += getU16(bytes, at) + getU16(bytes, at + 2);
    setU16(bytes, at, tuple.sourcePort);
    setU16(bytes, at + 2, tuple.destinationPort);
    after += tuple.sourcePort + tuple.destinationPort;
  } else if (tuple.icmp !== null) {
    if (protocol === 1) before = after = 0;
    before += getU16(bytes, at + 4);
    setU16(bytes, at + 4, tuple.icmp.id);
    after += tuple.icmp.id;
  }
  const field = protocol === 6 ? 16 : protocol === 17 ? 6 : protocol === 1 || protocol === 58 ? 2 : -1;
  if (field < 0 || (protocol === 17 && getU16(bytes, at + field) === 0)) return;
  const value = ~fold((~getU16(bytes, at + field) & 0xffff) + (~fold(before) & 0xffff) + after) & 0xffff;
  setU16(bytes, at + field, value === 0 && protocol === 17 ? 0xffff : value);
}

function sourceText(bytes: Uint8Array): string {
  return bytes[0] >> 4 === 4 ? hex(bytes, 12, 4) : hex(bytes, 8, 16);
}

function isTunnel(bytes: Uint8Array): boolean {
  const upper = layers(bytes);
  return upper?.protocol === 17 && getU16(bytes, upper.at + 2) === 8472;
}

function isError(bytes: Uint8Array): boolean {
  const upper = layers(bytes);
  if (upper === null) return false;
  const type = bytes[upper.at];
  return upper.protocol === 1 ? type === 3 || type === 4 || type === 5 || type === 11 || type === 12
    : upper.protocol === 58 && type < 128;
}

function hex(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length)).toString("hex");
}

function describe(bytes: Uint8Array): string {
  const four = bytes[0] >> 4 === 4;
  const upper = layers(bytes);
  const address = (at: number): string => four ? bytes.subarray(at, at + 4).join(".")
    : hex(bytes, at, 16).replace(/(....)(?=.)/g, "$1:");
  const ports = upper !== null && hasPorts(upper.protocol)
    ? `${getU16(bytes, upper.at)}>${getU16(bytes, upper.at + 2)} ` : "";
  const rest = hex(bytes, upper?.at ?? (four ? 20 : 40), 64);
  return `${address(four ? 12 : 8)} > ${address(four ? 16 : 24)} proto ${upper?.protocol ?? bytes[four ? 9 : 6]} ${ports}`
    + `len ${bytes.length} ttl ${bytes[four ? 8 : 7]} ${hex(bytes, 0, 12)} ${rest}`;
}
