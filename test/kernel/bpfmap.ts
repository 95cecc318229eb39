/**
 * Real kernel maps: compiles bpfmap.c with the machine's gcc and runs whole sequences of operations through it.
 * Where gcc, root or bpf(2) is missing it says what; TWINPLANE_REQUIRE_KERNEL=1 makes that a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cleared, innerShape, type Kind, type Operation, type Shape } from "./operations.js";

/** enum bpf_map_type. */
const types: Record<Kind, number> = { hash: 1, array: 2, lru_hash: 9, lpm_trie: 11, array_of_maps: 12, hash_of_maps: 13 };
/** BPF_F_NO_PREALLOC, which the kernel asks of an LPM trie. */
const NO_PREALLOC = 1;

export interface Kernel {
  /** Answers to each operation of each sequence, in the form operations.ts describes. */
  run(sequences: readonly { readonly shape: Shape; readonly list: readonly Operation[] }[]): string[][];
}

/** The kernel, or why it cannot be asked. */
export function openKernel(): Kernel | string {
  const required = process.env.TWINPLANE_REQUIRE_KERNEL === "1";
  const kernel = tryKernel();
  if (typeof kernel === "string" && required) throw new Error(`TWINPLANE_REQUIRE_KERNEL=1, but ${kernel}`);
  return kernel;
}

function tryKernel(): Kernel | string {
  if (process.platform !== "linux") return "this is not Linux";
  const program = join(mkdtempSync(join(tmpdir(), "twinplane-bpfmap-")), "bpfmap");
  const source = fileURLToPath(new URL("bpfmap.c", import.meta.url));
  const compiled = spawnSync("gcc", ["-Wall", "-Werror", "-O1", "-o", program, source], { encoding: "utf8" });
  if (compiled.error !== undefined) return "there is no gcc";
  if (compiled.status !== 0) return `gcc could not compile bpfmap.c: ${compiled.stderr}`;
  const probe = ask(program, ["c 1 4 4 1 0 -1"]);
  if (probe[0] !== "0") return `bpf(2) is not allowed here (${probe[0]})`;
  return { run: (sequences) => sequences.map(({ shape, list }) => runSequence(program, shape, list)) };
}

/** Map 0 is the sequence's; 1… are its inner maps, and the last one the template for them. */
function runSequence(program: string, shape: Shape, list: readonly Operation[]): string[] {
  const lines: string[] = [];
  const innerCreate = createLine(innerShape, -1);
  // A map-in-map is created from a template, so its inner maps come first and it is number innerMaps.
  for (let index = 0; index < shape.innerMaps; index++) lines.push(innerCreate);
  lines.push(createLine(shape, shape.innerMaps > 0 ? 0 : -1));
  const created = lines.length;
  for (const operation of list) lines.push(lineOf(shape, operation));
  const answers = ask(program, lines);
  answers.slice(0, created).forEach((answer, index) => {
    if (answer !== String(index)) throw new Error(`the kernel did not create a map: ${lines[index]}: ${answer}`);
  });
  return list.map((operation, index) => answerOf(shape, operation, answers[created + index]));
}

function createLine(shape: Shape, inner: number): string {
  const valueSize = shape.innerMaps > 0 ? 4 : shape.valueSize;
  const flags = shape.kind === "lpm_trie" ? NO_PREALLOC : 0;
  return `c ${types[shape.kind]} ${shape.keySize} ${valueSize} ${shape.maxEntries} ${flags} ${inner}`;
}

function lineOf(shape: Shape, operation: Operation): string {
  const number = (inner: number): number => (inner === 0 ? shape.innerMaps : inner - 1);
  switch (operation.op) {
    case "update": return `u ${number(operation.inner)} ${operation.flags} ${operation.key} ${operation.value}`;
    // Numbers beyond the inner maps are no maps: the helper makes a closed descriptor of them.
    case "put": {
      const known = operation.map >= 1 && operation.map <= shape.innerMaps;
      return `o ${shape.innerMaps} ${operation.flags} ${operation.key} ${known ? operation.map - 1 : -1}`;
    }
    case "lookup": return `l ${number(operation.inner)} ${operation.key}`;
    case "delete": return `d ${number(operation.inner)} ${operation.key}`;
    case "walk": return `w ${number(operation.inner)}`;
  }
}

function answerOf(shape: Shape, operation: Operation, answer: string): string {
  if (operation.op === "walk") {
    const keys = answer.split(" ").slice(1);
    const isLpm = (operation.inner === 0 ? shape : innerShape).kind === "lpm_trie";
    return keys.map((key) => (isLpm ? cleared(key) : key)).sort().join(" ");
  }
  const isOuter = operation.op === "lookup" && operation.inner === 0 && shape.innerMaps > 0;
  return isOuter && !answer.startsWith("-") ? String(Number(answer) + 1) : answer;
}

function ask(program: string, lines: readonly string[]): string[] {
  const done = spawnSync(program, { input: `${lines.join("\n")}\n`, encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`bpfmap: ${done.stderr}`);
  return done.stdout.split("\n").slice(0, -1);
}
