/**
 * What is known of each of Cilium's drop reasons: shown by a story, or why none can be. The one table that
 * `twinplane support` prints and a test holds the programs against.
 *
 *     modelled    the programs return it, and traces/reasons/<name>/ shows it
 *     guard       the programs return it where a map or a check of theirs fails, which no packet of a capture brings about
 *     undecided   what leads to it in Cilium is not modelled: the packet is undecided there
 *     absent      nothing that is emulated leads to it
 */
import type { DropReason } from "../contract/codes.js";

export type ReasonStatus = "modelled" | "guard" | "undecided" | "absent";

export interface ReasonSupport {
  readonly status: ReasonStatus;
  /** For what is not modelled. */
  readonly why: string;
}

type DropName = keyof typeof DropReason.values;

const MODELLED: ReasonSupport = { status: "modelled", why: "" };
const guard = (why: string): ReasonSupport => ({ status: "guard", why });
const undecided = (why: string): ReasonSupport => ({ status: "undecided", why });
const absent = (why: string): ReasonSupport => ({ status: "absent", why });

const NAT46X64 = "a service between IPv4 and IPv6 is undecided";
const TAIL_CALL = "programs are one module here, so there is no call that can fail";
const PROXY = "what goes to a proxy ends there, redirected, with the verdict of layer 4";
const MULTICAST = "multicast is undecided, or what a program hands to the node's kernel";

export const REASON_SUPPORT: Readonly<Record<DropName, ReasonSupport>> = {
  DROP_INVALID_SIP: MODELLED,
  DROP_POLICY: MODELLED,
  DROP_INVALID: MODELLED,
  DROP_CT_INVALID_HDR: MODELLED,
  DROP_FRAG_NEEDED: MODELLED,
  DROP_CT_UNKNOWN_PROTO: MODELLED,
  DROP_UNKNOWN_L3: MODELLED,
  DROP_MISSED_TAIL_CALL: absent(TAIL_CALL),
  DROP_WRITE_ERROR: guard("a header that was read a moment before cannot be written"),
  DROP_UNKNOWN_L4: guard("protocols that are not translated are turned away before"),
  DROP_UNKNOWN_ICMP4_CODE: MODELLED,
  DROP_UNKNOWN_ICMP4_TYPE: absent("IPv4 answers no ICMP type by itself here"),
  DROP_UNKNOWN_ICMP6_CODE: MODELLED,
  DROP_UNKNOWN_ICMP6_TYPE: absent("programs that answer ICMPv6 themselves run for IPsec and SRv6 alone"),
  DROP_NO_TUNNEL_KEY: absent("a tunnel's packet always has its header"),
  DROP_UNKNOWN_TARGET: MODELLED,
  DROP_UNROUTABLE: MODELLED,
  DROP_CSUM_L3: absent("checksums are written in one go"),
  DROP_CSUM_L4: MODELLED,
  DROP_CT_CREATE_FAILED: guard("conntrack evicts its oldest entry; where the memory reserved for it ends, packets are undecided"),
  DROP_INVALID_EXTHDR: MODELLED,
  DROP_FRAG_NOSUPPORT: MODELLED,
  DROP_NO_SERVICE: MODELLED,
  DROP_UNSUPP_SERVICE_PROTO: absent("services are of TCP, UDP and SCTP"),
  DROP_NO_TUNNEL_ENDPOINT: MODELLED,
  DROP_NAT_46X64_DISABLED: undecided(NAT46X64),
  DROP_EDT_HORIZON: absent("bandwidth limits (enable-bandwidth-manager) are not evaluated"),
  DROP_UNKNOWN_CT: guard("conntrack knows five states"),
  DROP_HOST_UNREACHABLE: absent("delivery to the own node is by the kernel"),
  DROP_NO_CONFIG: absent("every endpoint has its configuration"),
  DROP_UNSUPPORTED_L2: guard("a capture that holds no network layer is set aside before"),
  DROP_NAT_NO_MAPPING: MODELLED,
  DROP_NAT_UNSUPP_PROTO: MODELLED,
  DROP_NO_FIB: guard("a node's routes that do not say are undecided"),
  DROP_ENCAP_PROHIBITED: MODELLED,
  DROP_INVALID_IDENTITY: MODELLED,
  DROP_UNKNOWN_SENDER: absent("the sender's address is looked up, never taken from the mark alone"),
  DROP_NAT_NOT_NEEDED: guard("a translation is asked for only where it is needed"),
  DROP_IS_CLUSTER_IP: MODELLED,
  DROP_FRAG_NOT_FOUND: MODELLED,
  DROP_FORBIDDEN_ICMP6: MODELLED,
  DROP_NOT_IN_SRC_RANGE: MODELLED,
  DROP_PROXY_LOOKUP_FAILED: absent(PROXY),
  DROP_PROXY_SET_FAILED: absent(PROXY),
  DROP_PROXY_UNKNOWN_PROTO: absent(PROXY),
  DROP_POLICY_DENY: MODELLED,
  DROP_VLAN_FILTERED: MODELLED,
  DROP_INVALID_VNI: absent("VTEP integration (enable-vtep) is not emulated"),
  DROP_INVALID_TC_BUFFER: absent(TAIL_CALL),
  DROP_NO_SID: absent("SRv6 (enable-srv6) is not emulated"),
  DROP_NAT46: undecided(NAT46X64),
  DROP_NAT64: undecided(NAT46X64),
  DROP_POLICY_AUTH_REQUIRED: MODELLED,
  DROP_CT_NO_MAP_FOUND: absent("cluster mesh with overlapping addresses is not emulated"),
  DROP_SNAT_NO_MAP_FOUND: absent("cluster mesh with overlapping addresses is not emulated"),
  DROP_INVALID_CLUSTER_ID: absent("cluster mesh with overlapping addresses is not emulated"),
  DROP_DSR_ENCAP_UNSUPP_PROTO: absent("no program of these versions returns it"),
  DROP_NO_EGRESS_GATEWAY: MODELLED,
  DROP_UNENCRYPTED_TRAFFIC: absent("encryption between nodes is not emulated"),
  DROP_TTL_EXCEEDED: MODELLED,
  DROP_NO_NODE_ID: absent("node numbers serve IPsec, which is not emulated"),
  DROP_RATE_LIMITED: undecided("answers of Cilium's own that are limited in rate are taken to be sent"),
  DROP_IGMP_HANDLED: undecided(MULTICAST),
  DROP_IGMP_SUBSCRIBED: undecided(MULTICAST),
  DROP_MULTICAST_HANDLED: undecided(MULTICAST),
  DROP_HOST_NOT_READY: absent("nodes and endpoints are ready from the first packet on"),
  DROP_EP_NOT_READY: absent("nodes and endpoints are ready from the first packet on"),
  DROP_NO_EGRESS_IP: MODELLED,
  DROP_PUNT_PROXY: absent(PROXY),
  DROP_NO_DEVICE: absent("what a node's facts do not say of a device is undecided"),
};
