/**
 * IPv4 options on a received packet (net/ipv4/ip_options.c). Forwarding keeps them as they are; a record-route slot
 * is filled with the outgoing address. Timestamps are not modelled, and source routes are refused, as by default
 * (accept_source_route=0).
 */
import { setIpv4Checksum } from "./bytes.js";
import type { Packet } from "./packet.js";
import { Reason } from "./reasons.js";

const END = 0;
const NOOP = 1;
const RECORD_ROUTE = 7;
const TIMESTAMP = 68;
const LOOSE_SOURCE_ROUTE = 131;
const SECURITY = 134;
const STRICT_SOURCE_ROUTE = 137;

/** ip_options_compile and ip_rcv_options. The empty text, or why the packet ends. */
export function readOptions(packet: Packet, sourceRouteAccepted: boolean): string {
  const { bytes } = packet;
  const headerLength = (bytes[0] & 15) * 4;
  for (let at = 20; at < headerLength;) {
    const type = bytes[at];
    if (type === END) return "";
    if (type === NOOP) {
      at++;
      continue;
    }
    const length = at + 1 < headerLength ? bytes[at + 1] : 0;
    // A malformed option is answered with a parameter problem that echoes options.
    if (length < 2 || at + length > headerLength) return Reason.OptionEcho;
    if (type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) {
      return sourceRouteAccepted ? Reason.SourceRouting : Reason.SourceRoute;
    }
    if (type === TIMESTAMP) return Reason.TimestampOption;
    if (type === SECURITY) packet.echoesOptions = true;
    if (type === RECORD_ROUTE) {
      packet.echoesOptions = true;
      const pointer = bytes[at + 2];
      if (length < 3 || pointer < 4 || (pointer <= length && pointer + 3 > length)) return Reason.OptionEcho;
      if (pointer <= length) {
        packet.recordRoute = at + pointer - 1;
        bytes[at + 2] = pointer + 4;
      }
    }
    at += length;
  }
  return "";
}

/** ip_forward_options: writes the address into the slot that `readOptions` found. */
export function recordRoute(packet: Packet, address: Uint8Array): void {
  packet.bytes.set(address, packet.recordRoute);
  setIpv4Checksum(packet.bytes, 0);
}
