/**
 * Who writes a chain of a node, and how old the kube-proxy is that wrote a dump: told by the names of chains and by
 * rules that later versions write differently.
 *
 * Sources: kubernetes pkg/proxy/iptables/proxier.go and pkg/kubelet/kubelet_network_linux.go, with the changes that
 * removed KUBE-XLB (kubernetes#109060) and KUBE-MARK-DROP (kubernetes#110289); Azure NPM's
 * pkg/dataplane/policies/const.go; Felix's rules/rule_defs.go; the portmap plugin's chain.go; Cilium's
 * pkg/datapath/iptables; ip-masq-agent-v2.
 */
import type { RuleSet } from "../../linux/netfilter/rule-set.js";
import type { Rule } from "../../linux/netfilter/rule.js";

const OWNERS: readonly (readonly [RegExp, string])[] = [
  [/^KUBE-(SVC|SVL|XLB|EXT|FW|SEP)-/, "kube-proxy"],
  [/^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|FORWARD|PROXY-FIREWALL|POSTROUTING|MARK-MASQ|PROXY-CANARY)$/, "kube-proxy"],
  [/^KUBE-(KUBELET-CANARY|MARK-DROP|IPTABLES-HINT)$/, "kubelet"],
  [/^KUBE-FIREWALL$/, "kube-proxy or kubelet"],
  [/^(KUBE-NWPLCY|KUBE-POD-FW|KUBE-ROUTER)/, "kube-router"],
  [/^AZURE-NPM/, "Azure NPM"],
  [/^(OLD_)?CILIUM_/, "Cilium"],
  [/^cali[-_]|^felix-/, "Calico"],
  [/^IP-MASQ(-AGENT)?$|^IP-MASQ-/, "ip-masq-agent"],
  [/^CNI-HOSTPORT-|^CNI-DN-/, "CNI portmap"],
  [/^CNI-(FORWARD|ADMIN)$/, "CNI firewall"],
  [/^CNI-MASQ$/, "CNI masquerade"],
  [/^CNI-[0-9a-f]{24}$/, "CNI bridge"],
  [/^KIND-MASQ-AGENT$/, "kindnet"],
  [/^FLANNEL-/, "flannel"],
  [/^WEAVE/, "Weave Net"],
  [/^ANTREA-/, "Antrea"],
  [/^ISTIO_/, "Istio"],
  [/^DOCKER/, "Docker"],
  [/^LIBVIRT_/, "libvirt"],
  [/^(ufw6?-|f2b-)/, "the host's firewall"],
];

/** The program that writes a rule: by its chain, in a built-in chain by where it leads or what its comment says. */
export function ownerOf(chain: string, isBuiltin: boolean, rule: Rule): string {
  if (!isBuiltin) return ownerOfChain(chain) ?? "unknown";
  if (rule.target.kind === "jump") {
    const owner = ownerOfChain(rule.target.chain);
    if (owner !== null) return owner;
  }
  const comment = commentOf(rule);
  if (/^cali:/.test(comment)) return "Calico";
  if (/^cilium/i.test(comment)) return "Cilium";
  if (/^flanneld/.test(comment)) return "flannel";
  if (/docker/.test(rule.inDevice?.name ?? "") || /docker/.test(rule.outDevice?.name ?? "")) return "Docker";
  // The Azure fabric's address for agents and health probes.
  if ([rule.destination, rule.source].some((one) => one?.text === "168.63.129.16/32")) return "Azure";
  return "unknown";
}

export function ownerOfChain(chain: string): string | null {
  return OWNERS.find(([pattern]) => pattern.test(chain))?.[1] ?? null;
}

export function commentOf(rule: Rule): string {
  for (const match of rule.matches) if (match.kind === "comment") return match.text;
  return "";
}

/** Signs of a kube-proxy whose rules this project's generator does not write, one sentence each; empty: none seen. */
export function signsOfAge(set: RuleSet): string[] {
  const signs: string[] = [];
  const [nat, filter] = [set.tables.get("nat"), set.tables.get("filter")];
  const natChains = [...nat?.chains.keys() ?? []];
  if (natChains.some((chain) => chain.startsWith("KUBE-XLB-"))) signs.push("written by kube-proxy < 1.24: chains KUBE-XLB-…");
  const marksDrop = natChains.some((chain) => chain.startsWith("KUBE-FW-")
    && nat?.chains.get(chain)?.rules.some((rule) => rule.target.kind === "jump" && rule.target.chain === "KUBE-MARK-DROP"));
  if (marksDrop) signs.push("written by kube-proxy < 1.25: KUBE-FW-… leads to KUBE-MARK-DROP");
  if (natChains.includes("KUBE-SERVICES") && filter !== undefined && !filter.chains.has("KUBE-PROXY-FIREWALL")) {
    signs.push("written by kube-proxy < 1.25: no chain KUBE-PROXY-FIREWALL");
  }
  const forwarding = (filter?.chains.get("KUBE-FORWARD")?.rules ?? []).map(commentOf);
  if (forwarding.includes("kubernetes forwarding conntrack pod source rule")) {
    signs.push("written by an older kube-proxy: two conntrack rules in KUBE-FORWARD");
  }
  return signs;
}
