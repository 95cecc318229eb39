/** A value held against a schema: what does not fit, each with its path. Reads the part of JSON Schema in schema.ts. */
import type { Path } from "../cluster/positions.js";
import type { Schema } from "./schema.js";

export interface Misfit {
  readonly path: Path;
  /** What was found and what was expected. */
  readonly what: string;
}

export function misfits(value: unknown, schema: Schema, path: Path = []): Misfit[] {
  if (schema.anyOf !== undefined) {
    const meant = schema.anyOf.find((one) => one.type === undefined || isType(value, one.type));
    if (meant === undefined) return [{ path, what: `found ${shown(value)}, expected ${schema.anyOf.map(expected).join(", or ")}` }];
    return misfits(value, meant, path);
  }
  if (schema.type !== undefined && !isType(value, schema.type)) {
    return [{ path, what: `found ${shown(value)}, expected ${expected(schema)}` }];
  }
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((one, index) => misfits(one, items, [...path, index]));
  }
  if (typeof value === "object" && value !== null) return fieldMisfits(value as Record<string, unknown>, schema, path);
  return scalarFits(value, schema) ? [] : [{ path, what: `found ${shown(value)}, expected ${expected(schema)}` }];
}

function fieldMisfits(value: Readonly<Record<string, unknown>>, schema: Schema, path: Path): Misfit[] {
  const { properties = {}, required = [], additionalProperties = true } = schema;
  const found: Misfit[] = [];
  for (const name of required) {
    if (!Object.hasOwn(value, name)) found.push({ path, what: `found no ${name}, expected ${expected(properties[name])}` });
  }
  for (const [name, child] of Object.entries(value)) {
    const inner = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (inner === false) {
      found.push({ path: [...path, name], what: `unknown field ${name}, expected ${Object.keys(properties).join(", ")}` });
    } else if (inner !== true) found.push(...misfits(child, inner, [...path, name]));
  }
  const count = Object.keys(value).length;
  if (count < (schema.minProperties ?? 0) || count > (schema.maxProperties ?? count)) {
    found.push({ path, what: `found ${count} fields, expected ${expected(schema)}${
      Object.keys(properties).length > 0 ? ` (one of ${Object.keys(properties).join(", ")})` : ""}` });
  }
  return found;
}

function scalarFits(value: unknown, schema: Schema): boolean {
  if (schema.enum !== undefined && !schema.enum.includes(value as string)) return false;
  if (typeof value === "string") return schema.pattern === undefined || new RegExp(schema.pattern).test(value);
  return typeof value !== "number" || (value >= (schema.minimum ?? value) && value <= (schema.maximum ?? value));
}

function isType(value: unknown, type: NonNullable<Schema["type"]>): boolean {
  switch (type) {
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isSafeInteger(value);
    default:
      return typeof value === type;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  object: "a mapping", array: "a list", string: "text", integer: "a whole number", boolean: "true or false",
};

function expected(schema: Schema): string {
  const what = schema.description === undefined ? "" : ` (${schema.description})`;
  if (schema.enum !== undefined) return `${schema.enum.join(", ")}${what}`;
  const range = schema.minimum === undefined ? "" : ` from ${schema.minimum} to ${schema.maximum}`;
  return `${TYPES[schema.type ?? "object"]}${range}${what}`;
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "nothing";
  if (typeof value === "object") return "a mapping";
  return typeof value === "string" ? `"${value.length > 60 ? `${value.slice(0, 60)}…` : value}"` : String(value);
}
