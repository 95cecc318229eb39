/**
 * Any bytes: no frame makes a program trap, read or write outside the frame, or say something that is no
 * verdict; the same bytes give the same result again; and the module that writes steps judges as the one that
 * does not.
 */
import { describe, expect, it } from "vitest";
import {
  ACK, FIN, frame, packet, type PacketInput, read, RST, SYN, wrongChecksums,
} from "../../test/packets.js";
import { BASE_OPTIONS, Bench, field, POD_DEVICE, UPLINK, Verdict } from "../../test/programs.js";
import { testSeed } from "../../test/seed.js";
import {
  DropReason, EndpointFlag, FibKind, Program, ServiceFlag, UndecidedReason,
} from "../contract/codes.js";
import { End } from "../dataplane.js";

const seed = testSeed("programs-fuzz");
const FRAMES = 120_000;
const A = "10.1.0.1";
const PROGRAMS = ["FROM_CONTAINER", "TO_CONTAINER", "FROM_NETDEV", "TO_NETDEV", "FROM_HOST",
  "SOCK4_CONNECT", "FROM_OVERLAY", "TO_OVERLAY", "TO_HOST"] as const;
const ADDRESSES = [A, "10.1.0.2", "10.96.0.1", "192.168.0.1", "203.0.113.9", "198.51.100.80",
  "169.254.42.1", "192.168.0.2"];
const ADDRESSES6 = ["fd10:1::1", "fd10:1::2", "fd96::1", "fd00::1", "2001:db8::9"];

/** xorshift32; the tests' own chance. */
function random(start: number): (below: number) => number {
  let state = (start * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state % below;
  };
}

function world(version = 20, traced = false): Bench {
  const bench = new Bench(version, { traced });
  bench.options([...BASE_OPTIONS, "ENABLE_IPV6", "ENABLE_IPV6_FRAGMENT_TRACKING",
    "ENABLE_BPF_MASQUERADE_IPV6", "ENABLE_HOST_ROUTING",
    "ENABLE_SOCKET_LB"]);
  bench.pod(A, 300, 0, "fd10:1::1");
  for (const egress of [true, false]) bench.allow(egress, 0);
  bench.endpoint(A, POD_DEVICE, 300);
  bench.endpoint("fd10:1::1", POD_DEVICE, 300);
  bench.endpoint("10.1.0.2", 11, 301);
  bench.endpoint("fd10:1::2", 11, 301);
  bench.endpoint("192.168.0.1", 0, 1, EndpointFlag.values.HOST);
  bench.ipcache("0.0.0.0/0", 2);
  bench.ipcache("192.168.0.0/24", 6);
  bench.ipcache("10.1.0.0/16", 301);
  bench.route("10.1.0.2/32", FibKind.values.ENDPOINT, 11);
  bench.backend(1, "10.1.0.2", 8080);
  bench.backend(2, A, 8080);
  bench.backend(3, "10.3.0.9", 8080);
  bench.backend(4, "fd10:1::2", 8080);
  const external = ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE;
  for (const protocol of [6, 17]) {
    bench.service("10.96.0.1", 80, protocol, protocol, [1, 2]);
    bench.service("198.51.100.80", 80, protocol, 20 + protocol, [1, 3], external);
    bench.service("198.51.100.80", 81, protocol, 40 + protocol, [], external);
    bench.service("0.0.0.0", 30080, protocol, 60 + protocol, [1], ServiceFlag.values.NODEPORT);
    bench.service("fd96::1", 80, protocol, 80 + protocol, [4]);
    bench.service("fd96::1", 81, protocol, 90 + protocol, []);
  }
  return bench;
}

function base(next: (below: number) => number): Uint8Array {
  const six = next(4) === 0;
  const list = six ? ADDRESSES6 : ADDRESSES;
  const protocol = (["TCP", "TCP", "UDP", "ICMP"] as const)[next(4)];
  const ends = { from: list[next(list.length)], to: list[next(list.length)] };
  const ports = [40000, 80, 81, 8080, 30080, 53, 1025];
  const input: PacketInput = { ...ends, protocol, sport: ports[next(7)], dport: ports[next(7)],
    flags: [SYN, ACK, FIN | ACK, RST, SYN | ACK][next(5)],
    ttl: next(20) === 0 ? next(3) : 64, payload: new Uint8Array(next(40)), fragment: next(8) === 0
      ? [0x2000, 3, 0x2003][next(3)] : 0, id: next(4) };
  if (protocol !== "ICMP" || next(2) === 0) return packet(input);
  const quoted = packet({ ...ends, from: ends.to, to: ends.from, protocol: next(2) === 0
    ? "TCP" : "UDP", sport: 40000, dport: 80 });
  return packet({ ...input, icmp: [[3, 11, 12, 5, 0, 8, 13, 1, 2, 128, 129][next(11)], next(6),
    new Uint8Array(4)],
    payload: quoted.subarray(0, 20 + next(quoted.length - 19)) });
}

/** Flips, cuts, stretches and puts in extension headers. */
function mutate(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  let out: Uint8Array = Uint8Array.from(bytes);
  if (out[14] >> 4 === 6 && next(3) === 0) out = withExtension(out, next);
  for (let flips = next(4); flips > 0; flips--) out[next(out.length)] = next(256);
  if (next(3) === 0) out = out.slice(0, next(out.length + 1));
  return out;
}

function withExtension(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  const kind = [0, 43, 44, 51, 60, 59][next(6)];
  const out = new Uint8Array(bytes.length + 8);
  out.set(bytes.subarray(0, 54));
  out.set([bytes[20], next(3), 0, next(4), 0, 0, 0, next(4)], 54);
  out.set(bytes.subarray(54), 62);
  out[20] = kind;
  return out;
}

function isVerdict(verdict: number): boolean {
  if (verdict >= 0) return (Object.values(Verdict) as number[]).includes(verdict) || verdict === 0;
  if (verdict <= -1000) return (Object.values(UndecidedReason.values) as number[]).includes(-verdict - 1000);
  return (Object.values(DropReason.values) as number[]).includes(-verdict);
}

describe("any frame", () => {
  it(`${FRAMES} mutated frames through every program`, () => {
    const next = random(seed);
    const bench = world();
    const { exports, memory, arenaAddress } = bench.machine;
    const all = new Uint8Array(memory.buffer);
    const strange = new Map<number, number>();
    const verdicts = new Map<number, number>();
    const at = arenaAddress + 4096;
    for (let count = 0; count < FRAMES; count++) {
      const bytes = mutate(frame(base(next)), next);
      const program = PROGRAMS[next(PROGRAMS.length)];
      const wire = next(4) === 0 ? bytes.length + next(100) : bytes.length;
      all.fill(0xa5, at - 64, at + bytes.length + 64);
      all.set(bytes, at);
      exports.program_input(next(3) === 0 ? 0xc00 : 0, next(10) === 0 ? 1 : 0);
      const device = program.endsWith("CONTAINER") ? POD_DEVICE : UPLINK;
      let verdict = bench.machine.call(() => exports.run_program(Program.values[program], at, bytes.length,
        wire, 0, device, 1000 + (count >> 6)));
      if (verdict === Verdict.Endpoint) verdict = bench.machine.call(() => exports.program_target());
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      if (!isVerdict(verdict)) strange.set(verdict, (strange.get(verdict) ?? 0) + 1);
      for (let guard = 1; guard <= 64; guard++) {
        if (all[at - guard] !== 0xa5
          || all[at + bytes.length + guard - 1] !== 0xa5) throw new Error(`frame ${count}: bytes beside it changed`);
      }
    }
    expect([...strange]).toEqual([]);
    // Every kind of end must have come up, or the frames were too tame.
    for (const verdict of [Verdict.Pass, Verdict.Deliver, Verdict.Answer, Verdict.Redirect, -132, -134,
      -135, -137, -139, -154, -158, -166,
      -168, -175, -196, -1001]) expect(verdicts.get(verdict) ?? 0, `verdict ${verdict}`).toBeGreaterThan(0);
    expect(bench.machine.exhausted()).toEqual([]);
  });

  it("blocks of mutated frames through the walk, twice alike, with and without steps", () => {
    const rows = (count: number) => {
      const next = random(seed + 1);
      return Array.from({ length: count }, (_, index) => {
        const bytes = mutate(frame(base(next)), next).subarray(14);
        return { packet: bytes.length === 0
          ? new Uint8Array(1) : bytes, device: [POD_DEVICE, UPLINK, 0][next(3)], seconds: 1000 + (index >> 4),
          wire: bytes.length + (next(5) === 0 ? next(50) : 0) };
      });
    };
    const all = rows(4000);
    const outcomes = (bench: Bench) => Array.from({ length: 20 }, (_, block) => block).flatMap((block) => {
      return bench.walk(all.slice(200 * block, 200 * (block + 1))).map(({ outcome,
        images }) => JSON.stringify([outcome.end, outcome.reason, outcome.program, outcome.journey,
        outcome.backend, images.map((image) => [image.kind, image.node, image.device,
          Buffer.from(image.packet).toString("hex")])]));
    });
    const first = outcomes(world());
    expect(outcomes(world())).toEqual(first);
    expect(outcomes(world(20, true))).toEqual(first);
    const ends = new Set(first.map((text) => (JSON.parse(text) as number[])[0]));
    for (const end of [End.Delivered, End.Left, End.Dropped, End.Rejected,
      End.Undecided]) expect(ends.has(end)).toBe(true);
  });
});

describe("any well-formed packet", () => {
  it("has right checksums in every image, and none where it had none", () => {
    const next = random(seed + 2);
    const bench = world();
    let images = 0;
    for (let count = 0; count < 4000; count++) {
      const list = next(4) === 0 ? ADDRESSES6 : ADDRESSES;
      const input: PacketInput = { from: list[next(list.length)], to: list[next(list.length)],
        protocol: next(2) === 0 ? "TCP" : "UDP",
        sport: next(65536), dport: [80, 81, 8080, 30080][next(4)], flags: next(32),
          payload: randomBytes(next(64), next),
        noChecksum: list === ADDRESSES && next(8) === 0 };
      const udpWithout = input.noChecksum === true && input.protocol === "UDP";
      const bytes = packet({ ...input, noChecksum: udpWithout });
      const [walked] = bench.walk([{ packet: bytes, device: [POD_DEVICE, UPLINK][next(2)] }]);
      for (const image of walked.images) {
        images++;
        expect(wrongChecksums(image.packet), `${JSON.stringify(input)} seed ${seed}`).toBe("");
        if (udpWithout && image.made === 0) expect([image.packet[26], image.packet[27]]).toEqual([0, 0]);
      }
    }
    expect(images).toBeGreaterThan(2000);
  });

  it("comes back from its reply with the addresses and ports it had asked for", () => {
    const next = random(seed + 3);
    const bench = world();
    let closed = 0;
    for (let count = 0; count < 3000; count++) {
      const list = next(4) === 0 ? ADDRESSES6 : ADDRESSES;
      const protocol = next(2) === 0 ? "TCP" : "UDP";
      const own = list === ADDRESSES ? A : "fd10:1::1";
      const to = list[1 + next(list.length - 1)];
      if (to === "169.254.42.1") continue;
      // One connection a port: two that meet in one tuple behind the translation share an entry, as in
      // Cilium.
      const asked = { from: own, to, protocol, sport: 1024 + count, dport: [80, 8080,
        30080][next(3)] } as const;
      const [request] = bench.walk([{ packet: packet(asked), device: POD_DEVICE }]);
      const last = request.images.at(-1);
      if ((request.outcome.end !== End.Delivered
        && request.outcome.end !== End.Left) || last === undefined || last.kind === 2) continue;
      const seen = read(last.packet);
      const device = request.outcome.end === End.Left ? UPLINK : last.device;
      if (device === 11
        && !bench.lookup("twinplane_devices", { node: 0, ifindex: 11 })) bench.pod("10.1.0.2", 301, 0,
          "fd10:1::2", 11);
      const reply = packet({ from: seen.to, to: seen.from, protocol, sport: seen.dport, dport: seen.sport,
        flags: SYN | ACK });
      const [back] = bench.walk([{ packet: reply, device }]);
      const end = back.images.at(-1);
      expect(back.outcome.end, JSON.stringify([asked, seen, back.outcome])).toBe(End.Delivered);
      expect(read(end!.packet)).toMatchObject({ from: asked.to, sport: asked.dport, to: asked.from,
        dport: asked.sport });
      closed++;
    }
    expect(closed).toBeGreaterThan(1500);
  });
});

describe("the port walk", () => {
  it("keeps a port in range, finds the only free one at the end, and gives up after 32 tries", () => {
    const remote = field("203.0.113.9");
    const free = (open: (port: number) => boolean): Bench => {
      const bench = world();
      const taken: unknown[] = [];
      for (let port = 32768; port < 65536; port++) {
        if (open(port)) continue;
        taken.push([{ daddr: field("192.168.0.1"), saddr: remote, dport: port, sport: 80, nexthdr: 6,
          flags: 1 }, { addr: field("10.1.0.77"), port: 1 }]);
      }
      const map = bench.machine.map("cilium_snat_v4_external") as unknown as { update(list: unknown[]): { errno: number } };
      const { errno } = map.update(taken);
      expect(errno).toBe(0);
      return bench;
    };
    const tries = (bench: Bench): (number | string)[] => Array.from({ length: 40 }, (_, index) => {
      const [walked] = bench.walk([{ packet: packet({ from: A, to: "203.0.113.9", protocol: "TCP",
        sport: 1024 + index }), device: POD_DEVICE }]);
      if (walked.outcome.end !== End.Left) return `${walked.outcome.end} ${walked.outcome.reason}`;
      const { sport } = read(walked.images[0].packet);
      // The next try must find the same ports free.
      const tuple = { daddr: field("192.168.0.1"), saddr: remote, dport: sport, sport: 80, nexthdr: 6,
        flags: 1 };
      bench.remove("cilium_snat_v4_external", tuple);
      return sport;
    });
    // With Cilium's own programs: 40 of 40 where only 65535 is free, 0 of 40 where only 40000 is.
    expect(new Set(tries(free((port) => port === 65535)))).toEqual(new Set([65535]));
    const none = `${End.Dropped} ${DropReason.values.DROP_NAT_NO_MAPPING}`;
    expect(new Set(tries(free((port) => port === 40000)))).toEqual(new Set([none]));
    const low = tries(free((port) => port < 33792));
    expect(low.filter((port) => port === 32768).length).toBeGreaterThan(30);
  });
});

function randomBytes(length: number, next: (below: number) => number): Uint8Array {
  return Uint8Array.from({ length }, () => next(256));
}
