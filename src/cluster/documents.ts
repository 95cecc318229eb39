/**
 * Splits a file into the objects in it: YAML documents, JSON values, and the items of lists, each with a way
 * to tell the line of any of its fields.
 *
 * A document that cannot be parsed is a Problem with its line; the others are still returned. In a JSON list
 * a damaged item costs that item only, and a text that ends early is used up to its end. Aliases that would
 * expand to very much more than the text (an alias bomb), or to themselves, are refused.
 */
import { constructFromEvents, EVENT_ID, type Event, getScalarValue, parseEvents, YAMLException }
  from "js-yaml";
import { jsonErrorOffset } from "./json-error.js";
import { jsonValues, type JsonSlice, type JsonValueSlice } from "./json-values.js";
import { pieces } from "./pieces.js";
import { Positions } from "./positions.js";
import type { Problem } from "./problem.js";
import { type NamedText, SourceText } from "./source-text.js";
import { KUBERNETES_SCHEMA } from "./yaml.js";

export interface ManifestItem {
  readonly value: unknown;
  readonly positions: Positions;
}

export interface Documents {
  readonly items: readonly ManifestItem[];
  readonly problems: readonly Problem[];
}

/** Alias nodes in a document; also bounds how deep aliases can nest. */
const MAX_ALIASES = 1000;
/** Values in an expanded document that has aliases; a real manifest has some thousands. */
const MAX_EXPANDED = 1_000_000;

export function readDocuments(named: NamedText): Documents {
  const source = new SourceText(named);
  const reader = new DocumentReader(source);
  if (!/^\s*\{/.test(source.text)) {
    reader.yaml();
    return reader;
  }
  reader.json();
  if (reader.items.length > 0 || reader.problems.length === 0) return reader;
  // `{a: b}` is YAML but no JSON.
  const asYaml = new DocumentReader(source);
  asYaml.yaml();
  return asYaml.problems.length === 0 ? asYaml : reader;
}

/** The same of a large text that comes in chunks, item by item. */
export function* readPieces(name: string, chunks: Iterable<string>): Generator<Documents> {
  for (const { text, firstLine, list, cut } of pieces(chunks)) {
    if (cut) {
      yield { items: [], problems: [{ where: { file: name, line: firstLine }, severity: "error",
        what: "the text ends inside the value that starts here; expected its closing bracket; what is complete is used" }] };
      continue;
    }
    const { items, problems } = readDocuments({ name, text, firstLine });
    // Texts cut out of a document hold on to all of it.
    yield { problems, items: items.map(({ value, positions }) => ({ value: structuredClone(withListKind(value, list)), positions })) };
  }
}

class DocumentReader implements Documents {
  readonly items: ManifestItem[] = [];
  readonly problems: Problem[] = [];

  constructor(private readonly source: SourceText) {}

  // ---- YAML ----

  yaml(): void {
    const { text } = this.source;
    for (const [start, end] of yamlDocuments(text)) this.document(start, text.slice(start, end));
  }

  private document(base: number, text: string): void {
    let events: Event[];
    try {
      events = parseEvents(text, {});
    } catch (thrown) {
      this.yamlProblem(thrown, base);
      return;
    }
    const values = this.construct(events, text, base);
    const starts = documentStarts(events);
    for (let index = 0; index < values.length; index++) {
      const value = values[index];
      if (value === null || value === undefined) continue;
      this.add(value, text, base, events, starts[index] + 1);
    }
  }

  private construct(events: Event[], text: string, base: number): unknown[] {
    const options = { source: text, schema: KUBERNETES_SCHEMA, maxAliases: MAX_ALIASES };
    let values: unknown[];
    try {
      values = constructFromEvents(events, options);
    } catch (thrown) {
      const repeated = thrown instanceof YAMLException && thrown.reason === "duplicated mapping key";
      this.yamlProblem(thrown, base, repeated);
      if (!repeated) return [];
      try {
        values = constructFromEvents(events, { ...options, json: true });
      } catch (again) {
        this.yamlProblem(again, base);
        return [];
      }
    }
    if (!events.some((event) => event.type === EVENT_ID.ALIAS) || values.every(isBounded)) return values;
    this.problems.push({ where: this.source.where(base + startOf(events[1])), severity: "error",
      what: "the aliases of this document expand to themselves or to more than a million values; "
        + "expected a document that expands to a manifest; it is not used" });
    return [];
  }

  private yamlProblem(thrown: unknown, base: number, repeated = false): void {
    // js-yaml documents that it may throw other errors for what the text contains.
    const reason = thrown instanceof YAMLException ? thrown.reason : (thrown as Error).message;
    const offset = base + (thrown instanceof YAMLException ? thrown.mark?.position ?? 0 : 0);
    this.problems.push(repeated
      ? { where: this.source.where(offset), severity: "warning",
        what: "a key stands twice in this mapping; expected each key once; the last one is used" }
      : { where: this.source.where(offset), severity: "error",
        what: `${reason}; expected YAML; the document is not used` });
  }

  /** Adds a document, or the items of a list document, with their places. */
  private add(value: unknown, text: string, base: number, events: readonly Event[], first: number): void {
    const start = base + startOf(events[first]);
    const list = listItems(value) ?? this.cutList(value, base + text.length);
    if (list === null) {
      this.items.push({ value, positions: new Positions(this.source, text, base, start, events, first) });
      return;
    }
    const starts = itemStarts(events, first, text);
    list.forEach((item, index) => {
      const at = starts[index] ?? first;
      const itemStart = starts[index] === undefined ? start : base + startOf(events[at]);
      const positions = new Positions(this.source, text, base, itemStart, events, at);
      this.push(item, positions);
    });
  }

  /** The items of a list at the text's end that lacks its kind, which kubectl writes behind them; the last may be there in part. */
  private cutList(value: unknown, end: number): readonly unknown[] | null {
    const { items, kind } = value as { readonly items?: unknown; readonly kind?: unknown };
    if (kind !== undefined || !Array.isArray(items) || end < this.source.text.length) return null;
    this.problems.push({ where: this.source.where(this.source.text.length), severity: "error", what: "the text ends before `kind: List`,"
      + " which kubectl writes behind the items, so it was cut off; the last item, which may lack a part, is not used" });
    return items.slice(0, -1);
  }

  /** A list may hold lists; their items keep the inner list's place. */
  private push(value: unknown, positions: Positions): void {
    const pending: unknown[] = [value];
    for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
      const inner = listItems(item);
      if (inner === null) this.items.push({ value: item, positions });
      else pending.push(...inner.toReversed().filter((one) => one !== undefined));
    }
  }

  // ---- JSON ----

  json(): void {
    for (const slice of jsonValues(this.source.text)) {
      if (slice.items === null) this.jsonValue(slice, slice.cut, null);
      else this.jsonList(slice, slice.items);
    }
  }

  private jsonList(slice: JsonValueSlice, items: readonly JsonSlice[]): void {
    const text = this.source.text;
    const shell = slice.cut
      ? { kind: "List" }
      : tryJson(`${text.slice(slice.start, slice.itemsStart)}${text.slice(slice.itemsEnd, slice.end)}`);
    if (slice.cut) this.jsonEnds(slice);
    if (shell !== undefined && !isListKind(shell)) {
      this.jsonValue(slice, false, null);
      return;
    }
    if (shell === undefined) {
      this.problems.push({ where: this.source.where(slice.start), severity: "error",
        what: "what stands around the `items` of this list is no JSON; expected JSON; the items are used" });
    }
    for (const item of items) this.jsonValue(item, false, shell ?? null);
  }

  private jsonValue(slice: JsonSlice, cut: boolean, list: unknown): void {
    if (cut) {
      this.jsonEnds(slice);
      return;
    }
    const text = this.source.text.slice(slice.start, slice.end);
    let value = tryJson(text);
    if (value === undefined) {
      const offset = slice.start + Math.min(jsonErrorOffset(text), text.length - 1);
      this.problems.push({ where: this.source.where(offset), severity: "error",
        what: "what stands here is no JSON; expected JSON; the object is not used" });
      return;
    }
    if (list !== null) value = withListKind(value, list);
    this.push(value, new Positions(this.source, text, slice.start, slice.start, null, 0));
  }

  private jsonEnds(slice: JsonSlice): void {
    this.problems.push({ where: this.source.where(this.source.text.length), severity: "error",
      what: `the text ends inside the value that starts in line ${this.source.line(slice.start)}; expected `
        + "its closing bracket; what is complete is used" });
  }
}

/**
 * Start and end of each YAML document. `---` at the start of a line ends a document even inside a block
 * scalar (YAML 1.2, section 9.2), so no parser is needed to find it. Directives belong to the document after
 * them.
 */
function* yamlDocuments(text: string): Generator<[number, number]> {
  const marker = /^---(?=[ \t\r\n]|$)/gm;
  let start = 0;
  for (let match = marker.exec(text); match !== null; match = marker.exec(text)) {
    const piece = text.slice(start, match.index);
    if (/^%/m.test(piece) && /^(?:[ \t]*(?:#.*)?\r?\n|%.*\r?\n)*$/.test(piece)) continue;
    if (match.index > start) yield [start, match.index];
    start = match.index;
  }
  if (start < text.length) yield [start, text.length];
}

function documentStarts(events: readonly Event[]): number[] {
  const starts: number[] = [];
  events.forEach((event, index) => {
    if (event.type === EVENT_ID.DOCUMENT) starts.push(index);
  });
  return starts;
}

/** Event index of each item under the top-level key `items`. */
function itemStarts(events: readonly Event[], root: number, text: string): number[] {
  const starts: number[] = [];
  if (events[root].type !== EVENT_ID.MAPPING) return starts;
  let at = root + 1;
  while (events[at].type !== EVENT_ID.POP) {
    const key = events[at];
    const value = afterNode(events, at);
    const isItems = key.type === EVENT_ID.SCALAR && getScalarValue(text, key) === "items";
    if (isItems && events[value].type === EVENT_ID.SEQUENCE) {
      starts.length = 0;
      for (let item = value + 1; events[item].type !== EVENT_ID.POP; item = afterNode(events, item)) {
        starts.push(item);
      }
    }
    at = afterNode(events, value);
  }
  return starts;
}

function afterNode(events: readonly Event[], index: number): number {
  let depth = 0;
  do {
    const type = events[index].type;
    if (type === EVENT_ID.MAPPING || type === EVENT_ID.SEQUENCE) depth++;
    else if (type === EVENT_ID.POP) depth--;
    index++;
  } while (depth > 0);
  return index;
}

function startOf(event: Event): number {
  if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) return event.start;
  return event.type === EVENT_ID.SCALAR ? Math.max(0, event.valueStart) : 0;
}

function isListKind(value: unknown): value is { kind: string; apiVersion?: unknown } {
  const kind = (value as { kind?: unknown } | null)?.kind;
  return typeof kind === "string" && kind.endsWith("List");
}

function listItems(value: unknown): unknown[] | null {
  if (!isListKind(value)) return null;
  const items = (value as { items?: unknown }).items;
  if (items === undefined || items === null) return [];
  return Array.isArray(items) ? items.map((item) => withListKind(item, value)) : null;
}

/** Items of a typed list (`PodList` of the raw API) do not repeat kind and apiVersion. */
function withListKind(item: unknown, list: unknown): unknown {
  if (item === null || typeof item !== "object" || Array.isArray(item) || !isListKind(list)) return item;
  if (list.kind === "List" || "kind" in item) return item;
  return { kind: list.kind.slice(0, -"List".length), apiVersion: list.apiVersion, ...item };
}

/** undefined where the text is no JSON; JSON.parse's message is not passed on, since it quotes the text. */
function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether the value, with every alias written out, is a tree of at most MAX_EXPANDED values. */
function isBounded(value: unknown): boolean {
  const sizes = new Map<object, number>();
  const size = (one: unknown): number => {
    if (one === null || typeof one !== "object") return 1;
    const known = sizes.get(one);
    if (known !== undefined) return known;
    // Until it is known, an object inside itself is without end.
    sizes.set(one, Number.POSITIVE_INFINITY);
    let total = 1;
    for (const child of Object.values(one)) total += size(child);
    sizes.set(one, total);
    return total;
  };
  return size(value) <= MAX_EXPANDED;
}
