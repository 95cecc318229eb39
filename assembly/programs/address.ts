/**
 * 16-byte addresses as maps hold them: IPv6 as it is, IPv4 in the first four bytes with zeros behind.
 * Pointers are to bytes in wire order; nothing is copied unless the name says so.
 */
export class Address {
  static readonly LENGTH: i32 = 16;

  @inline
  static copy(to: usize, from: usize): void {
    store<u64>(to, load<u64>(from));
    store<u64>(to, load<u64>(from, 8), 8);
  }

  @inline
  static clear(at: usize): void {
    store<u64>(at, 0);
    store<u64>(at, 0, 8);
  }

  @inline
  static equal(a: usize, b: usize): bool {
    return load<u64>(a) == load<u64>(b) && load<u64>(a, 8) == load<u64>(b, 8);
  }

  @inline
  static isZero(at: usize): bool {
    return (load<u64>(at) | load<u64>(at, 8)) == 0;
  }

  @inline
  static swap(a: usize, b: usize): void {
    const low = load<u64>(a);
    const high = load<u64>(a, 8);
    Address.copy(a, b);
    store<u64>(b, low);
    store<u64>(b, high, 8);
  }

  /** Reads a header's address of this family into 16 bytes. */
  @inline
  static read(to: usize, header: usize, family: u8): void {
    if (family == 4) {
      store<u64>(to, <u64>load<u32>(header));
      store<u64>(to, 0, 8);
    } else Address.copy(to, header);
  }

  /** Writes 16 bytes into a header's address of this family. */
  @inline
  static write(header: usize, from: usize, family: u8): void {
    if (family == 4) store<u32>(header, load<u32>(from));
    else Address.copy(header, from);
  }

  /** Whether `address` lies in the prefix; `length` 255 stands for no prefix at all. */
  static inPrefix(address: usize, prefix: usize, length: u8): bool {
    if (length > 128) return false;
    const whole = <usize>(length >> 3);
    for (let index: usize = 0; index < whole; index++) {
      if (load<u8>(address + index) != load<u8>(prefix + index)) return false;
    }
    const rest = length & 7;
    if (rest == 0) return true;
    const mask = <u8>(0xff << (8 - rest));
    return (load<u8>(address + whole) & mask) == (load<u8>(prefix + whole) & mask);
  }
}
