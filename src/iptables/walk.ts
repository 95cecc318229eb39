/**
 * One frame's way from where it enters to its end: through a node's kernel, over the fabric to the next node,
 * through its kernel, and so on. Every wire image on the way becomes an emission.
 *
 * The frame itself is told apart from what nodes make on its way (ICMP errors, RSTs): these travel too and
 * are reported, marked as made, but only the frame's own end is the row's. A tunnel's outer packet is made by
 * a node and carries the frame on. A frame may end in several pieces (fragments); `worse` says which end then
 * counts.
 */
import type { Address } from "../cluster/address.js";
import { Emission, End, PacketType, type FrameBlock, type Pin, type StepResults } from "../dataplane.js";
import type { Fabric } from "../fabric/fabric.js";
import type { NodeSink } from "../linux/node.js";
import type { PlaneNode } from "./planeNode.js";

export interface WalkNodes {
  /** The node of this number, built when first asked for; null where the cluster has none. */
  node(number: number): PlaneNode | null;
}

/** Frames one row may cause on links between nodes; more is a loop. */
const MOST_CARRIED = 256;

const REASON_CIRCLES = "undecided: the frame travels in circles between nodes";
const REASON_OWN = "undecided: leaves by an uplink for an address of the same node";
const REASON_NO_NODE = "undecided: the node is not in the cluster";
const REASON_NO_UPLINK = "undecided: no uplink is known of the node the frame goes to";
const REASON_DEVICE = "undecided: leaves by a device that leads to no known place";

/** A frame between two nodes; reused. */
class Carried {
  bytes = new Uint8Array(2048);
  length = 0;
  wireLength = 0;
  node = 0;
  device = 0;
  made: 0 | 1 = 0;
  /** An answer, not the frame itself. */
  side = false;

  copy(bytes: Uint8Array, offset: number, length: number): void {
    if (this.bytes.length < length) this.bytes = new Uint8Array(length * 2);
    this.bytes.set(bytes.subarray(offset, offset + length));
    this.length = length;
  }
}

export class Walk implements NodeSink {
  // What the node under way reports (NodeSink).
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  // The row's outcome.
  rowEnd: End = End.None;
  rowReason = "";
  rowFlags = 0;
  /** Choice and because numbers of the nodes the frame itself crossed, joined. */
  choice = 0;
  because = 0;

  private readonly queue: Carried[] = [];
  private queued = 0;
  private results!: StepResults;
  private current!: PlaneNode;
  private currentSide = false;
  /** What the next outer packet of a tunnel carries: the frame itself, an answer, or nothing known. */
  private tunnelled: "frame" | "answer" | null = null;
  /** In the call under way the frame itself went on to another node. */
  private carriedOn = false;
  /** End of the frame itself that only the links know; None: the node's own counts. */
  private linkEnd: End = End.None;
  private linkReason = "";

  constructor(private readonly nodes: WalkNodes, public fabric: Fabric,
    private readonly join: (walk: Walk, node: PlaneNode) => void) {}

  /** Walks row `row`; the outcome is in the row… fields. */
  step(frames: FrameBlock, row: number, results: StepResults): void {
    this.results = results;
    this.rowEnd = End.None;
    this.rowReason = "";
    this.rowFlags = this.choice = this.because = this.queued = 0;
    const node = this.nodes.node(frames.node[row]);
    if (node === null) {
      this.settle(End.Undecided, REASON_NO_NODE);
      return;
    }
    const pin = frames.pin[row] === 0 ? null : frames.pins[frames.pin[row] - 1];
    this.begin(node, false);
    const { linux } = node;
    if (frames.device[row] === 0) {
      linux.output(frames.bytes, frames.offset[row], frames.length[row], frames.timeNs[row], pin, this);
    } else {
      linux.receive(frames.bytes, frames.offset[row], frames.length[row], frames.wireLength[row],
        frames.etherType[row], frames.packetType[row], frames.device[row], frames.timeNs[row], pin, this,
        frames.vlanProtocol[row], frames.vlanTci[row]);
    }
    this.finish();
    for (let index = 0; index < this.queued; index++) this.carry(this.queue[index], frames.timeNs[row], pin);
    if (this.rowEnd === End.None) throw new Error("a frame's way had no end");
  }

  private carry(carried: Carried, timeNs: number, pin: Pin | null): void {
    const node = this.nodes.node(carried.node);
    if (node === null) throw new Error("the fabric leads to a node that the cluster does not have");
    this.begin(node, carried.side);
    this.results.emit(Emission.In, carried.made, node.number, carried.device, carried.bytes, 0, carried.length);
    const etherType = carried.bytes[0] >> 4 === 6 ? 0x86dd : 0x0800;
    node.linux.receive(carried.bytes, 0, carried.length, carried.wireLength, etherType, PacketType.Host,
      carried.device, timeNs, carried.side ? null : pin, this);
    this.finish();
  }

  private begin(node: PlaneNode, side: boolean): void {
    this.current = node;
    this.currentSide = side;
    this.tunnelled = null;
    this.carriedOn = false;
    this.linkEnd = End.None;
    this.linkReason = "";
    node.hooks.begin();
  }

  private finish(): void {
    if (this.currentSide) {
      // An answer that could not be followed leaves the row's outcome in doubt.
      if (this.end === End.Undecided) this.settle(End.Undecided, this.reason);
      return;
    }
    this.rowFlags |= this.pinFlags;
    this.join(this, this.current);
    if (this.end === End.Left) {
      if (this.linkEnd !== End.None) this.settle(this.linkEnd, this.linkReason);
      else if (!this.carriedOn) this.settle(End.Left, "");
    } else {
      this.settle(this.end, this.reason);
    }
  }

  private settle(end: End, reason: string): void {
    if (this.rowEnd !== End.None && !worse(end, this.rowEnd)) return;
    this.rowEnd = end;
    this.rowReason = reason;
  }

  // ---- NodeSink
  // ----------------------------------------------------------------------------------------------

  transmit(device: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1,
    gateway: Address | null): void {
    const { current } = this;
    this.results.emit(Emission.Out, this.currentSide ? 1 : made, current.number, device, bytes, offset, length);
    const kind = current.deviceKind(device);
    if (kind === "tunnel") {
      this.tunnelled = made === 1 || this.currentSide ? "answer" : "frame";
      return;
    }
    const side = this.currentSide || (made === 1 && this.tunnelled !== "frame");
    if (kind === "pod" || kind === "loopback") return;
    const family = bytes[offset] >> 4 === 6 ? 6 : 4;
    const row = this.fabric.next(gateway, bytes, offset + (family === 4 ? 16 : 24), family);
    if (kind === "uplink") this.toUplink(row, bytes, offset, length, made, side);
    else if (!side) this.toOther(row);
  }

  enter(device: number, bytes: Uint8Array, offset: number, length: number): void {
    this.results.emit(Emission.In, this.currentSide ? 1 : 0, this.current.number, device, bytes, offset, length);
  }

  local(bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void {
    this.results.emit(Emission.Local, this.currentSide ? 1 : made, this.current.number, 0, bytes, offset, length);
  }

  private toUplink(row: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1, side: boolean): void {
    const problem = this.blocked(row);
    if (row < 0 || problem !== "") {
      if (!side) this.link(row < 0 ? End.Left : End.Undecided, problem);
      return;
    }
    if (this.queued >= MOST_CARRIED) {
      this.settle(End.Undecided, REASON_CIRCLES);
      return;
    }
    const { node, device } = this.fabric.rows[row];
    const carried = (this.queue[this.queued++] ??= new Carried());
    carried.copy(bytes, offset, length);
    carried.wireLength = wireLength(bytes, offset, length);
    carried.node = node;
    carried.device = device;
    carried.made = this.currentSide ? 1 : made;
    carried.side = side;
    if (!side) this.carriedOn = true;
  }

  /** Why a frame cannot be taken to where a row leads; empty where it can. */
  private blocked(row: number): string {
    if (row < 0) return "";
    const { node, device } = this.fabric.rows[row];
    return node === this.current.number ? REASON_OWN : device === 0 ? REASON_NO_UPLINK : "";
  }

  /** A bridge or the like: pods of this node are behind it. */
  private toOther(row: number): void {
    const own = row >= 0 && this.fabric.rows[row].node === this.current.number;
    this.link(own ? End.Delivered : End.Undecided, own ? "" : REASON_DEVICE);
  }

  private link(end: End, reason: string): void {
    if (this.linkEnd !== End.None && !worse(end, this.linkEnd)) return;
    this.linkEnd = end;
    this.linkReason = reason;
  }
}

/** Ends from what counts most to what counts least, where pieces of a frame end differently. */
const ORDER: readonly End[] = [End.Undecided, End.Delivered, End.Redirected, End.Rejected, End.Answered, End.Dropped,
  End.Left, End.Held];

function worse(a: End, b: End): boolean {
  return ORDER.indexOf(a) < ORDER.indexOf(b);
}

/** A cut capture stays cut on the next link: the header says how long the packet is. */
function wireLength(bytes: Uint8Array, offset: number, length: number): number {
  const declared = bytes[offset] >> 4 === 6
    ? 40 + ((bytes[offset + 4] << 8) | bytes[offset + 5]) : (bytes[offset + 2] << 8) | bytes[offset + 3];
  return Math.max(length, declared);
}
