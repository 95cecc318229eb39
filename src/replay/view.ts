/**
 * One record of a capture, as one point saw it: where, when, which way, and the packet's fields. Views are pooled:
 * the replay holds as many as lie in its time window, and uses each again.
 */
import { Emission, type Pin } from "../dataplane.js";
import { TUPLE_BYTES } from "./tuple.js";

/** What a record holds, as far as replaying it goes. */
export const ViewClass = {
  /** An IP packet with readable headers. */
  Packet: 0,
  /** ARP, LLDP, an unknown ethertype. */
  NotIp: 1,
  /** An IP packet whose headers are cut or lie; injected all the same, the kernel has an answer to it. */
  Broken: 2,
  /** Behind more than one VLAN tag; not read. */
  Stacked: 3,
  /** Seen on a pod's device without a word of which way, and its addresses do not say either. */
  Undirected: 4,
} as const;

export class View {
  node = 0;
  /** ifindex in the node. */
  device = 0;
  /** Emission.In or Emission.Out. */
  kind: number = Emission.In;
  /** ns since the replay's epoch. */
  timeNs = 0;
  /** Which capture, and its record number from 1. */
  capture = 0;
  record = 0;

  /** Known to have been sent, not seen: no evidence of what else the device carried. */
  stated = false;
  /** Its time is its own; else it is only in order. */
  timed = true;
  /** Of a stated packet: where it is known to have been sent on to; null: not known. */
  backend: Pin["backend"] = null;

  class: number = ViewClass.Packet;
  etherType = 0;
  packetType = 0;
  /** EtherType of the VLAN tag outside that no device of the node takes, host order; 0: none. And its control information. */
  vlanProtocol = 0;
  vlanTci = 0;
  /** Where `device` is a VLAN's and the record is of the device that carries it: the ifindex of that; else 0. */
  carrier = 0;
  /** Captured bytes from the network header on. */
  bytes = new Uint8Array(256);
  /** The same memory in words, for comparing. */
  words = new Int32Array(this.bytes.buffer);
  length = 0;
  wireLength = 0;

  /** A tunnel's outer packet: tuple and key below are the inner packet's; `inner` is where that starts. */
  tunnelled = false;
  inner = 0;
  family = 4;
  protocol = 0;
  ttl = 0;
  fragmentId = 0;
  fragmentOffset = 0;
  moreFragments = false;
  /** Offset of the upper-layer header in `bytes`. */
  l4Offset = 0;
  tcpFlags = 0;
  icmpType = -1;
  icmpCode = -1;
  /** Offset in `bytes` of the packet an ICMP error quotes; 0: no error. */
  quoted = 0;
  readonly tuple = new Uint8Array(TUPLE_BYTES);
  /** Fields that NAT leaves alone, hashed; equal for copies of one packet. */
  keyA = 0;
  keyB = 0;

  setBytes(source: Uint8Array, offset: number, length: number): void {
    if (this.bytes.length < length) {
      this.bytes = new Uint8Array((Math.max(length, this.bytes.length * 2) + 3) & ~3);
      this.words = new Int32Array(this.bytes.buffer);
    }
    this.bytes.set(source.subarray(offset, offset + length));
    this.length = length;
  }

  /** Of IPv4; a route or time stamp among them grows with every hop (RFC 791), which cannot be undone as the TTL can. */
  get hasOptions(): boolean {
    return this.family === 4 && (this.bytes[this.tunnelled ? this.inner : 0] & 15) > 5;
  }

  get isFragment(): boolean {
    return this.fragmentOffset > 0 || this.moreFragments;
  }
}

export class ViewPool {
  private readonly free: View[] = [];

  take(): View {
    return this.free.pop() ?? new View();
  }

  /** A view with a jumbo buffer is let go, so that one super-frame does not swell the pool for good. */
  give(view: View): void {
    if (view.bytes.length <= 4096) this.free.push(view);
  }
}
