/**
 * The plane's configuration as the programs read it: options as numbers, bits and addresses, in the one entry that holds for
 * every node.
 */
import { parseAddress, parsePrefix } from "../cluster/address.js";
import { ConfigOption, DsrMode, LbAlgorithm, LbOption } from "../contract/codes.js";
import { maglevSeeds } from "./compile/maglev.js";
import { hasOwnModes, ipipByXdp, tunnelPort, tunnelProtocol, usesDsr } from "./encapsulation.js";
import type { MapEntry } from "./image.js";
import { hasNodePort, masqueradesBesideBpf } from "./masquerading.js";
import type { CiliumOptions, OptionValues } from "./options.js";
import { fieldOf, NO_PREFIX } from "./records.js";

/** enable-ipv6's loopback for hairpin traffic (pkg/defaults). */
const SERVICE_LOOPBACK_IPV6 = "fe80::1";
/** TCP flags that are reported at once: FIN, SYN, RST (monitor-aggregation-flags). */
const REPORT_FLAGS = 0x07;

export function configRecord(options: CiliumOptions, seed: bigint, plane: number): MapEntry {
  const [nodePortMin, nodePortMax] = options["node-port-range"];
  const native4 = parsePrefix(options["ipv4-native-routing-cidr"]);
  const native6 = parsePrefix(options["ipv6-native-routing-cidr"]);
  const [, jhash4, jhash6] = maglevSeeds(options["bpf-lb-maglev-hash-seed"]);
  return [
    { node: 0 },
    {
      native_routing_cidr4: fieldOf(native4?.address ?? null),
      native_routing_cidr4_length: native4?.length ?? NO_PREFIX,
      native_routing_cidr6: fieldOf(native6?.address ?? null),
      native_routing_cidr6_length: native6?.length ?? NO_PREFIX,
      service_loopback_ipv4: fieldOf(parseAddress(options["ipv4-service-loopback-address"])),
      service_loopback_ipv6: fieldOf(parseAddress(SERVICE_LOOPBACK_IPV6)),
      seed: BigInt.asUintN(64, seed),
      plane,
      options: optionBits(options),
      version: Number(options.version.slice(2)),
      ct_connection_timeout_tcp: options["bpf-ct-timeout-regular-tcp"],
      ct_connection_timeout_other: options["bpf-ct-timeout-regular-any"],
      ct_service_timeout_tcp: options["bpf-ct-timeout-service-tcp"],
      ct_service_timeout_other: options["bpf-ct-timeout-service-any"],
      ct_service_close_grace: options["bpf-ct-timeout-service-tcp-grace"],
      ct_syn_timeout: options["bpf-ct-timeout-regular-tcp-syn"],
      ct_close_timeout: options["bpf-ct-timeout-regular-tcp-fin"],
      ct_gc_seconds: longestCollection(options),
      ct_report_interval: 5,
      ct_report_flags: REPORT_FLAGS,
      maglev_table_size: options["bpf-lb-maglev-table-size"],
      hash_init4_seed: jhash4,
      hash_init6_seed: jhash6,
      snat_collision_retries: 32,
      cluster_id: options["cluster-id"],
      nodeport_port_min: nodePortMin,
      nodeport_port_max: nodePortMax,
      // The range behind the node ports; without node ports SNAT starts where ephemeral ports do.
      nodeport_snat_port_min: hasNodePort(options) ? nodePortMax + 1 : 32768,
      nodeport_snat_port_max: 65535,
      tunnel_port: tunnelPort(options),
      tunnel_protocol: tunnelProtocol(options),
      lb_algorithm:
        options["bpf-lb-algorithm"] === "maglev" ? LbAlgorithm.values.MAGLEV : LbAlgorithm.values.RANDOM,
      monitor_aggregation: 3,
      dsr_mode: dsrMode(options),
      lb_options: LB_SWITCHES.reduce((bits, [bit, on]) => (on(options) ? bits | bit : bits), 0),
    },
  ];
}

/** ConntrackGCMaxLRUInterval (pkg/defaults): where nothing is set the agent adapts the interval, up to this. */
const LONGEST_GC = 12 * 3600;

function longestCollection(options: CiliumOptions): number {
  return options["conntrack-gc-interval"] || options["conntrack-gc-max-interval"] || LONGEST_GC;
}

const LB_SWITCHES: readonly (readonly [number, (options: OptionValues) => boolean])[] = [
  [LbOption.values.ALGORITHM_ANNOTATION, (o) => o["bpf-lb-algorithm-annotation"]],
  [LbOption.values.PMTU_DISCOVERY, (o) => o["enable-pmtu-discovery"]],
  [LbOption.values.NO_ENDPOINTS_UNROUTABLE, (o) => !o["enable-no-service-endpoints-routable"]],
  [LbOption.values.ANY_PROTOCOL, (o) => !o["bpf-lb-proto-diff"]],
];

/**
 * bpf-lb-mode and bpf-lb-dsr-dispatch in one; services have a mode of their own from 1.17 on. Up to 1.18 dispatch in IP headers is
 * XDP's (initKubeProxyReplacementOptions), and there are no XDP programs here.
 */
function dsrMode(options: CiliumOptions): number {
  if (!usesDsr(options)) return DsrMode.values.SNAT;
  if (ipipByXdp(options)) return DsrMode.values.IPIP_BY_XDP;
  const mode = hasOwnModes(options) ? "OWN" : options["bpf-lb-mode"] === "hybrid" ? "HYBRID" : "DSR";
  const dispatch = { opt: "OPT", geneve: "GENEVE", ipip: "IPIP" } as const;
  return DsrMode.values[`${mode}_${dispatch[options["bpf-lb-dsr-dispatch"]]}`];
}

/** `agent`: a masquerade agent writes the node's iptables. */
const SWITCHES: readonly (readonly [number, (options: CiliumOptions, agent: boolean) => boolean])[] = [
  [ConfigOption.values.ENABLE_IPV4, (o) => o["enable-ipv4"]],
  [ConfigOption.values.ENABLE_IPV6, (o) => o["enable-ipv6"]],
  [ConfigOption.values.DUAL_STACK, (o) => o["enable-ipv4"] && o["enable-ipv6"]],
  [ConfigOption.values.ENABLE_SOURCE_IP_VERIFICATION, (o) => o["enable-source-ip-verification"]],
  [ConfigOption.values.ENABLE_IPV4_FRAGMENT_TRACKING, (o) => o["enable-ipv4-fragment-tracking"]],
  [ConfigOption.values.ENABLE_IPV6_FRAGMENT_TRACKING, (o) => o["enable-ipv6-fragment-tracking"]],
  [ConfigOption.values.ENABLE_ICMP_RULES, (o) => o["enable-icmp-rules"]],
  [ConfigOption.values.ALLOW_ICMP_FRAG_NEEDED, (o) => o["allow-icmp-frag-needed"]],
  [ConfigOption.values.POLICY_AUDIT_MODE, (o) => o["policy-audit-mode"]],
  [ConfigOption.values.POLICY_DENY_RESPONSE_ICMP, (o) => o["policy-deny-response"] === "icmp"],
  [
    ConfigOption.values.SERVICE_NO_BACKEND_RESPONSE_REJECT,
    (o) => o["service-no-backend-response"] === "reject",
  ],
  [
    ConfigOption.values.ENABLE_BPF_MASQUERADE_IPV4,
    (o) => o["enable-bpf-masquerade"] && o["enable-ipv4-masquerade"],
  ],
  [
    ConfigOption.values.ENABLE_BPF_MASQUERADE_IPV6,
    (o) => o["enable-bpf-masquerade"] && o["enable-ipv6-masquerade"] && o["enable-ipv6"],
  ],
  [
    ConfigOption.values.IPTABLES_MASQUERADE_IPV4,
    (o, agent) => !o["enable-bpf-masquerade"] && ((o["install-iptables-rules"] && o["enable-ipv4-masquerade"]) || agent),
  ],
  [
    ConfigOption.values.IPTABLES_MASQUERADE_IPV6,
    (o, agent) => !o["enable-bpf-masquerade"] && o["enable-ipv6"]
      && ((o["install-iptables-rules"] && o["enable-ipv6-masquerade"]) || agent),
  ],
  [ConfigOption.values.ENABLE_IP_MASQ_AGENT, (o) => o["enable-ip-masq-agent"] && o["enable-bpf-masquerade"]],
  [ConfigOption.values.ENABLE_REMOTE_NODE_MASQUERADE, (o) => o["enable-remote-node-masquerade"]],
  [ConfigOption.values.TUNNEL_MODE, (o) => o["routing-mode"] === "tunnel"],
  [ConfigOption.values.ENABLE_ENDPOINT_ROUTES, (o) => o["enable-endpoint-routes"]],
  [ConfigOption.values.ENABLE_NODEPORT, hasNodePort],
  [ConfigOption.values.ENABLE_PER_PACKET_LB, (o) => !o["bpf-lb-sock"] || o["bpf-lb-sock-hostns-only"]],
  [ConfigOption.values.ENABLE_SOCKET_LB, (o) => o["bpf-lb-sock"]],
  [ConfigOption.values.SOCKET_LB_HOST_ONLY, (o) => o["bpf-lb-sock-hostns-only"]],
  [ConfigOption.values.ENABLE_EGRESS_GATEWAY, (o) => o["enable-egress-gateway"]],
  [ConfigOption.values.ENABLE_HOST_FIREWALL, (o) => o["enable-host-firewall"]],
  // What the node's netfilter does, and up to 1.18 IPsec's, needs its stack (pkg/kpr/initializer; daemon/cmd before 1.19).
  [
    ConfigOption.values.ENABLE_HOST_ROUTING,
    (o) => !o["enable-host-legacy-routing"] && o["kube-proxy-replacement"] && !masqueradesBesideBpf(o)
      && !(o["enable-ipsec"] && o.version <= "1.18"),
  ],
  [ConfigOption.values.ENABLE_EXTENDED_IP_PROTOCOLS, (o) => o["enable-extended-ip-protocols"]],
  [ConfigOption.values.EXTERNAL_CLUSTERIP, (o) => o["bpf-lb-external-clusterip"]],
  [ConfigOption.values.ENABLE_SCTP, (o) => o["enable-sctp"]],
  [ConfigOption.values.ENABLE_POLICY, (o) => o["enable-policy"] !== "never"],
];

function optionBits(options: CiliumOptions): number {
  return SWITCHES.reduce((bits, [bit, on]) => (on(options, options.masqueradeAgent) ? bits | bit : bits), 0) >>> 0;
}
