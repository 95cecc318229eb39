/** One change to a cluster: a label, a port, a policy's verdict, member or value. */
import { NAMESPACES, type Plain, POD_LABELS, PORTS } from "./clusters.js";
import type { Random } from "./random.js";

export interface Mutated {
  readonly items: readonly Plain[];
  readonly policies: readonly Plain[];
}

const SECTIONS = ["ingress", "ingressDeny", "egress", "egressDeny"];

/** null where there is nothing to change. */
export function mutated(random: Random, items: readonly Plain[], policies: readonly Plain[]): Mutated | null {
  const copy = structuredClone({ items, policies }) as { items: Plain[]; policies: Plain[] };
  if (random.chance(25) || policies.length === 0) {
    relabel(random, copy.items.filter(({ kind }) => kind === "Pod"));
    return copy;
  }
  const policy = random.pick(copy.policies);
  const specs = [policy.spec, ...(policy.specs as Plain[] ?? [])].filter((one) => one !== undefined) as Plain[];
  const spec = random.pick(specs);
  const present = SECTIONS.filter((one) => Array.isArray(spec[one]) && (spec[one] as Plain[]).length > 0);
  if (present.length === 0 || random.chance(20)) {
    reselect(random, policy, spec);
    return copy;
  }
  const section = random.pick(present);
  const rules = spec[section] as Plain[];
  const number = random.below(rules.length);
  change(random, spec, section, rules, number);
  if (String(policy.kind).startsWith("Cilium") && !SECTIONS.some((one) => spec[one] !== undefined)) return null;
  return copy;
}

function relabel(random: Random, pods: readonly Plain[]): void {
  const { labels } = random.pick(pods).metadata as { labels: Record<string, string> };
  const key = random.pick(["app", "tier"]);
  if (labels[key] !== undefined && random.chance(40)) delete labels[key];
  else labels[key] = random.pick(POD_LABELS[key]);
}

/** Another namespace, every pod, or no default deny. */
function reselect(random: Random, policy: Plain, spec: Plain): void {
  const metadata = policy.metadata as Plain;
  if (metadata.namespace !== undefined && random.chance(50)) metadata.namespace = random.pick(NAMESPACES);
  else if (spec.endpointSelector !== undefined && random.chance(50)) spec.endpointSelector = {};
  else if (spec.podSelector !== undefined) spec.podSelector = {};
  else if (spec.subject !== undefined) spec.subject = { namespaces: {} };
  else spec.enableDefaultDeny = { ingress: false, egress: false };
}

function change(random: Random, spec: Plain, section: string, rules: Plain[], number: number): void {
  const rule = rules[number];
  const ports = ((rule.toPorts as Plain[] | undefined)?.[0]?.ports ?? rule.ports) as Plain[] | undefined;
  const way = random.below(4);
  if (way === 0 && rules.length > 1) rules.splice(number, 1);
  else if (way === 1 && rule.action !== undefined) rule.action = rule.action === "Deny" ? (rule.from !== undefined ? "Accept"
    : "Pass") : "Deny";
  else if (way === 1 && section.endsWith("Deny")) {
    spec[section] = rules.filter((one) => one !== rule);
    if ((spec[section] as Plain[]).length === 0) delete spec[section];
    const allow = section.slice(0, -4);
    spec[allow] = [...(spec[allow] as Plain[] ?? []), rule];
  } else if (way === 2 && ports !== undefined && ports.length > 0) {
    ports[0] = { port: typeof ports[0].port === "number" ? random.pick(PORTS) : String(random.pick(PORTS)), protocol: "TCP" };
  } else if (way === 2) rules.push({});
  else {
    delete rule.toPorts;
    delete rule.ports;
    delete rule.icmps;
  }
}
