/**
 * The library: the same comparison as the command line, for programs. Give it what you have read; `compare` is the whole job,
 * the rest are its parts. Scenarios as tests: `twinplane/vitest`.
 */
export { type CaptureGiven, compare, type CompareGiven } from "./library.js";
export { addressFromBytes, parseAddress, parsePrefix } from "./cluster/address.js";
export type * from "./cluster/cluster.js";
export { readConntrackFlows } from "./cluster/conntrack-flow.js";
export { readManifests } from "./cluster/manifests.js";
export { readNodeFacts } from "./cluster/node-facts.js";
export { formatProblem, type Problem } from "./cluster/problem.js";
export { buildTimeline } from "./cluster/timeline.js";
export { CATALOGUE, UNEXPLAINED } from "./compare/catalogue/index.js";
export type { FiveTuple, Judged, JudgedClass, JudgedListener, JudgedSide } from "./compare/judged.js";
export { END_WORDS } from "./compare/judged.js";
export type { Journey, Plane, Step } from "./dataplane.js";
export { assumedNetwork, checkTarget, parseProfile, type Network, type Profile } from "./planes.js";
export type { Report } from "./report/report.js";
export { renderText } from "./report/text.js";
export { runSession, type Session, type SessionInput } from "./session.js";
export { readWasm } from "./cli/wasm.js";
export { renderTests, tallyOf } from "./scenario/render.js";
export { runScenario, type ScenarioInputs, type ScenarioResult } from "./scenario/run.js";
export { readScenarios, type Scenario } from "./scenario/scenario.js";
export { SCENARIO_SCHEMA } from "./scenario/schema.js";
