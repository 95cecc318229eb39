/**
 * Captures with VLAN tags: a frame in a VLAN goes to the planes with its tag, or crosses the node's own VLAN device; none
 * is lost, whatever its tags say and wherever they end.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LinkType, PcapWriter } from "../src/capture/index.js";
import { Random } from "../src/linux/netfilter/random.fixture.js";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";
import { packet } from "./packets.js";
import { testSeed } from "./seed.js";
import { sharedDir } from "./shared.js";

const seed = testSeed("vlan");
const shared = sharedDir();
const NODE_MAC = "0a8ba1fa8472";
const WORLD_MAC = "020000000099";
const REQUEST = packet({ from: "203.0.113.9", to: "10.244.1.10", protocol: "TCP", sport: 40_000, dport: 80 });
const TO_NODE = packet({ from: "203.0.113.9", to: "192.168.50.11", protocol: "TCP", sport: 40_000, dport: 10_250 });
const ANSWER = packet({ from: "10.244.1.10", to: "203.0.113.9", protocol: "TCP", sport: 80, dport: 40_000, flags: 18 });
const Q100 = "81000064";
const lab = join(root, "traces/lab");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-vlan-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Captured {
  readonly device: string;
  readonly frames: readonly Uint8Array[];
  readonly linkType?: number;
  readonly littleEndian?: boolean;
}

const hex = (text: string): number[] => text.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
/** From the world to the node, or with `out` back. */
function ethernet(tags: string, bytes = REQUEST, out = false): Uint8Array {
  const [to, from] = out ? [WORLD_MAC, NODE_MAC] : [NODE_MAC, WORLD_MAC];
  return Uint8Array.from([...hex(to), ...hex(from), ...hex(tags), 8, 0, ...bytes]);
}

/** Node 1's facts, with VLAN devices on eth0. */
function factsWith(vlans: readonly { id: number; address?: string }[]): string {
  const facts = JSON.parse(readFileSync(join(lab, "node1.net.json"), "utf8")) as Record<string, unknown[]>;
  vlans.forEach(({ id, address }, at) => {
    const ifname = `eth0.${id}`;
    const link = { ifindex: 100 + at, ifname, link: "eth0", flags: ["BROADCAST", "UP"], mtu: 1500, address: "0a:8b:a1:fa:84:72" };
    facts["link"].push({ ...link, linkinfo: { info_kind: "vlan", info_data: { protocol: "802.1Q", id, flags: ["REORDER_HDR"] } } });
    if (address === undefined) return;
    facts["addr"].push({ ...link, addr_info: [{ family: "inet", local: address, prefixlen: 24 }] });
    facts["route4"].push({ dst: `${address.replace(/\d+$/, "0")}/24`, dev: ifname, prefsrc: address, flags: [] });
  });
  const path = join(folder, "node1.net.json");
  writeFileSync(path, JSON.stringify(facts));
  return path;
}

async function reportOf(captured: readonly Captured[], options: { facts?: string; bypass?: string } = {}): Promise<Report> {
  const captures = captured.map(({ device, frames, linkType = LinkType.Ethernet, littleEndian = true }, number) => {
    const writer = new PcapWriter({ linkType, littleEndian });
    frames.forEach((frame, at) => writer.write(1_772_366_400, 1e6 * at + 1000 * number, frame, 0, frame.length, frame.length));
    const file = join(folder, `${number}.pcap`);
    writeFileSync(file, writer.take());
    return device === "" ? `node1=${file}` : `node1:${device}=${file}`;
  });
  const config = join(folder, "cilium-config.yaml");
  writeFileSync(config, `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata: {vlan-bpf-bypass: "${
    options.bypass ?? ""}"}\n`);
  const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), config, options.facts ?? join(lab, "node1.net.json"),
    join(lab, "node2.net.json"), ...captures.flatMap((one) => ["-r", one]), "--cluster-cidr", "10.244.0.0/16",
    "--non-masquerade-cidr", "192.168.50.0/24", "-o", "json"]);
  expect(ran.stderr).not.toMatch(/^\s+at /m);
  return JSON.parse(ran.stdout) as Report;
}

const ids = (report: Report): string[] => report.findings.map((one) => one.id);

describe("a tagged frame", () => {
  it.each([["pcap", true], ["pcap of the other byte order", false]])("without a VLAN device is dropped on both sides (%s)", async (_, littleEndian) => {
    const report = await reportOf([{ device: "eth0", frames: [ethernet(Q100)], littleEndian }]);
    expect([report.packets.replayed, report.packets.same, report.undecided, ids(report)]).toEqual([1, 1, [], []]);
  });

  it("of a VLAN device that Cilium does not run at is dropped there alone, unless the option names it", async () => {
    const facts = factsWith([{ id: 100 }]);
    const capture = [{ device: "eth0", frames: [ethernet(Q100, TO_NODE)] }];
    expect(ids(await reportOf(capture, { facts }))).toEqual(["NODE-VLAN"]);
    expect(ids(await reportOf(capture, { facts, bypass: "7 100" }))).toEqual([]);
  });

  it("of one that Cilium runs at is no difference, and neither is a priority tag", async () => {
    const facts = factsWith([{ id: 100, address: "10.1.0.11" }]);
    const report = await reportOf([{ device: "eth0", frames: [ethernet(Q100), ethernet("8100e000")] }], { facts });
    expect([report.packets.replayed, report.packets.same, report.undecided, ids(report)]).toEqual([2, 2, [], []]);
  });

  it("captured at its VLAN device too is one packet, and there it meets the filter of the device below", async () => {
    const facts = factsWith([{ id: 100 }]);
    const raw = ethernet("");
    const both = await reportOf([{ device: "eth0.100", frames: [raw] }, { device: "eth0", frames: [ethernet(Q100)] }], { facts });
    expect([both.packets.records, both.packets.copies, both.packets.replayed, ids(both)]).toEqual([2, 1, 1, ["NODE-VLAN"]]);
    expect(ids(await reportOf([{ device: "eth0.100", frames: [raw] }], { facts }))).toEqual(["NODE-VLAN"]);
  });

  it("in a cooked capture is the same", async () => {
    const sll = Uint8Array.from([0, 0, 0, 1, 0, 6, ...hex(WORLD_MAC), 0, 0, ...hex(Q100), 8, 0, ...REQUEST]);
    const report = await reportOf([{ device: "eth0", frames: [sll], linkType: LinkType.LinuxSll }]);
    expect([report.packets.replayed, report.packets.same, report.undecided]).toEqual([1, 1, []]);
  });

  it("leaving without a device that puts the tag on, or behind another tag, is counted with a reason", async () => {
    const report = await reportOf([{ device: "eth0", frames: [ethernet(Q100, ANSWER, true), ethernet(`88a80007${Q100}`)] }]);
    expect(report.packets.undecided).toBe(2);
    expect(report.undecided.map(([reason]) => reason).sort()).toEqual([
      "a VLAN tag behind another is not judged", "it left in a VLAN that the node's facts name no device for"]);
  });

  it("is undecided where nothing is known of the node", async () => {
    const file = join(folder, "unknown.pcap");
    const writer = new PcapWriter({ linkType: LinkType.Ethernet });
    const frame = ethernet(Q100);
    writer.write(1_772_366_400, 0, frame, 0, frame.length, frame.length);
    writeFileSync(file, writer.take());
    const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), "-r", `node1:eth0=${file}`, "--cluster-cidr", "10.244.0.0/16",
      "-o", "json"]);
    const report = JSON.parse(ran.stdout) as Report;
    const why = "undecided: whether the node has a device for the frame's VLAN is not known";
    expect(report.undecided).toEqual([[`current: ${why}`, 1], [`target: ${why}`, 1]]);
  });
});

describe("random tags", () => {
  it("lose no packet and make no difference where the node has no VLAN device", async () => {
    const random = new Random(seed);
    const frames = Array.from({ length: 600 }, () => {
      const tags = Array.from({ length: random.below(4) }, () => {
        const tci = (random.below(16) << 12) | random.pick([0, 1, 100, 4095, random.below(4096)]);
        return random.pick(["8100", "8100", "88a8", "9100"]) + tci.toString(16).padStart(4, "0");
      });
      const out = random.chance(0.3);
      const frame = ethernet(tags.join(""), out ? ANSWER : REQUEST, out);
      return random.chance(0.2) ? frame.subarray(0, 12 + random.below(frame.length - 12)) : frame;
    });
    const report = await reportOf([{ device: "eth0", frames }]);
    const { packets } = report;
    const aside = packets.aside.reduce((sum, [, number]) => sum + number, 0);
    expect(packets.records).toBe(600);
    expect(packets.replayed + packets.copies + aside).toBe(600);
    expect(packets.same).toBeGreaterThan(100);
    expect(ids(report).filter((id) => id === "NODE-VLAN" || id === "UNEXPLAINED")).toEqual([]);
  });
});

describe.skipIf(shared === null)("third parties' captures (TWINPLANE_SHARED)", () => {
  it.each([["zeek__vlan-collisions.pcap", 28, 14], ["zeek__http-qinq-0.pcap", 0, 14]])("%s", async (name, same, stacked) => {
    const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), join(lab, "node1.net.json"), join(lab, "node2.net.json"),
      "-r", `node1:eth0=${join(shared!, "traces/wild", name)}`, "--cluster-cidr", "10.244.0.0/16", "-o", "json"]);
    const report = JSON.parse(ran.stdout) as Report;
    expect([report.packets.same, report.packets.undecided, report.packets.aside]).toEqual([same, stacked, []]);
    expect(report.undecided).toEqual([["a VLAN tag behind another is not judged", stacked]]);
  });
});
