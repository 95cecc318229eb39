/**
 * The Cilium plane: a cluster compiled into maps, the programs in WebAssembly, and the door of
 * src/dataplane.ts.
 *
 * Frames are copied into the module's arena with room for a link header in front, walked through programs and
 * nodes there, and their outcomes and images copied out. A frame enters at the device it is given: a pod's
 * device runs cil_from_container, an uplink cil_from_netdev, ifindex 0 is a process of the node.
 *
 * Where masquerading is left to the node's iptables and `nodeRules` gives them, what a program passes up is walked
 * through that node's kernel (stack/); elsewhere the node's routes alone decide.
 */
import { addressFromBytes } from "../cluster/address.js";
import type { Cluster, ConntrackDelete } from "../cluster/cluster.js";
import type { DNSNames } from "../cluster/names.js";
import type { Problem } from "../cluster/problem.js";
import { formatProblem } from "../cluster/problem.js";
import { Program, UndecidedReason } from "../contract/codes.js";
import { codeText } from "../contract/layout.js";
import { EmissionRecord, OutcomeRecord } from "../contract/structs.js";
import { vlanIdOf } from "../cluster/vlans.js";
import type { FrameBlock, Journey, Plane, Step, StepResults } from "../dataplane.js";
import { End, PacketType } from "../dataplane.js";
import { Arena, EMISSIONS, type Layout, offsets } from "./arena.js";
import type { Numbers } from "./compile/numbers.js";
import { freshNumbers } from "./compile/numbers.js";
import type { MapImage } from "./image.js";
import { compileImage, nodeNames } from "./image.js";
import type { OutcomeFacts } from "./journeys.js";
import { Journeys } from "./journeys.js";
import { capacitiesOf, Loader } from "./loader.js";
import type { Machine, Modules } from "./machine.js";
import { createMachine } from "./machine.js";
import type { CiliumOptions } from "./options.js";
import { ciliumOptions } from "./options.js";
import { dropReasonName } from "./reasons.js";
import { OptionDoubts } from "./doubts/doubts.js";
import { hasNodeStack } from "./stack/cilium-rules.js";
import { LinuxStack } from "./stack/linux-stack.js";
import { Passage } from "./stack/passage.js";
import type { RuleGiver } from "./stack/rules.js";
import { traceSteps } from "./steps.js";

export interface EbpfPlaneOptions {
  readonly name: string;
  /** Holds `cilium@<version>`. */
  readonly profile: string;
  readonly cluster: Cluster;
  /** ns since the Unix epoch of time 0. */
  readonly epochNs: bigint;
  readonly wasm: Modules;
  /** The user's own option values, by Cilium's names. */
  readonly cilium?: Readonly<Record<string, unknown>>;
  /** Values assumed where neither the cluster nor the user says any. */
  readonly assumed?: Readonly<Record<string, unknown>>;
  readonly seed?: number | bigint;
  /** Number of the plane: another number draws otherwise. */
  readonly plane?: number;
  /** Use the module built with TRACE=1, so that `lastSteps` has something to say. */
  readonly traced?: boolean;
  /**
   * Node names where the numbering is given from outside (a comparison); the cluster's own in order where
   * absent.
   */
  readonly nodes?: readonly string[];
  /** What is known of DNS names, for toFQDNs; absent: what such rules decide is undecided. */
  readonly names?: DNSNames;
  /** Connections to reserve memory for, each map. */
  readonly connections?: number;
  /** Rules of the nodes' iptables; absent: what they may masquerade is undecided. */
  readonly nodeRules?: RuleGiver;
}

export function createEbpfPlane(options: EbpfPlaneOptions): EbpfPlane {
  return new EbpfPlane(options);
}

const MASQUERADED_FROM = 32768;
/** An ifindex that no device has: what enters there is undecided. */
const NO_DEVICE = 0xffffffff;

const vlanKey = (node: number, device: number, protocol: number, id: number): string => `${node} ${device} ${protocol} ${id}`;

type WalkExports = Record<"run" | "walk_arena" | "at_stack", (...args: number[]) => number>;

export class EbpfPlane implements Plane {
  readonly name: string;
  readonly profile: string;
  readonly epochNs: bigint;
  readonly nodes: readonly string[];
  readonly reasons: string[] = [""];
  readonly problems: Problem[] = [];
  readonly balancesAtSockets: boolean;
  readonly options: CiliumOptions;
  readonly machine: Machine;
  image: MapImage;
  /** The nodes' kernels; null: routes alone decide. */
  readonly stack: LinuxStack | null;
  private readonly numbers: Numbers = freshNumbers();
  private readonly loader: Loader;
  private readonly journeys: Journeys;
  private readonly reasonNumbers = new Map<string, number>([["", 0]]);
  private readonly undecided = new Set<number>();
  private readonly policyOf = new Map<string, number>();
  /** VLAN devices by `vlanKey`. */
  private readonly vlans = new Map<string, { readonly device: number; readonly ownMac: boolean }>();
  private readonly backendAddress = new Map<number, string>();
  private readonly walk: WalkExports;
  private readonly arena: Arena;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly passage: Passage | null;
  private readonly doubts: OptionDoubts;
  private readonly facts: OutcomeFacts = {
    hash: 0,
    end: End.None,
    reason: "",
    cookie: 0,
    before: 0,
    service: 0,
    backend: 0,
    program: 0,
    sourceIdentity: 0,
    destinationIdentity: 0,
    node: 0,
    masqueraded: false,
    decided: 0,
    denyingPolicy: -1,
    denyingEgress: false,
  };
  private names: DNSNames | undefined;
  private cluster: Cluster;
  private saidExhausted = false;
  private lastRow = -1;

  constructor(private readonly given: EbpfPlaneOptions) {
    this.name = given.name;
    this.names = given.names;
    this.cluster = given.cluster;
    this.profile = given.profile;
    this.epochNs = given.epochNs;
    this.nodes = given.nodes ?? nodeNames(given.cluster);
    const { options, problems } = ciliumOptions(given.profile, given.cluster, given.cilium, given.assumed);
    this.options = options;
    this.balancesAtSockets = options["bpf-lb-sock"];
    this.doubts = new OptionDoubts(options, this.nodes);
    this.problems.push(...problems);
    this.stack = given.nodeRules === undefined || !hasNodeStack(options) ? null : new LinuxStack({
      cluster: given.cluster, nodes: this.nodes, cilium: options, rules: given.nodeRules, seed: Number(given.seed ?? 0),
      traced: given.traced === true });
    this.image = this.compile(given.cluster);
    this.machine = createMachine(
      given.wasm,
      capacitiesOf(this.image, given.connections),
      given.traced === true,
    );
    this.walk = this.machine.exports as unknown as WalkExports;
    this.arena = new Arena(this.machine, (frames, row) => this.vlanDevice(frames, row));
    this.view = this.arena.view;
    this.bytes = this.arena.bytes;
    this.passage = this.stack === null ? null : new Passage(this.machine, this.arena, this.stack);
    this.loader = new Loader(this.machine);
    this.loader.load(this.image);
    this.journeys = new Journeys(this.image);
    this.index();
  }

  step(frames: FrameBlock, results: StepResults): void {
    results.clear();
    let row = 0;
    while (row < frames.count) row = this.stepSome(frames, results, row);
    results.beginRow(frames.count);
    this.lastRow = frames.count - 1;
  }

  change(cluster: Cluster, _timeNs: number): void {
    this.cluster = cluster;
    this.recompile();
    this.stack?.change(cluster);
  }

  learn(names: DNSNames | null, _timeNs: number): void {
    if (names === null) return;
    this.names = names;
    this.recompile();
  }

  private recompile(): void {
    this.image = this.compile(this.cluster);
    this.loader.load(this.image);
    this.journeys.use(this.image);
    this.index();
  }

  /**
   * `conntrack -D` works on the kernel's table. Cilium's connections are in its own maps, which neither
   * kube-proxy nor an operator's conntrack command touches.
   */
  deleteConntrack(entry: ConntrackDelete, _timeNs: number): void {
    this.stack?.deleteConntrack(entry);
  }

  journey(id: number): Journey {
    return this.journeys.get(id);
  }

  lastSteps(): Step[] {
    return this.given.traced === true ? traceSteps(this.machine, this.image, this.lastRow, this.passage?.steps ?? []) : [];
  }

  private compile(cluster: Cluster): MapImage {
    this.doubts.use(cluster);
    const image = compileImage({
      cluster,
      options: this.options,
      nodes: this.nodes,
      numbers: this.numbers,
      seed: BigInt(this.given.seed ?? 0),
      plane: this.given.plane ?? 0,
      nodeStack: this.stack !== null,
      ...(this.names === undefined ? {} : { names: this.names }),
    });
    const known = new Set(this.problems.map(formatProblem));
    this.problems.push(...image.problems.filter((one) => !known.has(formatProblem(one))));
    return image;
  }

  /** The kernel hands a tagged frame to its VLAN's device; one with a MAC address of its own may or may not be meant. */
  private vlanDevice(frames: FrameBlock, row: number): number {
    const found = this.vlans.get(vlanKey(frames.node[row], frames.device[row], frames.vlanProtocol[row], vlanIdOf(frames.vlanTci[row])));
    if (found === undefined) return 0;
    return found.ownMac && frames.packetType[row] === PacketType.OtherHost ? NO_DEVICE : found.device;
  }

  /** What the packet path asks of the image. */
  private index(): void {
    this.undecided.clear();
    for (const map of this.image.policies.endpoints.maps) {
      for (const cookie of map.undecided) this.undecided.add(cookie);
    }
    this.vlans.clear();
    for (const { node, device: { index, mac, vlan } } of this.image.hosts.devices) {
      if (vlan === undefined) continue;
      const below = this.image.hosts.devices.find((one) => one.node === node && one.device.index === vlan.parent);
      this.vlans.set(vlanKey(node, vlan.parent, vlan.protocol, vlan.id), { device: index, ownMac: below?.device.mac !== mac });
    }
    this.backendAddress.clear();
    for (const { id, address } of this.image.services.backends) this.backendAddress.set(id, address.text);
    this.policyOf.clear();
    for (const endpoint of this.image.hosts.endpoints) {
      for (const address of endpoint.addresses)
        this.policyOf.set(`${endpoint.node} ${address.text}`, endpoint.policy);
      this.policyOf.set(`${endpoint.node} #${endpoint.ifindex}`, endpoint.policy);
      if (!endpoint.host)
        for (const address of endpoint.addresses) this.policyOf.set(address.text, endpoint.policy);
    }
  }

  /** Steps rows from `first` on, as many as the arena takes; returns the row after the last. */
  private stepSome(frames: FrameBlock, results: StepResults, first: number): number {
    const { traced } = this.given;
    let layout = this.arena.lay(frames, first);
    if (traced === true) {
      for (const _ of this.machine.map("cilium_events").drain()) {
        /* steps of earlier frames */
      }
      // Reading the ring buffer used the arena: the frames are laid out again.
      layout = this.arena.lay(frames, first);
    }
    const { count, framesAt, outcomesAt, emissionsAt, imagesAt, imageBytes } = layout;
    this.walk.walk_arena(framesAt, outcomesAt, emissionsAt, EMISSIONS, imagesAt, imageBytes);
    for (let done = 0; done < count; ) {
      const stepped = this.machine.call(() => this.walk.run(done, count - done));
      const waits = this.passage !== null && this.walk.at_stack() !== 0;
      if (stepped === 0 && !waits) throw new Error("the arena has no room for one frame");
      for (let index = done; index < done + stepped; index++) {
        this.takeOutcome(frames, results, first + index, outcomesAt + index * OutcomeRecord.size, emissionsAt);
      }
      done += stepped;
      if (waits) {
        this.takeThroughStacks(this.passage!, frames, results, first + done, outcomesAt + done * OutcomeRecord.size, layout);
        done++;
      }
    }
    return first + count;
  }

  private takeOutcome(frames: FrameBlock, results: StepResults, row: number, at: number, emissionsAt: number): void {
    const { facts } = this;
    results.beginRow(row);
    facts.masqueraded = false;
    facts.decided = 0;
    this.emitImages(frames, results, row, at, emissionsAt);
    this.readFacts(frames, row, at);
    this.finishRow(frames, results, row, this.view.getUint8(at + OUTCOME.flags));
  }

  /** The row waits at a node's kernel: through it and on, as often as it comes to one. */
  private takeThroughStacks(passage: Passage, frames: FrameBlock, results: StepResults, row: number, at: number,
    layout: Layout): void {
    const { facts } = this;
    results.beginRow(row);
    facts.masqueraded = false;
    const { taker } = this;
    taker.frames = frames;
    taker.results = results;
    taker.row = row;
    taker.at = at;
    taker.emissionsAt = layout.emissionsAt;
    passage.carry(at, layout.packetAt, frames.timeNs[row], frames.pin[row] === 0 ? null : frames.pins[frames.pin[row] - 1], taker);
    if (passage.translated) facts.masqueraded = false;
    facts.decided = this.journeys.decided(passage.decided);
    this.finishRow(frames, results, row, passage.flags);
  }

  /** The row that is on its way through kernels. */
  private readonly taker = {
    frames: null as unknown as FrameBlock, results: null as unknown as StepResults, row: 0, at: 0, emissionsAt: 0,
    images: (): void => this.emitImages(this.taker.frames, this.taker.results, this.taker.row, this.taker.at, this.taker.emissionsAt),
    ended: (end: End, reason: string | null): void => {
      this.readFacts(this.taker.frames, this.taker.row, this.taker.at);
      if (reason !== null) [this.facts.end, this.facts.reason] = [end, reason];
    },
  };

  /** Images of the last run or resume. */
  private emitImages(frames: FrameBlock, results: StepResults, row: number, at: number, emissionsAt: number): void {
    const { view, facts } = this;
    const count = view.getUint32(at + OUTCOME.emissions, true);
    const first = emissionsAt + view.getUint32(at + OUTCOME.first_emission, true) * EmissionRecord.size;
    for (let index = 0; index < count; index++) {
      const emission = first + index * EmissionRecord.size;
      const node = view.getUint16(emission + EMISSION.node, true);
      const made = view.getUint8(emission + EMISSION.made);
      const offset = view.getUint32(emission + EMISSION.offset, true);
      const length = view.getUint32(emission + EMISSION.length, true);
      const device = view.getUint32(emission + EMISSION.device, true);
      results.emit(view.getUint8(emission + EMISSION.kind), made, node, device, this.bytes, offset, length);
      if (made === 0 && this.isMasqueraded(frames, row, offset, length, node, device)) facts.masqueraded = true;
    }
  }

  private readFacts(frames: FrameBlock, row: number, at: number): void {
    const { view, facts } = this;
    facts.hash = view.getUint32(at + OUTCOME.journey, true);
    facts.cookie = view.getUint32(at + OUTCOME.cookie, true);
    facts.before = view.getUint32(at + OUTCOME.before, true);
    facts.service = view.getUint32(at + OUTCOME.service, true);
    facts.backend = view.getUint32(at + OUTCOME.backend, true);
    facts.program = view.getUint32(at + OUTCOME.program, true);
    facts.sourceIdentity = view.getUint32(at + OUTCOME.src_sec_id, true);
    facts.destinationIdentity = view.getUint32(at + OUTCOME.dst_sec_id, true);
    facts.node = frames.node[row];
    this.judge(view.getUint8(at + OUTCOME.end), view.getUint16(at + OUTCOME.reason, true));
  }

  private finishRow(frames: FrameBlock, results: StepResults, row: number, flags: number): void {
    const { facts } = this;
    const doubt = facts.end === End.Undecided ? null : this.doubts.reason(frames, results, row);
    if (doubt !== null) [facts.end, facts.reason] = [End.Undecided, doubt];
    this.findDenying(frames, row);
    results.end[row] = facts.end;
    results.reason[row] = this.reasonNumber(facts.reason);
    results.flags[row] = flags;
    results.journey[row] = this.journeys.intern(facts);
  }

  private judge(end: number, code: number): void {
    const { facts } = this;
    facts.end = end as End;
    facts.reason = "";
    if (end === End.Dropped || end === End.Rejected) facts.reason = dropReasonName(code);
    else if (end === End.Undecided) {
      facts.reason = `undecided: ${codeText(UndecidedReason, code)}`;
      if (code === UndecidedReason.values.MAP_MEMORY) this.reportExhausted();
    }
    else if (end === End.Redirected && this.undecided.has(facts.cookie)) {
      facts.end = End.Undecided;
      const unknown = (this.image.cookies.get(facts.cookie) ?? []).map(({ object, rule }) => {
        const note = /: (.*)$/.exec(rule);
        return note === null ? `${object} not evaluated` : `${object}: ${note[1]}`;
      });
      facts.reason = `undecided: ${[...new Set(unknown)].join(", ")}`;
    }
  }

  /** Once: which maps have no memory left, so that new connections can no longer be judged. */
  private reportExhausted(): void {
    if (this.saidExhausted) return;
    this.saidExhausted = true;
    this.problems.push({
      where: null,
      severity: "error",
      what:
        `the memory reserved for ${this.machine.exhausted().join(", ")} is used up; ` +
        "frames that need a new entry are undecided from here on",
    });
  }

  /** For a default deny: the policy map of the endpoint that denied. */
  private findDenying(frames: FrameBlock, row: number): void {
    const { facts } = this;
    facts.denyingPolicy = -1;
    facts.denyingEgress = facts.program === Program.values.FROM_CONTAINER;
    if (facts.end !== End.Dropped || facts.reason !== "POLICY_DENIED" || facts.cookie !== 0) return;
    if (facts.denyingEgress) {
      facts.denyingPolicy = this.policyOf.get(`${frames.node[row]} #${frames.device[row]}`) ?? -1;
      return;
    }
    const address = this.backendAddress.get(facts.backend) ?? addressText(frames, row, 16, 24);
    facts.denyingPolicy = this.policyOf.get(address) ?? -1;
  }

  /**
   * The image's source is the masquerade address of the device or of the node and the frame's was not, with a port from
   * the SNAT range.
   */
  private isMasqueraded(frames: FrameBlock, row: number, offset: number, length: number, node: number, device: number): boolean {
    const six = frames.etherType[row] === 0x86dd;
    const at = six ? 8 : 12;
    const size = six ? 16 : 4;
    if (length < 40 && six) return false;
    if (length < 24) return false;
    const compiled = this.image.hosts.nodes[node];
    const own = compiled?.masquerade.get(device)?.[six ? 6 : 4] ?? (six ? compiled?.ipv6 : compiled?.ipv4);
    if (own === null || own === undefined) return false;
    const from = frames.offset[row] + at;
    let changed = false;
    for (let index = 0; index < size; index++) {
      if (this.bytes[offset + at + index] !== own.bytes[index]) return false;
      if (frames.bytes[from + index] !== own.bytes[index]) changed = true;
    }
    if (!changed) return false;
    const l4 = offset + (six ? 40 : (this.bytes[offset] & 15) * 4);
    const protocol = this.bytes[offset + (six ? 6 : 9)];
    return protocol === 1 || protocol === 58 || this.view.getUint16(l4, false) >= MASQUERADED_FROM;
  }

  private reasonNumber(text: string): number {
    let number = this.reasonNumbers.get(text);
    if (number === undefined) {
      number = this.reasons.push(text) - 1;
      this.reasonNumbers.set(text, number);
    }
    return number;
  }
}

const OUTCOME = offsets(OutcomeRecord);
const EMISSION = offsets(EmissionRecord);

/** Text of an address of the frame's header, at these offsets in IPv4 and IPv6. */
function addressText(frames: FrameBlock, row: number, offset4: number, offset6: number): string {
  const six = frames.etherType[row] === 0x86dd;
  const start = frames.offset[row] + (six ? offset6 : offset4);
  return addressFromBytes(frames.bytes.subarray(start, start + (six ? 16 : 4))).text;
}
