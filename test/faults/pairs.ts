/** Faults of packets' ways in either plane that the comparison of all pairs must show as UNEXPLAINED. */
import { CURRENT_MUTANTS } from "../mutants-current.js";
import { TARGET_MUTANTS } from "../mutants-target.js";
import type { Fault } from "./fault.js";

const WANTED: readonly string[] = ["every-endpoint-is-local", "pods-masqueraded-in-cluster", "local-policy-ignored", "policy-port"];

export const PAIR_FAULTS: readonly Fault[] = [...CURRENT_MUTANTS, ...TARGET_MUTANTS].filter(({ id }) => WANTED.includes(id))
  .map(({ id, file, find, replace, why }) => ({ id: `pairs-${id}`, file, find, replace, why, seenBy: "test/check-names.test.ts" }));
