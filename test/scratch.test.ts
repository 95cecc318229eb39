import { join } from "node:path";
import { it } from "vitest";
import { labCases, runCase } from "./lab.js";
it("scratch", async () => {
  for (const run of ["native-nth", "vxlan-nth"]) {
    const folder = join("/work/shared/traces/lab", run);
    for (const name of labCases(folder)) {
      if (process.env.CASE && !name.match(process.env.CASE)) continue;
      try {
        const { report, replay } = await runCase(folder, name, { target: process.env.TARGET ?? "cilium@1.20" });
        const t = report.truth; const p = report.planes[0];
        const q = report.planes[1]; const un = report.findings.filter((f) => f.id === "UNEXPLAINED").length; const bad = t.disagreed > 0 || p.flowsClosed !== p.flowsAnswered || q.flowsClosed !== q.flowsAnswered || un > 0 || report.undecided.length > 0;
        console.log(bad ? "BAD" : "ok ", run, name, `views ${t.agreed}/${t.views} dis ${t.disagreed} closed ${p.flowsClosed}/${p.flowsAnswered} target ${q.flowsClosed}/${q.flowsAnswered} unexpl ${un} findings ${report.findings.map((f) => f.id).join()} pins ${replay.counts.pinsTaken[0]}/${replay.counts.pinsOffered} ref ${replay.counts.pinsRefused[0]} moot ${replay.counts.moot[0]} sock? ${replay.counts.socketUnknown}`, JSON.stringify(report.undecided));
        for (const f of report.findings) if (f.id === "UNEXPLAINED") console.log("    U", f.facet, f.example.flow, "|", f.current, "|", f.target, f.packets, f.example.file.split("/").slice(-2).join("/"), f.example.record);
        for (const d of t.disagreements.slice(0, Number(process.env.N ?? 4))) console.log("     ", d);
      } catch (e) { console.log("EXC", run, name, (e as Error).stack?.split("\n").slice(0, 6).join("\n")); }
    }
  }
}, 600000);
