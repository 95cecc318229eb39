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
  {
    id: "NODE-VLAN",
    title: "Frames of a VLAN device that Cilium does not run at: dropped at the device below, unless vlan-bpf-bypass names the VLAN",
    matches: (s) => (s.facets === Facet.Reached || s.facets === Facet.Refusal) && s.target.outcome.end === End.Dropped
      && s.target.reason === "VLAN_FILTERED" && !/(^|[ ,])0+($|[ ,])/.test(String(s.target.options["vlan-bpf-bypass"] ?? "")),
    page: {
      shownBy: "packets",
      kubeProxy: "The kernel hands a tagged frame to the VLAN device that has its identifier. Without one it is dropped as if for"
        + " another host. A tag with identifier 0 is a priority, and the frame is taken as untagged.",
      cilium: "Programs at eth0 see the frame first: VLAN_FILTER lets through the VLANs of devices on eth0 that Cilium runs at too, or"
        + " that vlan-bpf-bypass names (0: all), five at most; the rest is dropped (VLAN_FILTERED). What is let through by the option alone"
        + " meets no policy and no service of Cilium's. Cilium runs at a VLAN device that is up, has an address and a route that is"
        + " not link-local. The agent looks for VLAN devices when it starts.",
      bitten: [],
      advice: "List VLAN devices without addresses (bridges and macvlan of other networks stand on such) in bpf.vlanBypass before the"
        + " switch.",
      sources: [
        { what: "Cilium bpf/bpf_host.c, allow_vlan, recorded runs of 1.16 to 1.20", known: "executed" },
        { what: "Cilium pkg/datapath/linux/config/config.go, vlanFilterMacros", known: "read in source" },
        { what: "Cilium Documentation/configuration/vlan-802.1q.rst", known: "documented" },
        { what: "Tagged frames without a VLAN device on a kernel", known: "executed" },
      ],
    },
  },
];
