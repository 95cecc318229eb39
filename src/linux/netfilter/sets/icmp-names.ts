/** Names of ICMP type and code as ipset reads and prints them: the `port` of a set's entry is type << 8 | code. */

/** [type, code, name…]; the first name is printed. */
type Row = readonly [number, number, ...string[]];

const icmp: readonly Row[] = [
  [0, 0, "echo-reply", "pong"], [3, 0, "network-unreachable"], [3, 1, "host-unreachable"], [3, 2, "protocol-unreachable"],
  [3, 3, "port-unreachable"], [3, 4, "fragmentation-needed"], [3, 5, "source-route-failed"], [3, 6, "network-unknown"],
  [3, 7, "host-unknown"], [3, 9, "network-prohibited"], [3, 10, "host-prohibited"], [3, 11, "TOS-network-unreachable"],
  [3, 12, "TOS-host-unreachable"], [3, 13, "communication-prohibited"], [3, 14, "host-precedence-violation"],
  [3, 15, "precedence-cutoff"], [4, 0, "source-quench"], [5, 0, "network-redirect"], [5, 1, "host-redirect"],
  [5, 2, "TOS-network-redirect"], [5, 3, "TOS-host-redirect"], [8, 0, "echo-request", "ping"],
  [9, 0, "router-advertisement"], [10, 0, "router-solicitation"], [11, 0, "ttl-zero-during-transit"],
  [11, 1, "ttl-zero-during-reassembly"], [12, 0, "ip-header-bad"], [12, 1, "required-option-missing"],
  [13, 0, "timestamp-request"], [14, 0, "timestamp-reply"], [17, 0, "address-mask-request"], [18, 0, "address-mask-reply"],
];

const icmp6: readonly Row[] = [
  [1, 0, "no-route"], [1, 1, "communication-prohibited"], [1, 3, "address-unreachable"], [1, 4, "port-unreachable"],
  [2, 0, "packet-too-big"], [3, 0, "ttl-zero-during-transit"], [3, 1, "ttl-zero-during-reassembly"], [4, 0, "bad-header"],
  [4, 1, "unknown-header-type"], [4, 2, "unknown-option"], [128, 0, "echo-request", "ping"], [129, 0, "echo-reply", "pong"],
  [133, 0, "router-solicitation"], [134, 0, "router-advertisement"], [135, 0, "neighbour-solicitation", "neighbor-solicitation"],
  [136, 0, "neighbour-advertisement", "neighbor-advertisement"], [137, 0, "redirect"],
];

function rowsOf(protocol: number): readonly Row[] {
  return protocol === 58 ? icmp6 : icmp;
}

/** `echo-request` or `8/0`; null where it is neither. */
export function icmpPort(text: string, protocol: number): number | null {
  const row = rowsOf(protocol).find(([, , ...names]) => names.some((name) => name.toLowerCase() === text.toLowerCase()));
  if (row !== undefined) return (row[0] << 8) | row[1];
  const match = /^(\d{1,3})\/(\d{1,3})$/.exec(text);
  if (match === null || Number(match[1]) > 255 || Number(match[2]) > 255) return null;
  return (Number(match[1]) << 8) | Number(match[2]);
}

export function icmpPortText(port: number, protocol: number): string {
  const row = rowsOf(protocol).find(([type, code]) => ((type << 8) | code) === port);
  return row === undefined ? `${port >>> 8}/${port & 255}` : row[2];
}
