/** A line on a terminal that says how far reading is; silent in a pipe. */
import type { WriteStream } from "node:tty";

export class Progress {
  private readonly started = Date.now();
  private shown = false;

  constructor(private readonly stream: WriteStream | NodeJS.WriteStream) {}

  show(records: number): void {
    if (this.stream.isTTY !== true) return;
    this.shown = true;
    const seconds = (Date.now() - this.started) / 1000;
    const rate = Math.round(records / Math.max(seconds, 0.001));
    this.stream.write(`\r\x1b[K${records.toLocaleString("en")} records, ${rate.toLocaleString("en")}/s`);
  }

  clear(): void {
    if (this.shown) this.stream.write("\r\x1b[K");
  }
}
