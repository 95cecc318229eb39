/**
 * Keys as bytes: hash, compare, copy. Whole words first, then a tail of four, two and one bytes. Sizes are multiples
 * of eight for every key on the packet path; the tail serves small and user-made keys.
 */

/** Odd constants without structure (the golden ratio's digits and their relatives). */
const MULTIPLIER: u64 = 0x9e3779b97f4a7c15;
const STEP: u64 = 0xd1b54a32d192ed02;
const WHITEN: u64 = 0xa0761d6478bd642f;

export class Bytes {
  /**
   * Sum of each word times an odd constant of its own, then mixed: the products do not wait for each other. The
   * high half picks a group, the low seven bits are the tag (see groups.ts).
   */
  static hash(key: usize, size: u32): u64 {
    // Keys of conntrack and NAT, of services and endpoints, of devices and counters: without a loop.
    if (size == 24) return Bytes.mix(24 + Bytes.product(key, 0) + Bytes.product(key, 1) + Bytes.product(key, 2));
    if (size == 8) return Bytes.mix(8 + Bytes.product(key, 0));
    if (size == 40) return Bytes.mix(40 + Bytes.product(key, 0) + Bytes.product(key, 1) + Bytes.product(key, 2)
      + Bytes.product(key, 3) + Bytes.product(key, 4));
    let multiplier = MULTIPLIER;
    let sum: u64 = size;
    const words = key + <usize>(size & ~7);
    let at = key;
    for (; at < words; at += 8) {
      sum += (load<u64>(at) ^ WHITEN) * multiplier;
      multiplier += STEP;
    }
    if ((size & 7) != 0) sum += (Bytes.tail(at, size & 7) ^ WHITEN) * multiplier;
    return Bytes.mix(sum);
  }

  @inline
  private static product(key: usize, word: u64): u64 {
    return (load<u64>(key + <usize>(word << 3)) ^ WHITEN) * (MULTIPLIER + word * STEP);
  }

  /** What `zeros` zero words, after two others, add to the sum of `hashTwo`. */
  static zeroWords(zeros: u32): u64 {
    let sum: u64 = 0;
    for (let word: u64 = 2; word < <u64>zeros + 2; word++) sum += WHITEN * (MULTIPLIER + word * STEP);
    return sum;
  }

  /** As `hash` of the words a, b and zero words, whose share is `rest`: the size plus `zeroWords`. */
  @inline
  static hashTwo(a: u64, b: u64, rest: u64): u64 {
    return Bytes.mix(rest + (a ^ WHITEN) * MULTIPLIER + (b ^ WHITEN) * (MULTIPLIER + STEP));
  }

  @inline
  static mix(sum: u64): u64 {
    const folded = (sum ^ (sum >> 32)) * WHITEN;
    return folded ^ (folded >> 29);
  }

  /** The last one to seven bytes as a number. */
  private static tail(at: usize, size: u32): u64 {
    let word: u64 = 0;
    if ((size & 4) != 0) {
      word = load<u32>(at);
      at += 4;
    }
    if ((size & 2) != 0) {
      word = (word << 16) | load<u16>(at);
      at += 2;
    }
    if ((size & 1) != 0) word = (word << 8) | load<u8>(at);
    return word;
  }

  static equal(a: usize, b: usize, size: u32): bool {
    if (size == 40) {
      const first = v128.xor(v128.load(a), v128.load(b));
      const second = v128.xor(v128.load(a, 16), v128.load(b, 16));
      return !v128.any_true(v128.or(first, second)) && load<u64>(a, 32) == load<u64>(b, 32);
    }
    if (size == 24) {
      return !v128.any_true(v128.xor(v128.load(a), v128.load(b))) && load<u64>(a, 16) == load<u64>(b, 16);
    }
    if (size == 8) return load<u64>(a) == load<u64>(b);
    const pairs = a + <usize>(size & ~15);
    while (a < pairs) {
      if (v128.any_true(v128.xor(v128.load(a), v128.load(b)))) return false;
      a += 16;
      b += 16;
    }
    if ((size & 8) != 0) {
      if (load<u64>(a) != load<u64>(b)) return false;
      a += 8;
      b += 8;
    }
    return (size & 7) == 0 || Bytes.tail(a, size & 7) == Bytes.tail(b, size & 7);
  }

  /** memory.copy is a call out of compiled code: word by word is several times faster for what maps hold. */
  static copy(to: usize, from: usize, size: u32): void {
    const words = to + <usize>(size & ~7);
    while (to < words) {
      store<u64>(to, load<u64>(from));
      to += 8;
      from += 8;
    }
    if ((size & 4) != 0) {
      store<u32>(to, load<u32>(from));
      to += 4;
      from += 4;
    }
    if ((size & 2) != 0) {
      store<u16>(to, load<u16>(from));
      to += 2;
      from += 2;
    }
    if ((size & 1) != 0) store<u8>(to, load<u8>(from));
  }
}
