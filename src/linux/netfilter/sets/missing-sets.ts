/** Rules that name IP sets which are not there or of the other family: iptables-restore refuses them. */
import type { Problem } from "../../../cluster/problem.js";
import type { Rule } from "../rule.js";
import type { RuleSet } from "../rule-set.js";
import type { IpSets } from "./ipsets.js";

/** One Problem for each rule and set, in the order of the rules. A packet that comes to ask such a set is undecided. */
export function missingSets(rules: RuleSet, sets: IpSets): Problem[] {
  const problems: Problem[] = [];
  for (const table of rules.tables.values()) {
    for (const chain of table.chains.values()) {
      for (const rule of chain.rules) {
        for (const name of setsOf(rule)) {
          const fault = sets.refused(name, rules.family);
          if (fault === "") continue;
          const what = `${fault}; a packet that reaches this rule of ${table.name}/${chain.name} is undecided`;
          problems.push({ where: { file: rule.file, line: rule.line }, severity: "error", what });
        }
      }
    }
  }
  return problems;
}

/** Names of the sets that a rule asks or changes. */
export function setsOf(rule: Rule): string[] {
  const names = rule.matches.flatMap((match) => (match.kind === "set" ? [match.set] : []));
  const { target } = rule;
  if (target.kind === "set") {
    if (target.add !== null) names.push(target.add.set);
    if (target.delete !== null) names.push(target.delete.set);
  }
  return [...new Set(names)];
}
