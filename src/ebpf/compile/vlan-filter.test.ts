/** VLAN_FILTER against what vlanFilterMacros and isSelectedDevice of pkg/datapath/linux say, device by device. */
import { describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../../cluster/address.js";
import type { Device, NodeFacts, Route } from "../../cluster/cluster.js";
import { VLAN_8021Q } from "../../cluster/vlans.js";
import { ciliumOptions } from "../options.js";
import { tagFilters, tooManyVlans } from "./vlan-filter.js";

const ETH0 = 2;
const OTHER = 3;

function device(index: number, name: string, more: Partial<Device> = {}): Device {
  return { index, name, kind: "other", mac: "", mtu: 1500, up: true, addresses: [], pod: null, vxlan: null, ...more };
}

/** With an address and, as the kernel makes it, a route to its network. */
function vlan(id: number, parent: number, address = "", more: Partial<Device> = {}): Device {
  return device(100 + id, `eth0.${id}`, { vlan: { parent, id, protocol: VLAN_8021Q },
    addresses: address === "" ? [] : [{ address: parseAddress(address)!, length: 24 }], ...more });
}

function filters(bypass: string, vlans: readonly Device[]): { facts: NodeFacts; listed: number; of: (index: number) => string } {
  const devices = [device(ETH0, "eth0", { kind: "uplink" }), device(OTHER, "eth1"), ...vlans];
  const routes = devices.flatMap(({ index, addresses }) => addresses.map(({ address }): Route => ({ destination: parsePrefix(
    `${address.text}/${address.bytes.length * 8}`)!, table: "main", type: "unicast", via: null, device: index, prefSrc: null, metric: 0,
    mtu: null })));
  const facts: NodeFacts = { devices, routes, neighbours: [], sysctls: {}, source: "read" };
  const { options } = ciliumOptions("cilium@1.20", null, { "vlan-bpf-bypass": bypass });
  const { listed, of } = tagFilters(facts, options);
  return { facts, listed, of: (index) => {
    const { carries, arrives } = of(devices.find((one) => one.index === index)!);
    return arrives ?? carries;
  } };
}

describe("VLAN_FILTER", () => {
  it.each<[string, string, Device, string]>([
    ["a device with an address", "", vlan(5, ETH0, "10.1.0.1"), "program"],
    ["one without", "", vlan(5, ETH0), "filtered"],
    ["one without that the option names", "4 5", vlan(5, ETH0), "kernel"],
    ["with commas", "4,5", vlan(5, ETH0), "kernel"],
    ["one of another number", "50 55", vlan(5, ETH0), "filtered"],
    ["0 names all", "0", vlan(5, ETH0), "kernel"],
    ["a link-local address is none", "", vlan(5, ETH0, "169.254.1.1"), "filtered"],
    ["of IPv6 too", "", vlan(5, ETH0, "fe80::1"), "filtered"],
    ["a private one is", "", vlan(5, ETH0, "fd00::1"), "program"],
    ["down", "", vlan(5, ETH0, "10.1.0.1", { up: false }), "filtered"],
    ["with a name that the agent leaves out", "", vlan(5, ETH0, "10.1.0.1", { name: "docker5" }), "filtered"],
    ["with the default route", "", vlan(5, ETH0, "", { kind: "uplink" }), "program"],
    ["on a device where Cilium does not run", "", vlan(5, OTHER), "kernel"],
    ["on such a one with an address", "", vlan(5, OTHER, "10.1.0.1"), "program"],
  ])("%s", (_, bypass, one, expected) => {
    expect(filters(bypass, [one]).of(one.index)).toBe(expected);
  });

  it("of the device below: nothing, the VLANs of devices, all", () => {
    expect([filters("", [vlan(5, ETH0)]), filters("", [vlan(5, ETH0, "10.1.0.1")]), filters("5 6", []), filters("0", [])]
      .map((one) => one.of(ETH0))).toEqual(["nothing", "some", "nothing", "all"]);
  });

  it("holds five at most, and what 0 names is not counted", () => {
    const six = [1, 2, 3, 4, 5, 6].map((id) => vlan(id, ETH0));
    expect([filters("1 2 3 4 5 6", six).listed, filters("0", six).listed, filters("", six).listed]).toEqual([6, 0, 0]);
    expect(tooManyVlans("n", 6).what).toMatch(/n has 6 VLANs .* expected vlan-bpf-bypass=0/);
  });

  it("numbers alone are a value of the option", () => {
    const said = (text: unknown): number => ciliumOptions("cilium@1.20", null, { "vlan-bpf-bypass": text }).problems
      .filter((one) => one.what.startsWith("option vlan-bpf-bypass")).length;
    expect(["", "4001", "4001 4002", [4001, 4002], 0, "eth0", "1;2"].map(said)).toEqual([0, 0, 0, 0, 0, 1, 1]);
  });
});
