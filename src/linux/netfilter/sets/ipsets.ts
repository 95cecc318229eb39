/**
 * The IP sets of a node (ipset), loaded from `ipset save` or `ipset restore` text, asked by `-m set` and changed by
 * the SET target. What a line says wrong is a Problem with its number; the rest is loaded.
 *
 * `ipset restore` stops at the first wrong line; here the lines after it are loaded too. A set of a type that is not
 * modelled is there, and asking it is undecided. Timeouts of a text count from `nowNs`, or from the first packet.
 *
 * Source: man ipset(8), net/netfilter/ipset of Linux.
 */
import type { Problem } from "../../../cluster/problem.js";
import { type Element, Found, PLAIN, SetClock, type SetContext, type SetQuery, type SetReference } from "./element.js";
import { IpSet, type Refusal } from "./ip-set.js";
import { addToSlot, deleteFromSlot, ListSet, type Slot, testSlot, undecidedOf, UnknownSet } from "./list-set.js";
import { addLines, createLine, extensionsText } from "./print-set.js";
import { EntryReader } from "./read-entry.js";
import { type EntryOptions, readCreateOptions, readEntryOptions } from "./read-options.js";
import { type SetType, setType } from "./set-types.js";

export interface LoadSetsOptions {
  readonly file?: string;
  /** Virtual time of the text, ns; absent: the first packet's. */
  readonly nowNs?: number;
}

const verbs: Readonly<Record<string, string>> = {
  n: "create", a: "add", d: "del", f: "flush", x: "destroy", w: "swap", e: "rename", N: "create", A: "add", D: "del",
  F: "flush", X: "destroy", W: "swap", E: "rename",
};

export class IpSets {
  private readonly clock = new SetClock();
  /** Index as the kernel's: a destroyed set's is used again. */
  private readonly slots: (Slot | null)[] = [];
  private readonly byName = new Map<string, Slot>();
  private readonly readers = new Map<IpSet, EntryReader>();
  /**
   * `-exist` on a line holds for the lines after it too, as in ipset 7.17. (There, not for a line that goes to the
   * kernel in one message with earlier lines without it.)
   */
  private exist = false;
  /** Goes up with whatever may have changed a set. */
  version = 0;

  /** `create`, `add`, `del`, `flush`, `destroy`, `swap` and `rename` lines. */
  load(text: string, options: LoadSetsOptions = {}): Problem[] {
    if (options.nowNs !== undefined) this.clock.tick(options.nowNs);
    this.exist = false;
    this.version++;
    const problems: Problem[] = [];
    const file = options.file ?? "<inline>";
    let line = 0;
    for (let from = 0; from < text.length;) {
      let end = text.indexOf("\n", from);
      if (end < 0) end = text.length;
      line++;
      const what = this.command(text.slice(from, end));
      if (what !== null) problems.push({ where: { file, line }, severity: "error", what });
      from = end + 1;
    }
    return problems;
  }

  /** Names, sorted. */
  names(): string[] {
    return [...this.byName.keys()].sort();
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** Whether no set has timeouts: then it is all one when, and whether, a packet asks. */
  get timeless(): boolean {
    return [...this.byName.values()].every(({ set }) => !(set instanceof UnknownSet) && set.options.timeout === null);
  }

  /** Whether a set, or one of a list, counts the packets that ask it. */
  counts(name: string): boolean {
    const set = this.byName.get(name)?.set;
    return set !== undefined && counts(set);
  }

  /**
   * The addresses of a set that consists of whole addresses alone, four words each (IPv4 in the last); null where it is
   * another kind of set, or a packet that asks it leaves something behind.
   */
  addressesOf(name: string, family: 4 | 6): Int32Array | null {
    const set = this.byName.get(name)?.set;
    return set instanceof IpSet && set.options.family === family ? set.addresses() : null;
  }

  /** As `ipset save` prints it: sets in the kernel's order, lists last, entries sorted. */
  save(): string {
    const lines: string[] = [];
    const slots = this.slots.filter((slot) => slot !== null);
    for (const { name, set } of slots) {
      if (set instanceof IpSet) lines.push(createLine(name, set.type, set.options), ...addLines(name, set));
      else if (set instanceof UnknownSet) lines.push(`create ${name} ${set.create}`,
        ...set.lines.map((text) => `add ${name} ${text}`));
    }
    for (const { name, set } of slots) {
      if (!(set instanceof ListSet)) continue;
      lines.push(createLine(name, set.type, set.options));
      for (const { slot, element } of set.members) {
        if (this.clock.now > element.expires) continue;
        lines.push(`add ${name} ${slot.name}${extensionsText(set.options, element, this.clock)}`);
      }
    }
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
  }

  // ---- packets -----------------------------------------------------------------------------------------------

  /** Whether a set matches: Found.No, Yes or Undecided. */
  test(query: SetQuery, context: SetContext): Found {
    const slot = this.byName.get(query.set);
    if (slot === undefined || otherFamily(slot, context.packet.family)) return Found.Undecided;
    this.clock.tick(Math.max(context.nowNs, context.skb.timeNs));
    return testSlot(slot, query, query.flags, context);
  }

  /** --add-set; "undecided" where the set is not there or not modelled. `timeout` in seconds. */
  add(reference: SetReference, flags: number, timeout: number | null, context: SetContext): Refusal {
    this.version++;
    const slot = this.byName.get(reference.set);
    this.clock.tick(Math.max(context.nowNs, context.skb.timeNs));
    if (slot === undefined || otherFamily(slot, context.packet.family)) return "undecided";
    return addToSlot(slot, reference, flags, timeout, context);
  }

  /** --del-set. */
  delete(reference: SetReference, context: SetContext): Refusal {
    this.version++;
    const slot = this.byName.get(reference.set);
    this.clock.tick(Math.max(context.nowNs, context.skb.timeNs));
    if (slot === undefined || otherFamily(slot, context.packet.family)) return "undecided";
    return deleteFromSlot(slot, reference, context);
  }

  /** Why iptables of a family refuses a rule that names the set; "" where it does not. */
  refused(name: string, family: 4 | 6): string {
    const slot = this.byName.get(name);
    if (slot === undefined) return `IP set ${name} is not loaded`;
    return otherFamily(slot, family) ? `IP set ${name} is not of IPv${family}` : "";
  }

  /** Why asking a set is undecided, in one phrase. */
  whyUndecided(name: string, family: 4 | 6): string {
    const slot = this.byName.get(name);
    const refused = this.refused(name, family);
    return refused !== "" || slot === undefined ? refused : `IP set ${name}: ${undecidedOf(slot)}`;
  }

  // ---- lines -------------------------------------------------------------------------------------------------

  /** Carries out one line; null, or what is wrong with it. */
  private command(line: string): string | null {
    const words = splitLine(line);
    if (words === null) return "a double quote is not closed";
    if (words.length === 0 || words[0].startsWith("#")) return null;
    for (let at = words.length - 1; at >= 0; at--) {
      if (words[at] !== "-exist" && words[at] !== "-!" && words[at] !== "--exist") continue;
      this.exist = true;
      words.splice(at, 1);
    }
    const given = words[0] ?? "";
    const bare = given.replace(/^-{1,2}/, "");
    const verb = bare.length > 1 || given.startsWith("-") || bare === bare.toLowerCase() ? (verbs[bare] ?? bare) : given;
    switch (verb) {
      case "COMMIT":
      case "quit":
        return null;
      case "create":
        return this.create(words, this.exist);
      case "add":
      case "del":
        return this.change(verb, words, this.exist);
      case "flush":
      case "destroy":
        return this.empty(verb, words);
      case "swap":
      case "rename":
        return this.move(verb, words);
      default:
        return `${given} is not a command known here; expected create, add, del, flush, destroy, swap or rename`;
    }
  }

  private create(words: readonly string[], exist: boolean): string | null {
    const [, name, typeName] = words;
    if (name === undefined || typeName === undefined) return "create needs a name and a type";
    if (name.length > 31) return `the name ${name} is longer than 31 characters`;
    const type = setType(typeName);
    const old = this.byName.get(name);
    if (type === null) {
      if (old === undefined) this.put(name, new UnknownSet(typeName, words.slice(2).join(" ")));
      return `set type ${typeName} is not modelled; a packet that asks the set is undecided`;
    }
    const options = readCreateOptions(type, words.slice(3));
    if (typeof options === "string") {
      if (old === undefined) this.put(name, new UnknownSet(`${typeName} with options that are not understood`,
        words.slice(2).join(" ")));
      return options;
    }
    if (old !== undefined) {
      const same = !(old.set instanceof UnknownSet) && old.set.type === type && sameOptions(old.set.options, options);
      return exist && same ? null : `set ${name} is there already`;
    }
    this.put(name, type.method === "list" ? new ListSet(type, options, this.clock) : new IpSet(type, options, this.clock));
    return null;
  }

  private put(name: string, set: Slot["set"]): void {
    const slot: Slot = { name, set, references: 0 };
    const free = this.slots.indexOf(null);
    this.slots[free < 0 ? this.slots.length : free] = slot;
    this.byName.set(name, slot);
  }

  private change(verb: "add" | "del", words: readonly string[], exist: boolean): string | null {
    const [, name, text] = words;
    if (name === undefined || text === undefined) return `${verb} needs the name of a set and an entry`;
    const slot = this.byName.get(name);
    if (slot === undefined) return `set ${name} is not there`;
    const { set } = slot;
    if (set instanceof UnknownSet) {
      if (verb === "add") set.lines.push(words.slice(2).join(" "));
      return null;
    }
    const bare = words.length === 3 && set instanceof IpSet && !set.withElements;
    const options = bare ? plainEntry : readEntryOptions(verb, set.type, set.options, words);
    if (typeof options === "string") return options;
    if (!bare) set.setTimeout(options.element, options.timeout);
    if (set instanceof ListSet) return this.changeList(verb, set, text, options.element, options.before, options.after, exist);
    const reader = this.readers.get(set) ?? new EntryReader(set.type, set.layout, set.options);
    this.readers.set(set, reader);
    return reader.read(text, (key, device) => {
      // Within a range every entry has its own counters and timeout.
      const element = set.withElements ? options.element.copy() : options.element;
      if (device !== "") {
        element.physdev = device.startsWith("physdev:");
        element.iface = element.physdev ? device.slice(8) : device;
      }
      if (!set.narrow(key, !reader.unmasked)) {
        return set.options.range === null ? `${text} has an address of 0, which the set cannot hold`
          : `${text} is out of the set's range`;
      }
      return this.changeEntry(verb, set, text, key, element, exist);
    });
  }

  private changeEntry(verb: "add" | "del", set: IpSet, text: string, key: Int32Array, element: Element,
    exist: boolean): string | null {
    const refusal = verb === "add" ? set.add(key, element, exist) : set.delete(key, element);
    switch (refusal) {
      case "exists":
        return `${text} is in the set already`;
      case "missing":
        return exist ? null : `${text} is not in the set`;
      case "full":
        return `${text} does not fit: the set holds ${set.options.maxelem} entries`;
      default:
        return null;
    }
  }

  private changeList(verb: "add" | "del", list: ListSet, text: string, element: Element, before: string | null,
    after: string | null, exist: boolean): string | null {
    const slot = this.byName.get(text);
    if (slot === undefined) return `set ${text} is not there`;
    if (slot.set instanceof ListSet) return "a list:set cannot be in a list";
    const where = before !== null ? "before" : after !== null ? "after" : null;
    const beside = where === null ? null : (this.byName.get(before ?? after ?? "") ?? null);
    if (where !== null && beside === null) return `set ${before ?? after ?? ""} is not there`;
    if (verb === "add") return list.add(slot, element, exist, where, beside);
    return list.delete(slot, where, beside) === null || (exist && where === null) ? null : `set ${text} is not in the list there`;
  }

  private empty(verb: "flush" | "destroy", words: readonly string[]): string | null {
    const all = [...this.byName.values()];
    const name = words[1];
    if (name !== undefined && !this.byName.has(name)) return `set ${name} is not there`;
    const chosen = name === undefined ? all : all.filter((slot) => slot.name === name);
    if (verb === "destroy" && name !== undefined && chosen[0].references > 0) return `set ${name} is in a list`;
    for (const { set } of chosen) {
      if (set instanceof UnknownSet) set.lines.length = 0;
      else set.flush();
    }
    if (verb === "flush") return null;
    for (const slot of chosen) {
      this.byName.delete(slot.name);
      this.slots[this.slots.indexOf(slot)] = null;
      if (slot.set instanceof IpSet) this.readers.delete(slot.set);
    }
    return null;
  }

  private move(verb: "swap" | "rename", words: readonly string[]): string | null {
    const [, from, to] = words;
    if (from === undefined || to === undefined) return `${verb} needs two names`;
    const a = this.byName.get(from);
    const b = this.byName.get(to);
    if (a === undefined) return `set ${from} is not there`;
    if (verb === "rename") {
      if (b !== undefined) return `set ${to} is there already`;
      if (a.references > 0) return `set ${from} is in a list`;
      if (to.length > 31) return `the name ${to} is longer than 31 characters`;
      this.byName.delete(from);
      a.name = to;
      this.byName.set(to, a);
      return null;
    }
    if (b === undefined) return `set ${to} is not there`;
    if (!swappable(a.set, b.set)) return `sets ${from} and ${to} are of different types`;
    [a.set, b.set] = [b.set, a.set];
    return null;
  }
}

/** Parses one text into new sets. */
export function parseIpSets(text: string, file: string): { sets: IpSets; problems: Problem[] } {
  const sets = new IpSets();
  return { sets, problems: sets.load(text, { file }) };
}

function counts(set: Slot["set"]): boolean {
  return !(set instanceof UnknownSet) && (set.options.counters
    || (set instanceof ListSet && set.members.some(({ slot }) => counts(slot.set))));
}

/** Of lists each member is asked; one of the other family does not match. */
function otherFamily({ set }: Slot, family: 4 | 6): boolean {
  return set instanceof IpSet && set.options.family !== 0 && set.options.family !== family;
}

/** IP_SET_TYPE_* features and family; the method does not matter. */
function swappable(a: Slot["set"], b: Slot["set"]): boolean {
  if (a instanceof UnknownSet || b instanceof UnknownSet) return false;
  const features = (type: SetType): string => type.dimensions.join(",").replaceAll("net", "ip");
  return a.options.family === b.options.family && features(a.type) === features(b.type)
    && a.type.dimensions.includes("net") === b.type.dimensions.includes("net");
}

/** same_set of the kernel: what `create -exist` must agree in. */
function sameOptions(a: IpSet["options"], b: IpSet["options"]): boolean {
  const text = (options: IpSet["options"]): string =>
    JSON.stringify({ ...options, hashsize: 0, bucketsize: 0, initval: 0, size: 0 });
  return text(a) === text(b);
}

/** An entry without options of a set without extensions: the many lines of a large set. */
const plainEntry: EntryOptions = { element: PLAIN, timeout: null, before: null, after: null };

/** Words of a line; a quoted one may hold blanks. Null: a quote is not closed. */
function splitLine(line: string): string[] | null {
  if (!/["\t\r]| {2}/.test(line)) return line.trim() === "" ? [] : line.trim().split(" ");
  if (!line.includes('"')) return line.trim().split(/\s+/).filter((word) => word !== "");
  const words: string[] = [];
  const pattern = /\s*(?:"([^"]*)"|([^\s"]+))/gy;
  const text = line.trimEnd();
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (match === null) return null;
    words.push(match[1] ?? match[2]);
  }
  return words;
}
