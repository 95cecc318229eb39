/**
 * The machinery of the mutation ring: a private copy of the tree, one fault at a time put into its sources, the
 * bundled stories run in it as a child process, and what of that counts as caught.
 *
 * A fault is caught by what twinplane itself says: the current plane disagrees with the recording, a difference that
 * no row of the catalogue explains, or an answer that does not come back to who asked. More undecided packets do not
 * count, and neither does a difference that a row of the catalogue takes for known.
 */
import { execFile, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Verdicts } from "./mutant-runner.js";

export interface Mutant {
  readonly id: string;
  /** Whose dataplane it breaks. */
  readonly plane: "current" | "target";
  /** Below the repository's root. */
  readonly file: string;
  /** Must occur exactly once; white space in it stands for any white space. */
  readonly find: string;
  readonly replace: string;
  /** What the fault would mean in a cluster. */
  readonly why: string;
  /** Stories that exercise it, as mutant-runner takes them. */
  readonly stories: readonly string[];
  /** The loop itself must say so, whatever else does. */
  readonly breaksLoop?: boolean;
  /** Why nothing tells: the check or row of the catalogue that lets it through. Such a mutant must go unnoticed. */
  readonly escapes?: string;
}

/** The fault of a mutant, without the stories. */
export type Fault = Pick<Mutant, "id" | "file" | "find" | "replace">;

/** Totals over a mutant's stories. */
export type Totals = Omit<Verdicts, "findings"> & { readonly findings: ReadonlyMap<string, number> };

const root = fileURLToPath(new URL("..", import.meta.url));
const COPIED = ["src", "assembly", "test", "build", "package.json", "asconfig.json", "tsconfig.json"];
const LINKED = ["node_modules", "traces"];
const MODULE = "build/fast.wasm";

export class Ring {
  private readonly folder = mkdtempSync(join(tmpdir(), "twinplane-mutation-"));

  constructor() {
    for (const name of COPIED) cpSync(join(root, name), join(this.folder, name), { recursive: true });
    for (const name of LINKED) symlinkSync(join(root, name), join(this.folder, name));
    const emit = 'import { emitAbi } from "./src/contract/emit.ts"; process.stdout.write(emitAbi());';
    writeFileSync(join(this.folder, "assembly/abi.gen.ts"), this.node(["--import", "tsx", "--input-type=module", "--eval", emit]));
    this.compileAssembly();
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Runs stories in the copy as it stands. */
  run(stories: readonly string[]): Record<string, Verdicts> {
    return JSON.parse(this.node(["--import", "tsx", "test/mutant-runner.ts", ...stories])) as Record<string, Verdicts>;
  }

  /** Runs the mutant's stories with its fault in the copy, and takes the fault out again. */
  runMutant(mutant: Mutant): Record<string, Verdicts> {
    return this.withFault(mutant, () => this.run(mutant.stories));
  }

  /** Puts a fault into the copy, does something there, and takes it out again. */
  withFault<T>(mutant: Fault, run: () => T): T {
    const file = join(this.folder, mutant.file);
    const text = readFileSync(file, "utf8");
    const inModule = mutant.file.startsWith("assembly/");
    const module = readFileSync(join(this.folder, MODULE));
    writeFileSync(file, mutate(text, mutant));
    try {
      if (inModule) this.compileAssembly();
      return run();
    } finally {
      writeFileSync(file, text);
      writeFileSync(join(this.folder, MODULE), module);
    }
  }

  /** The same where what is done there takes its time: several rings then work side by side. */
  async during<T>(fault: Fault, run: () => Promise<T>): Promise<T> {
    const file = join(this.folder, fault.file);
    const text = readFileSync(file, "utf8");
    const module = readFileSync(join(this.folder, MODULE));
    writeFileSync(file, mutate(text, fault));
    try {
      if (fault.file.startsWith("assembly/")) this.compileAssembly();
      return await run();
    } finally {
      writeFileSync(file, text);
      writeFileSync(join(this.folder, MODULE), module);
    }
  }

  /** Without optimisation: it takes a third of the time, and a story is short. */
  private compileAssembly(): void {
    this.node(["node_modules/assemblyscript/bin/asc.js", "--target", "fast", "--optimizeLevel", "0"]);
  }

  /** Runs node in the copy beside other work; what it printed. */
  async beside(args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: this.folder, encoding: "utf8", maxBuffer: 1 << 28 });
    return stdout;
  }

  /** Runs node in the copy; what it printed. */
  node(args: readonly string[]): string {
    const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd: this.folder, encoding: "utf8", maxBuffer: 1 << 26 });
    if (error !== undefined || status !== 0) throw new Error(`${args.slice(0, 3).join(" ")}: ${error?.message ?? stderr}`);
    return stdout;
  }
}

/** The text with the mutant's fault in it; throws where the place is not there exactly once. */
export function mutate(text: string, { id, file, find, replace }: Fault): string {
  const pattern = new RegExp(find.trim().split(/\s+/).map(literal).join("\\s+"), "g");
  const found = text.match(pattern)?.length ?? 0;
  if (found !== 1) throw new Error(`${id}: ${file} has the text to replace ${found} times, not once`);
  return text.replace(pattern, () => replace);
}

export function total(run: Readonly<Record<string, Verdicts>>, stories: readonly string[]): Totals {
  const findings = new Map<string, number>();
  const sums = { same: 0, disagreed: 0, unexplained: 0, notClosedCurrent: 0, notClosedTarget: 0, undecided: 0 };
  for (const story of stories) {
    const { findings: found, ...numbers } = run[story];
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += numbers[key];
    for (const one of found) {
      const at = one.lastIndexOf(": ");
      findings.set(one.slice(0, at), (findings.get(one.slice(0, at)) ?? 0) + Number(one.slice(at + 2)));
    }
  }
  return { ...sums, findings };
}

/** What caught it, in the words of the table; empty: nothing did. */
export function caughtBy(before: Totals, after: Totals): string[] {
  const caught: string[] = [];
  const risen = (key: "disagreed" | "unexplained" | "notClosedCurrent" | "notClosedTarget"): number => after[key] - before[key];
  if (risen("disagreed") > 0) caught.push(`truth ${risen("disagreed")}`);
  if (risen("unexplained") > 0) caught.push(`unexplained ${risen("unexplained")}`);
  // A flow whose packets are undecided is not closed either; that alone is no catch.
  const judged = after.undecided <= before.undecided;
  if (judged && risen("notClosedCurrent") > 0) caught.push(`loop current ${risen("notClosedCurrent")}`);
  if (judged && risen("notClosedTarget") > 0) caught.push(`loop target ${risen("notClosedTarget")}`);
  return caught;
}

/** Rows of the catalogue that name more flows than without the fault. */
export function namedAs(before: Totals, after: Totals): string[] {
  return [...after.findings].filter(([what, flows]) => !what.startsWith("UNEXPLAINED") && flows > (before.findings.get(what) ?? 0))
    .map(([what, flows]) => `${what} +${flows - (before.findings.get(what) ?? 0)}`);
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
