/** A fault put into a copy of the sources, and the test that must then fail. */
import type { Mutant } from "../mutation.js";

export type Fault = Pick<Mutant, "id" | "file" | "find" | "replace" | "why"> & {
  /** Test file, below the repository's root. */
  readonly seenBy: string;
};
