import { addressFromBytes } from "../src/cluster/address.js";
import { FrameBlock, type Plane, StepResults } from "../src/dataplane.js";
import { buildPlane, type Profile } from "../src/planes.js";
import { type Figure, nsPerOperation, perSecond, type Question } from "./bench.js";
import { labSession } from "./session.js";
import { type Entry, entriesOf } from "./traffic.js";

const COPIES = 16;
const LAPS = 20;
/** Connections of the story, and how many of each a run opens. */
const CONNECTIONS = 12;
const NEW = 100;
const MOST_RUNS = 11;

export const question: Question = {
  question: "What does a packet cost each plane, within a connection and opening one? (Floor: both together 200,000 packets a second.)",
  async run(): Promise<Figure[]> {
    const input = labSession([]);
    const figures: Figure[] = [];
    const inside: Figure[] = [];
    for (const profile of [input.current, input.target]) {
      const build = (): Plane => buildPlane("bench", profile, { ...input, cluster: input.timeline.initial, epochNs: 0n, udpCleanup: true });
      inside.push(await established(profile.text, build()));
      figures.push(...inside.slice(-1), await opening(profile.text, build()));
    }
    // The same where what programs pass up goes through the nodes' netfilter.
    const stacked: Profile = { text: "aks@1.34", engine: "cilium", policyEngine: true };
    const build = (): Plane => buildPlane("bench", stacked, { ...input, cluster: input.timeline.initial, epochNs: 0n, udpCleanup: true });
    const name = "aks@1.34, whose nodes masquerade in iptables";
    figures.push(await established(name, build()), await opening(name, build()));
    const sum = (of: "min" | "median" | "max"): number => inside.reduce((total, figure) => total + figure[of], 0);
    const both: Figure = {
      what: "both planes, one after the other, established", unit: "ns", note: "their sum; a whole replay is below",
      min: sum("min"), median: sum("median"), max: sum("max"),
    };
    return [...figures, both, perSecond(both, "both planes, established", "packets/s")];
  },
};

async function established(name: string, plane: Plane): Promise<Figure> {
  const entries = [...entriesOf({ stories: ["clusterip-tcp"], copies: COPIES, laps: LAPS, rate: 20_000 })];
  const opened = CONNECTIONS * COPIES * 3;
  step(plane, blocksOf(entries.slice(0, opened)));
  // Without the ends: the connections stay for the next run.
  const blocks = blocksOf(entries.slice(opened, opened + CONNECTIONS * COPIES * 5));
  const packets = blocks.reduce((sum, block) => sum + block.count, 0);
  return nsPerOperation(`${name}, established`, packets * LAPS, () => {
    let sum = 0;
    for (let lap = 0; lap < LAPS; lap++) sum += step(plane, blocks);
    return sum;
  }, `${CONNECTIONS * COPIES} connections between pods of two nodes through a ClusterIP, blocks of 64`);
}

async function opening(name: string, plane: Plane): Promise<Figure> {
  const traffic = { stories: ["clusterip-tcp"], copies: NEW * MOST_RUNS, laps: 1, rate: 20_000 };
  const syns = [...entriesOf(traffic)].filter((entry) => entry.opens);
  const each = CONNECTIONS * NEW;
  const runs = Array.from({ length: MOST_RUNS }, (_, run) => blocksOf(syns.slice(run * each, (run + 1) * each)));
  return nsPerOperation(`${name}, opening`, each, () => {
    const blocks = runs.pop();
    if (blocks === undefined) throw new Error("more runs than there are new connections for");
    return step(plane, blocks);
  }, "SYNs, every one a new connection");
}

function blocksOf(entries: readonly Entry[]): FrameBlock[] {
  const blocks: FrameBlock[] = [];
  for (const { bytes, node, device, packetType, timeNs, backend, opens } of entries) {
    let block = blocks.at(-1);
    if (block === undefined || block.count === block.capacity) blocks.push(block = new FrameBlock(64, 1 << 14));
    const row = block.push(bytes, 0, bytes.length, bytes.length, 0x0800, packetType, node, device, timeNs);
    const pinned = { address: addressFromBytes(backend.address), port: backend.port };
    if (opens) block.pin[row] = block.pins.push({ backend: pinned, sourcePort: null });
  }
  return blocks;
}

const results = new StepResults(64);

function step(plane: Plane, blocks: readonly FrameBlock[]): number {
  let arrived = 0;
  for (const block of blocks) {
    plane.step(block, results);
    for (let row = 0; row < block.count; row++) {
      // Delivered, or left; anything else is not the traffic this is about.
      if (results.end[row] > 2) throw new Error(`a packet ended otherwise: ${plane.reasons[results.reason[row]]}`);
      arrived++;
    }
  }
  return arrived;
}
