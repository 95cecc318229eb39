/** `twinplane collect` prints a script that only reads: run here with a stand-in for kubectl that writes down what it was asked. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
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

  it("says what contains secrets, and how flows and a sysdump are had", () => {
    expect(exitCode).toBe(0);
    expect(script).toMatch(/^# CONTAINS SECRETS/m);
    for (const what of [/hubble observe -o jsonpb/, /cilium sysdump/, /retina capture create/]) expect(script).toMatch(what);
  });

  it("a wrong number of seconds is wrong usage", async () => {
    expect((await runCli(["collect", "--seconds", "1; rm"])).exitCode).toBe(2);
  });
});
