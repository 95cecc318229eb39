/**
 * Netfilter of one node: the hooks of both families with connection tracking, NAT and the tables of iptables,
 * in the kernel's order of priority (include/uapi/linux/netfilter_ipv4.h):
 *
 *     PREROUTING   raw  conntrack  mangle  nat (destination)
 *     INPUT        mangle  filter  security  nat (source)  confirm
 *     FORWARD      mangle  filter  security
 *     OUTPUT       raw  conntrack  mangle  nat (destination)  filter  security
 *     POSTROUTING  mangle  nat (source)  confirm
 *
 * Defragmentation (-400) is the IP stack's, before it calls a hook. The nat table is consulted for the first
 * packet of a connection only; every later one follows what was decided then, whatever the rules say by now.
 */
import type { ConntrackDelete } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { CtInfo, Hook, type NetfilterHooks, type NodeServices, type Skb, Verdict } from "../skb.js";
import { CompiledTable } from "./compiled-table.js";
import { type ConntrackRecord, recordOf } from "./conntrack-record.js";
import { type Connection, Dir, Status as statuses } from "./connection.js";
import { Evaluator, type TraceSink } from "./evaluate.js";
import { type Manip, Manip as ManipKind, manipulate, statusBit, translateError } from "./manip.js";
import { type Chance, Nat } from "./nat.js";
import { Packet, Proto } from "./packet.js";
import { RecentLists } from "./recent.js";
import type { TableName } from "./rule.js";
import type { RuleSet } from "./rule-set.js";
import { IpSets } from "./sets/ipsets.js";
import { missingSets } from "./sets/missing-sets.js";
import { connectionOf, directionOf, Tracker } from "./track.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Status = statuses;
/** Some packets of the connection are rewritten. */
const translated = Status.SourceNat | Status.DestinationNat;
const { Established, EstablishedReply, Related, RelatedReply } = CtInfo;
const { Prerouting, Input, Forward, Output, Postrouting } = Hook;
const { Accept, Undecided, Drop } = Verdict;
const { Source, Destination } = ManipKind;

export interface NetfilterOptions {
  readonly services: NodeServices;
  readonly rules4: RuleSet;
  readonly rules6: RuleSet;
  /** Both families'; absent: none. */
  readonly sets?: IpSets;
  /**
   * A uint32 for (flow, draw). `flow` is a hash of the connection's original tuple, `draw` counts from 0 in
   * it.
   */
  readonly chance: Chance;
  /** Defaults to `services.sysctls`. */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly traceSink?: TraceSink | null;
  /** False: no rule is passed over unseen. Slower; for tests and measurements. */
  readonly shortcuts?: boolean;
}

export function createNetfilter(options: NetfilterOptions): Netfilter {
  return new Netfilter(options);
}

const hookNames = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"] as const;
const tables: readonly TableName[] = ["raw", "mangle", "nat", "filter", "security"];
const hookCount = hookNames.length;
const tableCount = tables.length;
const Raw = 0;
const Mangle = 1;
const NatTable = 2;
const Filter = 3;
const Security = 4;

export class Netfilter implements NetfilterHooks {
  reason = "";
  private readonly tracker: Tracker;
  private readonly nat: Nat;
  private readonly recent = new RecentLists();
  private readonly packet = new Packet();
  private readonly evaluator: Evaluator;
  private rules4: RuleSet;
  private rules6: RuleSet;
  private sets: IpSets;
  /** [family is 6 * 5 + table] */
  private compiled: (CompiledTable | null)[] = [];
  /** [(family is 6 * 5 + hook) * 5 + table]: first row, -1 where the table has no such chain. */
  private starts = new Int32Array(0);
  /** What `packet` was read from, since it entered PREROUTING or OUTPUT. */
  private loaded: Skb | null = null;

  constructor(options: NetfilterOptions) {
    const chance = options.chance;
    this.tracker = new Tracker(options.sysctls ?? options.services.sysctls);
    this.nat = new Nat(this.tracker.table, chance);
    this.sets = options.sets ?? new IpSets();
    this.evaluator = new Evaluator(this.packet, options.services, this.recent, chance, this.nat, this.sets);
    this.evaluator.trace = options.traceSink ?? null;
    this.evaluator.shortcuts = options.shortcuts ?? true;
    this.rules4 = options.rules4;
    this.rules6 = options.rules6;
    this.replaceRules(options.rules4, options.rules6);
  }

  /** Backends of the choice the last packet met in `hook`, sorted `ip:port`; null where it met none. */
  get lastEligibleBackends(): readonly string[] | null {
    return this.evaluator.eligibleBackends;
  }

  /**
   * First and last source port the last packet's NAT could have taken by chance; null where nothing was
   * chosen.
   */
  get lastEligibleSourcePorts(): readonly [number, number] | null {
    return this.nat.lastPortMin < 0 ? null : [this.nat.lastPortMin, this.nat.lastPortMax];
  }

  set traceSink(sink: TraceSink | null) {
    this.evaluator.trace = sink;
  }

  /**
   * Puts other rules in place. Connections, their NAT and the lists of `recent` that are still named stay;
   * nth counters start again, as in the kernel, which makes every match anew.
   */
  replaceRules(rules4: RuleSet, rules6: RuleSet): void {
    this.rules4 = rules4;
    this.rules6 = rules6;
    this.compiled = [rules4, rules6].flatMap((rules) =>
      tables.map((name) => {
        const table = rules.tables.get(name);
        return table === undefined ? null : new CompiledTable(table, rules.family);
      }),
    );
    this.starts = Int32Array.from(
      [0, tables.length].flatMap((first) =>
        hookNames.flatMap((hook) => tables.map((_, table) => this.compiled[first + table]?.start(hook) ?? -1)),
      ),
    );
    const lists = [rules4.recentLists(), rules6.recentLists()] as const;
    this.recent.keep(new Set(lists.flatMap((each) => [...each.keys()])));
    for (const [at, each] of lists.entries())
      for (const [name, shape] of each) this.recent.declare(name, at === 0 ? 4 : 6, shape);
  }

  /** Puts other IP sets in place; rules and their state stay. */
  replaceSets(sets: IpSets): void {
    this.sets = sets;
    this.evaluator.sets = sets;
  }

  /** Rules of both families that name IP sets which are not there or of the other family. */
  setProblems(): Problem[] {
    return [...missingSets(this.rules4, this.sets), ...missingSets(this.rules6, this.sets)];
  }

  /** The IP sets as they stand, with what SET targets added. */
  get ipSets(): IpSets {
    return this.sets;
  }

  /** `iptables-save -c` of a family. */
  save(family: 4 | 6): string {
    const first = family === 4 ? 0 : tables.length;
    return (family === 4 ? this.rules4 : this.rules6).save(
      (name, chain, position) => this.compiled[first + tables.indexOf(name)]?.counters(chain, position) ?? [0, 0],
    );
  }

  deleteConntrack(filter: ConntrackDelete): number {
    return this.tracker.table.delete(filter);
  }

  /** Live connections, oldest first, as `conntrack -L` shows them. */
  conntrack(): ConntrackRecord[] {
    return this.tracker.table.entries().map((connection) => recordOf(connection, this.tracker.table.nowNs));
  }

  /** Number of entries in the table, ended ones that were not met yet included. */
  get conntrackCount(): number {
    return this.tracker.table.count;
  }

  attach(made: Skb, original: Skb): void {
    if (original.ct === null) return;
    made.ct = original.ct;
    made.ctinfo = directionOf(original.ctinfo) === Dir.Original ? RelatedReply : Related;
  }

  hook(hook: Hook, skb: Skb): Verdict {
    // Between the hooks of one packet the stack changes TTL and options, nothing that `packet` holds.
    if (hook === Prerouting || hook === Output || this.loaded !== skb) this.packet.load(skb);
    this.loaded = skb;
    this.evaluator.eligibleBackends = null;
    // The raw table comes before the tracker, which sets its own clock.
    if (skb.timeNs > this.evaluator.nowNs) this.evaluator.nowNs = skb.timeNs;
    this.nat.lastPortMin = -1;
    const { starts } = this;
    const first = ((skb.family === 4 ? 0 : hookCount) + hook) * tableCount;
    let verdict: Verdict = Accept;
    switch (hook) {
      case Prerouting:
        if (starts[first + Raw] >= 0) verdict = this.table(Raw, hook, skb);
        if (verdict !== Accept) return verdict;
        if (!this.track(hook, skb)) return Undecided;
        if (starts[first + Mangle] >= 0) verdict = this.table(Mangle, hook, skb);
        return verdict === Accept ? this.translate(hook, skb, Destination) : verdict;
      case Forward:
        if (starts[first + Mangle] >= 0) verdict = this.table(Mangle, hook, skb);
        return verdict === Accept ? this.filter(first, hook, skb) : verdict;
      case Postrouting:
        if (starts[first + Mangle] >= 0) verdict = this.table(Mangle, hook, skb);
        if (verdict === Accept) verdict = this.translate(hook, skb, Source);
        return verdict === Accept ? this.confirm(skb) : verdict;
      case Input:
        if (starts[first + Mangle] >= 0) verdict = this.table(Mangle, hook, skb);
        if (verdict === Accept) verdict = this.filter(first, hook, skb);
        if (verdict === Accept) verdict = this.translate(hook, skb, Source);
        return verdict === Accept ? this.confirm(skb) : verdict;
      case Output:
        if (starts[first + Raw] >= 0) verdict = this.table(Raw, hook, skb);
        if (verdict !== Accept) return verdict;
        if (!this.track(hook, skb)) return Undecided;
        if (starts[first + Mangle] >= 0) verdict = this.table(Mangle, hook, skb);
        if (verdict === Accept) verdict = this.translate(hook, skb, Destination);
        return verdict === Accept ? this.filter(first, hook, skb) : verdict;
    }
  }

  private filter(first: number, hook: Hook, skb: Skb): Verdict {
    let verdict: Verdict = Accept;
    if (this.starts[first + Filter] >= 0) verdict = this.table(Filter, hook, skb);
    if (verdict === Accept && this.starts[first + Security] >= 0) verdict = this.table(Security, hook, skb);
    return verdict;
  }

  /** False where it cannot be said what the kernel does with one connection more. */
  private track(hook: Hook, skb: Skb): boolean {
    this.tracker.enter(hook, skb, this.packet);
    this.evaluator.nowNs = this.tracker.table.nowNs;
    if (!this.tracker.full) return true;
    this.reason = `undecided: the connection tracking table is full (nf_conntrack_max ${this.tracker.limit})`;
    return false;
  }

  private table(index: number, hook: Hook, skb: Skb): Verdict {
    const at = skb.family === 4 ? index : index + tableCount;
    const start = this.starts[(at - index + hook) * tableCount + index];
    const table = this.compiled[at];
    if (start < 0 || table === null) return Accept;
    const verdict = this.evaluator.run(table, start, hook, skb);
    if (verdict !== Accept) this.reason = this.evaluator.reason;
    return verdict;
  }

  private confirm(skb: Skb): Verdict {
    const ct = connectionOf(skb.ct);
    if (ct === null || (ct.status & Status.Confirmed) !== 0) return Accept;
    const verdict = this.tracker.leave(skb);
    if (verdict === Drop) this.reason = "conntrack: clash with another connection";
    return verdict;
  }

  /** nf_nat_ipv4_fn, nf_nat_ipv6_fn and nf_nat_inet_fn. */
  private translate(hook: Hook, skb: Skb, manip: Manip): Verdict {
    const ct = connectionOf(skb.ct);
    if (ct === null) return Accept;
    if (skb.ctinfo !== Established && skb.ctinfo !== EstablishedReply) {
      const verdict = this.translateUnsettled(ct, hook, skb, manip);
      if (verdict >= 0) return verdict as Verdict;
    }
    if (ct.masqueradeDevice !== 0 && this.leavesElsewhere(hook, ct, skb)) {
      this.tracker.table.remove(ct);
      this.reason = "nat: a masqueraded connection leaves by another device";
      return Drop;
    }
    return (ct.status & translated) === 0 ? Accept : this.carryOut(ct, skb, manip);
  }

  /** Errors of a connection, and the packets before its first answer; -1 where the packet is one as all later ones. */
  private translateUnsettled(ct: Connection, hook: Hook, skb: Skb, manip: Manip): Verdict | -1 {
    const { ctinfo } = skb;
    if (ctinfo === Related || ctinfo === RelatedReply) {
      if (this.packet.protocol === Proto.Icmp || this.packet.protocol === Proto.Icmp6) {
        if (translateError(skb, ct, hook, ctinfo)) {
          this.packet.readAddresses(skb.bytes);
          return Accept;
        }
        this.reason = "nat: an ICMP error that cannot be translated";
        return Drop;
      }
    }
    const done = manip === Source ? Status.SourceNatDone : Status.DestinationNatDone;
    if ((ct.status & done) !== 0) return -1;
    const verdict = this.table(NatTable, hook, skb);
    if (verdict !== Accept) return verdict;
    if ((ct.status & done) === 0) this.nat.nullBinding(skb, ct, manip);
    return this.carryOut(ct, skb, manip);
  }

  /** nf_nat_packet. */
  private carryOut(ct: Connection, skb: Skb, manip: Manip): Verdict {
    const direction = directionOf(skb.ctinfo);
    if ((ct.status & statusBit(manip, direction)) === 0) return Accept;
    if (!manipulate(skb, ct, manip, direction)) {
      this.reason = "nat: the header is too short to be translated";
      return Drop;
    }
    this.packet.readTranslated(skb.bytes);
    return Accept;
  }

  /** nf_nat_oif_changed. */
  private leavesElsewhere(hook: Hook, ct: Connection, skb: Skb): boolean {
    return (
      hook === Postrouting &&
      ct.masqueradeDevice !== 0 &&
      ct.masqueradeDevice !== skb.outDevice &&
      directionOf(skb.ctinfo) === Dir.Original
    );
  }
}
