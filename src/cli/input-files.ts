/**
 * What `--input-file` names, read in bounded memory: conntrack's entries of a node, or flow logs, told by what is in
 * them. Plain, gzip or zstd, a file, a folder or `-` for standard input.
 */
import { type ConntrackFlow, readConntrackFlows } from "../cluster/conntrack-flow.js";
import type { Problem } from "../cluster/problem.js";
import { Connections, type ConnectionSet } from "../flows/connections.js";
import { FlowLog } from "../flows/log.js";
import type { EntryFile } from "../replay/entries.js";
import { fileChunks } from "./chunks.js";
import { list } from "./files.js";
import { readFlowLines } from "./flow-lines.js";
import { isSysdump, isSysdumpFlows } from "./sysdump.js";
import { readZip, ZIP_NAME } from "./zip.js";
import { type Inputs, nodeFailure, nodeOf, splitNode } from "./inputs.js";

export const FLOW_NAME = /\.(jsonl?|ndjson|log|csv|conntrack|ct-events\.txt)(\.(gz|zst))?$/i;
/** Of a sysdump's folder only these are flows. */
const FLOWS_OF_SYSDUMP = (files: readonly string[]): readonly string[] => (isSysdump(files) ? files.filter(isSysdumpFlows) : files);

export interface InputFiles {
  readonly entries: readonly EntryFile[];
  /** null: no flow log was among them. */
  readonly flows: ConnectionSet | null;
}

/** The inputs with what these arguments (`[node=]path`) name. */
export async function withInputFiles(inputs: Inputs, paths: readonly string[] = []): Promise<Inputs & InputFiles> {
  const reading = new InputReading(inputs);
  for (const argument of paths) {
    const { said, path } = splitNode(argument);
    const listed = path === "-" ? { folder: false, files: ["-"], failures: [] } : list(path);
    for (const failure of listed.failures) reading.unusable(failure.file, failure.what);
    const files = FLOWS_OF_SYSDUMP(listed.files).filter((file) => !listed.folder || FLOW_NAME.test(file));
    if (files.length === 0 && listed.failures.length === 0) {
      reading.unusable(path, "no flow log in this folder; expected *.jsonl, *.json, *.log or *.csv, or these with .gz");
    }
    for (const file of files) {
      if (ZIP_NAME.test(file)) await reading.readZip(file);
      else await reading.read(file, said, fileChunks);
    }
  }
  return reading.result();
}

class InputReading {
  private readonly problems: Problem[] = [];
  private readonly entries: EntryFile[] = [];
  private readonly connections = new Connections();
  private logs = 0;
  private unreadable = 0;
  private readonly nodes: readonly string[];

  constructor(private readonly inputs: Inputs) {
    this.nodes = inputs.objects.nodes.map((node) => node.name);
  }

  unusable(file: string, what: string): void {
    this.problems.push({ where: { file, line: 0 }, severity: "error", what });
    this.unreadable++;
  }

  /** The flows that Hubble had when a sysdump was made. */
  async readZip(file: string): Promise<void> {
    const read = readZip(file, isSysdumpFlows);
    if ("what" in read) this.unusable(file, read.what);
    else if (read.files.length === 0) this.unusable(file, "no flows in this archive; expected hubble-flows-….json of a cilium sysdump");
    else for (const { name, bytes } of read.files) await this.read(`${file}/${name}`, "", async function* () { yield bytes; });
  }

  async read(file: string, said: string, open: (file: string, onDamage: (what: string) => void) => AsyncIterable<Uint8Array>)
    : Promise<void> {
    let damaged = false;
    const chunks = open(file, (what) => {
      damaged = true;
      this.problems.push({ where: { file, line: 0 }, severity: "error", what });
    });
    const { log, text } = await readFlowLines(chunks, () => new FlowLog(file, this.connections, this.problems));
    if (log !== null) this.endLog(file, log);
    else if (text !== null) this.readEntries(file, said, text);
    else if (damaged) this.unreadable++;
    else this.readEntries(file, said, "");
  }

  result(): Inputs & InputFiles {
    const conntrack = new Map<string, readonly ConntrackFlow[]>(this.inputs.conntrack);
    // What a node's own sockets sent is known from the same entries.
    for (const { node, flows } of this.entries) conntrack.set(node, [...conntrack.get(node) ?? [], ...flows]);
    const { inputs } = this;
    const added = this.problems;
    return { ...inputs, conntrack, entries: this.entries, flows: this.logs === 0 ? null : this.connections.finish(),
      // Grows while captures are read.
      get problems() { return [...inputs.problems, ...added]; },
      unreadable: inputs.unreadable + this.unreadable };
  }

  private endLog(file: string, log: FlowLog): void {
    log.finish();
    this.logs++;
    if (log.used === 0) this.unusable(file, "no flow in this file; expected what hubble observe -o jsonpb prints, or conntrack -L");
  }

  private readEntries(file: string, said: string, text: string): void {
    const node = said === "" ? nodeOf(file, this.nodes) : said;
    const failure = nodeFailure(file, node, this.nodes, "--input-file");
    if (failure !== null || node === null) {
      this.unusable(file, failure?.what ?? "");
      return;
    }
    const { flows, problems } = readConntrackFlows({ name: file, text });
    this.problems.push(...problems);
    if (flows.length === 0) {
      this.problems.push({ where: { file, line: 0 }, severity: problems.length > 0 ? "error" : "warning",
        what: "no conntrack entry and no flow in this file; expected what conntrack -L, conntrack -E or hubble observe -o jsonpb prints" });
    }
    this.entries.push({ file, node, flows });
  }
}
