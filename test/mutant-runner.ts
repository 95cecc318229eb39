/**
 * Replays bundled stories and prints what was found as one line of JSON. It is the child process of the mutation ring
 * (test/mutation.ts), run in a copy of the tree that has one fault in it, so it stands on the product alone.
 *
 * Arguments: stories as `lab/clusterip-tcp`, below traces/. Behind the name may stand `@node1:eth0`: the captures
 * are those of that point of view alone (test/viewpoints.ts). Behind that may stand `+policy`: the
 * policies of test/mutants.policies.yaml are added to the cluster, and the current side judges them by the words of
 * their API; or `+unenforced`: they are added, and the current side has no policy engine.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parsePrefix, type Prefix } from "../src/cluster/address.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { UNEXPLAINED } from "../src/compare/catalogue/index.js";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { parseProfile, type Profile } from "../src/planes.js";
import { runSession, type Session, type SessionInput } from "../src/session.js";
import { seenFrom, viewpointsOf } from "./viewpoints.js";

/** What the checks of twinplane said of one story, or of several taken together. */
export interface Verdicts {
  /** Packets judged to be the same in both planes: that something was looked at. */
  same: number;
  /** Recorded images the current plane did not produce, and the other way round. */
  disagreed: number;
  /** First differing packets that no row of the catalogue fits. */
  unexplained: number;
  /** Flows whose answers did not come back as the sender expects them. */
  notClosedCurrent: number;
  notClosedTarget: number;
  undecided: number;
  /** `ID facet: flows`, sorted. */
  findings: string[];
}

const root = fileURLToPath(new URL("..", import.meta.url));
const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;

/** As the lab's rules have it. */
const NETWORK = {
  clusterCidrs: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
  nonMasqueradeCidrs: [prefix("192.168.50.0/24"), prefix("fd00:50::/64")],
};

export function storyInput(story: string): SessionInput {
  const [place, policy] = story.split("+");
  const [name, viewpoint] = place.split("@");
  const folder = join(root, "traces", name);
  const area = join(folder, "..");
  const nodes = ["node1", "node2"];
  const manifests = [
    join(root, "traces", "lab", "cluster.yaml"), ...nodes.map((node) => join(area, `${node}.net.json`)),
    ...nodes.map((node) => join(folder, `${node}.ct-events.txt`)).filter(existsSync),
    ...(policy === undefined ? [] : [join(root, "test", "mutants.policies.yaml")]),
  ];
  const inputs = readInputs(manifests, nodes.map((node) => join(folder, `${node}.any.pcap`)).filter(existsSync));
  const input: SessionInput = {
    version: "mutation", timeline: buildTimeline({ initial: inputs.objects, facts: inputs.facts, problems: inputs.problems }),
    captures: inputs.captures, conntrack: inputs.conntrack, unreadable: inputs.unreadable,
    current: profile(policy === "policy" ? "kube-proxy+spec" : "kube-proxy"), target: profile("cilium@1.20"),
    followCapture: true, windowNs: 50e6, minJudged: 0.9, failOn: "any", wasm: readWasm(), network: NETWORK, seed: 1, traced: false,
  };
  if (viewpoint === undefined) return input;
  const found = viewpointsOf(folder, area).find((one) => one.name === viewpoint);
  if (found === undefined) throw new Error(`${name} has no point of view ${viewpoint}`);
  return seenFrom(input, found);
}

export function verdictsOf({ report, comparison }: Session): Verdicts {
  const broken = report.problems.filter((problem) => problem.severity === "error");
  if (broken.length > 0) throw new Error(`a story does not load: ${broken[0].what}`);
  const [current, target] = report.planes;
  const unexplained = report.findings.filter((finding) => finding.id === UNEXPLAINED);
  const flows = new Map<string, number>();
  for (const { id, facet, flows: count } of report.findings) flows.set(`${id} ${facet}`, (flows.get(`${id} ${facet}`) ?? 0) + count);
  return {
    same: comparison.counts.same, disagreed: report.truth.disagreed,
    unexplained: unexplained.reduce((sum, finding) => sum + finding.flows, 0),
    notClosedCurrent: current.flowsAnswered - current.flowsClosed, notClosedTarget: target.flowsAnswered - target.flowsClosed,
    undecided: comparison.counts.undecided, findings: [...flows].map(([what, count]) => `${what}: ${count}`).sort(),
  };
}

function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

async function main(stories: readonly string[]): Promise<void> {
  const found: Record<string, Verdicts> = {};
  for (const story of stories) found[story] = verdictsOf(await runSession(storyInput(story)));
  process.stdout.write(`${JSON.stringify(found)}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2));
