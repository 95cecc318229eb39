/** How a packet to a service ended, and who sent it, in the words that several files of differences of services need. */
import { parseAddress, prefixContains } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import type { Frontend } from "../names.js";
import type { Side, Situation } from "./difference.js";
import { endOf, isEndpoint } from "./ends.js";
import { balancesElsewhere, clientsAtBalancer, heedsRanges } from "./judgements.js";
import { deniesOwnNode, isEngineDrop } from "./policy-reading.js";

/** No range has the sender: kube-proxy leaves the packet as it is and drops it, or Calico has denied that before. */
export function isOutOfRange({ source, current }: Situation, { service }: Frontend): boolean {
  const sender = parseAddress(source);
  return (current.reason === "filter/KUBE-PROXY-FIREWALL" || isCalicoDrop(current)) && sender !== null
    && !service.loadBalancerSourceRanges.some((range) => prefixContains(range, sender));
}

/** Cilium checks ranges before it looks for a backend, in silence; they do not have the sender. */
export function isOutOfCheckedRange(s: Situation): boolean {
  const { frontend, target } = s;
  return frontend !== null && target.reason === "DENIED_BY_LB_SRC_RANGE_CHECK" && heedsRanges(frontend, target)
    && clientsAtBalancer(s).some((sender) => !frontend.service.loadBalancerSourceRanges.some((range) => prefixContains(range, sender)));
}

/**
 * An engine's chains stand before what kube-proxy refuses: policies drop a packet to the service's own address or to the backend
 * that was chosen. Or the ranges of a load balancer do.
 */
export function isStoppedFirst(s: Situation): boolean {
  if (s.frontend?.kind === "LoadBalancer" && s.current.reason === "filter/KUBE-PROXY-FIREWALL") return isOutOfRange(s, s.frontend);
  if (!s.currentHasPolicy || !isEngineDrop(s.current)) return false;
  const senders = [s.source, ...s.names.nodeAddresses().keys()];
  const backends = s.current.journey.eligibleBackends?.map(endOf) ?? (s.frontend === null ? [] : s.names.endpointsOf(s.frontend));
  const ends = [[s.destination, s.port] as const, ...backends];
  return deniesOwnNode(s) || senders.some((sender) => ends.some((end) => s.engineReads(sender, ...end) === "deny"));
}

/** A pod that nobody masquerades on the way to another node's port: that node takes it for a pod, and serves it from all endpoints. */
export function isPodToOthersNode(s: Situation): boolean {
  const { source, current, frontend } = s;
  const sender = parseAddress(source);
  return frontend?.kind === "NodePort" && sender !== null && isPodOfAnotherNode(s) && balancesElsewhere(s)
    && current.podRanges?.some((range) => prefixContains(range, sender)) === true && isEndpoint(s, frontend, current)
    && current.sourceSeen === source;
}

/** Before kube-proxy's firewall, Calico's policies see a load balancer's own address. */
function isCalicoDrop({ profile, outcome, reason }: Side): boolean {
  return profile === "kube-proxy+calico" && outcome.end === End.Dropped && reason.startsWith("filter/cali-fw-");
}

/** kube-proxy's own chains of what is not served; with source ranges what is not translated ends in their firewall. */
export function isServiceDrop(side: Side): boolean {
  return side.outcome.end === End.Dropped
    && ["KUBE-PROXY-FIREWALL", "KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES"].some((chain) => side.reason === `filter/${chain}`);
}

export function isPodOfAnotherNode({ names, source, destination }: Situation): boolean {
  const pod = names.pod(source);
  return pod !== null && names.node(destination) !== null && pod.nodeName !== names.node(destination);
}
