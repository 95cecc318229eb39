/** Merged reports against the sums and sets they must be; reports are made up at random. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { mergeReports, type NamedReport } from "./merge.js";
import type { FindingRow, Report } from "./report.js";
import { renderStories } from "./stories.js";

const seed = testSeed("merge");
const number = fc.nat(1000);

const finding: fc.Arbitrary<FindingRow> = fc.record({
  id: fc.constantFrom("NAT-X", "SVC-Y", "UNEXPLAINED"), title: fc.constant("a title"),
  facet: fc.constantFrom("reached", "destination", "source seen", "how refused", "reply restored"), reachesNow: fc.boolean(),
  source: fc.constantFrom("a", "b"), destination: fc.constantFrom("c", "d"), protocol: fc.constantFrom("TCP", "UDP"),
  port: fc.constantFrom(0, 80), current: fc.constant("delivered"), target: fc.constantFrom("dropped", "delivered"),
  flows: fc.integer({ min: 1, max: 9 }), packets: fc.integer({ min: 1, max: 99 }), becauses: fc.constant([]), predicted: fc.constant(null),
  example: fc.record({ file: fc.constantFrom("x.pcap", "y.pcap"), record: number, line: fc.constant(false), flow: fc.constant("tcp") }),
}) as fc.Arbitrary<FindingRow>;

const counted = fc.uniqueArray(fc.tuple(fc.constantFrom("p", "q", "r"), number), { selector: ([text]) => text });

const report = fc.record({
  packets: fc.record({
    records: number, copies: number, replayed: number, inferred: number, matched: number, same: number,
    otherChoice: number, different: number,
    consequence: number, moot: number, contradicted: number, held: number, undecided: number, aside: counted,
  }),
  undecided: counted,
  findings: fc.array(finding, { maxLength: 6 }),
  services: fc.uniqueArray(fc.constantFrom("s1", "s2", "s3")),
  exceeded: fc.boolean(),
  exitCode: fc.constantFrom(0, 1, 2, 3),
}).map((made): Report => ({
  twinplane: "0", captures: [{ file: "x.pcap", node: "n", packets: 1, notes: [] }], facts: [{ node: "n", source: "read" }],
  rules: [{ node: "n", family: 4, source: "generated", verified: "" }],
  planes: [plane("kube-proxy"), plane("cilium")], followCapture: true, packets: made.packets, undecided: made.undecided,
  findings: made.findings, refused: [],
  limits: [{
    id: "L", limit: "l", subject: "s", used: made.packets.same, max: 9, exceeded: made.exceeded, consequence: "c", because: [],
  }],
  hazards: [{ id: "H", title: "t", because: ["b"] }], accepted: null,
  truth: {
    views: made.packets.records, agreed: made.packets.same, disagreed: 0, undecided: made.undecided, consumed: 1, disagreements: ["d"],
  },
  entries: null, flows: null, untouched: { services: made.services, policies: [], rules: { all: 0, never: [] }, serving: [] },
  problems: [{ where: null, severity: "warning", what: "the same" }],
  verdict: { exitCode: made.exitCode, why: `because ${made.exitCode}` },
}) as Report);

function plane(profile: string): Report["planes"][0] {
  return { name: "x", profile, flowsAnswered: 2, flowsClosed: 1, pinsTaken: 3, pinsRefused: 4 };
}

const parts = fc.array(report, { minLength: 1, maxLength: 5 })
  .map((reports) => reports.map((one, index): NamedReport => ({ name: `story-${index}`, report: one })));

const check = (property: fc.IProperty<[NamedReport[]]>): void => fc.assert(property, { seed, numRuns: 200 });
const sum = (given: readonly NamedReport[], of: (one: Report) => number): number =>
  given.reduce((total, part) => total + of(part.report), 0);

describe("mergeReports", () => {
  it("sums every count", () => {
    check(fc.property(parts, (given) => {
      const merged = mergeReports(given);
      for (const key of ["records", "copies", "replayed", "inferred", "matched",
        "same", "otherChoice", "different", "consequence", "moot", "contradicted", "held",
        "undecided"] as const) {
        expect(merged.packets[key]).toBe(sum(given, (one) => one.packets[key]));
      }
      for (const key of ["views", "agreed", "disagreed", "consumed"] as const) {
        expect(merged.truth[key]).toBe(sum(given, (one) => one.truth[key]));
      }
      const all = (list: readonly (readonly [string, number])[]): number => list.reduce((total, [, packets]) => total + packets, 0);
      expect(all(merged.undecided)).toBe(sum(given, (one) => all(one.undecided)));
      expect(all(merged.packets.aside)).toBe(sum(given, (one) => all(one.packets.aside)));
      expect(merged.planes[1].flowsAnswered).toBe(2 * given.length);
      expect(merged.problems).toHaveLength(1);
    }));
  });

  it("loses no finding and no flow, names where each was seen, and lists each once", () => {
    check(fc.property(parts, (given) => {
      const { findings } = mergeReports(given);
      const key = (row: FindingRow): string => JSON.stringify({ ...row, flows: 0, packets: 0, example: 0, stories: 0, reachesNow: 0 });
      expect(new Set(findings.map(key)).size).toBe(findings.length);
      for (const row of findings) {
        const same = given.map(({ name, report: one }) => ({ name, rows: one.findings.filter((other) => key(other) === key(row)) }))
          .filter((part) => part.rows.length > 0);
        expect(row.stories).toEqual(same.map((part) => part.name));
        expect(row.flows).toBe(same.flatMap((part) => part.rows).reduce((total, one) => total + one.flows, 0));
      }
      expect(findings.reduce((total, row) => total + row.packets, 0))
        .toBe(sum(given, (one) => one.findings.reduce((total, row) => total + row.packets, 0)));
    }));
  });

  it("what could not be read or judged is not made good by the rest", () => {
    check(fc.property(parts, (given) => {
      const codes = given.map((part) => part.report.verdict.exitCode);
      const { verdict } = mergeReports(given);
      expect(verdict.exitCode).toBe([2, 3, 1, 0].find((code) => codes.includes(code)));
      if (verdict.exitCode >= 2) expect(verdict.why).toContain(given[codes.indexOf(verdict.exitCode)].name);
    }));
  });

  it("a service counts as untouched where no recording touched it", () => {
    check(fc.property(parts, (given) => {
      const everywhere = ["s1", "s2", "s3"].filter((name) => given.every((part) => part.report.untouched.services.includes(name)));
      expect([...mergeReports(given).untouched.services].sort()).toEqual(everywhere);
    }));
  });
});

describe("renderStories", () => {
  it("shows every id once in each group, what was not judged, and the verdict", () => {
    check(fc.property(parts, (given) => {
      const merged = mergeReports(given);
      const text = renderStories(merged, { paint: (_style, word) => word, verbose: false });
      for (const row of merged.findings) expect(text).toContain(`  ${row.id}  ${row.title}`);
      expect(text).toContain(`exit code ${merged.verdict.exitCode}: ${merged.verdict.why}`);
      if (merged.packets.undecided > 0) expect(text).toMatch(/Undecided: \d+ packet/);
      const quiet = given.filter((part) => part.report.findings.length === 0 && part.report.packets.undecided === 0);
      if (quiet.length === 0) expect(text).toContain("No difference: none of the recordings");
      else expect(text).toContain(`No difference: ${quiet.map((part) => part.name).join(", ")}`);
    }));
  });
});
