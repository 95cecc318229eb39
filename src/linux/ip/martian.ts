/**
 * Addresses that must not come from outside ("martians"): ip_route_input_slow and fib_validate_source for IPv4,
 * ip6_rcv_core and ip6_forward for IPv6.
 */
import { getU32 } from "./bytes.js";
import type { DeviceEntry } from "./devices.js";
import type { Packet } from "./packet.js";
import { Reason } from "./reasons.js";
import type { RouteTable } from "./routes.js";

/** The empty text, or why the packet is dropped. Addresses are those after PREROUTING. */
export function checkSource4(packet: Packet, device: DeviceEntry, routes: RouteTable): string {
  const { bytes } = packet;
  const source = getU32(bytes, 12);
  const destination = getU32(bytes, 16);
  if (bytes[12] >= 224 && (bytes[12] < 240 || source === 0xffffffff)) return Reason.InvalidSource;
  if (destination === 0xffffffff || (source === 0 && destination === 0)) return "";
  if (bytes[12] === 0) return Reason.InvalidSource;
  if (bytes[16] === 0) return Reason.InvalidDestination;
  if ((bytes[12] === 127 || bytes[16] === 127) && !device.routeLocalnet) return Reason.LocalNet;
  if (!device.acceptLocal && routes.lookupLocal(bytes, 12)?.local === true) return Reason.LocalSource;
  if (device.rpFilter === 0) return "";
  const back = routes.lookup(bytes, 12);
  if (back === null || back.type !== "unicast") return Reason.ReversePath;
  return device.rpFilter === 1 && back.device !== device.index ? Reason.ReversePath : "";
}

export function checkSource6(packet: Packet): string {
  const { bytes } = packet;
  if (bytes[8] === 0xff) return Reason.InvalidSource;
  if (isLoopback6(bytes, 8) || isLoopback6(bytes, 24)) return Reason.LocalNet;
  // ::ffff:a.b.c.d never travels (RFC 4942, 2.2).
  if (isMapped(bytes, 8)) return Reason.InvalidSource;
  // Interface-local and reserved multicast scopes (RFC 4291, 2.7).
  return bytes[24] === 0xff && (bytes[25] & 15) <= 1 ? Reason.InvalidDestination : "";
}

/** Whether the source may be forwarded: not unspecified, not link-local. */
export function forwardable6(bytes: Uint8Array): string {
  if (bytes[8] === 0xfe && (bytes[9] & 0xc0) === 0x80) return Reason.LinkLocal;
  for (let index = 8; index < 24; index++) if (bytes[index] !== 0) return "";
  return Reason.InvalidSource;
}

function isLoopback6(bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < 15; index++) if (bytes[at + index] !== 0) return false;
  return bytes[at + 15] === 1;
}

function isMapped(bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < 10; index++) if (bytes[at + index] !== 0) return false;
  return bytes[at + 10] === 0xff && bytes[at + 11] === 0xff;
}
