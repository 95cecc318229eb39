/**
 * What the walk writes down: the OutcomeRecord of the frame under way, the wire images it had, and a hash of
 * what was decided, equal for frames that fared alike.
 */
import {
  EmissionKind, EmissionRecord, FrameEnd, OutcomeRecord, Program,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Packet } from "./packet";
import { Policy } from "./policy";
import { Service } from "./service";
import { Verdict } from "./verdict";

let emissions: usize = 0;
let emissionRoom: u32 = 0;
let images: usize = 0;
let imageRoom: u32 = 0;
let imagesUsed: u32 = 0;
let row: usize = 0;
let journey: u32 = 0;

export class Outcome {
  /** EmissionRecords written since `room`. */
  static emitted: u32 = 0;
  /** The images from here on were made by the dataplane. */
  static made: u8 = 0;

  /** Where images go, with their room. */
  static room(emissionsAt: usize, emissionCount: u32, imagesAt: usize, imageBytes: u32): void {
    emissions = emissionsAt;
    emissionRoom = emissionCount;
    images = imagesAt;
    imageRoom = imageBytes;
  }

  /** Images start anew. */
  static clear(): void {
    Outcome.emitted = 0;
    imagesUsed = 0;
  }

  /** Whether so many images of so many bytes in all can still be written. */
  static fits(count: u32, bytes: u32): bool {
    return Outcome.emitted + count <= emissionRoom && imagesUsed + bytes <= imageRoom;
  }

  /** Begins the OutcomeRecord at `at`. */
  static open(at: usize): void {
    row = at;
    memory.fill(row, 0, OutcomeRecord.SIZE);
    changetype<OutcomeRecord>(row).first_emission = Outcome.emitted;
    Outcome.made = 0;
    journey = 0x811c9dc5;
  }

  /** Begins the same record anew; the hash goes on. */
  static again(): void {
    memory.fill(row, 0, OutcomeRecord.SIZE);
  }

  /** The frame waits at a node's kernel. */
  static get waits(): bool {
    return changetype<OutcomeRecord>(row).end == <u8>FrameEnd.AtStack;
  }

  static end(end: FrameEnd, reason: i32, program: Program): void {
    const outcome = changetype<OutcomeRecord>(row);
    outcome.end = <u8>end;
    outcome.reason = <u16>reason;
    outcome.program = <u32>program;
  }

  /** The end that a negative verdict means. */
  static fail(verdict: i32, program: Program): void {
    if (Verdict.isUndecided(verdict)) Outcome.end(FrameEnd.Undecided, Verdict.whyUndecided(verdict), program);
    else Outcome.end(FrameEnd.Dropped, -verdict, program);
  }

  static close(): void {
    const outcome = changetype<OutcomeRecord>(row);
    outcome.emissions = Outcome.emitted - outcome.first_emission;
    outcome.flags = Service.pinned;
    outcome.cookie = Policy.cookie;
    outcome.before = Policy.before;
    outcome.service = Service.revNat;
    outcome.backend = Service.revNat == 0 ? 0 : Service.backendId;
    outcome.src_sec_id = Packet.sourceIdentity;
    outcome.dst_sec_id = Packet.destinationIdentity;
    mixJourney(<u32>outcome.end | (<u32>outcome.reason << 8));
    mixJourney(outcome.program);
    mixJourney(outcome.cookie);
    mixJourney(outcome.before);
    mixJourney(outcome.service);
    mixJourney(outcome.backend);
    mixJourney(outcome.src_sec_id);
    mixJourney(outcome.dst_sec_id);
    outcome.journey = journey;
  }

  static emit(kind: EmissionKind, device: u32): void {
    const length = <u32>(min(Packet.captured, Packet.wire) - Ethernet.LENGTH);
    const record = changetype<EmissionRecord>(emissions + <usize>Outcome.emitted * EmissionRecord.SIZE);
    const at = images + imagesUsed;
    memory.copy(at, Packet.ip, length);
    record.node = <u16>Packet.node;
    record.kind = <u8>kind;
    record.made = Outcome.made;
    record.device = device;
    record.offset = <u32>at;
    record.length = length;
    Outcome.emitted++;
    imagesUsed = (imagesUsed + length + 7) & ~7;
    mixJourney(Packet.node | (<u32>kind << 16) | (<u32>Outcome.made << 24));
    mixJourney(device);
  }
}

/** FNV-1a over words. */
function mixJourney(word: u32): void {
  journey = (journey ^ word) * 0x01000193;
  journey ^= journey >> 15;
}
