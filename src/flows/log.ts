/**
 * A flow log's lines, told by the first of them: JSON flows (Hubble, Retina, Azure's events.log), rows of Azure's
 * container network logs as JSON or CSV. What a line is wrong about is a Problem with its number; the rest is used.
 */
import type { Problem } from "../cluster/problem.js";
import { Connections } from "./connections.js";
import { flowOfRow, isContainerNetworkLog, type Row } from "./container-network-log.js";
import { CsvRows } from "./csv.js";
import { readHubble } from "./hubble.js";

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

  constructor(private readonly file: string, private readonly into: Connections, private readonly problems: Problem[]) {}

  push(text: string): void {
    this.line++;
    if (this.line === 1 || (this.used === 0 && this.bad === 0 && !this.isCsv)) {
      const head = text.replace(/^\ufeff/, "");
      if (head.trim() === "") return;
      this.isCsv = !/^\s*[[{]/.test(head) && head.includes(",");
      if (this.isCsv) {
        this.header(head);
        return;
      }
    }
    if (this.isCsv) this.row(text);
    else if (text.trim() !== "") this.json(text, this.line);
  }

  /** A JSON value that begins in this line. */
  value(value: unknown, line: number): void {
    this.take(isRow(value) ? flowOfRow(value) : value, line);
  }

  finish(): void {
    if (this.bad > LISTED) {
      this.problems.push({ where: { file: this.file, line: 0 }, severity: "error",
        what: `${this.bad - LISTED} further lines are no flows and are not used` });
    }
  }

  private json(text: string, line: number): void {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.refuse(line, "found a line that is no JSON object; expected one flow a line, as hubble observe -o jsonpb prints them");
      return;
    }
    this.value(value, line);
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

  private take(value: unknown, line: number): void {
    const read = readHubble(value);
    if (read.kind === "bad") {
      this.refuse(line, read.what);
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

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value) && isContainerNetworkLog(Object.keys(value));
}
