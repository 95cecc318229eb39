/**
 * The plane end to end on a small cluster: who is delivered, who is dropped, and which manifest line says so.
 */
import { describe, expect, it } from "vitest";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { moduleBytes } from "../../test/programs.js";
import { parseAddress, parsePrefix } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { Emission, End, FrameBlock, PacketType, StepResults } from "../dataplane.js";
import { createEbpfPlane } from "./plane.js";

const built = existsSync(
  join(process.env.TWINPLANE_BUILD ?? fileURLToPath(new URL("../../build", import.meta.url)), "traced.wasm"),
);

const MANIFESTS = `
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
spec: {podCIDRs: [10.244.2.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.12}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cli, namespace: default, labels: {app: cli}}
spec: {nodeName: node-1, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.10}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: default, labels: {app: other}}
spec: {nodeName: node-1, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.11}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec: {nodeName: node-2, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 10.244.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: NodePort, clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec: {clusterIP: 10.96.0.70, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.2.10], nodeName: node-2, conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-cli, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: cli}}}]
    ports: [{port: 8080}]
`;

function clusterOf(text: string): Cluster {
  const { objects, problems } = readManifests([{ name: "cluster.yaml", text }]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return buildCluster(objects);
}

interface Frame {
  from: string;
  to: string;
  port: number;
  at?: string;
  /** ifindex, where not the pod's or the uplink. */
  device?: number;
  process?: string;
  sourcePort?: number;
  flags?: number;
  time?: number;
}

/**
 * A plane with one step at a time: a frame enters at its pod's device, the uplink of `at`, or from a process.
 */
function bench(
  cluster: Cluster,
  more: { traced?: boolean; profile?: string; connections?: number; cilium?: Record<string, unknown> } = {},
) {
  const plane = createEbpfPlane({
    name: "target",
    profile: more.profile ?? "cilium@1.20",
    cluster,
    epochNs: 0n,
    wasm: { fast: moduleBytes(), traced: moduleBytes(true) },
    traced: more.traced ?? false,
    connections: more.connections ?? 4096,
    cilium: more.cilium,
  });
  const results = new StepResults();
  const step = ({ from, to, port, at, process, sourcePort = 40000, flags = 2, time = 1e9, device: given }: Frame) => {
    const pod = cluster.pods.find((one) => one.ips.some((ip) => ip.text === from));
    const name = at ?? process ?? pod!.nodeName;
    const node = cluster.nodes.find((one) => one.name === name)!;
    const device =
      given ?? (process !== undefined
        ? 0
        : at !== undefined
          ? node.facts.devices.find((one) => one.kind === "uplink")!.index
          : node.facts.devices.find((one) => one.pod === `${pod!.namespace}/${pod!.name}`)!.index);
    const block = new FrameBlock();
    const bytes = tcp(from, to, sourcePort, port, flags);
    block.push(
      bytes,
      0,
      bytes.length,
      bytes.length,
      0x0800,
      PacketType.Host,
      plane.nodes.indexOf(name),
      device,
      time,
    );
    plane.step(block, results);
    const last = results.emissions - 1;
    const image =
      last < 0
        ? null
        : results.bytes.subarray(
            results.emissionOffset[last],
            results.emissionOffset[last] + results.emissionLength[last],
          );
    return {
      end: results.end[0],
      reason: plane.reasons[results.reason[0]],
      journey: plane.journey(results.journey[0]),
      kinds: [...results.emissionKind.subarray(0, results.emissions)],
      out:
        image === null
          ? null
          : `${[...image.subarray(12, 16)].join(".")}:${(image[20] << 8) | image[21]} > ${[
              ...image.subarray(16, 20),
            ].join(".")}:${(image[22] << 8) | image[23]}`,
    };
  };
  return { plane, step };
}

describe.skipIf(!built)("the eBPF plane (needs build/*.wasm)", () => {
  const cluster = clusterOf(MANIFESTS);

  it("carries a pod's connection to another node and back", () => {
    const { step } = bench(cluster);
    const there = step({ from: "10.244.1.10", to: "10.244.2.10", port: 8080 });
    expect([there.end, there.out]).toEqual([End.Delivered, "10.244.1.10:40000 > 10.244.2.10:8080"]);
    expect(there.kinds).toEqual([Emission.Out, Emission.In, Emission.Out]);
    expect(there.journey.becauses.map(({ object, rule }) => `${object} ${rule}`)).toEqual([
      "default/only-cli ingress[0].from[0]",
    ]);
    const back = step({ from: "10.244.2.10", to: "10.244.1.10", sourcePort: 8080, port: 40000, flags: 0x12 });
    expect([back.end, back.out]).toEqual([End.Delivered, "10.244.2.10:8080 > 10.244.1.10:40000"]);
  });

  it("drops what no rule allows and names the policy that made the default deny", () => {
    const { step } = bench(cluster);
    const refused = step({ from: "10.244.1.11", to: "10.244.2.10", port: 8080 });
    expect([refused.end, refused.reason]).toEqual([End.Dropped, "POLICY_DENIED"]);
    expect(refused.journey.becauses).toEqual([
      {
        where: expect.objectContaining({ file: "cluster.yaml" }),
        object: "default/only-cli",
        rule: "ingress",
      },
    ]);
    expect(step({ from: "10.244.1.10", to: "10.244.2.10", port: 8081 }).reason).toBe("POLICY_DENIED");
  });

  it("translates a cluster IP at the pod and the reply back", () => {
    const { step } = bench(cluster);
    const there = step({ from: "10.244.1.10", to: "10.96.0.10", port: 80 });
    expect([there.end, there.out]).toEqual([End.Delivered, "10.244.1.10:40000 > 10.244.2.10:8080"]);
    expect(there.journey.eligibleBackends).toEqual(["10.244.2.10:8080"]);
    expect(there.journey.becauses.map(({ object }) => object)).toContain("default/web");
    const back = step({ from: "10.244.2.10", to: "10.244.1.10", sourcePort: 8080, port: 40000, flags: 0x12 });
    expect([back.end, back.out]).toEqual([End.Delivered, "10.96.0.10:80 > 10.244.1.10:40000"]);
  });

  it("rejects a service without backends", () => {
    const { step } = bench(cluster);
    const refused = step({ from: "10.244.1.10", to: "10.96.0.70", port: 80 });
    expect([refused.end, refused.reason]).toEqual([End.Rejected, "SERVICE_BACKEND_NOT_FOUND"]);
  });

  it("takes a node port from outside, with the client's address where the backend is local", () => {
    const open = clusterOf(MANIFESTS.replace(/---\napiVersion: networking[\s\S]*/, ""));
    const { step } = bench(open);
    const local = step({ from: "203.0.113.9", to: "192.168.50.12", port: 30080, at: "node-2" });
    expect([local.end, local.out]).toEqual([End.Delivered, "203.0.113.9:40000 > 10.244.2.10:8080"]);
    const remote = step({
      from: "203.0.113.9",
      to: "192.168.50.11",
      port: 30080,
      at: "node-1",
      sourcePort: 40001,
    });
    expect([remote.end, remote.out]).toEqual([End.Delivered, "192.168.50.11:40001 > 10.244.2.10:8080"]);
    expect(remote.journey.eligibleSourcePorts).toEqual([32768, 65535]);
  });

  it("lets the own node's processes reach a pod under default deny, and no other node's", () => {
    const { step } = bench(cluster);
    const probe = step({ from: "192.168.50.12", to: "10.244.2.10", port: 8080, process: "node-2" });
    expect([probe.end, probe.journey.becauses.map(({ object }) => object)]).toEqual([
      End.Delivered,
      ["allow-localhost"],
    ]);
    expect(step({ from: "192.168.50.11", to: "10.244.2.10", port: 8080, process: "node-1" }).reason).toBe(
      "POLICY_DENIED",
    );
  });

  it("translates a pod's connection to a node port at the pod, whichever node it names", () => {
    const { step } = bench(cluster);
    for (const to of ["192.168.50.11", "192.168.50.12"]) {
      const there = step({
        from: "10.244.1.10",
        to,
        port: 30080,
        sourcePort: to.endsWith("11") ? 40000 : 40001,
      });
      expect([there.end, there.out?.split(" > ")[1]]).toEqual([End.Delivered, "10.244.2.10:8080"]);
    }
  });

  it("masquerades what leaves the cluster", () => {
    const { step } = bench(cluster);
    const left = step({ from: "10.244.1.10", to: "8.8.8.8", port: 53 });
    expect([left.end, left.out]).toEqual([End.Left, "192.168.50.11:40000 > 8.8.8.8:53"]);
  });

  it("leaves open what the node's iptables may masquerade, where the programs do not", () => {
    for (const config of ["enable-bpf-masquerade: 'false'", "none: ''"]) {
      const aks = config.startsWith("none");
      const { step } = bench(
        clusterOf(`${MANIFESTS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {${config}}
`),
        aks ? { profile: "aks:azure-cni-overlay+cilium@1.34" } : {},
      );
      expect(step({ from: "10.244.1.10", to: "8.8.8.8", port: 53 }).reason).toBe(
        "undecided: masquerading in the node's iptables",
      );
      expect(step({ from: "10.244.1.10", to: "10.244.2.10", port: 8080 }).end).toBe(End.Delivered);
      expect(step({ from: "192.168.50.11", to: "8.8.8.8", port: 53, process: "node-1" }).end).toBe(End.Left);
      // The agent's rules spare the nodes; what a masquerade agent spares is not known.
      const remote = step({ from: "10.244.1.10", to: "192.168.50.12", port: 22 });
      expect(remote.end).toBe(aks ? End.Undecided : End.Delivered);
    }
  });

  it("takes no way through a tunnel that Cilium will not have, and uses none it does not model", () => {
    const facts = (cluster: Cluster): Cluster => ({
      ...cluster,
      nodes: cluster.nodes.map((node) => ({
        ...node,
        facts: {
          ...node.facts,
          devices: [...node.facts.devices, {
            ...node.facts.devices[0], index: 99, name: "flannel.1", kind: "tunnel", pod: null, mtu: 1450, addresses: [],
          } as const],
          routes: [
            ...node.facts.routes.filter(({ destination }) => destination.length !== 24),
            ...["10.244.1.0/24", "10.244.2.0/24"].filter((range) => node.podCIDRs[0].text !== range).map((range) => ({
              destination: parsePrefix(range)!, table: "main", type: "unicast", via: null, device: 99, prefSrc: null,
              metric: 0, mtu: null,
            }) as const),
          ],
        },
      })),
    });
    const tunnelled = facts(cluster);
    const native = bench(tunnelled).step({ from: "192.168.50.11", to: "10.244.2.10", port: 8080, process: "node-1" });
    expect([native.end, native.reason]).toEqual([End.Dropped, "POLICY_DENIED"]);
    const foreign = "undecided: a tunnel device of the node's present network, not of Cilium";
    const there = { from: "192.168.50.11", to: "10.244.2.10", port: 8080, process: "node-1" };
    const tunnel = { "routing-mode": "tunnel" };
    const own = "undecided: a process of the node sends into Cilium's tunnel, and its address would be another one there";
    expect(bench(tunnelled, { cilium: tunnel }).step(there).reason).toBe(own);
    expect(bench(cluster, { cilium: tunnel }).step(there).reason).toBe(own);
    const inner = bench(tunnelled).step({ from: "10.244.2.10", to: "10.244.1.10", port: 80, at: "node-1", device: 99 });
    expect(inner.reason).toBe(foreign);
  });

  it("says once when memory for connections runs out, and judges nothing that needs it", () => {
    const { plane, step } = bench(cluster, { connections: 8 });
    const ends = Array.from({ length: 40 }, (_, index) =>
      step({ from: "10.244.1.10", to: "10.244.2.10", port: 8080, sourcePort: 20000 + index }),
    );
    expect(ends[0].end).toBe(End.Delivered);
    expect(ends.at(-1)!.reason).toBe("undecided: the memory reserved for a map is used up");
    expect(ends.every(({ end }) => end === End.Delivered || end === End.Undecided)).toBe(true);
    const said = plane.problems.filter(({ what }) => what.includes("is used up"));
    expect(said.map(({ severity }) => severity)).toEqual(["error"]);
    expect(said[0].what).toContain("cilium_ct4_global");
  });

  it("keeps connections through a change that renumbers everything else", () => {
    const { plane, step } = bench(cluster);
    step({ from: "10.244.1.10", to: "10.96.0.10", port: 80 });
    plane.change(
      clusterOf(`${MANIFESTS}
---
apiVersion: v1
kind: Service
metadata: {name: aaa, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: aaa, namespace: default, labels: {app: aaa}}
spec: {nodeName: node-1, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.9}]}
`),
      2e9,
    );
    const back = step({
      from: "10.244.2.10",
      to: "10.244.1.10",
      sourcePort: 8080,
      port: 40000,
      flags: 0x12,
      time: 3e9,
    });
    expect([back.end, back.out]).toEqual([End.Delivered, "10.96.0.10:80 > 10.244.1.10:40000"]);
  });

  describe("CiliumNetworkPolicy", () => {
    const withPolicy = (spec: string) => bench(clusterOf(`${MANIFESTS}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: own, namespace: default}
spec: ${spec}
`));
    const frame = { from: "10.244.1.10", to: "10.244.2.10", port: 8080 };

    it("decides, and says by which rule", () => {
      const { step } = withPolicy("{endpointSelector: {matchLabels: {app: web}}, ingressDeny: [{fromEndpoints: [{}]}]}");
      const judged = step(frame);
      expect([judged.end, judged.reason]).toEqual([End.Dropped, "POLICY_DENY"]);
      expect(judged.journey.becauses[0]).toMatchObject({ object: "CiliumNetworkPolicy default/own",
        rule: "spec.ingressDeny[0].fromEndpoints[0]" });
    });

    it("redirects to a proxy what has L7 rules, and drops what must authenticate first", () => {
      const port = '{ports: [{port: "8080", protocol: TCP}]';
      const redirected = withPolicy(`{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{}],
  toPorts: [${port}, rules: {http: [{}]}}]}]}`).step(frame);
      expect(redirected.end).toBe(End.Redirected);
      const secret = withPolicy(`{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{}],
  authentication: {mode: required}, toPorts: [${port}}]}]}`).step(frame);
      expect([secret.end, secret.reason]).toEqual([End.Dropped, "AUTH_REQUIRED"]);
    });

    it("does not judge what names without known addresses decide, and judges the rest", () => {
      const { step } = withPolicy("{endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}]}]}");
      const away = step({ from: "10.244.1.10", to: "198.51.100.7", port: 443 });
      expect([away.end, away.reason]).toEqual([End.Undecided,
        "undecided: CiliumNetworkPolicy default/own: its addresses are not known"]);
      expect(step(frame).reason).toBe("POLICY_DENIED");
    });
  });

  it("shows the steps of the last frame, and decides alike with and without them", () => {
    const { plane, step } = bench(cluster, { traced: true });
    expect(step({ from: "10.244.1.11", to: "10.244.2.10", port: 8080 }).reason).toBe("POLICY_DENIED");
    const steps = plane.lastSteps();
    expect(steps.some(({ what }) => what.includes("cilium_policy_v2"))).toBe(true);
    expect(new Set(steps.map(({ node }) => node))).toEqual(new Set(["node-1", "node-2"]));
  });
});

/** An IPv4 TCP segment without payload, checksums right. */
function tcp(from: string, to: string, sourcePort: number, port: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
  bytes.set(parseAddress(from)!.bytes, 12);
  bytes.set(parseAddress(to)!.bytes, 16);
  view.setUint16(20, sourcePort);
  view.setUint16(22, port);
  bytes.set([0x50, flags, 0xff, 0xff], 32);
  view.setUint16(10, fold(sum(bytes.subarray(0, 20))));
  view.setUint16(36, fold(sum(bytes.subarray(12)) + 6 + 20));
  return bytes;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let index = 0; index < bytes.length; index += 2)
    total += (bytes[index] << 8) | (bytes[index + 1] ?? 0);
  return total;
}

function fold(total: number): number {
  let value = total;
  while (value > 0xffff) value = (value & 0xffff) + (value >>> 16);
  return ~value & 0xffff;
}
