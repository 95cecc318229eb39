/** What a call to a node causes, and the bookkeeping of how its packet ended. */
import type { Address } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import type { Packet } from "./packet.js";

/** Given by the caller and reused from call to call. Bytes are valid during the callback only. */
export interface NodeSink {
  /**
   * Left `device`, after POSTROUTING. `made`: by the node itself (ICMP error, TCP RST, tunnel outer). `gateway`: the
   * next hop; null: the packet's destination is on the link.
   */
  transmit(device: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1,
    gateway: Address | null): void;
  /** Came out of a tunnel, or lost a VLAN tag, and enters on that tunnel's or VLAN's device, before PREROUTING. */
  enter(device: number, bytes: Uint8Array, offset: number, length: number): void;
  /** Handed to the node's own stack, after INPUT. */
  local(bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void;
  /** Delivered: the node's stack or a pod's device took it. Left: another device did. Never None after a call. */
  end: End;
  /** As Reason, or netfilter's; empty where there is nothing to say. */
  reason: string;
  /** Bit 0: the pin was taken. Bit 1: refused. */
  pinFlags: number;
  /** skb->mark of the packet that `transmit` or `local` tells of; left out by who does not ask. */
  mark?: number;
}

export class Outcome {
  sink: NodeSink | null = null;
  /** An answer made on the way could not be judged. */
  private sideReason = "";

  begin(sink: NodeSink): void {
    if (this.sink !== null) throw new Error("a node takes one packet at a time");
    this.sink = sink;
    this.sideReason = "";
    sink.end = End.None;
    sink.reason = "";
    sink.pinFlags = 0;
  }

  /** The first ending counts, and Undecided before all; answers made on the way only report what was not judged. */
  end(packet: Packet, end: End, reason: string): void {
    if (this.sink === null) return;
    if (!packet.primary) {
      if (end === End.Undecided) this.sideReason = reason;
    } else if (this.sink.end === End.None || (end === End.Undecided && this.sink.end !== End.Undecided)) {
      this.sink.end = end;
      this.sink.reason = reason;
    }
  }

  transmit(packet: Packet, device: number, bytes: Uint8Array, length: number, gateway: Address | null): void {
    if (this.sink === null) return;
    if (this.sink.mark !== undefined) this.sink.mark = packet.mark;
    this.sink.transmit(device, bytes, 0, length, packet.made, gateway);
  }

  local(packet: Packet): void {
    if (this.sink === null) return;
    if (this.sink.mark !== undefined) this.sink.mark = packet.mark;
    this.sink.local(packet.bytes, 0, packet.captured, packet.made);
  }

  finish(): void {
    const { sink } = this;
    this.sink = null;
    if (sink === null || sink.end === End.None) throw new Error("a packet's way had no end");
    if (this.sideReason !== "" && sink.end !== End.Undecided) {
      sink.end = End.Undecided;
      sink.reason = this.sideReason;
    }
  }
}

/** Drop reasons and `undecided: …` share the texts; the prefix says which. */
export function endOf(reason: string): End {
  return reason.startsWith("undecided") ? End.Undecided : End.Dropped;
}
