import { CaptureReader } from "../src/capture/index.js";
import { PcapWriter } from "../src/capture/pcap-writer.js";
import { type Figure, nsPerOperation, perSecond, type Question } from "./bench.js";

const PACKETS = 400_000;
const PACKET_BYTES = 268;
const CHUNK = 1 << 20;

export const question: Question = {
  question: "How fast are captures read?",
  async run(): Promise<Figure[]> {
    const file = capture();
    const ns = await nsPerOperation("classic pcap, from memory", PACKETS, () => read(file), `${PACKET_BYTES} bytes a packet`);
    return [ns, perSecond(ns, "classic pcap", "packets/s"), perSecond(ns, "classic pcap", "MB/s", (PACKET_BYTES + 16) / 1e6)];
  },
};

function capture(): Uint8Array {
  const writer = new PcapWriter({ linkType: 1 });
  const packet = new Uint8Array(PACKET_BYTES).fill(0x5a);
  for (let index = 0; index < PACKETS; index++) {
    writer.write(1_700_000_000 + Math.floor(index / 1000), (index % 1000) * 1_000_000, packet, 0, PACKET_BYTES, PACKET_BYTES);
  }
  return writer.take();
}

function read(file: Uint8Array): number {
  const reader = new CaptureReader();
  let bytes = 0;
  for (let at = 0; at < file.length; at += CHUNK) {
    reader.push(file.subarray(at, Math.min(file.length, at + CHUNK)));
    while (reader.next()) bytes += reader.record.capturedLength;
  }
  if (reader.finish().counters.records !== PACKETS) throw new Error("records are missing");
  return bytes;
}
