/** A growing run of bytes that writers append to, and hand over in pieces. */
export class ByteSink {
  private bytes = new Uint8Array(1 << 16);
  private used = 0;

  /** Bytes appended since the last `take`. */
  get length(): number {
    return this.used;
  }

  u8(value: number): void {
    this.room(1);
    this.bytes[this.used++] = value;
  }

  u16(value: number, littleEndian: boolean): void {
    this.room(2);
    this.bytes[this.used++] = littleEndian ? value : value >>> 8;
    this.bytes[this.used++] = littleEndian ? value >>> 8 : value;
  }

  /** The low 32 bits of `value`. */
  u32(value: number, littleEndian: boolean): void {
    this.u16(littleEndian ? value : value >>> 16, littleEndian);
    this.u16(littleEndian ? value >>> 16 : value, littleEndian);
  }

  append(source: Uint8Array, offset: number, length: number): void {
    this.room(length);
    this.bytes.set(source.subarray(offset, offset + length), this.used);
    this.used += length;
  }

  /** Zero bytes up to the next multiple of 4 of what was appended since the last `take`. */
  pad(): void {
    while ((this.used & 3) !== 0) this.u8(0);
  }

  /** Overwrites the 32-bit number at `at`. */
  patch32(at: number, value: number, littleEndian: boolean): void {
    const end = this.used;
    this.used = at;
    this.u32(value, littleEndian);
    this.used = end;
  }

  /** The bytes appended since the last `take`, as a copy. */
  take(): Uint8Array {
    const taken = this.bytes.slice(0, this.used);
    this.used = 0;
    return taken;
  }

  private room(length: number): void {
    if (this.used + length <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.used + length));
    larger.set(this.bytes.subarray(0, this.used));
    this.bytes = larger;
  }
}
