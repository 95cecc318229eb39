/** A dump that comes in chunks, however it is cut, reads as the same dump whole: objects, lines and problems. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { load } from "js-yaml";
import { Random } from "../../test/policy-ring/random.js";
import { testSeed } from "../../test/seed.js";
import { root } from "../../test/cli.js";
import { readManifests } from "./manifests.js";
import { pieces } from "./pieces.js";

const chance = new Random(testSeed("pieces"));

function chunks(text: string, most: number): string[] {
  const cut: string[] = [];
  for (let at = 0; at < text.length;) {
    const next = at + 1 + chance.below(most);
    cut.push(text.slice(at, next));
    at = next;
  }
  return cut;
}

const LAB = readFileSync(join(root, "traces/lab/cluster.yaml"), "utf8");
const objects = LAB.split(/^---$/m).map((one) => load(one)).filter((one) => one !== undefined && one !== null) as object[];
const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, data: { a: "aHVzaA==" } };
const list = { apiVersion: "v1", items: [...objects, secret], kind: "List", metadata: { resourceVersion: "" } };
const tricky = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "t", namespace: "kube-system" },
  data: { text: 'a "quote" \\ [ { ] } \\" , :', items: "- no\n---\nitems:\n- x\n", "\\": "\\" } };
const YAML_LIST = `apiVersion: v1
# a list
items:
${LAB.split(/^---\n/m).filter((one) => /\S/.test(one)).map((one) => `- ${one.trimEnd().split("\n").join("\n  ")}`).join("\n")}
- apiVersion: v1
  data:
    text: |
      items:
      - not an item
      - kind: Pod
  kind: ConfigMap
  metadata:
    name: block
    namespace: kube-system
kind: List
metadata:
  resourceVersion: ""
`;

const texts: readonly (readonly [string, string])[] = [
  ["YAML documents", LAB], ["a YAML list", YAML_LIST], ["a YAML list with its dashes indented", YAML_LIST.replace(/^(?=[- ])/gm, "  ")],
  ["two YAML lists", `${YAML_LIST}---\n${YAML_LIST.replaceAll("name: ", "name: second-")}`],
  ["CRLF", YAML_LIST.replaceAll("\n", "\r\n")],
  ["a JSON list", JSON.stringify(list, null, 4)], ["a JSON list on one line", JSON.stringify(list)],
  ["lists in a row, one damaged", [JSON.stringify({ ...list, items: objects.slice(0, 3) }),
    JSON.stringify({ ...list, items: [...objects.slice(3, 5), tricky] }, null, 1).replace('"metadata":', '"metadata"'),
    JSON.stringify(tricky)].join("\n")],
  ["a typed list", JSON.stringify({ kind: "PodList", apiVersion: "v1", metadata: {}, items: objects
    .filter((one) => (one as { kind?: string }).kind === "Pod")
    .map((one) => ({ metadata: (one as { metadata: object }).metadata, spec: (one as { spec: object }).spec })) })],
  ["a list in a list", JSON.stringify({ ...list, items: [{ ...list, items: objects.slice(0, 2) }, tricky] })],
  ["a bad item", JSON.stringify({ ...list, items: [{ kind: "Pod" }, 7, "text", tricky] }, null, 2)],
];

describe("a dump in chunks", () => {
  it.each(texts)("%s", (_what, text) => {
    const whole = readManifests([{ name: "f", text }]);
    expect(Object.values(whole.objects).some((one) => one.length > 0)).toBe(true);
    for (const most of [1, 7, 300, 100_000]) {
      expect(readManifests([{ name: "f", chunks: chunks(text, most) }])).toEqual(whole);
    }
  });

  it("that ends early is used up to its end", () => {
    const text = JSON.stringify(list, null, 2);
    for (const most of [5, 1000]) {
      const read = readManifests([{ name: "f", chunks: chunks(text.slice(0, text.length / 2), most) }]);
      const whole = readManifests([{ name: "f", text: text.slice(0, text.length / 2) }]);
      expect(read.objects).toEqual(whole.objects);
      expect(read.problems.map((one) => one.what)).toEqual([expect.stringMatching(/^the text ends inside the value/)]);
    }
  });

  it("is handed on item by item, and the data of Secrets goes no further", () => {
    const found = [...pieces(chunks(JSON.stringify(list), 64))];
    expect(found).toHaveLength(list.items.length);
    expect(Math.max(...found.map((one) => one.text.length))).toBeLessThan(3000);
    expect(JSON.stringify(readManifests([{ name: "f", chunks: [JSON.stringify(list)] }]))).not.toContain("aHVzaA");
  });

  it("an array's items are pieces where that is asked for", () => {
    const found = pieces(['[ {"a":[1]},\n{"b"', ":2} ]"], true);
    expect([...found].map((one) => [one.text.trim(), one.firstLine])).toEqual([['{"a":[1]}', 1], ['{"b":2}', 2]]);
  });
});
