/**
 * Who masquerades what pods send: the programs (enable-bpf-masquerade), the node's iptables, or nobody.
 *
 * That programs do it is an assumption of profiles whose programs replace kube-proxy, because installations that do so say it.
 * The agent's own default is iptables: it holds where a whole cilium-config is silent, as Helm's is then, and where the agent
 * would not start with the assumption.
 */
import type { OptionGrade } from "./options.js";
import type { OptionName, OptionValues } from "./option-values.js";

/** Options that the agent refuses without BPF masquerading; assumed ones go with it. */
const OF_BPF: readonly OptionName[] = ["enable-ip-masq-agent", "enable-remote-node-masquerade"];

/** MasqueradingEnabled: of a family that is enabled. */
export function masqueradesAny(options: Pick<OptionValues, "enable-ipv4" | "enable-ipv6" | "enable-ipv4-masquerade"
  | "enable-ipv6-masquerade">): boolean {
  return (options["enable-ipv4"] && options["enable-ipv4-masquerade"]) || (options["enable-ipv6"] && options["enable-ipv6-masquerade"]);
}

/** IptablesMasqueradingEnabled: left to the node's iptables, whether or not the agent may write rules there. */
export function masqueradesBesideBpf(options: OptionValues): boolean {
  return !options["enable-bpf-masquerade"] && masqueradesAny(options);
}

/** ENABLE_NODEPORT: programs have node ports and SNAT; from 1.19 for BPF masquerading alone too (WriteNodeConfig). */
export function hasNodePort(options: OptionValues & { readonly version: string }): boolean {
  return options["kube-proxy-replacement"] || (options["enable-bpf-masquerade"] && options.version >= "1.19");
}

/** What every cilium-config of Helm's says; one without them is a part of one, which leaves the rest to the profile. */
const OF_WHOLE: readonly OptionName[] = ["kube-proxy-replacement", "routing-mode", "enable-ipv4-masquerade"];

export function settleMasquerading(values: Record<string, unknown>, grades: Record<string, OptionGrade>): void {
  const options = values as unknown as OptionValues;
  const silent = OF_WHOLE.every((name) => grades[name] === "read");
  if (grades["enable-bpf-masquerade"] !== "read" && (silent || !options["kube-proxy-replacement"] || !masqueradesAny(options))) {
    values["enable-bpf-masquerade"] = false;
    grades["enable-bpf-masquerade"] = "documented";
  }
  if (options["enable-bpf-masquerade"]) return;
  for (const name of OF_BPF) if (grades[name] !== "read") values[name] = false;
}
