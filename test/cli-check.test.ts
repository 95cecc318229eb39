/** `check` on the command line: what is accepted of its rows, and a kube-proxy in a mode that is not modelled. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { acceptCheck, type AcceptedRows } from "../src/check/accepted.js";
import { type CheckReport, checkVerdict } from "../src/report/check.js";
import type { LimitRow } from "../src/report/report.js";
import { type Ran, runCli } from "./cli.js";

const folder = mkdtempSync(join(tmpdir(), "twinplane-check-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CLUSTER = file("cluster.yaml", `
{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.244.1.0/24]},
  status: {addresses: [{type: InternalIP, address: 192.168.50.11}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}, spec: {nodeName: n1, containers: [{name: c}]},
  status: {podIPs: [{ip: 10.244.1.5}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: cli, labels: {app: cli}}, spec: {nodeName: n1, containers: [{name: c}]},
  status: {podIPs: [{ip: 10.244.1.6}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10],
  ports: [{port: 80, protocol: TCP}], selector: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: by-address}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16}}]}]}
`);
const CHECK = ["check", "-f", CLUSTER, "--current", "kube-proxy+npm", "--cluster-cidr", "10.244.0.0/16", "--non-masquerade-cidr",
  "10.244.0.0/16"];

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function accepting(entries: readonly string[], expires = "2027-01-31"): string[] {
  const list = entries.map((one) => `  - {${one}, owner: team-net, reason: known, expires: ${expires}}\n`).join("");
  return ["--accepted", file("accepted.yaml", `accepted:\n${list}`), "--today", "2026-11-23"];
}

async function reportOf(more: readonly string[]): Promise<{ ran: Ran; report: CheckReport }> {
  const ran = await runCli([...CHECK, ...more, "-o", "json"]);
  return { ran, report: JSON.parse(ran.stdout) as CheckReport };
}

function named({ compared, flags }: CheckReport): { id: string; object: string }[] {
  return [...compared?.groups ?? [], ...flags];
}

describe("--accepted", () => {
  it("of every id that fails ends with 0, and of one less with 1", async () => {
    const { report } = await reportOf([]);
    expect(report.verdict.exitCode).toBe(1);
    const ids = [...new Set(named(report).map(({ id }) => id))];
    expect(ids).toContain("POL-IPBLOCK-POD");
    expect(ids).not.toContain("UNEXPLAINED");
    const all = ids.map((id) => `id: ${id}`);
    const text = await runCli([...CHECK, ...accepting(all)]);
    expect(text.exitCode, text.stdout).toBe(0);
    expect(text.stdout).toContain("would fare otherwise but what is accepted.");
    expect(text.stdout).toMatch(/^Accepted, as of 2026-11-23: \d+ rows$/m);
    expect(text.stdout).toMatch(/^ {2}POL-IPBLOCK-POD {2}.*: team-net until 2027-01-31 \(known\)$/m);
    for (const id of ids) {
      const less = await reportOf(accepting(all.filter((one) => one !== `id: ${id}`)));
      expect([id, less.report.verdict.exitCode]).toEqual([id, 1]);
    }
  }, 60_000);

  it("an expired entry accepts nothing; a row's name does, an end does not", async () => {
    const { report } = await reportOf([]);
    const rows = named(report);
    expect((await reportOf(accepting(rows.map(({ id }) => `id: ${id}`), "2026-11-22"))).report.accepted?.entries[0].state).toBe("expired");
    const byName = rows.map(({ id, object }) => `id: ${id}, subject: '${object}'`);
    expect((await reportOf(accepting(byName))).report.verdict.exitCode).toBe(0);
    for (const scope of ["source: shop/*", "destination: shop/*", "namespace: shop", "pod: shop/*", "protocol: TCP", "port: 0-65535"]) {
      const one = await reportOf(accepting([`id: POL-IPBLOCK-POD, ${scope}`]));
      expect([scope, one.report.verdict.exitCode, one.report.accepted?.entries[0].state]).toEqual([scope, 1, "never matched"]);
    }
  }, 60_000);

  it("a hazard, never a blocker", async () => {
    const calico = file("calico.yaml", "{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {namespace: shop, name: own}}\n");
    const { report } = await reportOf(["--max-probes", "0"]);
    const all = [...report.flags, ...report.hazards].map(({ id }) => `id: ${id}`);
    const one = await reportOf(["--max-probes", "0", ...accepting(all)]);
    expect(one.report.verdict).toEqual({ exitCode: 0, why: "1 row accepted, and nothing else found that would change" });
    expect(one.report.hazards.length).toBeGreaterThan(0);
    expect(one.report.hazards.every(({ accepted }) => accepted?.owner === "team-net")).toBe(true);
    expect((await reportOf(["--max-probes", "0", ...accepting(all), "-f", CLUSTER, calico])).report.verdict)
      .toMatchObject({ exitCode: 1, why: "1 blocker" });
  }, 60_000);

  it("an exceeded limit by id or subject, a far one not", () => {
    const limit = { id: "CAP-POLICYMAP", limit: "l", subject: "shop/web", used: 20, max: 10, exceeded: true, consequence: "", because: [] };
    const entry = { id: limit.id, scope: { subject: "shop/*" }, owner: "o", reason: "r", expires: "2027-01-01",
      where: { file: "a", line: 1 } };
    const of = (row: LimitRow): AcceptedRows => acceptCheck({ changes: [], flags: [], limits: [row], scaled: [row], hazards: [] },
      { entries: [entry], today: "2026-11-23" });
    const verdict = ({ limits, scaled }: AcceptedRows): number => checkVerdict({ unreadable: 0, strictErrors: 0, endpoints: 1,
      compared: null, blockers: 0, flags: [], limits: [...limits, ...scaled] }).exitCode;
    expect([verdict(of(limit)), of(limit).summary?.entries[0]]).toMatchObject([0, { state: "used", rows: 2 }]);
    expect(verdict(of({ ...limit, subject: "shop" }))).toBe(1);
    expect(of({ ...limit, used: 7, exceeded: false }).summary?.entries[0].state).toBe("never matched");
  });

  it("a wrong entry with --strict, a wrong day and a missing file end with 2", async () => {
    expect((await runCli([...CHECK, ...accepting(["id: POL-*"]), "--strict"])).exitCode).toBe(2);
    expect((await runCli([...CHECK, "--today", "now"])).exitCode).toBe(2);
    expect((await runCli([...CHECK, "--accepted", join(folder, "none.yaml")])).exitCode).toBe(2);
  });
});

describe("kube-proxy in a mode that is not modelled", () => {
  it.each(["ipvs", "nftables"])("%s is a blocker, and the rest is printed", async (mode) => {
    const proxy = file(`${mode}.yaml`, `kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ${mode}\n`);
    const { ran, report } = await reportOf(["-f", CLUSTER, proxy]);
    expect(ran.exitCode).toBe(1);
    expect(report.blockers).toEqual([{ id: "", object: "kube-proxy", where: { file: proxy, line: 3 },
      what: `kube-proxy's mode ${mode} is not modelled; the comparison of pairs is not run` }]);
    expect(report.compared).toBeNull();
    expect([report.flags.length, report.usage.limits.length, report.hazards.length].every((length) => length > 0)).toBe(true);
    const text = await runCli([...CHECK, "-f", CLUSTER, proxy]);
    expect(text.stdout).toContain(`kube-proxy (${proxy}:3): kube-proxy's mode ${mode} is not modelled`);
    expect(text.stdout).not.toMatch(/No pair of pods|^Compared:/m);
    expect(text.stdout).toMatch(/^Limits of /m);
    expect(text.stdout).toMatch(/^exit code 1: 1 blocker/m);
  });

  it("--strict: it is an error of the inputs too, told once, and the rest is printed", async () => {
    const proxy = file("strict.yaml", "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ipvs\n");
    const { ran, report } = await reportOf(["-f", CLUSTER, proxy, "--strict"]);
    const errors = report.problems.filter(({ severity }) => severity === "error").map(({ what }) => what);
    expect(errors).toEqual([expect.stringMatching(/kube-proxy runs in ipvs mode; only iptables mode is modelled/)]);
    expect([ran.exitCode, ran.stderr]).toEqual([2, expect.stringContaining("1 error in the inputs (--strict)")]);
    expect([report.blockers.map(({ object }) => object), report.compared]).toEqual([["kube-proxy"], null]);
    expect(report.hazards.length).toBeGreaterThan(0);
  });
});

describe("what nothing could decide", () => {
  const config = (data: string): string => file("config.yaml",
    `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata: {${data}}\n`);

  it("is never said to be no change", async () => {
    const ran = await runCli(["check", "-f", CLUSTER, "-f", config('enable-gateway-api: "true"'), "--current", "kube-proxy"]);
    expect(ran.stdout).toContain("is not known: all are undecided");
    expect(ran.stdout).not.toContain("No pair");
    expect(ran.exitCode).not.toBe(0);
  });

  it("is said beside what was", async () => {
    const ran = await runCli(["check", "-f", CLUSTER, "-f", config('enable-wireguard: "true"'), "--current", "kube-proxy"]);
    expect(ran.stdout).toMatch(/No pair that was decided would fare otherwise[^\n]*; \d+ of \d+ classes are undecided|whether they talk or not/);
    expect(ran.exitCode).not.toBe(0);
  });
});

describe("an option that decides a difference", () => {
  it("stands among its causes, with its value and where that was read", async () => {
    const config = file("cilium-config.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: kube-system, name: cilium-config},\n"
      + "  data: {bpf-lb-external-clusterip: 'false'}}\n");
    const causes = async (more: readonly string[]): Promise<readonly unknown[]> => (await reportOf(more)).report.compared.groups
      .find(({ id }) => id === "SVC-CLUSTERIP-EXT")!.becauses.filter(({ object }) => object.startsWith("bpf-"));
    const cause = { object: "bpf-lb-external-clusterip", rule: "false" };
    expect(await causes([])).toEqual([{ ...cause, where: null }]);
    expect(await causes(["-f", config])).toEqual([{ ...cause, where: { file: config, line: 1 } }]);
  });
});
