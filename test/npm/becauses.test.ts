/** What a verdict of NPM's rules names: the policies that isolate where it denies, the rule where it allows. */
import { expect, test } from "vitest";
import { npmProgram } from "../../src/iptables/npm/generate.js";
import { createIptablesPlane } from "../../src/iptables/plane.js";
import { Sender } from "./probes.js";
import { inputs, PODS } from "./scenes.js";

const DENY = "{podSelector: {matchLabels: {app: web1}}, policyTypes: [Ingress]}";
const CLIENT = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}, "
  + "{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
const EGRESS = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}";

function said(...policies: string[]): { reason: string; becauses: string[]; lines: boolean } {
  const { cluster, config } = inputs({ name: "becauses", policies, expect: {} });
  const plane = createIptablesPlane({ name: "current", profile: "kube-proxy+npm", cluster, epochNs: 0n, seed: 1,
    config: { ...config, programs: [npmProgram()] } });
  const [client, web] = [PODS.client[1], PODS.web1[1]];
  const { reason, journey } = new Sender(plane, cluster).send({
    source: { kind: "pod", address: client, node: "n1" }, backend: { kind: "pod", address: web, node: "n1" },
    entry: { kind: "direct", local: false, address: web, port: 8080, node: null }, port: 8080, protocol: "TCP", at: "n1",
  });
  return { reason, becauses: journey.becauses.map(({ object, rule }) => `${object} ${rule}`),
    lines: journey.becauses.every(({ where }) => where?.file === "lab.yaml" && where.line > 1) };
}

test("a denial names the policies that isolate, and only those", () => {
  expect(said(DENY, EGRESS.replace("client", "nobody"), DENY)).toEqual({ reason: "filter/AZURE-NPM-INGRESS", lines: true, becauses: [
    "default/p0 policyTypes Ingress, and no rule matches", "default/p2 policyTypes Ingress, and no rule matches"] });
});

test("an allow names its rule, not the policies that would have denied", () => {
  expect(said(DENY, CLIENT)).toEqual({ reason: "", lines: true, becauses: ["default/p1 ingress[1].from[0]"] });
});

test("an allow for ingress with a denial of egress behind it names both", () => {
  expect(said(DENY, CLIENT, EGRESS)).toEqual({ reason: "filter/AZURE-NPM-EGRESS", lines: true, becauses: [
    "default/p1 ingress[1].from[0]", "default/p2 policyTypes Egress, and no rule matches"] });
});
