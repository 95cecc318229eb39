/** CiliumNode says what address cilium_host has; without it the tunnel's senders are not known. */
import { expect, it } from "vitest";
import { readManifests } from "../../cluster/manifests.js";
import { buildTimeline } from "../../cluster/timeline.js";
import { compileImage } from "../image.js";
import { ciliumOptions } from "../options.js";

const NODE = `apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.11}]}
`;
const ciliumNode = (addresses: string): string => `apiVersion: cilium.io/v2
kind: CiliumNode
metadata: {name: node-1}
spec: {addresses: ${addresses}}
`;

function routers(text: string): (string | undefined)[] {
  const { objects } = readManifests([{ name: "cluster.yaml", text }]);
  const cluster = buildTimeline({ initial: objects }).initial;
  const { options } = ciliumOptions("cilium@1.20", cluster, { "routing-mode": "tunnel" });
  const { hosts } = compileImage({ cluster, options });
  return [hosts.nodes[0].router4?.text, hosts.nodes[0].router6?.text];
}

it("cilium_host's addresses are those of the CiliumNode", () => {
  expect(routers(NODE)).toEqual([undefined, undefined]);
  const said = ciliumNode("[{type: InternalIP, ip: 192.168.50.11}, {type: CiliumInternalIP, ip: 10.244.1.7}, "
    + '{type: CiliumInternalIP, ip: "fd00::7"}]');
  expect(routers(`${NODE}---\n${said}`)).toEqual(["10.244.1.7", "fd00::7"]);
  expect(routers(`${said}---\n${NODE}`)).toEqual(["10.244.1.7", "fd00::7"]);
});

it("a node's own word counts first, and what is no address says nothing", () => {
  const own = NODE.replace("}]}", "}, {type: CiliumInternalIP, address: 10.244.1.9}]}");
  expect(routers(`${own}---\n${ciliumNode("[{type: CiliumInternalIP, ip: 10.244.1.7}]")}`)).toEqual(["10.244.1.9", undefined]);
  expect(routers(`${NODE}---\n${ciliumNode("[{type: CiliumInternalIP, ip: nowhere}, 7, null]")}`)).toEqual([undefined, undefined]);
});
