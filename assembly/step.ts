/**
 * What a program of your own may use, in one import:
 *
 *     import { DropReason, GO_ON, PolicyStep } from "twinplane/assembly/step";
 *
 * `twinplane build` puts the file in the place of a step. It may export
 *
 *     policy(verdict: i32): i32     after Cilium's own policy decision for a packet; what it returns stands
 *
 * A verdict is GO_ON (0: allowed), or the negative of a drop reason (`-<i32>DropReason.DROP_POLICY_DENY`). A program that
 * replaces the step looks at PolicyStep alone; one that follows it returns `verdict` for what it leaves as it is.
 * Nothing may be allocated (no `new`, arrays or strings made at run time), and nothing imported from the host.
 */
export { DropReason } from "./abi.gen";
export { Address } from "./programs/address";
export { ICMP, ICMPV6, Packet, SCTP, TCP, UDP } from "./programs/packet";
export { GO_ON } from "./programs/verdict";
export { Identities } from "./programs/identity";
import { OwnProgram } from "./abi.gen";
import { Policy } from "./programs/policy";

/** The policy decision under way. */
export class PolicyStep {
  /** Leaving the endpoint; false: entering it. */
  static egress: bool = false;
  /** Security identity of the other end (1 host, 2 world, 6 remote-node, 256 and more pods and CIDRs). */
  static remote: u32 = 0;
  /** IP protocol number. */
  static protocol: u8 = 0;
  /** Destination port after translation, host order; of ICMP 0. */
  static port: u16 = 0;
  /** Number of the endpoint's policy. */
  static policy: u32 = 0;

  /** Says that this program decided, and not the entry that Cilium's step chose; a redirect of that entry is gone too. */
  static decide(verdict: i32): i32 {
    Policy.cookie = <u32>OwnProgram.COOKIE;
    Policy.proxyPort = 0;
    return verdict;
  }
}
