/** `compare --accepted`: what somebody answers for is reported and does not fail. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root, runCli } from "./cli.js";

const LAB = join(root, "traces/lab");
const COMPARE = ["compare", "-f", `${LAB}/cluster.yaml`, `${LAB}/node1.net.json`, `${LAB}/node2.net.json`,
  "-r", `node1=${LAB}/nodeport-cluster/node1.any.pcap`, `node2=${LAB}/nodeport-cluster/node2.any.pcap`, "--follow-capture",
  "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-accepted-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(...entries: readonly string[]): string {
  const path = join(folder, "accepted.yaml");
  writeFileSync(path, `accepted:\n${entries.map((one) => `  - {${one}}\n`).join("")}`);
  return path;
}

/** One entry for each id that the recording shows. */
async function allIds(): Promise<string[]> {
  const { stdout } = await runCli([...COMPARE, "-o", "json"]);
  return [...new Set((JSON.parse(stdout).findings as { id: string }[]).map(({ id }) => id))];
}

it("what every entry accepts exits 0, by its owner; with one id left out it exits 1", async () => {
  const ids = await allIds();
  expect(ids.length).toBeGreaterThan(0);
  const accepted = file(...ids.map((id) => `id: ${id}, owner: team-net, reason: known since March, expires: 2027-01-31`));
  const ran = await runCli([...COMPARE, "--accepted", accepted, "--today", "2026-11-23"]);
  expect(ran.stdout).toContain("No difference but what is accepted.");
  expect(ran.stdout).toContain("Accepted, as of 2026-11-23:");
  expect(ran.stdout).toMatch(/team-net until 2027-01-31 \(known since March\)/);
  expect(ran.exitCode, ran.stdout).toBe(0);
  const less = file(`id: ${ids[0]}, owner: o, reason: r, expires: 2027-01-31, source: nobody`);
  const still = await runCli([...COMPARE, "--accepted", less, "--today", "2026-11-23"]);
  expect(still.exitCode).toBe(1);
  expect(still.stdout).toContain(`accepted.yaml:2: ${ids[0]} (source nobody) of o fits nothing that was found`);
});

it("an expired entry accepts nothing and is said; the same day gives the same bytes", async () => {
  const ids = await allIds();
  const accepted = file(...ids.map((id) => `id: ${id}, owner: o, reason: r, expires: 2026-11-22`));
  const first = await runCli([...COMPARE, "--accepted", accepted, "--today", "2026-11-23"]);
  expect(first.exitCode).toBe(1);
  expect(first.stdout).toMatch(/expired on 2026-11-22, and accepts nothing of \d+ rows? that it fits/);
  expect((await runCli([...COMPARE, "--accepted", accepted, "--today", "2026-11-23"])).stdout).toBe(first.stdout);
  expect((await runCli([...COMPARE, "--accepted", accepted, "--today", "2026-11-22"])).exitCode).toBe(0);
});

it("wrong files and days", async () => {
  const wrong = await runCli([...COMPARE, "--accepted", file("id: POL-*, owner: o, reason: r, expires: 2027-01-31"), "--strict"]);
  expect(wrong.stdout).toContain('accepted.yaml:2: error: accepted[0].id: found "POL-*"');
  expect(wrong.exitCode).toBe(2);
  expect((await runCli([...COMPARE, "--accepted", join(folder, "none.yaml")])).exitCode).toBe(2);
  const good = file("id: POL-NOENGINE, owner: o, reason: r, expires: 2027-01-31");
  const day = await runCli([...COMPARE, "--accepted", good, "--today", "now"]);
  expect([day.exitCode, day.stderr]).toEqual([2, expect.stringContaining("--today is a day such as 2027-03-31, not 'now'")]);
});
