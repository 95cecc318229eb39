/**
 * One recording in every form a capture comes in: what was seen decides, not how it was written down. The bundled
 * recordings are SLL2; here they are written again as SLL, as pcapng with one interface a device, as Ethernet and raw
 * IP captures of single devices, and replayed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CaptureReader, LinkType, PcapngWriter, PcapWriter } from "../src/capture/index.js";
import { runSession, type Session } from "../src/session.js";
import { caseInput } from "./lab.js";

const LAB = join(import.meta.dirname, "..", "traces", "lab");
/** Of `ipv6` the uplinks alone are not asked: its datagrams are cut on pod links that such a capture does not show. */
const STORIES = ["clusterip-tcp", "nodeport-cluster", "ipv6", "hairpin"];
const NODES = ["node1", "node2"];
const SLL2_HEADER = 20;

interface Recorded {
  readonly sec: number;
  readonly ns: number;
  readonly ifindex: number;
  readonly out: boolean;
  readonly packetType: number;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

type Writing = (records: readonly Recorded[], node: string) => { device: string; bytes: Uint8Array };

const asSll: Writing = (records) => {
  const writer = new PcapWriter({ linkType: LinkType.LinuxSll });
  for (const one of records) {
    const frame = new Uint8Array(16 + one.bytes.length);
    const view = new DataView(frame.buffer);
    view.setUint16(0, one.packetType);
    view.setUint16(14, one.etherType);
    frame.set(one.bytes, 16);
    writer.write(one.sec, one.ns, frame, 0, frame.length, frame.length);
  }
  return { device: "", bytes: writer.take() };
};

const asPcapng: Writing = (records, node) => {
  const writer = new PcapngWriter();
  const ids = new Map<number, number>();
  for (const one of records) {
    const id = ids.get(one.ifindex) ?? writer.addInterface({ linkType: LinkType.Raw, name: deviceName(node, one.ifindex) });
    ids.set(one.ifindex, id);
    if (one.etherType !== 0x0800 && one.etherType !== 0x86dd) continue;
    writer.write({
      interfaceId: id, timeSec: one.sec, timeFracNs: one.ns, bytes: one.bytes, offset: 0, capturedLength: one.bytes.length,
      wireLength: one.bytes.length, direction: one.out ? 1 : 0, packetType: one.packetType,
    });
  }
  return { device: "", bytes: writer.take() };
};

/** The uplink alone, with the MAC addresses that say which way a frame went. */
const asEthernet: Writing = (records, node) => {
  const writer = new PcapWriter({ linkType: LinkType.Ethernet, nanoseconds: false, littleEndian: false });
  const uplink = deviceIndex(node, "eth0");
  const mac = deviceMac(node, "eth0");
  for (const one of records) {
    if (one.ifindex !== uplink) continue;
    const frame = new Uint8Array(14 + one.bytes.length);
    frame.set(mac, one.out ? 6 : 0);
    new DataView(frame.buffer).setUint16(12, one.etherType);
    frame.set(one.bytes, 14);
    writer.write(one.sec, one.ns, frame, 0, frame.length, frame.length);
  }
  return { device: "eth0", bytes: writer.take() };
};

/** The uplink alone without any header: addresses must say which way. */
const asRaw: Writing = (records, node) => {
  const writer = new PcapWriter({ linkType: LinkType.Raw });
  const uplink = deviceIndex(node, "eth0");
  for (const one of records) {
    if (one.ifindex !== uplink || (one.etherType !== 0x0800 && one.etherType !== 0x86dd)) continue;
    writer.write(one.sec, one.ns, one.bytes, 0, one.bytes.length, one.bytes.length);
  }
  return { device: "eth0", bytes: writer.take() };
};

/** Devices of pods that the stories' flows cross. */
const POD_DEVICES: Readonly<Record<string, readonly string[]>> = { node1: ["v-cli-a", "v-web-a"], node2: ["v-cli-b", "v-web-b"] };

/** One pod's device as raw IP; with `says`, each packet says which way it went. */
function ofPod(which: 0 | 1, says: boolean): Writing {
  return (records, node) => {
    const device = POD_DEVICES[node][which];
    const writer = new PcapngWriter();
    const interfaceId = writer.addInterface({ linkType: LinkType.Raw, name: device });
    for (const one of records) {
      if (one.ifindex !== deviceIndex(node, device) || (one.etherType !== 0x0800 && one.etherType !== 0x86dd)) continue;
      writer.write({ interfaceId, timeSec: one.sec, timeFracNs: one.ns, bytes: one.bytes, offset: 0, capturedLength: one.bytes.length,
        wireLength: one.bytes.length, ...(says ? { direction: one.out ? 1 : 0, packetType: one.packetType } : {}) });
    }
    return { device, bytes: writer.take() };
  };
}

it.each<[string, 0 | 1]>([["clusterip-tcp", 0], ["clusterip-tcp", 1], ["nodeport-cluster", 1], ["ipv6", 0]])(
  "pods' devices alone in %s (%i), as raw IP that says nothing: read as those that say which way", async (story, which) => {
    const said = summary(await replay(story, ofPod(which, true)));
    expect(said.replayed).toBeGreaterThan(0);
    expect(said.disagreed).toBe(0);
    expect(summary(await replay(story, ofPod(which, false)))).toEqual(said);
  });

it("what is neither from the pod nor for it is not judged, and is said", async () => {
  const foreign: Writing = (records, node) => ofPod(0, false)(records.map((one) =>
    (one.etherType === 0x0800 ? { ...one, bytes: withAddresses(one.bytes, [203, 0, 113, 7], [203, 0, 113, 8]) } : one)), node);
  const { report } = await replay("clusterip-tcp", foreign);
  expect(report.packets.replayed).toBeGreaterThan(0);
  expect(report.packets.undecided).toBe(report.packets.replayed);
  expect(report.undecided.map(([why]) => why)).toEqual([expect.stringContaining("does not say which way it crossed the pod's device")]);
});

function withAddresses(bytes: Uint8Array, source: readonly number[], destination: readonly number[]): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed.set(source, 12);
  changed.set(destination, 16);
  return changed;
}

describe.each(STORIES)("%s", (story) => {
  it("as SLL and as pcapng with interface names: the same as SLL2", async () => {
    const wanted = summary(await replay(story, null));
    expect(wanted.disagreed).toBe(0);
    expect(wanted.agreed).toBeGreaterThan(4);
    expect(summary(await replay(story, asSll))).toEqual(wanted);
    expect(summary(await replay(story, asPcapng))).toEqual(wanted);
  });
});

describe.each(STORIES.filter((story) => story !== "ipv6"))("%s", (story) => {
  it("uplinks alone, as Ethernet and as raw IP: both read alike, and what is seen agrees", async () => {
    const ethernet = summary(await replay(story, asEthernet));
    expect(ethernet.disagreed).toBe(0);
    expect(summary(await replay(story, asRaw))).toEqual(ethernet);
  });
});

async function replay(story: string, writing: Writing | null): Promise<Session> {
  const input = caseInput(LAB, story);
  if (writing === null) return runSession(input);
  const captures = NODES.map((node) => {
    const { device, bytes } = writing(recordsOf(join(LAB, story, `${node}.any.pcap`)), node);
    return { file: `${node}.any.pcap`, node, device, chunks: [bytes][Symbol.iterator]() };
  });
  return runSession({ ...input, captures });
}

function summary(session: Session): Record<string, unknown> {
  const { packets, truth, planes, findings } = session.report;
  return {
    replayed: packets.replayed, copies: packets.copies, same: packets.same, agreed: truth.agreed, disagreed: truth.disagreed,
    closed: planes.map((plane) => plane.flowsClosed), findings: findings.map((one) => [one.id, one.flows, one.packets]),
  };
}

function recordsOf(file: string): Recorded[] {
  const reader = new CaptureReader();
  const found: Recorded[] = [];
  reader.push(new Uint8Array(readFileSync(file)));
  reader.end();
  while (reader.next()) {
    const { bytes, offset, capturedLength, timeSec, timeFracNs, interfaceIndex, packetType } = reader.record;
    found.push({
      sec: timeSec, ns: timeFracNs, ifindex: interfaceIndex, packetType, out: packetType === 4,
      etherType: (bytes[offset] << 8) | bytes[offset + 1], bytes: bytes.slice(offset + SLL2_HEADER, offset + capturedLength),
    });
  }
  return found;
}

interface Link {
  readonly ifindex: number;
  readonly ifname: string;
  readonly address: string;
}

function links(node: string): Link[] {
  return (JSON.parse(readFileSync(join(LAB, `${node}.net.json`), "utf8")) as { link: Link[] }).link;
}

function deviceName(node: string, index: number): string {
  return links(node).find((link) => link.ifindex === index)!.ifname;
}

function deviceIndex(node: string, name: string): number {
  return links(node).find((link) => link.ifname === name)!.ifindex;
}

function deviceMac(node: string, name: string): Uint8Array {
  return Uint8Array.from(links(node).find((link) => link.ifname === name)!.address.split(":").map((part) => Number.parseInt(part, 16)));
}
