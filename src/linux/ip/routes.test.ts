import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressFromBytes, prefixContains, prefixOf } from "../../cluster/address.js";
import type { Route } from "../../cluster/cluster.js";
import { seeded } from "../seeded.fixture.js";
import { RouteTable } from "./routes.js";

const TABLES = ["local", "main", "default"];

/** Few bits vary, so that prefixes nest and addresses hit. */
function routeOf(family: 4 | 6): fc.Arbitrary<Route> {
  const size = family === 4 ? 4 : 16;
  return fc.record({
    bytes: fc.uint8Array({ minLength: size, maxLength: size, max: 3 }), length: fc.integer({ min: 0, max: size * 8 }),
    table: fc.constantFrom(...TABLES), metric: fc.integer({ min: 0, max: 2 }),
    type: fc.constantFrom<Route["type"]>("unicast", "local", "unreachable", "throw"), device: fc.integer({ min: 1, max: 9 }),
  }).map(({ bytes, length, table, metric, type, device }) => ({
    destination: prefixOf(addressFromBytes(bytes), length), table, type, via: null, device, prefSrc: null, metric, mtu: null,
  }));
}

/** The definition, read word by word. */
function naive(routes: readonly Route[], bytes: Uint8Array): Route | null {
  const address = addressFromBytes(bytes);
  for (const table of TABLES) {
    const held = routes.filter((route) => route.table === table && prefixContains(route.destination, address));
    let best: Route | null = null;
    for (const route of held) {
      const longer = best === null ? 1 : route.destination.length - best.destination.length;
      if (best === null || longer > 0 || (longer === 0 && route.metric < best.metric)) best = route;
    }
    if (best !== null && best.type !== "throw") return best;
  }
  return null;
}

describe("route lookup", () => {
  it.each([4, 6] as const)("finds in IPv%i what the definition says", (family) => {
    const size = family === 4 ? 4 : 16;
    const address = fc.uint8Array({ minLength: size, maxLength: size, max: 3 });
    seeded(fc.property(fc.array(routeOf(family), { maxLength: 20 }), fc.array(address, { minLength: 1, maxLength: 20 }),
      (routes, addresses) => {
        const table = new RouteTable(family, routes);
        // Twice: the second answer comes from the cache.
        for (const bytes of [...addresses, ...addresses]) {
          const found = table.lookup(bytes, 0);
          const expected = naive(routes, bytes);
          expect(found === null ? null : [found.device, found.type])
            .toEqual(expected === null ? null : [expected.device, expected.type]);
        }
      }));
  });
});
