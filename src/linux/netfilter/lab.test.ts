/**
 * The recorded kernel (traces/lab): every packet that a lab node forwarded is put through the hooks here,
 * with the device it left by, and must come out as it was recorded, byte for byte apart from TTL. Packets
 * that the node did not forward must not pass. Choices the kernel made at random are followed by pins, and
 * every pin must be eligible.
 */
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../../test/shared.js";
import { parseAddress } from "../../cluster/address.js";
import { Verdict } from "../skb.js";
import { labCases, LabNode, readCase, type Pair } from "./lab-node.fixture.js";
import { half } from "./packet.js";

const shared = sharedDir();

describe.skipIf(shared === null)("recorded lab packets through the hooks (needs TWINPLANE_SHARED)", () => {
  for (const run of ["native-nth", "vxlan-nth"]) {
    for (const nodeName of ["node1", "node2"]) {
      test(`${run} ${nodeName}`, () => {
        const dir = `${shared}/traces/lab/${run}`;
        const node = new LabNode(dir, nodeName);
        const faults: string[] = [];
        let forwarded = 0;
        let stopped = 0;
        let translated = 0;
        let deleted = 0;
        const lastEndpoint = new Map<string, string>();
        for (const name of labCases(dir)) {
          if (defragmented.has(name)) continue;
          for (const { pair, entered, left } of readCase(dir, name, nodeName)) {
            const skb = entered === null ? null : node.skb(entered, pair.if_in ?? "", pair.t_in);
            if (skb === null) continue;
            const place = `${name} ${pair.n_in}: ${pair.before} -> ${pair.after ?? "nothing"}`;
            if (leavesOldEndpoint(pair, lastEndpoint)) {
              // The lab ran conntrack -D for the endpoint that is gone (its time is not in the slices).
              deleted += node.netfilter.deleteConntrack({
                node: nodeName,
                family: 4,
                protocol: 17,
                originalSource: null,
                originalDestination: parseAddress("10.96.0.120"),
                originalSourcePort: null,
                originalDestinationPort: 9000,
                replySource: parseAddress("10.244.1.10"),
              });
            }
            if (left !== null) {
              skb.pin = pinOf(pair);
              const verdict = node.forward(skb, pair.if_out ?? "");
              forwarded++;
              if (pair.nat !== "none") translated++;
              const got = skb.bytes.slice(0, skb.length);
              if (verdict !== Verdict.Accept) faults.push(`${place}: ${node.netfilter.reason}`);
              else if (!sameButTtl(got, left)) faults.push(`${place}: ${describePacket(got)}`);
              else if ((skb.pinFlags & 2) !== 0) faults.push(`${place}: pin refused`);
            } else if (pair.nat === "in-only") {
              const verdict = node.forward(skb, "eth0");
              if (node.isLocal(node.destination(skb)) || stoppedByRouting(pair) || name === "T26.l2")
                continue;
              stopped++;
              if (verdict !== Verdict.Drop) faults.push(`${place}: verdict ${verdict}`);
            }
          }
        }
        expect(faults.slice(0, 20)).toEqual([]);
        expect(forwarded).toBeGreaterThan(900);
        expect(translated).toBeGreaterThan(nodeName === "node1" ? 300 : 50);
        expect(deleted).toBe(nodeName === "node1" ? 1 : 0);
        if (nodeName === "node1") expect(stopped).toBeGreaterThan(20);
      });
    }
  }
});

/**
 * Cases whose connections begin with fragments, which the IP stack puts together before netfilter sees them.
 */
const defragmented = new Set(["T26.frags"]);

/** T22's long UDP flow, at the packet that no longer goes where the one before it went. */
function leavesOldEndpoint(pair: Pair, last: Map<string, string>): boolean {
  if (!/^udp 10\.244\.1\.20:47\d+ > 10\.96\.0\.120:9000$/.test(pair.before) || pair.after === undefined)
    return false;
  const before = last.get(pair.before);
  last.set(pair.before, pair.after);
  return before !== undefined && before !== pair.after;
}

/**
 * What the IP stack stops before or after netfilter: TTL, header checksum, multicast; T26.l2 is about frames
 * that are not for the node.
 */
function stoppedByRouting(pair: Pair): boolean {
  const ttl = typeof pair.ttl === "number" ? pair.ttl : pair.ttl[0];
  return ttl <= 1 || pair.ipok === false || pair.before.includes("> ff02::");
}

function pinOf(pair: Pair): {
  backend: { address: NonNullable<ReturnType<typeof parseAddress>>; port: number } | null;
  sourcePort: number | null;
} {
  const match = /^\S+ (\S+?)(?::(\d+))? > (\S+)$|^\S+ (\S+) > (\S+?) /.exec(pair.after ?? "");
  const words = (pair.after ?? "").split(" ");
  const end = words.indexOf(">");
  if (match === null && end < 0) return { backend: null, sourcePort: null };
  const source = splitEndpoint(words[end - 1]);
  const destination = splitEndpoint(words[end + 1]);
  const address = destination === null ? null : parseAddress(destination.address);
  const id = /\bid(\d+)\b/.exec(pair.after ?? "");
  return {
    backend: address === null || destination === null ? null : { address, port: destination.port },
    sourcePort: id !== null ? Number(id[1]) : source === null || source.port === 0 ? null : source.port,
  };
}

function splitEndpoint(text: string): { address: string; port: number } | null {
  const bracket = /^\[(.*)\](?::(\d+))?$/.exec(text);
  if (bracket !== null) return { address: bracket[1], port: Number(bracket[2] ?? 0) };
  const v4 = /^([\d.]+)(?::(\d+))?$/.exec(text);
  if (v4 !== null) return { address: v4[1], port: Number(v4[2] ?? 0) };
  return text.includes(":") ? { address: text, port: 0 } : null;
}

/**
 * Equal apart from what forwarding changes: TTL, and in IPv4 the header checksum and options (record route).
 */
function sameButTtl(got: Uint8Array, wanted: Uint8Array): boolean {
  const v4 = got[0] >> 4 === 4;
  const options = v4 ? (got[0] & 15) * 4 : 0;
  const ownBusiness = (at: number): boolean =>
    v4 ? at === 8 || at === 10 || at === 11 || (at >= 20 && at < options) : at === 7;
  return got.length === wanted.length && got.every((byte, at) => byte === wanted[at] || ownBusiness(at));
}

function describePacket(bytes: Uint8Array): string {
  const v4 = bytes[0] >> 4 === 4;
  const at = v4 ? 20 : 40;
  const text = (from: number, to: number): string => Array.from(bytes.slice(from, to)).join(".");
  const source = text(v4 ? 12 : 8, v4 ? 16 : 24);
  const destination = text(v4 ? 16 : 24, v4 ? 20 : 40);
  return `${source}:${half(bytes, at)} > ${destination}:${half(bytes, at + 2)} length ${bytes.length}`;
}
