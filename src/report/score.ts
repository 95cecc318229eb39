/** Which predictions came true, as text. Prints data; computes nothing but layout. */
import type { Score, ScoreRow } from "../score/score.js";
import { printableData } from "./printable.js";
import { count } from "./report.js";

const WORDS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP" };

export function renderScore(given: Score): string {
  const score = printableData(given);
  const of = (outcome: ScoreRow["outcome"]): readonly ScoreRow[] => score.rows.filter((row) => row.outcome === outcome);
  const lines = [`${count(score.rows.length, "prediction")} held against ${count(score.connections, "connection")}:`
    + ` ${of("confirmed").length} confirmed, ${of("refuted").length} refuted, ${of("mixed").length} mixed,`
    + ` ${of("not seen").length} not seen`, ""];
  for (const outcome of ["refuted", "mixed", "confirmed", "not seen"] as const) {
    for (const row of of(outcome)) lines.push(...rowLines(row));
  }
  if (score.unnamed.length > 0) lines.push("", "Dropped, and no prediction named it:");
  for (const { source, destination, protocol, port, reason, connections } of score.unnamed) {
    lines.push(`  ${source} -> ${destination}${port > 0 ? `:${port}` : ""} ${WORDS[protocol] ?? `protocol ${protocol}`},`
      + ` ${count(connections, "connection")}${reason === "" ? "" : ` (${reason})`}`);
  }
  lines.push("", `exit code ${score.verdict.exitCode}: ${score.verdict.why}`);
  return `${lines.join("\n")}\n`;
}

function rowLines(row: ScoreRow): string[] {
  const port = row.port > 0 ? `:${row.port}` : "";
  const seen = row.outcome === "not seen" ? "" : `, ${row.as} as predicted, ${row.otherwise} otherwise`;
  const lines = [`${row.outcome.padEnd(9)}  ${row.id}  ${row.source} -> ${row.destination}${port} ${row.protocol}${seen}`,
    `           predicted: ${row.target}`];
  if (row.reasons.length > 0) lines.push(`           dropped for another reason: ${row.reasons.join(", ")}`);
  return lines;
}
