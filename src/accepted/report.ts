/** A report's rows with what is accepted of them, and how many are left that count. */
import type { FindingRow, LimitRow } from "../report/report.js";
import { acceptKnown, type AcceptedEntry, type AcceptedRow } from "./accepted.js";

export interface AcceptedInput {
  readonly entries: readonly AcceptedEntry[];
  /** `YYYY-MM-DD`. */
  readonly today: string;
}

export interface AcceptedReport {
  readonly findings: readonly FindingRow[];
  readonly limits: readonly LimitRow[];
  /** null: no entries were given. */
  readonly summary: { readonly today: string; readonly entries: readonly AcceptedRow[] } | null;
  /** What no entry accepts, for the verdict. */
  readonly counted: { readonly findings: number; readonly unexplained: number; readonly limits: number };
}

export function acceptRows(findings: readonly FindingRow[], limits: readonly LimitRow[], given: AcceptedInput | null): AcceptedReport {
  const none = { source: "", destination: "", protocol: "", port: 0, subject: "" };
  const { of, entries } = acceptKnown(
    [...findings.map((row) => ({ ...row, subject: "" })), ...limits.map(({ id, subject }) => ({ ...none, id, subject }))],
    given?.entries ?? [], given?.today ?? "");
  const marked = <Row>(row: Row, index: number): Row => (of[index] === null ? row : { ...row, accepted: of[index] });
  const rows = findings.map((row, index) => marked(row, index));
  const limitRows = limits.map((row, index) => marked(row, findings.length + index));
  const counted = rows.filter(({ accepted }) => accepted === undefined);
  return {
    findings: rows, limits: limitRows, summary: given === null ? null : { today: given.today, entries },
    counted: {
      findings: counted.length, unexplained: counted.filter(({ id }) => id === "UNEXPLAINED").length,
      limits: limitRows.filter(({ exceeded, accepted }) => exceeded && accepted === undefined).length,
    },
  };
}
