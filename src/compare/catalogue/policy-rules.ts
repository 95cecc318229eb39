/** Differences in policy by what a rule or an object says: its types, ports and kinds, and when it is asked. */
import type { CiliumPolicy } from "../../cluster/cilium/types.js";
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, Pod } from "../../cluster/cluster.js";
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isPolicyDrop } from "./ends.js";
import { isToOtherNodesPort } from "./judgements.js";
import type { Shown } from "./policy-peers.js";
import { admits, arrivedPort, deniesOwnNode, enforced, isDeniedInTarget, isEngineDrop, judgementsOfDrop, newlyAllowed, newlyDenied,
  readings, rulesFor, rulesOf, selecting, wordsDeny } from "./policy-reading.js";

export const POLICY_RULES: readonly Shown[] = [
  {
    id: "POL-TYPES",
    title: "Rules of a direction that policyTypes leaves out: the API ignores them, Cilium enforces them",
    matches: (s) => (newlyDenied(s) && !wordsDeny(s) && selecting(s).some((one) => !one.policy.policyTypes.includes(one.direction)
      && rulesOf(one.policy, one.direction).length > 0 && !rulesFor(s, one).some(({ peers }) => peers === null)))
      || (newlyAllowed(s) && selecting(s, s.target, (pod) => policiesByKept(s, pod)).some((one) =>
        !one.policy.policyTypes.includes(one.direction) && admits(s, one, "kept"))),
    page: {
      shownBy: "packets",
      kubeProxy: "Rules of a direction that policyTypes does not list are ignored: the direction stays open.",
      cilium: "The rules are installed whatever policyTypes says, and with them the direction's default deny: they also allow what another"
        + " policy's isolation would stop.",
      bitten: [],
      advice: "Delete the rules that policyTypes leaves out, or list their direction.",
      sources: [{ what: "Cilium pkg/k8s/network_policy.go, 1.16 to 1.20-dev", known: "read in source" }],
    },
  },
  {
    id: "POL-NAMEDPORT",
    title: "An egress rule with a port's name: Cilium before 1.20 takes it for the cluster's one number, and for none where pods differ",
    matches: (s) => s.target.version !== "" && s.target.version < "1.20" && ((newlyDenied(s) && !wordsDeny(s)
      && enforced(s).some((one) => one.direction === "Egress" && rulesFor(s, one).some(({ ports }) => (ports ?? [])
        .some(({ port, protocol }) => typeof port === "string" && numbersOf(s, port, protocol).size > 1))))
      || (newlyAllowed(s) && selecting(s, s.target, (pod) => policiesByKept(s, pod)).some((one) => one.direction === "Egress"
        && rulesFor(s, one).length < rulesFor(s, one, "kept").length && admits(s, one, "kept")))),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM (a set of address and port) and Calico look the name up in each destination pod.",
      cilium: "To 1.19 the name must mean one number among all pods of the cluster: with several the rule's port is left out, and"
        + " nothing passes by it. With one, that number is open to every peer of the rule: to pods that do not name it, nodes and the"
        + " outside. 1.20 looks it up in each destination; ingress rules do so in every version.",
      bitten: ["cilium#30003", "cilium#24779", "cilium#17903", "cilium#48110"],
      advice: "Use numbers in egress rules, one entry for each.",
      sources: [
        { what: "Cilium pkg/types/portmap.go, pkg/policy/l4.go of five versions", known: "read in source" },
        { what: "AKS guide for the move from Azure NPM to Cilium", known: "documented" },
      ],
    },
  },
  {
    id: "POL-LABEL-FILTER",
    title: "A selector on a label that Cilium leaves out of identities: it selects nothing there, or every pod",
    matches: (s) => (newlyDenied(s) && !wordsDeny(s) && isServed(s) && !isHiddenSender(s)
        && (isPeerUnselected(s) || isSubjectSelected(s) || isAllowerLost(s)))
      || (newlyAllowed(s) && deniesWhatArrives(s) && (isSubjectUnselected(s) || isAllowerGained(s) || isPeerSelected(s))),
    appliesTo: ({ cluster, target }) => cluster.networkPolicies.flatMap((policy) => {
      const selectors = [policy.podSelector, ...[...policy.ingress, ...policy.egress].flatMap(({ peers }) =>
        (peers ?? []).flatMap(({ podSelector }) => (podSelector === null ? [] : [podSelector])))];
      const keys = [...new Set(selectors.flatMap(keysOf))].filter((key) => target.keepsLabel?.(key) === false);
      return keys.map((key) => `NetworkPolicy ${policy.namespace}/${policy.name} selects by ${key}`);
    }),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM and Calico select by any label.",
      cilium: "Identities leave out labels that change from pod to pod: statefulset.kubernetes.io/pod-name, apps.kubernetes.io/pod-index,"
        + " pod-template-hash, controller-revision-hash, batch.kubernetes.io/job-completion-index and controller-uid, *.beta.kubernetes.io"
        + " and what begins with kubernetes.io or k8s.io; 1.20 topology.kubernetes.io too. A selector that asks for one matches no pod: as"
        + " a peer it allows nobody, as podSelector its policy protects nobody; one that asks for its absence matches every pod. The option"
        + " labels changes the list.",
      bitten: [],
      advice: "Select by labels of your own, or include the label by the option labels (each pod is then an identity: CAP-IDENTITY).",
      sources: [{ what: "Cilium pkg/labelsfilter/filter.go of five versions", known: "read in source" }],
    },
  },
  {
    id: "POL-NPM-REFUSED",
    title: "A policy that Azure NPM refuses whole, as for an IPv6 block: it enforces nothing of it, Cilium enforces all",
    matches: (s) => newlyDenied(s) && s.current.profile === "kube-proxy+npm" && (s.policyDenies() || s.policyDeniesSender())
      && enforced(s).some(({ policy }) => [...policy.ingress, ...policy.egress].some(({ peers }) =>
        (peers ?? []).some(({ ipBlock }) => ipBlock !== null && ipBlock.cidr.address.family === 6))),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM knows IPv4 alone. A policy with an IPv6 block, or one whose rules' comments grow too long, is refused whole:"
        + " the pods it selects stay as open as without it. Its log says so; the API server does not.",
      cilium: "The policy is enforced, IPv6 and IPv4.",
      bitten: [],
      advice: "Expect the policy to take effect for the first time.",
      sources: [{ what: "Azure/azure-container-networking npm/pkg/controlplane/translation", known: "read in source" }],
    },
  },
  {
    id: "POL-CILIUM-KINDS",
    title: "A policy of a kind that only Cilium reads: the current side's engine enforces nothing of it",
    matches: (s) => s.currentHasPolicy && s.facets === Facet.Reached && (isChangedByKinds(s) || (isByCiliumKinds(s)
      && (s.current.outcome.arrived ? isPolicyDrop(s.target) && isDeniedInTarget(s) && (s.policyDenies() || s.policyDeniesSender())
        : newlyAllowed(s) && !isPastProxy(s)
          && s.targetReads(s.target.sourceSeen, s.target.destination, arrivedPort(s.target)) === "allow"))),
    page: {
      shownBy: "packets",
      kubeProxy: "CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy are objects that nobody reads.",
      cilium: "They are enforced from the first moment, beside NetworkPolicy: what they allow passes though a NetworkPolicy isolates the"
        + " pod.",
      bitten: [],
      advice: "Expected where they were written for the switch; else review them as new policies.",
      sources: [{ what: "Azure NPM and Calico watch NetworkPolicy alone", known: "read in source" }],
    },
  },
];

/** Rows that come before all others: who judges which packets of a flow, and where it goes instead. */
export const POLICY_MOMENTS: readonly Difference[] = [
  {
    id: "POL-ESTABLISHED",
    title: "A policy that came while the connection was open: iptables engines let it go on, Cilium cuts it",
    matches: (s) => s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived && isPolicyDrop(s.target)
      && isDeniedInTarget(s) && s.seenBefore && s.packet.kind === "request" && s.names.policiesChanged
      && (s.policyDenies() || s.policyDeniesSender()),
    page: {
      shownBy: "state or option",
      kubeProxy: "Azure NPM judges packets of state NEW alone, and Calico accepts ESTABLISHED first: an open connection goes on.",
      cilium: "Policy is asked again for each forward packet; conntrack exempts answers alone. The connection is cut at once, without a"
        + " reset. The API calls this implementation-defined.",
      bitten: ["cilium#2700", "cilium#3605", "projectcalico/calico#6399", "projectcalico/calico#2759", "kubernetes/website#43438"],
      advice: "Bring policies in with enableDefaultDeny: false or audit mode first, and expect clients to reconnect.",
      sources: [{ what: "Cilium's programs on recorded frames; rules of Azure NPM and Calico on a kernel", known: "executed" }],
    },
  },
  {
    id: "POL-L7-FQDN",
    title: "A rule of layer 7 or of names hands it to a proxy: what the proxy says of it is not modelled",
    matches: (s) => s.facets === Facet.Reached && s.target.outcome.end === End.Redirected && isByProxyRule(s)
      && (s.current.outcome.arrived || isEngineAlone(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "Nothing of the kind: NetworkPolicy ends at layer 4, and what isolates the pod there drops it.",
      cilium: "Allowed at layer 4 and redirected to Envoy or the DNS proxy, which decides by request. AKS: at most 1,000 nodes or 40,000"
        + " pods with layer 7 policy, latency from 3,000 requests a second on; names slow down above 1,000 a second.",
      bitten: ["cilium#42046", "cilium#42594"],
      advice: "Read the rule: a request that it does not name gets an answer from the proxy (403, REFUSED), not a drop.",
      sources: [
        { what: "Cilium Documentation/security/policy/layer7.rst; AKS L7 and FQDN policy concepts", known: "documented" },
      ],
    },
  },
  {
    id: "POL-DENY-RESP",
    title: "What a denied sender learns: iptables engines drop in silence, Cilium answers where policy-deny-response=icmp",
    matches: (s) => s.currentHasPolicy && s.facets === Facet.Refusal && isEngineDrop(s.current)
      && s.target.options["policy-deny-response"] === "icmp" && isProhibited(s),
    page: {
      shownBy: "state or option",
      kubeProxy: "Azure NPM and Calico drop: the client waits for its timeout.",
      cilium: "Drops in silence as well, unless policy-deny-response=icmp (1.19 and later): then a pod's denied egress is answered with"
        + " communication prohibited (3/13) from the destination's address.",
      bitten: [],
      advice: "Nothing: an answer is quicker than a timeout. Expect other messages in clients' logs.",
      sources: [{ what: "Cilium's programs of 1.19 and 1.20-dev on recorded frames", known: "executed" }],
    },
  },
];

function keysOf({ matchLabels, matchExpressions }: LabelSelector): string[] {
  return [...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)];
}

/** Policies that select a pod by the labels that Cilium keeps. */
function policiesByKept({ names, target }: Situation, { namespace, labels }: Pod): NetworkPolicy[] {
  return names.policies.filter((policy) => policy.namespace === namespace && readings(policy.podSelector, labels, target)[1]);
}

/** It is to no service's port, or came to an endpoint of that. */
function isServed(s: Situation): boolean {
  return s.frontend === null || s.frontend.port === null || isEndpoint(s, s.frontend, s.current);
}

/** The words deny the pod that sends; what the engine saw was another address, which no pod has on its way to another by a ClusterIP. */
function isHiddenSender(s: Situation): boolean {
  const { frontend, names, source, current } = s;
  return (frontend === null || frontend.kind === "ClusterIP") && names.pod(source) !== null && current.sourceSeen !== source
    && s.engineReads(source, current.destination, arrivedPort(current), "ingress") === "deny";
}

/** The words deny the pod that the target reaches, not just another backend that the engine may have judged. */
function deniesWhatArrives(s: Situation): boolean {
  const senders = [s.source, ...(s.frontend === null || s.frontend.kind === "ClusterIP" ? [] : s.names.nodeAddresses().keys())];
  return deniesOwnNode(s) || (isToOtherNodesPort(s) && s.engineReads(s.source, s.destination, s.port, "egress") === "deny")
    || senders.some((sender) => s.policyDeniesBetween(sender, s.target.destination, arrivedPort(s.target)));
}

/** A rule that lets the port pass names the peer by such a label. */
function isPeerUnselected(s: Situation): boolean {
  return enforced(s).some((one) => rulesFor(s, one).some(({ peers }) => isReadAs(s, one.peer, peers, "all")));
}

/** A policy that lets it pass selects its pod by such a label: in Cilium it does not. */
function isAllowerLost(s: Situation): boolean {
  return enforced(s).some((one) => !readings(one.policy.podSelector, one.subject.labels, s.target)[1] && admits(s, one, "all"));
}

/** The same where it selects the pod in Cilium alone. */
function isAllowerGained(s: Situation): boolean {
  return selecting(s, s.target, (pod) => policiesByKept(s, pod)).some((one) =>
    !readings(one.policy.podSelector, one.subject.labels, s.target)[0] && admits(s, one, "kept"));
}

/** The same where Cilium alone takes the peer for one that is named. */
function isPeerSelected(s: Situation): boolean {
  return enforced(s, s.target).some((one) => rulesFor(s, one).some(({ peers }) => isReadAs(s, one.peer, peers, "kept")));
}

function isReadAs(s: Situation, address: string, peers: readonly NetworkPolicyPeer[] | null, by: "all" | "kept"): boolean {
  const pod = s.names.pod(address);
  return pod !== null && (peers ?? []).some(({ podSelector }) => {
    if (podSelector === null) return false;
    const [all, kept] = readings(podSelector, pod.labels, s.target);
    return by === "all" ? all && !kept : kept && !all;
  });
}

/** A policy for one of the ends by such a label, which is none for it in Cilium. */
function isSubjectUnselected(s: Situation): boolean {
  return enforced(s, s.target).some(({ policy, subject }) => !readings(policy.podSelector, subject.labels, s.target)[1]);
}

/** What Cilium names as the cause is a policy that by all labels selects neither end, and by those kept one of them. */
function isSubjectSelected(s: Situation): boolean {
  const side = s.current.outcome.arrived ? s.current : s.target;
  const ends = [s.names.pod(s.source), s.names.pod(side.destination)];
  const objects = s.target.journey.becauses.map(({ object }) => object);
  return s.names.policies.some((policy) => objects.includes(`${policy.namespace}/${policy.name}`) && ends.some((pod) => {
    if (pod === null || pod.namespace !== policy.namespace) return false;
    const [all, kept] = readings(policy.podSelector, pod.labels, s.target);
    return kept && !all;
  }));
}

/** The numbers that containers of the cluster's pods give to a port's name. */
function numbersOf(s: Situation, port: string, protocol: string): Set<number> {
  return new Set(s.names.allPods.flatMap((pod) => pod.ports.filter((one) => one.name === port && one.protocol === protocol)
    .map(({ containerPort }) => containerPort)));
}

/** Cilium would do what the engine does, if there were NetworkPolicy alone: so it reads the cluster with its own kinds and without. */
function isChangedByKinds(s: Situation): boolean {
  const judgements = judgementsOfDrop(s);
  if (s.current.outcome.arrived) {
    return newlyDenied(s) && !wordsDeny(s) && judgements.some(({ way, sender, receiver, port }) =>
      s.targetReads(sender, receiver, port, way) === "deny" && s.readsNetworkPolicy(sender, receiver, port, way) === "allow");
  }
  return newlyAllowed(s) && !isPastProxy(s) && judgements.some(({ way, sender, receiver, port }) =>
    s.targetReads(sender, receiver, port, way) === "allow" && s.readsNetworkPolicy(sender, receiver, port, way) === "deny");
}

/** It is delivered though the rules that let it pass hand it to a proxy: nobody does that. */
function isPastProxy({ target, targetHandsToProxy }: Situation): boolean {
  return target.outcome.end !== End.Redirected && targetHandsToProxy(target.sourceSeen, target.destination, arrivedPort(target));
}

/** What decided is Cilium's own kinds: no NetworkPolicy among the causes counts for its direction by the API's words. */
function isByCiliumKinds(s: Situation): boolean {
  const objects = new Set(s.target.journey.becauses.map(({ object }) => object));
  return s.names.ciliumPolicies.some((one) => objects.has(ciliumName(one)))
    && !enforced(s, s.current.outcome.arrived ? s.current : s.target)
      .some(({ policy: { namespace, name } }) => objects.has(`${namespace}/${name}`));
}

/** A policy that is named as the cause has a rule that a proxy must judge. */
function isByProxyRule(s: Situation): boolean {
  const objects = new Set(s.target.journey.becauses.map(({ object }) => object));
  return s.names.ciliumPolicies.some((policy) => objects.has(ciliumName(policy)) && policy.rules.some(({ ingress, egress }) =>
    [...ingress, ...egress].some((rule) => rule.fqdns !== null || (rule.toPorts ?? []).some((one) =>
      one.rules !== null || one.serverNames.length > 0 || one.listener !== null || one.terminatingTLS || one.originatingTLS))));
}

/** The engine drops it as NetworkPolicy's words say. */
function isEngineAlone(s: Situation): boolean {
  return s.currentHasPolicy && isEngineDrop(s.current) && (deniesOwnNode(s) || judgementsOfDrop(s)
    .some(({ way, sender, receiver, port }) => s.engineReads(sender, receiver, port, way) === "deny"));
}

/** As a cause names it: `CiliumNetworkPolicy default/web`. */
function ciliumName({ kind, namespace, name }: CiliumPolicy): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

/** Communication administratively prohibited, in either family. */
function isProhibited({ target: { outcome } }: Situation): boolean {
  return (outcome.answerProtocol === 1 && outcome.answerType === 3 && outcome.answerCode === 13)
    || (outcome.answerProtocol === 58 && outcome.answerType === 1 && outcome.answerCode === 1);
}
