/**
 * Netfilter of a Cilium node with a memory: which source ports a connection's translation could have taken, and which
 * rules decided, are learnt from its first packets and hold for all later ones. Changes no packet and no verdict.
 */
import type { Because, Step } from "../../dataplane.js";
import type { Netfilter } from "../../linux/netfilter/netfilter.js";
import { CtInfo, type Hook, type NetfilterHooks, type Skb, type Verdict } from "../../linux/skb.js";

/** What the stacks on a packet's way decided; shared by the packets of a connection. */
export interface Decided {
  readonly ports: readonly [number, number] | null;
  readonly becauses: readonly Because[];
}

export type RuleOrigin = (family: 4 | 6, table: string, chain: string, position: number) => readonly Because[];

export const NOTHING: Decided = { ports: null, becauses: [] };
/** Verdicts of rules that decide; the others only lead to these. */
const DECIDING = new Set(["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "DROP", "REJECT", "UNDECIDED"]);

const LEAST_PRUNED = 1024;

export class StackHooks implements NetfilterHooks {
  reason = "";
  /** Of the packet under way. */
  decided: Decided = NOTHING;
  /** Filled with every rule that matched, where traced. */
  readonly steps: Step[] = [];
  /** By connection. */
  private readonly known = new Map<number, Decided>();
  private pending: Because[] = [];
  private family: 4 | 6 = 4;

  constructor(private readonly node: string, private readonly netfilter: Netfilter, private readonly traced: boolean,
    public origin: RuleOrigin) {}

  /** Connections that are remembered. */
  get remembered(): number {
    return this.known.size;
  }

  /** A packet comes to the node. */
  begin(): void {
    this.decided = NOTHING;
    if (this.steps.length > 0) this.steps.length = 0;
  }

  /** Numbers of decisions before a change of the rules stay: the connections keep them. */
  hook(hook: Hook, skb: Skb): Verdict {
    const { netfilter } = this;
    this.family = skb.family;
    const settled = skb.ctinfo === CtInfo.Established || skb.ctinfo === CtInfo.EstablishedReply;
    netfilter.traceSink = this.traced || !settled ? this.sink : null;
    const verdict = netfilter.hook(hook, skb);
    this.reason = netfilter.reason;
    const id = skb.ct === null ? 0 : skb.ct.id;
    const ports = skb.ctinfo === CtInfo.New ? netfilter.lastEligibleSourcePorts : null;
    if (this.pending.length > 0 || ports !== null) this.learn(skb.ctinfo === CtInfo.New ? id : 0, ports);
    else if (id > 0) this.decided = joined(this.decided, this.known.get(id) ?? NOTHING);
    return verdict;
  }

  attach(made: Skb, original: Skb): void {
    this.netfilter.attach(made, original);
  }

  /** Forgets connections that the table has no more, once there are twice as many as it has. */
  private prune(now: number): void {
    if (this.known.size < Math.max(LEAST_PRUNED, 2 * this.netfilter.conntrackCount)) return;
    const live = new Set(this.netfilter.conntrack().map(({ id }) => id));
    for (const id of this.known.keys()) if (id !== now && !live.has(id)) this.known.delete(id);
  }

  private learn(id: number, ports: readonly [number, number] | null): void {
    const now: Decided = { ports, becauses: this.pending };
    this.pending = [];
    if (id > 0) this.prune(id);
    if (id > 0) this.known.set(id, joined(this.known.get(id) ?? NOTHING, now));
    this.decided = joined(this.decided, id > 0 ? this.known.get(id)! : now);
  }

  private readonly sink = (table: string, chain: string, position: number, text: string, verdict: string): void => {
    const deciding = DECIDING.has(verdict);
    if (!deciding && !this.traced) return;
    const becauses = this.origin(this.family, table, chain, position);
    if (deciding) this.pending.push(...becauses);
    if (this.traced) this.steps.push({ node: this.node, program: table, result: verdict, becauses,
      what: position === 0 ? `${chain} ${text}` : `${chain} ${position}: ${text}` });
  };
}

/** What either says; a list that is already there is not joined again. */
export function joined(a: Decided, b: Decided): Decided {
  if (b === NOTHING || a === b) return a;
  if (a === NOTHING) return b;
  const missing = b.becauses.filter((one) => !a.becauses.includes(one));
  if (missing.length === 0 && (a.ports !== null || b.ports === null)) return a;
  return { ports: a.ports ?? b.ports, becauses: [...a.becauses, ...missing] };
}
