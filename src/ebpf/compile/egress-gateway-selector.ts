/** Fields of CiliumEgressGatewayPolicy as they stand in the object, and its label selectors. */
export type Fields = Readonly<Record<string, unknown>>;

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Whether labels match; keys may say their source (`k8s:`), `prefix` stands before each. What cannot be read of a selector matches. */
export function matchesLabels(selector: Fields, prefix: string, labels: ReadonlyMap<string, string>): boolean {
  const labelOf = (key: unknown): string | undefined => labels.get(prefix + String(key).replace(/^(k8s|any)[:.]/, ""));
  for (const [key, wanted] of Object.entries(fieldsOf(selector["matchLabels"]))) if (labelOf(key) !== wanted) return false;
  for (const { key, operator, values } of listOf(selector["matchExpressions"]).map(fieldsOf)) {
    const value = labelOf(key);
    if (operator === "In" && (value === undefined || !listOf(values).includes(value))) return false;
    if (operator === "NotIn" && value !== undefined && listOf(values).includes(value)) return false;
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
  }
  return true;
}
