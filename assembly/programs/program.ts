/**
 * One program on one frame, as BPF_PROG_TEST_RUN has it: for recorded vectors, fuzzing and programs under
 * development. The frame stays where it is and is rewritten there; an answer that a program makes lies
 * elsewhere, so ask `program_frame` for the address afterwards.
 */
import { Program, UndecidedReason } from "../abi.gen";
import { Chance } from "./chance";
import { Entry } from "./entry";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet } from "./packet";
import { Policy } from "./policy";
import { Service } from "./service";
import { Steps } from "./steps";
import { Tunnel } from "./tunnel";
import { Verdict } from "./verdict";

/** What the next `run_program` finds beside the frame. */
let mark: u32 = 0;
let partial: bool = false;
let vni: u32 = 0;
let vlan: u32 = 0;

/** skb->mark, and whether the checksum is CHECKSUM_PARTIAL, for the next run. */
export function program_input(skbMark: u32, checksumPartial: u32): void {
  mark = skbMark;
  partial = checksumPartial != 0;
}

/** What the tunnel device had taken off, for the next run. */
export function program_tunnel(id: u32): void {
  vni = id;
}

/** What get_prandom_u32 says in the next run. */
export function program_chance(drawn: u32): void {
  Chance.given = drawn;
  Chance.isGiven = true;
}

/** Identifier of the VLAN tag that the device had taken off, for the next run. */
export function program_vlan(id: u32): void {
  vlan = id;
}

/**
 * Runs a program (contract: Program) on the frame at `frame`, which starts with its Ethernet header and has
 * `length` bytes, `wireLength` on the wire. Returns a Verdict: negative drop reason, -1000 - UndecidedReason,
 * or a positive number. For an endpoint that another program calls, the program runs up to that call;
 * `program_target` runs it.
 */
export function run_program(program: Program, frame: usize, length: u32, wireLength: u32, node: u32,
  ifindex: u32,
  seconds: u32): i32 {
  Maps.forget();
  Options.useConfig(Maps.config());
  Options.useNode(Maps.node(node));
  Packet.frame = frame;
  Packet.captured = <i32>length;
  Packet.wire = <i32>wireLength;
  Packet.partial = partial;
  Packet.node = node;
  Packet.device = ifindex;
  Packet.mark = mark;
  Packet.tagged = vlan != 0;
  Packet.now = seconds;
  Packet.sourceIdentity = 0;
  Packet.destinationIdentity = 0;
  Packet.target = 0;
  Packet.redirect = 0;
  Packet.fromTunnel = false;
  Packet.byDevice = false;
  Service.pin = 0;
  Overdue.forget();
  Service.pinned = 0;
  Service.revNat = 0;
  Service.backendId = 0;
  Policy.cookie = 0;
  Policy.before = 0;
  Steps.frame = 0;
  mark = 0;
  partial = false;
  Tunnel.vni = vni;
  Tunnel.received = 0;
  vni = vlan = 0;
  if (program == Program.SOCK4_CONNECT || program == Program.SOCK6_CONNECT) {
    const short = Packet.parse();
    if (short < 0) return short;
  }
  const verdict = Entry.enter(program);
  Chance.isGiven = false;
  return verdict;
}

/** The endpoint's program that the last `run_program` handed the packet to. */
export function program_target(): i32 {
  Maps.forget();
  return Packet.target == 0 ? Verdict.undecided(UndecidedReason.NO_DEVICE) : Entry.enterTarget();
}

/** skb->mark after the run. */
export function program_mark(): u32 {
  return Packet.mark;
}

/** With the TUNNEL verdict: the key's id. */
export function program_vni(): u32 {
  return Tunnel.vni;
}

/** With the TUNNEL verdict: where the 16 bytes of the other end's address are. */
export function program_remote(): usize {
  return Tunnel.remote;
}

/** ifindex to leave by, with a redirecting verdict. */
export function program_redirect(): u32 {
  return Packet.redirect;
}

/** Address of the Ethernet header after the run. */
export function program_frame(): usize {
  return Packet.frame;
}

/** Bytes of the frame after the run. */
export function program_length(): u32 {
  return <u32>Packet.captured;
}

/** Backend that was chosen or kept; 0: none. */
export function program_backend(): u32 {
  return Service.backendId;
}
