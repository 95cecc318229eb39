/** Matches that are not in a compiled row: one function per kind, called in the order of the rule's text. */
import type { CompiledMatch } from "./compiled-match.js";
import { type Connection, Dir } from "./connection.js";
import { Matched, type TestContext, unknown, yes } from "./extension.js";
import type { Chance } from "./nat.js";
import { type Packet, Proto } from "./packet.js";
import type { RecentLists } from "./recent.js";
import type { AddressSpec, Match, RangeSpec } from "./rule.js";
import { Found } from "./sets/element.js";
import type { IpSets } from "./sets/ipsets.js";
import { matchSet } from "./sets/set-rule.js";
import { connectionOf, directionOf } from "./track.js";

/** What matches may look at beside the packet. */
export interface MatchContext extends TestContext {
  /** StateBit of the packet, with SNAT and DNAT. */
  state: number;
  readonly recent: RecentLists;
  readonly chance: Chance;
  /** Backends of the choice that was met, or null. */
  eligibleBackends: readonly string[] | null;
  readonly sets: IpSets;
}

export function evaluateMatch(compiled: CompiledMatch, context: MatchContext): Matched {
  const { match } = compiled;
  const { packet } = context;
  switch (match.kind) {
    case "ports":
      return ports(compiled, context);
    case "multiport":
      return multiport(match, packet);
    case "icmp":
      return icmp(match, packet);
    case "mark":
      return yes(((context.skb.mark & match.mark.mask) >>> 0 === match.mark.value) !== match.mark.invert);
    case "connmark": {
      const ct = connectionOf(context.skb.ct);
      // Without a connection the match fails whatever it says (connmark_mt).
      return yes(
        ct !== null && ((ct.mark & match.mark.mask) >>> 0 === match.mark.value) !== match.mark.invert,
      );
    }
    case "conntrack":
      return yes(conntrack(match, context));
    case "extension":
      return compiled.test(context);
    case "statistic":
      return yes(statistic(compiled, context));
    case "recent":
      return yes(recent(match, context));
    case "set": {
      const found = matchSet(match, context.sets, context);
      if (found !== Found.Undecided) return yes(found === Found.Yes);
      return unknown(context, context.sets.whyUndecided(match.set, packet.family));
    }
    case "comment":
    case "nfacct":
    case "unmodelled":
      return Matched.Yes;
  }
}

function inside(spec: { readonly min: number; readonly max: number }, port: number): boolean {
  return port >= spec.min && port <= spec.max;
}

/** tcp_mt, udp_mt, sctp_mt: a later fragment never matches, a cut header drops the packet. */
function ports(compiled: CompiledMatch, context: MatchContext): Matched {
  const match = compiled.match as Extract<Match, { kind: "ports" }>;
  const { packet } = context;
  if (packet.laterFragment || packet.protocol !== match.protocol) return Matched.No;
  if (packet.l4Short) return Matched.Drop;
  const { source, destination, flags } = match;
  if (source !== null && inside(source, packet.sourcePort) === source.invert) return Matched.No;
  if (destination !== null && inside(destination, packet.destinationPort) === destination.invert)
    return Matched.No;
  if (flags !== null && ((packet.tcpFlags & flags.mask) === flags.value) === flags.invert) return Matched.No;
  return match.extra === null ? Matched.Yes : compiled.test(context);
}

function multiport(match: Extract<Match, { kind: "multiport" }>, packet: Packet): Matched {
  if (packet.laterFragment) return Matched.No;
  if (packet.l4Short) return Matched.Drop;
  for (const range of match.ranges) {
    const hit =
      (match.side !== "dports" && inside(range, packet.sourcePort)) ||
      (match.side !== "sports" && inside(range, packet.destinationPort));
    if (hit) return yes(!match.invert);
  }
  return yes(match.invert);
}

function icmp(match: Extract<Match, { kind: "icmp" }>, packet: Packet): Matched {
  if (packet.laterFragment || (packet.protocol !== Proto.Icmp && packet.protocol !== Proto.Icmp6))
    return Matched.No;
  if (packet.l4Short) return Matched.Drop;
  const any = match.type === 255 && packet.protocol === Proto.Icmp;
  const hit =
    any ||
    (packet.icmpType === match.type && packet.icmpCode >= match.minCode && packet.icmpCode <= match.maxCode);
  return yes(hit !== match.invert);
}

/** conntrack_mt: all given tests hold; without a connection only the state can. */
function conntrack(match: Extract<Match, { kind: "conntrack" }>, context: MatchContext): boolean {
  const { state } = match;
  if (state !== null && ((context.state & state.value) !== 0) === state.invert) return false;
  const ct = connectionOf(context.skb.ct);
  if (ct === null) return state !== null;
  if (match.original !== null && (directionOf(context.skb.ctinfo) === Dir.Original) !== match.original)
    return false;
  if (match.protocol !== null && (ct.original.protocol === match.protocol.value) === match.protocol.invert)
    return false;
  // The text's bits are the kernel's, as Status has them.
  if (match.status !== null && ((ct.status & match.status.value) !== 0) === match.status.invert) return false;
  for (const { field, spec } of match.addresses) {
    const tuple = field.startsWith("ctorig") ? ct.original : ct.reply;
    if (addressHolds(spec, tuple, field.endsWith("src")) === spec.invert) return false;
  }
  for (const { field, spec } of match.ports) {
    const tuple = field.startsWith("ctorig") ? ct.original : ct.reply;
    if (portHolds(spec, field.endsWith("srcport") ? tuple.source : tuple.destination) === spec.invert)
      return false;
  }
  return true;
}

function portHolds(spec: RangeSpec, port: number): boolean {
  return port >= spec.min && port <= spec.max;
}

function addressHolds(spec: AddressSpec, tuple: Connection["original"], source: boolean): boolean {
  const { words, mask } = spec;
  if (source) {
    return (
      (tuple.s0 & mask[0]) === words[0] &&
      (tuple.s1 & mask[1]) === words[1] &&
      (tuple.s2 & mask[2]) === words[2] &&
      (tuple.s3 & mask[3]) === words[3]
    );
  }
  return (
    (tuple.d0 & mask[0]) === words[0] &&
    (tuple.d1 & mask[1]) === words[1] &&
    (tuple.d2 & mask[2]) === words[2] &&
    (tuple.d3 & mask[3]) === words[3]
  );
}

/**
 * statistic_mt. In a choice of backends a pin decides, where it names a member: the rule of that member
 * matches and those before it do not. A pin that names none is refused, and chance decides as without one.
 */
function statistic(compiled: CompiledMatch, context: MatchContext): boolean {
  const match = compiled.match as Extract<Match, { kind: "statistic" }>;
  const { skb } = context;
  if (compiled.run !== null) {
    context.eligibleBackends = compiled.run.texts;
    if (skb.pin !== null && skb.pin.backend !== null) {
      const member = compiled.run.memberOf(skb.pin);
      if (member >= compiled.position) {
        skb.pinFlags |= 1;
        return member === compiled.position;
      }
      if (member < 0) skb.pinFlags |= 2;
    }
  }
  if (match.mode === "nth") {
    const hit = compiled.count === match.every - 1;
    compiled.count = hit ? 0 : compiled.count + 1;
    return hit !== match.invert;
  }
  return (draw(context) & 0x7fffffff) < match.probability !== match.invert;
}

function draw({ skb, packet, chance, nowNs }: MatchContext): number {
  const ct = connectionOf(skb.ct);
  if (ct !== null) return chance(ct.flow, ct.draws++) >>> 0;
  const flow =
    Math.imul(packet.s3 ^ (packet.sourcePort << 16), 0x85ebca6b) ^
    Math.imul(packet.d3 ^ packet.destinationPort, 0xc2b2ae35);
  return chance(flow >>> 0, Math.floor(nowNs / 1000) >>> 0) >>> 0;
}

function recent(match: Extract<Match, { kind: "recent" }>, context: MatchContext): boolean {
  const { skb, packet, recent: lists, nowNs } = context;
  const { destination } = match;
  const [m0, m1, m2, m3] = lists.maskOf(match.list, skb.family);
  const last = (destination ? packet.d3 : packet.s3) & m3;
  const address =
    skb.family === 4
      ? String(last >>> 0)
      : destination
        ? `${packet.d0 & m0}:${packet.d1 & m1}:${packet.d2 & m2}:${last}`
        : `${packet.s0 & m0}:${packet.s1 & m1}:${packet.s2 & m2}:${last}`;
  // As it was before forwarding took one off.
  const ttl = skb.bytes[skb.family === 4 ? 8 : 7] + (skb.outDevice !== 0 && !skb.local ? 1 : 0);
  return lists.match(match, address, ttl & 255, nowNs);
}
