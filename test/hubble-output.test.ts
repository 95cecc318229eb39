/**
 * Flows as Hubble has them: every key and enum is one of the .proto files', every packet is there, drops carry Hubble's
 * numbers, filters mean what `hubble observe`'s mean, and compact lines look as its own.
 */
import { describe, expect, it } from "vitest";
import { ENUMS, MESSAGES } from "./hubble-proto.js";
import { outputsOf, type Outputs } from "./outputs.js";

const STORIES = ["clusterip-tcp", "no-endpoints", "dns-udp", "icmp-errors", "ipv6", "udp-fragments", "hairpin", "nodeport-cluster"];
type Json = Record<string, unknown>;

const runs = new Map<string, Promise<Outputs>>();

/** Flows of both planes; each is run once. */
function flowsOf(plane: string, args: readonly string[] = []): Promise<Outputs> {
  const key = JSON.stringify([plane, args]);
  const run = runs.get(key) ?? outputsOf({ stories: STORIES, formats: ["hubble", "compact", "json"], args: ["--plane", plane, ...args] });
  runs.set(key, run);
  return run;
}

/** What of a message is not as the .proto has it. */
function wrongIn(message: string, value: Json, path = ""): string[] {
  return Object.entries(value).flatMap(([key, field]) => {
    const type = MESSAGES[message][key];
    return type === undefined ? [`${message} has no field ${path}${key}`] : wrongValue(type, field, `${path}${key}`);
  });
}

function wrongValue(type: string, value: unknown, path: string): string[] {
  if (type.endsWith("[]")) {
    return Array.isArray(value) ? value.flatMap((one) => wrongValue(type.slice(0, -2), one, `${path}[]`)) : [`${path} is no list`];
  }
  if (type in MESSAGES) return typeof value === "object" && value !== null ? wrongIn(type, value as Json, `${path}.`) : [`${path} is no message`];
  if (type in ENUMS) return typeof value === "string" && value in ENUMS[type] ? [] : [`${path} is no ${type}: ${String(value)}`];
  const right: Record<string, boolean> = {
    string: typeof value === "string", bool: typeof value === "boolean", "google.protobuf.BoolValue": typeof value === "boolean",
    uint32: Number.isInteger(value) && (value as number) >= 0, int32: Number.isInteger(value),
    "google.protobuf.Timestamp": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z$/.test(String(value)),
  };
  return right[type] === true ? [] : [`${path} is no ${type}: ${JSON.stringify(value)}`];
}

const flow = (line: string): Json => (JSON.parse(line) as { flow: Json }).flow;

describe("against flow.proto", () => {
  it.each(["target", "current"])("every line of the %s side is a GetFlowsResponse", async (plane) => {
    const lines = (await flowsOf(plane)).lines("hubble");
    expect(lines.length).toBeGreaterThan(300);
    expect([...new Set(lines.flatMap((line) => wrongIn("GetFlowsResponse", JSON.parse(line) as Json)))]).toEqual([]);
  });

  it("a wrong name, a wrong enum and a wrong type are seen", () => {
    expect(wrongIn("GetFlowsResponse", { flow: { verdict: "DENIED", IP: { src: "10.0.0.1" }, l4: { TCP: { source_port: "80" } } } }))
      .toEqual(["flow.verdict is no Verdict: DENIED", "IP has no field flow.IP.src", 'flow.l4.TCP.source_port is no uint32: "80"']);
  });

  it.each(["target", "current"])("each packet of the %s side is one flow, but for what could not be in it", async (plane) => {
    const { packets } = JSON.parse((await flowsOf(plane)).text("json")) as { packets: Record<string, number> };
    const flows = (await flowsOf(plane)).lines("hubble").map(flow);
    expect(flows.length).toBeLessThanOrEqual(packets.replayed);
    expect(flows.length).toBeGreaterThanOrEqual(packets.replayed - packets.moot);
  });

  it("what a pod gets is ingress, and of an answer egress: the direction is the connection's", async () => {
    const flows = (await flowsOf("target")).lines("hubble").map(flow).filter((one) => one.trace_observation_point === "TO_ENDPOINT");
    expect(new Set(flows.map((one) => one.is_reply))).toEqual(new Set([true, false]));
    expect(flows.filter((one) => one.traffic_direction !== (one.is_reply === true ? "EGRESS" : "INGRESS"))).toEqual([]);
  });

  it("drops have Hubble's number in each place, and a policy's drop names the policy and its direction", async () => {
    const drops = (await flowsOf("target")).lines("hubble").map(flow).filter((one) => one.verdict === "DROPPED");
    expect(drops.map((one) => one.drop_reason_desc)).toContain("POLICY_DENIED");
    for (const one of drops) {
      const number = ENUMS.DropReason[one.drop_reason_desc as string];
      expect([one.drop_reason, one.event_type]).toEqual([number, { type: 1, sub_type: number }]);
      expect(one.is_reply).toBeUndefined();
    }
    const denied = drops.filter((one) => one.drop_reason_desc === "POLICY_DENIED");
    for (const one of denied) {
      expect(one.traffic_direction).toBe("INGRESS");
      expect(one.ingress_denied_by).toEqual([{ name: "web-from-client", namespace: "default", kind: "NetworkPolicy" }]);
      expect((one.destination as Json).labels).toContain("k8s:app=web");
    }
  });

  it("a drop that is none of Cilium's has no number, and says in its summary what it is", async () => {
    const other = (await flowsOf("current")).lines("hubble").map(flow)
      .filter((one) => one.verdict === "DROPPED" && one.drop_reason_desc === undefined);
    expect(other.length).toBeGreaterThan(0);
    for (const one of other) expect([one.drop_reason, (one.Summary as string).length > 20]).toEqual([undefined, true]);
  });
});

describe("compact", () => {
  const LINE = /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\.\d{3}: \S+ \([\w-]+\) (->|<-|<>) \S+ \([\w-]+\) [\w:/() -]+ (FORWARDED|DROPPED|VERDICT_UNKNOWN) \(.*\)$/;

  it("every line is one of hubble observe's, and there are as many as flows", async () => {
    const run = await flowsOf("target");
    expect(run.lines("compact").filter((line) => !LINE.test(line))).toEqual([]);
    expect(run.lines("compact")).toHaveLength(run.lines("hubble").length);
  });

  it("a dropped packet's direction is not known, an answer's arrow points back", async () => {
    const lines = (await flowsOf("target")).lines("compact");
    const at = (part: string): string | undefined => lines.find((line) => line.includes(part))?.replace(/^.{20} /, "");
    expect(at("Policy denied")).toMatch(
      /^default\/\S+:\d+ \(unknown\) <> default\/web-\w:8080 \(unknown\) Policy denied DROPPED \(TCP Flags: SYN; cmp=DIFF id=POL-NOENGINE\)$/);
    expect(at("SYN, ACK")).toMatch(/ <- .* to-endpoint FORWARDED \(TCP Flags: SYN, ACK/);
  });
});

describe("filters", () => {
  const end = (one: Json, name: string, key: string): unknown => (one[name] as Json | undefined)?.[key];
  const ip = (one: Json, name: string): string => String((one.IP as Json | undefined)?.[name] ?? "");
  const port = (one: Json, name: string): unknown => Object.values((one.l4 ?? {}) as Record<string, Json>)[0]?.[`${name}_port`];
  const isPod = (one: Json, name: string, namespace: string, prefix: string): boolean =>
    end(one, name, "namespace") === namespace && String(end(one, name, "pod_name")).startsWith(prefix);

  const CASES: readonly (readonly [string, readonly string[], (one: Json) => boolean])[] = [
    ["from a pod, by its prefix", ["--from-pod", "default/cli"], (one) => isPod(one, "source", "default", "cli")],
    ["to a pod of the default namespace", ["--to-pod", "web"], (one) => isPod(one, "destination", "default", "web")],
    ["two values are alternatives", ["--to-pod", "default/web-a", "--to-pod", "default/web-b"],
      (one) => isPod(one, "destination", "default", "web-a") || isPod(one, "destination", "default", "web-b")],
    ["either end", ["--pod", "default/web-a"], (one) => isPod(one, "source", "default", "web-a") || isPod(one, "destination", "default", "web-a")],
    ["a namespace", ["--from-namespace", "default"], (one) => end(one, "source", "namespace") === "default"
      || end(one, "source_service", "namespace") === "default"],
    ["a network", ["--from-ip", "10.244.1.0/24"], (one) => ip(one, "source").startsWith("10.244.1.")],
    ["an address of either end", ["--ip", "10.244.1.20"], (one) => [ip(one, "source"), ip(one, "destination")].includes("10.244.1.20")],
    ["a port of either end", ["--port", "8080"], (one) => port(one, "source") === 8080 || port(one, "destination") === 8080],
    ["a destination's port", ["--to-port", "8080"], (one) => port(one, "destination") === 8080],
    ["a protocol", ["--protocol", "udp"], (one) => "UDP" in ((one.l4 ?? {}) as Json)],
    ["ICMP of both families", ["--protocol", "icmp"], (one) => ["ICMPv4", "ICMPv6"].some((name) => name in ((one.l4 ?? {}) as Json))],
    ["a verdict", ["--verdict", "DROPPED"], (one) => one.verdict === "DROPPED"],
    ["not a verdict", ["--not", "--verdict", "FORWARDED"], (one) => one.verdict !== "FORWARDED"],
    ["options narrow one another", ["--verdict", "DROPPED", "--to-port", "8080", "--from-pod", "default/cli"],
      (one) => one.verdict === "DROPPED" && port(one, "destination") === 8080 && isPod(one, "source", "default", "cli")],
    ["one is turned, the next is not", ["--not", "--protocol", "udp", "--verdict", "FORWARDED"],
      (one) => !("UDP" in ((one.l4 ?? {}) as Json)) && one.verdict === "FORWARDED"],
    ["either end of the same flow in one reading", ["--pod", "default/web", "--port", "8080"], (one) =>
      (["source", "destination"] as const).some((name) => isPod(one, name, "default", "web") && port(one, name) === 8080)],
    ["a drop reason", ["--drop-reason-desc", "POLICY_DENIED"], (one) => one.drop_reason_desc === "POLICY_DENIED"],
    ["a label", ["--to-label", "app=web"], (one) => ((end(one, "destination", "labels") ?? []) as string[]).includes("k8s:app=web")],
  ];

  it.each(CASES)("%s", async (_name, args, wanted) => {
    const all = (await flowsOf("target")).lines("hubble");
    const expected = all.filter((line) => wanted(flow(line)));
    expect(expected.length).toBeGreaterThan(0);
    expect(expected.length).toBeLessThan(all.length);
    expect((await flowsOf("target", args)).lines("hubble")).toEqual(expected);
  });

  it("the first, the last, and times", async () => {
    const all = (await flowsOf("target")).lines("hubble");
    expect((await flowsOf("target", ["--first", "7"])).lines("hubble")).toEqual(all.slice(0, 7));
    expect((await flowsOf("target", ["--last", "7"])).lines("hubble")).toEqual(all.slice(-7));
    const [from, to] = [flow(all[20]).time, flow(all[40]).time] as string[];
    expect((await flowsOf("target", ["--since", from, "--until", to])).lines("hubble"))
      .toEqual(all.filter((line) => String(flow(line).time) >= from && String(flow(line).time) <= to));
  });

  it.each([
    [["--port", "http"], "--port is a port number, not 'http'"], [["--ip", "web"], "--ip is an address or a CIDR, not 'web'"],
    [["--verdict", "DENIED"], "--verdict is one of FORWARDED"], [["--protocol", "http"], "--protocol is one of tcp"],
    [["--since", "5m"], "--since is a time such as"], [["--first", "1", "--last", "1"], "--first or --last, not both"],
  ])("%j is refused", async (args, message) => {
    const { exitCode, stderr } = await outputsOf({ stories: ["hairpin"], formats: ["hubble"], args });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it("filters without a list of flows are refused", async () => {
    const { exitCode, stderr } = await outputsOf({ stories: ["hairpin"], formats: ["json"], args: ["--port", "80"] });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("neither is asked for")]);
  });
});
