/** Who masquerades by the options, and what becomes of a pod's packet then. */
import { describe, expect, it } from "vitest";
import { A, CLIENT, NODE, nodeStackBench } from "../../test/node-stack.fixture.js";
import { ConfigOption } from "../contract/codes.js";
import { configRecord } from "./config-record.js";
import { CILIUM_VERSIONS, ciliumOptions } from "./options.js";

const NATIVE = { "ipv4-native-routing-cidr": "10.244.0.0/16" };
const OUT = { from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 } as const;
const WITHOUT = { "kube-proxy-replacement": "false" };
const BPF = { "enable-bpf-masquerade": "true" };
const hasBit = (config: Readonly<Record<string, string>>, bit: number, version = "1.20"): boolean =>
  (Number(configRecord(ciliumOptions(`cilium@${version}`, null, config).options, 0n, 0)[1]["options"]) & bit) !== 0;

describe("without kube-proxy-replacement", () => {
  it.each(["1.19", "1.20"])("programs masquerade where the options say so (%s)", (version) => {
    const { last, end } = nodeStackBench(`cilium@${version}`, { ...NATIVE, ...WITHOUT, ...BPF }).send(OUT);
    expect([end, last.includes(` ${NODE}:`)]).toEqual(["Left", true]);
  });

  it.each(["1.16", "1.17", "1.18"])("the agent does not start with it before 1.19 (%s)", (version) => {
    const { reason } = nodeStackBench(`cilium@${version}`, { ...NATIVE, ...WITHOUT, ...BPF }).send(OUT);
    expect(reason).toMatch(/^undecided: .*enable-bpf-masquerade=true: the agent does not start; it needs .*kube-proxy-replacement/);
  });

  it.each(CILIUM_VERSIONS)("the node's iptables do where nobody says it (%s)", (version) => {
    const { plane, send } = nodeStackBench(`cilium@${version}`, { ...NATIVE, ...WITHOUT });
    expect([plane.options["enable-bpf-masquerade"], plane.options.grades["enable-bpf-masquerade"], plane.stack !== null])
      .toEqual([false, "documented", true]);
    expect(send(OUT).last).toContain(` ${NODE}:`);
  });
});

it("a whole cilium-config that does not say it leaves it to iptables, a part of one to the profile", () => {
  const whole = { "kube-proxy-replacement": "true", "routing-mode": "native", "enable-ipv4-masquerade": "true" };
  const of = (config: Readonly<Record<string, string>>): boolean =>
    ciliumOptions("cilium@1.20", null, config).options["enable-bpf-masquerade"];
  expect([of(whole), of({ ...whole, ...BPF }), of({ "kube-proxy-replacement": "true" })]).toEqual([false, true, true]);
});

it("assumed options that need it go with it", () => {
  const { options, problems } = ciliumOptions("aks@1.34+host-routing", null, { "enable-bpf-masquerade": "false" });
  expect([options["enable-ip-masq-agent"], options["enable-remote-node-masquerade"]]).toEqual([false, false]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
});

describe("eBPF host routing falls back to the node's stack", () => {
  const { ENABLE_HOST_ROUTING } = ConfigOption.values;

  it("where iptables masquerade either family", () => {
    const only4 = { "enable-bpf-masquerade": "false", "enable-ipv4-masquerade": "false" };
    expect([hasBit(only4, ENABLE_HOST_ROUTING), hasBit({ ...only4, "enable-ipv6": "true" }, ENABLE_HOST_ROUTING)]).toEqual([true, false]);
  });

  it("with IPsec up to 1.18", () => {
    expect(CILIUM_VERSIONS.map((version) => hasBit({ "enable-ipsec": "true" }, ENABLE_HOST_ROUTING, version)))
      .toEqual([false, false, false, true, true]);
  });
});
