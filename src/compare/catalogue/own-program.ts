/** What a program of the user's own does in the target (`--program`): no behaviour of Cilium, and no fault of ours. */
import { OWN_PROGRAM } from "../../dataplane.js";
import type { Difference } from "./difference.js";

export const OWN: readonly Difference[] = [
  {
    id: "POL-OWN-PROGRAM",
    title: "Your own program (--program) decided this packet in the target, in the place of Cilium's policy step",
    matches: (s) => s.target.journey.becauses.some(({ object }) => object === OWN_PROGRAM),
    page: {
      shownBy: "packets",
      kubeProxy: "Nothing: no program of the target runs there.",
      cilium: "The policy step is the one you built with twinplane build; it left its own verdict instead of a rule's.",
      bitten: [],
      advice: "Look at the packet with twinplane trace. Without --program the comparison shows what Cilium's own step does.",
      sources: [{ what: "examples/own-program; the program that was given", known: "documented" }],
    },
  },
];
