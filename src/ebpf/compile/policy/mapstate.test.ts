import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CookieTable } from "./cookies.js";
import { MapState } from "./mapstate.js";
import { allowed, lookup } from "./naive-lookup.fixture.js";
import { splitPortRange } from "./split.js";
import { trafficCovers, trafficKey, trafficLpmLength } from "./traffic.js";
import { ALLOW, DENY, precedenceOf, ValueTable } from "./values.js";

const seed = Number(process.env["TWINPLANE_SEED"] ?? 20261122);
console.log(`seed ${seed}`);

const values = new ValueTable();

const because = (rule: string) => ({ where: null, object: "default/p", rule });

describe("splitPortRange", () => {
  const text = (first: number, last: number) =>
    splitPortRange(first, last).map((b) => `${b.port}/${b.prefixLength}`);
  it("gives the blocks of Cilium's own tests", () => {
    expect(text(5, 10)).toEqual(["5/16", "6/15", "8/15", "10/16"]);
    expect(text(64, 127)).toEqual(["64/10"]);
    expect(text(80, 90)).toEqual(["80/13", "88/15", "90/16"]);
    expect(text(0, 65535)).toEqual(["0/0"]);
    expect(text(65535, 65535)).toEqual(["65535/16"]);
  });

  it("covers the range exactly, without overlap", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }), (a, b) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        let next = first;
        for (const { port, prefixLength } of splitPortRange(first, last)) {
          const size = 1 << (16 - prefixLength);
          expect([port, port % size]).toEqual([next, 0]);
          next = port + size;
        }
        expect(next).toBe(last + 1);
      }),
      { seed, numRuns: 500 },
    );
  });
});

describe("MapState", () => {
  it("removes the narrow allow under a wide deny of the same priority", () => {
    const state = new MapState(new CookieTable(), values);
    state.insert(0, trafficKey(0, 6, 80, 16), values.of(precedenceOf(0, ALLOW)), 0);
    for (const { port, prefixLength } of splitPortRange(1, 1024)) {
      state.insert(0, trafficKey(0, 6, port, prefixLength), values.of(precedenceOf(0, DENY)), 0);
    }
    const map = state.entries();
    expect(allowed(map, 5, 0, 6, 80)).toBe(false);
    expect(state.shadowed.map(({ traffic }) => traffic)).toEqual([trafficKey(0, 6, 80, 16)]);
  });

  it("lets a better priority win over a deny", () => {
    const state = new MapState(new CookieTable(), values);
    state.insert(7, trafficKey(1, 0, 0, 0), values.of(precedenceOf(10, DENY)), 0);
    state.insert(7, trafficKey(1, 17, 53, 16), values.of(precedenceOf(0, ALLOW)), 0);
    const map = state.entries();
    expect([allowed(map, 7, 1, 17, 53), allowed(map, 7, 1, 6, 53)]).toEqual([true, false]);
  });

  it("keeps the values of cilium's precedence encoding", () => {
    expect([precedenceOf(0, DENY), precedenceOf(0, ALLOW), precedenceOf(1, ALLOW)]).toEqual([
      0xffffffff, 4294967041, 0xfffffe01,
    ]);
    expect([
      trafficLpmLength(trafficKey(0, 0, 0, 0)),
      trafficLpmLength(trafficKey(0, 6, 0, 0)),
      trafficLpmLength(trafficKey(1, 6, 80, 14)),
    ]).toEqual([0, 8, 22]);
  });

  it("joins the rules behind equal keys", () => {
    const cookies = new CookieTable();
    const state = new MapState(cookies, values);
    for (const rule of ["b", "a", "b"])
      state.insert(300, trafficKey(0, 6, 80, 16), values.of(precedenceOf(0, ALLOW)), cookies.of(because(rule)));
    const [first, second] = [because("x"), because("y")];
    expect(cookies.join(cookies.of(first), cookies.of(second))).toBe(
      cookies.join(cookies.of(second), cookies.of(first)),
    );
    const row = state.entries().cookie[0];
    // Each call made a new object, so three origins; their text says two rules.
    expect(new Set(cookies.becauses(row).map(({ rule }) => rule))).toEqual(new Set(["a", "b"]));
  });

  const entry = fc
    .record({
      identity: fc.constantFrom(0, 0, 300, 301, 302),
      direction: fc.constantFrom(0, 1),
      protocol: fc.constantFrom(0, 6, 6, 17),
      port: fc.constantFrom(0, 64, 80, 81, 82, 1024),
      bits: fc.constantFrom(0, 6, 10, 14, 15, 16, 16),
      priority: fc.constantFrom(0, 0, 0, 1, 10),
      low: fc.constantFrom(ALLOW, ALLOW, DENY, 2, 154),
    })
    .map(({ identity, direction, protocol, port, bits, priority, low }) => {
      const length = protocol === 0 ? 0 : bits;
      const masked = length === 0 ? 0 : (port >>> (16 - length)) << (16 - length);
      return {
        identity,
        traffic: trafficKey(direction, protocol, masked, length),
        precedence: precedenceOf(priority, low),
      };
    });

  it("decides every packet by the highest precedence of all that was inserted, in any order", () => {
    const packet = fc.record({
      identity: fc.constantFrom(300, 301, 302, 303),
      direction: fc.constantFrom(0, 1),
      protocol: fc.constantFrom(6, 17, 1),
      port: fc.constantFrom(0, 64, 65, 80, 81, 82, 83, 1024, 5000),
    });
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 25 }),
        fc.array(packet, { maxLength: 30 }),
        fc.nat(),
        (entries, packets, turn) => {
          const state = new MapState(new CookieTable(), values);
          for (const one of entries) state.insert(one.identity, one.traffic, values.of(one.precedence), 0);
          const map = state.entries();
          for (const { identity, direction, protocol, port } of packets) {
            const exact = trafficKey(direction, protocol, port, 16);
            const matching = entries.filter(
              (one) => (one.identity === 0 || one.identity === identity) && trafficCovers(one.traffic, exact),
            );
            const row = lookup(map, identity, direction, protocol, port);
            expect(row < 0 ? -1 : map.precedence[row]).toBe(
              Math.max(-1, ...matching.map(({ precedence }) => precedence)),
            );
          }
          const other = new MapState(new CookieTable(), values);
          const at = entries.length === 0 ? 0 : turn % entries.length;
          for (const one of [...entries.slice(at), ...entries.slice(0, at)].reverse())
            other.insert(one.identity, one.traffic, values.of(one.precedence), 0);
          expect(other.entries()).toEqual(map);
        },
      ),
      { seed, numRuns: 1500 },
    );
  });
});
