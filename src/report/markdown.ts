/** The report as Markdown, for a pull request or a ticket. Prints data; computes nothing but layout. */
import { formatProblem } from "../cluster/problem.js";
import { becauseText, changesOf, headline, openRows, waysText, worstOf } from "./changes.js";
import { coverageLines, servingLines } from "./coverage.js";
import { effectText, placeText, togetherLines } from "./fixes.js";
import { printableData, printableLines } from "./printable.js";
import { count, type FindingRow, percent, type Report } from "./report.js";
import { trustLines } from "./text.js";

/** Rows that are listed; a comment has room for some 65,000 characters. */
const LISTED = 50;

export function renderMarkdown(given: Report): string {
  const report = printableData(given);
  const { planes: [current, target], packets, verdict } = report;
  const lines = [
    `## ${plain(current.profile)} → ${plain(target.profile)}`, "", `**${plain(headline(report))}** (exit code ${verdict.exitCode}: ${
      plain(verdict.why)})`, "",
    ...worst(report), ...changes(report),
    `${count(packets.replayed, "packet")} replayed, ${percent(packets.replayed === 0 ? 0 : packets.matched / packets.replayed)} match the`
      + ` cluster; ${packets.undecided} undecided.`, "",
    ...fixes(report, given),
    ...table(["Packets", "Not judged because"], report.undecided.map(([why, number]) => [String(number), plain(why)])),
    ...table(["Limit", "Of", "Used", "Most"], report.limits.map((one) =>
      [plain(`${one.id} ${one.limit}`), plain(one.subject), String(one.used), String(one.max)])),
    ...folded("Hazards that apply, which no packet shows beforehand", report.hazards.map((one) => `${one.id} ${one.title}`)),
    ...folded("What the traffic never exercised", [...report.untouched.services.map((name) => `service ${name}`),
      ...report.untouched.policies.map((name) => `policy ${name}`)]),
    ...coverage(report),
    ...folded("What this rests on", trustLines(report)), ...folded("Wrong in the inputs", report.problems.map(formatProblem)),
    `<sub>twinplane ${plain(report.twinplane)}. Predicts specified behaviour on this traffic; bugs of a live agent are outside it.</sub>`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Patches as what they cure, each with its manifest; what has none, with what to do. */
function fixes({ fixes: found }: Report, given: Report): string[] {
  if (found === undefined) return [];
  const { offered, refused, without } = found;
  const rows = [
    ...offered.map((fix) => [plain(fix.id), plain(`${fix.result}${effectText(fix)}`), plain(placeText(fix))]),
    ...refused.map(({ id, object, why }) => [plain(id), plain(`not offered: ${why}`), plain(object)]),
    ...without.map(({ id, flows, why, advice }) => [plain(id), plain(`${count(flows, "flow")}: ${why}`), plain(advice)]),
  ];
  const manifests = offered.slice(0, LISTED).flatMap(({ name }, index) =>
    ["", plain(`${name}.yaml`), "", ...fenced(printableLines(given.fixes!.offered[index].yaml))]);
  return [...table(["Fix for", "Tried on this traffic", "What"], rows), ...togetherLines(found).flatMap((line) => [plain(line.trim()), ""]),
    ...(manifests.length === 0 ? [] : [`<details><summary>Manifests (${offered.length})</summary>`, ...manifests, "", "</details>", ""])];
}

/** A block whose fence is longer than any in it. */
function fenced(text: string): string[] {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((one) => one.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}yaml`, text.trimEnd(), fence];
}

function coverage({ untouched: { rules, serving } }: Report): string[] {
  const lines = [...coverageLines(rules, true), ...servingLines(serving, true)].map((line) => line.trim());
  return folded("Coverage", lines);
}

function worst(report: Report): string[] {
  const changes = changesOf(openRows(report.findings));
  if (changes.length === 0) return [];
  return [...worstOf(changes).map(({ title, row }, index) => `${index + 1}. **${plain(title)}**: ${plain(waysText(row))},`
    + ` ${count(row.flows, "flow")} (${plain(row.id)})`), ""];
}

function changes(report: Report): string[] {
  const all = changesOf(report.findings);
  const rows = all.slice(0, LISTED).map(({ title, row }) => [plain(title), plain(row.id) + accepted(row), plain(waysText(row)),
    String(row.flows),
    String(row.packets), plain(row.current), plain(row.target),
    row.becauses.slice(0, 2).map((one) => plain(becauseText(one))).join("<br>")]);
  return [...table(["Change", "Known as", "Traffic", "Flows", "Packets", "Now", "Then", "Because"], rows),
    ...(all.length > LISTED ? [`… and ${count(all.length - LISTED, "more change")}, see \`-o json\`.`, ""] : [])];
}

function accepted({ accepted: by }: FindingRow): string {
  return by === undefined ? "" : `<br>accepted by ${plain(by.owner)} until ${plain(by.expires)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  return [`| ${head.join(" | ")} |`, `| ${head.map(() => "---").join(" | ")} |`, ...rows.map((cells) => `| ${cells.join(" | ")} |`), ""];
}

function folded(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return [`<details><summary>${title} (${lines.length})</summary>`, "", ...lines.slice(0, LISTED).map((line) => `- ${plain(line)}`),
    ...(lines.length > LISTED ? [`- … and ${lines.length - LISTED} more`] : []), "", "</details>", ""];
}

/** Names are the cluster's own words: nothing in them is markup, a mention or a link. */
function plain(text: string): string {
  return text.replace(/[\\`*_{}[\]<>()#|~@!&$^=]|:\/\/|www\./g, (found) => [...found].map((one) => `&#${one.charCodeAt(0)};`).join(""));
}
