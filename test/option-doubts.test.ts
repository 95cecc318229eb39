/**
 * Options without a model: the packets that each may touch are undecided, and no others. Every row of the table of doubts
 * has a case here; without the option the same packets are judged.
 */
import { describe, expect, it } from "vitest";
import { DOUBTS } from "../src/ebpf/doubts/table.js";
import { OPTION_NAMES, type OptionName } from "../src/ebpf/option-values.js";
import { ciliumOptions } from "../src/ebpf/options.js";
import { OF_NO_PACKET } from "../src/ebpf/options-of-no-packet.js";
import { unreadOptions } from "../src/ebpf/unread-options.js";
import { A, A6, B, CLIENT, CLIENT6, type Enters, FAR, NODE, nodeStackBench, OTHER_NODE } from "./node-stack.fixture.js";
import { ACK, packet, type PacketInput, SYN } from "./packets.js";

type Packet = readonly [PacketInput, Enters?];

interface Case {
  readonly option: OptionName;
  readonly values: Readonly<Record<string, string>>;
  readonly profile?: string;
  /** Beside the option, with it and without. */
  readonly common?: Readonly<Record<string, string>>;
  /** In their order, on one plane. */
  readonly touched: readonly Packet[];
  readonly spared: readonly Packet[];
  readonly objects?: string;
}

const tcp = (from: string, to: string, dport: number, more: Partial<PacketInput> = {}): PacketInput =>
  ({ from, to, protocol: "TCP", sport: 40000, dport, ...more });
const NATIVE = { "ipv4-native-routing-cidr": "10.244.0.0/16", "ipv6-native-routing-cidr": "fd00:10:244::/48" };
const UPLINK = { at: "uplink" } as const;

const BETWEEN: Packet = [tcp(A, FAR, 80)];
const INSIDE: Packet = [tcp(A, B, 80)];
const OUT: Packet = [tcp(A, CLIENT, 443)];
const NODE_PORT: Packet = [tcp(CLIENT, NODE, 30080), UPLINK];
const IN: Packet = [tcp(CLIENT, A, 80), UPLINK];

const HEALTH = `
apiVersion: v1
kind: Service
metadata: {name: lb, namespace: default}
spec: {type: LoadBalancer, clusterIP: 10.96.0.20, selector: {app: b}, externalTrafficPolicy: Local, healthCheckNodePort: 31000,
  ports: [{port: 80, targetPort: 8080, nodePort: 30090}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.80}]}}
`;
const GLOBAL = ["service.cilium.io/global", "io.cilium/global-service"].map((name, at) => `
apiVersion: v1
kind: Service
metadata: {name: global-${at}, namespace: default, annotations: {${name}: "true"}}
spec: {clusterIP: 10.96.0.3${at}, selector: {app: b}, ports: [{port: 80, targetPort: 8080}]}
`).join("---");
const HOST_PORT = `
apiVersion: v1
kind: Pod
metadata: {name: hp, namespace: default, labels: {app: hp}}
spec: {nodeName: node-1, containers: [{name: c, ports: [{containerPort: 80, hostPort: 8088}]}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.12}]}
`;

const encryption = (option: OptionName, more: Partial<Case> = {}): Case => ({ option, values: { [option]: "true" },
  touched: [BETWEEN, [tcp(FAR, A, 80), UPLINK]], spared: [INSIDE, OUT, IN, NODE_PORT, [tcp(A, OTHER_NODE, 10250)]], ...more });
const strict = (option: OptionName, profile: string): Case => ({ option, profile, values: { [option]: "true" },
  touched: [BETWEEN, OUT, IN], spared: [INSIDE] });

const CASES: readonly Case[] = [
  encryption("enable-wireguard"), encryption("enable-ipsec"), encryption("enable-ztunnel"),
  encryption("enable-wireguard", { common: { "routing-mode": "tunnel" }, touched: [BETWEEN] }),
  { option: "encrypt-node", values: { "encrypt-node": "true" }, common: { "enable-wireguard": "true" },
    touched: [[tcp(A, OTHER_NODE, 10250)]], spared: [INSIDE, OUT] },
  strict("enable-encryption-strict-mode", "cilium@1.18"),
  strict("enable-encryption-strict-mode-egress", "cilium@1.20"), strict("enable-encryption-strict-mode-ingress", "cilium@1.20"),
  { option: "bpf-lb-acceleration", values: { "bpf-lb-acceleration": "native" }, touched: [NODE_PORT],
    spared: [INSIDE, OUT, IN, BETWEEN, [tcp(A, "10.96.0.10", 80, { sport: 5 })]] },
  { option: "enable-xdp-prefilter", values: { "enable-xdp-prefilter": "true" }, touched: [IN, NODE_PORT, BETWEEN], spared: [INSIDE, OUT] },
  { option: "enable-vtep", values: { "enable-vtep": "true", "vtep-cidr": "203.0.113.0/24" }, common: { "routing-mode": "tunnel" },
    touched: [OUT, IN], spared: [INSIDE, BETWEEN, [tcp(A, "198.51.100.9", 443)]] },
  { option: "enable-vtep", values: { "enable-vtep": "true", "vtep-cidr": "203.0.113.128/25", "vtep-mask": "255.255.255.0" },
    common: { "routing-mode": "tunnel" }, profile: "cilium@1.18", touched: [OUT], spared: [INSIDE] },
  { option: "enable-nat46x64-gateway", values: { "enable-nat46x64-gateway": "true" }, touched: [IN, [tcp(A6, "64:ff9b::102:304", 443)]],
    spared: [INSIDE, OUT, NODE_PORT, [tcp(A6, CLIENT6, 443)]] },
  { option: "enable-srv6", values: { "enable-srv6": "true" }, spared: [INSIDE, NODE_PORT, IN],
    touched: [[tcp(B, CLIENT, 40000, { sport: 8080, flags: SYN | ACK })]] },
  { option: "enable-health-check-loadbalancer-ip", values: { "enable-health-check-loadbalancer-ip": "true" }, objects: HEALTH,
    touched: [[tcp(CLIENT, "192.0.2.80", 31000), UPLINK]], spared: [[tcp(CLIENT, "192.0.2.80", 80), UPLINK], INSIDE] },
  { option: "cni-chaining-mode", values: { "cni-chaining-mode": "generic-veth" }, touched: [INSIDE, OUT, IN],
    spared: [[tcp(A, B, 80), { bytes: packet(tcp("10.244.9.9", B, 80)) }]] },
  { option: "cni-chaining-mode", values: { "cni-chaining-mode": "portmap" }, objects: HOST_PORT,
    touched: [[tcp(CLIENT, NODE, 8088), UPLINK]], spared: [INSIDE, NODE_PORT, [tcp(CLIENT, OTHER_NODE, 8088), { at: "uplink", node: "node-2" }]] },
  { option: "datapath-mode", values: { "datapath-mode": "netkit" },
    touched: [[{ ...tcp(A6, "fd00:10:244:1::11", 0), protocol: "ICMP", icmp: [135, 0, Uint8Array.of(0, 0, 0, 0)] }]],
    spared: [INSIDE, OUT, [tcp(A6, CLIENT6, 443)]] },
  { option: "datapath-mode", values: { "datapath-mode": "lb-only" }, profile: "cilium@1.16", touched: [INSIDE, NODE_PORT], spared: [] },
  { option: "devices", values: { devices: "eth1,bond+" }, touched: [IN, OUT, BETWEEN, NODE_PORT], spared: [INSIDE] },
  { option: "direct-routing-device", values: { "direct-routing-device": "eth1" }, spared: [INSIDE, IN, BETWEEN],
    touched: [[tcp(CLIENT, OTHER_NODE, 30080), { at: "uplink", node: "node-2" }]] },
  { option: "cluster-id", values: { "cluster-id": "3" }, objects: GLOBAL, spared: [INSIDE, NODE_PORT, OUT],
    touched: [[tcp(A, "10.96.0.30", 80)], [tcp(A, "10.96.0.31", 80)]] },
  { option: "kube-proxy-replacement", values: { "kube-proxy-replacement": "false" }, objects: HOST_PORT,
    common: { "bpf-lb-sock": "false", "enable-bpf-masquerade": "false", "enable-ipv4-masquerade": "false", "enable-ipv6-masquerade": "false" },
    touched: [NODE_PORT, [tcp(A, NODE, 30080)], [tcp(NODE, "10.96.0.10", 80), { at: "process" }], [tcp(CLIENT, NODE, 8088), UPLINK]],
    spared: [INSIDE, IN, [tcp(A, "10.96.0.10", 80, { sport: 7 })]] },
];

describe.each(CASES.map((one) => [`${one.option}: ${Object.entries(one.values).map(([name, value]) => `${name}=${value}`).join(" ")}`, one] as const))(
  "%s", (_, { option, values, profile = "cilium@1.20", common = {}, touched, spared, objects }) => {
    const ends = (config: Readonly<Record<string, string>>, packets: readonly Packet[]): string[] => {
      const { send } = nodeStackBench(profile, { ...NATIVE, "enable-ipv6": "true", ...common, ...config }, {}, objects === undefined ? {} : { objects });
      return packets.map(([input, enters]) => {
        const { end, reason } = send(input, enters);
        return reason.startsWith(`undecided: ${option}: `) ? "doubt" : end;
      });
    };

    it("what it may touch is undecided, all else as without it", () => {
      const packets = [...spared, ...touched];
      const without = ends({}, packets);
      const found = ends(values, packets);
      expect(found.slice(spared.length)).toEqual(touched.map(() => "doubt"));
      if (option !== "kube-proxy-replacement") expect(found.slice(0, spared.length)).toEqual(without.slice(0, spared.length));
      expect([...without, ...found.slice(0, spared.length)].filter((end) => end === "doubt")).toEqual([]);
    });
  });

it("each has a case", () => {
  const cased = DOUBTS.map((one) => CASES.some(({ option, values, common, profile = "cilium@1.20" }) =>
    option === one.option && one.when(nodeStackBench(profile, { ...NATIVE, ...common, ...values }).plane.options)));
  expect(cased).toEqual(DOUBTS.map(() => true));
});

it("devices that the option names are judged as where the agent finds them", () => {
  for (const devices of ["", "eth0", "bond0 eth0", "et+"]) {
    const { send } = nodeStackBench("cilium@1.20", { ...NATIVE, devices });
    expect([IN, OUT].map((one) => send(...one).reason)).not.toContainEqual(expect.stringContaining("devices"));
  }
});

/** Of options of every version, or of the last. */
const OTHER_VALUES = {
  "loadbalancer-l7": "envoy", "enable-envoy-config": "true", "enable-gateway-api": "true", "enable-ingress-controller": "true",
  "enable-bandwidth-manager": "true", mtu: "1400", "node-port-mode": "dsr", "node-port-algorithm": "maglev",
  "node-port-acceleration": "native", "bpf-lb-external-control-plane": "true", "bpf-lb-service-map-max": "1000",
  "lb-state-file": "/services.json", "lb-test-fault-probability": "0.1", "enable-health-check-nodeport": "false",
  "enable-ipip-termination": "true", "enable-k8s": "false", "static-cnp-path": "/policies", "enable-unreachable-routes": "true",
  "enable-local-node-route": "false", "fib-table-id-annotation": "true", "multicast-enabled": "true", "enable-ipv6-ndp": "true",
  "ipv6-mcast-device": "eth0", "only-masquerade-default-pool": "true", "ipv6-service-loopback-address": "fd00::9",
  "ipv4-node": "192.0.2.9", "ipv4-range": "10.7.0.0/24", "ipv4-service-range": "10.97.0.0/16", "exclude-local-address": "10.8.0.0/16",
  "local-max-addr-scope": "254", "mesh-auth-mutual-enabled": "true", "label-prefix-file": "/labels", "fixed-identity-mapping": "128=kv-store",
};

describe("options that nothing here reads", () => {
  const bench = (config: Readonly<Record<string, string>>, profile = "cilium@1.20") => nodeStackBench(profile, { ...NATIVE, ...config });

  it.each([
    ["cilium@1.18", "enable-custom-calls", "true"], ["cilium@1.17", "enable-high-scale-ipcache", "true"],
    ["cilium@1.20", "enable-datapath-plugins", "true"], ["cilium@1.20", "enable-identity-mark", "false"], ["cilium@1.20", "ipam", "eni"],
    ["cilium@1.20", "disable-iptables-feeder-rules", "CILIUM_PRE_nat"],
    ...Object.entries(OTHER_VALUES).map(([name, value]) => ["cilium@1.20", name, value]),
  ])("of packets, with another value than the usual: every packet is undecided (%s %s=%s)", (profile, name, value) => {
    const { send, plane } = bench({ [name]: value }, profile);
    expect(send(...INSIDE)).toMatchObject({ end: "Undecided", reason: expect.stringContaining(`${name}=${value}`) });
    expect(plane.problems.map(({ what }) => what)).toContainEqual(expect.stringContaining(`${name}=${value}`));
  });

  it.each([
    ["the usual value", { ipam: "kubernetes", "enable-identity-mark": "true" }], ["a version without it", { "enable-custom-calls": "true" }],
    ["native routing", { "underlay-protocol": "ipv6" }], ["routes of endpoints", { "enable-local-node-route": "false", "enable-endpoint-routes": "true" }],
    ["nobody asks for it", { "node-labels": "a", "ip-masq-agent-config-path": "/x", "bpf-lb-rss-ipv4-src-cidr": "10.9.0.0/16" }], ["the agent's other business", { debug: "true", "hubble-listen-address": ":4244" }],
  ])("nothing is said and nothing undecided: %s", (_, config) => {
    const { send, plane } = bench(config);
    expect(send(...INSIDE).end).not.toBe("Undecided");
    const named = Object.keys(config);
    expect(plane.problems.filter(({ what }) => named.some((name) => what.includes(name)))).toEqual([]);
  });

  it.each([
    ["node-labels", { "node-labels": "a", "enable-node-selector-labels": "true" }],
    ["ip-masq-agent-config-path", { "ip-masq-agent-config-path": "/x", "enable-ip-masq-agent": "true", "enable-bpf-masquerade": "true" }],
    ["bpf-lb-rss-ipv4-src-cidr", { "bpf-lb-rss-ipv4-src-cidr": "10.9.0.0/16", "bpf-lb-mode": "dsr", "bpf-lb-dsr-dispatch": "ipip" }],
  ])("%s counts with the option that asks for it", (name, config) => {
    expect(bench(config).send(...INSIDE)).toMatchObject({ end: "Undecided", reason: expect.stringContaining(name) });
  });

  it("is of one kind, and none is also read", () => {
    const { undecided } = unreadOptions(Object.fromEntries([...OF_NO_PACKET].map((name) => [name, "x"])), {}, "1.20");
    expect(undecided).toEqual([]);
    expect(OPTION_NAMES.filter((name) => OF_NO_PACKET.has(name))).toEqual([]);
  });

  it("sizes by the node's memory are assumed, unless said", () => {
    const config = { "bpf-map-dynamic-size-ratio": "0.0025", "bpf-nat-global-max": "524288" };
    const { grades } = ciliumOptions("cilium@1.20", null, config).options;
    expect([grades["bpf-ct-global-tcp-max"], grades["bpf-ct-global-any-max"], grades["bpf-nat-global-max"]]).toEqual(["assumed", "assumed", "read"]);
  });

  it("a cluster with a number is said to be one of a mesh, perhaps", () => {
    expect(bench({ "cluster-id": "3" }).plane.problems.map(({ what }) => what)).toContainEqual(expect.stringContaining("option cluster-id=3"));
  });

  it("a name that is none is said", () => {
    expect(bench({ "enable-nonsense": "true" }).plane.problems.map(({ what }) => what))
      .toContainEqual(expect.stringContaining("enable-nonsense"));
  });
});

describe("options that the agent refuses together", () => {
  const NO_RULES = { "install-iptables-rules": "false" };
  const OLD = "cilium@1.18";
  it.each([
    ["enable-l7-proxy", NO_RULES, "cilium@1.19"], ["masquerade", { "egress-masquerade-interfaces": "eth0" }],
    ["kube-proxy-replacement=false", { ...NO_RULES, "enable-l7-proxy": "false" }],
    ["masquerade", { "enable-masquerade-to-route-source": "true" }],
    ["enable-bpf-masquerade", { "enable-egress-gateway": "true", "enable-bpf-masquerade": "false" }],
    ["enable-ipv4-masquerade", { "enable-bpf-masquerade": "true", "enable-ipv4-masquerade": "false", "enable-ipv6-masquerade": "false" }],
    ["kube-proxy-replacement", { "enable-bpf-masquerade": "true", "kube-proxy-replacement": "false" }, OLD],
    ["enable-bpf-masquerade", { "enable-ip-masq-agent": "true", "enable-bpf-masquerade": "false" }],
    ["enable-bpf-masquerade", { "enable-remote-node-masquerade": "true", "enable-bpf-masquerade": "false" }],
    ["geneve", { "bpf-lb-mode": "dsr", "bpf-lb-dsr-dispatch": "geneve", "routing-mode": "tunnel" }],
    ["routing-mode=native", { "bpf-lb-mode": "dsr", "routing-mode": "tunnel" }],
    ["another mode", { "datapath-mode": "lb-only" }],
  ])("every packet is undecided: %s %j", (needs, config, profile = "cilium@1.20") => {
    const { send, plane } = nodeStackBench(profile, { ...NATIVE, ...config });
    expect(send(...INSIDE)).toMatchObject({ end: "Undecided", reason: expect.stringMatching(new RegExp(`^undecided: .*does not start.*${needs}`)) });
    expect(plane.problems.filter(({ severity }) => severity === "error").map(({ what }) => what)).toEqual([expect.stringContaining(needs)]);
  });

  const ALONE = { ...NO_RULES, "kube-proxy-replacement": "false", "enable-bpf-masquerade": "false" };
  it.each([
    ["a proxy without rules on 1.20", { ...ALONE, "enable-bpf-tproxy": "true" }],
    ["no proxy on 1.20", { ...ALONE, "enable-l7-proxy": "false" }],
    ["kube-proxy replaced without rules before 1.20", { ...NO_RULES, "enable-l7-proxy": "false" }, "cilium@1.19"],
    ["egress gateways beside kube-proxy from 1.19", { "enable-egress-gateway": "true", "kube-proxy-replacement": "false",
      "enable-bpf-masquerade": "true" }],
  ])("the agent starts: %s", (_, config, profile = "cilium@1.20") => {
    expect(nodeStackBench(profile, { ...NATIVE, ...config }).send(...INSIDE)).toMatchObject({ end: "Delivered", reason: "" });
  });
});
