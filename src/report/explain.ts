/** Pages of differences, reasons and limits: as text for a terminal, and as Markdown for docs/differences. Computes nothing. */
import type { Difference, Page } from "../compare/catalogue/index.js";

/** What is printed of an id; src/explain/explain.ts makes it. */
export type Explained =
  | { readonly kind: "difference"; readonly difference: Difference }
  | { readonly kind: "reason"; readonly id: string; readonly code: number; readonly what: string; readonly look: string;
    readonly why: string }
  | { readonly kind: "undecided"; readonly id: string; readonly what: string };

export const SHOWN_BY: Readonly<Record<Page["shownBy"], string>> = {
  packets: "shown by packets",
  "state or option": "needs state or option: a node's state, dated changes of objects, or an option's value beside the packets",
  hazard: "hazard: no packet shows it beforehand; its precondition is checked",
  capacity: "capacity: counted in the compiled target, without traffic",
  "no difference": "no difference: often taken for one, and both sides do the same in the versions modelled",
};
const WIDTH = 100;
/** Names that citations leave out. */
const REPOSITORIES: Readonly<Record<string, string>> = { cilium: "cilium/cilium", k8s: "kubernetes/kubernetes", AKS: "Azure/AKS" };

export function renderExplanation(one: Explained): string {
  if (one.kind === "difference") return differenceText(one.difference);
  if (one.kind === "undecided") return `${one.id}\n\n${wrapped(sentence(one.what))}\n`;
  const parts = [`${one.id} (${one.code})`];
  if (one.what !== "") parts.push(wrapped(one.what));
  if (one.why !== "") parts.push(wrapped(`Not shown by a packet here: ${one.why}.`));
  if (one.look !== "") parts.push(section("Where to look", one.look));
  return `${parts.join("\n\n")}\n`;
}

/** Ids and titles, in groups by what shows them; reasons by number. */
export function renderList(all: readonly Explained[]): string {
  const lines: string[] = [];
  for (const [shownBy, title] of Object.entries(SHOWN_BY)) {
    const rows = all.filter((one) => one.kind === "difference" && one.difference.page.shownBy === shownBy);
    if (rows.length === 0) continue;
    lines.push(`Differences, ${title}`);
    for (const row of rows) if (row.kind === "difference") lines.push(`  ${row.difference.id.padEnd(24)}${row.difference.title}`);
    lines.push("");
  }
  lines.push("Drop reasons");
  for (const row of all) if (row.kind === "reason") lines.push(`  ${row.code}  ${row.id}`);
  lines.push("", "Why a packet is undecided, or a difference has no name");
  for (const row of all) if (row.kind === "undecided") lines.push(`  ${row.id.padEnd(24)}${row.what}`);
  return `${lines.join("\n")}\n`;
}

function differenceText({ id, title, page }: Difference): string {
  return `${[
    id, wrapped(`${title}.`), wrapped(`${sentence(SHOWN_BY[page.shownBy])}.`),
    section("kube-proxy, Azure NPM, Calico", page.kubeProxy), section("Cilium", page.cilium), section("What to do", page.advice),
    ...(page.bitten.length === 0 ? [] : [section("Who met it", page.bitten.join(", "))]),
    `How it is known\n${page.sources.map(({ what, known }) => wrapped(`- ${what} (${known})`, "    ", "  ")).join("\n")}`,
  ].join("\n\n")}\n`;
}

function section(title: string, text: string): string {
  return `${title}\n${wrapped(text, "  ", "  ")}`;
}

function wrapped(text: string, indent = "", first = indent): string {
  const lines: string[] = [];
  let line = first;
  for (const word of text.split(" ")) {
    if (line.length + word.length + 1 > WIDTH && line.trim() !== "") {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()].join("\n");
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** One page of docs/differences, named by its id. */
export function differenceMarkdown({ id, title, page }: Difference): string {
  const parts = [
    `# ${id}`, `${title}.`, `*${sentence(SHOWN_BY[page.shownBy])}.*`, "## kube-proxy, Azure NPM, Calico", page.kubeProxy,
    "## Cilium", page.cilium, "## What to do", page.advice,
    ...(page.bitten.length === 0 ? [] : ["## Who met it", page.bitten.map(cited).join(", ")]),
    "## How it is known", page.sources.map(({ what, known }) => `- ${escaped(what)} (${known})`).join("\n"),
  ];
  return `${MADE}\n\n${parts.map((part) => (part.includes("](") || part.startsWith("- ") || /^[#*]/.test(part) ? part : escaped(part)))
    .join("\n\n")}\n`;
}

/** docs/differences/README.md: every id by what shows it. */
export function differencesIndex(catalogue: readonly Difference[]): string {
  const lines = [MADE, "", "# Differences by name", "",
    "What is known to differ between kube-proxy's iptables dataplane (with or without Azure NPM or Calico) and Cilium's."
      + " `twinplane explain ID` prints a page."];
  for (const [shownBy, title] of Object.entries(SHOWN_BY)) {
    const rows = catalogue.filter(({ page }) => page.shownBy === shownBy);
    if (rows.length === 0) continue;
    lines.push("", `## ${sentence(title)}`, "", "| id | difference |", "| --- | --- |",
      ...rows.map((row) => `| [${row.id}](${row.id}.md) | ${escaped(row.title)} |`));
  }
  return `${lines.join("\n")}\n`;
}

const MADE = "<!-- Generated from src/compare/catalogue by scripts/differences.mjs. -->";

function cited(text: string): string {
  const [repository, number] = text.split("#");
  return `[${text}](https://github.com/${REPOSITORIES[repository] ?? repository}/issues/${number})`;
}

/** What Markdown would take for its own. */
function escaped(text: string): string {
  return text.replace(/[<>|*]/g, (character) => `\\${character}`);
}
