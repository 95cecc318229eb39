/**
 * Pairs of which both ends have policies. There are as many of them as senders' groups times receivers' groups, and a
 * packet for each would be millions; so each end is asked by itself (parts.ts), and what a pair fares is put together.
 *
 * How two ends go together is not assumed either: for each combination of results that two ends can have, pairs that have it
 * are sent through both planes of the whole cluster, and what those say is what the combination is. Where they contradict one
 * another, all of its pairs are undecided. What differs is sent once more for each part, since its name and the policies that
 * make it are the part's own; the name of a class is that of one of its pairs.
 */
import { type CellProbe, type Cells, Stand, STANDS } from "./cells.js";
import type { ChangeGroups, Example } from "./change-groups.js";
import type { Classes, PodClass } from "./classes.js";
import type { ToldPairs } from "./exhaustive.js";
import type { Group } from "./groups.js";
import { type Found, gistOf, type Heard } from "./heard.js";
import { Interned, type Part, Parts } from "./parts.js";
import type { Probe, Way } from "./probe.js";
import { type Traffic, type TrafficClasses, trafficText } from "./traffic.js";

/** Pairs of each combination that are sent. */
const REPRESENTATIVES = 3;
const TORN = "undecided: what both ends' policies do by themselves does not tell what they do together";

/** Pairs that fare alike at both ends. */
interface Entry {
  readonly own: Part;
  /** A part of the other end that has the profile. */
  readonly other: Part;
  /** By stand: how many pairs, and the classes of one. */
  readonly pairs: [number, number, number];
  readonly senders: (PodClass | null)[];
  readonly items: number[];
  /** Of what differs: what a pair of it said in the whole cluster, by stand. */
  readonly shown: readonly [Map<Joint, Heard>, Map<Joint, Heard>, Map<Joint, Heard>];
}

/** One probe of both ends: rows of their vectors, and what combination of results it is. */
interface Joint {
  readonly shape: string;
  readonly traffic: Traffic;
  readonly egress: number;
  readonly ingress: number;
  readonly combination: Combination;
}

interface Combination {
  readonly candidates: { readonly entry: Entry; readonly stand: Stand; readonly joint: Joint }[];
  seen: number;
  /** Why it cannot be sent: what an end could not be asked. */
  readonly unsent: string;
  result: Heard | null;
  /** Whose policies decide it. */
  owner: "egress" | "ingress" | "neither";
}

export class Composition {
  readonly egress: Parts;
  readonly ingress: Parts;
  /** Classes of pairs that were put together. */
  composed = 0;
  private readonly receiverGroups: Int32Array;
  private readonly opens: Int32Array;
  private readonly openCount: number;
  private readonly traits: number;
  private readonly interned = new Interned();
  private readonly byEgress = new Entries();
  private readonly byIngress = new Entries();
  private readonly combinations = new Map<string, Combination>();
  private readonly joints = new Map<string, readonly Joint[]>();

  /** Groups that all have policies; classes that are in none of them are not composed. */
  constructor(readonly way: Way, private readonly cells: Cells, classes: Classes, private readonly senders: readonly Group[],
    private readonly receivers: readonly Group[], traffic: TrafficClasses) {
    this.egress = new Parts(senders, ({ policies }) => traffic.between(policies, []));
    this.ingress = new Parts(receivers, ({ policies }) => traffic.between([], policies));
    this.receiverGroups = groupNumbers(receivers, classes);
    const numbers = new Map<string, number>();
    // What is seen of an end that has no policies: where it stands, and its families.
    this.opens = Int32Array.from(classes.pods, ({ nodeClass, pods: [pod] }) => {
      const key = `${nodeClass} ${pod.ips.map(({ family }) => family).join()}`;
      if (!numbers.has(key)) numbers.set(key, numbers.size);
      return numbers.get(key)!;
    });
    this.openCount = numbers.size;
    this.traits = cells.items.reduce((most, { traits }) => Math.max(most, traits + 1), 1);
    this.eachCell((sender, item, egress, ingress) => {
      const stands = cells.stands(sender, item);
      this.egress.witness(egress, stands, cells, sender, item);
      this.ingress.witness(ingress, stands, cells, sender, item);
    });
  }

  /** Finds what combinations there are, once both ends were asked. */
  meet(): void {
    for (const parts of [this.egress, this.ingress]) parts.fill(this.interned);
    this.eachCell((sender, item, egressNumber, ingressNumber) => {
      const [own, other] = [this.egress.all[egressNumber], this.ingress.all[ingressNumber]];
      const one = this.byEgress.of(egressNumber, own, other);
      const two = this.byIngress.of(ingressNumber, other, own);
      const stands = this.cells.stands(sender, item);
      for (const stand of STANDS) {
        if ((stands & (1 << stand)) === 0) continue;
        const pairs = this.cells.pairs(sender, item, stand);
        for (const entry of [one, two]) {
          entry.pairs[stand] += pairs;
          if (entry.senders[stand] !== null) continue;
          entry.senders[stand] = sender;
          entry.items[stand] = item;
        }
      }
    });
    for (const entry of this.byEgress.all) this.eachJoint(entry, entry.own, entry.other, (joint, stand) => {
      note(joint.combination, { entry, stand, joint });
    });
  }

  /** Pairs of the whole cluster that stand for combinations. */
  *representatives(): Generator<{ readonly probe: Probe; readonly combination: Combination; readonly egress: Heard;
    readonly ingress: Heard }> {
    for (const combination of this.combinations.values()) {
      if (combination.unsent !== "") continue;
      for (const { entry, stand, joint } of combination.candidates) {
        const probe = this.probeOf(entry, stand, joint);
        if (probe === null) continue;
        yield { probe, combination, egress: entry.own.heard[stand][joint.egress], ingress: entry.other.heard[stand][joint.ingress] };
      }
    }
  }

  /**
   * A pair of the whole cluster for whatever differs, of each part: what names a difference is looked up there. To be asked
   * once before representatives are sent, for all that may be, and once after, for what is.
   */
  *differing(settled: boolean): Generator<{ readonly probe: Probe; readonly show: (heard: Heard) => void }> {
    for (const [entries, owned] of [[this.byEgress, false], [this.byIngress, true]] as const) {
      for (const entry of entries.all) {
        const [egress, ingress] = owned ? [entry.other, entry.own] : [entry.own, entry.other];
        for (const stand of STANDS) {
          if (entry.senders[stand] === null) continue;
          for (const joint of this.jointsOf(egress, ingress, stand)) {
            const { result, owner } = joint.combination;
            const differs = settled ? result !== null && result.found !== null && (owner === "ingress") === owned
              : [egress.heard[stand][joint.egress], ingress.heard[stand][joint.ingress]].some(({ found }) => found !== null);
            const probe = differs ? this.probeOf(entry, stand, joint) : null;
            if (probe !== null) yield { probe, show: (heard) => { entry.shown[stand].set(joint, heard); } };
          }
        }
      }
    }
  }

  /** Puts together what representatives said. Returns how many pairs they stand for. */
  tally(groups: ChangeGroups, describe: (address: string) => string): number {
    let all = 0;
    for (const entry of this.byEgress.all) this.eachJoint(entry, entry.own, entry.other, (joint, stand) => {
      this.composed++;
      all += entry.pairs[stand];
      if (joint.combination.owner !== "ingress") this.add(groups, resultOf(entry, stand, joint), entry, stand, joint, describe);
    });
    for (const entry of this.byIngress.all) this.eachJoint(entry, entry.other, entry.own, (joint, stand) => {
      if (joint.combination.owner === "ingress") this.add(groups, resultOf(entry, stand, joint), entry, stand, joint, describe);
    });
    return all;
  }

  /** Every pair of classes by itself, for whoever holds it against all pairs. */
  tell(told: (pairs: ToldPairs) => void): void {
    this.eachCell((sender, item, egressNumber, ingressNumber) => {
      const [egress, ingress] = [this.egress.all[egressNumber], this.ingress.all[ingressNumber]];
      const one = this.byEgress.of(egressNumber, egress, ingress);
      const two = this.byIngress.of(ingressNumber, ingress, egress);
      const stands = this.cells.stands(sender, item);
      for (const stand of STANDS) {
        if ((stands & (1 << stand)) === 0) continue;
        const pairs = this.cells.pairs(sender, item, stand);
        for (const joint of this.jointsOf(egress, ingress, stand)) {
          const gist = gistOf(resultOf(joint.combination.owner === "ingress" ? two : one, stand, joint));
          told({ way: this.way, services: this.cells.serviceOf(item), traffic: joint.traffic, pairs, gist });
        }
      }
    });
  }

  private add(groups: ChangeGroups, { found, undecided }: Heard, entry: Entry, stand: Stand, joint: Joint,
    describe: (address: string) => string): void {
    if (undecided !== "") groups.refuse(undecided, 1, entry.pairs[stand]);
    if (found === null) return;
    const probe = this.probeOf(entry, stand, joint);
    groups.found(found, this.way, probe?.service ?? "", entry.pairs[stand], (): Example | null => (probe === null ? null : {
      source: describe(probe.source.text), destination: describe(probe.destination.text), traffic: trafficText(probe.traffic),
      current: found.current, target: found.target }));
  }

  private probeOf(entry: Entry, stand: Stand, { shape, traffic }: Joint): Probe | null {
    const sender = entry.senders[stand];
    if (sender === null) return null;
    return this.cells.probes(sender, entry.items[stand], stand, [traffic]).find((one: CellProbe) => one.shape === shape)?.probe ?? null;
  }

  private eachJoint(entry: Entry, egress: Part, ingress: Part, use: (joint: Joint, stand: Stand) => void): void {
    for (const stand of STANDS) {
      if (entry.senders[stand] === null) continue;
      for (const joint of this.jointsOf(egress, ingress, stand)) use(joint, stand);
    }
  }

  private jointsOf(egress: Part, ingress: Part, stand: Stand): readonly Joint[] {
    const key = `${stand} ${egress.vectors[stand]} ${ingress.vectors[stand]}`;
    let found = this.joints.get(key);
    if (found === undefined) this.joints.set(key, found = this.join(egress, ingress, stand));
    return found;
  }

  private join(egress: Part, ingress: Part, stand: Stand): Joint[] {
    const [left, right] = [this.interned.vectors[egress.vectors[stand]], this.interned.vectors[ingress.vectors[stand]]];
    return left.flatMap((own, at) => right.flatMap((other, index): Joint[] => {
      if (own.shape !== other.shape || own.traffic.protocol !== other.traffic.protocol) return [];
      const traffic = { protocol: own.traffic.protocol, first: Math.max(own.traffic.first, other.traffic.first),
        last: Math.min(own.traffic.last, other.traffic.last) };
      if (traffic.first > traffic.last) return [];
      const key = `${stand} ${own.shape} ${own.sign} ${other.sign}`;
      let combination = this.combinations.get(key);
      if (combination === undefined) {
        const unsent = [egress.heard[stand][at], ingress.heard[stand][index]].find(({ sign }) => sign.startsWith("not sent"));
        combination = { candidates: [], seen: 0, unsent: unsent?.undecided ?? "", result: null, owner: "neither" };
        this.combinations.set(key, combination);
      }
      return [{ shape: own.shape, traffic, egress: at, ingress: index, combination }];
    }));
  }

  private eachCell(use: (sender: PodClass, item: number, egress: number, ingress: number) => void): void {
    const { cells: { items }, opens, openCount, traits } = this;
    this.senders.forEach((from, number) => {
      const row = items.map(({ class: to, traits: own }) => (this.receiverGroups[to.index] < 0 ? -1
        : this.egress.number(number, (from.peers[to.index] * openCount + opens[to.index]) * traits + own)));
      for (const sender of from.classes) {
        for (let item = 0; item < items.length; item++) {
          if (row[item] < 0) continue;
          const { class: to, traits: own } = items[item];
          const group = this.receiverGroups[to.index];
          const peer = this.receivers[group].peers[sender.index];
          use(sender, item, row[item], this.ingress.number(group, (peer * openCount + opens[sender.index]) * traits + own));
        }
      }
    });
  }
}

/** What a representative said: the first decides, others must agree. */
export function settle(combination: Combination, heard: Heard, egress: Heard, ingress: Heard): void {
  const { result } = combination;
  if (result === null) {
    combination.result = heard;
    combination.owner = ownerOf(heard, egress, ingress);
  } else if (endOf(result) !== endOf(heard)) combination.result = { sign: TORN, found: null, undecided: TORN };
}

/** What came of a pair, without the name of a difference: names are each part's own. */
function endOf({ sign, found }: Heard): string {
  return found === null ? sign : `${found.facet} ${found.reachesNow}`;
}

function ownerOf({ found }: Heard, egress: Heard, ingress: Heard): Combination["owner"] {
  if (found === null) return "neither";
  if (sameCauses(found, egress.found)) return "egress";
  if (sameCauses(found, ingress.found)) return "ingress";
  // The other end is one that says nothing of it.
  if (sameKind(found, egress.found) && ingress.found === null) return "egress";
  return sameKind(found, ingress.found) && egress.found === null ? "ingress" : "neither";
}

function sameKind(a: Found, b: Found | null): b is Found {
  return b !== null && a.id === b.id && a.facet === b.facet && a.reachesNow === b.reachesNow;
}

function sameCauses(a: Found, b: Found | null): boolean {
  return sameKind(a, b) && a.becauses.length === b.becauses.length
    && a.becauses.every(({ object, rule }, index) => object === b.becauses[index].object && rule === b.becauses[index].rule);
}

/** What is said of the pairs of an entry: of what differs, what one of them said, where it says the same as all that are so. */
function resultOf(entry: Entry, stand: Stand, joint: Joint): Heard {
  const { result, unsent } = joint.combination;
  if (result === null) {
    const undecided = unsent === "" ? "undecided: no pair of the class could be placed" : unsent;
    return { sign: undecided, found: null, undecided };
  }
  const shown = entry.shown[stand].get(joint);
  if (result.found === null) return result;
  // Beyond the packets that may be sent: what it is, and not whose policies make it.
  if (shown === undefined) return { ...result, found: { ...result.found, becauses: [] } };
  const same = shown.found !== null && shown.found.facet === result.found.facet && shown.found.reachesNow === result.found.reachesNow;
  return same ? shown : { sign: TORN, found: null, undecided: TORN };
}

/** Entries of one end, by the number of its part and the other's profile: it is asked for each pair of classes. */
class Entries {
  readonly all: Entry[] = [];
  private readonly byPart: (Map<number, Entry> | undefined)[] = [];

  of(number: number, own: Part, other: Part): Entry {
    const ofPart = this.byPart[number] ??= new Map<number, Entry>();
    let entry = ofPart.get(other.profile);
    if (entry === undefined) {
      entry = { own, other, pairs: [0, 0, 0], senders: [null, null, null], items: [-1, -1, -1], shown: [new Map(), new Map(), new Map()] };
      ofPart.set(other.profile, entry);
      this.all.push(entry);
    }
    return entry;
  }
}

/** The first candidate, the last, and one between. */
function note(combination: Combination, candidate: Combination["candidates"][number]): void {
  const { candidates } = combination;
  const seen = combination.seen++;
  if (candidates.length < REPRESENTATIVES) candidates.push(candidate);
  else candidates[(seen & (seen - 1)) === 0 ? 1 : 2] = candidate;
}

function groupNumbers(groups: readonly Group[], { pods }: Classes): Int32Array {
  const numbers = new Int32Array(pods.length).fill(-1);
  groups.forEach(({ classes }, number) => { for (const { index } of classes) numbers[index] = number; });
  return numbers;
}
