/**
 * The policy decision (bpf/lib/policy.h, __policy_can_access): one lookup by the remote identity, one by
 * identity 0, and the choice between them. Which choice is made depends on the profile:
 *
 *     1.16          longer protocol/port prefix; an exact identity entry ends the search
 *     1.17, 1.18    deny, then proxy port priority, then prefix
 *     from 1.19     precedence, then prefix
 *
 * A full tie goes to the identity's own entry. Leaves the chosen entry's proxy port and cookie in static
 * fields.
 */
import { ConfigOption, CtTuple, DropReason, MatchType, PolicyEntry, PolicyKey, StepKind, TunnelProtocol } from "../abi.gen";
import { Own } from "../own";
import { Icmp } from "../wire/icmp";
import { Conntrack } from "./conntrack";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { ICMP, ICMPV6, Packet, UDP } from "./packet";
import { Steps } from "./steps";
import { GO_ON } from "./verdict";

const KEY: usize = memory.data(<i32>PolicyKey.SIZE, 16);

/** POLICY_FULL_PREFIX: identity, direction, protocol and port without a wildcard. */
const FULL_PREFIX: u32 = 64;
/** Deny at the best priority; nothing can beat it. */
const MAX_PRECEDENCE: u32 = 0xffffffff;
/** PolicyEntry.deny: bit 0, and the prefix length from bit 3 on. */
const DENY: u8 = 1;
const PROTOCOL_BITS: u8 = 8;
const FULL_L4_BITS: u8 = 24;
const AUTH_TYPE: u8 = 0x7f;
const EXPLICIT_AUTH: u8 = 0x80;

export class Policy {
  /** Wire order; 0: no redirect. */
  static proxyPort: u16 = 0;
  static cookie: u32 = 0;
  /** Cookie of the decision before the last: what let the packet out of its pod, where another decides on its way in. */
  static before: u32 = 0;
  static match: i32 = 0;
  static audited: bool = false;

  /** May this endpoint send to `remote`? `port` in wire order, of the flow as it is after translation. */
  static egress(policy: u32, remote: u32, protocol: u8, port: u16): i32 {
    // Where there is encapsulation (HAVE_ENCAP), only the host sends a tunnel's packets.
    if (Options.config.tunnel_protocol != <u8>TunnelProtocol.NONE && protocol == UDP && port == Options.config.tunnel_port) {
      return -DropReason.DROP_ENCAP_PROHIBITED;
    }
    return Policy.hostEgress(policy, remote, protocol, port);
  }

  /** May the host send to `remote`? */
  static hostEgress(policy: u32, remote: u32, protocol: u8, port: u16): i32 {
    return audit(Own.policy(decide(policy, remote, protocol, port, true, false), true, policy, remote, protocol, port));
  }

  /**
   * The same for a reply whose entry may be collected (`tuple` in its reverse orientation), or of ingress: what policy
   * would say of it as a new connection. Leaves no trace.
   */
  static asNew(policy: u32, remote: u32, tuple: CtTuple, egress: bool): i32 {
    const port = tuple.sport;
    const verdict = egress ? Policy.egress(policy, remote, tuple.nexthdr, port)
      : Policy.ingress(policy, remote, tuple.nexthdr, port, false);
    const doubt = Overdue.reply(Conntrack.revNat, Conntrack.natPort, Conntrack.bits, verdict, Policy.proxyPort);
    Policy.proxyPort = 0;
    Policy.cookie = 0;
    return doubt;
  }

  /** May `remote` send to this endpoint? */
  static ingress(policy: u32, remote: u32, protocol: u8, port: u16, untrackedFragment: bool): i32 {
    return audit(Own.policy(decide(policy, remote, protocol, port, false, untrackedFragment), false, policy, remote, protocol, port));
  }
}

/** policy-audit-mode: what would have been dropped goes on, and is tracked as if allowed. */
function audit(verdict: i32): i32 {
  Policy.audited = false;
  if (verdict >= 0 || verdict <= -1000 || !Options.has(ConfigOption.POLICY_AUDIT_MODE)) return verdict;
  Policy.audited = true;
  return GO_ON;
}

function decide(policy: u32, remote: u32, protocol: u8, port: u16, egress: bool,
  untrackedFragment: bool): i32 {
  Policy.proxyPort = 0;
  if (Policy.cookie != 0) Policy.before = Policy.cookie;
  Policy.cookie = 0;
  Policy.match = MatchType.NONE;
  let keyPort = port;
  if (protocol == (Packet.family == 4 ? ICMP : ICMPV6)) {
    const rules = Options.has(ConfigOption.ENABLE_ICMP_RULES);
    const fragNeeded = Packet.family == 4 && Options.has(ConfigOption.ALLOW_ICMP_FRAG_NEEDED);
    if (rules || fragNeeded) {
      const short = Packet.need(Packet.l4, Packet.family == 4 ? Icmp.LENGTH : 1, DropReason.DROP_INVALID);
      if (short < 0) return short;
      const icmp = Packet.frame + Packet.l4;
      if (fragNeeded && Icmp.type(icmp) == Icmp.DESTINATION_UNREACHABLE
        && Icmp.code(icmp) == Icmp.FRAGMENTATION_NEEDED) return GO_ON;
      // The type stands where the port would, in network order.
      if (rules) keyPort = <u16>Icmp.type(icmp) << 8;
    }
  }
  const key = changetype<PolicyKey>(KEY);
  key.prefixlen = FULL_PREFIX;
  key.sec_label = remote;
  key.egress = egress ? 1 : 0;
  key.protocol = protocol;
  key.dport = keyPort;
  const own = Maps.policy(policy, key);
  if (own !== null && endsSearch(own)) return judge(own, null, true);
  key.sec_label = 0;
  const any = Maps.policy(policy, key);
  if (any !== null && (own === null || beats(any, own))) return judge(any, own, false);
  if (own !== null) return judge(own, any, true);
  return untrackedFragment ? -DropReason.DROP_FRAG_NOSUPPORT : -DropReason.DROP_POLICY;
}

function prefixLength(entry: PolicyEntry): u8 {
  return entry.deny >> 3;
}

function denies(entry: PolicyEntry): bool {
  return (entry.deny & DENY) != 0;
}

/** The identity's entry is final without a look at identity 0. */
function endsSearch(own: PolicyEntry): bool {
  if (Options.version >= 19) return own.precedence == MAX_PRECEDENCE;
  if (Options.version >= 17) return denies(own);
  return prefixLength(own) == FULL_L4_BITS;
}

/** The entry of identity 0 wins over the identity's own. */
function beats(any: PolicyEntry, own: PolicyEntry): bool {
  const longer = prefixLength(any) > prefixLength(own);
  if (Options.version < 17) return longer;
  if (Options.version < 19 && denies(any)) return true;
  return any.precedence > own.precedence || (any.precedence == own.precedence && longer);
}

/** __policy_check: `other` may lend its authentication type. */
function judge(chosen: PolicyEntry, other: PolicyEntry | null, byIdentity: bool): i32 {
  const length = prefixLength(chosen);
  Policy.cookie = chosen.cookie;
  if (byIdentity) {
    Policy.match = length > PROTOCOL_BITS ? MatchType.L3_L4 : length > 0
      ? MatchType.L3_PROTO : MatchType.L3_ONLY;
  } else {
    Policy.match = length > PROTOCOL_BITS ? MatchType.L4_ONLY : length > 0
      ? MatchType.PROTO_ONLY : MatchType.ALL;
  }
  if (TRACE) {
    Steps.write(StepKind.POLICY, Steps.NO_MAP, KEY, PolicyKey.SIZE, denies(chosen)
      ? 1 : 0, chosen.cookie, Policy.match);
  }
  if (denies(chosen)) return -DropReason.DROP_POLICY_DENY;
  Policy.proxyPort = chosen.proxy_port;
  let auth = chosen.auth_type & AUTH_TYPE;
  if (other !== null && !(chosen.auth_type & EXPLICIT_AUTH) && lends(other, chosen)) {
    const lent = other.auth_type & AUTH_TYPE;
    if (lent > auth) auth = lent;
  }
  return auth != 0 ? -DropReason.DROP_POLICY_AUTH_REQUIRED : GO_ON;
}

function lends(other: PolicyEntry, chosen: PolicyEntry): bool {
  if (Options.version >= 19) return other.precedence == chosen.precedence;
  return Options.version >= 17;
}
