/** What a terminal obeys never reaches it, and readers of JSON get every text back. */
import { describe, expect, it } from "vitest";
import { jsonText, printable, printableLines } from "./printable.js";

const HOSTILE = "a\u001b[2Jb\u009b31mc\u202ed\u2066e\u2028f\u007fg\nh";
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

describe("texts", () => {
  it("are escaped, lines where they are asked for stay", () => {
    expect(printable(HOSTILE)).toBe("a\\x1b[2Jb\\x9b31mc\\u202ed\\u2066e\\u2028f\\x7fg\\x0ah");
    expect(printableLines(HOSTILE).split("\n")).toHaveLength(2);
  });

  it("in JSON are escapes, and the same data again", () => {
    const data = { [HOSTILE]: [HOSTILE, 1, null] };
    const text = jsonText(data);
    expect(text).not.toMatch(OBEYED);
    expect(JSON.parse(text)).toEqual(data);
  });
});
