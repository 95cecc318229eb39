/** DNS answers of the captures, read before the replay where a policy has rules by names: captures are opened twice. */
import type { TimelineChange } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { learnNames, wantedNames } from "../learned-names.js";
import { readDNSAnswers, type SeenAnswer } from "../replay/dns-answers.js";
import type { SessionInput } from "../session.js";
import type { NamedCapture } from "./inputs.js";

/** The input with what the answers say among its dated changes. */
export async function withLearnedNames(input: SessionInput, captures: readonly NamedCapture[]): Promise<SessionInput> {
  const timelines = [input.timeline, input.targetTimeline ?? input.timeline] as const;
  const isWanted = [input.current, input.target].some(({ engine }) => engine === "cilium") ? wantedNames(timelines) : null;
  if (isWanted === null || input.entries !== undefined) return input;
  const problems: Problem[] = [];
  const answers: SeenAnswer[] = [];
  for (const { file, node, again } of captures) {
    if (again === undefined) {
      problems.push({ where: { file, line: 0 }, severity: "warning",
        what: "this can be read only once, so that DNS answers in it say nothing of toFQDNs rules; name a file, or give --fqdn-cache" });
      continue;
    }
    const unread = await readDNSAnswers(again(), node, (answer) => {
      if (isWanted(answer.name)) answers.push(answer);
    });
    if (unread > 0) {
      problems.push({ where: { file, line: 0 }, severity: "warning", what: `${unread} ${unread === 1 ? "packet" : "packets"} from port 53`
        + " cut short, in fragments or of a longer TCP answer; names in them are not learned" });
    }
  }
  const learned = learnNames(timelines, answers, new Set(captures.map(({ node }) => node)), [input.current, input.target],
    input.network.names);
  const changes = [...input.timeline.changes, ...learned.changes].sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
  return { ...input, timeline: new WithChanges(input.timeline, changes, [...problems, ...learned.problems]) };
}

/** A timeline's problems grow while captures are read, so they are asked for at the end. */
class WithChanges {
  constructor(private readonly timeline: SessionInput["timeline"], readonly changes: readonly TimelineChange[],
    private readonly more: readonly Problem[]) {}

  get initial(): SessionInput["timeline"]["initial"] {
    return this.timeline.initial;
  }

  get problems(): readonly Problem[] {
    return [...this.timeline.problems, ...this.more];
  }
}
