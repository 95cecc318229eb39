/** `trace --from --to`: a packet that nobody recorded fares as a recorded one does; what its ends could be is never guessed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runCli } from "./cli.js";

const LAB = "traces/lab";
const CLUSTER = ["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", `${LAB}/${name}`]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const folder = mkdtempSync(join(tmpdir(), "twinplane-trace-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const trace = (...args: string[]): ReturnType<typeof runCli> => runCli(["trace", ...CLUSTER, ...NETWORK, ...args]);

/** Steps of both sides without what chance and the packet's place in a capture make: ports, chains of one backend. */
function fates(text: string): string[] {
  return text.split("\n").filter((line) => /^(current|target)/.test(line)).map((line) => line.replace(/:\d+ >/, " >"));
}

describe("a packet that nobody recorded", () => {
  it("is rejected where a recorded one to the same service was, by the same rule", async () => {
    const made = await trace("--from", "default/cli-a", "--to", "service:default/empty:http");
    const recorded = await runCli(["trace", ...CLUSTER, ...NETWORK, "-r", `${LAB}/no-endpoints`, "--packet", "3"]);
    expect(recorded.stdout).toMatch(/10\.244\.1\.20:\d+ > 10\.96\.0\.70:80/);
    expect(made.stdout).toMatch(/^one TCP packet from pod default\/cli-a to service default\/empty port 80\npacket 1, request: tcp 10\.244\.1\.20/);
    expect(fates(made.stdout)).toEqual(fates(recorded.stdout));
    const rule = /-A KUBE-SERVICES -d 10\.96\.0\.70\/32 .*-j REJECT/;
    expect([made.stdout.match(rule)?.[0], made.exitCode]).toEqual([recorded.stdout.match(rule)?.[0], 0]);
    expect(made.stdout).toMatch(/because default\/empty Service spec\.ports\[0\] \(traces\/lab\/cluster\.yaml:\d+\)/);
    expect(made.stdout).toMatch(/\ndiffers: SVC-NOENDPOINT {2}\S/);
  });

  it.each<[string, string[], RegExp, RegExp]>([
    ["pods by their names alone", ["--from", "cli-a", "--to", "web-b:8080"], /tcp 10\.244\.1\.20:49152 > 10\.244\.2\.10:8080/, /no difference\n$/],
    ["a node's socket", ["--from", "node1", "--to", "web-b:8080"], /tcp 192\.168\.50\.11:49152 > 10\.244\.2\.10:8080/, /no difference\n$/],
    ["from outside to a node port", ["--from", "203.0.113.10", "--to", "node1:30080"], /tcp 203\.0\.113\.10:49152 > 192\.168\.50\.11:30080/,
      /differs: NAT-LOCAL-BACKEND|no difference but/],
    ["from outside to an address of a service", ["--from", "203.0.113.10", "--to", "10.96.0.10:80", "--via", "node2"],
      /tcp 203\.0\.113\.10:49152 > 10\.96\.0\.10:80/, /\n(no difference|differs|undecided)/],
    ["UDP, which the service's port says", ["--from", "cli-a", "--to", "service:churn:9000"], /udp 10\.244\.1\.20:49152 > 10\.96\.\d+\.\d+:9000/, /\n/],
    ["ICMP", ["--from", "cli-a", "--to", "203.0.113.10", "--protocol", "icmp"], /icmp 10\.244\.1\.20 > 203\.0\.113\.10/, /no difference\n$/],
    ["IPv6", ["--from", "cli-a", "--to", "[fd00:10:244:2::10]:8080"], /tcp \[?fd00:10:244:1::20\]?:49152 > \[?fd00:10:244:2::10\]?:8080/,
      /no difference\n$/],
  ])("%s", async (_what, args, tuple, outcome) => {
    const { exitCode, stdout } = await trace(...args);
    expect(stdout).toMatch(tuple);
    expect(stdout).toMatch(outcome);
    expect(stdout).toMatch(/^current \(kube-proxy\): /m);
    expect(stdout).toMatch(/^target \(cilium@1\.20\): /m);
    expect(exitCode).toBe(0);
  });

  it("is to or from no pod that has ended, whose address may be another pod's; dump cluster marks those", async () => {
    const ended = file("ended.yaml", ["Succeeded", "Failed"].map((phase) => `---
apiVersion: v1
kind: Pod
metadata: {name: job-${phase.toLowerCase()}, namespace: default}
spec: {nodeName: node1, containers: []}
status: {phase: ${phase}, podIPs: [{ip: 10.244.2.10}]}
`).join(""));
    for (const [args, said] of [[["--from", "cli-a", "--to", "job-succeeded:8080"], "--to: pod default/job-succeeded has ended (Succeeded)"],
      [["--from", "pod:default/job-failed", "--to", "web-b:8080"], "--from: pod default/job-failed has ended (Failed)"]] as const) {
      const { exitCode, stdout, stderr } = await trace("-f", ended, ...args);
      expect([exitCode, stdout, stderr]).toEqual([2, "", expect.stringContaining(said)]);
    }
    expect((await trace("-f", ended, "--from", "cli-a", "--to", "10.244.2.10:8080")).stdout).toMatch(/^current \(kube-proxy\): delivered/m);
    const { stdout } = await runCli(["dump", "cluster", ...CLUSTER, "-f", ended]);
    expect(stdout.match(/^pod .*ended.*$/gm)).toEqual(["pod default/job-failed  10.244.2.10  on node1  ended (Failed): the address is no"
      + " longer its own", "pod default/job-succeeded  10.244.2.10  on node1  ended (Succeeded): the address is no longer its own"]);
  });

  it("goes to one backend on both sides, whatever each would have chosen: what differs is not the choice", async () => {
    const chosen = new Set<string>();
    let pinned = 0;
    for (const seed of ["1", "2", "3", "4", "5", "6"]) {
      const { stdout } = await trace("--from", "node1", "--to", "service:default/web:http", "--seed", seed);
      const [current, target] = [...stdout.matchAll(/^(?:current|target) .*: delivered, tcp \S+ > (\S+)$/gm)].map((match) => match[1]);
      expect([seed, target]).toEqual([seed, current]);
      chosen.add(current);
      if (stdout.includes("\nboth sides with the backend that the current one chose\n")) pinned++;
    }
    expect(chosen.size).toBeGreaterThan(1);
    expect(pinned).toBeGreaterThan(0);
  });

  it("of a time when the pods were, whenever they were made", async () => {
    const young = readFileSync(`${LAB}/cluster.yaml`, "utf8")
      .replace(/^( *)name: cli-a$/m, (line, indent: string) => `${line}\n${indent}creationTimestamp: "2026-01-01T00:00:00Z"`);
    const { exitCode, stdout } = await runCli(["trace", "-f", file("young.yaml", young), ...CLUSTER.slice(2), ...NETWORK, "--from", "cli-a",
      "--to", "web-a:8080"]);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/no difference\n$/)]);
  });

  it("from an address of the pods' range that no pod has is not judged", async () => {
    const { exitCode, stdout, stderr } = await trace("--from", "10.244.1.99", "--to", "web-a:8080");
    expect([exitCode, stdout, stderr]).toEqual([3, "", expect.stringMatching(/was not judged: stale snapshot: no pod of it has the source's address/)]);
  });
});

describe("ends that are none, or more than one", () => {
  const twice = file("twice.yaml", ["other", "default"].map((namespace) => `apiVersion: v1\nkind: Service\nmetadata: {name: ${
    namespace === "default" ? "web-a" : "web"}, namespace: ${namespace}}\nspec: {clusterIP: 10.96.9.${namespace.length}, ports: [{port: 80}, {port: 81}]}\n`)
    .join("---\n"));
  it.each<[string, string[], RegExp]>([
    ["both are unknown", ["--from", "nope", "--to", "nowhere:80"],
      /--from: the manifests hold no pod or node 'nope'; they hold pod .*\ntwinplane: --to: the manifests hold no pod, service or node 'nowhere'/],
    ["a name in two namespaces", ["--from", "cli-a", "--to", "web"], /--to: 'web' fits service default\/web, service other\/web; write which, as in service:default\/web/],
    ["a pod and a service", ["--from", "cli-a", "--to", "default/web-a:80"], /fits pod default\/web-a, service default\/web-a; write which, as in pod:/],
    ["a service that sends", ["--from", "service:default/web", "--to", "web-a:80"], /--from takes pod, node or an address/],
    ["no port", ["--from", "cli-a", "--to", "web-b"], /--to: no port; write one, as in pod:default\/web-b:80/],
    ["a service with two ports", ["--from", "cli-a", "--to", "other/web"], /--to: no port of service other\/web; expected a number or a name: .*80\/TCP, 81\/TCP/],
    ["a port's name that is none", ["--from", "cli-a", "--to", "service:default/web:nope"], /'nope' is no one port of service default\/web/],
    ["a port that is too large", ["--from", "cli-a", "--to", "web-b:70000"], /a port is a number from 1 to 65535, not '70000'/],
    ["a port of ICMP", ["--from", "cli-a", "--to", "web-b:80", "--protocol", "ICMP"], /ICMP has no ports/],
    ["a protocol that is none", ["--from", "cli-a", "--to", "web-b:80", "--protocol", "GRE"], /--protocol is TCP, UDP, SCTP, ICMP, not 'GRE'/],
    ["from outside by an unknown way", ["--from", "203.0.113.9", "--to", "10.96.0.10:80"], /is outside the cluster; say with --via/],
    ["by a node that is none", ["--from", "203.0.113.9", "--to", "10.96.0.10:80", "--via", "node9"], /--via: the manifests hold no node 'node9'/],
    ["by another node than it is sent to", ["--from", "203.0.113.9", "--to", "node1:30080", "--via", "node2"], /comes in at node1/],
    ["a pod by a node", ["--from", "cli-a", "--to", "web-b:80", "--via", "node1"], /--via is of packets from outside/],
    ["two families", ["--from", "203.0.113.9", "--to", "[fd00:10:244:2::10]:80", "--via", "node2"], /no addresses of one family/],
    ["half of it", ["--from", "cli-a"], /needs both --from and --to/],
    ["with a capture", ["--from", "cli-a", "--to", "web-b:80", "-r", `${LAB}/hairpin`], /give them without -r, --packet and --capture/],
  ])("%s", async (_what, args, sentence) => {
    const { exitCode, stdout, stderr } = await trace("-f", twice, ...args);
    expect(stderr).toMatch(sentence);
    expect([exitCode, stdout]).toEqual([2, ""]);
  });
});
