/**
 * Addresses, prefixes, ports and protocols in manifests.
 *
 * Kubernetes and kube-proxy read IPv4 octets with leading zeros as decimal ("sloppy" parsing,
 * k8s.io/utils/net ParseIPSloppy), other tools refuse them or read octal; so such text is used, with a
 * warning.
 */
import { type Address, parseAddress, parsePrefix, type Prefix } from "./address.js";
import type { Protocol } from "./cluster.js";
import type { Field } from "./field.js";

const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;

/** The address, or null (with a Problem) where the text is none. */
export function readAddress(field: Field): Address | null {
  const text = field.string();
  const address = parseAddress(withoutLeadingZeros(text));
  if (address === null) {
    field.skip(`found "${text}", expected an IP address`);
    return null;
  }
  warnOfZeros(field, text, address.text);
  return address;
}

/** `address/length`, or null with a Problem: refused where `required`, else left out. */
export function readPrefix(field: Field, required: boolean): Prefix | null {
  const text = field.string();
  const prefix = text.includes("/") ? parsePrefix(withoutLeadingZeros(text.trim())) : null;
  if (prefix === null) {
    const what = `found "${text}", expected a CIDR such as 10.0.0.0/8 or fd00::/64`;
    if (required) field.refuse(what);
    else field.skip(what);
    return null;
  }
  warnOfZeros(field, text, prefix.text);
  return prefix;
}

export function readProtocol(field: Field): Protocol {
  return field.oneOf(PROTOCOLS, "TCP");
}

/** A port 1..65535; an absent one is `absent`, another value is refused. */
export function readPort(field: Field, absent: number): number {
  if (field.absent) return absent;
  const port = field.integer(0);
  if (typeof field.value === "number" && (port < 1 || port > 65535)) {
    field.refuse(`found ${field.value}, expected a port from 1 to 65535`);
  }
  return port;
}

function withoutLeadingZeros(text: string): string {
  if (!/^[0-9./]+$/.test(text)) return text;
  return text.replace(/(^|[./])0+(?=\d)/g, "$1");
}

function warnOfZeros(field: Field, text: string, read: string): void {
  if (text.includes(":") || !/(^|[./])0\d/.test(text)) return;
  field.warn(`found "${text}" with leading zeros, read as ${read} as kube-proxy does; other tools read it `
    + "otherwise; expected no leading zeros");
}
