/** Options and parts of headers: kinds and lengths stay, addresses are mapped, other contents are zeroed. Bounds: `at` to `end`. */
import { be16 } from "../wire/link.js";
import type { Mapping } from "./mapping.js";

/** RFC 791. Record route and source routes hold addresses; timestamps may. */
export function ipv4Options(bytes: Uint8Array, from: number, end: number, mapping: Mapping): void {
  for (let at = from; at < end;) {
    const kind = bytes[at];
    if (kind === 0) return zero(bytes, at, end);
    if (kind === 1) {
      at++;
      continue;
    }
    const next = at + bytes[at + 1];
    if (at + 2 > end || next < at + 2 || next > end) return zero(bytes, at, end);
    if (kind === 7 || kind === 131 || kind === 137) {
      for (let hop = at + 3; hop + 4 <= next; hop += 4) mapping.inPlace(bytes, hop, 4);
    } else if (kind !== 148) zero(bytes, at + (kind === 68 ? 4 : 2), next);
    at = next;
  }
}

/** RFC 8200: options keep their kinds, routing headers their segments' addresses, authentication headers no digest. */
export function ipv6Extensions(bytes: Uint8Array, packet: number, end: number, mapping: Mapping): void {
  let next = bytes[packet + 6];
  for (let at = packet + 40; at + 8 <= end;) {
    const size = next === 44 ? 8 : next === 51 ? (bytes[at + 1] + 2) << 2 : (bytes[at + 1] + 1) << 3;
    const stop = Math.min(end, at + size);
    if (next === 0 || next === 60) ipv6Options(bytes, at + 2, stop);
    else if (next === 43) {
      let segment = at + 8;
      for (; segment + 16 <= stop; segment += 16) mapping.inPlace(bytes, segment, 16);
      zero(bytes, segment, stop);
    } else if (next === 51) zero(bytes, at + 12, stop);
    else if (next !== 44) return zero(bytes, at, end);
    next = bytes[at];
    at += size;
  }
}

function ipv6Options(bytes: Uint8Array, from: number, end: number): void {
  for (let at = from; at < end;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const next = at + 2 + bytes[at + 1];
    if (at + 2 > end || next > end) return zero(bytes, at, end);
    // Router alert.
    if (bytes[at] !== 5) zero(bytes, at + 2, next);
    at = next;
  }
}

/** Segment size, window scale, selective acknowledgements and times stay (0 to 5, 8); cookies and digests do not. */
export function tcpOptions(bytes: Uint8Array, from: number, end: number): void {
  for (let at = from; at < end;) {
    const kind = bytes[at];
    if (kind === 0) return zero(bytes, at, end);
    if (kind === 1) {
      at++;
      continue;
    }
    const next = at + bytes[at + 1];
    if (at + 2 > end || next < at + 2 || next > end) return zero(bytes, at, end);
    if (kind > 5 && kind !== 8) zero(bytes, at + 2, next);
    at = next;
  }
}

/** Chunks keep their heads; INIT its fixed fields, which connection tracking reads, DATA its numbers. RFC 9260. */
export function sctpChunks(bytes: Uint8Array, from: number, end: number): void {
  for (let at = from; at < end;) {
    const length = at + 4 <= end ? be16(bytes, at + 2) : 0;
    if (length < 4) return zero(bytes, at, end);
    const kept = bytes[at] === 1 || bytes[at] === 2 ? 20 : bytes[at] === 0 ? 16 : 4;
    const next = Math.min(end, at + ((length + 3) & ~3));
    zero(bytes, at + kept, next);
    at = next;
  }
}

/** RFC 4861: the fixed part of each message, what addresses it holds, and options from there on. */
const MESSAGES: Readonly<Record<number, { readonly fixed: number; readonly addresses: readonly number[] }>> = {
  133: { fixed: 8, addresses: [] }, 134: { fixed: 16, addresses: [] }, 135: { fixed: 24, addresses: [8] },
  136: { fixed: 24, addresses: [8] }, 137: { fixed: 40, addresses: [8, 24] },
};

export function neighbourDiscovery(bytes: Uint8Array, type: number, message: number, end: number, mapping: Mapping): void {
  const { fixed, addresses } = MESSAGES[type];
  if (message + fixed > end) return zero(bytes, message + 8, end);
  for (const at of addresses) mapping.inPlace(bytes, message + at, 16);
  for (let at = message + fixed; at < end;) {
    const next = at + bytes[at + 1] * 8;
    if (at + 8 > end || next <= at || next > end) return zero(bytes, at, end);
    const kind = bytes[at];
    if ((kind === 1 || kind === 2) && next === at + 8) mapping.mac(bytes, at + 2);
    else if (kind === 3 && next === at + 32) mapping.inPlace(bytes, at + 16, 16);
    else if (kind !== 5) zero(bytes, at + 2, next);
    at = next;
  }
}

/** Class of Cilium's option with the address and port of a service (bpf/lib/nodeport.h, geneve_dsr_opt4 and opt6). */
const DSR_CLASS = 0x014b;

/** VXLAN's and Geneve's header up to the inner frame: 8 bytes, of Geneve its options behind. */
export function tunnelHeader(bytes: Uint8Array, header: number, end: number, mapping: Mapping): void {
  for (let at = header + 8; at < end;) {
    const next = at + 4 + ((bytes[at + 3] & 0x1f) << 2);
    if (at + 4 > end || next > end) return zero(bytes, at, end);
    const address = next === at + 12 ? 4 : next === at + 24 ? 16 : 0;
    if (be16(bytes, at) === DSR_CLASS && address > 0) mapping.inPlace(bytes, at + 4, address);
    else zero(bytes, at + 4, next);
    at = next;
  }
}

function zero(bytes: Uint8Array, from: number, to: number): void {
  if (to > from) bytes.fill(0, from, to);
}
