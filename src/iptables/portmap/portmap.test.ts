/** Host ports: the chains of the CNI plugin portmap, its conditions, and where its jumps stand. */
import { describe, expect, test } from "vitest";
import type { Cluster, ContainerPort, Pod } from "../../cluster/cluster.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { generateKubeProxy } from "../kubeproxy/generate.js";
import { HERE } from "../kubeproxy/random.fixture.js";
import { address, clusterOf, deviceOf } from "../manifests.fixture.js";
import { ipMasqAgentPart } from "../masquerade/ip-masq-agent.js";
import { joinRules } from "../ruleset.js";
import { PORTMAP_DEFAULTS, type PortmapConfig, portmapPart, portmapSysctls } from "./portmap.js";

const CHAIN = /CNI-DN-[0-9a-f]{21}/g;

describe("one host port", () => {
  test("is marked for the pod's network and for localhost, then translated", () => {
    expect(lines(pod({}))).toEqual([
      "-A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark 0x2000/0x2000",
      "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
      "-A X -p tcp --dport 8080 -s 10.244.0.5/24 -j CNI-HOSTPORT-SETMARK",
      "-A X -p tcp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK",
      "-A X -p tcp --dport 8080 -j DNAT --to-destination 10.244.0.5:80",
      '-A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \\"k8s-pod-network\\" id: \\"ns/a\\"" -m multiport -p tcp '
        + "--destination-ports 8080 -j X",
    ]);
  });

  test("in IPv6 has no rule for localhost", () => {
    const six = lines(pod({ ips: ["fd00:10:244::5"] }), {}, 6);
    expect(six.filter((line) => line.startsWith("-A X"))).toEqual([
      "-A X -p tcp --dport 8080 -s fd00:10:244::5/64 -j CNI-HOSTPORT-SETMARK",
      "-A X -p tcp --dport 8080 -j DNAT --to-destination [fd00:10:244::5]:80",
    ]);
    expect(lines(pod({ ips: ["fd00:10:244::5"] }), {}, 4)).toEqual([]);
  });

  test("with a host IP matches it; 0.0.0.0 and :: say the family only", () => {
    const ips = ["10.244.0.5", "fd00:10:244::5"];
    const dnats = (hostIP: string, family: 4 | 6): string[] => lines(pod({ ips, ports: [{ hostIP }] }), {}, family)
      .filter((line) => line.includes("DNAT --to"));
    expect(dnats("192.168.0.2", 4)).toEqual(["-A X -p tcp --dport 8080 -d 192.168.0.2 -j DNAT --to-destination 10.244.0.5:80"]);
    expect(dnats("192.168.0.2", 6)).toEqual([]);
    expect(dnats("0.0.0.0", 4)).toEqual(["-A X -p tcp --dport 8080 -j DNAT --to-destination 10.244.0.5:80"]);
    expect(dnats("::", 6)).toEqual(["-A X -p tcp --dport 8080 -j DNAT --to-destination [fd00:10:244::5]:80"]);
    expect(dnats("::", 4)).toEqual([]);
  });

  test("without snat is not marked; with masqAll all of it is", () => {
    expect(lines(pod({}), { snat: false }).filter((line) => line.includes("MARK") || line.includes("MASQ"))).toEqual([]);
    expect(lines(pod({}), { masqAll: true }).filter((line) => line.includes("SETMARK")).slice(1))
      .toEqual(["-A X -p tcp --dport 8080 -s 0.0.0.0/0 -j CNI-HOSTPORT-SETMARK"]);
  });

  test("with another program's mark chain has none of its own", () => {
    const kubenet = lines(pod({}), { externalSetMarkChain: "KUBE-MARK-MASQ" });
    expect(kubenet[0]).toBe("-A X -p tcp --dport 8080 -s 10.244.0.5/24 -j KUBE-MARK-MASQ");
    expect(kubenet.join("\n")).not.toMatch(/HOSTPORT-(SETMARK|MASQ)/);
    expect(part(pod({}), { externalSetMarkChain: "KUBE-MARK-MASQ" }).jumps.map((jump) => jump.chain)).toEqual(["PREROUTING", "OUTPUT"]);
  });

  test("with conditions has them before the jump, each family its own", () => {
    const conditions = { conditionsV4: ["!", "-d", "192.0.2.1"], conditionsV6: ["!", "-d", "2001:db8::1"] };
    expect(lines(pod({}), conditions).at(-1)).toMatch(/--destination-ports 8080 ! -d 192\.0\.2\.1 -j X$/);
    expect(lines(pod({ ips: ["fd00:10:244::5"] }), conditions, 6).at(-1)).toMatch(/--destination-ports 8080 ! -d 2001:db8::1 -j X$/);
  });
});

describe("several", () => {
  test("protocols in order, at most fifteen ports in a match", () => {
    const ports = [...Array.from({ length: 17 }, (_, index) => ({ hostPort: 9000 + index })), { protocol: "UDP" as const },
      { protocol: "SCTP" as const }];
    const entries = lines(pod({ ports })).filter((line) => line.startsWith("-A CNI-HOSTPORT-DNAT"));
    expect(entries.map((line) => /--destination-ports (\S+)/.exec(line)![1].split(",").length)).toEqual([1, 15, 2, 1]);
    expect(entries.map((line) => /-p (\w+)/.exec(line)![1])).toEqual(["sctp", "tcp", "tcp", "udp"]);
  });

  test("pods have a chain each, and the same rule stands once", () => {
    const { chains, rules } = part([...pod({}), ...pod({ name: "b", ips: ["10.244.0.6"], ports: [{}, {}] })]);
    expect(new Set(chains.map((one) => one.chain).filter((chain) => chain.startsWith("CNI-DN-"))).size).toBe(2);
    expect(rules.filter((rule) => rule.text.includes("DNAT --to")).length).toBe(2);
    expect(chains.every(({ chain }) => chain.length <= 28)).toBe(true);
  });

  test.each([["of other nodes", { nodeName: "there" }], ["on the host network", { hostNetwork: true }],
    ["that ended", { phase: "Failed" }], ["without host ports", { ports: [{ hostPort: 0 }] }],
    ["without an address", { ips: [] }]])("pods %s have no rules", (_, fields) => {
    expect(part(pod(fields))).toEqual({ jumps: [], chains: [], rules: [] });
  });
});

test("its jumps come after kube-proxy's, but masquerading comes first", () => {
  const config = { agent: "ip-masq-agent" as const, chain: "IP-MASQ-AGENT", enableIPv6: true, stopped: false, randomFully: false,
    masqLinkLocal: false, masqLinkLocalIPv6: false, nonMasqueradeCIDRs: [] };
  const { text } = joinRules([generateKubeProxy({ cluster: clusterOf([]), node: HERE, family: 4, config: KUBE_PROXY_DEFAULTS }),
    ipMasqAgentPart(config, 4), part(pod({}))]);
  const nat = text.slice(text.indexOf("*nat"));
  const targets = (chain: string): string[] => (
    [...nat.matchAll(new RegExp(`^-A ${chain} .*-j (\\S+)$`, "gm"))].map((match) => match[1]));
  expect(targets("PREROUTING")).toEqual(["KUBE-SERVICES", "CNI-HOSTPORT-DNAT"]);
  expect(targets("OUTPUT")).toEqual(["KUBE-SERVICES", "CNI-HOSTPORT-DNAT"]);
  expect(targets("POSTROUTING")).toEqual(["CNI-HOSTPORT-MASQ", "KUBE-POSTROUTING", "IP-MASQ-AGENT"]);
});

test("the device of a pod with a host port gets route_localnet, where the plugin masquerades", () => {
  const node = { ...HERE, facts: { ...HERE.facts, devices: [...HERE.facts.devices, deviceOf(9, "veth9", "pod", [], "ns/a")] } };
  const cluster = { ...clusterOf([]), pods: pod({}) };
  expect(portmapSysctls(PORTMAP_DEFAULTS, cluster, node)).toEqual({ "net.ipv4.conf.veth9.route_localnet": "1" });
  expect(portmapSysctls({ ...PORTMAP_DEFAULTS, snat: false }, cluster, node)).toEqual({});
  expect(portmapSysctls(PORTMAP_DEFAULTS, { ...cluster, pods: pod({ ports: [{ hostPort: 0 }] }) }, node)).toEqual({});
});

interface PodFields {
  readonly name?: string;
  readonly ips?: readonly string[];
  readonly ports?: readonly Partial<ContainerPort>[];
  readonly nodeName?: string;
  readonly hostNetwork?: boolean;
  readonly phase?: string;
}

function pod({ name = "a", ips = ["10.244.0.5"], ports = [{}], ...rest }: PodFields): Pod[] {
  const [base] = clusterOf([{ kind: "Pod", metadata: { namespace: "ns", name }, spec: { nodeName: "here" } }]).pods;
  return [{ ...base, ...rest, ips: ips.map(address),
    ports: ports.map((port) => ({ name: "", containerPort: 80, hostPort: 8080, protocol: "TCP", hostIP: "", ...port })) }];
}

function part(pods: Pod[], config: Partial<PortmapConfig> = {}, family: 4 | 6 = 4): ReturnType<typeof portmapPart> {
  const cluster: Cluster = { ...clusterOf([]), pods };
  return portmapPart({ ...PORTMAP_DEFAULTS, ...config }, cluster, HERE, family);
}

/** The rules' lines, with X for the chain whose name no object tells. */
function lines(pods: Pod[], config: Partial<PortmapConfig> = {}, family: 4 | 6 = 4): string[] {
  return part(pods, config, family).rules.map((rule) => `-A ${rule.chain} ${rule.text}`.replace(CHAIN, "X"));
}
