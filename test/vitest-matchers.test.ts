/** `twinplane/vitest`: matchers that hold, that fail, and that cannot be fooled by `.not`. */
import { describe, expect, it } from "vitest";
import { SCENARIO_SCHEMA, type Schema } from "../src/scenario/schema.js";
import type { ProbeData, SetupData } from "../src/scenario/data.js";
import { dataplanes } from "../src/vitest.js";

const CLUSTER = "../traces/reasons/cluster.yaml";
const DENY = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "deny", namespace: "default" },
  spec: { podSelector: {} } };
const web = { from: { pod: "default/client" }, to: { service: "default/web" }, port: 80 };
const open = dataplanes({ cluster: [CLUSTER] }, import.meta.url);
const closed = dataplanes({ cluster: [CLUSTER, DENY] }, import.meta.url);

describe("matchers", () => {
  it("say what becomes of a packet, on each plane and between them", async () => {
    await expect(open.probe(web)).toBeDelivered({ source: "client" });
    await expect(open.probe(web)).toAgree();
    await expect(closed.probe(web)).toEnd({ current: { outcome: "delivered" },
      target: { outcome: "dropped", reason: "POLICY_DENIED", because: "default/deny" } });
    await expect(closed.probe(web)).toDiffer("POL-NOENGINE");
  });

  it("fail with what was expected and what was found", async () => {
    await expect(expect(open.probe(web)).toBeDropped()).rejects.toThrow(/expected dropped, found delivered/);
    await expect(expect(closed.probe(web)).toAgree()).rejects.toThrow(/expected no difference, found POL-NOENGINE/);
    await expect(expect(open.probe(web)).not.toAgree()).rejects.toThrow(/delivered/);
  });

  it("packets before the last one leave their state and are asked nothing", async () => {
    const segment = { ...web, sourcePort: 40_000, tcpFlags: ["ACK"] } as const;
    const first = { ...web, sourcePort: 40_000 };
    await expect(open.probe(first).probe({ ...segment, change: [{ apply: DENY }] })).toEnd({ current: { outcome: "delivered" } });
    // The target judges it anew, the first packet's verdict is asked of nobody.
    await expect(closed.probe(first).probe({ ...web, after: "1s" })).toEnd({ current: { outcome: "delivered" }, target: { outcome: "dropped" } });
  });

  it("what cannot be read or judged fails with .not too", async () => {
    const missing = dataplanes({ cluster: ["nowhere.yaml"] }, import.meta.url).probe(web);
    await expect(expect(missing).not.toBeDropped()).rejects.toThrow(/nowhere.yaml: no such file/);
    const nobody = open.probe({ ...web, from: { pod: "default/nobody" } });
    await expect(expect(nobody).not.toBeDropped()).rejects.toThrow(/nobody/);
    const oldNpm = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "azure-npm-config", namespace: "kube-system" },
      data: { "azure-npm.json": '{"Toggles": {"EnableV2NPM": false}}' } };
    const unjudged = dataplanes({ cluster: [CLUSTER, DENY, oldNpm], planes: { current: { profile: "kube-proxy+npm" } } }, import.meta.url);
    await expect(expect(unjudged.probe(web)).not.toBeDropped()).rejects.toThrow(/undecided/);
  });

  it("scenario files hold or do not", async () => {
    await expect("examples/own-program").toHold();
    await expect(expect("nowhere").toHold()).rejects.toThrow(/nowhere/);
  });
});

describe("the types of data", () => {
  const fields = <T>(names: Record<keyof Required<T>, true>): string[] => Object.keys(names).sort();
  const { probes } = SCENARIO_SCHEMA.properties!;
  const without = (schema: Schema, ...names: string[]): string[] =>
    Object.keys(schema.properties!).filter((name) => !names.includes(name)).sort();

  it("have the fields of the schema", () => {
    expect(fields<ProbeData>({ name: true, from: true, to: true, protocol: true, port: true, sourcePort: true, family: true,
      repeat: true, after: true, change: true, ttl: true, tcpFlags: true, fragment: true, packet: true, etherType: true,
      answer: true, icmpError: true, vlan: true, checksum: true, length: true })).toEqual(without(probes.items!, "expect"));
    expect(fields<SetupData>({ name: true, cluster: true, planes: true, nodes: true }))
      .toEqual(without(SCENARIO_SCHEMA, "probes", "problems"));
  });
});
