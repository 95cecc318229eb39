/** `hubble observe`'s filters on the command line. Their order counts, for `--not` turns the one behind it. */
import { type Command, Option } from "commander";
import { FILTER_NAMES, type FilterName, type FilterTerm, flowFilter, type FlowTest } from "../report/flows/filter.js";
import { timeNsOf } from "../cluster/time.js";
import { wholeNumberOf } from "./options.js";
import { UsageError } from "./usage.js";

const HELP: Readonly<Record<FilterName, string>> = {
  "from-pod": "flows from pods whose name begins so: [namespace/]name", "to-pod": "flows to such pods", pod: "flows from or to such pods",
  "from-namespace": "flows from this namespace", "to-namespace": "flows to this namespace", namespace: "flows from or to this namespace",
  "from-ip": "flows from this address or CIDR", "to-ip": "flows to it", ip: "flows from or to it",
  "from-port": "flows from this port", "to-port": "flows to this port", port: "flows from or to this port",
  "from-label": "flows from pods with this label", "to-label": "flows to pods with it", label: "flows from or to pods with it",
  protocol: "tcp, udp, sctp, icmp", verdict: "FORWARDED, DROPPED, REDIRECTED, VERDICT_UNKNOWN", "drop-reason-desc": "as POLICY_DENIED",
  "traffic-direction": "ingress, egress", "node-name": "flows that end on this node",
};

export interface FlowOptions {
  readonly plane: "current" | "target";
  readonly first?: string;
  readonly last?: string;
  readonly since?: string;
  readonly until?: string;
}

/** What of the flows is printed. */
export interface FlowSelection {
  /** 0: current, 1: target. */
  readonly plane: 0 | 1;
  readonly test: FlowTest;
  /** Of all that pass; Infinity: every one. */
  readonly first: number;
  readonly last: number;
  /** ns since the Unix epoch, both inclusive. */
  readonly sinceNs: bigint | null;
  readonly untilNs: bigint | null;
}

/** Adds the options; the terms given are in the list once the command runs. */
export function addFlowOptions(command: Command): readonly FilterTerm[] {
  const terms: FilterTerm[] = [];
  let not = false;
  command.addOption(new Option("--plane <side>", "whose verdicts -o hubble and -o compact have").choices(["current", "target"])
    .default("target"));
  for (const name of FILTER_NAMES) {
    command.option(`--${name} <value>`, `${HELP[name]} (of -o hubble, -o compact)`, (value: string) => {
      terms.push({ name, value, not });
      not = false;
      return value;
    });
  }
  command.option("--not", "turns the filter behind it");
  command.on("option:not", () => {
    not = true;
  });
  command.option("--first <number>", "the first so many flows")
    .option("--last <number>", "the last so many flows")
    .option("--since <time>", "flows from this time on (RFC 3339, or seconds since 1970)")
    .option("--until <time>", "flows up to this time");
  return terms;
}

export function flowSelection(options: FlowOptions, terms: readonly FilterTerm[]): FlowSelection {
  const test = flowFilter(terms);
  if (typeof test === "string") throw new UsageError(test);
  if (options.first !== undefined && options.last !== undefined) throw new UsageError("give --first or --last, not both");
  return {
    plane: options.plane === "current" ? 0 : 1, test,
    first: options.first === undefined ? Infinity : wholeNumberOf(options.first, "--first", 1),
    last: options.last === undefined ? Infinity : wholeNumberOf(options.last, "--last", 1),
    sinceNs: timeNamed("--since", options.since), untilNs: timeNamed("--until", options.until),
  };
}

/** Whether anything but the plane was asked for. */
export function selects(options: FlowOptions, terms: readonly FilterTerm[]): boolean {
  return terms.length > 0 || [options.first, options.last, options.since, options.until].some((one) => one !== undefined);
}

function timeNamed(option: string, text: string | undefined): bigint | null {
  if (text === undefined) return null;
  const time = timeNsOf(text);
  if (time === null) throw new UsageError(`${option} is a time such as 2026-03-01T12:00:00Z or 1772366400.25, not '${text}'`);
  return time;
}
