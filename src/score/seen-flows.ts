/**
 * Flow events -> the connections that were seen, with whether any of their packets was dropped: a packet that is dropped
 * on the receiver's node was forwarded by the sender's. Drops that do not say which way they went are taken as their
 * sender's; what else does not, and answers, say nothing here.
 */
import { Connections } from "../flows/connections.js";
import type { FlowParty, RecordedFlow } from "../flows/flow.js";

export interface SeenFlow {
  readonly protocol: number;
  readonly source: FlowParty;
  readonly destination: FlowParty;
  /** `namespace/name` of the service that is addressed; empty: none is known. */
  readonly service: string;
  dropped: boolean;
  /** Cilium's name of the first drop's reason by its text; empty where it was not dropped. */
  reason: string;
}

/** Connections that are kept; those beyond are counted. */
const KEPT = 1_000_000;

export class SeenFlows extends Connections {
  /** Connections beyond what is kept. */
  beyond = 0;
  private readonly seen = new Map<string, SeenFlow>();

  override add(flow: RecordedFlow): void {
    const dropped = flow.verdict === "DROPPED";
    if (flow.direction === "answer" || (flow.direction === "unknown" && !dropped)) return;
    if (!dropped && flow.verdict !== "FORWARDED" && flow.verdict !== "REDIRECTED") return;
    const key = JSON.stringify([flow.protocol, keyOf(flow.source), keyOf(flow.destination)]);
    const before = this.seen.get(key);
    if (before === undefined && this.seen.size >= KEPT) this.beyond++;
    else if (before === undefined) {
      this.seen.set(key, { protocol: flow.protocol, source: flow.source, destination: flow.destination, service: flow.service, dropped,
        reason: dropped ? flow.dropReason : "" });
    } else if (dropped) {
      before.reason = !before.dropped || flow.dropReason < before.reason ? flow.dropReason : before.reason;
      before.dropped = true;
    }
  }

  /** In an order that is the same whatever order the lines came in. */
  all(): SeenFlow[] {
    return [...this.seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, flow]) => flow);
  }
}

function keyOf({ address, port, namespace, pod, workload, reserved }: FlowParty): readonly (string | number)[] {
  return address === null ? [namespace, pod, workload, reserved, port] : [address.text, port];
}
