/**
 * Whether nodes have tunnels between them, and of what kind (pkg/datapath/tunnel): in tunnel mode, and where something else asks
 * for them (EnablerOut).
 */
import { TunnelProtocol } from "../contract/codes.js";
import type { CiliumOptions } from "./options.js";

export function tunnelProtocol(options: CiliumOptions): number {
  if (!hasTunnel(options)) return TunnelProtocol.values.NONE;
  return options["tunnel-protocol"] === "vxlan" ? TunnelProtocol.values.VXLAN : TunnelProtocol.values.GENEVE;
}

/** In native routing egress gateways and direct server return through Geneve have a tunnel to each node. */
export function hasTunnel(options: CiliumOptions): boolean {
  return options["routing-mode"] === "tunnel" || options["enable-egress-gateway"]
    || (options["kube-proxy-replacement"] && usesDsr(options) && options["bpf-lb-dsr-dispatch"] === "geneve");
}

/** LoadBalancerUsesDSR. */
export function usesDsr(options: CiliumOptions): boolean {
  return hasOwnModes(options) || options["bpf-lb-mode"] !== "snat";
}

export function hasOwnModes(options: CiliumOptions): boolean {
  return options["bpf-lb-mode-annotation"] && options.version !== "1.16";
}

/** Direct server return in IP headers of its own, which is XDP's up to 1.18: a tc program's packets have no inner header. */
export function ipipByXdp(options: CiliumOptions): boolean {
  return usesDsr(options) && options["bpf-lb-dsr-dispatch"] === "ipip" && ["1.16", "1.17", "1.18"].includes(options.version);
}

/** tunnel-port 0 is the protocol's own: Linux's for VXLAN, IANA's for Geneve (pkg/defaults). */
export function tunnelPort(options: CiliumOptions): number {
  if (options["tunnel-port"] !== 0) return options["tunnel-port"];
  return options["tunnel-protocol"] === "vxlan" ? 8472 : 6081;
}
