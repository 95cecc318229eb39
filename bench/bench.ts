/**
 * How a figure is taken: tinybench drives, the clock is this process's CPU time (user and system), because other
 * work on the machine makes wall time worth little. A run does many operations at once, since the CPU clock ticks in
 * microseconds; the figure is per operation: least, middle, most of the runs.
 */
import { Bench } from "tinybench";

export interface Figure {
  readonly what: string;
  readonly unit: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly note: string;
}

export interface Question {
  /** What the file answers. */
  readonly question: string;
  run(): Promise<Figure[]>;
}

const RUNS = 9;
const WARM_UP = 2;

export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** ns of CPU per operation; `run` does `operations` of them and returns a value that depends on the work. */
export async function nsPerOperation(what: string, operations: number, run: () => number | Promise<number>, note = ""): Promise<Figure> {
  return scale(what, await samplesOf(run), "ns", (ms) => (ms * 1e6) / operations, note);
}

/** ms of CPU for the whole of `run`. */
export async function msOf(what: string, run: () => number | Promise<number>, note = ""): Promise<Figure> {
  return scale(what, await samplesOf(run), "ms", (ms) => ms, note);
}

/** Operations per second of CPU. */
export function perSecond(figure: Figure, what: string, unit: string, perOperation = 1): Figure {
  const turn = (ns: number): number => (perOperation * 1e9) / ns;
  return { what, unit, min: turn(figure.max), median: turn(figure.median), max: turn(figure.min), note: figure.note };
}

export function single(what: string, value: number, unit: string, note = ""): Figure {
  return { what, unit, min: value, median: value, max: value, note };
}

async function samplesOf(run: () => number | Promise<number>): Promise<number[]> {
  let sink = 0;
  const bench = new Bench({ now: cpuMs, iterations: RUNS, time: 0, warmupIterations: WARM_UP, warmupTime: 0, retainSamples: true, throws: true });
  bench.add("run", async () => {
    sink += await run();
  });
  await bench.run();
  if (!Number.isFinite(sink)) throw new Error("a benchmark's result is not a number: its work may have been removed");
  const result = bench.tasks[0].result;
  if (!("latency" in result) || result.latency.samples === undefined) throw new Error("tinybench kept no samples");
  return [...result.latency.samples].sort((a, b) => a - b);
}

function scale(what: string, sorted: readonly number[], unit: string, each: (ms: number) => number, note: string): Figure {
  const at = (index: number): number => each(sorted[index]);
  return { what, unit, min: at(0), median: at(sorted.length >> 1), max: at(sorted.length - 1), note };
}
