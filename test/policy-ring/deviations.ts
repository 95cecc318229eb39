/**
 * Where the plane may end a probe otherwise than the words of its policies say, each with its reason. What fits none of these is
 * a disagreement.
 */
import type { CiliumEvaluation } from "../../src/spec/cilium/evaluate.js";

export type Got = "allowed" | "redirected" | "unauthenticated" | "denied" | "undecided" | "other";

export interface Deviation {
  readonly id: string;
  readonly why: string;
  /** Ends that it lets stand for these words. */
  readonly ends: (words: CiliumEvaluation, asked: Asked) => readonly Got[];
}

export interface Asked {
  /** Minor version of Cilium. */
  readonly version: number;
  /** Some rule of the cluster asks for authentication. */
  readonly authenticates: boolean;
  /** What the words would be if denies had no exceptions to their CIDRs. */
  readonly withoutExceptions: () => CiliumEvaluation;
  /** Words for the tunnel's packet that carries it between nodes; null: none does. */
  readonly outer: CiliumEvaluation | null;
}

export const DEVIATIONS: readonly Deviation[] = [
  {
    id: "TUNNEL-UNDER-HOST-POLICIES",
    why: "the tunnel's own packet goes from node to node, and host policies are asked about it as about every other",
    ends: (_words, { outer }) => (outer === null || expected(outer) === "allowed" ? [] : [expected(outer)]),
  },
  {
    id: "PROXY-BEFORE-INGRESS",
    why: "what egress hands to a proxy, or wants authenticated, does not come to the other end's ingress by itself",
    ends: ({ egress, ingress }) => (egress.verdict !== "allow" || ingress.verdict !== "deny" ? [] : [
      ...(egress.proxied === "none" ? [] : ["redirected" as const]), ...(egress.authenticated === "none" ? [] : ["unauthenticated" as const])]),
  },
  {
    id: "SOME-RULES-AUTHENTICATE",
    why: "of rules that match, some ask for authentication: which of them lends its type depends on their peers and ports",
    ends: (words) => (areAllowed(words) && sides(words).some(({ authenticated }) => authenticated === "some")
      && sides(words).every(({ authenticated }) => authenticated !== "all") ? ["allowed", "redirected"] : []),
  },
  {
    id: "LONGEST-PREFIX-PROXY-1.16",
    why: "1.16 looks at the longest port prefix alone, so which of the rules decides whether a proxy gets it depends on their peers",
    ends: (words, { version }) => (version === 16 && areAllowed(words) && sides(words).some(({ proxied }) => proxied === "some")
      && sides(words).every(({ proxied }) => proxied !== "all") ? ["allowed"] : []),
  },
  {
    id: "EXCEPTED-DENIED-1.16",
    why: "1.16 hands a deny on to every identity whose prefix lies inside the denied one, exceptions or not, where something allows it"
      + " (pkg/policy/mapstate.go, identityIsSupersetOf)",
    ends: (_words, { version, withoutExceptions }) => (version === 16 && expected(withoutExceptions()) === "denied" ? ["denied"] : []),
  },
  {
    id: "UNKNOWN-PEERS-HIDE",
    why: "an entry for peers that are not known hides what others say: in 1.16 the longest port prefix alone counts, later an allow by"
      + " default comes after all rules",
    ends: (words) => (sides(words).some(({ unknown }) => unknown) ? ["undecided"] : []),
  },
  {
    id: "AUTHENTICATION-1.16",
    why: "how 1.16 hands authentication on between entries is not modelled: endpoints with such rules are undecided",
    ends: (_words, { version, authenticates }) => (version === 16 && authenticates ? ["undecided"] : []),
  },
];

/** The end that the words mean. */
export function expected(words: CiliumEvaluation): Got {
  const both = sides(words);
  if (both.some(({ verdict }) => verdict === "deny")) return "denied";
  if (both.some(({ verdict }) => verdict === "undecided")) return "undecided";
  if (both.some(({ authenticated }) => authenticated !== "none")) return "unauthenticated";
  return both.some(({ proxied }) => proxied !== "none") ? "redirected" : "allowed";
}

function sides({ egress, ingress }: CiliumEvaluation): CiliumEvaluation["egress"][] {
  return [egress, ingress];
}

function areAllowed(words: CiliumEvaluation): boolean {
  return sides(words).every(({ verdict }) => verdict === "allow");
}
