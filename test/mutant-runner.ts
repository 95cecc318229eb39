/**
 * Replays bundled stories and prints what was found as one line of JSON: the child process of the mutation ring, run
 * in a copy of the tree with one fault in it. Arguments: stories, as `lab/clusterip-tcp` below traces/; `+policy`
 * puts the NetworkPolicies of test/mutant-policies.yaml beside the cluster and judges them on both sides.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parsePrefix, type Prefix } from "../src/cluster/address.js";
import { changesFromEvents } from "../src/cluster/observed-changes.js";
import { buildCluster, buildTimeline } from "../src/cluster/timeline.js";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { parseProfile, type Profile } from "../src/planes.js";
import { runSession } from "../src/session.js";
