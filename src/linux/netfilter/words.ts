/** Words of a rule line, as iptables-restore splits it. */

export interface Word {
  readonly text: string;
  readonly quoted: boolean;
}

/**
 * Words of a line; double quotes hold a word together, a backslash inside them takes the next character as it
 * is.
 */
export function splitWords(line: string): Word[] | null {
  const words: Word[] = [];
  let at = 0;
  while (at < line.length) {
    if (isSpace(line.charCodeAt(at))) {
      at++;
      continue;
    }
    const plainEnd = endOfPlainWord(line, at);
    if (plainEnd >= 0) {
      words.push({ text: line.slice(at, plainEnd), quoted: false });
      at = plainEnd;
      continue;
    }
    let text = "";
    let quoted = false;
    let open = false;
    for (; at < line.length && (open || !isSpace(line.charCodeAt(at))); at++) {
      if (line[at] === '"') {
        open = !open;
        quoted = true;
      } else if (open && line[at] === "\\" && at + 1 < line.length) {
        text += line[++at];
      } else {
        text += line[at];
      }
    }
    if (open) return null;
    words.push({ text, quoted });
  }
  return words;
}

/** Where the word at `at` ends, -1 where it has a quote. */
function endOfPlainWord(line: string, at: number): number {
  for (let end = at; end < line.length; end++) {
    const code = line.charCodeAt(end);
    if (isSpace(code)) return end;
    if (code === 0x22) return -1;
  }
  return line.length;
}

/** As \s of a regular expression. */
function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 9 && code <= 13) || (code >= 0xa0 && /\s/.test(String.fromCharCode(code)));
}
