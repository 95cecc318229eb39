/**
 * Random cases: a cluster and a configuration of kube-proxy's fixture, a change of the cluster, and flows between all
 * kinds of places. A seed gives the same case again.
 */
import fc from "fast-check";
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import type { KubeProxyConfig } from "../../src/iptables/kubeproxy/config.js";
import { RANGES, randomConfig, randomObjects } from "../../src/iptables/kubeproxy/random.fixture.js";
import type { MasqueradeConfig } from "../../src/iptables/masquerade/cni.js";
import type { Case, FrontEnd } from "./case.js";
import { randomFlows } from "./random-flows.js";
import { changedPolicies, randomPolicies } from "./random-policies.js";

/** Draws that a seed determines. */
export class Draws {
  constructor(private state: number) {}

  /** mulberry32: uint32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let value = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return (value ^ (value >>> 14)) >>> 0;
  }

  /** 0 … count - 1. */
  below(count: number): number {
    return this.next() % count;
  }

  /** True in `percent` of a hundred. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

export function randomCase(seed: number, frontEnd: FrontEnd, flowCount: number, npm = false): Case {
  const draws = new Draws(seed);
  const [[sampled, drawn]] = fc.sample(fc.tuple(randomObjects(), randomConfig()), { seed, numRuns: 1 });
  // Some rows of the rule set need several rare things at once.
  const internalLocal = draws.chance(25);
  // What a policy drops behind the choice does not tell what was chosen.
  const statisticMode = npm || draws.chance(60) ? "nth" : "random";
  const kubeProxy: KubeProxyConfig = {
    ...drawn, statisticMode, masqueradeAll: drawn.masqueradeAll || (internalLocal && draws.chance(30)),
    nfacctCounters: draws.of([[], ["ct_state_invalid_dropped_pkts"], ["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"]]),
  };
  // An affinity of a second ends between the change and the new flows, or else is one that does not end.
  const pauseMs = draws.below(20) === 0 ? 1300 : 0;
  const timeout = pauseMs > 0 ? 1 : 10800;
  // Ranges that let the node in, so that a VIP may speak to itself.
  const nodeIn = draws.chance(20);
  const lasting = sampled.map((one) => (one.kind !== "Service" ? one : { ...one, spec: { ...one.spec,
    ...(one.spec.sessionAffinity === undefined ? {} : { sessionAffinityConfig: { clientIP: { timeoutSeconds: timeout } } }),
    ...(nodeIn ? { loadBalancerSourceRanges: ["192.168.0.0/24", "fd00::/64", "203.0.113.7/32"] } : {}) } }));
  const services = internalLocal ? lasting.map((one) => (one.kind !== "Service" ? one
    : { ...one, spec: { ...one.spec, internalTrafficPolicy: "Local" } })) : lasting;
  const policies = npm ? randomPolicies(draws) : [];
  const objects = [...services, ...policies];
  const later = [...changed(services, draws), ...changedPolicies(policies, draws)];
  return {
    name: `${frontEnd} ${npm ? "npm " : ""}${seed}`, frontEnd, objects, later,
    // nft keeps the count of an untouched `nth` through a partial sync, legacy starts it again. And crossing the threshold of
    // a large cluster does not rewrite what did not change.
    reload: npm || (statisticMode === "nth" && frontEnd === "nft") || kubeProxy.largeClusterEndpointsThreshold < 1000 || draws.chance(20)
      ? "full" : "partial",
    cleanUp: draws.chance(50), kubeProxy, masquerade: masqueradeOf(draws), pauseMs, npm,
    flows: randomFlows(objects, later, kubeProxy, draws, pauseMs > 0 ? Math.ceil(flowCount / 2) : flowCount, npm ? 40 : 10),
  };
}

function masqueradeOf(draws: Draws): MasqueradeConfig {
  const randomFully = draws.chance(50);
  const kept = draws.of([[], RANGES.nodes, [...RANGES.nodes, ...RANGES.clients]]);
  switch (draws.below(4)) {
    case 0:
      return { agent: "none" };
    case 1:
      return { agent: "cni", clusterCIDR: RANGES.pods, nonMasqueradeCIDRs: kept, randomFully };
    default:
      return { agent: "ip-masq-agent", chain: "IP-MASQ-AGENT", nonMasqueradeCIDRs: [...RANGES.pods, ...kept].map((range) => ({ range, where: null })),
        masqLinkLocal: draws.chance(30), masqLinkLocalIPv6: draws.chance(30), enableIPv6: draws.chance(80), randomFully, stopped: false };
  }
}

/** Endpoints come, go, become ready or terminate; sometimes a service goes. */
function changed(objects: readonly Plain[], draws: Draws): Plain[] {
  const gone = new Set(objects.filter((one) => one.kind === "Service" && draws.chance(8)).map((one) => one.metadata.name as string));
  return objects.flatMap((one) => {
    if (one.kind === "Service") return gone.has(one.metadata.name as string) ? [] : [one];
    if (one.kind !== "EndpointSlice" || draws.chance(50)) return [one];
    const endpoints = (one.endpoints as Plain[]).flatMap((endpoint) => {
      const drawn = draws.below(10);
      if (drawn < 4) return [];
      if (drawn < 6) return [{ ...endpoint, conditions: { ready: false, serving: true, terminating: true } }];
      return drawn < 8 ? [{ ...endpoint, conditions: {} }] : [endpoint];
    });
    return [{ ...one, endpoints }];
  });
}
