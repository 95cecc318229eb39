/**
 * The policy ring: probes of random clusters through the plane with NPM's rules and sets on every node, and what is
 * expected of them. Every disagreement with the words of NetworkPolicy must be one of the known ones, decided by the
 * situation: by which nodes forward the packet with which addresses (route.ts), and by how NPM reads policies otherwise
 * than the API (readings.ts). Together these must say exactly what the engine does.
 */
import { parseAddress } from "../../src/cluster/address.js";
import type { Cluster } from "../../src/cluster/cluster.js";
import { End as Ends } from "../../src/dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "../../src/iptables/kubeproxy/config.js";
import { prefix } from "../../src/iptables/manifests.fixture.js";
import { npmConfig } from "../../src/iptables/npm/config.js";
import { npmProblems, npmProgram } from "../../src/iptables/npm/generate.js";
import { createIptablesPlane } from "../../src/iptables/plane.js";
import { PolicyIndex } from "../../src/spec/policy-index.js";
import { evaluateParties } from "../../src/spec/tiers.js";
import { Random, randomCluster } from "./clusters.js";
import { nodeAddress, type Probe, PROTOCOL_NUMBERS, randomProbe, Sender } from "./probes.js";
import { asNpmReads, ITSELF, type Reading, READINGS } from "./readings.js";
import { type Leg, legsOf } from "./route.js";


const PATH_NAMES = {
  mark: "POL-LB-INGRESS: masqueraded by this node, so KUBE-FORWARD accepts it before NPM",
  source: "POL-NODEPORT-SRC-ID: masqueraded by another node, so NPM sees that node",
  six: "IPv6: NPM writes no rules",
  before: "node port of another node: egress is judged on the node's address",
} as const;

/** One, two and three of them, in that order. */
const SUBSETS: readonly (readonly Reading[])[] = [
  ...READINGS.map((one) => [one]),
  ...READINGS.flatMap((one, at) => READINGS.slice(at + 1).map((two) => [one, two])),
  ...READINGS.flatMap((one, at) => READINGS.slice(at + 1).flatMap((two, next) => (
    READINGS.slice(at + next + 2).map((three) => [one, two, three])))),
];

export class Ring {
  judged = 0;
  allowed = 0;
  clusters = 0;
  readonly unnamed: string[] = [];
  /** Ends that are no verdict of a policy, and probes that did not go where they should. */
  readonly strange: string[] = [];
  private readonly names = new Map<string, number>();
  private readonly shapes = new Map<string, number>();
  private readonly drawn = new Map<string, number>();

  /** @param most probes of the ring: all that `cluster` will judge together */
  constructor(private readonly most: number) {}

  cluster(clusterSeed: number): void {
    // Few probes are spread over many clusters: a fault in how a policy is read shows in few of them.
    const share = Math.min(800, Math.max(60, Math.floor(this.most / 250)));
    const { cluster, drawn } = randomCluster(clusterSeed);
    const random = new Random(clusterSeed ^ 0x5bd1e995);
    const clusterCIDR = [prefix("10.244.0.0/16")];
    const plane = createIptablesPlane({
      name: "current", profile: "kube-proxy+npm", cluster, epochNs: 0n, seed: 1, problemsOf: npmProblems,
      config: { kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR }, programs: [npmProgram()],
        masquerade: { agent: "cni", clusterCIDR, nonMasqueradeCIDRs: [prefix("192.168.50.0/24")], randomFully: true } },
    });
    const judge = new Judge(cluster);
    const sender = new Sender(plane, cluster);
    this.clusters++;
    for (const [what, count] of drawn) this.drawn.set(what, (this.drawn.get(what) ?? 0) + count);
    for (let number = 0; number < share && this.judged < this.most; number++) {
      const probe = randomProbe(random, cluster);
      if (probe !== null) this.probe(clusterSeed, probe, sender, judge);
    }
  }

  private probe(clusterSeed: number, probe: Probe, sender: Sender, judge: Judge): void {
    const { end, reason, reached } = sender.send(probe);
    const passed = end === Ends.Delivered || end === Ends.Left;
    const refused = end === Ends.Dropped && reason.startsWith("filter/AZURE-NPM-");
    const say = (what: string): string => (
      `${what}: cluster ${clusterSeed} ${JSON.stringify(probe)} end ${end} ${reason} reached ${reached}`);
    if ((!passed && !refused) || (passed && reached !== probe.backend.address)) {
      if (this.strange.length < 10) this.strange.push(say("strange"));
      else if (this.strange.length === 10) this.strange.push("and more");
      return;
    }
    this.judged++;
    if (passed) this.allowed++;
    const to = probe.entry.kind === "direct" ? probe.backend.kind : `${probe.entry.kind}${probe.entry.local ? " Local" : ""}`;
    const shape = `${probe.source.kind} to ${to} ${probe.protocol}${probe.source.address.includes(":") ? " IPv6" : ""}`;
    this.shapes.set(shape, (this.shapes.get(shape) ?? 0) + 1);
    const { name, expected, spec } = judge.judge(probe);
    const named = expected === passed ? name : null;
    if (named === null && this.unnamed.length < 10) this.unnamed.push(say(`spec ${spec}, expected ${expected}`));
    const row = `${named}, NPM ${passed ? "allows" : "denies"}`;
    if (named !== null && spec !== passed) this.names.set(row, (this.names.get(row) ?? 0) + 1);
  }

  summary(): string {
    const list = (counts: ReadonlyMap<string, number>): string => [...counts].sort(([, a], [, b]) => b - a)
      .map(([what, count]) => `  ${String(count).padStart(7)}  ${what}`).join("\n");
    const disagreed = [...this.names.values()].reduce((sum, count) => sum + count, 0);
    return `${this.judged} probes in ${this.clusters} clusters, ${(100 * this.allowed / this.judged).toFixed(1)} % allowed by NPM; `
      + `${disagreed} disagreements, ${this.unnamed.length} unnamed\n${list(this.names)}\nprobes\n${list(this.shapes)}\n`
      + `drawn\n${list(this.drawn)}`;
  }
}

/** What is expected of NPM, and why it is not what the words say. */
class Judge {
  private readonly indexes = new Map<string, PolicyIndex>();
  private readonly lite: boolean;
  private readonly first: boolean;

  constructor(private readonly cluster: Cluster) {
    const { config } = npmConfig(cluster);
    this.lite = config.EnableNPMLite;
    this.first = config.PlaceAzureChainFirst;
  }

  /** `name` is empty where NPM and the words agree, null where no single reason is known. */
  judge(probe: Probe): { expected: boolean; spec: boolean; name: string | null } {
    const whole: Leg = { node: "", source: probe.source.address, destination: probe.backend.address, port: probe.port, marked: false };
    const legs = legsOf(probe.source, probe.entry, probe.backend, probe.port, probe.at, (node) => nodeAddress(this.cluster, node));
    const judged = legs.filter((leg) => this.first || !leg.marked);
    const spec = this.allows(whole, probe, []);
    if (probe.source.address.includes(":")) return { expected: true, spec, name: spec ? "" : PATH_NAMES.six };
    const expected = judged.every((leg) => this.allows(leg, probe, READINGS));
    if (expected === spec) return { expected, spec, name: "" };
    return { expected, spec, name: this.pathName(probe, legs, judged, spec) ?? this.readingName(probe, judged, spec) };
  }

  /** The way alone makes the difference. */
  private pathName(probe: Probe, legs: readonly Leg[], judged: readonly Leg[], spec: boolean): string | null {
    const byWords = judged.every((leg) => this.allows(leg, probe, []));
    if (byWords === spec) return null;
    if (byWords) return legs.some((leg) => leg.marked) && !this.first ? PATH_NAMES.mark : PATH_NAMES.source;
    const denying = judged.find((leg) => !this.allows(leg, probe, []))!;
    if (denying.destination !== probe.backend.address) return PATH_NAMES.before;
    return denying.source !== probe.source.address ? PATH_NAMES.source : null;
  }

  /** The fewest readings that turn the verdict on the way the packet takes. */
  private readingName(probe: Probe, judged: readonly Leg[], spec: boolean): string | null {
    const turns = (readings: readonly Reading[]): boolean => judged.every((leg) => this.allows(leg, probe, readings)) !== spec;
    for (const readings of SUBSETS) if (turns(readings)) return readings.map(({ name }) => name).join(" AND ");
    return null;
  }

  private allows(leg: Leg, probe: Probe, readings: readonly Reading[]): boolean {
    const key = `${readings.map(({ name }) => READINGS.findIndex((one) => one.name === name)).join()} ${this.lite ? leg.node : ""}`;
    let index = this.indexes.get(key);
    if (index === undefined) {
      index = new PolicyIndex(asNpmReads(this.cluster, leg.node, this.lite, readings), { ipBlockMatchesPods: true });
      this.indexes.set(key, index);
    }
    const [source, destination] = [leg.source, leg.destination].map((text) => index.party(parseAddress(text)!));
    const itself = source.pod !== null && source.pod === destination.pod && readings.includes(ITSELF);
    return evaluateParties(index, itself ? { ...source, pod: { ...source.pod! } } : source, destination,
      PROTOCOL_NUMBERS[probe.protocol], leg.port).allowed;
  }
}
