import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import type { NodeFacts } from "./cluster.js";
import { type ManifestObjects, readManifests } from "./manifests.js";
import { readNodeFacts } from "./node-facts.js";
import { formatProblem } from "./problem.js";

const CLUSTER = readManifests([{ name: "c", text: `
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: n1}
status: {podIP: 10.0.1.5}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere}
spec: {nodeName: n2}
status: {podIP: 10.0.2.5}
---
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec: {nodeName: n1, hostNetwork: true}
status: {podIP: 192.168.0.1}
` }]).objects;

const ADDR = [
  { ifindex: 1, ifname: "lo", flags: ["LOOPBACK", "UP"], mtu: 65536,
    addr_info: [{ local: "127.0.0.1", prefixlen: 8 }] },
  { ifindex: 2, ifname: "eth0", flags: ["UP"], mtu: 1500, address: "02:00:00:00:00:01",
    addr_info: [{ local: "192.168.0.1", prefixlen: 24 }, {}] },
  { ifindex: 7, ifname: "azv1", flags: [], mtu: 1400, addr_info: [] },
  { ifindex: 8, ifname: "flannel.1", flags: ["UP"], mtu: 1450, addr_info: [] },
];

function read(texts: Record<string, unknown>, objects: ManifestObjects = CLUSTER) {
  const sources = Object.entries(texts).map(([name, value]) =>
    ({ name, text: typeof value === "string" ? value : JSON.stringify(value, null, 1) }));
  const { facts, problems } = readNodeFacts(sources, "n1", objects);
  return { facts, lines: problems.map(formatProblem) };
}

function kinds(facts: NodeFacts | null): string[] {
  return facts?.devices.map((device) => `${device.index} ${device.name} ${device.kind} ${device.pod}`) ?? [];
}

describe("readNodeFacts", () => {
  const routes = [
    { dst: "default", gateway: "192.168.0.254", dev: "eth0", flags: [] },
    { dst: "10.0.1.5", dev: "azv1", scope: "link", flags: [], metrics: [{ mtu: 1300 }] },
    { dst: "10.0.2.0/24", gateway: "10.0.2.0", dev: "flannel.1", flags: ["onlink"] },
    { type: "blackhole", dst: "10.0.1.0/26", flags: [] },
    { dst: "default", dev: "eth0", metric: 1024, pref: "medium", gateway: "fe80::1" },
    { type: "local", dst: "192.168.0.1", dev: "eth0", table: "local", prefsrc: "192.168.0.1", flags: [] },
  ];
  const neighbours = [
    { dst: "192.168.0.254", dev: "eth0", lladdr: "02:00:00:00:00:fe", state: ["REACHABLE"] },
    { dst: "192.168.0.9", dev: "eth0", state: ["FAILED"] },
  ];

  test("VLAN devices, and where some may be hidden", () => {
    const on = (ifindex: number, ifname: string, more: object): object => ({ ifindex, ifname, flags: ["UP"], mtu: 1500, ...more });
    const vlan = (protocol: string, id: number): object => ({ linkinfo: { info_kind: "vlan", info_data: { protocol, id, flags: [] } } });
    const links = [...ADDR, on(20, "eth0.100", { link: "eth0", ...vlan("802.1Q", 100) }),
      on(21, "q", { link: "eth0.100", ...vlan("802.1ad", 7) }),
      on(22, "mv", { link: "eth0", linkinfo: { info_kind: "macvlan" } }), on(23, "odd", { link: "eth0", ...vlan("802.2", 9) })];
    const found = (more: readonly object[] = []): unknown[] => read({ link: [...links, ...more], route: routes }).facts!.devices
      .filter((device) => device.vlan !== undefined || device.vlansUnknown === true)
      .map(({ name, vlan: own, vlansUnknown }) => [name, own ?? null, vlansUnknown === true]);
    const known = [["eth0.100", { parent: 2, id: 100, protocol: 0x8100 }, false], ["q", { parent: 20, id: 7, protocol: 0x88a8 }, false]];
    expect(found()).toEqual(known);
    // Without -d nobody knows what stands on a device; a pod's veth stands on one of another network namespace.
    expect(found([on(30, "eth0.5", { link: "eth0" }), on(31, "v", { link: "azv1", link_netnsid: 0 }), on(32, "slave", { master: "br0" })]))
      .toEqual([["eth0", null, true], ...known, ["slave", null, true]]);
  });

  test("kinds of devices follow from use; flannel's details are assumed aloud", () => {
    const { facts, lines } = read({ addr: ADDR, route: routes, neigh: neighbours });
    expect(kinds(facts)).toEqual(["1 lo loopback null", "2 eth0 uplink null", "7 azv1 pod default/web",
      "8 flannel.1 tunnel null"]);
    expect(lines).toEqual([expect.stringMatching(/^warning: device flannel\.1 .*VNI 1, port 8472/)]);
    expect(facts?.devices[3].vxlan).toMatchObject({ vni: 1, port: 8472, local: { text: "192.168.0.1" } });
    expect(facts?.source).toBe("read");
    expect(facts?.devices.map((device) => device.up)).toEqual([true, true, false, true]);
  });

  test("routes and neighbours", () => {
    const { facts } = read({ addr: ADDR, route: routes, neigh: neighbours });
    expect(facts?.routes
      .map((route) => `${route.type} ${route.destination.text} ${route.via?.text} ${route.device} `
      + `${route.table} ${route.metric} ${route.mtu} ${route.prefSrc?.text}`)).toEqual([
      "unicast 0.0.0.0/0 192.168.0.254 2 main 0 null undefined",
      "unicast 10.0.1.5/32 undefined 7 main 0 1300 undefined",
      "unicast 10.0.2.0/24 10.0.2.0 8 main 0 null undefined",
      "blackhole 10.0.1.0/26 undefined null main 0 null undefined",
      "unicast ::/0 fe80::1 2 main 1024 null undefined",
      "local 192.168.0.1/32 undefined 2 local 0 null 192.168.0.1",
    ]);
    expect(facts?.neighbours)
      .toMatchObject([{ address: { text: "192.168.0.254" }, device: 2, mac: "02:00:00:00:00:fe" }]);
  });

  test("one object, several files, and the same entries twice are the same", () => {
    const apart = read({ addr: ADDR, route: routes, neigh: neighbours }).facts;
    expect(read({ all: { neigh: neighbours, route4: routes, addr: ADDR, route6: routes } }).facts)
      .toEqual(apart);
  });

  test("link details win over flannel's defaults", () => {
    const link = [{ ifindex: 8, ifname: "flannel.1", linkinfo: { info_kind: "vxlan",
      info_data: { id: 4096, port: 4789, local: "192.168.0.1" } } }];
    const { facts, lines } = read({ addr: ADDR, link, route: routes });
    expect(lines).toEqual([]);
    expect(facts?.devices[3]).toMatchObject({ mtu: 1450, vxlan: { vni: 4096, port: 4789 } });
  });

  test("without a default route the device with the Node's address is the uplink", () => {
    expect(kinds(read({ addr: ADDR, route: [] }).facts)).toContain("2 eth0 uplink null");
    const none = read({ addr: [ADDR[0], ADDR[2]], route: [] });
    expect(none.lines).toEqual([expect.stringMatching(/no device of node n1 leads out/)]);
  });

  test("sysctls are read where they are given", () => {
    const { facts, lines } = read({ addr: ADDR.slice(0, 2), route: [],
      sysctl: "net.ipv4.ip_forward = 1\nnet/ipv4/conf/eth0/rp_filter=0\nwhat\nkernel.x = (none)\n" });
    expect(facts?.sysctls).toEqual({ "net.ipv4.ip_forward": "1", "net.ipv4.conf.eth0.rp_filter": "0",
      "kernel.x": "(none)" });
    expect(lines).toEqual([expect.stringMatching(/^sysctl:3: error: .* a line that is no setting/)]);
  });

  test("neither a route through a gateway nor one to another node's pod makes a pod device", () => {
    const route = [routes[0], { dst: "10.0.1.5", gateway: "192.168.0.9", dev: "eth0", flags: [] }];
    expect(kinds(read({ addr: ADDR.slice(0, 3), route }).facts)).toContain("2 eth0 uplink null");
    expect(kinds(read({ addr: ADDR,
      route: [{ dst: "10.0.2.5", dev: "azv1", flags: [] }] }).facts)).toContain("7 azv1 other null");
  });

  test("what cannot be read is a Problem with its line, and the rest is used", () => {
    const bad = [{ dst: "10.0.1.300", dev: "eth0", flags: [] },
      { dst: "10.0.9.0/24", dev: "gone", flags: [] }, { what: 1 },
      { dst: "10.0.8.0/24",
        nexthops: [{ gateway: "192.168.0.2", dev: "eth0" }, { gateway: "192.168.0.3", dev: "eth0" }] }];
    const { facts, lines } = read({ addr: ADDR.slice(0, 3), route: [...routes.slice(0, 2), ...bad] });
    expect(facts?.routes.length).toBe(3);
    expect(facts?.routes[2]).toMatchObject({ via: { text: "192.168.0.2" } });
    expect(lines.map((line) => line.slice(0, 60))).toEqual([
      "route:29: error: node n1: found what is no link, address, ro",
      expect.stringMatching(/^route:19: error: node n1: found \{"dst":"10\.0\.1\.300"/),
      "route:24: error: node n1: found device gone, expected a devi",
      "route:32: warning: node n1: found a route with several next ",
    ]);
    expect(read({ addr: "[{", route: "{}" })).toMatchObject({ facts: null });
    expect(read({ addr: "[1, [], null, \"x\", {}]" }).facts).toBeNull();
  });
});

const lab = join(sharedDir() ?? "/nonexistent", "traces", "lab");

describe.skipIf(!existsSync(lab))("the lab's nodes (needs TWINPLANE_SHARED)", () => {
  test.each([["native-nth", "node1"], ["native-nth", "node2"], ["vxlan-nth", "node1"],
    ["vxlan-nth", "node2"]])("%s %s", (run, node) => {
    const text = (name: string): string => readFileSync(join(lab, run, name), "utf8");
    const objects = readManifests([{ name: "cluster.yaml", text: text("cluster.yaml") }]).objects;
    const { facts, problems } = readNodeFacts([{ name: node, text: text(`${node}.net.json`) }], node,
      objects);
    expect(problems).toEqual([]);
    const names = JSON.parse(text(`${node}.ifmap.json`)) as Record<string, string>;
    expect(Object.fromEntries(facts!.devices.map((device) => [String(device.index), device.name])))
      .toEqual(names);
    for (const device of facts!.devices) {
      // The lab names a pod's device after it.
      const expected = device.name === "lo" ? "loopback" : device.name === "eth0" ? "uplink"
        : device.name === "flannel.1" ? "tunnel" : "pod";
      expect([device.name, device.kind]).toEqual([device.name, expected]);
      expect(device.pod).toBe(expected === "pod" ? `default/${device.name.slice(2)}` : null);
    }
    const vxlan = facts!.devices.find((device) => device.kind === "tunnel")?.vxlan ?? null;
    expect(vxlan === null ? null : [vxlan.vni, vxlan.port, vxlan.local?.text])
      .toEqual(run === "vxlan-nth" ? [1, 8472, node === "node1" ? "192.168.50.11" : "192.168.50.12"] : null);
    expect(facts!.routes.filter((route) => route.destination.length === 0).length).toBe(2);
  });
});
