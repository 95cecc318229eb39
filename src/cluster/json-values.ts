/**
 * Finds the values in a JSON text without parsing them: each value at the top (kubectl accepts several in a
 * row), and for a value with a list called `items` at its top level, each item. The caller parses the slices
 * one by one, so a damaged item costs that item only, and a dump of any size needs little memory beside its
 * text.
 *
 * The scan knows strings and brackets only; whether a slice is JSON is for JSON.parse to say.
 */

export interface JsonSlice {
  readonly start: number;
  /** One past the last character. */
  readonly end: number;
}

export interface JsonValueSlice extends JsonSlice {
  /** Slices of the items, null where there is no top-level `items` list. */
  readonly items: readonly JsonSlice[] | null;
  /** Offsets just after the `[` and at the `]` of `items`. */
  readonly itemsStart: number;
  readonly itemsEnd: number;
  /** The text ended inside the value; `items` holds the complete ones. */
  readonly cut: boolean;
}

export function* jsonValues(text: string): Generator<JsonValueSlice> {
  let at = skipSpace(text, 0);
  while (at < text.length) {
    const value = new ValueScan(text, at).run();
    yield value;
    at = skipSpace(text, value.end);
  }
}

class ValueScan {
  private depth = 0;
  private key = "";
  private itemsStart = -1;
  private itemsEnd = -1;
  private itemStart = -1;
  private readonly items: JsonSlice[] = [];

  constructor(private readonly text: string, private readonly start: number) {}

  run(): JsonValueSlice {
    const text = this.text;
    let at = this.start;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        at = this.string(at);
        continue;
      }
      if (code === 0x7b || code === 0x5b) this.open(code, at);
      else if (code === 0x7d || code === 0x5d) this.close(at);
      else if (code === 0x2c) this.separator(at);
      else if (this.depth === 2 && this.inItems() && code > 0x20 && this.itemStart < 0) this.itemStart = at;
      else if (this.depth === 0 && code <= 0x20) return this.result(at, false);
      at++;
      if (this.depth === 0 && (code === 0x7d || code === 0x5d)) return this.result(at, false);
    }
    return this.result(at, this.depth > 0);
  }

  /** Passes a string; remembers it as the key where it stands at the top level. */
  private string(at: number): number {
    const text = this.text;
    let end = at + 1;
    for (;;) {
      end = text.indexOf('"', end);
      if (end < 0) return text.length;
      let slashes = 0;
      while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
      if (slashes % 2 === 0) break;
      end++;
    }
    if (this.depth === 1) this.key = text.slice(at + 1, end);
    else if (this.depth === 2 && this.inItems() && this.itemStart < 0) this.itemStart = at;
    return end + 1;
  }

  private open(code: number, at: number): void {
    const isItems = this.depth === 1 && code === 0x5b && this.key === "items";
    if (isItems && this.itemsStart < 0) this.itemsStart = at + 1;
    else if (this.depth === 2 && this.inItems() && this.itemStart < 0) this.itemStart = at;
    this.depth++;
  }

  private close(at: number): void {
    this.depth--;
    if (this.depth === 1 && this.inItems()) {
      this.endItem(at);
      this.itemsEnd = at;
    }
  }

  private separator(at: number): void {
    if (this.depth === 2 && this.inItems()) this.endItem(at);
  }

  private endItem(at: number): void {
    if (this.itemStart >= 0) this.items.push({ start: this.itemStart, end: at });
    this.itemStart = -1;
  }

  private inItems(): boolean {
    return this.itemsStart >= 0 && this.itemsEnd < 0;
  }

  private result(end: number, cut: boolean): JsonValueSlice {
    const items = this.itemsStart < 0 ? null : this.items;
    return { start: this.start, end, items, itemsStart: this.itemsStart, itemsEnd: this.itemsEnd, cut };
  }
}

function skipSpace(text: string, at: number): number {
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}
