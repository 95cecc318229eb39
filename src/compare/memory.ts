/**
 * What a comparison keeps of earlier flows, for differences that one flow does not show: which endpoints session
 * affinity tied a client to, and how many connections the target masqueraded to one remote port.
 *
 * Bounded: of affinity the oldest go first; a remote port that finds no room counts as never seen, so that what leans on
 * the count stays unexplained.
 */

import { addressText } from "../cluster/address.js";
import { Tuple } from "../replay/tuple.js";
import { Losses } from "./losses.js";

/** The endpoints, as endText, that one client's connections to one frontend reached in each plane. */
export interface Tied {
  readonly current: string;
  readonly target: string;
}

/** What is known of a client with affinity when its next connection comes. */
export interface Affinity {
  /** By the same frontend; null: none before. */
  readonly here: Tied | null;
  /** By the latest other frontend of the same service port; null: none before. */
  readonly elsewhere: Tied | null;
}

const MOST = 65_536;

export class Memory {
  /** Datagrams of which one plane dropped a part. */
  readonly losses = new Losses();
  /** By client and service port: the frontends in the order of their last new choice. */
  private readonly clients = new Map<string, Map<string, Tied>>();
  private readonly remotes = new Map<string, number>();

  affinity(client: string, frontend: string): Affinity {
    const known = this.clients.get(client);
    if (known === undefined) return { here: null, elsewhere: null };
    const others = [...known].filter(([one]) => one !== frontend);
    return { here: known.get(frontend) ?? null, elsewhere: others.at(-1)?.[1] ?? null };
  }

  tie(client: string, frontend: string, tied: Tied): void {
    const known = this.clients.get(client) ?? new Map<string, Tied>();
    known.delete(frontend);
    known.set(frontend, tied);
    this.clients.delete(client);
    this.clients.set(client, known);
    if (this.clients.size > MOST) this.clients.delete(this.clients.keys().next().value!);
  }

  /** Connections that the target masqueraded with this address to this remote port. */
  masqueraded(remote: string): number {
    return this.remotes.get(remote) ?? 0;
  }

  masquerade(remote: string): void {
    const count = this.remotes.get(remote) ?? 0;
    if (count > 0 || this.remotes.size < MOST) this.remotes.set(remote, count + 1);
  }
}

/** `address port` that a tuple is addressed to. */
export function endText(tuple: Uint8Array): string {
  return `${addressText(Tuple.destination(tuple))} ${Tuple.destinationPort(tuple)}`;
}
