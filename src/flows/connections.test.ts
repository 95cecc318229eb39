/** Events to connections: neither the order of lines nor of files matters, and memory does not grow with them. */
import { describe, expect, it } from "vitest";
import { Random, shuffle } from "../../test/policy-ring/random.js";
import { testSeed } from "../../test/seed.js";
import { Connections, KEPT_ALIKE } from "./connections.js";
import { readHubble } from "./hubble.js";
import type { RecordedFlow } from "./flow.js";

function event(fields: { from?: string; to?: string; sport?: number; dport?: number; time?: string; reply?: boolean | null; flags?: object;
  verdict?: string; node?: string; udp?: boolean; drop?: string }): RecordedFlow {
  const { from = "10.0.0.1", to = "10.0.0.2", sport = 40000, dport = 80, time = "2026-01-01T00:00:00Z", reply = false } = fields;
  const l4 = { source_port: sport, destination_port: dport, ...(fields.flags === undefined ? {} : { flags: fields.flags }) };
  const read = readHubble({ flow: { time, IP: { source: from, destination: to }, l4: fields.udp === true ? { UDP: l4 } : { TCP: l4 },
    verdict: fields.verdict ?? "FORWARDED", node_name: fields.node ?? "n1", ...(reply === null ? {} : { is_reply: reply }),
    ...(fields.drop === undefined ? {} : { drop_reason_desc: fields.drop }) } });
  if (read.kind !== "flow") throw new Error(JSON.stringify(read));
  return read.flow;
}

function summary(events: readonly (readonly [RecordedFlow, string, number])[]): string {
  const connections = new Connections();
  for (const [flow, file, line] of events) connections.add(flow, file, line);
  return JSON.stringify(connections.finish(), (_key, value: unknown) => (typeof value === "bigint" ? `${value}`
    : value instanceof Map ? [...value].sort() : value));
}

describe("connections", () => {
  it("are the same whatever the order of events", () => {
    const chance = new Random(testSeed("connections"));
    const random = (below: number): number => chance.below(below);
    const events = Array.from({ length: 400 }, (_, index) => [event({
      from: `10.0.0.${1 + random(3)}`, to: `10.0.1.${1 + random(3)}`, sport: 40000 + random(30), dport: 80 + random(2),
      time: `2026-01-01T00:00:${String(10 + random(40))}Z`, reply: [true, false, null][random(3)], node: `n${random(3)}`,
    }), `f${random(2)}`, index + 1] as const);
    const expected = summary(events);
    for (let round = 0; round < 5; round++) {
      expect(summary(shuffle(chance, events))).toBe(expected);
    }
  });

  it("of one pair and port are kept by the lowest client ports, and every event is accounted for", () => {
    const connections = new Connections();
    for (let port = 60000; port > 50000; port--) connections.add(event({ sport: port }), "f", 60001 - port);
    for (let port = 50001; port <= 60000; port++) connections.add(event({ sport: port, reply: true }), "f", port);
    const set = connections.finish();
    expect(set.connections.map((one) => one.source.port).sort()).toEqual(Array.from({ length: KEPT_ALIKE }, (_, index) => 50001 + index));
    expect([set.events, set.answers, set.alike]).toEqual([20000, 10000, 10000 - KEPT_ALIKE]);
  });

  it("of which no event says who began it are kept apart, unless another one does", () => {
    const connections = new Connections();
    connections.add(event({ reply: null }), "f", 1);
    connections.add(event({ reply: null, from: "10.0.0.2", to: "10.0.0.1", sport: 80, dport: 40000 }), "f", 2);
    expect(connections.finish()).toMatchObject({ connections: [], undirected: [{ events: 2 }], alike: 0 });
    connections.add(event({}), "f", 3);
    expect(connections.finish()).toMatchObject({ connections: [{ events: 1 }], undirected: [], alike: 0 });
  });
});

describe("which way an event went", () => {
  it.each<[string, Parameters<typeof event>[0], RecordedFlow["direction"]]>([
    ["is_reply false", {}, "request"],
    ["is_reply true", { reply: true }, "answer"],
    ["a SYN", { reply: null, flags: { SYN: true } }, "request"],
    ["a SYN and ACK", { reply: null, flags: { SYN: true, ACK: true } }, "answer"],
    ["nothing", { reply: null }, "unknown"],
    ["an ACK of a drop by policy", { reply: null, flags: { ACK: true }, verdict: "DROPPED", drop: "POLICY_DENIED" }, "unknown"],
    ["UDP dropped by policy", { reply: null, udp: true, verdict: "DROPPED", drop: "POLICY_DENIED" }, "request"],
    ["UDP dropped otherwise", { reply: null, udp: true, verdict: "DROPPED", drop: "STALE_OR_UNROUTABLE_IP" }, "unknown"],
  ])("%s", (_what, fields, direction) => expect(event(fields).direction).toBe(direction));
});
