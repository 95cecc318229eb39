/** "No difference" and exit code 0 are said of what was judged: not where inputs are missing, cut off, or of another cluster. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LinkType, PcapWriter } from "../src/capture/index.js";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";
import { ACK, packet, SYN } from "./packets.js";

const LAB = join(root, "traces/lab/cluster.yaml");
const folder = mkdtempSync(join(tmpdir(), "twinplane-nothing-"));
const [CLIENT, SERVER] = ["10.244.1.20", "10.244.1.10"];

const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

/** Ethernet frames as tcpdump has them of one device whose name nobody gives. */
function capture(name: string, packets: readonly Uint8Array[]): string {
  const writer = new PcapWriter({ linkType: LinkType.Ethernet });
  packets.forEach((bytes, index) => {
    const frame = Uint8Array.of(2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0, ...bytes);
    writer.write(1_795_600_000, index * 1_000_000, frame, 0, frame.length, frame.length);
  });
  return file(name, writer.take());
}

async function compare(...args: readonly string[]): Promise<Report> {
  return JSON.parse((await runCli(["compare", ...args, "--cluster-cidr", "10.244.0.0/16", "--non-masquerade-cidr", "192.168.50.0/24", "-o", "json"])).stdout);
}

const connection = [
  packet({ from: CLIENT, to: SERVER, protocol: "TCP", sport: 40_000, dport: 8080, flags: SYN }),
  packet({ from: SERVER, to: CLIENT, protocol: "TCP", sport: 8080, dport: 40_000, flags: SYN | ACK }),
  packet({ from: CLIENT, to: SERVER, protocol: "TCP", sport: 40_000, dport: 8080, flags: ACK }),
];

describe("nothing was found, and that is not said as no difference", () => {
  it("where the current side does not reproduce the recording: services are missing", async () => {
    const pods = file("pods.json", JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "web-a", namespace: "default" },
      spec: { nodeName: "node1" }, status: { podIP: "10.244.1.10" } }));
    const { verdict, findings } = await compare("-f", pods, "-r", `node1=${join(root, "traces/lab/hairpin/node1.any.pcap")}`);
    expect(findings).toEqual([]);
    expect(verdict).toMatchObject({ exitCode: 3, why: expect.stringMatching(/^no difference .* the current side reproduces \d/) });
  });

  it("nor a difference of a handshake of which the capture has one side: conntrack saw the other", async () => {
    const segments = [connection[0], connection[2], packet({ from: CLIENT, to: SERVER, protocol: "TCP", sport: 40_000, dport: 8080, flags: ACK,
      payload: new Uint8Array(100) })];
    const { findings, undecided, verdict } = await compare("-f", LAB, "-r", `node1=${capture("half.pcap", segments)}`);
    expect([findings, undecided]).toEqual([[], [[expect.stringMatching(/answers are not in the captures/), 2]]]);
    expect(verdict.exitCode).toBe(3);
  });

  it("where a manifest ends early or a document of it is not YAML: the policy may have been behind", async () => {
    const flows = capture("plain.pcap", connection);
    const whole = JSON.stringify({ apiVersion: "v1", kind: "List", items: [
      { apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, status: { addresses: [{ type: "InternalIP", address: "192.168.0.1" }] } },
      ...[CLIENT, SERVER].map((podIP, index) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: `p${index}` }, spec: { nodeName: "n1" },
        status: { podIP } })), { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } }] });
    expect((await compare("-f", file("whole.json", whole), "-r", `n1=${flows}`)).verdict.exitCode).toBe(0);
    const cut = file("cut.json", whole.slice(0, -40));
    expect((await compare("-f", cut, "-r", `n1=${flows}`)).verdict)
      .toEqual({ exitCode: 3, why: `no difference in the traffic given, but a part of ${cut} could not be read: what it held is not known` });
    const odd = file("odd.yaml", "kind: NetworkPolicy\nspec: {podSelector: {}\n");
    expect((await compare("-f", file("whole.json", whole), odd, "-r", `n1=${flows}`)).verdict.exitCode).toBe(3);
    const review = await runCli(["review", "-f", file("whole.json", whole), "--before", file("before.yaml", ""), "--after", odd, "-r", `n1=${flows}`]);
    expect(review.exitCode).toBeGreaterThan(1);
  });

  it("where all packets are fragments that wait for others", async () => {
    const first = packet({ from: CLIENT, to: SERVER, protocol: "UDP", sport: 5000, dport: 8080, id: 7, fragment: 0x2000, payload: new Uint8Array(1472) });
    const { packets, undecided, verdict } = await compare("-f", LAB, "-r", `node1=${capture("first.pcap", [first])}`, "--target", "cilium@1.18");
    expect([packets.held, packets.undecided, verdict.exitCode]).toEqual([0, 1, 3]);
    expect(undecided).toEqual([[expect.stringContaining("the rest of its datagram"), 1]]);
  });
});

describe("a file that a failed command left empty", () => {
  it.each(["node1.iptables", "node1.link.json", "node1.sysctl", "node1.conntrack"])("%s is said, and an empty manifest is not", async (name) => {
    const gathered = mkdtempSync(join(folder, "gathered-"));
    for (const one of [name, "nothing.yaml", "node1.ipset"]) writeFileSync(join(gathered, one), "");
    const { problems } = await compare("-f", LAB, gathered, "-r", `node1=${capture("flows.pcap", connection)}`);
    const said = problems.filter(({ what }) => /is empty/.test(what));
    expect(said.map(({ where }) => where?.file)).toEqual([join(gathered, name)]);
  });
});

it("what is wrong is said alike in whatever order the files are named", async () => {
  const flows = capture("order.pcap", connection);
  const [one, other] = ["one.yaml", "two.yaml"].map((name) => file(name, "kind: Pod\napiVersion: v1\n"));
  const both = [await compare("-f", LAB, one, other, "-r", `node1=${flows}`), await compare("-f", other, one, LAB, "-r", `node1=${flows}`)];
  expect(both[0].problems.filter(({ where }) => where?.file === other)).not.toEqual([]);
  expect(both[0].problems).toEqual(both[1].problems);
});

describe("a capture of one device whose name is not given", () => {
  it("has what leaves towards a pod from the pod that sent it, not from the node", async () => {
    const deny = file("deny.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: default}\n"
      + "spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress]}\n");
    const { findings, packets } = await compare("-f", LAB, deny, "-r", `node1=${capture("veth.pcap", connection)}`, "--current", "kube-proxy+spec");
    expect(findings.map(({ id }) => id)).toEqual([]);
    expect(packets).toMatchObject({ same: 3, undecided: 0 });
  });
});

describe("a file whose name would be another line", () => {
  it.each(["check", "dump", "trace", "review"])("is one line in what %s prints", async (command) => {
    const odd = mkdtempSync(join(folder, "odd\n::error::x\u001b[31m"));
    const policy = join(odd, "deny.yaml");
    writeFileSync(policy, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: default, x: 1}\n"
      + "spec: {podSelector: {}, policyTypes: [Ingress]}\n");
    const nothing = file("none.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n");
    const args = { check: ["-f", policy, "--current", "kube-proxy+npm", "--max-probes", "9"], dump: ["cluster", "-f", policy],
      trace: ["-f", policy, "--from", "default/cli-a", "--to", "default/web-a:8080"],
      review: ["--before", nothing, "--after", policy, "-r", `node1=${capture("odd.pcap", connection)}`] }[command]!;
    const { stdout, stderr } = await runCli([command, ...args, "-f", LAB]);
    expect(`${stdout}${stderr}`).toContain("deny.yaml");
    expect(`${stdout}${stderr}`.split("\n").filter((line) => line.startsWith("::") || line.includes("\u001b"))).toEqual([]);
  });
});

describe("names that no cluster has", () => {
  it("are refused, and said in one line each without what a terminal obeys", async () => {
    const name = "a\u001b[31m\n::error file=x::y' /C calc";
    const pod = file("hostile.json", JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default" },
      spec: { nodeName: "node1" }, status: { podIP: "10.244.1.77" } }));
    const policy = file("policy.json", JSON.stringify({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { name, namespace: "default" }, spec: { podSelector: {} } }));
    const { exitCode, stderr, stdout } = await runCli(["check", "-f", LAB, pod, policy, "--current", "kube-proxy+npm", "--max-probes", "0"]);
    expect(exitCode).toBeLessThan(4);
    expect(`${stdout}${stderr}`).not.toContain("\u001b");
    expect(stderr.split("\n").filter((line) => line.startsWith("::"))).toEqual([]);
    expect(stderr.match(/expected a name of at most 253 small letters/g)).toHaveLength(2);
  });
});
