import { Readable } from "node:stream";
import pcapParser from "pcap-parser";
import { CaptureReader } from "../src/capture/index.js";
import { PcapWriter } from "../src/capture/pcap-writer.js";
import { type Figure, nsPerOperation, perSecond, type Question, single } from "./bench.js";

const PACKETS = 400_000;
const PACKET_BYTES = 268;
/** What fs streams hand out by default. */
const CHUNK = 1 << 16;

export const question: Question = {
  question: "How fast are captures read?",
  async run(): Promise<Figure[]> {
    const file = capture();
    const note = `classic pcap, µs, from memory in pieces of 64 KiB; ${PACKET_BYTES} bytes a packet`;
    const ours = await nsPerOperation("a record", PACKETS, () => read(file), note);
    const theirs = await nsPerOperation("a record, npm pcap-parser 0.2.1", PACKETS, () => readOther(file), note);
    return [
      ours, perSecond(ours, "records", "records/s"), perSecond(ours, "bytes", "MB/s", (PACKET_BYTES + 16) / 1e6),
      theirs, perSecond(theirs, "records, pcap-parser", "records/s"),
      single("pcap-parser's time, in times ours", theirs.median / ours.median, "x", "middle by middle"),
    ];
  },
};

function capture(): Uint8Array {
  const writer = new PcapWriter({ linkType: 1, nanoseconds: false });
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

function readOther(file: Uint8Array): Promise<number> {
  function* chunks(): Generator<Buffer> {
    for (let at = 0; at < file.length; at += CHUNK) yield Buffer.from(file.buffer, file.byteOffset + at, Math.min(CHUNK, file.length - at));
  }
  return new Promise((resolve, reject) => {
    let bytes = 0;
    let packets = 0;
    const parser = pcapParser.parse(Readable.from(chunks(), { objectMode: false }));
    parser.on("packet", ({ header }) => {
      packets++;
      bytes += header.capturedLength;
    });
    parser.on("end", () => (packets === PACKETS ? resolve(bytes) : reject(new Error("records are missing"))));
    parser.on("error", reject);
  });
}
