/**
 * Choices among backends that both planes may take: another member of one eligible set, or the one that session affinity
 * tied the client to before. Where both sides chose rightly, the destination is not compared.
 */
import { addressText } from "../cluster/address.js";
import { End, type Plane } from "../dataplane.js";
import type { Flow } from "../replay/flows.js";
import type { Packet } from "../replay/loop.js";
import type { Outcome } from "../replay/outcome.js";
import { sameSource, Tuple } from "../replay/tuple.js";
import { type Affinity, endText, type Memory } from "./memory.js";
import type { Frontend } from "./names.js";

export class Choices {
  /** Of the packet under way. */
  affinity: Affinity | null = null;
  /** Flows to services with session affinity. */
  private readonly sticky = new WeakMap<Flow, { readonly client: string; readonly frontend: string }>();

  constructor(private readonly planes: readonly [Plane, Plane], private readonly memory: Memory) {}

  /** Notes of a flow's first packet whether affinity may bind its client to a backend of this frontend. */
  begin(flow: Flow, tuple: Uint8Array, frontend: Frontend | null): void {
    if (frontend?.service.sessionAffinity !== "ClientIP" || frontend.port === null) return;
    const { namespace, name } = frontend.service;
    const port = `${namespace}/${name}:${frontend.port.name}/${frontend.port.protocol}`;
    this.sticky.set(flow, { client: `${addressText(Tuple.source(tuple))} ${port}`, frontend: endText(tuple) });
  }

  /** The journeys of a flow's requests keep the set they chose from; equal sets make any member the same. */
  choseFromEqualSets(flow: Flow, packet: Packet): boolean {
    const [current, target] = packet.outcomes;
    if (current.end !== target.end || flow.planes[0][0].moved || flow.planes[1][0].moved) return false;
    const a = this.planes[0].journey(current.journey).eligibleBackends;
    const b = this.planes[1].journey(target.journey).eligibleBackends;
    if (a !== null && b !== null) {
      flow.sameChoice = a.length === b.length && a.every((one, index) => one === b[index]) && holds(a, current) && holds(b, target);
    }
    return flow.sameChoice;
  }

  /**
   * Whether session affinity led the packet where it led this client before, in each plane, by the same frontend: a
   * choice that was made then. Keeps what is chosen now, and counts what the target masquerades.
   */
  isTied(flow: Flow, packet: Packet): boolean {
    const [current, target] = packet.outcomes;
    const isMasqueraded = target.end === End.Left && !sameSource(target.image, flow.entry[0]);
    if (isMasqueraded && flow.packets <= 1) this.memory.masquerade(remoteOf(packet));
    const sticky = this.sticky.get(flow);
    if (sticky === undefined || !current.arrived || !target.arrived) return false;
    this.affinity = this.memory.affinity(sticky.client, sticky.frontend);
    const { here } = this.affinity;
    const now = { current: endText(current.image), target: endText(target.image) };
    const chosen = this.planes[0].journey(current.journey).eligibleBackends !== null && this.choseFromEqualSets(flow, packet);
    if (here === null || chosen) this.memory.tie(sticky.client, sticky.frontend, now);
    const kept = here !== null && here.current === now.current && here.target === now.target;
    if (kept) flow.sameChoice = true;
    return kept;
  }
}

/** The node that a packet set out from or came to last, and the remote port it is for. */
export function remoteOf({ outcomes: [, target], view, flow }: Packet): string {
  const tuple = flow?.entry[0] ?? view.tuple;
  return `${target.node >= 0 ? target.node : view.node} ${Tuple.protocol(tuple)} ${endText(tuple)}`;
}

/** Whether a plane's destination is in a set of `ip:port`. */
function holds(backends: readonly string[], outcome: Outcome): boolean {
  const address = addressText(Tuple.destination(outcome.image));
  const port = Tuple.destinationPort(outcome.image);
  return outcome.withoutPorts || backends.includes(address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
}
