/**
 * Lines of the fields of objects that are kept as they were read, for those kinds whose fields something else reads
 * later: a program's configuration. Texts inside such objects (a ConfigMap's file, which is YAML itself) have lines too.
 */
import type { OtherObject } from "./cluster.js";
import { readDocuments } from "./documents.js";
import type { Path, Positions } from "./positions.js";
import type { Problem, Where } from "./problem.js";

/** Line by path; the parts of a path stand between NULs. A text that begins on the line after its key has TEXT behind it. */
export type FieldLines = ReadonlyMap<string, number>;

const TEXT = "\0|";

/** A document inside an object. */
export interface InnerDocument {
  readonly value: unknown;
  readonly whereOf: (path: Path) => Where;
}

export function readLines(value: unknown, positions: Positions): FieldLines {
  const lines = new Map<string, number>();
  const visit = (part: unknown, path: Path): void => {
    const key = path.join("\0");
    lines.set(key, positions.where(path).line);
    if (typeof part === "string" && positions.isBlock(path)) lines.set(key + TEXT, positions.where(path).line + 1);
    if (part === null || typeof part !== "object") return;
    for (const [name, child] of Object.entries(part)) visit(child, [...path, Array.isArray(part) ? Number(name) : name]);
  };
  visit(value, []);
  return lines;
}

/** The place of a field, or of the nearest around it that has one. */
export function whereOf(object: OtherObject, path: Path): Where {
  for (let length = path.length; length > 0; length--) {
    const line = object.lines?.get(path.slice(0, length).join("\0"));
    if (line !== undefined) return { file: object.where.file, line };
  }
  return object.where;
}

/**
 * The first document in a text of the object, its problems with lines of the object's file; null where the text holds
 * none. A text that is no block of YAML (JSON, quotes) stands on one line.
 */
export function innerDocument(object: OtherObject, path: Path, problems: Problem[]): InnerDocument | null {
  const text = textAt(object, path);
  if (text === null) return null;
  const first = object.lines?.get(path.join("\0") + TEXT);
  const outer = whereOf(object, path);
  const place = (where: Where): Where => (first === undefined || where.line === 0 ? outer
    : { file: outer.file, line: first + where.line - 1 });
  const read = readDocuments({ name: outer.file, text });
  for (const problem of read.problems) problems.push({ ...problem, where: problem.where === null ? outer : place(problem.where) });
  const item = read.items[0];
  return item === undefined ? null : { value: item.value, whereOf: (inner) => place(item.positions.where(inner)) };
}

/** The text at a path; null where there is none. */
export function textAt(object: OtherObject, path: Path): string | null {
  let value: unknown = object.object;
  for (const key of path) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, key)) return null;
    value = (value as Record<string | number, unknown>)[key];
  }
  return typeof value === "string" ? value : null;
}
