/**
 * Tagged frames against this machine's kernel: random stacks of VLAN tags enter a node that forwards, with VLAN devices
 * where the kernel has the module for them; what it sent on must be what the model sends.
 */
import { describe, expect, it } from "vitest";
import { KernelNode, kernelMissing } from "../../test/kernel/node.js";
import { testSeed } from "../../test/seed.js";
import { parseAddress } from "../cluster/address.js";
import type { NodeFacts } from "../cluster/cluster.js";
import { readNodeFacts } from "../cluster/node-facts.js";
import { VLAN_8021AD, VLAN_8021Q } from "../cluster/vlans.js";
import { End, PacketType } from "../dataplane.js";
import { entryPacket } from "../replay/entryPacket.js";
import { Random } from "./netfilter/random.fixture.js";
import { equalBytes } from "./ip/bytes.js";
import { LinuxNode, type NodeSink } from "./node.js";
import { type NetfilterHooks, Verdict } from "./skb.js";

const seed = testSeed("src/linux/vlan");
const FRAMES = 300;
const IPV4_HEADER = 20;
const missing = kernelMissing([]);
if (missing !== null && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error(`TWINPLANE_REQUIRE_KERNEL=1, but tagged frames cannot be sent here: ${missing}`);
}

const SETUP = {
  name: `tw-vlan-${process.pid}`,
  links: {
    a0: { mac: "02:00:00:00:0a:01", peer: "02:00:00:00:0a:02", mtu: 1500, addresses: ["10.1.0.1/24"], neighbours: ["10.1.0.2"] },
    b0: { mac: "02:00:00:00:0b:01", peer: "02:00:00:00:0b:02", mtu: 1500, addresses: ["10.2.0.1/24"], neighbours: ["10.2.0.9"] },
  },
  sysctls: { "net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0" },
  routes: ["default via 10.2.0.9 dev b0"],
};
/** Name, device below, protocol, identifier. */
const VLANS = [["a0.100", "a0", "802.1Q", "100"], ["a0.7", "a0", "802.1ad", "7"], ["a0.7.200", "a0.7", "802.1Q", "200"]];

interface Tag { readonly protocol: number; readonly tci: number }

describe.skipIf(missing !== null)(`tagged frames on a kernel (${missing ?? "here"})`, () => {
  it("are handed on as the model says", async () => {
    const kernel = new KernelNode(SETUP);
    const disagreements: string[] = [];
    const tally = new Map<string, number>();
    try {
      await kernel.ready();
      await addVlans(kernel, tally);
      const facts = await factsOf(kernel);
      const node = modelOf(facts);
      const index = facts.devices.find((device) => device.name === "a0")!.index;
      const random = new Random(seed);
      for (let number = 0; number < FRAMES; number++) {
        const tags = tagsOf(random);
        const packet = entryPacket(17, { source: parseAddress("10.1.0.2")!, destination: parseAddress("203.0.113.9")!,
          sourcePort: 1000 + number, destinationPort: 53 }, false, number + 1, 64);
        // The node has words of its own to its neighbours; the packet is known by its ports and what is behind them.
        const sent = (await kernel.inject("a0", packet, bytesOf(tags))).filter((one) => one.link === "b0"
          && one.bytes[0] === 0x45 && equalBytes(one.bytes, IPV4_HEADER, packet, IPV4_HEADER, packet.length - IPV4_HEADER));
        const ours = received(node, packet, tags, index);
        const tagged = `${tags.length} tags, ${sent.length === 0 ? "dropped" : "sent on"}`;
        tally.set(tagged, (tally.get(tagged) ?? 0) + 1);
        if ((sent.length > 0) !== (ours.end === End.Left) || ours.end === End.Undecided) {
          disagreements.push(`${tags.map((tag) => `${tag.protocol.toString(16)} ${tag.tci.toString(16)}`).join(", ")}: kernel ${
            sent.length === 0 ? "dropped" : "sent on"}, model ${ours.end} ${ours.reason}`);
        }
      }
    } finally {
      await kernel.close();
    }
    console.log(Object.fromEntries([...tally].sort()));
    expect(disagreements).toEqual([]);
    for (const wanted of ["0 tags, sent on", "1 tags, sent on", "1 tags, dropped", "2 tags, sent on", "2 tags, dropped"]) {
      expect(tally.get(wanted), wanted).toBeGreaterThan(0);
    }
  });
});

/** Kernels without the module 8021q have none. */
async function addVlans(kernel: KernelNode, tally: Map<string, number>): Promise<void> {
  for (const [name, below, protocol, id] of VLANS) {
    try {
      await kernel.run(["ip", "link", "add", "link", below, "name", name, "type", "vlan", "protocol", protocol, "id", id]);
      await kernel.run(["ip", "link", "set", name, "up"]);
      tally.set("VLAN devices", (tally.get("VLAN devices") ?? 0) + 1);
    } catch (error) {
      console.log(`no VLAN device ${name} here: ${String(error)}`);
    }
  }
}

/** Identifiers that devices have come up as often as others. */
function tagsOf(random: Random): Tag[] {
  return Array.from({ length: random.below(4) }, () => ({
    protocol: random.pick([VLAN_8021Q, VLAN_8021Q, VLAN_8021AD, 0x9100]),
    tci: (random.below(16) << 12) | random.pick([0, 0, 7, 100, 200, 4095, random.below(4096)]),
  }));
}

function bytesOf(tags: readonly Tag[]): Uint8Array {
  return Uint8Array.from(tags.flatMap(({ protocol, tci }) => [protocol >> 8, protocol & 0xff, tci >> 8, tci & 0xff]));
}

/** As a device hands it in: the outermost tag taken off where it is one to the kernel, the others in the bytes. */
function received(node: LinuxNode, packet: Uint8Array, tags: readonly Tag[], device: number): Ear {
  const [first] = tags;
  const off = first !== undefined && first.protocol !== 0x9100;
  const inside = off ? tags.slice(1) : tags;
  const types = [...inside.map((tag) => tag.protocol), 0x0800];
  const head = inside.flatMap(({ tci }, at) => [tci >> 8, tci & 0xff, types[at + 1] >> 8, types[at + 1] & 0xff]);
  const bytes = Uint8Array.from([...head, ...packet]);
  const ear = new Ear();
  node.receive(bytes, 0, bytes.length, bytes.length, types[0], PacketType.Host, device, 0, null, ear,
    off ? first.protocol : 0, off ? first.tci : 0);
  return ear;
}

class Ear implements NodeSink {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  transmit(): void {}
  enter(): void {}
  local(): void {}
}

async function factsOf(kernel: KernelNode): Promise<NodeFacts> {
  const texts = await Promise.all([["-d", "link"], ["addr"], ["route", "show", "table", "all"]].map(async (argv) => ({
    name: argv.join(" "), text: await kernel.run(["ip", "-j", ...argv]) })));
  const objects = { nodes: [], pods: [] } as unknown as Parameters<typeof readNodeFacts>[2];
  return readNodeFacts(texts, "node", objects).facts!;
}

function modelOf(facts: NodeFacts): LinuxNode {
  const hooks: NetfilterHooks = { reason: "", hook: () => Verdict.Accept, attach: () => undefined };
  return new LinuxNode({ name: "node", facts, netfilter: () => hooks });
}
