/**
 * What kube-proxy's iptables mode is configured with. Field names are KubeProxyConfiguration's where it has
 * one (kubernetes/kube-proxy/config/v1alpha1); defaults are those of the v1.33 era.
 */
import type { Address, Family, Prefix } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";
import { localhostNodePorts } from "./nodeAddresses.js";

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
  /** Empty: node ports are open on every local address. `primary`: on the node's primary address of each family. */
  readonly nodePortAddresses: readonly Prefix[] | "primary";
  /** Takes the place of the node's primary address of its family; null or 0.0.0.0: nothing is replaced. */
  readonly bindAddress: Address | null;
  /**
   * Only Services and slices with this value of label service.kubernetes.io/service-proxy-name are handled; empty:
   * those without the label.
   */
  readonly serviceProxyName: string;
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
  /** Values for the node's sysctls; 0 leaves what the node has. kube-proxy's ConntrackConfiguration. */
  readonly conntrack: {
    /** Entries for each CPU; 0 leaves the limit alone, whatever `min` says. */
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
  bindAddress: null,
  serviceProxyName: "",
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

/** The most that maxPerCore may come to (conntrack/sysctls.go of newer releases). */
const CONNTRACK_MAX_LIMIT = 1048576;

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
 * Whether packets of state INVALID are let through: by the option, or because the node's nf_conntrack_tcp_be_liberal
 * was set when kube-proxy started.
 */
export function tcpBeLiberal(config: KubeProxyConfig, node: Node): boolean {
  return config.tcpBeLiberal || Number(node.facts.sysctls[TCP_BE_LIBERAL] ?? 0) !== 0;
}

const TCP_BE_LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal";

/** The sysctls kube-proxy sets on a node at start, by their names under /proc/sys with dots. */
export function kubeProxySysctls(config: KubeProxyConfig, node: Node, cores: number): Readonly<Record<string, string>> {
  const { conntrack } = config;
  const sysctls: Record<string, string> = {};
  const set = (name: string, value: number): void => {
    if (value > 0) sysctls[`net.netfilter.nf_conntrack_${name}`] = String(value);
  };
  if (conntrack.maxPerCore > 0) {
    const scaled = conntrack.maxPerCore * cores;
    set("max", scaled > CONNTRACK_MAX_LIMIT ? CONNTRACK_MAX_LIMIT : Math.max(conntrack.min, scaled));
  }
  set("tcp_timeout_established", conntrack.tcpEstablishedTimeoutSeconds);
  set("tcp_timeout_close_wait", conntrack.tcpCloseWaitTimeoutSeconds);
  set("udp_timeout", conntrack.udpTimeoutSeconds);
  set("udp_timeout_stream", conntrack.udpStreamTimeoutSeconds);
  if (config.tcpBeLiberal) sysctls[TCP_BE_LIBERAL] = "1";
  if (localhostNodePorts(config, node, 4)) sysctls["net.ipv4.conf.all.route_localnet"] = "1";
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
