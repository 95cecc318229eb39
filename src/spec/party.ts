/** One end of a flow, as NetworkPolicy sees it. */
import type { Address } from "../cluster/address.js";
import type { Pod } from "../cluster/cluster.js";

export interface Party {
  readonly address: Address;
  /** The pod whose own address this is; null for nodes, host-network pods and strangers. */
  readonly pod: Pod | null;
  /** Names of the nodes that have the address; empty for pods and strangers. */
  readonly nodes: readonly string[];
  /** Two running pods claim the address, so what stands behind it is not known. */
  readonly claimedTwice: boolean;
}
