/**
 * The policy APIs of Kubernetes evaluated word by word from their documentation: a third opinion beside the two
 * dataplanes, with no code of theirs.
 *
 * A verdict is for the first packet of a flow, with the destination after service translation and the source
 * as the destination's node sees it. Replies follow the flow and are not asked for here.
 *
 *   allowed = the source pod's egress allows it AND the destination pod's ingress allows it
 *
 * In each direction the tiers are asked in order, and the first that decides is final:
 *
 *   Admin      AdminNetworkPolicy, ClusterNetworkPolicy of tier Admin     admin-policy.ts
 *   -          NetworkPolicy, for pods that one selects                   network-policy.ts
 *   Baseline   BaselineAdminNetworkPolicy, ClusterNetworkPolicy of tier Baseline
 *
 * What none of them decides is allowed. Fixed by the documentation: a pod cannot block access to itself.
 * Where two running pods claim an address, what the policies of one of them say is undecided.
 */
import type { Protocol } from "../cluster/cluster.js";
import type { Because } from "../dataplane.js";
import { adminVerdict } from "./admin-policy.js";
import { networkPolicyVerdict } from "./network-policy.js";
import type { Party } from "./party.js";
import type { PolicyIndex } from "./policy-index.js";
import { type DirectionVerdict, type Evaluation, type Flow, OPEN, type PolicyDirection, undecidedParty } from "./verdict.js";

const PROTOCOL_NAMES: ReadonlyMap<number, Protocol> = new Map([[6, "TCP"], [17, "UDP"], [132, "SCTP"]]);

const ITSELF: Because = { where: null, object: "NetworkPolicy API", rule: "a pod cannot block access to itself" };

/**
 * @param protocol IP protocol number
 * @param port destination port in host order; ignored for protocols other than TCP, UDP and SCTP
 */
export function evaluateParties(index: PolicyIndex, source: Party, destination: Party, protocol: number,
  port: number): Evaluation {
  const flow: Flow = { index, source, destination, protocol: PROTOCOL_NAMES.get(protocol) ?? null, port };
  const egress = source.claimedTwice ? undecidedParty(source) : direction(flow, "Egress");
  const ingress = destination.claimedTwice ? undecidedParty(destination) : direction(flow, "Ingress");
  return { allowed: egress.verdict === "allow" && ingress.verdict === "allow", egress, ingress };
}

function direction(flow: Flow, type: PolicyDirection): DirectionVerdict {
  const [subject, peer] = type === "Ingress" ? [flow.destination, flow.source] : [flow.source, flow.destination];
  if (subject.pod === null || !flow.index.isSelected(subject.pod, type)) return OPEN;
  if (subject.pod === peer.pod) return { isolated: true, verdict: "allow", by: [ITSELF] };
  // Whether a pod or a stranger stands behind the address decides whether the policies match.
  if (peer.claimedTwice) return undecidedParty(peer);
  return adminVerdict(flow, type, "Admin", subject.pod, peer)
    ?? networkPolicyVerdict(flow, type, subject.pod, peer)
    ?? adminVerdict(flow, type, "Baseline", subject.pod, peer)
    ?? OPEN;
}
