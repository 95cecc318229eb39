/**
 * A packet that waits at a node's kernel (NodeOption.HOST_STACK): the host walks it through that kernel, and each packet
 * that comes out goes on from there.
 */
import { StackRecord, StepKind } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Outcome } from "./outcome";
import { Packet } from "./packet";
import { Passage } from "./passage";
import { Service } from "./service";
import { Steps } from "./steps";

const RECORD: usize = memory.data(<i32>StackRecord.SIZE, 16);

// ---- what belongs to the waiting packet here
let merged: bool = false;
let entryMtu: u32 = 0;
let pin: usize = 0;

export class Waiting {
  /** The StackRecord of the packet. */
  @inline
  static get record(): usize {
    return RECORD;
  }

  /** `received`: from a device, not from a process of the node. */
  static begin(received: bool): void {
    const record = changetype<StackRecord>(RECORD);
    record.offset = <u32>Packet.ip;
    record.length = <u32>(Packet.captured - Ethernet.LENGTH);
    record.wire_length = <u32>(Packet.wire - Ethernet.LENGTH);
    record.ether_type = Ethernet.type(Packet.frame);
    record.packet_type = Passage.packetType;
    record.local = received ? 0 : 1;
    record.device = Packet.device;
    record.node = <u16>Packet.node;
    record.mark = Packet.mark;
    merged = Passage.merged;
    entryMtu = Passage.entryMtu;
    pin = Service.pin;
    if (TRACE) Steps.write(StepKind.STACK, Steps.NO_MAP, Packet.frame, 0, Packet.device, 0, Packet.mark);
  }

  /** A packet comes out at `offset`, on `node`; `made`: by the kernel itself. */
  static end(node: u32, offset: usize, length: u32, wireLength: u32, mark: u32, made: bool): void {
    const six = load<u8>(offset) >> 4 == 6;
    Passage.place(offset, length, wireLength, six ? Ethernet.IPV6 : Ethernet.IPV4);
    Packet.mark = mark;
    Outcome.made = made ? 1 : 0;
    Passage.merged = merged && !made;
    Passage.entryMtu = made ? 0 : entryMtu;
    Service.pin = made ? 0 : pin;
    Passage.toNode(node);
  }
}
