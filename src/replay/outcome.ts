/**
 * What one plane made of one frame, read out of StepResults into a reused object: where its image ended, and what
 * answer the plane sent for it.
 */
import { Emission, End, type StepResults } from "../dataplane.js";
import { Decoded, decode } from "../wire/decode.js";
import { EtherType } from "../wire/link.js";
import { writeDecodedTuple, writePlainTuple } from "./fields.js";
import { TUPLE_BYTES } from "./tuple.js";

const fields = new Decoded();

export class Outcome {
  end: number = End.None;
  reason = 0;
  journey = 0;
  flags = 0;
  /** Reached a pod, a socket of a node, or the outside; `image`, `node`, `device` say how and where. */
  arrived = false;
  readonly image = new Uint8Array(TUPLE_BYTES);
  /** The image is a later fragment: its ports are not in it, and not compared. */
  withoutPorts = false;
  /** Upper-layer checksum of the image as it stands there; -1: none to see. */
  checksum = -1;
  /** TTL or hop limit of the image. */
  ttl = 0;
  /** Where the image ended; of a frame that did not arrive, the last node it is known to have entered, or -1. */
  node = 0;
  /** ifindex; 0: a socket of the node. */
  device = 0;
  /** The first packet the plane itself made: IP protocol, and for ICMP type and code. 0: none. */
  answerProtocol = 0;
  answerNode = -1;
  answerType = 0;
  answerCode = 0;
  /** Source address of that answer: 16 bytes, IPv4 in the first four. */
  readonly answerSource = new Uint8Array(16);

  /** One that stays while this is read into again. */
  copy(): Outcome {
    const copy = new Outcome();
    copy.image.set(this.image);
    copy.answerSource.set(this.answerSource);
    const { image, answerSource } = copy;
    return Object.assign(copy, this, { image, answerSource });
  }

  /** Not stepped: the frame could not be, because what it answers never arrived. */
  skip(): void {
    this.end = End.None;
    this.arrived = false;
    this.answerProtocol = 0;
  }

  read(results: StepResults, row: number): void {
    this.end = results.end[row];
    this.reason = results.reason[row];
    this.journey = results.journey[row];
    this.flags = results.flags[row];
    this.arrived = false;
    this.answerProtocol = 0;
    const from = results.firstEmission[row];
    const to = results.firstEmission[row + 1];
    if (this.end === End.Delivered || this.end === End.Left) this.readArrival(results, from, to);
    else this.node = lastEntered(results, from, to);
    for (let index = from; index < to; index++) {
      if (results.emissionMade[index] !== 0 && this.readAnswer(results, index)) break;
    }
  }

  /** The last image of the frame itself; of a datagram sent in fragments, the one that carries the ports. */
  private readArrival(results: StepResults, from: number, to: number): void {
    let last = -1;
    for (let index = to - 1; index >= from; index--) {
      if (results.emissionMade[index] !== 0 || results.emissionKind[index] === Emission.In) continue;
      if (last < 0 && writePlainTuple(results.bytes, results.emissionOffset[index], results.emissionLength[index], this.image)) {
        this.withoutPorts = false;
        this.arriveAt(results, index);
        return;
      }
      if (last >= 0 && !samePoint(results, index, last)) break;
      decodeEmission(results, index);
      if (last < 0 || fields.fragmentOffset === 0) last = index;
      if (fields.fragmentOffset === 0) break;
    }
    if (last < 0) return;
    decodeEmission(results, last);
    this.withoutPorts = fields.fragmentOffset > 0;
    writeDecodedTuple(fields, results.bytes, this.image, 0);
    this.arriveAt(results, last);
  }

  private arriveAt(results: StepResults, index: number): void {
    this.arrived = true;
    this.node = results.emissionNode[index];
    const start = results.emissionOffset[index];
    this.ttl = results.bytes[start + (results.bytes[start] >>> 4 === 4 ? 8 : 7)];
    this.checksum = this.withoutPorts ? -1 : checksumOf(results, index, this.image[1]);
    this.device = results.emissionKind[index] === Emission.Local ? 0 : results.emissionDevice[index];
  }

  private readAnswer(results: StepResults, index: number): boolean {
    const offset = results.emissionOffset[index];
    const length = results.emissionLength[index];
    decode(results.bytes, offset, length, length, EtherType.None, fields);
    const icmp = fields.protocol === 1 || fields.protocol === 58;
    if (!icmp && fields.protocol !== 6) return false;
    this.answerProtocol = fields.protocol;
    this.answerNode = results.emissionNode[index];
    this.answerType = icmp ? fields.icmpType : 0;
    this.answerCode = icmp ? fields.icmpCode : 0;
    this.answerSource.fill(0);
    const size = fields.family === 4 ? 4 : 16;
    for (let at = 0; at < size; at++) this.answerSource[at] = results.bytes[fields.sourceOffset + at];
    return true;
  }
}

/** The node that the frame itself came to last, over the wire; -1: it never left the one where it entered. */
function lastEntered(results: StepResults, from: number, to: number): number {
  for (let index = to - 1; index >= from; index--) {
    if (results.emissionMade[index] === 0 && results.emissionKind[index] === Emission.In) return results.emissionNode[index];
  }
  return -1;
}

/** Where the checksum lies behind the upper-layer header's start, by protocol. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2 };

/** Behind extension headers it is not looked for. */
function checksumOf(results: StepResults, index: number, protocol: number): number {
  const { bytes } = results;
  const start = results.emissionOffset[index];
  const v4 = bytes[start] >>> 4 === 4;
  const at = CHECKSUM_AT[protocol];
  if (at === undefined || (!v4 && bytes[start + 6] !== protocol)) return -1;
  const field = (v4 ? (bytes[start] & 15) * 4 : 40) + at;
  return field + 2 > results.emissionLength[index] ? -1 : (bytes[start + field] << 8) | bytes[start + field + 1];
}

function samePoint(results: StepResults, a: number, b: number): boolean {
  return results.emissionNode[a] === results.emissionNode[b] && results.emissionDevice[a] === results.emissionDevice[b]
    && results.emissionKind[a] === results.emissionKind[b];
}

function decodeEmission(results: StepResults, index: number): void {
  const length = results.emissionLength[index];
  decode(results.bytes, results.emissionOffset[index], length, length, EtherType.None, fields);
}
