/**
 * cilium_metrics: packets and bytes by reason, direction and node. Every program's result is counted once,
 * where the program ends: a drop under its reason, everything else as forwarded. (Cilium counts forwarded
 * packets at its trace points, which gives the same totals for packets that pass one program a direction.)
 */
import { MetricDirection, MetricReason, MetricsKey, MetricsValue, Program } from "../abi.gen";
import { HashMap } from "../maps/hash";
import { cilium_metrics } from "../tables";
import { Ethernet } from "../wire/ethernet";
import { Packet } from "./packet";
import { Verdict } from "./verdict";

const KEY: usize = memory.data(<i32>MetricsKey.SIZE, 8);
const VALUE: usize = memory.data(<i32>MetricsValue.SIZE, 8);

export class Metrics {
  /** Counts a program's verdict and hands it on. What was not judged is not counted. */
  static leave(program: Program, verdict: i32): i32 {
    if (Verdict.isUndecided(verdict)) return verdict;
    const key = changetype<MetricsKey>(KEY);
    key.reason = verdict < 0 ? <u8>-verdict : <u8>MetricReason.REASON_FORWARDED;
    key.dir = <u8>directionOf(program);
    key.node = <u16>Packet.node;
    const bytes = <u64>(Packet.wire - Ethernet.LENGTH);
    const known = HashMap.lookup(cilium_metrics, KEY);
    if (known != 0) {
      const value = changetype<MetricsValue>(known);
      value.count += 1;
      value.bytes += bytes;
      return verdict;
    }
    const value = changetype<MetricsValue>(VALUE);
    value.count = 1;
    value.bytes = bytes;
    HashMap.update(cilium_metrics, KEY, VALUE, 0);
    return verdict;
  }
}

function directionOf(program: Program): MetricDirection {
  const egress = program == Program.FROM_CONTAINER || program == Program.TO_NETDEV
    || program == Program.TO_OVERLAY;
  return egress ? MetricDirection.EGRESS : MetricDirection.INGRESS;
}
