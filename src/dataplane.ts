/**
 * The door between a dataplane and everything else. Types and plain containers only.
 *
 * A Plane is handed a FrameBlock: frames with the node and the device where each enters. It walks every frame
 * through its nodes and writes to StepResults what became of it: one outcome per frame, and one emission for each
 * wire image the frame had on its way. compare and replay know nothing else of a plane.
 *
 * Frames in a block are taken in order; state left by row i is seen by row i+1. Nothing here throws for what a
 * frame contains.
 *
 * Time at the door is ns since the block's epoch (`Plane.epochNs`) in a float64: exact for 104 days, after that to
 * within 8 ns.
 */
import type { Address } from "./cluster/address.js";
import type { Cluster, ConntrackDelete } from "./cluster/cluster.js";
import type { DNSNames } from "./cluster/names.js";
import type { Problem, Where } from "./cluster/problem.js";

/** Which way a frame crossed a device, seen from the node. */
export const Direction = { In: 0, Out: 1 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** SLL2 / AF_PACKET packet types: who the frame was addressed to on its link. */
export const PacketType = { Host: 0, Broadcast: 1, Multicast: 2, OtherHost: 3, Outgoing: 4 } as const;

/** What is known of an L4 checksum. `Partial`: only the pseudo-header sum is filled in (checksum offload). */
export const Csum = { Unknown: 0, Right: 1, Wrong: 2, Partial: 3, None: 4 } as const;
export type Csum = (typeof Csum)[keyof typeof Csum];

/** What became of a frame. `None` marks a row that was not stepped. */
export const End = {
  None: 0,
  /** Handed to a pod, or to a socket of a node (the last emission says which). */
  Delivered: 1,
  /** Left the cluster through an uplink. */
  Left: 2,
  /** Vanished without an answer. */
  Dropped: 3,
  /** Refused with an answer to the sender (ICMP error, TCP RST) that the dataplane itself made. */
  Rejected: 4,
  /** Consumed and answered by the dataplane itself (TTL exceeded, fragmentation needed …). */
  Answered: 5,
  /** Waits in a fragment queue; a later frame may complete it. */
  Held: 6,
  /** Handed to a proxy. */
  Redirected: 7,
  /** Not modelled, or the input does not say enough. Never counted as allowed. */
  Undecided: 8,
} as const;
export type End = (typeof End)[keyof typeof End];

/** Frames going in: columns, `count` rows. Bytes start at the network header (no link header). */
export class FrameBlock {
  count = 0;
  readonly capacity: number;
  bytes: Uint8Array;
  private own: Uint8Array;
  /** Bytes of `bytes` in use. */
  used = 0;
  readonly offset: Uint32Array;
  /** Captured bytes from the network header on, at most wireLength. */
  readonly length: Uint32Array;
  /** Bytes on the wire from the network header on, without link padding where the header says so. */
  readonly wireLength: Uint32Array;
  /** 0x0800, 0x86dd, … host order. */
  readonly etherType: Uint16Array;
  readonly packetType: Uint8Array;
  /** Index into `Plane.nodes`. */
  readonly node: Uint16Array;
  /** ifindex where the frame enters; 0: sent by a process of the node itself (OUTPUT). */
  readonly device: Uint32Array;
  readonly timeNs: Float64Array;
  /** Index into `pins` plus one; 0: not pinned. */
  readonly pin: Uint32Array;
  readonly pins: Pin[] = [];
  /** EtherType of the VLAN tag that the device took off, host order (0x8100, 0x88a8); 0: none. */
  readonly vlanProtocol: Uint16Array;
  /** That tag's control information; its low 12 bits are the VLAN's identifier. */
  readonly vlanTci: Uint16Array;

  constructor(capacity = 64, bytes = 1 << 17) {
    this.capacity = capacity;
    this.bytes = this.own = new Uint8Array(bytes);
    this.offset = new Uint32Array(capacity);
    this.length = new Uint32Array(capacity);
    this.wireLength = new Uint32Array(capacity);
    this.etherType = new Uint16Array(capacity);
    this.packetType = new Uint8Array(capacity);
    this.node = new Uint16Array(capacity);
    this.device = new Uint32Array(capacity);
    this.timeNs = new Float64Array(capacity);
    this.pin = new Uint32Array(capacity);
    this.vlanProtocol = new Uint16Array(capacity);
    this.vlanTci = new Uint16Array(capacity);
  }

  clear(): void {
    this.count = 0;
    this.used = 0;
    this.bytes = this.own;
    if (this.pins.length > 0) this.pins.length = 0;
  }

  /** Appends a copy of a frame and returns its row; the caller sees to `count < capacity`. */
  push(source: Uint8Array, offset: number, length: number, wireLength: number, etherType: number, packetType: number,
    node: number, device: number, timeNs: number): number {
    this.bytes = this.own = ensure(this.bytes, this.used, length);
    this.bytes.set(source.subarray(offset, offset + length), this.used);
    const row = this.add(this.used, length, wireLength, etherType, packetType, node, device, timeNs);
    this.used = (this.used + length + 7) & ~7;
    return row;
  }

  /** Makes the frame the only one, without a copy: its bytes must stay as they are until the step is over. */
  borrow(source: Uint8Array, offset: number, length: number, wireLength: number, etherType: number, packetType: number,
    node: number, device: number, timeNs: number): void {
    this.clear();
    this.bytes = source;
    this.add(offset, length, wireLength, etherType, packetType, node, device, timeNs);
  }

  /** A row's frame had this tag outermost; its bytes and EtherType are of what was behind the tag. */
  tag(row: number, protocol: number, tci: number): void {
    this.vlanProtocol[row] = protocol;
    this.vlanTci[row] = tci;
  }

  private add(at: number, length: number, wireLength: number, etherType: number, packetType: number, node: number,
    device: number, timeNs: number): number {
    const row = this.count++;
    this.offset[row] = at;
    this.length[row] = length;
    this.wireLength[row] = wireLength;
    this.etherType[row] = etherType;
    this.packetType[row] = packetType;
    this.node[row] = node;
    this.device[row] = device;
    this.timeNs[row] = timeNs;
    this.pin[row] = 0;
    this.vlanProtocol[row] = 0;
    return row;
  }
}

/**
 * A choice seen in the capture. A plane takes it only where the choice is in its own eligible set at that moment,
 * and only for a decision it is about to make at random; everything else follows from its own state.
 */
export interface Pin {
  /** Backend after destination NAT. */
  readonly backend: { readonly address: Address; readonly port: number } | null;
  /** Source port after masquerading (or ICMP id), host order; null: not seen. */
  readonly sourcePort: number | null;
}

/** Where an emission was seen. */
export const Emission = {
  /** Left a device of a node (after POSTROUTING / after the egress program). */
  Out: 0,
  /** Entered a device of another node on its way (before PREROUTING / before the ingress program). */
  In: 1,
  /** Handed to a process of the node (after INPUT). */
  Local: 2,
} as const;

/** Results: per row of the block, and per emission. Reused from call to call. */
export class StepResults {
  readonly end: Uint8Array;
  /** Index into `Plane.reasons`. */
  readonly reason: Uint16Array;
  /** Interned journey number, see `Plane.journey`. */
  readonly journey: Uint32Array;
  /** Bit 0: the pin was taken. Bit 1: the pin was offered and refused (not in the eligible set). */
  readonly flags: Uint8Array;
  /** First emission of row i; row i's emissions end where row i+1's begin. */
  readonly firstEmission: Uint32Array;

  emissions = 0;
  /** All below are per emission; they grow. */
  emissionNode: Uint16Array;
  emissionDevice: Uint32Array;
  emissionKind: Uint8Array;
  /** 1: made by the dataplane (an ICMP error, a REJECT answer, a tunnel outer), not the frame itself. */
  emissionMade: Uint8Array;
  emissionOffset: Uint32Array;
  emissionLength: Uint32Array;
  /** Images, from the network header on. */
  bytes: Uint8Array;
  used = 0;

  constructor(capacity = 64) {
    this.end = new Uint8Array(capacity);
    this.reason = new Uint16Array(capacity);
    this.journey = new Uint32Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.firstEmission = new Uint32Array(capacity + 1);
    this.emissionNode = new Uint16Array(256);
    this.emissionDevice = new Uint32Array(256);
    this.emissionKind = new Uint8Array(256);
    this.emissionMade = new Uint8Array(256);
    this.emissionOffset = new Uint32Array(256);
    this.emissionLength = new Uint32Array(256);
    this.bytes = new Uint8Array(1 << 17);
  }

  clear(): void {
    this.emissions = 0;
    this.used = 0;
  }

  /** A plane calls this before row i, and once more with `count` after the last row. */
  beginRow(row: number): void {
    this.firstEmission[row] = this.emissions;
  }

  /** Records one image of the row under way; the bytes are copied. */
  emit(kind: number, made: number, node: number, device: number, source: Uint8Array, offset: number, length: number): void {
    const index = this.emissions;
    if (index === this.emissionKind.length) this.growEmissions();
    this.emissions = index + 1;
    this.bytes = ensure(this.bytes, this.used, length);
    this.bytes.set(source.subarray(offset, offset + length), this.used);
    this.emissionNode[index] = node;
    this.emissionDevice[index] = device;
    this.emissionKind[index] = kind;
    this.emissionMade[index] = made;
    this.emissionOffset[index] = this.used;
    this.emissionLength[index] = length;
    this.used = (this.used + length + 7) & ~7;
  }

  private growEmissions(): void {
    const size = this.emissionKind.length * 2;
    this.emissionNode = grown(this.emissionNode, new Uint16Array(size));
    this.emissionDevice = grown(this.emissionDevice, new Uint32Array(size));
    this.emissionKind = grown(this.emissionKind, new Uint8Array(size));
    this.emissionMade = grown(this.emissionMade, new Uint8Array(size));
    this.emissionOffset = grown(this.emissionOffset, new Uint32Array(size));
    this.emissionLength = grown(this.emissionLength, new Uint32Array(size));
  }
}

/** `Because.object` of what a program of the user's own decided, in the place of a step (`twinplane build`). */
export const OWN_PROGRAM = "own program";

/** A manifest line, rule or option that an entry or verdict comes from. */
export interface Because {
  readonly where: Where | null;
  /** `default/deny-all` or an option's name. */
  readonly object: string;
  /** `ingress[0].from[1]`, a chain and rule text, an option's value. */
  readonly rule: string;
}

/** What a dataplane decided about a flow at this point, shared by the packets that fared alike. */
export interface Journey {
  readonly id: number;
  readonly end: End;
  /** Text of the reason: a Cilium drop reason's name, a chain, `undecided` cause. Empty where there is none. */
  readonly reason: string;
  readonly becauses: readonly Because[];
  /** What let it through before that decision: the rule of the sender's policy, where the receiver's decided. */
  readonly passed: readonly Because[];
  /** The backends the plane could have chosen, `ip:port`, sorted; null where no choice was made. */
  readonly eligibleBackends: readonly string[] | null;
  /** The one it chose, where that is known of a frame that did not arrive too; absent: it is not said. */
  readonly backend?: string;
  /** First and last source port the plane could have chosen; null where no choice was made. */
  readonly eligibleSourcePorts: readonly [number, number] | null;
}

/** One decision inside a hop, for `trace`. */
export interface Step {
  readonly node: string;
  /** Program or table. */
  readonly program: string;
  /** Map and key, or chain and rule number. */
  readonly what: string;
  readonly result: string;
  readonly becauses: readonly Because[];
}

export interface Plane {
  /** `current`, `target`, or the user's name for it. */
  readonly name: string;
  /** `kube-proxy`, `cilium@1.20`, … */
  readonly profile: string;
  /** ns since the Unix epoch of time 0 at the door. */
  readonly epochNs: bigint;
  /** Node names; FrameBlock.node and emissions index this list. The same list in both planes of a comparison. */
  readonly nodes: readonly string[];
  /** Reason texts; index 0 is the empty reason. Grows. */
  readonly reasons: readonly string[];
  /**
   * A node's own sockets are translated at connect(): their packets leave addressed to the backend, answers arrive from
   * it, and the application still sees the service. false: translated on the way, so answers must be translated back.
   */
  readonly balancesAtSockets: boolean;
  /** What was found wrong or not modelled while compiling. */
  readonly problems: readonly Problem[];

  step(frames: FrameBlock, results: StepResults): void;
  /** Replaces the cluster at a time; live state (conntrack, NAT) stays. */
  change(cluster: Cluster, timeNs: number): void;
  /** What is known of DNS names from a time on; null: nothing new. */
  learn(names: DNSNames | null, timeNs: number): void;
  deleteConntrack(entry: ConntrackDelete, timeNs: number): void;
  journey(id: number): Journey;
  /** Steps of the last row stepped, in order; empty unless the plane was built with `traced`. */
  lastSteps(): Step[];
}

function ensure(bytes: Uint8Array, used: number, length: number): Uint8Array {
  if (used + length + 8 <= bytes.length) return bytes;
  const larger = new Uint8Array(Math.max(bytes.length * 2, used + length + 8));
  larger.set(bytes.subarray(0, used));
  return larger;
}

function grown<T extends Uint8Array | Uint16Array | Uint32Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
