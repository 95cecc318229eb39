/**
 * NPM's generated rules on two nodes of this machine's kernel: who reaches whom, and with which address, held against
 * what the plane says of the same packets. The lab is lab.py beside this file, the situations are in scenes.ts. What the
 * reference leaves open is settled there: traffic to a node port whose backend is on another node is masqueraded, loses
 * its mark on the wire, and NPM on the backend's node judges it by the address of the node that took it in.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { generatedRules } from "../../src/iptables/planeNode.js";
import { addressOf, inputs, NODES, OUTSIDE, planeSays, PODS, type Scene, SCENES } from "./scenes.js";

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux" || process.env.TWINPLANE_NO_KERNEL === "1") return false;
  const tools = ["ip", "ipset", "iptables-legacy-restore", "conntrack", "python3"];
  if (tools.some((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)) return false;
  const made = spawnSync("ip", ["netns", "add", `npm-lab-try-${process.pid}`]).status === 0;
  if (made) spawnSync("ip", ["netns", "del", `npm-lab-try-${process.pid}`]);
  return made;
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but NPM's lab cannot run here");
}

describe("the plane", () => {
  it.each(SCENES.map((scene) => [scene.name, scene] as const))("%s", (_, scene) => {
    const said = planeSays(scene);
    expect(said).toEqual(said.map(([probe]) => [probe, scene.expect[probe]]));
  });
});

describe.skipIf(!present)("the kernel (needs root, network namespaces, iptables, ipset, conntrack, python3)", () => {
  it("does the same", () => {
    const lab = { outside: OUTSIDE, scenes: SCENES.map(sceneInput),
      nodes: Object.fromEntries(Object.entries(NODES).map(([name, address]) => [name, { address,
        pods: Object.fromEntries(Object.entries(PODS).filter(([, [node]]) => node === name).map(([pod, [, ip]]) => [pod, ip])) }])) };
    const done = spawnSync("python3", [join(import.meta.dirname, "lab.py")], { input: JSON.stringify(lab), encoding: "utf8" });
    expect(done.status, done.stderr).toBe(0);
    expect(JSON.parse(done.stdout)).toEqual(Object.fromEntries(SCENES.map((scene) => [scene.name, scene.expect])));
  }, 120_000);
});

function sceneInput(scene: Scene): object {
  const { cluster, config } = inputs(scene);
  const probes = Object.keys(scene.expect).filter((probe) => !probe.startsWith("held")).map((probe) => {
    const [who, , where, port] = probe.split(" ");
    return { name: probe, from: who, to: addressOf(where), port };
  });
  return { name: scene.name, keep: scene.keep === true, probes,
    held: scene.keep === true ? { from: "client", to: PODS.web1[1], port: 8080 } : null,
    nodes: Object.fromEntries(cluster.nodes.map((node) => {
      const { text, sets } = generatedRules(cluster, node, 4, config);
      return [node.name, { rules: text, sets, extra: scene.extra ?? [] }];
    })) };
}
