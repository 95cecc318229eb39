/**
 * IP pools and blocked service ranges, read from Calico's own objects where the cluster has them.
 *
 * Source: api/pkg/apis/projectcalico/v3 (IPPool, BGPConfiguration), felix/dataplane/linux/{masq,service_loop}_mgr.go.
 */
import { type Family, parsePrefix } from "../../cluster/address.js";
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";
import type { CalicoConfig, CalicoPool } from "./config.js";
import { spec } from "./unmodelled.js";

const GROUP = /^(crd\.)?projectcalico\.org\//;

/** The cluster's pools; those of the configuration where it has none. */
export function poolsOf(cluster: Cluster, config: CalicoConfig): readonly CalicoPool[] {
  const objects = of(cluster, "IPPool");
  return objects.length === 0 ? config.assumedPools : objects.flatMap((one) => poolOf(one) ?? []);
}

export function poolProblems(cluster: Cluster, config: CalicoConfig): Problem[] {
  const objects = of(cluster, "IPPool");
  if (objects.length === 0) {
    const pools = config.assumedPools.map((pool) => `${pool.cidr.text}${pool.natOutgoing ? " with natOutgoing" : ""}`);
    return [{ where: null, severity: "warning",
      what: `no IPPool among the objects, so pools are assumed: ${pools.join(", ") || "none"}` }];
  }
  return objects.filter((one) => poolOf(one) === null).map((one) => ({ where: one.where, severity: "error",
    what: `IPPool ${one.name}: found cidr ${String(spec(one)["cidr"])}, expected a CIDR; the pool is not used` }));
}

/** Ranges of services that Felix lets nobody forward to: what no service answers would go in circles. */
export function blockedCidrs(cluster: Cluster, family: Family): string[] {
  const fields = of(cluster, "BGPConfiguration").filter((one) => one.name === "default")
    .flatMap((one) => ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"].map((field) => spec(one)[field]));
  const cidrs = fields.flatMap((field) => (Array.isArray(field) ? field as { cidr?: unknown }[] : []))
    .map((item) => (typeof item?.cidr === "string" ? parsePrefix(item.cidr) : null));
  return cidrs.flatMap((cidr) => (cidr?.address.family === family ? [cidr.text] : [])).sort(byteOrder);
}

function of(cluster: Cluster, kind: string): OtherObject[] {
  return cluster.others.filter((one) => one.kind === kind && GROUP.test(one.apiVersion));
}

function poolOf(one: OtherObject): CalicoPool | null {
  const { cidr, natOutgoing } = spec(one);
  const prefix = typeof cidr === "string" ? parsePrefix(cidr) : null;
  return prefix === null ? null : { cidr: prefix, natOutgoing: natOutgoing === true };
}
