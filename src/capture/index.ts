/** Captures in and out: the reader, what the first bytes of a file say, and the writers. */
export { readChunks, readStream } from "./read-chunks.js";
export { captureProblems, type CaptureEnd, CaptureReader } from "./reader.js";
export {
  CaptureCounters,
  type CaptureError,
  CaptureRecord,
  PACKET_TYPE_UNKNOWN,
  SeenDirection,
} from "./record.js";
export { FileKind, SNIFF_BYTES, sniff } from "./sniff.js";
export { LinkType, linkTypeSupported, linkTypeText } from "./linktype.js";
export { PcapWriter } from "./pcap-writer.js";
export { PcapngWriter } from "./pcapng-writer.js";
