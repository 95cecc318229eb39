/** assembly/abi.gen.ts is what the contract says: rewritten where a developer works, a failure where CI is set. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { emitAbi } from "./emit.js";

const file = new URL("../../assembly/abi.gen.ts", import.meta.url);

test("assembly/abi.gen.ts is fresh", () => {
  const text = emitAbi();
  const found = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (found !== text && !process.env.CI) writeFileSync(file, text);
  else expect(found).toBe(text);
});

test("every field has a member, and every member a check of its offset", () => {
  const text = emitAbi();
  const members = [...text.matchAll(/^ {2}(\w+): u\d+;$/gm)].length;
  const checks = [...text.matchAll(/^if \(offsetof<\w+>\("\w+"\) != \d+\)/gm)].length;
  expect(members).toBeGreaterThan(200);
  expect(checks).toBe(members);
});
