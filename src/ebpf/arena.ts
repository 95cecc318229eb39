/**
 * The module's arena as a block of frames needs it:
 *
 *     FrameRecords | OutcomeRecords | PinRecords | frames | EmissionRecords | images | room for one packet
 *
 * Each frame has room for a link header in front. The last part takes a packet that comes out of a node's kernel.
 */
import { encodeInto } from "../contract/codec.js";
import { PinFlag } from "../contract/codes.js";
import { EmissionRecord, FrameRecord, OutcomeRecord, PinRecord } from "../contract/structs.js";
import { vlanIdOf } from "../cluster/vlans.js";
import type { FrameBlock } from "../dataplane.js";
import type { Machine } from "./machine.js";

const LINK_ROOM = 16;
export const EMISSIONS = 2048;
/** Part of the arena for frames; the rest takes outcomes and images. */
const FRAME_SHARE = 0.25;
/** The largest IP packet, with its link header. */
const PACKET_ROOM = 0x10000 + 0x100;

/** Addresses of a block that was laid out. */
export interface Layout {
  readonly count: number;
  readonly framesAt: number;
  readonly outcomesAt: number;
  readonly emissionsAt: number;
  readonly imagesAt: number;
  readonly imageBytes: number;
  /** Of the network header of a packet that comes out of a kernel. */
  readonly packetAt: number;
}

/** The VLAN device that takes a row's frame; 0: none that is known. */
export type VlanDevices = (frames: FrameBlock, row: number) => number;

export class Arena {
  readonly view: DataView;
  readonly bytes: Uint8Array;

  /** `vlans` says where tagged frames come in. */
  constructor(private readonly machine: Machine, private readonly vlans: VlanDevices) {
    this.view = new DataView(machine.memory.buffer);
    this.bytes = new Uint8Array(machine.memory.buffer);
  }

  /** Lays out rows from `first` on, as many as there is room for. */
  lay(frames: FrameBlock, first: number): Layout {
    const { arenaAddress, arenaBytes } = this.machine;
    const count = this.fit(frames, first, arenaBytes * FRAME_SHARE) - first;
    const framesAt = align(arenaAddress);
    const outcomesAt = align(framesAt + count * FrameRecord.size);
    const pinsAt = align(outcomesAt + count * OutcomeRecord.size);
    let at = align(pinsAt + count * PinRecord.size);
    for (let index = 0; index < count; index++) {
      at = this.putFrame(frames, first + index, framesAt + index * FrameRecord.size, pinsAt + index * PinRecord.size, at);
    }
    const imagesAt = align(at + EMISSIONS * EmissionRecord.size);
    const packetAt = (arenaAddress + arenaBytes - PACKET_ROOM) & ~7;
    return { count, framesAt, outcomesAt, emissionsAt: at, imagesAt, imageBytes: packetAt - LINK_ROOM - imagesAt, packetAt };
  }

  private fit(frames: FrameBlock, first: number, room: number): number {
    let used = 0;
    let row = first;
    while (row < frames.count) {
      used += frames.length[row] + LINK_ROOM + 8 + FrameRecord.size + OutcomeRecord.size + PinRecord.size;
      if (used > room && row > first) break;
      row++;
    }
    return row;
  }

  private putFrame(frames: FrameBlock, row: number, recordAt: number, pinAt: number, at: number): number {
    const { view } = this;
    const offset = at + LINK_ROOM;
    const length = frames.length[row];
    this.bytes.set(frames.bytes.subarray(frames.offset[row], frames.offset[row] + length), offset);
    const time = Math.max(0, frames.timeNs[row]);
    const seconds = Math.floor(time / 1e9);
    view.setUint32(recordAt + FRAME.offset, offset, true);
    view.setUint32(recordAt + FRAME.length, length, true);
    view.setUint32(recordAt + FRAME.wire_length, frames.wireLength[row], true);
    view.setUint16(recordAt + FRAME.ether_type, frames.etherType[row], true);
    view.setUint8(recordAt + FRAME.packet_type, frames.packetType[row]);
    const tagged = frames.vlanProtocol[row] !== 0;
    const inside = tagged ? this.vlans(frames, row) : 0;
    view.setUint32(recordAt + FRAME.device, inside === 0 ? frames.device[row] : inside, true);
    view.setUint16(recordAt + FRAME.vlan_id, tagged && inside === 0 ? vlanIdOf(frames.vlanTci[row]) : 0, true);
    view.setUint16(recordAt + FRAME.node, frames.node[row], true);
    view.setUint32(recordAt + FRAME.seconds, seconds, true);
    view.setUint32(recordAt + FRAME.nanoseconds, Math.floor(time - seconds * 1e9), true);
    view.setUint32(recordAt + FRAME.mark, 0, true);
    view.setUint32(recordAt + FRAME.pin, frames.pin[row] === 0 ? 0 : this.putPin(frames, frames.pin[row] - 1, pinAt), true);
    return align(offset + length);
  }

  private putPin(frames: FrameBlock, index: number, at: number): number {
    const { backend, sourcePort } = frames.pins[index];
    const backendAddress = new Uint8Array(16);
    let flags = 0;
    if (backend !== null) {
      backendAddress.set(backend.address.bytes);
      flags |= PinFlag.values.BACKEND | (backend.address.family === 6 ? PinFlag.values.IPV6 : 0);
    }
    if (sourcePort !== null) flags |= PinFlag.values.SOURCE_PORT;
    encodeInto(
      PinRecord,
      { backend: backendAddress, backend_port: backend?.port ?? 0, source_port: sourcePort ?? 0, flags },
      this.view,
      at,
    );
    return at;
  }
}

/** Offsets of a struct's fields, by name. */
export function offsets(struct: {
  readonly fields: readonly { readonly name: string; readonly offset: number }[];
}): Record<string, number> {
  return Object.fromEntries(struct.fields.map(({ name, offset }) => [name, offset]));
}

const FRAME = offsets(FrameRecord);

function align(address: number): number {
  return (address + 7) & ~7;
}
