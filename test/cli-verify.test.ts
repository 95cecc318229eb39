/** Nodes' own rules on the command line: `verify`, and what `compare` and `trace` make of them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import type { VerifyReport } from "../src/report/verify.js";
import { root, runCli, spawnCli } from "./cli.js";

const LAB = "traces/lab";
const CLUSTER = ["-f", `${LAB}/cluster.yaml`, "-f", `${LAB}/node1.net.json`, "-f", `${LAB}/node2.net.json`];
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const NODE1 = readFileSync(join(root, LAB, "node1.v4.rules"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "twinplane-verify-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function verify(...args: string[]): Promise<{ exitCode: number; report: VerifyReport }> {
  const { exitCode, stdout } = await runCli(["verify", ...CLUSTER, ...NETWORK, "-o", "json", ...args]);
  const report = JSON.parse(stdout) as VerifyReport;
  expect(report.verdict.exitCode).toBe(exitCode);
  return { exitCode, report };
}

describe("verify", () => {
  it("says of rules that a kernel held that every line is reproduced", async () => {
    const rules = ["node1.v4", "node1.v6", "node2.v4", "node2.v6"].map((name) => `${LAB}/${name}.rules`);
    const { exitCode, stdout, stderr } = await runCli(["verify", ...CLUSTER, ...NETWORK, "--rules", ...rules]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^rules of node1 IPv4: (\d+) of \1 lines reproduced$/m);
    expect(stdout).toMatch(/^rules of node2 IPv6: (\d+) of \1 lines reproduced$/m);
    expect(stdout).toContain("no --random-fully");
    expect(stdout).toMatch(/exit code 0: every line is reproduced, and nothing else is generated\n$/);
  });

  it("lists what is missing with the manifest's line, what is too much with the dump's and its owner, and exits 1", async () => {
    const lines = NODE1.split("\n");
    const at = lines.findIndex((line) => line.includes("10.96.0.10 --dport 80 -j KUBE-SVC"));
    const more = "-A FORWARD -o docker0 -j DOCKER";
    const text = lines.with(at, ":DOCKER - [0:0]\n-A PREROUTING -j DOCKER").join("\n").replace("-A KUBE-FORWARD", `${more}\n-A KUBE-FORWARD`)
      .replace(":KUBE-FORWARD", ":DOCKER - [0:0]\n:KUBE-FORWARD");
    const path = file("changed.txt", text);
    const { exitCode, report } = await verify("--node", "node1", "--rules", path);
    const [dump] = report.dumps;
    expect([exitCode, report.dumps.length, dump.lines - dump.reproduced]).toEqual([1, 1, 2]);
    expect(dump.notInDump.map((line) => line.text)).toEqual([expect.stringContaining("-d 10.96.0.10/32 -p tcp")]);
    expect(dump.notInDump[0].becauses.map((one) => one.where?.file)).toEqual([`${LAB}/cluster.yaml`]);
    expect(dump.notGenerated.map((line) => [line.owner, text.split("\n")[line.line - 1]]))
      .toEqual([["Docker", "-A PREROUTING -j DOCKER"], ["Docker", more]]);
    const screen = (await runCli(["verify", ...CLUSTER, ...NETWORK, "--node", "node1", "--rules", path])).stdout;
    expect(screen).toMatch(/in the dump, not generated: 2 \(Docker 2\)/);
    expect(screen).toMatch(/because default\/web Service .*\(traces\/lab\/cluster\.yaml:\d+\)/);
    expect(screen).toMatch(/rules of node1 IPv4: \d+ of \d+ lines reproduced, 1 generated that it lacks\nexit code 1: differences in node1 IPv4\n$/);
  });

  it("reads the dump from standard input", () => {
    const { status, stdout } = spawnCli(["verify", ...CLUSTER, ...NETWORK, "--node", "node1", "--rules", "-"], NODE1);
    expect(stdout).toMatch(/node1, IPv4, -: (\d+) of \1 lines reproduced/);
    expect(status).toBe(0);
  });

  it("reads a folder of dumps, each by its content and the node its name begins with", async () => {
    const dumps = join(folder, "dumps");
    mkdirSync(dumps, { recursive: true });
    writeFileSync(join(dumps, "node2.txt"), readFileSync(join(root, LAB, "node2.v6.rules"), "utf8"));
    writeFileSync(join(dumps, "node1.iptables-save"), NODE1);
    writeFileSync(join(dumps, "notes.txt"), "what we saw\n");
    const { exitCode, report } = await verify("-f", dumps);
    expect(report.dumps.map((one) => [one.node, one.family])).toEqual([["node1", 4], ["node2", 6]]);
    expect([exitCode, report.problems]).toEqual([0, []]);
  });

  it("verifies only the node that is named", async () => {
    const rules = ["node1.v4", "node2.v4"].map((name) => `${LAB}/${name}.rules`);
    const { report } = await verify("--node", "node2", "-f", ...rules);
    expect(report.dumps.map((one) => one.node)).toEqual(["node2"]);
  });

  it("takes pod ranges from the dump where none are given, and holds to those that are", async () => {
    const given = ["--node", "node1", "--rules", `${LAB}/node1.v4.rules`, "-o", "json"];
    const read = JSON.parse((await runCli(["verify", ...CLUSTER, ...given])).stdout) as VerifyReport;
    expect(read.dumps[0].options).toContainEqual(["clusterCIDR", expect.stringContaining("10.244.0.0/16")]);
    const held = await runCli(["verify", ...CLUSTER, ...given, "--cluster-cidr", "10.0.0.0/8"]);
    expect((JSON.parse(held.stdout) as VerifyReport).dumps[0].notInDump.map((line) => line.text).join("\n")).toContain("! -s 10.0.0.0/8");
    expect(held.exitCode).toBe(1);
  });

  it("tells a kube-proxy of another age", async () => {
    const old = NODE1.replace(/^:KUBE-PROXY-FIREWALL.*\n|^.*-j KUBE-PROXY-FIREWALL\n|^-A KUBE-PROXY-FIREWALL.*\n/gm, "")
      .replace(":KUBE-MARK-MASQ", ":KUBE-XLB-AAAAAAAAAAAAAAAA - [0:0]\n:KUBE-MARK-MASQ");
    const { report } = await verify("--rules", `node1=${file("old.txt", old)}`);
    expect(report.dumps[0].writtenBy).toEqual([expect.stringContaining("< 1.24"), expect.stringContaining("< 1.25")]);
  });

  it.each<[string, string[], number, RegExp]>([
    ["no dump", [], 3, /no node has a dump of its rules/],
    ["a dump of nothing that is generated", ["--rules", `node1=${file("other.txt", "*filter\n:INPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n"
      + "-A INPUT -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n")}`], 3, /no line of the dumps is one that is generated/],
    ["a missing file", ["--rules", "node1=nope.txt"], 2, /could not be read/],
    ["what is no dump", ["--rules", `node1=${LAB}/cluster.yaml`], 2, /could not be read/],
    ["a dump of an unknown node", ["--rules", `node9=${LAB}/node1.v4.rules`], 2, /could not be read/],
    ["two dumps of one node", ["--rules", `node1=${LAB}/node1.v4.rules`, `node1=${LAB}/node2.v4.rules`], 2, /could not be read/],
    ["nftables mode", ["--rules", `node1=${file("nft.txt", "table ip kube-proxy {\n}\n")}`], 2, /could not be read/],
    ["a node without kube-proxy's rules", ["--rules", `node1=${file("none.txt", "*nat\n:PREROUTING ACCEPT [0:0]\n:CILIUM_PRE_nat - [0:0]\n"
      + "-A PREROUTING -s 10.0.0.0/8 -j CILIUM_PRE_nat\nCOMMIT\n")}`], 2, /could not be read/],
  ])("%s", async (_what, args, code, why) => {
    const { exitCode, report } = await verify(...args);
    expect([exitCode, report.verdict.why]).toEqual([code, expect.stringMatching(why)]);
    if (code === 2) expect(report.problems.filter((one) => one.severity === "error").length).toBeGreaterThan(0);
  });

  it("is wrong usage without manifests and of an unknown node", async () => {
    expect((await runCli(["verify", "--rules", `${LAB}/node1.v4.rules`])).stderr).toMatch(/no manifests; give -f/);
    const { exitCode, stderr } = await runCli(["verify", ...CLUSTER, "--node", "node9", "--rules", `${LAB}/node1.v4.rules`]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/no node node9 in the manifests/)]);
  });
});

const STORY = ["-r", `${LAB}/clusterip-tcp`, "--follow-capture", ...NETWORK];

async function compare(...args: string[]): Promise<{ exitCode: number; report: Report }> {
  const { exitCode, stdout } = await runCli(["compare", ...CLUSTER, ...STORY, "-o", "json", ...args]);
  return { exitCode, report: JSON.parse(stdout) as Report };
}

describe("compare with nodes' own rules", () => {
  it("judges as with generated ones where they are the same, and says whose they are", async () => {
    const generated = await compare();
    const own = await compare("--rules", `${LAB}/node1.v4.rules`, `${LAB}/node2.v4.rules`);
    expect(own.report.packets).toEqual(generated.report.packets);
    expect(own.report.truth).toEqual(generated.report.truth);
    expect(own.report.truth.agreed).toBeGreaterThan(50);
    expect(generated.report.rules.map((one) => one.source)).toEqual(["generated", "generated", "generated", "generated"]);
    expect(own.report.rules.map((one) => [one.node, one.family, one.source])).toEqual([
      ["node1", 4, `${LAB}/node1.v4.rules`], ["node1", 6, "generated"], ["node2", 4, `${LAB}/node2.v4.rules`], ["node2", 6, "generated"]]);
    expect(own.report.rules[0].verified).toMatch(/^node1 IPv4: (\d+) of \1 lines reproduced$/);
    const { stdout } = await runCli(["compare", ...CLUSTER, ...STORY, "-f", `${LAB}/node1.v4.rules`]);
    expect(stdout).toMatch(/rules of node1 IPv4: (\d+) of \1 lines reproduced by what is generated; judged by its own, traces\/lab\/node1/);
    expect(stdout).toMatch(/rules generated, not read: node1 IPv6, node2 IPv4, node2 IPv6/);
  });

  it("a rule that is gone from a dump is gone from the node", async () => {
    const without = NODE1.split("\n").filter((line) => !/-A KUBE-SERVICES .*10\.96\.0\.10 --dport 80/.test(line)).join("\n");
    const { report } = await compare("--rules", `node1=${file("without.txt", without)}`);
    expect(report.truth.disagreed).toBeGreaterThan(0);
    expect(report.rules[0].verified).toMatch(/1 generated that it lacks$/);
  });

  it("what a dump that is cut off does not say is undecided, and too much of that is exit code 3", async () => {
    const cut = NODE1.slice(0, NODE1.indexOf("-A KUBE-SVC"));
    const { exitCode, report } = await compare("--rules", `node1=${file("cut.txt", cut)}`);
    expect(exitCode).toBe(3);
    expect(report.undecided.map(([reason]) => reason).join("\n")).toMatch(/rest of the dump, which is cut off/);
    expect(report.problems.filter((one) => /cut off/.test(one.what)).map((one) => one.severity)).toEqual(["error"]);
    // Conntrack knows nothing of a connection whose first packet is undecided; that it drops the rest is no finding.
    expect(report.findings).toEqual([]);
  });

  it("a dump of one table, as with -t, is undecided in the others, and a packed one is unpacked", async () => {
    const nat = NODE1.slice(NODE1.indexOf("*nat"));
    const { exitCode, report } = await compare("--rules", `node1=${file("nat.txt", nat)}`);
    expect([exitCode, report.findings]).toEqual([3, []]);
    expect(report.problems.filter((one) => one.severity === "error").map((one) => one.what))
      .toEqual([expect.stringMatching(/^current: no table filter in this dump/)]);
    const packed = join(folder, "node1.rules.gz");
    writeFileSync(packed, gzipSync(NODE1));
    expect((await compare("--rules", packed)).report.rules[0].source).toBe(packed);
    writeFileSync(packed, gzipSync(NODE1).subarray(0, 500));
    expect((await compare("--rules", packed)).report.problems.map((one) => one.what)).toContain("gzip data damaged");
  });

  it("a dump that knows few of the cluster's Services is told to be another's", async () => {
    const foreign = file("foreign.txt", NODE1.replaceAll("10.96.", "10.97."));
    const { report } = await compare("--rules", `node1=${foreign}`);
    expect(report.problems.filter((one) => one.where?.file === foreign).map((one) => [one.severity, one.what]))
      .toEqual([["error", expect.stringMatching(/^(\d+) of the cluster's \1 IPv4 ClusterIPs are nowhere in these rules .* another cluster/)]]);
  });

  it("IPVS mode and a node of Cilium are refused: exit code 2", async () => {
    const ipvs = NODE1.replace(/^.*KUBE-(SVC|SVL|SEP|EXT|FW)-.*\n/gm, "").replace(":KUBE-FORWARD", ":KUBE-IPVS-FILTER - [0:0]\n:KUBE-FORWARD");
    const first = await compare("--rules", `node1=${file("ipvs.txt", ipvs)}`);
    expect([first.exitCode, first.report.problems.map((one) => one.what).join()]).toEqual([2, expect.stringMatching(/IPVS mode/)]);
    const cilium = NODE1.replace(/^.*KUBE-.*\n/gm, "").replace(":PREROUTING", ":CILIUM_PRE_nat - [0:0]\n:PREROUTING");
    const second = await compare("--rules", `node1=${file("cilium.txt", cilium)}`);
    expect([second.exitCode, second.report.problems.map((one) => one.what).join()])
      .toEqual([2, expect.stringMatching(/no chain KUBE-SERVICES, .*Cilium takes kube-proxy's place/)]);
  });

  it("dumps do not count where the current side is Cilium's", async () => {
    const { report } = await compare("--rules", `${LAB}/node1.v4.rules`, "--current", "cilium@1.18");
    expect(report.problems.map((one) => one.what).join()).toMatch(/a node's rules are not used/);
    expect(report.rules).toEqual([]);
  });

  it("trace shows the dump's own lines", async () => {
    const { exitCode, stdout } = await runCli(["trace", ...CLUSTER, ...STORY, "--rules", `${LAB}/node1.v4.rules`, "--packet", "3",
      "--capture", "node1.any.pcap"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/because rule of node node1 -A KUBE-SEP-.* \(traces\/lab\/node1\.v4\.rules:\d+\)/);
  });
});

/** As Retina lays its files out: the capture, and beside it what commands printed. */
function retina(name: string, options: readonly string[] = [], node: "node1" | "node2" = "node1"): string {
  const inside = join(folder, "retina");
  mkdirSync(inside, { recursive: true });
  writeFileSync(join(inside, "capture.pcap"), readFileSync(join(root, LAB, "clusterip-tcp", `${node}.any.pcap`)));
  writeFileSync(join(inside, "iptables-rules.txt"), "Summary:\n\n/usr/sbin/iptables-save(IPtables rules)\n\nExecute:\n\n"
    + `/usr/sbin/iptables-save\n\n${readFileSync(join(root, LAB, `${node}.v4.rules`), "utf8")}/usr/sbin/iptables -vnx -L\n\nChain INPUT (policy ACCEPT 0 packets, 0 bytes)\n`);
  writeFileSync(join(inside, "socket-stats.txt"), "Total: 1\n");
  const path = join(folder, name);
  execFileSync("tar", ["-czf", path, ...options, "-C", folder, "retina"]);
  return path;
}

describe("a Retina archive", () => {
  it.each(["ustar", "pax", "gnu"])("%s: its capture is replayed under its own rules, of the node in its name", async (format) => {
    const archive = retina(`${format}-node1-20261122120000UTC.tar.gz`, [`--format=${format}`]);
    const plain = await runCli(["compare", ...CLUSTER, ...NETWORK, "--follow-capture", "-o", "json",
      "-r", `node1=${LAB}/clusterip-tcp/node1.any.pcap`, "--rules", `${LAB}/node1.v4.rules`]);
    const packed = await runCli(["compare", ...CLUSTER, ...NETWORK, "--follow-capture", "-o", "json", "-r", archive]);
    const [one, other] = [JSON.parse(plain.stdout) as Report, JSON.parse(packed.stdout) as Report];
    expect([other.packets, other.truth.agreed]).toEqual([one.packets, one.truth.agreed]);
    expect(other.packets.replayed).toBeGreaterThan(50);
    expect(other.rules[0]).toMatchObject({ node: "node1", source: `${archive}/retina/iptables-rules.txt`, verified: one.rules[0].verified });
    const { stdout, exitCode } = await runCli(["verify", ...CLUSTER, ...NETWORK, "--node", "node1", "--rules", archive]);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/rules of node1 IPv4: (\d+) of \1 lines reproduced/)]);
  });

  it("of each node, in one folder given by itself: each capture and each node's rules under its own node", async () => {
    const nodes = ["node1", "node2"] as const;
    const both = join(folder, "archives");
    mkdirSync(both, { recursive: true });
    for (const node of nodes) retina(`archives/capture-${node}-20261122120000UTC.tar.gz`, [], node);
    const base = ["compare", ...CLUSTER, ...NETWORK, "--follow-capture", "-o", "json"];
    const plain = await runCli([...base, "-r", ...nodes.map((node) => `${node}=${LAB}/clusterip-tcp/${node}.any.pcap`),
      "--rules", ...nodes.map((node) => `${LAB}/${node}.v4.rules`)]);
    const packed = await runCli([...base, "-r", both]);
    const [one, other] = [plain, packed].map(({ stdout }) => JSON.parse(stdout) as Report);
    expect(other.captures.map(({ node, packets }) => [node, packets])).toEqual(one.captures.map(({ node, packets }) => [node, packets]));
    expect(new Set(other.captures.map(({ node }) => node))).toEqual(new Set(nodes));
    expect([packed.exitCode, other.packets, other.truth]).toEqual([plain.exitCode, one.packets, one.truth]);
    expect(other.rules.map(({ node }) => node)).toEqual(one.rules.map(({ node }) => node));
    expect(other.rules.flatMap(({ source }) => (source === "generated" ? [] : [source])).sort()).toEqual(nodes.map((node) =>
      `${both}/capture-${node}-20261122120000UTC.tar.gz/retina/iptables-rules.txt`));
  });

  it("that is cut off, no archive, or holds nothing of use says so", async () => {
    const whole = readFileSync(retina("cut-node1-x.tar.gz"));
    const cut = join(folder, "cut-node1-y.tar.gz");
    writeFileSync(cut, whole.subarray(0, whole.length - 2000));
    const { report } = await compareArchive(cut);
    expect(report.problems.map((one) => `${one.severity} ${one.what}`).join("\n")).toMatch(/error (cut off|no tar header) at byte \d+.*used/);
    writeFileSync(join(folder, "other-node1-z.tar.gz"), "no archive");
    const other = await compareArchive(join(folder, "other-node1-z.tar.gz"));
    expect([other.exitCode, other.report.problems.map((one) => one.what).join()]).toEqual([2, expect.stringMatching(/no tar archive/)]);
    const empty = join(folder, "empty-node1-z.tar");
    execFileSync("tar", ["-cf", empty, "-C", join(folder, "retina"), "socket-stats.txt"]);
    const nothing = await compareArchive(empty);
    expect([nothing.exitCode, nothing.report.problems.map((one) => one.what).join()])
      .toEqual([2, expect.stringMatching(/no capture and no rules in this archive/)]);
  });
});

async function compareArchive(path: string): Promise<{ exitCode: number; report: Report }> {
  const { exitCode, stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "-o", "json", "-r", path]);
  return { exitCode, report: JSON.parse(stdout) as Report };
}

const POLICY = file("policy.yaml", `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: nobody}}}]
`);

it.each(["kube-proxy", "kube-proxy+npm", "kube-proxy+calico"])("what dump rules prints of %s is a dump of both families", async (profile) => {
  const printed = await runCli(["dump", "rules", "--node", "node1", ...CLUSTER, "-f", POLICY, ...NETWORK, "--current", profile]);
  const rules = ["--rules", `node1=${file(`node1.${profile}.dump`, printed.stdout)}`];
  const { exitCode, stdout } = await runCli(["verify", "--node", "node1", ...CLUSTER, "-f", POLICY, ...NETWORK, ...rules]);
  expect([exitCode, stdout.match(/lines reproduced$/gm)?.length]).toEqual([0, 4]);
  expect(stdout).not.toContain("warning");
});

describe.each([["npm", /^:AZURE-NPM/m, "azure-npm-"], ["calico", /^:cali-/m, "cali40"]])("rules of %s that name IP sets", (engine, chains, prefix) => {
  const profile = ["--current", `kube-proxy+${engine}`];

  async function dumps(): Promise<string[]> {
    return Promise.all(["node1", "node2"].map(async (node) => {
      const { stdout } = await runCli(["dump", "rules", "--node", node, ...CLUSTER, "-f", POLICY, ...NETWORK, ...profile]);
      const text = /# Generated by iptables-save.*\n([\s\S]*?)(?=# Generated by ip6tables|$)/.exec(stdout)?.[1] ?? "";
      expect(text).toMatch(chains);
      expect(text).toContain(`--match-set ${prefix}`);
      return `${node}=${file(`${node}.${engine}.rules`, text)}`;
    }));
  }

  it("are judged with sets made from the cluster's objects, as the generated ones are", async () => {
    const generated = await compare("-f", POLICY, ...profile);
    const own = await compare("-f", POLICY, ...profile, "--rules", ...await dumps());
    expect(own.report.packets).toEqual(generated.report.packets);
    expect(own.report.packets.undecided).toBe(0);
    expect(generated.report.findings.length + generated.report.truth.disagreed).toBeGreaterThan(0);
    expect(own.report.truth.disagreed).toBe(generated.report.truth.disagreed);
    expect(own.report.problems.map((one) => one.what).join("\n")).toMatch(/the rules of node1 name (\d+) IP sets .*; \1 of them are made again/);
    expect(own.report.rules[0].verified).toMatch(/^node1 IPv4: (\d+) of \1 lines reproduced$/);
  });

  it("whose names nobody can make again leave packets undecided, with set and line", async () => {
    const [, second] = await dumps();
    const path = second.slice(second.indexOf("=") + 1);
    writeFileSync(path, readFileSync(path, "utf8").replaceAll(new RegExp(`--match-set ${prefix}`, "g"), `--match-set other-`));
    const { report } = await compare("-f", POLICY, ...profile, "--rules", second);
    const missing = report.problems.filter((one) => /IP set other-\S+ is not loaded/.test(one.what));
    expect(missing.length).toBeGreaterThan(0);
    expect(missing.every((one) => one.severity === "error" && (one.where?.line ?? 0) > 0)).toBe(true);
    expect(report.packets.undecided).toBeGreaterThan(0);
    expect(report.undecided.map(([reason]) => reason).join("\n")).toMatch(/other-/);
  });

  it("under another profile are warned of", async () => {
    const { report } = await compare("-f", POLICY, "--rules", ...await dumps());
    expect(report.problems.map((one) => one.what).join("\n")).toContain(`--current kube-proxy+${engine} says so`);
  });
});
