/**
 * Differences in what policy allows, in the order in which they are asked. Each names the rule that is read in two ways,
 * on the pod and in the direction that the packet was dropped; a drop that no such rule explains stays unexplained.
 */
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isPolicyDrop } from "./ends.js";
import { isAnswerDenied, isDeniedInTarget, isOnMasqueradingNode, judgementsOfDrop } from "./policy-reading.js";
import { POLICY_PACKETS } from "./policy-packets.js";
import { BACKEND_PICK, POLICY_PEERS } from "./policy-peers.js";
import { POLICY_MOMENTS, POLICY_RULES } from "./policy-rules.js";

const NO_ENGINE: Difference = {
  id: "POL-NOENGINE",
  title: "A policy drops it in the target; the current side has no policy engine, so nothing enforces the policy there",
  matches: (s) => !s.currentHasPolicy && isPolicyDrop(s.target) && ((isDeniedInTarget(s) && isDelivered(s)) || isAnswerDenied(s)),
  page: {
    shownBy: "packets",
    kubeProxy: "kube-proxy by itself never enforces NetworkPolicy: without Azure NPM, Calico or another engine everything passes.",
    cilium: "NetworkPolicy is enforced. What refuses a client of a service without endpoints is dropped where the client's own ingress"
      + " policy does not allow it.",
    bitten: [],
    advice: "Review each policy as if it were new: nothing has tested it so far.",
    sources: [{ what: "kube-proxy has no code for NetworkPolicy; AKS offers Azure NPM, Calico or Cilium as engines",
      known: "read in source" }],
  },
};

export const POLICY: readonly Difference[] = [NO_ENGINE, ...POLICY_MOMENTS, ...POLICY_PEERS, ...POLICY_RULES, ...POLICY_PACKETS,
  BACKEND_PICK];

/**
 * It arrives now, and a policy by its words, or as Cilium reads it, denies it. What a pod sends, and what comes to a backend of
 * the node that it entered by, is judged by the sender's own address, which masquerading may have replaced before it arrived.
 */
function isDelivered(s: Situation): boolean {
  return s.facets === Facet.Reached && s.current.outcome.arrived
    && (s.policyDenies() || ((s.names.pod(s.source) !== null || isOnMasqueradingNode(s)) && s.policyDeniesSender())
      || isDeniedThere(s) || [...POLICY_PEERS, ...POLICY_RULES].some((one) => one.matches({ ...s, currentHasPolicy: true })));
}

/**
 * NetworkPolicy by its words denies it where Cilium judges it: by another node's address and port, or from one that masqueraded; and
 * for the backend that the current side delivers to, not for another that chance chose.
 */
function isDeniedThere(s: Situation): boolean {
  return s.frontend !== null && isEndpoint(s, s.frontend, s.current) && judgementsOfDrop(s).some(({ way, sender, receiver, port }) =>
    (receiver === s.destination || receiver === s.current.destination)
    && s.engineReads(sender, receiver, port, way) === "deny" && s.targetReads(sender, receiver, port, way) === "deny");
}
