/**
 * Splits a JSON text that comes in pieces into values: the elements of an array, or values in a row. Knows strings and
 * brackets only; whether a slice is JSON is for JSON.parse to say, so a damaged element costs that element. Holds one.
 */
export interface Elements {
  /** @param line that it begins in, from 1 @param index from 0 */
  element(text: string, line: number, index: number): void;
  damage(what: string, line: number): void;
}

/** Characters of one element at most; a query's result is one. */
const LONGEST = 1 << 27;

export class JsonElements {
  private depth = 0;
  private base = -1;
  private inString = false;
  private escaped = false;
  private line = 1;
  private index = 0;
  /** Of the pending element; 0: none. */
  private began = 0;
  private pending: string[] = [];
  private length = 0;
  private state: "open" | "closed" | "damaged" = "open";

  constructor(private readonly into: Elements) {}

  /** Text as it comes, line breaks included. */
  push(text: string): void {
    let from = 0;
    for (let at = 0; at < text.length && this.state !== "damaged"; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x0a) this.line++;
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (code === 0x5c) this.escaped = true;
        else if (code === 0x22) this.inString = false;
        continue;
      }
      if (code <= 0x20 || code === 0xfeff) continue;
      if (this.base < 0) {
        this.base = code === 0x5b ? 1 : 0;
        if (this.base === 1) {
          this.depth = 1;
          continue;
        }
      }
      if (this.state === "closed") {
        this.damage("found text behind the end of the array");
        return;
      }
      const isEnd = code === 0x5d || code === 0x7d;
      if (this.depth === this.base && this.base === 1 && (isEnd || code === 0x2c)) {
        this.end(text.slice(from, at));
        if (isEnd) this.state = "closed";
        continue;
      }
      if (this.began === 0) {
        this.began = this.line;
        from = at;
      }
      if (code === 0x22) this.inString = true;
      else if (code === 0x5b || code === 0x7b) this.depth++;
      else if (isEnd && --this.depth <= 0) {
        this.end(text.slice(from, at + 1));
        this.depth = 0;
      }
    }
    if (this.began === 0 || this.state === "damaged") return;
    this.pending.push(text.slice(from));
    this.length += text.length - from;
    if (this.length > LONGEST) this.damage(`found an element of more than ${LONGEST} characters`);
  }

  finish(): void {
    if (this.state === "open" && (this.began > 0 || this.base === 1)) this.damage("the text ends inside of JSON; cut off?");
  }

  private end(last: string): void {
    if (this.began > 0) this.into.element(this.pending.join("") + last, this.began, this.index++);
    this.began = 0;
    this.pending = [];
    this.length = 0;
  }

  private damage(what: string): void {
    this.into.damage(what, this.line);
    this.state = "damaged";
    this.pending = [];
  }
}
