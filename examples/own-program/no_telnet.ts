/**
 * A policy step of one's own: telnet is denied to every pod, whatever policies allow, unless the sender is the node
 * itself. Everything else is as Cilium decided it, so this follows the step; a program that returned a verdict in every
 * case would replace it.
 */
import { DropReason, PolicyStep, TCP } from "twinplane/assembly/step";

const TELNET: u16 = 23;
/** Reserved identity of the node that the endpoint runs on. */
const HOST: u32 = 1;

export function policy(verdict: i32): i32 {
  if (PolicyStep.egress || PolicyStep.protocol != TCP || PolicyStep.port != TELNET) return verdict;
  return PolicyStep.remote == HOST ? verdict : -<i32>DropReason.DROP_POLICY_DENY;
}
