/** Packed inputs: zstd captures, sysdumps as a zip or a folder, dumps too large to be held whole. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { root, runCli, spawnCli } from "./cli.js";

const LAB = join(root, "traces/lab");
const FACTS = ["node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", join(LAB, name)]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const folder = mkdtempSync(join(tmpdir(), "twinplane-packed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function compare(...args: string[]): Promise<Report> {
  const { stdout } = await runCli(["compare", ...FACTS, ...NETWORK, "--follow-capture", "-o", "json", ...args]);
  return JSON.parse(stdout) as Report;
}

/** Without names of files. */
function findings(report: Report): unknown {
  return [report.packets, report.truth, report.findings.map(({ example: _example, becauses: _becauses, ...row }) => row)];
}

/** A zstd frame (RFC 8878) of raw blocks. */
function zstdOf(content: Uint8Array): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < content.length || at === 0; at += 100_000) {
    const block = content.subarray(at, at + 100_000);
    const header = (block.length << 3) | (at + 100_000 >= content.length ? 1 : 0);
    blocks.push(Buffer.from([header & 255, (header >> 8) & 255, header >> 16]), Buffer.from(block));
  }
  const size = Buffer.alloc(4);
  size.writeUInt32LE(content.length);
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0]), size, ...blocks]);
}

const CAPTURE = join(LAB, "hairpin/node1.any.pcap");
const plain = await compare("-f", join(LAB, "cluster.yaml"), "-r", `node1=${CAPTURE}`);

describe("a capture packed by zstd", () => {
  it("is read as the capture", async () => {
    const path = join(folder, "node1.pcap.zst");
    writeFileSync(path, zstdOf(readFileSync(CAPTURE)));
    expect(findings(await compare("-f", join(LAB, "cluster.yaml"), "-r", path))).toEqual(findings(plain));
  });

  it.skipIf(!hasZstd())("is read as zstd itself packs it, where that is installed", async () => {
    const path = join(folder, "node1.any.pcap.zst");
    execFileSync("zstd", ["-q", "-19", "-f", CAPTURE, "-o", path]);
    expect(findings(await compare("-f", join(LAB, "cluster.yaml"), "-r", path))).toEqual(findings(plain));
  });

  it("that is cut off or damaged is used up to there, and that is said", async () => {
    const packed = zstdOf(readFileSync(CAPTURE));
    writeFileSync(join(folder, "node1.cut.pcap.zst"), packed.subarray(0, packed.length - 500));
    const cut = await compare("-f", join(LAB, "cluster.yaml"), "-r", join(folder, "node1.cut.pcap.zst"));
    expect(cut.problems.map((one) => one.what)).toEqual(expect.arrayContaining([expect.stringMatching(/zstd data .* what came before was used/)]));
    packed[4] = 0xff;
    writeFileSync(join(folder, "node1.bad.pcap.zst"), packed);
    expect((await compare("-f", join(LAB, "cluster.yaml"), "-r", join(folder, "node1.bad.pcap.zst"))).verdict.exitCode).toBe(2);
  });
});

function hasZstd(): boolean {
  try {
    execFileSync("zstd", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe("a sysdump", () => {
  const stamp = "20261101-100000";
  const manifests = readFileSync(join(LAB, "cluster.yaml"), "utf8").split(/^---\n/m).filter((one) => /\S/.test(one));
  const listOf = (kinds: RegExp): string => `apiVersion: v1\nitems:\n${manifests.filter((one) => kinds.test(one))
    .map((one) => `- ${one.trimEnd().split("\n").join("\n  ")}`).join("\n")}\nkind: List\n`;
  const config = (policy: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cilium-config\n  namespace: kube-system\n`
    + `data:\n  enable-policy: ${policy}\n`;
  const event = JSON.stringify({ flow: { time: "2026-11-01T10:00:00Z", verdict: "FORWARDED", IP: { source: "10.244.1.20", destination: "10.96.0.10" },
    l4: { TCP: { source_port: 4001, destination_port: 80 } }, is_reply: false } });
  const files: Readonly<Record<string, string>> = {
    [`k8s-pods-${stamp}.yaml`]: listOf(/^kind: Pod$/m), [`k8s-nodes-${stamp}.yaml`]: listOf(/^kind: Node$/m),
    [`k8s-services-${stamp}.yaml`]: listOf(/^kind: (Service|EndpointSlice)$/m),
    [`ciliumnodes-${stamp}.yaml`]: "apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {name: node1}\n"
      + "spec: {ipam: {podCIDRs: [10.77.0.0/24]}, addresses: [{type: CiliumInternalIP, ip: 10.77.0.1}]}\n",
    [`cilium-configmap-${stamp}.yaml`]: config("always"), [`cilium-helm-values-${stamp}.yaml`]: "a: {{ broken\n",
    [`k8s-events-${stamp}.yaml`]: "nothing: of use\n", "cilium-sysdump.log": "a log\n", [`k8s-pods-${stamp}.txt`]: "NAME READY\n",
    [`hubble-flows-cilium-abc-${stamp}.json`]: `${event}\n`,
  };
  const zip = join(folder, "cilium-sysdump.zip");
  writeFileSync(zip, zipSync(Object.fromEntries(Object.entries(files).map(([name, text]) => [`cilium-sysdump/${name}`, Buffer.from(text)]))));
  const unpacked = join(folder, "cilium-sysdump");
  mkdirSync(unpacked);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(unpacked, name), text);

  it.each([["a zip", zip], ["a folder", unpacked]])("as %s: its objects, its options and its flows", async (_what, path) => {
    const report = await compare("-f", path, "--input-file", path);
    expect(report.flows).toMatchObject({ connections: 1, replayed: 1 });
    expect(report.problems.filter((one) => one.severity === "error")).toEqual([]);
    // enable-policy: always drops what no policy allows.
    expect(report.findings.map((one) => [one.facet, one.target])).toEqual([["reached", expect.stringMatching(/POLICY_DENIED/)]]);
  });

  it("that is damaged, or holds nothing of use, is an input that could not be read", async () => {
    writeFileSync(join(folder, "bad.zip"), readFileSync(zip).subarray(0, 300));
    writeFileSync(join(folder, "empty.zip"), zipSync({ "readme.txt": Buffer.from("x") }));
    for (const name of ["bad.zip", "empty.zip"]) expect((await compare("-f", join(folder, name), "-r", `node1=${CAPTURE}`)).verdict.exitCode).toBe(2);
  });
});

describe("a large dump by gzip that is damaged", () => {
  const packed = gzipSync(`${readFileSync(join(LAB, "cluster.yaml"), "utf8")}\n---\n${"# padding\n".repeat(1_800_000)}`);
  const flipped = Buffer.from(packed);
  flipped[flipped.length - 6] ^= 1;

  it.each([["cut off", packed.subarray(0, packed.length - 200)], ["of another checksum", flipped]])("%s: that is said", async (_what, bytes) => {
    cpSync(join(LAB, "cluster.yaml"), join(folder, "cluster.yaml"));
    writeFileSync(join(folder, "damaged.yaml.gz"), bytes);
    const { problems } = await compare("-f", join(folder, "damaged.yaml.gz"), "-r", `node1=${CAPTURE}`);
    expect(problems.filter((one) => one.severity === "error").map((one) => one.what)).toEqual([
      "gzip data damaged; what came before was used"]);
  });
});

describe("a dump too large to be held whole", () => {
  const pad = `${"# padding\n".repeat(1_800_000)}`;
  const yaml = `${readFileSync(join(LAB, "cluster.yaml"), "utf8")}\n---\n${pad}`;

  it("gives the same report, plain, by gzip and from standard input", async () => {
    cpSync(join(LAB, "cluster.yaml"), join(folder, "cluster.yaml"));
    writeFileSync(join(folder, "large.yaml"), yaml);
    writeFileSync(join(folder, "large.yaml.gz"), gzipSync(yaml));
    for (const name of ["large.yaml", "large.yaml.gz"]) {
      expect(findings(await compare("-f", join(folder, name), "-r", `node1=${CAPTURE}`))).toEqual(findings(plain));
    }
    const members = Buffer.concat([gzipSync(yaml.slice(0, 9_000_000)), gzipSync(yaml.slice(9_000_000))]);
    writeFileSync(join(folder, "members.yaml.gz"), members);
    expect(findings(await compare("-f", join(folder, "members.yaml.gz"), "-r", `node1=${CAPTURE}`))).toEqual(findings(plain));
    const piped = spawnCli(["compare", ...FACTS, ...NETWORK, "--follow-capture", "-o", "json", "-f", "-", "-r", `node1=${CAPTURE}`], yaml);
    expect(findings(JSON.parse(piped.stdout) as Report)).toEqual(findings(plain));
  });
});
