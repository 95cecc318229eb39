/** A recording that goes on where neither side delivers: nothing is learnt from it, and it is not "no difference". */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";

const lab = join(root, "traces/lab");

async function compare(...more: readonly string[]): Promise<Report> {
  const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), join(lab, "node1.net.json"), join(lab, "node2.net.json"),
    ...more, "-r", join(lab, "nodeport-cluster"), "--follow-capture", "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48",
    "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64", "-o", "json"]);
  return JSON.parse(ran.stdout);
}

describe("packets after what neither side delivers", () => {
  it("are contradicted: the recorded cluster had no policy engine, both sides here enforce one", async () => {
    const report = await compare("-f", join(root, "examples/migration"), "--current", "kube-proxy+npm");
    // Six connections to a backend on another node, where the policy sees the node as the sender: all but their SYNs.
    expect(report.packets.contradicted).toBe(42);
    expect(report.findings.map((one) => one.id)).not.toContain("UNEXPLAINED");
    expect(report.verdict).toMatchObject({ exitCode: 3 });
    expect(report.verdict.why).toContain("42 packets went on where neither side delivers what came before");
  });

  it("are none where the recorded dataplane is the current one", async () => {
    expect((await compare()).packets.contradicted).toBe(0);
  });
});
