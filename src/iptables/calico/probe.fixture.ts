/** Test support: first packets of new connections through a plane with Calico's rules, and what became of each. */
import { type Address, addressFromBytes } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import { End, FrameBlock, type Journey, PacketType, type Plane, StepResults } from "../../dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { createIptablesPlane } from "../plane.js";
import type { CalicoConfig } from "./config.js";
import { calicoProblems, calicoProgram } from "./generate.js";

export const PROTOCOL = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const;

export interface Probe {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: keyof typeof PROTOCOL;
  /** Destination port; 0 for ICMP. */
  readonly port: number;
  /** Where it starts: a node's process, a pod's device, or the node's uplink. */
  readonly at: { readonly node: string; readonly from: "process" | "uplink" | { readonly pod: string } };
}

export interface Fate {
  readonly end: End;
  readonly reason: string;
  readonly journey: Journey;
  /** Source address in the last wire image; empty where there is none. */
  readonly seenSource: string;
}

export function calicoPlane(cluster: Cluster, config: CalicoConfig): Plane {
  return createIptablesPlane({
    name: "current", profile: "kube-proxy+calico", cluster, epochNs: 0n, seed: 1,
    config: { kubeProxy: KUBE_PROXY_DEFAULTS, masquerade: { agent: "none" }, programs: [calicoProgram(config)] },
    problemsOf: (now) => calicoProblems(now, config),
  });
}

/** Sends probes, each as a connection of its own. */
export class Prober {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  private time = 0;
  private sent = 0;

  constructor(readonly plane: Plane, public cluster: Cluster) {}

  send(probe: Probe): Fate {
    this.sent++;
    return this.frame(probe, frameOf(probe, 1024 + (this.sent % 60000)));
  }

  /** @param bytes from the network header on */
  frame({ at, destination }: Pick<Probe, "at" | "destination">, bytes: Uint8Array): Fate {
    const { plane, block, results } = this;
    const facts = this.cluster.nodes.find((node) => node.name === at.node)!.facts;
    const device = at.from === "process" ? 0 : facts.devices.find((one) => (at.from === "uplink" ? one.kind === "uplink"
      : one.pod === (at.from as { pod: string }).pod))!.index;
    block.clear();
    block.push(bytes, 0, bytes.length, bytes.length, destination.family === 4 ? 0x0800 : 0x86dd, PacketType.Host,
      plane.nodes.indexOf(at.node), device, this.time += 1e6);
    plane.step(block, results);
    return { end: results.end[0] as End, reason: plane.reasons[results.reason[0]], journey: plane.journey(results.journey[0]),
      seenSource: this.lastSource() };
  }

  private lastSource(): string {
    const { emissions, bytes, emissionOffset } = this.results;
    if (emissions === 0) return "";
    const at = emissionOffset[emissions - 1];
    return addressFromBytes(bytes[at] >> 4 === 4 ? bytes.subarray(at + 12, at + 16) : bytes.subarray(at + 8, at + 24)).text;
  }
}

export function frameOf({ source, destination, protocol, port }: Pick<Probe, "source" | "destination" | "protocol" | "port">,
  sourcePort: number, flags = 2): Uint8Array {
  const v6 = source.family === 6;
  const number = protocol === "ICMP" && v6 ? 58 : PROTOCOL[protocol];
  const upper = upperLayer(protocol, v6, sourcePort, port, flags);
  const head = v6 ? 40 : 20;
  const bytes = new Uint8Array(head + upper.length);
  bytes.set(upper, head);
  bytes.set(source.bytes, v6 ? 8 : 12);
  bytes.set(destination.bytes, v6 ? 24 : 16);
  if (v6) bytes.set([0x60, 0, 0, 0, 0, upper.length, number, 64]);
  else bytes.set([0x45, 0, 0, bytes.length, 0, 1, 0, 0, 64, number, 0, 0]);
  const view = new DataView(bytes.buffer);
  if (!v6) view.setUint16(10, ~sum(bytes.subarray(0, 20)) & 0xffff);
  if (protocol === "SCTP") view.setUint32(head + 8, crc32c(upper), true);
  else {
    const pseudo = protocol === "ICMP" && !v6 ? 0 : number + upper.length + sum(source.bytes) + sum(destination.bytes);
    view.setUint16(head + { TCP: 16, UDP: 6, ICMP: 2 }[protocol], ~fold(pseudo + sum(upper)) & 0xffff);
  }
  return bytes;
}

/** TCP with the flags, UDP with eight bytes, SCTP INIT, ICMP echo request; the checksum is left 0. */
function upperLayer(protocol: keyof typeof PROTOCOL, v6: boolean, sourcePort: number, port: number, flags: number): Uint8Array {
  const ports = [sourcePort >> 8, sourcePort & 255, port >> 8, port & 255];
  switch (protocol) {
    case "TCP": return Uint8Array.from([...ports, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    case "UDP": return Uint8Array.from([...ports, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    case "SCTP": return Uint8Array.from([...ports, 0, 0, 0, 0, 0, 0, 0, 0,
      1, 0, 0, 20, 1, 2, 3, 4, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    case "ICMP": return Uint8Array.from([v6 ? 128 : 8, 0, 0, 0, sourcePort >> 8, sourcePort & 255, 0, 1]);
  }
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at] << 8) | (bytes[at + 1] ?? 0);
  return fold(total);
}

function fold(total: number): number {
  let value = total;
  while (value > 0xffff) value = (value & 0xffff) + (value >>> 16);
  return value;
}

/** RFC 9260 appendix A; written to the packet low byte first. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
