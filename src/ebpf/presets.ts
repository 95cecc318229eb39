/**
 * Profiles of Cilium: what a name stands for. A version by itself, or what a managed offer ships.
 *
 *     cilium@1.18                          the agent's own defaults, and the assumptions of option-values.ts
 *     aks@1.33                             Azure CNI powered by Cilium on that Kubernetes minor
 *     aks:azure-cni-overlay+cilium@1.33    the same, with the network model named
 *     aks@1.33+host-routing                the same with eBPF host routing (Advanced Container Networking Services)
 *
 * Sources: AKS releases: MicrosoftDocs/azure-aks-docs, articles/aks/azure-cni-powered-by-cilium.md of 2026-06-26, which
 * names the least Cilium release of each Kubernetes minor. AKS options: Azure/azure-container-networking,
 * test/integration/manifests/cilium/v1.16 … v1.19, which are test manifests and no production dump: assumed.
 */
import { ASSUMED, type OptionName, type OptionValues } from "./option-values.js";

export type CiliumVersion = "1.16" | "1.17" | "1.18" | "1.19" | "1.20";

/** Versions with a profile. */
export const CILIUM_VERSIONS: readonly CiliumVersion[] = ["1.16", "1.17", "1.18", "1.19", "1.20"];

export interface Preset {
  readonly kind: "cilium" | "aks";
  readonly version: CiliumVersion;
  /** The release that the offer ships at least; null: no release was named. */
  readonly release: string | null;
  /** Kubernetes minor; null where the profile is of a version alone. */
  readonly kubernetes: string | null;
  /** Values in place of the agent's defaults. */
  readonly values: Readonly<Partial<OptionValues>>;
  /** Where `values` are from. */
  readonly source: string;
}

/** Least Cilium release by Kubernetes minor. */
export const AKS_RELEASES: Readonly<Record<string, string>> = {
  "1.29": "1.14.20", "1.30": "1.14.20", "1.31": "1.16.16", "1.32": "1.17.9", "1.33": "1.17.9", "1.34": "1.18.6", "1.35": "1.18.6",
};

/** The release whose tree each version's behaviour was recorded from or read in. */
export const RECORDED_RELEASES: Readonly<Record<CiliumVersion, string>> = {
  "1.16": "1.16.15", "1.17": "1.17.9", "1.18": "1.18.3", "1.19": "the 1.19 branch point", "1.20": "1.20.0-dev",
};

/**
 * Standard data plane: endpoint routes, legacy host routing, and masquerading left to ip-masq-agent's iptables rules.
 * Services of pods are translated at the pod; kube-proxy-replacement switches socket load balancing on whatever
 * `bpf-lb-sock` says.
 */
const AKS_STANDARD: Readonly<Partial<OptionValues>> = {
  "routing-mode": "native",
  "enable-endpoint-routes": true,
  "enable-host-legacy-routing": true,
  "kube-proxy-replacement": true,
  "enable-bpf-masquerade": false,
  "enable-ipv4-masquerade": false,
  "enable-ipv6-masquerade": false,
  "enable-l7-proxy": false,
  "bpf-lb-mode": "snat",
  "bpf-lb-sock": false,
  "bpf-lb-external-clusterip": false,
  "enable-session-affinity": true,
  "enable-source-ip-verification": true,
  "enable-sctp": false,
  "bpf-lb-map-max": 65536,
  "bpf-policy-map-max": 16384,
};

/** With eBPF host routing Cilium masquerades itself, by ip-masq-agent's list. */
const AKS_HOST_ROUTING: Readonly<Partial<OptionValues>> = {
  ...AKS_STANDARD,
  "enable-host-legacy-routing": false,
  "enable-bpf-masquerade": true,
  "enable-ipv4-masquerade": true,
  "enable-ip-masq-agent": true,
  "enable-remote-node-masquerade": true,
  "enable-l7-proxy": true,
  "enable-source-ip-verification": false,
  "bpf-lb-sock-hostns-only": true,
};

/** Network models that Azure CNI powered by Cilium has; all have the same options of Cilium's. */
const MODELS = ["azure-cni-overlay", "azure-cni-pod-subnet", "azure-cni-node-subnet"] as const;
const AKS = new RegExp(`^aks(?::(?:${MODELS.join("|")})\\+cilium)?@(\\d+\\.\\d+)(\\+host-routing)?$`);
const CILIUM = /^cilium(?:@v?(\d+\.\d+)(\.\d+)?(?:-[\w.]+)?)$/;

/** Whether a text means a profile of this kind at all, right or wrong. */
export function isCiliumProfile(text: string): boolean {
  return /^(aks|cilium)\b/.test(text);
}

/** The profile, or a sentence that says what is wrong with its name. */
export function readPreset(text: string): Preset | string {
  const cilium = CILIUM.exec(text);
  if (cilium !== null) {
    const [, asked, patch] = cilium;
    const version = CILIUM_VERSIONS.find((one) => one === asked);
    if (version === undefined) return `no profile '${text}'; expected cilium@${CILIUM_VERSIONS.join(", cilium@")}`;
    const release = patch === undefined ? null : `${asked}${patch}`;
    return { kind: "cilium", version, release, kubernetes: null, values: {}, source: "" };
  }
  const aks = AKS.exec(text);
  if (aks === null && text.startsWith("cilium")) return `no profile '${text}'; expected cilium@${CILIUM_VERSIONS.join(", cilium@")}`;
  if (aks === null) {
    return `no profile '${text}'; expected aks@${Object.keys(AKS_RELEASES).filter(hasProfile).join(", aks@")}, with :${
      MODELS.join("+cilium, :")}+cilium before the @ or +host-routing behind it`;
  }
  const [, kubernetes, hostRouting] = aks;
  const release = AKS_RELEASES[kubernetes];
  if (release === undefined) {
    return `no profile '${text}': which Cilium AKS ships for Kubernetes ${kubernetes} is not known; expected ${
      Object.keys(AKS_RELEASES).filter(hasProfile).join(", ")}, or cilium@<version>`;
  }
  const version = CILIUM_VERSIONS.find((one) => release.startsWith(`${one}.`));
  if (version === undefined) {
    return `no profile '${text}': AKS ships Cilium ${release} for Kubernetes ${kubernetes}, and the oldest that is modelled is ${
      CILIUM_VERSIONS[0]}`;
  }
  if (hostRouting !== undefined && Number(kubernetes.split(".")[1]) < 33) {
    return `no profile '${text}': eBPF host routing is there from Kubernetes 1.33 on`;
  }
  return {
    kind: "aks", version, release, kubernetes, values: hostRouting === undefined ? AKS_STANDARD : AKS_HOST_ROUTING,
    source: `azure-container-networking, test manifests of Cilium ${version}`,
  };
}

function hasProfile(kubernetes: string): boolean {
  return CILIUM_VERSIONS.some((one) => AKS_RELEASES[kubernetes].startsWith(`${one}.`));
}

/** Why an option's value is what it is. */
export function sourceOf(preset: Preset, name: OptionName): string {
  if (Object.hasOwn(preset.values, name)) return preset.source;
  return ASSUMED.has(name) ? "the agent's own default is another, or depends on the installation" : "pkg/option, pkg/defaults";
}
