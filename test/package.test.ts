/** What `npm pack` puts in the package: what the installed command needs, and nothing of the workshop. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "./cli.js";

const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

describe("the package", () => {
  const npm = process.env.npm_execpath;
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const [command, given] = npm?.endsWith(".js") ? [process.execPath, [npm, ...args]] as const : ["npm", args] as const;
  const listed = JSON.parse(execFileSync(command, given, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const files: string[] = listed[0].files.map((one: { path: string }) => one.path);

  it("holds the command, both modules, the programs, the recordings and the documents", () => {
    for (const file of ["bin/twinplane.mjs", "dist/cli/main.js", "build/fast.wasm", "build/traced.wasm", "assembly/index.ts",
      "assembly/abi.gen.ts", "traces/lab/cluster.yaml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"]) {
      expect(files).toContain(file);
    }
    const stories = readdirSync(`${root}traces/lab`, { withFileTypes: true }).filter((one) => one.isDirectory());
    expect(stories.length).toBeGreaterThan(10);
    for (const { name } of stories) {
      for (const file of ["node1.any.pcap", "node2.any.pcap", "case.jsonl"]) expect(files).toContain(`traces/lab/${name}/${file}`);
    }
  });

  it("holds no tests, no sources of the host, no build leftovers", () => {
    expect(files.filter((file) => /\.test\.|\.fixture\.|^(src|test|lab|bench|scripts|node_modules)\/|^build\/(?!\w+\.wasm$)/.test(file))).toEqual([]);
  });

  it("says what to do where it was never built", () => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-unbuilt-"));
    cpSync(`${root}bin`, join(folder, "bin"), { recursive: true });
    const { status, stderr } = spawnSync(process.execPath, [join(folder, "bin/twinplane.mjs"), "check"], { encoding: "utf8" });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^twinplane: .*not built; `npm start`.*\n$/)]);
  });

  it("imports no development dependency", () => {
    const named = new Set(files.filter((file) => /^(dist|bin)\/.*\.m?js$/.test(file)).flatMap((file) =>
      [...readFileSync(`${root}${file}`, "utf8").matchAll(/^(?:import|export|\})(?:.* from)? "([@a-z][\w./@:-]*)";$/gm)].map((match) => match[1])));
    const packages = [...named].filter((name) => !name.startsWith("node:")).map((name) => name.split("/").slice(0, name[0] === "@" ? 2 : 1).join("/"));
    expect(packages.length).toBeGreaterThan(2);
    expect(packages.filter((name) => manifest.dependencies[name] === undefined
      && manifest.peerDependencies[name] === undefined)).toEqual([]);
  });
});
