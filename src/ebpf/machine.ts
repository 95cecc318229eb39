/**
 * The WebAssembly module with its memory: instantiated, its maps created and reserved, ready for entries and frames.
 *
 * It refuses a module built from another contract, or one that imports anything but its memory. After `createMachine`
 * the memory never grows, so views onto `memory.buffer` stay valid. A trap in the module is turned into a ProgramFault
 * that names the module's source line.
 *
 * This is the only place that uses @assemblyscript/loader; calls go to the raw exports.
 */
import { instantiateSync } from "@assemblyscript/loader";
import { decodeFrom } from "../contract/codec.js";
import { Errno, MapKind, NotPartitioned } from "../contract/codes.js";
import { contractHash } from "../contract/hash.js";
import { codeText, type MapDeclaration, type MapKindName, nodeOffset, type Struct } from "../contract/layout.js";
import { MAX_MAPS, type MapName, maps } from "../contract/maps.js";
import { FaultRecord, MapDescriptor } from "../contract/structs.js";
import { type Arena, BpfMap, BpfMapOfMaps, type MapExports } from "./bpfmap.js";
import { wasm, type WasmMemory } from "./webassembly.js";

export interface Capacity {
  /** Limit of the map, of each node's part, or of the outer map; Cilium's default where absent. */
  readonly maxEntries?: number;
  /** Entries to reserve memory for, all nodes together. Going past it is a fault, not a full map. */
  readonly slots?: number;
  /** Limit of each inner map; Cilium's default where absent. */
  readonly innerEntries?: number;
  /** Inner maps to reserve memory for. */
  readonly innerMaps?: number;
}

export interface Capacities {
  /** Number of nodes: partitions of every map whose key holds the node. */
  readonly nodes: number;
  /** Bytes for frames and for entries on their way in and out; 8 MiB where absent. */
  readonly arenaBytes?: number;
  readonly maps?: Partial<Record<MapName, Capacity>>;
  /** Maps of a program the user brings, numbered after the declared ones in this order. */
  readonly userMaps?: readonly MapDeclaration[];
}

export interface Modules {
  readonly fast: Uint8Array;
  /** Built with TRACE=1. */
  readonly traced?: Uint8Array;
}

/** The module's exports this file and bpfmap.ts call; programs' exports come beside them. */
export interface ModuleExports extends MapExports {
  contract_hash(): number;
  fault_record(): number;
  map_descriptors(): number;
  map_create(number: number, kind: number, keySize: number, valueSize: number, maxEntries: number, nodeOffset: number,
    partitions: number, slots: number): number;
  map_create_inner(number: number, kind: number, keySize: number, valueSize: number, maxEntries: number,
    innerMaps: number, slots: number): number;
  memory_layout(arena: number): number;
  memory_reserve(): number;
  memory_arena(): number;
}

/** Our own mistake inside the module. */
export class ProgramFault extends Error {
  /** File in assembly/, line and column of the failed assertion; an empty file where the trap was not one. */
  readonly file: string;
  readonly line: number;
  readonly column: number;

  constructor(message: string, file: string, line: number, column: number) {
    super(file === "" ? message : `${message} (${file}:${line}:${column})`);
    this.name = "ProgramFault";
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

type Declared<Name extends MapName> = Extract<(typeof maps)[number], { readonly name: Name }>;
type InnerOf<Name extends MapName> = NonNullable<Declared<Name>["inner"]>;
type MapOfMapsName = "cilium_policy_v2" | "cilium_lb4_maglev" | "cilium_lb6_maglev";

const PAGE = 65536;
/** Pages of the whole address space. */
const MAX_PAGES = 65536;
/** Room for the module's own data before maps are laid out. */
const FIRST_PAGES = 16;
const DEFAULT_ARENA = 8 << 20;
/** Entries reserved for a map nobody gave a capacity. */
const DEFAULT_SLOTS = 65536;
const DEFAULT_INNER_MAPS = 16;

export class Machine {
  /** Raw exports, the programs' too. */
  readonly exports: ModuleExports & Record<string, (...args: number[]) => number>;
  readonly memory: WasmMemory;
  readonly traced: boolean;
  /** First byte of the arena; map operations of the host use it, so frames do not outlive one. */
  readonly arenaAddress: number;
  readonly arenaBytes: number;
  private readonly arena: Arena;
  private readonly userMaps: readonly MapDeclaration[];

  constructor(exports: Machine["exports"], memory: WasmMemory, traced: boolean, capacities: Capacities) {
    this.exports = exports;
    this.memory = memory;
    this.traced = traced;
    this.arenaAddress = exports.memory_arena() >>> 0;
    this.arenaBytes = capacities.arenaBytes ?? DEFAULT_ARENA;
    this.arena = { exports, memory, address: this.arenaAddress, bytes: this.arenaBytes };
    this.userMaps = capacities.userMaps ?? [];
  }

  /** The map of this name, typed by the contract. */
  map<Name extends MapName>(name: Name): BpfMap<Declared<Name>["key"], Declared<Name>["value"]> {
    const number = maps.findIndex((declared) => declared.name === name);
    const { key, value } = maps[number] as Declared<Name>;
    return new BpfMap({ name, number, key, value }, 0, this.arena) as
      BpfMap<Declared<Name>["key"], Declared<Name>["value"]>;
  }

  /** A map whose values are inner maps. */
  mapOfMaps<Name extends MapOfMapsName>(name: Name): BpfMapOfMaps<
    Declared<Name>["key"], Declared<Name>["value"], InnerOf<Name>["key"], InnerOf<Name>["value"]> {
    const number = maps.findIndex((declared) => declared.name === name);
    return this.ofMaps(maps[number], number) as BpfMapOfMaps<
      Declared<Name>["key"], Declared<Name>["value"], InnerOf<Name>["key"], InnerOf<Name>["value"]>;
  }

  /** A map the user's program brought. */
  userMap(name: string): BpfMap | BpfMapOfMaps<Struct, Struct, Struct, Struct> {
    const index = this.userMaps.findIndex((declared) => declared.name === name);
    if (index < 0) throw new Error(`there is no user map ${name}`);
    const { key, value, inner } = this.userMaps[index];
    const number = maps.length + index;
    return inner === null
      ? new BpfMap({ name, number, key, value }, 0, this.arena)
      : this.ofMaps(this.userMaps[index], number);
  }

  private ofMaps(declared: MapDeclaration, number: number): BpfMapOfMaps<Struct, Struct, Struct, Struct> {
    const { name, key, value, inner } = declared;
    if (inner === null) throw new Error(`${name} has no inner maps`);
    return new BpfMapOfMaps({ name, number, key, value },
      { name: `${name} (inner)`, number, key: inner.key, value: inner.value }, inner.maxEntries, this.arena);
  }

  /** Maps that ran out of reserved memory since load: their results cannot be trusted any more. */
  exhausted(): string[] {
    const names: string[] = [];
    const view = new DataView(this.memory.buffer);
    const first = this.exports.map_descriptors() >>> 0;
    [...maps, ...this.userMaps].forEach(({ name }, number) => {
      for (const at of [number, MAX_MAPS + number]) {
        if (decodeFrom(MapDescriptor, view, first + at * MapDescriptor.size).exhausted > 0) names.push(name);
      }
    });
    return [...new Set(names)];
  }

  /** What a map's descriptor says, for reports on memory and evictions. */
  descriptor(name: MapName): ReturnType<typeof decodeDescriptor> {
    const number = maps.findIndex((declared) => declared.name === name);
    return decodeDescriptor(this.memory, (this.exports.map_descriptors() >>> 0) + number * MapDescriptor.size);
  }

  /** Calls into the module and turns a trap into a ProgramFault. */
  call<Result>(body: () => Result): Result {
    try {
      return body();
    } catch (error) {
      throw error instanceof wasm.RuntimeError ? this.faultOf(error) : error;
    }
  }

  private faultOf(error: Error): ProgramFault {
    const view = new DataView(this.memory.buffer);
    const record = decodeFrom(FaultRecord, view, this.exports.fault_record() >>> 0);
    if (record.raised === 0) return new ProgramFault(`the module trapped: ${error.message}`, "", 0, 0);
    const message = this.text(record.message, record.message_bytes);
    return new ProgramFault(message === "" ? "assertion failed" : message,
      this.text(record.file, record.file_bytes), record.line, record.column);
  }

  /** A UTF-16 text of the module. */
  private text(address: number, bytes: number): string {
    if (address === 0) return "";
    return new TextDecoder("utf-16le").decode(new Uint8Array(this.memory.buffer, address, bytes));
  }
}

function decodeDescriptor(memory: WasmMemory, address: number) {
  return decodeFrom(MapDescriptor, new DataView(memory.buffer), address);
}

/** Why bytes are no module of this contract; null where they are one. */
export function moduleProblem(bytes: Uint8Array): string | null {
  try {
    instantiate(bytes);
    return null;
  } catch (error) {
    if (error instanceof Error) return error.message;
    throw error;
  }
}

/**
 * Instantiates a module and reserves its maps. Throws where the module is not of this contract, imports anything but
 * memory, or the capacities do not fit into 4 GiB.
 */
export function createMachine(modules: Modules, capacities: Capacities, traced = false): Machine {
  const bytes = traced ? modules.traced : modules.fast;
  if (bytes === undefined || bytes.length === 0) throw new Error("the traced module was not given");
  const { exports, memory } = instantiate(bytes);
  for (const [number, declared] of [...maps, ...(capacities.userMaps ?? [])].entries()) {
    createMap(exports, declared, number, capacities);
  }
  reserveMemory(exports, memory, capacities.arenaBytes ?? DEFAULT_ARENA);
  return new Machine(exports, memory, traced, capacities);
}

/** A module with its memory; throws where it is not of this contract, or imports anything but memory. */
function instantiate(bytes: Uint8Array): { exports: Machine["exports"]; memory: WasmMemory } {
  const module = new wasm.Module(bytes);
  const imports = wasm.Module.imports(module);
  const names = imports.map(({ module: from, name }) => `${from}.${name}`).join(", ");
  if (names !== "env.memory" || imports[0].kind !== "memory") {
    throw new Error(`the module imports ${names || "nothing"}, expected env.memory alone`);
  }
  const memory = new wasm.Memory({ initial: FIRST_PAGES, maximum: MAX_PAGES });
  const exports = instantiateSync(module, { env: { memory } }).instance.exports as unknown as Machine["exports"];
  if (typeof exports.contract_hash !== "function" || exports.contract_hash() >>> 0 !== contractHash()) {
    throw new Error("the module was built from another contract: rebuild with `npm run build`");
  }
  return { exports, memory };
}

function createMap(exports: ModuleExports, declared: MapDeclaration, number: number, capacities: Capacities): void {
  const { name, kind, key, value, inner } = declared;
  const capacity: Capacity = capacities.maps?.[name as MapName] ?? {};
  const partitions = declared.node === null ? 1 : capacities.nodes;
  const perNode = name === "twinplane_nodes" || name === "twinplane_clocks";
  const maxEntries = capacity.maxEntries ?? (perNode ? capacities.nodes : declared.maxEntries);
  const slots = capacity.slots ?? Math.min(maxEntries * partitions, Math.max(DEFAULT_SLOTS, capacity.maxEntries ?? 0));
  const offset = declared.node === null ? NotPartitioned.values.NONE : nodeOffset(key, declared.node);
  check(name, exports.map_create(number, kindNumber(kind), key.size, value.size, maxEntries, offset, partitions,
    slots));
  if (inner === null) return;
  const innerMaps = capacity.innerMaps ?? DEFAULT_INNER_MAPS;
  const innerEntries = capacity.innerEntries ?? inner.maxEntries;
  check(`${name} (inner)`, exports.map_create_inner(number, kindNumber(inner.kind), inner.key.size, inner.value.size,
    innerEntries, innerMaps, capacity.slots ?? DEFAULT_SLOTS));
}

function kindNumber(kind: MapKindName): number {
  return MapKind.values[kind.toUpperCase() as Uppercase<MapKindName>];
}

function reserveMemory(exports: ModuleExports, memory: WasmMemory, arenaBytes: number): void {
  const pages = exports.memory_layout(arenaBytes) >>> 0;
  if (pages > MAX_PAGES) {
    throw new Error(`the maps need ${Math.ceil((pages * PAGE) / 2 ** 30)} GiB, and WebAssembly has 4 GiB`);
  }
  const missing = pages - memory.buffer.byteLength / PAGE;
  if (missing > 0) memory.grow(missing);
  check("memory", exports.memory_reserve());
}

function check(what: string, result: number): void {
  if (result !== 0) throw new Error(`${what}: ${codeText(Errno, -result)}`);
}
