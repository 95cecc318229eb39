import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mutate } from "./test/mutation.js";
import { CILIUM_POLICY_FAULTS } from "./test/faults/cilium-policy.js";
import { CILIUM_PROGRAM_FAULTS } from "./test/faults/cilium-programs.js";
const names = process.argv.slice(2);
const all = [...CILIUM_POLICY_FAULTS, ...CILIUM_PROGRAM_FAULTS];
// check finds first
for (const f of all) { try { mutate(readFileSync(f.file, "utf8"), { ...f, plane: "current", stories: [] } as never); } catch (e) { console.log("BAD", (e as Error).message); } }
if (names[0] === "check") process.exit();
const copy = mkdtempSync("/tmp/fx-");
for (const n of ["src", "test", "build", "assembly", "asconfig.json", "package.json", "tsconfig.json", "vitest.config.ts"]) cpSync(n, join(copy, n), { recursive: true });
symlinkSync("/work/main/node_modules", join(copy, "node_modules"));
for (const f of all.filter((one) => names.includes("all") || names.some((n) => one.id.endsWith(n)))) {
  const file = join(copy, f.file); const text = readFileSync(file, "utf8");
  writeFileSync(file, mutate(text, { ...f, plane: "current", stories: [] } as never));
  const t = Date.now();
  if (f.file.startsWith("assembly/")) { const r = spawnSync("node", ["node_modules/assemblyscript/bin/asc.js", "--target", "fast", "--optimizeLevel", "0"], { cwd: copy, encoding: "utf8" }); if (r.status !== 0) console.log(r.stderr); }
  const r = spawnSync("node", ["node_modules/vitest/vitest.mjs", "run", f.seenBy], { cwd: copy, encoding: "utf8", env: { ...process.env, TWINPLANE_SEED: "20", TWINPLANE_POLICY_PROBES: "20000" }, maxBuffer: 1 << 26 });
  const wrong = /wanted [^"]{0,300}/.exec(r.stdout + r.stderr)?.[0] ?? "";
  console.log(r.status === 0 ? "SURVIVED" : "caught", f.id, `${((Date.now() - t) / 1000).toFixed(0)}s`, wrong.slice(0, 120), r.status !== 0 && wrong === "" ? (r.stdout + r.stderr).slice(-600) : "");
  writeFileSync(file, text);
  if (f.file.startsWith("assembly/")) cpSync("build/fast.wasm", join(copy, "build/fast.wasm"));
}
