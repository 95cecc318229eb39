/**
 * The module's maps answer as a naive model does and, where root and bpf(2) are there, as the kernel's own maps do:
 * the same random operations on all three, every result and error number compared. Beyond bpf(2): strict order of
 * eviction, a limit per node, memory that is used up.
 */
import { existsSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { type Kernel, openKernel } from "../../test/kernel/bpfmap.js";
import { ModelMap } from "../../test/kernel/model.js";
import {
  bytesOf, describeShape, generator, hexOf, innerShape, type Operation, operations, type Shape, type Subject,
} from "../../test/kernel/operations.js";
import { testSeed } from "../../test/seed.js";
import { bytes, map, type MapDeclaration, struct, u16, u32 } from "../contract/layout.js";
import type { BpfMap, BpfMapOfMaps } from "./bpfmap.js";
import { createMachine, type Machine } from "./machine.js";

const seed = testSeed("maps");
const wasmFile = new URL("../../build/fast.wasm", import.meta.url);
if (!existsSync(wasmFile)) throw new Error("build/fast.wasm is missing: run `npm run build`");
const fast = new Uint8Array(readFileSync(wasmFile));

const plain = { pool: 40, innerMaps: 0 };
/** Sizes with every tail; limits that are reached, met exactly and out of reach. */
const shapes: readonly Shape[] = [
  ...[1, 2, 3, 4, 7, 8, 12, 24, 40].map((keySize, index): Shape =>
    ({ ...plain, kind: "hash", keySize, valueSize: [1, 4, 8, 56][index % 4], maxEntries: [1, 7, 15, 16, 39, 300][index % 6] })),
  { kind: "hash", keySize: 16, valueSize: 8, maxEntries: 700, pool: 1000, innerMaps: 0 },
  // The kernel's LRU is approximate: compared only where nothing is evicted.
  ...[4, 8, 24, 40].map((keySize): Shape => ({ ...plain, kind: "lru_hash", keySize, valueSize: 16, maxEntries: 4096 })),
  { ...plain, kind: "array", keySize: 4, valueSize: 4, maxEntries: 5 },
  { ...plain, kind: "array", keySize: 4, valueSize: 13, maxEntries: 100 },
  ...[5, 6, 8, 12, 20, 24, 36, 260].map((keySize, index): Shape =>
    ({ ...plain, kind: "lpm_trie", keySize, valueSize: [1, 8, 12][index % 3], maxEntries: [12, 20, 500][index % 3] })),
  { kind: "lpm_trie", keySize: 24, valueSize: 4, maxEntries: 700, pool: 1000, innerMaps: 0 },
  { kind: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 5, pool: 12, innerMaps: 4 },
  { kind: "hash_of_maps", keySize: 4, valueSize: 4, maxEntries: 5, pool: 12, innerMaps: 4 },
];

const sequences = shapes.map((shape, index) => ({ shape, list: operations(shape, 1500, seed * 1000 + index) }));

/** For test.each. */
const rows = sequences.map(({ shape, list }, index) => [describeShape(shape), index, shape, list] as const);

function declaration(shape: Shape, name: string): MapDeclaration {
  const raw = (size: number) => struct(`bytes${size}`, "", { raw: [bytes(size), ""] });
  const inner = shape.innerMaps === 0 ? undefined : {
    kind: "lpm_trie" as const, key: raw(innerShape.keySize), value: raw(innerShape.valueSize), maxEntries: innerShape.maxEntries,
  };
  return map(name, shape.kind, raw(shape.keySize), raw(shape.valueSize), shape.maxEntries, "", { inner });
}

/** A map of the module, by the operations of operations.ts. */
class ModuleMap implements Subject {
  private readonly maps: BpfMap[];

  constructor(machine: Machine, name: string, innerMaps: number) {
    const outer = machine.userMap(name);
    this.maps = [outer as BpfMap];
    for (let index = 0; index < innerMaps; index++) {
      const inner = (outer as BpfMapOfMaps<never, never, never, never>).createInner(innerShape.maxEntries);
      if (inner?.inner !== index + 1) throw new Error("inner maps are numbered from 1");
      this.maps.push(inner as unknown as BpfMap);
    }
  }

  run(operation: Operation): string {
    const target = this.maps[operation.op === "put" ? 0 : operation.inner];
    switch (operation.op) {
      case "update":
        return errno(target.updateBytes(bytesOf(operation.key), bytesOf(operation.value), operation.flags).errno);
      case "put":
        return errno(target.updateBytes(bytesOf(operation.key), new Uint8Array(new Uint32Array([operation.map]).buffer),
          operation.flags).errno);
      case "lookup": {
        const value = target.lookup({ raw: bytesOf(operation.key) });
        if (value === null) return "-2";
        const hex = hexOf((value as { raw: Uint8Array }).raw);
        return operation.inner === 0 && this.maps.length > 1 ? String(bytesOf(hex)[0]) : hex;
      }
      case "delete": return errno(target.deleteBytes(bytesOf(operation.key)).errno);
      case "walk": return target.keys().map(hexOf).sort().join(" ");
    }
  }
}

function hexOfId(id: number): string {
  return hexOf(new Uint8Array(new Uint32Array([id]).buffer));
}

function errno(number: number): string {
  return number === 0 ? "0" : `-${number}`;
}

/** Answers with the operation in front, so that a difference names what was asked. */
function transcript(list: readonly Operation[], answers: readonly string[]): string[] {
  return list.map((operation, index) => `${index} ${JSON.stringify(operation)} -> ${answers[index]}`);
}

describe("module and model", () => {
  const machine = createMachine({ fast }, {
    nodes: 1, arenaBytes: 1 << 20, userMaps: shapes.map((shape, index) => declaration(shape, `map${index}`)),
  });

  test.each(rows)("%s", (_text, index, shape, list) => {
    const module = new ModuleMap(machine, `map${index}`, shape.innerMaps);
    const model = new ModelMap(shape);
    const expected = list.map((operation) => model.run(operation));
    expect(transcript(list, list.map((operation) => module.run(operation)))).toEqual(transcript(list, expected));
    // The sequence is worth its name only if it met success, absence and, where there are limits, their errors.
    expect(new Set(expected).size).toBeGreaterThan(3);
  });

  test("no map ran out of reserved memory", () => {
    expect(machine.exhausted()).toEqual([]);
  });
});

const kernel = openKernel();
const why = typeof kernel === "string" ? ` (skipped: ${kernel})` : "";

describe.skipIf(typeof kernel === "string")(`kernel and model${why}`, () => {
  let answers: string[][] = [];
  beforeAll(() => {
    answers = (kernel as Kernel).run(sequences);
  });

  test.each(rows)("%s", (_text, index, shape, list) => {
    const model = new ModelMap(shape);
    expect(transcript(list, answers[index])).toEqual(transcript(list, list.map((operation) => model.run(operation))));
  });
});

describe("eviction", () => {
  const key = struct("LruKey", "", { node: [u16, ""], pad: [u16, ""], id: [u32, ""] });
  const value = struct("LruValue", "", { value: [u32, ""] });
  const nodes = 3;
  const limit = 20;

  function machineWith(slots?: number): Machine {
    const lru = map("lru", "lru_hash", key, value, limit, "", { node: "node" });
    const capacity = slots === undefined ? {} : { lru: { slots } };
    return createMachine({ fast }, { nodes, arenaBytes: 1 << 16, maps: capacity as object, userMaps: [lru] });
  }

  test("is strictly of the entry used longest ago, node by node", () => {
    const lru = machineWith().userMap("lru") as BpfMap<typeof key, typeof value>;
    const shape: Shape = { kind: "lru_hash", keySize: 8, valueSize: 4, maxEntries: limit, pool: 0, innerMaps: 0 };
    const models = Array.from({ length: nodes }, () => new ModelMap(shape));
    const random = generator(seed);
    for (let step = 0; step < 20_000; step++) {
      const node = random(nodes);
      const record = { node, id: random(40) };
      const hex = hexOfId(record.id);
      const dice = random(10);
      const told = `step ${step}, node ${node}, id ${record.id}`;
      if (dice < 4) {
        const result = models[node].run({ op: "update", inner: 0, key: hex, value: String(step), flags: 0 });
        expect(errno(lru.update([[record, { value: step }]]).errno), told).toBe(result);
      } else if (dice < 7) {
        expect(lru.use(record), told).toBe(models[node].use(hex));
      } else if (dice < 9) {
        const found = models[node].run({ op: "lookup", inner: 0, key: hex });
        expect(String(lru.lookup(record)?.value ?? "-2"), told).toBe(found);
      } else {
        expect(errno(lru.delete([record]).errno), told).toBe(models[node].run({ op: "delete", inner: 0, key: hex }));
      }
    }
    for (let node = 0; node < nodes; node++) {
      const ids = [...lru.entries()].filter(([each]) => each.node === node).map(([each]) => hexOfId(each.id));
      expect(ids.sort().join(" ")).toBe(models[node].run({ op: "walk", inner: 0 }));
      expect(lru.nodeCount(node)).toBe(ids.length);
    }
  });

  test("keeps to its node: a busy node takes nothing from a quiet one", () => {
    const lru = machineWith().userMap("lru") as BpfMap<typeof key, typeof value>;
    lru.update([[{ node: 1, id: 1 }, { value: 7 }]]);
    lru.update(Array.from({ length: 1000 }, (_, id) => [{ node: 0, id }, { value: id }] as const));
    expect(lru.lookup({ node: 1, id: 1 })?.value).toBe(7);
    expect([lru.nodeCount(0), lru.nodeCount(1), lru.count]).toEqual([limit, 1, limit + 1]);
    expect([...lru.entries()].filter(([each]) => each.node === 0).map(([each]) => each.id).sort((a, b) => a - b))
      .toEqual(Array.from({ length: limit }, (_, index) => 1000 - limit + index));
  });

  test("follows a limit of its own for a node", () => {
    const lru = machineWith().userMap("lru") as BpfMap<typeof key, typeof value>;
    lru.limit(5, 2);
    lru.update(Array.from({ length: 30 }, (_, id) => [{ node: id % nodes, id }, { value: id }] as const));
    expect([lru.nodeCount(0), lru.nodeCount(1), lru.nodeCount(2)]).toEqual([10, 10, 5]);
  });

  test("a node there is no room for is refused", () => {
    const lru = machineWith().userMap("lru") as BpfMap<typeof key, typeof value>;
    expect(lru.update([[{ node: nodes, id: 1 }, { value: 1 }]])).toEqual({ done: 0, errno: 22 });
    expect(lru.use({ node: nodes, id: 1 })).toBe(false);
  });

  test("used-up memory is no eviction: it is refused and told", () => {
    const machine = machineWith(30);
    const lru = machine.userMap("lru") as BpfMap<typeof key, typeof value>;
    const entries = Array.from({ length: 60 }, (_, id) => [{ node: id % nodes, id }, { value: id }] as const);
    expect(lru.update(entries)).toEqual({ done: 30, errno: 12 });
    expect(machine.exhausted()).toEqual(["lru"]);
  });
});

describe("a partitioned hash", () => {
  const key = struct("NodeIdKey", "", { node: [u16, ""], pad: [u16, ""], id: [u32, ""] });
  const value = struct("NodeIdValue", "", { value: [u32, ""] });

  test("is full node by node", () => {
    const machine = createMachine({ fast }, {
      nodes: 2, arenaBytes: 1 << 16, userMaps: [map("hash", "hash", key, value, 3, "", { node: "node" })],
    });
    const hash = machine.userMap("hash") as BpfMap<typeof key, typeof value>;
    const of = (node: number, count: number) => Array.from({ length: count }, (_, id) => [{ node, id }, { value: id }] as const);
    expect(hash.update(of(0, 4))).toEqual({ done: 3, errno: 7 });
    expect(hash.update(of(1, 3))).toEqual({ done: 3, errno: 0 });
    expect(hash.delete([{ node: 0, id: 1 }])).toEqual({ done: 1, errno: 0 });
    expect(hash.update([[{ node: 0, id: 9 }, { value: 1 }]])).toEqual({ done: 1, errno: 0 });
  });
});
