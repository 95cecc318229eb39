/**
 * cil_to_host (bpf/bpf_host.c): a packet comes to the node itself through cilium_host, out of a tunnel or from a pod.
 * With a host firewall the node's ingress policy is asked here. PASS: up into the stack.
 */
import { DropReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { HostPolicy } from "./host_policy";
import { Mark } from "./identity";
import { Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

export function toHost(): i32 {
  if (!HostPolicy.on) return Verdict.PASS;
  const type = Ethernet.type(Packet.frame);
  if (!Ethernet.supported(Packet.frame)) return -DropReason.DROP_UNSUPPORTED_L2;
  if (type == Ethernet.ARP) return Verdict.PASS;
  if (type != Ethernet.IPV4 && type != Ethernet.IPV6) return -DropReason.DROP_UNKNOWN_L3;
  const short = Packet.parse();
  if (short < 0) return short;
  const verdict = HostPolicy.ingress(Mark.magic == Mark.IDENTITY ? Mark.identity : 0);
  return verdict == GO_ON ? Verdict.PASS : verdict;
}
