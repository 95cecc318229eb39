/**
 * Reads the kernel's connection tracking table and its events as conntrack-tools print them:
 * `conntrack -E -o timestamp,extended,id` and `conntrack -L`, with or without `-o extended,id`.
 *
 *   [1795357819.041554]  [NEW] ipv4 2 tcp 6 120 SYN_SENT src=… dst=… sport=… dport=… [UNREPLIED] src=… … id=…
 *    time, seconds       event  family proto  timeout state   original tuple                 reply tuple
 *
 * A line that cannot be read is a Problem; the others are used. The time of an event is when the tool read
 * it, which under load is some hundred milliseconds after it happened; events are lost under load; an id
 * comes back.
 *
 * Source: conntrack-tools, and libnetfilter_conntrack src/conntrack/snprintf_default.c.
 */
import { type Address, type Family, parseAddress } from "./address.js";
import type { Problem } from "./problem.js";
import type { NamedText } from "./source-text.js";

export interface ConntrackTuple {
  readonly source: Address;
  readonly destination: Address;
  /** Host order; for ICMP 0. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Query type, code and identifier; null for other protocols. */
  readonly icmp: { readonly type: number; readonly code: number; readonly id: number } | null;
}

export interface ConntrackFlow {
  /** ns since the Unix epoch (the tool gives microseconds); null in a listing. */
  readonly timeNs: bigint | null;
  /** null: a line of a listing. */
  readonly event: "NEW" | "UPDATE" | "DESTROY" | null;
  readonly family: Family;
  /** IP protocol number. */
  readonly protocol: number;
  /** Seconds left; null where the line has none (entries that ran out). */
  readonly timeoutSeconds: number | null;
  /** `ESTABLISHED`, `CLOSED` …; empty for protocols without states. */
  readonly state: string;
  readonly original: ConntrackTuple;
  readonly reply: ConntrackTuple;
  readonly unreplied: boolean;
  readonly assured: boolean;
  /** A DESTROY asked for by a process (`conntrack -D`, kube-proxy), not by a timer or the kernel. */
  readonly byUserspace: boolean;
  readonly id: number | null;
  /** Zone of the entry or of one of its directions; 0: the default zone of both. */
  readonly zone: number;
  /** 1-based line of the text. */
  readonly line: number;
}

export interface ConntrackFlows {
  readonly flows: readonly ConntrackFlow[];
  readonly problems: readonly Problem[];
}

const EVENTS = ["NEW", "UPDATE", "DESTROY"] as const;
const TUPLE_KEYS = new Set(["src", "dst", "sport", "dport", "type", "code"]);

export function readConntrackFlows(source: NamedText): ConntrackFlows {
  const flows: ConntrackFlow[] = [];
  const problems: Problem[] = [];
  source.text.split(/\r?\n/).forEach((text, index) => {
    // conntrack ends a listing with its version and a count.
    if (text.trim() === "" || text.startsWith("conntrack v")) return;
    const flow = readLine(text, index + 1);
    if (flow !== null) flows.push(flow);
    else problems.push({ where: { file: source.name, line: index + 1 }, severity: "error",
      what: "found a line that is no conntrack entry; expected the output of conntrack -E or conntrack -L "
        + "with two tuples of src and dst; the line is not used" });
  });
  return { flows, problems };
}

interface Head {
  /** null: the line does not name it. */
  readonly family: Family | null;
  readonly protocol: number;
  readonly timeoutSeconds: number | null;
  readonly state: string;
}

function readLine(text: string, line: number): ConntrackFlow | null {
  const words = text.trim().split(/\s+/);
  const time = /^\[(\d+)\.(\d{1,9})\s*\]$/.exec(words[0]);
  if (time !== null) words.shift();
  const event = EVENTS.find((one) => words[0] === `[${one}]`) ?? null;
  if (event !== null) words.shift();
  const head: string[] = [];
  while (words.length > 0 && !words[0].includes("=")) head.push(words.shift() as string);
  const entry = readHead(head);
  const body = readBody(words);
  if (entry === null || body === null) return null;
  const family = body.original.source.family;
  // A line without the extended columns does not name the family; the addresses do.
  if (entry.family !== null && entry.family !== family) return null;
  return {
    timeNs: time === null ? null : BigInt(time[1]) * 1_000_000_000n + BigInt(time[2].padEnd(9, "0")),
    event, ...entry, ...body, family, line,
    unreplied: text.includes("[UNREPLIED]"),
    assured: text.includes("[ASSURED]"),
    byUserspace: text.includes("[USERSPACE]"),
  };
}

/** `[ipv4 2] tcp 6 [120] [SYN_SENT]`. */
function readHead(words: readonly string[]): Head | null {
  const named = words[0] === "ipv4" ? 4 : words[0] === "ipv6" ? 6 : null;
  const rest = named === null ? words : words.slice(2);
  const [, protocolText, third, fourth] = rest;
  if (protocolText === undefined || !/^\d{1,3}$/.test(protocolText)) return null;
  const timeout = third !== undefined && /^\d+$/.test(third) ? Number(third) : null;
  const state = (timeout === null ? third : fourth) ?? "";
  return { family: named, protocol: Number(protocolText), timeoutSeconds: timeout, state };
}

function readBody(words: readonly string[]): Pick<ConntrackFlow, "original" | "reply" | "id" | "zone"> | null {
  const tuples: Map<string, string>[] = [];
  let entryId: number | null = null;
  let zone = 0;
  for (const word of words) {
    const equals = word.indexOf("=");
    if (equals < 0) continue;
    const key = word.slice(0, equals);
    const value = word.slice(equals + 1);
    if (key === "src") tuples.push(new Map());
    const tuple = tuples.at(-1);
    if (tuple === undefined) continue;
    // An ICMP tuple has an id of its own; the entry's stands at the end of the line.
    const ofTuple = TUPLE_KEYS.has(key) || (key === "id" && tuple.has("type"));
    if (ofTuple && !tuple.has(key)) tuple.set(key, value);
    else if (key === "id") entryId = wholeNumber(value, 0xffffffff);
    else if (/^zone(-orig|-reply)?$/.test(key)) zone = wholeNumber(value, 0xffff) ?? zone;
  }
  if (tuples.length !== 2) return null;
  const original = readTuple(tuples[0]);
  const reply = readTuple(tuples[1]);
  if (original === null || reply === null || original.source.family !== reply.source.family) return null;
  return { original, reply, id: entryId, zone };
}

function readTuple(fields: ReadonlyMap<string, string>): ConntrackTuple | null {
  const source = parseAddress(fields.get("src") ?? "");
  const destination = parseAddress(fields.get("dst") ?? "");
  const sourcePort = wholeNumber(fields.get("sport") ?? "0", 0xffff);
  const destinationPort = wholeNumber(fields.get("dport") ?? "0", 0xffff);
  if (source === null || destination === null || source.family !== destination.family) return null;
  if (sourcePort === null || destinationPort === null) return null;
  if (!fields.has("type")) return { source, destination, sourcePort, destinationPort, icmp: null };
  const type = wholeNumber(fields.get("type") ?? "", 0xff);
  const code = wholeNumber(fields.get("code") ?? "", 0xff);
  const id = wholeNumber(fields.get("id") ?? "", 0xffff);
  if (type === null || code === null || id === null) return null;
  return { source, destination, sourcePort, destinationPort, icmp: { type, code, id } };
}

function wholeNumber(text: string, most: number): number | null {
  return /^\d{1,10}$/.test(text) && Number(text) <= most ? Number(text) : null;
}
