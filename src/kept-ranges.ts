/**
 * Destinations outside pods and nodes that see a pod's own address, as each side's configuration says it: by which list a
 * difference in masquerading is told (NAT-MASQ-SET). Not what a plane does with them.
 */
import { parsePrefix, type Prefix, prefixContains } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import { compileIpMasq } from "./ebpf/compile/ipmasq.js";
import { masqueradesAny } from "./ebpf/masquerading.js";
import type { CiliumOptions } from "./ebpf/options.js";
import type { MasqueradeConfig } from "./iptables/masquerade/cni.js";

const EVERYTHING = ["0.0.0.0/0", "::/0"].map((text) => parsePrefix(text)!);
const LINK_LOCAL = { 4: parsePrefix("169.254.0.0/16")!, 6: parsePrefix("fe80::/10")! };

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
      return compileIpMasq(cluster, options, []).map(({ range }) => range).filter((range) => range.address.family === family);
    }
    const leaves = options["enable-bpf-masquerade"] || isByDevice(cluster, options);
    if (leaves === false) return [all];
    const native = parsePrefix(options[`ipv${family}-native-routing-cidr`]);
    return leaves === null || native === null || options["routing-mode"] === "tunnel" ? null : [native];
  });
  return found.includes(null) ? undefined : found.flatMap((ranges) => ranges ?? []);
}

/** Whether nodes' uplinks are among those at which iptables masquerade (egress-masquerade-interfaces); null: some are. */
function isByDevice({ nodes }: Cluster, options: CiliumOptions): boolean | null {
  const chosen = options["egress-masquerade-interfaces"].split(/[\s,]+/).filter((name) => name !== "");
  if (chosen.length === 0) return true;
  const uplinks = nodes.flatMap(({ facts }) => facts.devices.filter(({ kind }) => kind === "uplink").map(({ name }) => name));
  const found = uplinks.map((name) => chosen.some((one) => one === name || (one.endsWith("+") && name.startsWith(one.slice(0, -1)))));
  return found.every((one) => one) ? true : found.some((one) => one) ? null : false;
}
