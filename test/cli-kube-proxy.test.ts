/** The command line and what configures the current side: kube-proxy's modes and options, the masquerade agent, host ports. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runCli } from "./cli.js";

const CLUSTER = "traces/lab/cluster.yaml";
const CAPTURE = "traces/lab/hairpin/node1.any.pcap";
const folder = mkdtempSync(join(tmpdir(), "twinplane-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function daemonSet(name: string, args: readonly string[]): string {
  return JSON.stringify({ apiVersion: "apps/v1", kind: "DaemonSet", metadata: { namespace: "kube-system", name },
    spec: { template: { spec: { containers: [{ name, args }] } } } });
}

describe("kube-proxy in a mode that is not modelled", () => {
  const ipvs = file("ipvs.yaml", "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ipvs\n");

  it.each<[string, string[]]>([
    ["compare", ["compare", "-f", CLUSTER, ipvs, "-r", `node1=${CAPTURE}`]],
    ["trace", ["trace", "-f", CLUSTER, ipvs, "-r", `node1=${CAPTURE}`, "--packet", "1"]],
    ["dump rules", ["dump", "rules", "-f", CLUSTER, ipvs]],
  ])("ends %s with exit code 2, the line and what to do", async (_what, args) => {
    const { exitCode, stdout, stderr } = await runCli(args);
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^twinplane: .*ipvs\.yaml:3: error: kube-proxy runs in ipvs mode; only iptables mode is modelled\. To see .*$/m);
  });

  it("does not stop what asks nothing of kube-proxy, and is said there", async () => {
    const { exitCode, stderr } = await runCli(["dump", "cluster", "-f", CLUSTER, ipvs]);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/kube-proxy runs in ipvs mode/);
  });
});

describe("dump rules", () => {
  it("follows kube-proxy's flags and ip-masq-agent's, and says what it assumed", async () => {
    const proxy = file("proxy.json", daemonSet("kube-proxy", ["--cluster-cidr=10.99.0.0/16", "--iptables-masquerade-bit=3", "--v=3"]));
    const agent = file("agent.json", daemonSet("azure-ip-masq-agent", ["--v=2"]));
    const { exitCode, stdout, stderr } = await runCli(["dump", "rules", "-f", CLUSTER, proxy, agent, "--node", "node1"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/--xor-mark 0x00000008/);
    expect(stdout).toMatch(/! -s 10\.99\.0\.0\/16 -j KUBE-MARK-MASQ/);
    expect(stdout).toMatch(/-A IP-MASQ-AGENT .* -d 172\.16\.0\.0\/12 -j RETURN/);
    expect(stdout).not.toMatch(/CNI-MASQ/);
    expect(stderr).toMatch(/no configuration file of ip-masq-agent is among the objects; assumed its built-in ranges/);
    expect(stderr).not.toMatch(/--cluster-cidr not given|--non-masquerade-cidr not given/);
  });

  it.each<[string, RegExp, RegExp]>([["none", /KUBE-POSTROUTING/, /CNI-MASQ|IP-MASQ-AGENT/], ["cni", /-j CNI-MASQ/, /IP-MASQ-AGENT/],
    ["ip-masq-agent", /-j IP-MASQ-AGENT/, /CNI-MASQ/]])("--masquerade %s", async (agent, has, lacks) => {
    const { exitCode, stdout } = await runCli(["dump", "rules", "-f", CLUSTER, "--masquerade", agent, "--node", "node1"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(has);
    expect(stdout).not.toMatch(lacks);
  });

  it("has host ports, and says that portmap is assumed", async () => {
    const pod = file("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {namespace: default, name: hp}\n"
      + "spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 80, hostPort: 8088}]}]}\n"
      + "status: {podIPs: [{ip: 10.244.1.99}]}\n");
    const { stdout, stderr } = await runCli(["dump", "rules", "-f", CLUSTER, pod]);
    expect(stdout.match(/-j DNAT --to-destination 10\.244\.1\.99:80$/gm)).toHaveLength(1);
    expect(stderr).toMatch(/pod\.yaml:1: warning: a pod has host ports; assumed that the CNI plugin portmap forwards them/);
  });

  it("says what is wrong in a configuration, and with --strict ends with exit code 2", async () => {
    const wrong = file("wrong.yaml", "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmasquerade: yes\n"
      + "iptables: {masqueradeBit: 40}\n");
    const { exitCode, stderr } = await runCli(["dump", "rules", "-f", CLUSTER, wrong, "--strict"]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/wrong\.yaml:3: warning: .*masquerade: unknown field/);
    expect(stderr).toMatch(/wrong\.yaml:4: error: .*iptables\.masqueradeBit: found 40/);
  });

  it("refuses an agent that it does not know", async () => {
    expect((await runCli(["dump", "rules", "-f", CLUSTER, "--masquerade", "flannel"])).exitCode).toBe(2);
  });
});
