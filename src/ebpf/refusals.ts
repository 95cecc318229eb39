/**
 * Options that the agent refuses together: it does not start, so that nothing can be said of its packets. Each is an error,
 * and every packet is undecided.
 *
 * Source: daemon/cmd (initKubeProxyReplacementOptions, daemon.go, daemon_main.go), pkg/egressgateway of the five trees.
 */
import type { Problem } from "../cluster/problem.js";
import { ipipByXdp, usesDsr } from "./encapsulation.js";
import { hasNodePort, masqueradesAny } from "./masquerading.js";
import type { OptionName } from "./option-values.js";
import type { CiliumOptions } from "./options.js";

interface Refusal {
  readonly name: OptionName;
  readonly when: (options: CiliumOptions) => boolean;
  /** What the agent asks for. */
  readonly needs: string;
}

const masquerades = (o: CiliumOptions): boolean => o["enable-bpf-masquerade"] && masqueradesAny(o);
/** Up to 1.18 node ports have an option of their own, which leaves every packet undecided (unread-options.ts). */
const hasOwnNodePort = (o: CiliumOptions): boolean => o.unread.some((what) => what.startsWith("option enable-node-port="));

const REFUSALS: readonly Refusal[] = [
  { name: "tunnel-protocol", needs: "geneve for direct server return in Geneve headers",
    when: (o) => o["tunnel-protocol"] !== "geneve" && o["bpf-lb-dsr-dispatch"] === "geneve" && usesDsr(o) && o["kube-proxy-replacement"] },
  { name: "enable-egress-gateway", needs: "enable-bpf-masquerade and enable-ipv4-masquerade",
    when: (o) => o["enable-egress-gateway"] && !(o["enable-bpf-masquerade"] && o["enable-ipv4-masquerade"]) },
  { name: "enable-bpf-masquerade", needs: "enable-ipv4-masquerade or enable-ipv6-masquerade",
    when: (o) => o["enable-bpf-masquerade"] && !masqueradesAny(o) },
  { name: "enable-bpf-masquerade", needs: "kube-proxy-replacement up to 1.18",
    when: (o) => masquerades(o) && o.version <= "1.18" && !o["kube-proxy-replacement"] && !hasOwnNodePort(o) },
  { name: "enable-ip-masq-agent", needs: "enable-bpf-masquerade, and masquerading of a family",
    when: (o) => o["enable-ip-masq-agent"] && !masquerades(o) },
  { name: "enable-remote-node-masquerade", needs: "enable-bpf-masquerade",
    when: (o) => o["enable-remote-node-masquerade"] && !o["enable-bpf-masquerade"] },
  { name: "bpf-lb-mode", needs: "routing-mode=native for direct server return by option or in IP headers of its own",
    when: (o) => o["bpf-lb-mode"] !== "snat" && o["bpf-lb-dsr-dispatch"] !== "geneve" && o["routing-mode"] === "tunnel"
      && o["kube-proxy-replacement"] },
  { name: "bpf-lb-dsr-dispatch", needs: "bpf-lb-acceleration, and up to 1.17 bpf-lb-mode=dsr with datapath-mode=lb-only, for ipip",
    when: (o) => ipipByXdp(o) && o["kube-proxy-replacement"] && (o.version === "1.18" ? o["bpf-lb-acceleration"] === "disabled"
      : o["bpf-lb-mode"] === "hybrid"
        || (o["bpf-lb-mode"] === "dsr" && (o["bpf-lb-acceleration"] === "disabled" || o["datapath-mode"] !== "lb-only"))) },
  { name: "egress-masquerade-interfaces", needs: "enable-bpf-masquerade=false",
    when: (o) => masquerades(o) && o["egress-masquerade-interfaces"] !== "" },
  { name: "enable-masquerade-to-route-source", needs: "enable-bpf-masquerade=false",
    when: (o) => masquerades(o) && o["enable-masquerade-to-route-source"] },
  { name: "install-iptables-rules", needs: "enable-l7-proxy=false, or from 1.20 enable-bpf-tproxy",
    when: (o) => !o["install-iptables-rules"] && o["enable-l7-proxy"] && !(o["enable-bpf-tproxy"] && o.version >= "1.20") },
  // NodePort and BPF masquerading tell by the rules' mark what the node itself sends.
  { name: "install-iptables-rules", needs: "kube-proxy-replacement=false and enable-bpf-masquerade=false from 1.20",
    when: (o) => !o["install-iptables-rules"] && o.version >= "1.20" && hasNodePort(o) },
  { name: "datapath-mode", needs: "another mode since 1.18", when: (o) => o["datapath-mode"] === "lb-only" && o.version >= "1.18" },
  { name: "datapath-mode", needs: "another mode before 1.20", when: (o) => o["datapath-mode"] === "auto" && o.version < "1.20" },
];

export function refusals(options: CiliumOptions): { readonly name: OptionName; readonly what: string }[] {
  return REFUSALS.filter((one) => one.when(options)).map(({ name, needs }) => (
    { name, what: `option ${name}=${String(options[name])}: the agent does not start; it needs ${needs}` }));
}

export function refusalProblems(options: CiliumOptions): Problem[] {
  return refusals(options).map(({ name, what }): Problem => (
    { where: options.grades[name] === "read" ? options.where : null, severity: "error", what }));
}

/** What the agent refuses of values of an option, as text; empty where it takes each. */
export function refusedValues(name: OptionName): string {
  return REFUSALS.filter((one) => one.name === name).map(({ needs }) => `refused unless it has ${needs}`).join("; ");
}
