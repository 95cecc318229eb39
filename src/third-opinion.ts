/**
 * The policies' own words, for the comparison and for the plane whose policy engine they are: neither plane's opinion.
 */
import { type Address, addressFromBytes } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import type { DNSNames } from "./cluster/names.js";
import { ciliumOptions } from "./ebpf/options.js";
import type { PolicyEngine } from "./iptables/policy.js";
import type { Profile } from "./planes.js";
import { type CiliumEvaluation, CiliumSpec } from "./spec/cilium/evaluate.js";
import { ciliumSpecOptions } from "./spec/cilium/options.js";
import { evaluateAddresses } from "./spec/evaluate.js";
import { PolicyIndex } from "./spec/policy-index.js";

/** iptables engines match a pod by its address too, so an ipBlock does. */
export function wordsEngine(cluster: Cluster): PolicyEngine {
  const index = new PolicyIndex(cluster, { ipBlockMatchesPods: true });
  return (source, destination, protocol, port) => evaluateAddresses(index, source, destination, protocol, port);
}

/** Addresses in wire order, an IP protocol number, the destination port in host order (0 where the protocol has none). */
export interface Denial {
  (source: Uint8Array, destination: Uint8Array, protocol: number, port: number): boolean;
  /** All policies that Cilium reads, taken as it takes them; `unknown` where the profile is no Cilium or the words do not say. */
  readonly reads: Asked;
  /** The same of NetworkPolicy alone. */
  readonly readsNetworkPolicy: Asked;
  /** NetworkPolicy as an iptables engine takes it: by its words, with an ipBlock that matches pods by their addresses. */
  readonly engineReads: Asked;
  /** Whether every rule that lets a flow pass hands it to a proxy, by the words of what Cilium reads; false where they do not say. */
  readonly handsToProxy: (source: Uint8Array, destination: Uint8Array, protocol: number, port: number) => boolean;
}

export type Reading = "allow" | "deny" | "unknown";

/** Of whom: the policies of who sends, or of who receives. */
export type Way = "egress" | "ingress";

/** `way`: absent, both have to allow it. */
export type Asked = (source: Uint8Array, destination: Uint8Array, protocol: number, port: number, way?: Way) => Reading;

/**
 * Whether the policies that a profile reads deny a flow by their words. Cilium reads its own kinds and ClusterNetworkPolicy
 * where it is switched on, and NetworkPolicy by the API's words too; the words as engine read the API's kinds alone.
 *
 * @param given the user's own option values for a Cilium profile
 * @param names what is known of DNS names; where that is not all, rules by names deny nothing for sure
 */
export function policyDenial(cluster: Cluster, profile: Profile, given: Readonly<Record<string, unknown>> = {}, names?: DNSNames): Denial {
  const inForce = profile.engine === "kube-proxy+spec" ? {} : { adminKinds: [] };
  const index = new PolicyIndex(cluster, { ipBlockMatchesPods: false, ...inForce });
  const cilium = profile.engine === "cilium" ? ciliumWords(cluster, profile, given, names) : null;
  // What NetworkPolicy's words say is all there is to say where there is nothing else to read.
  const others = cluster.ciliumPolicies.length > 0 || cluster.adminPolicies.length > 0 ? cilium : null;
  const denies = (source: Uint8Array, destination: Uint8Array, protocol: number, port: number): boolean => {
    const ends = [addressFromBytes(source), addressFromBytes(destination)] as const;
    const found = evaluateAddresses(index, ...ends, protocol, port);
    if (found.egress.verdict === "deny" || found.ingress.verdict === "deny") return true;
    if (others === null) return false;
    const { egress, ingress } = others(...ends, protocol, port);
    return egress.verdict === "deny" || ingress.verdict === "deny";
  };
  const engine = new PolicyIndex(cluster, { ipBlockMatchesPods: true, adminKinds: [] });
  const asked = (read: Words): Asked => (source, destination, protocol, port, way) => {
    const found = read(addressFromBytes(source), addressFromBytes(destination), protocol, port);
    return combined(way === undefined ? [found.egress.verdict, found.ingress.verdict] : [found[way].verdict]);
  };
  const alone = cilium === null || others === null ? cilium
    : ciliumWords({ ...cluster, ciliumPolicies: [], adminPolicies: [] }, profile, given, names);
  return Object.assign(denies, { reads: cilium === null ? (): Reading => "unknown" : asked(cilium),
    readsNetworkPolicy: alone === null ? (): Reading => "unknown" : asked(alone),
    engineReads: asked((...flow) => evaluateAddresses(engine, ...flow)), handsToProxy: cilium === null ? () => false
      : (source: Uint8Array, destination: Uint8Array, protocol: number, port: number) => {
        const { egress, ingress } = cilium(addressFromBytes(source), addressFromBytes(destination), protocol, port);
        return [egress, ingress].every(({ verdict }) => verdict === "allow")
          && [egress, ingress].some(({ proxied, unknown }) => proxied === "all" && !unknown);
      } });
}

/** As `policyDenial`, of the cluster as it is when asked. */
export function policyDenialNow(now: () => Denial): Denial {
  return Object.assign((...flow: Parameters<Denial>) => now()(...flow), {
    reads: (...flow: Parameters<Asked>) => now().reads(...flow),
    readsNetworkPolicy: (...flow: Parameters<Asked>) => now().readsNetworkPolicy(...flow),
    engineReads: (...flow: Parameters<Asked>) => now().engineReads(...flow),
    handsToProxy: (...flow: Parameters<Denial["handsToProxy"]>) => now().handsToProxy(...flow),
  });
}

function combined(verdicts: readonly ("allow" | "deny" | "undecided")[]): Reading {
  if (verdicts.includes("deny")) return "deny";
  return verdicts.every((one) => one === "allow") ? "allow" : "unknown";
}

type Words = (source: Address, destination: Address, protocol: number, port: number)
  => Readonly<Record<Way, { readonly verdict: "allow" | "deny" | "undecided" }>>;

/** ICMP types are not given: a flow that begins with ICMP begins with an echo request. */
const ECHO_REQUEST: Readonly<Record<number, number>> = { 1: 8, 58: 128 };

function ciliumWords(cluster: Cluster, profile: Profile, given: Readonly<Record<string, unknown>>, names: DNSNames | undefined)
  : (...flow: Parameters<Words>) => CiliumEvaluation {
  const { options } = ciliumOptions(profile.text, cluster, given);
  const spec = new CiliumSpec(cluster, { ...ciliumSpecOptions(Number(options.version.split(".")[1]), { ...options }),
    ...(names?.complete === true ? { domainNames: byAddress(names) } : {}) });
  return (source, destination, protocol, port) => spec.evaluate(source, destination, protocol, ECHO_REQUEST[protocol] ?? port);
}

/** Names of each address, by its text. */
function byAddress({ addresses }: DNSNames): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, list] of addresses) for (const { text } of list) found.set(text, [...found.get(text) ?? [], name]);
  return found;
}
