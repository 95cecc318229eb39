/**
 * Changes dated from events. The lab's case T22 is the ground truth: its packets, paired before and after NAT
 * by address and port, tell which endpoint each one went to.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import type { Cluster } from "./cluster.js";
import { readConntrackFlows } from "./conntrack-flow.js";
import { readManifests } from "./manifests.js";
import { changesFromEvents, type ObservedNode } from "./observed-changes.js";
import { buildCluster } from "./timeline.js";

const SECOND = 1_000_000_000n;

function churn(...endpoints: string[]): Cluster {
  return buildCluster(readManifests([{ name: "c",
    text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [
    { apiVersion: "v1", kind: "Service", metadata: { name: "s" }, spec: { clusterIP: "10.96.0.1",
      ports: [{ port: 53, protocol: "UDP" }, { port: 80, name: "t" }] } },
    { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: "s-1", labels: { "kubernetes.io/service-name": "s" } },
      ports: [{ port: 5353, protocol: "UDP" }, { port: 8080, name: "t" }],
      endpoints: endpoints.map((address) => ({ addresses: [address] })) },
  ] }) }]).objects);
}

function event(seconds: number, name: string, timeout: number | "", port: number, endpoint: string,
  end = ""): string {
  return `[${seconds.toFixed(6)}] [${name}] ipv4 2 udp 17 ${timeout} src=10.0.0.9 dst=10.96.0.1 sport=${port}`
    + ` dport=53 src=${endpoint} dst=10.0.0.9 sport=5353 dport=${port} id=1${end}`;
}

function node(...lines: string[]): ObservedNode {
  const { flows, problems } = readConntrackFlows({ name: "ct", text: lines.join("\n") });
  expect(problems).toEqual([]);
  return { node: "node-1", flows };
}

describe("changesFromEvents", () => {
  const before = churn("10.1.0.1", "10.1.0.2");
  const after = churn("10.1.0.2", "10.1.0.3");
  const bracket = { afterNs: 10n * SECOND, beforeNs: 20n * SECOND };

  test("without evidence the change is in the middle of its bracket", () => {
    const { changes } = changesFromEvents(before, after, [], bracket,
      { afterNs: 30n * SECOND, beforeNs: 31n * SECOND });
    expect(changes.map((one) => [one.atNs, one.kind === "cluster" && one.cluster === after])).toEqual([
      [15n * SECOND, true], [30_500_000_000n, false]]);
  });

  test("choices narrow the bracket; those that both sets allow, and those outside it, do not", () => {
    const seen = node(event(9, "NEW", 30, 1, "10.1.0.3"), event(12, "NEW", 30, 2, "10.1.0.1"),
      event(15, "NEW", 30, 3, "10.1.0.2"), event(14, "NEW", 30, 4, "10.1.0.3"),
      event(19, "NEW", 30, 5, "10.1.0.3"),
      event(25, "NEW", 30, 6, "10.1.0.1"));
    expect(changesFromEvents(before, after, [seen], bracket, null).changes.map((one) => one.atNs))
      .toEqual([13n * SECOND]);
  });

  test("choices that contradict each other give a Problem and no change", () => {
    const seen = node(event(12, "NEW", 30, 1, "10.1.0.3"), event(13, "NEW", 30, 2, "10.1.0.1"));
    const { changes, problems } = changesFromEvents(before, after, [seen], bracket, null);
    expect(changes).toEqual([]);
    expect(problems).toMatchObject([{ severity: "error" }]);
  });

  test("an entry destroyed before its timeout was deleted: by endpoint if that left, else by tuple", () => {
    const seen = node(
      event(1, "NEW", 30, 1, "10.1.0.1"), event(2, "NEW", 30, 2, "10.1.0.1"),
      event(3, "NEW", 30, 3, "10.1.0.2"),
      event(4, "NEW", 30, 4, "10.1.0.2"), event(5, "UPDATE", 120, 4, "10.1.0.2"),
      event(21, "DESTROY", "", 1, "10.1.0.1"), event(21.1, "DESTROY", "", 2, "10.1.0.1"),
      event(33.5, "DESTROY", "", 3, "10.1.0.2"), event(100, "DESTROY", "", 4, "10.1.0.2"),
    );
    const entries = changesFromEvents(before, after, [seen], bracket, null).changes
      .flatMap((one) => (one.kind === "conntrack-delete" ? [[one.atNs, one.entry.originalSourcePort,
        one.entry.replySource?.text, one.entry.originalDestination?.text, one.entry.node]] : []));
    expect(entries).toEqual([
      [21n * SECOND, null, "10.1.0.1", "10.96.0.1", "node-1"],
      [100n * SECOND, 4, "10.1.0.2", "10.96.0.1", "node-1"],
    ]);
  });

  test("the kernel's word that a process asked for it is enough", () => {
    const seen = node(event(33.5, "DESTROY", "", 3, "10.1.0.1", " [USERSPACE] portid=1 progname=conntrack"));
    expect(changesFromEvents(before, after, [seen], bracket, null).changes.length).toBe(2);
  });
});

const lab = join(sharedDir() ?? "/nonexistent", "traces", "lab");

describe.skipIf(!existsSync(lab))("case T22 of the lab (needs TWINPLANE_SHARED)", () => {
  test.each(["native-nth", "vxlan-nth"])("%s: the dated changes agree with where the packets went", (run) => {
    const dir = join(lab, run);
    const text = (name: string): string => readFileSync(join(dir, name), "utf8");
    const cluster = (name: string): Cluster =>
      buildCluster(readManifests([{ name, text: text(name) }]).objects);
    const time = (id: string, key: string): bigint =>
      BigInt(new RegExp(`"${key}": (\\d+)`).exec(text(`${id}/case.json`))?.[1] ?? "0");
    const nodes = ["node1", "node2"].map((name) => ({ node: name,
      flows: readConntrackFlows({ name, text: text(`T22/${name}.ct-events.txt`) }).flows }));
    const { changes, problems } = changesFromEvents(
      cluster("cluster.yaml"), cluster("cluster-v2.yaml"), nodes,
      { afterNs: time("T22.1", "t1"), beforeNs: time("T22.4", "t0") },
      { afterNs: time("T22", "t1"), beforeNs: time("T23", "t0") });
    expect(problems).toEqual([]);
    expect(changes.map((one) => one.kind)).toEqual(["cluster", "conntrack-delete", "cluster"]);
    const [change, deletion] = changes;
    if (deletion.kind !== "conntrack-delete") throw new Error("the second change is the deletion");
    expect(deletion.entry).toMatchObject({ node: "node1", family: 4, protocol: 17,
      originalDestination: { text: "10.96.0.120" }, replySource: { text: "10.244.1.10" } });

    // Packets to the service, from the capture: when, from which port, to which endpoint.
    const packets = text("T22/node1.pairs.jsonl").split("\n")
      .filter((line) => line.includes("> 10.96.0.120:")).map((line) => ({
      atNs: BigInt(/"t_in": (\d+)/.exec(line)?.[1] ?? "0"),
      flow: /"before": "(\w+ [\d.:]+) >/.exec(line)?.[1] ?? "",
      to: /"after": "\w+ [\d.:]+ > ([\d.]+):/.exec(line)?.[1] ?? "",
    }));
    const starts = new Map<string, (typeof packets)[number]>();
    for (const packet of packets) if (!starts.has(packet.flow)) starts.set(packet.flow, packet);
    const chosenLater = new Set([...starts.values()].filter((one) => one.atNs > change.atNs)
      .map((one) => one.to));
    const chosenBefore = new Set([...starts.values()].filter((one) => one.atNs < change.atNs)
      .map((one) => one.to));
    expect([...chosenLater]).toEqual(["10.244.2.10"]);
    expect([...chosenBefore].sort()).toEqual(["10.244.1.10", "10.244.2.10"]);
    const udp = packets.filter((one) => one.flow.startsWith("udp"));
    const toLeaving = udp.filter((one) => one.to === "10.244.1.10");
    expect(toLeaving.some((one) => one.atNs > change.atNs)).toBe(true);
    expect(toLeaving.every((one) => one.atNs < deletion.atNs)).toBe(true);
    expect(udp.some((one) => one.atNs > deletion.atNs && one.flow === toLeaving[0].flow)).toBe(true);
  });
});
