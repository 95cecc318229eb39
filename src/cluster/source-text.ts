/**
 * A file's text, and the line of any offset in it. Lines are counted by line feeds, from 1.
 */
import type { Where } from "./problem.js";

export interface NamedText {
  /** The file as the user named it. */
  readonly name: string;
  readonly text: string;
  /** Line of the file in which the text begins; 1 by default. */
  readonly firstLine?: number;
}

export class SourceText {
  readonly name: string;
  private readonly firstLine: number;
  readonly text: string;
  private starts: Uint32Array | null = null;

  constructor(source: NamedText) {
    this.name = source.name;
    this.firstLine = source.firstLine ?? 1;
    this.text = source.text.startsWith("\ufeff") ? source.text.slice(1) : source.text;
  }

  where(offset: number): Where {
    return { file: this.name, line: this.line(offset) };
  }

  line(offset: number): number {
    this.starts ??= lineStarts(this.text);
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low + this.firstLine;
  }
}

function lineStarts(text: string): Uint32Array {
  let count = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  const starts = new Uint32Array(count);
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts[line++] = at + 1;
  return starts;
}
