/**
 * CiliumEgressGatewayPolicy through whole planes: which pods' packets to which destinations leave by which node and with which
 * address, version by version, and what cannot be told. Answers find their way back (the scenario judges that).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root, runCli } from "./cli.js";

const folder = mkdtempSync(join(tmpdir(), "twinplane-gateway-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"];
const CLUSTER = join(root, "traces/reasons/cluster.yaml");
const CLIENT = "{podSelector: {matchLabels: {app: client, io.kubernetes.pod.namespace: default}}}";
const OUTSIDE = ", destinationCIDRs: [203.0.113.0/24]";
const GATEWAY = 'egressGateway: {nodeSelector: {matchLabels: {gateway: "1"}}}';
const gateway = (more: string): string => GATEWAY.replace("}}}", `}}, ${more}}`);

const node = (name: string, host: number): string => `{apiVersion: v1, kind: Node, metadata: {name: ${name}, labels: {gateway: "1"}},
    spec: {podCIDRs: [10.244.${host}.0/24]}, status: {addresses: [{type: InternalIP, address: 192.168.50.${host}}]}}`;
const policy = (spec: string, name = "gateway"): string =>
  `{apiVersion: cilium.io/v2, kind: CiliumEgressGatewayPolicy, metadata: {name: ${name}}, spec: {${spec}}}`;
const to = (ip: string, outcome: string, source = "", from = "client"): string =>
  `  - {name: ${from} to ${ip}, from: {pod: default/${from}}, to: {ip: ${ip}}, port: 443, `
  + `expect: {outcome: ${outcome}${source === "" ? "" : `, source: ${source}`}}}`;

/** What the command says of these probes. */
async function run(version: string, objects: readonly string[], probes: readonly string[],
  cilium = "enable-egress-gateway: true"): Promise<string> {
  const path = join(folder, "scenario.yaml");
  writeFileSync(path, `name: gateway
cluster: [${[CLUSTER, node("node-7", 17), node("node-3", 13), ...objects].join(", ")}]
planes: {target: {profile: cilium@${version}, cilium: {${cilium}}}}
probes:
${probes.join("\n")}
`);
  const ran = await runCli(["test", path, "-v"]);
  expect(ran.stdout, ran.stdout).toContain(`1 scenario, ${probes.length} probes: ${probes.length} passed`);
  return ran.stdout;
}

describe.each(VERSIONS)("Cilium %s", (version) => {
  it.each(["native", "tunnel"])("a selected pod leaves by the first node of the selector, with its address (%s)", async (mode) => {
    await run(version, [policy(`selectors: [${CLIENT}]${OUTSIDE}, excludedCIDRs: [203.0.113.128/25], ${GATEWAY}`)], [
      to("203.0.113.9", "left", "node-3"), to("203.0.113.200", "left", "node-1"), to("198.51.100.9", "left", "node-1"),
      to("203.0.113.9", "left", "node-1", "web-1"),
      "  - {name: inside, from: {pod: default/client}, to: {pod: default/web-2}, port: 8080, expect: {outcome: delivered}}",
      "  - {name: from outside, from: {ip: 203.0.113.9, via: node-1}, to: {pod: default/client}, port: 443, expect: {outcome: delivered}}",
    ], `enable-egress-gateway: true, routing-mode: ${mode}`);
  });

  it("a policy without the option is not read, and says so", async () => {
    const said = await run(version, [policy(`selectors: [${CLIENT}]${OUTSIDE}, ${GATEWAY}`)], [to("203.0.113.9", "left", "node-1"),
      to("198.51.100.9", "left", "node-1")], "");
    expect(said).toContain("CiliumEgressGatewayPolicy gateway is not read: enable-egress-gateway is off");
  });

  it("an egressIP is the node's where a device has it; what the facts do not say is undecided from 1.18", async () => {
    const of = (ip: string): string => policy(`selectors: [${CLIENT}]${OUTSIDE}, ${gateway(`egressIP: ${ip}`)}`);
    await run(version, [of("192.168.50.13")], [to("203.0.113.9", "left", "192.168.50.13"), to("198.51.100.9", "left", "node-1")]);
    const ours = version < "1.18" ? to("203.0.113.9", "left", "192.168.50.99") : to("203.0.113.9", "undecided");
    await run(version, [of("192.168.50.99")], [ours, to("198.51.100.9", "left", "node-1")]);
  });

  it("an interface gives its first address", async () => {
    const of = (name: string): string => policy(`selectors: [${CLIENT}]${OUTSIDE}, ${gateway(`interface: ${name}`)}`);
    await run(version, [of("eth0")], [to("203.0.113.9", "left", "node-3"), to("198.51.100.9", "left", "node-1")]);
    await run(version, [of("eth9")], [to("203.0.113.9", "undecided"), to("198.51.100.9", "left", "node-1")]);
  });

  it("of several gateways an endpoint's is known by its CiliumEndpoint, from 1.18", async () => {
    const spec = `selectors: [${CLIENT}]${OUTSIDE}, ${GATEWAY}, egressGateways: [
      {nodeSelector: {matchLabels: {kubernetes.io/hostname: nobody}}}, {nodeSelector: {matchLabels: {gateway: "1"}}},
      {nodeSelector: {matchExpressions: [{key: gateway, operator: Exists}]}, egressIP: 192.168.50.13}]`;
    await run(version, [policy(spec)], [to("203.0.113.9", version < "1.18" ? "left" : "undecided"), to("198.51.100.9", "left", "node-1")]);
    // FNV-1a of "g" is 0xe20c2606: 0 of 2 and 0 of 3 in the order of addresses, where a gateway that is none comes first.
    const endpoint = "{apiVersion: cilium.io/v2, kind: CiliumEndpoint, metadata: {name: client, namespace: default, uid: g}}";
    const outcome = version < "1.18" || version === "1.20" ? "left" : "dropped";
    await run(version, [policy(spec), endpoint], [to("203.0.113.9", outcome), to("198.51.100.9", "left", "node-1")]);
  });

  it.each([
    ["two policies that disagree", [policy(`selectors: [${CLIENT}]${OUTSIDE}, ${GATEWAY}`),
      policy(`selectors: [${CLIENT}]${OUTSIDE}, egressGateway: {nodeSelector: {matchLabels: {gateway: none}}}`, "other")], "undecided"],
    ["a policy for another namespace",
      [policy(`selectors: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}}]${OUTSIDE}, ${GATEWAY}`)], "left"],
    ["a policy for pods of another node",
      [policy(`selectors: [{podSelector: {}, nodeSelector: {matchLabels: {gateway: "1"}}}]${OUTSIDE}, ${GATEWAY}`)],
      version === "1.16" ? "gateway" : "left"],
  ])("%s", async (_, objects, outcome) => {
    const expected = outcome === "gateway" ? to("203.0.113.9", "left", "node-3")
      : outcome === "left" ? to("203.0.113.9", "left", "node-1") : to("203.0.113.9", outcome);
    await run(version, objects, [expected, to("198.51.100.9", "left", "node-1")]);
  });

  it.each([
    ["both an interface and an address", `selectors: [${CLIENT}]${OUTSIDE}, ${gateway("interface: eth0, egressIP: 192.168.50.13")}`],
    ["a destination that is none", `selectors: [${CLIENT}], destinationCIDRs: [203.0.113.0], ${GATEWAY}`],
    ["a selector of nothing", `selectors: [{}]${OUTSIDE}, ${GATEWAY}`], ["no gateway", `selectors: [${CLIENT}]${OUTSIDE}`],
  ])("a policy with %s is not applied, and says so", async (_, spec) => {
    const said = await run(version, [policy(spec)], [to("203.0.113.9", "left", "node-1"), to("198.51.100.9", "left", "node-1")]);
    expect(said).toContain("CiliumEgressGatewayPolicy gateway: found ");
  });
});
