/**
 * `twinplane anonymise`: inputs under other names and addresses, without payloads, to be given to somebody else. A file that
 * cannot be mapped as a whole is refused, and then nothing is written of any.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync }
  from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Command } from "commander";
import { CaptureAnonymiser } from "../anonymise/capture.js";
import { ChainNames } from "../anonymise/chains.js";
import { anonymiseConntrack, anonymiseIpJson, anonymiseSysctls } from "../anonymise/facts.js";
import { FlowLogAnonymiser } from "../anonymise/flows.js";
import { Mapping } from "../anonymise/mapping.js";
import { anonymiseManifest, type Dropped } from "../anonymise/objects.js";
import { anonymiseRules, anonymiseSets, setsNamed } from "../anonymise/rules.js";
import { type Json, Unmappable } from "../anonymise/shape.js";
import { captureProblems } from "../capture/reader.js";
import { FileKind, sniff, SNIFF_BYTES } from "../capture/sniff.js";
import { formatProblem, type Problem } from "../cluster/problem.js";
import { fileChunks } from "./chunks.js";
import { findDumps, type FoundDump } from "./dumps.js";
import { readFlowLines } from "./flow-lines.js";
import { FLOW_NAME } from "./input-files.js";
import { list, openFailure, readText, sentenceOf } from "./files.js";
import { nodeFailure, nodeOf, splitNode } from "./inputs.js";
import { UsageError } from "./usage.js";

interface AnonymiseOptions {
  readonly file?: readonly string[];
  readonly read?: readonly string[];
  readonly rules?: readonly string[];
  readonly inputFile?: readonly string[];
  readonly cidr?: readonly string[];
  readonly out: string;
  readonly key: string;
}

export function anonymiseCommand(program: Command, exit: (code: number) => void): void {
  program.command("anonymise").description("write inputs under other names and addresses, without payloads, to give to somebody else")
    .option("-f, --file <path...>", "manifests, node facts (ip -j, sysctl -a), conntrack events: files or folders")
    .option("-r, --read <capture...>", "captures or folders of them; [node[:device]=]path")
    .option("--rules <dump...>", "nodes' rules and sets (iptables-save, ip6tables-save, ipset save); [node=]path")
    .option("--input-file <path...>", "flow logs (Hubble's, Azure's) and conntrack entries, as compare takes them; [node=]path")
    .option("--cidr <cidr...>", "ranges that are not in the files (--cluster-cidr): prints what stands for each")
    .requiredOption("--out <folder>", "where to write; new or empty")
    .requiredOption("--key <file>", "the key, 64 hexadecimal digits; made there if it does not exist. The same key gives the same output")
    .addHelpText("after", `
What is written: only the objects and fields that twinplane reads. Addresses keep common prefixes (Crypto-PAn), in objects, node
facts and every header of captures; loopback, link-local, multicast, unspecified and broadcast stay as they are, so a link-local
IPv6 address may still tell a link address, and a solicited-node group the last 24 bits of an address. Private ranges need not
stay private. Names, labels, devices and link addresses become pseudonyms, but for well-known ones. Payloads are zeros of the
same length. Rules keep their order and numbers, chains and sets the beginnings of their names, which say whose they are;
comments that are no program's own become pseudonyms. What stays: ports, times, lengths, sequence numbers, verdicts of flow
logs, how many there are of each thing, and who talks to whom.
Somebody who knows some of the addresses or can send packets that you capture learns the prefixes that others share with them.

Refused: rules that ask for bytes (u32, string), for a range of addresses that is no CIDR, or for all devices that begin alike
where that is no program's own beginning (Calico's, where pods are many).

Left out: annotations, but for those that change verdicts; environment, arguments and images of containers; Secrets; workloads
(their pods are kept); names of DNS, so policies by domain names cannot be judged.

Examples:
  twinplane anonymise -f dump.yaml -f facts -r captures --out shared --key anonymise.key
  twinplane anonymise -f dump.yaml -r node1=node1.pcap --cidr 10.244.0.0/16 --out shared --key anonymise.key`)
    .action(async (options: AnonymiseOptions) => exit(await anonymise(options)));
}

async function anonymise(options: AnonymiseOptions): Promise<number> {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const mapping = new Mapping(keyOf(options.key));
  const ranges = (options.cidr ?? []).map((text) => {
    const mapped = mapping.addressText(text);
    if (mapped === null) throw new UsageError(`--cidr ${text}: expected an address range such as 10.244.0.0/16`);
    return `${text} is ${mapped}\n`;
  });
  const output = new Output(options.out);
  const run = new Run(mapping, output);
  try {
    run.texts(options.file, options.rules ?? []);
    for (const argument of options.inputFile ?? []) await run.traffic(argument);
    for (const argument of options.read ?? []) await run.captures(argument);
  } catch (error) {
    output.discard();
    throw error;
  }
  for (const problem of run.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  if (run.refused) {
    output.discard();
    process.stderr.write("twinplane: nothing was written\n");
    return 2;
  }
  output.keep();
  for (const [what, times] of [...run.dropped].sort()) process.stderr.write(`left out: ${times} × ${what}\n`);
  process.stdout.write(ranges.join(""));
  process.stdout.write(`twinplane compare -f ${options.out}${run.named.map((one) => ` -r ${one}`).join("")}${
    run.logs.map((one) => ` --input-file ${one}`).join("")}\n`);
  return 0;
}

/** The key in a file, which is made where there is none. */
function keyOf(file: string): Uint8Array {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    const absent = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (!absent) throw new UsageError(`--key ${file}: ${sentenceOf(error)}`);
    text = randomBytes(32).toString("hex");
    try {
      writeFileSync(file, `${text}\n`, { mode: 0o600, flag: "wx" });
    } catch (failure) {
      throw new UsageError(`--key ${file}: ${sentenceOf(failure)}`);
    }
    process.stderr.write(`a new key was written to ${file}; whoever has it can undo the mapping\n`);
  }
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new UsageError(`--key ${file}: expected 64 hexadecimal digits`);
  return Buffer.from(text, "hex");
}

/** Files of one folder, which all appear at the end or not at all. */
class Output {
  private readonly draft: string;
  private readonly names: string[] = [];

  constructor(private readonly folder: string) {
    try {
      mkdirSync(folder, { recursive: true });
      if (readdirSync(folder).length > 0) throw new UsageError(`--out ${folder}: the folder is not empty`);
      this.draft = mkdtempSync(join(folder, ".draft-"));
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`--out ${folder}: ${sentenceOf(error)}`);
    }
  }

  text(name: string, text: string): void {
    this.names.push(name);
    writeFileSync(join(this.draft, name), text);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A text that is written as it grows. */
  draftOf(name: string): Draft {
    this.names.push(name);
    return new Draft(join(this.draft, name));
  }

  async bytes(name: string, chunks: AsyncIterable<Uint8Array>): Promise<string> {
    this.names.push(name);
    const handle = openSync(join(this.draft, name), "w");
    try {
      for await (const chunk of chunks) for (let at = 0; at < chunk.length;) at += writeSync(handle, chunk, at);
    } finally {
      closeSync(handle);
    }
    return this.path(name);
  }

  keep(): void {
    for (const name of this.names) renameSync(join(this.draft, name), join(this.folder, name));
    this.discard();
  }

  discard(): void {
    rmSync(this.draft, { recursive: true, force: true });
  }
}

const DRAFT_LETTERS = 1 << 16;

/** Lines of a file, written in blocks. */
class Draft {
  private readonly handle: number;
  private waiting = "";

  constructor(path: string) {
    this.handle = openSync(path, "w");
  }

  add(line: string): void {
    this.waiting += line;
    if (this.waiting.length >= DRAFT_LETTERS) this.flush();
  }

  close(): void {
    this.flush();
    closeSync(this.handle);
  }

  private flush(): void {
    const bytes = Buffer.from(this.waiting);
    this.waiting = "";
    for (let at = 0; at < bytes.length;) at += writeSync(this.handle, bytes, at);
  }
}

const TEXT_NAME = /\.(ya?ml|json|sysctl|rules|ip6?tables(-save)?|ipsets?|nft|save|dump|txt|conntrack|zip)$/i;
const CAPTURE_NAME = /\.(pcap|pcapng|cap)(\.gz|\.zst)?$/i;
const CONNTRACK_NAME = /\.(ct-events\.txt|conntrack)$/i;
const OTHER_JSON = /\.(ifmap|case)\.json$|(^|\/)(case|meta)\.json$/;

class Run {
  readonly problems: Problem[] = [];
  readonly dropped: Dropped = new Map();
  /** Captures as `-r` takes them. */
  readonly named: string[] = [];
  /** Flow logs and entries as `--input-file` takes them. */
  readonly logs: string[] = [];
  refused = false;
  private nodes: readonly string[] = [];
  private readonly counts = new Map<string, number>();

  private readonly chains: ChainNames;

  constructor(private readonly mapping: Mapping, private readonly output: Output) {
    this.chains = new ChainNames(mapping);
  }

  /** Objects first: the nodes' names say whose the other files are. */
  texts(paths: readonly string[], rules: readonly string[]): void {
    const dumps: FoundDump[] = [];
    const files = paths.flatMap((path) => this.listed(path, TEXT_NAME)).filter((file) => !OTHER_JSON.test(file));
    const texts = files.flatMap((file) => {
      const read = readText(file);
      if ("what" in read) this.refuse(file, read.what);
      else if (this.isDump(file, read.text, null, dumps)) return [];
      else if (read.text.includes("\0") || /\.zip$/i.test(file))
        this.refuse(file, "only texts are anonymised here; captures are given with -r");
      else return [{ file, text: read.text }];
      return [];
    });
    const facts = texts.filter(({ file, text }) => CONNTRACK_NAME.test(file) || isFacts(file, text));
    const manifests = texts.filter((one) => !facts.includes(one) && !/\.txt$/i.test(one.file));
    const nodes: string[] = [];
    manifests.forEach(({ file, text }, index) => this.mapped(file, () => {
      const objects = anonymiseManifest({ name: file, text }, this.mapping, this.dropped, (node) => nodes.push(node));
      this.output.text(`objects-${index + 1}.json`, listText(objects));
    }));
    this.nodes = nodes;
    for (const { file, text } of facts) this.facts(file, text);
    for (const argument of rules) this.rules(argument, dumps);
    this.dumps(dumps);
  }

  /** Flow logs, or conntrack's entries of a node. */
  async traffic(argument: string): Promise<void> {
    const { said, path } = splitNode(argument);
    for (const file of path === "-" ? ["-"] : this.listed(path, FLOW_NAME)) {
      if (/\.zip$/i.test(file)) {
        this.refuse(file, "only texts are anonymised here; unpack the archive");
        continue;
      }
      await this.mappedLog(file, async () => {
        const text = await this.flowLog(file);
        if (text !== null) this.ofNode(file, said, "--input-file", (stem) => {
          const name = `${stem}.entries.txt`;
          this.output.text(name, anonymiseConntrack(text, this.mapping));
          this.logs.push(`${stem.replace(/\.\d+$/, "")}=${this.output.path(name)}`);
        });
      });
    }
  }

  /** Flow by flow, as they are read; the text of what is no flow log. null: it was one, or is refused. */
  private async flowLog(file: string): Promise<string | null> {
    const name = `flows-${this.logs.length + 1}.jsonl`;
    const problems: Problem[] = [];
    let damage: string | null = null;
    let lines: Draft | null = null;
    try {
      const { log, text } = await readFlowLines(fileChunks(file, (what) => {
        damage = what;
      }), () => {
        const draft = this.output.draftOf(name);
        lines = draft;
        return new FlowLogAnonymiser(file, this.mapping, problems, (line) => draft.add(line));
      });
      if (damage !== null) {
        this.refuse(file, damage);
        return null;
      }
      if (log === null) return text ?? "";
      log.finish();
      for (const problem of problems) this.refuse(file, `line ${problem.where?.line ?? 0}: ${problem.what}`);
      this.logs.push(this.output.path(name));
      return null;
    } finally {
      (lines as Draft | null)?.close();
    }
  }

  /** The dumps that one `--rules` names. */
  private rules(argument: string, found: FoundDump[]): void {
    const { said, path } = splitNode(argument);
    for (const file of path === "-" ? ["-"] : this.listed(path, TEXT_NAME)) {
      const read = readText(file);
      if ("what" in read) this.refuse(file, read.what);
      else if (!this.isDump(file, read.text, said === "" ? null : said, found)) {
        this.refuse(file, "expected what iptables-save, ip6tables-save or ipset save prints");
      }
    }
  }

  private isDump(file: string, text: string, node: string | null, found: FoundDump[]): boolean {
    const { dumps, refused } = findDumps(file, text, node);
    if (refused !== null) this.refuse(file, refused);
    found.push(...dumps);
    return dumps.length > 0 || refused !== null;
  }

  /** Rules may name sets that stand in another file; those in none would be made from the objects, whose names are others now. */
  private dumps(found: readonly FoundDump[]): void {
    const sets = new Set(found.filter((one) => one.family === null)
      .flatMap(({ text }) => [...text.text.matchAll(/^create (\S+) /gm)].map((match) => match[1])));
    for (const { file, text: { text }, family, node } of found) {
      const absent = family === null ? undefined : [...setsNamed(text)].find((name) => !sets.has(name));
      if (absent !== undefined) {
        this.refuse(file, "names IP sets that none of the files holds; give what ipset save prints on the node too");
      } else this.ofNode(file, node ?? "", "--rules", (stem) => {
        if (family === null) this.output.text(`${stem}.ipset`, anonymiseSets(text, this.chains, this.mapping));
        else this.output.text(`${stem}.ip${family === 6 ? "6" : ""}tables`, anonymiseRules(text, family, this.chains, this.mapping));
      });
    }
  }

  /** Writes what is of a node, under what stands for its name. */
  private ofNode(file: string, said: string, option: string, write: (stem: string) => void): void {
    const node = said === "" ? nodeOf(file, this.nodes) : said;
    const failure = nodeFailure(file, node, this.nodes, option);
    if (failure !== null || node === null) this.refuse(file, failure?.what ?? "");
    else this.mapped(file, () => write(this.numbered(node)));
  }

  async captures(argument: string): Promise<void> {
    const { said, path } = splitNode(argument);
    const [nodeSaid, ...device] = said.split(":");
    for (const file of this.listed(path, CAPTURE_NAME)) {
      const node = nodeSaid === "" ? nodeOf(file, this.nodes) : nodeSaid;
      const failure = openFailure(file) ?? nodeFailure(file, node, this.nodes);
      if (failure !== null || node === null) {
        this.refuse(file, failure?.what ?? "");
        continue;
      }
      const first = (await fileChunks(file, () => {}).next()).value as Uint8Array | undefined;
      const kind = sniff((first ?? new Uint8Array(0)).subarray(0, SNIFF_BYTES));
      if (kind !== FileKind.Pcap && kind !== FileKind.Pcapng) {
        this.refuse(file, `expected a capture, pcap or pcapng; this is ${kind}`);
        continue;
      }
      const written = await this.output.bytes(`${this.numbered(node)}.${kind}`, this.frames(file));
      this.named.push(`${[this.mapping.name(node), ...device.map((one) => this.mapping.device(one))].join(":")}=${written}`);
    }
  }

  private async *frames(file: string): AsyncGenerator<Uint8Array> {
    const capture = new CaptureAnonymiser(this.mapping);
    const damaged = (what: string): void => {
      this.problems.push({ where: { file, line: 0 }, severity: "error", what });
    };
    for await (const chunk of fileChunks(file, damaged)) yield capture.push(chunk);
    const { bytes, end } = capture.finish();
    yield bytes;
    this.problems.push(...captureProblems(file, end));
    if (end.counters.noTime > 0) damaged(`${end.counters.noTime} packets without a time are written with time 0`);
  }

  private facts(file: string, text: string): void {
    this.ofNode(file, "", "-f", (stem) => {
      if (CONNTRACK_NAME.test(file)) this.output.text(`${stem}.ct-events.txt`, anonymiseConntrack(text, this.mapping));
      else if (/^\s*[[{]/.test(text)) this.output.text(`${stem}.net.json`, anonymiseIpJson({ name: file, text }, this.mapping));
      else this.output.text(`${stem}.sysctl`, anonymiseSysctls(text, this.mapping));
    });
  }

  private async mappedLog(file: string, write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.refuseUnmappable(file, error);
    }
  }

  private mapped(file: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.refuseUnmappable(file, error);
    }
  }

  private refuseUnmappable(file: string, error: unknown): void {
    if (!(error instanceof Unmappable)) throw error;
    this.refuse(file, `${error.message}; the file is refused`);
  }

  private listed(path: string, names: RegExp): string[] {
    const { files, folder, failures } = list(path);
    for (const failure of failures) this.refuse(failure.file, failure.what);
    return files.filter((file) => !folder || names.test(file));
  }

  /** What stands for the node's name, and a number. */
  private numbered(node: string): string {
    const count = (this.counts.get(node) ?? 0) + 1;
    this.counts.set(node, count);
    return `${this.mapping.name(node)}.${count}`;
  }

  private refuse(file: string, what: string): void {
    this.problems.push({ where: { file, line: 0 }, severity: "error", what });
    this.refused = true;
  }
}

/** As inputs.ts tells node facts. */
function isFacts(file: string, text: string): boolean {
  return /\.sysctl$/.test(file) || /^\s*\[\s*(\]\s*$|(\{\s*\}\s*,\s*)*\{\s*"(ifindex|link_index|dst|type)")/.test(text.slice(0, 400))
    || /^\s*\{\s*"(link|addr|route[46]?|neigh)"\s*:\s*\[/.test(text.slice(0, 400));
}

/** One line an object. */
function listText(objects: readonly Json[]): string {
  return `{"apiVersion":"v1","kind":"List","items":[\n${objects.map((one) => JSON.stringify(one)).join(",\n")}\n]}\n`;
}
