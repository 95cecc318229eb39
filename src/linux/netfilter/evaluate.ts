/**
 * Walks a packet through the chains of one table (ipt_do_table): rows in order, jumps with a stack, policies
 * at the end. Targets are carried out here; NAT targets settle the connection's tuple, the packet itself is
 * rewritten later.
 */
import { CtInfo, Hook, type NodeServices, type Skb, Verdict } from "../skb.js";
import { type ChainIndex, deviceHash, Key } from "./chain-index.js";
import { Op as ops, Row as rows, stride as rowSize } from "./rows.js";
import type { CompiledTable } from "./compiled-table.js";
import { Status as statuses } from "./connection.js";
import { Manip, manipOf } from "./manip.js";
import { Matched } from "./extension.js";
import { evaluateMatch, type MatchContext } from "./match.js";
import { type Chance, type Nat, NatRange } from "./nat.js";
import { word } from "./packet.js";
import type { Packet } from "./packet.js";
import type { RecentLists } from "./recent.js";
import { type Rule, StateBit as stateBits, type Target } from "./rule.js";
import type { IpSets } from "./sets/ipsets.js";
import { changeSets } from "./sets/set-rule.js";
import { connectionOf } from "./track.js";

// Constants of this module are part of its machine code; what is imported is looked up every time.
const Op = ops;
const Row = rows;
const stride = rowSize;
const StateBit = stateBits;
const Status = statuses;
const { Established, EstablishedReply, Related, RelatedReply, New, Untracked } = CtInfo;
const { Accept, Drop, Undecided } = Verdict;
const { No, Yes } = Matched;

/**
 * Told of every rule that matched: position in its chain from 1, 0 for a policy. These are the rules that the
 * kernel's TRACE prints (trace_packet in ip_tables.c, after a rule's matches held): one that does not match
 * leaves no mark on a packet, in the kernel or here, whether it was compared or passed over. TRACE also prints
 * the return from a user's chain that ends; here the next step's chain says it.
 */
export type TraceSink = (
  table: string,
  chain: string,
  ruleNumber: number,
  text: string,
  verdict: string,
) => void;

/**
 * Jumps may nest this deep; the kernel sizes its stack by the rules, a text without loops cannot need more.
 */
const stackLimit = 1024;
/** The one bit of a state without what NAT says. */
const bareState =
  StateBit.Invalid | StateBit.Established | StateBit.Related | StateBit.New | StateBit.Untracked;

export class Evaluator implements MatchContext {
  skb!: Skb;
  readonly packet: Packet;
  state = 0;
  readonly services: NodeServices;
  readonly recent: RecentLists;
  readonly chance: Chance;
  nowNs = 0;
  hook: Hook = Hook.Prerouting;
  doubt = "";
  eligibleBackends: readonly string[] | null = null;
  sets: IpSets;
  /** Why the last Drop or Undecided. */
  reason = "";
  trace: TraceSink | null = null;
  /** False: every rule is compared, as the kernel does. The outcome is the same. */
  shortcuts = true;
  private readonly nat: Nat;
  private readonly masqueradeRange = new NatRange();
  private readonly stack = new Int32Array(stackLimit);

  constructor(
    packet: Packet,
    services: NodeServices,
    recent: RecentLists,
    chance: Chance,
    nat: Nat,
    sets: IpSets,
  ) {
    this.sets = sets;
    this.packet = packet;
    this.services = services;
    this.recent = recent;
    this.chance = chance;
    this.nat = nat;
  }

  /** Accept, Drop or Undecided; `reason` says why for the latter two. */
  run(table: CompiledTable, start: number, hook: Hook, skb: Skb): Verdict {
    const { code, counts } = table;
    const { stack } = this;
    this.skb = skb;
    this.hook = hook;
    this.state = stateOf(skb);
    let depth = 0;
    let row = start;
    const { packet } = this;
    const { shortcuts } = this;
    // A cut header drops the packet at a rule that a whole one would not match.
    const mayShortcut = shortcuts && !packet.l4Short;
    if (mayShortcut && table.indexes.length > 0) table.follow(this.sets);
    let next = table.nextForState[31 - Math.clz32(this.state & bareState)];
    for (;;) {
      let base = row * stride;
      if (mayShortcut && code[base + 26] !== 0) row = this.seek(table.indexes[code[base + 26] - 1], row);
      const found = shortcuts ? next[row] : row * 2;
      row = found >> 1;
      base = row * stride;
      const operation = code[base + 24];
      if (operation !== Op.End) {
        // A mark alone is asked for in the chain that settled packets take.
        if (code[base] === Row.Mark && (skb.mark & code[base + 22]) !== code[base + 21]) {
          row++;
          continue;
        }
        const matched = (found & 1) !== 0 ? Yes : this.matches(table, code, row, base);
        if (matched === No) {
          row++;
          continue;
        }
        if (matched === Matched.Undecided) {
          this.reason = this.doubtAt(table, row);
          return Undecided;
        }
        if (matched === Matched.Drop && hasUnmodelledMatch(table.rules[row])) {
          // That match may have ruled the packet out before.
          this.reason = table.reasons[row];
          return Undecided;
        }
        if (matched === Matched.Drop) {
          this.reason = `${table.name}/${table.chains[table.chainOf[row]].name}: cut header`;
          return Drop;
        }
      } else if (depth > 0) {
        row = stack[--depth];
        continue;
      } else {
        return this.policy(table, table.rules[start] === null ? start : this.endOf(table, start), skb);
      }
      counts[row * 2]++;
      counts[row * 2 + 1] += skb.length;
      if (this.trace !== null) this.tell(table, row);
      switch (operation) {
        case Op.Continue:
          row++;
          break;
        case Op.Accept:
          return Accept;
        case Op.Drop:
          this.reason = table.reasons[row];
          return Drop;
        case Op.Return:
          if (depth === 0) return this.policy(table, this.endOf(table, start), skb);
          row = stack[--depth];
          break;
        case Op.Jump:
          if (depth === stackLimit) {
            this.reason = "undecided: chains nest deeper than 1024";
            return Undecided;
          }
          stack[depth++] = row + 1;
          row = code[base + 25];
          break;
        case Op.Goto:
          row = code[base + 25];
          break;
        case Op.Undecided:
          this.reason = table.reasons[row];
          return Undecided;
        default: {
          const verdict = this.target(table, row, hook, skb);
          if (verdict >= 0) return verdict as Verdict;
          // SET changes what they know.
          if (mayShortcut && table.indexes.length > 0) table.follow(this.sets);
          // NOTRACK changes it.
          next = table.nextForState[31 - Math.clz32(this.state & bareState)];
          row++;
        }
      }
    }
  }

  /** The policy of the built-in chain the walk began in. */
  private policy(table: CompiledTable, row: number, skb: Skb): Verdict {
    table.counts[row * 2]++;
    table.counts[row * 2 + 1] += skb.length;
    if (this.trace !== null) this.tell(table, row);
    if (table.reasons[row] === "") return Accept;
    this.reason = table.reasons[row];
    return Drop;
  }

  private endOf(table: CompiledTable, start: number): number {
    return start + table.chains[table.chainOf[start]].rules.length;
  }

  private seek(index: ChainIndex, row: number): number {
    const { services, skb } = this;
    const inDevice = index.has(Key.InDevice) ? deviceHash(services.deviceName(skb.inDevice)) : 0;
    const outDevice = index.has(Key.OutDevice) ? deviceHash(services.deviceName(skb.outDevice)) : 0;
    return index.seek(row, this.packet, inDevice, outDevice);
  }

  /** `base` is the row's place in `code`. */
  private matches(table: CompiledTable, code: Int32Array, row: number, base: number): Matched {
    const flags = code[base];
    const { packet } = this;
    if (
      (flags & Row.Protocol) !== 0 &&
      (packet.protocol === code[base + 1]) === ((flags & Row.ProtocolNot) !== 0)
    )
      return No;
    if ((flags & Row.Destination) !== 0) {
      let differs = (packet.d3 & code[base + 17]) ^ code[base + 13];
      if (packet.family === 6) {
        differs |=
          ((packet.d0 & code[base + 14]) ^ code[base + 10]) |
          ((packet.d1 & code[base + 15]) ^ code[base + 11]) |
          ((packet.d2 & code[base + 16]) ^ code[base + 12]);
      }
      if ((differs === 0) === ((flags & Row.DestinationNot) !== 0)) return No;
    }
    if ((flags & Row.Source) !== 0) {
      let differs = (packet.s3 & code[base + 9]) ^ code[base + 5];
      if (packet.family === 6) {
        differs |=
          ((packet.s0 & code[base + 6]) ^ code[base + 2]) |
          ((packet.s1 & code[base + 7]) ^ code[base + 3]) |
          ((packet.s2 & code[base + 8]) ^ code[base + 4]);
      }
      if ((differs === 0) === ((flags & Row.SourceNot) !== 0)) return No;
    }
    if ((flags & Row.Devices) !== 0 && !this.devices(table, row)) return No;
    if (
      (flags & Row.State) !== 0 &&
      ((this.state & code[base + 20]) !== 0) === ((flags & Row.StateNot) !== 0)
    )
      return No;
    if (
      (flags & Row.Mark) !== 0 &&
      ((this.skb.mark & code[base + 22]) === code[base + 21]) === ((flags & Row.MarkNot) !== 0)
    )
      return No;
    if ((flags & Row.Header) !== 0) {
      if (packet.laterFragment) return No;
      if (packet.l4Short) return Matched.Drop;
      if ((flags & Row.DestinationPort) !== 0) {
        const range = code[base + 19];
        const hit = packet.destinationPort >= (range & 0xffff) && packet.destinationPort <= range >>> 16;
        if (hit === ((flags & Row.DestinationPortNot) !== 0)) return No;
      }
      if ((flags & Row.SourcePort) !== 0) {
        const range = code[base + 18];
        const hit = packet.sourcePort >= (range & 0xffff) && packet.sourcePort <= range >>> 16;
        if (hit === ((flags & Row.SourcePortNot) !== 0)) return No;
      }
    }
    if ((flags & Row.Matches) === 0) return Yes;
    let answer: Matched = Yes;
    for (const compiled of table.matches[code[base + 23]]) {
      const matched = evaluateMatch(compiled, this);
      if (matched === Yes) continue;
      if (matched === No) return matched;
      if (matched === Matched.Drop) return answer === Yes ? matched : answer;
      // A later match may still rule the packet out, whatever this one would say.
      if (!compiled.pureAfter) return matched;
      answer = matched;
    }
    return answer;
  }

  private doubtAt(table: CompiledTable, row: number): string {
    const chain = table.chains[table.chainOf[row]];
    const rule = table.rules[row];
    const number = rule === null ? 0 : chain.rules.indexOf(rule) + 1;
    return `undecided: ${table.name}/${chain.name} rule ${number}: ${this.doubt}`;
  }

  private devices(table: CompiledTable, row: number): boolean {
    const rule = table.rules[row];
    if (rule === null) throw new Error("a row with devices has no rule");
    const { inDevice, outDevice } = rule;
    if (inDevice !== null) {
      const name = this.services.deviceName(this.skb.inDevice);
      if ((inDevice.prefix ? name.startsWith(inDevice.name) : name === inDevice.name) === inDevice.invert)
        return false;
    }
    if (outDevice === null) return true;
    const name = this.services.deviceName(this.skb.outDevice);
    return (
      (outDevice.prefix ? name.startsWith(outDevice.name) : name === outDevice.name) !== outDevice.invert
    );
  }

  /** A verdict, or -1 to go on with the next rule. */
  private target(table: CompiledTable, row: number, hook: Hook, skb: Skb): number {
    const { target, range } = table.targets[table.argument(row)];
    const ct = connectionOf(skb.ct);
    switch (target.kind) {
      case "mark":
        skb.mark = ((skb.mark & ~target.clear) ^ target.xor) >>> 0;
        return -1;
      case "connmark":
        if (ct !== null) {
          const { shift } = target;
          if (target.mode === "set") ct.mark = shifted((ct.mark & ~target.clear) ^ target.xor, shift);
          else if (target.mode === "save")
            ct.mark = ((ct.mark & ~target.ctMask) ^ shifted(skb.mark & target.nfMask, shift)) >>> 0;
          else skb.mark = ((skb.mark & ~target.nfMask) ^ shifted(ct.mark & target.ctMask, shift)) >>> 0;
        }
        return -1;
      case "notrack":
        if (ct === null) skb.ctinfo = Untracked;
        this.state = stateOf(skb);
        return -1;
      case "set":
        this.doubt = changeSets(target, this.sets, this);
        if (this.doubt === "") return -1;
        this.reason = this.doubtAt(table, row);
        return Undecided;
      case "reject":
        this.services.reject(skb, target.with, hook);
        this.reason = table.reasons[row];
        return Drop;
      case "nat":
        return this.natTarget(table, row, target, range, hook, skb);
      case "extension": {
        const verdict = target.extension.act(this);
        if (verdict === Undecided) this.reason = this.doubtAt(table, row);
        else if (verdict === Drop) this.reason = `${table.reasons[row]}: cut header`;
        return verdict;
      }
      default:
        throw new Error(`target ${target.kind} is not one that is carried out`);
    }
  }

  private natTarget(
    table: CompiledTable,
    row: number,
    target: Extract<Target, { kind: "nat" }>,
    range: NatRange,
    hook: Hook,
    skb: Skb,
  ): Verdict {
    const ct = connectionOf(skb.ct);
    if (ct === null) throw new Error("the nat table was asked about a packet without a connection");
    const manip = manipOf(hook);
    const wanted = target.name === "SNAT" || target.name === "MASQUERADE" ? Manip.Source : Manip.Destination;
    if (wanted !== manip || (target.name === "MASQUERADE" && hook !== Hook.Postrouting)) {
      this.reason = `undecided: ${target.name} in a chain the kernel refuses it in`;
      return Undecided;
    }
    let use = range;
    if (target.name === "MASQUERADE") {
      const address = this.services.masqueradeAddress(skb.outDevice, skb);
      if (address === null) {
        this.reason = table.reasons[row];
        return Drop;
      }
      use = this.fill(address.bytes, range);
      ct.masqueradeDevice = skb.outDevice;
    } else if (target.name === "REDIRECT") {
      const local = this.redirectAddress(hook, skb);
      if (local === null) {
        this.reason = `undecided: REDIRECT on this device`;
        return Undecided;
      }
      use = this.fill(local, range);
    }
    this.nat.setup(skb, ct, use, manip);
    return Accept;
  }

  private fill(address: Uint8Array, from: NatRange): NatRange {
    const range = this.masqueradeRange;
    range.hasAddress = true;
    const v4 = address.length === 4;
    range.a0 = v4 ? 0 : word(address, 0);
    range.a1 = v4 ? 0 : word(address, 4);
    range.a2 = v4 ? 0 : word(address, 8);
    range.a3 = word(address, v4 ? 0 : 12);
    [range.b0, range.b1, range.b2, range.b3] = [range.a0, range.a1, range.a2, range.a3];
    range.minPort = from.minPort;
    range.maxPort = from.maxPort;
    range.random = from.random;
    return range;
  }

  /** nf_nat_redirect: the host itself for its own packets, the device's first address for others (IPv4). */
  private redirectAddress(hook: Hook, skb: Skb): Uint8Array | null {
    if (hook === Hook.Output) return skb.family === 4 ? localhost4 : localhost6;
    return skb.family === 4 ? (this.services.masqueradeAddress(skb.inDevice, skb)?.bytes ?? null) : null;
  }

  private tell(table: CompiledTable, row: number): void {
    const index = table.chainOf[row];
    const number = table.rules[row] === null ? 0 : row - table.firstRows[index] + 1;
    this.trace?.(table.name, table.chains[index].name, number, table.text(row), verdictText(table, row));
  }
}

const localhost4 = Uint8Array.of(127, 0, 0, 1);
const localhost6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

function hasUnmodelledMatch(rule: Rule | null): boolean {
  return rule?.matches.some(({ kind }) => kind === "unmodelled") ?? false;
}

function shifted(mark: number, by: number): number {
  return by < 0 ? mark >>> -by : (mark << by) >>> 0;
}

/** The bits `--ctstate` is compared with. */
export function stateOf(skb: Skb): number {
  const ct = connectionOf(skb.ct);
  if (ct === null) return skb.ctinfo === Untracked ? StateBit.Untracked : StateBit.Invalid;
  let state = stateOfInfo(skb.ctinfo);
  if ((ct.status & Status.SourceNat) !== 0) state |= StateBit.Snat;
  if ((ct.status & Status.DestinationNat) !== 0) state |= StateBit.Dnat;
  return state;
}

function stateOfInfo(ctinfo: CtInfo): number {
  switch (ctinfo) {
    case Established:
    case EstablishedReply:
      return StateBit.Established;
    case Related:
    case RelatedReply:
      return StateBit.Related;
    case New:
      return StateBit.New;
    default:
      throw new Error(`a packet with a connection has ctinfo ${ctinfo}`);
  }
}

function verdictText(table: CompiledTable, row: number): string {
  switch (table.op(row)) {
    case Op.Accept:
      return "ACCEPT";
    case Op.Drop:
      return "DROP";
    case Op.Return:
      return "RETURN";
    case Op.Jump:
    case Op.Goto:
      return table.chains[table.chainOf[table.argument(row)]].name;
    case Op.End:
      return table.reasons[row] === "" ? "ACCEPT" : "DROP";
    case Op.Undecided:
      return "UNDECIDED";
    case Op.Target: {
      const { target } = table.targets[table.argument(row)];
      if (target.kind === "extension") return target.extension.text.split(" ")[0];
      return target.kind === "nat" ? target.name : target.kind.toUpperCase();
    }
    default:
      return "CONTINUE";
  }
}
