/**
 * What stands for what: addresses, link addresses, names and devices under one key of 32 bytes.
 *
 * Addresses go by Crypto-PAn (Xu, Fan, Ammar and Moon, 2002): bit i is flipped or not by AES of the i bits before it, so two
 * addresses share a prefix of the same length before and after, and no two become one. A bit is left alone where the bits
 * before it are those of a special range, or lead to one: loopback, link-local, multicast, unspecified and broadcast map to
 * themselves and nothing else maps into them. So the first bits of addresses near such a range stay; nothing keeps private
 * ranges private. The last octet of IPv4 keeps .0 and .255, which are networks' and broadcasts'.
 *
 * All else is HMAC-SHA256, cut to 60 bits.
 */
import { type Cipher, createCipheriv, createHmac } from "node:crypto";
import { type Address, addressFromBytes, parseAddress, parsePrefix, type Prefix, prefixOf } from "../cluster/address.js";
import { isWellKnownKey, WELL_KNOWN_NAMES } from "./well-known.js";

const SPECIAL: readonly Prefix[] = ["0.0.0.0/32", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
  "::/128", "::1/128", "fe80::/10", "ff00::/8"].map((text) => parsePrefix(text)!);
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
/** Devices that systems and CNIs name alike everywhere; names of others may hold a pod's or a link address. */
const COMMON_DEVICE = new RegExp("^(lo|any|eth\\d+|en[osp][0-9a-z]{1,10}|bond\\d+|docker0|cni0|cbr0|flannel(-v6)?\\.\\d+"
  + "|cilium_(host|net|vxlan|geneve|wg0)|vxlan(-v6)?\\.calico|tunl0|ip6tnl0|sit0|wireguard\\.cali|wg0|kube-ipvs0|nodelocaldns|dummy0"
  + "|azure\\d+|gre0|gretap0|erspan0)$");
/** Beginnings that programs give; they stay, since rules may be for all devices that begin so. No one begins another. */
const DEVICE_PREFIX = /^(veth|cali|azv|lxc|eni|gke|tap|br-|eth|ens|enp|eno|bond|cilium_|tunl|vxlan|flannel|docker|cni|cbr|kube)/;

export class Mapping {
  private readonly cipher: Cipher;
  private readonly pads: Readonly<Record<4 | 6, Uint8Array>>;
  private readonly addresses = new Map<string, Uint8Array>();
  private readonly words = new Map<string, string>();

  /** @param key 32 bytes: 16 of the cipher, 16 of the padding and, with the others, of names */
  constructor(private readonly key: Uint8Array) {
    if (key.length !== 32) throw new Error(`a key has 32 bytes, not ${key.length}`);
    this.cipher = createCipheriv("aes-128-ecb", key.subarray(0, 16), null).setAutoPadding(false);
    const first = this.block(key.subarray(16, 32));
    this.pads = { 4: first, 6: this.block(first) };
  }

  /** 4 or 16 bytes, in wire order. */
  bytes(address: Uint8Array): Uint8Array {
    const known = this.addresses.get(address.join("."));
    if (known !== undefined) return known;
    const mapped = this.flipped(address);
    this.addresses.set(address.join("."), mapped);
    return mapped;
  }

  /** Rewrites the address at `at` in place. */
  inPlace(bytes: Uint8Array, at: number, length: number): void {
    bytes.set(this.bytes(bytes.subarray(at, at + length)), at);
  }

  address(address: Address): Address {
    return addressFromBytes(this.bytes(address.bytes));
  }

  /** An address, or a prefix of the same length; null where the text is neither. */
  addressText(text: string): string | null {
    const slash = text.indexOf("/");
    const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
    const prefix = parsePrefix(text);
    if (address === null || prefix === null) return null;
    const mapped = this.address(address);
    if (slash < 0) return mapped.text;
    // Of a network the host bits stay zero.
    return prefix.address.text === address.text ? prefixOf(mapped, prefix.length).text : `${mapped.text}/${prefix.length}`;
  }

  /** Six bytes in place: groups, broadcast and zero stay; whether it is administered locally stays too. */
  mac(bytes: Uint8Array, at: number): void {
    if ((bytes[at] & 1) !== 0 || bytes.subarray(at, at + 6).every((byte) => byte === 0)) return;
    const local = bytes[at] & 3;
    const digest = this.digest("mac", Buffer.from(bytes.subarray(at, at + 6)).toString("hex"));
    bytes.set(digest.subarray(0, 6), at);
    bytes[at] = (bytes[at] & 0xfc) | local;
  }

  /** `0a:8b:…`; null where the text is no link address. */
  macText(text: string): string | null {
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) return null;
    const bytes = Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
    this.mac(bytes, 0);
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
  }

  /** Of objects, ports, zones and label values alike, so that what was equal stays so. A DNS label that is a port's name too. */
  name(text: string): string {
    return text === "" || WELL_KNOWN_NAMES.has(text) ? text : `x${this.word("name", text)}`;
  }

  labelKey(text: string): string {
    return isWellKnownKey(text) ? text : `k${this.word("key", text)}`;
  }

  /** Label by label; what stands for any text stays. */
  domain(text: string): string {
    return text.split(".").map((label) => label.split("*").map((part) => this.name(part.toLowerCase())).join("*")).join(".");
  }

  /** At most 15 characters, as the kernel has it. */
  device(text: string): string {
    if (text === "" || COMMON_DEVICE.test(text)) return text;
    const prefix = DEVICE_PREFIX.exec(text)?.[0] ?? "dev";
    return `${prefix}${this.word("device", text).slice(0, Math.min(11, 15 - prefix.length))}`;
  }

  /** Whether the devices that begin so are, under their other names, those that begin so. */
  keepsStem(stem: string): boolean {
    return DEVICE_PREFIX.exec(stem)?.[0] === stem;
  }

  private flipped(address: Uint8Array): Uint8Array {
    const family = address.length === 4 ? 4 : 6;
    const result = Uint8Array.from(address);
    const input = Uint8Array.from(this.pads[family]);
    for (let bit = 0; bit < address.length * 8; bit++) {
      const [at, mask] = [bit >> 3, 0x80 >> (bit & 7)];
      if (!isFixed(address, bit) && (this.block(input)[0] & 0x80) !== 0) result[at] ^= mask;
      // The bits before the next one are the address's own, the rest the padding's.
      input[at] = (input[at] & ~mask) | (address[at] & mask);
    }
    return result;
  }

  private block(input: Uint8Array): Uint8Array {
    return Uint8Array.from(this.cipher.update(input));
  }

  private word(what: string, text: string): string {
    const id = `${what} ${text}`;
    const known = this.words.get(id);
    if (known !== undefined) return known;
    const word = Array.from(this.digest(what, text).subarray(0, 12), (byte) => LETTERS[byte & 31]).join("");
    this.words.set(id, word);
    return word;
  }

  /** 32 bytes that nobody without the key can make or check; `what` keeps kinds of text apart. */
  digest(what: string, text: string): Uint8Array {
    return createHmac("sha256", this.key).update(`${what}\0${text}`).digest();
  }
}

/** Whether the bit stays: the `bit` bits before it begin a special range, or are inside one. */
function isFixed(address: Uint8Array, bit: number): boolean {
  if (address.length === 4 && bit >= 24) {
    const low = address[3] >> (32 - bit);
    if (low === 0 || low === (1 << (bit - 24)) - 1) return true;
  }
  return SPECIAL.some(({ address: { bytes }, length }) => bytes.length === address.length
    && samePrefix(bytes, address, Math.min(bit, length)));
}

function samePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let at = 0; at < bits >> 3; at++) if (a[at] !== b[at]) return false;
  const rest = bits & 7;
  return rest === 0 || ((a[bits >> 3] ^ b[bits >> 3]) >> (8 - rest)) === 0;
}
