/** What is asked of the spec, and what it answers. */
import type { AdminPolicy } from "../cluster/admin-policy.js";
import type { Protocol } from "../cluster/cluster.js";
import type { Because } from "../dataplane.js";
import type { Party } from "./party.js";
import type { PolicyIndex } from "./policy-index.js";

/** `undecided` is not an allow. */
export type Verdict = "allow" | "deny" | "undecided";

export type PolicyDirection = "Ingress" | "Egress";

export interface DirectionVerdict {
  /** Whether some policy decides for the pod in this direction; false for what is no pod. */
  readonly isolated: boolean;
  readonly verdict: Verdict;
  /**
   * allow: the rules that match, or the rule of the API that overrides policies; empty where none isolates.
   * deny: the rule that denies; or the policies that isolate the pod and of which no rule matches.
   */
  readonly by: readonly Because[];
}

export interface Evaluation {
  /** Both directions allow. */
  readonly allowed: boolean;
  readonly egress: DirectionVerdict;
  readonly ingress: DirectionVerdict;
}

export interface SpecOptions {
  /** Whether an ipBlock matches pods by their addresses: with iptables and ipsets it does, in Cilium not. */
  readonly ipBlockMatchesPods: boolean;
  /** The cluster-wide kinds that are in force; absent: all. */
  readonly adminKinds?: readonly AdminPolicy["kind"][];
  /** Names that DNS gave an address, by its text; absent: not known, so that what `domainNames` peers match is undecided. */
  readonly domainNames?: ReadonlyMap<string, readonly string[]>;
}

/** One question: the first packet of a flow. */
export interface Flow {
  readonly index: PolicyIndex;
  readonly source: Party;
  readonly destination: Party;
  /** null: a protocol that the policy APIs have no word for. */
  readonly protocol: Protocol | null;
  /** Destination port, host order. */
  readonly port: number;
}

export const OPEN: DirectionVerdict = { isolated: false, verdict: "allow", by: [] };

export function undecidedParty(party: Party): DirectionVerdict {
  return { isolated: false, verdict: "undecided", by: [{ where: null, object: party.address.text,
    rule: "two running pods claim this address" }] };
}
