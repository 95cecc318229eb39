/**
 * One field of a manifest while it is read: its value, its place, and the ways to say what is wrong with it.
 *
 * Readers ask a field for the type they expect. A wrong type is refused as the API server's decoder refuses
 * it: a Problem with the line, and the whole object is not used (`ObjectReading.refused`). An entry that can
 * be left out without changing the meaning of the rest is skipped instead, also with a Problem.
 */
import type { Positions } from "./positions.js";
import type { Problem, Where } from "./problem.js";

/** An object under way. */
export class ObjectReading {
  /** `NetworkPolicy default/web`, as far as it is known. */
  title = "object";
  refused = false;

  constructor(readonly positions: Pick<Positions, "where">, readonly problems: Problem[]) {}

  root(value: unknown): Field {
    return new Field(this, value, null, "");
  }
}

export class Field {
  constructor(
    private readonly reading: ObjectReading,
    /** undefined where the field is absent. */
    readonly value: unknown,
    private readonly parent: Field | null,
    private readonly key: string | number,
  ) {}

  /** Absent or null, which Kubernetes treats alike. */
  get absent(): boolean {
    return this.value === undefined || this.value === null;
  }

  get(key: string): Field {
    const holder = this.mapping();
    const value = holder === null || !Object.hasOwn(holder, key) ? undefined : holder[key];
    return new Field(this.reading, value, this, key);
  }

  items(): Field[] {
    if (this.absent) return [];
    if (!Array.isArray(this.value)) {
      this.wrongType("a list");
      return [];
    }
    return this.value.map((item, index) => new Field(this.reading, item, this, index));
  }

  fields(): Field[] {
    const holder = this.mapping();
    if (holder === null) return [];
    return Object.keys(holder).map((key) => new Field(this.reading, holder[key], this, key));
  }

  /** The last part of the path. */
  get name(): string {
    return String(this.key);
  }

  string(fallback = ""): string {
    if (this.absent) return fallback;
    if (typeof this.value === "string") return this.value;
    this.wrongType("text");
    return fallback;
  }

  integer(fallback: number): number {
    if (this.absent) return fallback;
    if (typeof this.value === "number" && Number.isSafeInteger(this.value)) return this.value;
    this.wrongType("a whole number");
    return fallback;
  }

  boolean(fallback: boolean): boolean {
    if (this.absent) return fallback;
    if (typeof this.value === "boolean") return this.value;
    this.wrongType("true or false");
    return fallback;
  }

  /** One of the given values; another one is refused. */
  oneOf<T extends string>(allowed: readonly T[], fallback: T): T {
    const text = this.string(fallback);
    const found = allowed.find((one) => one === text);
    if (found !== undefined) return found;
    this.refuse(`found "${text}", expected ${allowed.join(" or ")}`);
    return fallback;
  }

  /** A map of text to text. */
  stringMap(): Record<string, string> {
    // A null value decodes to the empty string. fromEntries, since `__proto__` may be a key.
    return Object.fromEntries(this.fields().map((field) => [field.name, field.string()]));
  }

  where(): Where {
    return this.reading.positions.where(this.path());
  }

  /** The API server, or the program it is for, would not take the object: it is not used. */
  refuse(what: string, by = "the API server"): void {
    this.reading.refused = true;
    this.problem("error", `${what}; ${by} would refuse the ${this.kind()}, so it is not used`);
  }

  /** This entry is not used, the rest of the object is. */
  skip(what: string): void {
    this.problem("error", `${what}; the entry is not used`);
  }

  warn(what: string): void {
    this.problem("warning", what);
  }

  /** Warns of fields outside the list: the API server drops them, so a misspelt one has no effect. */
  onlyKnows(...known: string[]): void {
    for (const field of this.fields()) {
      if (known.includes(field.name)) continue;
      field.warn(`unknown field, which the API server ignores; expected ${known.join(", ")}`);
    }
  }

  private mapping(): Record<string, unknown> | null {
    if (this.absent) return null;
    if (typeof this.value !== "object" || Array.isArray(this.value)) {
      this.wrongType("a mapping");
      return null;
    }
    return this.value as Record<string, unknown>;
  }

  private wrongType(expected: string): void {
    this.refuse(`found ${describe(this.value)}, expected ${expected}`);
  }

  private problem(severity: "error" | "warning", what: string): void {
    const path = this.pathText();
    this.reading.problems.push({ where: this.where(), severity,
      what: `${this.reading.title}${path === "" ? "" : `: ${path}`}: ${what}` });
  }

  private kind(): string {
    return this.reading.title.split(" ")[0];
  }

  private path(): (string | number)[] {
    const path: (string | number)[] = [];
    for (let field: Field = this; field.parent !== null; field = field.parent) path.push(field.key);
    return path.reverse();
  }

  /** `spec.ingress[0].toPorts`; empty for the object itself. */
  pathText(): string {
    const parts = this.path().map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`));
    return parts.join("").replace(/^\./, "");
  }
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return `"${value.length > 60 ? `${value.slice(0, 60)}…` : value}"`;
  if (typeof value === "boolean") return `${value} (YAML reads yes, no, on, off, y and n so; quote text)`;
  return `${value}`;
}
