/**
 * Frames on their way through programs, stacks and nodes. The host lays a block of FrameRecords and room for
 * results into the arena, `walk_arena` says where, `run` carries each frame until it is delivered, has left
 * the cluster, or is at its end, and writes an OutcomeRecord and the wire images it had on the way.
 *
 *     pod device  -> from_container -+-> endpoint's program -> pod device
 *     uplink      -> from_netdev    -+-> stack -+-> uplink: to_netdev -> next node's uplink ...
 *     process     -> socket         -+          +-> pod device, cilium_host, the node itself
 *
 * A kernel's checks of the IP header hold in the stack and in the pod that receives. A frame larger than a
 * device's MTU is undecided at that device, whoever sends it there: fragments and "too big" are not made.
 *
 * On a node whose kernel has more to say than routes (NodeOption.HOST_STACK) the walk stops at the stack with the
 * end AtStack; the host walks the packet through that kernel and hands each packet that comes out to `resume`.
 *
 * Frames are taken in order. A frame's bytes are rewritten where they lie; 14 bytes before each network
 * header are ours. Where the room for images could run out, `run` stops before the frame and says how many it
 * did.
 */
import {
  AllNodes, ConfigOption, DeviceEntry, DeviceFlag, DeviceKind, DropReason, EmissionKind, EmissionRecord,
  FrameEnd, FrameRecord, Identity, KernelReason, LinkPacketType, NodeClock, OutcomeRecord, Program,
  StackExit, StackRecord, StepKind, UndecidedReason,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Address } from "./address";
import { Entry } from "./entry";
import { Mark } from "./identity";
import { Maps } from "./maps";
import { Masquerade } from "./masquerade";
import { Options } from "./options";
import { isPartial, Packet, TCP } from "./packet";
import { Policy } from "./policy";
import { Service } from "./service";
import { Onward, Stack } from "./stack";
import { Steps } from "./steps";
import { GO_ON, Verdict } from "./verdict";

/** Devices a frame may come to; reality ends a loop by the TTL. */
const MAX_HOPS: i32 = 16;
/** Images that one frame can leave at most: an Out and an In for each hop. */
const MAX_IMAGES: u32 = 2 * <u32>MAX_HOPS;
/** A made answer is no longer than this. */
const MAX_ANSWER: u32 = 1536;
const ADDRESS: usize = memory.data(16, 16);

let frames: usize = 0;
let outcomes: usize = 0;
let emissions: usize = 0;
let emissionRoom: u32 = 0;
let images: usize = 0;
let imageRoom: u32 = 0;

let emitted: u32 = 0;
let imagesUsed: u32 = 0;
let row: usize = 0;
let journey: u32 = 0;
let made: u8 = 0;

// ---- the frame under way
/** Seconds, as recorded. */
let seconds: u32 = 0;
/** Whom the frame was addressed to where it entered; at the next node it is that node. */
let packetType: u8 = 0;
/** TCP segments that an offload merged: their own size is that of the device where they entered, at most. */
let merged: bool = false;
/** MTU of the device where the frame entered; 0: it was a process. */
let entryMtu: u32 = 0;

/** StackRecord of the packet that waits at a node's kernel, and what belongs to it here. */
const WAITING: usize = memory.data(<i32>StackRecord.SIZE, 16);
let waitingMerged: bool = false;
let waitingMtu: u32 = 0;
let waitingPin: usize = 0;

/** Where the next step of the walk is. */
const AT_DEVICE: i32 = 0;
const AT_STACK: i32 = 1;
const AT_EGRESS: i32 = 2;
const AT_END: i32 = 3;

/** Addresses of the block, the outcomes (one a row), the emissions and the images, with their room. */
export function walk_arena(framesAt: usize, outcomesAt: usize, emissionsAt: usize, emissionCount: u32,
  imagesAt: usize,
  imageBytes: u32): void {
  frames = framesAt;
  outcomes = outcomesAt;
  emissions = emissionsAt;
  emissionRoom = emissionCount;
  images = imagesAt;
  imageRoom = imageBytes;
}

/**
 * Takes rows `first`..`first + count` and returns how many were done; where the one after them waits at a node's
 * kernel, `at_stack` says so. Emissions start anew with each call.
 */
export function run(first: u32, count: u32): u32 {
  Maps.forget();
  Options.useConfig(Maps.config());
  emitted = 0;
  imagesUsed = 0;
  for (let done: u32 = 0; done < count; done++) {
    const record = changetype<FrameRecord>(frames + <usize>(first + done) * FrameRecord.SIZE);
    const most = MAX_IMAGES * (max(record.length, MAX_ANSWER) + 8);
    if (emitted + MAX_IMAGES > emissionRoom || imagesUsed + most > imageRoom) return done;
    row = outcomes + <usize>(first + done) * OutcomeRecord.SIZE;
    Steps.frame = first + done;
    walk(record);
    if (changetype<OutcomeRecord>(row).end == <u8>FrameEnd.AtStack) return done;
  }
  return count;
}

/** Address of the StackRecord where the last `run` or `resume` stopped at a node's kernel, else 0. */
export function at_stack(): usize {
  return changetype<OutcomeRecord>(row).end == <u8>FrameEnd.AtStack ? WAITING : 0;
}

/**
 * A packet of the row under way comes out of a node's kernel: `exit` says where it goes on, `offset` and `length`
 * are its bytes, `wireLength` what it had on the wire. The row's outcome and emissions start anew.
 */
export function resume(exit: StackExit, node: u32, device: u32, offset: usize, length: u32, wireLength: u32, mark: u32,
  isMade: u32): void {
  emitted = 0;
  imagesUsed = 0;
  const outcome = changetype<OutcomeRecord>(row);
  memory.fill(row, 0, OutcomeRecord.SIZE);
  const six = load<u8>(offset) >> 4 == 6;
  place(offset, length, wireLength, six ? Ethernet.IPV6 : Ethernet.IPV4);
  Packet.mark = mark;
  made = <u8>isMade;
  merged = waitingMerged && made == 0;
  entryMtu = made == 0 ? waitingMtu : 0;
  Service.pin = made == 0 ? waitingPin : 0;
  toNode(node);
  Packet.redirect = device;
  const short = Packet.parse();
  if (short < 0) fail(short, Program.STACK);
  else carry(leaveStack(exit), outcome);
}

/** EmissionRecords written by the last `run` or `resume`. */
export function emission_count(): u32 {
  return emitted;
}

// ---- one frame
// -------------------------------------------------------------------------------------------------

function walk(record: FrameRecord): void {
  open(record);
  const outcome = changetype<OutcomeRecord>(row);
  outcome.first_emission = emitted;
  carry(record.device == 0 ? fromProcess(record) : AT_DEVICE, outcome);
}

function carry(start: i32, outcome: OutcomeRecord): void {
  let at = start;
  for (let hop = 0; at != AT_END; hop++) {
    if (hop == MAX_HOPS) {
      at = finish(FrameEnd.Undecided, UndecidedReason.LOOP, Program.STACK);
      break;
    }
    if (at == AT_DEVICE) at = enterDevice();
    else if (at == AT_STACK) at = passStack(true);
    else at = leaveBy(Packet.redirect);
  }
  close(outcome);
}

function open(record: FrameRecord): void {
  memory.fill(row, 0, OutcomeRecord.SIZE);
  place(record.offset, record.length, record.wire_length, record.ether_type);
  Packet.mark = record.mark;
  Packet.device = record.device;
  Packet.sourceIdentity = 0;
  Packet.destinationIdentity = 0;
  seconds = record.seconds;
  packetType = record.packet_type;
  merged = false;
  entryMtu = 0;
  toNode(record.node);
  Service.pin = record.pin;
  Service.pinned = 0;
  Service.revNat = 0;
  Service.backendId = 0;
  Policy.cookie = 0;
  made = 0;
  journey = 0x811c9dc5;
}

/** The bytes of the packet under way, with an empty link header in front. */
function place(offset: usize, length: u32, wireLength: u32, type: u16): void {
  Packet.frame = offset - Ethernet.LENGTH;
  Packet.captured = <i32>length + Ethernet.LENGTH;
  Packet.wire = <i32>wireLength + Ethernet.LENGTH;
  memory.fill(Packet.frame, 0, Ethernet.LENGTH);
  Ethernet.setType(Packet.frame, type);
  const isIp = type == Ethernet.IPV4 || type == Ethernet.IPV6;
  Packet.partial = isIp && Packet.parse() == GO_ON && isPartial();
}

function close(outcome: OutcomeRecord): void {
  outcome.emissions = emitted - outcome.first_emission;
  outcome.flags = Service.pinned;
  outcome.cookie = Policy.cookie;
  outcome.service = Service.revNat;
  outcome.backend = Service.revNat == 0 ? 0 : Service.backendId;
  outcome.src_sec_id = Packet.sourceIdentity;
  outcome.dst_sec_id = Packet.destinationIdentity;
  mixJourney(<u32>outcome.end | (<u32>outcome.reason << 8));
  mixJourney(outcome.program);
  mixJourney(outcome.cookie);
  mixJourney(outcome.service);
  mixJourney(outcome.backend);
  mixJourney(outcome.src_sec_id);
  mixJourney(outcome.dst_sec_id);
  outcome.journey = journey;
}

function toNode(node: u32): void {
  Packet.node = node;
  // A node's clock never goes back: frames that are late are judged at the time of its latest one.
  Packet.now = seconds;
  const at = Maps.clock(node);
  if (at != 0) {
    const clock = changetype<NodeClock>(at);
    if (clock.seconds < seconds) clock.seconds = seconds;
    Packet.now = clock.seconds;
  }
  Options.useNode(Maps.node(node));
}

function finish(end: FrameEnd, reason: i32, program: Program): i32 {
  const outcome = changetype<OutcomeRecord>(row);
  outcome.end = <u8>end;
  outcome.reason = <u16>reason;
  outcome.program = <u32>program;
  return AT_END;
}

/** The end that a negative verdict means. */
function fail(verdict: i32, program: Program): i32 {
  if (Verdict.isUndecided(verdict)) return finish(FrameEnd.Undecided, Verdict.whyUndecided(verdict), program);
  return finish(FrameEnd.Dropped, -verdict, program);
}

// ---- the stations
// ------------------------------------------------------------------------------------------------

/**
 * A process of the node sends: connect() may have translated the destination, then the node's routes decide.
 */
function fromProcess(record: FrameRecord): i32 {
  if (!Options.managed) return fail(Verdict.undecided(UndecidedReason.NO_NODE_FACTS), Program.STACK);
  if (record.ether_type != Ethernet.IPV4 && record.ether_type != Ethernet.IPV6) {
    return fail(Verdict.undecided(UndecidedReason.LINK_LAYER), Program.STACK);
  }
  const short = Packet.parse();
  if (short < 0) return fail(short, Program.STACK);
  // Cilium's rules in the OUTPUT chain mark what the node itself sends.
  Mark.setMagic(Mark.HOST);
  Packet.sourceIdentity = Identity.HOST;
  // TCP leaves the size of its segments to the device.
  merged = Packet.protocol == TCP && !Packet.fragment;
  if (Options.has(ConfigOption.ENABLE_SOCKET_LB)) {
    const program = Packet.family == 4 ? Program.SOCK4_CONNECT : Program.SOCK6_CONNECT;
    const verdict = Entry.enter(program);
    if (Verdict.isUndecided(verdict)) return fail(verdict, program);
    // connect() fails with EHOSTUNREACH: the application has its answer, nothing is sent.
    if (verdict < 0) return finish(FrameEnd.Rejected, -verdict, program);
  }
  return passStack(false);
}

function enterDevice(): i32 {
  if (!Options.managed) return fail(Verdict.undecided(UndecidedReason.NO_NODE_FACTS), Program.STACK);
  const device = Maps.device(Packet.device);
  if (device === null) return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
  if (entryMtu == 0 && !merged) {
    entryMtu = device.mtu;
    merged = <u32>(Packet.wire - Ethernet.LENGTH) > entryMtu && Packet.protocol == TCP && !Packet.fragment;
  }
  if (device.flags & <u8>DeviceFlag.UNMANAGED) return upStack();
  if (device.kind == <u8>DeviceKind.POD) {
    return onward(Program.FROM_CONTAINER, Entry.enter(Program.FROM_CONTAINER));
  }
  if (device.kind == <u8>DeviceKind.UPLINK) {
    return onward(Program.FROM_NETDEV, Entry.enter(Program.FROM_NETDEV));
  }
  if (device.kind == <u8>DeviceKind.TUNNEL) {
    return fail(Verdict.undecided(UndecidedReason.TUNNEL_DEVICE), Program.FROM_OVERLAY);
  }
  return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
}

/** After an ingress program. */
function onward(program: Program, verdict: i32): i32 {
  if (verdict < 0) return fail(verdict, program);
  if (verdict == Verdict.PASS) return upStack();
  if (verdict == Verdict.ENDPOINT) return intoEndpoint();
  if (verdict == Verdict.REDIRECT) return AT_EGRESS;
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, program);
  return answer(program);
}

/** Only what is addressed to this node on its link gets past the device (skb->pkt_type). */
function upStack(): i32 {
  const type = Ethernet.type(Packet.frame);
  if (type != Ethernet.IPV4 && type != Ethernet.IPV6) {
    return fail(Verdict.undecided(UndecidedReason.LINK_LAYER), Program.STACK);
  }
  if (packetType == <u8>LinkPacketType.OtherHost) {
    return finish(FrameEnd.Dropped, KernelReason.OTHERHOST, Program.STACK);
  }
  return AT_STACK;
}

function intoEndpoint(): i32 {
  Packet.device = Packet.redirect;
  return intoPod(Entry.enterTarget());
}

/** After the endpoint's program, out of `Packet.device`: the pod's kernel looks at the header last. */
function intoPod(verdict: i32): i32 {
  if (verdict < 0) return fail(verdict, Program.TO_CONTAINER);
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, Program.TO_CONTAINER);
  const device = Maps.device(Packet.device);
  if (device !== null && !fits(device)) {
    return fail(Verdict.undecided(UndecidedReason.MTU), Program.TO_CONTAINER);
  }
  emit(EmissionKind.Out, Packet.device);
  const refused = Stack.receive();
  if (refused < 0 && !Verdict.isUndecided(refused)) return fail(refused, Program.STACK);
  return finish(FrameEnd.Delivered, 0, Program.TO_CONTAINER);
}

/** Whether a device takes the frame in one piece; an MTU of 0 is not known. */
function fits(device: DeviceEntry): bool {
  if (device.mtu == 0 || <u32>(Packet.wire - Ethernet.LENGTH) <= device.mtu) return true;
  return merged && entryMtu <= device.mtu;
}

/** Back out of the device the frame came in by; of an uplink, past its egress program. */
function answer(program: Program): i32 {
  made = 1;
  if (program == Program.FROM_NETDEV) {
    const verdict = Entry.enter(Program.TO_NETDEV);
    if (verdict < 0) return fail(verdict, Program.TO_NETDEV);
  }
  emit(EmissionKind.Out, Packet.device);
  return finish(FrameEnd.Rejected, DropReason.DROP_NO_SERVICE, program);
}

function passStack(received: bool): i32 {
  if (Options.hostStack) return waitAtStack(received);
  // The programs may not have parsed what they passed on untouched.
  const unread = Packet.parse();
  const refused = received ? Stack.receive() : GO_ON;
  if (refused < 0) return fail(refused, Program.STACK);
  // Routing needs no more than the header that was found good; what is behind it may be anything.
  if (unread < 0 && (!received || Verdict.isUndecided(unread))) return fail(unread, Program.STACK);
  const onwards = Stack.route(received, packetType);
  if (onwards < 0) return fail(onwards, Program.STACK);
  if (onwards == Onward.LOCAL) {
    emit(EmissionKind.Local, 0);
    return finish(FrameEnd.Delivered, 0, Program.STACK);
  }
  if (onwards == Onward.UPLINK) {
    const open = Masquerade.byIptables();
    return open < 0 ? fail(open, Program.STACK) : AT_EGRESS;
  }
  return onwards == Onward.ENDPOINT ? outToEndpoint() : intoHost();
}

/** Through cilium_host, whose program takes it to an endpoint. */
function intoHost(): i32 {
  const verdict = Entry.enter(Program.FROM_HOST);
  if (verdict < 0) return fail(verdict, Program.FROM_HOST);
  if (verdict == Verdict.ENDPOINT) return intoEndpoint();
  return fail(Verdict.undecided(UndecidedReason.LOOP), Program.FROM_HOST);
}

/** The host takes over; `resume` goes on. */
function waitAtStack(received: bool): i32 {
  const record = changetype<StackRecord>(WAITING);
  record.offset = <u32>Packet.ip;
  record.length = <u32>(Packet.captured - Ethernet.LENGTH);
  record.wire_length = <u32>(Packet.wire - Ethernet.LENGTH);
  record.ether_type = Ethernet.type(Packet.frame);
  record.packet_type = packetType;
  record.local = received ? 0 : 1;
  record.device = Packet.device;
  record.node = <u16>Packet.node;
  record.mark = Packet.mark;
  waitingMerged = merged;
  waitingMtu = entryMtu;
  waitingPin = Service.pin;
  if (TRACE) Steps.write(StepKind.STACK, Steps.NO_MAP, Packet.frame, 0, Packet.device, 0, Packet.mark);
  return finish(FrameEnd.AtStack, 0, Program.STACK);
}

/** `Packet.redirect` is the device that the kernel sent it to. */
function leaveStack(exit: StackExit): i32 {
  if (exit == StackExit.UPLINK) return AT_EGRESS;
  if (exit == StackExit.ENDPOINT) return outToEndpoint();
  if (exit == StackExit.CILIUM_HOST) return intoHost();
  emit(EmissionKind.Local, 0);
  return finish(FrameEnd.Delivered, 0, Program.STACK);
}

/** Endpoint routes: the stack sends straight to the pod's device, whose egress program is the endpoint's. */
function outToEndpoint(): i32 {
  Packet.device = Packet.redirect;
  return intoPod(Entry.enter(Program.TO_CONTAINER));
}

/** Out of an uplink, and into the next node where there is one. */
function leaveBy(ifindex: u32): i32 {
  Packet.device = ifindex;
  const device = Maps.device(ifindex);
  if (device === null) return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
  if (!(device.flags & <u8>DeviceFlag.UNMANAGED)) {
    const verdict = Entry.enter(Program.TO_NETDEV);
    if (verdict < 0) return fail(verdict, Program.TO_NETDEV);
    if (verdict == Verdict.REDIRECT) return AT_EGRESS;
  }
  if (!fits(device)) return fail(Verdict.undecided(UndecidedReason.MTU), Program.TO_NETDEV);
  emit(EmissionKind.Out, ifindex);
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const route = Maps.route(ADDRESS);
  if (route === null || route.ifindex != ifindex) {
    return fail(Verdict.undecided(UndecidedReason.NO_ROUTE), Program.FABRIC);
  }
  if (route.next_node == <u16>AllNodes.ALL) return leftCluster();
  Packet.device = route.next_ifindex;
  Packet.mark = 0;
  Packet.sourceIdentity = 0;
  packetType = <u8>LinkPacketType.Host;
  toNode(route.next_node);
  emit(EmissionKind.In, Packet.device);
  return AT_DEVICE;
}

/** A header that no kernel takes may have been rewritten in the wrong places, and no router forwards it. */
function leftCluster(): i32 {
  const refused = Stack.receive();
  if (refused < 0 && !Verdict.isUndecided(refused)) {
    return fail(Verdict.undecided(UndecidedReason.BROKEN_HEADER), Program.FABRIC);
  }
  return finish(FrameEnd.Left, 0, Program.FABRIC);
}

// ---- results
// -----------------------------------------------------------------------------------------------------

function emit(kind: EmissionKind, device: u32): void {
  const length = <u32>(min(Packet.captured, Packet.wire) - Ethernet.LENGTH);
  const record = changetype<EmissionRecord>(emissions + <usize>emitted * EmissionRecord.SIZE);
  const at = images + imagesUsed;
  memory.copy(at, Packet.ip, length);
  record.node = <u16>Packet.node;
  record.kind = <u8>kind;
  record.made = made;
  record.device = device;
  record.offset = <u32>at;
  record.length = length;
  emitted++;
  imagesUsed = (imagesUsed + length + 7) & ~7;
  mixJourney(Packet.node | (<u32>kind << 16) | (<u32>made << 24));
  mixJourney(device);
}

/** FNV-1a over words. */
function mixJourney(word: u32): void {
  journey = (journey ^ word) * 0x01000193;
  journey ^= journey >> 15;
}
