/**
 * A packet inside the node's kernel model, and the seams between its parts: the IP stack (src/linux/ip) moves
 * packets, netfilter (src/linux/netfilter) judges and rewrites them. Types and one small class; no behaviour.
 *
 * Names follow the kernel: skb, hook, ctinfo. Bytes start at the network header. Addresses and ports in the bytes
 * are in wire order; fields of Skb are host-order numbers.
 */
import type { Address } from "../cluster/address.js";
import { Csum, type Pin } from "../dataplane.js";

/** enum nf_inet_hooks, include/uapi/linux/netfilter.h. */
export const Hook = { Prerouting: 0, Input: 1, Forward: 2, Output: 3, Postrouting: 4 } as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

/** enum ip_conntrack_info, include/uapi/linux/netfilter/nf_conntrack_common.h; Invalid and Untracked are ours. */
export const CtInfo = {
  Established: 0, Related: 1, New: 2, EstablishedReply: 3, RelatedReply: 4, Untracked: 7, Invalid: 8,
} as const;
export type CtInfo = (typeof CtInfo)[keyof typeof CtInfo];

export const Verdict = { Accept: 0, Drop: 1, Stolen: 2, Undecided: 3 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export { Csum } from "../dataplane.js";

/** Opaque to the IP stack. */
export interface ConntrackRef {
  readonly id: number;
}

export class Skb {
  /** The packet, from the network header; may be longer than `length`. */
  bytes: Uint8Array = new Uint8Array(0);
  length = 0;
  family: 4 | 6 = 4;
  /** Network header with IPv4 options / IPv6 extension headers, up to the upper-layer header. */
  headerLength = 0;
  /** IP protocol number of the upper layer. */
  protocol = 0;
  /** Bytes; for a fragment other than the first > 0. */
  fragmentOffset = 0;
  moreFragments = false;
  packetType = 0;
  /** ifindex where it entered; 0: made here. */
  inDevice = 0;
  /** ifindex where it is going to leave; 0 before routing. */
  outDevice = 0;
  mark = 0;
  ct: ConntrackRef | null = null;
  ctinfo: CtInfo = CtInfo.Invalid;
  csum: Csum = Csum.Unknown;
  /** Largest original fragment including its IP header (kernel: IPCB()->frag_max_size); 0: never defragmented. */
  fragMaxSize = 0;
  /** IPv4 DF was set on a fragment of that size. */
  fragDf = false;
  timeNs = 0;
  pin: Pin | null = null;
  /** Bit 0: the pin was taken. Bit 1: refused. As StepResults.flags. */
  pinFlags = 0;
  /** Socket of the node this packet comes from, for `-m owner`; null: not a local socket's. */
  local = false;
  /** Six bytes: source of the Ethernet frame it came in, for `-m mac`; null: not known. Stays with it through the hooks. */
  sourceMac: Uint8Array | null = null;

  /** Whether the bytes before `end` are the packet's own; false where the capture cut them off. */
  has(_end: number): boolean {
    return true;
  }

  /** Makes room for `size` bytes at `at`, which keep what stood there; the packet grows by them. */
  insert(at: number, size: number): void {
    if (this.bytes.length < this.length + size) {
      const larger = new Uint8Array(this.length + size);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes.copyWithin(at + size, at, this.length);
    this.length += size;
  }
}

export type AddressType =
  "LOCAL" | "UNICAST" | "BROADCAST" | "MULTICAST" | "UNREACHABLE" | "BLACKHOLE" | "PROHIBIT" | "ANYCAST" | "THROW" | "NAT";

/** Where a route leads: its type (`none` where there is no route) and ifindex. */
export interface WayBack {
  readonly type: "none" | "unicast" | "local" | "other";
  readonly device: number;
}

/** What netfilter asks of the node it lives in. The IP stack implements it. */
export interface NodeServices {
  /**
   * Type of the address at `bytes[offset…]` (`-m addrtype`): by the local table in IPv4, by the whole route lookup in
   * IPv6. With a device (ifindex, 0: any) an address is LOCAL only where it is that device's.
   */
  addressType(bytes: Uint8Array, offset: number, family: 4 | 6, device?: number): AddressType;
  /** The way to the packet's source (`-m rpfilter`); absent where routes are not known. */
  wayBack?(skb: Skb): WayBack;
  /** Bytes: the smaller MTU of the packet's route and of the way to its source (`TCPMSS --clamp-mss-to-pmtu`). */
  pathMtu?(skb: Skb): number;
  /** Name of an ifindex, "" for 0. */
  deviceName(index: number): string;
  /** Source address the kernel picks on `device` towards the packet's destination (inet_select_addr), or null. */
  masqueradeAddress(device: number, skb: Skb): Address | null;
  /** Sends the answer of a REJECT; `kind` is the --reject-with text, e.g. icmp-port-unreachable, tcp-reset. */
  reject(skb: Skb, kind: string, hook: Hook): void;
  /** After a hook changed addresses, marks or destination of a packet from OUTPUT the stack routes again by itself. */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** What the IP stack asks of netfilter. */
export interface NetfilterHooks {
  /** Runs every chain of this hook, conntrack and NAT in the kernel's priority order. May rewrite the skb. */
  hook(hook: Hook, skb: Skb): Verdict;
  /** Reason of the last Drop or Undecided: `filter/KUBE-FORWARD`, `undecided: …`. */
  readonly reason: string;
  /** An ICMP error made by this node carries the conntrack of the packet it complains about (nf_ct_attach). */
  attach(made: Skb, original: Skb): void;
}
