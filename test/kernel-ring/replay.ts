/**
 * Replays stories of the kernel ring in the model and prints what it found as one line of JSON; stops at the first that
 * disagrees. It is the child process of the ring's mutation test, run in a copy of the tree with one fault in it.
 *
 * Arguments: folders of stories.
 */
import { pathToFileURL } from "node:url";
import { compare } from "./compare.js";
import { loadStory } from "./story.js";

export interface Replayed {
  /** Stories that were looked at. */
  readonly stories: number;
  readonly packets: number;
  readonly undecided: number;
  /** The first disagreement; empty: none. */
  readonly disagreement: string;
}

export function replay(folders: readonly string[]): Replayed {
  let [stories, packets, undecided] = [0, 0, 0];
  for (const folder of folders) {
    const { one, recording } = loadStory(folder);
    const verdict = compare(one, recording);
    stories++;
    packets += verdict.packets;
    undecided += [...verdict.undecided.values()].reduce((sum, flows) => sum + flows, 0);
    if (verdict.disagreements.length > 0) return { stories, packets, undecided, disagreement: verdict.disagreements[0] };
  }
  return { stories, packets, undecided, disagreement: "" };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.stdout.write(`${JSON.stringify(replay(process.argv.slice(2)))}\n`);
