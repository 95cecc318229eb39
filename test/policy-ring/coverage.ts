/** Which fields of policies the drawn clusters have, alone and in pairs: counted from the objects themselves. */
import type { Plain } from "./clusters.js";

/** Options that change how every policy is carried out. */
const OPTIONS = ["policy-audit-mode", "routing-mode"];
const SECTIONS = ["ingress", "ingressDeny", "egress", "egressDeny"];
/** Pairs that cannot be: no version of Cilium reads both. */
const NEVER: readonly (readonly [RegExp, RegExp])[] = [[/Requires$/, /^ClusterNetworkPolicy|^action|^tier|^protocols|^networks|^subject/]];

export class Coverage {
  private readonly clusters = new Map<string, number>();
  private readonly pairs = new Set<string>();
  private count = 0;

  add(policies: readonly Plain[], options: Readonly<Record<string, unknown>> = {}): void {
    const settings = OPTIONS.filter((name) => options[name] !== undefined).map((name) => `option ${name}`);
    const fields = [...new Set([...policies.flatMap(fieldsOf), ...settings])].sort();
    this.count++;
    for (const [at, one] of fields.entries()) {
      this.clusters.set(one, (this.clusters.get(one) ?? 0) + 1);
      for (const other of fields.slice(at + 1)) this.pairs.add(`${one} ${other}`);
    }
  }

  /** Fields in less than a hundredth of the clusters. */
  rare(): string[] {
    return [...this.clusters].filter(([, count]) => count < this.count / 100).map(([field, count]) =>
      `${field}: ${count} of ${this.count}`);
  }

  missingPairs(): string[] {
    const fields = [...this.clusters.keys()].sort();
    const missing = fields.flatMap((one, at) => fields.slice(at + 1).filter((other) => !this.pairs.has(`${one} ${other}`))
      .map((other) => [one, other] as const));
    return missing.filter(([one, other]) => !NEVER.some(([a, b]) => (a.test(one) && b.test(other)) || (a.test(other) && b.test(one))))
      .map((pair) => pair.join(" with "));
  }

  get fields(): number {
    return this.clusters.size;
  }

  get pairCount(): number {
    return this.pairs.size;
  }

  summary(): string {
    return [...this.clusters].sort(([, a], [, b]) => b - a)
      .map(([field, count]) => `${field} ${(100 * count / this.count).toFixed(0)}%`).join(", ");
  }
}

/** Names of the fields and of the values that mean something of their own. */
function fieldsOf(policy: Plain): string[] {
  const kind = String(policy.kind);
  const specs = [policy.spec, ...(policy.specs as Plain[] ?? [])].filter((one) => one !== undefined) as Plain[];
  const short = kind === "NetworkPolicy" ? "np." : "";
  const own = policy.specs === undefined ? [] : ["specs"];
  return [kind, ...own, ...specs.flatMap((spec) => Object.entries(spec).flatMap(([key, value]) => {
    if (kind === "ClusterNetworkPolicy") return ["action", ...(key === "tier" ? [`tier=${String(value)}`] : []), ...tierFields(value)];
    if (SECTIONS.includes(key)) return (value as Plain[]).flatMap((rule) => [`${short}${key}`, ...ruleFields(rule, short)]);
    if (key === "enableDefaultDeny") return Object.keys(value as Plain).map((one) => `enableDefaultDeny.${one}`);
    if (key === "policyTypes") return (value as string[]).map((one) => `np.policyTypes=${one}`);
    return selectorFields(value as Plain, `${short}${key}`);
  }))];
}

function ruleFields(rule: Plain, short: string): string[] {
  return Object.entries(rule).flatMap(([key, value]) => {
    const name = `${short}${key}`;
    if (key === "authentication") return [name];
    const items = value as Plain[];
    if (items.length === 0) return [`${name}=[]`];
    if (key.endsWith("Entities")) return [name, ...(items as unknown as string[]).map((one) => `entity=${one}`)];
    if (key === "toFQDNs") return [name, ...items.flatMap((one) => Object.keys(one))];
    if (key === "toPorts") return [name, ...items.flatMap((one) => [...((one.ports as Plain[]).length === 0
      ? ["toPorts without ports"] : []),
      ...(one.ports as Plain[]).flatMap(portFields), ...Object.keys(one.rules as Plain ?? {}).map((l7) => `rules.${l7}`),
      ...(one.serverNames === undefined ? [] : ["serverNames"])])];
    if (key === "icmps") return [name, ...items.flatMap((one) => (one.fields as Plain[]).map(({ family }) => `icmps.${String(family)}`))];
    if (key === "ports") return [name, ...items.flatMap((one) => portFields({ ...one, port: one.port ?? "absent" }).map((field) =>
      `np.${field}`))];
    if (key.endsWith("CIDRSet")) return [name, ...items.flatMap((one) => Object.keys(one).map((member) => `cidrSet.${member}`))];
    if (key.endsWith("Services")) return [name, ...items.flatMap((one) => Object.keys(one))];
    if (key.endsWith("CIDR")) return [name];
    if (short === "np.") return [name, ...items.flatMap((one) => Object.entries(one).flatMap(([member, inner]) => (member === "ipBlock"
      ? Object.keys(inner as Plain).map((part) => `np.ipBlock.${part}`) : selectorFields(inner as Plain, `np.${member}`))))];
    return [name, ...items.flatMap((one) => selectorFields(one, "peer"))];
  });
}

function portFields({ port, endPort, protocol }: Plain): string[] {
  const text = String(port);
  const form = text === "0" || text === "absent" ? "port=0" : /^\d+$/.test(text) ? "port=number" : "port=name";
  return [form, ...(endPort === undefined ? [] : ["endPort"]), `protocol=${String(protocol ?? "absent")}`];
}

function selectorFields(selector: Plain, name: string): string[] {
  const expressions = (selector.matchExpressions as Plain[] ?? []).map((one) => `${name}.${String(one.operator)}`);
  const keys = Object.keys(selector.matchLabels as Plain ?? {});
  return [...(keys.length > 0 ? [`${name}.matchLabels`] : []), ...(keys.length + expressions.length === 0 ? [`${name}={}`] : []),
    ...expressions,
    ...keys.filter((key) => key.startsWith("reserved:")).map(() => `${name}.reserved`),
    ...keys.filter((key) => key.includes("namespace")).map(() => `${name}.namespace`)];
}

function tierFields(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return (value as Plain[]).flatMap((rule) => [`action=${String(rule.action)}`, ...(rule.protocols === undefined ? [] : ["protocols"]),
    ...[rule.from, rule.to].flatMap((list) => (list as Plain[] ?? []).flatMap((one) => Object.keys(one)).map((one) =>
      `tier peer ${one}`))]);
}
