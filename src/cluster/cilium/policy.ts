/**
 * Reads CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, validated as the API server does by Cilium's schema and
 * as Cilium does when it takes them over. One that either refuses is not used at all. What depends on Cilium's version or
 * options is noted (`conditions`) and left to those who know them.
 *
 * Source: cilium pkg/k8s/apis/cilium.io/v2/{cnp,ccnp}_types.go Parse, pkg/policy/api/rule_validation.go, 1.16 to 1.20.
 */
import type { ObjectMeta } from "../cluster.js";
import type { Field } from "../field.js";
import { Conditions } from "./conditions.js";
import { readICMPRule } from "./icmp.js";
import { list, readPeers } from "./peers.js";
import { readPortRule } from "./ports.js";
import { readSelector } from "./selector.js";
import type { CiliumDirectionRule, CiliumPolicy, CiliumRule } from "./types.js";

const MODES = ["disabled", "required", "test-always-fail"] as const;

export function readCiliumPolicy(root: Field, meta: ObjectMeta): CiliumPolicy {
  const clusterwide = meta.kind === "CiliumClusterwideNetworkPolicy";
  const conditions = new Conditions();
  const [spec, specs] = [root.get("spec"), root.get("specs")];
  if (spec.absent && specs.absent) root.refuse("found neither spec nor specs, expected one");
  const rules = [...(spec.absent ? [] : [spec]), ...specs.items()];
  return {
    ...meta,
    kind: clusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    rules: rules.map((rule) => readRule(rule, clusterwide, conditions)),
    conditions: conditions.list,
  };
}

function readRule(rule: Field, clusterwide: boolean, conditions: Conditions): CiliumRule {
  rule.onlyKnows("endpointSelector", "nodeSelector", "ingress", "ingressDeny", "egress", "egressDeny", "enableDefaultDeny", "labels",
    "description", "log");
  const [endpoints, nodes] = [rule.get("endpointSelector"), rule.get("nodeSelector")];
  if (endpoints.absent === nodes.absent) rule.refuse("expected exactly one of endpointSelector and nodeSelector");
  if (!nodes.absent && !clusterwide) {
    nodes.refuse("found nodeSelector, expected it in a CiliumClusterwideNetworkPolicy only", "Cilium");
  }
  checkHasRules(rule, conditions);
  const enable = rule.get("enableDefaultDeny");
  enable.onlyKnows("ingress", "egress");
  const flag = (field: Field): boolean | null => (field.absent ? null : field.boolean(true));
  const host = !nodes.absent;
  const read = (name: string): CiliumDirectionRule[] => rule.get(name).items()
    .map((item) => readDirectionRule(item, { ingress: name.startsWith("ingress"), deny: name.endsWith("Deny"), host }, conditions));
  return {
    endpointSelector: endpoints.absent ? null : readSelector(endpoints),
    nodeSelector: nodes.absent ? null : readSelector(nodes),
    ingress: read("ingress"),
    ingressDeny: read("ingressDeny"),
    egress: read("egress"),
    egressDeny: read("egressDeny"),
    enableDefaultDeny: { ingress: flag(enable.get("ingress")), egress: flag(enable.get("egress")) },
    path: rule.pathText(),
    where: rule.where(),
  };
}

/** From 1.17 a rule must have something in one of its lists; before, it does nothing. */
function checkHasRules(rule: Field, conditions: Conditions): void {
  const lists = ["ingress", "ingressDeny", "egress", "egressDeny"].map((name) => rule.get(name).value);
  if (lists.some((one) => Array.isArray(one) && one.length > 0)) return;
  conditions.add(rule, "no ingress, ingressDeny, egress or egressDeny rule", { until: 16 });
}

function readDirectionRule(rule: Field, place: { ingress: boolean; deny: boolean; host: boolean }, conditions: Conditions)
  : CiliumDirectionRule {
  const side = place.ingress ? "from" : "to";
  const members = ["Endpoints", "Requires", "CIDR", "CIDRSet", "Entities", "Groups", "Nodes"].map((name) => `${side}${name}`);
  rule.onlyKnows(...members, "toPorts", "icmps", ...(place.ingress ? [] : ["toServices"]),
    ...(place.deny ? [] : ["authentication", ...(place.ingress ? [] : ["toFQDNs"])]));
  const peers = readPeers(rule, side, place.deny, conditions);
  const toPorts = list(rule.get("toPorts"), (item) => readPortRule(item, place, conditions));
  const icmps = list(rule.get("icmps"), readICMPRule);
  if (icmps !== null && icmps.length > 0) {
    conditions.add(rule.get("icmps"), "icmps", { option: "enable-icmp-rules" });
    if (toPorts !== null && toPorts.length > 0) {
      rule.refuse("found toPorts and icmps in one rule, expected two rules", "Cilium");
    }
  }
  if (peers.services !== null && peers.services.length > 0 && toPorts !== null && toPorts.length > 0) {
    conditions.add(rule.get("toServices"), "toPorts beside toServices", { since: 17 });
  }
  const mode = rule.get("authentication").get("mode");
  const authenticated = !place.deny && !rule.get("authentication").absent;
  return {
    ...peers, toPorts, icmps,
    authentication: authenticated ? mode.oneOf(MODES, "" as "required") : null,
    path: rule.pathText(),
    where: rule.where(),
  };
}
