/**
 * The points of a cluster as replay needs them: numbers for nodes, kinds and names of devices, and where a packet
 * crossed when the capture does not say (then addresses decide).
 */
import type { Cluster, Device } from "../cluster/cluster.js";
import { Emission } from "../dataplane.js";
import { Tuple } from "./tuple.js";

interface NodePoints {
  readonly name: string;
  readonly assumed: boolean;
  readonly devices: ReadonlyMap<number, Device>;
  readonly uplink: number;
  /** Address (bytes joined) -> device of a pod here, or 0 for the node's own. */
  readonly local: ReadonlyMap<string, number>;
  /** Devices whose every crossing is captured; null: all of them. */
  captured: Set<number> | null;
}

export class Topology {
  /** Sorted; planes and frames number nodes by this list. */
  readonly nodes: readonly string[];
  private readonly points: readonly NodePoints[];

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
      return { name, assumed: node.facts.source === "assumed", devices, uplink, local, captured: new Set<number>() };
    });
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

  uplink(node: number): number {
    return this.points[node].uplink;
  }

  /** Captures see everything at this device of the node; device 0: at all of them (`-i any`). */
  cover(node: number, device: number): void {
    if (device === 0) this.points[node].captured = null;
    else this.points[node].captured?.add(device);
  }

  covered(node: number, device: number): boolean {
    const captured = this.points[node].captured;
    if (this.deviceKind(node, device) === "loopback") return false;
    return captured === null || captured.has(device);
  }

  seesAll(node: number): boolean {
    return this.points[node].captured === null;
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
   * Where a packet that was first seen leaving the node came from: the device of the pod that sent it, where that
   * device was not captured; 0: a socket of the node.
   */
  originDevice(node: number, tuple: Uint8Array): number {
    const device = this.points[node].local.get(Tuple.source(tuple).join("."));
    return device === undefined || device === 0 || this.covered(node, device) ? 0 : device;
  }

  /** By addresses: which way a packet seen on the uplink went. */
  directionByAddress(node: number, tuple: Uint8Array): number {
    return this.points[node].local.has(Tuple.source(tuple).join(".")) ? Emission.Out : Emission.In;
  }

  /** The node an address belongs to, itself or one of its pods; -1: none. For captures that name no node. */
  nodeOf(address: Uint8Array): number {
    const key = address.join(".");
    return this.points.findIndex((points) => points.local.has(key));
  }
}
