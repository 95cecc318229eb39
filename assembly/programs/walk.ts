/**
 * Frames on their way through programs, stacks and nodes. The host lays a block of FrameRecords and room for
 * results into the arena, `walk_arena` says where, `run` carries each frame until it is delivered, has left
 * the cluster, or is at its end, and writes an OutcomeRecord and the wire images it had on the way.
 *
 *     pod device  -> from_container -+-> endpoint's program -> pod device
 *     uplink      -> from_netdev    -+-> stack -+-> uplink: to_netdev -> next node's uplink ...
 *     tunnel      -> from_overlay   -+          +-> tunnel: to_overlay -> uplink, in the tunnel's packet
 *     process     -> socket         -+          +-> pod device, cilium_host, the node itself
 *
 * On a node whose kernel has more to say than routes (NodeOption.HOST_STACK) the walk stops at the stack with the
 * end AtStack; the host walks the packet through that kernel and hands each packet that comes out to `resume`.
 *
 * Frames are taken in order. A frame's bytes are rewritten where they lie; 14 bytes before each network
 * header are ours. Where the room for images could run out, `run` stops before the frame and says how many it
 * did.
 */
import { FrameEnd, FrameRecord, OutcomeRecord, Program, StackExit, UndecidedReason } from "../abi.gen";
import { At } from "./ends";
import { Maps } from "./maps";
import { Options } from "./options";
import { Outcome } from "./outcome";
import { Packet } from "./packet";
import { Passage } from "./passage";
import { Stations } from "./stations";
import { Steps } from "./steps";
import { Tunnel } from "./tunnel";
import { Waiting } from "./waiting";

/** Stations a frame may come to; reality ends a loop by the TTL. */
const MAX_HOPS: i32 = 24;
/** Images that one frame can leave at most: an Out and an In for each station. */
const MAX_IMAGES: u32 = 2 * <u32>MAX_HOPS;
/** A made answer is no longer than this. */
const MAX_ANSWER: u32 = 1536;

let frames: usize = 0;
let outcomes: usize = 0;

/** Addresses of the block, the outcomes (one a row), the emissions and the images, with their room. */
export function walk_arena(framesAt: usize, outcomesAt: usize, emissionsAt: usize, emissionCount: u32,
  imagesAt: usize,
  imageBytes: u32): void {
  frames = framesAt;
  outcomes = outcomesAt;
  Outcome.room(emissionsAt, emissionCount, imagesAt, imageBytes);
}

/**
 * Takes rows `first`..`first + count` and returns how many were done; where the one after them waits at a node's
 * kernel, `at_stack` says so. Emissions start anew with each call.
 */
export function run(first: u32, count: u32): u32 {
  Maps.forget();
  Options.useConfig(Maps.config());
  Outcome.clear();
  for (let done: u32 = 0; done < count; done++) {
    const record = changetype<FrameRecord>(frames + <usize>(first + done) * FrameRecord.SIZE);
    const most = max(record.length, MAX_ANSWER) + Tunnel.OVERHEAD + 8;
    if (!Outcome.fits(MAX_IMAGES, MAX_IMAGES * most)) return done;
    Steps.frame = first + done;
    walk(record, outcomes + <usize>(first + done) * OutcomeRecord.SIZE);
    if (Outcome.waits) return done;
  }
  return count;
}

/** Address of the StackRecord where the last `run` or `resume` stopped at a node's kernel, else 0. */
export function at_stack(): usize {
  return Outcome.waits ? Waiting.record : 0;
}

/**
 * A packet of the row under way comes out of a node's kernel: `exit` says where it goes on, `offset` and `length`
 * are its bytes, `wireLength` what it had on the wire. The row's outcome and emissions start anew.
 */
export function resume(exit: StackExit, node: u32, device: u32, offset: usize, length: u32, wireLength: u32, mark: u32,
  isMade: u32): void {
  Outcome.clear();
  Outcome.again();
  Waiting.end(node, offset, length, wireLength, mark, isMade != 0);
  Packet.redirect = device;
  carry(Stations.resume(exit));
}

/** EmissionRecords written by the last `run` or `resume`. */
export function emission_count(): u32 {
  return Outcome.emitted;
}

function walk(record: FrameRecord, outcome: usize): void {
  Passage.open(record);
  Outcome.open(outcome);
  carry(record.device == 0 ? Stations.fromProcess(record) : At.DEVICE);
}

function carry(start: i32): void {
  let at = start;
  for (let hop = 0; at != At.END; hop++) {
    if (hop == MAX_HOPS) {
      Outcome.end(FrameEnd.Undecided, UndecidedReason.LOOP, Program.STACK);
      break;
    }
    if (at == At.DEVICE) at = Stations.device();
    else if (at == At.STACK) at = Stations.stack(true);
    else if (at == At.TUNNEL) at = Stations.tunnel();
    else at = Stations.egress();
  }
  Outcome.close();
}
