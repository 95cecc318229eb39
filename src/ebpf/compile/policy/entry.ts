/**
 * What every kind of policy object becomes: entries that say which peers may, may not, or pass on what.
 *
 * Source: cilium pkg/policy/types/policyentry.go (1.20); older versions have no tiers, priorities or passes, and all
 * their rules are of the Normal tier with priority 0.
 */
import type { Prefix } from "../../../cluster/address.js";
import type { Where } from "../../../cluster/problem.js";
import type { Because } from "../../../dataplane.js";
import type { CiliumOptions } from "../../options.js";
import { CLUSTER_LABEL } from "../labels.js";

/** `pkg/policy/types/policyentry.go`; DefaultPolicy is the agent's own. */
export const Tier = { Admin: 100, Normal: 200, Baseline: 250, DefaultPolicy: 255 } as const;
export type Verdict = "allow" | "deny" | "pass";

/** One condition on labels. `any` is a label of any source. */
export interface Requirement {
  readonly source: string;
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/**
 * The other side. `any` is identity 0; `labels` are those whose labels satisfy all; a CIDR selects CIDR identities and
 * world. `fixed`: not narrowed by fromRequires. `unknown`: what it selects is among the identities
 * outside the cluster, or `within` one prefix of it, and cannot be said. `node`: for that node's endpoints alone.
 */
export type Peer =
  /** `endpoints`: as a wildcard among fromEndpoints, which fromRequires narrows. */
  | { readonly kind: "any"; readonly endpoints?: true }
  | { readonly kind: "labels"; readonly requirements: readonly Requirement[]; readonly fixed?: true }
  | { readonly kind: "cidr"; readonly prefix: Prefix; readonly except: readonly Prefix[];
    readonly node?: string }
  | { readonly kind: "unknown"; readonly within?: Prefix; readonly node?: string };

/** A redirect to a proxy. */
export interface Redirect {
  readonly parser: string;
  /** Qualified name of an Envoy listener; empty: the parser's own. */
  readonly listener: string;
  /** Listener priority, 1 the best, 126 the worst; 0: none. */
  readonly priority: number;
}

export interface PortRange {
  /** IP protocol number; 0 is every protocol. */
  readonly protocol: number;
  /** A container port's name in lower case, or null. */
  readonly name: string | null;
  /** 0..65535 is every port. For ICMP the port is the type. */
  readonly first: number;
  readonly last: number;
  readonly redirect?: Redirect;
}

/** Authentication a rule asks for; `disabled` is said explicitly, null is not said. */
export type AuthMode = "disabled" | "required" | "test-always-fail";

export interface PolicyEntry {
  readonly verdict: Verdict;
  /** Lower first, within the tier. */
  readonly tier: number;
  readonly priority: number;
  readonly peer: Peer;
  readonly ports: readonly PortRange[];
  readonly auth: AuthMode | null;
  readonly because: Because;
}

/** What one object says of its subjects. An object with several rules is several of these. */
export interface PolicyRules {
  /** As `because.object`. */
  readonly name: string;
  readonly where: Where;
  /** Labels of the endpoints it is for. */
  readonly subject: readonly Requirement[];
  /** The subjects are nodes (their host endpoints), not pods. */
  readonly forNodes: boolean;
  readonly ingress: DirectionRules;
  readonly egress: DirectionRules;
}

export interface DirectionRules {
  /** The direction is enforced for the subjects, though perhaps without a default deny. */
  readonly enforces: boolean;
  readonly defaultDeny: boolean;
  readonly entries: readonly PolicyEntry[];
  /** fromRequires and toRequires, which narrow the label peers of all rules that select the same endpoint; to 1.18. */
  readonly requires: readonly Requirement[];
  readonly requiresDeny: readonly Requirement[];
}

/**
 * What selectors that name no cluster are pinned to, empty where they are not. Pinned, a selector of peers selects pods
 * alone; before, one that only says what labels must not be there also selects hosts and the world, which have none.
 * On by default from 1.19; 1.18 has the option, off.
 */
export function localCluster(options: CiliumOptions): Requirement[] {
  const known = options.version !== "1.16" && options.version !== "1.17";
  const on = known && options["policy-default-local-cluster"]
    && (options.version !== "1.18" || options.grades["policy-default-local-cluster"] === "read");
  return on ? [{ source: "k8s", key: CLUSTER_LABEL, operator: "In", values: [options["cluster-name"]] }] : [];
}

export const IP_PROTOCOL = {
  ICMP: 1, IGMP: 2, IPIP: 4, TCP: 6, UDP: 17, IPV6: 41, GRE: 47, ESP: 50, AH: 51, ICMPV6: 58, VRRP: 112, SCTP: 132,
} as const;
export const ANY_PORT: readonly PortRange[] = [{ protocol: 0, name: null, first: 0, last: 65535 }];
export const NO_RULES: DirectionRules = { enforces: false, defaultDeny: false, entries: [], requires: [], requiresDeny: [] };
