/**
 * Cilium's options as data: names, kinds, defaults, the words an option accepts, and which of them are assumed.
 * Presets put others in their place (presets.ts), and not every version has every option (option-history.ts).
 *
 * Names are the agent's flags (`pkg/option`, `pkg/defaults`); what an option does is said where it is used.
 */

/** Durations are seconds, sizes are entries. */
export interface OptionValues {
  "enable-ipv4": boolean;
  "enable-ipv6": boolean;
  "routing-mode": "native" | "tunnel";
  "tunnel-protocol": "vxlan" | "geneve";
  "tunnel-port": number;
  "cluster-name": string;
  "cluster-id": number;
  "enable-endpoint-routes": boolean;
  "enable-host-legacy-routing": boolean;
  "enable-host-firewall": boolean;
  "enable-egress-gateway": boolean;
  "vlan-bpf-bypass": string;

  "enable-policy": "default" | "always" | "never";
  "policy-cidr-match-mode": "" | "nodes";
  "policy-audit-mode": boolean;
  "tofqdns-min-ttl": number;
  "policy-deny-response": "none" | "icmp";
  "allow-localhost": "auto" | "always" | "policy";
  "allow-icmp-frag-needed": boolean;
  "enable-icmp-rules": boolean;
  "enable-source-ip-verification": boolean;
  "enable-l7-proxy": boolean;
  "enable-bpf-tproxy": boolean;
  "enable-node-selector-labels": boolean;
  "enable-non-default-deny-policies": boolean;
  "enable-k8s-networkpolicy": boolean;
  "enable-cilium-network-policy": boolean;
  "enable-cilium-clusterwide-network-policy": boolean;
  "enable-k8s-cluster-network-policy": boolean;
  "enable-endpoint-lockdown-on-policy-overflow": boolean;
  "policy-default-local-cluster": boolean;
  labels: string;

  "kube-proxy-replacement": boolean;
  "bpf-lb-sock": boolean;
  "bpf-lb-sock-hostns-only": boolean;
  "bpf-lb-algorithm": "random" | "maglev";
  "bpf-lb-algorithm-annotation": boolean;
  "bpf-lb-maglev-table-size": number;
  "bpf-lb-maglev-hash-seed": string;
  "bpf-lb-mode": "snat" | "dsr" | "hybrid";
  "bpf-lb-mode-annotation": boolean;
  "bpf-lb-dsr-dispatch": "opt" | "ipip" | "geneve";
  "enable-pmtu-discovery": boolean;
  "bpf-lb-acceleration": "disabled" | "native" | "best-effort" | "testing-only";
  "bpf-lb-external-clusterip": boolean;
  "bpf-lb-source-range-all-types": boolean;
  "enable-session-affinity": boolean;
  "enable-service-topology": boolean;
  "enable-k8s-terminating-endpoint": boolean;
  "enable-no-service-endpoints-routable": boolean;
  "enable-internal-traffic-policy": boolean;
  "enable-svc-source-range-check": boolean;
  "bpf-lb-proto-diff": boolean;
  "enable-health-check-loadbalancer-ip": boolean;
  "k8s-service-proxy-name": string;
  "default-lb-service-ipam": "lbipam" | "nodeipam" | "none";
  "service-no-backend-response": "reject" | "drop";
  "node-port-range": readonly [number, number];
  "nodeport-addresses": string;
  "ipv4-service-loopback-address": string;
  "enable-sctp": boolean;
  "enable-extended-ip-protocols": boolean;

  "enable-ipv4-masquerade": boolean;
  "enable-ipv6-masquerade": boolean;
  "enable-bpf-masquerade": boolean;
  "enable-remote-node-masquerade": boolean;
  "enable-ip-masq-agent": boolean;
  "derive-masquerade-ip-addr-from-device": string;
  "ipv4-native-routing-cidr": string;
  "ipv6-native-routing-cidr": string;
  "egress-masquerade-interfaces": string;
  "enable-masquerade-to-route-source": boolean;
  "install-iptables-rules": boolean;
  "prepend-iptables-chains": boolean;
  "iptables-random-fully": boolean;

  "enable-wireguard": boolean;
  "enable-ipsec": boolean;
  "enable-ztunnel": boolean;
  "encrypt-node": boolean;
  "enable-encryption-strict-mode": boolean;
  "enable-encryption-strict-mode-egress": boolean;
  "enable-encryption-strict-mode-ingress": boolean;
  "enable-srv6": boolean;
  /** Names, or beginnings with a `+`, between commas; empty: the agent finds them. */
  devices: string;
  "direct-routing-device": string;
  "enable-vtep": boolean;
  "vtep-cidr": string;
  "vtep-mask": string;
  "enable-nat46x64-gateway": boolean;
  "enable-xdp-prefilter": boolean;
  /** Agents take any name. */
  "cni-chaining-mode": string;
  "datapath-mode": "veth" | "netkit" | "netkit-l2" | "auto" | "lb-only";

  "enable-ipv4-fragment-tracking": boolean;
  "enable-ipv6-fragment-tracking": boolean;
  "bpf-fragments-map-max": number;
  "bpf-policy-map-max": number;
  "bpf-lb-map-max": number;
  "bpf-ct-global-tcp-max": number;
  "bpf-ct-global-any-max": number;
  "bpf-nat-global-max": number;
  "conntrack-gc-interval": number;
  "conntrack-gc-max-interval": number;
  "bpf-ct-timeout-regular-tcp": number;
  "bpf-ct-timeout-regular-any": number;
  "bpf-ct-timeout-regular-tcp-syn": number;
  "bpf-ct-timeout-regular-tcp-fin": number;
  "bpf-ct-timeout-service-tcp": number;
  "bpf-ct-timeout-service-any": number;
  "bpf-ct-timeout-service-tcp-grace": number;
}
export type OptionName = keyof OptionValues;

/** Agent defaults of 1.20 (`pkg/option`, `pkg/defaults`), unless the name is in ASSUMED. */
export const DEFAULTS: Readonly<OptionValues> = {
  "enable-ipv4": true,
  "enable-ipv6": false,
  "routing-mode": "native",
  "tunnel-protocol": "vxlan",
  // 0: the protocol's own port.
  "tunnel-port": 0,
  "cluster-name": "default",
  "cluster-id": 0,
  "enable-endpoint-routes": false,
  "enable-host-legacy-routing": false,
  "enable-host-firewall": false,
  "enable-egress-gateway": false,
  "vlan-bpf-bypass": "",
  "enable-policy": "default",
  "policy-cidr-match-mode": "",
  "policy-audit-mode": false,
  "tofqdns-min-ttl": 0,
  "policy-deny-response": "none",
  // `auto` becomes `always` under Kubernetes (daemon/cmd/daemon.go).
  "allow-localhost": "auto",
  "allow-icmp-frag-needed": true,
  "enable-icmp-rules": true,
  "enable-source-ip-verification": true,
  "enable-l7-proxy": true,
  "enable-bpf-tproxy": false,
  "enable-node-selector-labels": false,
  "enable-non-default-deny-policies": true,
  "enable-k8s-networkpolicy": true,
  "enable-cilium-network-policy": true,
  "enable-cilium-clusterwide-network-policy": true,
  "enable-k8s-cluster-network-policy": false,
  "enable-endpoint-lockdown-on-policy-overflow": false,
  // Off in 1.18, where the option begins.
  "policy-default-local-cluster": true,
  labels: "",
  "kube-proxy-replacement": true,
  "bpf-lb-sock": false,
  "bpf-lb-sock-hostns-only": false,
  "bpf-lb-algorithm": "random",
  "bpf-lb-algorithm-annotation": false,
  "bpf-lb-maglev-table-size": 16381,
  "bpf-lb-maglev-hash-seed": "JLfvgnHc2kaSUFaI",
  "bpf-lb-mode": "snat",
  "bpf-lb-mode-annotation": false,
  "bpf-lb-dsr-dispatch": "opt",
  "enable-pmtu-discovery": false,
  "bpf-lb-acceleration": "disabled",
  "bpf-lb-external-clusterip": false,
  "bpf-lb-source-range-all-types": false,
  "enable-session-affinity": true,
  "enable-service-topology": false,
  "enable-k8s-terminating-endpoint": true,
  "enable-no-service-endpoints-routable": true,
  "enable-internal-traffic-policy": true,
  "enable-svc-source-range-check": true,
  "bpf-lb-proto-diff": true,
  "enable-health-check-loadbalancer-ip": false,
  "k8s-service-proxy-name": "",
  "default-lb-service-ipam": "lbipam",
  "service-no-backend-response": "reject",
  "node-port-range": [30000, 32767],
  "nodeport-addresses": "",
  "ipv4-service-loopback-address": "169.254.42.1",
  "enable-sctp": false,
  "enable-extended-ip-protocols": false,
  "enable-ipv4-masquerade": true,
  "enable-ipv6-masquerade": true,
  "enable-bpf-masquerade": true,
  "enable-remote-node-masquerade": false,
  "enable-ip-masq-agent": false,
  "derive-masquerade-ip-addr-from-device": "",
  "ipv4-native-routing-cidr": "",
  "ipv6-native-routing-cidr": "",
  "egress-masquerade-interfaces": "",
  "enable-masquerade-to-route-source": false,
  "install-iptables-rules": true,
  "prepend-iptables-chains": true,
  "iptables-random-fully": false,
  "enable-wireguard": false,
  "enable-ipsec": false,
  "enable-ztunnel": false,
  "encrypt-node": false,
  "enable-encryption-strict-mode": false,
  "enable-encryption-strict-mode-egress": false,
  "enable-encryption-strict-mode-ingress": false,
  "enable-srv6": false,
  devices: "",
  "direct-routing-device": "",
  "enable-vtep": false,
  "vtep-cidr": "",
  "vtep-mask": "",
  "enable-nat46x64-gateway": false,
  "enable-xdp-prefilter": false,
  "cni-chaining-mode": "none",
  "datapath-mode": "veth",
  "enable-ipv4-fragment-tracking": true,
  "enable-ipv6-fragment-tracking": true,
  "bpf-fragments-map-max": 8192,
  "bpf-policy-map-max": 16384,
  "bpf-lb-map-max": 65536,
  "bpf-ct-global-tcp-max": 524288,
  "bpf-ct-global-any-max": 262144,
  "bpf-nat-global-max": 524288,
  "conntrack-gc-interval": 0,
  "conntrack-gc-max-interval": 0,
  "bpf-ct-timeout-regular-tcp": 8000,
  "bpf-ct-timeout-regular-any": 60,
  "bpf-ct-timeout-regular-tcp-syn": 60,
  "bpf-ct-timeout-regular-tcp-fin": 10,
  "bpf-ct-timeout-service-tcp": 8000,
  "bpf-ct-timeout-service-any": 60,
  "bpf-ct-timeout-service-tcp-grace": 60,
};
export const OPTION_NAMES = Object.keys(DEFAULTS) as OptionName[];

/**
 * Values that the preset chooses although the agent's own default differs or depends on the installation: the
 * agent starts in tunnel mode with iptables masquerading and without kube-proxy replacement.
 */
export const ASSUMED: ReadonlySet<OptionName> = new Set<OptionName>([
  "routing-mode",
  "kube-proxy-replacement",
  "enable-bpf-masquerade",
  "bpf-lb-sock",
  "bpf-ct-global-tcp-max",
  "bpf-ct-global-any-max",
  "bpf-nat-global-max",
  "ipv4-native-routing-cidr",
  "ipv6-native-routing-cidr",
]);

/**
 * The words an option accepts; an option missing here is a number, a boolean, a range or free text by its
 * default.
 */
export const WORDS: Readonly<Partial<Record<OptionName, readonly string[]>>> = {
  "routing-mode": ["native", "tunnel"],
  "tunnel-protocol": ["vxlan", "geneve"],
  "enable-policy": ["default", "always", "never"],
  "policy-cidr-match-mode": ["", "nodes"],
  "policy-deny-response": ["none", "icmp"],
  "allow-localhost": ["auto", "always", "policy"],
  "bpf-lb-algorithm": ["random", "maglev"],
  "bpf-lb-mode": ["snat", "dsr", "hybrid"],
  "bpf-lb-dsr-dispatch": ["opt", "ipip", "geneve"],
  "default-lb-service-ipam": ["lbipam", "nodeipam", "none"],
  "bpf-lb-acceleration": ["disabled", "native", "best-effort", "testing-only"],
  "service-no-backend-response": ["reject", "drop"],
  "datapath-mode": ["veth", "netkit", "netkit-l2", "auto", "lb-only"],
};

/** Values of free form that the agent accepts, where it refuses others and does not start. */
export const ACCEPTED: Readonly<
  Partial<Record<OptionName, { readonly expected: string; readonly test: (value: never) => boolean }>>
> = {
  // pkg/maglev: primes, so that a walk of any step comes to every place.
  "bpf-lb-maglev-table-size": {
    expected: "251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521 or 131071",
    test: (size: number) => [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071].includes(size),
  },
  // A ConfigMap has spaces between them (viper), the command line commas.
  "vlan-bpf-bypass": {
    expected: "VLAN numbers with spaces between them; 0: all",
    test: (text: string) => /^(\d{1,9}([ ,]+\d{1,9})*)?$/.test(text),
  },
  "bpf-lb-maglev-hash-seed": {
    expected: "12 bytes in base64",
    test: (text: string) => /^[A-Za-z0-9+/]{16}$/.test(text),
  },
};
