/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624), equal bit for bit to what the
 * kernel's helpers leave in the packet: bpf_l3_csum_replace and bpf_l4_csum_replace (net/core/filter.c),
 * csum_fold and csum_partial (include/net/checksum.h).
 *
 * Sums are kept in the byte order of the wire words as they are loaded (little endian loads of big endian
 * words): one's complement addition does not care, and no swap is spent. A `Wsum` is an unfolded 32 bit sum.
 *
 * Does not look at lengths; the caller has checked them.
 */

/** Unfolded sum. */
export type Wsum = u32;

/**
 * Field value that stands for "no checksum" in UDP over IPv4; a computed zero is written as 0xffff (RFC 768).
 */
const MANGLED_ZERO: u16 = 0xffff;

export class Checksum {
  /** One's complement addition of 32 bit sums (csum_add). */
  @inline
  static add(a: Wsum, b: Wsum): Wsum {
    const sum = <u64>a + <u64>b;
    return <u32>(sum + (sum >> 32));
  }

  /** Folds to 16 bits and complements (csum_fold). */
  @inline
  static fold(sum: Wsum): u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    return <u16>~folded;
  }

  /** Sum over `length` bytes at `at`, added to `sum`; an odd last byte counts as if a zero byte followed. */
  static partial(at: usize, length: i32, sum: Wsum): Wsum {
    let wide: u64 = sum;
    const end = at + <usize>(length & ~3);
    for (; at < end; at += 4) wide += load<u32>(at);
    if (length & 2) {
      wide += load<u16>(at);
      at += 2;
    }
    if (length & 1) wide += load<u8>(at);
    wide = (wide & 0xffffffff) + (wide >> 32);
    wide = (wide & 0xffffffff) + (wide >> 32);
    return <u32>wide;
  }

  /** What replacing one 32 bit word by another adds to a sum (bpf_csum_diff over 4 bytes). */
  @inline
  static diff(from: u32, to: u32, sum: Wsum): Wsum {
    return Checksum.add(Checksum.add(~from, to), sum);
  }

  /** The same for the 16 bytes at `from` and `to`; IPv4 addresses are zero behind the first four. */
  static diffAddress(from: usize, to: usize, sum: Wsum): Wsum {
    sum = Checksum.diff(load<u32>(from), load<u32>(to), sum);
    sum = Checksum.diff(load<u32>(from, 4), load<u32>(to, 4), sum);
    sum = Checksum.diff(load<u32>(from, 8), load<u32>(to, 8), sum);
    return Checksum.diff(load<u32>(from, 12), load<u32>(to, 12), sum);
  }

  /** Applies a diff to the checksum field at `at` (csum_replace_by_diff). */
  @inline
  static replaceByDiff(at: usize, diff: Wsum): void {
    store<u16>(at, Checksum.fold(Checksum.add(diff, ~<u32>load<u16>(at))));
  }

  /** Replaces a 16 bit word under the checksum field at `at` (csum_replace2, used for IPv4 headers). */
  @inline
  static replace2(at: usize, from: u16, to: u16): void {
    const lessOld = Checksum.add16(~load<u16>(at), ~from);
    store<u16>(at, ~Checksum.add16(lessOld, to));
  }

  /**
   * bpf_l4_csum_replace with size 0. `mangledZero` is BPF_F_MARK_MANGLED_0 (UDP): a zero field stays zero, a
   * zero result becomes 0xffff. `pseudo`: the words belong to the pseudo header. `partial`: CHECKSUM_PARTIAL,
   * the field holds the folded pseudo-header sum that offload completes later, so only pseudo-header words
   * change it.
   */
  static l4ReplaceByDiff(at: usize, diff: Wsum, mangledZero: bool, pseudo: bool, partial: bool): void {
    if (mangledZero && !partial && load<u16>(at) == 0) return;
    if (!partial) Checksum.replaceByDiff(at, diff);
    else if (pseudo) store<u16>(at, ~Checksum.fold(Checksum.add(diff, <u32>load<u16>(at))));
    if (mangledZero && load<u16>(at) == 0) store<u16>(at, MANGLED_ZERO);
  }

  /** bpf_l4_csum_replace with size 2 or 4 outside the pseudo header: a port or an ICMP id. */
  static l4Replace(at: usize, from: u32, to: u32, mangledZero: bool, partial: bool): void {
    if (partial) return;
    if (mangledZero && load<u16>(at) == 0) return;
    const sum = Checksum.add(Checksum.add(~<u32>load<u16>(at), ~from), to);
    store<u16>(at, Checksum.fold(sum));
    if (mangledZero && load<u16>(at) == 0) store<u16>(at, MANGLED_ZERO);
  }

  @inline
  private static add16(a: u16, b: u16): u16 {
    const sum = <u16>(a + b);
    return sum < b ? <u16>(sum + 1) : sum;
  }
}
