/** Records of the ring buffer cilium_events as the steps that `trace` shows. */
import { decode, format } from "../contract/codec.js";
import { Program, StepKind } from "../contract/codes.js";
import { codeText } from "../contract/layout.js";
import { maps } from "../contract/maps.js";
import { PolicyKey, ServiceKey, StepRecord } from "../contract/structs.js";
import type { Step } from "../dataplane.js";
import type { MapImage } from "./image.js";
import type { Machine } from "./machine.js";
import { dropReasonName } from "./reasons.js";

const NO_MAP = 0xffff;

/**
 * Steps of one row, oldest first; they are gone from the buffer afterwards. `kernels`: what the row met in nodes'
 * kernels, a list for each time it was handed to one.
 */
export function traceSteps(machine: Machine, image: MapImage, row: number, kernels: readonly (readonly Step[])[] = []): Step[] {
  const steps: Step[] = [];
  let kernel = 0;
  for (const bytes of machine.map("cilium_events").drain()) {
    const record = decode(StepRecord, bytes.subarray(0, StepRecord.size));
    if (record.frame !== row) continue;
    if (record.kind === StepKind.values.STACK) {
      steps.push(...kernels[kernel++] ?? []);
      continue;
    }
    const key = record.key.subarray(0, record.key_size);
    steps.push({
      node: image.nodes[record.node] ?? "",
      program: codeText(Program, record.program),
      what: whatOf(record.kind, record.map, key),
      result: resultOf(record.kind, record.result | 0, record.argument),
      becauses: image.cookies.get(record.cookie) ?? [],
    });
  }
  return steps;
}

function whatOf(kind: number, map: number, key: Uint8Array): string {
  const name = codeText(StepKind, kind).toLowerCase();
  const declared = map === NO_MAP ? undefined : maps[map];
  if (declared !== undefined) {
    const text = key.length === declared.key.size ? format(declared.key, key) : hex(key);
    return `${name} ${declared.name} ${text}`;
  }
  if (kind === StepKind.values.POLICY && key.length === PolicyKey.size)
    return `${name} ${format(PolicyKey, key)}`;
  if (kind === StepKind.values.SERVICE && key.length === ServiceKey.size)
    return `${name} ${format(ServiceKey, key)}`;
  return key.length === 0 ? name : `${name} ${hex(key)}`;
}

function resultOf(kind: number, result: number, argument: number): string {
  if (kind === StepKind.values.LOOKUP) return result === 1 ? "hit" : "miss";
  if (kind === StepKind.values.POLICY) return result === 1 ? "deny" : "allow";
  if (kind === StepKind.values.SERVICE) return `service ${argument} backend ${result >>> 0}`;
  if (result < 0 && result > -1000) return dropReasonName(-result);
  return String(result);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
