/**
 * Where rules choose among backends: a run of rules with a `statistic` match that jump to endpoint chains,
 * and the rule without condition after them. Known at load: which backend each rule stands for. With it a
 * choice seen in a capture can be followed, and the set that was eligible can be told.
 */
import type { Pin } from "../../dataplane.js";
import { wordsOf } from "./names.js";
import type { Chain, NatSpec, Rule, Table } from "./rule.js";

/** The members of one choice, in the order of the rules. */
export class ChoiceRun {
  /** Position in the chain of the first member. */
  readonly first: number;
  /** DNAT of each member; null where the member does not lead to one. */
  readonly backends: readonly (NatSpec | null)[];
  /** `ip:port` of all members, sorted, each once. */
  readonly texts: readonly string[];
  /** Every rule of a run asks about the same pin: among a thousand backends it is sought once. */
  private lastPin: Pin | null = null;
  private lastMember = -1;

  constructor(first: number, backends: readonly (NatSpec | null)[]) {
    this.first = first;
    this.backends = backends;
    const texts = backends.flatMap((backend) => (backend === null ? [] : [backendText(backend)]));
    this.texts = [...new Set(texts)].sort();
  }

  /** Position in the run of the member a pin names, -1 where none does. */
  memberOf(pin: Pin): number {
    if (pin !== this.lastPin) {
      this.lastMember = this.find(pin);
      this.lastPin = pin;
    }
    return this.lastMember;
  }

  private find(pin: Pin): number {
    if (pin.backend === null) return -1;
    const words = wordsOf(pin.backend.address.bytes);
    for (const [index, backend] of this.backends.entries()) {
      if (backend?.address == null || backend.addressText.includes("-")) continue;
      if (backend.minPort !== 0 && backend.minPort !== pin.backend.port) continue;
      if (backend.address.every((word, at) => word === words[at])) return index;
    }
    return -1;
  }
}

/** For each rule of a chain the run it belongs to, or null; null where the chain has no choice at all. */
export function choiceRuns(chain: Chain, table: Table): (ChoiceRun | null)[] | null {
  if (!chain.rules.some(isStatistic)) return null;
  const runs: (ChoiceRun | null)[] = chain.rules.map(() => null);
  for (let first = 0; first < chain.rules.length; first++) {
    if (!isStatistic(chain.rules[first])) continue;
    let end = first;
    while (end < chain.rules.length && isStatistic(chain.rules[end])) end++;
    // The last endpoint takes what is left.
    if (end < chain.rules.length && isUnconditional(chain.rules[end])) end++;
    const run = new ChoiceRun(
      first,
      chain.rules.slice(first, end).map((rule) => backendOf(rule, table)),
    );
    for (let at = first; at < end; at++) runs[at] = run;
    first = end - 1;
  }
  return runs;
}

function isStatistic({ matches, target }: Rule): boolean {
  if (target.kind !== "jump") return false;
  for (const { kind } of matches) if (kind === "statistic") return true;
  return false;
}

function isUnconditional(rule: Rule): boolean {
  return (
    rule.source === null &&
    rule.destination === null &&
    rule.protocol === null &&
    rule.inDevice === null &&
    rule.outDevice === null &&
    rule.target.kind === "jump" &&
    rule.matches.every(({ kind }) => kind === "comment")
  );
}

/** The DNAT of the chain a rule jumps to; through one chain more where that one only leads on. */
function backendOf(rule: Rule, table: Table, depth = 0): NatSpec | null {
  if (rule.target.kind !== "jump" || depth > 1) return null;
  const rules = table.chains.get(rule.target.chain)?.rules ?? [];
  for (const inner of rules)
    if (inner.target.kind === "nat" && inner.target.name === "DNAT") return inner.target.range;
  const last = rules[rules.length - 1];
  return last === undefined ? null : backendOf(last, table, depth + 1);
}

function backendText(backend: NatSpec): string {
  const address = backend.addressText.includes(":") ? `[${backend.addressText}]` : backend.addressText;
  return backend.minPort === 0 ? backend.addressText : `${address}:${backend.minPort}`;
}
