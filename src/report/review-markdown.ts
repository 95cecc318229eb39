/**
 * A review as Markdown for a pull request: the connections added and removed, a row each, in the form people know from
 * np-guard's netpol-diff. Names, labels and file names are hostile input: nothing of theirs is markup here.
 */
import type { Review, ReviewRow } from "../review/report.js";
import { count, percent } from "./report.js";
import { causeText, placeText } from "./review.js";
import { entryWarnings } from "./text.js";

const ROWS = 50;

export function renderReviewMarkdown(review: Review): string {
  const { packets, verdict, rows, coverage } = review;
  const lines = [`### Network policy review: ${escapeMarkdown(verdict.why)}`, "",
    `${escapeMarkdown(review.before.join(" "))} → ${escapeMarkdown(review.after.join(" "))}, both on ${escapeMarkdown(review.profile)};`
      + ` ${count(packets.replayed, "packet")} of recorded traffic.`, ""];
  if (rows.length > 0) {
    lines.push("| diff-type | source | destination | before | after | flows | packets | made by |", "|---|---|---|---|---|---:|---:|---|");
    for (const row of rows.slice(0, ROWS)) lines.push(rowLine(row));
    if (rows.length > ROWS) lines.push("", `… and ${count(rows.length - ROWS, "more row")}.`);
    lines.push("");
  }
  if (review.notExercised.length > 0) {
    lines.push(`<details><summary>Changed, not exercised by this traffic: ${review.notExercised.length} of`
      + ` ${count(review.changed.length, "changed object")}</summary>`, "");
    for (const { change, kind, namespace, name, after, before } of review.notExercised) {
      const place = placeText(after ?? before);
      lines.push(`- ${change} ${escapeMarkdown(`${kind} ${namespace === "" ? name : `${namespace}/${name}`}${place}`)}`);
    }
    lines.push("", "</details>", "");
  }
  for (const { id, limit, subject, used, max, newly } of review.limits) {
    lines.push(`- limit ${escapeMarkdown(`${id}: ${limit} of ${subject} ${used} of ${max}`)}${newly ? " **newly exceeded**" : ""}`);
  }
  for (const { pod, before, after } of review.readdressed.slice(0, ROWS)) {
    lines.push(`- ${escapeMarkdown(`${pod} has ${after.join(", ")} after the change, and is judged as ${before.join(", ")}`)}`);
  }
  for (const line of review.accepted === null ? [] : entryWarnings(review.accepted)) lines.push(`- ${escapeMarkdown(line.trim())}`);
  const decided = packets.replayed === 0 ? 0 : 1 - packets.undecided / packets.replayed;
  const fates = review.flows?.fates ?? null;
  if (fates !== null && fates.otherwise > 0) {
    lines.push(`**${fates.otherwise} of ${count(fates.compared, "connection")}** fare otherwise before the change than the log tells:`
      + " the manifests are not those that were in force when it was recorded.", "");
  }
  lines.push(`${percent(decided)} of the packets were decided (${packets.undecided} undecided); ${coverage.policy.exercised} of`
    + ` ${coverage.policy.all} policy rules, ports and default denies exercised. This says what happens to this traffic, not to all.`);
  return `${lines.join("\n")}\n`;
}

function rowLine(row: ReviewRow): string {
  const connection = `${row.protocol}${row.port > 0 ? ` ${row.port}` : ""}`;
  const type = row.change === "dropped" ? "removed" : row.change === "opened" ? "added" : "changed";
  const [before, after] = row.change === "dropped" ? [connection, "No Connections"] : row.change === "opened"
    ? ["No Connections", connection] : [`${connection}: ${row.before}`, `${connection}: ${row.after}`];
  const by = row.unexplained ? "**unexplained**, please report" : row.causes.map((one) => escapeMarkdown(causeText(one))).join("<br>");
  const accepted = row.accepted === undefined ? ""
    : `<br>accepted by ${escapeMarkdown(row.accepted.owner)} until ${escapeMarkdown(row.accepted.expires)}`;
  const to = row.receiver === row.destination ? row.destination : `${row.destination} (${row.receiver})`;
  const cells = [type, row.source, to, before, after].map(escapeMarkdown);
  return `| ${[...cells, String(row.flows), String(row.packets), `${by}${accepted}`].join(" | ")} |`;
}

/** Text that is nothing but text, also in a table's cell: no markup, link, mention or line break. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")
    .replace(/[\\`*_{}[\]()#!|~]/g, "\\$&").replace(/@/g, "&#64;").replace(/(https?):\/\//gi, "$1&#58;//").replace(/(www)\./gi, "$1&#46;");
}
