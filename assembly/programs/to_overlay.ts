/**
 * cil_to_overlay (bpf/bpf_overlay.c): a packet goes into a tunnel. A NodePort backend's reply gets the service's address
 * back; what the node itself sends from cilium_host's address has its port reserved. PASS: the kernel takes it in.
 */
import { ConfigOption, CtTuple, NodeEntry, TupleFlag } from "../abi.gen";
import { Address } from "./address";
import { Mark } from "./identity";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { Packet } from "./packet";
import { Service } from "./service";
import { PUNT, Snat } from "./snat";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);

export function toOverlay(): i32 {
  const short = Packet.parse();
  if (short < 0) return short;
  const translated = Mark.magic == Mark.SNAT_DONE;
  Packet.mark = Mark.OVERLAY;
  if (translated || !Options.has(ConfigOption.ENABLE_NODEPORT)) return Verdict.PASS;
  const restored = Nodeport.restoreIntoTunnel();
  return restored == GO_ON ? reserve() : restored;
}

/** nodeport_has_nat_conflict_ipv4: pods' translations to cilium_host's address must not take the node's own ports. */
function reserve(): i32 {
  const router = changetype<usize>(Options.node) + (Packet.family == 4 ? NodeEntry.ROUTER4 : NodeEntry.ROUTER6);
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  if (!Options.has(ConfigOption.TUNNEL_MODE) || !Service.serves(tuple.nexthdr)) return Verdict.PASS;
  if (!Address.equal(Tuple.saddr(tuple), router)) return Verdict.PASS;
  tuple.flags = <u8>TupleFlag.OUT;
  Snat.resetTarget();
  Snat.needsCt = true;
  Address.copy(Snat.address, router);
  const verdict = Snat.egress(tuple);
  return verdict < 0 && verdict != PUNT ? verdict : Verdict.PASS;
}
