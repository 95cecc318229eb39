/**
 * One case of the kernel ring: a cluster, a configuration and flows, as plain data that can be written to a file and
 * read again; and the recording of what a kernel did with it.
 */
import { parsePrefix, type Prefix } from "../../src/cluster/address.js";
import type { Cluster, Node, NodeFacts } from "../../src/cluster/cluster.js";
import { readManifests } from "../../src/cluster/manifests.js";
import { buildCluster } from "../../src/cluster/timeline.js";
import { clusterOf, type Plain } from "../../src/iptables/manifests.fixture.js";
import type { KubeProxyConfig } from "../../src/iptables/kubeproxy/config.js";
import { HERE } from "../../src/iptables/kubeproxy/random.fixture.js";
import type { MasqueradeConfig } from "../../src/iptables/masquerade/cni.js";
import { npmProgram } from "../../src/iptables/npm/generate.js";
import type { IptablesConfig } from "../../src/iptables/planeNode.js";
import type { Transport } from "./frames.js";

export type FrontEnd = "legacy" | "nft";

export interface Case {
  readonly name: string;
  readonly frontEnd: FrontEnd;
  readonly objects: readonly Plain[];
  /** All objects from the change on. */
  readonly later: readonly Plain[];
  /** How the changed rules are loaded: kube-proxy's partial sync, or all of them anew. */
  readonly reload: "partial" | "full";
  /** kube-proxy deletes stale UDP entries after the change. */
  readonly cleanUp: boolean;
  readonly kubeProxy: KubeProxyConfig;
  readonly masquerade: MasqueradeConfig;
  /** Between the change and the new flows, so that affinity ends; ms. */
  readonly pauseMs: number;
  /** With Azure Network Policy Manager's rules and sets. */
  readonly npm: boolean;
  readonly flows: readonly Flow[];
}

export interface Flow {
  /** Where it comes from and goes to, in words, for the table. */
  readonly kind: string;
  /** The device it enters; empty: a process of the node sends it. */
  readonly device: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: Transport;
  readonly sport: number;
  readonly dport: number;
  readonly ttl: number;
  /**
   * The first packet: what opens a connection, one from its middle, one that belongs to none (RST, SYN+ACK, a cookie),
   * or one with a wrong checksum.
   */
  readonly opening: "open" | "middle" | "stray" | "damaged";
  /** After an answer the receiver or a router sends an error about the first packet. */
  readonly error: "none" | "port" | "host" | "size";
  /** Begins after the change. */
  readonly late: boolean;
}

/** Steps in the order of the rounds. */
export type Step = "open" | "answer" | "second" | "answer second" | "error" | "again" | "answer again";

export interface FrameEvent {
  readonly kind: "frame";
  readonly flow: number;
  readonly step: Step;
  /** As Flow.device. */
  readonly device: string;
  readonly bytes: string;
  readonly timeNs: number;
  /** Device and packet of everything that left the node. */
  readonly left: readonly (readonly [string, string])[];
  /** Packets that reached the node's sockets; of IPv6 the header is known in part. */
  readonly local: readonly string[];
  /** What the sending process was told; empty: nothing. */
  readonly errno: string;
}

export type RingEvent = FrameEvent
  | { readonly kind: "change"; readonly timeNs: number }
  /** `iptables-save -c` and `ip6tables-save -c`: a baseline to count from, or what is compared. */
  /** `conntrack -L` of both families, without timeouts, sorted. */
  | { readonly kind: "connections"; readonly lines: readonly string[] }
  | { readonly kind: "counters"; readonly baseline: boolean; readonly texts: readonly [v4: string, v6: string] };

export interface Recording {
  readonly facts: NodeFacts;
  readonly events: readonly RingEvent[];
}

export function nodeOf(facts: NodeFacts): Node {
  return { ...HERE, facts };
}

export function clusterFrom(objects: readonly Plain[], facts: NodeFacts): Cluster {
  const services = (one: Plain): boolean => one.kind === "Service" || one.kind === "EndpointSlice";
  // What policies are about is read as the product reads it; the fixture's services are sloppy on purpose.
  const items = objects.filter((one) => !services(one));
  const { objects: rest, problems } = readManifests([{ name: "cluster.yaml", text: JSON.stringify({ apiVersion: "v1", kind: "List", items }) }]);
  if (problems.length > 0) throw new Error(`the ring's own objects: ${problems[0].what}`);
  const { services: list, endpointSlices } = clusterOf(objects.filter(services));
  return { ...buildCluster(rest), services: list, endpointSlices, nodes: [nodeOf(facts)] };
}

export function configOf(one: Case): IptablesConfig {
  return { kubeProxy: one.kubeProxy, masquerade: one.masquerade, programs: one.npm ? [npmProgram()] : [] };
}

/** A line of `conntrack -L` without its timeout, and with one space between words. */
export function connectionLine(line: string): string {
  return line.trim().replace(/\s+/g, " ").replace(/^(\w+ \d+) \d+/, "$1").replace(/ use=\d+$/, "");
}

/** JSON that keeps prefixes, addresses and bytes. */
export function toText(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof Uint8Array) return { $bytes: Buffer.from(inner).toString("hex") };
    return isPrefix(inner) ? { $prefix: inner.text } : inner;
  });
}

export function fromText<T>(text: string): T {
  return JSON.parse(text, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null) return inner;
    if ("$bytes" in inner) return Uint8Array.from(Buffer.from(inner.$bytes as string, "hex"));
    return "$prefix" in inner ? parsePrefix(inner.$prefix as string) : inner;
  }) as T;
}

function isPrefix(value: unknown): value is Prefix {
  return typeof value === "object" && value !== null && "length" in value && "address" in value && "text" in value;
}
