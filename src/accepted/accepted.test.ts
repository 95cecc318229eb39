/** Files of accepted differences: what fits, what has expired, what cannot be accepted, and what is wrong with a file. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { type Acceptable, type AcceptedEntry, acceptKnown, globMatches } from "./accepted.js";
import { readAccepted } from "./read.js";
import { ACCEPTED_SCHEMA } from "./schema.js";

const TODAY = "2026-11-23";
const known = (id: string): boolean => ["POL-NOENGINE", "NAT-MASQ-SET", "CAP-POLICYMAP", "UNEXPLAINED"].includes(id);
const one: Acceptable = {
  id: "POL-NOENGINE", source: "default/client", destination: "service shop/web", protocol: "TCP", port: 8080, subject: "",
};

function entries(text: string): { entries: readonly AcceptedEntry[]; said: string[] } {
  const { entries: found, problems } = readAccepted({ name: "accepted.yaml", text }, known);
  return { entries: found, said: problems.map(({ where, what }) => `${where?.line}: ${what}`) };
}

function entry(more: string, expires = "2026-12-31", id = "POL-NOENGINE"): string {
  return `accepted:\n  - {id: ${id}, owner: web, reason: known, expires: ${expires}${more === "" ? "" : `, ${more}`}}\n`;
}

describe("what an entry accepts", () => {
  it.each([
    ["", true], ["source: default/*", true], ["source: default/c*t", true], ["source: other/*", false], ["namespace: shop", true],
    ["namespace: default", true], ["namespace: sho", false], ["pod: default/client", true], ["pod: shop/web", false],
    ["service: shop/web", true], ["service: default/client", false], ["destination: service shop/*", true], ["port: 8080", true],
    ["port: 8000-8100", true], ["port: 80", false], ["protocol: TCP", true], ["protocol: UDP", false],
    ["source: default/*, port: 81", false],
  ])("scope {%s}: %s", (scope, accepts) => {
    const { of } = acceptKnown([one], entries(entry(scope)).entries, TODAY);
    expect(of[0] !== null).toBe(accepts);
  });

  it("another id is not accepted", () => {
    expect(acceptKnown([{ ...one, id: "NAT-MASQ-SET" }], entries(entry("")).entries, TODAY).of).toEqual([null]);
  });

  it("until its day, and not after; an expired one says what it would have accepted", () => {
    expect(acceptKnown([one], entries(entry("", TODAY)).entries, TODAY).of[0]).toMatchObject({ owner: "web", expires: TODAY });
    const late = acceptKnown([one], entries(entry("", "2026-11-22")).entries, TODAY);
    expect(late.of).toEqual([null]);
    expect(late.entries).toMatchObject([{ state: "expired", rows: 1 }]);
  });

  it("one that fits nothing is said, beside one that is used", () => {
    const text = `${entry("")}  - {id: NAT-MASQ-SET, owner: net, reason: r, expires: 2027-01-01, port: 53}\n`;
    expect(acceptKnown([one], entries(text).entries, TODAY).entries)
      .toMatchObject([{ state: "used", rows: 1, scope: "" }, { state: "never matched", rows: 0, scope: "port 53" }]);
  });

  it("a limit by its subject", () => {
    const limit = { ...one, id: "CAP-POLICYMAP", source: "", destination: "", port: 0, subject: "default/web and 3 more" };
    const made = entries(entry("subject: default/web*", "2026-12-31", "CAP-POLICYMAP")).entries;
    expect(acceptKnown([limit], made, TODAY).of[0]).not.toBeNull();
    expect(acceptKnown([{ ...limit, subject: "default/db" }], made, TODAY).of[0]).toBeNull();
  });

  it("globs are what a naive search says", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "/", "."), maxLength: 6 });
    const glob = fc.string({ unit: fc.constantFrom("a", "b", "/", ".", "*"), maxLength: 6 });
    fc.assert(fc.property(glob, letters, (pattern, text) => {
      const naive = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(text);
      expect(globMatches(pattern, text)).toBe(naive);
    }), { seed: testSeed("accepted"), numRuns: 3000 });
  });
});

describe("what a file cannot say", () => {
  it.each([
    ["no owner", "accepted:\n  - {id: POL-NOENGINE, reason: r, expires: 2026-12-31}\n", "2: accepted[0]: found no owner"],
    ["no id", "accepted:\n  - {owner: o, reason: r, expires: 2026-12-31}\n", "2: accepted[0]: found no id"],
    ["a wildcard for an id", entry("", "2026-12-31", "POL-*"), '2: accepted[0].id: found "POL-*"'],
    ["an unknown id", entry("", "2026-12-31", "POL-NOSUCH"), "2: accepted[0]: there is no difference POL-NOSUCH"],
    ["no day", entry("", "soon"), '2: accepted[0].expires: found "soon"'],
    ["a day that is none", entry("", "2026-02-30"), '2: accepted[0]: expires: found "2026-02-30"'],
    ["an unknown field", entry("nodes: a"), "2: accepted[0].nodes: unknown field nodes"],
    ["a range turned round", entry("port: 90-80"), '2: accepted[0]: port: found "90-80"'],
    ["an empty owner", "accepted:\n  - {id: POL-NOENGINE, owner: '', reason: r, expires: 2026-12-31}\n", "2: accepted[0]: owner is empty"],
    ["UNEXPLAINED everywhere", entry("", "2026-12-31", "UNEXPLAINED"), "2: accepted[0]: UNEXPLAINED is accepted for one source"],
    ["UNEXPLAINED by a wildcard", entry("source: default/*, destination: default/web", "2026-12-31", "UNEXPLAINED"),
      "found none such as source"],
    ["nothing", "", "0: this file is empty"],
    ["another shape", "- a\n", "accepted differences: found"],
  ])("%s", (_, text, said) => {
    const found = entries(text);
    expect(found.said.join("\n")).toContain(said);
    expect(found.entries).toEqual([]);
  });

  it("a wrong entry leaves the others", () => {
    const text = `${entry("nodes: a")}  - {id: NAT-MASQ-SET, owner: net, reason: r, expires: 2027-01-01}\n`;
    expect(entries(text).entries.map(({ id }) => id)).toEqual(["NAT-MASQ-SET"]);
  });

  it("UNEXPLAINED of one flow's ends is accepted", () => {
    const text = entry("source: default/client, destination: 10.0.0.1", "2026-12-31", "UNEXPLAINED");
    expect(entries(text)).toMatchObject({ said: [], entries: [{ id: "UNEXPLAINED" }] });
  });
});

it("the published schema is the one that files are read by", () => {
  const published = JSON.parse(readFileSync(new URL("../../schema/accepted.schema.json", import.meta.url), "utf8"));
  expect(published).toEqual(JSON.parse(JSON.stringify(ACCEPTED_SCHEMA)));
});
