/**
 * metadata as every object has it, and the syntax of labels and names the API server insists on.
 *
 * Source: apimachinery pkg/util/validation (IsQualifiedName, IsValidLabelValue, IsValidPortName).
 */
import type { ObjectMeta } from "./cluster.js";
import type { Field } from "./field.js";

/** Annotations that repeat whole objects, with whatever secrets those hold. */
const DROPPED_ANNOTATIONS = new Set(["kubectl.kubernetes.io/last-applied-configuration"]);

const QUALIFIED_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/**
 * @param namespaced whether the kind has a namespace; an absent one is then `default`, where kubectl would
 *   create the object
 */
export function readMeta(root: Field, kind: string, namespaced: boolean): ObjectMeta {
  const metadata = root.get("metadata");
  const name = metadata.get("name").string();
  if (name === "") metadata.refuse("found no name, expected metadata.name");
  const labels = readLabels(metadata.get("labels"));
  const annotations = metadata.get("annotations").stringMap();
  for (const dropped of DROPPED_ANNOTATIONS) delete annotations[dropped];
  return {
    kind,
    namespace: namespaced ? metadata.get("namespace").string() || "default" : "",
    name, labels, annotations,
    where: root.where(),
  };
}

/** Names of the kinds that are read: the API server makes sure of them, and rules and chains are written with them. */
export function checkName(metadata: Field, { name, namespace }: ObjectMeta): void {
  const shown = (text: string): string => JSON.stringify(text.slice(0, 80));
  if (name !== "" && (name.length > 253 || !DNS_SUBDOMAIN.test(name))) {
    metadata.get("name").refuse(`found ${shown(name)}, expected a name of at most 253 small letters, digits, - and .`);
  }
  if (namespace !== "" && (namespace.length > 63 || namespace.includes(".") || !DNS_SUBDOMAIN.test(namespace))) {
    metadata.get("namespace").refuse(`found ${shown(namespace)}, expected a namespace of at most 63 small letters, digits and -`);
  }
}

export function readLabels(field: Field): Record<string, string> {
  const labels = field.stringMap();
  for (const label of field.fields()) {
    checkLabelKey(label, label.name);
    if (typeof label.value === "string") checkLabelValue(label, label.value);
  }
  return labels;
}

export function checkLabelKey(field: Field, key: string): void {
  const slash = key.lastIndexOf("/");
  const prefix = key.slice(0, Math.max(0, slash));
  const prefixFits = slash < 0 || (prefix.length <= 253 && DNS_SUBDOMAIN.test(prefix));
  if (prefixFits && QUALIFIED_NAME.test(key.slice(slash + 1))) return;
  field.refuse(`found label key "${key}", expected an optional DNS prefix and a name of at most 63 letters, `
    + "digits, - _ and .");
}

export function checkLabelValue(field: Field, value: string): void {
  if (value === "" || QUALIFIED_NAME.test(value)) return;
  field.refuse(`found label value "${value}", expected at most 63 letters, digits, - _ and .`);
}

/** Whether the text can be a port's name (IANA service name, RFC 6335 section 5.1). */
export function isPortName(text: string): boolean {
  return text.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(text) && /[a-z]/.test(text);
}
