/**
 * What stands between a node's IP stack and its netfilter: the policy gate, and the memory of which choices
 * and rules a connection owes its way to. Changes no packet and no verdict but the gate's.
 *
 * Choices and becauses are numbers of Journeys. They are learnt from a connection's first packets and kept by
 * the conntrack entry's id, so that every later packet of the connection has them too.
 */
import { CtInfo, Hook, Verdict, type NetfilterHooks, type Skb } from "../linux/skb.js";
import type { Netfilter } from "../linux/netfilter/netfilter.js";
import type { Because, Step } from "../dataplane.js";
import { NO_CHOICE, type Journeys } from "./journeys.js";
import { MARK } from "./calico/config.js";
import type { PolicyGate } from "./policy.js";

/** Where a rule comes from: table, chain and position from 1 (0: the policy) in the rules of a family. */
export type RuleOrigin = (family: 4 | 6, table: string, chain: string, position: number) => readonly Because[];

export interface NodeHooksOptions {
  readonly node: string;
  readonly netfilter: Netfilter;
  readonly journeys: Journeys;
  /** Filled with every rule that matched; null: not traced. */
  readonly steps: Step[] | null;
}

/** Chains whose marks say that a packet is to be dropped; other programs' marks say what allowed it, or nothing. */
const DROP_MARKS = "AZURE-NPM-";
const INGRESS_ALLOWED = "AZURE-NPM-INGRESS-ALLOW-MARK";
/** Rules that decided something about a packet; the others only led there. */
const DECIDING = new Set(["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "DROP", "REJECT", "UNDECIDED", "KUBE-MARK-MASQ",
  "AZURE-NPM-ACCEPT", INGRESS_ALLOWED]);
/** Chains of a policy of Calico's, whose rules mark what they accept. */
const CALICO_POLICY = /^cali-p[io]-/;
const CALICO_ACCEPTS = ` -j MARK --set-xmark 0x${MARK.accept.toString(16)}/0x${MARK.accept.toString(16)}`;

export class NodeHooks implements NetfilterHooks {
  reason = "";
  /** Of the packet under way, as numbers of Journeys. */
  choice = NO_CHOICE;
  because = 0;
  private readonly netfilter: Netfilter;
  private readonly journeys: Journeys;
  private gate: PolicyGate | null = null;
  private origin: RuleOrigin = () => [];
  private choiceOf = new Int32Array(1024);
  private becauseOf = new Int32Array(1024);
  /** 1: a packet of the connection went all the way under the rules of now. */
  private settled = new Uint8Array(1024);
  private readonly choiceNumbers = new Map<readonly string[], number>();
  private readonly pending: Because[] = [];
  /** Of rules that marked the packet in the hook under way: where a mark is what drops it, they decided. */
  private readonly marking: Because[] = [];
  private family: 4 | 6 = 4;

  constructor(private readonly options: NodeHooksOptions) {
    this.netfilter = options.netfilter;
    this.journeys = options.journeys;
  }

  /** Rules and policies from now on. */
  change(origin: RuleOrigin, gate: PolicyGate | null): void {
    this.origin = origin;
    this.gate = gate;
    this.choiceNumbers.clear();
    this.settled.fill(0);
  }

  /** A packet comes to the node. */
  begin(): void {
    this.choice = NO_CHOICE;
    this.because = 0;
  }

  hook(hook: Hook, skb: Skb): Verdict {
    const { netfilter } = this;
    this.family = skb.family;
    // Printing every rule that matches is slow, and what became of a connection's first packet stands for the
    // rest.
    const known = skb.ctinfo === CtInfo.Established || skb.ctinfo === CtInfo.EstablishedReply
      || (skb.ct !== null && this.settled[skb.ct.id] === 1);
    netfilter.traceSink = this.options.steps !== null || !known ? this.sink : null;
    this.marking.length = 0;
    let verdict = netfilter.hook(hook, skb);
    this.reason = netfilter.reason;
    if (verdict === Verdict.Drop) this.pending.push(...this.marking);
    const id = skb.ct === null ? 0 : skb.ct.id;
    const first = skb.ctinfo === CtInfo.New;
    if (id > 0 && first) this.learnChoice(id);
    if (verdict === Verdict.Accept && first && this.gate !== null) verdict = this.judge(this.gate, hook, skb);
    if (this.pending.length > 0) this.learnBecause(first ? id : 0);
    if (id > 0) {
      if (verdict === Verdict.Accept && !known && (hook === Hook.Postrouting || hook === Hook.Input)) this.settle(id);
      this.choice = this.journeys.join(this.choice, this.choiceOf[id] ?? 0);
      this.because = this.journeys.joinBecauses(this.because, this.becauseOf[id] ?? 0);
    }
    return verdict;
  }

  attach(made: Skb, original: Skb): void {
    this.netfilter.attach(made, original);
  }

  private judge(gate: PolicyGate, hook: Hook, skb: Skb): Verdict {
    const verdict = gate.judge(hook, skb);
    this.pending.push(...gate.allowing);
    if (verdict === Verdict.Accept) return verdict;
    this.reason = gate.reason;
    this.because = this.journeys.joinBecauses(this.because, this.journeys.because(gate.becauses));
    this.options.steps?.push({ node: this.options.node, program: "network policy", what: hookName(hook),
      result: gate.reason, becauses: gate.becauses });
    return verdict;
  }

  private learnChoice(id: number): void {
    const backends = this.netfilter.lastEligibleBackends;
    const ports = this.netfilter.lastEligibleSourcePorts;
    if (backends === null && ports === null) return;
    let number = NO_CHOICE;
    if (backends !== null) {
      number = this.choiceNumbers.get(backends) ?? this.journeys.choice(backends, null);
      this.choiceNumbers.set(backends, number);
    }
    if (ports !== null) number = this.journeys.join(number, this.journeys.choice(null, ports));
    this.reserve(id);
    this.choiceOf[id] = this.journeys.join(number, this.choiceOf[id]);
  }

  /** @param id the connection that owes its way to these rules; 0: this packet alone does */
  private learnBecause(id: number): void {
    const number = this.journeys.because(this.pending);
    this.pending.length = 0;
    if (id === 0) {
      this.because = this.journeys.joinBecauses(this.because, number);
      return;
    }
    this.reserve(id);
    this.becauseOf[id] = this.journeys.joinBecauses(this.becauseOf[id], number);
  }

  private settle(id: number): void {
    this.reserve(id);
    this.settled[id] = 1;
  }

  private readonly sink = (table: string, chain: string, position: number, text: string, verdict: string): void => {
    const { steps, node } = this.options;
    const deciding = DECIDING.has(verdict) || (verdict === "MARK" && CALICO_POLICY.test(chain) && text.endsWith(CALICO_ACCEPTS));
    const marks = verdict === "MARK" && chain.startsWith(DROP_MARKS);
    if (steps === null && !deciding && !marks) return;
    const becauses = this.origin(this.family, table, chain, position);
    if (deciding) this.pending.push(...becauses);
    else if (marks) this.marking.push(...becauses);
    // Who allows ingress overrules the policies that marked the packet for a drop before.
    if (verdict === INGRESS_ALLOWED) this.marking.length = 0;
    steps?.push({ node, program: table, what: position === 0 ? `${chain} ${text}` : `${chain} ${position}: ${text}`,
      result: verdict, becauses });
  };

  private reserve(id: number): void {
    if (id < this.choiceOf.length) return;
    const size = Math.max(id + 1, this.choiceOf.length * 2);
    const [choices, becauses, settled] = [new Int32Array(size), new Int32Array(size), new Uint8Array(size)];
    choices.set(this.choiceOf);
    becauses.set(this.becauseOf);
    settled.set(this.settled);
    this.choiceOf = choices;
    this.becauseOf = becauses;
    this.settled = settled;
  }
}

function hookName(hook: Hook): string {
  return hook === Hook.Forward ? "FORWARD" : "INPUT";
}
