/**
 * The policy ring: flows of random clusters through Cilium's plane, compiled maps and programs together, against the words
 * of the policies (src/spec/cilium). They must agree but for what has a name in deviations.ts, with its reason.
 */
import { readManifests } from "../../src/cluster/manifests.js";
import { buildCluster } from "../../src/cluster/timeline.js";
import type { Cluster } from "../../src/cluster/cluster.js";
import type { DNSNames } from "../../src/cluster/names.js";
import { End, type Plane } from "../../src/dataplane.js";
import { CILIUM_VERSIONS } from "../../src/ebpf/options.js";
import { createEbpfPlane } from "../../src/ebpf/plane.js";
import { CiliumSpec, type CiliumEvaluation } from "../../src/spec/cilium/evaluate.js";
import { type CiliumSpecOptions, ciliumSpecOptions } from "../../src/spec/cilium/options.js";
import { moduleBytes } from "../programs.js";
import { type BaseCluster, baseCluster, names, type Plain } from "./clusters.js";
import { Coverage } from "./coverage.js";
import { type Asked, DEVIATIONS, expected, type Got } from "./deviations.js";
import { mutated } from "./mutations.js";
import { policies } from "./policies.js";
import { addressOf, type Fate, Prober, PROTOCOL_OF, type RingProbe, Sender } from "./probes.js";
import { Random } from "./random.js";

const WASM = { fast: moduleBytes(), traced: moduleBytes(true) } as never;
/** Mutations tried on a cluster until one turns a verdict of one of so many probes. */
const MUTATIONS = 12;
const LOOKED_AT = 200;
const VXLAN_PORT = 8472;

export interface Setting {
  readonly version: string;
  /** What is known of DNS names; null: nothing. */
  readonly names?: DNSNames | null;
  readonly options: Readonly<Record<string, unknown>>;
}

export class Ring {
  judged = 0;
  allowed = 0;
  clusters = 0;
  /** Clusters of which one mutation turns some verdict. */
  turned = 0;
  mutations = 0;
  readonly wrong: string[] = [];
  readonly strange: string[] = [];
  readonly coverage = new Coverage();
  readonly versions = new Map<string, number>();
  /** Probes that end otherwise than the words say, by the name for it. */
  private readonly deviations = new Map(DEVIATIONS.map(({ id }) => [id, 0]));
  private readonly ends = new Map<string, number>();

  /** Probes a cluster: few are spread over many clusters, since a fault in how a policy is read shows in few of them. */
  private readonly share: number;

  /** @param most probes of the ring */
  constructor(private readonly most: number) {
    this.share = Math.min(1000, Math.max(100, Math.floor(most / 200)));
  }

  cluster(seed: number): void {
    const { random, base, setting, drawn } = draw(seed);
    this.coverage.add(drawn, setting.options);
    this.clusters++;
    this.versions.set(setting.version, (this.versions.get(setting.version) ?? 0) + 1);
    const world = worldOf(base, drawn, setting, seed);
    const probes = Array.from({ length: this.share }, () => world.prober.draw(random));
    const wrong = this.wrong.length;
    for (const probe of probes) {
      // One disagreement of a cluster says as much as all of them.
      if (this.judged >= this.most || this.wrong.length > wrong) return;
      this.judge(probe, world, seed);
    }
    this.turn(random, base, drawn, setting, world, probes.slice(0, LOOKED_AT), seed);
  }

  private judge(probe: RingProbe, world: World, seed: number): void {
    const { spec, sender, setting } = world;
    const ask = (asked: CiliumSpec, of = probe): CiliumEvaluation => {
      const said = askSpec(asked, of);
      return setting.options["policy-audit-mode"] === true ? audited(said) : said;
    };
    const words = ask(spec);
    const fate = sender.send(probe);
    const got = verdictOf(fate);
    const say = (what: string): string =>
      `${what}: cluster ${seed} ${setting.version} ${JSON.stringify(probe)} end ${fate.end} ${fate.reason}; `
      + `egress ${words.egress.verdict} by ${JSON.stringify(words.egress.by)} ingress ${words.ingress.verdict} by `
      + `${JSON.stringify(words.ingress.by)} ${JSON.stringify(setting.options)}`;
    const key = `${got} ${fate.reason.replace(/\w+(?:Network)?Policy \S+(?=:? )/g, "POLICY")}`;
    this.ends.set(key, (this.ends.get(key) ?? 0) + 1);
    if (got === "other") {
      if (this.strange.length < 5) this.strange.push(say("strange"));
      return;
    }
    this.judged++;
    if (got !== "denied") this.allowed++;
    const wanted = expected(words);
    if (got === wanted) return;
    const outer = outerOf(probe, world);
    const asked = { ...world.asked, withoutExceptions: () => ask(world.withoutExceptions()), outer: outer === null ? null : ask(spec, outer) };
    const named = DEVIATIONS.find((one) => one.ends(words, asked).includes(got));
    if (named !== undefined) this.deviations.set(named.id, (this.deviations.get(named.id) ?? 0) + 1);
    else if (this.wrong.length < 10) this.wrong.push(say(`wanted ${wanted}, got ${got}`));
  }

  /** One field, label or port of the cluster changed: does the verdict of some probe turn? */
  private turn(random: Random, base: BaseCluster, drawn: readonly Plain[], setting: Setting, before: World, probes: readonly RingProbe[],
    seed: number): void {
    const verdicts = probes.map((probe) => askSpec(before.spec, probe).allowed);
    for (let attempt = 0; attempt < MUTATIONS; attempt++) {
      const changed = mutated(random, base.items, drawn);
      if (changed === null) return;
      const cluster = readCluster([...changed.items, ...changed.policies], seed);
      if (cluster === null) continue;
      this.mutations++;
      const after = new CiliumSpec(cluster, specOptions(setting));
      const turned = probes.some((probe, index) => askSpec(after, probe).allowed !== verdicts[index]);
      if (!turned) continue;
      this.turned++;
      return;
    }
  }

  summary(): string {
    const list = [...this.ends].sort(([, a], [, b]) => b - a).map(([what, count]) => `  ${String(count).padStart(8)}  ${what}`).join("\n");
    const versions = [...this.versions].sort().map(([version, count]) => `${version}: ${count}`).join(", ");
    return `${this.judged} probes in ${this.clusters} clusters (${versions}), ${(100 * this.allowed / this.judged).toFixed(1)} % allowed; `
      + `${this.turned} clusters one mutation away from another verdict; ${this.coverage.fields} fields, ${this.coverage.pairCount} pairs\n`
      + `${[...this.deviations].map(([id, count]) => `${id}: ${count}`).join(", ")}; ${this.wrong.length} without a name\n`
      + `${list}\n${this.coverage.summary()}`;
  }
}

export interface Drawn {
  /** What further choices of the cluster come from. */
  readonly random: Random;
  readonly base: BaseCluster;
  readonly setting: Setting;
  readonly drawn: readonly Plain[];
}

/** A cluster, the Cilium that reads it, and its policies. */
export function draw(seed: number): Drawn {
  const random = new Random(seed);
  const base = baseCluster(random);
  const setting = settingOf(random, base.v6);
  const { version, options } = setting;
  const drawn = policies(random, { version: Number(version.slice(2)), v6: base.v6,
    hosts: options["enable-host-firewall"] === true,
    tiers: options["enable-k8s-cluster-network-policy"] === true,
    nodes: options["enable-node-selector-labels"] === true });
  return { random, base, setting, drawn };
}

export interface World {
  readonly setting: Setting;
  readonly cluster: Cluster;
  readonly spec: CiliumSpec;
  readonly plane: Plane;
  readonly sender: Sender;
  readonly prober: Prober;
  readonly asked: Omit<Asked, "withoutExceptions" | "outer">;
  /** The words of the same policies, but that denies have no exceptions to their CIDRs. */
  readonly withoutExceptions: () => CiliumSpec;
}

function settingOf(random: Random, v6: boolean): Setting {
  const version = random.pick(CILIUM_VERSIONS);
  const options: Record<string, unknown> = { "enable-sctp": true, "enable-ipv6": v6, "enable-ipv4-masquerade": false,
    "enable-ipv6-masquerade": false };
  if (random.chance(15)) options["enable-policy"] = random.pick(["always", "never"]);
  if (random.chance(10)) options["allow-localhost"] = "policy";
  if (random.chance(35)) options["enable-node-selector-labels"] = true;
  if (random.chance(10)) options["policy-cidr-match-mode"] = "nodes";
  if (version === "1.20" && random.chance(70)) options["enable-k8s-cluster-network-policy"] = true;
  if (random.chance(30)) options["enable-host-firewall"] = true;
  if (random.chance(12)) options["policy-audit-mode"] = true;
  if (random.chance(25)) options["routing-mode"] = "tunnel";
  return { version, options, names: names(random, v6) };
}

export function worldOf(base: BaseCluster, drawn: readonly Plain[], setting: Setting, seed: number): World {
  const cluster = readCluster([...base.items, ...drawn], seed);
  if (cluster === null) throw new Error(`cluster ${seed}: ${lastProblem}`);
  const plane = createEbpfPlane({ name: "ring", profile: `cilium@${setting.version}`, cluster, epochNs: 0n, wasm: WASM, seed: 1,
    connections: 8192, cilium: setting.options, ...(setting.names == null ? {} : { names: setting.names }) });
  return { setting, cluster, plane, spec: new CiliumSpec(cluster, { ...ciliumSpecOptions(Number(setting.version.slice(2)),
    { ...plane.options }), ...namesOf(setting) }),
    sender: new Sender(plane), prober: new Prober(cluster, base.v6, setting.options["enable-host-firewall"] === true,
      setting.options["routing-mode"] === "tunnel"),
    withoutExceptions: () => new CiliumSpec(readCluster([...base.items, ...drawn.map(unexcepted)], seed)!, specOptions(setting)),
    asked: { version: Number(setting.version.slice(2)), authenticates: JSON.stringify(drawn).includes('"authentication"') } };
}

function unexcepted(policy: Plain): Plain {
  const copy = structuredClone(policy);
  for (const spec of [copy.spec, ...(copy.specs as Plain[] ?? [])].filter((one) => one !== undefined) as Plain[]) {
    for (const rule of ["ingressDeny", "egressDeny"].flatMap((section) => spec[section] as Plain[] ?? [])) {
      for (const set of [rule.fromCIDRSet, rule.toCIDRSet].flatMap((list) => list as Plain[] ?? [])) delete set.except;
    }
  }
  return copy;
}

let lastProblem = "";

/** null: the API server would refuse something of it. */
function readCluster(items: readonly Plain[], seed: number): Cluster | null {
  const { objects, problems } = readManifests([{ name: `cluster-${seed}`, text: JSON.stringify({ apiVersion: "v1", kind: "List",
    items }) }]);
  const error = problems.find(({ severity }) => severity === "error");
  if (error !== undefined) lastProblem = error.what;
  return error === undefined ? buildCluster(objects) : null;
}

function specOptions(setting: Setting): CiliumSpecOptions {
  return { ...ciliumSpecOptions(Number(setting.version.slice(2)), { "enable-policy": "default", "allow-localhost": "auto",
    "enable-ipv4": true, "cluster-name": "default", "enable-icmp-rules": true, "enable-l7-proxy": true, ...setting.options }),
  ...namesOf(setting) };
}

/** The same knowledge by address. */
function namesOf({ names: known }: Setting): Pick<CiliumSpecOptions, "domainNames" | "moreNames"> {
  if (known == null) return {};
  const byAddress = new Map<string, string[]>();
  for (const [name, list] of known.addresses) for (const { text } of list) byAddress.set(text, [...byAddress.get(text) ?? [], name]);
  return { domainNames: byAddress, moreNames: !known.complete };
}

export function askSpec(spec: CiliumSpec, { source, destination, protocol, port }: RingProbe): CiliumEvaluation {
  const number = protocol === "ICMP" && source.includes(":") ? 58 : PROTOCOL_OF[protocol];
  return spec.evaluate(addressOf(source), addressOf(destination), number, port);
}

/** policy-audit-mode: what would be refused, or wait for authentication, goes on (bpf/lib/policy.h). */
function audited({ egress, ingress }: CiliumEvaluation): CiliumEvaluation {
  const side = (one: CiliumEvaluation["egress"]): CiliumEvaluation["egress"] => (one.verdict === "deny"
    ? { ...one, verdict: "allow", proxied: "none", authenticated: "none" } : { ...one, authenticated: "none" });
  const both = { egress: side(egress), ingress: side(ingress) };
  return { ...both, allowed: both.egress.verdict === "allow" && both.ingress.verdict === "allow" };
}

/** The tunnel's packet that carries a probe between nodes, to a pod or from one; null: none does. */
function outerOf(probe: RingProbe, { cluster, setting }: World): RingProbe | null {
  if (setting.options["routing-mode"] !== "tunnel") return null;
  const podAt = (address: string): string | undefined =>
    cluster.pods.find((pod) => !pod.hostNetwork && pod.ips.some(({ text }) => text === address))?.nodeName;
  if (podAt(probe.source) === undefined && podAt(probe.destination) === undefined) return null;
  const nodeOf = (at: string): string | undefined =>
    podAt(at) ?? cluster.nodes.find(({ addresses }) => addresses.some(({ address }) => address.text === at))?.name;
  const [from, to] = [nodeOf(probe.source), nodeOf(probe.destination)].map((name) =>
    cluster.nodes.find((one) => one.name === name)?.addresses.find(({ address }) => address.family === 4)?.address.text);
  return from === undefined || to === undefined || from === to ? null
    : { ...probe, source: from, destination: to, protocol: "UDP", port: VXLAN_PORT };
}

export function verdictOf({ end, reason }: Fate): Got {
  if (end === End.Delivered || end === End.Left) return "allowed";
  if (end === End.Redirected) return "redirected";
  if (end === End.Undecided) return "undecided";
  if (end === End.Dropped && reason === "AUTH_REQUIRED") return "unauthenticated";
  return end === End.Dropped && (reason === "POLICY_DENIED" || reason === "POLICY_DENY") ? "denied" : "other";
}
