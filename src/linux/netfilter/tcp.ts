/**
 * TCP in connection tracking (net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.x): flag checks, the state
 * machine, the lifetime of the entry. Whether a segment is in the window is tcp-window.ts's business.
 *
 * `tcpPacket` returns the new lifetime in ns, or one of the negative verdicts below.
 */
import { type Connection, Dir, Status as statuses } from "./connection.js";
import { half, type Packet, TcpFlag as flags, word } from "./packet.js";
import { Segment as segments, TcpState as states, tcpTransitions as transitions } from "./tcp-state.js";
import { TcpPeer, TcpSeen as seen, TcpTrack } from "./tcp-track.js";
import { after, InWindow, readTcpOptions, tcpEnd, tcpInWindow } from "./tcp-window.js";
import type { Timeouts } from "./timeouts.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const TcpFlag = flags;
const TcpSeen = seen;
const TcpState = states;
const Segment = segments;
const Status = statuses;
const tcpTransitions = transitions;
const { Original, Reply } = Dir;

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

/** The sysctls net.netfilter.nf_conntrack_tcp_*, with the kernel's defaults. */
export class TcpSettings {
  readonly timeouts: Timeouts;
  /** Connections may be picked up in the middle. */
  readonly loose: boolean;
  /** Segments outside the window pass. */
  readonly beLiberal: boolean;
  readonly ignoreInvalidRst: boolean;
  readonly maxRetransmissions: number;

  constructor(sysctls: Readonly<Record<string, string>>, timeouts: Timeouts) {
    const number = (name: string, standard: number): number => {
      const value = Number(sysctls[`net.netfilter.nf_conntrack_tcp_${name}`] ?? standard);
      return Number.isFinite(value) ? value : standard;
    };
    this.timeouts = timeouts;
    this.loose = number("loose", 1) !== 0;
    this.beLiberal = number("be_liberal", 0) !== 0;
    this.ignoreInvalidRst = number("ignore_invalid_rst", 0) !== 0;
    this.maxRetransmissions = number("max_retrans", 3);
  }
}

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
  const tcp = new TcpTrack();
  ct.tcp = tcp;
  const { original } = tcp;
  original.end = original.maxEnd = tcpEnd(packet, bytes);
  original.maxWindow = Math.max(1, half(bytes, packet.l4 + 14));
  if (state === TcpState.SynSent) {
    readTcpOptions(original, packet, bytes);
  } else {
    // In the middle: how windows are scaled was said before, so neither side's is checked.
    original.maxEnd = (original.end + original.maxWindow) | 0;
    original.flags = tcp.reply.flags = TcpSeen.SackPermitted | TcpSeen.BeLiberal;
  }
  return true;
}

/** nf_conntrack_tcp_packet, after tcpMalformed and, for an unconfirmed entry, tcpNew. */
export function tcpPacket(
  ct: Connection,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  settings: TcpSettings,
  nowNs: number,
): number {
  const { tcp } = ct;
  if (tcp === null) throw new Error("a TCP connection without its state");
  const index = segmentOf(packet.tcpFlags);
  let before = tcp.state;
  let state: number = tcpTransitions[(direction * 6 + index) * 10 + before];

  switch (state) {
    case TcpState.SynSent:
      if (before < TcpState.TimeWait) break;
      // RFC 1122: a SYN may reopen a connection in TIME-WAIT; also one that was reset from this side.
      if (
        ((tcp.original.flags | tcp.reply.flags) & TcpSeen.CloseInit) !== 0 ||
        (tcp.lastDir === direction && tcp.lastIndex === Segment.Rst)
      )
        return tcpRepeat;
      return ignore(tcp, packet, bytes, direction, index, before);
    case TcpState.Ignore:
      if (
        index === Segment.SynAck &&
        tcp.lastIndex === Segment.Syn &&
        tcp.lastDir !== direction &&
        word(bytes, packet.l4 + 8) === tcp.lastEnd
      ) {
        // This SYN/ACK answers a SYN that was let through before: the ends agree, we were out of step.
        before = TcpState.SynSent;
        state = TcpState.SynRecv;
        resync(tcp, direction);
        break;
      }
      return ignore(tcp, packet, bytes, direction, index, before);
    case TcpState.Invalid:
      return tcpInvalid;
    case TcpState.TimeWait:
      // RFC 5961: an ACK that challenges a stray SYN is not the last ACK.
      if (
        before === TcpState.LastAck &&
        index === Segment.Ack &&
        tcp.lastDir !== direction &&
        tcp.lastIndex === Segment.Syn &&
        (tcp.lastFlags & TcpSeen.ChallengeAck) !== 0
      ) {
        tcp.lastFlags &= ~TcpSeen.ChallengeAck;
        return tcpKeep;
      }
      break;
    case TcpState.SynSent2:
      tcp.lastFlags |= TcpSeen.SimultaneousOpen;
      break;
    case TcpState.SynRecv:
      if (
        direction === Reply &&
        index === Segment.Ack &&
        (tcp.lastFlags & TcpSeen.SimultaneousOpen) !== 0
      )
        state = TcpState.Established;
      break;
    default:
      break;
  }

  let windowed = true;
  if (state === TcpState.Close && index === Segment.Rst) {
    const peer = direction === Original ? tcp.reply : tcp.original;
    if (closing(before)) {
      // The ports may be in use again: what is known of the old connection is no measure.
      windowed = false;
    } else if ((peer.flags & TcpSeen.MaxAckSet) !== 0 && tcp.lastIndex !== Segment.Syn) {
      state = stateAfterReset(ct, tcp, direction, peer.maxAck, word(bytes, packet.l4 + 4), settings);
      if (state === TcpState.Invalid) return tcpInvalid;
    } else {
      windowed = !answersIgnored(ct, tcp, direction, word(bytes, packet.l4 + 4), word(bytes, packet.l4 + 8));
    }
  }
  if (windowed) {
    const fits = tcpInWindow(tcp, direction, index, packet, bytes, settings.beLiberal);
    if (fits === InWindow.Ignore) return tcpKeep;
    if (fits === InWindow.Invalid) {
      shortenAfterInvalid(ct, tcp, direction, index, settings.timeouts, nowNs);
      return tcpInvalid;
    }
  }
  tcp.lastIndex = index;
  tcp.lastDir = direction;
  tcp.state = state;
  if (before !== state && state === TcpState.FinWait) {
    (direction === Original ? tcp.original : tcp.reply).flags |= TcpSeen.CloseInit;
  }
  return lifetime(ct, tcp, packet, index, before, settings);
}

function segmentOf(flags: number): number {
  if ((flags & TcpFlag.Rst) !== 0) return Segment.Rst;
  if ((flags & TcpFlag.Syn) !== 0) return (flags & TcpFlag.Ack) !== 0 ? Segment.SynAck : Segment.Syn;
  if ((flags & TcpFlag.Fin) !== 0) return Segment.Fin;
  return (flags & TcpFlag.Ack) !== 0 ? Segment.Ack : Segment.None;
}

/** A segment that is passed without being believed; only noted, for the answer it may draw. */
function ignore(
  tcp: TcpTrack,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  index: number,
  before: number,
): number {
  tcp.lastIndex = index;
  tcp.lastDir = direction;
  tcp.lastSeq = word(bytes, packet.l4 + 4);
  tcp.lastEnd = tcpEnd(packet, bytes);
  tcp.lastWindow = half(bytes, packet.l4 + 14);
  if (index === Segment.Syn && direction === Original) {
    said.clear();
    readTcpOptions(said, packet, bytes);
    tcp.lastFlags = said.flags;
    tcp.lastScale = said.scale;
    if (before === TcpState.LastAck) tcp.lastFlags |= TcpSeen.ChallengeAck;
  }
  if (before === TcpState.SynSent && index === Segment.Ack && direction === Reply) {
    tcp.lastAck = word(bytes, packet.l4 + 8);
  }
  return tcpKeep;
}

const said = new TcpPeer();

/** Takes the SYN that was let through for the one the connection began with. */
function resync(tcp: TcpTrack, direction: Dir): void {
  const opener = direction === Reply ? tcp.original : tcp.reply;
  opener.end = opener.maxEnd = tcp.lastEnd;
  opener.maxWindow = Math.max(1, tcp.lastWindow);
  opener.scale = tcp.lastScale;
  tcp.lastFlags &= ~TcpSeen.ChallengeAck;
  opener.flags = tcp.lastFlags;
  (direction === Reply ? tcp.reply : tcp.original).clear();
}

/** tcp_can_early_drop: the connection is ending. */
function closing(state: number): boolean {
  return (
    state === TcpState.FinWait ||
    state === TcpState.CloseWait ||
    state === TcpState.LastAck ||
    state === TcpState.TimeWait ||
    state === TcpState.Close
  );
}

/**
 * What a RST does: CLOSE where it is believed, the old state where its number is not exactly the one expected
 * (the receiver will challenge it, RFC 5961), Invalid where it lies before what was acknowledged.
 */
function stateAfterReset(
  ct: Connection,
  tcp: TcpTrack,
  direction: Dir,
  maxAck: number,
  seq: number,
  settings: TcpSettings,
): number {
  const established = tcp.state === TcpState.Established && (ct.status & Status.Assured) !== 0;
  if (seq === 0 && !established) return TcpState.Close;
  if (after(maxAck, seq) && !settings.ignoreInvalidRst) return TcpState.Invalid;
  if (!established || seq === maxAck) return TcpState.Close;
  // The RST follows data of its own sender, not acknowledged yet.
  const train = tcp.lastIndex === Segment.Ack && tcp.lastDir === direction && seq === tcp.lastEnd;
  return train ? TcpState.Close : tcp.state;
}

/**
 * A RST that answers a SYN of the other side in a known connection, or an ACK in a half-open one, that was let
 * through; or one that answers the challenge of a server that knows another connection (RFC 5961). Its numbers
 * are not those tracked. That the SYN must be the other side's is as Linux 6.18 does it.
 */
function answersIgnored(ct: Connection, tcp: TcpTrack, direction: Dir, seq: number, ack: number): boolean {
  const syn =
    (ct.status & Status.SeenReply) !== 0 && tcp.lastIndex === Segment.Syn && tcp.lastDir !== direction;
  const halfOpen = (ct.status & Status.Assured) === 0 && tcp.lastIndex === Segment.Ack;
  if ((syn || halfOpen) && ack === tcp.lastEnd) return true;
  const challenged =
    tcp.state === TcpState.SynSent && tcp.lastIndex === Segment.Ack && tcp.lastDir === Reply;
  return challenged && seq === tcp.lastAck;
}

/** nf_tcp_handle_invalid: an end that is not believed from both sides still brings the end nearer. */
function shortenAfterInvalid(
  ct: Connection,
  tcp: TcpTrack,
  direction: Dir,
  index: number,
  timeouts: Timeouts,
  nowNs: number,
): void {
  if ((ct.status & Status.Assured) === 0 || (index !== Segment.Rst && index !== Segment.Fin)) return;
  const answersEnd = tcp.lastIndex === Segment.Fin || tcp.lastIndex === Segment.Rst;
  if (tcp.lastDir === direction || !answersEnd) {
    tcp.lastIndex = index;
    tcp.lastDir = direction;
    return;
  }
  const left = ct.expiresNs - nowNs;
  if (left >= 120e9 && left > timeouts.tcpUnacknowledged) ct.expiresNs = nowNs + timeouts.tcpUnacknowledged;
}

function lifetime(
  ct: Connection,
  tcp: TcpTrack,
  packet: Packet,
  index: number,
  before: number,
  settings: TcpSettings,
): number {
  const { timeouts } = settings;
  const { state } = tcp;
  let timeout = timeouts.tcp[state];
  const unacknowledged = ((tcp.original.flags | tcp.reply.flags) & TcpSeen.DataUnacknowledged) !== 0;
  if (tcp.retransmissions >= settings.maxRetransmissions && timeout > timeouts.tcpRetrans)
    timeout = timeouts.tcpRetrans;
  else if (index === Segment.Rst) timeout = timeouts.tcp[TcpState.Close];
  else if (unacknowledged && timeout > timeouts.tcpUnacknowledged) timeout = timeouts.tcpUnacknowledged;
  else if (tcp.lastWindow === 0 && timeout > timeouts.tcpRetrans) timeout = timeouts.tcpRetrans;

  if ((ct.status & Status.SeenReply) === 0) {
    if ((packet.tcpFlags & TcpFlag.Rst) !== 0) return tcpKill;
    // A repeated SYN must not keep an entry alive for ever.
    if (index === Segment.Syn && before === TcpState.SynSent) return tcpKeep;
    // Picked up in the middle (tcp_loose) and no answer seen.
    if (state === TcpState.Established && timeout > timeouts.tcpUnacknowledged)
      timeout = timeouts.tcpUnacknowledged;
  } else if (
    (ct.status & Status.Assured) === 0 &&
    state === TcpState.Established &&
    (before === TcpState.SynRecv || before === TcpState.Established)
  ) {
    ct.status |= Status.Assured;
  }
  return timeout;
}
