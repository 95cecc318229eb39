import { join } from "node:path";
import { it } from "vitest";
import { labCases, runCase } from "./lab.js";
it("scratch", async () => {
  for (const run of ["native-nth", "vxlan-nth"]) {
    const folder = join("/work/shared/traces/lab", run);
    for (const name of labCases(folder)) {
      if (process.env.CASE && !name.match(process.env.CASE)) continue;
      try {
        const { report, replay } = await runCase(folder, name, { target: "kube-proxy" });
        const t = report.truth; const p = report.planes[0];
        const bad = t.disagreed > 0 || p.flowsClosed !== p.flowsAnswered || t.undecided.length > 0;
        console.log(bad ? "BAD" : "ok ", run, name, `views ${t.agreed}/${t.views} dis ${t.disagreed} closed ${p.flowsClosed}/${p.flowsAnswered} pins ${replay.counts.pinsTaken[0]}/${replay.counts.pinsOffered} ref ${replay.counts.pinsRefused[0]} moot ${replay.counts.moot[0]} sock? ${replay.counts.socketUnknown}`, JSON.stringify(t.undecided));
        for (const d of t.disagreements.slice(0, Number(process.env.N ?? 4))) console.log("     ", d);
      } catch (e) { console.log("EXC", run, name, (e as Error).stack?.split("\n").slice(0, 6).join("\n")); }
    }
  }
}, 600000);
