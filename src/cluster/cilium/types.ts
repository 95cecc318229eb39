/**
 * CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup as they were written: types only. Nothing
 * here says what a rule does. A list that is absent is null; one that is given and empty is empty, since Cilium tells
 * the two apart.
 *
 * Source: cilium pkg/policy/api/*.go and the CustomResourceDefinitions, 1.16 to 1.20.
 */
import type { Prefix } from "../address.js";
import type { ObjectMeta } from "../cluster.js";
import type { Where } from "../problem.js";

export interface CiliumPolicy extends ObjectMeta {
  /** namespace is empty for the clusterwide kind. */
  readonly kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy";
  /** `spec`, then `specs` in order. */
  readonly rules: readonly CiliumRule[];
  /** Where one of these does not hold, the API server or Cilium refuses the whole object. */
  readonly conditions: readonly CiliumCondition[];
}

/**
 * What a Cilium must be for an object to be taken there. `since` and `until` are minor versions (16 for 1.16), inclusive;
 * `option` names an option that must be on.
 */
export interface CiliumCondition {
  readonly where: Where;
  /** `spec.egress[0].toServices`. */
  readonly path: string;
  /** What was found, as a Problem says it. */
  readonly found: string;
  readonly since?: number;
  readonly until?: number;
  readonly option?: string;
}

export interface CiliumRule {
  /** Exactly one of the two selectors is not null. */
  readonly endpointSelector: CiliumSelector | null;
  readonly nodeSelector: CiliumSelector | null;
  readonly ingress: readonly CiliumDirectionRule[];
  readonly ingressDeny: readonly CiliumDirectionRule[];
  readonly egress: readonly CiliumDirectionRule[];
  readonly egressDeny: readonly CiliumDirectionRule[];
  /** As written; null where absent. */
  readonly enableDefaultDeny: { readonly ingress: boolean | null; readonly egress: boolean | null };
  /** `spec` or `specs[1]`. */
  readonly path: string;
  readonly where: Where;
}

/** An item of ingress, ingressDeny, egress or egressDeny. `endpoints` is fromEndpoints or toEndpoints, and so on. */
export interface CiliumDirectionRule {
  readonly endpoints: readonly CiliumSelector[] | null;
  /** fromRequires, toRequires; until 1.18. */
  readonly requires: readonly CiliumSelector[] | null;
  readonly cidr: readonly Prefix[] | null;
  readonly cidrSet: readonly CiliumCIDRRule[] | null;
  readonly entities: readonly CiliumEntity[] | null;
  readonly groups: readonly CiliumGroup[] | null;
  readonly nodes: readonly CiliumSelector[] | null;
  /** Egress only, like `fqdns`. */
  readonly services: readonly CiliumServiceReference[] | null;
  readonly fqdns: readonly CiliumFQDN[] | null;
  readonly toPorts: readonly CiliumPortRule[] | null;
  readonly icmps: readonly { readonly fields: readonly CiliumICMPField[] }[] | null;
  /** null where absent. */
  readonly authentication: "disabled" | "required" | "test-always-fail" | null;
  /** `spec.ingress[0]`. */
  readonly path: string;
  readonly where: Where;
}

/** All requirements must hold; none of them: every endpoint. A matchLabels entry is `In` with one value. */
export interface CiliumSelector {
  readonly requirements: readonly CiliumRequirement[];
}

export interface CiliumRequirement {
  /** `any` where the key has no source: k8s, any, reserved, cidr, node, container … */
  readonly source: string;
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/** Exactly one of cidr, cidrGroupRef and cidrGroupSelector. */
export interface CiliumCIDRRule {
  readonly cidr: Prefix | null;
  /** Name of a CiliumCIDRGroup. */
  readonly cidrGroupRef: string | null;
  /** Over the labels of CiliumCIDRGroups; the source is `cidrgroup` where the key has none. */
  readonly cidrGroupSelector: CiliumSelector | null;
  readonly except: readonly Prefix[];
}

export const CILIUM_ENTITIES = ["all", "world", "cluster", "host", "init", "ingress", "unmanaged", "remote-node", "health",
  "none", "kube-apiserver"] as const;
export type CiliumEntity = typeof CILIUM_ENTITIES[number];

/** A group of an external system. Its addresses are in a CiliumCIDRGroup that an operator writes. */
export interface CiliumGroup {
  readonly aws: {
    readonly labels: Readonly<Record<string, string>>;
    readonly securityGroupsIds: readonly string[];
    readonly securityGroupsNames: readonly string[];
    readonly region: string;
  } | null;
}

/** Either may be null; Cilium takes both where both are given. An empty namespace is the policy's. */
export interface CiliumServiceReference {
  readonly k8sService: { readonly serviceName: string; readonly namespace: string } | null;
  readonly k8sServiceSelector: { readonly selector: CiliumSelector; readonly namespace: string } | null;
}

/** Exactly one is not null. Text as written. */
export interface CiliumFQDN {
  readonly matchName: string | null;
  readonly matchPattern: string | null;
}

/** An item of toPorts. Deny rules have `ports` alone. */
export interface CiliumPortRule {
  /** Empty, also where absent: the item names no port, and so no packet. */
  readonly ports: readonly CiliumPort[];
  readonly terminatingTLS: boolean;
  readonly originatingTLS: boolean;
  readonly serverNames: readonly string[];
  readonly listener: {
    readonly kind: string;
    readonly envoyConfig: string;
    readonly name: string;
    /** 1 to 100; 0 where absent. */
    readonly priority: number;
  } | null;
  readonly rules: CiliumL7Rules | null;
  readonly where: Where;
}

export const CILIUM_PROTOCOLS = ["TCP", "UDP", "SCTP", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH", "ANY"] as const;
export type CiliumProtocol = typeof CILIUM_PROTOCOLS[number];

export interface CiliumPort {
  /** 0: every port of the protocol. A string is a container port's name, in lower case. */
  readonly port: number | string;
  /** 0 where absent. */
  readonly endPort: number;
  /** ANY where absent. */
  readonly protocol: CiliumProtocol;
}

/** One list is not null. Kafka and l7proto end with 1.19. */
export interface CiliumL7Rules {
  readonly http: readonly CiliumHTTPRule[] | null;
  readonly dns: readonly CiliumFQDN[] | null;
  /** How many; their content is no matter of packets. */
  readonly kafka: number | null;
  readonly l7proto: string | null;
  /** Rules under `l7`. */
  readonly l7: number;
}

/** Regular expressions as written; empty where absent. */
export interface CiliumHTTPRule {
  readonly path: string;
  readonly method: string;
  readonly host: string;
  readonly headers: readonly string[];
  readonly headerMatches: number;
}

export interface CiliumICMPField {
  readonly family: "IPv4" | "IPv6";
  /** 0 to 255, or a number that no packet has. */
  readonly type: number;
}

export interface CiliumCIDRGroup extends ObjectMeta {
  readonly externalCIDRs: readonly Prefix[];
  readonly conditions: readonly CiliumCondition[];
}
