/**
 * The contract as one text, and its hash. Host and module were built from the same contract exactly if the hashes
 * are equal; documentation does not count.
 */
import * as codeSets from "./codes.js";
import type { Codes, Struct } from "./layout.js";
import { MAX_MAPS, maps } from "./maps.js";
import * as structs from "./structs.js";

/** Sorted, because loaders differ in the order of a module's names. */
export const allStructs: readonly Struct[] = Object.values(structs).sort(byName);
export const allCodes: readonly Codes[] = Object.values(codeSets).sort(byName);

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** FNV-1a, 32 bit, of the contract's text. */
export function contractHash(): number {
  const text = contractText();
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

function contractText(): string {
  const lines: string[] = [`maps ${MAX_MAPS}`];
  for (const { name, size, fields } of allStructs) {
    lines.push(`struct ${name} ${size}`);
    for (const field of fields) lines.push(`${field.offset} ${field.name} ${field.type.kind} ${field.type.size}`);
  }
  for (const { name, values } of allCodes) {
    lines.push(`codes ${name}`);
    for (const [code, number] of Object.entries(values)) lines.push(`${number} ${code}`);
  }
  for (const { name, kind, key, value, node, inner } of maps) {
    const innerText = inner === null ? "-" : `${inner.kind} ${inner.key.name} ${inner.value.name}`;
    lines.push(`map ${name} ${kind} ${key.name} ${value.name} ${node ?? "-"} ${innerText}`);
  }
  return lines.join("\n");
}
