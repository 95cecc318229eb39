/**
 * pcapng time stamps: a 64-bit count of units that if_tsresol names, into seconds and nanoseconds.
 *
 * if_tsresol: bit 7 clear: units of 10^-n s; set: 2^-n s, n in bits 0 to 6. Exact for every n up to 127: the
 * usual resolutions go by long division in float64, the others through BigInt. Below a nanosecond it is cut,
 * not rounded.
 */
export class TimeUnit {
  sec = 0;
  fracNs = 0;
  /** Units in a second; 0: too fine for the fast way. */
  private readonly perSecond: number;
  /** Nanoseconds in a unit, for decimal units of a nanosecond and more; 0: the unit is finer, or binary. */
  private readonly nsPerUnit: number;
  private readonly exactPerSecond: bigint;

  /** `offset` is if_tsoffset, whole seconds. */
  constructor(
    tsresol: number,
    private readonly offset: number,
  ) {
    const exponent = tsresol & 0x7f;
    const binary = (tsresol & 0x80) !== 0;
    this.exactPerSecond = binary ? 2n ** BigInt(exponent) : 10n ** BigInt(exponent);
    // The fast way needs perSecond * 2^16 (long division) and rest * nsPerUnit below 2^53.
    const fast = binary ? exponent <= 23 : exponent <= 9;
    this.perSecond = fast ? Number(this.exactPerSecond) : 0;
    this.nsPerUnit = fast && !binary ? 1e9 / this.perSecond : 0;
  }

  /** Sets `sec` and `fracNs` from the upper and lower 32 bits of the count. */
  convert(high: number, low: number): void {
    if (this.perSecond === 0) return this.convertExactly(high, low);
    // Long division of the 64-bit count, 32 + 16 + 16 bits.
    const per = this.perSecond;
    const top = Math.floor(high / per);
    const middle = (high % per) * 65536 + (low >>> 16);
    const bottom = (middle % per) * 65536 + (low & 0xffff);
    const rest = bottom % per;
    this.sec = (top * 65536 + Math.floor(middle / per)) * 65536 + Math.floor(bottom / per) + this.offset;
    this.fracNs = this.nsPerUnit !== 0 ? rest * this.nsPerUnit : Math.floor((rest * 1e9) / per);
  }

  private convertExactly(high: number, low: number): void {
    const count = (BigInt(high) << 32n) | BigInt(low);
    this.sec = Number(count / this.exactPerSecond) + this.offset;
    this.fracNs = Number(((count % this.exactPerSecond) * 1_000_000_000n) / this.exactPerSecond);
  }
}
