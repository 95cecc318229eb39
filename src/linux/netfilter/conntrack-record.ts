/** A conntrack entry as plain data, with the fields of a `conntrack -L` line. */
import { type Connection, Status } from "./connection.js";
import { protocolText, wordsText } from "./names.js";
import { Proto } from "./packet.js";
import { sctpStateNames } from "./sctp.js";
import { tcpStateNames } from "./tcp-state.js";
import type { Tuple } from "./tuple.js";

export interface TupleRecord {
  readonly source: string;
  readonly destination: string;
  /** Ports, or null for a protocol without. */
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
  /** ICMP only. */
  readonly icmpType: number | null;
  readonly icmpCode: number | null;
  readonly icmpId: number | null;
}

export interface ConntrackRecord {
  readonly id: number;
  readonly family: 4 | 6;
  readonly protocol: number;
  /** Seconds left. */
  readonly timeout: number;
  /** TCP and SCTP, else "". */
  readonly state: string;
  readonly original: TupleRecord;
  readonly reply: TupleRecord;
  readonly unreplied: boolean;
  readonly assured: boolean;
  readonly mark: number;
}

export function recordOf(connection: Connection, nowNs: number): ConntrackRecord {
  const { original, status } = connection;
  const state =
    original.protocol === Proto.Tcp
      ? tcpStateNames[connection.tcp?.state ?? 0]
      : original.protocol === Proto.Sctp
        ? sctpStateNames[connection.sctpState]
        : "";
  return {
    id: connection.id,
    family: original.family,
    protocol: original.protocol,
    timeout: Math.max(0, Math.floor((connection.expiresNs - nowNs) / 1e9)),
    state,
    original: tupleRecord(original),
    reply: tupleRecord(connection.reply),
    unreplied: (status & Status.SeenReply) === 0,
    assured: (status & Status.Assured) !== 0,
    mark: connection.mark,
  };
}

/** One line as `conntrack -L` prints it. */
export function formatRecord(record: ConntrackRecord): string {
  const name = protocolText(record.protocol).replace("ipv6-icmp", "icmpv6");
  const known = ["tcp", "udp", "sctp", "icmp", "icmpv6", "gre", "udplite"].includes(name) ? name : "unknown";
  return (
    `${known.padEnd(8)} ${record.protocol} ${record.timeout} ${record.state === "" ? "" : `${record.state} `}` +
    `${tupleText(record.original)} ${record.unreplied ? "[UNREPLIED] " : ""}${tupleText(record.reply)} ` +
    `${record.assured ? "[ASSURED] " : ""}mark=${record.mark} use=1`
  );
}

function tupleRecord(tuple: Tuple): TupleRecord {
  const { protocol, family, source, destination } = tuple;
  const isIcmp = protocol === Proto.Icmp || protocol === Proto.Icmp6;
  const hasPorts =
    protocol === Proto.Tcp || protocol === Proto.Udp || protocol === Proto.Sctp || protocol === Proto.UdpLite;
  return {
    source: wordsText([tuple.s0, tuple.s1, tuple.s2, tuple.s3], family),
    destination: wordsText([tuple.d0, tuple.d1, tuple.d2, tuple.d3], family),
    sourcePort: hasPorts ? source : null,
    destinationPort: hasPorts ? destination : null,
    icmpType: isIcmp ? destination >> 8 : null,
    icmpCode: isIcmp ? destination & 255 : null,
    icmpId: isIcmp ? source : null,
  };
}

function tupleText(tuple: TupleRecord): string {
  const ports = tuple.sourcePort === null ? "" : ` sport=${tuple.sourcePort} dport=${tuple.destinationPort}`;
  const icmp =
    tuple.icmpType === null ? "" : ` type=${tuple.icmpType} code=${tuple.icmpCode} id=${tuple.icmpId}`;
  return `src=${tuple.source} dst=${tuple.destination}${ports}${icmp}`;
}
