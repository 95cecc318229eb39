/** VLAN devices of a node, which not every kernel can make: the model by what net/8021q says. The rest is vlan.kernel.test.ts. */
import { describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../cluster/address.js";
import type { Device, NodeFacts } from "../cluster/cluster.js";
import { VLAN_8021AD, VLAN_8021Q } from "../cluster/vlans.js";
import { End, PacketType } from "../dataplane.js";
import { entryPacket } from "../replay/entryPacket.js";
import { LinuxNode, type NodeSink } from "./node.js";
import { type NetfilterHooks, Verdict } from "./skb.js";

const ETH0 = 2;
const Q100 = 3;
const AD7 = 4;
const INNER = 5;
const OWN_MAC = 6;
const DOWN = 7;
const BRIDGED = 8;
const MAC = "02:00:00:00:00:01";

function device(index: number, name: string, more: Partial<Device> = {}): Device {
  return { index, name, kind: "other", mac: MAC, mtu: 1500, up: true, addresses: [], pod: null, vxlan: null, ...more };
}

const facts: NodeFacts = {
  devices: [
    device(ETH0, "eth0", { kind: "uplink" }),
    device(Q100, "eth0.100", { vlan: { parent: ETH0, id: 100, protocol: VLAN_8021Q } }),
    device(AD7, "eth0.7", { vlan: { parent: ETH0, id: 7, protocol: VLAN_8021AD } }),
    device(INNER, "eth0.7.100", { vlan: { parent: AD7, id: 100, protocol: VLAN_8021Q } }),
    device(OWN_MAC, "storage", { vlan: { parent: ETH0, id: 200, protocol: VLAN_8021Q }, mac: "02:00:00:00:00:02" }),
    device(DOWN, "eth0.300", { vlan: { parent: ETH0, id: 300, protocol: VLAN_8021Q }, up: false }),
    device(BRIDGED, "eth1", { vlansUnknown: true }),
  ],
  routes: [{ destination: parsePrefix("0.0.0.0/0")!, table: "main", type: "unicast", via: null, device: ETH0, prefSrc: null, metric: 0,
    mtu: null }],
  neighbours: [], sysctls: {}, source: "read",
};

const PACKET = entryPacket(17, { source: parseAddress("10.1.0.2")!, destination: parseAddress("203.0.113.9")!, sourcePort: 1000,
  destinationPort: 53 }, false, 1, 64);

class Ear implements NodeSink {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  readonly entered: number[] = [];
  transmit(): void {}
  enter(index: number): void {
    this.entered.push(index);
  }
  local(): void {}
}

interface Sent {
  readonly tag?: readonly [protocol: number, tci: number];
  /** Tags in the bytes, and the type of what stands first. */
  readonly inside?: readonly number[];
  readonly etherType?: number;
  readonly device?: number;
  readonly packetType?: number;
  readonly cut?: number;
}

function receive({ tag = [0, 0], inside = [], etherType = 0x0800, device: index = ETH0, packetType = PacketType.Host, cut }: Sent): string {
  const hooks: NetfilterHooks = { reason: "", hook: () => Verdict.Accept, attach: () => undefined };
  const node = new LinuxNode({ name: "node", facts, netfilter: () => hooks });
  const bytes = Uint8Array.from([...inside, ...PACKET]);
  const ear = new Ear();
  node.receive(bytes, 0, cut ?? bytes.length, bytes.length, etherType, packetType, index, 0, null, ear, ...tag);
  const end = Object.entries(End).find(([, value]) => value === ear.end)![0];
  return [end, ear.reason.replace(/^undecided: /, ""), ...ear.entered].filter((one) => one !== "").join(" ");
}

const Q = [0x81, 0x00];
const inQ = (tci: number): number[] => [tci >> 8, tci & 0xff];

describe("a tagged frame", () => {
  it.each<[string, Sent, string]>([
    ["comes in by the VLAN's device, whatever its priority", { tag: [VLAN_8021Q, 0xf064] }, `Left ${Q100}`],
    ["not by one of the other protocol", { tag: [VLAN_8021AD, 100] }, "Dropped OTHERHOST"],
    ["by the one on the device where it came in", { tag: [VLAN_8021Q, 100], device: AD7 }, `Left ${INNER}`],
    ["without a device is as if for another host", { tag: [VLAN_8021Q, 4095] }, "Dropped OTHERHOST"],
    ["with the identifier 0 has a priority alone", { tag: [VLAN_8021Q, 0xe000] }, "Left"],
    ["may have another tag inside", { tag: [VLAN_8021AD, 7], etherType: VLAN_8021Q, inside: [...inQ(100), 8, 0] }, `Left ${INNER}`],
    ["which is dropped where no device is for it", { tag: [VLAN_8021AD, 7], etherType: VLAN_8021Q, inside: [...inQ(9), 8, 0] },
      "Dropped OTHERHOST"],
    ["also behind a priority", { tag: [VLAN_8021Q, 0], etherType: VLAN_8021Q, inside: [...inQ(100), 8, 0] }, `Left ${Q100}`],
    ["behind several", { tag: [VLAN_8021Q, 0], etherType: VLAN_8021Q, inside: [...inQ(0), ...Q, ...inQ(100), 8, 0] }, `Left ${Q100}`],
    ["of what is no IP", { tag: [VLAN_8021Q, 100], etherType: 0x0806 }, `Dropped PTYPE_ABSENT ${Q100}`],
    ["cut by the capture in its second tag", { tag: [VLAN_8021AD, 7], etherType: VLAN_8021Q, inside: [...inQ(100), 8, 0], cut: 3 },
      "Undecided capture is cut before the ports"],
    ["whose device is down", { tag: [VLAN_8021Q, 300] }, "Dropped DEV_READY"],
    ["for a MAC address that may be its device's own", { tag: [VLAN_8021Q, 200], packetType: PacketType.OtherHost },
      "Undecided a VLAN device with a MAC address of its own"],
    ["for the node, to a device with a MAC address of its own", { tag: [VLAN_8021Q, 200] }, `Left ${OWN_MAC}`],
    ["for another host", { tag: [VLAN_8021Q, 100], packetType: PacketType.OtherHost }, `Dropped OTHERHOST ${Q100}`],
    ["where a bridge may take it", { tag: [VLAN_8021Q, 100], device: BRIDGED },
      "Undecided whether the node has a device for the frame's VLAN is not known"],
    ["with a tag that is none to the kernel", { etherType: 0x9100, inside: [...inQ(100), 8, 0] }, "Dropped PTYPE_ABSENT"],
  ])("%s", (_, sent, expected) => {
    expect(receive(sent)).toBe(expected);
  });
});
