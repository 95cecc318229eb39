/**
 * `twinplane/vitest`: scenarios as tests. Importing it adds the matchers.
 *
 *     import { dataplanes } from "twinplane/vitest";
 *
 *     const cluster = dataplanes({ cluster: ["cluster.yaml"], planes: { target: { profile: "cilium@1.18" } } }, import.meta.url);
 *
 *     test("the policy closes the port", async () => {
 *       await expect(cluster.probe({ from: { pod: "default/client" }, to: { service: "default/web" }, port: 80 }))
 *         .toEnd({ outcome: "dropped", reason: "POLICY_DENIED", because: "default/deny" });
 *     });
 *     test("the scenario files", () => expect("scenarios/").toHold());
 *
 * A probe that cannot be judged, a cluster that cannot be read: those fail the test with and without `.not`.
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { runScenarioFile, runScenarioText, scenarioFiles } from "./cli/scenario-files.js";
import { formatProblem } from "./cluster/problem.js";
import { type ExpectationData, type ProbeData, scenarioText, type SetupData } from "./scenario/data.js";
import { exitCodeOf, type FileResult, renderTests, tallyOf } from "./scenario/render.js";
import type { Expectation } from "./scenario/scenario.js";

export type { ExpectationData, ProbeData, SetupData } from "./scenario/data.js";

/** Packets that go through planes of their own, in order; what is expected is expected of the last. */
export class Probes {
  constructor(readonly setup: SetupData, readonly probes: readonly ProbeData[], readonly folder: string) {}

  /** The same, and one more packet after them: connections stay open, time goes on. */
  probe(next: ProbeData): Probes {
    return new Probes(this.setup, [...this.probes, next], this.folder);
  }
}

/** @param relativeTo the test's own `import.meta.url`, which paths in the setup are relative to; without it the working folder */
export function dataplanes(setup: SetupData, relativeTo?: string): Probes {
  return new Probes(setup, [], relativeTo === undefined ? "." : dirname(fileURLToPath(relativeTo)));
}

interface DataplaneMatchers<R = unknown> {
  /** Of `Probes`: what becomes of the last packet, of every plane or in a block for each. */
  toEnd(expected: ExpectationData): Promise<R>;
  toBeDelivered(more?: Omit<Expectation, "outcome">): Promise<R>;
  /** By Cilium's drop reason or a rule's chain. */
  toBeDropped(reason?: string): Promise<R>;
  toBeUndecided(reason?: string): Promise<R>;
  /** The first two planes differ by exactly these known differences. */
  toDiffer(...ids: readonly string[]): Promise<R>;
  /** No difference between the first two planes. */
  toAgree(): Promise<R>;
  /** Of a path: the scenario file, or every one in the folder, holds. */
  toHold(): Promise<R>;
}

declare module "vitest" {
  // biome-ignore lint/suspicious/noExplicitAny: the declaration that is merged with has it so
  interface Matchers<T = any> extends DataplaneMatchers<T> {}
}

interface MatcherResult {
  readonly pass: boolean;
  message(): string;
}

expect.extend({
  toEnd: (received: unknown, expected: ExpectationData) => judge("toEnd", received, expected),
  toBeDelivered: (received: unknown, more: Omit<Expectation, "outcome"> = {}) =>
    judge("toBeDelivered", received, { ...more, outcome: "delivered" }),
  toBeDropped: (received: unknown, reason?: string) =>
    judge("toBeDropped", received, { outcome: "dropped", ...(reason === undefined ? {} : { reason }) }),
  toBeUndecided: (received: unknown, reason?: string) =>
    judge("toBeUndecided", received, { outcome: "undecided", ...(reason === undefined ? {} : { reason }) }),
  toDiffer: (received: unknown, ...ids: readonly string[]) => judge("toDiffer", received, { difference: ids }),
  toAgree: (received: unknown) => judge("toAgree", received, { difference: "none" }),
  toHold,
});

async function judge(matcher: string, received: unknown, expected: ExpectationData): Promise<MatcherResult> {
  if (!(received instanceof Probes) || received.probes.length === 0) {
    throw new TypeError(`${matcher} takes dataplanes(…).probe(…), not ${String(received)}`);
  }
  const { setup, probes, folder } = received;
  const { problems, scenarios: [scenario] } = await runScenarioText("the test", scenarioText(setup, probes, expected), folder);
  const errors = [...problems, ...scenario?.problems ?? []].filter((one) => one.severity === "error");
  if (errors.length > 0) throw new Error(errors.map(formatProblem).join("\n"));
  const last = scenario.probes[scenario.probes.length - 1];
  const text = [...last.failures, ...last.seen].join("\n");
  if (last.status === "undecided") throw new Error(`undecided\n${text}`);
  return { pass: last.status === "passed", message: () => text };
}

async function toHold(received: unknown): Promise<MatcherResult> {
  if (typeof received !== "string") throw new TypeError(`toHold takes the path of a scenario file or folder, not ${String(received)}`);
  const files: FileResult[] = [];
  for (const file of scenarioFiles([received])) files.push(await runScenarioFile(file));
  const tally = tallyOf(files);
  const text = renderTests(files, (_style, plain) => plain, false);
  if (exitCodeOf(tally) > 1) throw new Error(text);
  return { pass: exitCodeOf(tally) === 0, message: () => text };
}
