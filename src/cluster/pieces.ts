/**
 * Cuts a large dump into texts of one object each, as its chunks come, so that memory holds one object beside what is
 * made of the others: the items of a JSON or YAML list, or whole values and documents where there is no list. Each piece
 * can be read by itself, and knows the line it begins in.
 *
 * The cut knows brackets and strings, or indentation, and nothing else; whether a piece is JSON or YAML is for the
 * parser to say. An alias in one item of a YAML list to an anchor in another is lost by the cut, and the parser says so.
 */

export interface Piece {
  readonly text: string;
  /** 1-based line of the file. */
  readonly firstLine: number;
  /** Kind and API version of the list around it, as far as they stood before it; empty where unknown. */
  readonly list: { readonly kind: string; readonly apiVersion: string };
  /** The text ended inside it. */
  readonly cut: boolean;
}

const NO_LIST = { kind: "", apiVersion: "" };

/** @param arrays whether the items of an array at the top are pieces too */
export function* pieces(chunks: Iterable<string>, arrays = false): Generator<Piece> {
  let cutter: JsonPieces | YamlPieces | null = null;
  let head = "";
  for (const chunk of chunks) {
    if (cutter === null) {
      head += chunk;
      const first = head.search(/[^\s\ufeff]/);
      if (first < 0) continue;
      cutter = head[first] === "{" || (arrays && head[first] === "[") ? new JsonPieces(arrays) : new YamlPieces();
      yield* cutter.push(head.replace(/^\ufeff/, ""));
    } else yield* cutter.push(chunk);
  }
  if (cutter !== null) yield* cutter.end();
}

class JsonPieces {
  /** What is not handed on yet, and how far it was looked at. */
  private text = "";
  private at = 0;
  /** Line of `text`'s first character counted up to offset `counted`. */
  private line = 1;
  private counted = 0;
  private depth = 0;
  /** Where a string's end is looked for next; -1: not in a string. */
  private inString = -1;
  private start = -1;
  private key = "";
  private afterColon = false;
  private list = NO_LIST;
  /** Depth at which items stand; 0: none. */
  private itemDepth = 0;
  private hadItems = false;

  constructor(private readonly arrays: boolean) {}

  *push(chunk: string): Generator<Piece> {
    this.text += chunk;
    while (this.at < this.text.length) {
      if (this.inString >= 0 && !this.endString()) break;
      const code = this.text.charCodeAt(this.at);
      if (code === 0x22) {
        this.begin();
        this.inString = this.at + 1;
        continue;
      }
      if (code === 0x7b || code === 0x5b) this.open(code);
      else if (code === 0x7d || code === 0x5d) {
        const piece = this.close();
        if (piece !== null) yield piece;
      } else if (code === 0x2c) {
        if (this.depth === this.itemDepth && this.start >= 0 && this.itemDepth > 0) yield this.piece(this.at, false);
        if (this.depth === 1) this.afterColon = false;
      } else if (code === 0x3a) {
        if (this.depth === 1) this.afterColon = true;
      } else if (code > 0x20) this.begin();
      else if (this.depth === 0 && this.start >= 0) yield this.piece(this.at, false);
      this.at++;
    }
    this.drop();
  }

  *end(): Generator<Piece> {
    if (this.start >= 0) yield this.piece(this.text.length, this.depth > this.itemDepth || this.inString >= 0);
    else if (this.depth > 0) yield { text: "", firstLine: this.lineOf(this.at), list: this.list, cut: true };
  }

  /** Passes the string whose end is looked for; false: it is not there yet. */
  private endString(): boolean {
    let end = this.inString;
    for (;;) {
      end = this.text.indexOf('"', end);
      if (end < 0) {
        // A quote that comes next may be escaped by what ends here.
        this.inString = Math.max(this.at + 1, this.text.length);
        while (this.inString > this.at + 1 && this.text.charCodeAt(this.inString - 1) === 0x5c) this.inString--;
        return false;
      }
      let slashes = 0;
      while (this.text.charCodeAt(end - 1 - slashes) === 0x5c && end - 1 - slashes > this.at) slashes++;
      if (slashes % 2 === 0) break;
      end++;
    }
    if (this.depth === 1) this.topString(this.text.slice(this.at + 1, end));
    this.at = end + 1;
    this.inString = -1;
    return this.at < this.text.length;
  }

  private topString(text: string): void {
    if (!this.afterColon) this.key = text;
    else if (this.key === "kind") this.list = { ...this.list, kind: text };
    else if (this.key === "apiVersion") this.list = { ...this.list, apiVersion: text };
  }

  /** Something begins here that may be a piece. */
  private begin(): void {
    if (this.start < 0 && (this.depth === 0 ? this.itemDepth === 0 : this.depth === this.itemDepth)) this.start = this.at;
  }

  private open(code: number): void {
    const isList = this.list.kind === "" || this.list.kind.endsWith("List");
    const isItems = this.depth === 1 && code === 0x5b && this.key === "items" && this.afterColon && isList && !this.hadItems;
    if ((isItems || (this.arrays && this.depth === 0 && code === 0x5b)) && this.itemDepth === 0) {
      this.depth++;
      this.itemDepth = this.depth;
      this.hadItems = true;
      this.start = -1;
      return;
    }
    this.begin();
    this.depth++;
  }

  private close(): Piece | null {
    let piece: Piece | null = null;
    if (this.depth === this.itemDepth && this.itemDepth > 0) {
      if (this.start >= 0) piece = this.piece(this.at, false);
      this.itemDepth = 0;
    }
    this.depth = Math.max(0, this.depth - 1);
    if (this.depth > 0) return piece;
    if (this.start >= 0) piece = this.piece(this.at + 1, false);
    this.list = NO_LIST;
    this.hadItems = false;
    this.start = -1;
    return piece;
  }

  private piece(end: number, cut: boolean): Piece {
    const piece = { text: this.text.slice(this.start, end), firstLine: this.lineOf(this.start), list: this.list, cut };
    this.start = -1;
    return piece;
  }

  /** Line of an offset; offsets are asked for in order. */
  private lineOf(offset: number): number {
    for (let feed = this.text.indexOf("\n", this.counted); feed >= 0 && feed < offset; feed = this.text.indexOf("\n", feed + 1)) {
      this.line++;
    }
    this.counted = Math.max(this.counted, offset);
    return this.line;
  }

  private drop(): void {
    // Around the items of a list nothing is kept; while it may still turn out to be none, all is.
    const keep = this.start >= 0 ? this.start : this.at;
    this.lineOf(keep);
    this.text = this.text.slice(keep);
    this.at -= keep;
    this.counted -= keep;
    if (this.start >= 0) this.start = 0;
    if (this.inString >= 0) this.inString -= keep;
  }
}

class YamlPieces {
  private rest = "";
  private line = 0;
  private lines: string[] = [];
  private firstLine = 1;
  /** Column of the dashes of the list's items; -1: not among items. */
  private dash = -1;
  private inItems = false;

  *push(chunk: string): Generator<Piece> {
    const text = this.rest + chunk;
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      yield* this.take(text.slice(from, end));
      from = end + 1;
    }
    this.rest = text.slice(from);
  }

  *end(): Generator<Piece> {
    if (this.rest !== "") yield* this.take(this.rest);
    yield* this.flush();
  }

  private *take(line: string): Generator<Piece> {
    this.line++;
    if (/^---(?=[ \t\r]|$)/.test(line)) {
      yield* this.flush();
      this.inItems = false;
      this.dash = -1;
    }
    if (this.inItems) {
      const indent = line.search(/[^ ]/);
      const isDash = indent >= 0 && line[indent] === "-" && /^-(?=[ \t\r]|$)/.test(line.slice(indent));
      if (isDash && (this.dash < 0 || indent === this.dash)) {
        yield* this.flush();
        this.dash = indent;
        this.add(`${line.slice(0, indent)} ${line.slice(indent + 1)}`);
        return;
      }
      if (indent === 0 && !/^[#\r]/.test(line)) {
        yield* this.flush();
        this.inItems = false;
      }
    } else if (/^items:[ \t]*(#.*)?\r?$/.test(line)) {
      // What stood before it in the document are the list's own fields.
      this.lines = [];
      this.inItems = true;
      this.dash = -1;
      return;
    }
    this.add(line);
  }

  private add(line: string): void {
    if (this.lines.length === 0) this.firstLine = this.line;
    this.lines.push(line);
  }

  private *flush(): Generator<Piece> {
    const text = this.lines.join("\n");
    this.lines = [];
    // After its items a list has fields of its own, kind and metadata.
    const isShell = this.dash >= 0 && !this.inItems;
    if (!isShell && /\S/.test(text)) yield { text: `${text}\n`, firstLine: this.firstLine, list: NO_LIST, cut: false };
  }
}
