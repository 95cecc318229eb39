/**
 * Numbers for things that Cilium numbers: identities, services, backends, rule sets.
 *
 * Compilers ask in sorted order, so fresh numbers depend on the cluster only. A plane keeps one set over all
 * changes of its cluster: what had a number keeps it, because live connection entries hold it, and a number
 * is never given to anything else.
 */
export class Numbering {
  private readonly given = new Map<string, number>();
  private next: number;

  constructor(first: number) {
    this.next = first;
  }

  of(key: string): number {
    let number = this.given.get(key);
    if (number === undefined) {
      number = this.next++;
      this.given.set(key, number);
    }
    return number;
  }
}

export interface Numbers {
  /** By identity label text. */
  readonly pods: Numbering;
  /** By prefix. */
  readonly cidrs: Numbering;
  /** By node address, under policy-cidr-match-mode=nodes. */
  readonly remoteNodes: Numbering;
  /** By address, port and protocol. */
  readonly backends: Numbering;
  /** rev_nat_id, by frontend. */
  readonly services: Numbering;
  /** By the text of the rule set. */
  readonly cookies: Numbering;
}

export const FIRST_POD_IDENTITY = 256;
/** Identities of one cluster have 16 bits. */
export const LAST_POD_IDENTITY = 65535;
export const LOCAL_SCOPE = 0x01000000;
export const REMOTE_NODE_SCOPE = 0x02000000;

export function freshNumbers(): Numbers {
  return {
    pods: new Numbering(FIRST_POD_IDENTITY),
    cidrs: new Numbering(LOCAL_SCOPE + 1),
    remoteNodes: new Numbering(REMOTE_NODE_SCOPE + 1),
    backends: new Numbering(1),
    services: new Numbering(1),
    cookies: new Numbering(1),
  };
}
