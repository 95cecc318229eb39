/**
 * One conntrack entry (struct nf_conn) and its two tuples. Data only; who changes what is said at the fields.
 */
import type { ConntrackRef } from "../skb.js";
import type { TcpTrack } from "./tcp-track.js";
import { Tuple } from "./tuple.js";

/** enum ip_conntrack_status, the bits that matter here, with the kernel's values. */
export const Status = {
  SeenReply: 1 << 1,
  Assured: 1 << 2,
  Confirmed: 1 << 3,
  SourceNat: 1 << 4,
  DestinationNat: 1 << 5,
  SourceNatDone: 1 << 7,
  DestinationNatDone: 1 << 8,
  Dying: 1 << 9,
  NatClash: 1 << 15,
} as const;

export const Dir = { Original: 0, Reply: 1 } as const;
export type Dir = (typeof Dir)[keyof typeof Dir];

/** A tuple in the hash table. */
export class TupleNode extends Tuple {
  readonly connection: Connection;
  readonly direction: Dir;
  hash = 0;
  next: TupleNode | null = null;

  constructor(connection: Connection, direction: Dir) {
    super();
    this.connection = connection;
    this.direction = direction;
  }
}

export class Connection implements ConntrackRef {
  readonly id: number;
  /** Status bits. */
  status = 0;
  readonly original: TupleNode;
  /** What answers look like; NAT changes it before the entry is confirmed. */
  readonly reply: TupleNode;
  /** Virtual time when it ends; while unconfirmed, the lifetime it will get. */
  expiresNs = 0;
  mark = 0;
  /** ifindex a masqueraded connection must leave by; 0: not masqueraded. */
  masqueradeDevice = 0;
  /** Hash of the original tuple and of how often it was used before: the connection's chance. */
  flow = 0;
  /** Random decisions taken so far. */
  draws = 0;
  /** How many entries of the same original tuple came before, as far as known. */
  generation = 0;
  /** Chain of entries with one original source (nat_bysource). */
  sourceHash = 0;
  nextOfSource: Connection | null = null;

  /** TCP only. */
  tcp: TcpTrack | null = null;

  // SCTP
  sctpState = 0;
  vtag0 = 0;
  vtag1 = 0;
  init0 = false;
  init1 = false;
  heartbeatFailed = false;
  sctpLastDir = 0;

  /** UDP and GRE: from this time on traffic both ways makes it a stream. */
  streamNs = 0;

  constructor(id: number) {
    this.id = id;
    this.original = new TupleNode(this, Dir.Original);
    this.reply = new TupleNode(this, Dir.Reply);
  }
}
