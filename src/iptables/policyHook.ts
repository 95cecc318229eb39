/**
 * A policy engine between pods and the node, as engines that work in the host's FORWARD chain are: asked about new
 * connections after destination NAT, egress where the packet leaves its pod, ingress where it enters one. What
 * conntrack already knows passes. The engine itself is given; this only asks it.
 */
import { addressFromBytes, type Address } from "../cluster/address.js";
import type { Device } from "../cluster/cluster.js";
import type { Because } from "../dataplane.js";
import { CtInfo, Hook, Verdict, type NetfilterHooks, type Skb } from "../linux/skb.js";

export interface PolicyVerdict {
  readonly verdict: "allow" | "deny" | "undecided";
  /** For a denial: the policies that isolate the pod. */
  readonly by: readonly Because[];
}

/** Says what the policies of a cluster make of a flow. `port` is 0 where the protocol has none. */
export type PolicyEngine = (source: Address, destination: Address, protocol: number, port: number) =>
  { readonly egress: PolicyVerdict; readonly ingress: PolicyVerdict };

export class PolicyHook implements NetfilterHooks {
  reason = "";
  /** Of the last denial. */
  becauses: readonly Because[] = [];
  private readonly podDevices: ReadonlySet<number>;

  constructor(private readonly inner: NetfilterHooks, devices: readonly Device[], public engine: PolicyEngine) {
    this.podDevices = new Set(devices.filter((device) => device.kind === "pod").map((device) => device.index));
  }

  hook(hook: Hook, skb: Skb): Verdict {
    const verdict = this.inner.hook(hook, skb);
    this.reason = this.inner.reason;
    if (verdict !== Verdict.Accept || skb.ctinfo !== CtInfo.New) return verdict;
    if (hook === Hook.Forward) return this.judge(skb, this.podDevices.has(skb.inDevice), this.podDevices.has(skb.outDevice));
    // From a pod to the node itself. The other way is not asked about: a node always reaches its own pods.
    if (hook === Hook.Input) return this.judge(skb, this.podDevices.has(skb.inDevice), false);
    return verdict;
  }

  attach(made: Skb, original: Skb): void {
    this.inner.attach(made, original);
  }

  private judge(skb: Skb, egress: boolean, ingress: boolean): Verdict {
    if (!egress && !ingress) return Verdict.Accept;
    const { bytes } = skb;
    const [from, to, size] = skb.family === 4 ? [12, 16, 4] : [8, 24, 16];
    const evaluation = this.engine(addressFromBytes(bytes.subarray(from, from + size)),
      addressFromBytes(bytes.subarray(to, to + size)), skb.protocol, portOf(skb));
    const first = egress ? this.refusal(evaluation.egress) : Verdict.Accept;
    if (first !== Verdict.Accept || !ingress) return first;
    return this.refusal(evaluation.ingress);
  }

  private refusal({ verdict, by }: PolicyVerdict): Verdict {
    if (verdict === "allow") return Verdict.Accept;
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
