/** What of Cilium's options and of a capture bears on what a policy says. Names are the agent's, without dashes. */
export interface CiliumSpecOptions {
  /** Minor version: 16 for 1.16. */
  readonly version: number;
  readonly enablePolicy: "default" | "always" | "never";
  /** allow-localhost: a node's own traffic reaches its pods. `auto` is so under Kubernetes. */
  readonly allowLocalhost: boolean;
  /** policy-cidr-match-mode=nodes. */
  readonly cidrMatchesNodes: boolean;
  /** Both families are on: world is then world-ipv4 and world-ipv6. */
  readonly dualStack: boolean;
  readonly clusterName: string;
  /** policy-default-local-cluster: selectors of peers ask for the cluster's own label, which only pods have. */
  readonly localCluster: boolean;
  /** enable-k8s-cluster-network-policy, of 1.20. */
  readonly clusterNetworkPolicy: boolean;
  /** Options that are on, by the agent's names: what an object may need. */
  readonly on: ReadonlySet<string>;
  /** Names that the agent learned for an address, by its text; absent: not known. */
  readonly domainNames?: ReadonlyMap<string, readonly string[]>;
  /** It may have learned others too. */
  readonly moreNames?: boolean;
}

/** From option values by the agent's names. */
export function ciliumSpecOptions(version: number, values: Readonly<Record<string, unknown>>): CiliumSpecOptions {
  return {
    version,
    enablePolicy: values["enable-policy"] as CiliumSpecOptions["enablePolicy"],
    allowLocalhost: values["allow-localhost"] !== "policy",
    cidrMatchesNodes: values["policy-cidr-match-mode"] === "nodes",
    dualStack: values["enable-ipv4"] === true && values["enable-ipv6"] === true,
    clusterName: String(values["cluster-name"]),
    // An option of 1.18, off there; on from 1.19.
    localCluster: version >= 19 ? values["policy-default-local-cluster"] !== false
      : version === 18 && values["policy-default-local-cluster"] === true,
    clusterNetworkPolicy: version >= 20 && values["enable-k8s-cluster-network-policy"] === true,
    on: new Set(Object.entries(values).filter(([, value]) => value === true).map(([name]) => name)),
  };
}
