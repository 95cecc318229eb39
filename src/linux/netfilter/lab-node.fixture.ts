/** Test fixture: a lab node's rules and addresses around a Netfilter, and the recorded packets of a case. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Address, parseAddress } from "../../cluster/address.js";
import { Hook, type NodeServices, Skb, Verdict } from "../skb.js";
import { createNetfilter, type Netfilter } from "./netfilter.js";
import { half } from "./packet.js";
import { parseRuleSet } from "./rule-set.js";
import { quotedUpperLayer6 } from "./tuple.js";

export interface Pair {
  readonly n_in?: number | null;
  readonly n_out?: number | null;
  readonly t_in: number;
  readonly if_in?: string;
  readonly if_out?: string;
  readonly before: string;
  readonly after?: string;
  readonly nat: string;
  readonly ttl: number | readonly number[];
  readonly ipok?: boolean;
}

/** Names of the cases of a run, in the order they were recorded; T22 and its parts are one. */
export function labCases(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^T22\./.test(entry.name))
    .map((entry) => ({
      name: entry.name,
      t0: Number(JSON.parse(readFileSync(`${dir}/${entry.name}/case.json`, "utf8")).t0),
    }))
    .sort((a, b) => a.t0 - b.t0)
    .map(({ name }) => name);
}

/** Pairs of a case by time, each with the bytes that entered and left (null where there are none). */
export function readCase(dir: string, name: string, node: string): Recorded[] {
  const parts = name === "T22" ? ["T22", "T22.1", "T22.4"] : [name];
  const found: Recorded[] = [];
  for (const part of parts) {
    const path = `${dir}/${part}/${node}`;
    if (!existsSync(`${path}.pairs.jsonl`)) continue;
    // A plain Uint8Array: slices of a Buffer share its memory, and packets are rewritten in place.
    const records = readPcap(new Uint8Array(readFileSync(`${path}.any.pcap`)));
    for (const line of readFileSync(`${path}.pairs.jsonl`, "utf8").split("\n")) {
      if (line === "") continue;
      const pair = JSON.parse(line) as Pair;
      if (pair.n_in == null && pair.n_out == null) continue;
      found.push({ pair, entered: recordAt(records, pair.n_in), left: recordAt(records, pair.n_out) });
    }
  }
  return found.sort((a, b) => a.pair.t_in - b.pair.t_in);
}

export interface Recorded {
  readonly pair: Pair;
  readonly entered: Uint8Array | null;
  readonly left: Uint8Array | null;
}

function recordAt(
  records: readonly { bytes: Uint8Array }[],
  number: number | null | undefined,
): Uint8Array | null {
  return number == null ? null : records[number - 1].bytes;
}

/** Little-endian nanosecond pcap of LINUX_SLL2 frames: network layer only. */
function readPcap(file: Uint8Array): { bytes: Uint8Array }[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const records: { bytes: Uint8Array }[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const length = view.getUint32(at + 8, true);
    records.push({ bytes: file.slice(at + 16 + 20, at + 16 + length) });
    at += 16 + length;
  }
  return records;
}

interface NetJson {
  readonly link: readonly { readonly ifindex: number; readonly ifname: string }[];
  readonly addr: readonly {
    readonly ifname: string;
    readonly addr_info: readonly { readonly local: string; readonly scope: string }[];
  }[];
}

export class LabNode {
  readonly netfilter: Netfilter;
  private readonly devices: readonly { readonly ifindex: number; readonly ifname: string }[];
  private readonly addresses = new Map<string, Address[]>();
  private readonly local = new Set<string>();

  constructor(dir: string, name: string) {
    const net = JSON.parse(readFileSync(`${dir}/${name}.net.json`, "utf8")) as NetJson;
    this.devices = net.link;
    for (const { ifname, addr_info } of net.addr) {
      const found = addr_info.flatMap(({ local, scope }) => {
        const address = parseAddress(local);
        if (address === null) return [];
        this.local.add(address.text);
        return scope === "global" ? [address] : [];
      });
      this.addresses.set(ifname, found);
    }
    const rules4 = parseRuleSet(readFileSync(`${dir}/${name}.v4.rules`, "utf8"), `${name}.v4.rules`, 4).rules;
    const rules6 = parseRuleSet(readFileSync(`${dir}/${name}.v6.rules`, "utf8"), `${name}.v6.rules`, 6).rules;
    this.netfilter = createNetfilter({ services: this.services(), rules4, rules6, chance: () => 0 });
  }

  isLocal(text: string): boolean {
    return this.local.has(text) || text.startsWith("127.");
  }

  /** A packet as it enters; null where it is one the IP stack would not hand to netfilter as it is. */
  skb(record: Uint8Array, device: string, timeNs: number): Skb | null {
    const skb = new Skb();
    const v4 = record[0] >> 4 === 4;
    if (record.length < (v4 ? 20 : 40)) return null;
    const length = v4 ? half(record, 2) : half(record, 4) + 40;
    const headerLength = v4 ? (record[0] & 15) * 4 : quotedUpperLayer6(record, 0, record.length);
    const fragment = v4 && (half(record, 6) & 0x3fff) !== 0;
    if (length > record.length || headerLength < 20 || headerLength > length || fragment) return null;
    if (!v4 && record[6] === 44) return null;
    skb.bytes = record.slice();
    skb.length = length;
    skb.family = v4 ? 4 : 6;
    skb.headerLength = headerLength;
    skb.protocol = v4 ? record[9] : upperProtocol(record, headerLength);
    skb.inDevice = this.index(device);
    skb.timeNs = timeNs;
    return skb;
  }

  /** PREROUTING, then INPUT or FORWARD and POSTROUTING. */
  forward(skb: Skb, outDevice: string): Verdict {
    const { netfilter } = this;
    let verdict = netfilter.hook(Hook.Prerouting, skb);
    if (verdict !== Verdict.Accept) return verdict;
    if (this.isLocal(this.destination(skb))) return netfilter.hook(Hook.Input, skb);
    skb.outDevice = this.index(outDevice);
    verdict = netfilter.hook(Hook.Forward, skb);
    return verdict === Verdict.Accept ? netfilter.hook(Hook.Postrouting, skb) : verdict;
  }

  destination(skb: Skb): string {
    return skb.family === 4 ? skb.bytes.slice(16, 20).join(".") : address6(skb.bytes.subarray(24, 40));
  }

  private index(name: string): number {
    return this.devices.find(({ ifname }) => ifname === name)?.ifindex ?? 0;
  }

  private services(): NodeServices {
    return {
      addressType: (bytes, offset, family) => {
        const text =
          family === 4
            ? bytes.slice(offset, offset + 4).join(".")
            : address6(bytes.subarray(offset, offset + 16));
        return this.isLocal(text) ? "LOCAL" : "UNICAST";
      },
      deviceName: (index) => this.devices.find(({ ifindex }) => ifindex === index)?.ifname ?? "",
      masqueradeAddress: (device, skb) => {
        const name = this.devices.find(({ ifindex }) => ifindex === device)?.ifname ?? "";
        return this.addresses.get(name)?.find(({ family }) => family === skb.family) ?? null;
      },
      reject: () => {},
      sysctls: {},
    };
  }
}

function address6(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(half(bytes, at).toString(16));
  return parseAddress(groups.join(":"))?.text ?? "";
}

function upperProtocol(bytes: Uint8Array, headerLength: number): number {
  let protocol = bytes[6];
  for (let at = 40; at < headerLength; ) {
    protocol = bytes[at];
    at += (bytes[at + 1] + 1) * 8;
  }
  return protocol;
}
