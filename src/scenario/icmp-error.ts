/**
 * ICMP errors of a scenario: about a packet of an earlier probe as a plane delivered it, which each plane may have done under
 * other addresses.
 *
 * Sources: RFC 792, 1191, 4443.
 */
import { addressFromBytes } from "../cluster/address.js";
import { entryPacket } from "../replay/entryPacket.js";
import type { Outcome } from "../replay/outcome.js";
import { Tuple } from "../replay/tuple.js";
import { Decoded, DecodeStatus, decode, EtherType, internetChecksum, sum16 } from "../wire/index.js";
import { ProbeError } from "./packet.js";
import type { IcmpError } from "./scenario.js";

/** What a connection's last packets became in one plane. */
export interface Told {
  readonly request: Outcome;
  readonly answer: Outcome | null;
  /** The connection's number, which its packets bear. */
  readonly connection: number;
}

const TTL = 64;
const IPV4_HEAD = 20;
const IPV6_HEAD = 40;
/** Type, code, checksum, and a word that an error may use. */
const ICMP_HEAD = 8;
const fields = new Decoded();

/** The error in one plane; `sender`: who sends it. Its destination is the source of what it is about. */
export function icmpErrorOf(error: IcmpError, told: Told | undefined, sender: Uint8Array, plane: string): Uint8Array {
  const outcome = error.answer ? told?.answer ?? null : told?.request ?? null;
  if (told === undefined || outcome === null) {
    throw new ProbeError(`found icmpError about "${error.about}", expected the name of a probe before it${
      error.answer ? " that is answered" : ""}`);
  }
  if (!outcome.arrived) throw new ProbeError(`${plane} does not deliver what icmpError is about`);
  const { image } = outcome;
  const quoted = entryPacket(Tuple.protocol(image), {
    source: addressFromBytes(Tuple.source(image)), destination: addressFromBytes(Tuple.destination(image)),
    sourcePort: Tuple.sourcePort(image), destinationPort: Tuple.destinationPort(image),
  }, error.answer, told.connection, outcome.ttl);
  const v6 = Tuple.family(image) === 6;
  if ((sender.length === 16) !== v6) throw new ProbeError("who sends icmpError has no address of the family that it is about");
  const head = v6 ? IPV6_HEAD : IPV4_HEAD;
  const bytes = new Uint8Array(head + ICMP_HEAD + quoted.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = v6 ? 0x60 : 0x45;
  if (v6) view.setUint16(4, bytes.length - head);
  else view.setUint16(2, bytes.length);
  bytes[v6 ? 6 : 9] = v6 ? 58 : 1;
  bytes[v6 ? 7 : 8] = TTL;
  bytes.set(sender, v6 ? 8 : 12);
  bytes.set(Tuple.source(image), v6 ? 24 : 16);
  if (!v6) view.setUint16(10, ~sum16(bytes, 0, IPV4_HEAD) & 0xffff);
  bytes[head] = error.type;
  bytes[head + 1] = error.code;
  view.setUint32(head + 4, error.mtu);
  bytes.set(quoted, head + ICMP_HEAD);
  decode(bytes, 0, bytes.length, bytes.length, v6 ? EtherType.Ipv6 : EtherType.Ipv4, fields);
  if (fields.status !== DecodeStatus.Ok) throw new ProbeError(`ICMP type ${error.type} quotes no packet`);
  view.setUint16(head + 2, internetChecksum(bytes, fields));
  return bytes;
}
