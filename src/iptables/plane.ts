/**
 * The iptables plane: what nodes do to packets with kube-proxy's rules, a masquerade agent's, and, if given,
 * a policy engine. Built from generated rules or nodes' own dumps on a model of the kernel (src/linux),
 * joined by the fabric.
 *
 * Nodes are built when traffic first touches them. The plane keeps the door's promises (src/dataplane.ts):
 * rows in order, nothing thrown for what a frame holds, chance a hash of seed, plane, node, flow and draw.
 */
import type { Cluster, ConntrackDelete, Node } from "../cluster/cluster.js";
import type { DNSNames } from "../cluster/names.js";
import type { Problem } from "../cluster/problem.js";
import { End, type FrameBlock, type Journey, type Plane, type Step, type StepResults } from "../dataplane.js";
import { buildFabric, type Fabric } from "../fabric/fabric.js";
import type { TunnelResolver } from "../linux/node.js";
import { Journeys } from "./journeys.js";
import { type NodeOwnRules, readNodeDump } from "./dump/ownRules.js";
import { type SetMaker, setProblems } from "./dump/ownSets.js";
import { PlaneNode, SharedRules, type IptablesConfig, type NodeDump } from "./planeNode.js";
import type { PolicyEngine } from "./policy.js";
import { Walk } from "./walk.js";

export interface IptablesPlaneOptions {
  /** `current`, `target`, or the user's name. */
  readonly name: string;
  /** `kube-proxy+spec` needs `policyEngine`; `+npm` may have one, and has its rules in `config.programs`, as `+calico`. */
  readonly profile: "kube-proxy" | `kube-proxy+${"spec" | "npm" | "calico"}`;
  /** The cluster at time 0: the timeline's initial one. */
  readonly cluster: Cluster;
  /**
   * All nodes of the timeline in the order both planes number them; by default the cluster's, sorted by name.
   */
  readonly nodes?: readonly string[];
  readonly epochNs: bigint;
  readonly config: IptablesConfig;
  /** A node's own rules, in place of generated ones. They stay through changes of the cluster. */
  readonly rulesByNode?: ReadonlyMap<string, NodeDump>;
  /** Makes the sets that a node's own rules name where it did not say its sets. */
  readonly setMaker?: SetMaker;
  /** Makes the engine for a cluster; called again for each change. */
  readonly policyEngine?: (cluster: Cluster) => PolicyEngine;
  /** What the user should know of a cluster's objects; asked for each cluster. */
  readonly problemsOf?: (cluster: Cluster) => readonly Problem[];
  /**
   * kube-proxy's deletion of stale UDP entries on a change; false where the timeline has the deletions
   * themselves.
   */
  readonly udpCleanup?: boolean;
  /** Keep the steps of the last row. */
  readonly traced?: boolean;
  readonly seed: number;
}

export function createIptablesPlane(options: IptablesPlaneOptions): Plane {
  return new IptablesPlane(options);
}

class IptablesPlane implements Plane {
  readonly name: string;
  readonly profile: string;
  readonly epochNs: bigint;
  readonly nodes: readonly string[];
  readonly reasons: readonly string[];
  /** DNAT is in OUTPUT, behind the socket. */
  readonly balancesAtSockets = false;
  readonly problems: Problem[] = [];
  private readonly journeys = new Journeys();
  private readonly steps: Step[] | null;
  private readonly walk: Walk;
  private readonly built: (PlaneNode | null | undefined)[];
  private readonly numbers: ReadonlyMap<string, number>;
  private readonly planeHash: number;
  private readonly shared = new SharedRules();
  private readonly own: ReadonlyMap<string, NodeOwnRules>;
  private cluster: Cluster;
  private nodeObjects: Map<string, Node>;
  private fabric: Fabric;
  private engine: PolicyEngine | null;

  constructor(private readonly options: IptablesPlaneOptions) {
    const { cluster, policyEngine } = options;
    if (options.profile !== "kube-proxy+npm" && (options.profile === "kube-proxy+spec") !== (policyEngine !== undefined)) {
      throw new Error(`profile ${options.profile} and the policy engine given do not fit`);
    }
    this.name = options.name;
    this.profile = options.profile;
    this.epochNs = options.epochNs;
    this.nodes = options.nodes ?? cluster.nodes.map((node) => node.name).sort();
    this.reasons = this.journeys.reasons;
    this.steps = options.traced === true ? [] : null;
    this.built = new Array<PlaneNode | undefined>(this.nodes.length).fill(undefined);
    this.numbers = new Map(this.nodes.map((name, number) => [name, number]));
    this.planeHash = mix(textHash(options.name), options.seed);
    this.cluster = cluster;
    this.nodeObjects = new Map(cluster.nodes.map((node) => [node.name, node]));
    this.fabric = buildFabric(cluster, this.nodes);
    this.engine = policyEngine?.(cluster) ?? null;
    this.report(this.fabric.problems);
    this.report(options.problemsOf?.(cluster) ?? []);
    // Dumps are read here, so that what is wrong with one is said whether traffic meets its node or not.
    this.own = new Map([...options.rulesByNode ?? []].map(([name, dump]) => [name, readNodeDump(dump)]));
    for (const [name, own] of this.own) {
      this.problems.push(...own.problems);
      const node = this.nodeObjects.get(name);
      if (node !== undefined) this.problems.push(...setProblems(own, cluster, node, options.setMaker ?? null));
    }
    this.walk = new Walk({ node: (number) => this.node(number) }, this.fabric, (walk, { hooks }) => {
      walk.choice = this.journeys.join(walk.choice, hooks.choice);
      walk.because = this.journeys.joinBecauses(walk.because, hooks.because);
    });
  }

  step(frames: FrameBlock, results: StepResults): void {
    const { walk, journeys } = this;
    results.clear();
    for (let row = 0; row < frames.count; row++) {
      results.beginRow(row);
      if (this.steps !== null) this.steps.length = 0;
      walk.step(frames, row, results);
      const reason = walk.rowEnd === End.Delivered || walk.rowEnd === End.Left ? 0 : journeys.reason(walk.rowReason);
      results.end[row] = walk.rowEnd;
      results.reason[row] = reason;
      results.flags[row] = walk.rowFlags;
      results.journey[row] = journeys.intern(walk.rowEnd, reason, walk.choice, walk.because);
    }
    results.beginRow(frames.count);
  }

  change(cluster: Cluster, _timeNs: number): void {
    this.cluster = cluster;
    this.nodeObjects = new Map(cluster.nodes.map((node) => [node.name, node]));
    this.fabric = buildFabric(cluster, this.nodes);
    this.report(this.fabric.problems);
    this.report(this.options.problemsOf?.(cluster) ?? []);
    this.walk.fabric = this.fabric;
    this.engine = this.options.policyEngine?.(cluster) ?? null;
    for (let number = 0; number < this.built.length; number++) {
      const object = this.nodeObjects.get(this.nodes[number]);
      const node = this.built[number];
      // A node that went away takes its connections along; one that came is built when traffic touches it.
      if (object === undefined || node === null) this.built[number] = undefined;
      else node?.change(cluster, object, this.engine, this.options.udpCleanup !== false);
    }
  }

  /** No program of iptables' side reads names. */
  learn(_names: DNSNames | null, _timeNs: number): void {}

  deleteConntrack(entry: ConntrackDelete, _timeNs: number): void {
    const number = this.numbers.get(entry.node);
    // A node that no packet touched has no entries.
    if (number !== undefined) this.built[number]?.deleteConntrack(entry);
  }

  journey(id: number): Journey {
    return this.journeys.journey(id);
  }

  lastSteps(): Step[] {
    return this.steps === null ? [] : [...this.steps];
  }

  /** Each once. */
  private report(problems: readonly Problem[]): void {
    for (const problem of problems) {
      if (!this.problems.some((known) => known.what === problem.what)) this.problems.push(problem);
    }
  }

  private node(number: number): PlaneNode | null {
    let node = this.built[number];
    if (node === undefined) {
      node = this.build(number);
      this.built[number] = node;
    }
    return node;
  }

  private build(number: number): PlaneNode | null {
    const name = this.nodes[number];
    const node = this.nodeObjects.get(name);
    if (node === undefined) return null;
    const nodeHash = mix(this.planeHash, textHash(name));
    return new PlaneNode({
      number, node, cluster: this.cluster, config: this.options.config, shared: this.shared, engine: this.engine,
      own: this.own.get(name) ?? null, setMaker: this.options.setMaker, journeys: this.journeys, steps: this.steps,
      chance: (flow, draw) => mix(mix(nodeHash, flow), draw), tunnels: this.tunnels,
    });
  }

  /**
   * A tunnel's next hop is an address of the far node's pod range; its outer goes to that node's own address.
   */
  private readonly tunnels: TunnelResolver = (gateway, device) => {
    const row = this.fabric.lookup(gateway.bytes, 0, gateway.family);
    const far = row < 0 ? undefined : this.nodeObjects.get(this.nodes[this.fabric.rows[row].node]);
    const remote = far?.addresses.find((one) => one.type === "InternalIP" && one.address.family === 4)
      ?? far?.addresses.find((one) => one.type === "InternalIP");
    if (far === undefined || remote === undefined) return null;
    const mac = far.facts.devices.find((one) => one.kind === "tunnel" && one.name === device)?.mac;
    return { remote: remote.address, mac: mac === undefined || mac === "" ? null : mac };
  };
}

/** murmur3's finisher over a pair; uint32. */
function mix(a: number, b: number): number {
  let value = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

function textHash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
