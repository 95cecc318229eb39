/** TCP states and transitions of connection tracking (net/netfilter/nf_conntrack_proto_tcp.c). */

/** enum tcp_conntrack. `Invalid` and `Ignore` stand in the table only. */
export const TcpState = {
  None: 0,
  SynSent: 1,
  SynRecv: 2,
  Established: 3,
  FinWait: 4,
  CloseWait: 5,
  LastAck: 6,
  TimeWait: 7,
  Close: 8,
  SynSent2: 9,
  Invalid: 10,
  Ignore: 11,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

export const tcpStateNames = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;

/** enum tcp_bit_set: what a segment counts as. */
export const Segment = { Syn: 0, SynAck: 1, Fin: 2, Ack: 3, Rst: 4, None: 5 } as const;

/**
 * [direction][segment][state] -> state, flat: `tcpTransitions[(direction * 6 + segment) * 10 + state]`.
 * Columns: NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2.
 */
export const tcpTransitions = Uint8Array.from([
  // original direction
  ...[1, 1, 11, 11, 11, 11, 11, 1, 1, 9], // SYN
  ...[10, 10, 2, 10, 10, 10, 10, 10, 10, 2], // SYN+ACK
  ...[10, 10, 4, 4, 6, 6, 6, 7, 8, 10], // FIN
  ...[3, 10, 3, 3, 5, 5, 7, 7, 8, 10], // ACK
  ...[10, 8, 8, 8, 8, 8, 8, 8, 8, 8], // RST
  ...[10, 10, 10, 10, 10, 10, 10, 10, 10, 10],
  // reply direction
  ...[10, 9, 10, 10, 10, 10, 10, 1, 10, 9], // SYN
  ...[10, 2, 11, 11, 11, 11, 11, 11, 11, 2], // SYN+ACK
  ...[10, 10, 4, 4, 6, 6, 6, 7, 8, 10], // FIN
  ...[10, 11, 2, 3, 5, 5, 7, 7, 8, 11], // ACK
  ...[10, 8, 8, 8, 8, 8, 8, 8, 8, 8], // RST
  ...[10, 10, 10, 10, 10, 10, 10, 10, 10, 10],
]);
