/** Where a frame was on its way, as its images show it: addresses and ports at each device. */
import { addressFromBytes } from "../../cluster/address.js";
import type { Device } from "../../cluster/cluster.js";
import { Emission, type FrameBlock, type StepResults } from "../../dataplane.js";

export interface Hop {
  /** `enter`: as the frame was put in. */
  readonly at: "enter" | "out" | "in" | "local";
  /** Index of the node. */
  readonly node: number;
  /** Of the device there; null: a process of the node, or a device of which nothing is known. */
  readonly kind: Device["kind"] | null;
  /** Its index in the node; 0: a process of the node. */
  readonly device: number;
  /** Ethernet type. */
  readonly type: number;
  /** Empty where the packet is neither IPv4 nor IPv6, or too short. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** 0 where the packet shows none. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export type KindOf = (node: number, device: number) => Device["kind"] | null;

const KINDS = { [Emission.Out]: "out", [Emission.In]: "in", [Emission.Local]: "local" } as const;
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132]);
const IPV4 = 0x0800;
const IPV6 = 0x86dd;

/** The frame as it entered, then its own images in their order; what the dataplane made is left out. */
export function hopsOf(frames: FrameBlock, results: StepResults, row: number, kindOf: KindOf): Hop[] {
  const node = frames.node[row];
  const hops: Hop[] = [{ at: "enter", node, kind: frames.device[row] === 0 ? null : kindOf(node, frames.device[row]),
    device: frames.device[row], type: frames.etherType[row], ...read(frames.bytes, frames.offset[row], frames.length[row]) }];
  for (let index = results.firstEmission[row]; index < results.emissions; index++) {
    if (results.emissionMade[index] === 1) continue;
    const at = results.emissionNode[index];
    const offset = results.emissionOffset[index];
    hops.push({ at: KINDS[results.emissionKind[index] as keyof typeof KINDS], node: at, kind: kindOf(at, results.emissionDevice[index]),
      device: results.emissionDevice[index],
      type: results.bytes[offset] >> 4 === 6 ? IPV6 : IPV4, ...read(results.bytes, offset, results.emissionLength[index]) });
  }
  return hops;
}

type Header = Pick<Hop, "source" | "destination" | "protocol" | "sourcePort" | "destinationPort">;

const NOTHING: Header = { source: "", destination: "", protocol: 0, sourcePort: 0, destinationPort: 0 };

function read(bytes: Uint8Array, offset: number, length: number): Header {
  const version = length > 0 ? bytes[offset] >> 4 : 0;
  const six = version === 6;
  if ((version !== 4 && !six) || length < (six ? 40 : 20)) return NOTHING;
  const [from, to, size] = six ? [8, 24, 16] : [12, 16, 4];
  const address = (at: number): string => addressFromBytes(bytes.subarray(offset + at, offset + at + size)).text;
  const protocol = bytes[offset + (six ? 6 : 9)];
  const header = six ? 40 : (bytes[offset] & 15) * 4;
  const first = six || (((bytes[offset + 6] & 0x1f) << 8) | bytes[offset + 7]) === 0;
  const hasPorts = WITH_PORTS.has(protocol) && first && length >= header + 4;
  const port = (at: number): number => (hasPorts ? (bytes[offset + header + at] << 8) | bytes[offset + header + at + 1] : 0);
  return { source: address(from), destination: address(to), protocol, sourcePort: port(0), destinationPort: port(2) };
}
