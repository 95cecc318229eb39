/** Flags of NetworkPolicies' fields: endPort, ipBlock and named ports. */
import type { Address } from "../cluster/address.js";
import type { NetworkPolicy, NetworkPolicyPort, NetworkPolicyRule, Pod } from "../cluster/cluster.js";
import { type Flag, type FlagSetting, type OneCheck, podsOf, titleOfObject } from "./flags.js";
import { blockHolds, type Direction, type Selection } from "./selection.js";

/**
 * Cilium reads endPort from 1.16 on (pkg/k8s/network_policy.go of 1.16.15 hands it on; AKS's guide says 1.17), and every
 * version with a profile does: nothing to flag, but said.
 */
export function endPortFlags({ cluster, target }: FlagSetting): OneCheck {
  const objects = cluster.networkPolicies.filter((policy) =>
    rulesOf(policy).some(({ rule }) => (rule.ports ?? []).some(({ endPort }) => endPort !== null))).length;
  return { flags: [], tally: { check: "endPort", objects, flagged: 0, otherwise: `Cilium ${target.version} reads ranges of ports` } };
}

/**
 * A block that covers pods' or nodes' addresses: engines of iptables match those by address, Cilium by identity. Pods
 * that selectors of the same policy admit at the same ports beside the block are the same on both sides.
 */
export function ipBlockFlags(setting: FlagSetting): OneCheck {
  const { cluster, selection, target } = setting;
  const ends = clusterAddresses(setting);
  const byNode = target.options["policy-cidr-match-mode"] === "nodes";
  const flags: Flag[] = [];
  let objects = 0;
  for (const policy of cluster.networkPolicies) {
    const subject = selection.subject(policy);
    let blocks = 0;
    for (const { rule, direction, path } of rulesOf(policy)) {
      rule.peers?.forEach(({ ipBlock }, index) => {
        if (ipBlock === null) return;
        blocks++;
        if (subject.length === 0) return;
        const of = { check: "ipBlock" as const, object: titleOfObject(policy), where: rule.where };
        const at = `${path}.${direction === "Ingress" ? "from" : "to"}[${index}] ${ipBlock.cidr.text}`;
        const covered = ends.pods.filter(({ address, pod }) => blockHolds(ipBlock, address)
          && !isAdmitted(selection, policy, direction, rule, pod));
        if (covered.length > 0) {
          const pods = podsOf(covered.map(({ pod }) => pod));
          flags.push({ ...of, id: "POL-IPBLOCK-POD", ...podsOf(subject),
            what: `${at} covers addresses of ${counted(pods.pods, "pod")} (${some(pods)}) that no selector of it admits there;`
              + " Cilium never matches a pod by its address" });
        }
        const nodes = byNode ? [] : ends.nodes.filter(({ address }) => blockHolds(ipBlock, address));
        if (nodes.length > 0) {
          const names = [...new Set(nodes.map(({ name }) => name))].sort();
          const api = nodes.some(({ address }) => ends.apiServer.has(address.text)) ? ", the API server's among them" : "";
          flags.push({ ...of, id: "POL-IPBLOCK-NODE", ...podsOf(subject),
            what: `${at} covers addresses of ${counted(names.length, "node")}`
              + ` (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})${api};`
              + " Cilium matches a node by its address only with policy-cidr-match-mode=nodes" });
        }
        const ranges = covered.length > 0 ? [] : cluster.nodes.flatMap((node) => node.podCIDRs)
          .filter((range) => blockHolds(ipBlock, range.address) && range.length >= ipBlock.cidr.length);
        if (ranges.length > 0 && ends.pods.every(({ address }) => !blockHolds(ipBlock, address))) {
          flags.push({ ...of, id: "POL-IPBLOCK-POD", ...podsOf(subject),
            what: `${at} covers the pod range ${ranges[0].text}${ranges.length > 1 ? ` and ${ranges.length - 1} more` : ""}, where no pod`
              + " is now; Cilium never matches a pod by its address" });
        }
      });
    }
    if (blocks > 0) objects++;
  }
  return { flags, tally: { check: "ipBlock", objects, flagged: new Set(flags.map(({ object }) => object)).size,
    otherwise: "their blocks cover no pod or node, or selectors admit the same pods" } };
}

/**
 * A port's name means each destination pod's own number. Cilium resolves it so for ingress; for egress one name has the
 * numbers of all pods at once, or none.
 */
export function namedPortFlags({ cluster, selection }: FlagSetting): OneCheck {
  const flags: Flag[] = [];
  let objects = 0;
  for (const policy of cluster.networkPolicies) {
    const subject = selection.subject(policy);
    let names = 0;
    for (const { rule, direction, path } of rulesOf(policy)) {
      for (const port of rule.ports ?? []) {
        if (typeof port.port !== "string") continue;
        names++;
        if (subject.length === 0) continue;
        const named = numbersOf(direction === "Ingress" ? subject : selection.peers(policy, rule.peers), port);
        const several = direction === "Egress" && named.size > 1;
        if (named.size === 1 || (named.size > 1 && !several)) continue;
        const numbers = [...named].sort(([a], [b]) => a - b).map(([number, pods]) => `${number} in ${pods[0].namespace}/${pods[0].name}`
          + `${pods.length > 1 ? ` and ${pods.length - 1} more` : ""}`);
        flags.push({ check: "named port", id: "POL-NAMEDPORT", object: titleOfObject(policy), where: rule.where, ...podsOf(subject),
          what: several ? `${path} port "${port.port}" is ${numbers.join(", ")}; engines differ in what one name of several numbers is`
            : `${path} port "${port.port}" ${port.protocol} is no container port of any ${
              direction === "Ingress" ? "pod it selects" : "peer"}; the rule allows nothing` });
      }
    }
    if (names > 0) objects++;
  }
  return { flags, tally: { check: "named port", objects, flagged: new Set(flags.map(({ object }) => object)).size,
    otherwise: "each name is one number, or each selected pod's own" } };
}

export interface RuleOf {
  readonly rule: NetworkPolicyRule;
  readonly direction: Direction;
  /** `egress[0]`. */
  readonly path: string;
}

/** Rules of the directions that the policy is for. */
export function rulesOf({ policyTypes, ingress, egress }: NetworkPolicy): RuleOf[] {
  return policyTypes.flatMap((direction) => (direction === "Ingress" ? ingress : egress)
    .map((rule, index) => ({ rule, direction, path: `${direction.toLowerCase()}[${index}]` })));
}

interface ClusterAddresses {
  readonly pods: readonly { readonly address: Address; readonly pod: Pod }[];
  readonly nodes: readonly { readonly address: Address; readonly name: string }[];
  readonly apiServer: ReadonlySet<string>;
}

function clusterAddresses({ cluster, selection }: FlagSetting): ClusterAddresses {
  return {
    pods: selection.pods.flatMap((pod) => pod.ips.map((address) => ({ address, pod }))),
    nodes: cluster.nodes.flatMap((node) => node.addresses.map(({ address }) => ({ address, name: node.name }))),
    apiServer: apiServerAddresses(cluster.endpointSlices),
  };
}

/** Endpoints of the Service default/kubernetes. */
export function apiServerAddresses(slices: FlagSetting["cluster"]["endpointSlices"]): ReadonlySet<string> {
  return new Set(slices.filter(({ namespace, serviceName }) => namespace === "default" && serviceName === "kubernetes")
    .flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses.map(({ text }) => text))));
}

/** Whether a selector of the policy admits the pod at the rule's ports, beside its blocks. */
function isAdmitted(selection: Selection, policy: NetworkPolicy, direction: Direction, { ports }: NetworkPolicyRule, pod: Pod): boolean {
  const wanted = JSON.stringify(ports);
  return (direction === "Ingress" ? policy.ingress : policy.egress).some((rule) =>
    (rule.ports === null || JSON.stringify(rule.ports) === wanted)
    && (rule.peers === null || rule.peers.some((peer) => selection.matches(policy, peer, pod))));
}

/** Container ports of the name and protocol: number -> pods. */
function numbersOf(pods: readonly Pod[], { port, protocol }: NetworkPolicyPort): Map<number, Pod[]> {
  const numbers = new Map<number, Pod[]>();
  for (const pod of pods) {
    for (const one of pod.ports) {
      if (one.name === port && one.protocol === protocol) numbers.set(one.containerPort, [...numbers.get(one.containerPort) ?? [], pod]);
    }
  }
  return numbers;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function some({ pods, examples }: Pick<Flag, "pods" | "examples">): string {
  return `${examples.join(", ")}${pods > examples.length ? ", …" : ""}`;
}
