/** The seeded faults of the mutation ring, over both planes. Replay, comparison and report are never mutated. */
import { CURRENT_MUTANTS } from "./mutants-current.js";
import { TARGET_MUTANTS } from "./mutants-target.js";
import type { Mutant } from "./mutation.js";

export const MUTANTS: readonly Mutant[] = [...CURRENT_MUTANTS, ...TARGET_MUTANTS];
