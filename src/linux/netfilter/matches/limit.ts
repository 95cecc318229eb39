/**
 * `-m limit`: a bucket of credit that each match costs something and that time fills again (net/netfilter/xt_limit.c), in
 * the kernel's own 32-bit arithmetic, on virtual time.
 *
 * Precision: credit comes in steps of one jiffy. The length of a jiffy is the kernel's CONFIG_HZ, taken as 250 (4 ms, as
 * distributions build it), and steps fall on multiples of it in virtual time; a rule loaded anew starts with a full
 * bucket. A rate above one packet a jiffy therefore answers as a kernel of 250 Hz would.
 */
import type { Extension } from "../extension.js";
import { Matched } from "../extension.js";
import { parseNumber } from "../names.js";
import { gather, type Option, plain1 } from "./options.js";

const hz = 250;
const jiffyNs = 1e9 / hz;
/** XT_LIMIT_SCALE: rates are periods in 0.1 ms. */
const scale = 10000;
/** CREDITS_PER_JIFFY: the largest power of two that lets a day's credit fit in 32 bits. */
const creditsPerJiffy = 128;

const units = [
  { name: "day", period: scale * 86400 },
  { name: "hour", period: scale * 3600 },
  { name: "min", period: scale * 60 },
  { name: "sec", period: scale },
] as const;
const unitWords = ["second", "minute", "hour", "day"] as const;

export function readLimit(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--limit": plain1, "--limit-burst": plain1 });
  if (found === null || typeof found === "string") return found;
  const rate = found.get("--limit")?.values[0] ?? "3/hour";
  const period = parseRate(rate);
  if (period === null) return `--limit ${rate} is not a rate, such as 5/min, of at most 10000 a second`;
  const burst = parseNumber(found.get("--limit-burst")?.values[0] ?? "5", 10000);
  if (burst === null) return "--limit-burst is not a number up to 10000";
  const product = Math.imul(period, burst) >>> 0;
  // limit_mt_check, of both front ends' programs: what does not fit in 32 bits is refused.
  if (burst === 0 || product < period) return `--limit ${rate} with a burst of ${burst} is more than the kernel can count`;
  const cost = credits(period);
  const cap = capOf(period * burst, cost);
  if (cap === null) return null;
  const text = `-m limit --limit ${rateText(period)}${burst === 5 ? "" : ` --limit-burst ${burst}`}`;
  return { text, pure: false, start: () => bucket(cap, cost) };
}

function bucket(cap: number, cost: number): ReturnType<Extension["start"]> {
  let credit = cap;
  let before = -1;
  return ({ nowNs }) => {
    const jiffy = Math.floor(nowNs / jiffyNs);
    // Virtual time does not run back; the first packet finds the bucket full.
    if (before >= 0) credit = Math.min(cap, credit + Math.max(0, jiffy - before) * creditsPerJiffy);
    before = Math.max(before, jiffy);
    if (credit < cost) return Matched.No;
    credit -= cost;
    return Matched.Yes;
  };
}

/**
 * Credit of a full bucket. Where 32 bits overflow, iptables-legacy refuses what leaves less than one packet's cost, so such
 * a rule was loaded by iptables-nft, whose own limit (nft_limit.c) counts in 64 bits; where more is left the two differ,
 * and a text does not say which of them loaded it: null.
 */
function capOf(product: number, cost: number): number | null {
  const exact = Math.floor((product * hz * creditsPerJiffy) / scale);
  const wrapped = credits(product >>> 0);
  if (exact <= 0xffffffff) return wrapped;
  return wrapped < cost ? exact : null;
}

/** user2credits. */
function credits(period: number): number {
  const perScale = hz * creditsPerJiffy;
  if (period > Math.floor(0xffffffff / perScale)) return (Math.imul(Math.floor(period / scale), perScale)) >>> 0;
  return Math.floor((Math.imul(period, perScale) >>> 0) / scale);
}

/** `5`, `5/s`, `5/minute`: the time between two packets in 0.1 ms. */
function parseRate(text: string): number | null {
  const [countText, unitText, more] = text.split("/");
  const count = /^\d{1,9}$/.test(countText) ? Number(countText) : 0;
  if (count === 0 || more !== undefined || unitText === "") return null;
  const word = unitWords.find((name) => name.startsWith((unitText ?? "second").toLowerCase()));
  const unit = units.find(({ name }) => word?.startsWith(name));
  if (unit === undefined) return null;
  const period = Math.floor(unit.period / count);
  return period === 0 || (count * scale) / unit.period > scale ? null : period;
}

/** print_rate of libxt_limit: the largest unit in which nothing is lost. */
function rateText(period: number): string {
  let at = 1;
  for (; at < units.length; at++) {
    const whole = units[at].period;
    if (period > whole || Math.floor(whole / period) < whole % period) break;
  }
  return `${Math.floor(units[at - 1].period / period)}/${units[at - 1].name}`;
}
