/**
 * Reads a CiliumCIDRGroup: a list of prefixes that policies name or select by labels.
 *
 * Source: cilium pkg/k8s/apis/cilium.io/v2/cidrgroups_types.go; v2 is served from 1.18, v2alpha1 by all.
 */
import type { ObjectMeta } from "../cluster.js";
import type { Field } from "../field.js";
import { Conditions } from "./conditions.js";
import { readCIDR } from "./peers.js";
import type { CiliumCIDRGroup } from "./types.js";

export function readCIDRGroup(root: Field, meta: ObjectMeta): CiliumCIDRGroup {
  const conditions = new Conditions();
  const apiVersion = root.get("apiVersion");
  if (apiVersion.string() === "cilium.io/v2") conditions.add(apiVersion, "apiVersion cilium.io/v2", { since: 18 });
  const spec = root.get("spec");
  spec.onlyKnows("externalCIDRs");
  const cidrs = spec.get("externalCIDRs");
  if (cidrs.absent) spec.refuse("found no externalCIDRs, expected a list");
  return { ...meta, externalCIDRs: cidrs.items().map(readCIDR), conditions: conditions.list };
}
