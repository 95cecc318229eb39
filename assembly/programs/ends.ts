/**
 * How a frame's way ends, or leaves this node for good: into a pod, as an answer out of the device it came by, out of the
 * cluster; and the ends that a verdict means. stations.ts has the way.
 */
import { ConfigOption, EmissionKind, FrameEnd, KernelReason, Program, UndecidedReason } from "../abi.gen";
import { Answer } from "./answer";
import { Entry } from "./entry";
import { Maps } from "./maps";
import { Options } from "./options";
import { Outcome } from "./outcome";
import { Packet } from "./packet";
import { Passage } from "./passage";
import { Stack } from "./stack";
import { Verdict } from "./verdict";

/** Where the next step of the walk is. */
export class At {
  static readonly DEVICE: i32 = 0;
  static readonly STACK: i32 = 1;
  static readonly EGRESS: i32 = 2;
  static readonly END: i32 = 3;
  static readonly TUNNEL: i32 = 4;
}

export function finish(end: FrameEnd, reason: i32, program: Program): i32 {
  Outcome.end(end, reason, program);
  return At.END;
}

/** The end that a negative verdict means. */
export function fail(verdict: i32, program: Program): i32 {
  Outcome.fail(verdict, program);
  return At.END;
}

export function intoEndpoint(): i32 {
  Packet.device = Packet.redirect;
  return intoPod(Entry.enterTarget());
}

/** Endpoint routes: the stack sends straight to the pod's device, whose egress program is the endpoint's. */
export function outToEndpoint(): i32 {
  Packet.device = Packet.redirect;
  return intoPod(Entry.enter(Program.TO_CONTAINER));
}

/** After the endpoint's program, out of `Packet.device`: the pod's kernel looks at the header last. */
function intoPod(verdict: i32): i32 {
  if (verdict < 0) return fail(verdict, Program.TO_CONTAINER);
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, Program.TO_CONTAINER);
  // Time exceeded on the way to a proxy; it would go out of the pod's device again.
  if (verdict == Verdict.ANSWER) return fail(Verdict.undecided(UndecidedReason.TTL), Program.TO_CONTAINER);
  const device = Maps.device(Packet.device);
  if (device !== null && !Passage.fits(device)) {
    return fail(Verdict.undecided(UndecidedReason.MTU), Program.TO_CONTAINER);
  }
  Outcome.emit(EmissionKind.Out, Packet.device);
  const refused = Stack.receive();
  if (refused < 0 && !Verdict.isUndecided(refused)) return fail(refused, Program.STACK);
  return finish(FrameEnd.Delivered, 0, Program.TO_CONTAINER);
}

/**
 * Back out of the device the frame came in by (redirect_self), past its egress program: an uplink's, or a pod's where
 * endpoints have routes of their own. The tunnel's driver has no key for it.
 */
export function answer(program: Program): i32 {
  Outcome.made = 1;
  let egress = Program.NONE;
  if (program == Program.FROM_NETDEV) egress = Program.TO_NETDEV;
  if (program == Program.FROM_CONTAINER && Options.has(ConfigOption.ENABLE_ENDPOINT_ROUTES)) {
    egress = Program.TO_CONTAINER;
  }
  if (program == Program.FROM_OVERLAY) return finish(FrameEnd.Dropped, KernelReason.TUNNEL_TXINFO, Program.STACK);
  const reason = Answer.reason;
  Packet.mark = 0;
  const verdict = egress == Program.NONE ? Verdict.PASS : Entry.enter(egress);
  if (verdict < 0) return fail(verdict, egress);
  Answer.reason = reason;
  Outcome.emit(EmissionKind.Out, Packet.device);
  return finish(Answer.reason == 0 ? FrameEnd.Answered : FrameEnd.Rejected, Answer.reason, program);
}

/** A header that no kernel takes may have been rewritten in the wrong places, and no router forwards it. */
export function leftCluster(): i32 {
  const refused = Stack.receive();
  if (refused < 0 && !Verdict.isUndecided(refused)) {
    return fail(Verdict.undecided(UndecidedReason.BROKEN_HEADER), Program.FABRIC);
  }
  return finish(FrameEnd.Left, 0, Program.FABRIC);
}
