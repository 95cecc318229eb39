/**
 * The stories recorded in the lab through the whole plane: two nodes, their rules, the fabric between them.
 * Every frame the kernel sent must be sent, every frame it did not must not be, byte for byte.
 *
 * Recorded frames are taken in time order. One that enters a node is injected unless the plane foresaw it (it
 * came from the other node); one that leaves must have been foreseen, unless a process of the node sent it:
 * then it is injected as sent (ICMP errors never are: nodes make them). Generated rules are used, not the
 * recorded texts; the endpoint choices follow from `nth` counters.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readManifests } from "../cluster/manifests.js";
import { readNodeFacts } from "../cluster/node-facts.js";
import { buildCluster } from "../cluster/timeline.js";
import type { Cluster, NodeFacts } from "../cluster/cluster.js";
import { Emission, End, FrameBlock, type Plane, StepResults } from "../dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "./kubeproxy/config.js";
import { address, prefix } from "./manifests.fixture.js";
import { createIptablesPlane } from "./plane.js";

const TRACES = join(import.meta.dirname, "../../traces");
/** Both have the same objects, which lie in the first. */
const LABS = ["lab", "lab-vxlan"];
const NODES = ["node1", "node2"];
const LOOPBACK = 1;

for (const lab of LABS) {
  describe(`stories of traces/${lab}`, () => {
    const stories = readdirSync(join(TRACES, lab), { withFileTypes: true }).filter((one) => one.isDirectory());
    test("are there", () => expect(stories.length).toBeGreaterThan(1));
    for (const story of stories) {
      test(story.name, () => {
        const replay = new StoryReplay(lab, story.name);
        replay.run();
        expect(replay.faults.slice(0, 12)).toEqual([]);
        expect(replay.injected).toBeGreaterThan(2);
        expect(replay.matched).toBeGreaterThan(2);
      });
    }
  });
}

interface Frame {
  readonly timeNs: bigint;
  readonly node: number;
  readonly device: number;
  readonly packetType: number;
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

class StoryReplay {
  readonly faults: string[] = [];
  injected = 0;
  matched = 0;
  private readonly plane: Plane;
  private readonly frames: Frame[];
  /** The nodes' own addresses. */
  private readonly own: readonly ReadonlySet<string>[];
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  /** Foreseen images that were not recorded yet, with how many. */
  private readonly foreseen = new Map<string, number>();
  private readonly changes: { atNs: bigint; act: (timeNs: number) => void }[] = [];

  constructor(lab: string, story: string) {
    const folder = join(TRACES, lab, story);
    const first = clusterOf("cluster.yaml", lab);
    this.own = first.nodes.map((node) => new Set(node.facts.devices.flatMap((device) => (
      device.addresses.map((one) => Buffer.from(one.address.bytes).toString("hex"))))));
    this.frames = NODES.flatMap((node, number) => framesOf(readFileSync(join(folder, `${node}.any.pcap`)), number))
      .sort((a, b) => (a.timeNs < b.timeNs ? -1 : 1));
    const at = timesOf(readFileSync(join(folder, "case.jsonl"), "utf8"));
    const plan: [string, (timeNs: number) => void][] = [
      ["T22.3", (timeNs) => this.plane.change(clusterOf("cluster-v2.yaml", lab), timeNs)],
      ["T22.6", (timeNs) => this.deleteStaleUdp(timeNs)],
      ["T22.7", (timeNs) => this.plane.change(first, timeNs)],
    ];
    for (const [id, act] of plan) if (at.has(id)) this.changes.push({ atNs: at.get(id)!, act });
    const clusterCIDR = [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")];
    this.plane = createIptablesPlane({
      name: "current", profile: "kube-proxy", cluster: first, nodes: NODES, epochNs: this.frames[0].timeNs, seed: 1,
      // The lab deletes UDP entries some time after the rules changed, as a step of its own.
      udpCleanup: false,
      config: {
        kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR, randomFully: false, statisticMode: "nth" },
        masquerade: { agent: "cni", clusterCIDR, randomFully: false,
          nonMasqueradeCIDRs: [prefix("192.168.50.0/24"), prefix("fd00:50::/64")] },
      },
    });
  }

  run(): void {
    for (const frame of this.frames) {
      while (this.changes.length > 0 && this.changes[0].atNs <= frame.timeNs) {
        const { atNs, act } = this.changes.shift()!;
        act(Number(atNs - this.plane.epochNs));
      }
      if (frame.device === LOOPBACK || isNeighbourTalk(frame)) continue;
      const leaving = frame.packetType === 4;
      if (this.take(image(frame.node, frame.device, leaving, frame.bytes))) continue;
      if (leaving && (isError(frame.bytes) || isOuter(frame.bytes) || !this.own[frame.node].has(sourceOf(frame.bytes)))) {
        this.faults.push(`not foreseen: ${describeFrame(frame)}`);
      } else {
        this.inject(frame, leaving);
      }
    }
    for (const [text, count] of this.foreseen) if (count > 0) this.faults.push(`foreseen in vain: ${text.slice(0, 160)}`);
  }

  /** conntrack -D -p udp --orig-dst 10.96.0.120 --dst-nat 10.244.1.10, on every node. */
  private deleteStaleUdp(timeNs: number): void {
    for (const node of NODES) {
      this.plane.deleteConntrack({ node, family: 4, protocol: 17, originalSource: null,
        originalDestination: address("10.96.0.120"), originalSourcePort: null, originalDestinationPort: null,
        replySource: address("10.244.1.10") }, timeNs);
    }
  }

  private inject(frame: Frame, fromProcess: boolean): void {
    const { block, results } = this;
    this.injected++;
    block.clear();
    block.push(frame.bytes, 0, frame.bytes.length, frame.bytes.length, frame.etherType,
      fromProcess ? 0 : frame.packetType, frame.node, fromProcess ? 0 : frame.device,
      Number(frame.timeNs - this.plane.epochNs));
    this.plane.step(block, results);
    const end = results.end[0];
    if (end === End.Undecided) this.faults.push(`undecided (${this.plane.reasons[results.reason[0]]}): ${describeFrame(frame)}`);
    for (let index = 0; index < results.emissions; index++) {
      if (results.emissionKind[index] === Emission.Local) continue;
      const at = results.emissionOffset[index];
      const key = image(results.emissionNode[index], results.emissionDevice[index],
        results.emissionKind[index] === Emission.Out, results.bytes.subarray(at, at + results.emissionLength[index]));
      this.foreseen.set(key, (this.foreseen.get(key) ?? 0) + 1);
    }
    if (fromProcess && !this.take(image(frame.node, frame.device, true, frame.bytes))) {
      this.faults.push(`sent by the node, and the plane sends something else: ${describeFrame(frame)}`);
    }
  }

  private take(key: string): boolean {
    const count = this.foreseen.get(key) ?? 0;
    if (count === 0) return false;
    this.foreseen.set(key, count - 1);
    this.matched++;
    return true;
  }
}

/** Start times of cases; they are beyond what a double holds, so they are read as text. */
function timesOf(jsonl: string): Map<string, bigint> {
  return new Map(jsonl.trim().split("\n").map((line) => (
    [(JSON.parse(line) as { id: string }).id, BigInt(/"t0": (\d+)/.exec(line)![1])])));
}

function clusterOf(file: string, lab: string): Cluster {
  const text = readFileSync(join(TRACES, LABS[0], file), "utf8");
  const { objects, problems } = readManifests([{ name: file, text }]);
  expect(problems).toEqual([]);
  const facts = new Map(NODES.map((node): [string, NodeFacts] => {
    const name = `${node}.net.json`;
    const read = readNodeFacts([{ name, text: readFileSync(join(TRACES, lab, name), "utf8") }], node, objects);
    expect(read.problems).toEqual([]);
    const lines = readFileSync(join(TRACES, lab, `${node}.sysctl`), "utf8").trim().split("\n");
    const sysctls = Object.fromEntries(lines.map((line) => line.split(/\s*=\s*/) as [string, string]));
    return [node, { ...read.facts!, sysctls }];
  }));
  return buildCluster(objects, facts);
}

/** Nanosecond pcap of SLL2: protocol, reserved, ifindex, ARPHRD, packet type, address length, address. */
function framesOf(file: Buffer, node: number): Frame[] {
  expect(file.readUInt32LE(0)).toBe(0xa1b23c4d);
  const frames: Frame[] = [];
  for (let at = 24; at + 16 <= file.length;) {
    const captured = file.readUInt32LE(at + 8);
    const sll = at + 16;
    frames.push({
      timeNs: BigInt(file.readUInt32LE(at)) * 1_000_000_000n + BigInt(file.readUInt32LE(at + 4)), node,
      device: file.readUInt32BE(sll + 4), packetType: file[sll + 10], etherType: file.readUInt16BE(sll),
      bytes: new Uint8Array(file.subarray(sll + 20, sll + captured)),
    });
    at = sll + captured;
  }
  return frames;
}

/** ARP, neighbour and router discovery, multicast listener reports: a node's own affair with its links. */
function isNeighbourTalk({ etherType, bytes }: Frame): boolean {
  if (etherType === 0x0800) return bytes[9] === 2;
  if (etherType !== 0x86dd) return true;
  const protocol = bytes[6] === 0 ? bytes[40] : bytes[6];
  const type = bytes[bytes[6] === 0 ? 48 : 40];
  return protocol === 58 && ((type >= 130 && type <= 137) || type === 143);
}

/**
 * An image to compare by. What a node makes up itself is left out: the IPv4 id of its ICMP errors, with the
 * checksum, their IPv6 flow label, the IPv6 identification of fragments (ip6_fragment draws a new one), and
 * of a tunnel's outer packets id and source port (a hash with a secret), with the checksums.
 */
function image(node: number, device: number, leaving: boolean, bytes: Uint8Array): string {
  const copy = Buffer.from(bytes);
  if (isError(copy)) {
    if (copy[0] >> 4 === 4) copy.fill(0, 4, 6).fill(0, 10, 12);
    else copy.fill(0, 1, 4);
  }
  if (isOuter(copy)) copy.fill(0, 4, 6).fill(0, 10, 12).fill(0, 20, 22).fill(0, 26, 28);
  if (copy[0] >> 4 === 6 && copy[6] === 44) copy.fill(0, 44, 48);
  return `${NODES[node]} ${leaving ? "out" : "in"} ${device} ${copy.toString("hex")}`;
}

/** An ICMP error: destination unreachable, packet too big, time exceeded, parameter problem. */
function isError(bytes: Uint8Array): boolean {
  if (bytes[0] >> 4 === 6) return bytes[6] === 58 && bytes[40] < 128;
  return bytes[9] === 1 && [3, 11, 12].includes(bytes[(bytes[0] & 15) * 4]);
}

/** UDP to flannel's VXLAN port, over IPv4 without options. */
function isOuter(bytes: Uint8Array): boolean {
  return bytes[0] === 0x45 && bytes[9] === 17 && ((bytes[22] << 8) | bytes[23]) === 8472;
}

function sourceOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(...(bytes[0] >> 4 === 4 ? [12, 16] : [8, 24]))).toString("hex");
}

function describeFrame(frame: Frame): string {
  return `${image(frame.node, frame.device, frame.packetType === 4, frame.bytes)} type ${frame.packetType}`.slice(0, 190);
}
