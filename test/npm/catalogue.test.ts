/** What the catalogue names where Azure NPM is the current engine: bundled recordings with policies added. */
import { describe, expect, test } from "vitest";
import { parseProfile, type Profile } from "../../src/planes.js";
import { runSession } from "../../src/session.js";
import { storyInput } from "../mutant-runner.js";

async function findings(story: string, current: string): Promise<{ id: string; current: string; target: string; flows: number }[]> {
  const { report } = await runSession({ ...storyInput(story), current: parseProfile(current) as Profile });
  expect(report.problems.filter((problem) => problem.severity === "error")).toEqual([]);
  return report.findings.map(({ id, current: now, target, flows }) => ({ id, current: now, target, flows }));
}

describe("POL-LB-INGRESS", () => {
  test.each([["lab/nodeport-cluster+policy", 6], ["lab/loadbalancer+policy", 4]])("%s: masqueraded to a backend of the same node", async (story, flows) => {
    const found = (await findings(story, "kube-proxy+npm")).filter(({ id }) => id === "POL-LB-INGRESS");
    expect(found.reduce((sum, one) => sum + one.flows, 0)).toBe(flows);
    for (const one of found) {
      const node = /source (node\d)$/.exec(one.current)?.[1];
      // web-a runs on node1, the other two on node2.
      expect(one.current).toMatch(node === "node1" ? /^delivered to default\/web-a,/ : /^delivered to default\/web-[bc],/);
      expect(one.target).toBe("dropped (POLICY_DENIED)");
    }
  });

  test("not of an engine that judges before the mark, nor of what no policy denies the sender", async () => {
    expect((await findings("lab/nodeport-cluster+policy", "kube-proxy+spec")).map(({ id }) => id)).not.toContain("POL-LB-INGRESS");
    expect((await findings("lab/nodeport-cluster", "kube-proxy+npm")).map(({ id }) => id)).not.toContain("POL-LB-INGRESS");
    expect((await findings("lab/clusterip-tcp+policy", "kube-proxy+npm")).map(({ id }) => id)).toEqual([]);
  });
});

test("what a policy allows reaches its end with NPM as with Cilium, and what it denies is denied alike", async () => {
  for (const story of ["lab/clusterip-tcp+policy", "lab/dns-udp+policy", "lab/pod-to-outside+policy"]) {
    expect(await findings(story, "kube-proxy+npm")).toEqual([]);
  }
});
