/**
 * Options of a cilium-config that no program or compiler here reads: those that touch packets leave every packet undecided
 * where they have another value than the usual one, those of the agent's other business say nothing, and names that are
 * neither are said.
 *
 * Source: flags registered in pkg/ and daemon/, and install/kubernetes/cilium/templates/cilium-configmap.yaml, of the five trees.
 */
import { OPTION_NAMES } from "./option-values.js";
import type { CiliumVersion } from "./presets.js";

interface OfPackets {
  /** Values by which packets fare as here. */
  readonly usual: readonly string[];
  /** What another value does to packets. */
  readonly does: string;
  /** First and last version that have it. */
  readonly since?: CiliumVersion;
  readonly until?: CiliumVersion;
  /** Where the value matters; everywhere without it. */
  readonly where?: (values: Readonly<Record<string, unknown>>) => boolean;
}

const withoutReplacement = (values: Readonly<Record<string, unknown>>): boolean => values["kube-proxy-replacement"] !== true;
const inTunnel = (values: Readonly<Record<string, unknown>>): boolean => values["routing-mode"] === "tunnel";

const OF_PACKETS: Readonly<Record<string, OfPackets>> = {
  "enable-custom-calls": { usual: ["false"], until: "1.18", does: "programs of a user's own may look at every packet" },
  "enable-datapath-plugins": { usual: ["false"], since: "1.20", does: "plugins may change every program" },
  "enable-high-scale-ipcache": { usual: ["false"], until: "1.17", does: "identities of pods of other nodes come with the packets" },
  "enable-experimental-lb": { usual: ["false"], since: "1.17", until: "1.17", does: "another control plane writes the maps of services" },
  "enable-identity-mark": { usual: ["true"], does: "the stack no longer knows the sender's identity by the mark" },
  "install-no-conntrack-iptables-rules": { usual: ["false"], does: "the node's conntrack does not see what pods send" },
  "disable-iptables-feeder-rules": { usual: [""], does: "chains of the agent's are not entered" },
  "disable-external-ip-mitigation": { usual: ["false"], does: "pods' sockets are balanced for external addresses of services" },
  "enable-dynamic-source-lookup-nodeport": { usual: ["false"], since: "1.20", does: "answers of node ports look up their source address" },
  "underlay-protocol": { usual: ["ipv4", "auto", ""], since: "1.18", does: "tunnels go over IPv6", where: inTunnel },
  // pkg/ciliumenvoyconfig, operator/pkg: frontends of services, gateways and ingresses lead to Envoy.
  "loadbalancer-l7": { usual: ["disabled", ""], does: "services are balanced by Envoy" },
  "enable-envoy-config": { usual: ["false"], does: "frontends that CiliumEnvoyConfigs name lead to Envoy" },
  "enable-gateway-api": { usual: ["false"], does: "gateways lead to Envoy" },
  "enable-ingress-controller": { usual: ["false"], does: "ingresses lead to Envoy" },
  "enable-bandwidth-manager": { usual: ["false"], does: "pods with a limit of bandwidth lose packets beyond it" },
  mtu: { usual: ["0", ""], does: "routes and tunnels have another MTU than their devices" },
  // daemon/cmd/kube_proxy_replacement.go: with kube-proxy-replacement they are on whatever they say.
  "enable-node-port": { usual: ["false"], until: "1.18", does: "node ports are Cilium's beside kube-proxy", where: withoutReplacement },
  "enable-host-port": { usual: ["false"], until: "1.18", does: "host ports are Cilium's beside kube-proxy", where: withoutReplacement },
  "enable-external-ips": { usual: ["false"], until: "1.18", does: "external addresses are Cilium's beside kube-proxy",
    where: withoutReplacement },
  // pkg/datapath/linux: their devices, rules and routes are the cloud's, and what leaves is masqueraded by device.
  ipam: { usual: ["cluster-pool", "kubernetes", "multi-pool", "crd", "delegated-plugin", "azure", ""],
    does: "pods' packets leave by devices that the cloud gives" },
};

/** The agent's health, its API and logs, where pods' addresses come from, Hubble, proxies' own settings, the operator. */
const OF_NO_PACKET = new RegExp(`^(?:${[
  "agent-", "alibabacloud-", "annotate-", "api-", "arping-", "auto-create-", "auto-direct-node-routes$", "aws-", "azure-", "bgp-",
  "bpf-(?:auth-map-max|conntrack-accounting|distributed-lru|events-|filter-priority|lb-sock-terminate|map-dynamic|map-event|neigh-)",
  "bpf-(?:node-map-max|policy-map-pressure|policy-stats|root)", "cert-file$", "ces-", "cgroup-root$", "cilium-endpoint-", "clean-cilium-",
  "cluster-health-", "cluster-pool-", "clustermesh-", "cni-(?:exclusive|external|log|uninstall|chaining-target)", "config", "connectivity-",
  "controller-", "crd-", "custom-cni-", "datapath-plugins-state", "debug", "direct-routing-skip", "disable-cnp-status",
  "disable-endpoint-crd", "disable-envoy", "dns-policy-", "dnsproxy-", "ec2-", "egress-gateway-(?:policy-map|reconciliation)",
  "enable-auto-",
  "enable-(?:bbr|bgp|bpf-clock|bpf-tproxy|cilium-endpoint-slice|drift|dynamic-config|endpoint-health)",
  "enable-(?:gateway-api-|health-check-nodeport|health-checking|hubble|ingress-|ipsec-key-watcher|ipv[46]-big-tcp)",
  "enable-(?:k8s-endpoint-slice|k8s-networkpolicy|l2-|lb-ipam|local-node-route|local-redirect-policy|metrics|node-ipam|packetization)",
  "enable-(?:policy-secrets|route-mtu|runtime-device|standalone-dns|tcx|tunnel-big-tcp|well-known|wireguard-userspace|xt-socket)",
  "encryption-strict-", "encrypt-interface$", "enable-ipsec-encrypted-overlay$", "enable-ipv4-egress-gateway$", "endpoint-policy-update",
  "enforce-ingress", "eni-", "envoy-", "etcd-", "external-envoy", "force-device-detection$", "gateway-api-", "health-check-", "http-",
  "hubble-", "identity-(?:allocation|change|gc|heartbeat|management)", "ignore-flags-", "ingress-", "install-uplink-routes",
  "instance-tags",
  "ip-tracing-", "ipam-", "ipsec-key-", "iptables-lock", "k8s-", "key-file$", "kube-proxy-replacement-healthz", "kvstore", "l2-",
  "lb-reflector", "limit-", "loadbalancer-l7-", "local-router-", "log-", "lrp-", "max-connected", "mesh-auth-", "metrics", "monitor-",
  
  "nat-map-stats", "node-labels$", "node-port-bind-protection$", "nodes-gc", "operator-", "packetization-", "pod-restart", "policy-secrets",
  "pprof", "preallocate-", "prefer-ipv6$", "procfs$", "prometheus-", "proxy-", "read-cni-conf$", "remove-cilium", "set-cilium-",
  "sidecar-istio", "skip-crd", "standalone-dns", "subnet-", "synchronize-", "tofqdns-", "trace-sock$", "trusted-ca", "tunnel-source-port",
  "unmanaged-pod", "update-ec2", "wireguard-persistent", "vtep-", "write-cni", "ztunnel-",
].join("|")})`);

const READ: ReadonlySet<string> = new Set(OPTION_NAMES);

export interface UnreadOptions {
  /** What leaves every packet undecided: `option ipam=eni: …`. */
  readonly undecided: readonly string[];
  /** Names that nothing here knows, sorted. */
  readonly unknown: readonly string[];
}

/**
 * @param given options as a cilium-config or a user says them
 * @param values of options that are read
 */
export function unreadOptions(given: Readonly<Record<string, unknown>>, values: Readonly<Record<string, unknown>>,
  version: CiliumVersion): UnreadOptions {
  const undecided: string[] = [];
  const unknown: string[] = [];
  for (const name of Object.keys(given).sort()) {
    if (READ.has(name)) continue;
    const option = Object.hasOwn(OF_PACKETS, name) ? OF_PACKETS[name] : null;
    const value = String(given[name] ?? "").trim();
    if (option === null) {
      if (!OF_NO_PACKET.test(name)) unknown.push(name);
    } else if (!option.usual.includes(value) && hasOption(option, version) && option.where?.(values) !== false) {
      undecided.push(`option ${name}=${value}: ${option.does}, which is not modelled`);
    }
  }
  return { undecided, unknown };
}

function hasOption({ since, until }: OfPackets, version: CiliumVersion): boolean {
  return (since === undefined || version >= since) && (until === undefined || version <= until);
}
