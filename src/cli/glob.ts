/** Paths with `*` and `?`, which stand for characters of one name each. A shell does the same for its own arguments. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** The paths that a pattern fits, sorted; none where it has no such character or nothing fits. */
export function globbed(pattern: string): string[] {
  if (!/[*?]/.test(pattern)) return [];
  let found = [pattern.startsWith("/") ? "/" : "."];
  for (const part of pattern.split("/").filter((one) => one !== "")) {
    const fits = new RegExp(`^${part.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`);
    found = found.flatMap((folder) => (/[*?]/.test(part)
      ? names(folder).filter((name) => fits.test(name) && (part.startsWith(".") || !name.startsWith("."))).map((name) => join(folder, name))
      : [join(folder, part)]));
  }
  return found;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
