/**
 * Reads ICMP types, by number or by name.
 *
 * Source: cilium pkg/policy/api/icmp.go; RFC 792, 4443 and IANA's registries for the numbers.
 */
import type { Field } from "../field.js";
import { MAX_ITEMS } from "./ports.js";
import type { CiliumICMPField } from "./types.js";

const IPV4_TYPES: Readonly<Record<string, number>> = {
  EchoReply: 0, DestinationUnreachable: 3, Redirect: 5, Echo: 8, EchoRequest: 8, RouterAdvertisement: 9, RouterSelection: 10,
  TimeExceeded: 11, ParameterProblem: 12, Timestamp: 13, TimestampReply: 14, Photuris: 40, ExtendedEchoRequest: 42,
};

const IPV6_TYPES: Readonly<Record<string, number>> = {
  DestinationUnreachable: 1, PacketTooBig: 2, TimeExceeded: 3, ParameterProblem: 4, EchoRequest: 128, EchoReply: 129,
  MulticastListenerQuery: 130, MulticastListenerReport: 131, MulticastListenerDone: 132, RouterSolicitation: 133,
  RouterAdvertisement: 134, NeighborSolicitation: 135, NeighborAdvertisement: 136, RedirectMessage: 137, RouterRenumbering: 138,
  ICMPNodeInformationQuery: 139, ICMPNodeInformationResponse: 140, InverseNeighborDiscoverySolicitation: 141,
  InverseNeighborDiscoveryAdvertisement: 142, HomeAgentAddressDiscoveryRequest: 144, HomeAgentAddressDiscoveryReply: 145,
  MobilePrefixSolicitation: 146, MobilePrefixAdvertisement: 147, DuplicateAddressRequestCodeSuffix: 157,
  DuplicateAddressConfirmationCodeSuffix: 158, ExtendedEchoRequest: 160,
};

export function readICMPRule(rule: Field): { fields: CiliumICMPField[] } {
  rule.onlyKnows("fields");
  const fields = rule.get("fields").items();
  if (fields.length > MAX_ITEMS) rule.get("fields").refuse(`found ${fields.length} types, expected at most ${MAX_ITEMS}`);
  return { fields: fields.map(readICMPField) };
}

function readICMPField(field: Field): CiliumICMPField {
  field.onlyKnows("family", "type");
  const family = field.get("family").oneOf(["IPv4", "IPv6"], "IPv4");
  const type = field.get("type");
  // A number is not held to a range: 300 is taken and no packet has it.
  if (typeof type.value === "number") return { family, type: type.integer(0) };
  const text = type.string();
  const names = family === "IPv4" ? IPV4_TYPES : IPV6_TYPES;
  if (/^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 256) return { family, type: Number(text) };
  if (Object.hasOwn(names, text)) return { family, type: names[text] };
  // The schema's list of names has a typing error for ExtendedEchoReply, so that name is refused.
  type.refuse(`found "${text}", expected a number from 0 to 255 or one of ${Object.keys(names).join(", ")}`);
  return { family, type: 0 };
}
