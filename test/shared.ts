/** Where test data outside the repository lives: the folder named by TWINPLANE_SHARED, or null where it is absent. */
import { existsSync } from "node:fs";

export function sharedDir(): string | null {
  const dir = process.env.TWINPLANE_SHARED;
  return dir !== undefined && dir !== "" && existsSync(dir) ? dir : null;
}
