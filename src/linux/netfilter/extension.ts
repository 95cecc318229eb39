/**
 * How a match that has a file of its own in `matches/` is asked: the file reads its options and gives back an Extension,
 * which knows its spelling and makes tests. The same for targets in `targets/`. Types, and the answers a test can give.
 */
import type { Hook, NodeServices, Skb, Verdict } from "../skb.js";
import type { Packet } from "./packet.js";

export const Matched = {
  No: 0,
  Yes: 1,
  /** hotdrop: the packet is dropped at once. */
  Drop: 2,
  /** What the match asks for is not known of this packet; the context's `doubt` says what. */
  Undecided: 3,
} as const;
export type Matched = (typeof Matched)[keyof typeof Matched];

/** What a test may look at. */
export interface TestContext {
  readonly skb: Skb;
  readonly packet: Packet;
  readonly services: NodeServices;
  readonly hook: Hook;
  /** Virtual time. */
  readonly nowNs: number;
  /** Set by a test that answers Undecided: in one phrase, what is not known. */
  doubt: string;
}

export type Test = (context: TestContext) => Matched;

export interface Extension {
  /** As iptables-save prints it: `-m ttl --ttl-eq 5`. */
  readonly text: string;
  /** The test remembers nothing, drops nothing and always decides: other tests of the rule may be made before it. */
  readonly pure: boolean;
  /** A test with a memory of its own: rules that are loaded anew start anew. */
  start(): Test;
}

/** An Extension without memory. */
export function stateless(text: string, pure: boolean, test: Test): Extension {
  return { text, pure, start: () => test };
}

export function yes(value: boolean): Matched {
  return value ? Matched.Yes : Matched.No;
}

/** A test's answer where something is not known. */
export function unknown(context: TestContext, doubt: string): Matched {
  context.doubt = doubt;
  return Matched.Undecided;
}

/** XT_CONTINUE: the packet goes on with the next rule. */
export const goOn = -1;

/** A target that has a file of its own in `targets/`: it changes the packet, and says whether it goes on. */
export interface TargetExtension {
  /** As iptables-save prints it after `-j`. */
  readonly text: string;
  act(context: TestContext): Verdict | typeof goOn;
}
