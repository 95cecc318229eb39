/**
 * The nodes' kernels over src/linux. A node is built when the first packet comes to its stack.
 *
 * What leaves by a device that is neither a pod's, an uplink nor cilium_host is undecided: no program is known there.
 */
import type { Address, Family } from "../../cluster/address.js";
import type { Cluster, ConntrackDelete } from "../../cluster/cluster.js";
import { StackExit, UndecidedReason } from "../../contract/codes.js";
import { codeText } from "../../contract/layout.js";
import { End, type Step } from "../../dataplane.js";
import { RuleCache } from "../../linux/netfilter/rule-cache.js";
import type { NodeSink } from "../../linux/node.js";
import type { CiliumOptions } from "../options.js";
import { NodeKernel } from "./kernel.js";
import { NOTHING } from "./memory.js";
import type { NodeStack, StackPacket, StackPiece, StackResult } from "./node-stack.js";
import { HOST_DEVICE } from "./own-rule.js";
import type { RuleGiver } from "./rules.js";

export interface LinuxStackOptions {
  readonly cluster: Cluster;
  /** Names by number. */
  readonly nodes: readonly string[];
  readonly cilium: CiliumOptions;
  readonly rules: RuleGiver;
  /** Part of every draw. */
  readonly seed: number;
  readonly traced: boolean;
}

export class LinuxStack implements NodeStack {
  private cluster: Cluster;
  private readonly kernels = new Map<number, NodeKernel>();
  private readonly caches: Readonly<Record<Family, RuleCache>> = { 4: new RuleCache(4), 6: new RuleCache(6) };
  private readonly sink = new PieceSink();

  constructor(private readonly options: LinuxStackOptions) {
    this.cluster = options.cluster;
  }

  pass(packet: StackPacket): StackResult {
    const { sink } = this;
    const kernel = this.kernel(packet.node);
    const { linux, hooks } = kernel;
    sink.begin(kernel, packet);
    hooks.begin();
    linux.frameMark = packet.mark;
    if (packet.local) linux.output(packet.bytes, packet.offset, packet.length, packet.timeNs, packet.pin, sink);
    else {
      linux.receive(packet.bytes, packet.offset, packet.length, packet.wireLength, packet.etherType, packet.packetType,
        kernel.ingress(packet.device), packet.timeNs, packet.pin, sink);
    }
    sink.decided = hooks.decided;
    sink.steps = hooks.steps;
    return sink;
  }

  free(): void {
    this.sink.free();
  }

  change(cluster: Cluster): void {
    this.cluster = cluster;
    for (const [number, kernel] of this.kernels) {
      const node = cluster.nodes.find((one) => one.name === this.options.nodes[number]);
      // A node that went away takes its connections along.
      if (node === undefined) this.kernels.delete(number);
      else kernel.change(cluster, node);
    }
  }

  deleteConntrack(entry: ConntrackDelete): void {
    this.kernels.get(this.options.nodes.indexOf(entry.node))?.deleteConntrack(entry);
  }

  /** `iptables-save -c` or `ip6tables-save -c` of a node. */
  save(node: number, family: Family): string {
    return this.kernel(node).save(family);
  }

  private kernel(number: number): NodeKernel {
    let kernel = this.kernels.get(number);
    if (kernel === undefined) {
      const { options } = this;
      const node = this.cluster.nodes.find((one) => one.name === options.nodes[number]);
      if (node === undefined) throw new Error("a packet is at the stack of a node that the cluster does not have");
      const hash = mix(options.seed, number);
      kernel = new NodeKernel(number, node, this.cluster, { cilium: options.cilium, rules: options.rules, traced: options.traced,
        caches: this.caches, chance: (flow, draw) => mix(mix(hash, flow), draw) });
      this.kernels.set(number, kernel);
    }
    return kernel;
  }
}

class Piece implements StackPiece {
  exit = 0;
  device = 0;
  bytes = new Uint8Array(2048);
  length = 0;
  wireLength = 0;
  mark = 0;
  made: 0 | 1 = 0;

  copy(bytes: Uint8Array, offset: number, length: number): void {
    if (this.bytes.length < length) this.bytes = new Uint8Array(length * 2);
    this.bytes.set(bytes.subarray(offset, offset + length));
    this.length = length;
  }
}

/** Keeps what a kernel sends until its call is over; the pieces of a row are used again for the next. */
class PieceSink implements NodeSink, StackResult {
  end: End = End.None;
  reason = "";
  pinFlags = 0;
  mark = 0;
  decided = NOTHING;
  steps: readonly Step[] = [];
  pieces: StackPiece[] = [];
  private readonly pool: Piece[] = [];
  private used = 0;
  private kernel!: NodeKernel;
  private wireLength = 0;

  /** What was made for earlier packets of the row stays, until `free`. */
  begin(kernel: NodeKernel, packet: StackPacket): void {
    this.kernel = kernel;
    this.pieces.length = 0;
    this.wireLength = packet.wireLength;
  }

  transmit(device: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1, _gateway: Address | null): void {
    const exit = exitBy(this.kernel, device);
    if (exit === 0) {
      this.end = End.Undecided;
      this.reason = `undecided: ${codeText(UndecidedReason, UndecidedReason.values.ROUTE_DEVICE)}`;
    } else this.keep(exit, device, bytes, offset, length, made);
  }

  /** No tunnel of the present network is left on a Cilium node (facts.ts). */
  enter(): void {
    throw new Error("a packet came out of a tunnel device that a Cilium node does not have");
  }

  local(bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void {
    this.keep(StackExit.values.LOCAL, 0, bytes, offset, length, made);
  }

  private keep(exit: number, device: number, bytes: Uint8Array, offset: number, length: number, made: 0 | 1): void {
    const declared = bytes[offset] >> 4 === 6 ? 40 + ((bytes[offset + 4] << 8) | bytes[offset + 5])
      : (bytes[offset + 2] << 8) | bytes[offset + 3];
    // Merged segments may say a length of 0 (BIG TCP): what was on the wire stays.
    const wireLength = Math.max(length, declared > (bytes[offset] >> 4 === 6 ? 40 : 0) ? declared : this.wireLength);
    const piece = (this.pool[this.used++] ??= new Piece());
    piece.copy(bytes, offset, length);
    piece.exit = exit;
    piece.device = device;
    piece.wireLength = wireLength;
    piece.mark = this.mark;
    piece.made = made;
    this.pieces.push(piece);
  }

  free(): void {
    this.used = 0;
  }
}

/** StackExit of a device; 0: none is known. */
function exitBy(kernel: NodeKernel, index: number): number {
  const device = kernel.device(index);
  if (device?.kind === "uplink") return StackExit.values.UPLINK;
  if (device?.kind === "pod") return StackExit.values.ENDPOINT;
  return device?.name === HOST_DEVICE ? StackExit.values.CILIUM_HOST : 0;
}

/** murmur3's finisher over a pair; uint32. */
function mix(a: number, b: number): number {
  let value = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
