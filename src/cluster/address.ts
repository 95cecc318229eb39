/**
 * IP addresses and prefixes as Kubernetes reads them.
 *
 * An Address keeps its bytes in wire order and one canonical text (RFC 5952 for IPv6), so equal addresses have
 * equal text. Parsing is strict where Go's netip is strict: `010.1.2.3`, `1.2.3` and `0x7f.1` are refused,
 * although ipaddr.js alone would read them. IPv4-mapped IPv6 text becomes IPv4, as net.ParseIP does.
 */
import ipaddr from "ipaddr.js";

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** 4 or 16 bytes, wire order. */
  readonly bytes: Uint8Array;
  /** Canonical text. */
  readonly text: string;
}

export interface Prefix {
  /** Network address, host bits cleared. */
  readonly address: Address;
  /** 0..32 or 0..128. */
  readonly length: number;
  readonly text: string;
}

/** The address, or null where the text is not one. Zone suffixes (`%eth0`) are refused. */
export function parseAddress(text: string): Address | null {
  if (text.includes(":")) {
    if (text.includes("%") || !ipaddr.IPv6.isValid(text)) return null;
    const parsed = ipaddr.IPv6.parse(text);
    if (parsed.isIPv4MappedAddress()) return addressFromBytes(Uint8Array.from(parsed.toIPv4Address().toByteArray()));
    return addressFromBytes(Uint8Array.from(parsed.toByteArray()));
  }
  const parts = FOUR_PARTS.exec(text);
  if (parts === null) return null;
  const bytes = Uint8Array.of(Number(parts[1]), Number(parts[2]), Number(parts[3]), Number(parts[4]));
  // Nothing but the canonical text fits; a number above 255 has lost its upper bits. Not the text itself: it may hold a whole file.
  const own = addressText(bytes);
  return own === text ? { family: 4, bytes, text: own } : null;
}

/** Decimal without leading zeros. */
const FOUR_PARTS = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

/** An address from 4 or 16 bytes in wire order; the bytes are copied. */
export function addressFromBytes(bytes: Uint8Array): Address {
  return { family: bytes.length === 4 ? 4 : 6, bytes: new Uint8Array(bytes), text: addressText(bytes) };
}

/** The canonical text of 4 or 16 bytes in wire order. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length !== 16) throw new Error(`an address has 4 or 16 bytes, not ${bytes.length}`);
  return new ipaddr.IPv6(Array.from(bytes)).toRFC5952String();
}

/** `10.0.0.0/8`; a bare address is a full-length prefix. Host bits are cleared. Null where the text is not one. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === null) return null;
  const bits = address.bytes.length * 8;
  if (slash < 0) return prefixOf(address, bits);
  const lengthText = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText) || Number(lengthText) > bits) return null;
  return prefixOf(address, Number(lengthText));
}

/** The prefix of this length that holds the address. */
export function prefixOf(address: Address, length: number): Prefix {
  const bytes = Uint8Array.from(address.bytes);
  for (let index = 0; index < bytes.length; index++) {
    const kept = Math.min(8, Math.max(0, length - index * 8));
    bytes[index] &= 0xff << (8 - kept);
  }
  const network = addressFromBytes(bytes);
  return { address: network, length, text: `${network.text}/${length}` };
}

/** Whether the prefix holds the address; families never match each other. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  const whole = prefix.length >> 3;
  for (let index = 0; index < whole; index++) {
    if (prefix.address.bytes[index] !== address.bytes[index]) return false;
  }
  const rest = prefix.length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return (prefix.address.bytes[whole] & mask) === (address.bytes[whole] & mask);
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.text === b.text;
}
