import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { readDNSAnswer } from "./dns.js";

const seed = testSeed("dns");

const name = (text: string): number[] =>
  [...text.split(".").flatMap((label) => [label.length, ...[...label].map((one) => one.charCodeAt(0))]), 0];
const word = (value: number): number[] => [value >> 8, value & 0xff];
const record = (owner: number[], type: number, data: number[], ttlSec = 60): number[] =>
  [...owner, ...word(type), ...word(1), 0, 0, 0, ttlSec, ...word(data.length), ...data];
/** The question's name stands at offset 12. */
const QUESTION = [0xc0, 12];

function answer(records: number[][], flags = 0x8180): Uint8Array {
  return Uint8Array.from([0, 1, ...word(flags), 0, 1, ...word(records.length), 0, 0, 0, 0, ...name("Api.Example.com"), 0, 1, 0, 1,
    ...records.flat()]);
}

describe("readDNSAnswer", () => {
  it("reads addresses of both families, through compressed names", () => {
    const found = readDNSAnswer(answer([record(QUESTION, 1, [192, 0, 2, 1]),
      record(QUESTION, 28, [0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 7])]));
    expect(found).toMatchObject({ name: "api.example.com", addresses: [{ text: "192.0.2.1" }, { text: "2001:db8::7" }], ttlSec: 60 });
  });

  it("follows aliases, and takes nothing that they do not lead to", () => {
    const found = readDNSAnswer(answer([record(QUESTION, 5, name("edge.net"), 20), record(name("edge.net"), 1, [192, 0, 2, 2]),
      record(name("other.net"), 1, [192, 0, 2, 3])]));
    expect(found!.addresses.map(({ text }) => text)).toEqual(["192.0.2.2"]);
    expect(found!.ttlSec).toBe(20);
  });

  it.each([["a question", answer([], 0x0100)], ["no such name", answer([], 0x8183)], ["no records", answer([])],
    ["a name that points to itself", answer([record([0xc0, 33], 1, [192, 0, 2, 1])])]])("%s is no answer", (_, message) => {
    expect(readDNSAnswer(message)).toBeNull();
  });

  it("is not upset by any bytes, or by a cut", () => {
    const whole = answer([record(QUESTION, 5, name("edge.net")), record(name("edge.net"), 1, [192, 0, 2, 2])]);
    for (let length = 0; length < whole.length; length++) expect(readDNSAnswer(whole.subarray(0, length))).toBeNull();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      readDNSAnswer(bytes);
    }), { seed, numRuns: 2000 });
  });
});
