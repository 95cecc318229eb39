/**
 * Other spellings of the same rule: what versions of kube-proxy, of iptables or a large cluster change about a line
 * without changing what becomes of a packet. Each has a name, so that a report can say how often it was met.
 */

export interface Variant {
  readonly name: string;
  /** The line without what the variant is about. */
  readonly even: (line: string) => string;
  /** Chains it is met in; null: any. */
  readonly chains: RegExp | null;
  /** Whether `dump` may differ from `made` in this; null: in either way. */
  readonly allowed: ((dump: string, made: string) => boolean) | null;
}

const COMMENT = / -m comment --comment (?:"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"]+)/g;

/** portmap names a pod's chain and its comments by the container's id, which objects do not say. */
export const CONTAINER = "name of a container (portmap)";

export const VARIANTS: readonly Variant[] = [
  {
    name: "probability with other digits",
    even: (line) => line.replace(/--probability (\d\.\d+)/, (text, digits: string) => share(Number(digits)) ?? text),
    chains: /^KUBE-SV[CL]-/, allowed: null,
  },
  {
    name: "no --random-fully (iptables before 1.6.2)",
    even: (line) => line.replace(/ --random-fully$/, ""),
    chains: /^KUBE-POSTROUTING$/, allowed: (dump) => !dump.endsWith(" --random-fully"),
  },
  {
    name: "counter object (nfacct)",
    even: (line) => line.replace(/ -m nfacct --nfacct-name \S+/, ""),
    chains: /^KUBE-(FORWARD|NODEPORTS)$/, allowed: null,
  },
  {
    name: "no comment (large cluster)",
    even: (line) => line.replace(COMMENT, ""),
    chains: /^KUBE-(SVC|SVL|SEP)-/,
    // kube-proxy leaves them out above a number of endpoints; a chain it did not write since keeps them.
    allowed: (dump, made) => / -m comment /.test(dump) !== / -m comment /.test(made),
  },
  {
    // Whether the agent's own quotes are part of the comment differs between its versions.
    name: "comment with or without quotes in it (ip-masq-agent)",
    even: (line) => line.replace(/"\\"(ip-masq-agent: [^"\\]*)\\""/, '"$1"'),
    chains: /^POSTROUTING$/, allowed: null,
  },
  {
    name: CONTAINER,
    even: (line) => line.replace(/"dnat name: (?:[^"\\]|\\.)*"/, '"dnat"'),
    chains: /^CNI-HOSTPORT-DNAT$/, allowed: null,
  },
  {
    // Sets stand as Go's maps give the labels of a selector, in the matches and in the comment.
    name: "order of IP sets (Azure NPM)",
    even: (line) => line.replace(/(?: -m set (?:! )?--match-set \S+ \S+)+/g, (sets) => sorted(sets, / (?=-m set )/))
      .replace(/--comment (?:"[^"]*"|\S+)/, (comment) => sorted(comment.replaceAll('"', ""), /-AND-|-FROM-|-TO-|-IN-|-ON-/)),
    chains: /^AZURE-NPM-(IN|E)GRESS/, allowed: null,
  },
];

function sorted(text: string, between: RegExp): string {
  return text.split(between).sort().join(" ");
}

/** `1/n` for what kube-proxy prints of it with five digits or more; null where it is no such number. */
function share(probability: number): string | null {
  const parts = Math.round(1 / probability);
  return Math.abs(probability - 1 / parts) < 6e-6 ? `--probability 1/${parts}` : null;
}

/** Both lines without what all variants of the chain are about. */
export function evened(line: string, chain: string): string {
  let text = line;
  for (const variant of variantsOf(chain)) text = variant.even(text);
  return text;
}

/** Names of the variants that two lines differ in; null where they differ in more. */
export function differsOnlyIn(dump: string, made: string, chain: string): string[] | null {
  if (evened(dump, chain) !== evened(made, chain)) return null;
  const met = variantsOf(chain).filter((variant) => {
    let [one, other] = [dump, made];
    for (const rest of variantsOf(chain)) if (rest !== variant) [one, other] = [rest.even(one), rest.even(other)];
    return one !== other;
  });
  return met.every((variant) => variant.allowed === null || variant.allowed(dump, made)) ? met.map(({ name }) => name) : null;
}

function variantsOf(chain: string): Variant[] {
  return VARIANTS.filter((variant) => variant.chains === null || variant.chains.test(chain));
}
