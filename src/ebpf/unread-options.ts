/**
 * Options of a cilium-config that no program or compiler here reads: those that touch packets leave every packet undecided
 * where they have another value than the usual one, those of the agent's other business say nothing. Other names are no
 * options: the agent passes over them too (validateConfigMap in pkg/option/config.go), and they are said.
 *
 * Source: flags registered in pkg/ and daemon/, and install/kubernetes/cilium/templates/cilium-configmap.yaml, of the five trees.
 */
import { OF_NO_PACKET } from "./options-of-no-packet.js";
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
const withoutEndpointRoutes = (values: Readonly<Record<string, unknown>>): boolean => values["enable-endpoint-routes"] !== true;
const inTunnel = (values: Readonly<Record<string, unknown>>): boolean => values["routing-mode"] === "tunnel";
const inIpip = (values: Readonly<Record<string, unknown>>): boolean => values["bpf-lb-dsr-dispatch"] === "ipip";

/** Old names of options, which win over the new ones. */
const former = (usual: string, name: string): OfPackets => ({ usual: [usual, ""], does: `it is an old name of ${name}` });
/** Maps of services of another size than bpf-lb-map-max. */
const size = (map: string): OfPackets => ({ usual: ["0", ""], does: `${map} has a size of its own` });
const address = (of: string): OfPackets => ({ usual: ["auto", ""], does: `the agent takes it for the node's ${of}` });

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
  // pkg/loadbalancer/config.go and pkg/option/config.go of 1.18.
  "node-port-mode": former("snat", "bpf-lb-mode"),
  "node-port-algorithm": former("random", "bpf-lb-algorithm"),
  "node-port-acceleration": former("disabled", "bpf-lb-acceleration"),
  "bpf-lb-dsr-l4-xlate": { usual: ["frontend", ""], until: "1.16", does: "the backend's node translates the port" },
  "bpf-lb-nat46x64": { usual: ["false"], until: "1.18", does: "services have backends of the other family" },
  "bpf-lb-rss-ipv4-src-cidr": { usual: [""], does: "headers around requests come from this range", where: inIpip },
  "bpf-lb-rss-ipv6-src-cidr": { usual: [""], does: "headers around requests come from this range", where: inIpip },
  "bpf-lb-ipip-sock-mark": { usual: ["false"], until: "1.18", does: "sockets' packets are marked for a tunnel" },
  "bpf-lb-external-control-plane": { usual: ["false"], does: "services come from elsewhere than from Kubernetes" },
  "bpf-lb-service-map-max": size("cilium_lb4_services_v2"),
  "bpf-lb-service-backend-map-max": size("cilium_lb4_backends_v3"),
  "bpf-lb-rev-nat-map-max": size("cilium_lb4_reverse_nat"),
  "bpf-lb-affinity-map-max": size("cilium_lb4_affinity"),
  "bpf-lb-source-range-map-max": size("cilium_lb4_source_range"),
  "bpf-lb-maglev-map-max": size("cilium_lb4_maglev"),
  // pkg/loadbalancer/reflectors and writer: services that no object holds, frontends that fail on purpose.
  "lb-state-file": { usual: [""], does: "services come from a file of the node's" },
  "lb-test-fault-probability": { usual: ["0", "0.0", ""], does: "writing services fails at random" },
  "enable-health-check-nodeport": { usual: ["true"], does: "nothing answers at healthCheckNodePort" },
  "enable-ipip-termination": { usual: ["false"], does: "the node takes off headers of IPIP" },
  "enable-k8s": { usual: ["true"], does: "the agent reads no objects" },
  "static-cnp-path": { usual: [""], does: "policies come from files of the node's" },
  "enable-external-workloads": { usual: ["false"], until: "1.17", does: "machines outside have identities" },
  "enable-unreachable-routes": { usual: ["false"], does: "addresses of pods that are gone answer that they cannot be reached" },
  "enable-local-node-route": { usual: ["true"], does: "the node has no route to its own pods", where: withoutEndpointRoutes },
  "fib-table-id-annotation": { usual: ["false"], since: "1.20", does: "pods may have a routing table of their own" },
  "multicast-enabled": { usual: ["false"], does: "pods' multicast is copied to its subscribers" },
  "enable-ipv6-ndp": { usual: ["false"], does: "the node answers neighbour solicitations on ipv6-mcast-device" },
  "ipv6-mcast-device": { usual: [""], does: "the node joins its pods' multicast groups on it" },
  "only-masquerade-default-pool": { usual: ["false"], does: "pods of other pools keep their address" },
  // daemon/infraendpoints/cell.go of 1.20.
  "ipv6-service-loopback-address": { usual: ["fe80::1", ""], since: "1.19", does: "pods that call themselves do so from this address" },
  "ip-masq-agent-config-path": { usual: ["/etc/config/ip-masq-agent", ""], does: "the list of what is not masqueraded is in another file",
    where: (values) => values["enable-ip-masq-agent"] === true },
  // pkg/node, pkg/datapath: what the agent takes for the node's own.
  "ipv4-node": address("address"), "ipv6-node": address("address"),
  "ipv4-range": address("range of pods"), "ipv6-range": address("range of pods"),
  "ipv4-service-range": address("range of services"), "ipv6-service-range": address("range of services"),
  "exclude-local-address": { usual: [""], does: "addresses in it are not the node's" },
  "local-max-addr-scope": { usual: ["252", ""], does: "addresses of another scope are the node's" },
  // pkg/labelsfilter, pkg/identity: which labels make identities.
  "label-prefix-file": { usual: [""], does: "a file says which labels make identities" },
  "node-labels": { usual: [""], does: "only these labels of nodes make identities",
    where: (values) => values["enable-node-selector-labels"] === true },
  "fixed-identity-mapping": { usual: [""], does: "labels have identities of a user's own" },
  // pkg/auth: the drop by which a policy asks for authentication is the first packet's; lib/auth.h lets later ones pass.
  "mesh-auth-mutual-enabled": { usual: ["false", ""], does: "what policies ask authentication of passes once it is given" },
  // pkg/datapath/linux: their devices, rules and routes are the cloud's, and what leaves is masqueraded by device.
  ipam: { usual: ["cluster-pool", "kubernetes", "multi-pool", "crd", "delegated-plugin", "azure", ""],
    does: "pods' packets leave by devices that the cloud gives" },
};

/** enable-ipv4-egress-gateway is read as enable-egress-gateway (options.ts). */
const READ: ReadonlySet<string> = new Set([...OPTION_NAMES, "enable-ipv4-egress-gateway"]);

export interface UnreadOptions {
  /** What leaves every packet undecided: `option ipam=eni: …`. */
  readonly undecided: readonly string[];
  /** Names that are no option of any version, sorted. */
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
      if (!OF_NO_PACKET.has(name)) unknown.push(name);
    } else if (!option.usual.includes(value) && hasOption(option, version) && option.where?.(values) !== false) {
      undecided.push(`option ${name}=${value}: ${option.does}, which is not modelled`);
    }
  }
  return { undecided, unknown };
}

function hasOption({ since, until }: OfPackets, version: CiliumVersion): boolean {
  return (since === undefined || version >= since) && (until === undefined || version <= until);
}
