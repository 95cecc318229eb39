/**
 * Captures in, views out, oldest first: a merge of several captures by time, each bound to the node it was taken
 * on. Chunks are awaited only where a reader runs dry, so a record costs no promise.
 *
 * Where a record crossed is taken from the capture (SLL2 interface number, pcapng interface name, the point the
 * user named) and, only where that says nothing, from its addresses.
 */
import { CaptureReader, type CaptureEnd } from "../capture/index.js";
import { SeenDirection } from "../capture/record.js";
import { Emission, PacketType, type Pin } from "../dataplane.js";
import {
  CopyKey, copyKey, Decoded, DecodeStatus, decode, decodeLink, decodeTunnel, EtherType, LinkInfo, LinkStatus, TunnelInfo,
} from "../wire/index.js";
import { writeDecodedTuple } from "./fields.js";
import { isVlanTag, vlanIdOf } from "../cluster/vlans.js";
import type { Topology } from "./topology.js";
import { View, ViewClass, type ViewPool } from "./view.js";

export interface CaptureInput {
  readonly file: string;
  /** Index of the node it was taken on. */
  readonly node: number;
  /** Device it was taken on, for captures of one interface; empty: the capture says. */
  readonly device: string;
  /** What is to be added to its times, ns. */
  readonly clockNs?: number;
  readonly chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  /** Where records stand for lines of a text: the line of each, in order. */
  readonly lines?: readonly number[];
  /**
   * Records are not what a device was seen to carry but packets that are known to have been sent there; no other packet
   * need be among them. For each the backend that it is known to have been sent on to, or null.
   */
  readonly stated?: readonly Pin["backend"][];
  /** Of each record whether its time is its own, not only its place among the others; absent: all are. */
  readonly timed?: readonly boolean[];
}

export class CaptureCursor {
  readonly reader = new CaptureReader();
  end: CaptureEnd | null = null;
  /** Time of the record under the cursor, ns since the epoch given; never goes back. */
  timeNs = Number.NEGATIVE_INFINITY;
  private seenNs = Number.NEGATIVE_INFINITY;
  private dry = false;

  constructor(readonly input: CaptureInput, readonly index: number) {}

  /** Moves to the next record. False at the end. */
  async advance(epochSec: number): Promise<boolean> {
    while (!this.reader.next()) {
      if (this.dry) {
        this.end = this.reader.finish();
        return false;
      }
      const chunk = await this.input.chunks.next();
      if (chunk.done === true) {
        this.dry = true;
        this.reader.end();
      } else this.reader.push(chunk.value);
    }
    this.stamp(epochSec);
    return true;
  }

  /** The same without waiting; null: `advance` must be awaited. */
  tryAdvance(epochSec: number): boolean | null {
    if (!this.reader.next()) return null;
    this.stamp(epochSec);
    return true;
  }

  /** Counts the record's time from another epoch; before any record was taken. */
  restamp(epochSec: number): void {
    this.seenNs = Number.NEGATIVE_INFINITY;
    this.stamp(epochSec);
  }

  private stamp(epochSec: number): void {
    const { record } = this.reader;
    if (record.hasTime) this.seenNs = Math.max(this.seenNs, (record.timeSec - epochSec) * 1e9 + record.timeFracNs
      + (this.input.clockNs ?? 0));
    this.timeNs = this.seenNs === Number.NEGATIVE_INFINITY ? 0 : this.seenNs;
  }
}

const link = new LinkInfo();
const fields = new Decoded();
const innerFields = new Decoded();
const innerLink = new LinkInfo();
const tunnel = new TunnelInfo();
const key = new CopyKey();
const LINKTYPE_ETHERNET = 1;

/** Fills a view from the record under the cursor. */
export function readView(cursor: CaptureCursor, topology: Topology, pool: ViewPool): View {
  const { record } = cursor.reader;
  const view = pool.take();
  view.capture = cursor.index;
  view.record = record.recordNumber;
  view.timeNs = cursor.timeNs;
  view.node = cursor.input.node;
  view.stated = cursor.input.stated !== undefined;
  view.timed = cursor.input.timed?.[record.recordNumber - 1] ?? true;
  view.backend = cursor.input.stated?.[record.recordNumber - 1] ?? null;
  decodeLink(record.linkType, record.bytes, record.offset, record.capturedLength, link);
  const header = link.status === LinkStatus.Ok ? link.headerLength : 0;
  // A priority tag names no VLAN; the kernel takes 0x9100 for no tag, so what is behind is nothing to it.
  const tagged = link.vlanTags > 0 && (link.vlanTags > 1 || link.vlanId > 0);
  const foreign = link.vlanTags > 0 && !isVlanTag(link.vlanProtocol);
  view.etherType = link.status === LinkStatus.Ok ? link.etherType : 0;
  view.setBytes(record.bytes, record.offset + header, record.capturedLength - header);
  view.wireLength = Math.max(view.length, record.wireLength - header);
  readPacket(view, link.status === LinkStatus.Ok && !foreign && link.vlanTags <= 1);
  if (link.status === LinkStatus.Ok && !foreign && link.vlanTags > 1) view.class = ViewClass.Stacked;
  view.vlanProtocol = tagged ? link.vlanProtocol : 0;
  view.vlanTci = link.vlanTci;
  placeView(view, cursor, topology);
  return view;
}

/** A packet that no capture holds, as if seen entering there; for what is judged as replayed packets are. */
export function viewOf(bytes: Uint8Array, etherType: number, node: number, device: number, timeNs: number): View {
  const view = new View();
  view.node = node;
  view.device = device;
  view.timeNs = timeNs;
  view.etherType = etherType;
  view.setBytes(bytes, 0, bytes.length);
  view.wireLength = bytes.length;
  readPacket(view, true);
  return view;
}

/** What an image holds, in the terms of a view's key; null where it is no packet. */
export function keyOfImage(bytes: Uint8Array, offset: number, length: number): { keyA: number; keyB: number } | null {
  decode(bytes, offset, length, length, EtherType.None, fields);
  if (fields.status !== DecodeStatus.Ok) return null;
  const packet = insideTunnel(bytes, fields) ? innerFields : fields;
  copyKey(bytes, packet, key);
  return { keyA: key.key, keyB: key.check };
}

export interface ImageFields {
  ttl: number;
  tunnelled: boolean;
  readonly tuple: Uint8Array;
}

/** TTL and tuple of an image, or of the packet inside where it is a tunnel's; false where it is none. */
export function readImage(bytes: Uint8Array, offset: number, length: number, into: ImageFields): boolean {
  decode(bytes, offset, length, length, EtherType.None, fields);
  if (fields.status !== DecodeStatus.Ok) return false;
  into.tunnelled = insideTunnel(bytes, fields);
  const packet = into.tunnelled ? innerFields : fields;
  into.ttl = packet.ttl;
  writeDecodedTuple(packet, bytes, into.tuple, 0);
  return true;
}

function readPacket(view: View, readable: boolean): void {
  view.quoted = 0;
  view.tunnelled = false;
  view.vlanProtocol = view.vlanTci = view.carrier = 0;
  if (!readable) {
    view.class = ViewClass.NotIp;
    view.tuple.fill(0);
    return;
  }
  decode(view.bytes, 0, view.length, view.wireLength, view.etherType, fields);
  view.class = fields.status === DecodeStatus.Ok ? ViewClass.Packet
    : fields.status === DecodeStatus.NotIp ? ViewClass.NotIp : ViewClass.Broken;
  if (view.class !== ViewClass.Packet) {
    // What can be read of a broken packet are at most its addresses.
    view.tuple.fill(0);
    if (fields.addressLength > 0) writeDecodedTuple(fields, view.bytes, view.tuple, 0);
    return;
  }
  if (view.etherType === EtherType.None) view.etherType = fields.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
  view.tunnelled = insideTunnel(view.bytes, fields);
  const packet = view.tunnelled ? innerFields : fields;
  view.inner = view.tunnelled ? packet.l3Offset : 0;
  view.family = packet.family;
  view.protocol = packet.protocol;
  view.ttl = packet.ttl;
  view.fragmentId = packet.fragmentId;
  view.fragmentOffset = packet.fragmentOffset;
  view.moreFragments = packet.moreFragments;
  view.l4Offset = packet.l4Offset;
  view.tcpFlags = packet.protocol === 6 ? packet.tcpFlags : 0;
  view.icmpType = packet.icmpType;
  view.icmpCode = packet.icmpCode;
  view.quoted = Math.max(0, packet.errorOffset);
  writeDecodedTuple(packet, view.bytes, view.tuple, 0);
  copyKey(view.bytes, packet, key);
  view.keyA = key.key;
  view.keyB = key.check;
}

/** Decodes the packet in a tunnel's packet into `innerFields`. */
function insideTunnel(bytes: Uint8Array, outer: Decoded): boolean {
  if (!decodeTunnel(bytes, outer, tunnel)) return false;
  decodeLink(LINKTYPE_ETHERNET, bytes, tunnel.innerOffset, tunnel.innerLength, innerLink);
  // A tag inside is for whoever opens the tunnel's packet.
  if (innerLink.status !== LinkStatus.Ok || innerLink.vlanTags > 0) return false;
  const header = innerLink.headerLength;
  decode(bytes, innerLink.l3Offset, tunnel.innerLength - header, tunnel.innerWireLength - header, innerLink.etherType, innerFields);
  return innerFields.status === DecodeStatus.Ok;
}

function placeView(view: View, cursor: CaptureCursor, topology: Topology): void {
  const { record } = cursor.reader;
  const named = cursor.input.device !== "" ? cursor.input.device : record.interfaceName;
  const byName = named === "" ? 0 : topology.deviceNamed(view.node, named);
  const knows = record.interfaceIndex !== 0 && topology.knowsIndexes(view.node);
  view.device = byName !== 0 ? byName : knows ? record.interfaceIndex : 0;
  if (record.direction !== SeenDirection.Unknown) {
    view.kind = record.direction === SeenDirection.Out ? Emission.Out : Emission.In;
  } else view.kind = directionOf(view, record.linkType === LINKTYPE_ETHERNET, cursor, topology);
  if (view.device === 0) {
    view.device = view.class === ViewClass.Packet ? topology.deviceByAddress(view.node, view.kind, view.tuple) : topology.uplink(view.node);
  }
  view.packetType = view.kind === Emission.Out ? PacketType.Outgoing : record.packetType <= 3 ? record.packetType : PacketType.Host;
  if (view.vlanProtocol !== 0 && view.class !== ViewClass.Stacked) placeInVlan(view, topology);
}

/** Where the node has a device for the VLAN, the frame is the one that crosses that device. */
function placeInVlan(view: View, topology: Topology): void {
  const device = topology.vlanDevice(view.node, view.device, view.vlanProtocol, vlanIdOf(view.vlanTci));
  const doubtful = view.packetType === PacketType.OtherHost && topology.mac(view.node, device) !== topology.mac(view.node, view.device);
  if (device === 0 || doubtful) return;
  view.carrier = view.device;
  view.device = device;
  view.vlanProtocol = 0;
}

/** An Ethernet capture says which way by its MAC addresses; else the addresses must. */
function directionOf(view: View, ethernet: boolean, cursor: CaptureCursor, topology: Topology): number {
  const { record } = cursor.reader;
  const device = view.device !== 0 ? view.device : topology.uplink(view.node);
  const mac = topology.mac(view.node, device);
  if (ethernet && mac !== "" && record.capturedLength >= 12) {
    if (sameMac(record.bytes, record.offset + 6, mac)) return Emission.Out;
    if (sameMac(record.bytes, record.offset, mac)) return Emission.In;
  }
  if (view.class !== ViewClass.Packet) return Emission.In;
  const found = topology.directionByAddress(view.node, device, view.tuple);
  if (found === null) view.class = ViewClass.Undirected;
  return found ?? Emission.In;
}

function sameMac(bytes: Uint8Array, at: number, mac: string): boolean {
  for (let index = 0; index < 6; index++) {
    if (bytes[at + index] !== Number.parseInt(mac.slice(index * 3, index * 3 + 2), 16)) return false;
  }
  return true;
}
