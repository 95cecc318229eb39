/** What a listener is told of every packet, against the report of the same session and the records of its captures. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CaptureReader } from "../src/capture/index.js";
import type { Judged, JudgedClass } from "../src/compare/judged.js";
import { End } from "../src/dataplane.js";
import { runSession } from "../src/session.js";
import { caseInput } from "./lab.js";

const LAB = join(import.meta.dirname, "..", "traces", "lab");
const CLASSES: readonly JudgedClass[] = ["same", "otherChoice", "different", "consequence", "moot", "held", "undecided"];

async function told(story: string, followCapture = true): Promise<{ judged: Judged[]; report: Awaited<ReturnType<typeof runSession>>["report"] }> {
  const judged: Judged[] = [];
  const { report } = await runSession({ ...caseInput(LAB, story, { followCapture }), onJudged: (one) => judged.push(one) });
  return { judged, report };
}

describe.each(["nodeport-cluster", "no-endpoints", "dns-udp", "icmp-errors", "endpoint-leaves", "udp-fragments"])("%s", (story) => {
  it("every packet is told once, in the class that the report counts it in", async () => {
    for (const followCapture of [true, false]) {
      const { judged, report } = await told(story, followCapture);
      expect(judged).toHaveLength(report.packets.replayed);
      expect(new Set(judged.map((one) => `${one.capture} ${one.record}`)).size).toBe(judged.length);
      for (const name of CLASSES) expect([name, judged.filter((one) => one.class === name).length]).toEqual([name, report.packets[name]]);
    }
  });

  it("findings are shown by as many flows and packets as the report has, the first of them its example", async () => {
    const { judged, report } = await told(story);
    expect(new Set(judged.flatMap((one) => (one.finding === null ? [] : [one.finding]))).size).toBe(report.findings.length);
    for (const finding of new Set(judged.flatMap((one) => (one.finding === null ? [] : [one.finding])))) {
      const shown = judged.filter((one) => one.finding === finding);
      expect(shown).toHaveLength(finding.packets);
      expect(shown.filter((one) => one.class === "different")).toHaveLength(finding.flows);
      expect([shown[0].capture, shown[0].record, shown[0].class]).toEqual([finding.firstCapture, finding.firstRecord, "different"]);
      expect(shown[0].sides?.map((side) => side.text)).toEqual([finding.current, finding.target]);
      expect([shown[0].sourceName, shown[0].destinationName]).toEqual([finding.source, finding.destination]);
    }
  });

  it("reasons of what is undecided add up", async () => {
    const { judged, report } = await told(story, false);
    const undecided = judged.filter((one) => one.undecided !== "");
    expect(undecided.map((one) => one.class)).toEqual(undecided.map(() => "undecided"));
    expect(undecided).toHaveLength(report.packets.undecided);
    for (const [reason] of report.undecided) expect(undecided.some((one) => one.undecided.includes(reason))).toBe(true);
  });

  it("times are the captures', an end that arrived has its addresses, and an answer begins where the request arrived", async () => {
    const { judged } = await told(story);
    const times = recordedTimes(story);
    for (const one of judged) {
      expect([one.timeSec, one.timeFracNs]).toEqual(times[one.capture][one.record - 1]);
      for (const side of one.sides ?? []) {
        expect(side.arrived !== null).toBe(side.end === End.Delivered || side.end === End.Left);
        expect(side.node).not.toBe("");
      }
    }
    const requests = new Map<number, Judged>();
    for (const one of judged) {
      if (one.flow < 0 || one.sides === null) continue;
      const request = requests.get(one.flow);
      if (one.kind === "request") requests.set(one.flow, one);
      else if (one.kind === "reply" && request?.sides !== null && request?.sides !== undefined && one.class !== "moot") {
        one.sides.forEach((side, index) => {
          const there = request.sides?.[index].arrived;
          if (there === null || there === undefined) return;
          expect([side.entered.source, side.entered.destination]).toEqual([there.destination, there.source]);
        });
      }
    }
  });
});

/** Seconds and nanoseconds of every record, by capture. */
function recordedTimes(story: string): [number, number][][] {
  return caseInput(LAB, story).captures.map(({ file }) => {
    const reader = new CaptureReader();
    const times: [number, number][] = [];
    reader.push(readFileSync(file));
    reader.end();
    while (reader.next()) times.push([reader.record.timeSec, reader.record.timeFracNs]);
    return times;
  });
}

it("listening changes nothing", async () => {
  const { report } = await runSession(caseInput(LAB, "nodeport-cluster"));
  expect(JSON.stringify(report)).toBe(JSON.stringify((await told("nodeport-cluster")).report));
});
