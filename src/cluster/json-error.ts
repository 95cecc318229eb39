/**
 * Where a text stops being JSON (RFC 8259). JSON.parse tells that in words that vary and quote the text,
 * which may hold secrets; so it is found again here, for the line of the Problem.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not hold them (RFC 8259)
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const LITERAL = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)(?![\w.+-])/y;
const SPACE = /[ \t\r\n]*/y;

/** Offset of the first token no JSON text can have there; the text's length where it only ends too early. */
export function jsonErrorOffset(text: string): number {
  const open: ("{" | "[")[] = [];
  let expected: "value" | "key" | "colon" | "next" = "value";
  let first = false;
  for (let at = after(SPACE, text, 0); at < text.length; at = after(SPACE, text, at)) {
    const character = text[at];
    const closes = open.at(-1) === "{" ? "}" : "]";
    if (open.length > 0 && character === closes && (expected === "next" || (first && expected !== "colon"))) {
      open.pop();
      [expected, first, at] = ["next", false, at + 1];
      continue;
    }
    if (expected === "next") {
      if (character !== "," || open.length === 0) return at;
      [expected, first, at] = [open.at(-1) === "{" ? "key" : "value", false, at + 1];
    } else if (expected === "colon") {
      if (character !== ":") return at;
      [expected, at] = ["value", at + 1];
    } else if (expected === "value" && (character === "{" || character === "[")) {
      open.push(character);
      [expected, first, at] = [character === "{" ? "key" : "value", true, at + 1];
    } else {
      if (expected === "key" && character !== '"') return at;
      const end: number = after(character === '"' ? STRING : LITERAL, text, at);
      if (end < 0) return at;
      [expected, first, at] = [expected === "key" ? "colon" : "next", false, end];
    }
  }
  return text.length;
}

/** End of the match at the offset, or -1. */
function after(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}
