/**
 * The kernel model against this machine's kernel: random frames go through a real network namespace, what left it
 * must be what the model sends. The recorder is kernel-ring.py beside this file.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { replayRun } from "./lab-replay.fixture.js";

const seed = testSeed("src/linux/kernel");

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const tools = ["ip", "iptables-restore", "ip6tables-restore", "conntrack", "tcpdump"];
  if (tools.some((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)) return false;
  if (spawnSync(python(), ["-c", "import scapy"]).status !== 0) return false;
  const made = spawnSync("ip", ["netns", "add", `tw-ring-try-${process.pid}`]).status === 0;
  if (made) spawnSync("ip", ["netns", "del", `tw-ring-try-${process.pid}`]);
  return made;
}

/** The system's own has scapy where a package manager installed it. */
function python(): string {
  return existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but the kernel ring cannot run here");
}

describe.skipIf(!present)("a real kernel (needs root, network namespaces, tcpdump, conntrack, scapy)", () => {
  it("agrees with the model about random frames", () => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-ring-"));
    try {
      const run = join(folder, "traces/lab/ring-nth");
      mkdirSync(run, { recursive: true });
      const recorded = spawnSync(python(), [join(import.meta.dirname, "kernel-ring.py"), run, String(seed), "600"],
        { encoding: "utf8" });
      expect(recorded.status, recorded.stderr).toBe(0);
      const result = replayRun(folder, "ring-nth");
      const row = result.cases.get("T01");
      console.log(row, [...result.undecided]);
      expect(result.disagreements.slice(0, 20)).toEqual([]);
      expect(row?.input).toBeGreaterThan(1000);
      expect(row?.output).toBeGreaterThan(200);
      expect(row?.undecided).toBeLessThan(25);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
