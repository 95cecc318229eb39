/**
 * What a user names on the command line, read from the file system: manifests, node facts, rules, conntrack entries
 * and captures. A folder is searched; what a file is follows from its name and first bytes. What cannot be read is a
 * Problem; the rest is used.
 *
 *     *.yaml *.yml *.json    manifests, or a node's `ip -j` output by its content (node1.net.json)
 *     *.sysctl               `sysctl -a` of a node
 *     *.zip                  `cilium sysdump`, or a packed folder of manifests
 *     *.pcap *.pcapng *.gz   captures, told by their magic, never by the name
 *     *.tar.gz               a node's archive as Retina makes it: captures and rules
 *     *.ct-events.txt *.conntrack   conntrack -E or -L of a node
 *     *.rules *.iptables *.ipset *.txt …   a node's rules or sets, told by their content
 *
 * Which node a file is of: `-r node1=FILE`, `--rules node1=FILE` say it; else the node whose name the file name begins
 * with; else the only node there is.
 */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { NodeFacts } from "../cluster/cluster.js";
import { type ConntrackFlow, readConntrackFlows } from "../cluster/conntrack-flow.js";
import { type LargeText, type ManifestObjects, readManifests } from "../cluster/manifests.js";
import { withSynthetic } from "../cluster/synthetic.js";
import { readNodeFacts } from "../cluster/node-facts.js";
import { printable } from "../cluster/printable.js";
import type { Problem } from "../cluster/problem.js";
import type { FateCapture } from "../compare/recorded-fates.js";
import type { NodeDump } from "../iptables/planeNode.js";
import type { TarFile } from "../capture/tar.js";
import type { CaptureInput } from "../replay/reading.js";
import { ARCHIVE_NAME, archiveNode, readArchive } from "./archive.js";
import { fileChunks } from "./chunks.js";
import { dumpsByNode, findDumps, type FoundDump } from "./dumps.js";
import { list, openFailure, readText, readTextOrChunks, textOrChunks } from "./files.js";
import { isSysdump, isSysdumpObject } from "./sysdump.js";
import { readZip, ZIP_NAME } from "./zip.js";

export interface NamedCapture {
  readonly file: string;
  readonly node: string;
  readonly device: string;
  readonly lines?: readonly number[];
  readonly stated?: CaptureInput["stated"];
  readonly timed?: CaptureInput["timed"];
  readonly fates?: FateCapture["fates"];
  readonly clockNs?: number;
  readonly chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  /** Its bytes from the start once more, for another reader; absent: it can be read only once. */
  readonly again?: () => AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
}

export interface Inputs {
  readonly objects: ManifestObjects;
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly conntrack: ReadonlyMap<string, readonly ConntrackFlow[]>;
  /** Nodes' own rules and sets. */
  readonly dumps: ReadonlyMap<string, NodeDump>;
  readonly captures: readonly NamedCapture[];
  /** Grows while captures are read. */
  readonly problems: readonly Problem[];
  /** Files named by the user that could not be used at all. */
  readonly unreadable: number;
}

interface Text {
  readonly name: string;
  readonly text: string;
}

const CAPTURE_NAME = /\.(pcap|pcapng|cap)(\.gz|\.zst)?$/i;
const MANIFEST_NAME = /\.(ya?ml|json|sysctl)$/i;
/** An empty list is what `ip -6 -j route` says of a node without IPv6; `ip -4 -j addr` prints {} for the rest. */
const FACTS_LIST = /^\s*\[\s*(\]\s*$|(\{\s*\}\s*,\s*)*\{\s*"(ifindex|link_index|dst|type)")/;
const FACTS_OBJECT = /^\s*\{\s*"(link|addr|route[46]?|neigh)"\s*:\s*\[/;
const CONNTRACK_NAME = /\.(ct-events\.txt|conntrack)$/i;
/** How a large dump begins. */
const MANIFEST_HEAD = /^\s*\{|^(---|%YAML|apiVersion:|kind:|items:|#)/m;
/** Files of a folder that may be a node's rules or sets; their content says whether they are. */
const DUMP_NAME = /\.(rules|ip6?tables(-save)?|ipsets?|nft|save|dump|txt)$/i;

/** What other options than `-f` and `-r` name, as `[node=]path`. */
export interface FurtherInputs {
  /** Dumps of nodes' rules and sets. */
  readonly rules?: readonly string[];
  /** false: what manifests leave to a cluster (pods of workloads, addresses) is not made up. */
  readonly synthetic?: boolean;
}

export function readInputs(manifests: readonly string[], captures: readonly string[], further: FurtherInputs = {}): Inputs {
  const reading = new Reading();
  const texts: (Text | LargeText)[] = [];
  const conntrackTexts: Text[] = [];
  const found: FoundDump[] = [];
  for (const path of new Set(manifests)) readPath(path, reading, texts, conntrackTexts, found);
  for (const argument of further.rules ?? []) readRules(argument, reading, found);
  const { facts: factTexts, manifests: manifestTexts } = splitFacts(texts);
  const read = readManifests(manifestTexts);
  reading.problems.push(...read.problems);
  // In whatever order the files were named.
  reading.problems.sort(byPlace);
  if (Object.values(read.objects).every((objects) => objects.length === 0) && reading.unreadable === 0 && manifests.length > 0) {
    reading.unusable(manifests[0], "no Kubernetes object could be read here; expected manifests as `kubectl get -o yaml` prints them");
  }
  const { objects, problems: madeUp } = further.synthetic === false ? { objects: read.objects, problems: [] } : withSynthetic(read.objects);
  reading.problems.push(...madeUp);
  const nodes = objects.nodes.map((node) => node.name);
  const facts = readFacts(factTexts, nodes, objects, reading.problems);
  const conntrack = readConntrack(conntrackTexts, nodes, reading.problems);
  // Archives among the captures hold rules too.
  const named = captures.flatMap((argument) => capturesOf(argument, nodes, reading, found));
  const dumps = dumpsByNode(found, nodes, (file) => nodeOf(file, nodes), (file, what) => reading.unusable(file, what));
  return {
    objects, facts, conntrack, dumps, captures: named,
    problems: reading.problems, unreadable: reading.unreadable,
  };
}

/** What went wrong so far. */
class Reading {
  readonly problems: Problem[] = [];
  unreadable = 0;

  unusable(file: string, what: string): void {
    this.problems.push({ where: { file, line: 0 }, severity: "error", what });
    this.unreadable++;
  }
}

/**
 * Adds the texts of a file, or of the manifests, conntrack entries and dumps in a folder. Their names stand in every output beside a
 * line: what a terminal or a reader of lines obeys is taken out of them here.
 */
function readPath(path: string, reading: Reading, texts: (Text | LargeText)[], conntrack: Text[], found: FoundDump[]): void {
  const listed = path === "-" ? { folder: false, files: ["-"], failures: [] } : list(path);
  for (const failure of listed.failures) reading.unusable(failure.file, failure.what);
  const named = listed.files.filter((file) => !listed.folder || CONNTRACK_NAME.test(file) || MANIFEST_NAME.test(file)
    || DUMP_NAME.test(file) || ZIP_NAME.test(file));
  const wanted = isSysdump(named) ? named.filter(isSysdumpObject) : named;
  if (wanted.length === 0 && listed.failures.length === 0) {
    reading.unusable(path, "no manifest in this folder; expected *.yaml, *.yml or *.json");
  }
  for (const file of wanted) {
    if (ZIP_NAME.test(file)) {
      addZip(file, reading, texts);
      continue;
    }
    const read = readTextOrChunks(file, (what) => reading.problems.push({ where: { file, line: 0 }, severity: "error", what }));
    if ("what" in read) reading.unusable(file, read.what);
    else if ("chunks" in read) {
      if (MANIFEST_HEAD.test(read.head)) texts.push({ name: printable(file), chunks: read.chunks });
      else if (!listed.folder) reading.unusable(file, "this is no list of objects, and too large for anything else that is read here");
    } else if (isLeftEmpty(file, read.text)) {
      reading.problems.push({ where: { file, line: 0 }, severity: "warning",
        what: "the file is empty, as where the command that was to fill it failed; nothing is known from it" });
    } else if (addDumps(file, read.text, null, reading, found)) continue;
    else if (listed.folder && !CONNTRACK_NAME.test(file) && !MANIFEST_NAME.test(file)) continue;
    else if (read.text.slice(0, 4096).includes("\0")) {
      reading.unusable(file, `this is binary, not a manifest${CAPTURE_NAME.test(file) ? "; captures are given with -r" : ""}`);
    } else (CONNTRACK_NAME.test(file) ? conntrack : texts).push({ name: printable(file), text: read.text });
  }
}

function byPlace({ where: one }: Problem, { where: other }: Problem): number {
  const [file, next] = [one?.file ?? "", other?.file ?? ""];
  return file < next ? -1 : file > next ? 1 : (one?.line ?? 0) - (other?.line ?? 0);
}

/** A template may come to nothing, a node have no sets, and nothing happen while events are recorded; other commands say something. */
function isLeftEmpty(file: string, text: string): boolean {
  return text.trim() === "" && !/\.(ya?ml|ipset|ct-events\.txt)$/i.test(file) && file !== "-";
}

/** The objects in a zip: of a sysdump, or a packed folder of manifests. */
function addZip(file: string, reading: Reading, texts: (Text | LargeText)[]): void {
  const read = readZip(file, isSysdumpObject);
  if ("what" in read) {
    reading.unusable(file, read.what);
    return;
  }
  if (read.files.length === 0) reading.unusable(file, "no manifest in this archive; expected a cilium sysdump, or *.yaml");
  for (const { name, bytes } of read.files) {
    const text = textOrChunks(bytes);
    const called = printable(`${file}/${name}`);
    texts.push("text" in text ? { name: called, text: text.text } : { name: called, chunks: text.chunks });
  }
}

/** Whether the text is a dump; what cannot be used of one is said. */
function addDumps(file: string, text: string, node: string | null, reading: Reading, found: FoundDump[]): boolean {
  const { dumps, problems, refused } = findDumps(file, text, node);
  found.push(...dumps);
  reading.problems.push(...problems);
  if (refused !== null) reading.unusable(file, refused);
  return dumps.length > 0 || refused !== null;
}

/** The dumps that one `--rules` names. */
function readRules(argument: string, reading: Reading, found: FoundDump[]): void {
  const { said, path } = splitNode(argument);
  const listed = path === "-" ? { files: ["-"], failures: [] } : list(path);
  for (const failure of listed.failures) reading.unusable(failure.file, failure.what);
  for (const file of listed.files) {
    if (ARCHIVE_NAME.test(file)) {
      addArchive(file, said === "" ? null : said, reading, found);
      continue;
    }
    const read = readText(file);
    if ("what" in read) reading.unusable(file, read.what);
    else if (!addDumps(file, read.text, said === "" ? null : said, reading, found)) {
      reading.unusable(file, "no rules or sets of a node; expected what iptables-save, ip6tables-save or ipset save prints");
    }
  }
}

/** The captures of an archive; its rules are added to the dumps found. */
function addArchive(file: string, node: string | null, reading: Reading, found: FoundDump[]): readonly TarFile[] {
  const archive = readArchive(file);
  if ("what" in archive) {
    reading.unusable(file, archive.what);
    return [];
  }
  if (archive.damage !== null) {
    reading.problems.push({ where: { file, line: 0 }, severity: "error", what: `${archive.damage}; what came before was used` });
  }
  for (const { name, text } of archive.rules) addDumps(`${file}/${name}`, text, node, reading, found);
  if (archive.captures.length + archive.rules.length === 0) {
    reading.unusable(file, "no capture and no rules in this archive; expected *.pcap and iptables-rules.txt, as in Retina's");
  }
  return archive.captures;
}

/** `[node=]path`; a path that has an equals sign itself is a path. */
export function splitNode(argument: string): { said: string; path: string } {
  const equals = argument.indexOf("=");
  const said = equals > 0 && !existsSync(argument) ? argument.slice(0, equals) : "";
  return { said, path: said === "" ? argument : argument.slice(equals + 1) };
}

/** The captures that one `-r` names. */
function capturesOf(argument: string, nodes: readonly string[], reading: Reading, found: FoundDump[]): NamedCapture[] {
  const { said, path } = splitNode(argument);
  const colon = said.indexOf(":");
  const nodeSaid = colon < 0 ? said : said.slice(0, colon);
  const device = colon < 0 ? "" : said.slice(colon + 1);
  if (path === "-") {
    reading.unusable(path, "a capture is not read from standard input; name a file");
    return [];
  }
  const listed = list(path);
  for (const failure of listed.failures) reading.unusable(failure.file, failure.what);
  const files = listed.files.filter((file) => !listed.folder || CAPTURE_NAME.test(file) || ARCHIVE_NAME.test(file));
  if (files.length === 0 && listed.failures.length === 0) {
    reading.unusable(path, "no capture in this folder; expected *.pcap, *.pcapng or *.cap, or these with .gz");
  }
  return files.flatMap((file): NamedCapture[] => {
    const node = nodeSaid !== "" ? nodeSaid : (ARCHIVE_NAME.test(file) ? archiveNode(file, nodes) : null) ?? nodeOf(file, nodes);
    const failure = openFailure(file) ?? nodeFailure(file, node, nodes);
    if (failure !== null) reading.unusable(file, failure.what);
    if (failure !== null || node === null) return [];
    if (ARCHIVE_NAME.test(file)) {
      return addArchive(file, node, reading, found)
        .map(({ name, bytes }) => ({ file: `${file}/${name}`, node, device, chunks: [bytes][Symbol.iterator](),
          again: () => [bytes][Symbol.iterator]() }));
    }
    return [{ file, node, device, chunks: fileChunks(file, (what) => {
      reading.problems.push({ where: { file, line: 0 }, severity: "error", what });
    // What is damaged is said where the packets are read.
    }), again: () => fileChunks(file, () => {}) }];
  });
}

export function nodeFailure(file: string, node: string | null, nodes: readonly string[], option = "-r"): { what: string } | null {
  if (node !== null && nodes.includes(node)) return null;
  if (nodes.length === 0) return { what: "the manifests hold no Node object, and a capture belongs to a node" };
  const known = `${nodes.slice(0, 8).join(", ")}${nodes.length > 8 ? ", …" : ""}`;
  return node !== null ? { what: `no node ${node} in the manifests; the nodes are ${known}` }
    : { what: `which node it was taken on is not known; name it, as in ${option} ${nodes[0]}=${file}; the nodes are ${known}` };
}

/** `ip -j` output is JSON whose entries have an ifindex or a route's dst, or the lab's one object of all of them. */
function splitFacts(texts: readonly (Text | LargeText)[]): { facts: Text[]; manifests: (Text | LargeText)[] } {
  const facts: Text[] = [];
  const manifests: (Text | LargeText)[] = [];
  for (const text of texts) {
    if ("chunks" in text) {
      manifests.push(text);
      continue;
    }
    const head = text.text.slice(0, 400);
    const isFacts = FACTS_LIST.test(head) || FACTS_OBJECT.test(head) || text.name.endsWith(".sysctl");
    const isOther = /\.(ifmap|case)\.json$|(^|\/)(case|meta)\.json$/.test(text.name);
    if (isFacts) facts.push(text);
    else if (!isOther) manifests.push(text);
  }
  return { facts, manifests };
}

function readFacts(texts: readonly Text[], nodes: readonly string[], objects: ManifestObjects,
  problems: Problem[]): Map<string, NodeFacts> {
  const facts = new Map<string, NodeFacts>();
  for (const [node, list] of byNode(texts, nodes, "node facts", problems)) {
    const read = readNodeFacts(list, node, objects);
    problems.push(...read.problems);
    if (read.facts !== null) facts.set(node, read.facts);
  }
  return facts;
}

function readConntrack(texts: readonly Text[], nodes: readonly string[], problems: Problem[]): Map<string, ConntrackFlow[]> {
  const conntrack = new Map<string, ConntrackFlow[]>();
  for (const [node, list] of byNode(texts, nodes, "conntrack entries", problems)) {
    const flows: ConntrackFlow[] = [];
    for (const text of list) {
      const read = readConntrackFlows(text);
      problems.push(...read.problems);
      flows.push(...read.flows);
    }
    conntrack.set(node, flows);
  }
  return conntrack;
}

function byNode(texts: readonly Text[], nodes: readonly string[], what: string, problems: Problem[]): Map<string, Text[]> {
  const grouped = new Map<string, Text[]>();
  for (const text of texts) {
    const node = nodeOf(text.name, nodes);
    if (node === null) {
      problems.push({ where: { file: text.name, line: 0 }, severity: "error",
        what: `${what} of an unknown node are not used; expected a file name that begins with a node's name` });
      continue;
    }
    grouped.set(node, [...(grouped.get(node) ?? []), text]);
  }
  return grouped;
}

/** The node whose name begins the file's name (the longest such), or the only node. */
export function nodeOf(file: string, nodes: readonly string[]): string | null {
  const name = basename(file);
  const found = nodes.filter((node) => name === node || (name.startsWith(node) && !/[\w-]/.test(name[node.length])))
    .sort((a, b) => b.length - a.length);
  return found[0] ?? (nodes.length === 1 ? nodes[0] : null);
}
