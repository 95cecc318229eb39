/**
 * Several reports of one run: `-o FORMAT` prints, `-o FORMAT=PATH` writes to a file. What is made of single packets is
 * written while they are judged, the rest at the end.
 */
import { closeSync, existsSync, openSync, realpathSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Judged, JudgedListener } from "../compare/judged.js";
import { compactLine } from "../report/flows/compact.js";
import type { FilterTerm } from "../report/flows/filter.js";
import { hubbleFlow, hubbleLine } from "../report/flows/hubble.js";
import { renderHtml } from "../report/html/html.js";
import { type FailOn, renderJunit } from "../report/junit.js";
import { renderMarkdown } from "../report/markdown.js";
import { commentOf, Comments } from "../report/packets/comments.js";
import { commentedPcapng } from "../report/packets/pcapng.js";
import { PacketTable } from "../report/parquet.js";
import type { Report } from "../report/report.js";
import { jsonText } from "../report/printable.js";
import { sentenceOf } from "./files.js";
import { addFlowOptions, type FlowOptions, flowSelection, type FlowSelection, selects } from "./flow-options.js";
import { UsageError } from "./usage.js";
import { version } from "./version.js";

export const FORMATS = ["text", "json", "markdown", "junit", "html", "hubble", "compact", "pcapng", "parquet"] as const;
export type Format = (typeof FORMATS)[number];
/** Formats of single packets. */
const OF_PACKETS: readonly Format[] = ["hubble", "compact", "pcapng", "parquet"];
const BINARY: readonly Format[] = ["pcapng", "parquet"];

/** A capture as the session is given it. */
interface NamedCapture {
  readonly file: string;
  readonly node: string;
  /** Where its records stand for lines of a text. */
  readonly lines?: readonly number[];
  /** Its bytes once more. */
  readonly again?: () => AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
}

interface Output {
  readonly format: Format;
  /** null: standard output. */
  readonly path: string | null;
}

export interface OutputOptions extends FlowOptions {
  readonly output?: readonly Output[];
  readonly outFile?: string;
}

/** Adds the options; gives the terms of the filter, which are there once the command runs. */
export function addOutputOptions(command: Command): readonly FilterTerm[] {
  command
    .addOption(new Option("-o, --output <format[=path]...>", `${FORMATS.join(", ")}: to standard output, or with =PATH to a file;`
      + " several at once (default: text)")
      .argParser((value: string, before: Output[] | undefined) => [...(before ?? []), outputOf(value)]))
    .option("--out-file <path>", "write the one output that names no file here instead of standard output");
  return addFlowOptions(command);
}

function outputOf(value: string): Output {
  const equals = value.indexOf("=");
  const name = equals < 0 ? value : value.slice(0, equals);
  const format = FORMATS.find((one) => one === name);
  if (format === undefined) throw new InvalidArgumentError(`Allowed choices are ${FORMATS.join(", ")}.`);
  if (equals === value.length - 1) throw new InvalidArgumentError("Expected a file behind '='.");
  return { format, path: equals < 0 ? null : value.slice(equals + 1) };
}

/** How text is made; `onScreen`: colours may be used where the terminal takes them. */
export type Render = (onScreen: boolean) => string;

export class Outputs {
  private readonly outputs: readonly Output[];
  private readonly selection: FlowSelection;
  private readonly sinks = new Map<Output, LineSink>();
  private readonly tables = new Map<Output, TableSink>();
  private readonly captures: { readonly capture: NamedCapture; readonly comments: Comments }[] = [];

  /** Everything that can be wrong is said before anything is read. */
  constructor(options: OutputOptions, terms: readonly FilterTerm[]) {
    const given = options.output ?? [{ format: "text", path: null }];
    const printed = given.filter((one) => one.path === null);
    if (printed.length > 1) {
      throw new UsageError(`${printed.map((one) => one.format).join(" and ")} would both be printed; name a file, as in -o ${
        printed[1].format}=FILE`);
    }
    if (options.outFile !== undefined && printed.length === 0) {
      throw new UsageError("--out-file is for an output that names no file itself");
    }
    this.outputs = given.map((one) => ({ ...one, path: one.path ?? options.outFile ?? null }));
    const doubled = this.outputs.find((one, index) => this.outputs.findIndex((other) => other.path === one.path) < index);
    if (doubled !== undefined) throw new UsageError(`two outputs cannot both be ${doubled.path}`);
    if (process.stdout.isTTY === true) {
      const binary = this.outputs.find((one) => one.path === null && BINARY.includes(one.format));
      if (binary !== undefined) throw new UsageError(`${binary.format} is not for a terminal; name a file, as in -o ${binary.format}=FILE`);
    }
    if (selects(options, terms) && !this.outputs.some((one) => one.format === "hubble" || one.format === "compact")) {
      throw new UsageError("filters choose flows of -o hubble and -o compact; neither is asked for");
    }
    this.selection = flowSelection(options, terms);
    for (const { path } of this.outputs) if (path !== null) mustBeWritable(path);
  }

  /** For the next comparison, of these captures; undefined: nothing is made of single packets. */
  listener(captures: readonly NamedCapture[]): JudgedListener | undefined {
    const wanted = this.outputs.filter((one) => OF_PACKETS.includes(one.format));
    if (wanted.length === 0) return undefined;
    const before = this.captures.length;
    if (wanted.some((one) => one.format === "pcapng")) {
      for (const { file, lines, again } of captures) {
        if (lines !== undefined) throw new UsageError("-o pcapng needs captures; --input-file has no packets");
        if (again === undefined) throw new UsageError(`-o pcapng reads captures twice, and ${file} is no file that can be read again`);
      }
      this.captures.push(...captures.map((capture) => ({ capture, comments: new Comments() })));
    }
    return (judged) => {
      for (const output of wanted) this.take(output, judged, captures, before);
    };
  }

  async finish(report: Report, failOn: FailOn, asText: Render): Promise<void> {
    for (const output of this.outputs) {
      const { format, path } = output;
      if (format === "hubble" || format === "compact") this.sink(output).end();
      else if (format === "pcapng") await this.writePcapng(path);
      else if (format === "parquet") this.table(output).end();
      else if (format === "html") write(path, renderHtml(report));
      else if (format === "junit") write(path, renderJunit(report, failOn));
      else if (format === "markdown") write(path, renderMarkdown(report));
      else write(path, format === "json" ? jsonText(report) : asText(path === null));
    }
  }

  private take(output: Output, judged: Judged, captures: readonly NamedCapture[], before: number): void {
    switch (output.format) {
      case "pcapng":
        for (const { capture, record } of judged.views) this.captures[before + capture].comments.set(record, commentOf(judged));
        return;
      case "parquet":
        this.table(output).add(judged, captures[judged.capture].file);
        return;
      default: {
        const flow = isIn(judged, this.selection) ? hubbleFlow(judged, this.selection.plane) : null;
        if (flow === null || !this.selection.test(flow)) return;
        this.sink(output).add(output.format === "hubble" ? hubbleLine(flow) : compactLine(flow));
      }
    }
  }

  private sink(output: Output): LineSink {
    let sink = this.sinks.get(output);
    if (sink === undefined) {
      sink = new LineSink(output.path, this.selection.first, this.selection.last);
      this.sinks.set(output, sink);
    }
    return sink;
  }

  private table(output: Output): TableSink {
    let table = this.tables.get(output);
    if (table === undefined) {
      table = new TableSink(output.path);
      this.tables.set(output, table);
    }
    return table;
  }

  private async writePcapng(path: string | null): Promise<void> {
    const captures = this.captures.map(({ capture: { node, again }, comments }) =>
      ({ node, comments, chunks: again?.() ?? [][Symbol.iterator]() }));
    const handle = path === null ? 1 : openSync(path, "w");
    try {
      for await (const block of commentedPcapng(captures)) writeAll(handle, block);
    } finally {
      if (path !== null) closeSync(handle);
    }
  }
}

/** Whether the time is within what was asked for. */
function isIn({ timeSec, timeFracNs }: Judged, { sinceNs, untilNs }: FlowSelection): boolean {
  if (sinceNs === null && untilNs === null) return true;
  const time = BigInt(timeSec) * 1_000_000_000n + BigInt(timeFracNs);
  return (sinceNs === null || time >= sinceNs) && (untilNs === null || time <= untilNs);
}

const LINES_BYTES = 1 << 16;

/** Lines to a file or to standard output, in blocks; of them the first or the last so many. */
class LineSink {
  private readonly handle: number;
  private waiting: string[] = [];
  private size = 0;
  private added = 0;

  constructor(private readonly path: string | null, private readonly first: number, private readonly last: number) {
    this.handle = path === null ? -1 : openSync(path, "w");
  }

  add(line: string): void {
    if (++this.added > this.first) return;
    this.waiting.push(`${line}\n`);
    if (this.last !== Infinity) {
      if (this.waiting.length > 2 * this.last) this.waiting = this.waiting.slice(-this.last);
      return;
    }
    this.size += line.length;
    if (this.size >= LINES_BYTES) this.flush();
  }

  end(): void {
    if (this.last !== Infinity) this.waiting = this.waiting.slice(-this.last);
    this.flush();
    if (this.path !== null) closeSync(this.handle);
  }

  private flush(): void {
    const text = this.waiting.join("");
    this.waiting = [];
    this.size = 0;
    if (this.path === null) process.stdout.write(text);
    else writeAll(this.handle, Buffer.from(text));
  }
}

/** A table to a file or to standard output, written as it grows. */
class TableSink {
  private readonly handle: number;
  private readonly table = new PacketTable(version(), (bytes) => writeAll(this.handle, bytes));

  constructor(private readonly path: string | null) {
    this.handle = path === null ? 1 : openSync(path, "w");
  }

  add(judged: Judged, file: string): void {
    this.table.add(judged, file);
  }

  end(): void {
    this.table.finish();
    if (this.path !== null) closeSync(this.handle);
  }
}

function write(path: string | null, content: string | Uint8Array): void {
  if (path === null) process.stdout.write(content);
  else writeFileSync(path, content);
}

function writeAll(handle: number, bytes: Uint8Array): void {
  if (handle === 1) {
    process.stdout.write(bytes);
    return;
  }
  for (let at = 0; at < bytes.length;) at += writeSync(handle, bytes, at);
}

/** Leaves nothing behind: whether the rest of what was asked for is right is not known yet. */
function mustBeWritable(path: string): void {
  try {
    const isNew = !existsSync(path);
    closeSync(openSync(path, "a"));
    if (isNew) rmSync(realpathSync(path));
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${sentenceOf(error)}`);
  }
}
