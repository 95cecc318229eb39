/** Records survive encoding in every struct of the contract, and what a struct cannot hold is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testSeed } from "../../test/seed.js";
import { type AnyRecord, decode, encode, encodeInto, format } from "./codec.js";
import { allStructs } from "./hash.js";
import type { Field, Struct } from "./layout.js";
import { CtEntry, CtTuple, PolicyKey } from "./structs.js";

const seed = testSeed("codec");

function anyValueOf(field: Field): fc.Arbitrary<number | bigint | Uint8Array> {
  const { kind, size } = field.type;
  if (kind === "bytes") return fc.uint8Array({ minLength: size, maxLength: size });
  if (kind === "u64") return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  return fc.integer({ min: 0, max: 2 ** (size * 8) - 1 });
}

function recordOf(struct: Struct): fc.Arbitrary<AnyRecord> {
  return fc.record(Object.fromEntries(struct.fields.map((field) => [field.name, anyValueOf(field)])));
}

describe.each(allStructs.map((struct) => [struct.name, struct] as const))("%s", (_name, struct) => {
  test("decode undoes encode, and touches nothing else", () => {
    fc.assert(fc.property(recordOf(struct), fc.integer({ min: 0, max: 7 }), (record, margin) => {
      const bytes = new Uint8Array(struct.size + 2 * margin).fill(0xa5);
      encodeInto(struct, record, new DataView(bytes.buffer), margin);
      expect(decode(struct, bytes.slice(margin, margin + struct.size))).toEqual(record);
      const around = [...bytes.subarray(0, margin), ...bytes.subarray(margin + struct.size)];
      expect(around.every((byte) => byte === 0xa5)).toBe(true);
    }), { seed, numRuns: 30 });
  });

  test("encode undoes decode: no byte is padding", () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: struct.size, maxLength: struct.size }), (bytes) => {
      expect(encode(struct, decode(struct, bytes))).toEqual(bytes);
    }), { seed, numRuns: 30 });
  });
});

test("be16 is in wire order, u16 and u32 are the module's", () => {
  const bytes = encode(PolicyKey, { prefixlen: 64, sec_label: 0x01020304, protocol: 6, dport: 80 });
  expect([...bytes]).toEqual([64, 0, 0, 0, 4, 3, 2, 1, 0, 6, 0, 80]);
});

test("fields left out are zero", () => {
  expect(encode(CtEntry, {}).every((byte) => byte === 0)).toBe(true);
});

test("a number out of range, a strange field and too many bytes are refused", () => {
  expect(() => encode(PolicyKey, { dport: 65536 })).toThrow("PolicyKey.dport: 65536 is not a be16");
  expect(() => encode(PolicyKey, { protocol: -1 })).toThrow("PolicyKey.protocol: -1 is not a u8");
  expect(() => encode(PolicyKey, { sec_label: 1.5 })).toThrow("PolicyKey.sec_label: 1.5 is not a u32");
  expect(() => encode(CtTuple, { daddr: new Uint8Array(17) })).toThrow("CtTuple.daddr: expected up to 16 bytes");
  expect(() => encode(PolicyKey, { port: 1 } as never)).toThrow("PolicyKey has no field port");
  expect(() => encode(CtEntry, { packets: -1n })).toThrow("CtEntry.packets: -1 is not a u64");
});

test("format names what is there", () => {
  const bytes = encode(CtTuple, { daddr: new Uint8Array([10, 0, 0, 1]), dport: 80, nexthdr: 6 });
  expect(format(CtTuple, bytes)).toBe("daddr=10.0.0.1 dport=80 nexthdr=6");
});
