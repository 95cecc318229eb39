/** A review on bundled recordings: what is dropped and opened, by which line, and that nothing else explains it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildTimeline } from "../src/cluster/timeline.js";
import { readManifests } from "../src/cluster/manifests.js";
import { UNEXPLAINED } from "../src/compare/catalogue/index.js";
import { renderAnnotations } from "../src/report/annotations.js";
import { escapeMarkdown } from "../src/report/review-markdown.js";
import { changesBetween, Statements } from "../src/review/changes.js";
import { explain } from "../src/review/explain.js";
import type { Review } from "../src/review/report.js";
import { reviewSides } from "../src/review/review.js";
import { runSession } from "../src/session.js";
import { root, runCli } from "./cli.js";
import { storyInput } from "./mutant-runner.js";

const LAB = join(root, "traces", "lab");
const EXAMPLE = join(root, "examples", "review");
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];

let folder = "";
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), "review-")); });
afterAll(() => rmSync(folder, { recursive: true }));

function manifest(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

const policy = (name: string, spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: default}\nspec:\n${spec}`;

const WEB = "  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n";
const FROM_CLIENT = `${WEB}  ingress:\n    - from: [{podSelector: {matchLabels: {app: client}}}]\n`;

function args(story: string, before: string, after: string, more: readonly string[] = []): string[] {
  return ["review", "--before", before, "--after", after, "-f", join(LAB, "cluster.yaml"), join(LAB, "node1.net.json"),
    join(LAB, "node2.net.json"), join(LAB, story), "-r", join(LAB, story), "--follow-capture", ...NETWORK, ...more];
}

async function reviewed(story: string, before: string, after: string, more: readonly string[] = []): Promise<Review> {
  const { stdout, exitCode } = await runCli(args(story, before, after, ["-o", "json", ...more]));
  const found = JSON.parse(stdout) as Review;
  expect(exitCode).toBe(found.verdict.exitCode);
  return found;
}

const lines = (found: Review): string[] => [...new Set(found.rows.flatMap((row) => row.causes.map((one) =>
  `${one.change} ${one.object} ${one.rule} ${one.where?.file.split("/").at(-1)}:${one.where?.line}`)))];

describe("the example of the README", () => {
  it.each(["cilium@1.18", "kube-proxy+npm", "kube-proxy+spec", "kube-proxy+calico"])("drops clients of web on %s", async (profile) => {
    const found = await reviewed("clusterip-tcp", join(EXAMPLE, "before"), join(EXAMPLE, "after"), ["--profile", profile]);
    expect(found.rows.map((row) => row.change)).toEqual(found.rows.map(() => "dropped"));
    expect(found.rows.reduce((sum, row) => sum + row.flows, 0)).toBe(12);
    expect(found.rows.filter((row) => row.unexplained)).toEqual([]);
    expect(found.effects.map((one) => `${one.object} ${one.pod} ${one.dropped.flows} ${one.dropped.packets}`)).toEqual([
      "default/web default/web-a 4 28", "default/web default/web-b 4 28", "default/web default/web-c 4 28"]);
    expect(found.notExercised.map((one) => one.name)).toEqual(["dns", "udp"]);
    expect(found.verdict).toEqual({ exitCode: 1, why: "12 flows newly dropped" });
  });

  it("is the same beside pods that say when they were made, as in every dump of a cluster", async () => {
    const made = manifest("made.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: made, namespace: default, "
      + "creationTimestamp: 2026-11-01T10:00:00Z}\nspec: {nodeName: node1}\n"
      + "status: {phase: Running, podIP: 10.244.1.200, hostIP: 192.168.50.11, startTime: 2026-11-01T10:00:00Z}\n");
    const found = await reviewed("clusterip-tcp", join(EXAMPLE, "before"), join(EXAMPLE, "after"), ["-f", made]);
    expect(found.verdict).toEqual({ exitCode: 1, why: "12 flows newly dropped" });
    expect(found.changed.map(({ kind }) => kind)).not.toContain("Pod");
  });

  it("opens dns, by the rule that was added", async () => {
    const found = await reviewed("dns-udp", join(EXAMPLE, "before"), join(EXAMPLE, "after"));
    expect(lines(found)).toEqual(["added default/dns ingress[0] dns.yaml:9"]);
    expect(found.rows.map((row) => row.change)).toEqual(["opened", "opened"]);
    expect(found.verdict.exitCode).toBe(1);
    expect((await reviewed("dns-udp", join(EXAMPLE, "before"), join(EXAMPLE, "after"), ["--fail-on", "dropped"])).verdict.exitCode).toBe(0);
  });

  it("prints the same twice, and with the files in another order", async () => {
    const swapped = args("dns-udp", join(EXAMPLE, "before", "web.yaml"), join(EXAMPLE, "after"));
    swapped.splice(3, 0, join(EXAMPLE, "before", "dns.yaml"));
    const straight = args("dns-udp", join(EXAMPLE, "before", "dns.yaml"), join(EXAMPLE, "after"));
    straight.splice(3, 0, join(EXAMPLE, "before", "web.yaml"));
    const [a, b, c] = [await runCli(straight), await runCli(straight), await runCli(swapped)];
    expect(b.stdout).toBe(a.stdout);
    expect(c.stdout.split("\n").slice(1)).toEqual(a.stdout.split("\n").slice(1));
  });

  it("annotates the changed line of the new manifests", async () => {
    const { stdout } = await runCli(args("clusterip-tcp", join(EXAMPLE, "before"), join(EXAMPLE, "after"), ["-o", "github"]));
    expect(stdout).toMatch(new RegExp("^::warning file=\\S*after/web.yaml,line=9,title=twinplane::default/web ingress\\[0\\]\\.from\\[0\\],"
      + " changed \\(\\S*before/web.yaml:9\\): drops 12 flows: ", "m"));
    expect(stdout).toMatch(/^::notice file=\S*after\/udp.yaml,line=2,title=twinplane::NetworkPolicy default\/udp added, not exercised/m);
  });

  it("lists removed connections for a pull request", async () => {
    const { stdout } = await runCli(args("clusterip-tcp", join(EXAMPLE, "before"), join(EXAMPLE, "after"), ["-o", "markdown"]));
    expect(stdout).toContain("| diff-type | source | destination | before | after | flows | packets | made by |");
    expect(stdout).toContain("\n| removed | default/cli-a | service default/web \\(default/web-a\\) | TCP 80 | No Connections | 2 | 14 | ");
  });
});

describe("what makes a difference", () => {
  it("is the policy that first isolates a pod", async () => {
    const found = await reviewed("clusterip-tcp", manifest("none.yaml", policy("else", "  podSelector: {matchLabels: {app: none}}\n")),
      manifest("deny.yaml", `${policy("else", "  podSelector: {matchLabels: {app: none}}\n")}---\n${policy("deny", WEB)}`));
    expect(lines(found)).toEqual(["added default/deny ingress: denies what no rule allows deny.yaml:7"]);
  });

  it("is the deny that is gone", async () => {
    const found = await reviewed("clusterip-tcp", manifest("deny2.yaml", policy("deny", WEB)),
      manifest("none2.yaml", policy("else", "  podSelector: {matchLabels: {app: none}}\n")));
    expect(lines(found)).toEqual(["removed default/deny ingress: denies what no rule allows deny2.yaml:1"]);
    expect(found.rows.every((row) => row.change === "opened")).toBe(true);
  });

  it("is a pod whose labels a rule no longer selects", async () => {
    const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: cli-a, namespace: default, labels: {app: CLIENT}}\nspec: {nodeName: node1}
status: {podIP: 10.244.1.20, podIPs: [{ip: 10.244.1.20}, {ip: "fd00:10:244:1::20"}]}\n`;
    const web = `---\n${policy("web", FROM_CLIENT)}`;
    const found = await reviewed("clusterip-tcp", manifest("pods1.yaml", pod.replace("CLIENT", "client") + web),
      manifest("pods2.yaml", pod.replace("CLIENT", "guest") + web));
    expect(lines(found)).toEqual(["changed Pod default/cli-a Pod pods2.yaml:1"]);
    expect(found.rows.every((row) => row.source === "default/cli-a" && row.change === "dropped")).toBe(true);
  });

  it("is nothing where an order or a file changed", async () => {
    const found = await reviewed("clusterip-tcp", manifest("order1.yaml", policy("web", `${FROM_CLIENT}    - ports: [{port: 9}]\n`)),
      manifest("order2.yaml", policy("web", FROM_CLIENT.replace("  ingress:\n", "  ingress:\n    - ports: [{port: 9}]\n"))));
    expect(found.rows).toEqual([]);
    expect(found.verdict).toEqual({ exitCode: 0, why: "nothing in the traffic given fares differently" });
  });

  it("is never what the change made undecided: that does not pass", async () => {
    const cilium = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: names, namespace: default}\nspec:\n"
      + "  endpointSelector: {matchLabels: {app: client}}\n  egress: [{toFQDNs: [{matchName: example.org}]}]\n";
    const found = await reviewed("pod-to-outside", manifest("plain.yaml", policy("else", "  podSelector: {matchLabels: {app: none}}\n")),
      manifest("names.yaml", cilium), ["--fail-on", "none", "--min-judged", "10"]);
    expect(found.newlyUndecided).toBeGreaterThan(0);
    expect(found.verdict.exitCode).toBe(3);
  });

  it("is unexplained where the line that decided is the same before and after", async () => {
    const read = (name: string, text: string) => readManifests([{ name, text }]).objects;
    const other = `    - from: [{podSelector: {matchLabels: {app: other}}}]\n`;
    const base = storyInput("lab/clusterip-tcp");
    const lab = readManifests([{ name: "cluster.yaml", text: readFileSync(join(LAB, "cluster.yaml"), "utf8") }]).objects;
    const facts = new Map(base.timeline.initial.nodes.map((node) => [node.name, node.facts]));
    const timeline = (text: string) => buildTimeline({ initial: reviewSides(lab, read("a", text), read("a", text)).after, facts });
    const before = timeline(policy("web", FROM_CLIENT));
    const said = timeline(policy("web", `${FROM_CLIENT}${other}`));
    // The fault: a plane that loses the first rule of the policy.
    const lost = timeline(policy("web", `${WEB}  ingress:\n${other}`));
    const statements = [new Statements(before.initial), new Statements(said.initial)] as const;
    const changes = changesBetween(before.initial, said.initial, statements);
    expect(changes.objects.map((one) => one.name)).toEqual(["web"]);
    const input = storyInput("lab/clusterip-tcp");
    const { comparison } = await runSession({ ...input, current: input.target, timeline: before, targetTimeline: lost,
      nameOf: (situation) => explain(situation, changes, statements) });
    expect([...new Set([...comparison.findings.values()].map((one) => one.id))]).toEqual([UNEXPLAINED]);
  });
});

describe("hostile text", () => {
  const hostile = "a,b:c%0A::error::x\r\n<img src=x onerror=alert(1)> | @you [x](http://e.org) `y` www.e.org";

  it("stays one cell of a table", () => {
    const cell = escapeMarkdown(hostile);
    expect(cell).not.toMatch(/[\r\n<>@]|(?<!\\)[|`[\]]|:\/\/|www\./);
  });

  it("stays one annotation", () => {
    const where = { file: hostile, line: 3 };
    const row = { change: "dropped", source: hostile, destination: hostile, receiver: hostile, protocol: "TCP", port: 1, before: hostile,
      after: hostile, flows: 1, packets: 1, unexplained: false,
      causes: [{ object: hostile, rule: "ingress", change: "added", where, after: where }] };
    const text = renderAnnotations({ rows: [row], limits: [], accepted: null, notExercised: [], verdict: { exitCode: 1, why: "x" } } as unknown as Review);
    expect(text.split("\n")).toHaveLength(3);
    expect(text.split("\n")[0]).toMatch(/^::warning file=a%2Cb%3Ac%250A%3A%3Aerror%3A%3Ax%0D%0A[^,:]*,line=3,title=twinplane::/);
  });
});
