/**
 * Profiles: what a plane is asked to be, and how it is built.
 *
 *     kube-proxy            kube-proxy's iptables rules, no policy engine
 *     kube-proxy+spec       the same, with NetworkPolicy judged by the words of its API
 *     cilium@1.20           Cilium's eBPF dataplane
 */
import type { Cluster } from "./cluster/cluster.js";
import type { Plane } from "./dataplane.js";
import { createEbpfPlane } from "./ebpf/plane.js";
import { createIptablesPlane } from "./iptables/plane.js";

export interface Profile {
  readonly text: string;
  readonly engine: "iptables" | "ebpf";
  /** Enforces NetworkPolicy at all. */
  readonly policyEngine: boolean;
}

export interface PlaneInputs {
  readonly cluster: Cluster;
  readonly epochNs: bigint;
  readonly wasm: { readonly fast: Uint8Array<ArrayBuffer>; readonly traced: Uint8Array<ArrayBuffer> };
  /** Pod ranges as texts; empty: from the nodes' podCIDRs. */
  readonly clusterCidrs: readonly string[];
  readonly seed: string;
  readonly traced: boolean;
}

export const PROFILES_HELP = `Profiles:
  kube-proxy        iptables rules of kube-proxy, no policy engine
  kube-proxy+spec   the same with NetworkPolicy as the API's words say
  cilium@1.20       Cilium's eBPF dataplane, that version`;

/** The profile, or a sentence that says what is wrong with the text. */
export function parseProfile(text: string): Profile | string {
  if (text === "kube-proxy" || text === "kube-proxy+spec") return { text, engine: "iptables", policyEngine: text.endsWith("+spec") };
  if (/^cilium@1\.(16|17|18|19|20)$/.test(text)) return { text, engine: "ebpf", policyEngine: true };
  return `no profile '${text}'; expected kube-proxy, kube-proxy+spec or cilium@1.20`;
}

export function buildPlane(name: string, profile: Profile, inputs: PlaneInputs): Plane {
  if (profile.engine === "ebpf") return createEbpfPlane({ name, profile: profile.text, ...inputs });
  return createIptablesPlane({ name, profile: profile.text, ...inputs });
}
