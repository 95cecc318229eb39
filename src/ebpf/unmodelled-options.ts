/**
 * Option values that the maps and programs have no model for. Using the default in their place would be a guess, so
 * each is a Problem that says what is evaluated instead.
 */
import type { Problem } from "../cluster/problem.js";
import { refusesIpip, usesDsr } from "./encapsulation.js";
import type { CiliumOptions } from "./options.js";
import type { OptionName } from "./option-values.js";

export function refuseUnmodelled(options: CiliumOptions, problems: Problem[]): void {
  for (const { name, when, what } of UNMODELLED) {
    if (!when(options)) continue;
    const where = options.grades[name] === "read" ? options.where : null;
    problems.push({ where, severity: "warning", what: `option ${name}=${String(options[name])}: ${what}` });
  }
}

/** What is not modelled of values of an option; empty where every value is. */
export function unmodelledValues(name: OptionName): string {
  return UNMODELLED.find((one) => one.name === name)?.what ?? "";
}

/** Values that the maps and programs have no model for; using the default instead would be a guess. */
const UNMODELLED: readonly {
  readonly name: OptionName;
  readonly when: (options: CiliumOptions) => boolean;
  readonly what: string;
}[] = [
  {
    name: "kube-proxy-replacement",
    when: (o) => !o["kube-proxy-replacement"],
    what: "kube-proxy's iptables beside Cilium are not " + "part of this plane; node ports are not answered",
  },
  {
    name: "enable-bpf-masquerade",
    when: (o) => !o["enable-bpf-masquerade"] && o["routing-mode"] === "tunnel",
    what:
      "masquerading in the node's iptables is not modelled in tunnel mode; " +
      "where iptables may masquerade, what leaves the cluster from a pod is undecided",
  },
  {
    name: "bpf-lb-dsr-dispatch",
    when: refusesIpip,
    what: "up to 1.18 the agent refuses direct server return in IP headers of its own without XDP acceleration, which is not modelled; " +
      "what it may touch is undecided",
  },
  {
    name: "tunnel-protocol",
    when: (o) => o["tunnel-protocol"] !== "geneve" && o["bpf-lb-dsr-dispatch"] === "geneve" && usesDsr(o),
    what: "the agent refuses direct server return in Geneve headers with another tunnel protocol; requests to remote backends " +
      "are undecided",
  },
  {
    name: "enable-egress-gateway",
    when: (o) => o["enable-egress-gateway"] && !(o["enable-bpf-masquerade"] && o["enable-ipv4-masquerade"] && o["kube-proxy-replacement"]),
    what: "the agent refuses egress gateways without enable-bpf-masquerade, enable-ipv4-masquerade and kube-proxy-replacement; " +
      "the programs are evaluated as if it did not",
  },
  {
    name: "bpf-lb-mode",
    when: (o) => o["bpf-lb-mode"] !== "snat" && o["bpf-lb-dsr-dispatch"] !== "geneve" && o["routing-mode"] === "tunnel",
    what: "the agent refuses direct server return by option or in IP headers in tunnel mode; the programs are evaluated as if it did not",
  },
  {
    name: "bpf-lb-acceleration",
    when: (o) => o["bpf-lb-acceleration"] !== "disabled",
    what: "XDP acceleration is not modelled; the tc programs are evaluated",
  },
];
