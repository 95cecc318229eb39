/**
 * What kube-proxy's iptables mode is configured with. Field names are KubeProxyConfiguration's where it has
 * one (kubernetes/kube-proxy/config/v1alpha1); defaults are those of the v1.33 era.
 */
import { addressFromBytes, prefixContains, type Family, type Prefix } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";

export type DetectLocalMode = "ClusterCIDR" | "NodeCIDR" | "BridgeInterface" | "InterfaceNamePrefix" | "None";

export interface KubeProxyConfig {
  /** Bit of the packet mark that asks for masquerading; 0..31. */
  readonly masqueradeBit: number;
  readonly masqueradeAll: boolean;
  /** `None`: no way to tell pod traffic is configured, so the rules that need one are left out. */
  readonly detectLocalMode: DetectLocalMode;
  /** Pod ranges; the first of a family counts. */
  readonly clusterCIDR: readonly Prefix[];
  readonly detectLocal: { readonly bridgeInterface: string; readonly interfaceNamePrefix: string };
  /** Empty: node ports are open on every local address. */
  readonly nodePortAddresses: readonly Prefix[];
  /** IPv4 only; node ports answer on 127.0.0.0/8. */
  readonly localhostNodePorts: boolean;
  /** The iptables binary knows `--random-fully` (1.6.2 and later, so nearly always). */
  readonly randomFully: boolean;
  /** nfacct objects that could be created on the node; the clauses of the others are left out. */
  readonly nfacctCounters: readonly NfacctCounter[];
  /** conntrack.tcpBeLiberal, or nf_conntrack_tcp_be_liberal != 0 when kube-proxy started. */
  readonly tcpBeLiberal: boolean;
  /** Gate LoadBalancerIPMode (on since 1.30). */
  readonly loadBalancerIPMode: boolean;
  /** Gate PreferSameTrafficDistribution (off until 1.34). */
  readonly preferSameTrafficDistribution: boolean;
  /** More endpoints than this and the per-endpoint rules lose their comments. A constant of kube-proxy. */
  readonly largeClusterEndpointsThreshold: number;
  /** How an endpoint is picked. `nth` is no kube-proxy option: the lab uses it for repeatable recordings. */
  readonly statisticMode: "random" | "nth";
  /** Values for the node's sysctls; null leaves what the node has. kube-proxy's ConntrackConfiguration. */
  readonly conntrack: {
    readonly maxPerCore: number;
    readonly min: number;
    readonly tcpEstablishedTimeoutSeconds: number;
    readonly tcpCloseWaitTimeoutSeconds: number;
    readonly udpTimeoutSeconds: number;
    readonly udpStreamTimeoutSeconds: number;
  };
}

export type NfacctCounter = "ct_state_invalid_dropped_pkts" | "localhost_nps_accepted_pkts";

export const KUBE_PROXY_DEFAULTS: KubeProxyConfig = {
  masqueradeBit: 14,
  masqueradeAll: false,
  detectLocalMode: "ClusterCIDR",
  clusterCIDR: [],
  detectLocal: { bridgeInterface: "", interfaceNamePrefix: "" },
  nodePortAddresses: [],
  localhostNodePorts: true,
  randomFully: true,
  nfacctCounters: [],
  tcpBeLiberal: false,
  loadBalancerIPMode: true,
  preferSameTrafficDistribution: false,
  largeClusterEndpointsThreshold: 1000,
  statisticMode: "random",
  conntrack: {
    maxPerCore: 32768,
    min: 131072,
    tcpEstablishedTimeoutSeconds: 86400,
    tcpCloseWaitTimeoutSeconds: 3600,
    // 0: kube-proxy leaves the kernel's own value alone.
    udpTimeoutSeconds: 0,
    udpStreamTimeoutSeconds: 0,
  },
};

const LOOPBACK_START = addressFromBytes(Uint8Array.of(127, 0, 0, 0));

/** The masquerade mark as kube-proxy prints it: Go's `%#08x`, eight digits after 0x. */
export function masqueradeMark(config: KubeProxyConfig): string {
  return `0x${((1 << config.masqueradeBit) >>> 0).toString(16).padStart(8, "0")}`;
}

/** iptables matches for traffic of this node's pods and its opposite; null where nothing tells them apart. */
export interface LocalDetector {
  readonly ifLocal: string;
  readonly ifNotLocal: string;
}

/** localdetector.go: a mode whose range or name is missing for this family counts as no detector. */
export function localDetector(config: KubeProxyConfig, node: Node, family: Family): LocalDetector | null {
  switch (config.detectLocalMode) {
    case "ClusterCIDR":
      return sourceDetector(config.clusterCIDR, family);
    case "NodeCIDR":
      return sourceDetector(node.podCIDRs, family);
    case "BridgeInterface":
      return deviceDetector(config.detectLocal.bridgeInterface);
    case "InterfaceNamePrefix":
      return deviceDetector(prefixMatch(config.detectLocal.interfaceNamePrefix));
    case "None":
      return null;
  }
}

/**
 * Node ports on localhost need IPv4, the option, and nodePortAddresses that take in loopback: with ranges of
 * which none does, kube-proxy turns the option off itself (NewProxier).
 */
export function localhostNodePorts(config: KubeProxyConfig, family: Family): boolean {
  if (family === 6 || !config.localhostNodePorts) return false;
  const ranges = config.nodePortAddresses.filter((range) => range.address.family === 4);
  return ranges.length === 0 || ranges.some(
    (range) => range.address.bytes[0] === 127 || prefixContains(range, LOOPBACK_START));
}

/** The sysctls kube-proxy sets on a node at start, by their names under /proc/sys with dots. */
export function kubeProxySysctls(config: KubeProxyConfig, cores: number): Readonly<Record<string, string>> {
  const { conntrack } = config;
  const sysctls: Record<string, string> = {
    "net.netfilter.nf_conntrack_max": String(Math.max(conntrack.min, conntrack.maxPerCore * cores)),
    "net.netfilter.nf_conntrack_tcp_timeout_established": String(conntrack.tcpEstablishedTimeoutSeconds),
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": String(conntrack.tcpCloseWaitTimeoutSeconds),
  };
  if (config.tcpBeLiberal) sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] = "1";
  if (conntrack.udpTimeoutSeconds > 0) {
    sysctls["net.netfilter.nf_conntrack_udp_timeout"] = String(conntrack.udpTimeoutSeconds);
  }
  if (conntrack.udpStreamTimeoutSeconds > 0) {
    sysctls["net.netfilter.nf_conntrack_udp_timeout_stream"] = String(conntrack.udpStreamTimeoutSeconds);
  }
  if (localhostNodePorts(config, 4)) sysctls["net.ipv4.conf.all.route_localnet"] = "1";
  return sysctls;
}

function sourceDetector(ranges: readonly Prefix[], family: Family): LocalDetector | null {
  const range = ranges.find((candidate) => candidate.address.family === family);
  return range === undefined ? null : { ifLocal: `-s ${range.text}`, ifNotLocal: `! -s ${range.text}` };
}

function deviceDetector(name: string): LocalDetector | null {
  return name === "" ? null : { ifLocal: `-i ${name}`, ifNotLocal: `! -i ${name}` };
}

/** iptables matches a device prefix by a trailing `+`. */
function prefixMatch(prefix: string): string {
  return prefix === "" ? "" : `${prefix}+`;
}
