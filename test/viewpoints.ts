/**
 * Points of view: the captures of a story as if taken at fewer places. Of `-i any` recordings, one node's alone, or
 * what one device saw, rewritten as a capture of that device.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CaptureReader, LinkType, PcapngWriter } from "../src/capture/index.js";
import { SeenDirection } from "../src/capture/record.js";
import type { SessionInput } from "../src/session.js";

export type Captures = SessionInput["captures"];

export interface Viewpoint {
  /** `node1`, `node1:eth0`, `node1:eth0 ethernet`. */
  readonly name: string;
  readonly node: string;
  captures(): Captures;
}

/** The input as whoever captured at that point alone has it: without the other nodes' conntrack entries, too. */
export function seenFrom(input: SessionInput, viewpoint: Viewpoint): SessionInput {
  const conntrack = new Map([...input.conntrack].filter(([node]) => node === viewpoint.node));
  return { ...input, captures: viewpoint.captures(), conntrack };
}

const SLL2_HEADER = 20;
/** Of eth0 in the lab. */
const UPLINK_INDEX = 2;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;

/** Every single point of view of the captures `nodeN.any.pcap` in a folder; node facts are in `area`. */
export function viewpointsOf(folder: string, area: string): Viewpoint[] {
  return ["node1", "node2"].flatMap((node) => {
    const file = join(folder, `${node}.any.pcap`);
    if (!existsSync(file)) return [];
    const bytes = readFileSync(file);
    const whole: Viewpoint = { name: node, node, captures: () => [{ file, node, device: "", chunks: [bytes].values() }] };
    const devices = new Map(netFile(area, node).addr.filter((one) => one.ifname !== "lo").map((one) => [one.ifindex, one.ifname]));
    const alone = devicesIn(bytes).filter((index) => devices.has(index)).map((index): Viewpoint => {
      const name = devices.get(index)!;
      return { name: `${node}:${name}`, node, captures: () => [{ file: `${node}.${name}.pcapng`, node, device: "",
        chunks: [ofDevice(bytes, index, name)].values() }] };
    });
    const uplink = devices.has(UPLINK_INDEX) ? [ethernetView(folder, area, node, devices.get(UPLINK_INDEX)!)] : [];
    return [whole, ...alone, ...uplink];
  });
}

/** The same as an Ethernet capture of the device, which leaves the direction to the MAC addresses. */
function ethernetView(folder: string, area: string, node: string, device: string): Viewpoint {
  const bytes = readFileSync(join(folder, `${node}.any.pcap`));
  const found = netFile(area, node).addr.find((one) => one.ifname === device);
  if (found === undefined) throw new Error(`${node} has no ${device}`);
  return { name: `${node}:${device} ethernet`, node, captures: () => [{ file: `${node}.${device}.pcapng`, node, device,
    chunks: [ofDevice(bytes, found.ifindex, "", found.address)].values() }] };
}

interface NetFile {
  readonly addr: readonly { readonly ifindex: number; readonly ifname: string; readonly address: string }[];
}

function netFile(area: string, node: string): NetFile {
  return JSON.parse(readFileSync(join(area, `${node}.net.json`), "utf8")) as NetFile;
}

function* recordsOf(bytes: Uint8Array): Iterable<CaptureReader["record"]> {
  const reader = new CaptureReader();
  reader.push(bytes);
  reader.end();
  while (reader.next()) yield reader.record;
}

function devicesIn(bytes: Uint8Array): number[] {
  const found = new Set<number>();
  for (const record of recordsOf(bytes)) if (isIp(record)) found.add(record.interfaceIndex);
  return [...found].sort((a, b) => a - b);
}

/** What one device saw; with its MAC address as Ethernet frames without a direction, else raw packets that say theirs. */
function ofDevice(bytes: Uint8Array, index: number, name: string, mac: string | null = null): Uint8Array {
  const writer = new PcapngWriter();
  const interfaceId = writer.addInterface({ linkType: mac === null ? LinkType.Raw : LinkType.Ethernet, name });
  for (const record of recordsOf(bytes)) {
    if (record.interfaceIndex !== index || !isIp(record)) continue;
    const { timeSec, timeFracNs, capturedLength, wireLength, direction, packetType } = record;
    const packet = record.bytes.subarray(record.offset + SLL2_HEADER, record.offset + capturedLength);
    const header = mac === null ? [] : ethernetHeader(mac, direction === SeenDirection.Out, etherTypeOf(record));
    const frame = Uint8Array.from([...header, ...packet]);
    writer.write({ interfaceId, timeSec, timeFracNs, bytes: frame, offset: 0, capturedLength: frame.length,
      wireLength: wireLength - SLL2_HEADER + header.length, ...(mac === null ? { direction, packetType } : {}) });
  }
  return writer.take();
}

function ethernetHeader(mac: string, out: boolean, etherType: number): number[] {
  const own = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const other = [2, 0, 0, 0, 0, 99];
  return [...(out ? other : own), ...(out ? own : other), etherType >> 8, etherType & 255];
}

function isIp(record: CaptureReader["record"]): boolean {
  const etherType = etherTypeOf(record);
  return etherType === IPV4 || etherType === IPV6;
}

function etherTypeOf({ bytes, offset }: CaptureReader["record"]): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}
