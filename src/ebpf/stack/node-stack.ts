/**
 * What the plane asks of its nodes' kernels: a packet goes in where a program passed it up, and comes out as none, one
 * or several, each where it goes on.
 */
import type { Cluster, ConntrackDelete } from "../../cluster/cluster.js";
import type { End, Pin, Step } from "../../dataplane.js";
import type { Decided } from "./memory.js";

/** Bytes begin at the network header, and are read before `pass` returns. */
export interface StackPacket {
  readonly node: number;
  /** ifindex where it came in. */
  readonly device: number;
  /** A process of the node sends it. */
  readonly local: boolean;
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly length: number;
  readonly wireLength: number;
  readonly etherType: number;
  readonly packetType: number;
  readonly mark: number;
  readonly timeNs: number;
  readonly pin: Pin | null;
}

/** A packet that came out. */
export interface StackPiece {
  /** StackExit. */
  readonly exit: number;
  readonly device: number;
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly wireLength: number;
  readonly mark: number;
  /** 1: made by the kernel, an answer to the packet. */
  readonly made: 0 | 1;
}

export interface StackResult {
  readonly pieces: readonly StackPiece[];
  /** Of the packet itself, where no piece carries it on. */
  readonly end: End;
  readonly reason: string;
  /** Bit 0: the pin was taken. Bit 1: refused. */
  readonly pinFlags: number;
  readonly decided: Decided;
  /** Rules that matched, where traced. */
  readonly steps: readonly Step[];
}

export interface NodeStack {
  /** The result holds until the next call; its pieces until `free`, which ends a row. */
  pass(packet: StackPacket): StackResult;
  free(): void;
  change(cluster: Cluster): void;
  deleteConntrack(entry: ConntrackDelete): void;
}
