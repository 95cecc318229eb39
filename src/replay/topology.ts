/**
 * The points of a cluster as replay needs them: numbers for nodes, kinds and names of devices, and where a packet
 * crossed when the capture does not say (then addresses decide).
 */
import type { Cluster, Device } from "../cluster/cluster.js";
import { vlanDevice } from "../cluster/vlans.js";
import { Emission } from "../dataplane.js";
import { Tuple } from "./tuple.js";
import type { View } from "./view.js";

/** Where a packet set out: its sender's pod device, a node's socket, or the uplink by which it came into the cluster. */
export class Origin {
  node = 0;
  /** ifindex; 0: a socket of the node. */
  device = 0;
  /** How often nodes forwarded it, and so lowered its TTL, between there and the point where it was first seen. */
  hops = 0;
  /** Not the point where it was first seen, but concluded from its source address. */
  inferred = false;
}

interface NodePoints {
  readonly name: string;
  readonly assumed: boolean;
  readonly devices: ReadonlyMap<number, Device>;
  readonly uplink: number;
  /** ifindex of a tunnel device; 0: none. */
  readonly tunnel: number;
  /** Address (bytes joined) -> device of a pod here, or 0 for the node's own. */
  readonly local: ReadonlyMap<string, number>;
  /** Devices whose every crossing is captured; null: all of them. */
  captured: Set<number> | null;
}

export class Topology {
  /** Sorted; planes and frames number nodes by this list. */
  readonly nodes: readonly string[];
  private readonly points: readonly NodePoints[];
  /** Address (bytes joined) -> the node that alone has it, itself or by a pod. */
  private readonly owners = new Map<string, number>();
  /** Nodes of which some device may be uncaptured. */
  private partial: number;

  constructor(cluster: Cluster) {
    this.nodes = cluster.nodes.map((node) => node.name).sort();
    this.points = this.nodes.map((name) => {
      const node = cluster.nodes.find((one) => one.name === name)!;
      const local = new Map<string, number>();
      const devices = new Map(node.facts.devices.map((device) => [device.index, device]));
      for (const device of node.facts.devices) for (const { address } of device.addresses) local.set(address.bytes.join("."), 0);
      const deviceOfPod = new Map(node.facts.devices.filter((one) => one.pod !== null).map((one) => [one.pod, one.index]));
      for (const pod of cluster.pods) {
        const device = deviceOfPod.get(`${pod.namespace}/${pod.name}`);
        if (pod.nodeName === name && !pod.hostNetwork && device !== undefined) {
          for (const ip of pod.ips) local.set(ip.bytes.join("."), device);
        }
      }
      const uplink = node.facts.devices.find((device) => device.kind === "uplink")?.index ?? 0;
      const tunnel = node.facts.devices.find((device) => device.kind === "tunnel")?.index ?? 0;
      return { name, assumed: node.facts.source === "assumed", devices, uplink, tunnel, local, captured: new Set<number>() };
    });
    this.partial = this.points.length;
    const shared = new Set<string>();
    this.points.forEach(({ local }, node) => {
      for (const address of local.keys()) {
        if (this.owners.has(address)) shared.add(address);
        this.owners.set(address, node);
      }
    });
    for (const address of shared) this.owners.delete(address);
  }

  nodeIndex(name: string): number {
    return this.nodes.indexOf(name);
  }

  deviceKind(node: number, device: number): string {
    return this.points[node].devices.get(device)?.kind ?? "other";
  }

  deviceName(node: number, device: number): string {
    return this.points[node].devices.get(device)?.name ?? `device ${device}`;
  }

  deviceNamed(node: number, name: string): number {
    for (const device of this.points[node].devices.values()) if (device.name === name) return device.index;
    return 0;
  }

  mac(node: number, device: number): string {
    return this.points[node].devices.get(device)?.mac ?? "";
  }

  /** The VLAN device that takes frames with this tag where they cross `device`, or are of it already; 0: none is known. */
  vlanDevice(node: number, device: number, protocol: number, id: number): number {
    const { devices } = this.points[node];
    const own = devices.get(device)?.vlan;
    return own?.protocol === protocol && own.id === id ? device : vlanDevice(devices.values(), device, protocol, id);
  }

  uplink(node: number): number {
    return this.points[node].uplink;
  }

  tunnel(node: number): number {
    return this.points[node].tunnel;
  }

  /** Captures see everything at this device of the node; device 0: at all of them (`-i any`). */
  cover(node: number, device: number): void {
    if (device === 0) {
      if (this.points[node].captured !== null) this.partial--;
      this.points[node].captured = null;
    } else this.points[node].captured?.add(device);
  }

  covered(node: number, device: number): boolean {
    const captured = this.points[node].captured;
    if (this.deviceKind(node, device) === "loopback") return false;
    if (captured === null || captured.has(device)) return true;
    const below = this.points[node].devices.get(device)?.vlan?.parent;
    return below !== undefined && captured.has(below);
  }

  /** The device itself was captured, and not only what carries it. */
  capturedItself(node: number, device: number): boolean {
    const captured = this.points[node].captured;
    return captured === null || captured.has(device);
  }

  seesAll(node: number): boolean {
    return this.points[node].captured === null;
  }

  /** Every device of every node is captured: what was not seen was not there. */
  get complete(): boolean {
    return this.partial === 0;
  }

  /** Whether a packet that bears this node as its source may have been made by it. */
  isOwnAddress(node: number, address: Uint8Array): boolean {
    return this.points[node].local.get(address.join(".")) === 0;
  }

  isNodeAddress(address: Uint8Array): boolean {
    const key = address.join(".");
    return this.points.some(({ local }) => local.get(key) === 0);
  }

  /** Whether interface numbers in a capture of this node mean the devices known here. */
  knowsIndexes(node: number): boolean {
    return !this.points[node].assumed;
  }

  /** By addresses: which device of the node a packet with this tuple crossed. */
  deviceByAddress(node: number, kind: number, tuple: Uint8Array): number {
    const end = kind === Emission.In ? Tuple.source(tuple) : Tuple.destination(tuple);
    const device = this.points[node].local.get(end.join("."));
    return device === undefined || device === 0 ? this.points[node].uplink : device;
  }

  /**
   * Where a packet came from that was first seen at this point. Its source says so, as long as the captures would not
   * have seen it there; else it starts where it was seen, or, seen on its way out, at a socket of the node. No socket of a node sends
   * with a pod's address: what comes out with one set out at the pod, and the captures lack it there.
   */
  originOf(view: View, into: Origin): void {
    const out = view.kind === Emission.Out;
    into.node = view.node;
    into.device = out ? 0 : view.device;
    into.hops = 0;
    into.inferred = false;
    if (!out && (this.complete || !this.leadsOutside(view.node, view.device))) return;
    const address = Tuple.source(view.tuple).join(".");
    const here = this.points[view.node].local.get(address);
    if (here !== undefined) {
      if (out && here !== 0) this.infer(into, view.node, here, 1);
      return;
    }
    const node = this.owners.get(address);
    const { uplink } = this.points[view.node];
    if (node === undefined) {
      if (out && uplink !== 0 && !this.covered(view.node, uplink)) this.infer(into, view.node, uplink, 1);
      return;
    }
    const device = this.points[node].local.get(address) ?? 0;
    const { uplink: sends, tunnel } = this.points[node];
    const seenThere = [sends, device, tunnel].some((one) => one !== 0 && this.covered(node, one));
    const seenHere = out && this.covered(view.node, uplink);
    if (!seenThere && !seenHere) this.infer(into, node, device, (device === 0 ? 0 : 1) + (out ? 1 : 0));
  }

  private infer(into: Origin, node: number, device: number, hops: number): void {
    into.node = node;
    into.device = device;
    into.hops = hops;
    into.inferred = true;
  }

  private leadsOutside(node: number, device: number): boolean {
    const kind = this.deviceKind(node, device);
    return kind === "uplink" || kind === "tunnel";
  }

  /**
   * By addresses: which way a packet went where it was seen. A pod's device is seen from the node: what the pod sends comes in
   * there. Elsewhere what is of this node goes out. null: it is neither from the pod nor for it.
   */
  directionByAddress(node: number, device: number, tuple: Uint8Array): number | null {
    const { local } = this.points[node];
    const source = local.get(Tuple.source(tuple).join("."));
    if (this.deviceKind(node, device) !== "pod") return source !== undefined ? Emission.Out : Emission.In;
    const sends = source === device;
    const takes = local.get(Tuple.destination(tuple).join(".")) === device;
    return sends === takes ? null : sends ? Emission.In : Emission.Out;
  }

  /** The node an address belongs to, itself or one of its pods; -1: none. For captures that name no node. */
  nodeOf(address: Uint8Array): number {
    const key = address.join(".");
    return this.points.findIndex((points) => points.local.has(key));
  }
}
