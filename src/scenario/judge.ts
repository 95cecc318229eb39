/** What was seen held against what was expected: the failures, in sentences. */
import { parseAddress } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Names } from "../compare/names.js";
import type { Seen } from "./connection.js";
import { type Expectation, listOf } from "./scenario.js";

export interface Judged {
  readonly failures: readonly string[];
  /** The plane could not say what becomes of it, and that was not expected. */
  readonly undecided: boolean;
}

/** @param client address text of the sender itself */
export function judge(expected: Expectation, seen: readonly Seen[], client: string, cluster: Cluster, names: Names): Judged {
  const failures = new Set<string>();
  for (const one of seen) for (const failure of failuresOf(expected, one, client, cluster, names)) failures.add(failure);
  const wanted = listOf(expected.to);
  if (failures.size === 0 && seen.length > 1) {
    const unseen = wanted.filter((end) => !seen.some((one) => one.end !== null && isEnd(end, one.end.destination, one.end.port, cluster)));
    if (unseen.length > 0) {
      failures.add(`expected every one of ${wanted.join(", ")} in ${seen.length} connections, never found ${unseen.join(", ")}`);
    }
  }
  const undecided = (expected.outcome !== "undecided" && seen.some((one) => one.outcome === "undecided"))
    || (expected.reply !== "undecided" && seen.some((one) => one.reply === "undecided"));
  return { failures: [...failures], undecided: undecided && failures.size > 0 };
}

function failuresOf(expected: Expectation, seen: Seen, client: string, cluster: Cluster, names: Names): string[] {
  const failures: string[] = [];
  const fail = (what: string, wanted: string, found: string): void => {
    failures.push(`expected ${what} ${wanted}, found ${found}`);
  };
  const found = describeSeen(seen, names);
  if (expected.outcome !== undefined && seen.outcome !== expected.outcome) return [`expected ${expected.outcome}, found ${found}`];
  const { end } = seen;
  const wanted = listOf(expected.to);
  if (wanted.length > 0 && (end === null || !wanted.some((one) => isEnd(one, end.destination, end.port, cluster)))) {
    fail("destination", wanted.join(" or "), found);
  }
  if (expected.source !== undefined) {
    const is = end !== null && (expected.source === "client" ? end.source === client : isEnd(expected.source, end.source, 0, cluster));
    if (!is) fail("source", expected.source, found);
  }
  if (expected.reason !== undefined && !isReason(expected.reason, seen.reason)) fail("reason", expected.reason, seen.reason || found);
  for (const because of listOf(expected.because)) {
    if (seen.becauses.some((one) => one.object === because || one.object.endsWith(` ${because}`))) continue;
    fail("because", because, seen.becauses.map((one) => one.object).join(", ") || "nothing");
  }
  // Nothing is delivered for good whose answer never comes back.
  const reply = expected.reply ?? (seen.reply === "none" ? "none" : "restored");
  if (seen.reply !== reply) {
    fail("the answer", reply, `${seen.reply}${seen.replyReason === "" ? "" : ` (${seen.replyReason})`}`);
  }
  return failures;
}

/** `delivered to default/web, source node1`, `dropped (POLICY_DENIED) because of default/deny`. */
export function describeSeen(seen: Seen, names: Names): string {
  const because = [...new Set(seen.becauses.map((one) => one.object))].filter((one) => one !== "").slice(0, 4);
  if (seen.end !== null) {
    const { destination, port, source, node, local } = seen.end;
    const where = local && names.node(destination) === null ? ` on ${node}` : "";
    return `${seen.outcome} to ${names.describe(destination)}${port === 0 ? "" : `:${port}`}${where}, source ${names.describe(source)}`;
  }
  const why = because.length === 0 ? "" : ` because of ${because.join(", ")}`;
  return `${seen.outcome}${seen.reason === "" ? "" : ` (${seen.reason})`}${why}`;
}

/** `default/web` (any address of the pod), a node's name, an address, or address:port. */
function isEnd(wanted: string, address: string, port: number, cluster: Cluster): boolean {
  const plain = parseAddress(wanted);
  if (plain !== null) return plain.text === address;
  const withPort = /^(?:\[(.+)\]|([^:[]+)):(\d+)$/.exec(wanted);
  if (withPort !== null) return parseAddress(withPort[1] ?? withPort[2])?.text === address && Number(withPort[3]) === port;
  if (wanted.includes("/")) {
    const pod = cluster.pods.find((one) => `${one.namespace}/${one.name}` === wanted);
    return pod?.ips.some((ip) => ip.text === address) === true;
  }
  const node = cluster.nodes.find((one) => one.name === wanted);
  return node !== undefined && (node.addresses.some((one) => one.address.text === address)
    || node.facts.devices.some((device) => device.kind !== "loopback" && device.addresses.some((one) => one.address.text === address)));
}

/** A reason as it is printed, or the chain of `table/CHAIN`, or what is undecided. */
function isReason(wanted: string, reason: string): boolean {
  return reason === wanted || reason.endsWith(`/${wanted}`) || reason === `undecided: ${wanted}`;
}
