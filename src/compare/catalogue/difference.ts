/**
 * What a known difference is: an id, a page that says what each side does, and how it is told: by the situation in which
 * a packet shows it, by what in a cluster makes it possible, or both.
 *
 * Types only. A predicate names the ends, reasons and objects it needs, as narrow as the real behaviour is.
 */
import type { Prefix } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import type { Where } from "../../cluster/problem.js";
import type { Journey } from "../../dataplane.js";
import type { Packet } from "../../replay/loop.js";
import type { Outcome } from "../../replay/outcome.js";
import type { Affinity } from "../memory.js";
import type { Frontend, Names } from "../names.js";

export interface Difference {
  /** Stable: reports, pages and files of accepted differences name it. */
  readonly id: string;
  /** One sentence for a report's row. */
  readonly title: string;
  readonly page: Page;
  /** Options and maps that a capacity limit is of, by which it is looked up too. */
  readonly limits?: readonly string[];
  /** Whether this packet shows it; absent where no packet can. */
  readonly matches?: (situation: Situation) => boolean;
  /** What in a cluster makes it possible, a line for each object or option; empty: it cannot arise there. */
  readonly appliesTo?: (setting: Setting) => readonly string[];
}

export interface Page {
  readonly shownBy: ShownBy;
  /** What kube-proxy, the kernel and, where it is said, Azure NPM or Calico do. */
  readonly kubeProxy: string;
  /** What Cilium does; versions and options where they matter. */
  readonly cilium: string;
  /** Who met it: `owner/repository#number`, or `cilium#number`, `k8s#number`, `AKS#number`. */
  readonly bitten: readonly string[];
  /** What to do before or after the switch. */
  readonly advice: string;
  readonly sources: readonly Source[];
}

/**
 * `packets`: a capture and the objects suffice. `state or option`: it also takes an option's value, a node's state or
 * dated changes of objects. `hazard`: no packet shows it beforehand; only its precondition can be checked. `capacity`:
 * counted in the compiled target, without traffic. `no difference`: often taken for one, and both sides do the same in what is modelled.
 */
export type ShownBy = "packets" | "state or option" | "hazard" | "capacity" | "no difference";

export interface Source {
  /** Document, file with version, thread, or what was executed. */
  readonly what: string;
  readonly known: Evidence;
}

/** How well a source knows it: seen on a kernel or recorded; read in code; documented; told in a thread; not settled. */
export type Evidence = "executed" | "read in source" | "documented" | "thread" | "uncertain";

/** One packet that fares differently, and all that a predicate may ask of it. */
export interface Situation {
  readonly facets: number;
  readonly packet: Packet;
  /** Node where the flow's packets enter; empty where it is not known. */
  readonly entered: string;
  /** The flow's tuple as the sender used it. */
  readonly tuple: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  /** The service frontend that the flow addresses, if any. */
  readonly frontend: Frontend | null;
  readonly names: Names;
  readonly current: Side;
  readonly target: Side;
  readonly currentHasPolicy: boolean;
  /** ns since the flow's packet before; 0 for its first. */
  readonly idleNs: number;
  /** Where session affinity tied this client before; null: the service has none, or this is no request. */
  readonly affinity: Affinity | null;
  /** Connections, this one left out, that the target masqueraded to the same remote port from the sender's node. */
  masqueraded(): number;
  /** A fragment of a datagram whose first fragment the target let through before. */
  followsFirst(): boolean;
  /** The flow had packets before this one. */
  readonly seenBefore: boolean;
  /** NetworkPolicy by the words of its API denies the flow as the current side delivers it. */
  policyDenies(): boolean;
  /** The same for who sent it, whatever address the current side gave the packet on its way. */
  policyDeniesSender(): boolean;
  /** The same between any two addresses, to a port, by the flow's protocol. */
  policyDeniesBetween(source: string, destination: string, port: number): boolean;
  /**
   * What all policies that the target reads say between two addresses, taken as Cilium takes them; `unknown`: it is not said.
   *
   * @param number IP protocol number; absent: the flow's
   */
  targetReads(source: string, destination: string, port: number, way?: Way, number?: number): "allow" | "deny" | "unknown";
  /** As `targetReads`, of NetworkPolicy alone: without Cilium's own kinds and the cluster-wide ones. */
  readsNetworkPolicy(source: string, destination: string, port: number, way?: Way): "allow" | "deny" | "unknown";
  /** What NetworkPolicy says by its words, with an ipBlock that matches pods by their addresses, as Azure NPM and Calico take it. */
  engineReads(source: string, destination: string, port: number, way?: Way): "allow" | "deny" | "unknown";
  /** All policies that the target reads let it pass, one end's by rules alone that hand it to a proxy. */
  targetHandsToProxy(source: string, destination: string, port: number): boolean;
}

/** Whose policies: the sender's or the receiver's; where none is given, both have to allow it. */
export type Way = "egress" | "ingress";

/** What became of the packet in one plane. */
export interface Side extends SettingSide {
  readonly outcome: Outcome;
  readonly journey: Journey;
  readonly reason: string;
  /** Node where the image ended. */
  readonly node: string;
  /** Addresses of the image where it arrived; empty where it did not. */
  readonly sourceSeen: string;
  readonly destination: string;
}

/** A cluster and the two planes, without traffic: what preconditions of hazards may ask. */
export interface Setting {
  readonly cluster: Cluster;
  readonly current: SettingSide;
  readonly target: SettingSide;
}

export interface SettingSide {
  /** As the user names it: `kube-proxy+npm`, `cilium@1.18`, `aks@1.33`. */
  readonly profile: string;
  /** Cilium's minor version; empty where it is no Cilium. */
  readonly version: string;
  /** Cilium's options by Cilium's names; none where it is no Cilium. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Where an option was read; null: it was not; undefined: this version, or what is no Cilium, does not have it. */
  readonly optionPlace?: (name: string) => Where | null | undefined;
  /** Destinations outside pods and nodes that see a pod's own address; absent where that is not known. */
  readonly unmasqueraded?: readonly Prefix[];
  /** Whom kube-proxy takes for a pod: its clusterCIDR; absent where it is no kube-proxy. */
  readonly podRanges?: readonly Prefix[];
  /** Whether a pod's label with this key is part of Cilium's identities; absent where it is no Cilium. */
  readonly keepsLabel?: (key: string) => boolean;
}
