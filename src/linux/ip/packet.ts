/**
 * The stack's own packet: an Skb with what the kernel keeps beside it (IPCB/IP6CB, dst), and a pool of them.
 * A packet owns its buffer; a frame is copied in once, netfilter rewrites it there.
 */
import { CtInfo, Csum, Skb } from "../skb.js";
import type { RouteEntry } from "./routes.js";

export class Packet extends Skb {
  /**
   * Bytes that were captured. `length` is the packet's own, by its header (or on the wire, for a super-frame whose
   * header says 0); what lies between is zero and never leaves.
   */
  captured = 0;
  /** Sum of what the capture lacks of an ICMP message, -1: nothing (missingIcmpSum). */
  missingSum = -1;
  /** Several TCP segments merged by GRO/TSO: larger than the link, never fragmented. */
  gso = false;
  route: RouteEntry | null = null;
  /** The outcome of the call is this packet's; false for answers made on the way. */
  primary = false;
  /** 1: made by the node (ICMP error, TCP RST, tunnel outer). */
  made: 0 | 1 = 0;
  /** A REJECT answered this packet. */
  answered = false;
  /** Kernel: skb->ignore_df, set on reassembled packets. */
  ignoreDf = false;
  /** Kernel: IPSKB_FRAG_PMTU, DF goes back on the fragments. */
  fragPmtu = false;
  /** Payload length of each original fragment, in offset order; the boundaries kept when they fit. */
  boundaries = new Uint16Array(64);
  boundaryCount = 0;
  /** IPv6: identification of the reassembled fragments. */
  fragmentId = 0;
  /** IPv6: offset of the next-header byte before the fragment header, and of that header; 0: none. */
  fragmentPrevious = 0;
  fragmentHeader = 0;
  /** IPv6: of a routing header; only the addressed node reads it. */
  segmentsLeft = 0;
  /** IPv4: offset of a record-route slot the outgoing address goes into; 0: none. */
  recordRoute = 0;
  /** IPv4: record route, timestamp or source route present: an ICMP error would echo them. */
  echoesOptions = false;

  override has(end: number): boolean {
    return end <= this.captured;
  }

  override insert(at: number, size: number): void {
    this.reserve(this.length + size);
    super.insert(at, size);
    this.captured += size;
  }

  /** Copies `length` bytes in; the packet is otherwise as new. */
  load(source: Uint8Array, offset: number, length: number): void {
    this.reserve(length);
    this.bytes.set(source.subarray(offset, offset + length), 0);
    this.length = this.captured = length;
  }

  /** The header says `length` bytes: link padding goes, and what the capture lacks becomes zero. */
  setLength(length: number): void {
    this.reserve(length);
    if (this.captured > length) this.captured = length;
    this.bytes.fill(0, this.captured, length);
    this.length = length;
  }

  reserve(length: number): void {
    if (this.bytes.length >= length + 64) return;
    const larger = new Uint8Array(Math.max(2048, length + 64, this.bytes.length * 2));
    larger.set(this.bytes);
    this.bytes = larger;
  }

  addBoundary(length: number): void {
    if (this.boundaryCount === this.boundaries.length) {
      const larger = new Uint16Array(this.boundaries.length * 2);
      larger.set(this.boundaries);
      this.boundaries = larger;
    }
    this.boundaries[this.boundaryCount++] = length;
  }

  reset(): void {
    this.length = this.captured = 0;
    this.family = 4;
    this.headerLength = this.protocol = this.fragmentOffset = 0;
    this.moreFragments = false;
    this.packetType = this.inDevice = this.outDevice = this.mark = 0;
    this.ct = null;
    this.ctinfo = CtInfo.Invalid;
    this.csum = Csum.Unknown;
    this.fragMaxSize = 0;
    this.fragDf = false;
    this.timeNs = 0;
    this.pin = null;
    this.sourceMac = null;
    this.pinFlags = 0;
    this.local = false;
    this.gso = this.primary = this.answered = this.ignoreDf = this.fragPmtu = false;
    this.route = null;
    this.made = 0;
    this.boundaryCount = this.fragmentId = this.fragmentPrevious = this.fragmentHeader = 0;
    this.recordRoute = this.segmentsLeft = 0;
    this.missingSum = -1;
    this.echoesOptions = false;
  }

  get truncated(): boolean {
    return this.length > this.captured;
  }
}

/** Last in, first out; grows to the deepest nesting seen. */
export class PacketPool {
  private readonly free: Packet[] = [];

  take(): Packet {
    const packet = this.free.pop() ?? new Packet();
    packet.reset();
    return packet;
  }

  give(packet: Packet): void {
    packet.ct = null;
    packet.pin = null;
    this.free.push(packet);
  }
}
