/** The library gives what the command line gives. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compare, type CompareGiven } from "../src/index.js";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";

const lab = join(root, "traces/lab");
const text = (name: string): { name: string; text: string } => ({ name: join(lab, name), text: readFileSync(join(lab, name), "utf8") });
const CIDRS = ["10.244.0.0/16", "fd00:10:244::/48"];
const OUTSIDE = ["192.168.50.0/24", "fd00:50::/64"];

function given(story: string): CompareGiven {
  return {
    manifests: [text("cluster.yaml")], nodeFacts: { node1: [text("node1.net.json")], node2: [text("node2.net.json")] },
    captures: ["node1", "node2"].map((node) => ({ name: join(lab, story, `${node}.any.pcap`), node,
      bytes: readFileSync(join(lab, story, `${node}.any.pcap`)) })),
    clusterCIDRs: CIDRS, nonMasqueradeCIDRs: OUTSIDE, followCapture: true,
  };
}

describe("compare", () => {
  it.each(["nodeport-cluster", "icmp-errors"])("%s: the command line's report", async (story) => {
    const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), join(lab, "node1.net.json"), join(lab, "node2.net.json"),
      "-r", ...["node1", "node2"].map((node) => `${node}=${join(lab, story, `${node}.any.pcap`)}`), "--cluster-cidr", ...CIDRS,
      "--non-masquerade-cidr", ...OUTSIDE, "--follow-capture", "-o", "json"]);
    const report = JSON.parse(JSON.stringify(await compare(given(story)))) as Report;
    const printed = JSON.parse(ran.stdout) as Report;
    for (const part of ["packets", "findings", "truth", "untouched", "undecided", "verdict", "planes"] as const) {
      expect(report[part]).toEqual(printed[part]);
    }
    expect(report.findings.length).toBeGreaterThan(0);
  });

  it("takes captures in pieces, and tells of every packet", async () => {
    let told = 0;
    const whole = given("dns-udp");
    async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
    }
    const report = await compare({ ...whole, onJudged: () => told++,
      captures: whole.captures.map((one) => ({ ...one, bytes: pieces(one.bytes as Uint8Array) })) });
    expect(report.packets).toEqual((await compare(whole)).packets);
    expect(told).toBe(report.packets.replayed);
  });

  it("keeps going over damaged inputs, and refuses wrong calls", async () => {
    const damaged = { ...given("dns-udp"), manifests: [text("cluster.yaml"), { name: "bad.yaml", text: "kind: [" }] };
    expect((await compare(damaged)).problems.some((one) => one.where?.file === "bad.yaml")).toBe(true);
    await expect(compare({ ...given("dns-udp"), target: "cilium@9" })).rejects.toThrow(/cilium@9/);
    await expect(compare({ ...given("dns-udp"), clusterCIDRs: ["10/8"] })).rejects.toThrow(/expected a CIDR/);
    const ipvs = { name: "kp.yaml", text: `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-proxy, namespace: kube-system}\n`
      + "data: {config.conf: '{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: ipvs}'}\n" };
    await expect(compare({ ...given("dns-udp"), manifests: [text("cluster.yaml"), ipvs] })).rejects.toThrow(/ipvs/i);
  });
});
