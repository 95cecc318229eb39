/** Kinds of policy objects, and what each version of Cilium makes of them; for the compiler and for `twinplane support`. */
import type { AdminPolicy } from "../../../cluster/admin-policy.js";
import type { CiliumVersion } from "../../presets.js";

/** Objects that are read and have no effect in what is emulated, and what is evaluated instead. */
export const UNMODELLED_KINDS: Readonly<Record<string, string>> = {
  CiliumLocalRedirectPolicy: "what is sent to frontends that it redirects is undecided",
};

/** Kinds that Cilium does not read, and when it does. */
export const UNREAD_KINDS: Readonly<Record<AdminPolicy["kind"], string>> = {
  ClusterNetworkPolicy: "Cilium ignores it, except 1.20 with enable-k8s-cluster-network-policy",
  AdminNetworkPolicy: "Cilium up to 1.20 ignores it",
  BaselineAdminNetworkPolicy: "Cilium up to 1.20 ignores it",
};

/** What is read of each kind, by version. */
export const POLICY_KINDS: Readonly<Record<string, (version: CiliumVersion) => string>> = {
  NetworkPolicy: () => "read",
  CiliumNetworkPolicy: (version) => `read; L7, TLS and DNS rules as redirected with their layer 4 verdict${
    version >= "1.19" ? "; fromRequires and toRequires refused, as this version does" : ""}`,
  CiliumClusterwideNetworkPolicy: () => "read; node policies where the host firewall is",
  CiliumCIDRGroup: () => "read",
  CiliumEgressGatewayPolicy: (version) => `read with enable-egress-gateway${version < "1.18" ? ", IPv4" : ""}`,
  ClusterNetworkPolicy: (version) => (version === "1.20" ? "read with enable-k8s-cluster-network-policy, else ignored as Cilium does"
    : "ignored, as this version does"),
  AdminNetworkPolicy: () => "ignored, as Cilium does",
  BaselineAdminNetworkPolicy: () => "ignored, as Cilium does",
};
