/**
 * What objects were compiled with: the node_config.h that the agent writes beside them. Our own side is set to the same, so that a
 * difference is one of behaviour. Addresses stand there as numbers whose bytes in memory are in wire order.
 */

export class NodeConfig {
  private readonly defines = new Map<string, string>();

  constructor(text: string) {
    for (const [, name, value] of text.matchAll(/^#define\s+(\w+)[ \t]*(.*)$/gm)) this.defines.set(name, value.trim());
  }

  has(name: string): boolean {
    return this.defines.has(name);
  }

  /** A decimal or hexadecimal number; other names in between are followed. */
  number(name: string, otherwise: number): number {
    const text = this.defines.get(name);
    if (text === undefined) return otherwise;
    if (/^\(?-?(0x[0-9a-f]+|\d+)[uUlL]*\)?$/i.test(text)) return Number(text.replace(/[()uUlL]/g, ""));
    return this.defines.has(text) ? this.number(text, otherwise) : otherwise;
  }

  /** Dotted text, or null. */
  ipv4(name: string): string | null {
    const value = this.number(name, 0) >>> 0;
    return value === 0 ? null : [0, 8, 16, 24].map((shift) => (value >>> shift) & 255).join(".");
  }

  /** Eight groups, or null: `{ .addr = { 0xfd, … } }`, missing bytes zero. */
  ipv6(name: string): string | null {
    const bytes = this.bytes(name);
    if (bytes === null || bytes.every((one) => one === 0)) return null;
    return Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] << 8) | bytes[2 * index + 1]).toString(16)).join(":");
  }

  /** Bits set from the left of a mask written like an address. */
  maskLength(name: string): number {
    return (this.bytes(name) ?? []).reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
  }

  private bytes(name: string): number[] | null {
    const found = /\{\s*\.addr\s*=\s*\{([^}]*)\}/.exec(this.defines.get(name) ?? "");
    if (found === null) return null;
    const bytes = found[1].split(",").map((part) => Number(part.trim() || "0"));
    return Array.from({ length: 16 }, (_, index) => bytes[index] ?? 0);
  }
}

/** Our options that say the same. */
export function optionsOf(config: NodeConfig): Record<string, unknown> {
  const seconds = (name: string, otherwise: number): number => config.number(name, otherwise);
  const exclusion4 = config.ipv4("IPV4_SNAT_EXCLUSION_DST_CIDR");
  const exclusion6 = config.ipv6("IPV6_SNAT_EXCLUSION_DST_CIDR");
  const maglev = config.number("LB_SELECTION", 1) === config.number("LB_SELECTION_MAGLEV", 2);
  return {
    "enable-ipv4": config.has("ENABLE_IPV4"), "enable-ipv6": config.has("ENABLE_IPV6"),
    "routing-mode": config.has("TUNNEL_MODE") ? "tunnel" : "native",
    "enable-endpoint-routes": config.has("ENABLE_ENDPOINT_ROUTES"),
    "enable-host-legacy-routing": !config.has("ENABLE_HOST_ROUTING"),
    "enable-host-firewall": config.has("ENABLE_HOST_FIREWALL"),
    "kube-proxy-replacement": config.has("ENABLE_NODEPORT"),
    "bpf-lb-sock": config.has("ENABLE_SOCKET_LB_FULL"),
    "bpf-lb-algorithm": maglev ? "maglev" : "random",
    "bpf-lb-maglev-table-size": config.number("LB_MAGLEV_LUT_SIZE", 16381),
    "service-no-backend-response": config.has("SERVICE_NO_BACKEND_RESPONSE") ? "reject" : "drop",
    "enable-bpf-masquerade": config.has("ENABLE_MASQUERADE_IPV4") || config.has("ENABLE_MASQUERADE_IPV6"),
    "enable-ipv4-masquerade": config.has("ENABLE_MASQUERADE_IPV4"), "enable-ipv6-masquerade": config.has("ENABLE_MASQUERADE_IPV6"),
    "enable-ip-masq-agent": config.has("ENABLE_IP_MASQ_AGENT_IPV4"),
    ...(exclusion4 === null ? {} : { "ipv4-native-routing-cidr": `${exclusion4}/${config.number("IPV4_SNAT_EXCLUSION_DST_CIDR_LEN", 32)}` }),
    ...(exclusion6 === null ? {} : { "ipv6-native-routing-cidr": `${exclusion6}/${config.maskLength("IPV6_SNAT_EXCLUSION_DST_CIDR_MASK")}` }),
    "bpf-ct-timeout-regular-tcp": seconds("CT_CONNECTION_LIFETIME_TCP", 8000),
    "bpf-ct-timeout-regular-any": seconds("CT_CONNECTION_LIFETIME_NONTCP", 60),
    "bpf-ct-timeout-service-tcp": seconds("CT_SERVICE_LIFETIME_TCP", 8000),
    "bpf-ct-timeout-service-any": seconds("CT_SERVICE_LIFETIME_NONTCP", 60),
    "bpf-ct-timeout-service-tcp-grace": seconds("CT_SERVICE_CLOSE_REBALANCE", 60),
    "bpf-ct-timeout-regular-tcp-syn": seconds("CT_SYN_TIMEOUT", 60),
    "bpf-ct-timeout-regular-tcp-fin": seconds("CT_CLOSE_TIMEOUT", 10),
    "enable-sctp": config.has("ENABLE_SCTP"),
  };
}
