/** What is modelled of a profile, as text. Computes nothing. */

/** The part of a profile's support that is printed; src/ebpf/support.ts makes it. */
export interface SupportReport {
  readonly profile: string;
  readonly version: string;
  readonly recorded: string;
  readonly ships: string | null;
  readonly options: readonly { readonly name: string; readonly value: unknown; readonly grade: string; readonly source: string;
    readonly state: string; readonly limits: string }[];
  readonly reasons: readonly { readonly name: string; readonly code: number; readonly status: string; readonly why: string;
    readonly story: string | null }[];
  readonly undecided: readonly { readonly name: string; readonly meaning: string }[];
  readonly policies: readonly { readonly kind: string; readonly read: string }[];
}

const STATUSES: readonly (readonly [status: string, title: string])[] = [
  ["modelled", "Drop reasons that are modelled, each with a story that shows it"],
  ["guard", "Drop reasons that no packet of a capture brings about"],
  ["undecided", "Drop reasons of what is undecided"],
  ["absent", "Drop reasons that cannot arise in what is emulated"],
];

export function renderSupport(support: SupportReport): string {
  const ships = support.ships === null ? "" : `; it ships ${support.ships}`;
  const lines = [`${support.profile}: Cilium ${support.version}, behaviour recorded of ${support.recorded}${ships}`, ""];
  lines.push("Options", ...table(support.options.map(({ name, value, grade, state, source }) => (
    [name, valueText(value), grade, state, source]))), "");
  const limited = support.options.filter((one) => one.limits !== "");
  if (limited.length > 0) {
    lines.push("Options of which some values leave packets undecided, and which packets",
      ...table(limited.map((one) => [one.name, one.limits])), "");
  }
  for (const [status, title] of STATUSES) {
    const rows = support.reasons.filter((one) => one.status === status);
    if (rows.length === 0) continue;
    lines.push(`${title} (${rows.length})`, ...table(rows.map((one) => [String(one.code), one.name, one.story ?? one.why])), "");
  }
  lines.push("What makes a packet undecided", ...table(support.undecided.map((one) => [one.name, one.meaning])), "");
  lines.push("Policy objects", ...table(support.policies.map((one) => [one.kind, one.read])));
  return `${lines.join("\n")}\n`;
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.join("-");
  return value === "" ? '""' : String(value);
}

/** Columns as wide as their widest cell; the last as it is. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((wide, row) => row.map((cell, at) => Math.max(wide[at] ?? 0, cell.length)), []);
  return rows.map((row) => `  ${row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at]))).join("  ")}`.trimEnd());
}
