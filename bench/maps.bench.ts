import { maps, type MapName, mapNumber } from "../src/contract/maps.js";
import { createMachine, type Machine } from "../src/ebpf/machine.js";
import { readWasm } from "../src/cli/wasm.js";
import { type Figure, nsPerOperation, type Question } from "./bench.js";

const ENTRIES = 50_000;

export const question: Question = {
  question: "What does an operation on a map cost?",
  async run(): Promise<Figure[]> {
    const figures: Figure[] = [];
    for (const name of ["cilium_lb4_services_v2", "cilium_ct4_global", "cilium_ipcache_v2"] as const) figures.push(...await measure(name));
    return figures;
  },
};

/** Keys and values go in and come out in the arena, many at a call, so the host's part is small. */
async function measure(name: MapName): Promise<Figure[]> {
  const { kind, key } = maps.find((one) => one.name === name)!;
  const machine = createMachine({ fast: readWasm().fast }, { nodes: 1, arenaBytes: 16 << 20, maps: { [name]: { slots: 2 * ENTRIES } } });
  const number = mapNumber(name);
  const keysAt = machine.arenaAddress;
  const valuesAt = keysAt + ENTRIES * key.size;
  const keys = new Uint8Array(machine.memory.buffer, keysAt, ENTRIES * key.size);
  fillKeys(name, keys, key.size);
  const { exports } = machine;
  const update = (): number => all(exports.map_update(number, 0, keysAt, valuesAt, ENTRIES, 0), machine);
  const note = `${ENTRIES} entries, keys in an order of their own, copies of key and value included`;
  update();
  const text = `${name} (${kind})`;
  return [
    await nsPerOperation(`${text}, lookup`, ENTRIES, () => all(exports.map_lookup(number, 0, keysAt, valuesAt, ENTRIES), machine), note),
    await nsPerOperation(`${text}, update in place`, ENTRIES, update, note),
    await nsPerOperation(`${text}, delete and insert`, ENTRIES, () => all(exports.map_delete(number, 0, keysAt, ENTRIES), machine) + update(),
      `${note}; both together`),
  ];
}

function all(done: number, machine: Machine): number {
  if (done !== ENTRIES) throw new Error(`an operation failed after ${done} entries: ${machine.exports.map_error()}`);
  return done;
}

/** Distinct keys, scattered by a multiplicative hash. The node is 0 where a key holds one; ipcache keys are whole addresses. */
function fillKeys(name: MapName, bytes: Uint8Array, size: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let index = 0; index < ENTRIES; index++) {
    const scattered = Math.imul(index + 1, 0x9e3779b1) >>> 0;
    const at = index * size;
    bytes.fill(0, at, at + size);
    if (name === "cilium_ipcache_v2") {
      view.setUint32(at, 64, true);
      view.setUint8(at + 7, 1);
      view.setUint32(at + 8, scattered, true);
    } else view.setUint32(at, scattered, true);
  }
}
