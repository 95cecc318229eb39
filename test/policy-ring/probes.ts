/** Random flows between what a cluster has and what lies outside, and their first packets through the plane. */
import type { Cluster } from "../../src/cluster/cluster.js";
import { parseAddress } from "../../src/cluster/address.js";
import { FrameBlock, PacketType, type Plane, StepResults } from "../../src/dataplane.js";
import { frame, type ProbeProtocol } from "../npm/probes.js";
import { OUTSIDE, OUTSIDE6, PORTS } from "./clusters.js";
import type { Random } from "./random.js";

export interface RingProbe {
  readonly source: string;
  readonly destination: string;
  readonly protocol: ProbeProtocol;
  /** Destination port; of ICMP the type. */
  readonly port: number;
  /** Node and ifindex where the packet sets out; 0: a process of the node. */
  readonly node: string;
  readonly device: number;
}

export const PROTOCOL_OF: Readonly<Record<ProbeProtocol, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 };
const ICMP_TYPES = [8, 8, 13];

interface Place {
  readonly addresses: readonly string[];
  readonly node: string | null;
  readonly device: number;
  readonly isPod: boolean;
}

export class Prober {
  /** Ends between which a packet went that has no identifier of its own: the next one is of the same connection. */
  private readonly unmarked = new Set<string>();
  private readonly places: readonly Place[];
  private readonly pods: readonly Place[];
  private readonly nodes: readonly Place[];

  /**
   * @param hosts host policies are enforced: nodes are ends like pods
   * @param tunnel a node's processes send to other nodes' pods from an address that nothing says: they are left out
   */
  constructor(private readonly cluster: Cluster, v6: boolean, private readonly hosts = false, private readonly tunnel = false) {
    const pods = cluster.pods.filter((pod) => !pod.hostNetwork).map((pod): Place => {
      const node = cluster.nodes.find((one) => one.name === pod.nodeName)!;
      const device = node.facts.devices.find((one) => one.pod === `${pod.namespace}/${pod.name}`)!.index;
      return { addresses: pod.ips.map(({ text }) => text), node: pod.nodeName, device, isPod: true };
    });
    const nodes = cluster.nodes.map((node): Place => ({ addresses: node.addresses.map(({ address }) => address.text), node: node.name,
      device: 0, isPod: false }));
    const outside = OUTSIDE.map((text, index): Place => ({ addresses: v6 ? [text, OUTSIDE6[index % 2]] : [text], node: null, device: -1,
      isPod: false }));
    this.pods = pods;
    this.nodes = nodes;
    this.places = [...pods, ...pods, ...nodes, ...outside];
  }

  /** One end at least is a pod or, with host policies, a node. No probe is of another's connection. */
  draw(random: Random): RingProbe {
    for (;;) {
      const probe = this.any(random);
      const holder = this.pods.find(({ addresses }) => addresses.includes(probe.destination));
      if (this.tunnel && probe.device === 0 && holder !== undefined && holder.node !== probe.node) continue;
      if (probe.protocol !== "ICMP" || probe.port === 8 || probe.port === 128) return probe;
      const ends = [probe.source, probe.destination].sort().join();
      if (this.unmarked.has(ends)) continue;
      this.unmarked.add(ends);
      return probe;
    }
  }

  private any(random: Random): RingProbe {
    const pod = random.pick(this.hosts && random.chance(35) ? this.nodes : this.pods);
    const others = this.places.filter((one) => one.addresses[0] !== pod.addresses[0]);
    // A pod and its own node, or another: only they tell host from remote-node.
    const other = random.pick(pod.isPod && random.chance(20) ? this.nodes : others);
    const [from, to] = random.chance(50) ? [pod, other] : [other, pod];
    const family = random.below(Math.min(from.addresses.length, to.addresses.length));
    const protocol = random.pick<ProbeProtocol>(["TCP", "TCP", "TCP", "UDP", "UDP", "SCTP", "ICMP"]);
    const [source, destination] = [from.addresses[family], to.addresses[family]];
    const named = this.cluster.pods.flatMap(({ ports }) => ports.map((one) => one.containerPort));
    const port = protocol === "ICMP" ? source.includes(":") ? 128 : random.pick(ICMP_TYPES)
      : random.pick([...PORTS, ...named, ...PORTS.map((one) => one + 1), 1 + random.below(65535)]);
    const start = from.node ?? to.node!;
    const uplink = this.cluster.nodes.find((one) => one.name === start)!.facts.devices.find(({ kind }) => kind === "uplink")!.index;
    return { source, destination, protocol, port, node: start, device: from.device < 0 ? uplink : from.device };
  }
}

export interface Fate {
  readonly end: number;
  readonly reason: string;
}

/** Sends every probe from a source port of its own, at a time of its own: no connection lives that long unanswered. */
export class Sender {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  private count = 0;

  constructor(private readonly plane: Plane) {}

  send(probe: RingProbe): Fate {
    const { plane, block, results } = this;
    const number = this.count++;
    const bytes = frame(probe.protocol, probe.source, probe.destination, 10_000 + (number % 50_000), probe.port);
    if (probe.protocol === "ICMP" && !probe.source.includes(":")) retype(bytes, probe.port);
    block.clear();
    block.push(bytes, 0, bytes.length, bytes.length, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800, PacketType.Host,
      plane.nodes.indexOf(probe.node), probe.device, number * 1e7);
    plane.step(block, results);
    return { end: results.end[0], reason: plane.reasons[results.reason[0]] };
  }
}

export function addressOf(text: string): NonNullable<ReturnType<typeof parseAddress>> {
  return parseAddress(text)!;
}

/** Another ICMP type than the echo request; the checksum's sum is one 16-bit word lower or higher by the difference. */
function retype(bytes: Uint8Array, type: number): void {
  const difference = (type - bytes[20]) << 8;
  bytes[20] = type;
  const word = (~((bytes[22] << 8) | bytes[23]) & 0xffff) + difference;
  const checksum = ~((word & 0xffff) + (word >> 16)) & 0xffff;
  bytes[22] = checksum >> 8;
  bytes[23] = checksum & 255;
}
