/**
 * The chains of a node's endpoints: dispatch by device, one chain to and one from each endpoint, and below them the
 * chains of policies, groups of policies, and profiles (a namespace's allows all, a service account's nothing).
 *
 * Source: felix/rules/{dispatch,endpoints,policy}.go, felix/dataplane/linux/endpoint_mgr.go (groupPolicies).
 */
import type { Family } from "../../cluster/address.js";
import type { Because } from "../../dataplane.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";
import { MARK, VXLAN_PORT } from "./config.js";
import type { LocalEndpoint } from "./endpoints.js";
import type { IpSetBuilder } from "./ipSets.js";
import { chainName, groupChainName } from "./names.js";
import type { CalicoPolicy, PolicyDirection } from "./policies.js";
import type { FelixCluster } from "./felixCluster.js";
import { policyRules } from "./policyRules.js";
import { ACCEPT, anyMarked, clearMark, DROP, type FelixChain, type FelixRule, goTo, jump, marked, notMarked, RETURN, rule,
  setMark, unknownRule } from "./rule.js";
import type { Unmodelled } from "./unmodelled.js";

/** A group's chain returns on a verdict before every fifth policy. */
const RETURN_STRIDE = 5;
const TIER = "default";

export interface EndpointInput {
  readonly endpoints: readonly LocalEndpoint[];
  readonly felix: FelixCluster;
  readonly family: Family;
  readonly sets: IpSetBuilder;
  readonly unmodelled: Unmodelled;
}

/** All in the filter table. */
export function endpointChains(input: EndpointInput): FelixChain[] {
  const { endpoints } = input;
  const chains = [...dispatch("cali-from-wl-dispatch", "cali-fw-", "--in-interface", endpoints),
    ...dispatch("cali-to-wl-dispatch", "cali-tw-", "--out-interface", endpoints)];
  const policies = new Map<string, FelixChain>();
  for (const endpoint of endpoints) {
    for (const direction of ["inbound", "outbound"] as const) {
      chains.push(endpointChain(endpoint, direction, input, policies));
    }
    for (const profile of profilesOf(endpoint)) {
      for (const chain of profileChains(profile)) policies.set(chain.name, chain);
    }
  }
  return [...chains, ...policies.values()];
}

/** By device: where several names go on alike behind what all have in common, by one more character first. */
function dispatch(name: string, prefix: string, option: string, endpoints: readonly LocalEndpoint[]): FelixChain[] {
  const devices = endpoints.map((endpoint) => endpoint.device).sort(byteOrder);
  const common = commonPrefix(devices);
  const groups = new Map<string, string[]>();
  for (const device of devices) {
    const start = device.slice(0, common.length + 1);
    groups.set(start, [...(groups.get(start) ?? []), device]);
  }
  const toEndpoint = (device: string): FelixRule => (
    rule(`${option} ${device}`, goTo(chainName(prefix, device)), felix(name)));
  const unknown = rule("", DROP, felix(name), "Unknown interface");
  const root: FelixRule[] = [];
  const chains: FelixChain[] = [];
  for (const [start, own] of groups) {
    if (own.length === 1) {
      root.push(toEndpoint(own[0]));
      continue;
    }
    const child = `${name}-${start.slice(common.length)}`;
    root.push(rule(`${option} ${start}+`, goTo(child), felix(name)));
    chains.push({ table: "filter", name: child, rules: [...own.map(toEndpoint), unknown] });
  }
  return [...chains, { table: "filter", name, rules: [...root, unknown] }];
}

/** To (`cali-tw-`, inbound) or from (`cali-fw-`, outbound) one endpoint: the mark says at the end whether it may pass. */
function endpointChain(endpoint: LocalEndpoint, direction: PolicyDirection, input: EndpointInput,
  chains: Map<string, FelixChain>): FelixChain {
  const name = chainName(direction === "inbound" ? "cali-tw-" : "cali-fw-", endpoint.device);
  const { accept, pass } = MARK;
  const own = felix(name);
  const rules = [
    rule("-m conntrack --ctstate RELATED,ESTABLISHED", ACCEPT, own),
    rule("-m conntrack --ctstate INVALID", DROP, own),
    ...input.unmodelled.ofPod(endpoint).map(({ why, because }) => unknownRule(why, [because])),
    rule("", clearMark(accept | pass), own),
  ];
  if (direction === "outbound") {
    rules.push(
      rule(`-p 17 -m multiport --destination-ports ${VXLAN_PORT}`, DROP, own,
        "Drop VXLAN encapped packets originating in workloads"),
      rule("-p 4", DROP, own, "Drop IPinIP encapped packets originating in workloads"));
  }
  rules.push(...tierRules(endpoint, direction, input, chains));
  for (const profile of profilesOf(endpoint)) {
    rules.push(
      rule("", jump(chainName(direction === "inbound" ? "cali-pri-" : "cali-pro-", profile)), own),
      rule(marked(accept), RETURN, own, "Return if profile accepted"));
  }
  rules.push(rule("", DROP, own, "Drop if no profiles matched"));
  return { table: "filter", name, rules };
}

/** The policies that isolate the endpoint in the direction, and the drop of what none allows; nothing where none does. */
function tierRules(endpoint: LocalEndpoint, direction: PolicyDirection, input: EndpointInput, chains: Map<string, FelixChain>)
  : FelixRule[] {
  const policies = input.felix.policiesOf(endpoint, direction);
  if (policies.length === 0) return [];
  const { accept, pass } = MARK;
  const becauses = policies.map((policy) => isolation(policy, direction));
  return [
    rule("", clearMark(pass), becauses, `Start of tier ${TIER}`),
    ...grouped(policies).flatMap((group) => {
      const chain = groupChain(group, direction, input, chains);
      return [rule(notMarked(pass), jump(chain), becauses), rule(marked(accept), RETURN, becauses, "Return if policy accepted")];
    }),
    rule(notMarked(pass), DROP, becauses, `End of tier ${TIER}. Drop if no policies passed packet`),
  ];
}

/** Neighbours in the order that have the same selector. */
function grouped(policies: readonly CalicoPolicy[]): CalicoPolicy[][] {
  const groups: CalicoPolicy[][] = [];
  for (const policy of policies) {
    const last = groups.at(-1);
    if (last?.[0].selector.text === policy.selector.text) last.push(policy);
    else groups.push([policy]);
  }
  return groups;
}

/** The chain to jump to: the policy's own, or one that goes through the group's. */
function groupChain(group: readonly CalicoPolicy[], direction: PolicyDirection, input: EndpointInput,
  chains: Map<string, FelixChain>): string {
  const names = group.map((policy) => policyChain(policy, direction, input, chains));
  if (names.length === 1) return names[0];
  const name = groupChainName(direction === "inbound" ? "cali-gi-" : "cali-go-",
    [TIER, group[0].selector.text, direction, String(group.length), ...group.map((policy) => policy.name)]);
  const verdict = MARK.pass | MARK.accept;
  const rules = names.flatMap((chain, index) => {
    const first = index % RETURN_STRIDE === 0;
    const to = rule(first ? "" : notMarked(verdict), jump(chain), [isolation(group[index], direction)]);
    return first && index > 0 ? [rule(anyMarked(verdict), RETURN, felix(name), "Return on verdict"), to] : [to];
  });
  chains.set(name, { table: "filter", name, rules });
  return name;
}

function policyChain(policy: CalicoPolicy, direction: PolicyDirection, { family, sets, felix: known }: EndpointInput,
  chains: Map<string, FelixChain>): string {
  const name = chainName(direction === "inbound" ? "cali-pi-" : "cali-po-", `${TIER}/${policy.name}`);
  if (!chains.has(name)) {
    const comment = `Policy ${policy.name} ${direction === "inbound" ? "ingress" : "egress"}`;
    chains.set(name, known.chain(name, family, sets, (own) => policyRules(policy[direction] ?? [], direction, family, own, comment)));
  }
  return name;
}

/** A namespace's profile and a service account's. */
function profilesOf({ pod }: LocalEndpoint): string[] {
  return [`kns.${pod.namespace}`, ...(pod.serviceAccountName === "" ? [] : [`ksa.${pod.namespace}.${pod.serviceAccountName}`])];
}

function profileChains(profile: string): FelixChain[] {
  return (["cali-pri-", "cali-pro-"] as const).map((prefix) => {
    const comment = `Profile ${profile} ${prefix === "cali-pri-" ? "ingress" : "egress"}`;
    const name = chainName(prefix, profile);
    const action = profile.startsWith("kns.") ? setMark(MARK.accept) : "";
    return { table: "filter", name, rules: [rule("", action, felix(name), comment)] };
  });
}

function isolation({ source }: CalicoPolicy, direction: PolicyDirection): Because {
  return { where: source.where, object: `${source.namespace}/${source.name}`,
    rule: `policyTypes ${direction === "inbound" ? "Ingress" : "Egress"}, and no rule matches` };
}

function felix(chain: string): readonly Because[] {
  return [{ where: null, object: "calico felix", rule: chain }];
}

function commonPrefix(sorted: readonly string[]): string {
  if (sorted.length === 0) return "";
  const [first, last] = [sorted[0], sorted[sorted.length - 1]];
  let length = 0;
  while (length < first.length && first[length] === last[length]) length++;
  return first.slice(0, length);
}
