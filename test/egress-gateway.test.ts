/** CiliumEgressGatewayPolicy: what a policy may touch is undecided, and nothing else is. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { root, runCli } from "./cli.js";

const folder = mkdtempSync(join(tmpdir(), "twinplane-gateway-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CLUSTER = join(root, "traces/reasons/cluster.yaml");
const policy = (selector: string, rest: string): string => `{apiVersion: cilium.io/v2, kind: CiliumEgressGatewayPolicy, metadata: {name: gateway},
    spec: {selectors: [${selector}]${rest}, egressGateway: {nodeSelector: {matchLabels: {gateway: "1"}}, egressIP: 192.168.50.99}}}`;
const CLIENT = "{podSelector: {matchLabels: {app: client, io.kubernetes.pod.namespace: default}}}";

function scenario(object: string, outside: string): string {
  return `name: gateway
cluster: [${CLUSTER}, ${object}]
planes: {old: {profile: cilium@1.16}, target: {profile: cilium@1.20}}
probes:
  - {name: to a destination of the policy, from: {pod: default/client}, to: {ip: 203.0.113.9}, port: 443, expect: {outcome: ${outside}}}
  - {name: to another, from: {pod: default/client}, to: {ip: 198.51.100.9}, port: 443, expect: {outcome: left, source: node-1}}
  - {name: inside, from: {pod: default/client}, to: {pod: default/web-2}, port: 8080, expect: {outcome: delivered}}
  - {name: another pod, from: {pod: default/web-1}, to: {ip: 203.0.113.9}, port: 443, expect: {outcome: left, source: node-1}}
  - {name: from outside, from: {ip: 203.0.113.9, via: node-1}, to: {pod: default/client}, port: 443, expect: {outcome: delivered}}
`;
}

it.each([
  ["selects by labels", policy(CLIENT, ", destinationCIDRs: [203.0.113.0/24]"), "undecided"],
  ["names a range that holds neither", policy(CLIENT, ", destinationCIDRs: [192.0.2.0/24]"), "left"],
  ["selects another namespace", policy("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}}", ", destinationCIDRs: [203.0.113.0/24]"), "left"],
])("a policy that %s", async (_name, object, outside) => {
  const path = join(folder, "scenario.yaml");
  writeFileSync(path, scenario(object, outside));
  const ran = await runCli(["test", path, "-v"]);
  expect(ran.stdout).toContain("1 scenario, 5 probes: 5 passed");
  expect(ran.stdout).toContain("CiliumEgressGatewayPolicy gateway is not evaluated");
});
