/** One packet's steps as text. Prints data; computes nothing but layout. */
import type { TracedPacket, TracedSide } from "../compare/watch.js";
import type { Because } from "../dataplane.js";
import type { Report } from "./report.js";

export function renderTrace(packet: TracedPacket): string {
  const lines = [`packet ${packet.record}, ${packet.kind}: ${packet.tuple}`];
  for (const side of packet.sides) lines.push("", ...renderSide(side));
  return `${lines.join("\n")}\n`;
}

/** What the comparison says of a packet that was replayed alone. */
export function renderOutcome({ findings, undecided, packets }: Report): string {
  const lines = findings.map((one) => `differs: ${one.id}  ${one.title}`);
  for (const [reason] of undecided) lines.push(`undecided: ${reason}`);
  const same = packets.otherChoice > 0 ? "no difference but what follows from each side's choice of a backend" : "no difference";
  return `${lines.length === 0 ? same : lines.join("\n")}\n`;
}

function renderSide(side: TracedSide): string[] {
  const reason = side.reason === "" ? "" : ` (${side.reason})`;
  const lines = [`${side.name} (${side.profile}): ${side.end}${reason}${side.image === "" ? "" : `, ${side.image}`}`];
  for (const step of side.steps) {
    lines.push(`  ${step.node.padEnd(8)} ${step.program.padEnd(14)} ${step.what}${step.result === "" ? "" : `  ->  ${step.result}`}`);
    for (const because of step.becauses) lines.push(`           because ${becauseText(because)}`);
  }
  if (side.journey !== null) {
    for (const because of side.journey.becauses) lines.push(`  because ${becauseText(because)}`);
    const backends = side.journey.eligibleBackends ?? [];
    if (backends.length > 0) lines.push(`  could have chosen ${backends.join(", ")}`);
  }
  return lines;
}

function becauseText(because: Because): string {
  const where = because.where === null ? "" : ` (${because.where.file}:${because.where.line})`;
  return `${because.object} ${because.rule}${where}`;
}
