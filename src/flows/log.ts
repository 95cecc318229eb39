/**
 * A flow log's lines, told by the first of them: JSON flows (Hubble, Retina, Azure's events.log), rows of Azure's
 * container network logs as JSON or CSV; or one JSON text over many lines: an array of either (az monitor log-analytics
 * query), a query's result with tables. What a line is wrong about is a Problem with its number; the rest is used.
 */
import type { Problem } from "../cluster/problem.js";
import { Connections } from "./connections.js";
import { flowOfRow, isContainerNetworkLog, type Row } from "./container-network-log.js";
import { CsvRows } from "./csv.js";
import { readHubble } from "./hubble.js";
import { JsonElements } from "./json-elements.js";

/** Problems of one file that are listed; further ones are counted. */
const LISTED = 20;

export class FlowLog {
  /** Lines that were flows or what else a flow log holds. */
  used = 0;
  private line = 0;
  private bad = 0;
  private columns: readonly string[] | null = null;
  private readonly csv = new CsvRows();
  /** Line that the pending row of a CSV began in. */
  private rowLine = 0;
  private isCsv = false;
  /** Where the file is one JSON text. */
  private elements: JsonElements | null = null;

  constructor(private readonly file: string, private readonly into: Connections, private readonly problems: Problem[]) {}

  push(text: string): void {
    if (this.elements !== null) {
      this.elements.push(`${text}\n`);
      return;
    }
    this.line++;
    if (this.line === 1 || (this.used === 0 && this.bad === 0 && !this.isCsv)) {
      const head = text.replace(/^\ufeff/, "");
      if (head.trim() === "") return;
      if (this.begin(head)) {
        this.push(text);
        return;
      }
      this.isCsv = !/^\s*[[{]/.test(head) && head.includes(",");
      if (this.isCsv) {
        this.header(head);
        return;
      }
    }
    if (this.isCsv) this.row(text);
    else if (text.trim() !== "") this.json(text, this.line);
  }

  /** Part of a line that is too long to be held; false: it is none of a JSON text. */
  piece(text: string): boolean {
    if (this.elements === null && (this.used > 0 || this.bad > 0 || this.isCsv || !this.begin(text))) return false;
    this.elements?.push(text);
    return true;
  }

  /** A JSON value that begins in this line. @param at where in a text of many, such as `[3]: ` */
  value(value: unknown, line: number, at = ""): void {
    const tables = tablesOf(value);
    if (tables !== null) tables.forEach((table, index) => this.table(table, line, `${at}tables[${index}]`));
    else this.take(isRow(value) ? flowOfRow(value) : value, line, at);
  }

  finish(): void {
    this.elements?.finish();
    if (this.bad > LISTED) {
      this.problems.push({ where: { file: this.file, line: 0 }, severity: "error",
        what: `${this.bad - LISTED} further lines are no flows and are not used` });
    }
  }

  private begin(head: string): boolean {
    if (!isJsonText(head)) return false;
    const lines = this.line;
    this.elements = new JsonElements({
      element: (text, line, index) => this.json(text, Math.max(lines, 1) + line - 1, `[${index}]: `),
      damage: (what, line) => this.refuse(Math.max(lines, 1) + line - 1, `${what}; the rest of this file`),
    });
    return true;
  }

  /** A table of a query's result: names of columns, and rows of as many values. */
  private table(table: unknown, line: number, at: string): void {
    const { columns, rows } = (table ?? {}) as { readonly columns?: unknown; readonly rows?: unknown };
    const names = Array.isArray(columns) ? columns.map((one: { readonly name?: unknown } | null) => String(one?.name)) : [];
    if (!isContainerNetworkLog(names) || !Array.isArray(rows)) {
      this.refuse(line, `${at}: found no columns and rows of a container network log; expected Layer4, Verdict, SourcePodName …`);
      return;
    }
    rows.forEach((row: unknown, index) => {
      const place = `${at}.rows[${index}]: `;
      if (Array.isArray(row) && row.length === names.length) {
        this.take(flowOfRow(Object.fromEntries(names.map((name, column) => [name, row[column] as unknown]))), line, place);
      } else this.refuse(line, `${place}found ${Array.isArray(row) ? `${row.length} values` : "no list"}, expected ${names.length} values`);
    });
  }

  private json(text: string, line: number, at = ""): void {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.refuse(line, at === "" ? "found a line that is no JSON object; expected one flow a line, as hubble observe -o jsonpb prints them"
        : `${at}found no JSON; expected a flow or a row of a container network log`);
      return;
    }
    this.value(value, line, at);
  }

  private header(text: string): void {
    const columns = this.csv.push(text.replace(/\r$/, ""));
    if (columns === null || !isContainerNetworkLog(columns)) {
      this.refuse(this.line, "found no columns of a container network log; expected Layer4, Verdict, SourcePodName …");
      this.columns = [];
    } else this.columns = columns;
  }

  private row(text: string): void {
    if (this.columns === null || this.columns.length === 0) return;
    if (this.rowLine === 0) {
      if (text.trim() === "") return;
      this.rowLine = this.line;
    }
    const fields = this.csv.push(text.replace(/\r$/, ""));
    if (fields === null) return;
    const line = this.rowLine;
    this.rowLine = 0;
    if (fields.length !== this.columns.length) {
      this.refuse(line, `found ${fields.length} fields, expected ${this.columns.length} as in the first line`);
      return;
    }
    this.take(flowOfRow(Object.fromEntries(this.columns.map((column, index) => [column, fields[index]]))), line);
  }

  protected take(value: unknown, line: number, at = ""): void {
    const read = readHubble(value);
    if (read.kind === "bad") {
      this.refuse(line, `${at}${read.what}`);
      return;
    }
    this.used++;
    if (read.kind === "flow") this.into.add(read.flow, this.file, line);
    else if (read.kind === "lost") this.into.addLost(read.events);
    else this.into.addAside(read.why);
  }

  private refuse(line: number, what: string): void {
    if (++this.bad <= LISTED) this.problems.push({ where: { file: this.file, line }, severity: "error", what: `${what}; it is not used` });
  }
}

/**
 * Whether a file that begins with this line is one JSON text and no lines of JSON: an array of objects, an object over
 * many lines, a query's result. conntrack's lines begin with a time or an event in brackets.
 */
export function isJsonText(line: string): boolean {
  return /^\s*(\[\s*([{\]]|$)|\{\s*$|\{\s*"tables"\s*:)/.test(line);
}

function tablesOf(value: unknown): readonly unknown[] | null {
  const tables = (value as { readonly tables?: unknown } | null)?.tables;
  return Array.isArray(tables) ? tables : null;
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value) && isContainerNetworkLog(Object.keys(value));
}
