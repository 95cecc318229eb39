/**
 * A policy engine between pods and the node, as engines that work in the host's FORWARD chain are: asked
 * about new connections after destination NAT, egress where the packet leaves its pod, ingress where it
 * enters one. What conntrack already knows passes. The engine itself is given; this only asks it. A node's
 * traffic to its own pods is not asked about: no NetworkPolicy can stop it.
 */
import { addressFromBytes, type Address } from "../cluster/address.js";
import type { Device } from "../cluster/cluster.js";
import type { Because } from "../dataplane.js";
import { Hook, Verdict, type Skb } from "../linux/skb.js";

export interface PolicyVerdict {
  readonly verdict: "allow" | "deny" | "undecided";
  /** For a denial: the policies that isolate the pod; else the rules that allow. */
  readonly by: readonly Because[];
}

/**
 * Says what the policies of a cluster make of a flow. `port` is host order, 0 where the protocol has none.
 */
export type PolicyEngine = (source: Address, destination: Address, protocol: number, port: number) =>
  { readonly egress: PolicyVerdict; readonly ingress: PolicyVerdict };

export class PolicyGate {
  /** `networkpolicy/NAMESPACE/NAME`, several joined by `+`; or `undecided: …`. */
  reason = "";
  /** Of the last refusal. */
  becauses: readonly Because[] = [];
  /** Rules that allowed the packet judged last, also where it was then refused at its destination. */
  readonly allowing: Because[] = [];
  private readonly podDevices: ReadonlySet<number>;

  constructor(devices: readonly Device[], private readonly engine: PolicyEngine) {
    this.podDevices = new Set(devices.filter((device) => device.kind === "pod").map((device) => device.index));
  }

  /** What becomes of the first packet of a connection that netfilter accepted in `hook`. */
  judge(hook: Hook, skb: Skb): Verdict {
    this.allowing.length = 0;
    if (hook !== Hook.Forward && hook !== Hook.Input) return Verdict.Accept;
    const egress = this.podDevices.has(skb.inDevice);
    const ingress = hook === Hook.Forward && this.podDevices.has(skb.outDevice);
    if (!egress && !ingress) return Verdict.Accept;
    const [from, to, size] = skb.family === 4 ? [12, 16, 4] : [8, 24, 16];
    const { bytes } = skb;
    const evaluation = this.engine(addressFromBytes(bytes.subarray(from, from + size)),
      addressFromBytes(bytes.subarray(to, to + size)), skb.protocol, portOf(skb));
    const first = egress ? this.refusal(evaluation.egress) : Verdict.Accept;
    return first !== Verdict.Accept || !ingress ? first : this.refusal(evaluation.ingress);
  }

  private refusal({ verdict, by }: PolicyVerdict): Verdict {
    if (verdict === "allow") {
      this.allowing.push(...by);
      return Verdict.Accept;
    }
    const objects = [...new Set(by.map((because) => because.object))].sort().join("+");
    this.becauses = by;
    this.reason = verdict === "deny" ? `networkpolicy/${objects}` : `undecided: network policy: ${objects}`;
    return verdict === "deny" ? Verdict.Drop : Verdict.Undecided;
  }
}

/** TCP, UDP, SCTP, UDP-Lite and DCCP have their destination port in bytes 2 and 3. */
function portOf(skb: Skb): number {
  const { protocol, headerLength, bytes } = skb;
  const ported = protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136 || protocol === 33;
  return ported ? (bytes[headerLength + 2] << 8) | bytes[headerLength + 3] : 0;
}
