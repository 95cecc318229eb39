/** Seeded frames for a world: new connections at every hook, answers to what came out, odd ones in between. */
import { ACK, frame, FIN, packet, type PacketInput, read, RST, SYN } from "../packets.js";
import type { Hook } from "../vector-case.js";
import { NODE_PORT, type World } from "./world.js";

export interface Sent {
  readonly hook: Hook;
  /** Whose program runs at a pod's hook: place in `world.local`. */
  readonly pod: number;
  readonly bytes: Uint8Array;
  /** skb->mark on entry: processes of the node carry the host's. */
  readonly mark: number;
}

const MARK_HOST = 0xc00;
const CLIENT_PORTS = 28_000;

export class Traffic {
  private state: number;
  private readonly open: { hook: Hook; pod: number; input: PacketInput; came: number }[] = [];
  private nextPort = 0;

  constructor(private readonly world: World, seed: number) {
    this.state = seed | 1;
  }

  next(): Sent {
    return this.open.length > 0 && this.chance(40) ? this.follow() : this.fresh();
  }

  /** The frame went through as `out` (from the Ethernet header on): answers to it may come. */
  passed(sent: Sent, out: Uint8Array): void {
    const bytes = out.subarray(14);
    const { from, to, protocol, sport, dport } = read(bytes);
    const name = ({ 6: "TCP", 17: "UDP", 1: "ICMP", 58: "ICMP" } as const)[protocol];
    if (name === undefined || name === "ICMP" || bytes.length < 28) return;
    const back: Partial<Record<Hook, Hook>> = { "pod-egress": "pod-ingress", "pod-ingress": "pod-egress", "netdev-ingress": "netdev-ingress",
      "netdev-egress": "netdev-ingress" };
    const hook = back[sent.hook];
    if (hook === undefined) return;
    this.open.push({ hook, pod: sent.pod, came: 0, input: { from: to, to: from, protocol: name, sport: dport, dport: sport } });
    if (this.open.length > 64) this.open.shift();
  }

  private fresh(): Sent {
    const hook = this.pick(["pod-egress", "pod-egress", "pod-ingress", "netdev-ingress", "netdev-ingress", "netdev-egress"] as const);
    const family = this.pick(this.world.families);
    const pod = this.below(this.world.local[family].length);
    const { from, to } = this.ends(hook, family, pod);
    const target = this.target(hook, family);
    const port = 32_768 + (this.nextPort++ % CLIENT_PORTS);
    const base: PacketInput = { from, to: target?.address ?? to, protocol: this.pick(["TCP", "TCP", "TCP", "UDP", "ICMP"]), sport: port,
      dport: this.pick([80, 443, 8080, 5353, 9000, 9050, 9101, 53, NODE_PORT]), flags: this.pick([SYN, SYN, SYN, ACK, SYN | ACK, RST]) };
    const input = target === null ? base : { ...base, protocol: target.protocol === 17 ? "UDP" as const : "TCP" as const,
      dport: this.chance(90) ? target.port : base.dport };
    const payload = new Uint8Array(this.pick([0, 0, 1, 8, 33, 200])).fill(0x78);
    return { hook, pod, mark: hook === "netdev-egress" && from === (family === 4 ? this.world.node4 : this.world.node6) ? MARK_HOST : 0,
      bytes: frame(packet({ ...input, payload, ttl: this.chance(3) ? 1 : 64,
        icmp: [family === 4 ? this.pick([8, 8, 0, 13]) : this.pick([128, 128, 129, 139]), 0, Uint8Array.of(0x90, this.below(64), 0, 1)] })) };
  }

  private follow(): Sent {
    const one = this.pick(this.open);
    one.came++;
    const flags = one.came === 1 ? SYN | ACK : this.pick([ACK, ACK, FIN | ACK, RST]);
    return { hook: one.hook, pod: one.pod, mark: 0, bytes: frame(packet({ ...one.input, flags, payload: new Uint8Array(this.below(3)) })) };
  }

  private ends(hook: Hook, family: 4 | 6, pod: number): { from: string; to: string } {
    const { local, remote, outside } = this.world;
    const own = local[family][pod];
    const node = (family === 4 ? this.world.node4 : this.world.node6)!;
    const anyone = [...local[family], ...remote[family], ...outside[family], node];
    if (hook === "pod-egress") return { from: this.chance(3) ? this.pick(anyone) : own, to: this.pick(anyone) };
    if (hook === "pod-ingress") return { from: this.pick(anyone), to: own };
    if (hook === "netdev-egress") return { from: this.pick([...local[family], node]), to: this.pick([...remote[family], ...outside[family]]) };
    return { from: this.pick([...remote[family], ...outside[family]]), to: this.pick([...local[family], node]) };
  }

  /** A frontend, half of the time where one can be asked for. */
  private target(hook: Hook, family: 4 | 6): World["frontends"][number] | null {
    if (hook === "pod-ingress" || hook === "netdev-egress" || this.chance(50)) return null;
    const those = this.world.frontends.filter((one) => one.address.includes(":") === (family === 6) && (hook === "pod-egress" || one.outside));
    return those.length === 0 ? null : this.pick(those);
  }

  private below(limit: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 0x1_0000_0000) * limit);
  }

  private chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}
