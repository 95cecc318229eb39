/**
 * Session affinity against its rule, over random clients, pauses and backends that come and go: a client keeps
 * its backend for [t, last packet + timeout), no longer, and never one that is not the service's any more.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACK, packet, read, SYN } from "../../test/packets.js";
import { BASE_OPTIONS, Bench, field, UPLINK } from "../../test/programs.js";
import { testSeed } from "../../test/seed.js";
import { FibKind, ServiceFlag } from "../contract/codes.js";

const VIP = { 4: "10.96.0.1", 6: "fd96::1" } as const;
const TIMEOUT = 100;
const seed = testSeed("affinity.test.ts");
const BACKENDS = [1, 2, 3, 4, 5];

function backendIp(id: number, family: 4 | 6): string {
  return family === 4 ? `10.2.0.${id}` : `fd10:2::${id}`;
}

function clientIp(client: number, family: 4 | 6): string {
  return family === 4 ? `10.1.0.${client + 1}` : `fd10:1::${client + 1}`;
}

/** One node with some pods and an affine service whose backends are elsewhere. */
class Affine {
  readonly bench = new Bench();
  private present = new Set<number>();
  private port = 1024;

  constructor(readonly family: 4 | 6, socket = false) {
    const { bench } = this;
    bench.options([...BASE_OPTIONS, "ENABLE_IPV6", ...(socket ? ["ENABLE_SOCKET_LB"] as const : [])]);
    bench.allow(true, 0);
    for (let client = 0; client < 4; client++) {
      bench.pod(clientIp(client, 4), 300, 0, clientIp(client, 6), 20 + client);
    }
    bench.route("10.2.0.0/16", FibKind.values.UPLINK, UPLINK);
    bench.route("fd10:2::/32", FibKind.values.UPLINK, UPLINK);
    this.backends(BACKENDS);
  }

  /** Sets the service's backends, as the agent would write them. */
  backends(ids: readonly number[]): void {
    const { bench, family } = this;
    for (const id of this.present) {
      if (ids.includes(id)) continue;
      bench.remove("cilium_lb_affinity_match", { backend_id: id, rev_nat_id: 1 });
      bench.remove(`cilium_lb${family}_backends_v3`, { backend_id: id });
    }
    for (const id of ids) {
      bench.backend(id, backendIp(id, family), 8080);
      bench.put("cilium_lb_affinity_match", { backend_id: id, rev_nat_id: 1 }, { present: 1 });
    }
    const flags = ServiceFlag.values.AFFINITY;
    bench.service(VIP[family], 80, 6, 1, ids, flags);
    bench.put(`cilium_lb${family}_services_v2`,
      { address: field(VIP[family]), dport: 80, proto: 6, node: 0xffff, backend_slot: 0 },
      { backend_id: TIMEOUT, count: ids.length, rev_nat_index: 1, flags });
    this.present = new Set(ids);
  }

  /** A packet of a new connection, or of the connection from `sport`; the backend's number. */
  send(client: number, seconds: number, device: number, sport = this.port++, flags = SYN): number {
    const input = { from: clientIp(client, this.family), to: VIP[this.family], protocol: "TCP", sport, flags } as const;
    const [walked] = this.bench.walk([{ packet: packet(input), device, seconds }]);
    const image = walked.images.at(-1);
    if (image === undefined) throw new Error(`no image, end ${walked.outcome.end} ${walked.outcome.reason}`);
    const to = read(image.packet).to;
    const found = BACKENDS.find((id) => backendIp(id, this.family) === to);
    if (found === undefined) throw new Error(`sent to ${to}`);
    return found;
  }

  get lastPort(): number {
    return this.port - 1;
  }
}

describe.each([4, 6] as const)("session affinity over IPv%i", (family) => {
  it("keeps a client's backend while less than the timeout passes, and one that is still a backend", () => {
    fc.assert(fc.property(
      fc.array(fc.record({
        client: fc.nat(3),
        pause: fc.oneof(fc.nat(TIMEOUT - 1), fc.constant(TIMEOUT), fc.constant(TIMEOUT - 1), fc.nat(3 * TIMEOUT)),
        backends: fc.option(fc.subarray(BACKENDS, { minLength: 1 }), { nil: null, freq: 5 }),
      }), { maxLength: 40 }),
      (steps) => {
        const affine = new Affine(family);
        let present: readonly number[] = BACKENDS;
        let now = 1000;
        const model = new Map<number, { backend: number; last: number }>();
        for (const { client, pause, backends } of steps) {
          now += pause;
          if (backends !== null) affine.backends(present = backends);
          const got = affine.send(client, now, 20 + client);
          const known = model.get(client);
          const kept = known !== undefined && now < known.last + TIMEOUT && present.includes(known.backend);
          if (kept) expect(got).toBe(known.backend);
          expect(present).toContain(got);
          model.set(client, { backend: got, last: now });
        }
      },
    ), { seed, numRuns: 40 });
  });

  it("chooses anew after the timeout, and every backend is chosen", () => {
    const affine = new Affine(family);
    const chosen = new Set<number>();
    for (let round = 0; round < 60; round++) chosen.add(affine.send(0, 1000 + round * TIMEOUT, 20));
    expect([...chosen].sort()).toEqual(BACKENDS);
  });

  it("counts every packet of a connection, not only the first", () => {
    const affine = new Affine(family);
    const backend = affine.send(0, 1000, 20);
    const sport = affine.lastPort;
    for (let seconds = 1000; seconds < 2000; seconds += TIMEOUT - 1) affine.send(0, seconds, 20, sport, ACK);
    for (let round = 0; round < 20; round++) expect(affine.send(0, 2010, 20)).toBe(backend);
  });

  it("has one client for all sockets of a node, refreshed by connections and not by their packets", () => {
    const affine = new Affine(family, true);
    let changed = 0;
    for (let start = 1000; start < 31000; start += 1000) {
      const backend = affine.send(0, start, 0);
      const sport = affine.lastPort;
      for (let client = 1; client < 4; client++) expect(affine.send(client, start, 0)).toBe(backend);
      expect(affine.send(0, start + TIMEOUT - 1, 0, sport, ACK)).toBe(backend);
      if (affine.send(0, start + TIMEOUT, 0) !== backend) changed++;
    }
    expect(changed).toBeGreaterThan(0);
  });
});
