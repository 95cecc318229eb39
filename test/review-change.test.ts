/**
 * A review whose change is told in parts (--change, --delete), what a cluster makes of one by itself, pods whose addresses
 * differ between the two snapshots, and rows that somebody answers for.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readManifests } from "../src/cluster/manifests.js";
import { readdress } from "../src/review/readdress.js";
import type { Review } from "../src/review/report.js";
import { root, runCli } from "./cli.js";

const LAB = join(root, "traces", "lab");
const CLUSTER = readFileSync(join(LAB, "cluster.yaml"), "utf8");
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const FACTS = ["node1.net.json", "node2.net.json"].map((name) => join(LAB, name));

let folder = "";
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), "review-change-")); });
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function manifest(text: string): string {
  const file = join(folder, `m${++files}.yaml`);
  writeFileSync(file, text);
  return file;
}

interface Asked {
  readonly story?: string;
  readonly base?: string;
  readonly more: readonly string[];
}

function args({ story = "clusterip-tcp", base = CLUSTER, more }: Asked): string[] {
  return ["review", "-f", manifest(base), ...FACTS, join(LAB, story), "-r", join(LAB, story), "--follow-capture", ...NETWORK, ...more];
}

async function reviewed(asked: Asked): Promise<Review> {
  const { stdout, stderr, exitCode } = await runCli([...args(asked), "-o", "json"]);
  expect(stdout, stderr).toMatch(/^\{/);
  const found = JSON.parse(stdout) as Review;
  expect(exitCode).toBe(found.verdict.exitCode);
  return found;
}

const policy = (name: string, spec: string): string =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: default}\nspec:\n${spec}`;
const WEB = "  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n";
const FROM_CLIENT = `${WEB}  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n`;
const flows = (found: Review, change: string): number => found.rows.filter((row) => row.change === change)
  .reduce((sum, row) => sum + row.flows, 0);

describe("--change and --delete", () => {
  it("add an object, put one in its namesake's place, and delete one", async () => {
    const added = await reviewed({ more: ["--change", manifest(policy("deny", WEB))] });
    expect([flows(added, "dropped"), added.changed.map(({ change, name }) => `${change} ${name}`)]).toEqual([12, ["added deny"]]);
    const base = `${CLUSTER}${policy("web", WEB)}`;
    const replaced = await reviewed({ base, more: ["--change", manifest(policy("web", FROM_CLIENT))] });
    expect([flows(replaced, "opened"), replaced.changed.map(({ change, name }) => `${change} ${name}`)]).toEqual([12, ["changed web"]]);
    const deleted = await reviewed({ base, more: ["--delete", "NetworkPolicy/default/web"] });
    expect([flows(deleted, "opened"), deleted.changed.map(({ change, name }) => `${change} ${name}`)]).toEqual([12, ["removed web"]]);
    expect(deleted.rows.flatMap((row) => row.causes).every((one) => one.change === "removed" && one.object === "default/web")).toBe(true);
  });

  it("say the same as --before and --after", async () => {
    const file = manifest(policy("deny", WEB));
    const parts = await reviewed({ more: ["--change", file] });
    const whole = await reviewed({ more: ["--before", manifest(policy("none", "  podSelector: {matchLabels: {app: none}}\n")),
      "--after", manifest(policy("none", "  podSelector: {matchLabels: {app: none}}\n")), file] });
    const told = ({ rows }: Review): unknown => rows.map(({ becauses: _, ...row }) => row);
    expect(told(parts)).toEqual(told(whole));
  });

  it.each([[["--delete", "NetworkPolicy/default/nobody"], "there is no such object"], [["--delete", "web"], "kind/namespace/name"],
    [["--before", "x", "--change", "x"], "not both"], [["--before", "x"], "--before and --after"], [[], "give the change"]])(
    "refuse %j", async (more, said) => {
      const { stderr, exitCode } = await runCli(args({ more: more as string[] }));
      expect([exitCode, stderr]).toEqual([2, expect.stringContaining(said as string)]);
    });
});

describe("what a cluster makes of a change", () => {
  const web = /^kind: Service\nmetadata:\n {2}name: web\n/m;
  const plain = (selector: string, port: string): string => "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec:\n"
    + `  selector: ${selector}\n  ports: [{name: http, port: 80, protocol: TCP, targetPort: ${port}}]\n`;

  it("a Service of a repository keeps its cluster IP", async () => {
    expect(CLUSTER).toMatch(web);
    const found = await reviewed({ more: ["--change", manifest(plain("{app: web}", "8080"))] });
    expect(found.changed).toEqual([]);
    expect(found.rows).toEqual([]);
  });

  it("its endpoints follow its selector", async () => {
    const found = await reviewed({ more: ["--change", manifest(plain("{app: nobody}", "8080"))] });
    expect(flows(found, "dropped")).toBeGreaterThan(0);
    expect(found.rows.flatMap((row) => row.causes.map((one) => one.object))).toContain("default/web");
    expect(found.rows.every((row) => !row.unexplained)).toBe(true);
  });

  it("a workload's pods have the labels of its new template, and are gone with it", async () => {
    const owned = CLUSTER.replaceAll(/( {2}name: web-[abc]\n)/g, "$1  ownerReferences: [{kind: ReplicaSet, name: web, controller: true}]\n");
    const workload = (app: string): string => "---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: web, namespace: default}\n"
      + `spec: {replicas: 3, selector: {matchLabels: {app: ${app}}}, template: {metadata: {labels: {app: ${app}}}, spec: {containers: []}}}\n`;
    const base = `${owned}${workload("web")}${policy("only-web", "  podSelector: {matchLabels: {app: client}}\n  policyTypes: [Egress]\n"
      + "  egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]\n")}`;
    const same = await reviewed({ base, more: ["--change", manifest(workload("web"))] });
    expect(same.rows).toEqual([]);
    const renamed = await reviewed({ base, more: ["--change", manifest(workload("shop"))] });
    expect(flows(renamed, "dropped")).toBeGreaterThan(0);
    const gone = await reviewed({ base, more: ["--delete", "ReplicaSet/default/web"] });
    expect([gone.newlyUndecided > 0, gone.verdict.exitCode]).toEqual([true, 3]);
    expect(gone.undecided[0][0]).toMatch(/web-[abc] had 10\.244\.\S+ before the change, and no pod with its name/);
  });
});

describe("pods of a later snapshot", () => {
  const moved = CLUSTER.replaceAll("10.244.1.10", "10.244.1.77").replaceAll("10.244.2.10", "10.244.2.77");
  const later = (text: string): string[] => ["--change", manifest(text)];

  it("are judged under the addresses of the traffic, and that is said", async () => {
    const found = await reviewed({ more: later(moved) });
    expect(found.readdressed.map(({ pod, before, after }) => `${pod} ${before[0]} ${after[0]}`)).toEqual([
      "default/web-a 10.244.1.10 10.244.1.77", "default/web-b 10.244.2.10 10.244.2.77"]);
    expect([found.newlyUndecided, found.rows, found.verdict.exitCode]).toEqual([0, [], 0]);
    const denied = await reviewed({ more: later(`${moved}${policy("deny", WEB)}`) });
    expect([flows(denied, "dropped"), denied.newlyUndecided]).toEqual([12, 0]);
    const { stdout } = await runCli(args({ more: later(moved) }));
    expect(stdout).toContain("2 pods of other addresses after the change, judged under those of the traffic:\n  default/web-a: 10.244.1.10");
  });

  it("two that exchanged their addresses are told apart", async () => {
    const swapped = CLUSTER.replaceAll("10.244.2.10", "X").replaceAll("10.244.2.11", "10.244.2.10").replaceAll("X", "10.244.2.11");
    const found = await reviewed({ more: later(swapped) });
    expect(found.readdressed.map(({ pod, before, after }) => `${pod} ${before[0]} ${after[0]}`)).toEqual([
      "default/web-b 10.244.2.10 10.244.2.11", "default/web-c 10.244.2.11 10.244.2.10"]);
    expect([found.newlyUndecided, found.rows]).toEqual([0, []]);
  });

  it.each<[string, string, string]>([
    ["a policy tells the addresses apart", `${moved}${policy("block",
      `${WEB}  ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.10/32, 10.244.2.10/32]}}]}]\n`)}`,
    "NetworkPolicy block tells it from 10.244.1.77"],
    ["another pod has the address", CLUSTER.replaceAll("10.244.1.10", "10.244.1.77").replaceAll("10.244.1.53", "10.244.1.10"),
      ""],
    ["it runs on another node", CLUSTER.replace(/(name: web-a[\s\S]*?nodeName: )node1/, "$1node2").replaceAll("10.244.1.10", "10.244.2.77"),
      "runs on node2 after it"],
    ["it is gone", CLUSTER.replaceAll("name: web-a\n", "name: web-z\n").replaceAll("10.244.1.10", "10.244.1.77"), "no pod with its name"],
  ])("are undecided where %s", async (what, text, why) => {
    // A snapshot holds all objects: what is not in it is gone.
    const found = await reviewed({ base: nodesOf(CLUSTER), more: ["--before", manifest(CLUSTER), "--after", manifest(text)] });
    if (what === "another pod has the address") {
      expect(found.readdressed.map((one) => one.pod)).toEqual(["default/dns-a", "default/web-a"]);
      expect(found.newlyUndecided).toBe(0);
      return;
    }
    expect(found.newlyUndecided).toBeGreaterThan(0);
    expect(found.verdict.exitCode).toBe(3);
    expect(found.undecided.map(([reason]) => reason).join("\n")).toContain(why);
  });

  it("of one owner and labels are one another's heirs, each once", () => {
    const pod = (name: string, ip: string, app = "web", node = "n1"): string => "---\napiVersion: v1\nkind: Pod\nmetadata:\n"
      + `  name: ${name}\n  namespace: default\n  labels: {app: ${app}, pod-template-hash: ${name.split("-")[1]}}\n`
      + `  ownerReferences: [{kind: ReplicaSet, name: web-${name.split("-")[1]}, controller: true}]\n`
      + `spec: {nodeName: ${node}, containers: []}\nstatus: {podIP: ${ip}}\n`;
    const read = (...texts: string[]) => readManifests([{ name: "x", text: texts.join("") }]).objects;
    const before = read(pod("web-aa-1", "10.0.0.1"), pod("web-aa-2", "10.0.0.2"), pod("web-aa-3", "10.0.0.3"));
    const after = read(pod("web-bb-1", "10.0.0.9"), pod("web-bb-2", "10.0.0.2"), pod("web-bb-3", "10.0.0.8", "api"),
      pod("web-bb-4", "10.0.0.7", "web", "n2"));
    const found = readdress(before, after, new Set());
    expect(found.pods.map(({ pod: name, before: was, after: is }) => `${name} ${was} ${is}`)).toEqual(["default/web-bb-1 10.0.0.1 10.0.0.9"]);
    expect([...found.refused.keys()]).toEqual(["10.0.0.3"]);
    expect(found.after.pods.map(({ name, ips }) => `${name} ${ips[0].text}`)).toEqual(["web-bb-1 10.0.0.1", "web-bb-2 10.0.0.2",
      "web-bb-3 10.0.0.8", "web-bb-4 10.0.0.7"]);
    expect(readdress(before, after, new Set(["n1"])).pods).toEqual([]);
  });

  it("whose address somebody keeps stays undecided", () => {
    const pod = (name: string, ip: string): string => `---\napiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: default}\n`
      + `spec: {nodeName: n1, containers: []}\nstatus: {podIP: ${ip}}\n`;
    const read = (...texts: string[]) => readManifests([{ name: "x", text: texts.join("") }]).objects;
    const found = readdress(read(pod("a", "10.0.0.1")), read(pod("a", "10.0.0.2"), pod("new", "10.0.0.1")), new Set());
    expect(found.pods).toEqual([]);
    expect(found.refused.get("10.0.0.1")).toBe("default/a had 10.0.0.1 before the change, and default/new has it after");
  });
});

function nodesOf(text: string): string {
  return text.split("---\n").filter((one) => one.includes("kind: Node\n")).join("---\n");
}

describe("--accepted", () => {
  const deny = (): string[] => ["--change", manifest(policy("deny", WEB))];
  const accepted = (entry: string): string[] => ["--accepted", manifest(`accepted:\n  - {${entry}}\n`), "--today", "2026-11-23"];

  it("rows that somebody answers for are said and do not fail", async () => {
    const entry = "id: DROPPED, source: default/*, destination: service default/web, owner: shop, reason: planned, expires: 2027-01-31";
    const { stdout, exitCode } = await runCli(args({ more: [...deny(), ...accepted(entry)] }));
    expect(stdout).toContain("Nothing fares differently but what is accepted.");
    expect(stdout).toContain("shop until 2027-01-31 (planned)");
    expect(exitCode, stdout).toBe(0);
    const markdown = await runCli(args({ more: [...deny(), ...accepted(entry), "-o", "markdown"] }));
    expect(markdown.stdout).toContain("<br>accepted by shop until 2027-01-31");
    const github = await runCli(args({ more: [...deny(), ...accepted(entry), "-o", "github"] }));
    expect(github.stdout).not.toContain("::warning");
  });

  it.each(["id: OPENED", "id: DROPPED, source: nobody", "id: POL-IPBLOCK-POD"])("%s accepts no drop of default/web", async (entry) => {
    const { stdout, exitCode } = await runCli(args({ more: [...deny(), ...accepted(`${entry}, owner: o, reason: r, expires: 2027-01-31`)] }));
    expect(exitCode).toBe(1);
    expect(stdout).toContain("fits nothing that was found");
  });
});
