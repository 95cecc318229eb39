/** Names and label keys that everybody has, or on which behaviour hangs: they stay as they are. */

export const WELL_KNOWN_NAMES: ReadonlySet<string> = new Set([
  "kube-system", "kube-public", "kube-node-lease", "default", "kubernetes", "kube-dns", "coredns", "kube-proxy", "cilium",
  "cilium-operator", "cilium-config", "cilium-envoy", "calico-node", "calico-system", "azure-npm", "azure-npm-config", "azure-cns",
  "ip-masq-agent", "azure-ip-masq-agent", "azure-ip-masq-agent-config",
  "azure-ip-masq-agent-config-reconciled", "node-local-dns", "aws-node",
  "kindnet", "kube-flannel", "metrics-server", "konnectivity-agent", "true", "false", "linux", "windows", "amd64", "arm64", "cluster",
  "local", "svc", "http", "https", "dns", "dns-tcp",
]);

/** Keys without a domain that controllers set or that dataplanes know. */
const PLAIN_KEYS: ReadonlySet<string> = new Set(["k8s-app", "pod-template-hash", "job-name", "controller-revision-hash",
  "security.istio.io/tlsMode", "linkerd.io/control-plane-ns", "kubevirt.io"]);
const DOMAINS = /(^|\.)(kubernetes\.io|k8s\.io|cilium\.io|projectcalico\.org|kubernetes\.azure\.com)$/;

export function isWellKnownKey(key: string): boolean {
  const slash = key.indexOf("/");
  return PLAIN_KEYS.has(key) || (slash > 0 ? DOMAINS.test(key.slice(0, slash)) : /^io\.(kubernetes|cilium)\./.test(key));
}

/** Values that a field takes from a list of its own, beside numbers and true and false. */
export const WORDS: ReadonlySet<string> = new Set([
  "", "TCP", "UDP", "SCTP", "ANY", "ICMP", "ICMPv6", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH", "Ingress", "Egress",
  "In", "NotIn", "Exists", "DoesNotExist", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Cluster", "Local", "None", "ClientIP",
  "VIP", "Proxy", "IPv4", "IPv6", "FQDN", "Allow", "Deny", "Pass", "Accept", "Admin", "Baseline", "Running", "Succeeded", "Failed",
  "Pending", "Unknown", "InternalIP", "ExternalIP", "CiliumInternalIP", "Always", "Pod", "Node", "required", "disabled", "test-always-fail",
  "PreferClose", "PreferSameZone", "PreferSameNode", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig", "all", "world", "world-ipv4",
  "world-ipv6", "cluster", "host", "remote-node", "kube-apiserver", "ingress", "health", "init", "unmanaged", "none", "EchoReply",
  "EchoRequest", "Echo", "DestinationUnreachable", "Redirect", "TimeExceeded", "ParameterProblem", "PacketTooBig", "Timestamp",
  "TimestampReply", "NeighborSolicitation", "NeighborAdvertisement", "RouterSolicitation", "RouterAdvertisement",
  "dsr", "snat", "maglev", "random", "allow", "deny", "drop", "forward", "local", "remote", "delegate-if-local", "Auto", "auto", "Disabled",
  "iptables", "ipvs", "nftables", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", "primary",
  "io.cilium/bgp-control-plane", "io.cilium/l2-announcer",
]);
