/**
 * Cilium's capacity limits, checked on the compiled image: no traffic is needed.
 *
 * Each finding says what is counted, how much of the limit it takes, what follows from exceeding it and which
 * objects the number comes from. Findings at 80 percent and above are reported, so that growth shows before
 * it hurts.
 */
import type { MapImage } from "./image.js";
import type { PolicyMap } from "./compile/policy/endpoints.js";
import { FIRST_POD_IDENTITY, LAST_POD_IDENTITY } from "./compile/numbers.js";

export interface LimitFinding {
  /** Name of the difference catalogue: CAP-POLICYMAP, CAP-IDENTITY, CAP-LBMAP, CAP-IPCACHE. */
  readonly id: string;
  /** What is limited: an option or a map. */
  readonly limit: string;
  /** The endpoints, node or map the number is of. */
  readonly subject: string;
  readonly used: number;
  readonly max: number;
  readonly exceeded: boolean;
  readonly consequence: string;
  /** Objects to blame, most first. */
  readonly because: readonly string[];
}

const WORTH_SAYING = 0.8;
const IPCACHE_MAX = 512_000;
const CONSEQUENCE = {
  policy:
    "entries that do not fit are missing, and a new pod may start with an empty map that drops everything",
  lockdown: "the endpoint is locked down: everything to and from it is dropped",
  identity: "pods with new label sets get no identity and do not become ready",
  lb: "services and backends that do not fit are not programmed",
  ipcache: "addresses that do not fit are taken for world",
} as const;

/** @param worth share of a limit from which on it is reported; 0: every limit */
export function checkLimits(image: MapImage, worth = WORTH_SAYING): LimitFinding[] {
  const { options } = image;
  const identities = image.policies.identities.all.filter(({ kind }) => kind === "pod").length;
  const found: (LimitFinding | null)[] = [
    ...policyMaps(image),
    finding(
      "CAP-IDENTITY",
      "cluster identities",
      "cluster",
      identities,
      LAST_POD_IDENTITY - FIRST_POD_IDENTITY + 1,
      CONSEQUENCE.identity,
      [],
    ),
    finding(
      "CAP-IPCACHE",
      "cilium_ipcache_v2",
      "cluster",
      image.maps.get("cilium_ipcache_v2")!.length,
      IPCACHE_MAX,
      CONSEQUENCE.ipcache,
      [],
    ),
    ...(
      [
        "cilium_lb4_backends_v3",
        "cilium_lb6_backends_v3",
        "cilium_lb4_source_range",
        "cilium_lb6_source_range",
        "cilium_lb_affinity_match",
      ] as const
    ).map((name) =>
      finding(
        "CAP-LBMAP",
        name,
        "cluster",
        image.maps.get(name)!.length,
        options["bpf-lb-map-max"],
        CONSEQUENCE.lb,
        [],
      ),
    ),
    ...serviceMaps(image),
  ];
  return found.filter((one): one is LimitFinding => one !== null && one.used >= one.max * worth);
}

/**
 * Who adds most entries to a policy map, most first: `default/web: 12 entries`. An entry that several rules ask for counts
 * for each. Of a map that overflowed the entries are not known; such a limit is compiled without it.
 */
export function blame(image: MapImage, map: PolicyMap): string[] {
  const entries = new Map<string, number>();
  for (const cookie of map.cookie) {
    for (const object of new Set((image.cookies.get(cookie) ?? []).map((one) => one.object))) {
      entries.set(object, (entries.get(object) ?? 0) + 1);
    }
  }
  return [...entries].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([object, count]) => `${object}: ${count} entries`);
}

/** cilium#45788: from 1.17 to 1.19 the error at start-up is swallowed. */
function overflowOf({ options }: MapImage): string {
  if (options["enable-endpoint-lockdown-on-policy-overflow"] && options.version !== "1.16") return CONSEQUENCE.lockdown;
  return options.version === "1.16" || options.version === "1.20" ? CONSEQUENCE.policy : `${CONSEQUENCE.policy}, and look ready`;
}

/** One finding for each distinct map: endpoints that share a map share the finding. */
function policyMaps(image: MapImage): (LimitFinding | null)[] {
  const { maps, ofPod } = image.policies.endpoints;
  const owners = new Map<number, string[]>();
  for (const endpoint of image.hosts.endpoints) {
    if (endpoint.policy >= 0)
      owners.set(endpoint.policy, [...(owners.get(endpoint.policy) ?? []), endpoint.owner]);
  }
  const shared = new Map<number, number>();
  for (const map of ofPod) shared.set(map, (shared.get(map) ?? 0) + 1);
  return maps.map((map, index) => {
    const pods = owners.get(index) ?? [];
    const count = shared.get(index) ?? pods.length;
    const subject = count > 1 ? `${pods[0] ?? ""} and ${count - 1} more` : (pods[0] ?? "");
    return finding(
      "CAP-POLICYMAP",
      "bpf-policy-map-max",
      subject,
      map.size,
      image.options["bpf-policy-map-max"],
      overflowOf(image),
      map.policies,
    );
  });
}

/** Each node has the shared rows and its own. */
function serviceMaps(image: MapImage): (LimitFinding | null)[] {
  const found: (LimitFinding | null)[] = [];
  for (const name of ["cilium_lb4_services_v2", "cilium_lb6_services_v2"] as const) {
    const counts = new Map<number, number>();
    for (const [key] of image.maps.get(name)!)
      counts.set(key["node"] as number, (counts.get(key["node"] as number) ?? 0) + 1);
    const everywhere = counts.get(0xffff) ?? 0;
    counts.delete(0xffff);
    let worst = "cluster";
    let most = 0;
    for (const [node, count] of counts) if (count > most) [worst, most] = [image.nodes[node], count];
    found.push(
      finding(
        "CAP-LBMAP",
        name,
        worst,
        everywhere + most,
        image.options["bpf-lb-map-max"],
        CONSEQUENCE.lb,
        biggest(image),
      ),
    );
  }
  return found;
}

/** The services with the most backend slots. */
function biggest(image: MapImage): string[] {
  const slots = new Map<string, number>();
  for (const { owner, active, terminating } of image.services.frontends) {
    slots.set(owner, (slots.get(owner) ?? 0) + 1 + active.length + terminating.length);
  }
  return [...slots]
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, 5)
    .map(([owner]) => owner);
}

function finding(
  id: string,
  limit: string,
  subject: string,
  used: number,
  max: number,
  consequence: string,
  because: readonly string[],
): LimitFinding | null {
  return { id, limit, subject, used, max, exceeded: used > max, consequence, because };
}
