/** `twinplane collect` prints a script that only reads: run here with a stand-in for kubectl that writes down what it was asked. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readManifests } from "../src/cluster/manifests.js";
import { unlessIncomplete } from "../src/report/report.js";
import { runCli } from "./cli.js";

const folder = mkdtempSync(join(tmpdir(), "twinplane-collect-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const { stdout: script, exitCode } = await runCli(["collect", "--seconds", "7"]);

/** What may be run on a node. */
const READS = /^(ip -j(?: -6)?(?: -d)? (?:link|addr|route show table all)|sysctl -a|ip6?tables-save|ipset save|conntrack -L -o extended|timeout 7 tcpdump .*)$/;

describe("the script", () => {
  it("asks the cluster to get and, on nodes, to read; Secrets are never asked for", () => {
    writeFileSync(join(folder, "kubectl"), '#!/bin/sh\nprintf "%s\\n" "$*" >> "$LOG"\ncase "$*" in *jsonpath*) echo "node1 node2";; esac\n');
    chmodSync(join(folder, "kubectl"), 0o755);
    const log = join(folder, "log");
    execFileSync("bash", ["-c", script], { cwd: folder, env: { PATH: `${folder}:${process.env["PATH"]}`, LOG: log } });
    const asked = readFileSync(log, "utf8").trim().split("\n");
    expect(new Set(asked.map((one) => one.split(" ")[0]))).toEqual(new Set(["get", "debug"]));
    expect(asked.filter((one) => /\bsecrets?\b/i.test(one))).toEqual([]);
    const onNodes = asked.filter((one) => one.startsWith("debug"));
    expect(onNodes.map((one) => one.split(" sh -c ")[1]).filter((one) => !READS.test(one))).toEqual([]);
    expect(new Set(onNodes.map((one) => one.split(" ")[1]))).toEqual(new Set(["node/node1", "node/node2"]));
    const files = readdirSync(join(folder, "collected"));
    for (const name of ["objects.json", "kube-system.configmaps.json", "node1.route.json", "node2.iptables", "node1.ipset", "node2.pcap"]) {
      expect(files).toContain(name);
    }
  });

  it("says what could not be read, on the screen and in a file; a kind that the cluster does not have is none", async () => {
    const bin = mkdtempSync(join(folder, "forbidden-"));
    writeFileSync(join(bin, "kubectl"), `#!/bin/sh
list='{"apiVersion": "v1", "kind": "List", "items": []}'
case "$*" in
  *jsonpath*) echo node1;;
  *namespaces,nodes*) echo "$list"; echo 'Error from server (Forbidden): networkpolicies.networking.k8s.io is forbidden: User "me"' >&2; exit 1;;
  *ciliumnetworkpolicies*) echo 'Error from server (Forbidden): cannot list resource "ciliumnetworkpolicies"' >&2; exit 1;;
  *crd.projectcalico*) echo "error: the server doesn't have a resource type" >&2; exit 1;;
  *iptables-save*) echo "sh: iptables-save: not found" >&2;;
  *"sysctl -a"*) echo "net.ipv4.ip_forward = 1"; echo "sysctl: permission denied on key 'fs.protected'" >&2;;
  *debug*) ;;
  *) echo "$list";;
esac
`);
    chmodSync(join(bin, "kubectl"), 0o755);
    const { stderr } = spawnSync("bash", ["-c", script], { cwd: bin, encoding: "utf8", env: { PATH: `${bin}:${process.env["PATH"]}` } });
    expect(stderr).toContain("networkpolicies.networking.k8s.io is forbidden");
    expect(stderr).toContain('cannot list resource "ciliumnetworkpolicies"');
    expect(stderr).toContain("node1: iptables-save:\nsh: iptables-save: not found");
    expect(stderr).not.toMatch(/projectcalico|resource type|sysctl/);
    expect(stderr).toContain("3 of these could not be read");
    const files = readdirSync(join(bin, "collected"));
    expect(files).toContain("node1.sysctl");
    expect(files).toContain("node1.ipset");
    for (const gone of ["node1.iptables", "ciliumnetworkpolicies.cilium.io.json", "globalnetworkpolicies.crd.projectcalico.org.json"]) {
      expect(files).not.toContain(gone);
    }
    // What follows is told that policies are not there because nobody could read them.
    const { objects, problems } = readManifests(files.filter((name) => name.endsWith(".json"))
      .map((name) => ({ name, text: readFileSync(join(bin, "collected", name), "utf8") })));
    expect(objects.networkPolicies).toEqual([]);
    expect(problems.map(({ where, incomplete, what }) => [where?.file, incomplete, what])).toEqual([
      ["ciliumnetworkpolicies.cilium.io.not-read.json", true, expect.stringContaining("cannot list resource 'ciliumnetworkpolicies'")],
      ["objects.not-read.json", true, expect.stringContaining("networkpolicies.networking.k8s.io is forbidden: User 'me'")],
    ]);
    expect(unlessIncomplete({ exitCode: 0, why: "nothing found" }, problems).exitCode).toBe(3);
  });

  it("says what contains secrets, and how flows and a sysdump are had", () => {
    expect(exitCode).toBe(0);
    expect(script).toMatch(/^# CONTAINS SECRETS/m);
    for (const what of [/hubble observe -o jsonpb/, /cilium sysdump/, /retina capture create/]) expect(script).toMatch(what);
  });

  it("a wrong number of seconds is wrong usage", async () => {
    expect((await runCli(["collect", "--seconds", "1; rm"])).exitCode).toBe(2);
  });
});
