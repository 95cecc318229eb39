/**
 * cil_to_netdev (bpf/bpf_host.c): a frame leaves the node by one of its devices. A NodePort backend's reply
 * gets the service's address back; other traffic is masqueraded or has its port reserved. PASS: out it goes.
 */
import { ConfigOption, CtTuple, TupleFlag, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Mark } from "./identity";
import { Masquerade } from "./masquerade";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { Packet } from "./packet";
import { PUNT, Snat } from "./snat";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);

export function toNetdev(): i32 {
  const type = Ethernet.type(Packet.frame);
  const ipv4 = type == Ethernet.IPV4 && Options.has(ConfigOption.ENABLE_IPV4);
  const ipv6 = type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6);
  if (!ipv4 && !ipv6) return Verdict.PASS;
  const short = Packet.parse();
  if (short < 0) return short;
  if (Options.has(ConfigOption.ENABLE_HOST_FIREWALL)) return Verdict.undecided(UndecidedReason.HOST_FIREWALL);
  if (!Options.has(ConfigOption.ENABLE_NODEPORT) || Mark.magic == Mark.SNAT_DONE || Mark.magic == Mark.OVERLAY) {
    return Verdict.PASS;
  }
  const restored = Nodeport.restoreOutgoing();
  if (restored != GO_ON) {
    if (restored == Verdict.PASS) Mark.setMagic(Mark.SNAT_DONE);
    return restored;
  }
  return translate();
}

/** nodeport_snat_fwd_ipv4. */
function translate(): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  tuple.flags = <u8>TupleFlag.OUT;
  let verdict = Masquerade.needed(tuple);
  if (verdict == GO_ON) verdict = Snat.egress(tuple);
  if (verdict == PUNT) return Verdict.PASS;
  if (verdict < 0) return verdict;
  Mark.setMagic(Mark.SNAT_DONE);
  return Verdict.PASS;
}
