/**
 * Operations on CtTuple. Conntrack keeps the ports of a tuple the other way round than the packet has them,
 * NAT keeps them as they are (bpf/lib/conntrack.h): `swapPorts` changes between the two.
 */
import { CtTuple, TupleFlag } from "../abi.gen";
import { Address } from "./address";
import { Packet } from "./packet";

export class Tuple {
  @inline
  static daddr(tuple: CtTuple): usize {
    return changetype<usize>(tuple) + CtTuple.DADDR;
  }

  @inline
  static saddr(tuple: CtTuple): usize {
    return changetype<usize>(tuple) + CtTuple.SADDR;
  }

  @inline
  static copy(to: CtTuple, from: CtTuple): void {
    memory.copy(changetype<usize>(to), changetype<usize>(from), CtTuple.SIZE);
  }

  /** Addresses, protocol and node from the packet under way; ports and flags zero. */
  static fromPacket(tuple: CtTuple): void {
    Address.read(Tuple.saddr(tuple), Packet.source, Packet.family);
    Address.read(Tuple.daddr(tuple), Packet.destination, Packet.family);
    tuple.dport = 0;
    tuple.sport = 0;
    tuple.nexthdr = Packet.protocol;
    tuple.flags = 0;
    tuple.node = <u16>Packet.node;
  }

  @inline
  static swapPorts(tuple: CtTuple): void {
    const port = tuple.dport;
    tuple.dport = tuple.sport;
    tuple.sport = port;
  }

  @inline
  static swapAddresses(tuple: CtTuple): void {
    Address.swap(Tuple.daddr(tuple), Tuple.saddr(tuple));
  }

  /** Addresses and ports; the flags stay. */
  @inline
  static reverse(tuple: CtTuple): void {
    Tuple.swapAddresses(tuple);
    Tuple.swapPorts(tuple);
  }

  /** OUT to IN and back (ct_flip_tuple_dir). */
  @inline
  static flip(tuple: CtTuple): void {
    tuple.flags ^= <u8>TupleFlag.IN;
  }
}
