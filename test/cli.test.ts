/** The command line: what a user did wrong is one clear sentence and the right exit code, and never a stack trace. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { CLI, root, runCli, spawnCli, spawnUnread } from "./cli.js";

const CLUSTER = "traces/lab/cluster.yaml";
const CAPTURE = "traces/lab/hairpin/node1.any.pcap";
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "--non-masquerade-cidr", "192.168.50.0/24"];
/** Options that the README quotes and other commands have: in rule text, of the referee. */
const FOREIGN = ["--objects", "--reject-with"];
const folder = mkdtempSync(join(tmpdir(), "twinplane-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function emptyFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  return path;
}

describe("wrong usage: exit code 2, one sentence, nothing on standard output", () => {
  const good = ["compare", "-f", CLUSTER, "-r", `node1=${CAPTURE}`];
  it.each<[string, string[], RegExp]>([
    ["unknown command", ["compaer"], /unknown command 'compaer'.*compare/s],
    ["unknown option", ["compare", "--bogus"], /unknown option '--bogus'/],
    ["compare without manifests", ["compare", "-r", CAPTURE], /no manifests; give -f/],
    ["compare without captures", ["compare", "-f", CLUSTER], /no captures; give -r/],
    ["the demo with inputs", ["compare", "--demo", "-f", CLUSTER], /--demo brings its own inputs/],
    ["unknown profile", [...good, "--target", "calico"], /no profile 'calico'; expected kube-proxy/],
    ["a profile of no known version", [...good, "--target", "cilium@2.0"], /no profile 'cilium@2.0'/],
    ["a seed that is none", [...good, "--seed", "x"], /--seed is a whole number from 0, not 'x'/],
    ["a seed that is too large", [...good, "--seed", "4294967296"], /--seed is a whole number up to 4294967295/],
    ["a share beyond 100", [...good, "--min-judged", "200"], /--min-judged is a number from 10 to 100, not '200'/],
    ["a share that nothing need match", [...good, "--min-judged", "0"], /--min-judged is a number from 10 to 100, not '0'/],
    ["a window that is none", [...good, "--copy-window", "-1"], /--copy-window|argument missing/],
    ["a range that is none", [...good, "--cluster-cidr", "10.0.0.0/99"], /--cluster-cidr takes CIDRs such as/],
    ["an unknown output format", [...good, "-o", "xml"], /xml.*text, json/],
    ["a change without a time", [...good, "--change", CLUSTER], /--change takes TIME=PATH/],
    ["a report that cannot be written", [...good, "--out-file", "no/such/folder/x"],
      /cannot write no\/such\/folder\/x: no such file or folder/],
    ["trace without a packet", ["trace", "-f", CLUSTER, "-r", CAPTURE], /no packet; give --packet with a record number, or --from and --to/],
    ["trace of nothing", ["trace", "-f", CLUSTER], /no captures; give -r with a capture or folder, or --from and --to/],
    ["trace of packet 0", ["trace", "-f", CLUSTER, "-r", CAPTURE, "--packet", "0"], /--packet is a whole number from 1, not '0'/],
    ["trace of packet 1.5", ["trace", "-f", CLUSTER, "-r", CAPTURE, "--packet", "1.5"], /--packet is a whole number from 1, not '1.5'/],
    ["trace in another capture", ["trace", "-f", CLUSTER, "-r", CAPTURE, "--packet", "1", "--capture", "x.pcap"],
      /no capture named x.pcap/],
    ["dump of nothing", ["dump"], /missing required argument 'what'/],
    ["dump of something else", ["dump", "flows"], /flows.*maps, rules, cluster/],
    ["dump without manifests", ["dump", "maps"], /no manifests; give -f/],
    ["dump of an unknown node", ["dump", "rules", "-f", CLUSTER, "--node", "node9"], /no node node9 in the manifests/],
    ["maps of a dataplane without maps", ["dump", "maps", "-f", CLUSTER, "--target", "kube-proxy"],
      /kube-proxy has no maps; expected --target cilium/],
    ["limits of a dataplane without maps", ["check", "-f", CLUSTER, "--target", "kube-proxy"], /kube-proxy has no maps/],
    ["check without manifests", ["check"], /no manifests; give -f/],
  ])("%s", async (_what, args, sentence) => {
    const { exitCode, stdout, stderr } = await runCli(args);
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split("\n").length).toBeLessThanOrEqual(3);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  });
});

describe("inputs that cannot be used: exit code 2, said on the screen", () => {
  const binary = file("binary.yaml", Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 0, 0, 1));
  const prose = file("prose.yaml", "just a sentence\n");
  const podOnly = file("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default}\n"
    + "spec: {nodeName: node7, containers: []}\nstatus: {podIP: 10.244.1.10, podIPs: [{ip: 10.244.1.10}]}\n");
  const text = file("text.pcap", "this is text\n");
  const zstd = file("small.pcap.zst", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0));
  const xz = file("small.pcap.xz", Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, 0, 0, 0, 0));
  const broken = file("broken.pcap.gz", Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5));
  const none = emptyFolder("none");
  const dangling = join(folder, "dangling.yaml");
  symlinkSync(join(folder, "nowhere"), dangling);

  it.each<[string, string[], string[], string]>([
    ["missing manifests", ["nope.yaml"], [`node1=${CAPTURE}`], "nope.yaml: error: no such file or folder"],
    ["a link to nowhere", [dangling], [`node1=${CAPTURE}`], `${dangling}: error: no such file or folder`],
    ["an empty folder of manifests", [none], [`node1=${CAPTURE}`], `${none}: error: no manifest in this folder`],
    ["binary manifests", [binary], [`node1=${CAPTURE}`], `${binary}: error: this is binary, not a manifest`],
    ["a capture for manifests", [CAPTURE], [`node1=${CAPTURE}`],
      `${CAPTURE}: error: this is binary, not a manifest; captures are given with -r`],
    ["prose for manifests", [prose], [`node1=${CAPTURE}`], `${prose}:1: error: `],
    ["a missing capture", [CLUSTER], ["node1=nope.pcap"], "nope.pcap: error: no such file or folder"],
    ["an empty folder of captures", [CLUSTER], [none], `${none}: error: no capture in this folder`],
    ["a capture of an unknown node", [CLUSTER], [`node9=${CAPTURE}`],
      `${CAPTURE}: error: no node node9 in the manifests; the nodes are node1, node2`],
    ["a capture of nobody knows which node", [CLUSTER], [text],
      `${text}: error: which node it was taken on is not known; name it, as in -r node1=`],
    ["no Node objects, and a pod on another node", [podOnly], [`node1=${CAPTURE}`], `${CAPTURE}: error: no node node1 in the manifests; the nodes are node7`],
    ["text for a capture", [CLUSTER], [`node1=${text}`], `${text}: error: byte 0: unknown magic: this is text`],
    ["a zstd capture", [CLUSTER], [`node1=${zstd}`], `${zstd}: error: zstd data damaged after 0 unpacked bytes`],
    ["gzip that cannot be unpacked", [CLUSTER], [`node1=${broken}`], `${broken}: error: gzip data damaged after 0 unpacked bytes`],
    ["an xz capture", [CLUSTER], [`node1=${xz}`], `${xz}: error: byte 0: this is a xz file`],
    ["a capture from standard input", [CLUSTER], ["node1=-"], "-: error: a capture is not read from standard input"],
  ])("%s", async (_what, manifests, captures, line) => {
    const { exitCode, stdout, stderr } = await runCli(["compare", ...manifests.flatMap((one) => ["-f", one]),
      ...captures.flatMap((one) => ["-r", one]), ...NETWORK]);
    expect(`${stdout}${stderr}`).toContain(line);
    expect(stdout).toContain("Not judged: ");
    expect(stdout).toMatch(/exit code 2: \d+ inputs? could not be read/);
    expect(stdout).not.toContain("No difference");
    expect(exitCode).toBe(2);
  });

  it.each(["dump maps", "dump rules", "dump cluster", "check"])("%s of missing manifests", async (command) => {
    const { exitCode, stderr } = await runCli([...command.split(" "), "-f", "nope.yaml", ...NETWORK]);
    expect(stderr).toContain("nope.yaml: error: no such file or folder");
    expect(exitCode).toBe(2);
  });

  it("one capture that cannot be read does not keep the others from being read, nor the exit code from saying so", async () => {
    const { exitCode, stdout } = await runCli(["compare", "-f", CLUSTER, "-r", `node1=${CAPTURE}`, "-r", `node2=${text}`, ...NETWORK]);
    expect(stdout).toMatch(/[1-9]\d* packets replayed/);
    expect(exitCode).toBe(2);
  });

  it("a damaged gzip file is used up to the damage", async () => {
    const packed = gzipSync(readFileSync(join(root, CAPTURE)));
    const cut = file("cut.pcap.gz", packed.subarray(0, packed.length >> 1));
    const { stdout } = await runCli(["compare", "-f", CLUSTER, "-r", `node1=${cut}`, ...NETWORK]);
    expect(stdout).toMatch(/gzip data damaged after \d+ unpacked bytes/);
    expect(stdout).toMatch(/[1-9]\d* packets replayed/);
  });
});

describe("what was read and could not be judged: exit code 3", () => {
  it("captures of another cluster", async () => {
    const cluster = file("other.yaml", readFileSync(join(root, CLUSTER), "utf8")
      .replaceAll("10.244.", "10.99.").replaceAll("10.96.", "10.98.").replaceAll("192.168.50.", "192.168.51."));
    const { exitCode, stdout } = await runCli(["compare", "-f", cluster, "-r", `node1=${CAPTURE}`,
      "--cluster-cidr", "10.99.0.0/16", "--non-masquerade-cidr", "192.168.51.0/24"]);
    expect(stdout).toMatch(/exit code 3: the captures do not match the cluster: [\d.]+ % of the packets/);
    expect(exitCode).toBe(3);
  });

  it("trace of a packet beyond the end, and of one that is not replayed", async () => {
    const args = ["trace", "-f", CLUSTER, "-f", "traces/lab/node1.net.json", "-r", `node1=${CAPTURE}`, ...NETWORK, "--packet"];
    const beyond = await runCli([...args, "99999"]);
    expect(beyond.stderr).toMatch(/packet 99999 of \S+ was not replayed: the capture holds \d+/);
    const arp = await runCli([...args, "1"]);
    expect(arp.stderr).toMatch(/packet 1 of \S+ was not replayed: a node made it, or it is no IP packet/);
    expect([beyond.exitCode, beyond.stdout, arp.exitCode, arp.stdout]).toEqual([3, "", 3, ""]);
  });

  it("trace of a view shows the packet it is of", async () => {
    const args = ["trace", "-f", CLUSTER, "-f", "traces/lab/node1.net.json", "-r", `node1=${CAPTURE}`, ...NETWORK, "--packet"];
    const packet = await runCli([...args, "3"]);
    const view = await runCli([...args, "4"]);
    expect(view.stdout).toBe(`packet 4 of ${CAPTURE} is a view of\n${packet.stdout}`);
    expect([packet.exitCode, view.exitCode]).toEqual([0, 0]);
  });

  it("check of a cluster without pods", async () => {
    const nodes = file("node.yaml",
      "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.50.11}]}\n");
    const { exitCode, stderr } = await runCli(["check", "-f", nodes, ...NETWORK]);
    expect(stderr).toContain("the manifests hold no Pod object");
    expect(exitCode).toBe(3);
  });
});

describe("bad manifests", () => {
  const bad = file("bad.yaml", ["apiVersion: v1", "kind: Service", "metadata: {name: x, namespace: default}",
    "spec: {clusterIP: 10.96.0.999, ports: [{port: 99999}]}", "---", "apiVersion: networking.k8s.io/v1", "kind: NetworkPolicy",
    "metadata: {name: y, namespace: default}", "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/40}}]}]}",
      ""].join("\n"));
  const args = ["compare", "-f", CLUSTER, "-f", bad, "-r", `node1=${CAPTURE}`, "--verbose", ...NETWORK];

  it("all problems are on the screen with file and line, and the rest is used", async () => {
    const { exitCode, stdout } = await runCli(args);
    const lines = stdout.split("\n").filter((line) => line.startsWith(`${bad}:`));
    expect(lines.some((line) => line.startsWith(`${bad}:4: error: `))).toBe(true);
    expect(lines.some((line) => line.startsWith(`${bad}:9: error: `))).toBe(true);
    expect(stdout).toMatch(/[1-9]\d* packets replayed/);
    // What a document that is no YAML held is not known: without a difference this is no success.
    expect([1, 3]).toContain(exitCode);
  });

  it("--strict makes them an error, in every command", async () => {
    const { exitCode, stdout } = await runCli([...args, "--strict"]);
    expect(stdout).toMatch(/exit code 2: \d+ errors in the inputs \(--strict\)/);
    expect(exitCode).toBe(2);
    for (const command of [["check"], ["dump", "maps"]]) {
      const strict = await runCli([...command, "-f", CLUSTER, "-f", bad, "--strict", ...NETWORK]);
      expect([strict.exitCode, strict.stderr.includes(`${bad}:4: error: `)]).toEqual([2, true]);
      expect((await runCli([...command, "-f", CLUSTER, "-f", bad, ...NETWORK])).exitCode).not.toBe(2);
    }
  });

  it("a device the node does not have is said", async () => {
    const { stdout } = await runCli(["compare", "-f", CLUSTER, "-f", "traces/lab/node1.net.json", "-r", `node1:ens5=${CAPTURE}`,
      ...NETWORK]);
    expect(stdout).toMatch(/warning: node1 has no device ens5; .*\(devices: .*eth0/);
  });
});

describe("in a process of its own", () => {
  it("manifests on standard input", () => {
    const { status, stdout, stderr } = spawnCli(["check", "-f", "-", ...NETWORK], readFileSync(join(root, CLUSTER), "utf8"));
    expect(stderr).not.toContain("error");
    expect(stdout).toMatch(/[1-9]\d* endpoints/);
    expect(stdout).toMatch(/NAT-LOCAL-BACKEND {2}service default\/web-np/);
    expect(status).toBe(1);
    const empty = spawnCli(["check", "-f", "-", ...NETWORK], "");
    expect(empty.stderr).toMatch(/^-: error: no Kubernetes object could be read here/m);
    expect(empty.status).toBe(2);
  });

  it("a reader that stops reading breaks nothing", async () => {
    for (const args of [["dump", "maps", "-f", CLUSTER], ["dump", "rules", "-f", CLUSTER], ["compare", "--help"]]) {
      const { exitCode, stderr } = await spawnUnread(args);
      expect(stderr).not.toMatch(/EPIPE|^\s+at /m);
      expect(exitCode).toBe(0);
    }
  });

  it.skipIf(process.platform === "win32")("a named pipe for manifests and for a capture", () => {
    const command = [process.execPath, ...CLI].map((word) => `'${word}'`).join(" ");
    const script = `${command} compare -f <(cat ${CLUSTER}) -r node1=<(gzip -c ${CAPTURE}) ${NETWORK.join(" ")} -o json`;
    const report = JSON.parse(execFileSync("bash", ["-c", `${script} || true`], { cwd: root, encoding: "utf8" }));
    expect(report.packets.replayed).toBeGreaterThan(10);
  });

  it.skipIf(process.getuid?.() === undefined)("files without permission to read", () => {
    const secret = file("secret.yaml", "");
    const capture = file("secret.pcap", "");
    for (const path of [secret, capture]) chmodSync(path, 0);
    chmodSync(folder, 0o755);
    // Root reads everything, so an unprivileged process asks.
    const script = 'import { openFailure, readText } from "./src/cli/files.ts"; if (process.getuid() === 0) process.setuid(65534);'
      + "console.log(JSON.stringify([readText(process.argv[1]), openFailure(process.argv[2])]));";
    const out = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script, "--", secret, capture],
      { cwd: root, encoding: "utf8" });
    expect(JSON.parse(out)).toEqual([{ file: secret, what: "permission denied" }, { file: capture, what: "permission denied" }]);
  });
});

describe("help", () => {
  it.each(["", "compare", "trace", "dump", "check", "test", "support", "build"])("twinplane %s --help ends well and has examples", async (command) => {
    const { exitCode, stdout, stderr } = await runCli([...command.split(" ").filter((word) => word !== ""), "--help"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/\nExamples?:\n {2}.*twinplane (compare|trace|dump|check|test|support|build)\b/);
    expect(stdout.split("\n").filter((line) => line.length > 110 && !/^ {2}\S.*twinplane /.test(line))).toEqual([]);
  });

  it("every option the README names is an option", async () => {
    let known = "";
    for (const command of ["compare", "trace", "dump", "check", "review", "test", "verify", "collect", "score", "explain", "anonymise"]) known += (await runCli([command, "--help"])).stdout;
    const named = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/(?<![\w-])--[a-z][\w-]+/g)].map((match) => match[0]);
    expect(named.length).toBeGreaterThan(8);
    expect([...new Set(named)].filter((option) => !known.includes(option) && !FOREIGN.includes(option))).toEqual([]);
  });

  it("--version is the package's", async () => {
    const { stdout } = await runCli(["--version"]);
    expect(stdout.trim()).toBe(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version);
  });
});
