/** The tar reader against archives that tar itself writes, whole, cut anywhere and with damaged bytes. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { readTar } from "./tar.js";

const seed = testSeed("src/capture/tar");
const folder = mkdtempSync(join(tmpdir(), "twinplane-tar-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LONG = `${"deep/".repeat(30)}${"n".repeat(90)}.txt`;
const FILES: Readonly<Record<string, string>> = { "a.txt": "first\n", "sub/empty": "", "sub/block": "x".repeat(512), [LONG]: "far away" };

for (const [name, text] of Object.entries(FILES)) {
  const path = join(folder, "in", name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
}
symlinkSync("a.txt", join(folder, "in", "link"));

function packed(format: string): Uint8Array {
  const path = join(folder, `${format}.tar`);
  execFileSync("tar", ["-cf", path, `--format=${format}`, "-C", join(folder, "in"), "."]);
  return new Uint8Array(readFileSync(path));
}

function contents(bytes: Uint8Array): Record<string, string> {
  return Object.fromEntries(readTar(bytes).files.map((one) => [one.name.replace(/^\.\//, ""), new TextDecoder().decode(one.bytes)]));
}

describe.each(["ustar", "pax", "gnu"])("an archive of format %s", (format) => {
  const bytes = packed(format);

  it("gives every file with its whole name, and no link or folder", () => {
    expect(contents(bytes)).toEqual(FILES);
    expect(readTar(bytes).damage).toBeNull();
  });

  it("that is cut off gives what came before, and says so", () => {
    const end = bytes.findLastIndex((byte) => byte !== 0);
    fc.assert(fc.property(fc.nat(end), (length) => {
      const read = readTar(bytes.subarray(0, length));
      for (const { name, bytes: part } of read.files.slice(0, -1)) {
        expect(new TextDecoder().decode(part)).toBe(FILES[name.replace(/^\.\//, "")]);
      }
      expect(read.damage).toMatch(/^cut off at byte/);
    }), { seed, numRuns: 300 });
  });

  it("with any byte changed never throws, and a changed header ends it", () => {
    fc.assert(fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = bytes.slice();
      changed[at] ^= flip;
      expect(Array.isArray(readTar(changed).files)).toBe(true);
    }), { seed, numRuns: 300 });
    const broken = bytes.slice();
    broken[0] ^= 1;
    expect(readTar(broken)).toEqual({ files: [], damage: "no tar header at byte 0" });
  });
});

it("what is no archive is damaged from the start", () => {
  expect(readTar(new TextEncoder().encode("x".repeat(600))).damage).toBe("no tar header at byte 0");
  expect(readTar(new Uint8Array(0)).damage).toBe("cut off at byte 0, before the end of the archive");
});
