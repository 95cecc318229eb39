/** CSV by RFC 4180, pushed in as lines: a field in quotes may hold commas, quotes written twice, and line breaks. */
export class CsvRows {
  private pending = "";

  /** The fields of the row that this line ends; null where a quoted field goes on in the next line. */
  push(line: string): string[] | null {
    const text = this.pending === "" ? line : `${this.pending}\n${line}`;
    const fields: string[] = [];
    let at = 0;
    for (;;) {
      const field = text[at] === '"' ? quoted(text, at) : plain(text, at);
      if (field === null) {
        this.pending = text;
        return null;
      }
      fields.push(field.text);
      at = field.end + 1;
      if (field.end >= text.length) break;
    }
    this.pending = "";
    return fields;
  }
}

function plain(text: string, at: number): { text: string; end: number } {
  const comma = text.indexOf(",", at);
  const end = comma < 0 ? text.length : comma;
  return { text: text.slice(at, end), end };
}

function quoted(text: string, at: number): { text: string; end: number } | null {
  let field = "";
  for (let from = at + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return null;
    field += text.slice(from, quote);
    if (text[quote + 1] !== '"') {
      const comma = text.indexOf(",", quote);
      return { text: field, end: comma < 0 ? text.length : comma };
    }
    field += '"';
    from = quote + 2;
  }
}
