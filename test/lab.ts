/**
 * Sessions on recordings of the kernel lab: one case folder of a run, replayed with the run's cluster and node facts
 * and the rules that twinplane itself generates.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parsePrefix, type Prefix } from "../src/cluster/address.js";
import type { TimelineChange } from "../src/cluster/cluster.js";
import { changesFromEvents } from "../src/cluster/observed-changes.js";
import { buildCluster, buildTimeline } from "../src/cluster/timeline.js";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { parseProfile, type Profile } from "../src/planes.js";
import { runSession, type Session, type SessionInput } from "../src/session.js";

const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;

/** As the lab's rules have it. */
const NETWORK = {
  clusterCidrs: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
  nonMasqueradeCidrs: [prefix("192.168.50.0/24"), prefix("fd00:50::/64")],
};

export interface LabOptions {
  readonly followCapture?: boolean;
  readonly current?: string;
  readonly target?: string;
  readonly traced?: boolean;
}

/** Case folders of a run, T22 last (its parts are T22.1 and T22.4 with the change between). */
export function labCases(run: string): string[] {
  return readdirSync(run).filter((name) => existsSync(join(run, name, "case.json"))).sort();
}

export async function runCase(run: string, name: string, options: LabOptions = {}): Promise<Session> {
  return runSession(caseInput(run, name, options));
}

export function caseInput(run: string, name: string, options: LabOptions = {}): SessionInput {
  const folder = join(run, name);
  const captures = ["node1", "node2"].map((node) => join(folder, `${node}.any.pcap`)).filter((file) => existsSync(file));
  const events = ["node1", "node2"].map((node) => join(folder, `${node}.ct-events.txt`)).filter((file) => existsSync(file));
  const facts = ["node1", "node2"].map((node) => join(run, `${node}.net.json`));
  const inputs = readInputs([join(run, "cluster.yaml"), ...facts, ...events], captures);
  const timeline = buildTimeline({ initial: inputs.objects, facts: inputs.facts, problems: inputs.problems });
  const changes = name === "T22" ? endpointChanges(run, inputs) : [];
  return {
    version: "test", timeline: { ...timeline, changes }, captures: inputs.captures, conntrack: inputs.conntrack,
    current: profile(options.current ?? "kube-proxy"), target: profile(options.target ?? "cilium@1.20"),
    followCapture: options.followCapture ?? true, windowNs: 50e6, minJudged: 0.9, failOn: "any", unreadable: inputs.unreadable,
    wasm: readWasm(), network: NETWORK, seed: 1, traced: options.traced ?? false,
  };
}

/** T22: endpoints leave between T22.1 and T22.4 and come back after; the events of T22 say when. */
function endpointChanges(run: string, inputs: ReturnType<typeof readInputs>): readonly TimelineChange[] {
  const facts = ["node1", "node2"].map((node) => join(run, `${node}.net.json`));
  const after = readInputs([join(run, "cluster-v2.yaml"), ...facts], []);
  const time = (name: string, key: "t0" | "t1"): bigint => caseTime(join(run, name, "case.json"), key);
  const nodes = [...inputs.conntrack].map(([node, flows]) => ({ node, flows }));
  const observed = changesFromEvents(buildCluster(inputs.objects, inputs.facts), buildCluster(after.objects, after.facts), nodes,
    { afterNs: time("T22.1", "t1"), beforeNs: time("T22.4", "t0") }, null);
  return observed.changes;
}

/** Times are beyond what JSON numbers hold exactly, so they are read from the text. */
function caseTime(file: string, key: string): bigint {
  const match = new RegExp(`"${key}":\\s*(\\d+)`).exec(readFileSync(file, "utf8"));
  if (match === null) throw new Error(`${file} has no ${key}`);
  return BigInt(match[1]);
}

function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}
