/**
 * Destinations outside pods and nodes that see a pod's own address, as each side's configuration says it: by which list a
 * difference in masquerading is told (NAT-MASQ-SET). Not what a plane does with them: what Cilium's agent reads is read
 * here a second time, so that a mistake of the plane's compiler is no difference that is known.
 */
import { parsePrefix, type Prefix, prefixContains } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import { innerDocument, textAt } from "./cluster/lines.js";
import type { Problem } from "./cluster/problem.js";
import { masqueradesAny } from "./ebpf/masquerading.js";
import type { CiliumOptions } from "./ebpf/options.js";
import type { MasqueradeConfig } from "./iptables/masquerade/cni.js";

const EVERYTHING = ["0.0.0.0/0", "::/0"].map((text) => parsePrefix(text)!);
const LINK_LOCAL = { 4: parsePrefix("169.254.0.0/16")!, 6: parsePrefix("fe80::/10")! };
/** What Cilium's ip-masq-agent keeps without a file: private and shared networks, those for documentation and tests, class E. */
const WITHOUT_FILE = ("10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15"
  + " 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4").split(" ").map((text) => parsePrefix(text)!);

/** Of a masquerade agent or CNI plugin. */
export function rangesOfAgent(config: MasqueradeConfig): readonly Prefix[] {
  if (config.agent === "none") return EVERYTHING;
  if (config.agent === "cni") {
    const without = EVERYTHING.filter(({ address }) => !config.clusterCIDR.some((range) => range.address.family === address.family));
    return [...config.clusterCIDR, ...config.nonMasqueradeCIDRs, ...without];
  }
  if (config.stopped) return EVERYTHING;
  return [...config.nonMasqueradeCIDRs.map(({ range }) => range), ...(config.masqLinkLocal ? [] : [LINK_LOCAL[4]]),
    ...(config.masqLinkLocalIPv6 ? [] : [LINK_LOCAL[6]]), ...(config.enableIPv6 ? [] : [EVERYTHING[1]])];
}

/** Of Calico: its pools; undefined where objects say which those are. */
export function rangesOfCalico(cluster: Cluster, assumedPools: readonly Prefix[]): readonly Prefix[] | undefined {
  return cluster.others.some(({ kind }) => kind === "IPPool") ? undefined : assumedPools;
}

/** Of two that masquerade one after the other: what both keep. */
export function rangesOfBoth(one: readonly Prefix[], other: readonly Prefix[] | undefined): readonly Prefix[] | undefined {
  return other?.flatMap((range) => one.flatMap((kept) => (within(kept, range) ? [kept] : within(range, kept) ? [range] : [])));
}

function within(inner: Prefix, outer: Prefix): boolean {
  return inner.address.family === outer.address.family && inner.length >= outer.length && prefixContains(outer, inner.address);
}

/** Of Cilium, and of an agent that masquerades beside it; undefined: nodes' own pod ranges, or not known. */
export function rangesOfCilium(cluster: Cluster, options: CiliumOptions, beside: MasqueradeConfig): readonly Prefix[] | undefined {
  if (options.masqueradeAgent && !masqueradesAny(options)) return rangesOfAgent(beside);
  const found = EVERYTHING.map((all) => {
    const { family } = all.address;
    // What an agent does not speak is in no list of its, and says nothing of the other family's.
    if (!options[`enable-ipv${family}`]) return [];
    if (!options[`enable-ipv${family}-masquerade`]) return [all];
    if (options["enable-bpf-masquerade"] && options["enable-ip-masq-agent"]) {
      return listOfCilium(cluster).filter((range) => range.address.family === family);
    }
    const leaves = options["enable-bpf-masquerade"] || isByDevice(cluster, options);
    if (leaves === false) return [all];
    const native = parsePrefix(options[`ipv${family}-native-routing-cidr`]);
    return leaves === null || native === null || options["routing-mode"] === "tunnel" ? null : [native];
  });
  return found.includes(null) ? undefined : found.flatMap((ranges) => ranges ?? []);
}

/**
 * The list of Cilium's ip-masq-agent, Documentation/network/concepts/masquerading.rst and pkg/ipmasq: key `config` of ConfigMap
 * ip-masq-agent beside the agent. One that it cannot read keeps nothing.
 */
function listOfCilium({ others }: Cluster): readonly Prefix[] {
  const maps = others.filter(({ kind }) => kind === "ConfigMap");
  const homes = maps.filter(({ name }) => name === "cilium-config").map(({ namespace }) => namespace).sort();
  const home = homes.includes("kube-system") ? "kube-system" : homes[0] ?? "kube-system";
  const file = maps.find(({ name, namespace }) => name === "ip-masq-agent" && namespace === home);
  if (file === undefined || (textAt(file, ["data", "config"]) ?? "") === "") return [...WITHOUT_FILE, LINK_LOCAL[4], LINK_LOCAL[6]];
  const problems: Problem[] = [];
  const said = innerDocument(file, ["data", "config"], problems)?.value ?? {};
  if (problems.length > 0 || typeof said !== "object" || Array.isArray(said)) return [];
  // Go's decoder takes a field's name in any case, and null for a field that is not there.
  const field = (name: string): unknown => Object.entries(said).filter(([key, value]) => key.toLowerCase() === name && value !== null)
    .at(-1)?.[1];
  const [ranges, ...linkLocal] = ["nonmasqueradecidrs", "masqlinklocal", "masqlinklocalipv6"].map(field);
  const kept = Array.isArray(ranges ?? []) ? ((ranges ?? []) as unknown[]).map((text) =>
    (typeof text === "string" && text.includes("/") ? parsePrefix(text) : null)) : [null];
  if (linkLocal.some((value) => value !== undefined && typeof value !== "boolean")) return [];
  const known = kept.filter((range) => range !== null);
  return known.length < kept.length ? []
    : [...known, ...(linkLocal[0] === true ? [] : [LINK_LOCAL[4]]), ...(linkLocal[1] === true ? [] : [LINK_LOCAL[6]])];
}

/**
 * Whether nodes' uplinks are among those at which iptables masquerade (egress-masquerade-interfaces); null: some are. Each entry is
 * the device of a rule, where a `+` stands for any end. With enable-masquerade-to-route-source the agent itself looks devices up:
 * by a `+` from 1.17 on, from 1.19 on with `!` for what is left out, and the first entry that fits decides.
 */
function isByDevice({ nodes }: Cluster, options: CiliumOptions): boolean | null {
  const said = options["egress-masquerade-interfaces"].match(/[^\s,]+/g) ?? [];
  if (said.length === 0) return true;
  const byAgent = options["enable-masquerade-to-route-source"];
  const excludes = (one: string): boolean => byAgent && options.version >= "1.19" && one.startsWith("!");
  const fits = (name: string, one: string): boolean => (one.endsWith("+") && !(byAgent && options.version === "1.16")
    ? name.startsWith(one.replace(/\++$/, "")) : name === one);
  const isChosen = (name: string): boolean => {
    const first = said.find((one) => fits(name, excludes(one) ? one.slice(1) : one));
    return first !== undefined && !excludes(first);
  };
  const found = nodes.flatMap(({ facts }) => facts.devices.filter(({ kind }) => kind === "uplink").map(({ name }) => isChosen(name)));
  return found.every((one) => one) ? true : found.some((one) => one) ? null : false;
}
