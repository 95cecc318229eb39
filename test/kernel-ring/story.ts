/**
 * A case and what a kernel did with it, as a folder: small ones to be read, all to be replayed without a kernel.
 *
 *     cluster.yaml, later.yaml    the objects before and after the change
 *     case.json, flows.jsonl      configuration; who speaks to whom
 *     v4.rules, v6.rules          the rules that were loaded first
 *     events.jsonl.gz             the node's facts; then packets in order, each with what the kernel let out, and its counters
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { dump, loadAll } from "js-yaml";
import type { NodeFacts } from "../../src/cluster/cluster.js";
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import { generatedRules } from "../../src/iptables/planeNode.js";
import { type Case, clusterFrom, configOf, type Flow, fromText, nodeOf, type Recording, type RingEvent, toText } from "./case.js";

export interface Story {
  readonly one: Case;
  readonly recording: Recording;
}

export function saveStory(folder: string, { one, recording }: Story): void {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, text: string | Uint8Array): void => writeFileSync(join(folder, name), text);
  const { objects, later, ...rest } = one;
  write("cluster.yaml", yaml(objects));
  write("later.yaml", yaml(later));
  const { flows, ...configuration } = rest;
  write("case.json", `${toText(configuration)}\n`);
  write("flows.jsonl", flows.map((flow) => `${JSON.stringify(flow)}\n`).join(""));
  const lines = [toText(recording.facts), ...recording.events.map((event) => JSON.stringify(event))];
  write("events.jsonl.gz", gzipSync(lines.join("\n"), { level: 9 }));
  const cluster = clusterFrom(objects, recording.facts);
  for (const family of [4, 6] as const) write(`v${family}.rules`, generatedRules(cluster, nodeOf(recording.facts), family, configOf(one)).text);
}

export function loadStory(folder: string): Story {
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const configuration = fromText<Omit<Case, "objects" | "later" | "flows">>(read("case.json"));
  const [facts, ...events] = gunzipSync(readFileSync(join(folder, "events.jsonl.gz"))).toString("utf8").split("\n");
  const flows = read("flows.jsonl").trimEnd().split("\n").map((line) => JSON.parse(line) as Flow);
  return {
    one: { ...configuration, objects: loadAll(read("cluster.yaml")) as Plain[], later: loadAll(read("later.yaml")) as Plain[], flows },
    recording: { facts: fromText<NodeFacts>(facts), events: events.map((line) => JSON.parse(line) as RingEvent) },
  };
}

/** Folders below this one that hold a story, sorted. */
export function storiesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => join(folder, name)).filter((path) => existsSync(join(path, "case.json"))).sort();
}

function yaml(objects: readonly Plain[]): string {
  return objects.map((one) => `---\n${dump(one, { noRefs: true, lineWidth: 120 })}`).join("");
}
