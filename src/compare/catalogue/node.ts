/** Differences in a node's own devices, rules and routes. */
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference } from "./difference.js";

export const NODE: readonly Difference[] = [
  {
    id: "NODE-TUNNEL-MTU",
    title: "Too big for a link that the current CNI's tunnel made smaller; Cilium's native routing has no such tunnel",
    matches: (s) => s.facets === Facet.Reached && s.current.outcome.end === End.Answered && s.current.reason === "PKT_TOO_BIG"
      && s.target.outcome.arrived && s.names.hasTunnels,
    page: {
      shownBy: "packets",
      kubeProxy: "A CNI with a tunnel has devices with a smaller MTU; what does not fit is answered with fragmentation needed.",
      cilium: "Native routing has no tunnel, and the packet fits.",
      bitten: [],
      advice: "Nothing: path MTU discovery finds the larger MTU.",
      sources: [{ what: "Recorded on a kernel with a VXLAN device", known: "executed" }],
    },
  },
];
