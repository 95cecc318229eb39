/** What renderers make of hostile texts: one text, plain data, JSON, lines. */
import { printable } from "../cluster/printable.js";

export { printable };

/** Those that JSON.stringify leaves as they are. */
const OBEYED_IN_JSON = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Plain data as JSON of several lines, every text of it exactly: what a terminal obeys is an escape that readers of JSON undo. */
export function jsonText(data: unknown): string {
  return `${JSON.stringify(data, null, 2).replace(OBEYED_IN_JSON, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

/** The same for a text of several lines, which stay lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** The same for every text in plain data. */
export function printableData<T>(data: T): T {
  if (typeof data === "string") return printable(data) as T;
  if (Array.isArray(data)) return data.map((one: unknown) => printableData(one)) as T;
  if (typeof data !== "object" || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, printableData(value)])) as T;
}
