/**
 * A window on a stream of chunks that makes any next N bytes contiguous.
 *
 * Inside a chunk nothing is copied. A run of bytes that straddles chunks is put together in a carry buffer
 * that grows as bytes arrive, never by what a length field promises.
 */
export class ByteWindow {
  /** The bytes in view: `bytes[pos] … bytes[end - 1]` are the next ones of the stream. */
  bytes: Uint8Array = new Uint8Array(0);
  pos = 0;
  end = 0;
  /** Stream offset of `bytes[0]`; may be negative in a carry. */
  private base = 0;
  private readonly queue: Uint8Array[] = [];
  private carry = new Uint8Array(0);

  /** Stream offset of the next byte. */
  get offset(): number {
    return this.base + this.pos;
  }

  /** Bytes that can be read without more input. */
  get available(): number {
    let count = this.end - this.pos;
    for (const chunk of this.queue) count += chunk.length;
    return count;
  }

  /** Adds a chunk. It must stay as it is until `ensure` has returned false. */
  push(chunk: Uint8Array): void {
    // Always a plain Uint8Array: a mix with Buffer would make every read of a byte polymorphic.
    if (chunk.length > 0) this.queue.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
  }

  /** Makes the next `count` bytes contiguous at `pos`; false where the stream has not brought them yet. */
  ensure(count: number): boolean {
    return this.end - this.pos >= count || this.gather(count);
  }

  private gather(count: number): boolean {
    while (this.end - this.pos < count) {
      const have = this.end - this.pos;
      const chunk = this.queue.shift();
      if (chunk === undefined) {
        if (this.bytes !== this.carry && have > 0) this.moveToCarry(have, have);
        return false;
      }
      if (have === 0) {
        this.base += this.pos;
        this.bytes = chunk;
        this.pos = 0;
        this.end = chunk.length;
        continue;
      }
      const take = Math.min(count - have, chunk.length);
      this.moveToCarry(have, have + take);
      this.carry.set(chunk.subarray(0, take), this.end);
      this.end += take;
      if (take < chunk.length) this.queue.unshift(chunk.subarray(take));
    }
    return true;
  }

  /** Moves the `have` bytes in view into the carry, which gets room for `room`. */
  private moveToCarry(have: number, room: number): void {
    if (this.bytes === this.carry && this.pos + room <= this.carry.length) return;
    const from = this.bytes.subarray(this.pos, this.end);
    const target =
      room <= this.carry.length ? this.carry : new Uint8Array(Math.max(room, this.carry.length * 2, 4096));
    target.set(from);
    this.base += this.pos;
    this.carry = target;
    this.bytes = target;
    this.pos = 0;
    this.end = have;
  }
}

/** 16-bit number at `at`. */
export function u16(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return littleEndian ? bytes[at] | (bytes[at + 1] << 8) : (bytes[at] << 8) | bytes[at + 1];
}

/** Unsigned 32-bit number at `at`. */
export function u32(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return littleEndian
    ? (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
    : ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
