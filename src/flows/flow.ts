/**
 * One event of a flow log: somebody saw a packet of a connection between two parties. Types only. What a log leaves out
 * (an aggregated one has neither addresses nor times) is null or empty here, never guessed.
 */
import type { Address } from "../cluster/address.js";

/** A party as the log names it. */
export interface FlowParty {
  /** null: the log names the party only. */
  readonly address: Address | null;
  /** Host order; of ICMP 0; 0 too where the log leaves it out. */
  readonly port: number;
  readonly namespace: string;
  /** Empty: no pod, or not named. */
  readonly pod: string;
  /** Name of the Deployment or the like that the pod is of; empty where not named. */
  readonly workload: string;
  /** `world`, `host`, `remote-node` …, of the label reserved:…; empty for pods. */
  readonly reserved: string;
  /** Cilium's number for its labels, as the log has it; 0: not told. */
  readonly identity: number;
}

/** Cilium's identities by their numbers alone (pkg/identity/numericidentity.go); null: the number does not tell. */
export function kindOfIdentity(identity: number): "world" | "node" | "pod" | null {
  if (identity === 2 || identity === 9 || identity === 10) return "world";
  if (identity === 1 || identity === 6 || identity >= 0x2000000) return "node";
  // Of address ranges and of names, on one node each.
  if (identity >= 0x1000000) return "world";
  return identity >= 256 ? "pod" : null;
}

/**
 * What an event shows of its connection's first packet: policy denied it, or it came to where it went, past all policy. Nothing
 * is known of a packet that was merely seen on its way.
 */
export type Fate = "denied" | "arrived";

export interface RecordedFlow {
  /** ns since the Unix epoch; null: aggregated over some time. */
  readonly timeNs: bigint | null;
  /** Node that saw it; empty where not named. */
  readonly node: string;
  /** Of the log: FORWARDED, DROPPED, AUDIT …. Where no policy engine reports, FORWARDED says nothing. */
  readonly verdict: string;
  /** The verdict is policy's, about a connection's first packet at one of its ends; else of a packet at some point of its way. */
  readonly isPolicyVerdict: boolean;
  /** null: the event does not tell. */
  readonly fate: Fate | null;
  /** Cilium's name of a drop reason; empty where it was not dropped. */
  readonly dropReason: string;
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: FlowParty;
  readonly destination: FlowParty;
  /** `namespace/name` of the service whose address the destination is; empty: none. */
  readonly service: string;
  /** Which way: to the party that was connected to, back from it, or not told. */
  readonly direction: "request" | "answer" | "unknown";
  /** It came in by the device of the node that leads outside. */
  readonly fromNetwork: boolean;
  /** Events that this one stands for. */
  readonly events: number;
}
