import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Emission } from "../dataplane.js";
import { Passages } from "./passages.js";
import { writeTuple } from "./tuple.js";
import { View, ViewPool } from "./view.js";

/** Device 1 is a pod's, 2 the uplink, on both nodes. */
const points = { deviceKind: (_node: number, device: number) => (device === 1 ? "pod" : "uplink"), covered: () => true, uplink: () => 2,
  tunnel: () => 0 };
const WINDOW_NS = 1000;

interface Sight {
  readonly node: number;
  readonly device: number;
  readonly kind: number;
  readonly destination: number;
}

/** From a pod of node 0 to one of node 1, translated on node 0: four views. */
const acrossNodes = (key: number): Sight[] => [
  { node: 0, device: 1, kind: Emission.In, destination: 50 + key }, { node: 0, device: 2, kind: Emission.Out, destination: 90 },
  { node: 1, device: 2, kind: Emission.In, destination: 90 }, { node: 1, device: 1, kind: Emission.Out, destination: 90 },
];

function viewOf(sight: Sight, key: number, timeNs: number, packet: number): View {
  const view = new View();
  Object.assign(view, { node: sight.node, device: sight.device, kind: sight.kind, keyA: key, keyB: key, timeNs, record: packet });
  const addresses = new Uint8Array(32);
  addresses[3] = 7;
  addresses[19] = sight.destination;
  writeTuple(view.tuple, 0, 4, 6, addresses, 0, 16, 1000, 80);
  return view;
}

/** Plays the views and returns, for each passage, the packet numbers of its views. */
function grouped(views: readonly View[], seesAll = false): number[][] {
  const passages = new Passages(points, new ViewPool(), WINDOW_NS, seesAll);
  const groups: number[][] = [];
  const drain = (nowNs: number): void => {
    for (let taken = passages.take(nowNs); taken !== null; taken = passages.take(nowNs)) {
      groups.push(taken.views.map((view) => view.record));
    }
  };
  for (const view of [...views].sort((a, b) => a.timeNs - b.timeNs)) {
    passages.add(view);
    drain(view.timeNs);
  }
  drain(Infinity);
  return groups;
}

describe("Passages", () => {
  it("join the views of each packet and of no other, whatever the packets' keys and times", () => {
    const packets = fc.array(fc.record({
      key: fc.integer({ min: 0, max: 3 }), start: fc.integer({ min: 0, max: 40_000 }), hops: fc.integer({ min: 1, max: 4 }),
    }), { maxLength: 40 });
    fc.assert(fc.property(packets, (list) => {
      // Retransmissions of one packet at one point in one instant cannot be told apart; everything else can.
      const apart = list.filter((one, index) => list.every((other, at) =>
        at >= index || other.key !== one.key || Math.abs(other.start - one.start) > 20));
      const views = apart.flatMap((one, packet) => acrossNodes(one.key).slice(0, one.hops)
        .map((sight, hop) => viewOf(sight, one.key, one.start + hop * 4, packet)));
      const groups = grouped(views);
      expect(grouped(views, true)).toEqual(groups);
      expect(groups).toHaveLength(apart.length);
      for (const group of groups) {
        expect(new Set(group).size).toBe(1);
        expect(group).toHaveLength(apart[group[0]].hops);
      }
    }), { numRuns: 300 });
  });

  it("a packet handed to a pod waits for nothing where every device was captured, but for what came before it", () => {
    const passages = new Passages(points, new ViewPool(), WINDOW_NS, true);
    const waiting = viewOf(acrossNodes(2)[0], 2, 0, 2);
    passages.add(waiting);
    for (const [hop, sight] of acrossNodes(1).entries()) passages.add(viewOf(sight, 1, 1 + hop, 1));
    expect(passages.take(10)).toBeNull();
    expect(passages.take(WINDOW_NS + 1)?.first).toBe(waiting);
    expect(passages.take(WINDOW_NS + 1)?.views).toHaveLength(4);
    const partly = new Passages(points, new ViewPool(), WINDOW_NS, false);
    for (const [hop, sight] of acrossNodes(1).entries()) partly.add(viewOf(sight, 1, 1 + hop, 1));
    expect(partly.take(10)).toBeNull();
  });

  it("the same point twice is a retransmission, not a copy", () => {
    const [first] = acrossNodes(1);
    expect(grouped([viewOf(first, 1, 0, 1), viewOf(first, 1, 5, 2)])).toEqual([[1], [2]]);
  });

  it("an answer with the same payload is no copy of the request that reached the pod", () => {
    const request = acrossNodes(1).map((sight, hop) => viewOf(sight, 1, hop, 1));
    const echo = viewOf({ node: 1, device: 1, kind: Emission.In, destination: 90 }, 1, 10, 2);
    expect(grouped([...request, echo])).toEqual([[1, 1, 1, 1], [2]]);
  });

  it("a copy outside the window is a packet of its own", () => {
    const [first, second] = acrossNodes(1);
    expect(grouped([viewOf(first, 1, 0, 1), viewOf(second, 1, WINDOW_NS + 1, 2)])).toEqual([[1], [2]]);
  });

  it("on the wire between nodes nothing changes: another destination is another packet", () => {
    const views = acrossNodes(1);
    const wire = viewOf(views[1], 1, 1, 1);
    const other = viewOf({ ...views[2], destination: 91 }, 1, 2, 2);
    expect(grouped([viewOf(views[0], 1, 0, 1), wire, other])).toEqual([[1, 1], [2]]);
  });
});
