/**
 * Maglev against a second implementation (test/maglev-model.ts), over random backends and flows of both families and
 * all versions: the tables that the compiler makes, and the backend that the program takes; beside them the values
 * that Cilium's own tests expect (pkg/maglev/maglev_test.go, pkg/loadbalancer/tests/testdata of 1.20-dev).
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ModelBackend } from "../../test/maglev-model.js";
import { modelHash, modelName, modelTable } from "../../test/maglev-model.js";
import { packet, read, SYN } from "../../test/packets.js";
import { address, BASE_OPTIONS, Bench, UPLINK } from "../../test/programs.js";
import { testSeed } from "../../test/seed.js";
import { AllNodes, LbAlgorithm, LbOption, ServiceFlag } from "../contract/codes.js";
import { maglevSeeds, maglevTable } from "./compile/maglev.js";

const seed = testSeed("maglev.test.ts");
const [MURMUR, JHASH4, JHASH6] = maglevSeeds("JLfvgnHc2kaSUFaI");

function table(backends: readonly ModelBackend[], size: number, version: number, murmur = MURMUR): Uint32Array {
  const members = backends.map((one) => ({ id: one.id, name: modelName(one, version), weight: one.weight }));
  members.sort((a, b) => (a.name < b.name ? -1 : 1));
  return maglevTable(members, size, murmur);
}

const anyIp = fc.oneof(
  fc.tuple(fc.nat(255), fc.nat(255)).map(([a, b]) => `10.2.${a}.${b}`),
  fc.tuple(fc.nat(0xffff), fc.nat(0xffff)).map(([a, b]) => address(`fd00:2::${a.toString(16)}:${b.toString(16)}`).text),
);
const anyBackends = fc
  .uniqueArray(
    fc.record({
      ip: anyIp,
      port: fc.integer({ min: 1, max: 65535 }),
      protocol: fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const),
      weight: fc.oneof(fc.constant(100), fc.integer({ min: 1, max: 300 })),
    }),
    { minLength: 1, maxLength: 40, selector: ({ ip, port }) => `${ip} ${port}` },
  )
  .map((list) => list.map((one, index) => ({ ...one, id: index + 1 })));

describe("Maglev tables", () => {
  it("are those of the second implementation", () => {
    fc.assert(
      fc.property(anyBackends, fc.constantFrom(251, 509, 1021), fc.integer({ min: 16, max: 20 }), fc.nat(),
        (backends, size, version, murmur) => {
          expect([...table(backends, size, version, murmur)]).toEqual(modelTable(backends, size, murmur, version));
        }),
      { seed, numRuns: 300 },
    );
  });

  it("are those of Cilium's TestReproducible", () => {
    const runs = "2(5),3(1),2(3),1(1),2(2),0(1),2(1),3(1),2(1),3(1),2(1),1(1),2(7),1(1),2(14),3(1),2(1)," +
      "1(2),2(12),3(1),2(3),1(1),2(4),3(1),2(8),3(1),2(2),1(1),2(16),1(2),2(3),3(1),2(11),1(2),2(4),3(1),2(3)," +
      "1(1),2(4),3(1),2(1),0(1),1(1),2(8),1(1),2(7),1(1),2(4),3(1),2(1),3(1),2(9),1(2),2(5),1(1),2(7),3(1),2(1)," +
      "3(1),1(1),2(8),1(1),2(4),0(1),2(1),1(1),2(5),3(1),2(3),1(1),2(4),3(1),2(3),1(1),2(12),0(1),3(1),2(3),3(1)," +
      "2(4),3(1),2(2),1(1),2(7)";
    const expected = runs.split(",").flatMap((run) => {
      const [id, count] = run.slice(0, -1).split("(").map(Number);
      return Array.from({ length: count }, () => id + 1);
    });
    const backends = [[1, 2], [3, 13], [4, 111], [5, 10]].map(([number, weight], index) => ({
      id: index + 1, ip: `0.0.0.${number}`, port: number, protocol: "TCP" as const, weight }));
    expect([...table(backends, 251, 20)]).toEqual(expected);
  });

  it("give weighted backends the shares of Cilium's TestWeightedBackendWithRemoval", () => {
    const backends = [2, 13, 111, 10].map((weight, index) => ({
      id: index + 1, ip: `0.0.0.${index + 1}`, port: index + 1, protocol: "TCP" as const, weight }));
    const found = [...table(backends, 1021, 20)];
    expect([1, 2, 3, 4].map((id) => found.filter((one) => one === id).length)).toEqual([16, 98, 832, 75]);
  });
});

// ---- the program

const SIZE = 1021;
const VIP = { 4: "203.0.113.10", 6: "2001:db8:1::10" } as const;

/** A node with one external service of `backends`, whose frontend is in port 80. */
function node(version: number, backends: readonly ModelBackend[], affinity = false, size = SIZE): Bench {
  const bench = new Bench(version, { maglev: size });
  bench.options([...BASE_OPTIONS, "ENABLE_IPV6"]);
  bench.configure({ lb_algorithm: LbAlgorithm.values.MAGLEV, maglev_table_size: size, hash_init4_seed: JHASH4,
    hash_init6_seed: JHASH6 });
  for (const family of [4, 6] as const) {
    const own = backends.filter(({ ip }) => address(ip).family === family);
    const flags = ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE
      | (affinity ? ServiceFlag.values.AFFINITY : 0);
    for (const protocol of version === 16 ? [0] : [6, 17]) {
      bench.service(VIP[family], 80, protocol, 7, own.map(({ id }) => id), flags);
    }
    for (const { id, ip, port } of own) bench.backend(id, ip, port);
    bench.maglev(family, 7, AllNodes.values.ALL, table(own, size, version));
  }
  return bench;
}

const flows = fc.array(
  fc.record({
    client: fc.nat(0xffff),
    sport: fc.integer({ min: 1, max: 65535 }),
    family: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.constantFrom("TCP" as const, "UDP" as const),
  }),
  { minLength: 1, maxLength: 30 },
);

function clientOf(number: number, family: 4 | 6): string {
  return family === 4 ? `198.51.${number >> 8}.${number & 255}` : address(`2001:db8:2::${number.toString(16)}`).text;
}

const backends: ModelBackend[] = [4, 6].flatMap((family) => Array.from({ length: 5 }, (_, index) => ({
  id: index + 1, ip: family === 4 ? `10.2.0.${index + 1}` : `fd00:2::${index + 1}`, port: 8080,
  protocol: "TCP" as const, weight: 100 })));

describe("Maglev selection", () => {
  for (const version of [16, 17, 18, 19, 20]) {
    for (const affinity of [false, true]) {
      it(`of 1.${version}${affinity ? " with affinity" : ""} takes the model's backend`, () => {
        fc.assert(
          fc.property(flows, (some) => {
            const bench = node(version, backends, affinity);
            for (const { client, sport, family, protocol } of some) {
              const from = clientOf(client, family);
              const { images } = bench.walk([{ device: UPLINK, seconds: 1000 + sport,
                packet: packet({ from, to: VIP[family], protocol, sport, dport: 80, flags: SYN }) }])[0];
              const hash = modelHash({ client: Uint8Array.from(address(from).bytes), clientPort: sport, servicePort: 80,
                protocol: protocol === "TCP" ? 6 : 17, affinity }, family === 4 ? JHASH4 : JHASH6, version);
              const own = backends.filter(({ ip }) => address(ip).family === family);
              const wanted = modelTable(own, SIZE, MURMUR, version)[hash % SIZE];
              expect(read(images.at(-1)!.packet).to).toBe(own.find(({ id }) => id === wanted)!.ip);
            }
          }),
          { seed, numRuns: 8 },
        );
      });
    }
  }

  it("is for what comes from outside; a pod's is random unless services say (bpf_lxc)", () => {
    for (const own of [false, true]) {
      const bench = node(20, backends);
      bench.pod("10.1.0.1", 1234);
      bench.allow(true, 0);
      bench.configure({ lb_options: own ? LbOption.values.ALGORITHM_ANNOTATION : 0 });
      if (own) {
        bench.put("cilium_lb4_services_v2", { address: address(VIP[4]).bytes, dport: 80, proto: 6, scope: 0,
          node: AllNodes.values.ALL, backend_slot: 0 },
        { count: 5, rev_nat_index: 7, flags: ServiceFlag.values.ROUTABLE, backend_id: 2 << 24 });
      }
      const chosen = new Set<string>();
      const same = Array.from({ length: 64 }, (_, index) => {
        const sport = 1000 + index;
        const { images } = bench.walk([{ device: 10,
          packet: packet({ from: "10.1.0.1", to: VIP[4], protocol: "TCP", sport, dport: 80, flags: SYN }) }])[0];
        const to = read(images.at(-1)!.packet).to;
        chosen.add(to);
        const hash = modelHash({ client: Uint8Array.of(10, 1, 0, 1), clientPort: sport, servicePort: 80, protocol: 6,
          affinity: false }, JHASH4, 20);
        return to === `10.2.0.${modelTable(backends.slice(0, 5), SIZE, MURMUR, 20)[hash % SIZE]}`;
      });
      expect(chosen.size).toBe(5);
      expect(same.every(Boolean)).toBe(own);
    }
  });
});

interface Recorded {
  readonly runs: readonly { version: number; family: 4 | 6; affinity: boolean; flows: [string, number, number, string][] }[];
}

const recorded = JSON.parse(
  readFileSync(new URL("../../test/vectors/maglev-flows.json", import.meta.url), "utf8")) as Recorded;

it.each(recorded.runs.map((run) => [`1.${run.version}, IPv${run.family}${run.affinity ? ", affinity" : ""}`, run] as const))(
  "Cilium's own programs took the same backends: %s", (_name, { version, family, affinity, flows: some }) => {
    const own: ModelBackend[] = [4, 6].flatMap((of) => [5, 6, 7, 8, 9].map((last, index) => ({
      id: index + 1, ip: of === 4 ? `10.0.0.${last}` : `fd00:10::${last}`, port: 8080, protocol: "TCP" as const, weight: 100 })));
    const bench = node(version, own, affinity, 16381);
    bench.configure({ hash_init4_seed: 0xcafe, hash_init6_seed: 0xeb9f });
    some.forEach(([from, sport, protocol, backend], index) => {
      const { images } = bench.walk([{ device: UPLINK, seconds: 1000 + 10 * index,
        packet: packet({ from, to: VIP[family], protocol: protocol === 6 ? "TCP" : "UDP", sport, dport: 80, flags: SYN }) }])[0];
      expect(read(images.at(-1)!.packet).to).toBe(backend);
    });
  });
