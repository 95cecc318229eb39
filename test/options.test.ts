/**
 * Every option matters: for each there is a cluster and a value with which something that the dataplane works by is
 * other than with its default: an entry of a map, a limit, or a rule of the node. A new option is tried by itself with
 * another value of its kind, and fails here until a row shows what it does.
 *
 * That a switch reaches the maps is not enough: each must be read by a program.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigOption } from "../src/contract/codes.js";
import { Config } from "../src/contract/structs.js";
import { compileImage, type MapImage } from "../src/ebpf/image.js";
import { capacitiesOf, policyBytes } from "../src/ebpf/loader.js";
import { fixedValue } from "../src/ebpf/option-history.js";
import { DEFAULTS, OPTION_NAMES, type OptionName, WORDS } from "../src/ebpf/option-values.js";
import { CILIUM_VERSIONS, ciliumOptions } from "../src/ebpf/options.js";
import { ciliumRules, hasNodeStack } from "../src/ebpf/stack/cilium-rules.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { readManifests } from "../src/cluster/manifests.js";
import { root } from "./cli.js";

/** How an option shows where another value of its kind, in the common cluster, does not do it. */
interface Row {
  readonly value?: unknown;
  /** Other options that it needs. */
  readonly with?: Readonly<Record<string, unknown>>;
  /** Objects beside the common ones. */
  readonly objects?: string;
  /** Why it changes nothing that is emulated. */
  readonly inert?: string;
}

const POLICY = (spec: string, kind = "CiliumNetworkPolicy"): string =>
  `apiVersion: cilium.io/v2\nkind: ${kind}\nmetadata: {name: p${kind === "CiliumNetworkPolicy" ? ", namespace: default" : ""}}\nspec: ${spec}\n`;

const MAGLEV = { "bpf-lb-algorithm": "maglev" };
const IPTABLES = { "enable-bpf-masquerade": false };
const DSR = { "bpf-lb-mode": "dsr" };

const ROWS: Readonly<Partial<Record<OptionName, Row>>> = {
  "cluster-name": { value: "east",
    objects: POLICY("{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.cluster: default}}]}]}") },
  "policy-default-local-cluster": { inert: "it leaves out pods of a mesh's other clusters, and there are none here" },
  "allow-localhost": { value: "policy" },
  "tofqdns-min-ttl": { inert: "no map says how long a name's answer counts; test/dns-answers.test.ts shows it" },
  "enable-l7-proxy": {
    objects: POLICY('{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{}]}}]}]}') },
  "enable-node-selector-labels": { objects: POLICY("{endpointSelector: {}, ingress: [{fromNodes: [{matchLabels: {zone: a}}]}]}") },
  "enable-non-default-deny-policies": {
    objects: POLICY("{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingress: [{fromEndpoints: [{}]}]}") },
  "enable-cilium-network-policy": { objects: POLICY("{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}") },
  "enable-cilium-clusterwide-network-policy": {
    objects: POLICY("{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}", "CiliumClusterwideNetworkPolicy") },
  "enable-k8s-cluster-network-policy": { objects: "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n"
    + "metadata: {name: p}\nspec: {tier: Admin, priority: 1, subject: {namespaces: {}}, "
    + "ingress: [{name: a, action: Deny, from: [{namespaces: {}}]}]}\n" },
  "enable-endpoint-lockdown-on-policy-overflow": { with: { "bpf-policy-map-max": 2 } },
  labels: { value: "k8s:!app k8s:!release" },
  "enable-internal-traffic-policy": { objects: `apiVersion: v1
kind: Service
metadata: {name: near, namespace: default}
spec: {clusterIP: 10.96.0.14, internalTrafficPolicy: Local, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: near-1, namespace: default, labels: {kubernetes.io/service-name: near}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 80}]
endpoints: [{addresses: [10.244.1.20], nodeName: node-1, conditions: {ready: true}}]
` },
  "egress-masquerade-interfaces": { value: "eth0", with: IPTABLES },
  "enable-masquerade-to-route-source": { with: IPTABLES },
  "iptables-random-fully": { with: IPTABLES },
  "enable-bpf-tproxy": { inert: "programs hand packets to a proxy either way; test/option-doubts.test.ts shows what 1.20 starts with it" },
  "install-iptables-rules": { with: { "enable-l7-proxy": false, "kube-proxy-replacement": false } },
  "encrypt-node": { with: { "enable-wireguard": true } },
  devices: { value: "other0" },
  "direct-routing-device": { value: "other0" },
  "vtep-cidr": { value: "10.9.0.0/16", with: { "enable-vtep": true } },
  "vtep-mask": { value: "255.255.0.0", with: { "enable-vtep": true } },
  "cni-chaining-mode": { value: "generic-veth" },
  "bpf-lb-maglev-table-size": { value: 251, with: MAGLEV },
  "bpf-lb-maglev-hash-seed": { value: "AAAAAAAAAAAAAAAA", with: MAGLEV },
  "bpf-lb-sock-hostns-only": { with: { "bpf-lb-sock": true } },
  "bpf-lb-dsr-dispatch": { with: DSR },
  "enable-pmtu-discovery": { with: DSR },
  "bpf-lb-mode-annotation": { objects: `apiVersion: v1
kind: Service
metadata: {name: direct, namespace: default, annotations: {service.cilium.io/forwarding-mode: dsr}}
spec: {type: NodePort, clusterIP: 10.96.0.13, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30081}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: direct-1, namespace: default, labels: {kubernetes.io/service-name: direct}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints: [{addresses: [10.244.2.20], nodeName: node-2, conditions: {ready: true}}]
` },
  "derive-masquerade-ip-addr-from-device": { value: "lo" },
  "enable-k8s-terminating-endpoint": { objects: `apiVersion: v1
kind: Service
metadata: {name: ending, namespace: default}
spec: {clusterIP: 10.96.0.12, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ending-1, namespace: default, labels: {kubernetes.io/service-name: ending}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 80}]
endpoints: [{addresses: [10.244.1.20], nodeName: node-1, conditions: {ready: false, serving: true, terminating: true}}]
` },
  "k8s-service-proxy-name": { value: "other" },
  "vlan-bpf-bypass": { value: "0" },
  "nodeport-addresses": { value: "192.168.60.0/24" },
  "ipv4-service-loopback-address": { value: "169.254.1.1" },
  "enable-ipv6-masquerade": { with: { "enable-ipv6": true } },
  "ipv4-native-routing-cidr": { value: "10.0.0.0/8" },
  "ipv6-native-routing-cidr": { value: "fd00::/8", with: { "enable-ipv6": true } },
};

/** Switches and fields of Cilium's own configuration that the compiler has worked in already, or that decide nothing here. */
const UNREAD: Readonly<Record<string, string>> = {
  CONNTRACK_ACCOUNTING: "counts, and decides nothing",
  EXTERNAL_CLUSTERIP: "a flag of each frontend's entries (compile/frontends.ts)",
  SOCKET_LB_HOST_ONLY: "ENABLE_PER_PACKET_LB says what follows from it",
  ENABLE_POLICY: "the policy maps are compiled by it",
  cluster_id: "a cluster mesh is not emulated",
  monitor_aggregation: "what the monitor is told",
};

const CLUSTER = readFileSync(join(root, "test/options-cluster.yaml"), "utf8");

function cluster(objects = "") {
  const read = readManifests([{ name: "options-cluster.yaml", text: `${CLUSTER}---\n${objects}` }]);
  expect(read.problems).toEqual([]);
  return buildTimeline({ initial: read.objects }).initial;
}

function fingerprint(name: OptionName, value: unknown, row: Row): string {
  const made = cluster(row.objects);
  const { options, problems } = ciliumOptions(profileWith(name), made, { ...row.with, ...(value === undefined ? {} : { [name]: value }) });
  expect(problems.filter((one) => one.severity === "error")).toEqual([]);
  const image = compileImage({ cluster: made, options, nodeStack: hasNodeStack(options) });
  return text({ ...loaded(image), rules: made.nodes.map((node) => ciliumRules(made, node, 4, options)) });
}

/** The newest version that has the option. */
function profileWith(name: OptionName): string {
  return `cilium@${CILIUM_VERSIONS.toReversed().find((one) => fixedValue(name, one) === undefined) ?? "1.20"}`;
}

/** Its value makes packets undecided, which is said; which ones, test/option-doubts.test.ts shows. */
function undecides(name: OptionName, value: unknown, row: Row): boolean {
  const { problems } = ciliumOptions(profileWith(name), cluster(row.objects), { ...row.with, [name]: value });
  const asked = [name, ...Object.keys(row.with ?? {})];
  return problems.some((one) => asked.some((option) => one.what.startsWith(`option ${option}=`)
    && /: (undecided: |the agent does not start)/.test(one.what)));
}

/** Everything that a machine is given of an image. */
function loaded(image: MapImage): object {
  const policies = image.policies.endpoints.maps.map((map) => policyBytes(map, image.options.version));
  const maps = [...image.maps].map(([name, entries]) => [name, entries.map(([key, value]) => [key, known(value)])]);
  return { maps, policies, maglev: image.maglev, capacities: capacitiesOf(image) };
}

/** A configuration without what nothing reads. */
function known(value: object): object {
  if (!("monitor_aggregation" in value)) return value;
  const unread = Object.entries(ConfigOption.values).reduce((bits, [name, bit]) => (name in UNREAD ? bits | bit : bits), 0);
  return Object.fromEntries(Object.entries(value).filter(([name]) => !(name in UNREAD))
    .map(([name, one]) => [name, name === "options" ? (one as number) & ~unread : one]));
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, one) => (one instanceof Uint8Array ? Buffer.from(one).toString("hex") : typeof one === "bigint" ? `${one}n`
    : one instanceof Map ? [...one] : one));
}

/** Another value of the option's kind. */
function other(name: OptionName): unknown {
  const standard = DEFAULTS[name];
  const words = WORDS[name];
  if (words !== undefined) return words.find((word) => word !== standard);
  if (typeof standard === "boolean") return !standard;
  if (typeof standard === "number") return standard + 1;
  return Array.isArray(standard) ? "20000,22767" : undefined;
}

describe("every option makes a difference", () => {
  it.each(OPTION_NAMES)("%s", (name) => {
    const row = ROWS[name] ?? {};
    const value = row.value ?? other(name);
    if (row.inert === undefined) expect(value, "a text has no other value by itself: give it a row").toBeDefined();
    const differs = fingerprint(name, value, row) !== fingerprint(name, undefined, row);
    expect(differs || undecides(name, value, row)).toBe(row.inert === undefined);
  });
});

describe("what reaches the maps is read there", () => {
  const programs = join(root, "assembly/programs");
  const source = readdirSync(programs).map((file) => readFileSync(join(programs, file), "utf8")).join("\n");

  it.each(Object.keys(ConfigOption.values))("switch %s", (name) => {
    expect(new RegExp(`\\bConfigOption\\.${name}\\b`).test(source)).toBe(!(name in UNREAD));
  });

  it.each(Config.fields.map((field) => field.name).filter((name) => !/(^|_)(pad|reserved)/.test(name)))("field %s", (name) => {
    expect(new RegExp(`\\.${name}\\b|\\.${name.toUpperCase()}\\b`).test(source)).toBe(!(name in UNREAD));
  });
});
