/**
 * Which labels are part of identities (`pkg/labelsfilter/filter.go`): Cilium's own list, and the option `labels` after it.
 *
 * Each pattern is matched at the start of the key; of the ignoring patterns that match, the shortest counts, of the
 * including ones the longest; a label is kept when the including match is longer, and, where the user's list includes
 * nothing, when no ignoring pattern matches.
 */
import type { Problem } from "../../cluster/problem.js";
import type { CiliumOptions } from "../options.js";

export interface LabelFilter {
  /** Whether a label of Kubernetes with this key is part of an identity. */
  keeps(key: string): boolean;
}

interface Pattern {
  readonly expression: RegExp;
  readonly ignore: boolean;
}

const OWN: readonly string[] = [
  "io\\.kubernetes\\.pod\\.namespace", "io\\.cilium\\.k8s\\.namespace\\.labels", "app\\.kubernetes\\.io",
  "io\\.cilium\\.k8s\\.policy\\.cluster", "!io\\.kubernetes", "!kubernetes\\.io", "!statefulset\\.kubernetes\\.io/pod-name",
  "!apps\\.kubernetes\\.io/pod-index", "!batch\\.kubernetes\\.io/job-completion-index", "!batch\\.kubernetes\\.io/controller-uid",
  "!.*beta\\.kubernetes\\.io", "!k8s\\.io", "!pod-template-generation", "!pod-template-hash", "!controller-revision-hash",
  "!annotation.*", "!controller-uid", "!etcd_node",
];
/** From 1.18; it matters only beside a user's list. */
const SERVICE_ACCOUNT = "io\\.cilium\\.k8s\\.policy\\.serviceaccount";
/** 1.20. */
const TOPOLOGY = "!topology\\.kubernetes\\.io";

const filters = new WeakMap<CiliumOptions, LabelFilter>();

/** @param problems where patterns that cannot be read are reported; the rest of the list is used */
export function labelFilter(options: CiliumOptions, problems: Problem[] = []): LabelFilter {
  let filter = filters.get(options);
  if (filter === undefined) {
    filter = new Filter(options, problems);
    filters.set(options, filter);
  }
  return filter;
}

class Filter implements LabelFilter {
  private readonly patterns: readonly Pattern[];
  private readonly inclusive: boolean;
  private readonly decided = new Map<string, boolean>();

  constructor(options: CiliumOptions, problems: Problem[]) {
    const own = [...OWN, ...(options.version === "1.16" || options.version === "1.17" ? [] : [SERVICE_ACCOUNT]),
      ...(options.version === "1.20" ? [TOPOLOGY] : [])].map((text) => patternOf(text)!);
    const given = options.labels.split(/[\s,]+/).filter((text) => text !== "").flatMap((text) => {
      const colon = text.indexOf(":");
      // Pods and namespaces have labels of Kubernetes alone.
      if (colon >= 0 && text.slice(0, colon) !== "" && text.slice(0, colon) !== "k8s") return [];
      const pattern = patternOf(text.slice(colon + 1));
      if (pattern === null) {
        problems.push({ where: options.where, severity: "error",
          what: `option labels has "${text}"; expected regular expressions of label keys; the entry is not used` });
      }
      return pattern === null ? [] : [pattern];
    });
    this.patterns = [...own, ...given];
    this.inclusive = given.some(({ ignore }) => !ignore);
  }

  keeps(key: string): boolean {
    let kept = this.decided.get(key);
    if (kept === undefined) {
      kept = this.decide(key);
      if (this.decided.size < 100_000) this.decided.set(key, kept);
    }
    return kept;
  }

  private decide(key: string): boolean {
    let [included, ignored] = [0, 0];
    for (const { expression, ignore } of this.patterns) {
      const match = expression.exec(key);
      if (match === null || match.index !== 0) continue;
      const { length } = match[0];
      if (!ignore) included = Math.max(included, length);
      else if (ignored === 0 || length < ignored) ignored = length;
    }
    return (!this.inclusive && ignored === 0) || included > ignored;
  }
}

function patternOf(text: string): Pattern | null {
  const ignore = text.startsWith("!");
  try {
    return { expression: new RegExp(ignore ? text.slice(1) : text), ignore };
  } catch {
    return null;
  }
}
