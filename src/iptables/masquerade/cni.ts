/**
 * Masquerading of pod traffic that leaves the cluster, as a CNI plugin or masquerade agent writes it: an
 * address of the pod range becomes the node's unless the destination is in a range that must see the pod.
 *
 *   POSTROUTING -s PODS -> CNI-MASQ: -d PODS RETURN, -d RANGE RETURN …, MASQUERADE
 *
 * `none` is a cluster where something else (the cloud's network, a gateway) does it or nobody does.
 */
import type { Family, Prefix } from "../../cluster/address.js";
import type { Because } from "../../dataplane.js";
import type { Rule, RulePart } from "../ruleset.js";
import { type IpMasqAgentConfig, ipMasqAgentPart } from "./ip-masq-agent.js";

/** Every masquerade agent is one of these; its generator makes a RulePart for a family. */
export type MasqueradeConfig = { readonly agent: "none" } | CniMasqueradeConfig | IpMasqAgentConfig;

export interface CniMasqueradeConfig {
  readonly agent: "cni";
  /** Pod ranges; the first of a family counts. */
  readonly clusterCIDR: readonly Prefix[];
  /** Destinations beside the pod range that see the pod's own address. */
  readonly nonMasqueradeCIDRs: readonly Prefix[];
  readonly randomFully: boolean;
}

export function masqueradePart(config: MasqueradeConfig, family: Family): RulePart {
  switch (config.agent) {
    case "none":
      return NOTHING;
    case "cni":
      return cniPart(config, family);
    case "ip-masq-agent":
      return ipMasqAgentPart(config, family);
  }
}

const NOTHING: RulePart = { jumps: [], chains: [], rules: [] };

function cniPart(config: CniMasqueradeConfig, family: Family): RulePart {
  const pods = config.clusterCIDR.find((range) => range.address.family === family);
  if (pods === undefined) return NOTHING;
  const nat = (chain: string, text: string, range: Prefix | null): Rule => (
    { table: "nat", chain, text, becauses: because(range) });
  const kept = config.nonMasqueradeCIDRs.filter((range) => range.address.family === family);
  return {
    jumps: [nat("POSTROUTING", `-m comment --comment "cni masquerade" -s ${pods.text} -j CNI-MASQ`, pods)],
    chains: [{ table: "nat", chain: "CNI-MASQ" }],
    rules: [
      nat("CNI-MASQ", `-d ${pods.text} -j RETURN`, pods),
      ...kept.map((range) => nat("CNI-MASQ", `-d ${range.text} -j RETURN`, range)),
      nat("CNI-MASQ", `-j MASQUERADE${config.randomFully ? " --random-fully" : ""}`, null),
    ],
  };
}

function because(range: Prefix | null): readonly Because[] {
  return [{ where: null, object: "cni masquerade", rule: range === null ? "pods to outside" : range.text }];
}
