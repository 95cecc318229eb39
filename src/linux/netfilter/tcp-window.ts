/**
 * The window check of TCP connection tracking (tcp_in_window, net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.x;
 * after Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"): whether a segment fits what both
 * sides said so far. Four bounds: a segment over an upper one is INVALID (a little over the first is let pass),
 * one under a lower one passes unbelieved.
 *
 *     I    seq        <=  sender.maxEnd                         more than the receiver offered room for
 *     II   seq + len  >=  sender.end - receiver.maxWindow       old data again
 *     III  (s)ack     <=  receiver.end                          acknowledges what was never sent
 *     IV   (s)ack     >=  receiver.end - max(sender.maxWindow, 66000)
 *
 * Sequence numbers are not adjusted for helpers that change payloads: there are none.
 */
import { Dir } from "./connection.js";
import { half, type Packet, TcpFlag as flags, word } from "./packet.js";
import { Segment as segments, TcpState as states } from "./tcp-state.js";
import { type TcpPeer, TcpSeen as seen, type TcpTrack } from "./tcp-track.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const TcpFlag = flags;
const TcpSeen = seen;
const TcpState = states;
const Segment = segments;
const { Original, Reply } = Dir;

/** enum nf_ct_tcp_action. `Ignore`: the segment passes and nothing is learnt from it. */
export const InWindow = { Ignore: 0, Invalid: 1, Accept: 2 } as const;
export type InWindow = (typeof InWindow)[keyof typeof InWindow];
const { Ignore, Invalid, Accept } = InWindow;

/** MAXACKWINCONST. */
const maxAckWindow = 66000;
/** TCP_MAX_WSCALE, RFC 7323. */
const maxScale = 14;
/** Option kinds: RFC 9293, RFC 7323, RFC 2018. */
const Option = { End: 0, Nop: 1, WindowScale: 3, SackPermitted: 4, Sack: 5 } as const;
/** NOP, NOP, timestamps of ten bytes: the options of nearly every segment. */
const alignedTimestamps = 0x0101080a;

/** Checks a segment and takes over what it says. `index`: a Segment. */
export function tcpInWindow(
  tcp: TcpTrack,
  direction: Dir,
  index: number,
  packet: Packet,
  bytes: Uint8Array,
  beLiberal: boolean,
): InWindow {
  const original = direction === Original;
  const sender = original ? tcp.original : tcp.reply;
  const receiver = original ? tcp.reply : tcp.original;
  const flags = packet.tcpFlags;
  const at = packet.l4;
  const rawWindow = half(bytes, at + 14);
  let seq = word(bytes, at + 4);
  let ack = word(bytes, at + 8);
  let end = tcpEnd(packet, bytes);
  let sack = ack;
  if ((receiver.flags & TcpSeen.SackPermitted) !== 0) sack = highestSack(packet, bytes, ack);

  const syn = (flags & TcpFlag.Syn) !== 0;
  if (sender.maxWindow === 0) {
    if (syn) {
      initSender(sender, receiver, packet, bytes, end, rawWindow, direction);
      // Simultaneous open.
      if ((flags & TcpFlag.Ack) === 0) return Accept;
    } else {
      pickUp(sender, receiver, end, sack, rawWindow);
    }
  } else if (
    syn &&
    after(end, sender.end) &&
    (tcp.state === TcpState.SynSent || tcp.state === TcpState.SynRecv)
  ) {
    // The handshake begins anew, with other numbers and perhaps other options (RFC 9293, 3.5).
    initSender(sender, receiver, packet, bytes, end, rawWindow, direction);
    if (!original && (flags & TcpFlag.Ack) === 0) return Accept;
  }

  const hasAck = (flags & TcpFlag.Ack) !== 0;
  // Some stacks set ACK in a RST and leave the number at zero.
  if (!hasAck || ((flags & TcpFlag.Rst) !== 0 && ack === 0)) ack = sack = receiver.end;
  // A RST that answers a SYN.
  if ((flags & TcpFlag.Rst) !== 0 && seq === 0 && tcp.state === TcpState.SynSent) seq = end = sender.end;

  const fits = check(sender, receiver, seq, end, sack);
  if (fits !== Accept) {
    // It passes as if it fitted, but nothing is learnt from it.
    return beLiberal || (sender.flags & TcpSeen.BeLiberal) !== 0 ? Accept : fits;
  }
  learn(sender, receiver, end, ack, sack, syn ? rawWindow : (rawWindow << sender.scale) >>> 0, hasAck);
  if (index === Segment.Ack) countRetransmission(tcp, direction, seq, ack, end, rawWindow);
  return Accept;
}

/** Sequence number after the segment: payload, SYN and FIN count (segment_seq_plus_len). */
export function tcpEnd(packet: Packet, bytes: Uint8Array): number {
  const payload = packet.l4Length - (bytes[packet.l4 + 12] >> 4) * 4;
  const flags = packet.tcpFlags;
  return (word(bytes, packet.l4 + 4) + payload + ((flags & TcpFlag.Syn) >> 1) + (flags & TcpFlag.Fin)) | 0;
}

/** What an opening side says: window scale, SACK (tcp_options). A header without options says nothing. */
export function readTcpOptions(peer: TcpPeer, packet: Packet, bytes: Uint8Array): void {
  const at = packet.l4;
  const end = at + (bytes[at + 12] >> 4) * 4;
  let option = at + 20;
  if (option === end) return;
  peer.scale = 0;
  peer.flags &= TcpSeen.BeLiberal;
  while (option < end) {
    const kind = bytes[option];
    if (kind === Option.End) return;
    if (kind === Option.Nop) {
      option++;
      continue;
    }
    const size = option + 1 < end ? bytes[option + 1] : 0;
    if (size < 2 || option + size > end) return;
    if (kind === Option.SackPermitted && size === 2) {
      peer.flags |= TcpSeen.SackPermitted;
    } else if (kind === Option.WindowScale && size === 3) {
      peer.scale = Math.min(bytes[option + 2], maxScale);
      peer.flags |= TcpSeen.WindowScale;
    }
    option += size;
  }
}

/** What a segment in the middle of a connection says of its sender (tcp_new and tcp_in_window). */
function pickUp(sender: TcpPeer, receiver: TcpPeer, end: number, sack: number, rawWindow: number): void {
  const window = (rawWindow << sender.scale) >>> 0;
  sender.end = end;
  sender.maxWindow = window === 0 ? 1 : window;
  sender.maxEnd = (end + sender.maxWindow) | 0;
  if (receiver.maxWindow === 0) receiver.end = receiver.maxEnd = sack;
  // Likely the answer to a keepalive, which is one byte behind.
  else if (sack === ((receiver.end + 1) | 0)) receiver.end = sack;
}

/** tcp_init_sender. */
function initSender(
  sender: TcpPeer,
  receiver: TcpPeer,
  packet: Packet,
  bytes: Uint8Array,
  end: number,
  rawWindow: number,
  direction: Dir,
): void {
  sender.end = sender.maxEnd = end;
  sender.maxWindow = rawWindow === 0 ? 1 : rawWindow;
  readTcpOptions(sender, packet, bytes);
  // Windows are scaled only if both sides offered it (RFC 7323, 2.2).
  if (direction === Reply && (sender.flags & receiver.flags & TcpSeen.WindowScale) === 0) {
    sender.scale = receiver.scale = 0;
  }
}

/** The four bounds. */
function check(sender: TcpPeer, receiver: TcpPeer, seq: number, end: number, sack: number): InWindow {
  const ackTooHigh = after(sack, receiver.end);
  const ackTooLow = !after(sack, (receiver.end - Math.max(sender.maxWindow, maxAckWindow) - 1) | 0);
  const seqInWindow = after(end, (sender.end - receiver.maxWindow - 1) | 0);
  if (after(seq, sender.maxEnd)) {
    const overshot = (end - sender.maxEnd + 1) >>> 0;
    const unknown = receiver.maxWindow === 0;
    const acksFit = !ackTooLow && !ackTooHigh;
    if (unknown || !seqInWindow || !acksFit || overshot > receiver.maxWindow) return Invalid;
    // Senders that overdo it a little: should the receiver take the data, its acknowledgement must be known.
    sender.end = end;
    sender.flags |= TcpSeen.DataUnacknowledged;
    return Ignore;
  }
  if (ackTooHigh) return Invalid;
  if (receiver.maxWindow !== 0 && !seqInWindow) return Ignore;
  return ackTooLow ? Ignore : Accept;
}

function learn(
  sender: TcpPeer,
  receiver: TcpPeer,
  end: number,
  ack: number,
  sack: number,
  window: number,
  hasAck: boolean,
): void {
  const offered = (window + (sack - ack)) >>> 0;
  if (sender.maxWindow < offered) sender.maxWindow = offered;
  if (after(end, sender.end)) {
    sender.end = end;
    sender.flags |= TcpSeen.DataUnacknowledged;
  }
  if (hasAck) {
    if ((sender.flags & TcpSeen.MaxAckSet) === 0 || after(ack, sender.maxAck)) sender.maxAck = ack;
    sender.flags |= TcpSeen.MaxAckSet;
  }
  if (receiver.maxWindow !== 0 && after(end, sender.maxEnd)) {
    receiver.maxWindow = (receiver.maxWindow + (end - sender.maxEnd)) >>> 0;
  }
  const room = (sack + window) | 0;
  if (after(room, (receiver.maxEnd - 1) | 0)) receiver.maxEnd = window === 0 ? (room + 1) | 0 : room;
  if (ack === receiver.end) receiver.flags &= ~TcpSeen.DataUnacknowledged;
}

function countRetransmission(
  tcp: TcpTrack,
  direction: Dir,
  seq: number,
  ack: number,
  end: number,
  rawWindow: number,
): void {
  if (
    tcp.lastDir === direction &&
    tcp.lastSeq === seq &&
    tcp.lastAck === ack &&
    tcp.lastEnd === end &&
    tcp.lastWindow === rawWindow
  ) {
    tcp.retransmissions = (tcp.retransmissions + 1) & 0xff;
    return;
  }
  tcp.lastDir = direction;
  tcp.lastSeq = seq;
  tcp.lastAck = ack;
  tcp.lastEnd = end;
  tcp.lastWindow = rawWindow;
  tcp.retransmissions = 0;
}

/** The highest right edge of the SACK blocks, at least `ack` (tcp_sack). */
function highestSack(packet: Packet, bytes: Uint8Array, ack: number): number {
  const at = packet.l4;
  const end = at + (bytes[at + 12] >> 4) * 4;
  let option = at + 20;
  if (option === end || (end - option === 12 && word(bytes, option) === alignedTimestamps)) return ack;
  while (option < end) {
    const kind = bytes[option];
    if (kind === Option.End) return ack;
    if (kind === Option.Nop) {
      option++;
      continue;
    }
    const size = option + 1 < end ? bytes[option + 1] : 0;
    if (size < 2 || option + size > end) return ack;
    if (kind === Option.Sack && size >= 10 && (size - 2) % 8 === 0) {
      let highest = ack;
      for (let block = option + 2; block < option + size; block += 8) {
        const right = word(bytes, block + 4);
        if (after(right, highest)) highest = right;
      }
      return highest;
    }
    option += size;
  }
  return ack;
}

/** `a` comes after `b` (include/net/tcp.h). */
export function after(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}
