/**
 * Test support: replays a recording of rule-ring.py through LinuxNode and compares: the rules as they are printed, the
 * counters of every rule and policy, and what left the node. Reads files, so nothing but tests may import it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readNodeFacts } from "../../cluster/node-facts.js";
import { readManifests } from "../../cluster/manifests.js";
import { End, PacketType } from "../../dataplane.js";
import { LinuxNode, type NodeSink } from "../node.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { parseRuleSet } from "./rule-set.js";

export interface RingResult {
  /** Lines, each about one rule, frame or problem. Empty: the model agrees. */
  readonly disagreements: string[];
  /** Hits by match and target with the options used: `-m ttl --ttl-eq`. */
  readonly hits: Map<string, number>;
  readonly frames: number;
  readonly left: number;
  readonly rules: number;
}

const manifest = "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 10.2.0.1}]}\n";

export function replayRing(folder: string): RingResult {
  const read = (file: string): string => readFileSync(join(folder, file), "utf8");
  const result: RingResult & { frames: number; left: number; rules: number } =
    { disagreements: [], hits: new Map(), frames: 0, left: 0, rules: 0 };
  const objects = readManifests([{ name: "cluster.yaml", text: manifest }]).objects;
  const { facts } = readNodeFacts([{ name: "node1.net.json", text: read("net.json") }], "node1", objects);
  if (facts === null) throw new Error("no facts of the node");
  const parsed = ([4, 6] as const).map((family) => parseRuleSet(read(`rules.v${family}`), `rules.v${family}`, family));
  for (const { problems } of parsed)
    for (const { where, what } of problems) result.disagreements.push(`${where?.file}:${where?.line}: ${what}`);
  let netfilter: Netfilter | null = null;
  const node = new LinuxNode({
    name: "node1", facts,
    netfilter: (services) => (netfilter = createNetfilter({
      services, rules4: parsed[0].rules, rules6: parsed[1].rules, chance: (flow, draw) => Math.imul(flow + draw, 0x9e3779b1) >>> 0,
    })),
  });
  const devices = new Map(facts.devices.map((device) => [device.name, device]));
  const sent = new Map<string, number>();
  const sink: NodeSink = {
    end: End.None, reason: "", pinFlags: 0, enter: () => {}, local: () => {},
    transmit: (device, bytes, offset, length, made) => {
      const link = facts.devices.find(({ index }) => index === device)?.name ?? "";
      const chosen = netfilter?.lastEligibleSourcePorts != null;
      count(sent, `${link} ${image(bytes.subarray(offset, offset + length), made === 1, chosen)}`, 1);
    },
  };
  const lines = read("frames.jsonl").trim().split("\n").map((line) => JSON.parse(line) as [number, string, string]);
  const begin = lines[0][0];
  for (const [number, [at, link, text]] of lines.entries()) {
    const bytes = new Uint8Array(Buffer.from(text, "hex"));
    const time = 1e9 + (at - begin);
    result.frames++;
    if (link === "out") {
      node.output(bytes, 0, bytes.length, time, null, sink);
    } else {
      const device = devices.get(link);
      if (device === undefined) throw new Error(`no device ${link}`);
      node.frameSource = bytes.slice(6, 12);
      const to = Buffer.from(bytes.subarray(0, 6)).toString("hex").match(/../g)?.join(":");
      const type = to === device.mac ? PacketType.Host : to === "ff:ff:ff:ff:ff:ff" ? PacketType.Broadcast : PacketType.Multicast;
      node.receive(bytes, 14, bytes.length - 14, bytes.length - 14, (bytes[12] << 8) | bytes[13], type, device.index, time, null, sink);
    }
    if (sink.end === End.Undecided) result.disagreements.push(`frame ${number} is undecided: ${sink.reason}: ${text}`);
  }
  for (const line of read("seen.jsonl").split("\n").filter((one) => one !== "")) {
    const [link, text] = JSON.parse(line) as [string, string];
    const bytes = new Uint8Array(Buffer.from(text, "hex"));
    if (isHousekeeping(bytes)) continue;
    result.left++;
    const images = [image(bytes, false, false), image(bytes, true, false), image(bytes, false, true)].map((one) => `${link} ${one}`);
    const key = images.find((one) => (sent.get(one) ?? 0) > 0);
    if (key !== undefined) count(sent, key, -1);
    else result.disagreements.push(`the kernel sent what the model did not: ${link} ${text}`);
  }
  for (const [key, left] of sent) if (left > 0) result.disagreements.push(`the model sent what the kernel did not: ${left} x ${key}`);
  for (const family of [4, 6] as const)
    compareSaves(read(`saved.v${family}`), (netfilter as Netfilter | null)?.save(family) ?? "", family, result);
  return result;
}

/** Lines by table and chain: front ends print chains in orders of their own. */
function compareSaves(kernel: string, model: string, family: 4 | 6, result: RingResult & { rules: number }): void {
  const [wanted, got] = [byChain(kernel), byChain(model)];
  for (const [chain, lines] of wanted) {
    const mine = got.get(chain) ?? [];
    for (let at = 0; at < Math.max(lines.length, mine.length); at++) {
      const line = lines[at] ?? "(none)";
      // Multicast listener reports of the node itself.
      if (line.includes("--icmpv6-type 143")) continue;
      if (line !== mine[at]) result.disagreements.push(`IPv${family} ${chain}: kernel ${line} | model ${mine[at] ?? "(none)"}`);
      const counters = /^\[(\d+):\d+\] -A \S+/.exec(line);
      if (counters === null) continue;
      result.rules++;
      for (const name of signatures(line)) count(result.hits, name, Number(counters[1]));
    }
  }
}

function byChain(text: string): Map<string, string[]> {
  const chains = new Map<string, string[]>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const name = /^:(\S+)|^\[\d+:\d+\] -A (\S+)/.exec(line);
    if (name === null) continue;
    const key = `${table}/${name[1] ?? name[2]}`;
    chains.set(key, [...(chains.get(key) ?? []), uninverted(line.replace(/^(:\S+ -) .*/, "$1"))]);
  }
  return chains;
}

/** iptables-nft turns a range of ports that is open at one side round: `! --dport 0:80` is printed as `--dport 81:65535`. */
function uninverted(line: string): string {
  return line.replace(/! (--[sd]port) 0:(\d+)/g, (_, option, last) => `${option} ${Number(last) + 1}:65535`)
    .replace(/! (--[sd]port) (\d+):65535/g, (_, option, first) => `${option} 0:${Number(first) - 1}`);
}

/** `-m ttl --ttl-eq`, `-m ttl ! --ttl-eq`, `-j TTL --ttl-set`, for each option of a printed rule. */
function signatures(line: string): string[] {
  const plain = line.replace(/"(?:[^"\\]|\\.)*"/g, "TEXT");
  const names: string[] = [];
  let owner = "";
  const words = plain.split(" ");
  for (const [at, word] of words.entries()) {
    if (word === "-m" || word === "-j") {
      owner = `${word} ${words[at + 1]}`;
      names.push(owner);
    } else if (word.startsWith("--") && owner !== "") {
      const value = /^--(reject-with|chunk-types|pkt-type|mode)$/.test(word) ? ` ${words[at + 1]}` : "";
      names.push(`${owner} ${words[at - 1] === "!" ? "! " : ""}${word}${value}`);
    }
  }
  return names;
}

/**
 * The packet as hexadecimal; of one the node made, without IPv4's identification and IPv6's flow label; of one whose source
 * port chance chose, since it clashed with another connection's, without that port and the checksum.
 */
function image(bytes: Uint8Array, made: boolean, chosen: boolean): string {
  if (chosen) return `${image(withoutPort(bytes), true, false)} by chance`;
  const copy = bytes.slice();
  if (made && copy[0] >> 4 === 4) copy.fill(0, 4, 6).fill(0, 10, 12);
  if (made && copy[0] >> 4 === 6) copy.set([copy[1] & 0xf0, 0, 0], 1);
  return Buffer.from(copy).toString("hex");
}

function withoutPort(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const v4 = copy[0] >> 4 === 4;
  const at = v4 ? (copy[0] & 15) * 4 : 40;
  const protocol = copy[v4 ? 9 : 6];
  const checksum = at + (protocol === 6 ? 16 : protocol === 17 ? 6 : protocol === 132 ? 8 : 2);
  return copy.fill(0, at, at + 2).fill(0, checksum, checksum + (protocol === 132 ? 4 : 2));
}

/** Neighbour discovery, multicast listener reports. */
function isHousekeeping(bytes: Uint8Array): boolean {
  if (bytes[0] >> 4 !== 6) return false;
  const at = bytes[6] === 0 ? 40 + (bytes[41] + 1) * 8 : 40;
  return (bytes[6] === 58 || (bytes[6] === 0 && bytes[40] === 58)) && ((bytes[at] >= 130 && bytes[at] <= 137) || bytes[at] === 143);
}

function count(map: Map<string, number>, key: string, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}
