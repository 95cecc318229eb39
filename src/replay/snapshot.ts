/**
 * Whether the addresses of a packet are of the pods that the snapshot of the cluster has for them, at the packet's time.
 * A pod's address was somebody else's before the pod was made, and may be anybody's after it was to be gone; and an
 * address of a node's pod range that no pod has was a pod's that the snapshot does not show. What such a packet would
 * meet is not known.
 *
 * Where the user says when the snapshot was taken, a pod is known to have had its address from when it was made (or, where
 * that is not told, from when the snapshot was taken) until then, and no longer: later the address may be another's. Where he does not,
 * pods are taken to have lived on. A packet without a time of its own (a listing's, an aggregated flow's) is of the snapshot's time.
 */
import { type Address, addressFromBytes, type Prefix, prefixContains } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import type { TakenTime } from "../cluster/taken.js";
import { Tuple } from "./tuple.js";

const GONE = "stale snapshot: a pod address that no pod of it has";
const LATER = "stale snapshot: the pod of an address was made after the packet, or was to be gone before it";
const AFTER = "stale snapshot: the packet is of another time than --snapshot-time, and whose the pod address was then is not known";
/** Clocks of nodes and of the API server differ; it writes whole seconds. */
const SLACK_NS = 5_000_000_000n;

export class Snapshot {
  /** Address -> when its pod was made and was to be gone, ns since the Unix epoch; absent: not known. */
  private readonly pods = new Map<string, { since?: bigint; until?: bigint }>();
  private readonly own = new Set<string>();
  private readonly ranges: readonly Prefix[];
  private readonly judged = new Map<string, Address>();

  constructor(cluster: Cluster, private readonly epochNs: bigint, private readonly taken: TakenTime | null = null) {
    this.ranges = cluster.nodes.flatMap((node) => node.podCIDRs);
    for (const node of cluster.nodes) {
      for (const { address } of node.addresses) this.own.add(address.text);
      for (const device of node.facts.devices) for (const { address } of device.addresses) this.own.add(address.text);
    }
    for (const pod of cluster.pods) {
      if (pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      for (const { text } of pod.ips) this.pods.set(text, pod.lifetime ?? {});
    }
    for (const slice of cluster.endpointSlices) {
      for (const { addresses } of slice.endpoints) for (const { text } of addresses) this.own.add(text);
    }
    for (const { clusterIPs, externalIPs } of cluster.services) for (const { text } of [...clusterIPs, ...externalIPs]) this.own.add(text);
  }

  /** Why a packet with these tuples, as first and as last seen, cannot be judged; empty where it can. @param timeNs null: it has none */
  unfit(first: Uint8Array, last: Uint8Array, timeNs: number | null): string {
    const atNs = timeNs === null ? null : this.epochNs + BigInt(Math.round(timeNs));
    for (const end of [Tuple.source(first), Tuple.destination(first), Tuple.destination(last)]) {
      const reason = this.reason(end, atNs);
      if (reason !== "") return reason;
    }
    return "";
  }

  private reason(bytes: Uint8Array, atNs: bigint | null): string {
    const key = bytes.join(".");
    let address = this.judged.get(key);
    if (address === undefined) {
      address = addressFromBytes(bytes);
      if (this.judged.size < 1 << 16) this.judged.set(key, address);
    }
    const pod = this.pods.get(address.text);
    if (pod !== undefined) {
      if (atNs === null) return "";
      const early = pod.since !== undefined && atNs + SLACK_NS < pod.since;
      if (early || (pod.until !== undefined && atNs > pod.until + SLACK_NS)) return LATER;
      return this.isOther(pod.since, atNs) ? AFTER : "";
    }
    if (this.own.has(address.text)) return "";
    const { ranges } = this;
    const known = address;
    return ranges.some((range) => prefixContains(range, known) && !isEdge(range, known)) ? GONE : "";
  }

  /** Of a time that the snapshot says nothing of, where it says its own. */
  private isOther(since: bigint | undefined, atNs: bigint): boolean {
    const { taken } = this;
    return taken !== null && (atNs > taken.toNs + SLACK_NS || (since === undefined && atNs + SLACK_NS < taken.fromNs));
  }
}

/** A range's first two addresses and its broadcast are nobody's or a router's. */
function isEdge({ address, length }: Prefix, { bytes }: Address): boolean {
  const host = bytes.map((byte, index) => byte ^ address.bytes[index]);
  const low = host[host.length - 1];
  if (host.subarray(0, -1).every((byte) => byte === 0) && low <= 1) return true;
  return bytes.length === 4 && host.reduce((sum, byte) => sum * 256 + byte, 0) === 2 ** (32 - length) - 1;
}
