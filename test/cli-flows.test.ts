/** Flow logs as input of `compare`: Hubble's JSON, Azure's tables; what cannot be placed is undecided with its reason. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { runCli, spawnCli } from "./cli.js";

const LAB = "traces/lab";
const CLUSTER = ["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", `${LAB}/${name}`]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const folder = mkdtempSync(join(tmpdir(), "twinplane-flows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function replay(...files: string[]): Promise<{ exitCode: number; report: Report }> {
  const { exitCode, stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "-o", "json", "--input-file", ...files]);
  return { exitCode, report: JSON.parse(stdout) as Report };
}

type Ends = { from?: string; to?: string; fromPod?: string; toPod?: string; toWorkload?: string; sport?: number; dport?: number; more?: object };

function flow({ from = "10.244.1.20", to = "10.96.0.10", fromPod, toPod, toWorkload, sport = 40001, dport = 80, more = {} }: Ends = {}): string {
  const party = (name: string | undefined): object => {
    const [namespace, pod] = (name ?? "/").split("/");
    return { namespace, pod_name: pod };
  };
  return JSON.stringify({ flow: { time: "2026-11-01T10:00:00.123456789Z", verdict: "FORWARDED", IP: { source: from, destination: to },
    l4: { TCP: { source_port: sport, destination_port: dport } }, source: party(fromPod), is_reply: false, node_name: "lab/node1",
    destination: { ...party(toPod), workloads: toWorkload === undefined ? [] : [{ name: toWorkload, kind: "Deployment" }] }, ...more } });
}

const lines = (...texts: string[]): string => `${texts.join("\n")}\n`;
const BEHIND = flow({ to: "10.244.2.10", dport: 8080, toPod: "default/web-b" });

describe("flows of Hubble", () => {
  it("to a service, with the backend that the log shows behind it: one connection, both sides pinned to that backend", async () => {
    const { report } = await replay(file("both.jsonl", lines(flow(), BEHIND)));
    expect(report.flows).toMatchObject({ connections: 1, replayed: 1, notExercised: 0, events: 2, unplaced: [] });
    expect(report.planes.map((one) => one.pinsTaken)).toEqual([1, 1]);
    expect([report.packets.replayed, report.packets.same, report.packets.undecided]).toEqual([1, 1, 0]);
  });

  it("to a backend alone: the service stage is not exercised, and the screen says so", async () => {
    const path = file("behind.jsonl", lines(BEHIND));
    const { report } = await replay(path);
    expect(report.flows).toMatchObject({ connections: 1, replayed: 1, notExercised: 1 });
    const { stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", path]);
    expect(stdout).toMatch(/1 connection recorded behind the balancing only: the service stage is not exercised/);
    expect(stdout).toMatch(/recorded verdicts, not relied on: 1 FORWARDED/);
  });

  it("that both planes treat differently are found, with their line", async () => {
    const { exitCode, report } = await replay(file("empty.jsonl", lines("", flow({ to: "10.96.0.70", more: { verdict: "DROPPED" } }))));
    expect([exitCode, report.findings.map((one) => [one.id, one.example.line, one.example.record])]).toEqual([1,
      [[expect.not.stringMatching("UNEXPLAINED"), true, 2]]]);
  });

  it("from a node's socket, from outside to a node port, and of ICMP", async () => {
    const { report } = await replay(file("places.jsonl", lines(
      flow({ from: "192.168.50.11", to: "10.244.2.10", dport: 8080 }), flow({ from: "203.0.113.10", to: "192.168.50.12", dport: 30080 }),
      flow({ to: "10.244.2.10", more: { l4: { ICMPv4: { type: 8 } } } }), flow({ to: "10.244.2.10", more: { l4: { ICMPv4: {} } } }),
      flow({ from: "203.0.113.10", to: "198.51.100.10", more: { trace_observation_point: "FROM_NETWORK" } }))));
    expect(report.flows).toMatchObject({ connections: 4, replayed: 4, answers: 1, unplaced: [] });
    expect([report.packets.replayed, report.packets.undecided, report.findings.filter((one) => one.id === "UNEXPLAINED")]).toEqual([4, 0, []]);
  });

  it("policy verdicts are told from other events, and say who connected without is_reply", async () => {
    const verdict = (more: object): object => ({ event_type: { type: 5 }, is_reply: null, ...more });
    const path = file("policy.jsonl", lines(flow({ more: { event_type: { type: 4, sub_type: 3 } } }),
      flow({ sport: 40002, more: verdict({ verdict: "FORWARDED", is_reply: false }) }), flow({ sport: 40003, more: verdict({ verdict: "AUDIT" }) }),
      flow({ sport: 40004, more: verdict({ verdict: "DROPPED", drop_reason_desc: "AUTH_REQUIRED" }) }),
      // An ACK whose connection is not known may be of either side.
      flow({ to: "10.244.2.20", dport: 9999, sport: 40005, more: verdict({ verdict: "DROPPED", l4: { TCP: { source_port: 40005,
        destination_port: 9999, flags: { ACK: true } } } }) })));
    const { report } = await replay(path);
    expect(report.flows?.policyVerdicts).toEqual([["DROPPED", 2], ["AUDIT", 1], ["FORWARDED", 1]]);
    expect(report.flows).toMatchObject({ events: 5, replayed: 4, unplaced: [[expect.stringMatching(/who connected to whom is not told/), 1]] });
    const { stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", path]);
    expect(stdout).toMatch(/policy verdicts among them: 2 DROPPED, 1 AUDIT, 1 FORWARDED/);
  });

  it("what the log tells became of them is held against the current side", async () => {
    const denied = { verdict: "DROPPED", drop_reason_desc: "POLICY_DENIED" };
    const atReceiver = { trace_observation_point: "TO_ENDPOINT" };
    const direct = { to: "10.244.2.10", dport: 8080 };
    const path = file("fates.jsonl", lines(
      flow({ ...direct, sport: 1, more: atReceiver }), flow({ ...direct, sport: 2, more: denied }),
      // Seen on its way only; dropped for another reason; both, since it changed; a service without endpoints.
      flow({ ...direct, sport: 3 }), flow({ ...direct, sport: 4, more: { verdict: "DROPPED", drop_reason_desc: "CT_MAP_INSERTION_FAILED" } }),
      flow({ ...direct, sport: 5, more: denied }), flow({ ...direct, sport: 5, more: atReceiver }),
      flow({ to: "10.96.0.70", sport: 6, more: { event_type: { type: 5 }, traffic_direction: "INGRESS" } }),
      // Behind the balancing it is the same connection.
      flow({ sport: 7 }), flow({ to: "10.244.2.10", dport: 8080, toPod: "default/web-b", sport: 7, more: denied })));
    const { report } = await replay(path);
    expect(report.flows?.fates).toMatchObject({ compared: 4, otherwise: 3, examples: [
      { line: 2, recorded: "denied", current: expect.stringMatching(/^delivered to default\/web-b/) },
      { line: 7, recorded: "arrived", current: expect.stringMatching(/rejected/) },
      { line: 8, recorded: "denied", destination: expect.stringMatching(/default\/web/), port: 80 }] });
    const { stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", path]);
    // Both sides agree, and on something else than what happened.
    const { exitCode, report: { verdict } } = await replay(file("agreed.jsonl", lines(flow({ ...direct, more: denied }))));
    expect([exitCode, verdict.why]).toEqual([3, expect.stringMatching(/no difference .* but the current side reproduces 0 % of what was rec/)]);
    expect(stdout).toMatch(/1 of 4 connections whose end the log tells fare so in the current side too/);
    expect(stdout).toMatch(/fates\.jsonl line 2: default\/\S+ -> default\/web-b:8080 denied by policy as recorded, delivered/);
    const review = await runCli(["review", ...CLUSTER, ...NETWORK, "--before", `${LAB}/cluster.yaml`, "--after", `${LAB}/cluster.yaml`,
      "--input-file", path]);
    expect(review.stdout).toMatch(/3 otherwise: the cluster before the change is not what was in force/);
  });

  it("answers, losses and other events are counted; one bad line costs that line", async () => {
    const { report } = await replay(file("mixed.jsonl", lines(flow(), "garbage", "[1]", flow({ more: { is_reply: true } }),
      JSON.stringify({ lost_events: { num_events_lost: "12" } }), JSON.stringify({ node_status: { state_change: 1 } }),
      flow({ more: { Type: "L7", l7: {} } }), flow({ from: "10.244.1.300" }))));
    expect(report.flows).toMatchObject({ connections: 1, events: 2, answers: 1, lost: 12, aside: [[expect.any(String), 1], [expect.any(String), 1]] });
    expect(report.problems.filter((one) => one.severity === "error").map((one) => one.where?.line)).toEqual([2, 3, 8]);
  });

  it("gzip and standard input are read; several files in any order give the same report", async () => {
    const one = file("one.jsonl", lines(flow(), flow({ to: "10.96.0.70" })));
    const two = file("two.jsonl.gz", gzipSync(lines(BEHIND, flow({ sport: 40002 }))));
    const forth = await replay(one, two);
    expect(forth.report.flows).toMatchObject({ connections: 3, events: 4 });
    expect(await replay(two, one)).toEqual(forth);
    const piped = spawnCli(["compare", ...CLUSTER, ...NETWORK, "-o", "json", "--input-file", "-"], lines(flow(), BEHIND));
    expect((JSON.parse(piped.stdout) as Report).flows).toMatchObject({ connections: 1, replayed: 1 });
  });
});

describe("a party that is not what the snapshot has", () => {
  it.each<[string, string, RegExp]>([
    ["a pod that is gone", flow({ from: "10.244.1.99", fromPod: "default/gone" }), /stale snapshot: the source's pod is not in it/],
    ["an address of another pod since", flow({ fromPod: "default/gone" }), /stale snapshot: the source's pod is not in it/],
    ["an address that no pod has", flow({ to: "10.244.2.99", dport: 8080 }), /stale snapshot: no pod of it has the destination's address/],
    ["a service that is gone", flow({ to: "10.96.9.9", more: { destination_service: { name: "gone", namespace: "default" } } }),
      /stale snapshot: the service that was connected to is not in it/],
    ["a pod's identity at an address outside the pods' ranges", flow({ from: "192.0.2.7", more: { source: { identity: 31337 } } }),
      /stale snapshot: the source's pod is not in it/],
    ["an identity of the world at a pod's address", flow({ more: { source: { identity: 2 } } }),
      /stale snapshot: the source was outside the cluster, and a pod of it has the address/],
    ["an identity of an address range at a pod's address", flow({ to: "10.244.2.10", more: { destination: { identity: 16777217 } } }),
      /stale snapshot: the destination was outside the cluster/],
    ["a node's identity at an address of no node", flow({ from: "192.0.2.7", more: { source: { identity: 6 } } }),
      /stale snapshot: no node of it has the source's address/],
    ["no direction and no service", flow({ to: "10.244.2.20", dport: 9999, more: { is_reply: null } }), /who connected to whom is not told/],
    ["from outside to outside", flow({ from: "203.0.113.10", to: "203.0.113.11" }), /neither end is in the cluster/],
    ["from outside to a service on an unknown node", flow({ from: "203.0.113.10" }), /the node that it came to from outside is not told/],
    ["no party", flow({ more: { IP: {} } }), /neither the address nor the pod of the source is named/],
  ])("%s: undecided, and too much of it is no success", async (_what, line, reason) => {
    const { exitCode, report } = await replay(file("stale.jsonl", lines(flow({ sport: 41000 }), line)));
    expect(report.flows).toMatchObject({ connections: 2, replayed: 1, unplaced: [[expect.stringMatching(reason), 1]] });
    expect([exitCode, report.verdict.why]).toEqual([3, expect.stringMatching(/50\.0 % of the packets were decided/)]);
  });

  it("identities that agree with the snapshot change nothing", async () => {
    const same = { source: { identity: 31337 }, destination: { identity: 2 } };
    const { report } = await replay(file("agree.jsonl", lines(flow({ to: "203.0.113.10", more: same }),
      flow({ from: "192.168.50.11", to: "10.244.2.10", more: { source: { identity: 1 } } }), flow({ to: "203.0.113.10", more: { destination: { identity: 16777300 } } }),
      flow({ to: "203.0.113.11", more: { destination: { identity: 7 } } }))));
    expect(report.flows).toMatchObject({ replayed: 3, unplaced: [] });
  });

  it("a pod with another address is found by its name, and that is said", async () => {
    const path = file("renamed.jsonl", lines(flow({ from: "10.244.7.7", fromPod: "default/cli-a" })));
    expect((await replay(path)).report.flows).toMatchObject({ replayed: 1, readdressed: 1, unplaced: [] });
    expect((await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", path])).stdout).toMatch(/found by name: with the addresses/);
  });
});

describe("a repository of manifests, without pods, nodes and addresses", () => {
  const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 2, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec: {template: {metadata: {labels: {app: client}}, spec: {containers: [{name: c}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
`;
  const party = (workload: string): object => ({ namespace: "shop", pod_name: `${workload}-abc-xyz`, workloads: [{ name: workload, kind: "Deployment" }] });
  const event = JSON.stringify({ time: "2026-11-01T10:00:00Z", verdict: "FORWARDED", IP: { source: "10.1.2.3", destination: "10.0.0.80" },
    l4: { TCP: { source_port: 4001, destination_port: 80 } }, source: party("client"), is_reply: false,
    destination_service: { namespace: "shop", name: "web" } });

  it("flows between its workloads are judged by its policies, and all that was made up is said", async () => {
    const args = ["compare", "-f", file("repository.yaml", manifests), "--input-file", file("repository.jsonl", lines(event, event.replace(
      '"destination_service":{"namespace":"shop","name":"web"}', `"destination":${JSON.stringify(party("web"))}`).replace('"destination_port":80',
      '"destination_port":8080').replace("4001", "4002")))];
    const report = JSON.parse((await runCli([...args, "-o", "json"])).stdout) as Report;
    expect(report.flows).toMatchObject({ connections: 2, replayed: 2, readdressed: 2, notExercised: 1, unplaced: [] });
    expect(report.findings.map((one) => [one.id, one.becauses.map(({ object }) => object)])).toEqual([
      ["POL-NOENGINE", expect.arrayContaining(["shop/closed"])], ["POL-NOENGINE", expect.arrayContaining(["shop/closed"])]]);
    const { stdout } = await runCli(args);
    for (const what of [/no Node among the objects/, /2 Deployments without pods/, /1 Service without cluster IP/, /1 Service without EndpointSlices/]) {
      expect(stdout).toMatch(what);
    }
  });
});

describe("Azure's container network logs", () => {
  const ROW = { NodeName: "node1", SourceNamespace: "default", SourcePodName: "cli-a", DestinationNamespace: "default", DestinationPodName: "web-b",
    IP: "", Layer4: JSON.stringify({ TCP: { destination_port: 8080 } }), Verdict: "FORWARDED", Reply: "false", FlowType: "L3_L4" };
  const csv = (value: string): string => `"${value.replaceAll('"', '""')}"`;

  it("as CSV, without addresses: pods found by their names", async () => {
    const text = lines(Object.keys(ROW).map(csv).join(","), Object.values(ROW).map(csv).join(","),
      Object.values({ ...ROW, SourcePodName: "gone", Verdict: 'a\nb, "c"' }).map(csv).join(","));
    const { report } = await replay(file("logs.csv", text));
    expect(report.flows).toMatchObject({ connections: 2, replayed: 1, readdressed: 1, unplaced: [[expect.stringMatching(/stale snapshot/), 1]] });
    expect(report.flows?.verdicts).toEqual([['FORWARDED', 1], ['a\nb, "c"', 1]]);
  });

  it("as JSON lines, with dynamic columns as values", async () => {
    const row = { ...ROW, IP: { source: "10.244.1.20", destination: "10.244.2.10" }, Layer4: { TCP: { destination_port: 8080, source_port: 4242 } } };
    expect((await replay(file("logs.jsonl", lines(JSON.stringify(row))))).report.flows).toMatchObject({ replayed: 1, readdressed: 0 });
  });

  const other = { ...ROW, SourcePodName: "cli-b" };
  const tables = (rows: readonly unknown[]): object => ({ tables: [{ name: "PrimaryResult", rows,
    columns: Object.keys(ROW).map((name) => ({ name, type: "string" })) }] });

  it.each<[string, string]>([
    ["an array in one line", JSON.stringify([ROW, other])],
    ["an array over many lines", JSON.stringify([ROW, other], null, 2)],
    ["an array with a row a line", `\n[ ${JSON.stringify(ROW)},\n${JSON.stringify(other)}\n]\n`],
    ["a query's result", JSON.stringify(tables([Object.values(ROW), Object.values(other)]))],
    ["a query's result over many lines", JSON.stringify(tables([Object.values(ROW), Object.values(other)]), null, 2)],
    ["objects over many lines, one after the other", [ROW, other].map((row) => JSON.stringify(row, null, 2)).join("\n")],
    ["an array longer than a line may be", `[${JSON.stringify(ROW)},${" ".repeat(1 << 25)}${JSON.stringify(other)}]`],
  ])("as %s", async (_what, text) => {
    const { exitCode, report } = await replay(file("one.json", text));
    expect(exitCode).toBeLessThan(2);
    expect(report.flows).toMatchObject({ events: 2, connections: 2, replayed: 2, unplaced: [] });
  }, 30_000);

  it("wrong elements are said with line and index, and cost themselves only", async () => {
    const path = file("wrong.json", `[\n${JSON.stringify(ROW)},\n7,\n{"a": 1},\n{"Layer4": "x",,},\n${JSON.stringify(other)}\n]\nmore\n`);
    const { report } = await replay(path);
    expect(report.flows).toMatchObject({ events: 2, replayed: 2 });
    expect(report.problems.flatMap(({ where, what }) => (where?.file === path ? [`${where.line}: ${what}`] : []))).toEqual([
      expect.stringMatching(/^3: \[1\]: found no JSON object; expected a flow/), expect.stringMatching(/^4: \[2\]: found no flow; expected/),
      expect.stringMatching(/^5: \[3\]: found no JSON; expected a flow or a row/), expect.stringMatching(/^8: found text behind the end/),
    ]);
    const rows = await replay(file("rows.json", JSON.stringify(tables([Object.values(ROW), ["short"], 3]))));
    expect(rows.report.problems.map(({ what }) => what)).toEqual(expect.arrayContaining([
      expect.stringMatching(/tables\[0\]\.rows\[1\]: found 1 values, expected 10 values/), expect.stringMatching(/rows\[2\]: found no list/)]));
  });

  it.each([["cut off", `[${JSON.stringify(ROW)}, {"Layer4":`, /ends inside of JSON; cut off\?/, 1], ["empty", "[]", /no flow in this file/, 2],
    ["another table", JSON.stringify({ tables: [{ columns: [{ name: "Computer" }], rows: [["a"]] }] }), /tables\[0\]: found no columns and/, 2],
  ])("%s is said", async (_what, text, said, least) => {
    const { exitCode, stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", file("bad.json", text)]);
    expect(stdout).toMatch(said);
    if (least === 2) expect(exitCode).toBe(2);
  });
});
