/** Small changes of sources, line by line: a comparison turned round, a bound moved, an answer inverted, a rule left out. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface Change {
  /** Below the repository's root. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly from: string;
  /** The line's new text. */
  readonly to: string;
}

const root = fileURLToPath(new URL("..", import.meta.url));
/** What decides about packets in either plane. */
const DECIDING = ["src/iptables/kubeproxy", "src/iptables/npm", "src/iptables/calico", "src/iptables/masquerade", "src/linux/netfilter",
  "src/ebpf/compile", "assembly/programs"];

/** In a line, each place of the first with the second in its stead. */
const SWAPS: readonly (readonly [string, string])[] = [
  [" === ", " !== "], [" !== ", " === "], [" == ", " != "], [" != ", " == "], [" < ", " <= "], [" <= ", " < "], [" > ", " >= "],
  [" && ", " || "], [" || ", " && "], ["return true;", "return false;"], ["return false;", "return true;"],
];

export function allChanges(): Change[] {
  return DECIDING.flatMap((folder) => readdirSync(`${root}/${folder}`, { recursive: true, encoding: "utf8" }).sort()
    .map((name) => `${folder}/${name}`)).filter((file) => /(?<!\.test|\.fixture)\.ts$/.test(file))
    .flatMap((file) => readFileSync(`${root}/${file}`, "utf8").split("\n").flatMap((line, index) => changesOf(file, index + 1, line)));
}

/** The text with the change in it. */
export function changed(text: string, { line, to }: Change): string {
  return text.split("\n").map((one, index) => (index === line - 1 ? to : one)).join("\n");
}

function changesOf(file: string, line: number, from: string): Change[] {
  const code = from.trim();
  if (/^(\*|\/\/|\/\*|import |export type |type |throw )/.test(code) || code.includes("throw new")) return [];
  const found: Change[] = [];
  for (const [was, is] of SWAPS) {
    for (let at = from.indexOf(was); at >= 0; at = from.indexOf(was, at + was.length)) {
      found.push({ file, line, from, to: from.slice(0, at) + is + from.slice(at + was.length) });
    }
  }
  // A rule of a list that stands on a line of its own.
  if (/^(rule\(|\[["`]).*\),?$|^this\.(rule|add)\(.*\);$/.test(code) && balanced(code)) found.push({ file, line, from, to: "" });
  return found;
}

function balanced(code: string): boolean {
  const count = (char: string): number => code.split(char).length;
  return count("(") === count(")") && count("[") === count("]");
}
