/**
 * A bench for single programs: one node with a pod, an uplink and whatever entries a test puts into the maps,
 * and a way to run a program on a frame and look at what it left. For tests of assembly/programs and recorded
 * vectors.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Address, parseAddress, parsePrefix } from "../src/cluster/address.js";
import { addressField, decodeFrom, encodeInto } from "../src/contract/codec.js";
import {
  AllNodes, ConfigOption, DeviceKind, Family, FibKind, NodeOption, Program,
} from "../src/contract/codes.js";
import type { RecordOf } from "../src/contract/layout.js";
import type { MapName } from "../src/contract/maps.js";
import { EmissionRecord, FrameRecord, OutcomeRecord, PinRecord } from "../src/contract/structs.js";
import { type Capacity, createMachine, type Machine } from "../src/ebpf/machine.js";
import { type Ran, type RunInput, runProgram, whatRan } from "./run-program.js";

export const POD_DEVICE = 10;
export const UPLINK = 2;
/** Every device's own. */
export const DEVICE_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
/** Positive verdicts, as assembly/programs/verdict.ts has them. */
export const Verdict = { Pass: 1, Endpoint: 2, Deliver: 3, Proxy: 4, Answer: 5, Redirect: 7, Tunnel: 8, Host: 9, Ipip: 10 } as const;

const built = fileURLToPath(new URL("../build", import.meta.url));

/** The module's bytes; `traced` for the one that writes steps. */
export function moduleBytes(traced = false): Uint8Array {
  const file = join(built, traced ? "traced.wasm" : "fast.wasm");
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`npm run build\``);
  return new Uint8Array(readFileSync(file));
}

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`${text} is not an address`);
  return parsed;
}

export function field(text: string): Uint8Array {
  return addressField(address(text).bytes);
}

export function familyOf(text: string): number {
  return address(text).family === 4 ? Family.values.IPV4 : Family.values.IPV6;
}

/** Options of a plane without tunnels: policy, services packet by packet, masquerading in the programs. */
export const BASE_OPTIONS = ["ENABLE_IPV4", "ENABLE_SOURCE_IP_VERIFICATION", "ENABLE_IPV4_FRAGMENT_TRACKING",
  "ENABLE_ICMP_RULES", "ALLOW_ICMP_FRAG_NEEDED", "SERVICE_NO_BACKEND_RESPONSE_REJECT",
    "ENABLE_BPF_MASQUERADE_IPV4",
  "ENABLE_NODEPORT", "ENABLE_PER_PACKET_LB"] as const;

export type OptionName = keyof typeof ConfigOption.values;

export type { Ran, RunInput } from "./run-program.js";

export interface WalkInput {
  readonly packet: Uint8Array;
  /** ifindex where it enters; 0: a process of the node. */
  readonly device: number;
  readonly node?: number;
  readonly seconds?: number;
  readonly wire?: number;
  readonly packetType?: number;
  /** Identifier of a VLAN tag that the device took off. */
  readonly vlan?: number;
  /** Where it is not what the version nibble says. */
  readonly etherType?: number;
  readonly pin?: { readonly backend: string; readonly port: number };
}

export interface Walked {
  readonly outcome: RecordOf<typeof OutcomeRecord>;
  readonly images: readonly (RecordOf<typeof EmissionRecord> & { readonly packet: Uint8Array })[];
}

export class Bench {
  readonly machine: Machine;
  version: number;
  private config: Record<string, unknown>;

  /** `maglev`: places of a Maglev table. */
  constructor(version = 20, { traced = false, maglev = 0 }: { traced?: boolean; maglev?: number } = {}) {
    this.version = version;
    const maps: Partial<Record<MapName, Capacity>> = {};
    for (const name of ["cilium_ct4_global", "cilium_ct_any4_global", "cilium_ct6_global",
      "cilium_ct_any6_global",
      "cilium_snat_v4_external", "cilium_snat_v6_external"] as const) maps[name] = { slots: 1 << 16 };
    for (const name of ["cilium_lb4_maglev", "cilium_lb6_maglev"] as const) {
      maps[name] = { slots: 64, innerEntries: Math.max(1, maglev), innerMaps: 4 };
    }
    this.machine = createMachine({ fast: moduleBytes(), traced: moduleBytes(traced) }, { nodes: 2,
      arenaBytes: 1 << 20, maps }, traced);
    this.config = { native_routing_cidr4: field("10.0.0.0"), native_routing_cidr4_length: 8,
      native_routing_cidr6_length: 255,
      service_loopback_ipv4: field("169.254.42.1"), service_loopback_ipv6: field("fe80::1"), seed: 20n,
        version,
      ct_connection_timeout_tcp: 8000, ct_connection_timeout_other: 60, ct_service_timeout_tcp: 8000,
      ct_service_timeout_other: 60, ct_service_close_grace: 60, ct_syn_timeout: 60, ct_close_timeout: 10,
      ct_report_interval: 5, ct_report_flags: 7, snat_collision_retries: 32, nodeport_port_min: 30000,
      nodeport_port_max: 32767, nodeport_snat_port_min: 32768, nodeport_snat_port_max: 65535 };
    this.options(BASE_OPTIONS);
    this.node({});
    this.put("twinplane_devices", { node: 0, ifindex: UPLINK }, { kind: DeviceKind.values.UPLINK,
      mtu: 1500, mac: DEVICE_MAC });
    this.route("0.0.0.0/0", FibKind.values.UPLINK, UPLINK);
    this.route("::/0", FibKind.values.UPLINK, UPLINK);
    this.route("192.168.0.1/32", FibKind.values.LOCAL_STACK, 0);
    this.mapPolicy(0);
  }

  options(names: readonly OptionName[]): void {
    let bits = 0;
    for (const name of names) bits |= ConfigOption.values[name];
    this.configure({ options: bits >>> 0 });
  }

  configure(values: Record<string, unknown>): void {
    this.config = { ...this.config, ...values };
    this.put("twinplane_config", { node: 0 }, this.config);
  }

  /** The bench's node 0, with what is not as usual. */
  node(values: Record<string, unknown>): void {
    this.put("twinplane_nodes", { node: 0 }, { ipv4: field("192.168.0.1"), ipv6: field("fd00::1"), masquerade4: field("192.168.0.1"),
      masquerade6: field("fd00::1"), router4: field("10.200.0.254"), router6: field("fd00:10:200::ff"),
      options: NodeOption.values.MANAGED, direct_routing_ifindex: UPLINK, host_sec_id: 1, ...values });
  }

  /** Writes one entry; throws where the map refuses. */
  put(name: MapName, key: Record<string, unknown>, value: Record<string, unknown>): void {
    const map = this.machine.map(name) as unknown as { update(entries: unknown[]): { errno: number } };
    const { errno } = map.update([[key, value]]);
    if (errno !== 0) throw new Error(`${name}: errno ${errno}`);
  }

  remove(name: MapName, key: Record<string, unknown>): void {
    (this.machine.map(name) as unknown as { delete(keys: unknown[]): unknown }).delete([key]);
  }

  lookup(name: MapName, key: Record<string, unknown>): Record<string, unknown> | null {
    return (this.machine.map(name) as unknown as { lookup(key: unknown): Record<string,
      unknown> | null }).lookup(key);
  }

  route(prefixText: string, kind: number, ifindex: number, nextNode: number = AllNodes.values.ALL,
    nextIfindex = 0, node = 0): void {
    const prefix = parsePrefix(prefixText);
    if (prefix === null) throw new Error(`${prefixText} is not a prefix`);
    this.put("twinplane_fib", { prefixlen: 32 + prefix.length, node, family: familyOf(prefix.address.text),
      address: addressField(prefix.address.bytes) },
      { kind, ifindex, next_node: nextNode, next_ifindex: nextIfindex });
  }

  ipcache(prefixText: string, identity: number, more: Record<string, unknown> = {}): void {
    const prefix = parsePrefix(prefixText);
    if (prefix === null) throw new Error(`${prefixText} is not a prefix`);
    this.put("cilium_ipcache_v2", { prefixlen: 32 + prefix.length, family: familyOf(prefix.address.text),
      address: addressField(prefix.address.bytes) },
      { sec_identity: identity, ...more });
  }

  /** The pod whose programs run: its device, and with `endpoint` an entry among the node's endpoints. */
  pod(ip: string, identity: number, policy = 0, ip6 = "", ifindex = POD_DEVICE, node = 0): void {
    this.put("twinplane_devices", { node, ifindex }, { kind: DeviceKind.values.POD, ipv4: field(ip),
      ipv6: ip6 === "" ? new Uint8Array(16) : field(ip6), sec_id: identity, policy, lxc_id: 1, mtu: 1500, mac: DEVICE_MAC });
  }

  endpoint(ip: string, ifindex: number, identity: number, flags = 0, policy = 0, node = 0): void {
    this.put("cilium_lxc", { address: field(ip), node, family: familyOf(ip) }, { ifindex,
      lxc_id: ifindex & 0xffff, flags, sec_id: identity,
      mac: Uint8Array.of(2, 0, 0, 0, 0x0e, 1), node_mac: Uint8Array.of(2, 0, 0, 0, 0x0e, 2), policy });
  }

  private readonly inner = new Map<number,
    { update(entries: unknown[]): { errno: number }; delete(keys: unknown[]): unknown }>();

  mapPolicy(index: number): void {
    const outer = this.machine.mapOfMaps("cilium_policy_v2");
    const inner = outer.createInner();
    if (inner === null) throw new Error("no inner map");
    outer.update([[{ policy: index }, { inner: inner.inner } as never]]);
    this.inner.set(index, inner as never);
  }

  /** One policy entry; `protocol` and `port` 0 stand for any. */
  allow(egress: boolean, identity: number, protocol = 0, port = 0, value: Record<string, unknown> = {},
    portBits = port === 0 ? 0 : 16,
    policy = 0): Record<string, unknown> {
    const length = protocol === 0 ? 0 : 8 + portBits;
    const key = { prefixlen: 40 + length, sec_label: identity, egress: egress
      ? 1 : 0, protocol, dport: port };
    const deny = Number(value.deny ?? 0) | (length << 3);
    const { errno } = this.inner.get(policy)!.update([[key, { precedence: 0xffffff01, ...value, deny }]]);
    if (errno !== 0) throw new Error(`cilium_policy_v2: errno ${errno}`);
    return key;
  }

  disallow(key: Record<string, unknown>, policy = 0): void {
    this.inner.get(policy)!.delete([key]);
  }

  /** A frontend with its backends in slots 1…; `protocol` of 1.16 is 0. */
  service(vip: string, port: number, proto: number, revNat: number, backends: readonly number[], flags = 0,
    flags2 = 0, scope = 0,
    node: number = AllNodes.values.ALL, affinitySeconds = 0): void {
    const v4 = address(vip).family === 4;
    const name = v4 ? "cilium_lb4_services_v2" : "cilium_lb6_services_v2";
    const key = { address: field(vip), dport: port, proto: this.version === 16 ? 0 : proto, scope, node };
    this.put(name, { ...key, backend_slot: 0 }, { count: backends.length, rev_nat_index: revNat, flags,
      flags2, backend_id: affinitySeconds });
    backends.forEach((backend, index) => this.put(name, { ...key, backend_slot: index + 1 },
      { backend_id: backend }));
    this.put(v4
      ? "cilium_lb4_reverse_nat" : "cilium_lb6_reverse_nat", { rev_nat_index: revNat },
        { address: field(vip), port });
  }

  /** The Maglev table of a service on `node`. */
  maglev(family: 4 | 6, revNat: number, node: number, table: Uint32Array): void {
    const outer = this.machine.mapOfMaps(family === 4 ? "cilium_lb4_maglev" : "cilium_lb6_maglev");
    const inner = outer.createInner(table.length)!;
    inner.update([...table].map((backend_id, index) => [{ index }, { backend_id }] as const));
    outer.update([[{ rev_nat_id: revNat, node }, { inner: inner.inner }]]);
  }

  backend(id: number, ip: string, port: number, flags = 0, proto = 6): void {
    this.put(address(ip).family === 4
      ? "cilium_lb4_backends_v3" : "cilium_lb6_backends_v3", { backend_id: id },
      { address: field(ip), port, proto, flags });
  }

  run(program: keyof typeof Program.values, frame: Uint8Array, input: RunInput = {}): Ran {
    const device = input.device ?? (program === "FROM_CONTAINER" || program === "TO_CONTAINER" ? POD_DEVICE : UPLINK);
    return runProgram(this.machine, program, frame, { ...input, device });
  }

  /** Runs the endpoint's program that the last one handed its packet to. */
  target(): Ran {
    return whatRan(this.machine, this.machine.call(() => this.machine.exports.program_target()));
  }

  /** Carries frames (from the network header on) through `run`, all in one block. */
  walk(rows: readonly WalkInput[]): Walked[] {
    const { exports, memory, arenaAddress, arenaBytes } = this.machine;
    const view = new DataView(memory.buffer);
    const bytes = new Uint8Array(memory.buffer);
    const outcomesAt = arenaAddress + rows.length * FrameRecord.size;
    const pinsAt = outcomesAt + rows.length * OutcomeRecord.size;
    const emissionsAt = pinsAt + rows.length * PinRecord.size;
    const most = 64 * rows.length + 64;
    let at = (emissionsAt + most * EmissionRecord.size + 63) & ~63;
    rows.forEach((row, index) => {
      at += 16;
      bytes.set(row.packet, at);
      const pinAt = pinsAt + index * PinRecord.size;
      if (row.pin !== undefined) {
        encodeInto(PinRecord, { backend: field(row.pin.backend), backend_port: row.pin.port, flags: 1 },
          view, pinAt);
      }
      encodeInto(FrameRecord, { offset: at, length: row.packet.length,
        wire_length: row.wire ?? row.packet.length,
        ether_type: row.etherType ?? ((row.packet[0] >> 4) === 6 ? 0x86dd : 0x0800), device: row.device, node: row.node ?? 0,
        seconds: row.seconds ?? 1000, pin: row.pin === undefined
          ? 0 : pinAt, packet_type: row.packetType ?? 0, vlan_id: row.vlan ?? 0,
      }, view, arenaAddress + index * FrameRecord.size);
      at = (at + row.packet.length + 15) & ~15;
    });
    exports.walk_arena(arenaAddress, outcomesAt, emissionsAt, most, at, arenaAddress + arenaBytes - at);
    const done = this.machine.call(() => exports.run(0, rows.length));
    if (done !== rows.length) throw new Error(`only ${done} of ${rows.length} rows were done`);
    return rows.map((_row, index) => {
      const outcome = decodeFrom(OutcomeRecord, view, outcomesAt + index * OutcomeRecord.size);
      const images = Array.from({ length: outcome.emissions }, (_, number) => {
        const record = decodeFrom(EmissionRecord, view,
          emissionsAt + (outcome.first_emission + number) * EmissionRecord.size);
        return { ...record, packet: bytes.slice(record.offset, record.offset + record.length) };
      });
      return { outcome, images };
    });
  }
}
