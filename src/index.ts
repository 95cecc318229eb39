/**
 * The library: the same comparison as the command line, for programs. Reads no files; give it what you have read.
 *
 *     const timeline = buildTimeline({ initial: readManifests(texts).objects });
 *     const { report } = await runSession({ timeline, captures, current, target, … });
 */
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
