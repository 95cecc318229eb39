/** A report's rows with what is accepted of them, and how many are left that count. */
import { type Acceptable, type Acceptance, acceptKnown, type AcceptedEntry, type AcceptedRow } from "./accepted.js";

export interface AcceptedInput {
  readonly entries: readonly AcceptedEntry[];
  /** `YYYY-MM-DD`. */
  readonly today: string;
}

type Named = Omit<Acceptable, "subject">;
type Limit = Pick<Acceptable, "id" | "subject"> & { readonly exceeded: boolean };
type Marked<Row> = Row & { readonly accepted?: Acceptance };

export interface AcceptedReport<F extends Named, L extends Limit> {
  readonly findings: readonly Marked<F>[];
  readonly limits: readonly Marked<L>[];
  /** null: no entries were given. */
  readonly summary: { readonly today: string; readonly entries: readonly AcceptedRow[] } | null;
  /** What no entry accepts, for the verdict. */
  readonly counted: { readonly findings: number; readonly unexplained: number; readonly limits: number };
}

const NO_ENDS = { source: "", destination: "", protocol: "", port: 0 } as const;

export function acceptRows<F extends Named, L extends Limit>(findings: readonly F[], limits: readonly L[], given: AcceptedInput | null)
  : AcceptedReport<F, L> {
  const { of, entries } = acceptKnown(
    [...findings.map((row) => ({ ...row, subject: "" })), ...limits.map(({ id, subject }) => ({ ...NO_ENDS, id, subject }))],
    given?.entries ?? [], given?.today ?? "");
  const marked = <Row extends object>(row: Row, index: number): Marked<Row> =>
    ({ ...row, ...(of[index] === null ? {} : { accepted: of[index] }) });
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
