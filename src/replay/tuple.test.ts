import fc from "fast-check";
import { expect, it } from "vitest";
import { copyTuple, sameDestination, sameSource, sameTuple, Tuple, TUPLE_BYTES, TupleTable, turnTuple, writeTuple } from "./tuple.js";

/** Few distinct addresses and ports, so that sequences meet the same key and the same chain of slots again. */
const anyTuple = fc.record({
  family: fc.constantFrom(4, 6), protocol: fc.constantFrom(1, 6, 17), source: fc.integer({ min: 0, max: 3 }),
  destination: fc.integer({ min: 0, max: 3 }), sourcePort: fc.integer({ min: 0, max: 400 }), destinationPort: fc.constantFrom(0, 80),
}).map((t) => {
  const bytes = new Uint8Array(32);
  bytes[3] = bytes[15] = t.source;
  bytes[19] = bytes[31] = t.destination;
  const tuple = new Uint8Array(TUPLE_BYTES);
  writeTuple(tuple, 0, t.family, t.protocol, bytes, 0, 16, t.sourcePort, t.destinationPort);
  return tuple;
});

it("a TupleTable answers as a Map of texts does, under any order of set, get and delete", () => {
  const operation = fc.tuple(fc.constantFrom("set", "get", "delete"), anyTuple, fc.integer({ min: 0, max: 1e6 }));
  fc.assert(fc.property(fc.array(operation, { maxLength: 3000, size: "max" }), (operations) => {
    const table = new TupleTable();
    const model = new Map<string, number>();
    for (const [what, tuple, value] of operations) {
      const key = tuple.join();
      if (what === "set") {
        table.set(tuple, 0, value);
        model.set(key, value);
      } else if (what === "delete") {
        table.delete(tuple);
        model.delete(key);
      }
      expect(table.get(tuple)).toBe(model.get(key) ?? -1);
    }
    expect(table.size).toBe(model.size);
  }), { numRuns: 60 });
});

it("turning twice gives the tuple back", () => {
  fc.assert(fc.property(anyTuple, (tuple) => {
    const once = new Uint8Array(TUPLE_BYTES);
    const twice = new Uint8Array(TUPLE_BYTES);
    turnTuple(tuple, 0, once, 0);
    turnTuple(once, 0, twice, 0);
    expect(sameTuple(tuple, 0, twice, 0)).toBe(true);
  }));
});

it("behind an IPv4 address there are zeros, whatever the tuple held before", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom("copy", "turn"), anyTuple), { maxLength: 12 }), (writes) => {
    const reused = new Uint8Array(TUPLE_BYTES);
    for (const [how, tuple] of writes) {
      const fresh = new Uint8Array(TUPLE_BYTES);
      if (how === "copy") {
        copyTuple(tuple, reused);
        copyTuple(tuple, fresh);
      } else {
        turnTuple(tuple, 0, reused, 0);
        turnTuple(tuple, 0, fresh, 0);
      }
      expect([...reused]).toEqual([...fresh]);
    }
  }));
});

it("tuples and their ends are the same where all their bytes are", () => {
  fc.assert(fc.property(anyTuple, anyTuple, (a, b) => {
    expect(sameTuple(a, 0, b, 0)).toBe(a.join() === b.join());
    expect(sameSource(a, b)).toBe(a[0] === b[0] && Tuple.source(a).join() === Tuple.source(b).join());
    expect(sameDestination(a, b)).toBe(a[0] === b[0] && Tuple.destination(a).join() === Tuple.destination(b).join());
  }));
});
