/**
 * What a step says. Zero is GO_ON: the next step decides. A negative number ends the packet's way: -132 ..
 * -206 are Cilium's drop reasons, below -1000 the programs would not judge. A positive number is where the
 * packet goes; the numbers are ours, because TC_ACT_OK is zero and means different things in different
 * programs.
 */
import { DropReason, Errno, UndecidedReason } from "../abi.gen";

export const GO_ON: i32 = 0;

export class Verdict {
  /** TC_ACT_OK at an ingress hook: up into the node's stack. At an egress hook: out of the device. */
  static readonly PASS: i32 = 1;
  /** Tail call into the program of a local endpoint, `Packet.target`. */
  static readonly ENDPOINT: i32 = 2;
  /** Accepted by the endpoint's program: out of the device it is attached to, into the pod. */
  static readonly DELIVER: i32 = 3;
  /** To a proxy of the node. */
  static readonly PROXY: i32 = 4;
  /** The frame is now an answer; out of the device the question came in by. */
  static readonly ANSWER: i32 = 5;
  /** TC_ACT_REDIRECT: out of the device `Packet.redirect`. */
  static readonly REDIRECT: i32 = 7;
  /** Redirect to the tunnel device, with the key that Tunnel holds. */
  static readonly TUNNEL: i32 = 8;
  /** Redirect into cilium_host: to the node itself. */
  static readonly HOST: i32 = 9;
  /** Redirect to cilium_ipip4 or cilium_ipip6, to the end that Tunnel holds. */
  static readonly IPIP: i32 = 10;

  private static readonly UNDECIDED: i32 = 1000;

  @inline
  static undecided(reason: UndecidedReason): i32 {
    return -(Verdict.UNDECIDED + <i32>reason);
  }

  /**
   * A map that would not take an entry: `reason`, or undecided where memory, and not a limit, was used up.
   */
  static refused(errno: i32, reason: DropReason): i32 {
    return errno == -<i32>Errno.ENOMEM ? Verdict.undecided(UndecidedReason.MAP_MEMORY) : -<i32>reason;
  }

  @inline
  static isUndecided(verdict: i32): bool {
    return verdict <= -Verdict.UNDECIDED;
  }

  /** The UndecidedReason of such a verdict. */
  @inline
  static whyUndecided(verdict: i32): i32 {
    return -verdict - Verdict.UNDECIDED;
  }
}
