/**
 * Reads a capture from chunks of bytes, record by record, in bounded memory. The format is told by its magic.
 *
 *     const reader = new CaptureReader();
 *     for (const chunk of chunks) { reader.push(chunk); while (reader.next()) use(reader.record); }
 *     const end = reader.finish();
 *
 * Nothing in the input makes it throw: what can be read before a damage is handed out, then `error` says
 * where reading stopped and why, and what follows is ignored. It does not unpack; `sniff` tells the caller
 * what to unpack.
 */
import { readCookedPoint } from "../wire/link.js";
import type { Problem } from "../cluster/problem.js";
import type { FormatParser } from "./format.js";
import { Step } from "./format.js";
import { LinkType, linkTypeText } from "./linktype.js";
import { PCAP_FILE_HEADER, PcapParser } from "./pcap.js";
import { PcapngParser } from "./pcapng.js";
import type { CaptureError } from "./record.js";
import { CaptureCounters, CaptureRecord, PACKET_TYPE_UNKNOWN, SeenDirection } from "./record.js";
import { FileKind, SNIFF_BYTES, sniff } from "./sniff.js";
import { ByteWindow } from "./window.js";

/** How reading ended. */
export interface CaptureEnd {
  /** null: the file was not recognised. */
  readonly format: "pcap" | "pcapng" | null;
  readonly counters: CaptureCounters;
  /** null: read to the end. */
  readonly error: CaptureError | null;
  /** Packets that were not handed out because of their link type: LINKTYPE_ number and count, ascending. */
  readonly unsupported: ReadonlyArray<readonly [linkType: number, packets: number]>;
}

export class CaptureReader {
  readonly record = new CaptureRecord();
  readonly counters = new CaptureCounters();
  error: CaptureError | null = null;
  private readonly window = new ByteWindow();
  private parser: FormatParser | null = null;
  private pcapng: PcapngParser | null = null;
  private ended = false;
  private drained = false;
  private lastSec = Number.NEGATIVE_INFINITY;
  private lastFracNs = 0;

  /** Adds the next bytes of the capture. The chunk must not change until `next` has returned false. */
  push(chunk: Uint8Array): void {
    if (this.ended) throw new Error("a capture chunk after the end of the capture");
    this.drained = false;
    if (this.error === null) this.window.push(chunk);
  }

  /** Says that no more bytes follow. */
  end(): void {
    if (!this.ended) this.drained = false;
    this.ended = true;
  }

  /** Fills `record` with the next one; false: push more, or, after `end`, there is none. */
  next(): boolean {
    if (this.error === null && (this.parser !== null || this.open())) {
      const step = this.step(this.parser as FormatParser);
      if (step === Step.Record) return true;
      if (step === Step.NeedMore && this.ended) this.settle();
    }
    this.drained = true;
    return false;
  }

  /** Ends the capture and tells how it went. Every record must have been taken with `next`. */
  finish(): CaptureEnd {
    this.end();
    if (!this.drained && this.next()) throw new Error("a capture was finished with records still to read");
    const unsupported = [...(this.pcapng?.unsupported ?? [])].sort((a, b) => a[0] - b[0]);
    return { format: this.parser?.format ?? null, counters: this.counters, error: this.error, unsupported };
  }

  private step(parser: FormatParser): Step {
    const record = this.record;
    record.interfaceIndex = 0;
    record.direction = SeenDirection.Unknown;
    record.packetType = PACKET_TYPE_UNKNOWN;
    record.optionsOffset = record.optionsEnd = 0;
    const step = parser.next(this.window, record, this.counters);
    if (step === Step.Record) this.account(record);
    else if (step === Step.Failed) this.error = parser.error;
    return step;
  }

  private account(record: CaptureRecord): void {
    const counters = this.counters;
    if (record.capturedLength < record.wireLength) counters.snapTruncated++;
    else if (record.wireLength < record.capturedLength) {
      counters.wireShorterThanCaptured++;
      record.wireLength = record.capturedLength;
    }
    if (record.wireLength === 0) counters.empty++;
    if (record.fcsLength !== 0) removeFcs(record);
    if (record.linkType === LinkType.LinuxSll || record.linkType === LinkType.LinuxSll2) {
      readCookedPoint(record.linkType, record.bytes, record.offset, record.capturedLength, record);
    }
    if (!record.hasTime) {
      counters.noTime++;
      return;
    }
    if (
      record.timeSec < this.lastSec ||
      (record.timeSec === this.lastSec && record.timeFracNs < this.lastFracNs)
    ) {
      counters.timeWentBack++;
    }
    this.lastSec = record.timeSec;
    this.lastFracNs = record.timeFracNs;
  }

  /** Recognises the format and reads what stands before the first record; false: needs more, or failed. */
  private open(): boolean {
    const window = this.window;
    if (!window.ensure(4)) {
      if (!this.ended) return false;
      return this.refuse(
        window.available === 0 ? "file is empty" : `file header cut short, ${window.available} bytes`,
      );
    }
    const kind = sniff(window.bytes.subarray(window.pos, Math.min(window.end, window.pos + SNIFF_BYTES)));
    if (kind === FileKind.Pcapng) {
      this.pcapng = new PcapngParser();
      this.parser = this.pcapng;
      return true;
    }
    if (kind === FileKind.Pcap) {
      if (!window.ensure(PCAP_FILE_HEADER)) {
        return (
          this.ended && this.refuse(`file header cut short, ${window.available} of ${PCAP_FILE_HEADER} bytes`)
        );
      }
      const opened = PcapParser.open(window);
      if (opened instanceof PcapParser) this.parser = opened;
      else this.error = opened;
      return this.error === null;
    }
    // A tar archive is told by bytes far behind the first four.
    if (!window.ensure(SNIFF_BYTES) && !this.ended) return false;
    return this.refuse(notACapture(window.bytes.subarray(window.pos, window.end)));
  }

  /** No more input and no whole record: a clean end only where nothing is left over. */
  private settle(): void {
    const left = this.window.available;
    if (left > 0 && this.error === null)
      this.error = (this.parser as FormatParser).cutShort(this.window, left, this.counters);
  }

  private refuse(what: string): false {
    this.error = { byteOffset: this.window.offset, recordNumber: 0, what };
    return false;
  }
}

/** What a user should know of how reading went, as Problems of this file. */
export function captureProblems(file: string, end: CaptureEnd): Problem[] {
  const where = { file, line: 0 };
  const problems: Problem[] = [];
  if (end.error !== null) {
    const { byteOffset, what } = end.error;
    const before =
      end.counters.records === 1
        ? "the record before it was used"
        : `the ${end.counters.records} records before it were used`;
    problems.push({
      where,
      severity: "error",
      what: `byte ${byteOffset}: ${what}${end.counters.records > 0 ? `; ${before}` : ""}`,
    });
  }
  for (const [linkType, packets] of end.unsupported) {
    problems.push({
      where,
      severity: "warning",
      what: `link type ${linkTypeText(linkType)} is not supported; ${packets} packets not read`,
    });
  }
  return problems;
}

/** Takes the frame check sequence off what was captured of it. */
function removeFcs(record: CaptureRecord): void {
  const wire = Math.max(0, record.wireLength - record.fcsLength);
  const captured = Math.min(record.capturedLength, wire);
  record.fcsLength = record.capturedLength - captured;
  record.wireLength = wire;
  record.capturedLength = captured;
}

function notACapture(first: Uint8Array): string {
  const kind = sniff(first);
  if (kind === FileKind.Text) return "unknown magic: this is text, not a pcap or pcapng capture";
  if (kind === FileKind.Unknown) {
    const magic = Array.from(first.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return `unknown magic ${magic}: not a pcap or pcapng capture`;
  }
  return `this is a ${kind} file, not a pcap or pcapng capture`;
}
