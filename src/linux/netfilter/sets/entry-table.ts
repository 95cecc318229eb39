/**
 * A hash table from keys of a fixed number of 32-bit words to places 0 … count-1: open addressing, no object per
 * entry, nothing allocated by a lookup. Places are dense: deleting one moves the last into it.
 */
export class EntryTable {
  readonly width: number;
  count = 0;
  /** The key at place p is words [p * width, (p + 1) * width). */
  keys: Int32Array;
  /** Place plus one; 0: free. Half of them stay free. */
  private slots: Int32Array;

  constructor(width: number) {
    this.width = width;
    this.keys = new Int32Array(16 * width);
    this.slots = new Int32Array(32);
  }

  /** Place of a key, -1 where it is not there. */
  find(key: Int32Array): number {
    const { width, keys, slots } = this;
    const mask = slots.length - 1;
    for (let slot = hash(key, 0, width) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const base = (slots[slot] - 1) * width;
      let index = 0;
      while (index < width && keys[base + index] === key[index]) index++;
      if (index === width) return slots[slot] - 1;
    }
    return -1;
  }

  /** Puts in a key that is not there; returns its place. */
  add(key: Int32Array): number {
    const { width } = this;
    if ((this.count + 1) * 2 > this.slots.length) this.grow();
    if ((this.count + 1) * width > this.keys.length) {
      const keys = new Int32Array(this.keys.length * 2);
      keys.set(this.keys);
      this.keys = keys;
    }
    const place = this.count++;
    for (let index = 0; index < width; index++) this.keys[place * width + index] = key[index];
    this.slots[this.freeSlot(place)] = place + 1;
    return place;
  }

  /** Takes a place out; the last place moves there. */
  delete(place: number): void {
    const { width, keys } = this;
    this.vacate(this.slotOf(place));
    const last = --this.count;
    if (place === last) return;
    this.slots[this.slotOf(last)] = place + 1;
    keys.copyWithin(place * width, last * width, (last + 1) * width);
  }

  clear(): void {
    this.count = 0;
    this.slots.fill(0);
  }

  private grow(): void {
    this.slots = new Int32Array(this.slots.length * 2);
    for (let place = 0; place < this.count; place++) this.slots[this.freeSlot(place)] = place + 1;
  }

  private freeSlot(place: number): number {
    const { slots } = this;
    const mask = slots.length - 1;
    let slot = hash(this.keys, place * this.width, this.width) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  private slotOf(place: number): number {
    const { slots } = this;
    const mask = slots.length - 1;
    let slot = hash(this.keys, place * this.width, this.width) & mask;
    while (slots[slot] !== place + 1) slot = (slot + 1) & mask;
    return slot;
  }

  /** Frees a slot and moves up what was put behind it because it was taken. */
  private vacate(free: number): void {
    const { slots, keys, width } = this;
    const mask = slots.length - 1;
    let hole = free;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hash(keys, (slots[slot] - 1) * width, width) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot];
      hole = slot;
    }
    slots[hole] = 0;
  }
}

function hash(words: Int32Array, at: number, width: number): number {
  let value = width;
  for (let index = at; index < at + width; index++) {
    value = Math.imul(value ^ words[index], 0x9e3779b1);
    value ^= value >>> 15;
  }
  value = Math.imul(value, 0x85ebca6b);
  return value ^ (value >>> 13);
}
