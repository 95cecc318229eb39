/**
 * Flow logs line by line, in bounded memory, told by their first line that says something. UTF-16 with its mark is read too, as
 * PowerShell's `>` writes it.
 */
import { type FlowLog, isJsonText } from "../flows/log.js";
import { encodingOf } from "./files.js";

/** A line longer than this is no flow. */
const LONGEST = 1 << 24;

/** A flow log, which `begin` made and which has got every line; or another text as a whole; of nothing but blanks neither. */
export async function readFlowLines<Log extends FlowLog>(chunks: AsyncIterable<Uint8Array>, begin: () => Log)
  : Promise<{ readonly log: Log | null; readonly text: string | null }> {
  const lines = new Lines();
  let log: Log | null = null;
  let text: string[] | null = null;
  const take = (line: string): void => {
    if (log === null && text === null) {
      if (line.trim() === "") {
        lines.skipped++;
        return;
      }
      if (isFlowLog(line)) log = begin();
      else text = new Array<string>(lines.skipped).fill("");
      for (let blank = 0; log !== null && blank < lines.skipped; blank++) log.push("");
    }
    if (log !== null) log.push(line);
    else text?.push(line);
  };
  const takePiece = (piece: string): boolean => {
    if (log === null && text === null && isJsonText(piece.replace(/^\ufeff/, ""))) log = begin();
    return log?.piece(piece) === true;
  };
  for await (const chunk of chunks) lines.push(chunk, take, takePiece);
  lines.end(take);
  return { log, text: (text as string[] | null)?.join("\n") ?? null };
}

/** JSON, or a header of columns; conntrack's lines begin with a time in brackets or a protocol and have equals signs. */
function isFlowLog(line: string): boolean {
  const head = line.replace(/^\ufeff/, "").trimStart();
  return head.startsWith("{") || isJsonText(head) || /^"?[A-Za-z_][^",=]*"?,/.test(head);
}

/** Text lines from chunks of bytes. */
class Lines {
  /** Blank lines before the first that says something. */
  skipped = 0;
  private decoder: InstanceType<typeof TextDecoder> | null = null;
  private rest = "";

  /** @param takePiece takes part of a line that is too long; false: it does not */
  push(chunk: Uint8Array, take: (line: string) => void, takePiece: (piece: string) => boolean): void {
    this.decoder ??= new TextDecoder(encodingOf(chunk));
    const text = this.rest + this.decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      take(text.slice(from, text[end - 1] === "\r" ? end - 1 : end));
      from = end + 1;
    }
    this.rest = text.slice(from);
    // What is cut here is refused as the flow that it is none of.
    if (this.rest.length > LONGEST) this.rest = takePiece(this.rest) ? "" : this.rest.slice(0, 1024);
  }

  end(take: (line: string) => void): void {
    const last = this.rest + (this.decoder?.decode() ?? "");
    if (last !== "") take(last);
  }
}
