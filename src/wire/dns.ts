/**
 * DNS answers (RFC 1035): which addresses a name was said to have.
 *
 * Reads a response to one question and follows its CNAMEs: the name that was asked has the addresses at their end, which is
 * how Cilium's DNS proxy takes them (`pkg/fqdn/dnsproxy`). What cannot be read is no answer; nothing throws.
 */
import { type Address, addressFromBytes } from "../cluster/address.js";

export interface DNSAnswer {
  /** Lower case, without a final dot. */
  readonly name: string;
  readonly addresses: readonly Address[];
  /** Seconds: the lowest of the records on the way to the addresses. */
  readonly ttlSec: number;
}

const HEADER = 12;
const RESPONSE = 0x8000;
const ERROR = 0x000f;
const TYPE_A = 1;
const TYPE_CNAME = 5;
const TYPE_AAAA = 28;
const CLASS_IN = 1;
/** Pointers of compressed names that are followed before the message is taken for broken. */
const MAX_POINTERS = 32;

/** @param message the UDP payload, or a TCP one without its length; null where it is no answer with addresses */
export function readDNSAnswer(message: Uint8Array): DNSAnswer | null {
  if (message.length < HEADER) return null;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const flags = view.getUint16(2);
  if ((flags & RESPONSE) === 0 || (flags & ERROR) !== 0 || view.getUint16(4) !== 1) return null;
  const question = readName(message, HEADER);
  if (question === null) return null;
  const aliases = new Set([question.name]);
  const addresses: Address[] = [];
  let ttlSec = Number.POSITIVE_INFINITY;
  let at = question.end + 4;
  for (let left = view.getUint16(6); left > 0; left--) {
    const owner = readName(message, at);
    if (owner === null || owner.end + 10 > message.length) return null;
    const [type, cls, length] = [view.getUint16(owner.end), view.getUint16(owner.end + 2), view.getUint16(owner.end + 8)];
    const data = owner.end + 10;
    if (data + length > message.length) return null;
    at = data + length;
    if (cls !== CLASS_IN || !aliases.has(owner.name)) continue;
    if (type === TYPE_CNAME) {
      const alias = readName(message, data);
      if (alias === null) return null;
      aliases.add(alias.name);
    } else if ((type === TYPE_A && length === 4) || (type === TYPE_AAAA && length === 16)) {
      addresses.push(addressFromBytes(message.subarray(data, at)));
    } else continue;
    ttlSec = Math.min(ttlSec, view.getUint32(owner.end + 4));
  }
  return addresses.length === 0 ? null : { name: question.name, addresses, ttlSec };
}

/** A name from this offset, and the offset after it. */
function readName(message: Uint8Array, start: number): { name: string; end: number } | null {
  const labels: string[] = [];
  let [at, end, pointers] = [start, -1, 0];
  for (;;) {
    const length = message[at];
    if (length === undefined) return null;
    if (length === 0) break;
    if ((length & 0xc0) === 0xc0) {
      const low = message[at + 1];
      if (low === undefined || ++pointers > MAX_POINTERS) return null;
      if (end < 0) end = at + 2;
      at = ((length & 0x3f) << 8) | low;
      continue;
    }
    if ((length & 0xc0) !== 0 || at + 1 + length > message.length) return null;
    labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + length)).toLowerCase());
    at += 1 + length;
  }
  return { name: labels.join("."), end: end < 0 ? at + 1 : end };
}
