/**
 * Which destinations see a pod's own address, by configuration alone: what is expected is written down here, and Cilium's list is
 * the one that the plane compiles for itself besides.
 */
import { describe, expect, it } from "vitest";
import { readManifests } from "./cluster/manifests.js";
import { buildCluster } from "./cluster/timeline.js";
import { compileIpMasq } from "./ebpf/compile/ipmasq.js";
import { ciliumOptions } from "./ebpf/options.js";
import { rangesOfCilium } from "./kept-ranges.js";

const NONE = { agent: "none" as const };
const RESERVED = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "192.88.99.0/24",
  "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"];
const LINK_LOCAL = ["169.254.0.0/16", "fe80::/10"];

function clusterOf(objects: readonly object[]): Parameters<typeof rangesOfCilium>[0] {
  return buildCluster(readManifests([{ name: "list", text: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }) }]).objects);
}

function map(config: string, namespace = "kube-system", name = "ip-masq-agent"): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { config } };
}

describe("Cilium's ip-masq-agent", () => {
  const given = { "enable-bpf-masquerade": true, "enable-ip-masq-agent": true, "enable-ipv6": true, "enable-ipv6-masquerade": true };
  const told = (objects: readonly object[]): string[][] => {
    const cluster = clusterOf(objects);
    const { options } = ciliumOptions("cilium@1.20", cluster, given);
    return [rangesOfCilium(cluster, options, NONE) ?? [], compileIpMasq(cluster, options, []).map(({ range }) => range)]
      .map((ranges) => ranges.map(({ text }) => text).sort());
  };

  it.each<[string, readonly object[], readonly string[]]>([
    ["no file", [], [...RESERVED, ...LINK_LOCAL]],
    ["an empty file", [map("")], [...RESERVED, ...LINK_LOCAL]],
    ["a file of another namespace", [map("nonMasqueradeCIDRs: [8.0.0.0/8]", "default")], [...RESERVED, ...LINK_LOCAL]],
    ["a file beside an agent elsewhere", [map("enable-ipv4: 'true'", "cilium", "cilium-config"), map("nonMasqueradeCIDRs: [8.0.0.0/8]",
      "cilium")], ["8.0.0.0/8", ...LINK_LOCAL]],
    ["a file without ranges", [map("{}")], LINK_LOCAL],
    ["a file of a comment", [map("# later")], LINK_LOCAL],
    ["ranges of both families, host bits and all", [map("NonMasqueradeCIDRs: [8.8.4.4/16, '2001:db8::1/32']")],
      ["2001:db8::/32", "8.8.0.0/16", ...LINK_LOCAL]],
    ["link-local masqueraded", [map("masqLinkLocal: true\nMASQLINKLOCALIPV6: true\nnonMasqueradeCIDRs: null")], []],
    ["a range that is none", [map("nonMasqueradeCIDRs: [8.0.0.0/8, 10.0.0.0]")], []],
    ["a list that is none", [map("nonMasqueradeCIDRs: 8.0.0.0/8")], []],
    ["a word that is no boolean", [map("masqLinkLocal: 'yes'")], []],
    ["no mapping", [map("[8.0.0.0/8]")], []],
    ["no YAML", [map("{")], []],
  ])("%s", (_what, objects, expected) => {
    const sorted = [...expected].sort();
    expect(told(objects)).toEqual([sorted, sorted]);
  });
});

describe("egress-masquerade-interfaces", () => {
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" },
    status: { addresses: [{ type: "InternalIP", address: "192.168.50.11" }] } };
  const ranges = (version: string, interfaces: string, more = {}): string[] | undefined => {
    const cluster = clusterOf([node]);
    const { options } = ciliumOptions(`cilium@${version}`, cluster, { "enable-bpf-masquerade": false,
      "ipv4-native-routing-cidr": "10.244.0.0/16", "egress-masquerade-interfaces": interfaces, ...more });
    return rangesOfCilium(cluster, options, NONE)?.filter(({ address }) => address.family === 4).map(({ text }) => text);
  };
  const ROUTES = { "enable-masquerade-to-route-source": true };

  it.each<[string, string, object, string]>([
    ["1.16", "eth+", {}, "10.244.0.0/16"], ["1.20", "ens1,eth0", {}, "10.244.0.0/16"], ["1.20", "ens1", {}, "0.0.0.0/0"],
    ["1.16", "eth+", ROUTES, "0.0.0.0/0"], ["1.17", "eth+", ROUTES, "10.244.0.0/16"], ["1.18", "!eth0 eth+", ROUTES, "10.244.0.0/16"],
    ["1.19", "!eth0 eth+", ROUTES, "0.0.0.0/0"],
  ])("%s: %s, %j", (version, interfaces, more, expected) => {
    expect(ranges(version, interfaces, more)).toEqual([expected]);
  });
});
