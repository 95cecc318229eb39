/**
 * A case and what a kernel did with it, as a folder: small ones to be read, all to be replayed without a kernel.
 *
 *     cluster.yaml, later.yaml    the objects before and after the change
 *     case.json                   configuration and flows
 *     v4.rules, v6.rules          the rules that were loaded first
 *     events.jsonl.gz             packets in order, each with what the kernel let out, and its counters
 *     facts.json                  the node
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { dump, loadAll } from "js-yaml";
import type { NodeFacts } from "../../src/cluster/cluster.js";
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import { generatedRules } from "../../src/iptables/planeNode.js";
import { type Case, clusterFrom, configOf, fromText, nodeOf, type Recording, type RingEvent, toText } from "./case.js";

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
  write("case.json", `${toText(rest)}\n`);
  write("facts.json", `${toText(recording.facts)}\n`);
  write("events.jsonl.gz", gzipSync(recording.events.map((event) => `${JSON.stringify(event)}\n`).join(""), { level: 9 }));
  const cluster = clusterFrom(objects, recording.facts);
  for (const family of [4, 6] as const) write(`v${family}.rules`, generatedRules(cluster, nodeOf(recording.facts), family, configOf(one)).text);
}

export function loadStory(folder: string): Story {
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const rest = fromText<Omit<Case, "objects" | "later">>(read("case.json"));
  const events = gunzipSync(readFileSync(join(folder, "events.jsonl.gz"))).toString("utf8").trimEnd().split("\n");
  return {
    one: { ...rest, objects: loadAll(read("cluster.yaml")) as Plain[], later: loadAll(read("later.yaml")) as Plain[] },
    recording: { facts: fromText<NodeFacts>(read("facts.json")), events: events.map((line) => JSON.parse(line) as RingEvent) },
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
