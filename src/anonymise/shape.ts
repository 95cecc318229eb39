/**
 * What becomes of each field of an object, as data: a field without a shape is dropped, or, where a verdict could hang on it
 * (`exactly`), makes the object Unmappable, as does a value that no shape takes.
 */
import type { Mapping } from "./mapping.js";
import { WORDS } from "./well-known.js";

/** A value that cannot be mapped; `at` is its path. Its text is nobody's to print. */
export class Unmappable extends Error {
  constructor(readonly at: string, readonly expected: string) {
    super(`${at}: found a value that cannot be mapped, expected ${expected}`);
  }
}

/** undefined: left out. */
export type Shape = (value: unknown, mapping: Mapping, at: string) => unknown;
export type Fields = Readonly<Record<string, Shape>>;
export type Json = Readonly<Record<string, unknown>>;

/** The fields named; others are dropped. */
export function fields(known: Fields): Shape {
  return (value, mapping, at) => (value === null ? null : read(asObject(value, at), known, mapping, at));
}

/** The fields named and those dropped by name; any other is Unmappable. */
export function exactly(known: Fields, dropped: readonly string[] = []): Shape {
  return (value, mapping, at) => {
    if (value === null) return null;
    const object = asObject(value, at);
    const foreign = Object.keys(object).some((key) => !Object.hasOwn(known, key) && !dropped.includes(key));
    if (foreign) throw new Unmappable(at, `only ${[...Object.keys(known), ...dropped].join(", ")}`);
    return read(object, known, mapping, at);
  };
}

export function list(shape: Shape): Shape {
  return (value, mapping, at) => {
    if (value === null) return null;
    if (!Array.isArray(value)) throw new Unmappable(at, "a list");
    return value.map((item, index) => shape(item, mapping, `${at}[${index}]`));
  };
}

/** A number, true or false, or a word of the field's own list. */
export const plain: Shape = (value, _, at) => {
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string" && (WORDS.has(value) || /^\d{1,20}$/.test(value))) return value;
  throw new Unmappable(at, "a number or one of the field's own words");
};

export const name = text((value, mapping) => mapping.name(value));
export const device = text((value, mapping) => mapping.device(value));
export const domain = text((value, mapping) => mapping.domain(value));
export const time = text((value) => (/^[-\d:.TZ+]{10,40}$/.test(value) ? value : null), "a time");
export const address = text((value, mapping) => (value === "" || value === "None" ? value : mapping.addressText(value)),
  "an address or a CIDR");
export const mac = text((value, mapping) => mapping.macText(value) ?? mapping.addressText(value), "a link address");

/** A number, or a port's name. */
export const port: Shape = (value, mapping, at) => (typeof value === "string" && !/^\d+$/.test(value) ? name(value, mapping, at)
  : plain(value, mapping, at));

export const labels: Shape = (value, mapping, at) => {
  if (value === null) return null;
  return Object.fromEntries(Object.entries(asObject(value, at)).map(([key, one]) => [labelKey(key, mapping, at), name(one, mapping, at)]));
};

export const selector = exactly({ matchLabels: labels, matchExpressions: list(exactly({
  key: text((value, mapping) => labelKey(value, mapping, "key"), "a label's key"), operator: plain, values: list(name),
})) });

/** Cilium's selectors name a label's source before a colon, and a namespace's labels with a prefix. */
const NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels.";

export function labelKey(key: string, mapping: Mapping, at: string): string {
  const colon = key.indexOf(":");
  const source = colon > 0 ? key.slice(0, colon) : undefined;
  const rest = key.slice(colon > 0 ? colon + 1 : 0);
  if (source !== undefined && !["k8s", "any", "reserved", "container", "cidrgroup"].includes(source)) {
    throw new Unmappable(at, "label keys of the sources k8s, any, reserved, container and cidrgroup");
  }
  if (source === "reserved" && !WORDS.has(rest)) throw new Unmappable(at, "a reserved label");
  const head = source === undefined ? "" : `${source}:`;
  if (source === "reserved") return key;
  return head + (rest.startsWith(NAMESPACE_LABELS) ? NAMESPACE_LABELS + mapping.labelKey(rest.slice(NAMESPACE_LABELS.length))
    : mapping.labelKey(rest));
}

export function text(map: (value: string, mapping: Mapping) => string | null, expected = "text"): Shape {
  return (value, mapping, at) => {
    if (value === null) return null;
    const mapped = typeof value === "string" ? map(value, mapping) : null;
    if (mapped === null) throw new Unmappable(at, expected);
    return mapped;
  };
}

export function asObject(value: unknown, at: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Unmappable(at, "a mapping");
  return value as Json;
}

function read(object: Json, known: Fields, mapping: Mapping, at: string): Json {
  const kept = Object.keys(object).filter((key) => Object.hasOwn(known, key));
  const mapped = kept.map((key) => [key, known[key](object[key], mapping, `${at}.${key}`)] as const);
  return Object.fromEntries(mapped.filter(([, value]) => value !== undefined));
}
