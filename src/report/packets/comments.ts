/**
 * What a comment in a commented capture says of a packet, in words that Wireshark filters on:
 *
 *     cmp=DIFF id=POL-LB-INGRESS facet=reached current=FORWARDED target=DROPPED/POLICY_DENIED rule=default/web#ingress[0]
 *
 * `cmp` is SAME, OTHER-CHOICE, DIFF, CONSEQUENCE, MOOT, HELD, UNDECIDED, CONTRADICTED, or ASIDE for records that are not put in (made by a
 * node, not IP). A value with spaces stands in quotes.
 */
import type { Judged, JudgedClass, JudgedSide } from "../../compare/judged.js";
import { End } from "../../dataplane.js";
import { printable } from "../printable.js";

export const ASIDE = "cmp=ASIDE";

const WORDS: Readonly<Record<JudgedClass, string>> = {
  same: "SAME", otherChoice: "OTHER-CHOICE", different: "DIFF", consequence: "CONSEQUENCE", moot: "MOOT", held: "HELD",
  undecided: "UNDECIDED", contradicted: "CONTRADICTED",
};

export function commentOf(judged: Judged): string {
  const { sides, finding } = judged;
  const parts: [string, string][] = [["cmp", WORDS[judged.class]]];
  if (finding !== null) parts.push(["id", finding.id], ["facet", finding.facet]);
  if (judged.undecided !== "") parts.push(["reason", judged.undecided]);
  if (sides !== null) parts.push(["current", sideText(sides[0])], ["target", sideText(sides[1])]);
  const becauses = finding === null || sides === null ? [] : [...sides[1].becauses, ...sides[0].becauses];
  // A manifest's line says more than an option.
  const rule = becauses.find((one) => one.where !== null) ?? becauses[0];
  if (rule !== undefined) parts.push(["rule", `${rule.object}#${rule.rule}`]);
  return parts.map(([name, value]) => `${name}=${quoted(value)}`).join(" ");
}

const VERDICTS: Readonly<Record<End, string>> = {
  [End.None]: "NOT-REACHED", [End.Delivered]: "FORWARDED", [End.Left]: "FORWARDED", [End.Dropped]: "DROPPED", [End.Rejected]: "REJECTED",
  [End.Answered]: "ANSWERED", [End.Held]: "HELD", [End.Redirected]: "REDIRECTED", [End.Undecided]: "UNDECIDED",
};

/** `DROPPED/POLICY_DENIED`; where it arrived, the addresses there: `FORWARDED/10.0.0.1>10.244.1.7:80`. */
function sideText({ end, reason, arrived }: JudgedSide): string {
  if (arrived !== null) {
    const { source, destination, destinationPort: port } = arrived;
    const to = destination.includes(":") && port > 0 ? `[${destination}]` : destination;
    return `${VERDICTS[end]}/${source}>${to}${port > 0 ? `:${port}` : ""}`;
  }
  return reason === "" ? VERDICTS[end] : `${VERDICTS[end]}/${reason}`;
}

function quoted(value: string): string {
  const safe = printable(value);
  return safe === "" || /[\s"\\]/.test(safe) ? JSON.stringify(safe) : safe;
}

/** The comments of a capture's records, each text kept once. */
export class Comments {
  private readonly texts: string[] = [ASIDE];
  private readonly numbers = new Map<string, number>();
  private records = new Uint32Array(1024);

  /** `record`: its number from 1. */
  set(record: number, text: string): void {
    let number = this.numbers.get(text);
    if (number === undefined) {
      number = this.texts.push(text) - 1;
      this.numbers.set(text, number);
    }
    if (record >= this.records.length) {
      const larger = new Uint32Array(Math.max(record + 1, this.records.length * 2));
      larger.set(this.records);
      this.records = larger;
    }
    this.records[record] = number;
  }

  get(record: number): string {
    return this.texts[this.records[record] ?? 0];
  }
}
