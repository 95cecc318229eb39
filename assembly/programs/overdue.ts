/**
 * Entries past their lifetime. Lookups match them until the agent's garbage collection removes them (pkg/maps/ctmap/gc),
 * every 10 s to 12 h as the table's churn has it, so for a time nobody can say whether they are there:
 *
 *     lifetime -> [ may be collected, and may match ] -> lifetime + ct_gc_seconds -> [ is collected ]
 *
 * Where a packet meets such an entry it is judged both ways: as the entry says, and as if there were none. What differs
 * is undecided. `doubtful` stays for the rest of the packet's way, because the entry it touched looks alive again; and
 * CtBit.DOUBTED stays on the entry for later packets, until one that would have made it anew got through (`confirm`).
 */
import { CtBit, CtEntry, CtTuple, TupleFlag, UndecidedReason } from "../abi.gen";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { Tuple } from "./tuple";
import { Verdict } from "./verdict";

const OUT: usize = memory.data(<i32>CtTuple.SIZE, 16);
const IN: usize = memory.data(<i32>CtTuple.SIZE, 16);

/** Bits of an entry that lead its replies another way than policy. */
const LEADING: u16 = <u16>CtBit.NODE_PORT | <u16>CtBit.PROXY_REDIRECT | <u16>CtBit.LB_LOOPBACK | <u16>CtBit.DSR_INTERNAL
  | <u16>CtBit.FROM_L7LB;

const CLOSING: u16 = <u16>CtBit.RX_CLOSING | <u16>CtBit.TX_CLOSING;

export class Overdue {
  /** The packet under way met an entry that may be gone. */
  static doubtful: bool = false;
  /** A source translation was undone on its way here. */
  static translatedBack: bool = false;

  static forget(): void {
    Overdue.doubtful = false;
    Overdue.translatedBack = false;
  }

  /** Whether the entry may be gone; with no garbage collection at all (ct_gc_seconds 0) none is. */
  @inline
  static is(entry: CtEntry): bool {
    return (entry.lifetime < Packet.now || (entry.bits & <u16>CtBit.DOUBTED) != 0) && Options.config.ct_gc_seconds != 0;
  }

  /** Whether it is gone for certain. */
  static isCollected(entry: CtEntry): bool {
    if (entry.lifetime >= Packet.now) return false;
    const longer = entry.bits & <u16>CtBit.TENTATIVE ? Options.config.ct_connection_timeout_tcp : 0;
    return Packet.now - entry.lifetime > Options.config.ct_gc_seconds + longer;
  }

  /** A packet matches the entry, which may be gone where `overdue` says so. */
  static meet(entry: CtEntry, overdue: bool): void {
    entry.bits &= ~<u16>CtBit.TENTATIVE;
    if (!overdue) return;
    entry.bits |= <u16>CtBit.DOUBTED;
    Overdue.doubtful = true;
  }

  /** A packet that would have made the entry got through by it: from now on it is there, whatever was before. */
  static confirm(entry: CtEntry, tcp: bool): void {
    if (!(entry.bits & <u16>CtBit.DOUBTED) || (entry.bits & CLOSING) != 0) return;
    entry.bits &= ~<u16>CtBit.DOUBTED;
    if (!tcp) return;
    entry.bits |= <u16>CtBit.TENTATIVE;
    entry.lifetime = Packet.now + Options.config.ct_syn_timeout;
  }

  /** The collection of one entry, and of the translation that goes with it (PurgeOrphanNATEntries). */
  static collect(tuple: CtTuple): void {
    if (tuple.flags == <u8>TupleFlag.OUT) {
      const out = changetype<CtTuple>(OUT);
      Tuple.copy(out, tuple);
      // Conntrack has the addresses of an egress entry the other way round, NAT as the packet has them.
      Tuple.swapAddresses(out);
      const mapping = Maps.nat(out);
      if (mapping !== null) {
        const twin = changetype<CtTuple>(IN);
        Tuple.copy(twin, out);
        Address.copy(Tuple.saddr(twin), Tuple.daddr(out));
        Address.copy(Tuple.daddr(twin), changetype<usize>(mapping));
        twin.sport = out.dport;
        twin.dport = mapping.port;
        twin.flags = <u8>TupleFlag.IN;
        Maps.deleteNat(out);
        Maps.deleteNat(twin);
      }
    }
    Maps.deleteConntrack(tuple);
  }

  /**
   * What a reply by such an entry comes to: GO_ON where it would get through as a new connection too, which `policy` says
   * (GO_ON, and no proxy), and is translated by nothing; else undecided.
   */
  static reply(revNat: u16, natPort: u16, bits: u16, policy: i32, proxyPort: u16): i32 {
    const led = revNat != 0 || natPort != 0 || (bits & LEADING) != 0 || Overdue.translatedBack;
    return led || policy != 0 || proxyPort != 0 ? Overdue.undecided() : 0;
  }

  static undecided(): i32 {
    return Verdict.undecided(UndecidedReason.CONNTRACK_GC);
  }
}
