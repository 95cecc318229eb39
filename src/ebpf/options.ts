/**
 * Cilium's options, by Cilium's own names, with where each value comes from.
 *
 * `ciliumOptions` starts from the defaults of a preset, puts the preset's own values on top, and on top of
 * those what a `cilium-config` ConfigMap of the cluster says. Every value carries a grade: `read` from the
 * cluster, `documented` by Cilium, or `assumed` by the preset, so that a report can say what a verdict rests
 * on.
 *
 * Does not decide anything: what an option does is said where it is used. Options in the table with a value that
 * changes verdicts in a way that is not modelled are Problems; those outside it are unread-options.ts's.
 */
import type { Prefix } from "../cluster/address.js";
import { prefixOf } from "../cluster/address.js";
import type { Cluster, OtherObject } from "../cluster/cluster.js";
import type { Problem, Where } from "../cluster/problem.js";
import { settleMasquerading } from "./masquerading.js";
import type { OptionName, OptionValues } from "./option-values.js";
import { ACCEPTED, ASSUMED, DEFAULTS, OPTION_NAMES, WORDS } from "./option-values.js";
import { fixedValue, FORMER_DEFAULTS } from "./option-history.js";
import { CILIUM_VERSIONS, type CiliumVersion, type Preset, readPreset, RECORDED_RELEASES } from "./presets.js";
import { refuseUnmodelled } from "./unmodelled-options.js";
import { unreadOptions } from "./unread-options.js";

export type { OptionName, OptionValues };

export type { CiliumVersion };
export { CILIUM_VERSIONS };
export type OptionGrade = "read" | "documented" | "assumed";

export interface CiliumOptions extends Readonly<OptionValues> {
  readonly version: CiliumVersion;
  /** Not an option of Cilium: an agent beside it masquerades in the node's iptables (AKS's ip-masq-agent). */
  readonly masqueradeAgent: boolean;
  readonly grades: Readonly<Record<OptionName, OptionGrade>>;
  /** Where the `read` ones were read. */
  readonly where: Where | null;
  /** Options that are not read here and leave every packet undecided (unread-options.ts). */
  readonly unread: readonly string[];
}

/**
 * Options for a profile as presets.ts names them. `overrides` are the user's own, by option name, and win over the
 * cluster's ConfigMap; `assumed` take the place of a preset's values where nothing else says them.
 */
export function ciliumOptions(
  profile: string,
  cluster: Cluster | null,
  overrides: Readonly<Record<string, unknown>> = {},
  assumed: Readonly<Record<string, unknown>> = {},
): { options: CiliumOptions; problems: Problem[] } {
  const problems: Problem[] = [];
  const preset = presetOf(profile, problems);
  const { version } = preset;
  const values: Record<string, unknown> = {};
  const grades: Record<string, OptionGrade> = {};
  for (const name of OPTION_NAMES) {
    values[name] = FORMER_DEFAULTS[version]?.[name] ?? DEFAULTS[name];
    grades[name] = ASSUMED.has(name) ? "assumed" : "documented";
  }
  for (const [name, value] of Object.entries(preset.values)) {
    values[name] = value;
    grades[name] = "assumed";
  }
  readValues(assumed, null, values, grades, problems, "assumed");
  const config = cluster === null ? null : ciliumConfig(cluster);
  if (config !== null) {
    readValues(formerNames(data(config), version), config.where, values, grades, problems);
  }
  imply(values, grades, config?.where ?? null, problems);
  readValues(formerNames(overrides, version), null, values, grades, problems);
  assumeSizes({ ...(config === null ? {} : data(config)), ...overrides }, grades);
  fixAbsent(version, config?.where ?? null, values, grades, problems);
  if (cluster !== null) assumeFamilies(cluster, values, grades);
  settleMasquerading(values, grades);
  // An agent beside Cilium masquerades where Cilium does not do it in eBPF.
  const masqueradeAgent = preset.kind === "aks" && values["enable-bpf-masquerade"] !== true;
  if (cluster !== null) assumeRoutingCidrs(cluster, masqueradeAgent, values, grades, problems);
  const { undecided: unread, unknown } = unreadOptions({ ...(config === null ? {} : data(config)), ...overrides }, values, version);
  if (unknown.length > 0) {
    problems.push({ where: config?.where ?? null, severity: "warning", what: `no option of Cilium 1.16 to 1.20: ${
      unknown.join(", ")}; the agent passes over it, and so does this` });
  }
  if (values["cluster-id"] !== 0) {
    problems.push({ where: config?.where ?? null, severity: "warning", what: `option cluster-id=${String(values["cluster-id"])}: pods of `
      + "other clusters of a mesh are in no dump, and count as outside the cluster" });
  }
  const options = {
    ...values,
    version,
    unread,
    masqueradeAgent,
    grades,
    where: config === null ? null : config.where,
  } as unknown as CiliumOptions;
  refuseUnmodelled(options, problems);
  return { options, problems };
}

/** A name that is none was refused before; what is left of it here is a mistake of a caller's, and is said. */
function presetOf(profile: string, problems: Problem[]): Preset {
  const preset = readPreset(profile);
  if (typeof preset !== "string") {
    sayVersion(preset, problems);
    return preset;
  }
  problems.push(problem("error", `${preset}; verdicts are those of cilium@1.20`));
  return readPreset("cilium@1.20") as Preset;
}

/** What a verdict of this version rests on, where it is not the tree that programs were recorded from. */
function sayVersion({ version, release, kind }: Preset, problems: Problem[]): void {
  if (release !== null && release !== RECORDED_RELEASES[version]) {
    const who = kind === "aks" ? `AKS ships Cilium ${release} at least` : `Cilium ${release}`;
    problems.push(problem("warning", `${who}; behaviour was recorded of ${RECORDED_RELEASES[version]}, and patch releases may differ`));
  }
  if (version === "1.20") return;
  problems.push(
    problem(
      "warning",
      `Cilium ${version}: the programs' behaviour is that of recorded runs, but what its agent ` +
        "writes into the maps was read, not run, and patch releases may differ",
    ),
  );
}

/** Options that the version does not have, whatever was read. */
function fixAbsent(
  version: CiliumVersion,
  where: Where | null,
  values: Record<string, unknown>,
  grades: Record<string, OptionGrade>,
  problems: Problem[],
): void {
  for (const name of OPTION_NAMES) {
    const fixed = fixedValue(name, version);
    if (fixed === undefined) continue;
    if (grades[name] === "read" && values[name] !== fixed) {
      problems.push({
        where,
        severity: "warning",
        what: `option ${name}=${String(values[name])}: Cilium ${version} has no such option and behaves as with ${String(fixed)}`,
      });
    }
    values[name] = fixed;
    grades[name] = "documented";
  }
}

/**
 * kube-proxy-replacement switches these on whatever they say (pkg/kpr; daemon/cmd/kube_proxy_replacement.go before 1.18).
 * Where nobody says it, whether sockets balance is the profile's assumption, because a capture shows what was sent.
 */
function imply(values: Record<string, unknown>, grades: Record<string, OptionGrade>, where: Where | null, problems: Problem[]): void {
  if (values["kube-proxy-replacement"] !== true) return;
  for (const name of ["bpf-lb-sock", "enable-session-affinity"] as const) {
    if (values[name] !== false) continue;
    if (grades[name] !== "read") {
      if (name === "enable-session-affinity") values[name] = true;
      continue;
    }
    values[name] = true;
    problems.push({ where, severity: "warning", what: `option ${name}=false: kube-proxy-replacement=true switches it on all the same` });
  }
}

/** A family that pods have addresses of is enabled, and one that no pod has is not, unless the options say. */
function assumeFamilies(
  cluster: Cluster,
  values: Record<string, unknown>,
  grades: Record<string, OptionGrade>,
): void {
  const families = new Set(cluster.pods.filter((pod) => !pod.hostNetwork).flatMap((pod) => pod.ips.map((ip) => ip.family)));
  if (families.size === 0) return;
  for (const family of [4, 6] as const) {
    const name: OptionName = `enable-ipv${family}`;
    if (grades[name] === "read" || values[name] === families.has(family)) continue;
    values[name] = families.has(family);
    grades[name] = "assumed";
  }
}

/**
 * In native routing with masquerading the agent does not start without a native routing CIDR. Where none is
 * given, it is taken to be the smallest prefix that holds every node's pod range; a masquerade agent beside
 * Cilium is taken to exempt the same.
 */
function assumeRoutingCidrs(
  cluster: Cluster,
  masqueradeAgent: boolean,
  values: Record<string, unknown>,
  grades: Record<string, OptionGrade>,
  problems: Problem[],
): void {
  if (values["routing-mode"] !== "native") return;
  for (const family of [4, 6] as const) {
    const name: OptionName = `ipv${family}-native-routing-cidr`;
    if (values[name] !== "" || values[`enable-ipv${family}`] !== true) continue;
    if (!masqueradeAgent && values[`enable-ipv${family}-masquerade`] !== true) continue;
    const ranges = cluster.nodes.flatMap((node) =>
      node.podCIDRs.filter((range) => range.address.family === family),
    );
    if (ranges.length === 0) continue;
    const common = ranges.reduce(commonPrefix);
    values[name] = common.text;
    grades[name] = "assumed";
    problems.push(
      problem(
        "warning",
        `option ${name} is not given; ${common.text} is assumed, the smallest prefix with all ` +
          "nodes' pod ranges, and what leaves it is masqueraded",
      ),
    );
  }
}

function commonPrefix(a: Prefix, b: Prefix): Prefix {
  let length = Math.min(a.length, b.length);
  while (prefixOf(a.address, length).text !== prefixOf(b.address, length).text) length--;
  return prefixOf(a.address, length);
}

function ciliumConfig(cluster: Cluster): OtherObject | null {
  const found = cluster.others.filter(
    (object) => object.kind === "ConfigMap" && object.name === "cilium-config",
  );
  found.sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
  return found.find((object) => object.namespace === "kube-system") ?? found[0] ?? null;
}

function data(config: OtherObject): Readonly<Record<string, unknown>> {
  const found = config.object["data"];
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
}

/** Where bpf-map-dynamic-size-ratio is given, sizes that are not go by the node's memory, which is in no object. */
function assumeSizes(given: Readonly<Record<string, unknown>>, grades: Record<string, OptionGrade>): void {
  if (!(Number(given["bpf-map-dynamic-size-ratio"] ?? 0) > 0)) return;
  for (const name of ["bpf-ct-global-tcp-max", "bpf-ct-global-any-max", "bpf-nat-global-max"]) {
    if (given[name] === undefined) grades[name] = "assumed";
  }
}

/** enable-egress-gateway was enable-ipv4-egress-gateway up to 1.17; 1.18 takes both. */
function formerNames(from: Readonly<Record<string, unknown>>, version: CiliumVersion): Readonly<Record<string, unknown>> {
  const former = from["enable-ipv4-egress-gateway"];
  if (former === undefined || version > "1.18" || String(from["enable-egress-gateway"]) === "true") return from;
  return { ...from, "enable-egress-gateway": former };
}

function readValues(
  from: Readonly<Record<string, unknown>>,
  where: Where | null,
  values: Record<string, unknown>,
  grades: Record<string, OptionGrade>,
  problems: Problem[],
  grade: OptionGrade = "read",
): void {
  for (const name of OPTION_NAMES) {
    const raw = from[name];
    if (raw === undefined || raw === null) continue;
    const value = parseValue(name, raw);
    if (value === undefined || ACCEPTED[name]?.test(value as never) === false) {
      const words = WORDS[name]?.map((word) => `"${word}"`).join(", ");
      const expected = words ?? ACCEPTED[name]?.expected ?? describe(DEFAULTS[name]);
      problems.push({
        where,
        severity: "error",
        what: `option ${name} is "${String(raw)}"; expected ${expected}`,
      });
      continue;
    }
    values[name] = value;
    grades[name] = grade;
  }
}

/**
 * The value, or undefined where the text is none. ConfigMap values are strings; scenario files may say
 * numbers.
 */
function parseValue(name: OptionName, raw: unknown): unknown {
  const text = Array.isArray(raw) ? raw.join(",") : String(raw).trim();
  const words = WORDS[name];
  if (words !== undefined) return words.includes(text) ? text : undefined;
  const standard = DEFAULTS[name];
  if (typeof standard === "boolean") {
    // kube-proxy-replacement took `strict`, `partial` and `disabled` before it became a boolean.
    if (text === "true" || text === "strict") return true;
    if (text === "false" || text === "disabled") return false;
    return undefined;
  }
  if (typeof standard === "number") return /^(bpf-ct-timeout|conntrack-gc)-/.test(name) ? seconds(text) : whole(text);
  if (Array.isArray(standard)) {
    const match = /^(\d+)[,-](\d+)$/.exec(text);
    return match !== null && Number(match[1]) <= Number(match[2])
      ? [Number(match[1]), Number(match[2])]
      : undefined;
  }
  return text;
}

function whole(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Go's duration text (`2h13m20s`), or bare seconds. */
function seconds(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  if (match === null || text === "") return undefined;
  return Number(match[1] ?? 0) * 3600 + Number(match[2] ?? 0) * 60 + Number(match[3] ?? 0);
}

function describe(standard: unknown): string {
  if (typeof standard === "boolean") return "true or false";
  if (typeof standard === "number") return "a number, or a duration as 2h13m20s";
  return Array.isArray(standard) ? "first,last" : "text";
}

function problem(severity: Problem["severity"], what: string): Problem {
  return { where: null, severity, what };
}
