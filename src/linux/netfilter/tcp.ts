/**
 * TCP in connection tracking (net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.x): flag checks, the state
 * machine, the lifetime of the entry.
 *
 * The window is not tracked: every segment counts as in the window. What is kept of each direction is the
 * highest sequence number sent and the highest number acknowledged, which decide whether a RST is believed
 * and which timeout runs. `tcpPacket` returns the new lifetime in ns, or one of the negative verdicts below.
 */
import { type Connection, Dir, SeenFlag, Status } from "./connection.js";
import { half, type Packet, TcpFlag, word } from "./packet.js";
import { Segment, TcpState, tcpTransitions } from "./tcp-state.js";
import type { Timeouts } from "./timeouts.js";

export const tcpInvalid = -1;
/** The segment passes, the entry stays as it is. */
export const tcpKeep = -2;
/** The entry is dead; look the packet up again, it starts a new connection (-NF_REPEAT). */
export const tcpRepeat = -3;
/** The segment passes and the entry ends with it: a RST that answers a SYN. */
export const tcpKill = -4;

/** Valid combinations of FIN, SYN, RST, ACK, URG; PSH, ECE and CWR are always fine (tcp_valid_flags). */
const validFlags = new Uint8Array(64);
for (const flags of [
  TcpFlag.Syn,
  TcpFlag.Syn | TcpFlag.Urg,
  TcpFlag.Syn | TcpFlag.Ack,
  TcpFlag.Rst,
  TcpFlag.Rst | TcpFlag.Ack,
  TcpFlag.Fin | TcpFlag.Ack,
  TcpFlag.Fin | TcpFlag.Ack | TcpFlag.Urg,
  TcpFlag.Ack,
  TcpFlag.Ack | TcpFlag.Urg,
])
  validFlags[flags] = 1;

/** tcp_error without the checksum: a header that is cut or lies, or flags that nobody sends. */
export function tcpMalformed(packet: Packet, bytes: Uint8Array): boolean {
  if (packet.l4Short) return true;
  const headerLength = (bytes[packet.l4 + 12] >> 4) * 4;
  if (headerLength < 20 || headerLength > packet.l4Length) return true;
  return validFlags[packet.tcpFlags & ~(TcpFlag.Psh | TcpFlag.Ece | TcpFlag.Cwr)] === 0;
}

/** tcp_new: whether a segment may open an entry, and what the entry then knows. */
export function tcpNew(ct: Connection, packet: Packet, bytes: Uint8Array, loose: boolean): boolean {
  const state = tcpTransitions[segmentOf(packet.tcpFlags) * 10 + TcpState.None];
  if (state >= TcpState.Invalid || (state !== TcpState.SynSent && !loose)) return false;
  ct.tcpState = TcpState.None;
  ct.end0 = endOf(packet, bytes);
  ct.seen0 = SeenFlag.Seen;
  ct.lastIndex = Segment.None;
  return true;
}

export function tcpPacket(
  ct: Connection,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  timeouts: Timeouts,
): number {
  const index = segmentOf(packet.tcpFlags);
  const seq = word(bytes, packet.l4 + 4);
  const ack = word(bytes, packet.l4 + 8);
  let before = ct.tcpState;
  let state: number = tcpTransitions[(direction * 6 + index) * 10 + before];

  switch (state) {
    case TcpState.SynSent:
      if (before < TcpState.TimeWait) break;
      // RFC 1122: a SYN may reopen a connection in TIME-WAIT; also one that was reset from this side.
      if (
        ((ct.seen0 | ct.seen1) & SeenFlag.CloseInit) !== 0 ||
        (ct.lastDir === direction && ct.lastIndex === Segment.Rst)
      )
        return tcpRepeat;
      return ignore(ct, packet, bytes, direction, index, before);
    case TcpState.Ignore:
      if (
        index === Segment.SynAck &&
        ct.lastIndex === Segment.Syn &&
        ct.lastDir !== direction &&
        ack === ct.lastEnd
      ) {
        // This SYN/ACK answers a SYN that was let through before: the ends agree, we were out of step.
        before = TcpState.SynSent;
        state = TcpState.SynRecv;
        resync(ct, direction);
        break;
      }
      return ignore(ct, packet, bytes, direction, index, before);
    case TcpState.Invalid:
      return tcpInvalid;
    case TcpState.TimeWait:
      // RFC 5961: an ACK that challenges a stray SYN is not the last ACK.
      if (
        before === TcpState.LastAck &&
        index === Segment.Ack &&
        ct.lastDir !== direction &&
        ct.lastIndex === Segment.Syn &&
        ct.challengeAck
      ) {
        ct.challengeAck = false;
        return tcpKeep;
      }
      break;
    case TcpState.SynSent2:
      ct.simultaneousOpen = true;
      break;
    case TcpState.SynRecv:
      if (direction === Dir.Reply && index === Segment.Ack && ct.simultaneousOpen)
        state = TcpState.Established;
      break;
    case TcpState.Close:
      if (index === Segment.Rst) {
        state = stateAfterReset(ct, direction, before, seq);
        if (state === TcpState.Invalid) return tcpInvalid;
      }
      break;
    default:
      break;
  }

  observe(ct, packet, bytes, direction, index, seq, ack);
  ct.lastIndex = index;
  ct.lastDir = direction;
  ct.tcpState = state;
  if (before !== state && state === TcpState.FinWait) {
    if (direction === Dir.Original) ct.seen0 |= SeenFlag.CloseInit;
    else ct.seen1 |= SeenFlag.CloseInit;
  }
  return lifetime(ct, packet, index, before, state, timeouts);
}

function segmentOf(flags: number): number {
  if ((flags & TcpFlag.Rst) !== 0) return Segment.Rst;
  if ((flags & TcpFlag.Syn) !== 0) return (flags & TcpFlag.Ack) !== 0 ? Segment.SynAck : Segment.Syn;
  if ((flags & TcpFlag.Fin) !== 0) return Segment.Fin;
  return (flags & TcpFlag.Ack) !== 0 ? Segment.Ack : Segment.None;
}

/** Sequence number after the segment: payload, SYN and FIN count. */
function endOf(packet: Packet, bytes: Uint8Array): number {
  const payload = packet.l4Length - (bytes[packet.l4 + 12] >> 4) * 4;
  const flags = packet.tcpFlags;
  return (word(bytes, packet.l4 + 4) + payload + ((flags & TcpFlag.Syn) >> 1) + (flags & TcpFlag.Fin)) | 0;
}

/** A segment that is passed without being believed; only noted, for the answer it may draw. */
function ignore(
  ct: Connection,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  index: number,
  before: number,
): number {
  ct.lastIndex = index;
  ct.lastDir = direction;
  ct.lastSeq = word(bytes, packet.l4 + 4);
  ct.lastEnd = endOf(packet, bytes);
  ct.lastWindow = half(bytes, packet.l4 + 14);
  if (index === Segment.Syn && direction === Dir.Original) ct.challengeAck = before === TcpState.LastAck;
  if (before === TcpState.SynSent && index === Segment.Ack && direction === Dir.Reply) {
    ct.lastAck = word(bytes, packet.l4 + 8);
  }
  return tcpKeep;
}

function resync(ct: Connection, direction: Dir): void {
  if (direction === Dir.Reply) {
    ct.end0 = ct.lastEnd;
    ct.seen0 = SeenFlag.Seen;
    ct.seen1 = 0;
  } else {
    ct.end1 = ct.lastEnd;
    ct.seen1 = SeenFlag.Seen;
    ct.seen0 = 0;
  }
}

/**
 * What a RST does: CLOSE where it is believed, the old state where its number is not exactly the one expected
 * (the receiver will challenge it, RFC 5961), Invalid where it lies before what was acknowledged.
 */
function stateAfterReset(ct: Connection, direction: Dir, before: number, seq: number): number {
  const closing =
    before === TcpState.FinWait ||
    before === TcpState.CloseWait ||
    before === TcpState.LastAck ||
    before === TcpState.TimeWait ||
    before === TcpState.Close;
  if (closing) return TcpState.Close;
  const peerSeen = direction === Dir.Original ? ct.seen1 : ct.seen0;
  if ((peerSeen & SeenFlag.MaxAckSet) === 0 || ct.lastIndex === Segment.Syn) return TcpState.Close;
  const established = before === TcpState.Established && (ct.status & Status.Assured) !== 0;
  if (seq === 0 && !established) return TcpState.Close;
  const maxAck = direction === Dir.Original ? ct.maxAck1 : ct.maxAck0;
  if (((seq - maxAck) | 0) < 0) return TcpState.Invalid;
  if (!established || seq === maxAck) return TcpState.Close;
  // The RST follows data of its own sender, not acknowledged yet.
  if (ct.lastIndex === Segment.Ack && ct.lastDir === direction && seq === ct.lastEnd) return TcpState.Close;
  return before;
}

/** What tcp_in_window keeps of a segment that is in the window. */
function observe(
  ct: Connection,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  index: number,
  seq: number,
  ack: number,
): void {
  const end = endOf(packet, bytes);
  const window = half(bytes, packet.l4 + 14);
  const hasAck = (packet.tcpFlags & TcpFlag.Ack) !== 0;
  let seen = direction === Dir.Original ? ct.seen0 : ct.seen1;
  let ownEnd = direction === Dir.Original ? ct.end0 : ct.end1;
  let maxAck = direction === Dir.Original ? ct.maxAck0 : ct.maxAck1;
  let peerEnd = direction === Dir.Original ? ct.end1 : ct.end0;
  const peerSeen = ((direction === Dir.Original ? ct.seen1 : ct.seen0) & SeenFlag.Seen) !== 0;
  if ((seen & SeenFlag.Seen) === 0) {
    seen |= SeenFlag.Seen;
    ownEnd = end;
    // The first segment of a side, picked up in the middle: likely the answer to a keepalive, one byte ahead.
    if (peerSeen && (packet.tcpFlags & TcpFlag.Syn) === 0 && ack === ((peerEnd + 1) | 0)) {
      peerEnd = ack;
      if (direction === Dir.Original) ct.end1 = ack;
      else ct.end0 = ack;
    }
  }
  // It acknowledges what was not sent yet (as far as seen), or what is long gone (MAXACKWINCONST): nothing of
  // it is learnt.
  if (
    hasAck &&
    !((packet.tcpFlags & TcpFlag.Rst) !== 0 && ack === 0) &&
    (!peerSeen || ((ack - peerEnd) | 0) > 0 || ((ack - peerEnd) | 0) < -66000)
  ) {
    if (direction === Dir.Original) {
      ct.seen0 = seen;
      ct.end0 = ownEnd;
    } else {
      ct.seen1 = seen;
      ct.end1 = ownEnd;
    }
    return;
  }
  if (((end - ownEnd) | 0) > 0) {
    ownEnd = end;
    seen |= SeenFlag.Unacknowledged;
  }
  if (hasAck && !((packet.tcpFlags & TcpFlag.Rst) !== 0 && ack === 0)) {
    if ((seen & SeenFlag.MaxAckSet) === 0 || ((ack - maxAck) | 0) > 0) maxAck = ack;
    seen |= SeenFlag.MaxAckSet;
    if (ack === peerEnd) {
      if (direction === Dir.Original) ct.seen1 &= ~SeenFlag.Unacknowledged;
      else ct.seen0 &= ~SeenFlag.Unacknowledged;
    }
  }
  if (direction === Dir.Original) {
    ct.seen0 = seen;
    ct.end0 = ownEnd;
    ct.maxAck0 = maxAck;
  } else {
    ct.seen1 = seen;
    ct.end1 = ownEnd;
    ct.maxAck1 = maxAck;
  }
  if (index !== Segment.Ack) return;
  if (
    ct.lastDir === direction &&
    ct.lastSeq === seq &&
    ct.lastAck === ack &&
    ct.lastEnd === end &&
    ct.lastWindow === window
  ) {
    ct.retrans++;
    return;
  }
  ct.lastSeq = seq;
  ct.lastAck = ack;
  ct.lastEnd = end;
  ct.lastWindow = window;
  ct.retrans = 0;
}

function lifetime(
  ct: Connection,
  packet: Packet,
  index: number,
  before: number,
  state: number,
  timeouts: Timeouts,
): number {
  let timeout = timeouts.tcp[state];
  // nf_conntrack_tcp_max_retrans is 3.
  if (ct.retrans >= 3) timeout = Math.min(timeout, timeouts.tcpRetrans);
  else if (index === Segment.Rst) timeout = timeouts.tcp[TcpState.Close];
  else if (((ct.seen0 | ct.seen1) & SeenFlag.Unacknowledged) !== 0)
    timeout = Math.min(timeout, timeouts.tcpUnacknowledged);
  else if (ct.lastWindow === 0) timeout = Math.min(timeout, timeouts.tcpRetrans);

  if ((ct.status & Status.SeenReply) === 0) {
    if ((packet.tcpFlags & TcpFlag.Rst) !== 0) return tcpKill;
    // A repeated SYN must not keep an entry alive for ever.
    if (index === Segment.Syn && before === TcpState.SynSent) return tcpKeep;
    // Picked up in the middle (tcp_loose) and no answer seen.
    if (state === TcpState.Established) timeout = Math.min(timeout, timeouts.tcpUnacknowledged);
  } else if (
    (ct.status & Status.Assured) === 0 &&
    state === TcpState.Established &&
    (before === TcpState.SynRecv || before === TcpState.Established)
  ) {
    ct.status |= Status.Assured;
  }
  return timeout;
}
