/** Keeps the steps both planes took for one packet, on its way to the comparison. */
import { type Address, addressFromBytes } from "../cluster/address.js";
import { End, type Journey, type Plane, type Step } from "../dataplane.js";
import { tupleText } from "../replay/flows.js";
import type { Judge, Packet } from "../replay/loop.js";
import type { Outcome } from "../replay/outcome.js";
import { Tuple } from "../replay/tuple.js";
import type { View } from "../replay/view.js";

export interface TracedSide {
  readonly name: string;
  readonly profile: string;
  readonly end: string;
  readonly reason: string;
  /** Tuple of the image where it arrived; empty where it did not. */
  readonly image: string;
  /** Where it arrived; null where it did not. */
  readonly arrived: { readonly address: Address; readonly port: number } | null;
  readonly journey: Journey | null;
  readonly steps: readonly Step[];
}

export interface TracedPacket {
  readonly record: number;
  readonly tuple: string;
  readonly kind: string;
  readonly sides: readonly [TracedSide, TracedSide];
}

const END_NAMES: Readonly<Record<number, string>> =
  Object.fromEntries(Object.entries(End).map(([name, code]) => [code, name.toLowerCase()]));

export class StepWatch implements Judge {
  found: TracedPacket | null = null;

  constructor(private readonly next: Judge, private readonly planes: readonly [Plane, Plane],
    private readonly wanted: { readonly capture: number; readonly record: number }) {}

  judge(packet: Packet): void {
    const { view, views } = packet;
    const here = views.some((one) => one.capture === this.wanted.capture && one.record === this.wanted.record);
    if (here) {
      this.found = {
        record: view.record, tuple: tupleText(view.tuple), kind: packet.kind,
        sides: [this.side(0, packet.outcomes[0], packet.moot[0]), this.side(1, packet.outcomes[1], packet.moot[1])],
      };
    }
    this.next.judge(packet);
  }

  undecided(view: View, reason: string): void {
    this.next.undecided(view, reason);
  }

  private side(index: 0 | 1, outcome: Outcome, moot: boolean): TracedSide {
    const plane = this.planes[index];
    return {
      name: plane.name, profile: plane.profile, end: moot ? "moot: what it answers did not arrive here" : END_NAMES[outcome.end],
      reason: moot ? "" : plane.reasons[outcome.reason], image: outcome.arrived ? tupleText(outcome.image) : "",
      arrived: outcome.arrived ? { address: addressFromBytes(Tuple.destination(outcome.image)), port: Tuple.destinationPort(outcome.image) }
        : null,
      journey: moot ? null : plane.journey(outcome.journey), steps: moot ? [] : plane.lastSteps(),
    };
  }
}
