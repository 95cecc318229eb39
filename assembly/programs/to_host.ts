/**
 * cil_to_host (bpf/bpf_host.c): a packet comes to the node itself through cilium_host, out of a tunnel or from a pod.
 * With a host firewall the node's ingress policy is asked here. PASS: up into the stack.
 */
import { ConfigOption, UndecidedReason } from "../abi.gen";
import { Options } from "./options";
import { Verdict } from "./verdict";

export function toHost(): i32 {
  if (Options.has(ConfigOption.ENABLE_HOST_FIREWALL)) return Verdict.undecided(UndecidedReason.HOST_FIREWALL);
  return Verdict.PASS;
}
