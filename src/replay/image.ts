/**
 * Whether two wire images of one packet are the same, as far as a recording can tell.
 *
 * Everything must be equal, byte for byte, but for: an upper-layer checksum that the recording shows as not yet
 * computed (checksum offload leaves the pseudo-header sum there), the IPv4 id and checksum of packets the node made
 * itself (the kernel picks the id at random), what a tunnel's outer header leaves to chance, and bytes the snap length cut off.
 */
import { Csum, checksumState, Decoded, DecodeStatus, decode, decodeTunnel, EtherType, TunnelInfo } from "../wire/index.js";

/** The first thing that differs, as a word for the user; `same` where nothing does. */
export type ImageDifference =
  | "same" | "headers" | "source" | "destination" | "ports" | "ttl" | "length" | "fragment" | "checksum" | "payload"
  | "tunnel" | "other";

const recordedFields = new Decoded();
const producedFields = new Decoded();
const recordedTunnel = new TunnelInfo();
const producedTunnel = new TunnelInfo();
const ETHERNET_HEADER = 14;

export function compareImages(recorded: Uint8Array, recordedLength: number, produced: Uint8Array, producedAt: number,
  producedLength: number, made: boolean): ImageDifference {
  const common = Math.min(recordedLength, producedLength);
  let index = 0;
  while (index < common && recorded[index] === produced[producedAt + index]) index++;
  if (index === common && recordedLength <= producedLength) return "same";
  return explainTunnel(recorded, recordedLength, produced, producedAt, producedLength)
    ?? explain(recorded, recordedLength, produced, producedAt, producedLength, made);
}

function explain(recorded: Uint8Array, recordedLength: number, produced: Uint8Array, producedAt: number,
  producedLength: number, made: boolean): ImageDifference {
  const a = recordedFields;
  const b = producedFields;
  decode(recorded, 0, recordedLength, recordedLength, EtherType.None, a);
  decode(produced, producedAt, producedLength, producedLength, EtherType.None, b);
  if (a.status !== DecodeStatus.Ok || b.status !== DecodeStatus.Ok) return "headers";
  if (a.family !== b.family || a.headerLength !== b.headerLength || a.protocol !== b.protocol) return "headers";
  const size = a.family === 4 ? 4 : 16;
  if (!equal(recorded, a.sourceOffset, produced, b.sourceOffset, size)) return "source";
  if (!equal(recorded, a.destinationOffset, produced, b.destinationOffset, size)) return "destination";
  if (a.totalLength !== b.totalLength) return "length";
  if (a.ttl !== b.ttl) return "ttl";
  if (a.fragmentOffset !== b.fragmentOffset || a.moreFragments !== b.moreFragments) return "fragment";
  if (!made && a.family === 4 && a.fragmentId !== b.fragmentId) return "fragment";
  if (a.srcPort !== b.srcPort || a.dstPort !== b.dstPort) return "ports";
  return explainBytes(recorded, recordedLength, produced, producedAt, made);
}

/**
 * A tunnel's packet: VNI, both ends and what it carries must be right. Its source port is the kernel's hash of the
 * inner flow, and id and checksum of the outer header are the node's own. null: no tunnel.
 */
function explainTunnel(recorded: Uint8Array, recordedLength: number, produced: Uint8Array, producedAt: number,
  producedLength: number): ImageDifference | null {
  const a = recordedFields;
  const b = producedFields;
  decode(recorded, 0, recordedLength, recordedLength, EtherType.None, a);
  if (!decodeTunnel(recorded, a, recordedTunnel)) return null;
  decode(produced, producedAt, producedLength, producedLength, EtherType.None, b);
  if (!decodeTunnel(produced, b, producedTunnel) || a.family !== b.family) return "headers";
  if (recordedTunnel.kind !== producedTunnel.kind || recordedTunnel.vni !== producedTunnel.vni) return "tunnel";
  if (a.dstPort !== b.dstPort) return "ports";
  if (!equal(recorded, a.sourceOffset, produced, b.sourceOffset, a.addressLength)) return "source";
  if (!equal(recorded, a.destinationOffset, produced, b.destinationOffset, a.addressLength)) return "destination";
  if (a.ttl !== b.ttl) return "ttl";
  if (recordedTunnel.innerLength !== producedTunnel.innerLength) return "length";
  const inner = recordedTunnel.innerOffset + ETHERNET_HEADER;
  const innerAt = producedTunnel.innerOffset + ETHERNET_HEADER;
  const length = recordedTunnel.innerLength - ETHERNET_HEADER;
  // The tunnel's packet is the node's own; what it carries is so only where it is an ICMP error.
  decode(recorded, inner, length, length, EtherType.None, a);
  return compareImages(recorded.subarray(inner), length, produced, innerAt, length, a.errorOffset >= 0);
}

/** Headers agree field by field: what is left may differ in checksums that are not there yet, else it is wrong. */
function explainBytes(recorded: Uint8Array, recordedLength: number, produced: Uint8Array, producedAt: number,
  made: boolean): ImageDifference {
  const a = recordedFields;
  const checksumAt = l4ChecksumOffset(a);
  let checksumDiffers = false;
  for (let index = 0; index < recordedLength; index++) {
    if (recorded[index] === produced[producedAt + index]) continue;
    if (isNodesOwn(index, made)) continue;
    if (index === checksumAt || index === checksumAt + 1) {
      checksumDiffers = true;
      continue;
    }
    return index < a.headerLength ? "headers" : index < a.headerLength + 8 ? "other" : "payload";
  }
  if (!checksumDiffers) return "same";
  return checksumState(recorded, a) === Csum.Partial ? "same" : "checksum";
}

/**
 * Bytes that the node fills in by itself, at random: the IPv4 id (and with it the header's checksum) and the IPv6
 * flow label of what it made; the identification of a datagram it cuts anew, which in IPv6 is every one that
 * conntrack put together (ip6_fragment, net/ipv6/ip6_output.c).
 */
function isNodesOwn(index: number, made: boolean): boolean {
  const a = recordedFields;
  if (a.family === 4) return made && (index === 4 || index === 5 || index === 10 || index === 11);
  if (made && index >= 1 && index <= 3) return true;
  return a.isFragment && index >= a.l4Offset - 4 && index < a.l4Offset;
}

/** Offset of the upper-layer checksum from the start of the packet, or -2 where there is none to see. */
function l4ChecksumOffset(fields: Decoded): number {
  if (fields.fragmentOffset > 0) return -2;
  if (fields.protocol === 6) return fields.headerLength + 16;
  if (fields.protocol === 17) return fields.headerLength + 6;
  if (fields.protocol === 1 || fields.protocol === 58) return fields.headerLength + 2;
  return -2;
}

function equal(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, size: number): boolean {
  for (let index = 0; index < size; index++) if (a[aAt + index] !== b[bAt + index]) return false;
  return true;
}
