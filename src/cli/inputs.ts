/**
 * What a user names on the command line, read from the file system: manifests, node facts, rules, conntrack entries
 * and captures. A folder is searched; what a file is follows from its name and first bytes. What cannot be read is a
 * Problem; the rest is used.
 *
 *     *.yaml *.yml *.json    manifests, or a node's `ip -j` output by its content (node1.net.json)
 *     *.pcap *.pcapng *.gz   captures, told by their magic, never by the name
 *     *.ct-events.txt *.conntrack   conntrack -E or -L of a node
 *
 * Which node a file is of: `-r node1=FILE` says it; else the node whose name the file name begins with; else the only
 * node there is.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { NodeFacts } from "../cluster/cluster.js";
import { type ConntrackFlow, readConntrackFlows } from "../cluster/conntrack-flow.js";
import { type ManifestObjects, readManifests } from "../cluster/manifests.js";
import { readNodeFacts } from "../cluster/node-facts.js";
import type { Problem } from "../cluster/problem.js";
import { fileChunks } from "./chunks.js";

export interface NamedCapture {
  readonly file: string;
  readonly node: string;
  readonly device: string;
  readonly chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
}

export interface Inputs {
  readonly objects: ManifestObjects;
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly conntrack: ReadonlyMap<string, readonly ConntrackFlow[]>;
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

const CAPTURE_NAME = /\.(pcap|pcapng|cap)(\.gz)?$/i;
const CONNTRACK_NAME = /\.(ct-events\.txt|conntrack)$/i;

export function readInputs(manifests: readonly string[], captures: readonly string[]): Inputs {
  const problems: Problem[] = [];
  let unreadable = 0;
  const missing = (file: string, what: string): void => {
    problems.push({ where: { file, line: 0 }, severity: "error", what });
    unreadable++;
  };
  const texts: Text[] = [];
  const conntrackTexts: Text[] = [];
  for (const path of manifests) {
    if (path === "-") texts.push({ name: "-", text: readFileSync(0, "utf8") });
    else if (!existsSync(path)) missing(path, "no such file or folder; expected manifests");
    else for (const file of filesIn(path)) sortFile(file, statSync(path).isFile(), texts, conntrackTexts);
  }
  const { facts: factTexts, manifests: manifestTexts } = splitFacts(texts);
  const read = readManifests(manifestTexts);
  problems.push(...read.problems);
  const nodes = read.objects.nodes.map((node) => node.name);
  const facts = readFacts(factTexts, nodes, read.objects, problems);
  const conntrack = readConntrack(conntrackTexts, nodes, problems);
  const named: NamedCapture[] = [];
  for (const argument of captures) {
    const equals = argument.indexOf("=");
    const said = equals > 0 && !existsSync(argument) ? argument.slice(0, equals) : "";
    const path = said === "" ? argument : argument.slice(equals + 1);
    if (!existsSync(path)) {
      missing(path, "no such file or folder; expected a capture");
      continue;
    }
    const files = statSync(path).isDirectory() ? filesIn(path).filter((file) => CAPTURE_NAME.test(file)) : [path];
    if (files.length === 0) missing(path, "no capture in this folder; expected *.pcap or *.pcapng");
    for (const file of files) {
      const [nodeSaid, device = ""] = said.split(":");
      const node = nodeSaid !== "" ? nodeSaid : nodeOf(file, nodes);
      if (node === null || !nodes.includes(node)) {
        missing(file, nodes.length === 0 ? "the manifests hold no Node object; a capture belongs to a node"
          : `which node it was taken on is not known; name it: -r ${nodes[0]}=${file} (nodes: ${nodes.slice(0, 8).join(", ")})`);
        continue;
      }
      named.push({ file, node, device, chunks: fileChunks(file, (what) => {
        problems.push({ where: { file, line: 0 }, severity: "error", what });
      }) });
    }
  }
  return { objects: read.objects, facts, conntrack, captures: named, problems, unreadable };
}

/** Files of a folder and its folders, sorted; a file is itself. */
function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().filter((name) => !name.startsWith(".") && name !== "node_modules")
    .flatMap((name) => filesIn(join(path, name)));
}

function sortFile(file: string, named: boolean, texts: Text[], conntrack: Text[]): void {
  if (CONNTRACK_NAME.test(file)) conntrack.push({ name: file, text: readFileSync(file, "utf8") });
  else if (/\.(ya?ml|json)$/i.test(file) || (named && !CAPTURE_NAME.test(file))) {
    texts.push({ name: file, text: readFileSync(file, "utf8") });
  }
}

/** `ip -j` output is JSON whose entries have an ifindex or a route's dst, or the lab's one object of all of them. */
function splitFacts(texts: readonly Text[]): { facts: Text[]; manifests: Text[] } {
  const facts: Text[] = [];
  const manifests: Text[] = [];
  for (const text of texts) {
    const head = text.text.slice(0, 400);
    const isFacts = /^\s*\[\s*\{\s*"(ifindex|dst|type)"/.test(head) || /^\s*\{\s*"(link|addr|route4?)"\s*:\s*\[/.test(head);
    const isOther = /\.(ifmap|case)\.json$|(^|\/)(case|meta)\.json$/.test(text.name);
    if (isFacts) facts.push(text);
    else if (!isOther) manifests.push(text);
  }
  return { facts, manifests };
}

function readFacts(texts: readonly Text[], nodes: readonly string[], objects: ManifestObjects, problems: Problem[]): Map<string, NodeFacts> {
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
