/** How many bytes of a captured record are headers: what may be shown of it, for a payload belongs to nobody else. */
import type { CaptureRecord } from "../../capture/index.js";
import {
  Decoded, DecodeStatus, decode, decodeLink, decodeTunnel, LinkInfo, LinkStatus, TunnelInfo,
} from "../../wire/index.js";

const LINKTYPE_ETHERNET = 1;
const ARP = 0x0806;
/** Of Ethernet and IPv4 addresses, RFC 826. */
const ARP_BYTES = 28;
/** Of what an ICMP error quotes behind the IP header: ports or identifier, RFC 792. */
const QUOTED_BYTES = 8;

const link = new LinkInfo();
const innerLink = new LinkInfo();
const tunnel = new TunnelInfo();
const outer = new Decoded();
const inner = new Decoded();

/** From the link header to the end of the innermost header that is understood; at most what was captured. */
export function headerBytes({ linkType, bytes, offset, capturedLength, wireLength }: CaptureRecord): number {
  decodeLink(linkType, bytes, offset, capturedLength, link);
  if (link.status !== LinkStatus.Ok) return 0;
  const { l3Offset, headerLength, etherType } = link;
  if (etherType === ARP) return Math.min(headerLength + ARP_BYTES, capturedLength);
  const end = packetEnd(bytes, l3Offset, capturedLength - headerLength, wireLength - headerLength, etherType, outer);
  return Math.min(Math.max(end - offset, headerLength), capturedLength);
}

function packetEnd(bytes: Uint8Array, at: number, length: number, wireLength: number, etherType: number, into: Decoded): number {
  decode(bytes, at, length, wireLength, etherType, into);
  if (into.status === DecodeStatus.NotIp) return at;
  if (into.status !== DecodeStatus.Ok) return at + Math.min(length, into.family === 6 ? 40 : 20);
  if (into.errorOffset >= 0) return quotedEnd(bytes, into.errorOffset);
  if (into === outer && decodeTunnel(bytes, into, tunnel)) {
    decodeLink(LINKTYPE_ETHERNET, bytes, tunnel.innerOffset, tunnel.innerLength, innerLink);
    if (innerLink.status !== LinkStatus.Ok) return tunnel.innerOffset;
    const { l3Offset, headerLength } = innerLink;
    return packetEnd(bytes, l3Offset, tunnel.innerLength - headerLength, tunnel.innerWireLength - headerLength, innerLink.etherType, inner);
  }
  return into.payloadOffset;
}

/** Behind the header that an ICMP error quotes. */
function quotedEnd(bytes: Uint8Array, at: number): number {
  const first = at < bytes.length ? bytes[at] : 0;
  return at + (first >>> 4 === 6 ? 40 : (first & 15) * 4) + QUOTED_BYTES;
}

