/** What replay is given, and whom it tells of each packet. */
import type { Cluster, TimelineChange } from "../cluster/cluster.js";
import type { Plane } from "../dataplane.js";
import type { Flow } from "./flows.js";
import type { Outcome } from "./outcome.js";
import type { Points } from "./passages.js";
import type { Origin } from "./topology.js";
import type { KeyOf } from "./truth.js";
import type { View } from "./view.js";

export interface ReplayOptions {
  /** Current, target. Their node lists are equal. */
  readonly planes: readonly [Plane, Plane];
  readonly points: Points & {
    deviceName(node: number, device: number): string;
    /** Whether the captures see everything that crosses this device. */
    covered(node: number, device: number): boolean;
    /** Whether they see every device of the node: then silence is a choice too. */
    seesAll(node: number): boolean;
    /** Whether they see every device of every node. */
    readonly complete: boolean;
    /** Where a packet set out that was first seen there. */
    originOf(view: View, into: Origin): void;
    isOwnAddress(node: number, address: Uint8Array): boolean;
    /** Whether it is an address of any node. */
    isNodeAddress(address: Uint8Array): boolean;
  };
  /** Pins the first packet of a flow to the observed choice, where the plane's own eligible set has it. */
  readonly followCapture: boolean;
  /** The captures see every device of their nodes, from the first record on: a packet's end can be told from them. */
  readonly seesAll: boolean;
  /** ns in which copies of a packet are looked for. */
  readonly windowNs: number;
  /** By time. */
  readonly changes: readonly PlaneChange[];
  readonly epochNs: bigint;
  readonly keyOf: KeyOf;
  /** The tuple a node's socket used before OUTPUT translated it, by the tuple seen on the wire; null: not known. */
  readonly socketTuple: (node: number, tuple: Uint8Array, timeNs: number) => Uint8Array | null;
  /** Whether an address and port are a service's: only a translation made before can send from there. */
  readonly isFrontend: (address: Uint8Array, protocol: number, port: number) => boolean;
  readonly judge: Judge;
  /** Why a flow that opens with these tuples, as first and as last seen, cannot be judged then; empty where it can. */
  readonly unfit: (first: Uint8Array, last: Uint8Array, timeNs: number | null) => string;
  /** Told when a dated change replaced the cluster, of one plane or of both. */
  readonly onCluster: (cluster: Cluster, only?: 0 | 1) => void;
}

/** A change of both planes; with `only`, of the one whose cluster it is. */
export type PlaneChange = TimelineChange & { readonly only?: 0 | 1 };

/** Told of every packet that both planes were asked about. */
export interface Judge {
  judge(packet: Packet): void;
  /** A packet that neither plane could be asked about. */
  undecided(view: View, reason: string): void;
}

/** One packet, with what both planes made of it. Reused; valid during `judge` only. */
export interface Packet {
  readonly view: View;
  readonly views: readonly View[];
  /** null for packets that belong to no flow (broken headers, errors about unknown flows). */
  readonly flow: Flow | null;
  /** 0 or 1; 0 where there is no flow. */
  readonly direction: number;
  readonly kind: "request" | "reply" | "error";
  readonly outcomes: readonly [Outcome, Outcome];
  /** Per plane: what this packet answers never arrived there, so it was not injected. */
  readonly moot: readonly [boolean, boolean];
  /** Per plane, for replies: it came back to the sender as the sender expects it. */
  readonly restored: readonly [boolean, boolean];
}
