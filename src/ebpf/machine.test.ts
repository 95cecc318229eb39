/** The machine refuses modules it cannot trust, reports faults by source line, and types its maps by the contract. */
import { existsSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { compileAssembly } from "../../test/asc.js";
import { addressField } from "../contract/codec.js";
import { contractHash } from "../contract/hash.js";
import { map } from "../contract/layout.js";
import { MaglevEntry, MaglevIndex, ProgramEntry, ProgramKey, StepRecord } from "../contract/structs.js";
import type { BpfMap } from "./bpfmap.js";
import { createMachine, type Machine, ProgramFault } from "./machine.js";

const wasmFile = new URL("../../build/fast.wasm", import.meta.url);
if (!existsSync(wasmFile)) throw new Error("build/fast.wasm is missing: run `npm run build`");
const fast = new Uint8Array(readFileSync(wasmFile));
const small = { nodes: 2, arenaBytes: 1 << 16 };

/** The real module's exports and three more. */
const testEntry = `
  import { MapMemory } from "./maps/memory";
  import { RingBuffer } from "./maps/ringbuf";
  import { ArrayMap } from "./maps/array";
  import { MapInMap } from "./maps/mapinmap";
  export * from "./index";
  export function fail(): void { assert(false, "seeded"); }
  export function ring_write(number: u32, from: usize, length: u32): i32 {
    return RingBuffer.output(MapMemory.descriptor(number), from, length);
  }
  export function inner_at(number: u32, outer: usize, index: u32): usize {
    const map = MapMemory.descriptor(number);
    return ArrayMap.atInner(MapInMap.inner(map), MapInMap.lookup(map, outer), index);
  }
`;
let testModule: Uint8Array;
beforeAll(async () => {
  testModule = await compileAssembly(testEntry);
});

describe("a module", () => {
  test("of this build imports memory alone and knows the contract", () => {
    const machine = createMachine({ fast }, small);
    expect(machine.exports.contract_hash() >>> 0).toBe(contractHash());
  });

  test("of another contract is refused", async () => {
    const other = await compileAssembly("export function contract_hash(): u32 { return 1; }", []);
    expect(() => createMachine({ fast: other }, small)).toThrow("built from another contract");
  });

  test("with an import of its own is refused", async () => {
    const strange = await compileAssembly(`
      // @ts-ignore: decorator
      @external("env", "now") declare function now(): f64;
      export function later(): f64 { return now(); }
    `, []);
    expect(() => createMachine({ fast: strange }, small)).toThrow(/the module imports .*env\.now.*, expected env\.memory alone/);
  });

  test("that was not given is said to be missing", () => {
    expect(() => createMachine({ fast }, small, true)).toThrow("the traced module was not given");
  });
});

describe("memory", () => {
  test("is reserved once: views stay valid whatever is stored", () => {
    const machine = createMachine({ fast }, { ...small, maps: { cilium_ct4_global: { maxEntries: 1000, slots: 2000 } } });
    const { buffer } = machine.memory;
    const entries = Array.from({ length: 5000 }, (_, id) =>
      [{ daddr: addressField(new Uint8Array([10, 0, id >> 8, id & 255])), nexthdr: 6, node: id % 2 }, { lifetime: id }] as const);
    expect(machine.map("cilium_ct4_global").update(entries)).toEqual({ done: 5000, errno: 0 });
    expect(machine.memory.buffer).toBe(buffer);
    expect(machine.descriptor("cilium_ct4_global")).toMatchObject({ count: 2000, evicted: 3000, exhausted: 0 });
  });

  test("maps lie apart from each other and from the arena", () => {
    const machine = createMachine({ fast }, small);
    const regions: [number, number][] = [[machine.arenaAddress, machine.arenaAddress + machine.arenaBytes]];
    for (const name of ["cilium_ct4_global", "cilium_ipcache_v2", "cilium_lxc", "twinplane_nodes"] as const) {
      const { data, slot_size, groups, max_entries } = machine.descriptor(name);
      regions.push([data, data + slot_size * (groups > 0 ? groups * 15 : max_entries)]);
    }
    regions.sort(([a], [b]) => a - b);
    for (let index = 1; index < regions.length; index++) {
      expect(regions[index][0]).toBeGreaterThanOrEqual(regions[index - 1][1]);
    }
    expect(regions[regions.length - 1][1]).toBeLessThanOrEqual(machine.memory.buffer.byteLength);
  });

  test("that does not fit into 4 GiB is refused before anything is reserved", () => {
    expect(() => createMachine({ fast }, { ...small, maps: { cilium_ct4_global: { slots: 40_000_000 } } }))
      .toThrow(/the maps need \d+ GiB, and WebAssembly has 4 GiB/);
  });

  test("is not given to maps after it was reserved", () => {
    const machine = createMachine({ fast }, small);
    expect(machine.exports.map_create(60, 1, 4, 4, 10, 0xffff, 1, 10)).toBe(-16);
    expect(machine.exports.memory_reserve()).toBe(-16);
  });
});

describe("a fault", () => {
  test("is told with the line of the assertion", () => {
    const machine = createMachine({ fast: testModule }, small);
    const caught = trap(() => machine.call(() => machine.exports.fail()));
    const line = testEntry.split("\n").findIndex((text) => text.includes("seeded")) + 1;
    expect(caught).toMatchObject({ name: "ProgramFault", file: "assembly/test-entry.ts", line });
    expect(caught.message).toContain("seeded");
  });

  test("that is no assertion is a fault as well", () => {
    const machine = createMachine({ fast }, small);
    const caught = trap(() => machine.call(() => machine.exports.map_lookup(0, 0, -64, -64, 1)));
    expect(caught).toBeInstanceOf(ProgramFault);
    expect(caught.message).toContain("memory access out of bounds");
  });

  test("of the host stays what it is", () => {
    const machine = createMachine({ fast }, small);
    expect(() => machine.call(() => { throw new RangeError("ours"); })).toThrow(RangeError);
  });

  function trap(body: () => unknown): Error {
    try {
      body();
    } catch (error) {
      return error as Error;
    }
    throw new Error("nothing was thrown");
  }
});

describe("maps", () => {
  test("take and give records of the contract", () => {
    const machine = createMachine({ fast }, small);
    const lxc = machine.map("cilium_lxc");
    const key = { address: addressField(new Uint8Array([10, 0, 0, 5])), node: 1, family: 1 };
    const mac = new Uint8Array([2, 0, 0, 0, 0, 9]);
    expect(lxc.update([[key, { ifindex: 7, lxc_id: 300, sec_id: 1000, mac, policy: 3 }]])).toEqual({ done: 1, errno: 0 });
    expect(lxc.lookup(key)).toMatchObject({ ifindex: 7, lxc_id: 300, sec_id: 1000, mac, policy: 3, flags: 0 });
    expect(lxc.lookup({ ...key, node: 0 })).toBeNull();
    expect([...lxc.entries()].map(([each]) => each.node)).toEqual([1]);
    expect(lxc.delete([key])).toEqual({ done: 1, errno: 0 });
    expect(lxc.delete([key])).toEqual({ done: 0, errno: 2 });
  });

  test("more entries than the arena holds go in and come out in pieces", () => {
    const machine = createMachine({ fast }, { nodes: 1, arenaBytes: 4096 });
    const ipcache = machine.map("cilium_ipcache_v2");
    const entries = Array.from({ length: 1000 }, (_, id) => [
      { prefixlen: 64, family: 1, address: addressField(new Uint8Array([10, 1, id >> 8, id & 255])) }, { sec_identity: id },
    ] as const);
    expect(ipcache.update(entries)).toEqual({ done: 1000, errno: 0 });
    expect([...ipcache.entries()].map(([, value]) => value.sec_identity).sort((a, b) => a - b))
      .toEqual(entries.map(([, value]) => value.sec_identity));
  });

  test("an update stops at the entry that fails and says where", () => {
    const machine = createMachine({ fast }, { ...small, maps: { cilium_lb4_backends_v3: { maxEntries: 3 } } });
    const backends = machine.map("cilium_lb4_backends_v3");
    const entries = Array.from({ length: 5 }, (_, id) => [{ backend_id: id + 1 }, {}] as const);
    expect(backends.update(entries)).toEqual({ done: 3, errno: 7 });
  });

  test("the longest prefix wins over all lengths of a policy key", () => {
    const machine = createMachine({ fast }, small);
    const policy = machine.mapOfMaps("cilium_policy_v2").createInner();
    for (let length = 0; length <= 64; length++) {
      policy?.update([[{ prefixlen: length, sec_label: 0xffffffff, egress: 255, protocol: 255, dport: 65535 }, { precedence: length }]]);
    }
    for (let length = 0; length <= 64; length++) {
      const shorter = { prefixlen: length, sec_label: 0xffffffff, egress: 255, protocol: 255, dport: 65535 };
      expect(policy?.lookup(shorter)?.precedence, "longer entries do not match a shorter lookup").toBe(length);
    }
    for (let length = 64; length >= 0; length--) {
      const full = { sec_label: 0xffffffff, egress: 255, protocol: 255, dport: 65535 };
      expect(policy?.lookup({ prefixlen: 64, ...full })?.precedence).toBe(length);
      expect(policy?.lookup({ prefixlen: length, ...full })?.precedence).toBe(length);
      policy?.delete([{ prefixlen: length, ...full }]);
    }
    expect(policy?.lookup({ prefixlen: 64 })).toBeNull();
    expect(policy?.count).toBe(0);
  });

  test("inner maps are apart, freed, and used again", () => {
    const machine = createMachine({ fast }, { ...small, maps: { cilium_policy_v2: { innerMaps: 2 } } });
    const outer = machine.mapOfMaps("cilium_policy_v2");
    const [one, two] = [outer.createInner(), outer.createInner()];
    if (one === null || two === null) throw new Error("two inner maps are reserved");
    expect(outer.createInner()).toBeNull();
    const key = { prefixlen: 40, sec_label: 1 };
    one.update([[key, { precedence: 1 }], [{ prefixlen: 40, sec_label: 2 }, { precedence: 9 }]]);
    two.update([[key, { precedence: 2 }]]);
    expect([one.lookup(key)?.precedence, two.lookup(key)?.precedence]).toEqual([1, 2]);
    outer.update([[{ policy: 0 }, { inner: one.inner }]]);
    expect(() => outer.destroyInner(one.inner)).toThrow("EBUSY");
    outer.delete([{ policy: 0 }]);
    outer.destroyInner(one.inner);
    const again = outer.createInner(1);
    expect(again?.inner).toBe(one.inner);
    expect([again?.count, again?.lookup(key), two.lookup(key)?.precedence]).toEqual([0, null, 2]);
    expect(again?.update([[key, {}], [{ prefixlen: 40, sec_label: 2 }, {}]])).toEqual({ done: 1, errno: 28 });
  });

  test("inner arrays are found by the outer key", () => {
    const maglev = { kind: "array", key: MaglevIndex, value: MaglevEntry, maxEntries: 251 } as const;
    const machine = createMachine({ fast: testModule }, {
      ...small, maps: { cilium_lb4_maglev: { innerMaps: 3, innerEntries: maglev.maxEntries } },
    });
    const outer = machine.mapOfMaps("cilium_lb4_maglev");
    for (const service of [1, 2, 3]) {
      const table = outer.createInner(maglev.maxEntries);
      if (table === null) throw new Error("three inner maps are reserved");
      table.update(Array.from({ length: maglev.maxEntries }, (_, index) => [{ index }, { backend_id: service * 1000 + index }] as const));
      outer.update([[{ rev_nat_id: service }, { inner: table.inner }]]);
    }
    expect(outer.innerMap(2).lookup({ index: 250 })).toEqual({ backend_id: 2250 });
    expect(outer.innerMap(2).update([[{ index: 251 }, {}]])).toEqual({ done: 0, errno: 7 });
    const view = new DataView(machine.memory.buffer);
    for (const service of [1, 2, 3]) {
      view.setUint32(machine.arenaAddress, service, true);
      const at = machine.exports.inner_at(11, machine.arenaAddress, 17);
      expect(view.getUint32(at, true)).toBe(service * 1000 + 17);
    }
  });

  test("a program array has holes, and refuses flags", () => {
    const machine = createMachine({ fast }, small);
    const programs = machine.map("cilium_call_policy");
    expect(programs.lookup({ index: 3 })).toBeNull();
    expect(programs.update([[{ index: 3 }, { program: 12 }]])).toEqual({ done: 1, errno: 0 });
    expect(programs.lookup({ index: 3 })).toEqual({ program: 12 });
    expect(programs.update([[{ index: 3 }, { program: 12 }]], 1)).toEqual({ done: 0, errno: 22 });
    expect(programs.update([[{ index: 65536 }, { program: 12 }]])).toEqual({ done: 0, errno: 7 });
    expect(programs.delete([{ index: 3 }])).toEqual({ done: 1, errno: 0 });
    expect(programs.delete([{ index: 3 }])).toEqual({ done: 0, errno: 2 });
  });
});

describe("a ring buffer", () => {
  const ring = map("ring", "ringbuf", ProgramKey, ProgramEntry, 256, "");
  let machine: Machine;
  let buffer: BpfMap;

  function write(text: string): number {
    const bytes = new TextEncoder().encode(text);
    const at = machine.arenaAddress + 1024;
    new Uint8Array(machine.memory.buffer, at, bytes.length).set(bytes);
    return machine.exports.ring_write(buffer.types.number, at, bytes.length);
  }

  function read(): string[] {
    return [...buffer.drain()].map((record) => new TextDecoder().decode(record));
  }

  test("gives records in order, across its end, and counts what it refuses", () => {
    machine = createMachine({ fast: testModule }, { ...small, userMaps: [ring] });
    buffer = machine.userMap("ring") as BpfMap;
    let waiting: string[] = [];
    let refused = 0;
    for (let step = 0; step < 2000; step++) {
      const text = `${step}`.repeat(step % 13);
      if (write(text) === 0) waiting.push(text);
      else refused++;
      if (step % 7 === 0) {
        expect(read(), `step ${step}`).toEqual(waiting);
        waiting = [];
      }
    }
    expect(refused).toBeGreaterThan(0);
    expect(read()).toEqual(waiting);
    expect(read()).toEqual([]);
  });

  test("of the steps has room for whole records", () => {
    expect(createMachine({ fast }, small).descriptor("cilium_events").max_entries).toBeGreaterThan(1000 * StepRecord.size);
  });
});
