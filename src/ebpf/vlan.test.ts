/** Tagged frames in the programs: where VLAN_FILTER is asked, what it does not let through, and what becomes of the rest. */
import { describe, expect, it } from "vitest";
import { Bench, POD_DEVICE, UPLINK, type WalkInput } from "../../test/programs.js";
import { packet } from "../../test/packets.js";
import { DeviceFlag, DeviceKind, DropReason, EndpointFlag, FibKind, KernelReason, UndecidedReason } from "../contract/codes.js";
import { End } from "../dataplane.js";

const POD = "10.1.0.1";
const OTHER_POD = "10.1.0.2";
const NODE = "192.168.0.1";
const OUTSIDE = "203.0.113.9";
const { VLAN_ALL, VLAN_SOME, VLAN_UNKNOWN, VLAN_FILTERED } = DeviceFlag.values;
const Q100 = 20;

/** A node with two pods; `flags` are its uplink's, and `Q100` a VLAN device of which the filter holds nothing. */
function bench(flags = 0): Bench {
  const made = new Bench(20);
  for (const [ip, ifindex, identity] of [[POD, POD_DEVICE, 300], [OTHER_POD, 11, 301]] as const) {
    made.pod(ip, identity, 0, "", ifindex);
    made.endpoint(ip, ifindex, identity);
    made.route(`${ip}/32`, FibKind.values.ENDPOINT, ifindex);
    made.ipcache(`${ip}/32`, identity);
  }
  made.endpoint(NODE, 0, 1, EndpointFlag.values.HOST);
  made.ipcache(`${NODE}/32`, 1);
  made.ipcache("0.0.0.0/0", 2);
  made.allow(true, 0);
  made.allow(false, 0);
  made.put("twinplane_devices", { node: 0, ifindex: UPLINK }, { kind: DeviceKind.values.UPLINK, mtu: 1500, flags });
  made.put("twinplane_devices", { node: 0, ifindex: Q100 }, { kind: DeviceKind.values.UPLINK, mtu: 1500, flags: VLAN_FILTERED });
  return made;
}

function end(flags: number, from: string, to: string, row: Partial<WalkInput>): string {
  const bytes = packet({ from, to, protocol: "UDP", sport: 1000, dport: 53 });
  const [{ outcome }] = bench(flags).walk([{ packet: bytes, device: UPLINK, vlan: 100, ...row }]);
  const names = outcome.end === End.Undecided ? UndecidedReason.values : { ...DropReason.values, ...KernelReason.values };
  const reason = Object.entries(names).find(([, code]) => code === outcome.reason && code !== 0)?.[0] ?? "";
  return `${Object.entries(End).find(([, value]) => value === outcome.end)![0]} ${reason}`.trim();
}

describe("a tagged frame", () => {
  it.each<[string, number, string, string, Partial<WalkInput>, string]>([
    ["comes in, and no VLAN is let through", 0, OUTSIDE, NODE, {}, "Dropped DROP_VLAN_FILTERED"],
    ["comes in, and another VLAN is", VLAN_SOME, OUTSIDE, NODE, {}, "Dropped DROP_VLAN_FILTERED"],
    ["comes in, and all are: the kernel has no device for it", VLAN_ALL, OUTSIDE, NODE, {}, "Dropped OTHERHOST"],
    ["comes in, and nobody knows", VLAN_UNKNOWN, OUTSIDE, NODE, {}, "Undecided VLAN"],
    ["comes in by a VLAN device whose tag is not let through", 0, OUTSIDE, NODE, { device: Q100, vlan: 0 }, "Dropped DROP_VLAN_FILTERED"],
    ["has a priority alone", 0, OUTSIDE, NODE, { vlan: 0 }, "Delivered"],
    ["has another tag behind a priority", 0, OUTSIDE, NODE, { vlan: 0, etherType: 0x8100 }, "Undecided VLAN_STACKED"],
    ["is of what is no IP", 0, OUTSIDE, NODE, { etherType: 0x8100 }, "Dropped DROP_VLAN_FILTERED"],
    ["of a pod to its node", 0, POD, NODE, { device: POD_DEVICE }, "Dropped OTHERHOST"],
    ["of a pod to a pod", 0, POD, OTHER_POD, { device: POD_DEVICE }, "Undecided VLAN_ONWARD"],
    ["of a pod out of the node, let through by the option", VLAN_ALL, POD, OUTSIDE, { device: POD_DEVICE }, "Dropped OTHERHOST"],
  ])("%s", (_, flags, from, to, row, expected) => {
    expect(end(flags, from, to, row)).toBe(expected);
  });

  it("of a pod goes out of the node past the stack: the filter of the uplink", () => {
    const sent = (flags: number): string => {
      const made = bench(flags);
      made.options(["ENABLE_IPV4", "ENABLE_NODEPORT", "ENABLE_HOST_ROUTING", "ENABLE_BPF_MASQUERADE_IPV4"]);
      const bytes = packet({ from: POD, to: OUTSIDE, protocol: "UDP", sport: 1000, dport: 53 });
      const [{ outcome }] = made.walk([{ packet: bytes, device: POD_DEVICE, vlan: 100 }]);
      return `${outcome.end} ${outcome.reason}`;
    };
    expect([sent(0), sent(VLAN_SOME), sent(VLAN_ALL)]).toEqual([`${End.Dropped} ${DropReason.values.DROP_VLAN_FILTERED}`,
      `${End.Undecided} ${UndecidedReason.values.VLAN}`, `${End.Undecided} ${UndecidedReason.values.VLAN_ONWARD}`]);
  });

  it("does not leave its tag to the next", () => {
    const bytes = packet({ from: OUTSIDE, to: NODE, protocol: "UDP", sport: 1000, dport: 53 });
    const walked = bench().walk([100, 0, 4095, 0].map((vlan) => ({ packet: bytes, device: UPLINK, vlan })));
    expect(walked.map(({ outcome }) => outcome.end)).toEqual([End.Dropped, End.Delivered, End.Dropped, End.Delivered]);
  });
});
