/** Names and labels are hostile input: what a terminal or a reader of lines obeys is written as an escape. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const OBEYED = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Control characters, line separators and marks that turn the direction of text, as `\xNN` or `\uNNNN`. */
export function printable(text: string): string {
  return text.replace(OBEYED, (one) => {
    const code = one.charCodeAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}
