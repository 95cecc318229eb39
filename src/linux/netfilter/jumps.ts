/** Jumps of a table's chains: where they lead nowhere, and where they lead back. */
import type { Problem } from "../../cluster/problem.js";
import type { Chain, Rule, Table } from "./rule.js";

/**
 * Jumps to chains that are not there, and loops, which the kernel refuses. The compiler makes both undecided.
 * `file` and `line` are where the table ends.
 */
export function jumpProblems(table: Table, file: string, line = 0): Problem[] {
  const problems: Problem[] = [];
  for (const chain of table.chains.values()) {
    for (const rule of chain.rules) {
      if (rule.target.kind !== "jump") continue;
      const target = table.chains.get(rule.target.chain);
      if (target !== undefined && target.policy === null) continue;
      const why = target === undefined ? `it is not in table ${table.name}` : "it is built in";
      problems.push({
        where: { file: rule.file, line: rule.line },
        severity: "error",
        what: `chain ${rule.target.chain} cannot be jumped to: ${why}`,
      });
    }
  }
  const looped = loopedChain(table);
  if (looped !== null) {
    const what = `chain ${looped} of table ${table.name} can jump back to itself`;
    problems.push({ where: { file, line }, severity: "error", what });
  }
  return problems;
}

/** What was found of tables that do not change any more. */
const loops = new WeakMap<Table, { readonly chain: string | null }>();

/** A chain that can be reached from itself, or null. */
export function loopedChain(table: Table): string | null {
  const known = loops.get(table);
  if (known !== undefined) return known.chain;
  const chain = findLoop(table);
  if (table.frozen === true) loops.set(table, { chain });
  return chain;
}

function findLoop(table: Table): string | null {
  const open = new Set<Chain>();
  const done = new Set<Chain>();
  for (const start of table.chains.values()) {
    if (done.has(start)) continue;
    // Depth first without recursion: a text may nest deeper than the stack.
    const stack: { chain: Chain; next: number }[] = [{ chain: start, next: 0 }];
    open.add(start);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const into = nextJump(table, top);
      if (into === null) {
        open.delete(top.chain);
        done.add(top.chain);
        stack.pop();
      } else if (open.has(into)) {
        return into.name;
      } else if (!done.has(into)) {
        if (into.rules.some(isJump)) {
          open.add(into);
          stack.push({ chain: into, next: 0 });
        } else {
          done.add(into);
        }
      }
    }
  }
  return null;
}

/** The next chain that a chain's rules lead to; null: no more. */
function nextJump(table: Table, at: { readonly chain: Chain; next: number }): Chain | null {
  const { rules } = at.chain;
  while (at.next < rules.length) {
    const { target } = rules[at.next++];
    const into = target.kind === "jump" ? table.chains.get(target.chain) : undefined;
    if (into !== undefined) return into;
  }
  return null;
}

function isJump({ target }: Rule): boolean {
  return target.kind === "jump";
}
