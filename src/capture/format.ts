/** The seam between the capture reader and the two file formats. */
import type { CaptureCounters, CaptureError, CaptureRecord } from "./record.js";
import type { ByteWindow } from "./window.js";

/** What one attempt to read a record came to. */
export const Step = { Record: 0, NeedMore: 1, Failed: 2 } as const;
export type Step = (typeof Step)[keyof typeof Step];

/** A parser of one format, reading from a window that it shares with the reader. */
export interface FormatParser {
  readonly format: "pcap" | "pcapng";
  /** Set when `next` returned Failed. */
  readonly error: CaptureError | null;
  /** Fills `record`. After NeedMore nothing was consumed but whole records and blocks. */
  next(window: ByteWindow, record: CaptureRecord, counters: CaptureCounters): Step;
  /** What is cut short where the input ends with `left` bytes (> 0) that make no whole record. */
  cutShort(window: ByteWindow, left: number, counters: CaptureCounters): CaptureError;
}
