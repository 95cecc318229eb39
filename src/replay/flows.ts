/**
 * Flows as the capture shows them, and what each plane made of them. A flow is opened by a packet that answers
 * nothing seen before; its direction 0 is that packet's. For each direction it knows the tuple where packets enter
 * and the tuple of their last recorded image; each plane adds its own image. That is all the closed loop needs: an
 * answer is the plane's image turned round.
 *
 * The number of flows kept is bounded; the one idle longest goes first, and is counted.
 */
import { addressText } from "../cluster/address.js";
import type { ConntrackDelete } from "../cluster/cluster.js";
import { copyTuple, sameBytes, sameTuple, Tuple, TUPLE_BYTES, TupleTable, turnTuple } from "./tuple.js";

/** What one plane did with the packets of one direction. */
export class PlaneSide {
  /** The last packet reached a pod, a node's socket or the outside. */
  arrived = false;
  /** Tuple of its last image; meaningful where it arrived. */
  readonly image = new Uint8Array(TUPLE_BYTES);
  /** Where it arrived: node, ifindex (0: a socket of the node). */
  node = 0;
  device = 0;
  journey = 0;
  /** Packets of one flow went to another destination from one to the next, without a new connection. */
  moved = false;
  /** Where captures saw the last packet last, and how often it was forwarded from there on; -1: they did not. */
  readonly behind: Sighting = { node: 0, device: 0, hops: -1 };
}

export interface Sighting {
  node: number;
  /** ifindex. */
  device: number;
  hops: number;
}

export class Flow {
  /** Tuple where packets of direction 0 and 1 enter, before any translation. */
  readonly entry = [new Uint8Array(TUPLE_BYTES), new Uint8Array(TUPLE_BYTES)];
  /** Tuple of the last recorded view of direction 0 and 1. */
  readonly image = [new Uint8Array(TUPLE_BYTES), new Uint8Array(TUPLE_BYTES)];
  readonly seen = [false, false];
  /** Point where direction 0 and 1 enter. */
  readonly entryNode = [0, 0];
  readonly entryDevice = [0, 0];
  /** Index: plane, then direction. */
  readonly planes = [[new PlaneSide(), new PlaneSide()], [new PlaneSide(), new PlaneSide()]];
  packets = 0;
  lastNs = 0;
  /** Between the last packet and the one before. */
  pausedNs = 0;
  /** Dated changes made before the last packet. */
  changes = 0;
  /** IPv4/IPv6 fragment id of the datagram that opened it; -1 where that was no fragment. */
  openedBy = -1;
  /** A request was recorded on its way out of a node: the kernel has made its choices and keeps them. */
  chosen = false;
  /** The current plane chose by chance where the recording does not show the choice: its images may lie elsewhere. */
  unobserved = false;
  /** Why what came before the captured points cannot be concluded from what was seen there; empty: it can. */
  unfit = "";
  /** A recorded answer left by another way than the one to its sender (a spoofed source): no loop to close. */
  strayed = false;
  /** Per plane: an answer came back at the entry point as the sender expects it; -1 no answer seen, 0 no, 1 yes. */
  readonly closed = [-1, -1];
  /** Difference found first, -1 for none; later packets of the flow are its consequence. */
  difference = -1;
  /** Facets of the differences found so far. */
  facets = 0;
  /** The planes chose its backend from equal eligible sets; set by whoever compares. */
  sameChoice = false;
  /** Whether the cluster knows one of its addresses; -1: not looked up. */
  matched = -1;
  /** What else whoever compares keeps of it, as bits. */
  notes = 0;
  older: Flow | null = null;
  newer: Flow | null = null;
  slot = 0;
}

export class Flows {
  private readonly byEntry = new TupleTable();
  private readonly byImage = new TupleTable();
  private readonly flows: Flow[] = [];
  private readonly free: number[] = [];
  private oldest: Flow | null = null;
  private newest: Flow | null = null;
  private readonly turned = new Uint8Array(TUPLE_BYTES);
  /** Flows let go because the table was full. */
  evicted = 0;
  opened = 0;
  private live = 0;

  constructor(private readonly limit = 262_144) {}

  /** Direction 0 or 1 of the flow that a packet entering with this tuple continues; -1: none. Sets `found`. */
  find(tuple: Uint8Array): number {
    const entered = this.byEntry.get(tuple);
    if (entered >= 0) return this.take(entered);
    turnTuple(tuple, 0, this.turned, 0);
    const answered = this.byImage.get(this.turned);
    if (answered >= 0) return 1 - this.take(answered);
    return -1;
  }

  /** The flow and direction whose last image has this tuple (what an ICMP error quotes); -1: none. Sets `found`. */
  findImage(tuple: Uint8Array): number {
    const index = this.byImage.get(tuple);
    if (index >= 0) return this.take(index);
    const entered = this.byEntry.get(tuple);
    return entered >= 0 ? this.take(entered) : -1;
  }

  found: Flow | null = null;

  /** Opens a flow whose direction 0 enters with this tuple. */
  open(tuple: Uint8Array, timeNs: number): Flow {
    if (this.oldest !== null && this.live >= this.limit) {
      this.close(this.oldest);
      this.evicted++;
    }
    const slot = this.free.pop() ?? this.flows.length;
    const flow = new Flow();
    flow.slot = slot;
    this.flows[slot] = flow;
    this.opened++;
    this.live++;
    this.append(flow);
    this.enter(flow, 0, tuple, timeNs);
    return flow;
  }

  /** Notes where a packet of a direction entered. */
  enter(flow: Flow, direction: number, tuple: Uint8Array, timeNs: number): void {
    if (!flow.seen[direction]) {
      flow.entry[direction].set(tuple);
      flow.seen[direction] = true;
      this.byEntry.set(tuple, 0, flow.slot * 2 + direction);
    }
    flow.packets++;
    flow.pausedNs = timeNs - flow.lastNs;
    flow.lastNs = timeNs;
    if (this.newest !== flow) {
      this.detach(flow);
      this.append(flow);
    }
  }

  /** Notes the last recorded image of a direction. */
  depict(flow: Flow, direction: number, tuple: Uint8Array): void {
    const image = flow.image[direction];
    if (sameTuple(image, 0, tuple, 0)) return;
    if (this.byImage.get(image) === flow.slot * 2 + direction) this.byImage.delete(image);
    copyTuple(tuple, image);
    this.byImage.set(tuple, 0, flow.slot * 2 + direction);
  }

  close(flow: Flow): void {
    for (let direction = 0; direction < 2; direction++) {
      const index = flow.slot * 2 + direction;
      if (this.byEntry.get(flow.entry[direction]) === index) this.byEntry.delete(flow.entry[direction]);
      if (this.byImage.get(flow.image[direction]) === index) this.byImage.delete(flow.image[direction]);
    }
    this.detach(flow);
    this.live--;
    this.free.push(flow.slot);
  }

  /** The kernel forgot these flows: their next packet opens a new one, which may choose again. */
  end({ protocol, originalSourcePort: sourcePort, originalDestination }: ConntrackDelete): void {
    const destination = originalDestination?.bytes ?? null;
    const ended = [...this.all()].filter(({ entry: [entry] }) => Tuple.protocol(entry) === protocol
      && (sourcePort === null || Tuple.sourcePort(entry) === sourcePort)
      && (destination === null || sameBytes(Tuple.destination(entry), destination)));
    for (const flow of ended) this.close(flow);
  }

  *all(): Iterable<Flow> {
    for (let flow = this.oldest; flow !== null; flow = flow.newer) yield flow;
  }

  private take(index: number): number {
    this.found = this.flows[index >> 1];
    return index & 1;
  }

  private append(flow: Flow): void {
    flow.older = this.newest;
    flow.newer = null;
    if (this.newest !== null) this.newest.newer = flow;
    this.newest = flow;
    this.oldest ??= flow;
  }

  private detach(flow: Flow): void {
    if (flow.older !== null) flow.older.newer = flow.newer;
    else this.oldest = flow.newer;
    if (flow.newer !== null) flow.newer.older = flow.older;
    else this.newest = flow.older;
    flow.older = null;
    flow.newer = null;
  }
}

/** For messages: `tcp 10.0.0.1:40000 > 10.96.0.10:80`. */
export function tupleText(t: Uint8Array): string {
  const protocol = Tuple.protocol(t);
  const name = PROTOCOL_NAMES[protocol] ?? `proto${protocol}`;
  const ports = protocol === 6 || protocol === 17 || protocol === 132;
  const end = (address: Uint8Array, port: number): string => {
    const text = addressText(address);
    return ports ? (address.length === 16 ? `[${text}]:${port}` : `${text}:${port}`) : text;
  };
  return `${name} ${end(Tuple.source(t), Tuple.sourcePort(t))} > ${end(Tuple.destination(t), Tuple.destinationPort(t))}`;
}

const PROTOCOL_NAMES: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp" };
