/**
 * What a kernel did with the recorded stories, the model does too; no kernel needed. Stories that a failing ring saved are
 * replayed where TWINPLANE_RING_STORIES names their folder.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compare } from "./compare.js";
import { loadStory, storiesIn } from "./story.js";

const saved = process.env.TWINPLANE_RING_STORIES;
const folders = [...storiesIn(join(import.meta.dirname, "stories")), ...(saved === undefined ? [] : storiesIn(saved))];

describe("stories of the kernel ring", () => {
  it.each(folders)("%s", (folder) => {
    const { one, recording } = loadStory(folder);
    const { disagreements, undecided, packets } = compare(one, recording);
    expect(disagreements).toEqual([]);
    expect([...undecided]).toEqual([]);
    expect(packets).toBeGreaterThan(0);
  });
});
