/** Faults in what Cilium's agent makes of lists of destinations and devices for masquerading, and the test that must see each. */
import type { Fault } from "./fault.js";

const LIST = "src/ebpf/compile/ipmasq.ts";
const LISTS = "test/masquerade.test.ts";

export const MASQUERADE_FAULTS: readonly Fault[] = [
  {
    id: "masquerade-file-not-found", file: LIST, seenBy: LISTS,
    find: "maps.find((object) => object.name === NAME && object.namespace === namespace) ?? null",
    replace: "maps.find((object) => object.name === KEY && object.namespace === namespace) ?? null",
    why: "the built-in ranges hold, whatever the file of ip-masq-agent lists",
  },
  {
    id: "masquerade-link-local-reversed", file: LIST, seenBy: LISTS,
    find: "if (!config[field])", replace: "if (config[field])",
    why: "link-local destinations see the node's address unless masqLinkLocal is set",
  },
  {
    id: "masquerade-device-whole", file: "src/ebpf/stack/masquerade-rules.ts", seenBy: "test/node-stack.test.ts",
    find: "nat(`! -d ${kept} -o ${device} ${OUTSIDE}${random}`)",
    replace: "nat(`! -d ${kept} -o ${device.replace(\"+\", \"\")} ${OUTSIDE}${random}`)",
    why: "the beginning of devices' names in egress-masquerade-interfaces is taken for a whole one",
  },
];
