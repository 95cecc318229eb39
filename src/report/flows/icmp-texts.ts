/** ICMP types and codes in words, as Hubble's summaries have them: gopacket's ICMPv4TypeCode and ICMPv6TypeCode. */

type Texts = Readonly<Record<number, readonly [type: string, codes?: Readonly<Record<number, string>>]>>;

const ICMPV4: Texts = {
  0: ["EchoReply"],
  3: ["DestinationUnreachable", {
    0: "Net", 1: "Host", 2: "Protocol", 3: "Port", 4: "FragmentationNeeded", 5: "SourceRoutingFailed", 6: "NetUnknown", 7: "HostUnknown",
    8: "SourceIsolated", 9: "NetAdminProhibited", 10: "HostAdminProhibited", 11: "NetTOS", 12: "HostTOS", 13: "CommAdminProhibited",
    14: "HostPrecedence", 15: "PrecedenceCutoff",
  }],
  4: ["SourceQuench"],
  5: ["Redirect", { 0: "Net", 1: "Host", 2: "TOS+Net", 3: "TOS+Host" }],
  8: ["EchoRequest"], 9: ["RouterAdvertisement"], 10: ["RouterSolicitation"],
  11: ["TimeExceeded", { 0: "TTLExceeded", 1: "FragmentReassemblyTimeExceeded" }],
  12: ["ParameterProblem", { 0: "PointerIndicatesError", 1: "MissingOption", 2: "BadLength" }],
  13: ["TimestampRequest"], 14: ["TimestampReply"], 15: ["InfoRequest"], 16: ["InfoReply"], 17: ["AddressMaskRequest"],
  18: ["AddressMaskReply"],
};

const ICMPV6: Texts = {
  1: ["DestinationUnreachable", {
    0: "NoRouteToDst", 1: "AdminProhibited", 2: "BeyondScopeOfSrc", 3: "AddressUnreachable", 4: "PortUnreachable",
    5: "SrcAddressFailedPolicy", 6: "RejectRouteToDst",
  }],
  2: ["PacketTooBig"],
  3: ["TimeExceeded", { 0: "HopLimitExceeded", 1: "FragmentReassemblyTimeExceeded" }],
  4: ["ParameterProblem", { 0: "ErroneousHeaderField", 1: "UnrecognizedNextHeader", 2: "UnrecognizedIPv6Option" }],
  128: ["EchoRequest"], 129: ["EchoReply"], 133: ["RouterSolicitation"], 134: ["RouterAdvertisement"], 135: ["NeighborSolicitation"],
  136: ["NeighborAdvertisement"], 137: ["Redirect"],
};

/** `EchoRequest`, `DestinationUnreachable(Port)`, `3(99)`. */
export function icmpText(isV6: boolean, type: number, code: number): string {
  const known = (isV6 ? ICMPV6 : ICMPV4)[type];
  if (known === undefined) return `${type}(${code})`;
  const [text, codes] = known;
  if (codes === undefined && code === 0) return text;
  return `${text}(${codes?.[code] ?? `Code: ${code}`})`;
}
