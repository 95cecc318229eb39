/**
 * The cluster that both planes are given: Kubernetes objects as they stand at one instant, defaulted as the API
 * server would, and what is known of each node. Types only. Nothing here says what a dataplane does with them.
 *
 * Field names are Kubernetes' own. A Timeline holds one immutable Cluster for each interval of time.
 */
import type { Address, Prefix } from "./address.js";
import type { AdminPolicy } from "./admin-policy.js";
import type { CiliumCIDRGroup, CiliumPolicy } from "./cilium/types.js";
import type { FieldLines } from "./lines.js";
import type { DNSNames } from "./names.js";
import type { Problem, Where } from "./problem.js";

/** Kubernetes' spelling. */
export type Protocol = "TCP" | "UDP" | "SCTP";

export interface ObjectMeta {
  readonly kind: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly where: Where;
}

export interface Namespace extends ObjectMeta {}

export interface Node extends ObjectMeta {
  readonly addresses: readonly { readonly type: string; readonly address: Address }[];
  readonly podCIDRs: readonly Prefix[];
  /** `v1.33.2`; absent: not said. */
  readonly kubeletVersion?: string;
  readonly facts: NodeFacts;
}

export interface ContainerPort {
  readonly name: string;
  readonly containerPort: number;
  readonly protocol: Protocol;
  readonly hostPort: number;
  readonly hostIP: string;
  /** Of an init container that restarts; some engines read spec.containers only. */
  readonly sidecar?: true;
}

export interface Pod extends ObjectMeta {
  readonly nodeName: string;
  /** status.podIPs; a host-network pod has its node's addresses here. */
  readonly ips: readonly Address[];
  /** status.hostIPs, its node's addresses; absent: not said. */
  readonly hostIPs?: readonly Address[];
  readonly hostNetwork: boolean;
  readonly serviceAccountName: string;
  readonly ports: readonly ContainerPort[];
  /** Name of the Deployment or the like that it is of, as far as its owner's name says; absent: none. */
  readonly owner?: string;
  /** When it was made and when it is to be gone, ns since the Unix epoch, as far as it says. */
  readonly lifetime?: { readonly since?: bigint; readonly until?: bigint };
  /** `Running` where status.phase is absent. Succeeded and Failed pods own no address. */
  readonly phase: string;
}

export interface ServicePort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly targetPort: number | string;
  /** 0 where none. */
  readonly nodePort: number;
}

export interface Service extends ObjectMeta {
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** Empty for headless services and ExternalName. */
  readonly clusterIPs: readonly Address[];
  readonly headless: boolean;
  readonly ipFamilies: readonly ("IPv4" | "IPv6")[];
  readonly externalIPs: readonly Address[];
  readonly loadBalancerIngress: readonly { readonly ip: Address; readonly ipMode: "VIP" | "Proxy" }[];
  readonly loadBalancerSourceRanges: readonly Prefix[];
  readonly externalTrafficPolicy: "Cluster" | "Local";
  readonly internalTrafficPolicy: "Cluster" | "Local";
  readonly sessionAffinity: "None" | "ClientIP";
  /** Seconds; 10800 by default. */
  readonly sessionAffinityTimeoutSeconds: number;
  readonly healthCheckNodePort: number;
  readonly publishNotReadyAddresses: boolean;
  readonly trafficDistribution: string;
  /** Empty: none given, so the cluster's default. */
  readonly loadBalancerClass: string;
  readonly selector: Readonly<Record<string, string>> | null;
  readonly ports: readonly ServicePort[];
}

export interface Endpoint {
  readonly addresses: readonly Address[];
  readonly nodeName: string;
  readonly zone: string;
  /** Defaulted: nil ready -> true, nil serving -> ready, nil terminating -> false. */
  readonly ready: boolean;
  readonly serving: boolean;
  /** The condition `serving` is not there: the API's newer words and some readers take that for true. */
  readonly servingAbsent?: boolean;
  readonly terminating: boolean;
  readonly targetRef: { readonly kind: string; readonly namespace: string; readonly name: string } | null;
  readonly hintZones: readonly string[];
  readonly hintNodes: readonly string[];
}

export interface EndpointSlice extends ObjectMeta {
  readonly addressType: "IPv4" | "IPv6" | "FQDN";
  /** Label kubernetes.io/service-name. */
  readonly serviceName: string;
  readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
  readonly endpoints: readonly Endpoint[];
}

export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    readonly values: readonly string[];
  }[];
}

export interface NetworkPolicyPeer {
  readonly podSelector: LabelSelector | null;
  readonly namespaceSelector: LabelSelector | null;
  readonly ipBlock: { readonly cidr: Prefix; readonly except: readonly Prefix[] } | null;
}

export interface NetworkPolicyPort {
  readonly protocol: Protocol;
  /** null: every port of the protocol. A string is a container port's name. */
  readonly port: number | string | null;
  /** null where absent. */
  readonly endPort: number | null;
}

export interface NetworkPolicyRule {
  /** null: absent or empty, which means any peer. */
  readonly peers: readonly NetworkPolicyPeer[] | null;
  /** null: absent or empty, which means any port and protocol. */
  readonly ports: readonly NetworkPolicyPort[] | null;
  /** Line of the rule's list item. */
  readonly where: Where;
}

export interface NetworkPolicy extends ObjectMeta {
  readonly podSelector: LabelSelector;
  /** Defaulted: Ingress always, Egress where there is an egress rule, when policyTypes is absent. */
  readonly policyTypes: readonly ("Ingress" | "Egress")[];
  readonly ingress: readonly NetworkPolicyRule[];
  readonly egress: readonly NetworkPolicyRule[];
}

/** An object of a kind that is kept as it was read (ConfigMap, DaemonSet, …). */
export interface OtherObject extends ObjectMeta {
  readonly apiVersion: string;
  readonly object: Readonly<Record<string, unknown>>;
  /** Lines of its fields, for kinds that configure a program on nodes; `lines.ts` reads them. */
  readonly lines?: FieldLines;
}

export interface Cluster {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly networkPolicies: readonly NetworkPolicy[];
  /** AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy. */
  readonly adminPolicies: readonly AdminPolicy[];
  /** CiliumNetworkPolicies and, with an empty namespace, CiliumClusterwideNetworkPolicies. */
  readonly ciliumPolicies: readonly CiliumPolicy[];
  readonly cidrGroups: readonly CiliumCIDRGroup[];
  readonly others: readonly OtherObject[];
}

// ---- what is known of a node -------------------------------------------------------------------------------

export interface Device {
  /** ifindex; unique in the node. */
  readonly index: number;
  readonly name: string;
  /** `loopback`; `uplink` leads to other nodes and outside; `pod` is the host end of a pod's veth. */
  readonly kind: "loopback" | "uplink" | "pod" | "tunnel" | "other";
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly addresses: readonly { readonly address: Address; readonly length: number }[];
  /** `namespace/name` of the pod behind a `pod` device, by the node's routes. */
  readonly pod: string | null;
  readonly vxlan: { readonly vni: number; readonly port: number; readonly local: Address | null } | null;
  /** Of a VLAN device; absent: it is none. */
  readonly vlan?: VlanLink;
  /** Whether VLAN devices stand on it is not known. */
  readonly vlansUnknown?: boolean;
}

/** A VLAN device's frames cross another device with a tag. */
export interface VlanLink {
  /** ifindex of that device. */
  readonly parent: number;
  /** 0 … 4095. */
  readonly id: number;
  /** EtherType of the tag, host order: 0x8100 (802.1Q) or 0x88a8 (802.1ad). */
  readonly protocol: number;
}

export interface Route {
  readonly destination: Prefix;
  /** `ip route show table all`'s table: main, local, default or a number. */
  readonly table: string;
  readonly type: "unicast" | "local" | "broadcast" | "multicast" | "anycast" | "unreachable" | "prohibit" | "blackhole" | "throw";
  readonly via: Address | null;
  /** ifindex, or null for unreachable and the like. */
  readonly device: number | null;
  readonly prefSrc: Address | null;
  readonly metric: number;
  readonly mtu: number | null;
}

export interface Neighbour {
  readonly address: Address;
  readonly device: number;
  readonly mac: string;
}

export interface NodeFacts {
  readonly devices: readonly Device[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** `read`: from files of the node. `assumed`: built by a preset; reports must say so. */
  readonly source: "read" | "assumed";
}

// ---- time --------------------------------------------------------------------------------------------------

/** A change that is no object: an operator or an agent deleted conntrack entries on a node. */
export interface ConntrackDelete {
  readonly node: string;
  readonly family: 4 | 6;
  /** IP protocol number. */
  readonly protocol: number;
  /** Every given field must equal the entry's; null matches all. Ports in host order. */
  readonly originalSource: Address | null;
  readonly originalDestination: Address | null;
  readonly originalSourcePort: number | null;
  readonly originalDestinationPort: number | null;
  readonly replySource: Address | null;
}

export type TimelineChange =
  | { readonly atNs: bigint; readonly kind: "cluster"; readonly cluster: Cluster }
  /** What agents know of DNS names from then on: of the current side and of the target; null: nothing new. */
  | { readonly atNs: bigint; readonly kind: "names"; readonly names: readonly [DNSNames | null, DNSNames | null] }
  | { readonly atNs: bigint; readonly kind: "conntrack-delete"; readonly entry: ConntrackDelete };

/** Snapshots and dated changes, oldest first. Times are ns since the Unix epoch. */
export interface Timeline {
  readonly initial: Cluster;
  readonly changes: readonly TimelineChange[];
  readonly problems: readonly Problem[];
}
