/**
 * Every match and target against this machine's kernel: random rules of both families, loaded by both front ends, meet
 * random frames; each rule's and policy's counters, the printed rules and what left must be the model's. The recorder is
 * rule-ring.py beside this file. TWINPLANE_RULE_RING=<rounds> makes it larger (default 1): each round has other rules and
 * frames, and from five rounds on every match, target and option has to be hit at least 20 times.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { replayRing } from "./rule-ring.fixture.js";

const seed = testSeed("src/linux/netfilter/rule-ring");
const rounds = Number(process.env.TWINPLANE_RULE_RING ?? 1);
const frames = 600;

/** Hits that are wanted of each option over all rounds, and the ones that no packet of the ring can reach. */
const wanted = rounds < 5 ? 0 : 20;
const unreachable = [
  // No packet of the ring crosses a bridge, so that these never hold.
  /^-m physdev --physdev/,
  // A forwarded packet has no socket; what a socket sent is not known (see matches/owner.ts).
  /^-m owner --(uid|gid)-owner/, /^-m owner ! --socket-exists/, /^-m owner --suppl-groups/,
  // Asks for no bit at all.
  /^-m conntrack --ctstatus$/, /^-m statistic --mode random/,
  // It notes the address and says no.
  /^-m recent ! --set/,
];

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const tools = ["ip", "ethtool", "iptables-legacy-restore", "ip6tables-legacy-restore", "iptables-nft-restore", "ip6tables-nft-restore"];
  if (tools.some((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)) return false;
  if (spawnSync(python(), ["-c", "import scapy"]).status !== 0) return false;
  const made = spawnSync("ip", ["netns", "add", `tw-rule-try-${process.pid}`]).status === 0;
  if (made) spawnSync("ip", ["netns", "del", `tw-rule-try-${process.pid}`]);
  return made;
}

/** The system's own has scapy where a package manager installed it. */
function python(): string {
  return existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but the rule ring cannot run here");
}

describe.skipIf(!present)("rules on a real kernel (needs root, network namespaces, both iptables, scapy)", () => {
  const hits = new Map<string, number>();

  const runs = Array.from({ length: rounds * 2 }, (_, run) => [run % 2 === 0 ? "legacy" : "nft", seed + run] as const);
  it.each(runs)("iptables-%s, seed %i: the same counters, texts and packets", (frontEnd, run) => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-rules-"));
    try {
      const recorder = join(import.meta.dirname, "rule-ring.py");
      const recorded = spawnSync(python(), [recorder, folder, String(run), String(frames), frontEnd],
        { encoding: "utf8", timeout: 120_000 });
      expect(recorded.status, recorded.stderr.slice(0, 2000)).toBe(0);
      const result = replayRing(folder);
      const { left, rules, disagreements } = result;
      console.log(frontEnd, run, { frames: result.frames, left, rules, disagreements: disagreements.length });
      expect(disagreements.slice(0, 20)).toEqual([]);
      expect(result.frames).toBeGreaterThanOrEqual(frames);
      expect(left).toBeGreaterThan(frames / 4);
      for (const [name, count] of result.hits) hits.set(name, (hits.get(name) ?? 0) + count);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  afterAll(() => {
    const rows = [...hits].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${String(count).padStart(7)}  ${name}`);
    console.log(`hits by match, target and option:\n${rows.join("\n")}`);
  });

  it("reached every match and target often enough", () => {
    const rare = [...hits].filter(([name, count]) => count < wanted && !unreachable.some((one) => one.test(name)));
    expect(rare).toEqual([]);
  });
});
