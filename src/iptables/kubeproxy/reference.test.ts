/**
 * kube-proxy's behaviour statement by statement, grouped as its sync goes: which services count, names, endpoints,
 * shared chains, dispatch, own chains, the tail, detectors, sizes. What generate.test.ts tests already is not repeated.
 */
import { describe, expect, test } from "vitest";
import { addressFromBytes, type Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import { readManifests } from "../../cluster/manifests.js";
import { buildTimeline } from "../../cluster/timeline.js";
import { address, clusterOf, nodeNamed, type Plain, prefix } from "../manifests.fixture.js";
import { joinRules } from "../ruleset.js";
import { endpointChain, isServiceChain, serviceChains } from "./chains.js";
import { KUBE_PROXY_DEFAULTS, type KubeProxyConfig, kubeProxySysctls } from "./config.js";
import { generateKubeProxy } from "./generate.js";
import { HERE } from "./random.fixture.js";

const CONFIG: KubeProxyConfig = { ...KUBE_PROXY_DEFAULTS, clusterCIDR: [prefix("10.0.0.0/8"), prefix("fd00::/16")] };
const HASH = "EBNWBKP5FZHEXD2B";
const MASQ = "-j KUBE-MARK-MASQ";
const PORT80 = "-m tcp -p tcp -d 172.30.0.1 --dport 80";

describe("which Services and ports count", () => {
  test.each([
    ["without a cluster IP", { clusterIP: "" }, {}], ["headless", { clusterIP: "None" }, {}],
    ["of type ExternalName", { type: "ExternalName" }, {}],
    ["of another service proxy", {}, { "service.kubernetes.io/service-proxy-name": "other" }],
    ["of another service proxy, even with an empty name", {}, { "service.kubernetes.io/service-proxy-name": "" }],
    ["marked headless", {}, { "service.kubernetes.io/headless": "" }],
  ])("a Service %s has no rules", (_, spec, labels) => {
    expect(of([service({ ...spec }, { labels }), slice(["10.0.0.1"])]).filter((line) => line.includes("ns/s"))).toEqual([]);
  });

  test("with serviceProxyName only the Services and slices of that name have", () => {
    const labels = { "service.kubernetes.io/service-proxy-name": "mine" };
    const config = { ...CONFIG, serviceProxyName: "mine" };
    const named = slice(["10.0.0.1"]);
    named.metadata.labels = { ...named.metadata.labels, ...labels };
    expect(of([service({}, { labels }), named], { config }).filter(isDnat).length).toBe(1);
    expect(of([service({}, { labels }), slice(["10.0.0.1"])], { config }).filter(isDnat).length).toBe(0);
    expect(of([service({}), slice(["10.0.0.1"])], { config }).filter(isDnat).length).toBe(0);
  });

  test("one number with two protocols is two service ports with chains of their own", () => {
    const ports = ["TCP", "UDP", "SCTP"].map((protocol) => ({ name: protocol[0].toLowerCase(), protocol, port: 53 }));
    const lines = of([service({ ports }), slice(["10.0.0.1"], { ports: ports.map((port) => ({ ...port, port: 5353 })) })]);
    expect(lines.filter((line) => line.startsWith("-A KUBE-SERVICES") && line.includes("cluster IP"))
      .map((line) => line.replace(/.*(-m \w+ -p \w+) .*/, "$1"))).toEqual(["-m sctp -p sctp", "-m tcp -p tcp", "-m udp -p udp"]);
    expect(lines.filter(isDnat).map((line) => line.replace(/.*(-m \w+ -p .*)/, "$1"))).toEqual([
      "-m sctp -p sctp -j DNAT --to-destination 10.0.0.1:5353", "-m tcp -p tcp -j DNAT --to-destination 10.0.0.1:5353",
      "-m udp -p udp -j DNAT --to-destination 10.0.0.1:5353"]);
  });

  test("a family's cluster IP stands at the family's place in ipFamilies; without ipFamilies it is the first", () => {
    const dual = { clusterIP: undefined, clusterIPs: ["fd00::9", "172.30.0.9"], ipFamilies: ["IPv6", "IPv4"] };
    expect(of([service(dual)]).join()).toMatch(/-d 172\.30\.0\.9 /);
    expect(of([service(dual)], { family: 6 }).join()).toMatch(/-d fd00::9 /);
    const without = { clusterIP: undefined, clusterIPs: ["172.30.0.9", "fd00::9"] };
    expect(of([service(without)], { family: 6 }).join()).not.toMatch(/fd00::9/);
  });

  test("addresses and ranges of the other family are left out", () => {
    const mixed = service({ type: "LoadBalancer", clusterIP: undefined, clusterIPs: ["172.30.0.1", "fd00::1"],
      ipFamilies: ["IPv4", "IPv6"], externalIPs: ["192.0.2.1", "2001:db8::1"],
      loadBalancerSourceRanges: ["198.18.0.0/15", "2001:db8:2::/48"] }, { vips: ["192.0.2.2", "2001:db8::2"] });
    const v6slice = { ...slice(["fd00:5::1"]), addressType: "IPv6" };
    expect(of([mixed, slice(["10.0.0.1"]), v6slice]).join()).not.toMatch(/2001:|fd00:/);
    const six = of([mixed, slice(["10.0.0.1"]), v6slice], { family: 6 });
    expect(six.filter((line) => /\d+\.\d+\.\d+\.\d+/.test(line))).toEqual([]);
  });

  test("text is read sloppily: zeros are decimal, ranges are trimmed and masked", () => {
    const text = `apiVersion: v1
kind: Service
metadata: {namespace: ns, name: s}
spec:
  type: LoadBalancer
  clusterIP: 172.30.0.041
  externalIPs: [192.000.002.010]
  ports: [{name: http, port: 80}]
  loadBalancerSourceRanges: [" 203.0.113.000/025 ", 1.2.3.4/28]
status: {loadBalancer: {ingress: [{hostname: lb.example}, {ip: 198.51.100.001}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: ns, name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.007]}]
`;
    const { objects } = readManifests([{ name: "a.yaml", text }]);
    const all = textOf(buildTimeline({ initial: objects }).initial, {}).join("\n");
    for (const found of ["-d 172.30.0.41 ", "-d 192.0.2.10 ", "-d 198.51.100.1 ", "-s 203.0.113.0/25 ", "-s 1.2.3.0/28 ",
      "10.0.0.7:8080"]) {
      expect(all).toContain(found);
    }
    expect(all).not.toMatch(/lb\.example/);
  });

  test("only type LoadBalancer with policy Local has a health check node port", () => {
    const health = (spec: Plain): number => of([service({ healthCheckNodePort: 32000, ...spec })])
      .filter((line) => line.includes("health check node port")).length;
    expect(health({ type: "LoadBalancer", externalTrafficPolicy: "Local" })).toBe(1);
    expect(health({ type: "LoadBalancer" })).toBe(0);
    expect(health({ type: "NodePort", externalTrafficPolicy: "Local" })).toBe(0);
  });

  test("policy Local of type ClusterIP counts with external IPs, and not with a node port alone", () => {
    const local = slice(["10.0.0.1"], { nodeName: "here" });
    const lines = (spec: Plain): string => of([service({ externalTrafficPolicy: "Local", ...spec }), local]).join("\n");
    expect(lines({ externalIPs: ["192.0.2.1"] })).toMatch(/route LOCAL traffic/);
    expect(lines({ ports: [{ name: "http", port: 80, nodePort: 30080 }] })).toMatch(/masquerade traffic for ns\/s:http external/);
  });

  test("a node port on type ClusterIP is served", () => {
    expect(of([service({ ports: [{ name: "http", port: 80, nodePort: 30080 }] }), slice(["10.0.0.1"])])
      .some((line) => line.startsWith("-A KUBE-NODEPORTS") && line.includes("--dport 30080"))).toBe(true);
  });

  test("internal policy Local uses local endpoints only, and all of them too where it is reached from outside", () => {
    const both = [slice(["10.0.0.1"], { nodeName: "here" }), slice(["10.0.0.2"])];
    const inside = of([service({ internalTrafficPolicy: "Local" }), ...both]);
    expect(inside.some((line) => line.startsWith("-A KUBE-SVC-"))).toBe(false);
    expect(inside.filter(isDnat).length).toBe(1);
    const outside = of([service({ internalTrafficPolicy: "Local", externalIPs: ["192.0.2.1"] }), ...both]);
    expect(outside.filter((line) => line.startsWith("-A KUBE-SVL-") && line.includes("->")).length).toBe(1);
    expect(outside.filter((line) => line.startsWith("-A KUBE-SVC-") && line.includes("->")).length).toBe(2);
  });

  test("the source ranges of an annotation are not read", () => {
    const annotated = service({ type: "LoadBalancer" }, { vips: ["192.0.2.2"],
      annotations: { "service.beta.kubernetes.io/load-balancer-source-ranges": "10.9.0.0/16" } });
    expect(of([annotated, slice(["10.0.0.1"])]).join()).not.toMatch(/KUBE-FW-|10\.9/);
  });
});

describe("chain names", () => {
  test.each([["default/kubernetes:https", "TCP", "NPX46M4PTMTKRN6Y"], ["kube-system/kube-dns:dns", "UDP", "TCOU7JCQXEZGVUNU"],
    ["kube-system/kube-dns:dns-tcp", "TCP", "ERIFXISQEP7F7OF4"], ["default/nginx", "TCP", "2CMXP7HKUVJN7L6M"],
    ["ns1/svc1:p80", "TCP", "XPGD46QRK7WJZT7O"]] as const)("%s %s is %s", (name, protocol, hash) => {
    expect(serviceChains(name, protocol))
      .toEqual({ svc: `KUBE-SVC-${hash}`, svl: `KUBE-SVL-${hash}`, fw: `KUBE-FW-${hash}`, ext: `KUBE-EXT-${hash}` });
  });

  test("an endpoint's name takes in its address and port", () => {
    expect(endpointChain("ns1/svc1:p80", "TCP", "10.180.0.1:80")).toBe("KUBE-SEP-SXIVWICOYRO3J4NJ");
    expect(of([service({}), { ...slice(["fd00:5::1"]), addressType: "IPv6" }], { family: 6 }).join()).not.toContain("KUBE-SEP");
    const six = { ...slice(["fd00:5::1"]), addressType: "IPv6" };
    expect(of([service({ clusterIP: "fd00::1" }), six], { family: 6 }).find(isDnat))
      .toContain(`-A ${endpointChain("ns/s:http", "TCP", "[fd00:5::1]:8080")} `);
  });

  test("only the five prefixes are kube-proxy's to delete", () => {
    const names = ["KUBE-SVC-A", "KUBE-SVL-A", "KUBE-SEP-A", "KUBE-FW-A", "KUBE-EXT-A", "KUBE-XLB-A", "KUBE-SERVICES", "KUBE-MARK-DROP",
      "KUBE-EXTERNAL-SERVICES", "CNI-DN-a"];
    expect(names.filter(isServiceChain)).toEqual(names.slice(0, 5));
  });
});

describe("endpoints", () => {
  test("a port without a number, of another name or protocol, is none; only the first address counts", () => {
    const none = [{ name: "http" }, { name: "http", port: 0 }, { name: "x", port: 1 }, { name: "http", protocol: "UDP", port: 1 }];
    for (const port of none) {
      expect(of([service({}), slice(["10.0.0.1"], { ports: [port] })]).filter(isDnat)).toEqual([]);
    }
    const several = slice([]);
    several.endpoints = [{ addresses: ["10.0.0.1", "10.0.0.2"] }];
    expect(of([service({}), several]).filter(isDnat).map((line) => line.split(" ").at(-1))).toEqual(["10.0.0.1:8080"]);
  });

  test("conditions that are not there: ready and serving hold, terminating does not", () => {
    const dnats = (conditions: Plain): number => of([service({}), slice(["10.0.0.1"], { conditions })]).filter(isDnat).length;
    expect(dnats({})).toBe(1);
    expect(dnats({ ready: false })).toBe(0);
    expect(dnats({ ready: false, terminating: true })).toBe(1);
    expect(dnats({ ready: false, serving: false, terminating: true })).toBe(0);
  });

  test("an endpoint without a nodeName is local nowhere, also on a node without a name", () => {
    const local = service({ internalTrafficPolicy: "Local" });
    const nameless = { ...HERE, name: "" };
    expect(of([local, slice(["10.0.0.1"], { nodeName: "" })], { node: nameless }).filter(isDnat)).toEqual([]);
  });

  test("hints of endpoints that are not ready do not matter", () => {
    const near = slice(["10.0.0.1"], { hints: { forZones: [{ name: "a" }] } });
    const far = slice(["10.0.0.2"], { hints: { forZones: [{ name: "b" }] } });
    const unready = slice(["10.0.0.3"], { conditions: { ready: false } });
    expect(of([service({}), near, far, unready]).filter(isDnat).length).toBe(1);
    const nearButUnready = { ...near, endpoints: [{ ...near.endpoints[0], conditions: { ready: false } }] };
    expect(of([service({}), nearButUnready, far, unready]).filter(isDnat).map((line) => line.split(" ").at(-1)))
      .toEqual(["10.0.0.2:8080"]);
  });

  test("hints without one for this zone, or a node without a zone, filter nothing", () => {
    const far = [slice(["10.0.0.1"], { hints: { forZones: [{ name: "b" }] } }),
      slice(["10.0.0.2"], { hints: { forZones: [{ name: "c" }] } })];
    expect(of([service({}), ...far]).filter(isDnat).length).toBe(2);
    const here = [slice(["10.0.0.1"], { hints: { forZones: [{ name: "a" }] } }), far[1]];
    expect(of([service({}), ...here]).filter(isDnat).length).toBe(1);
    expect(of([service({}), ...here], { node: nodeNamed("here", ["192.168.0.2"]) }).filter(isDnat).length).toBe(2);
  });

  test("node hints come before zone hints, and zone hints are the fall back", () => {
    const config = { ...CONFIG, preferSameTrafficDistribution: true };
    const hints = (node: string, zone: string): Plain => ({ hints: { forNodes: [{ name: node }], forZones: [{ name: zone }] } });
    const picked = (slices: Plain[]): unknown[] => of([service({}), ...slices], { config }).filter(isDnat)
      .map((line) => line.split(" ").at(-1));
    expect(picked([slice(["10.0.0.1"], hints("here", "b")), slice(["10.0.0.2"], hints("there", "a"))])).toEqual(["10.0.0.1:8080"]);
    expect(picked([slice(["10.0.0.1"], hints("x", "b")), slice(["10.0.0.2"], hints("there", "a"))])).toEqual(["10.0.0.2:8080"]);
  });

  test("trafficDistribution and the topology annotation of the Service are not read", () => {
    const asks = service({ trafficDistribution: "PreferClose" }, { annotations: { "service.kubernetes.io/topology-mode": "Auto" } });
    expect(of([asks, slice(["10.0.0.1"], { zone: "a" }), slice(["10.0.0.2"], { zone: "b" })]).filter(isDnat).length).toBe(2);
  });

  test("of two with one ip:port a ready one replaces a terminating one, in either order of slices", () => {
    for (const names of [["a", "b"], ["b", "a"]]) {
      const ready = slice(["10.0.0.1"], { name: names[0] });
      const going = slice(["10.0.0.1"], { name: names[1], conditions: { ready: false, serving: true, terminating: true } });
      expect(of([service({}), ready, going]).filter(isDnat).length).toBe(1);
      expect(of([service({ internalTrafficPolicy: "Local" }), slice(["10.0.0.1"], { name: names[0], nodeName: "here" }), going])
        .filter(isDnat).length).toBe(1);
    }
  });
});

describe("jumps from built-in chains", () => {
  const { text } = joinRules([generateKubeProxy(inputOf(clusterOf([]), {}))]);
  const jumps = (table: string, chain: string): string[] => {
    const section = text.slice(text.indexOf(`*${table}`)).split("COMMIT")[0];
    return section.split("\n").filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(`-A ${chain} `.length));
  };
  const NEW = "-m conntrack --ctstate NEW ";
  const comment = (words: string, target: string): string => `-m comment --comment "kubernetes ${words}" -j ${target}`;
  const FIREWALL = `${NEW}${comment("load balancer firewall", "KUBE-PROXY-FIREWALL")}`;
  const EXTERNAL = `${NEW}${comment("externally-visible service portals", "KUBE-EXTERNAL-SERVICES")}`;

  test("filter INPUT, FORWARD and OUTPUT, first to last", () => {
    expect(jumps("filter", "INPUT")).toEqual(["-j KUBE-FIREWALL", FIREWALL,
      comment("health check service ports", "KUBE-NODEPORTS"), EXTERNAL]);
    expect(jumps("filter", "FORWARD")).toEqual([FIREWALL, comment("forwarding rules", "KUBE-FORWARD"),
      `${NEW}${comment("service portals", "KUBE-SERVICES")}`, EXTERNAL]);
    expect(jumps("filter", "OUTPUT")).toEqual(["-j KUBE-FIREWALL", FIREWALL,
      `${NEW}${comment("service portals", "KUBE-SERVICES")}`]);
  });

  test("nat", () => {
    expect(jumps("nat", "PREROUTING")).toEqual([comment("service portals", "KUBE-SERVICES")]);
    expect(jumps("nat", "OUTPUT")).toEqual([comment("service portals", "KUBE-SERVICES")]);
    expect(jumps("nat", "POSTROUTING")).toEqual([comment("postrouting rules", "KUBE-POSTROUTING")]);
  });

  test("canaries are not in the text", () => expect(text).not.toMatch(/CANARY/));
});

describe("the restore input", () => {
  test("begins with the shared chains of both tables", () => {
    const lines = of([]);
    expect(lines.filter((line) => line.startsWith(":")).map((line) => line.slice(1).split(" ")[0])).toEqual([
      "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-FIREWALL",
      "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]);
    expect(lines.filter((line) => !/^[-:]/.test(line))).toEqual(["*filter", "COMMIT", "*nat", "COMMIT", ""]);
  });

  test("has the fixed rules", () => {
    const { randomFully: _, ...rest } = CONFIG;
    const lines = of([], { config: { ...rest, randomFully: false, masqueradeBit: 5 } });
    expect(lines.filter((line) => /^-A KUBE-(POSTROUTING|MARK-MASQ|FORWARD|FIREWALL)/.test(line))).toEqual([
      '-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 '
        + "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
      "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x00000020/0x00000020 -j ACCEPT',
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" '
        + "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
      "-A KUBE-POSTROUTING -m mark ! --mark 0x00000020/0x00000020 -j RETURN",
      "-A KUBE-POSTROUTING -j MARK --xor-mark 0x00000020",
      '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE',
      "-A KUBE-MARK-MASQ -j MARK --or-mark 0x00000020"]);
    expect(of([]).find((line) => line.includes("-j MASQUERADE"))).toMatch(/MASQUERADE --random-fully$/);
  });

  test("lets INVALID pass where TCP is liberal, by the option or by the node's own sysctl", () => {
    const invalid = (more: Partial<Given>): boolean => of([], more).some((line) => line.includes("INVALID"));
    const sysctls = (value: string): Node => (
      { ...HERE, facts: { ...HERE.facts, sysctls: { "net.netfilter.nf_conntrack_tcp_be_liberal": value } } });
    expect([invalid({}), invalid({ node: sysctls("0") })]).toEqual([true, true]);
    expect([invalid({ config: { ...CONFIG, tcpBeLiberal: true } }), invalid({ node: sysctls("1") })]).toEqual([false, false]);
  });

  test("counts by nfacct only with objects that could be made", () => {
    const config = { ...CONFIG, nfacctCounters: ["ct_state_invalid_dropped_pkts" as const, "localhost_nps_accepted_pkts" as const] };
    const node = service({ type: "NodePort", ports: [{ name: "http", port: 80, nodePort: 30080 }] });
    const lines = of([node, slice(["10.0.0.1"])], { config });
    expect(lines).toContain("-A KUBE-FORWARD -m conntrack --ctstate INVALID "
      + "-m nfacct --nfacct-name ct_state_invalid_dropped_pkts -j DROP");
    expect(lines.filter((line) => line.startsWith("-A KUBE-NODEPORTS"))).toEqual([
      "-A KUBE-NODEPORTS -m comment --comment ns/s:http -m tcp -p tcp -d 127.0.0.0/8 --dport 30080 "
        + `-m nfacct --nfacct-name localhost_nps_accepted_pkts -j KUBE-EXT-${HASH}`,
      `-A KUBE-NODEPORTS -m comment --comment ns/s:http -m tcp -p tcp --dport 30080 -j KUBE-EXT-${HASH}`]);
    const closed = of([node, slice(["10.0.0.1"])], { config: { ...config, localhostNodePorts: false } });
    expect(closed.join()).not.toMatch(/localhost_nps/);
    expect(of([node, slice(["10.0.0.1"])]).join()).not.toMatch(/nfacct/);
  });
});

describe("dispatch", () => {
  const everything = service({ type: "LoadBalancer", externalIPs: ["192.0.2.1"], loadBalancerSourceRanges: ["198.18.0.0/15"],
    externalTrafficPolicy: "Local", healthCheckNodePort: 32000, ports: [{ name: "http", port: 80, nodePort: 30080 }] },
  { vips: ["192.0.2.2", "192.0.2.3"] });
  const named = (words: string): string => `-m comment --comment "ns/s:http ${words}"`;
  const tcp = (ip: string): string => `-m tcp -p tcp -d ${ip} --dport 80`;

  test("a service of every kind, in order", () => {
    const lines = of([everything, slice(["10.0.0.1"], { nodeName: "here" })])
      .filter((line) => /^-A KUBE-(SERVICES|NODEPORTS|EXTERNAL|PROXY)/.test(line) && !line.includes("NOTE"));
    expect(lines).toEqual([
      `-A KUBE-PROXY-FIREWALL ${named(`traffic not accepted by KUBE-FW-${HASH}`)} ${tcp("192.0.2.2")} -j DROP`,
      `-A KUBE-PROXY-FIREWALL ${named(`traffic not accepted by KUBE-FW-${HASH}`)} ${tcp("192.0.2.3")} -j DROP`,
      `-A KUBE-NODEPORTS ${named("health check node port")} -m tcp -p tcp --dport 32000 -j ACCEPT`,
      `-A KUBE-SERVICES ${named("cluster IP")} ${PORT80} -j KUBE-SVC-${HASH}`,
      `-A KUBE-SERVICES ${named("external IP")} ${tcp("192.0.2.1")} -j KUBE-EXT-${HASH}`,
      `-A KUBE-SERVICES ${named("loadbalancer IP")} ${tcp("192.0.2.2")} -j KUBE-FW-${HASH}`,
      `-A KUBE-SERVICES ${named("loadbalancer IP")} ${tcp("192.0.2.3")} -j KUBE-FW-${HASH}`,
      `-A KUBE-NODEPORTS -m comment --comment ns/s:http -m tcp -p tcp --dport 30080 -j KUBE-EXT-${HASH}`]);
  });

  test("without endpoints all of it is refused, VIPs after external IPs, and the health check is still let in", () => {
    const refused = `-A KUBE-EXTERNAL-SERVICES ${named("has no endpoints")}`;
    const lines = of([everything]).filter((line) => line.includes("ns/s:http"));
    expect(lines).toEqual([
      `-A KUBE-SERVICES ${named("has no endpoints")} ${PORT80} -j REJECT`,
      ...["192.0.2.1", "192.0.2.2", "192.0.2.3"].map((ip) => `${refused} ${tcp(ip)} -j REJECT`),
      `${refused} -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30080 -j REJECT`,
      `-A KUBE-NODEPORTS ${named("health check node port")} -m tcp -p tcp --dport 32000 -j ACCEPT`]);
  });

  test("policy Local without a local endpoint is dropped outside and still served inside, and the other way round", () => {
    const outside = of([service({ type: "NodePort", externalTrafficPolicy: "Local",
      ports: [{ name: "http", port: 80, nodePort: 30080 }] }), slice(["10.0.0.1"])]);
    expect(outside).toContain(`-A KUBE-SERVICES ${named("cluster IP")} ${PORT80} -j KUBE-SVC-${HASH}`);
    expect(outside).toContain(`-A KUBE-EXTERNAL-SERVICES ${named("has no local endpoints")} -m addrtype --dst-type LOCAL `
      + "-m tcp -p tcp --dport 30080 -j DROP");
    const inside = of([service({ internalTrafficPolicy: "Local", externalIPs: ["192.0.2.1"] }), slice(["10.0.0.1"])]);
    expect(inside).toContain(`-A KUBE-SERVICES ${named("has no local endpoints")} ${PORT80} -j DROP`);
    expect(inside).toContain(`-A KUBE-SERVICES ${named("external IP")} ${tcp("192.0.2.1")} -j KUBE-EXT-${HASH}`);
    expect(inside.filter((line) => /EXTERNAL-SERVICES .*ns\/s/.test(line))).toEqual([]);
  });
});

describe("own chains", () => {
  test("masqueradeAll marks everything to the cluster IP; a detector marks what is not local; none marks nothing", () => {
    const first = (config: KubeProxyConfig): string | undefined => of([service({}), slice(["10.0.0.1"])], { config })
      .find((line) => line.startsWith("-A KUBE-SVC-"));
    const match = `-A KUBE-SVC-${HASH} -m comment --comment "ns/s:http cluster IP" ${PORT80}`;
    expect(first(CONFIG)).toBe(`${match} ! -s 10.0.0.0/8 ${MASQ}`);
    expect(first({ ...CONFIG, masqueradeAll: true })).toBe(`${match} ${MASQ}`);
    expect(first({ ...CONFIG, clusterCIDR: [] })).toMatch(/->/);
  });

  test("EXT of policy Local: pods, the node masqueraded, the node, then local endpoints", () => {
    const local = service({ type: "NodePort", externalTrafficPolicy: "Local", ports: [{ name: "http", port: 80, nodePort: 30080 }] });
    const named = (words: string): string => `-A KUBE-EXT-${HASH} -m comment --comment "${words} for ns/s:http external destinations"`;
    expect(of([local, slice(["10.0.0.1"], { nodeName: "here" })]).filter((line) => line.startsWith("-A KUBE-EXT"))).toEqual([
      `${named("pod traffic")} -s 10.0.0.0/8 -j KUBE-SVC-${HASH}`,
      `${named("masquerade LOCAL traffic")} -m addrtype --src-type LOCAL ${MASQ}`,
      `${named("route LOCAL traffic")} -m addrtype --src-type LOCAL -j KUBE-SVC-${HASH}`,
      `-A KUBE-EXT-${HASH} -j KUBE-SVL-${HASH}`]);
  });

  test("an endpoint chain marks the hairpin, then sets the list, then translates", () => {
    const [sep] = [endpointChain("ns/s:http", "TCP", "10.0.0.1:8080")];
    const sticky = service({ sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 7 } } });
    const lines = of([sticky, slice(["10.0.0.1"])]);
    expect(lines.filter((line) => line.startsWith(`-A ${sep} `))).toEqual([
      `-A ${sep} -m comment --comment ns/s:http -s 10.0.0.1 ${MASQ}`,
      `-A ${sep} -m comment --comment ns/s:http -m recent --name ${sep} --set -m tcp -p tcp -j DNAT --to-destination 10.0.0.1:8080`]);
    expect(lines).toContain(`-A KUBE-SVC-${HASH} -m comment --comment "ns/s:http -> 10.0.0.1:8080" -m recent --name ${sep} `
      + `--rcheck --seconds 7 --reap -j ${sep}`);
  });

  test("the node's own address decides about the VIP: bindAddress, then InternalIP, then ExternalIP", () => {
    const ranged = [service({ type: "LoadBalancer", loadBalancerSourceRanges: ["198.18.0.0/15"] }, { vips: ["192.0.2.2"] }),
      slice(["10.0.0.1"])];
    const selfAllowed = (more: Partial<Given>): boolean => of(ranged, more).some((line) => line.includes("-s 192.0.2.2 "));
    const external = { type: "ExternalIP", address: address("198.18.0.1") };
    expect(selfAllowed({})).toBe(false);
    expect(selfAllowed({ node: { ...HERE, addresses: [external] } })).toBe(true);
    expect(selfAllowed({ node: { ...HERE, addresses: [external, ...HERE.addresses] } })).toBe(false);
    expect(selfAllowed({ config: { ...CONFIG, bindAddress: external.address } })).toBe(true);
    expect(selfAllowed({ config: { ...CONFIG, bindAddress: addressFromBytes(new Uint8Array(4)) } })).toBe(false);
  });
});

describe("node port addresses", () => {
  const jumpsWith = (config: Partial<KubeProxyConfig>, family: Family = 4, node: Node = HERE): string[] => (
    of([], { config: { ...CONFIG, ...config }, family, node }).filter((line) => line.endsWith("-j KUBE-NODEPORTS"))
      .map((line) => line.replace(/.*chain" (.*) -j KUBE-NODEPORTS/, "$1")));

  test("none, a zero CIDR, or none of the family is every local address", () => {
    expect(jumpsWith({})).toEqual(["-m addrtype --dst-type LOCAL"]);
    expect(jumpsWith({ nodePortAddresses: [prefix("192.168.0.0/24"), prefix("0.0.0.0/0")] }))
      .toEqual(["-m addrtype --dst-type LOCAL"]);
    expect(jumpsWith({ nodePortAddresses: [prefix("fd00::/64")] })).toEqual(["-m addrtype --dst-type LOCAL"]);
    expect(jumpsWith({ nodePortAddresses: [prefix("192.168.0.0/24")] }, 6)).toEqual(["-m addrtype --dst-type LOCAL ! -d ::1/128"]);
  });

  test("without localhostNodePorts 127.0.0.0/8 is left out", () => {
    expect(jumpsWith({ localhostNodePorts: false })).toEqual(["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8"]);
    expect(jumpsWith({ localhostNodePorts: false, nodePortAddresses: [prefix("127.0.0.0/8"), prefix("192.168.0.0/16")] }))
      .toEqual(["-d 192.168.0.2", "-d 192.168.7.2"]);
    expect(jumpsWith({ nodePortAddresses: [prefix("::1/128"), prefix("fd00::/64")] }, 6)).toEqual(["-d fd00::2"]);
  });

  test("an address that only the Node's status has is not the node's", () => {
    const node = { ...HERE, addresses: [...HERE.addresses, { type: "ExternalIP", address: address("203.0.113.9") }] };
    expect(jumpsWith({ nodePortAddresses: [prefix("203.0.113.0/24")] }, 4, node)).toEqual([]);
  });

  test("primary is the primary address of each family, and closes localhost", () => {
    expect(jumpsWith({ nodePortAddresses: "primary" })).toEqual(["-d 192.168.0.2"]);
    expect(jumpsWith({ nodePortAddresses: "primary" }, 6)).toEqual(["-d fd00::2"]);
    const config: KubeProxyConfig = { ...CONFIG, nodePortAddresses: "primary" };
    expect(of([], { config }).join()).not.toMatch(/KUBE-FIREWALL/);
    expect(kubeProxySysctls(config, HERE, 1)["net.ipv4.conf.all.route_localnet"]).toBeUndefined();
    // A node without an address of its own: as if nothing were set.
    expect(jumpsWith({ nodePortAddresses: "primary" }, 4, { ...HERE, addresses: [] })).toEqual(["-m addrtype --dst-type LOCAL"]);
  });

  test("localhost needs ranges that take in loopback", () => {
    const localnet = (ranges: string[]): boolean => (
      "net.ipv4.conf.all.route_localnet" in kubeProxySysctls({ ...CONFIG, nodePortAddresses: ranges.map(prefix) }, HERE, 1));
    expect([[], ["127.0.0.0/8"], ["127.0.0.1/32"], ["0.0.0.0/0"], ["fd00::/8"], ["10.0.0.0/8"]].map(localnet))
      .toEqual([true, true, true, true, true, false]);
  });
});

describe("detectors", () => {
  const notLocal = (config: Partial<KubeProxyConfig>, family: Family = 4): string | undefined => {
    const [clusterIP, endpoint] = family === 4 ? ["172.30.0.1", "10.0.0.1"] : ["fd00::1", "fd00:5::1"];
    const lines = of([service({ clusterIP }), { ...slice([endpoint]), addressType: `IPv${family}` }],
      { config: { ...CONFIG, ...config }, family });
    return lines.find((line) => line.endsWith(MASQ) && line.includes("cluster IP"))?.replace(/.*--dport 80 (.*) -j.*/, "$1");
  };

  test("by range: the first of the family, or none", () => {
    expect(notLocal({ clusterCIDR: [prefix("fd00::/16"), prefix("10.1.0.0/16"), prefix("10.2.0.0/16")] })).toBe("! -s 10.1.0.0/16");
    expect(notLocal({ clusterCIDR: [prefix("10.1.0.0/16")] }, 6)).toBeUndefined();
    expect(notLocal({ detectLocalMode: "NodeCIDR" })).toBe("! -s 10.244.0.0/24");
    expect(notLocal({ detectLocalMode: "NodeCIDR" }, 6)).toBe("! -s fd00:10:244::/64");
  });

  test("by device, for both families", () => {
    const detectLocal = { bridgeInterface: "cbr0", interfaceNamePrefix: "veth" };
    for (const family of [4, 6] as const) {
      expect(notLocal({ detectLocalMode: "BridgeInterface", detectLocal }, family)).toBe("! -i cbr0");
      expect(notLocal({ detectLocalMode: "InterfaceNamePrefix", detectLocal }, family)).toBe("! -i veth+");
    }
  });
});

describe("sizes", () => {
  const vip = { vips: ["192.0.2.2"] };
  const node = { ports: [{ name: "http", port: 80, nodePort: 30080 }] };
  const kinds: [string, Plain, (k: number, nfacct: number) => [nat: number, chains: number]][] = [
    ["ClusterIP", service({}), (k) => [2 + 3 * k, 1 + k]],
    ["ClusterIP with affinity", service({ sessionAffinity: "ClientIP" }), (k) => [2 + 4 * k, 1 + k]],
    ["NodePort", service({ type: "NodePort", ...node }), (k, n) => [5 + n + 3 * k, 2 + k]],
    ["NodePort Local", service({ type: "NodePort", externalTrafficPolicy: "Local", ...node }), (k, n) => [7 + n + 4 * k, 3 + k]],
    ["LoadBalancer", service({ type: "LoadBalancer", ...node }, vip), (k, n) => [6 + n + 3 * k, 2 + k]],
    ["LoadBalancer with a range", service({ type: "LoadBalancer", loadBalancerSourceRanges: ["198.18.0.0/15"], ...node }, vip),
      (k, n) => [8 + n + 3 * k, 3 + k]],
    ["LoadBalancer Local",
      service({ type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 32000, ...node }, vip),
      (k, n) => [8 + n + 4 * k, 3 + k]],
  ];

  test.each(kinds)("%s: rules and chains beyond the fixed ones", (_, object, expected) => {
    for (const k of [1, 4, 9]) {
      for (const nfacctCounters of [[], ["localhost_nps_accepted_pkts" as const]]) {
        const hosts = Array.from({ length: k }, (_one, index) => `10.0.0.${index + 1}`);
        const text = of([object, slice(hosts, { nodeName: "here" })], { config: { ...CONFIG, nfacctCounters } }).join("\n");
        const nat = text.split("*nat")[1];
        const rules = nat.match(/^-A /gm)!.length - 5;
        const chains = nat.match(/^:/gm)!.length - 4;
        expect([rules, chains]).toEqual(expected(k, nfacctCounters.length));
      }
    }
  });

  test("1000 endpoints over all service ports, ready or not, keep their comments; one more loses them", () => {
    const ports = [{ name: "a", port: 80 }, { name: "b", port: 81 }];
    const many = (count: number): Plain => slice(Array.from({ length: count }, (_, index) => `10.1.${index >> 8}.${index & 255}`),
      { ports: ports.map((port) => ({ ...port, port: 8080 })), conditions: { ready: false } });
    const ready = (count: number): Plain => slice(Array.from({ length: count }, (_, index) => `10.0.0.${index + 1}`),
      { ports: [{ name: "a", port: 8080 }] });
    const comments = (slices: Plain[]): number => of([service({ ports }), ...slices])
      .filter((line) => isDnat(line) && line.includes("comment")).length;
    expect(comments([many(499), ready(2)])).toBe(2);
    expect(comments([many(499), ready(3)])).toBe(0);
  });
});

interface Given {
  readonly config: KubeProxyConfig;
  readonly family: Family;
  readonly node: Node;
}

function of(objects: readonly Plain[], more: Partial<Given> = {}): string[] {
  return textOf(clusterOf(objects), more);
}

function textOf(cluster: Cluster, more: Partial<Given>): string[] {
  return generateKubeProxy(inputOf(cluster, more)).restoreText.split("\n");
}

function inputOf(cluster: Cluster, more: Partial<Given>): Given & { cluster: Cluster } {
  return { cluster, node: HERE, family: 4, config: CONFIG, ...more };
}

function isDnat(line: string): boolean {
  return line.includes("-j DNAT --to-destination ");
}

function service(spec: Plain, { vips = [], labels = {}, annotations = {} }: Plain = {}): Plain {
  return { kind: "Service", metadata: { namespace: "ns", name: "s", labels, annotations },
    spec: { clusterIP: "172.30.0.1", ports: [{ name: "http", port: 80 }], ...spec },
    status: { loadBalancer: { ingress: vips.map((ip: string) => ({ ip })) } } };
}

let sliceNumber = 0;
/** A slice of the service with port http 8080 on another node, unless it says otherwise. */
function slice(addresses: readonly string[], { name, ports, ...endpoint }: Plain = {}): Plain {
  return { kind: "EndpointSlice", addressType: "IPv4",
    metadata: { namespace: "ns", name: name ?? `s-${sliceNumber++}`, labels: { "kubernetes.io/service-name": "s" } },
    ports: ports ?? [{ name: "http", port: 8080 }],
    endpoints: addresses.map((one) => ({ addresses: [one], nodeName: "there", ...endpoint })) };
}
