/**
 * The programs by number: what is attached where, with its steps and its count. `enter` runs one program on
 * the packet under way at `Packet.device` of `Packet.node`.
 */
import { DeviceEntry, EndpointInfo, Identity, Program, StepKind, UndecidedReason } from "../abi.gen";
import { fromHost, inheritIdentity } from "./from_host";
import { fromNetdev } from "./from_netdev";
import { fromOverlay } from "./from_overlay";
import { fromPod } from "./from_pod";
import { Chance } from "./chance";
import { HostPolicy } from "./host_policy";
import { Maps } from "./maps";
import { Metrics } from "./metrics";
import { Options } from "./options";
import { Packet } from "./packet";
import { translateSocket } from "./socket";
import { Steps } from "./steps";
import { toHost } from "./to_host";
import { toNetdev } from "./to_netdev";
import { toOverlay } from "./to_overlay";
import { toPod } from "./to_pod";
import { GO_ON, Verdict } from "./verdict";

export class Entry {
  static enter(program: Program): i32 {
    begin(program);
    return end(program, dispatch(program));
  }

  /**
   * The program of a local endpoint, called by another program: `Packet.target` and `Packet.sourceIdentity`
   * are set.
   */
  static enterTarget(): i32 {
    begin(Program.TO_CONTAINER);
    const endpoint = changetype<EndpointInfo>(Packet.target);
    return end(Program.TO_CONTAINER, toPod(endpoint.sec_id, endpoint.policy, Packet.byDevice));
  }
}

function begin(program: Program): void {
  Steps.program = <u8>program;
  Chance.draws = 0;
  if (TRACE) Steps.write(StepKind.ENTER, Steps.NO_MAP, Packet.frame, 0, Packet.device, 0, Packet.mark);
}

function end(program: Program, verdict: i32): i32 {
  if (TRACE) Steps.write(StepKind.VERDICT, Steps.NO_MAP, Packet.frame, 0, verdict, 0, Packet.redirect);
  return Metrics.leave(program, verdict);
}

function dispatch(program: Program): i32 {
  switch (program) {
    case Program.FROM_CONTAINER: {
      const device = Maps.device(Packet.device);
      return device === null ? Verdict.undecided(UndecidedReason.NO_DEVICE) : fromPod(device);
    }
    case Program.TO_CONTAINER: {
      const device = Maps.device(Packet.device);
      return device === null ? Verdict.undecided(UndecidedReason.NO_DEVICE) : intoContainer(device);
    }
    case Program.FROM_NETDEV: return fromNetdev();
    case Program.TO_NETDEV: return toNetdev();
    case Program.FROM_HOST: return fromHost();
    case Program.TO_HOST: return toHost();
    case Program.FROM_OVERLAY: return fromOverlay();
    case Program.TO_OVERLAY: return toOverlay();
    case Program.SOCK4_CONNECT:
    case Program.SOCK6_CONNECT: return translateSocket();
    default: return Verdict.undecided(UndecidedReason.PROGRAM);
  }
}

/** cil_to_container at the endpoint's own device: the source's identity comes with the mark. */
function intoContainer(device: DeviceEntry): i32 {
  // The mark is read for the packet's family, so the header comes first.
  const short = Packet.parse();
  if (short < 0) return short;
  Packet.sourceIdentity = inheritIdentity();
  // What the host sends meets the host's egress policy first, whose program goes on with the endpoint's.
  if (HostPolicy.on && Packet.sourceIdentity == <u32>Identity.HOST && !Options.routing) {
    const verdict = HostPolicy.egress(Identity.HOST, 0);
    if (verdict != GO_ON) return verdict;
    Packet.sourceIdentity = Identity.HOST;
    return toPod(device.sec_id, device.policy, false);
  }
  return toPod(device.sec_id, device.policy, true);
}
