/**
 * Cilium's capacity limits, checked on the compiled image: no traffic is needed.
 *
 * Each finding says what is counted, how much of the limit it takes, what follows from exceeding it and which
 * objects the number comes from. Findings at 80 percent and above are reported, so that growth shows before
 * it hurts.
 */
import type { LimitImage } from "./image.js";
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
export function checkLimits(image: LimitImage, worth = WORTH_SAYING): LimitFinding[] {
  const { services, policies } = image;
  const max = image.options["bpf-lb-map-max"];
  const lb = (name: string, subject: string, used: number, because: readonly string[] = []): LimitFinding =>
    finding("CAP-LBMAP", name, subject, used, max, CONSEQUENCE.lb, because);
  const backends = (family: number): number => services.backends.filter(({ address }) => address.family === family).length;
  const found = [
    ...policyMaps(image),
    finding("CAP-IDENTITY", "cluster identities", "cluster", policies.identities.all.filter(({ kind }) => kind === "pod").length,
      LAST_POD_IDENTITY - FIRST_POD_IDENTITY + 1, CONSEQUENCE.identity, []),
    finding("CAP-IPCACHE", "cilium_ipcache_v2", "cluster", policies.ipcache.filter(({ node }) => node === null).length, IPCACHE_MAX,
      CONSEQUENCE.ipcache, []),
    lb("cilium_lb4_backends_v3", "cluster", backends(4)),
    lb("cilium_lb6_backends_v3", "cluster", backends(6)),
    lb("cilium_lb4_source_range", ...fullest(image, sourceRanges(image, 4))),
    lb("cilium_lb6_source_range", ...fullest(image, sourceRanges(image, 6))),
    lb("cilium_lb_affinity_match", ...fullest(image, affinity(image))),
    lb("cilium_lb4_services_v2", ...fullest(image, slots(image, 4)), biggest(image)),
    lb("cilium_lb6_services_v2", ...fullest(image, slots(image, 6)), biggest(image)),
  ];
  return found.filter((one) => one.used >= one.max * worth);
}

/**
 * Who adds most entries to a policy map, most first: `default/web: 12 entries`. An entry that several rules ask for counts
 * for each. Of a map that overflowed the entries are not known; such a limit is compiled without it.
 */
export function blame(image: Pick<LimitImage, "cookies">, map: PolicyMap): string[] {
  const entries = new Map<string, number>();
  for (const cookie of map.cookie) {
    for (const object of new Set((image.cookies.get(cookie) ?? []).map((one) => one.object))) {
      entries.set(object, (entries.get(object) ?? 0) + 1);
    }
  }
  return [...entries].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([object, count]) => `${object}: ${count} entries`);
}

/** cilium#45788: from 1.17 to 1.19 the error at start-up is swallowed. */
function overflowOf({ options }: LimitImage): string {
  if (options["enable-endpoint-lockdown-on-policy-overflow"] && options.version !== "1.16") return CONSEQUENCE.lockdown;
  return options.version === "1.16" || options.version === "1.20" ? CONSEQUENCE.policy : `${CONSEQUENCE.policy}, and look ready`;
}

/** One finding for each distinct map: endpoints that share a map share the finding. */
function policyMaps(image: LimitImage): LimitFinding[] {
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

/** So many rows for each node, which are its own. */
const EACH = Symbol("each node");

/** Rows of one map: those of one node, or (null) of every node. */
type Rows = Iterable<readonly [node: string | null | typeof EACH, rows: number]>;

/** Each node has the shared rows and its own: the node that has most, by the order of nodes. */
function fullest({ nodes }: LimitImage, rows: Rows): [subject: string, used: number] {
  const known = new Set(nodes);
  const own = new Map<string, number>();
  let everywhere = 0;
  let each: number | null = null;
  for (const [node, count] of rows) {
    if (node === null) everywhere += count;
    else if (node === EACH) {
      if (each === null) for (const one of nodes) own.set(one, own.get(one) ?? 0);
      each = (each ?? 0) + count;
    } else if (known.has(node)) own.set(node, (own.get(node) ?? 0) + count);
  }
  let [worst, most] = ["cluster", 0];
  for (const [node, count] of own) if (count + (each ?? 0) > most) [worst, most] = [node, count + (each ?? 0)];
  return [worst, everywhere + most];
}

/** The service and a slot for each backend. */
function* slots({ services }: LimitImage, family: number): Rows {
  for (const { node, address, active, terminating, part } of services.frontends) {
    if (address.family !== family) continue;
    yield part === "each" ? [EACH, 1] : [node, (part === undefined ? 1 : 0) + active.length + terminating.length];
  }
}

function* affinity({ services }: LimitImage): Rows {
  const counts = new Map<readonly number[], number>();
  for (const frontend of services.frontends) {
    if (frontend.affinityTimeout === 0) continue;
    // Frontends of one service port on many nodes share their slots.
    const count = counts.get(frontend.active) ?? services.keptByAffinity(frontend).length;
    counts.set(frontend.active, count);
    yield [frontend.part === "each" ? EACH : frontend.node, count];
  }
}

/** By rev_nat_id: of a node port each node's address has its own, of another frontend all nodes have the same. */
function* sourceRanges({ services }: LimitImage, family: number): Rows {
  const nodeOf = new Map<number, string | null>();
  for (const { revNatId, node } of services.frontends) {
    const before = nodeOf.get(revNatId);
    nodeOf.set(revNatId, before === undefined || before === node ? node : null);
  }
  for (const { revNatId, prefix } of services.sourceRanges) {
    if (prefix.address.family === family) yield [nodeOf.get(revNatId) ?? null, 1];
  }
}

/** The services with the most backend slots. */
function biggest(image: LimitImage): string[] {
  const slots = new Map<string, number>();
  for (const { owner, active, terminating, part } of image.services.frontends) {
    const rows = part === undefined ? 1 : part === "each" ? image.nodes.length : 0;
    slots.set(owner, (slots.get(owner) ?? 0) + rows + active.length + terminating.length);
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
): LimitFinding {
  return { id, limit, subject, used, max, exceeded: used > max, consequence, because };
}
