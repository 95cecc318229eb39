/**
 * What a policy verdict costs by the size of the endpoint's map. Packets of established connections arrive at a pod
 * (cil_to_container: conntrack, then the verdict, as for every packet); connections are spread over all entries, so
 * that with many of them the map's memory is met cold.
 *
 * An endpoint's map holds at most 16,384 entries in Cilium (bpf-policy-map-max): what is above cannot exist there and
 * is a stress of our own.
 */
import { addressField } from "../src/contract/codec.js";
import { ConfigOption, DeviceKind, NodeOption, Program } from "../src/contract/codes.js";
import { createMachine, type Machine } from "../src/ebpf/machine.js";
import { readWasm } from "../src/cli/wasm.js";
import { type Figure, nsPerOperation, type Question } from "./bench.js";

const SIZES = [1_000, 16_384, 20_000, 250_000, 1_000_000];
/** bpf-policy-map-max */
const LIMIT = 16_384;
const FLOWS = [1, 16_384];
const PACKETS = 1 << 17;
/** Ports that an identity is allowed at; each is an entry. */
const PORTS = 16;
const FIRST_PORT = 8000;
const FIRST_IDENTITY = 256;
const POD_DEVICE = 10;
const FRAME = 64;
const SYN = 0x02;
const ACK = 0x10;
/** ALLOW at the priority of every NetworkPolicy. */
const PRECEDENCE = 0xffffff01;
const POD = Uint8Array.of(10, 0, 0, 1);

export const question: Question = {
  question: `What does a packet cost where its verdict comes from a policy map of 1K to 1M entries? (An endpoint's limit is ${LIMIT}.)`,
  async run(): Promise<Figure[]> {
    const figures: Figure[] = [];
    for (const entries of SIZES) {
      const machine = endpointWith(entries);
      for (const flows of FLOWS) figures.push(await established(machine, entries, flows));
      figures.push(await lookups(machine, entries));
    }
    return figures;
  },
};

async function established(machine: Machine, entries: number, flows: number): Promise<Figure> {
  const frames = layFrames(machine, entries, flows);
  for (let flow = 0; flow < flows; flow++) arrive(machine, frames, flow, SYN);
  for (let flow = 0; flow < flows; flow++) arrive(machine, frames, flow, ACK);
  return nsPerOperation(`${entries.toLocaleString("en")} entries, ${flows === 1 ? "1 connection" : `${flows.toLocaleString("en")} connections`}`,
    PACKETS, () => {
      let sum = 0;
      for (let index = 0; index < PACKETS; index++) sum += arrive(machine, frames, index % flows, 0);
      return sum;
    }, stress(entries, "established TCP, into the pod, one call of the program a packet"));
}

/** Both probes of a verdict alone, through the host's operations on maps. */
async function lookups(machine: Machine, entries: number): Promise<Figure> {
  const { exports, arenaAddress, memory } = machine;
  const view = new DataView(memory.buffer);
  const many = 1 << 14;
  const values = arenaAddress + 2 * many * 12;
  for (let index = 0; index < many; index++) {
    const { identity, port } = peer(index, entries);
    for (const [half, label] of [identity, 0].entries()) {
      const at = arenaAddress + (2 * index + half) * 12;
      view.setUint32(at, 64, true);
      view.setUint32(at + 4, label, true);
      view.setUint8(at + 8, 0);
      view.setUint8(at + 9, 6);
      view.setUint16(at + 10, port, false);
    }
  }
  const outer = machine.mapOfMaps("cilium_policy_v2");
  const { number } = outer.types;
  return nsPerOperation(`${entries.toLocaleString("en")} entries, lookups of a verdict`, many, () => {
    let found = 0;
    // The second of each pair may be missing, and a bulk lookup stops there: they are asked for one by one.
    for (let index = 0; index < 2 * many; index++) {
      found += exports.map_lookup(number, 1, arenaAddress + index * 12, values, 1);
    }
    return found;
  }, stress(entries, "identity and identity 0, two calls, scattered"));
}

function stress(entries: number, note: string): string {
  return entries > LIMIT ? `stress: above the limit of an endpoint; ${note}` : note;
}

/** A node with one pod whose map has this many entries. */
function endpointWith(entries: number): Machine {
  const machine = createMachine({ fast: readWasm().fast }, { nodes: 1, arenaBytes: 8 << 20, maps: {
    cilium_policy_v2: { slots: 2 * entries + 1024, innerMaps: 1, innerEntries: entries + 64 },
    cilium_ct4_global: { slots: 1 << 16 },
  } });
  const put = (name: "twinplane_config" | "twinplane_nodes" | "twinplane_devices", key: object, value: object): void => {
    const { errno } = machine.map(name).update([[key, value]] as never);
    if (errno !== 0) throw new Error(`${name}: error ${errno}`);
  };
  put("twinplane_config", { node: 0 }, { options: ConfigOption.values.ENABLE_IPV4 | ConfigOption.values.ENABLE_ICMP_RULES,
    version: 20, ct_connection_timeout_tcp: 8000, ct_connection_timeout_other: 60, ct_syn_timeout: 60, ct_close_timeout: 10,
    ct_report_interval: 5, ct_report_flags: 7 });
  put("twinplane_nodes", { node: 0 }, { options: NodeOption.values.MANAGED });
  put("twinplane_devices", { node: 0, ifindex: POD_DEVICE }, { kind: DeviceKind.values.POD, ipv4: addressField(POD), sec_id: 1000, mtu: 1500 });
  fill(machine, entries);
  return machine;
}

function fill(machine: Machine, entries: number): void {
  const outer = machine.mapOfMaps("cilium_policy_v2");
  const inner = outer.createInner(entries);
  if (inner === null) throw new Error("no inner map");
  outer.update([[{ policy: 0 }, { inner: inner.inner }]] as never);
  // For everybody: DNS, and a range of ports, so that several prefix lengths are in use.
  const common = [[64, 17, 53], [50, 6, 30_720], [56, 6, 443]] as const;
  const keys = new Uint8Array(entries * 12);
  const values = new Uint8Array(entries * 12);
  const view = new DataView(keys.buffer);
  const valueView = new DataView(values.buffer);
  const write = (row: number, prefixlen: number, identity: number, protocol: number, port: number): void => {
    const at = row * 12;
    view.setUint32(at, prefixlen, true);
    view.setUint32(at + 4, identity, true);
    view.setUint8(at + 9, protocol);
    view.setUint16(at + 10, port, false);
    valueView.setUint8(at + 2, (prefixlen - 40) << 3);
    valueView.setUint32(at + 4, PRECEDENCE, true);
  };
  common.forEach(([prefixlen, protocol, port], row) => write(row, prefixlen, 0, protocol, port));
  for (let row = common.length; row < entries; row++) {
    const index = row - common.length;
    write(row, 64, FIRST_IDENTITY + Math.floor(index / PORTS), 6, FIRST_PORT + (index % PORTS));
  }
  const { errno } = inner.updateBytes(keys, values);
  if (errno !== 0) throw new Error(`the policy map refused its entries: error ${errno}`);
}

/** Whom flow number `index` comes from and where it goes: an entry anywhere in the map. */
function peer(index: number, entries: number): { identity: number; port: number } {
  const identities = Math.floor((entries - 3) / PORTS);
  return { identity: FIRST_IDENTITY + (Math.imul(index + 1, 0x9e3779b1) >>> 0) % identities, port: FIRST_PORT + (index % PORTS) };
}

interface Frames {
  readonly at: number;
  readonly marks: Int32Array;
  readonly bytes: Uint8Array;
}

function layFrames(machine: Machine, entries: number, flows: number): Frames {
  const at = (machine.arenaAddress + 63) & ~63;
  const bytes = new Uint8Array(machine.memory.buffer);
  const view = new DataView(machine.memory.buffer);
  const marks = new Int32Array(flows);
  for (let flow = 0; flow < flows; flow++) {
    const { identity, port } = peer(flow, entries);
    // Identity in the mark: low 16 bits high up, MARK_MAGIC_IDENTITY.
    marks[flow] = (identity << 16) | 0x0f00;
    const frame = at + flow * FRAME;
    bytes.fill(0, frame, frame + FRAME);
    view.setUint16(frame + 12, 0x0800, false);
    const ip = frame + 14;
    view.setUint8(ip, 0x45);
    view.setUint16(ip + 2, 40, false);
    view.setUint8(ip + 8, 64);
    view.setUint8(ip + 9, 6);
    view.setUint32(ip + 12, 0x0a010000 + flow, false);
    bytes.set(POD, ip + 16);
    view.setUint16(ip + 20, 40_000, false);
    view.setUint16(ip + 22, port, false);
    view.setUint8(ip + 32, 0x50);
    view.setUint8(ip + 33, ACK);
  }
  return { at, marks, bytes };
}

/** One frame into the pod, with these TCP flags; 0: those it has. */
function arrive(machine: Machine, { at, marks, bytes }: Frames, flow: number, flags: number): number {
  const frame = at + flow * FRAME;
  if (flags !== 0) bytes[frame + 47] = flags;
  machine.exports.program_input(marks[flow], 0);
  const verdict = machine.exports.run_program(Program.values.TO_CONTAINER, frame, 54, 54, 0, POD_DEVICE, 1000);
  if (verdict < 0) throw new Error(`a packet of flow ${flow} was refused: ${verdict}`);
  return verdict;
}
