/**
 * Any bytes in a tunnel, around one, and at a node with every feature of this plane's paths on: no frame makes a program
 * trap or say what is no end, a tunnel's packet that was cut short is never taken for anything that was allowed because
 * of bytes it does not have, and both modules judge alike.
 */
import { describe, expect, it } from "vitest";
import { packet } from "../../test/packets.js";
import { type Bench, field, POD_DEVICE, UPLINK, type WalkInput } from "../../test/programs.js";
import { testSeed } from "../../test/seed.js";
import { A, B, C, CLIENT, ended, NODES, NODES6, ROUTERS, TUNNEL, twoNodes, V6 } from "../../test/two-nodes.js";
import { ServiceFlag } from "../contract/codes.js";
import { End } from "../dataplane.js";

const seed = testSeed("overlay-fuzz");
const FRAMES = 12_000;
const ADDRESSES = [A, B, C, CLIENT, NODES[0], NODES[1], ROUTERS[0], ROUTERS[1], "198.51.100.80"];
const ADDRESSES6 = [V6.A, V6.B, V6.C, V6.CLIENT, NODES6[0], NODES6[1], "ff02::1:ff00:1"];

/** xorshift32. */
function random(start: number): (below: number) => number {
  let state = (start * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state % below;
  };
}

function world(version: number, geneve: boolean, traced = false): Bench {
  const bench = twoNodes({ version, traced, protocol: geneve ? "GENEVE" : "VXLAN",
    options: ["TUNNEL_MODE", "ENABLE_HOST_FIREWALL", "ENABLE_EGRESS_GATEWAY", "POLICY_DENY_RESPONSE_ICMP"] });
  bench.put("cilium_egress_gw_policy_v4", { prefixlen: 128, saddr: field(A), daddr: field("0.0.0.0") },
    { egress_ip: field(NODES[1]), gateway_ip: field(NODES[1]) });
  bench.allow(true, 9, 6, 81, { deny: 1, precedence: 0xffffffff });
  bench.backend(1, C, 8080);
  bench.service("198.51.100.80", 80, 6, 7, [1], ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE);
  return bench;
}

function plain(next: (below: number) => number): Uint8Array {
  const list = next(3) === 0 ? ADDRESSES6 : ADDRESSES;
  const [from, to] = [list[next(list.length)], list[next(list.length)]];
  const protocol = (["TCP", "UDP", "ICMP"] as const)[next(3)];
  const type = [8, 3, 11, 128, 129, 135, 136, 137, 3, 1][next(10)];
  const icmp = protocol === "ICMP" ? { icmp: [type, next(4), new Uint8Array(20)] as const } : {};
  return packet({ from, to, protocol, sport: [40000, 80, 8472][next(3)], dport: [80, 81, 8472, 6081][next(4)],
    flags: [2, 16, 18, 4][next(4)], ttl: next(12) === 0 ? next(3) : 64, payload: new Uint8Array(next(60)), ...icmp });
}

/** In a tunnel's packet between the nodes. */
function tunnelled(inner: Uint8Array, next: (below: number) => number, geneve: boolean): Uint8Array {
  const options = geneve ? 4 * next(3) : 0;
  const payload = new Uint8Array(8 + options + 14 + inner.length);
  const view = new DataView(payload.buffer);
  if (geneve) {
    payload[0] = options / 4;
    view.setUint16(2, 0x6558);
  } else payload[0] = 0x08;
  view.setUint32(4, [1, 2, 6, 300, 302, 9][next(6)] << 8);
  view.setUint16(8 + options + 12, inner[0] >> 4 === 6 ? 0x86dd : 0x0800);
  payload.set(inner, 22 + options);
  return packet({ from: NODES[0], to: NODES[1], protocol: "UDP", sport: 45000, dport: geneve ? 6081 : 8472, payload, noChecksum: true });
}

function rows(count: number, geneve: boolean, from: number): WalkInput[] {
  const next = random(from);
  return Array.from({ length: count }, (_, index) => {
    let bytes = plain(next);
    const outside = next(2) === 0;
    if (outside) bytes = tunnelled(bytes, next, geneve);
    for (let flips = next(4) === 0 ? 1 + next(4) : 0; flips > 0; flips--) bytes[next(bytes.length)] = next(256);
    const wire = bytes.length;
    if (next(4) === 0) bytes = bytes.slice(0, 1 + next(bytes.length));
    const place = outside ? { device: UPLINK, node: 1 } : { device: [POD_DEVICE, UPLINK, TUNNEL, 0][next(4)], node: next(2) };
    return { packet: bytes, wire, seconds: 1000 + (index >> 5), ...place };
  });
}

describe("any frame through tunnels, host policies and gateways", () => {
  for (const [version, geneve] of [[16, false], [18, true], [20, false], [20, true]] as const) {
    it(`${FRAMES} frames, with and without steps (1.${version}, ${geneve ? "Geneve" : "VXLAN"}, seed ${seed})`, () => {
      const fast = world(version, geneve);
      const traced = world(version, geneve, true);
      const ends = new Map<string, number>();
      for (let block = 0; block < FRAMES / 60; block++) {
        const some = rows(60, geneve, seed + block);
        const outcomes = fast.walk(some);
        outcomes.forEach((walked, index) => {
          const end = ended(walked);
          ends.set(end, (ends.get(end) ?? 0) + 1);
          expect(walked.outcome.end, `${end} ${JSON.stringify(some[index])}`).toBeGreaterThan(End.None);
        });
        if (block < 20) {
          const again = traced.walk(some);
          expect(again.map(({ outcome }) => outcome.journey)).toEqual(outcomes.map(({ outcome }) => outcome.journey));
        }
      }
      // The frames were not too tame.
      for (const end of ["Delivered", "Left", "Undecided TRUNCATED", "Dropped DROP_INVALID_SIP", "Dropped DROP_INVALID_IDENTITY",
        "Undecided TUNNEL", "Dropped DROP_FORBIDDEN_ICMP6"]) {
        expect(ends.get(end) ?? 0, `${end} ${JSON.stringify([...ends])}`).toBeGreaterThan(0);
      }
      expect([...ends.keys()].filter((end) => / undefined$/.test(end))).toEqual([]);
    });
  }
});
