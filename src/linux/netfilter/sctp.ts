/**
 * SCTP in connection tracking (net/netfilter/nf_conntrack_proto_sctp.c): states, transitions, verification
 * tags. `sctpPacket` returns the entry's new lifetime in ns, or a SctpVerdict.
 */
import { type Connection, Dir, Status } from "./connection.js";
import { half, type Packet, word } from "./packet.js";
import type { Timeouts } from "./timeouts.js";

/** enum sctp_conntrack; `Invalid` stands in the table only. */
export const SctpState = {
  None: 0,
  Closed: 1,
  CookieWait: 2,
  CookieEchoed: 3,
  Established: 4,
  ShutdownSent: 5,
  ShutdownRecd: 6,
  ShutdownAckSent: 7,
  HeartbeatSent: 8,
  Invalid: 9,
} as const;

export const sctpStateNames = [
  "NONE",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
] as const;

export const sctpInvalid = -1;
/** The packet is fine, the lifetime stays. */
export const sctpKeep = -2;

/** RFC 4960 chunk types. */
const Chunk = {
  Data: 0,
  Init: 1,
  InitAck: 2,
  Heartbeat: 4,
  HeartbeatAck: 5,
  Abort: 6,
  Shutdown: 7,
  ShutdownAck: 8,
  Error: 9,
  CookieEcho: 10,
  CookieAck: 11,
  ShutdownComplete: 14,
} as const;

/** Row of a chunk type in the table, 255: no change of state. */
const rowOfChunk = new Uint8Array(256).fill(255);
[
  Chunk.Init,
  Chunk.InitAck,
  Chunk.Abort,
  Chunk.Shutdown,
  Chunk.ShutdownAck,
  Chunk.Error,
  Chunk.CookieEcho,
  Chunk.CookieAck,
  Chunk.ShutdownComplete,
  Chunk.Heartbeat,
  Chunk.HeartbeatAck,
].forEach((chunk, row) => {
  rowOfChunk[chunk] = row;
});

/**
 * [direction][chunk][state]; columns NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT _RECD
 * _ACK HB.
 */
const transitions = Uint8Array.from([
  ...[1, 1, 2, 3, 4, 1, 1, 7, 2], // INIT
  ...[1, 1, 2, 3, 4, 5, 6, 7, 1], // INIT ACK
  ...[1, 1, 1, 1, 1, 1, 1, 1, 1], // ABORT
  ...[1, 1, 2, 3, 5, 5, 6, 7, 1], // SHUTDOWN
  ...[7, 1, 2, 3, 4, 7, 7, 7, 7], // SHUTDOWN ACK
  ...[1, 1, 2, 3, 4, 5, 6, 7, 1], // ERROR
  ...[1, 1, 3, 3, 4, 5, 6, 7, 1], // COOKIE ECHO
  ...[1, 1, 2, 4, 4, 5, 6, 7, 1], // COOKIE ACK
  ...[1, 1, 2, 3, 4, 5, 6, 1, 1], // SHUTDOWN COMPLETE
  ...[8, 1, 2, 3, 4, 5, 6, 7, 8], // HEARTBEAT
  ...[1, 1, 2, 3, 4, 5, 6, 7, 8], // HEARTBEAT ACK
  ...[9, 1, 2, 3, 4, 5, 6, 7, 9],
  ...[9, 2, 2, 3, 4, 5, 6, 7, 9],
  ...[9, 1, 1, 1, 1, 1, 1, 1, 9],
  ...[9, 1, 2, 3, 6, 5, 6, 7, 9],
  ...[9, 1, 2, 3, 4, 7, 7, 7, 9],
  ...[9, 1, 2, 1, 4, 5, 6, 7, 9],
  ...[9, 1, 3, 3, 4, 5, 6, 7, 9],
  ...[9, 1, 2, 4, 4, 5, 6, 7, 9],
  ...[9, 1, 2, 3, 4, 5, 6, 1, 9],
  ...[9, 1, 2, 3, 4, 5, 6, 7, 8],
  ...[9, 1, 2, 3, 4, 5, 6, 7, 4],
]);

/** Chunk types seen in the packet under way. */
const present = new Uint8Array(256);

export function sctpPacket(
  ct: Connection,
  packet: Packet,
  bytes: Uint8Array,
  direction: Dir,
  timeouts: Timeouts,
): number {
  const end = packet.l4 + packet.l4Length;
  const first = packet.l4 + 12;
  if (packet.l4Short || !basicChecks(bytes, first, end)) return sctpInvalid;
  const vtag = word(bytes, packet.l4 + 4);
  if ((ct.status & Status.Confirmed) === 0) {
    // An out-of-the-blue packet with one of these is discarded (RFC 4960 section 8.4).
    if (present[Chunk.Abort] | present[Chunk.ShutdownComplete] | present[Chunk.CookieAck]) return sctpInvalid;
    if (!newAssociation(ct, bytes, first, end, vtag)) return sctpInvalid;
  }
  const ownTag = direction === Dir.Original ? ct.vtag0 : ct.vtag1;
  if (
    !(
      present[Chunk.Init] |
      present[Chunk.ShutdownComplete] |
      present[Chunk.CookieEcho] |
      present[Chunk.Abort] |
      present[Chunk.ShutdownAck] |
      present[Chunk.Heartbeat] |
      present[Chunk.HeartbeatAck]
    ) &&
    vtag !== ownTag
  ) {
    return sctpInvalid;
  }
  let ignore = false;
  let state: number = SctpState.None;
  for (let at = first; at + 4 <= end; at += (half(bytes, at + 2) + 3) & ~3) {
    const type = bytes[at];
    const mine = direction === Dir.Original ? ct.vtag0 : ct.vtag1;
    const theirs = direction === Dir.Original ? ct.vtag1 : ct.vtag0;
    if (type === Chunk.Init) {
      if (vtag !== 0) return sctpInvalid;
    } else if (type === Chunk.Abort || type === Chunk.ShutdownComplete) {
      // T flag: the sender had no tag of its own and reflects the peer's.
      if (vtag !== ((bytes[at + 1] & 1) === 0 ? mine : theirs)) return sctpInvalid;
    } else if (type === Chunk.CookieEcho) {
      if (vtag !== mine) return sctpInvalid;
    } else if (type === Chunk.CookieAck) {
      ct.init0 = ct.init1 = false;
    } else if (type === Chunk.Heartbeat || type === Chunk.HeartbeatAck) {
      if (mine === 0) {
        setTag(ct, direction, vtag);
      } else if (vtag !== mine) {
        if (present[Chunk.Data] !== 0 || ignore) return sctpInvalid;
        if (type === Chunk.Heartbeat) {
          ct.heartbeatFailed = true;
          ct.sctpLastDir = direction;
          ignore = true;
          continue;
        }
        if (!ct.heartbeatFailed || ct.sctpLastDir === direction) return sctpInvalid;
        ct.heartbeatFailed = false;
        setTag(ct, direction, vtag);
        setTag(ct, 1 - direction, 0);
      } else {
        ct.heartbeatFailed = false;
      }
    }
    const before = ct.sctpState;
    const row = rowOfChunk[type];
    state = row === 255 ? before : transitions[(direction * 11 + row) * 9 + before];
    if (state === SctpState.Invalid) return sctpInvalid;
    if (type === Chunk.Init) {
      if (at + 20 > end) return sctpInvalid;
      if (ct.init0 && ct.init1) setInit(ct, 1 - direction, false);
      setInit(ct, direction, true);
      setTag(ct, 1 - direction, word(bytes, at + 4));
      // A repeated INIT must not keep an entry alive for ever.
      if (state === SctpState.Closed && before === SctpState.Closed && (ct.status & Status.Confirmed) !== 0)
        ignore = true;
    } else if (type === Chunk.InitAck) {
      if (at + 20 > end) return sctpInvalid;
      const tag = word(bytes, at + 4);
      const known = direction === Dir.Original ? ct.vtag1 : ct.vtag0;
      const theirInit = direction === Dir.Original ? ct.init1 : ct.init0;
      if (!theirInit && known !== 0 && known !== tag) return sctpInvalid;
      if (ct.init0 && ct.init1 && known !== tag) return sctpInvalid;
      setTag(ct, 1 - direction, tag);
    }
    ct.sctpState = state;
    if (state === SctpState.Established && before !== state) ct.status |= Status.Assured;
  }
  return ignore ? sctpKeep : timeouts.sctp[state === SctpState.None ? SctpState.Closed : state];
}

/**
 * do_basic_checks: INIT, INIT ACK and SHUTDOWN COMPLETE alone, COOKIE chunks first, no zero length, not
 * empty.
 */
function basicChecks(bytes: Uint8Array, first: number, end: number): boolean {
  present.fill(0);
  let count = 0;
  let alone = false;
  for (let at = first; at + 4 <= end; count++) {
    const type = bytes[at];
    const length = half(bytes, at + 2);
    if (type === Chunk.Init || type === Chunk.InitAck || type === Chunk.ShutdownComplete) alone = true;
    if (((type === Chunk.CookieAck || type === Chunk.CookieEcho || alone) && count !== 0) || length === 0)
      return false;
    present[type] = 1;
    at += (length + 3) & ~3;
  }
  return count !== 0;
}

/** sctp_new. */
function newAssociation(
  ct: Connection,
  bytes: Uint8Array,
  first: number,
  end: number,
  vtag: number,
): boolean {
  for (let at = first; at + 4 <= end; at += (half(bytes, at + 2) + 3) & ~3) {
    const type = bytes[at];
    const row = rowOfChunk[type];
    // A chunk that moves nothing leaves NONE: not how an association starts.
    if (row === 255) return false;
    if (type === Chunk.Init) {
      if (vtag !== 0 || at + 20 > end) return false;
      ct.vtag1 = word(bytes, at + 4);
    } else if (type === Chunk.Heartbeat) {
      ct.vtag0 = vtag;
    } else if (type === Chunk.ShutdownAck) {
      // RFC 4960 section 8.4 (5): what answers it carries the same tag. Linux 6.18 learns no tag from other chunks.
      ct.vtag1 = vtag;
    }
    ct.sctpState = SctpState.None;
  }
  return true;
}

function setTag(ct: Connection, direction: number, tag: number): void {
  if (direction === Dir.Original) ct.vtag0 = tag;
  else ct.vtag1 = tag;
}

function setInit(ct: Connection, direction: number, value: boolean): void {
  if (direction === Dir.Original) ct.init0 = value;
  else ct.init1 = value;
}
