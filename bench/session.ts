/** Sessions for benchmarks: the lab's cluster and captures made by traffic.ts. */
import { join } from "node:path";
import { parsePrefix, type Prefix } from "../src/cluster/address.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { parseProfile, type Profile } from "../src/planes.js";
import { type Session, type SessionInput } from "../src/session.js";
import { captureOf, LAB, NODES, type TrafficOptions } from "./traffic.js";

/** Captures of both nodes, whole in memory. */
export function capturesOf(traffic: TrafficOptions): Uint8Array[][] {
  return NODES.map((_, node) => [...captureOf(node, traffic)]);
}

export function labSession(captures: readonly (readonly Uint8Array[])[]): SessionInput {
  const inputs = readInputs([join(LAB, "cluster.yaml"), ...NODES.map((node) => join(LAB, `${node}.net.json`))], []);
  return {
    version: "bench", timeline: buildTimeline({ initial: inputs.objects, facts: inputs.facts, problems: inputs.problems }),
    captures: captures.map((chunks, node) => (
      { file: `${NODES[node]}.pcap`, node: NODES[node], device: "", chunks: chunks[Symbol.iterator]() })),
    conntrack: new Map(), current: profile("kube-proxy"), target: profile("cilium@1.20"), followCapture: true,
    windowNs: 50e6, minJudged: 0.9, failOn: "any", unreadable: 0, wasm: readWasm(), seed: 1, traced: false,
    network: {
      clusterCidrs: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
      nonMasqueradeCidrs: [prefix("192.168.50.0/24"), prefix("fd00:50::/64")],
    },
  };
}

/** Traffic that the planes do not carry as recorded would measure something else: then nothing is measured. */
export function check({ report }: Session, packets: number): void {
  const [current] = report.planes;
  if (report.packets.replayed !== packets) throw new Error(`${report.packets.replayed} of ${packets} packets were replayed`);
  if (report.truth.disagreed > 0) throw new Error(`the traffic is not what a kernel does: ${report.truth.disagreements[0]}`);
  if (report.packets.undecided > 0) throw new Error(`packets were undecided: ${report.undecided[0][0]}`);
  if (current.flowsClosed !== current.flowsAnswered) throw new Error("connections of the current plane did not close");
}

function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === null) throw new Error(`${text} is no prefix`);
  return parsed;
}
