/** The vocabulary refuses what the module could not hold, and the contract keeps Cilium's layouts where it says so. */
import { describe, expect, test } from "vitest";
import * as codeSets from "./codes.js";
import { contractHash } from "./hash.js";
import { be16, bytes, codes, codeText, struct, u8, u16, u32, u64, wordSize } from "./layout.js";
import { MAX_MAPS, maps } from "./maps.js";
import { PolicyEntry, PolicyKey } from "./structs.js";

describe("struct", () => {
  test("lays fields one behind the other", () => {
    const made = struct("S", "", { a: [u32, ""], b: [be16, ""], c: [u8, ""], d: [u8, ""], e: [bytes(3), ""], f: [u8, ""] });
    expect(made.fields.map(({ offset }) => offset)).toEqual([0, 4, 6, 7, 8, 11]);
    expect(made.size).toBe(12);
  });

  test("refuses a field that is not aligned", () => {
    expect(() => struct("S", "", { a: [u8, ""], b: [u16, ""] })).toThrow("S.b at 1 is not aligned to 2");
  });

  test("refuses a size that would leave padding behind", () => {
    expect(() => struct("S", "", { a: [u64, ""], b: [u32, ""] })).toThrow("S has 12 bytes, not a multiple of 8");
  });

  test("bytes are read in the widest words that fit", () => {
    const made = struct("S", "", { a: [bytes(16), ""], b: [bytes(6), ""], c: [bytes(1), ""], d: [bytes(1), ""] });
    expect(made.fields.map(wordSize)).toEqual([8, 2, 1, 1]);
  });
});

describe("codes", () => {
  test("refuse a number given twice, and a retired one", () => {
    expect(() => codes("C", "", { A: 1, B: 1 })).toThrow("C.B: 1 is taken");
    expect(() => codes("C", "", { A: 1 }, {}, { 1: "old" })).toThrow("C.A: 1 is taken");
  });

  test("have a text for every drop reason, and for no other number", () => {
    const { values, texts, retired } = codeSets.DropReason;
    expect(Object.keys(texts).sort()).toEqual(Object.values(values).map(String).sort());
    for (const number of Object.keys(retired)) expect(texts).not.toHaveProperty(number);
    expect(codeText(codeSets.DropReason, 181)).toBe("Policy denied by denylist");
    expect(codeText(codeSets.DropReason, 131)).toBe("unknown 131");
  });
});

describe("maps", () => {
  test("have names of their own, and leave numbers to the user", () => {
    expect(new Set(maps.map(({ name }) => name)).size).toBe(maps.length);
    expect(maps.length).toBeLessThan(MAX_MAPS);
  });

  test("LPM keys begin with the prefix length", () => {
    const tries = maps.flatMap((declared) => [declared, declared.inner]).filter((each) => each?.kind === "lpm_trie");
    expect(tries.length).toBeGreaterThan(5);
    for (const declared of tries) expect(declared?.key.fields[0]).toMatchObject({ name: "prefixlen", offset: 0 });
  });

  // bpf/lib/policy.h: struct policy_key, struct policy_entry.
  test("policy keys and entries are Cilium's byte for byte", () => {
    expect(PolicyKey.fields.map(({ name, offset }) => [name, offset])).toEqual(
      [["prefixlen", 0], ["sec_label", 4], ["egress", 8], ["protocol", 9], ["dport", 10]]);
    expect([PolicyKey.size, PolicyEntry.size]).toEqual([12, 12]);
  });
});

test("the hash is a u32 and does not change from call to call", () => {
  expect(contractHash()).toBe(contractHash());
  expect(contractHash()).toBeGreaterThan(0);
  expect(contractHash()).toBeLessThan(2 ** 32);
});
