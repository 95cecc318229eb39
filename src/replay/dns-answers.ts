/**
 * DNS answers in a capture: who got them from whom, and when. Answers of UDP and of TCP that fit into one segment are read,
 * inside a tunnel's packets too; others are counted. Nothing in a capture makes it throw.
 */
import { type Address, addressFromBytes } from "../cluster/address.js";
import { CaptureReader } from "../capture/index.js";
import { Decoded, DecodeStatus, decode, decodeLink, decodeTunnel, EtherType, LinkInfo, LinkStatus, TunnelInfo } from "../wire/index.js";
import { type DNSAnswer, readDNSAnswer } from "../wire/dns.js";

export interface SeenAnswer extends DNSAnswer {
  /** ns since the Unix epoch. */
  readonly atNs: bigint;
  /** Name of the node it was captured on. */
  readonly node: string;
  readonly client: Address;
  readonly server: Address;
  /** IP protocol number. */
  readonly protocol: 6 | 17;
  /** The server's. */
  readonly port: number;
}

const LINKTYPE_ETHERNET = 1;
const DNS_PORT = 53;
const TCP_LENGTH_BYTES = 2;

/**
 * @param take told of each answer with addresses
 * @returns how many packets from port 53 were cut or in fragments, so that they could not be read
 */
export async function readDNSAnswers(chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>, node: string,
  take: (answer: SeenAnswer) => void): Promise<number> {
  const reader = new CaptureReader();
  const packets = new Packets();
  let unread = 0;
  for (let ended = false; !ended;) {
    const chunk = await chunks.next();
    ended = chunk.done === true;
    if (chunk.done === true) reader.end();
    else reader.push(chunk.value);
    while (reader.next()) {
      const { record } = reader;
      const packet = packets.read(record.linkType, record.bytes, record.offset, record.capturedLength, record.wireLength);
      if (packet === null) continue;
      const message = messageOf(packet, record.bytes);
      if (message === null) unread += packet.srcPort === DNS_PORT ? 1 : 0;
      const answer = message === null || message.length === 0 ? null : readDNSAnswer(message);
      if (answer === null || !record.hasTime) continue;
      take({ ...answer, atNs: BigInt(record.timeSec) * 1_000_000_000n + BigInt(record.timeFracNs), node,
        client: addressAt(record.bytes, packet.destinationOffset, packet), server: addressAt(record.bytes, packet.sourceOffset, packet),
        protocol: packet.protocol as 6 | 17, port: packet.srcPort });
    }
  }
  reader.finish();
  return unread;
}

class Packets {
  private readonly link = new LinkInfo();
  private readonly outer = new Decoded();
  private readonly inner = new Decoded();
  private readonly tunnel = new TunnelInfo();

  /** The packet, or the one inside a tunnel's; null where it is neither TCP nor UDP. */
  read(linkType: number, bytes: Uint8Array, offset: number, captured: number, wire: number): Decoded | null {
    const { link, outer, inner, tunnel } = this;
    decodeLink(linkType, bytes, offset, captured, link);
    if (link.status !== LinkStatus.Ok) return null;
    const header = link.headerLength;
    decode(bytes, offset + header, captured - header, wire - header, EtherType.None, outer);
    if (outer.status !== DecodeStatus.Ok) return null;
    if (!decodeTunnel(bytes, outer, tunnel)) return ofPorts(outer);
    decodeLink(LINKTYPE_ETHERNET, bytes, tunnel.innerOffset, tunnel.innerLength, link);
    if (link.status !== LinkStatus.Ok) return null;
    decode(bytes, link.l3Offset, tunnel.innerLength - link.headerLength, tunnel.innerWireLength - link.headerLength, link.etherType, inner);
    return inner.status === DecodeStatus.Ok ? ofPorts(inner) : null;
  }
}

function ofPorts(packet: Decoded): Decoded | null {
  return (packet.protocol === 6 || packet.protocol === 17) && packet.srcPort >= 0 ? packet : null;
}

/** null: not all of it is there; empty: a TCP segment without payload. */
function messageOf(packet: Decoded, bytes: Uint8Array): Uint8Array | null {
  const end = packet.l4Offset + packet.l4Length;
  if (packet.isFragment || packet.l4Captured < packet.l4Length || packet.payloadOffset > end) return null;
  const payload = bytes.subarray(packet.payloadOffset, end);
  if (packet.protocol === 17 || payload.length === 0) return payload;
  const said = payload.length < TCP_LENGTH_BYTES ? -1 : (payload[0] << 8) | payload[1];
  return said === payload.length - TCP_LENGTH_BYTES ? payload.subarray(TCP_LENGTH_BYTES) : null;
}

function addressAt(bytes: Uint8Array, offset: number, { addressLength }: Decoded): Address {
  return addressFromBytes(bytes.slice(offset, offset + addressLength));
}
