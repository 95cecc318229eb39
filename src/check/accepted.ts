/**
 * Rows of `check` held against accepted differences. A row of pairs stands for many ends, of which examples alone are named,
 * and alike services go by the name of one: an entry accepts it by its id everywhere or by the row's own name (`subject`),
 * never by an end, a protocol or a port. A flag of a service is that service's. Blockers are not accepted.
 */
import { type Acceptable, type Acceptance, acceptKnown } from "../accepted/accepted.js";
import type { AcceptedInput } from "../accepted/report.js";
import type { ChangeRow, CheckReport, FlagRow, HazardRow } from "../report/check.js";
import type { LimitRow } from "../report/report.js";

interface Rows {
  readonly changes: readonly ChangeRow[];
  readonly flags: readonly FlagRow[];
  readonly limits: readonly LimitRow[];
  readonly scaled: readonly LimitRow[];
  readonly hazards: readonly HazardRow[];
}

export interface AcceptedRows extends Rows {
  /** null: no entries were given. */
  readonly summary: CheckReport["accepted"];
}

export function acceptCheck(rows: Rows, given: AcceptedInput | null): AcceptedRows {
  if (given === null) return { ...rows, summary: null };
  const { changes, flags, limits, scaled, hazards } = rows;
  const { of, entries } = acceptKnown([
    ...changes.map(({ id, object }) => whole(id, object)),
    ...flags.map(({ id, object }) => ({ ...whole(id, object),
      destination: object.startsWith(SERVICE) ? `service ${object.slice(SERVICE.length)}` : "" })),
    ...[...limits, ...scaled].map((row) => whole(isNear(row) ? row.id : "", row.subject)),
    ...hazards.map(({ id }) => whole(id, "")),
  ], given.entries, given.today);
  let at = 0;
  const marked = <Row extends object>(list: readonly Row[]): (Row & { readonly accepted?: Acceptance })[] => list.map((row) => {
    const accepted = of[at++];
    return accepted === null ? row : { ...row, accepted };
  });
  return { changes: marked(changes), flags: marked(flags), limits: marked(limits), scaled: marked(scaled), hazards: marked(hazards),
    summary: { today: given.today, entries } };
}

const SERVICE = "Service ";
const NEAR = 0.8;

/** A limit that is far off asks for nothing, as in the report of a comparison. */
function isNear({ used, max }: LimitRow): boolean {
  return used >= max * NEAR;
}

/** What no scope about an end fits; ports begin at 0. */
function whole(id: string, subject: string): Acceptable {
  return { id, subject, source: "", destination: "", protocol: "", port: -1 };
}
