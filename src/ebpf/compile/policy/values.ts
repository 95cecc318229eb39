/**
 * What a policy map entry says, apart from where it comes from: precedence, proxy port, authentication. Few distinct ones
 * exist, so entries hold their numbers.
 *
 * The precedence is 1.20's throughout (`pkg/policy/types/entry.go`): `(0xffffff - level) << 8 | low`, higher wins. `low`
 * is 255 for a deny, 254 to 129 for a redirect with listener priority 1 to 126, 2 for a redirect without, 1 for a plain
 * allow. Older versions write other numbers in the same order (loader.ts), which 1.16 has in no map at all.
 */
import { PolicyPort } from "../../../contract/codes.js";
import type { CiliumVersion } from "../../options.js";
import type { AuthMode } from "./entry.js";

export const DENY = 255;
export const ALLOW = 1;
export const FIRST_REDIRECT = 2;
/** Below every allow of its level: what holds where nothing else does. */
export const LEAST = 0;
const HIGHEST = 0xffffff;

/** A frame that meets an entry with this port is not judged (loader.ts). */
export const UNDECIDED_PORT = PolicyPort.values.UNDECIDED;

/** Bits of `auth`, as in policy_entry (bpf/lib/policy.h): the type, and that a rule said so. */
export const EXPLICIT_AUTH = 0x80;
/** `pkg/policy/types/auth.go`. */
const AUTH_TYPE: Readonly<Record<AuthMode, number>> = { disabled: 0, required: 1, "test-always-fail": 2 };

export interface EntryValue {
  readonly precedence: number;
  /** 0: none. */
  readonly proxyPort: number;
  readonly auth: number;
}

export class ValueTable {
  private readonly values: EntryValue[] = [];
  private readonly numbers = new Map<string, number>();

  of(precedence: number, proxyPort = 0, auth = 0): number {
    const key = `${precedence}/${proxyPort}/${auth}`;
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.values.push({ precedence, proxyPort, auth }) - 1;
      this.numbers.set(key, number);
    }
    return number;
  }

  get(number: number): EntryValue {
    return this.values[number];
  }

  precedence(number: number): number {
    return this.values[number].precedence;
  }

  /** Two allows of one key and level (`MapStateEntry.Merge`): the better redirect, and the stricter authentication. */
  merged(first: number, second: number): number {
    if (first === second) return first;
    const [a, b] = [this.values[first], this.values[second]];
    if (isDeny(a.precedence) || isDeny(b.precedence)) {
      // A deny that is certain stands, beside one of a peer that is not known.
      if (a.precedence === b.precedence) return a.proxyPort === 0 ? first : second;
      return a.precedence > b.precedence ? first : second;
    }
    // What is certain also stands beside what a peer that is not known may be allowed.
    const certain = a.proxyPort === UNDECIDED_PORT && b.precedence > a.precedence;
    const better = certain || (b.proxyPort !== 0 && (b.precedence > a.precedence
      || (b.precedence === a.precedence && (a.proxyPort === 0 || b.proxyPort < a.proxyPort)))) ? b : a;
    const [explicitA, explicitB] = [(a.auth & EXPLICIT_AUTH) !== 0, (b.auth & EXPLICIT_AUTH) !== 0];
    const auth = explicitA === explicitB ? Math.max(a.auth, b.auth) : explicitB ? b.auth : a.auth;
    return this.of(better.precedence, better.proxyPort, auth);
  }
}

/** Precedence of a verdict at an ordered level, 0 the first. */
export function precedenceOf(level: number, low: number): number {
  return (HIGHEST - level) * 256 + low;
}

export function isDeny(precedence: number): boolean {
  return (precedence & 0xff) === DENY;
}

/** The low byte of a redirect; 0: no listener priority. */
export function redirectLow(listenerPriority: number): number {
  return listenerPriority === 0 ? FIRST_REDIRECT : DENY - Math.min(listenerPriority, 126);
}

/** Levels alike, whatever the redirect. */
export function sameLevel(a: number, b: number): boolean {
  return Math.floor(a / 256) === Math.floor(b / 256);
}

export function authOf(mode: AuthMode | null): number {
  return mode === null ? 0 : AUTH_TYPE[mode] | EXPLICIT_AUTH;
}

/** The type as a covering entry hands it on. */
export function derivedAuth(auth: number): number {
  return auth & ~EXPLICIT_AUTH;
}

/**
 * The precedence as a version writes it. 1.20 as compiled; 1.19 counts redirects down from 128 and a plain allow as 0;
 * 1.17 and 1.18 have no levels, and a deny is a flag; 1.16 writes none.
 */
export function precedenceFor(precedence: number, version: CiliumVersion): number {
  const low = precedence & 0xff;
  switch (version) {
    case "1.20": return precedence;
    case "1.19": return ((precedence & 0xffffff00) | (low === DENY ? DENY : olderLow(low, 128))) >>> 0;
    case "1.18": return low === DENY ? DENY : olderLow(low, 128);
    case "1.17": return low === DENY ? DENY : olderLow(low, 255);
    case "1.16": return 0;
  }
}

/** 0 plain allow, 1 redirect without a priority, `base` - priority with one. */
function olderLow(low: number, base: number): number {
  if (low <= ALLOW) return 0;
  return low === FIRST_REDIRECT ? 1 : base - (DENY - low);
}
