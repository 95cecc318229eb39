/**
 * TOS, DSCP, TTL and HL, in the mangle table: they set one byte of the IP header, and IPv4's header checksum with it
 * (net/netfilter/xt_DSCP.c, xt_HL.c).
 */
import type { Family } from "../../../cluster/address.js";
import type { Skb } from "../../skb.js";
import { ChecksumDelta } from "../checksum.js";
import { goOn, type TargetExtension } from "../extension.js";
import { byteHex, gather, type Option, plain1 } from "../matches/options.js";
import { parseDscpClass, parseTos, tosOf } from "../matches/tos.js";
import { parseNumber } from "../names.js";
import { half, putHalf } from "../packet.js";

export function readTosTarget(options: readonly Option[]): TargetExtension | string | null {
  const found = gather(options,
    { "--set-tos": plain1, "--and-tos": plain1, "--or-tos": plain1, "--xor-tos": plain1 });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return "TOS needs one of --set-tos, --and-tos, --or-tos, --xor-tos";
  const [name, { values }] = [...found][0];
  const given = name === "--set-tos" ? parseTos(values[0], 0xff) : byteOf(values[0]);
  if (given === null) return `${name} ${values[0]} is not a type of service`;
  // tos = (tos & ~mask) ^ value, the one form that is kept.
  const { value, mask } = name === "--and-tos" ? { value: 0, mask: ~given.value & 0xff }
    : name === "--or-tos" ? { value: given.value, mask: given.value }
      : name === "--xor-tos" ? { value: given.value, mask: 0 } : given;
  return {
    text: `TOS --set-tos ${byteHex(value)}/${byteHex(mask)}`,
    act({ skb }) {
      setTos(skb, (tosOf(skb) & ~mask) ^ value);
      return goOn;
    },
  };
}

export function readDscpTarget(options: readonly Option[]): TargetExtension | string | null {
  const found = gather(options, { "--set-dscp": plain1, "--set-dscp-class": plain1 });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return "DSCP needs one of --set-dscp and --set-dscp-class";
  const [name, { values }] = [...found][0];
  const dscp = name === "--set-dscp" ? parseNumber(values[0], 63) : parseDscpClass(values[0]);
  if (dscp === null) return `${name} ${values[0]} is not a DSCP`;
  return {
    text: `DSCP --set-dscp ${byteHex(dscp)}`,
    act({ skb }) {
      setTos(skb, (tosOf(skb) & 3) | (dscp << 2));
      return goOn;
    },
  };
}

export function readTtlTarget(options: readonly Option[], family: Family, name: string): TargetExtension | string | null {
  if (name !== (family === 4 ? "TTL" : "HL")) return `${name} is not a target of IPv${family}`;
  const prefix = `--${name.toLowerCase()}`;
  const found = gather(options, { [`${prefix}-set`]: plain1, [`${prefix}-dec`]: plain1, [`${prefix}-inc`]: plain1 });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return `${name} needs one of ${prefix}-set, ${prefix}-dec, ${prefix}-inc`;
  const [option, { values }] = [...found][0];
  const value = parseNumber(values[0], 255);
  if (value === null || (value === 0 && !option.endsWith("-set"))) return `${option} ${values[0]} is not a number up to 255`;
  const change = option.endsWith("-set") ? () => value
    : option.endsWith("-inc") ? (ttl: number) => Math.min(255, ttl + value) : (ttl: number) => Math.max(0, ttl - value);
  return {
    text: `${name} ${option} ${value}`,
    act({ skb }) {
      const { bytes } = skb;
      if (skb.family === 6) bytes[7] = change(bytes[7]);
      else replaceHalf(bytes, 8, (change(bytes[8]) << 8) | bytes[9]);
      return goOn;
    },
  };
}

function byteOf(text: string): { value: number; mask: number } | null {
  const value = parseNumber(text, 255);
  return value === null ? null : { value, mask: 0xff };
}

/** ipv4_change_dsfield, ipv6_change_dsfield. */
function setTos({ bytes, family }: Skb, tos: number): void {
  if (family === 4) {
    replaceHalf(bytes, 0, (bytes[0] << 8) | tos);
  } else {
    bytes[0] = (bytes[0] & 0xf0) | (tos >> 4);
    bytes[1] = ((tos & 15) << 4) | (bytes[1] & 15);
  }
}

const delta = new ChecksumDelta();

/** 16 bits of an IPv4 header, and its checksum. */
function replaceHalf(bytes: Uint8Array, at: number, value: number): void {
  const before = half(bytes, at);
  if (before === value) return;
  delta.clear();
  delta.half(before, value);
  delta.apply(bytes, 10);
  putHalf(bytes, at, value);
}
