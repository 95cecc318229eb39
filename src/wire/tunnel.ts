/**
 * Ethernet inside UDP: VXLAN (RFC 7348) and Geneve (RFC 8926). Says where the inner frame begins; the inner
 * frame is then a job for decodeLink and decode.
 *
 *     VXLAN    | flags 1 | 0 3 | VNI 3 | 0 1 |
 *     Geneve   | version, option words 1 | flags 1 | protocol 2 | VNI 3 | 0 1 | options |
 */
import type { Decoded } from "./decode.js";
import { DecodeStatus, L4Status, Protocol } from "./decode.js";
import { be16, EtherType } from "./link.js";

export const TunnelKind = { None: 0, Vxlan: 1, Geneve: 2 } as const;
export type TunnelKind = (typeof TunnelKind)[keyof typeof TunnelKind];

/** IANA's VXLAN port, and the one Linux had before: flannel and Cilium keep to it. */
const VXLAN_PORT = 4789;
const VXLAN_PORT_LINUX = 8472;
const GENEVE_PORT = 6081;

const HEADER = 8;
/** The I flag: a VNI is present. */
const VXLAN_VNI_VALID = 0x08;

/** An inner Ethernet frame. Reused from packet to packet. */
export class TunnelInfo {
  kind: TunnelKind = TunnelKind.None;
  /** 24 bits. */
  vni = 0;
  /** Where the inner Ethernet header begins in the buffer. */
  innerOffset = 0;
  /** Captured bytes of the inner frame. */
  innerLength = 0;
  /** Bytes the inner frame had. */
  innerWireLength = 0;
}

/** Fills `into` where the packet carries an Ethernet frame, told by its destination port; else false. */
export function decodeTunnel(bytes: Uint8Array, packet: Decoded, into: TunnelInfo): boolean {
  into.kind = TunnelKind.None;
  if (
    packet.status !== DecodeStatus.Ok ||
    packet.protocol !== Protocol.Udp ||
    packet.l4Status !== L4Status.Ok
  )
    return false;
  if (packet.moreFragments || packet.l4Captured < 8 + HEADER) return false;
  const at = packet.payloadOffset;
  if (packet.dstPort === VXLAN_PORT_LINUX || packet.dstPort === VXLAN_PORT) {
    if ((bytes[at] & VXLAN_VNI_VALID) === 0) return false;
    return inner(bytes, packet, TunnelKind.Vxlan, HEADER, into);
  }
  if (packet.dstPort !== GENEVE_PORT || bytes[at] >>> 6 !== 0 || be16(bytes, at + 2) !== EtherType.Ethernet)
    return false;
  return inner(bytes, packet, TunnelKind.Geneve, HEADER + ((bytes[at] & 0x3f) << 2), into);
}

function inner(
  bytes: Uint8Array,
  packet: Decoded,
  kind: TunnelKind,
  header: number,
  into: TunnelInfo,
): boolean {
  const at = packet.payloadOffset;
  const captured = packet.l4Offset + packet.l4Captured - at - header;
  if (captured < 0) return false;
  into.kind = kind;
  into.vni = (bytes[at + 4] << 16) | (bytes[at + 5] << 8) | bytes[at + 6];
  into.innerOffset = at + header;
  into.innerLength = captured;
  into.innerWireLength = packet.l4Offset + packet.l4Length - at - header;
  return true;
}
