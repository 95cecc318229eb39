/**
 * Profiles: what a plane is asked to be, and how it is built.
 *
 *     kube-proxy            kube-proxy's iptables rules, no policy engine
 *     kube-proxy+spec       the same, with NetworkPolicy and its Admin kinds judged by the words of their APIs
 *     kube-proxy+npm        the same, with the rules and sets of Azure Network Policy Manager
 *     kube-proxy+calico     the same, with the rules and sets of Calico's Felix
 *     cilium@1.20           Cilium's eBPF dataplane
 */
import type { Family } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import { hasOwnAddress } from "./cluster/pod-identity.js";
import type { Problem, Where } from "./cluster/problem.js";
import type { SettingSide } from "./compare/catalogue/index.js";
import type { Plane } from "./dataplane.js";
import { labelFilter } from "./ebpf/compile/label-filter.js";
import { dumpImage } from "./ebpf/dump.js";
import { compileForLimits, compileImage, placedErrors, type MapImage } from "./ebpf/image.js";
import type { PolicyMap } from "./ebpf/compile/policy/endpoints.js";
import { blame, checkLimits } from "./ebpf/limits.js";
import { fixedValue } from "./ebpf/option-history.js";
import { OPTION_NAMES } from "./ebpf/option-values.js";
import { CILIUM_VERSIONS, type CiliumOptions, ciliumOptions } from "./ebpf/options.js";
import { AKS_RELEASES, isCiliumProfile, readPreset, RECORDED_RELEASES } from "./ebpf/presets.js";
import { type ProfileSupport, supportOf } from "./ebpf/support.js";
import { createEbpfPlane, EbpfPlane } from "./ebpf/plane.js";
import type { RuleGiver } from "./ebpf/stack/rules.js";
import { CALICO_DEFAULTS, type CalicoConfig } from "./iptables/calico/config.js";
import { calicoProblems, calicoProgram, generateCalico } from "./iptables/calico/generate.js";
import { KUBE_PROXY_DEFAULTS } from "./iptables/kubeproxy/config.js";
import { masqueradePart, type MasqueradeConfig } from "./iptables/masquerade/cni.js";
import { npmConfig } from "./iptables/npm/config.js";
import { npmProblems, npmProgram, npmSets } from "./iptables/npm/generate.js";
import type { SetMaker } from "./iptables/dump/ownSets.js";
import { createIptablesPlane, type IptablesPlaneOptions } from "./iptables/plane.js";
import { generatedRules, type IptablesConfig, type NodeDump } from "./iptables/planeNode.js";
import type { PolicyEngine } from "./iptables/policy.js";
import { joinRules } from "./iptables/ruleset.js";
import { portmapProgram, portmapSysctls } from "./iptables/portmap/portmap.js";
import { rangesOfAgent, rangesOfBoth, rangesOfCalico, rangesOfCilium } from "./kept-ranges.js";
import { cniMasquerade, type Network } from "./network.js";
import type { CheckResult, Usage } from "./report/check.js";
import type { LimitRow } from "./report/report.js";
import { wordsEngine } from "./third-opinion.js";
import { unreadPolicies } from "./unread-policies.js";

export interface Profile {
  readonly text: string;
  readonly engine: IptablesPlaneOptions["profile"] | "cilium";
  /** Enforces NetworkPolicy at all. */
  readonly policyEngine: boolean;
}

export { CILIUM_VERSIONS } from "./ebpf/options.js";
export { type Denial, policyDenial, policyDenialNow } from "./third-opinion.js";
export { assumedNetwork, type GivenNetwork, kubeProxyRefusal, type Network, unmodelledKubeProxy } from "./network.js";

export interface PlaneInputs {
  readonly cluster: Cluster;
  readonly epochNs: bigint;
  readonly wasm: { readonly fast: Uint8Array<ArrayBuffer>; readonly traced: Uint8Array<ArrayBuffer> };
  readonly network: Network;
  readonly seed: number;
  readonly traced: boolean;
  /** kube-proxy deletes stale UDP entries on a change; false where the timeline has the deletions that were observed. */
  readonly udpCleanup: boolean;
  /** Nodes' own rules, in place of generated ones; for a plane of iptables rules. */
  readonly rulesByNode?: ReadonlyMap<string, NodeDump>;
  /** Cilium's options as the user states them, by Cilium's names; they win over what the cluster says. */
  readonly cilium?: Readonly<Record<string, unknown>>;
}

export const PROFILES_HELP = `Profiles:
  kube-proxy        iptables rules of kube-proxy, no policy engine
  kube-proxy+spec   the same with NetworkPolicy, AdminNetworkPolicy and ClusterNetworkPolicy by their words
  kube-proxy+npm    the same with Azure Network Policy Manager's rules and IP sets
  kube-proxy+calico the same with Calico's rules and IP sets (Felix)
  cilium@1.20       Cilium's eBPF dataplane, that version (${CILIUM_VERSIONS.join(", ")})
  aks@1.33          Azure CNI powered by Cilium as AKS ships it for that Kubernetes minor (1.31 to 1.35);
                    aks@1.33+host-routing with eBPF host routing`;

/** The profile, or a sentence that says what is wrong with the text. */
export function parseProfile(text: string): Profile | string {
  if (text === "kube-proxy") return { text, engine: text, policyEngine: false };
  if (text === "kube-proxy+spec" || text === "kube-proxy+npm" || text === "kube-proxy+calico") {
    return { text, engine: text, policyEngine: true };
  }
  if (isCiliumProfile(text)) {
    const preset = readPreset(text);
    return typeof preset === "string" ? preset : { text, engine: "cilium", policyEngine: true };
  }
  return `no profile '${text}'; expected kube-proxy, kube-proxy+spec, kube-proxy+npm, kube-proxy+calico, cilium@1.20`
    + ` (other versions: ${CILIUM_VERSIONS.join(", ")}) or aks@1.33`;
}

/** Every profile by name, and what it is. */
export function profileNames(): { readonly name: string; readonly what: string }[] {
  return [
    { name: "kube-proxy", what: "kube-proxy's iptables rules" },
    { name: "kube-proxy+spec", what: "the same, with policies by the words of their APIs" },
    { name: "kube-proxy+npm", what: "the same, with Azure Network Policy Manager" },
    { name: "kube-proxy+calico", what: "the same, with Calico's Felix" },
    ...CILIUM_VERSIONS.map((version) => ({ name: `cilium@${version}`, what: `Cilium, recorded of ${RECORDED_RELEASES[version]}` })),
    ...Object.entries(AKS_RELEASES).map(([kubernetes, release]) => {
      const preset = readPreset(`aks@${kubernetes}`);
      const none = typeof preset === "string" ? ", which is not modelled" : "";
      return { name: `aks@${kubernetes}`, what: `Azure CNI powered by Cilium ${release} or later${none}` };
    }),
  ];
}

/** What is modelled of a profile, or why that cannot be said. */
export function supportOfProfile(text: string): ProfileSupport | string {
  const profile = parseProfile(text);
  if (typeof profile === "string") return profile;
  return profile.engine === "cilium" ? supportOf(text)
    : `${text} has no options of Cilium; expected a profile such as cilium@1.20 or aks@1.33`;
}

export function buildPlane(name: string, profile: Profile, inputs: PlaneInputs): Plane {
  const { cluster, epochNs, network, seed, traced } = inputs;
  if (profile.engine === "cilium") {
    const assumed = assumedOptions(cluster, network);
    const { options } = ciliumOptions(profile.text, cluster, inputs.cilium, assumed);
    const plane = createEbpfPlane({ name, profile: profile.text, cluster, epochNs, wasm: inputs.wasm, seed, traced, assumed,
      ...(network.names === undefined ? {} : { names: network.names }),
      ...(inputs.cilium === undefined ? {} : { cilium: inputs.cilium }), nodeRules: ciliumNodeRules(options, network) });
    if (options.masqueradeAgent && network.masquerade?.agent !== "ip-masq-agent") {
      plane.problems.push({ where: null, severity: "warning", what: AGENT_ASSUMED });
    }
    return plane;
  }
  return createIptablesPlane({
    name, profile: profile.engine, cluster, epochNs, seed, traced, udpCleanup: inputs.udpCleanup,
    config: iptablesConfig(network, profile.engine), ...policyOf(profile.engine, cluster, network),
    ...(inputs.rulesByNode === undefined ? {} : { rulesByNode: inputs.rulesByNode, setMaker: setMaker(network) }),
  });
}

/** What the plane has beside rules: an engine to ask, and what it says of a cluster's policies. */
function policyOf(engine: Profile["engine"], cluster: Cluster, network: Network)
  : Pick<IptablesPlaneOptions, "policyEngine" | "problemsOf"> {
  if (engine === "kube-proxy+spec") return { policyEngine: wordsEngine, problemsOf: (now) => unreadPolicies(now, engine, true) };
  if (engine === "kube-proxy+calico") {
    return { problemsOf: (now) => [...calicoProblems(now, calicoConfig(network)), ...unreadPolicies(now, engine, true)] };
  }
  if (engine !== "kube-proxy+npm") return {};
  return { problemsOf: (now) => [...npmProblems(now), ...unreadPolicies(now, engine, false)],
    ...(npmConfig(cluster).config.EnableV2NPM ? {} : { policyEngine: () => npmV1Engine }) };
}

/** NPM v1 has other chains, which are not modelled. */
const npmV1Engine: PolicyEngine = () => {
  const by = [{ where: null, object: "Azure NPM v1 (EnableV2NPM false) is not modelled", rule: "EnableV2NPM" }];
  return { egress: { verdict: "undecided", by }, ingress: { verdict: "undecided", by } };
};

function calicoConfig(network: Network): CalicoConfig {
  return { ...CALICO_DEFAULTS, assumedPools: network.clusterCidrs.map((cidr) => ({ cidr, natOutgoing: true })) };
}

/** The sets that Azure NPM and Calico keep on a node; each is asked for rules that name its sets. */
function setMaker(network: Network): SetMaker {
  return (cluster, node, family, rules) => {
    const npm = family === 4 && rules.includes("azure-npm-") ? npmSets(cluster, rules, node.name) : "";
    const hasCalico = /--(match|add|del)-set cali/.test(rules);
    const calico = hasCalico ? generateCalico(cluster, node, family, calicoConfig(network)).sets ?? [] : [];
    return npm + calico.map((line) => `${line}\n`).join("");
  };
}

/** How nodes' rules are generated. */
export function iptablesConfig(network: Network, engine: Profile["engine"] = "kube-proxy"): IptablesConfig {
  const base = baseConfig(network);
  if (engine === "kube-proxy+npm") return { ...base, programs: [...(base.programs ?? []), npmProgram()] };
  if (engine === "kube-proxy+calico") {
    // Calico masquerades what leaves its pools; another agent does it too only where objects say that there is one.
    const masquerade = base.masquerade.agent === "cni" ? { agent: "none" as const } : base.masquerade;
    return { ...base, masquerade, programs: [...(base.programs ?? []), calicoProgram(calicoConfig(network))] };
  }
  return base;
}

function baseConfig(network: Network): IptablesConfig {
  const { clusterCidrs, nonMasqueradeCidrs, portmap } = network;
  return {
    kubeProxy: network.kubeProxy ?? { ...KUBE_PROXY_DEFAULTS, clusterCIDR: clusterCidrs },
    masquerade: network.masquerade ?? cniMasquerade("cni", clusterCidrs, nonMasqueradeCidrs),
    ...(portmap === undefined ? {} : { programs: [portmapProgram(portmap)],
      sysctls: (cluster, node) => portmapSysctls(portmap, cluster, node) }),
  };
}

/**
 * Rules of a node that runs Cilium: Cilium's own at the head of each chain, behind them those of a masquerade agent where
 * one runs beside it.
 */
function ciliumNodeRules(options: CiliumOptions, network: Network): RuleGiver {
  const agent = options.masqueradeAgent ? agentBesideCilium(network) : { agent: "none" as const };
  return (_cluster, _node, family, own) => joinRules([masqueradePart(agent, family), own]);
}

const AGENT_ASSUMED = "no ConfigMap of ip-masq-agent is given; AKS's is assumed, which exempts the pods' ranges from masquerading and " +
  "not link-local";

/** AKS runs ip-masq-agent-v2, and keeps a file for it that exempts the pods' ranges and masquerades link-local. */
function agentBesideCilium({ masquerade, clusterCidrs }: Network): MasqueradeConfig {
  if (masquerade?.agent === "ip-masq-agent") return masquerade;
  return { agent: "ip-masq-agent", chain: "IP-MASQ-AGENT", enableIPv6: clusterCidrs.some((range) => range.address.family === 6),
    nonMasqueradeCIDRs: clusterCidrs.map((range) => ({ range, where: null })), masqLinkLocal: true, masqLinkLocalIPv6: true,
    randomFully: false, stopped: false };
}

/** What preconditions of differences ask of a profile: its version and options, as a cluster and the user set them. */
export function settingOf(profile: Profile, cluster: Cluster, network: Network, given: Readonly<Record<string, unknown>> = {})
  : SettingSide {
  if (profile.engine !== "cilium") {
    const { kubeProxy, masquerade } = iptablesConfig(network, profile.engine);
    const ofAgent = rangesOfAgent(masquerade);
    const unmasqueraded = profile.engine === "kube-proxy+calico" ? rangesOfBoth(ofAgent, rangesOfCalico(cluster, network.clusterCidrs))
      : ofAgent;
    return { profile: profile.text, version: "", options: {}, podRanges: kubeProxy.clusterCIDR,
      ...(unmasqueraded === undefined ? {} : { unmasqueraded }) };
  }
  const { options } = ciliumOptions(profile.text, cluster, given, assumedOptions(cluster, network));
  const unmasqueraded = rangesOfCilium(cluster, options, agentBesideCilium(network));
  return { profile: profile.text, version: options.version, options: { ...options },
    ...(unmasqueraded === undefined ? {} : { unmasqueraded }),
    keepsLabel: (key) => labelFilter(options).keeps(key),
    optionPlace: (name) => placeOf(options, name) };
}

/** Where an option was read; undefined where the version does not have it. */
function placeOf(options: CiliumOptions, name: string): Where | null | undefined {
  const known = OPTION_NAMES.find((one) => one === name);
  if (known === undefined || fixedValue(known, options.version) !== undefined) return undefined;
  return options.grades[known] === "read" ? options.where : null;
}

/** Limits of a built plane; none where the plane has no such maps. */
export function limitsOf(plane: Plane): LimitRow[] {
  return plane instanceof EbpfPlane ? checkLimits(plane.image) : [];
}

/** What `check` says of a target, without traffic. */
export function checkTarget(profile: Profile, cluster: Cluster, network: Network): CheckResult & { problems: readonly Problem[] } {
  const image = imageOf(profile, cluster, network);
  let mostEntries = 0;
  for (const map of image.policies.endpoints.maps) mostEntries = Math.max(mostEntries, map.size);
  return {
    profile: profile.text, endpoints: cluster.pods.filter(hasOwnAddress).length,
    identities: image.policies.identities.all.filter((one) => one.kind === "pod").length,
    mostEntries, maxEntries: image.options["bpf-policy-map-max"], limits: checkLimits(image), problems: image.problems,
  };
}

/**
 * Every limit of a target and how much of it the cluster takes, the fullest map of a kind, with who adds most to it. Policy
 * maps are compiled as if they had room for all entries.
 */
export function usageOf(profile: Profile, cluster: Cluster, network: Network): Usage {
  const { options } = ciliumOptions(profile.text, cluster, {}, assumedOptions(cluster, network));
  const roomy = { ...options, "bpf-policy-map-max": Number.MAX_SAFE_INTEGER };
  const given = network.names === undefined ? {} : { names: network.names };
  const image = { ...compileForLimits({ cluster, options: roomy, ...given }), options };
  const fullest = new Map<string, LimitRow>();
  for (const row of checkLimits(image, 0)) {
    const key = `${row.id} ${row.limit}`;
    if ((fullest.get(key)?.used ?? -1) < row.used) fullest.set(key, row);
  }
  const { maps } = image.policies.endpoints;
  const most = maps.reduce<PolicyMap | null>((max, map) => (max === null || map.size > max.size ? map : max), null);
  const limits = [...fullest.values()].filter(({ used }) => used > 0)
    .map((row) => (row.id === "CAP-POLICYMAP" && most !== null ? { ...row, because: blame(image, most) } : row));
  const over = maps.map(({ size }) => size > options["bpf-policy-map-max"]);
  const perNode = new Map<string, number>();
  for (const pod of cluster.pods) if (hasOwnAddress(pod)) perNode.set(pod.nodeName, (perNode.get(pod.nodeName) ?? 0) + 1);
  return { pods: cluster.pods.filter(hasOwnAddress).length, nodes: cluster.nodes.length, limits,
    overflowing: image.policies.endpoints.ofPod.reduce((sum, at) => sum + Number(at >= 0 && over[at]), 0),
    podsOfFullestNode: Math.max(0, ...perNode.values()), tcpConnections: options["bpf-ct-global-tcp-max"],
    otherConnections: options["bpf-ct-global-any-max"], translations: options["bpf-nat-global-max"] };
}

/** The compiled maps as `cilium-dbg bpf … list` prints them. */
export function dumpMaps(profile: Profile, cluster: Cluster, network: Network): string {
  return dumpImage(imageOf(profile, cluster, network));
}

/** The generated rules as `iptables-save` prints them, of one node or all; before them its sets as `ipset save` does. */
export function dumpRules(cluster: Cluster, network: Network, only: string | null, engine: Profile["engine"] = "kube-proxy"): string {
  const config = iptablesConfig(network, engine);
  return cluster.nodes.filter((node) => only === null || node.name === only)
    .flatMap((node) => {
      const generated = ([4, 6] as const).map((family) => ({ family, rules: generatedRules(cluster, node, family, config) }));
      const sets = generated.map(({ rules }) => rules.sets).join("");
      return [sets === "" ? "" : `# ${node.name}, IP sets\n${sets}`,
        // The headers of the real programs, so that what reads their output tells the families apart.
        ...generated.map(({ family, rules }) => `# Generated by ${family === 4 ? "iptables" : "ip6tables"}-save, as of ${node.name}\n`
          + rules.text)];
    }).join("");
}

/** What the programs whose rules these are refuse or ignore of the cluster's policies. */
export function rulesProblems(cluster: Cluster, network: Network, engine: Profile["engine"]): readonly Problem[] {
  return policyOf(engine, cluster, network).problemsOf?.(cluster) ?? [];
}

function imageOf(profile: Profile, cluster: Cluster, network: Network): MapImage {
  const text = profile.engine === "cilium" ? profile.text : "cilium@1.20";
  const { options, problems } = ciliumOptions(text, cluster, {}, assumedOptions(cluster, network));
  const image = compileImage({ cluster, options, ...(network.names === undefined ? {} : { names: network.names }) });
  return { ...image, problems: [...problems, ...image.problems] };
}

/** The errors of `checkTarget` that have a place, at less cost. */
export function placedErrorsOf(profile: Profile, cluster: Cluster, network: Network): Problem[] {
  const { options, problems } = ciliumOptions(profile.text, cluster, {}, assumedOptions(cluster, network));
  return [...problems.filter(({ where, severity }) => where !== null && severity === "error"),
    ...placedErrors({ cluster, options, ...(network.names === undefined ? {} : { names: network.names }) })];
}

/** What is wrong with options that the user states for a profile, a sentence each. */
export function wrongOptions(profile: Profile, given: Readonly<Record<string, unknown>>): string[] {
  if (profile.engine !== "cilium") return Object.keys(given).length === 0 ? [] : [`${profile.text} has no options of Cilium`];
  const unknown = Object.keys(given).filter((name) => !(OPTION_NAMES as readonly string[]).includes(name));
  return [...unknown.map((name) => `no option ${name} is known that changes what becomes of a packet`),
    ...ciliumOptions(profile.text, null, given).problems.filter((one) => one.severity === "error").map((one) => one.what)];
}

/** Options that follow from the network both planes are given; what the cluster's own cilium-config says stands. */
function assumedOptions(cluster: Cluster, network: Network): Record<string, unknown> {
  const native = (family: Family): string | undefined => network.clusterCidrs.find((one) => one.address.family === family)?.text;
  const v6 = cluster.pods.some((pod) => pod.ips.some((ip) => ip.family === 6));
  return {
    // Pods are balanced per packet, because a capture shows what they sent before any translation; a node's own
    // sockets are balanced at connect(), because Cilium has no program on their way out.
    "bpf-lb-sock": true, "bpf-lb-sock-hostns-only": true,
    "enable-ipv6": v6,
    ...(native(4) === undefined ? {} : { "ipv4-native-routing-cidr": native(4) }),
    ...(native(6) === undefined ? {} : { "ipv6-native-routing-cidr": native(6) }),
  };
}
