/**
 * What connection tracking remembers of a TCP connection (struct ip_ct_tcp and ip_ct_tcp_state,
 * include/linux/netfilter/nf_conntrack_tcp.h). Data only; tcp.ts and tcp-window.ts change it.
 *
 * Sequence numbers are signed 32-bit numbers that wrap, windows are unsigned ones, already scaled.
 */
import type { Dir } from "./connection.js";
import { Segment, TcpState } from "./tcp-state.js";

/** IP_CT_TCP_FLAG_* of one direction, and, in `lastFlags`, the two that belong to the connection. */
export const TcpSeen = {
  WindowScale: 0x01,
  SackPermitted: 0x02,
  /** Sent the first FIN. */
  CloseInit: 0x04,
  /** No window check for what this side sends. */
  BeLiberal: 0x08,
  DataUnacknowledged: 0x10,
  MaxAckSet: 0x20,
  /** A SYN was let through in LAST_ACK: an ACK may be the challenge to it (RFC 5961), not the last one. */
  ChallengeAck: 0x40,
  SimultaneousOpen: 0x80,
} as const;

/** One direction, as its sender. */
export class TcpPeer {
  /** td_end: after the last byte sent. */
  end = 0;
  /** td_maxend: after the last byte it may send, by what the other side acknowledged and offered. */
  maxEnd = 0;
  /** td_maxwin: the largest window it offered; 0: nothing of it was seen. */
  maxWindow = 0;
  /** td_maxack: the highest number it acknowledged, where TcpSeen.MaxAckSet. */
  maxAck = 0;
  /** Shift of its window field. */
  scale = 0;
  flags = 0;

  /** nf_ct_tcp_state_reset: only that it is not checked stays. */
  clear(): void {
    this.end = this.maxEnd = this.maxWindow = this.maxAck = this.scale = 0;
    this.flags &= TcpSeen.BeLiberal;
  }
}

export class TcpTrack {
  state: number = TcpState.None;
  readonly original = new TcpPeer();
  readonly reply = new TcpPeer();
  /** Of the last segment that was believed or let through. */
  lastDir: Dir = 0;
  lastIndex: number = Segment.None;
  lastSeq = 0;
  lastAck = 0;
  lastEnd = 0;
  /** As in the header. */
  lastWindow = 0;
  /** Options of a SYN that was let through without being believed. */
  lastScale = 0;
  lastFlags = 0;
  retransmissions = 0;
}
