/**
 * The way that a plane sent a packet, held against the points that were captured. Nodes lower the TTL when they forward,
 * so what is left of it between two points tells how many did.
 */
import { Emission, type StepResults } from "../dataplane.js";
import type { Sighting } from "./flows.js";
import type { Injection } from "./injection.js";
import { readImage } from "./reading.js";
import { sameTuple, TUPLE_BYTES } from "./tuple.js";
import type { View } from "./view.js";

const HEADER = { ttl: 0, tunnelled: false, tuple: new Uint8Array(TUPLE_BYTES) };

export class Trail {
  /** `covered`: whether the captures see everything that crosses this device of this node. */
  constructor(private readonly covered: (node: number, device: number) => boolean) {}

  /** The last captured point on the row's way, and the hops from there until it arrived with this TTL. */
  behind(results: StepResults, row: number, arrivedTtl: number, started: Injection, into: Sighting): void {
    into.hops = -1;
    for (let index = results.firstEmission[row + 1] - 1; index >= results.firstEmission[row]; index--) {
      const node = results.emissionNode[index];
      const device = results.emissionDevice[index];
      if (results.emissionKind[index] === Emission.Local || !this.covered(node, device) || !this.read(results, index)) continue;
      if (results.emissionMade[index] === 0 || HEADER.tunnelled) return sight(into, node, device, HEADER.ttl - arrivedTtl);
    }
    if (started.device !== 0 && this.covered(started.node, started.device)
      && readImage(started.bytes, started.offset, started.length, HEADER)) {
      sight(into, started.node, started.device, HEADER.ttl - arrivedTtl);
    }
  }

  /** Whether the row sent a packet with the view's addresses and ports through the view's point. */
  crosses(results: StepResults, row: number, view: View): boolean {
    for (let index = results.firstEmission[row]; index < results.firstEmission[row + 1]; index++) {
      if (results.emissionNode[index] !== view.node || results.emissionDevice[index] !== view.device
        || results.emissionKind[index] !== view.kind || !this.read(results, index)) continue;
      if (view.isFragment || sameTuple(HEADER.tuple, 0, view.tuple, 0)) return true;
    }
    return false;
  }

  private read(results: StepResults, index: number): boolean {
    return readImage(results.bytes, results.emissionOffset[index], results.emissionLength[index], HEADER);
  }
}

function sight(into: Sighting, node: number, device: number, hops: number): void {
  into.node = node;
  into.device = device;
  into.hops = Math.max(0, hops);
}
