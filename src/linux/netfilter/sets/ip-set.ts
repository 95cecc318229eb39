/**
 * One set of a hash or bitmap type: its entries in a hash table on numbers, asked and changed by packets (the kernel's
 * kadt functions) and by lines of text (uadt). A lookup allocates nothing.
 *
 * Networks are tried from the longest prefix in use to the shortest; the first entry decides, also one with nomatch.
 * In hash:net,iface the longest network that is in the set at all decides, whatever its devices (the kernel's "multi").
 */
import type { Packet } from "../packet.js";
import { Element, extensionsHold, Found, NOMATCH, PLAIN, type SetClock, type SetContext, SetFlag, type SetQuery,
  type SetReference } from "./element.js";
import { EntryTable } from "./entry-table.js";
import { packetPort } from "./packet-port.js";
import { Layout, type SetOptions, type SetType } from "./set-types.js";

/** Result of adding or deleting: null where it was done. */
export type Refusal = "exists" | "missing" | "full" | "range" | "zero" | "undecided" | null;

export class IpSet {
  readonly type: SetType;
  readonly options: SetOptions;
  readonly layout: Layout;
  readonly clock: SetClock;
  /** Why lookups cannot be decided; "" where they can. */
  undecided = "";
  readonly table: EntryTable;
  /** By place; of hash:net,iface the first of the network. */
  readonly elements: Element[] = [];
  readonly withElements: boolean;
  private readonly withIface: boolean;
  /** hash:net,iface: entries, `table` counts networks. */
  private chained = 0;
  /** hash:net,iface: the last lookup met the network with another device. */
  private multi = false;
  private readonly key: Int32Array;
  /** Prefix lengths in use of both dimensions, longest first, and how many entries have each. */
  private readonly prefixes = [new Prefixes(), new Prefixes()];
  private readonly nets: readonly boolean[];

  constructor(type: SetType, options: SetOptions, clock: SetClock) {
    this.type = type;
    this.options = options;
    this.clock = clock;
    this.layout = new Layout(type, options.family);
    this.withIface = type.dimensions.includes("iface");
    this.nets = type.dimensions.filter((name) => name === "ip" || name === "net").map((name) => name === "net");
    this.withElements = this.withIface || options.timeout !== null || options.counters || options.comment || options.skbinfo;
    this.table = new EntryTable(this.layout.width);
    this.key = new Int32Array(this.layout.width);
    if (type.dimensions.includes("mac")) this.undecided = `sets of type ${type.name} look at MAC addresses`;
  }

  /** Entries, timed out ones included until something needs their room. */
  get count(): number {
    return this.withIface ? this.chained : this.table.count;
  }

  /** Four words of each entry, IPv4 in the last; null where a packet's address alone does not say whether the set has it. */
  addresses(): Int32Array | null {
    const { type, options, layout, table, elements } = this;
    const [dimension] = type.dimensions;
    if (type.dimensions.length > 1 || (dimension !== "ip" && dimension !== "net") || type.method !== "hash" || this.withElements
      || this.undecided !== "" || options.netmask !== null || options.bitmask !== null || options.range !== null) return null;
    const found = new Int32Array(table.count * 4);
    for (let place = 0; place < table.count; place++) {
      const base = place * layout.width;
      if (elements[place].nomatch || (layout.prefixes >= 0 && table.keys[base + layout.prefixes] !== layout.words * 32)) return null;
      for (let word = 0; word < layout.words; word++) found[place * 4 + 4 - layout.words + word] = table.keys[base + layout.first + word];
    }
    return found;
  }

  // ---- packets -----------------------------------------------------------------------------------------------

  /** ip_set_test of one set, without what --return-nomatch makes of it. */
  test(query: SetQuery, flags: number, context: SetContext): Found {
    if (!this.concerns(query, context.packet)) return Found.No;
    if (this.undecided !== "") return Found.Undecided;
    if (!this.readPacket(query, context)) return Found.No;
    const { layout, key, nets } = this;
    const { packet } = context;
    if (layout.prefixes < 0) return this.look(query, flags, context);
    const outer = this.prefixes[nets[0] ? 0 : 1];
    const inner = nets.length > 1 && nets[0] && nets[1] ? this.prefixes[1] : null;
    const outerAt = nets[0] ? layout.first : layout.second;
    for (let i = 0; i < outer.count; i++) {
      this.mask(outerAt, outer.lengths[i]);
      if (inner === null) {
        key[layout.prefixes] = nets[0] ? outer.lengths[i] : outer.lengths[i] << 8;
        const found = this.look(query, flags, context);
        if (found !== Found.No) return found;
        if (this.multi) return Found.No;
        continue;
      }
      this.putAddress(layout.second, (query.sources & (1 << this.dimensionOf(1))) !== 0, packet);
      for (let j = 0; j < inner.count; j++) {
        this.mask(layout.second, inner.lengths[j]);
        key[layout.prefixes] = outer.lengths[i] | (inner.lengths[j] << 8);
        const found = this.look(query, flags, context);
        if (found !== Found.No) return found;
      }
    }
    return Found.No;
  }

  /** The SET target's --add-set. `timeout` in seconds, null for the set's own. */
  addPacket(reference: SetReference, flags: number, timeout: number | null, context: SetContext): Refusal {
    if (!this.concerns(reference, context.packet)) return "range";
    if (this.undecided !== "") return "undecided";
    if (!this.readPacket(reference, context)) return "zero";
    this.fitPacket();
    const element = this.withElements ? new Element() : PLAIN;
    // A packet takes the comment off an entry of a bitmap, not off one of a hash.
    if (this.withElements && this.type.method === "hash") element.comment = null;
    this.deviceOf(reference, context, element);
    if (this.options.counters) {
      element.packets = 1;
      element.bytes = context.skb.length;
    }
    this.setTimeout(element, timeout);
    return this.add(this.key, element, (flags & SetFlag.Exist) !== 0);
  }

  /** The SET target's --del-set. */
  deletePacket(reference: SetReference, context: SetContext): Refusal {
    if (!this.concerns(reference, context.packet)) return "range";
    if (this.undecided !== "") return "undecided";
    if (!this.readPacket(reference, context)) return "zero";
    this.fitPacket();
    const element = this.withIface ? new Element() : PLAIN;
    this.deviceOf(reference, context, element);
    return this.delete(this.key, element);
  }

  private concerns(reference: SetReference, packet: Packet): boolean {
    const { family } = this.options;
    return reference.dimensions >= this.type.dimensions.length && (family === 0 || family === packet.family);
  }

  /** Fills `key` from a packet, addresses whole; false where the packet has no such part (-EINVAL of kadt). */
  private readPacket(reference: SetReference, context: SetContext): boolean {
    const { layout, type, options, key } = this;
    const { packet, skb } = context;
    for (let index = 0, address = 0; index < type.dimensions.length; index++) {
      const source = (reference.sources & (1 << index)) !== 0;
      switch (type.dimensions[index]) {
        case "ip":
        case "net":
          this.putAddress(address++ === 0 ? layout.first : layout.second, source, packet);
          break;
        case "port": {
          const port = packetPort(packet, source);
          if (port < 0) return false;
          if (type.method === "bitmap") {
            const protocol = port >>> 16;
            if (protocol !== 6 && protocol !== 17) return false;
            key[layout.port] = port & 0xffff;
          } else {
            key[layout.port] = port;
          }
          break;
        }
        case "mark":
          key[layout.mark] = skb.mark & options.markmask;
          break;
        case "iface":
          if (context.services.deviceName(source ? skb.inDevice : skb.outDevice) === "") return false;
          break;
        default:
          return false;
      }
    }
    if (layout.prefixes >= 0) key[layout.prefixes] = 0;
    return this.narrow(key, true);
  }

  /** netmask and bitmask of `create`, the range of a bitmap; false where that leaves nothing to look up. */
  narrow(key: Int32Array, masks: boolean): boolean {
    const { layout, options, type } = this;
    const { range, bitmask } = options;
    if (range !== null) {
      const value = type.dimensions[0] === "port" ? key[layout.port] : key[layout.first] >>> 0;
      if (value < range[0] || value > range[1]) return false;
    }
    for (let at = masks ? layout.first : -1; at >= 0; at = at === layout.first ? layout.second : -1) {
      if (options.netmask !== null) maskWords(key, at, layout.words, options.netmask);
      if (bitmask !== null) {
        for (let index = 0; index < layout.words; index++) key[at + index] &= bitmask[index + 4 - layout.words];
      }
    }
    return !type.refusesZero || !isZero(key, layout.first, layout.words);
  }

  /** An added network is as long as the longest in the set, whole addresses where it is empty (INIT_CIDR). */
  private fitPacket(): void {
    const { layout, nets } = this;
    if (layout.prefixes < 0) return;
    const whole = layout.words * 32;
    let lengths = 0;
    for (let index = 0; index < nets.length; index++) {
      if (!nets[index]) continue;
      const used = this.prefixes[index];
      const length = used.count > 0 ? used.lengths[0] : whole;
      this.mask(index === 0 ? layout.first : layout.second, length);
      lengths |= length << (index * 8);
    }
    this.key[layout.prefixes] = lengths;
  }

  private deviceOf(reference: SetReference, { services, skb }: SetContext, element: Element): void {
    if (!this.withIface) return;
    element.iface = services.deviceName((reference.sources & 2) !== 0 ? skb.inDevice : skb.outDevice);
  }

  private putAddress(at: number, source: boolean, packet: Packet): void {
    const { key } = this;
    if (this.layout.words === 1) {
      key[at] = source ? packet.s3 : packet.d3;
      return;
    }
    key[at] = source ? packet.s0 : packet.d0;
    key[at + 1] = source ? packet.s1 : packet.d1;
    key[at + 2] = source ? packet.s2 : packet.d2;
    key[at + 3] = source ? packet.s3 : packet.d3;
  }

  private mask(at: number, length: number): void {
    maskWords(this.key, at, this.layout.words, length);
  }

  /** Which dimension the address of this number is. */
  private dimensionOf(address: number): number {
    const { dimensions } = this.type;
    for (let index = 0, seen = 0; index < dimensions.length; index++) {
      if ((dimensions[index] === "ip" || dimensions[index] === "net") && seen++ === address) return index;
    }
    return 0;
  }

  /** The entry of `key`, if it stands. */
  private look(query: SetQuery, flags: number, context: SetContext): Found {
    const place = this.table.find(this.key);
    this.multi = false;
    if (place < 0) return Found.No;
    const { clock, options } = this;
    const { skb } = context;
    if (!this.withIface) {
      const element = this.elements[place];
      if (!extensionsHold(element, options.counters, clock, query, flags, skb.length)) return Found.No;
      return element.nomatch ? Found.Nomatch : Found.Yes;
    }
    const device = context.services.deviceName((query.sources & 2) !== 0 ? skb.inDevice : skb.outDevice);
    for (let element: Element | null = this.elements[place]; element !== null; element = element.next) {
      // Entries of bridge ports are in other buckets.
      if (element.physdev) continue;
      this.multi = clock.now <= element.expires;
      if (element.wildcard ? !device.startsWith(element.iface) : device !== element.iface) continue;
      if (extensionsHold(element, options.counters, clock, query, flags, skb.length)) {
        return element.nomatch ? Found.Nomatch : Found.Yes;
      }
      this.multi = false;
    }
    return Found.No;
  }

  // ---- entries -----------------------------------------------------------------------------------------------

  setTimeout(element: Element, seconds: number | null): void {
    const value = seconds ?? this.options.timeout;
    if (this.options.timeout !== null && value !== null && value !== 0) element.expires = this.clock.now + value * 1e9;
  }

  /** Adds an entry; with `exist` one that is there takes over the new one's extensions. */
  add(key: Int32Array, element: Element, exist: boolean): Refusal {
    const { table, elements, clock } = this;
    let place = table.find(key);
    if (place >= 0 && !this.withIface) {
      if (!exist && clock.now <= elements[place].expires) return "exists";
      elements[place] = this.held(element, clock.now <= elements[place].expires ? elements[place] : null);
      return null;
    }
    const twin = place < 0 ? null : sameDevice(elements[place], element);
    if (twin !== null) {
      if (!exist && clock.now <= twin.expires) return "exists";
      const { iface, wildcard, next } = twin;
      element.settle(clock.now <= twin.expires ? twin : null);
      Object.assign(twin, element, { iface, wildcard, next });
      return null;
    }
    if (this.type.method === "hash" && this.count >= this.options.maxelem) {
      this.purge();
      if (this.count >= this.options.maxelem) {
        if (!this.options.forceadd || this.count === 0) return "full";
        this.undecided = "forceadd evicted an entry, which one is the kernel's";
        return null;
      }
      place = table.find(key);
    }
    if (this.withIface) this.chained++;
    if (place >= 0) {
      let last = elements[place];
      while (last.next !== null) last = last.next;
      last.next = element.settle(null);
    } else {
      elements[table.add(key)] = this.held(element, null);
    }
    this.countPrefixes(key, 1);
    return null;
  }

  delete(key: Int32Array, element: Element): Refusal {
    const { table, elements, clock } = this;
    const place = table.find(key);
    const held = place < 0 ? null : this.withIface ? sameDevice(elements[place], element) : elements[place];
    if (held === null || clock.now > held.expires) return "missing";
    this.remove(place, held);
    return null;
  }

  flush(): void {
    this.table.clear();
    this.elements.length = 0;
    this.chained = 0;
    for (const used of this.prefixes) used.clear();
  }

  /** Takes out what has timed out. */
  purge(): void {
    if (this.options.timeout === null) return;
    for (let place = this.table.count - 1; place >= 0; place--) {
      let element: Element | null = this.elements[place];
      while (element !== null) {
        const { next } = element as Element;
        if (this.clock.now > element.expires) this.remove(place, element);
        element = next;
      }
    }
  }

  /** Extensions that nobody reads need no object of their own. */
  private held(element: Element, old: Element | null): Element {
    return this.withElements ? element.settle(old) : element.nomatch ? NOMATCH : PLAIN;
  }

  private remove(place: number, element: Element): void {
    const { table, elements } = this;
    const { width, keys } = table;
    const key = keys.slice(place * width, (place + 1) * width);
    this.countPrefixes(key, -1);
    if (this.withIface) this.chained--;
    if (this.withIface && (elements[place] !== element || element.next !== null)) {
      if (elements[place] === element) {
        elements[place] = element.next as Element;
        return;
      }
      let before = elements[place];
      while (before.next !== null && before.next !== element) before = before.next;
      before.next = element.next;
      return;
    }
    table.delete(place);
    const last = elements.pop() as Element;
    if (place < elements.length) elements[place] = last;
  }

  private countPrefixes(key: Int32Array, by: 1 | -1): void {
    if (this.layout.prefixes < 0) return;
    const lengths = key[this.layout.prefixes];
    for (let index = 0; index < this.nets.length; index++) {
      if (this.nets[index]) this.prefixes[index].change((lengths >>> (index * 8)) & 0xff, by);
    }
  }
}

/** The entry of this device among those of one network: an older wildcard covers every name it begins. */
function sameDevice(first: Element, wanted: Element): Element | null {
  for (let element: Element | null = first; element !== null; element = element.next) {
    if (element.physdev !== wanted.physdev) continue;
    if (element.wildcard ? wanted.iface.startsWith(element.iface) : wanted.iface === element.iface) return element;
  }
  return null;
}

class Prefixes {
  readonly lengths = new Int32Array(129);
  count = 0;
  private readonly uses = new Int32Array(129);

  change(length: number, by: 1 | -1): void {
    this.uses[length] += by;
    if (by === 1 ? this.uses[length] > 1 : this.uses[length] > 0) return;
    this.count = 0;
    for (let one = 128; one >= 0; one--) if (this.uses[one] > 0) this.lengths[this.count++] = one;
  }

  clear(): void {
    this.uses.fill(0);
    this.count = 0;
  }
}

function maskWords(key: Int32Array, at: number, words: number, length: number): void {
  for (let index = 0; index < words; index++) {
    const kept = length - index * 32;
    if (kept < 32) key[at + index] = kept <= 0 ? 0 : key[at + index] & (-1 << (32 - kept));
  }
}

function isZero(key: Int32Array, at: number, words: number): boolean {
  for (let index = 0; index < words; index++) if (key[at + index] !== 0) return false;
  return true;
}
