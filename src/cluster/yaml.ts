/**
 * YAML scalars as the Kubernetes tools read them.
 *
 * kubectl and the API server read YAML with a Go library that follows YAML 1.1 with exceptions of its own, so
 * the same text must become the same value here: `yes`, `on` and `y` are true; `0755` is octal and `08` is
 * the float 8; a bare date stays text (js-yaml's own YAML 1.1 schema makes it a Date); there are no base-60
 * numbers, so `12:30` stays text. Source: resolve.go and decode.go of go-yaml v2, which sigs.k8s.io/yaml
 * uses.
 */
import { defineScalarTag, NOT_RESOLVED, Schema, YAML11_SCHEMA } from "js-yaml";

const TRUE = new Set(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"]);
const FALSE = new Set(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]);

const DIGIT_STARTS = [..."+-.0123456789"];
const INTEGER = /^[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)$/;
const FLOAT = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;

const booleanTag = defineScalarTag<boolean>("tag:yaml.org,2002:bool", {
  implicit: true,
  implicitFirstChars: [..."yYnNtTfFoO"],
  resolve: (source) => (TRUE.has(source) ? true : FALSE.has(source) ? false : NOT_RESOLVED),
  identify: () => false,
});

const integerTag = defineScalarTag<number>("tag:yaml.org,2002:int", {
  implicit: true,
  implicitFirstChars: DIGIT_STARTS,
  resolve: (source) => {
    const plain = source.replaceAll("_", "");
    return INTEGER.test(plain) ? integerOf(plain) : NOT_RESOLVED;
  },
  identify: () => false,
});

const floatTag = defineScalarTag<number>("tag:yaml.org,2002:float", {
  implicit: true,
  implicitFirstChars: DIGIT_STARTS,
  resolve: (source) => {
    const plain = source.replaceAll("_", "");
    if (FLOAT.test(plain)) return Number(plain);
    if (/^[-+]?\.(inf|Inf|INF)$/.test(source)) return source.startsWith("-") ? -Infinity : Infinity;
    return /^\.(nan|NaN|NAN)$/.test(source) ? Number.NaN : NOT_RESOLVED;
  },
  identify: () => false,
});

const REPLACED = new Set([booleanTag.tagName, integerTag.tagName, floatTag.tagName,
  "tag:yaml.org,2002:timestamp"]);

/** js-yaml's YAML 1.1 schema with Go's reading of scalars. */
export const KUBERNETES_SCHEMA = new Schema([
  ...YAML11_SCHEMA.tags.filter((tag) => !REPLACED.has(tag.tagName)), booleanTag, integerTag, floatTag,
]);

/** The key a plain scalar becomes: a boolean becomes `true` or `false`, as in Go's conversion to JSON. */
export function plainKey(source: string): string {
  return TRUE.has(source) ? "true" : FALSE.has(source) ? "false" : source;
}

function integerOf(text: string): number {
  const negative = text.startsWith("-");
  const digits = text.replace(/^[-+]/, "");
  const octal = /^0[0-7]+$/.test(digits);
  const value = octal ? Number.parseInt(digits, 8) : Number(digits);
  return negative ? -value : value;
}
