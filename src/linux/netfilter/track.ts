/**
 * nf_conntrack_in and nf_conntrack_confirm (net/netfilter/nf_conntrack_core.c): gives a packet its connection
 * and state at PREROUTING and OUTPUT, and enters new connections into the table when the packet leaves the
 * hooks.
 *
 * Not modelled: helpers and expectations (FTP, SIP …), zones, event delivery, accounting; and which connection
 * has to go where the table is full: the packet is undecided then.
 */
import { type ConntrackRef, Csum, CtInfo, Hook, type Skb, Verdict } from "../skb.js";
import { verifyChecksum } from "./checksum.js";
import { type Connection, Dir, Status as statuses } from "./connection.js";
import { ConntrackTable } from "./conntrack-table.js";
import { half, type Packet, Proto as protocols } from "./packet.js";
import { sctpInvalid, sctpKeep, sctpPacket } from "./sctp.js";
import {
  tcpInvalid,
  tcpKeep,
  tcpKill,
  tcpMalformed,
  tcpNew,
  tcpPacket,
  tcpRepeat,
  TcpSettings,
} from "./tcp.js";
import { Timeouts } from "./timeouts.js";
import { hashTuple, invertTuple, Tuple, tupleOfPacket, tupleOfQuoted } from "./tuple.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Status = statuses;
const Proto = protocols;
const { Original, Reply } = Dir;
const { Established, EstablishedReply, Related, RelatedReply, New, Untracked, Invalid: NoConnection } = CtInfo;
const { Accept, Drop } = Verdict;
const { Wrong } = Csum;
const { Prerouting } = Hook;

/** Results of a protocol's tracker beside a lifetime: the same numbers in every tracker. */
const Invalid = -1;
const Keep = -2;
const Repeat = -3;
const Kill = -4;
if (
  Invalid !== tcpInvalid ||
  Invalid !== sctpInvalid ||
  Keep !== tcpKeep ||
  Keep !== sctpKeep ||
  Repeat !== tcpRepeat ||
  Kill !== tcpKill
)
  throw new Error("protocol trackers disagree about their results");

/** The entry of a packet, for code that knows it is one of ours. */
export function connectionOf(ref: ConntrackRef | null): Connection | null {
  return ref as Connection | null;
}

/** CTINFO2DIR. */
export function directionOf(ctinfo: CtInfo): Dir {
  return ctinfo === EstablishedReply || ctinfo === RelatedReply ? Reply : Original;
}

export class Tracker {
  readonly table = new ConntrackTable();
  /** nf_conntrack_max of the node; infinite where it is not known or 0, which means no limit. */
  readonly limit: number;
  /** The last packet would have been one connection more than the limit. */
  full = false;
  private readonly timeouts: Timeouts;
  private readonly checkChecksums: boolean;
  private readonly tcp: TcpSettings;
  private readonly tuple = new Tuple();
  private readonly inverse = new Tuple();

  constructor(sysctls: Readonly<Record<string, string>>) {
    this.timeouts = new Timeouts(sysctls);
    this.checkChecksums = sysctls["net.netfilter.nf_conntrack_checksum"] !== "0";
    this.tcp = new TcpSettings(sysctls, this.timeouts);
    this.limit = Number(sysctls["net.netfilter.nf_conntrack_max"] ?? 0) || Number.POSITIVE_INFINITY;
  }

  /** Sets ct and ctinfo of a packet. Without a connection it is CtInfo.Invalid, and goes on. */
  enter(hook: Hook, skb: Skb, packet: Packet): void {
    this.full = false;
    if (skb.timeNs > this.table.nowNs) this.table.nowNs = skb.timeNs;
    // Seen before (loopback, an error we made ourselves), or not to be tracked.
    if (skb.ct !== null || skb.ctinfo === Untracked) return;
    skb.ctinfo = NoConnection;
    if (hook === Prerouting && this.checkChecksums) verifyChecksum(skb, packet);
    const wrong = hook === Prerouting && this.checkChecksums && skb.csum === Wrong;
    if (packet.protocol === Proto.Icmp || packet.protocol === Proto.Icmp6) {
      if (!this.icmp(skb, packet, wrong)) return;
    } else if (wrong) {
      return;
    }
    while (this.resolve(skb, packet) === Repeat);
  }

  /** nf_conntrack_confirm at the end of INPUT and POSTROUTING. A clash drops the packet. */
  leave(skb: Skb): Verdict {
    const ct = connectionOf(skb.ct);
    if (ct === null || (ct.status & Status.Confirmed) !== 0 || directionOf(skb.ctinfo) !== Original)
      return Accept;
    if ((ct.status & Status.Dying) !== 0) return Drop;
    return this.table.confirm(ct) ? Accept : this.resolveClash(skb, ct);
  }

  /**
   * nf_ct_resolve_clash, the simple case: a packet whose original tuple was entered meanwhile, with the same
   * answer tuple, joins that entry. Everything else is dropped.
   */
  private resolveClash(skb: Skb, ct: Connection): Verdict {
    const known = this.table.find(ct.original);
    if (known === null || known.direction !== Original || ct.original.protocol !== Proto.Udp)
      return Drop;
    const other = this.table.find(ct.reply);
    if (other === null || other.connection !== known.connection) return Drop;
    this.table.remove(ct);
    skb.ct = known.connection;
    skb.ctinfo = (known.connection.status & Status.SeenReply) !== 0 ? Established : New;
    return Accept;
  }

  /** resolve_normal_ct and the protocol's tracker. */
  private resolve(skb: Skb, packet: Packet): number {
    const { tuple, table } = this;
    if (!tupleOfPacket(tuple, packet, skb.bytes)) return Invalid;
    const node = table.find(tuple);
    const ct = node === null ? this.fresh(tuple) : node.connection;
    if (ct === null) return Invalid;
    if (node === null && this.table.isFull(this.limit)) this.full = true;
    const direction = node === null ? Original : node.direction;
    const seenReply = (ct.status & Status.SeenReply) !== 0;
    const ctinfo =
      direction === Reply ? EstablishedReply : seenReply ? Established : New;
    const lifetime = this.judge(ct, skb, packet, direction);
    if (lifetime === Invalid) return Invalid;
    if (lifetime === Repeat) {
      table.kill(ct);
      return Repeat;
    }
    skb.ct = ct;
    skb.ctinfo = ctinfo;
    if (lifetime === Kill) {
      table.kill(ct);
    } else if (lifetime !== Keep) {
      ct.expiresNs = (ct.status & Status.Confirmed) === 0 ? lifetime : table.nowNs + lifetime;
    }
    if (direction === Reply) ct.status |= Status.SeenReply;
    return 0;
  }

  /** init_conntrack; null where the tuple has no inverse. */
  private fresh(tuple: Tuple): Connection | null {
    if (!invertTuple(this.inverse, tuple)) return null;
    const ct = this.table.create();
    Tuple.copy(ct.original, tuple);
    Tuple.copy(ct.reply, this.inverse);
    ct.flow = (hashTuple(tuple) + Math.imul(ct.generation, 0x9e3779b1)) >>> 0;
    return ct;
  }

  /** nf_conntrack_handle_packet. */
  private judge(ct: Connection, skb: Skb, packet: Packet, direction: Dir): number {
    const { timeouts } = this;
    const unconfirmed = (ct.status & Status.Confirmed) === 0;
    switch (packet.protocol) {
      case Proto.Tcp:
        if (tcpMalformed(packet, skb.bytes)) return Invalid;
        if (unconfirmed && !tcpNew(ct, packet, skb.bytes, this.tcp.loose)) return Invalid;
        return tcpPacket(ct, packet, skb.bytes, direction, this.tcp, this.table.nowNs);
      case Proto.Udp:
      case Proto.UdpLite:
        if (packet.l4Short) return Invalid;
        if (packet.protocol === Proto.Udp) {
          const length = half(skb.bytes, packet.l4 + 4);
          if (length < 8 || length > packet.l4Length) return Invalid;
        }
        return this.stream(
          ct,
          unconfirmed,
          timeouts.udp,
          timeouts.udpStream,
          packet.protocol === Proto.Udp ? 2e9 : 0,
        );
      case Proto.Icmp:
        // Only requests open an entry: echo, timestamp, information, address mask.
        if (
          unconfirmed &&
          packet.icmpType !== 8 &&
          packet.icmpType !== 13 &&
          packet.icmpType !== 15 &&
          packet.icmpType !== 17
        )
          return Invalid;
        return timeouts.icmp;
      case Proto.Icmp6:
        if (unconfirmed && packet.icmpType !== 128 && packet.icmpType !== 139) return Invalid;
        return timeouts.icmp6;
      case Proto.Sctp:
        return sctpPacket(ct, packet, skb.bytes, direction, timeouts);
      case Proto.Gre:
        return this.stream(ct, unconfirmed, timeouts.gre, timeouts.greStream, 0);
      default:
        return timeouts.generic;
    }
  }

  /**
   * UDP, UDP-Lite, GRE: a longer life once answers were seen and, for UDP, the flow is older than two
   * seconds.
   */
  private stream(ct: Connection, unconfirmed: boolean, short: number, long: number, delayNs: number): number {
    if (unconfirmed) ct.streamNs = this.table.nowNs + delayNs;
    if ((ct.status & Status.SeenReply) === 0) return short;
    if (delayNs > 0 && this.table.nowNs <= ct.streamNs) return short;
    ct.status |= Status.Assured;
    return long;
  }

  /**
   * nf_conntrack_icmpv4_error and _icmpv6_error: true where the message goes on to be tracked like a request
   * or an answer; false where its fate is settled (an error, related to a connection or not; neighbour
   * discovery; broken).
   */
  private icmp(skb: Skb, packet: Packet, wrong: boolean): boolean {
    if (packet.laterFragment || packet.l4Length < 8 || wrong) return false;
    const type = packet.icmpType;
    if (packet.protocol === Proto.Icmp) {
      if (type > 18) return false;
      // Destination unreachable, source quench, redirect, time exceeded, parameter problem.
      if (type !== 3 && type !== 4 && type !== 5 && type !== 11 && type !== 12) return true;
    } else {
      // MLD, router and neighbour solicitation and advertisement are never tracked (noct_valid_new).
      if ((type >= 130 && type <= 136) || type === 143) {
        skb.ctinfo = Untracked;
        return false;
      }
      if (type >= 128) return true;
    }
    this.related(skb, packet);
    return false;
  }

  /** nf_conntrack_inet_error: the connection of the packet quoted inside. */
  private related(skb: Skb, packet: Packet): void {
    const { tuple, inverse } = this;
    const end = packet.l4 + packet.l4Length;
    if (!tupleOfQuoted(tuple, skb.bytes, packet.l4 + 8, end, skb.family) || !invertTuple(inverse, tuple))
      return;
    const node = this.table.find(inverse);
    if (node === null) return;
    // The error must go to where the found direction goes: nobody else was part of the connection.
    if (node.d3 !== packet.d3 || node.d0 !== packet.d0 || node.d1 !== packet.d1 || node.d2 !== packet.d2)
      return;
    skb.ct = node.connection;
    skb.ctinfo = node.direction === Reply ? RelatedReply : Related;
  }
}
