/**
 * The plane at its door: ends and reasons, choices and pins, policies, changes, dumps, steps, repeatability.
 */
import { describe, expect, test } from "vitest";
import type { Cluster, NodeFacts } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { Emission, End, FrameBlock, PacketType, type Pin, type Plane, StepResults } from "../dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "./kubeproxy/config.js";
import { address, prefix } from "./manifests.fixture.js";
import { createIptablesPlane, type IptablesPlaneOptions } from "./plane.js";
import type { NodeDump } from "./planeNode.js";

const EXTRA_ENDPOINT = `
- addresses: [10.244.2.10]
  nodeName: node-b
  targetRef: {kind: Pod, namespace: default, name: web-b}`;

describe("ends", () => {
  test("a ClusterIP is delivered to an endpoint on another node, with every image on the way", () => {
    const door = new Door(planeOf());
    const row = door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client", {
      backend: { address: address("10.244.2.10"), port: 8080 }, sourcePort: null });
    expect(row.end).toBe(End.Delivered);
    expect(row.images).toEqual([
      "node-a out eth0 10.244.1.20:40000 > 10.244.2.10:8080", "node-b in eth0 10.244.1.20:40000 > 10.244.2.10:8080",
      "node-b out default/web-b 10.244.1.20:40000 > 10.244.2.10:8080"]);
    expect(row.flags).toBe(1);
    expect(row.journey.eligibleBackends).toEqual(["10.244.1.10:8080", "10.244.2.10:8080"]);
    expect(row.journey.becauses.map((one) => `${one.where?.file} ${one.object}`)).toContain("cluster.yaml default/web-1");
  });

  test("an answer goes back through the same entry and keeps the flow's journey", () => {
    const door = new Door(planeOf());
    const pin = { backend: { address: address("10.244.2.10"), port: 8080 }, sourcePort: null };
    const request = door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client", pin);
    const answer = door.send(udp("10.244.2.10", 8080, "10.244.1.20", 40000), "node-b", "default/web-b");
    expect(answer.end).toBe(End.Delivered);
    expect(answer.images.at(-1)).toBe("node-a out default/client 10.96.0.10:80 > 10.244.1.20:40000");
    expect(answer.journey.id).toBe(request.journey.id);
  });

  test("no endpoints is rejected with an ICMP error that the plane made", () => {
    const row = new Door(planeOf()).send(udp("10.244.1.20", 40000, "10.96.0.20", 80), "node-a", "default/client");
    expect([row.end, row.reason]).toEqual([End.Rejected, "filter/KUBE-SERVICES REJECT icmp-port-unreachable"]);
    expect(row.made).toEqual([1]);
    expect(row.journey.becauses.map((one) => one.object)).toContain("default/empty");
  });

  test("a node port with policy Local and no local endpoint is dropped silently", () => {
    const row = new Door(planeOf()).send(udp("203.0.113.9", 40000, "192.0.2.1", 30080), "node-a", "eth0");
    expect([row.end, row.reason, row.images]).toEqual([End.Dropped, "filter/KUBE-EXTERNAL-SERVICES", []]);
  });

  test("a pod's traffic to outside leaves with the node's address", () => {
    const row = new Door(planeOf()).send(udp("10.244.1.20", 40000, "203.0.113.9", 53), "node-a", "default/client");
    expect([row.end, row.images]).toEqual([End.Left, ["node-a out eth0 192.0.2.1:40000 > 203.0.113.9:53"]]);
  });

  test("what a process of the node sends starts at OUTPUT", () => {
    const row = new Door(planeOf()).send(udp("192.0.2.1", 40000, "10.244.1.10", 8080), "node-a", null);
    expect([row.end, row.images]).toEqual([End.Delivered, ["node-a out default/web-a 192.0.2.1:40000 > 10.244.1.10:8080"]]);
  });

  test("what the node's own sockets get is delivered locally", () => {
    const row = new Door(planeOf()).send(udp("203.0.113.9", 40000, "192.0.2.1", 22), "node-a", "eth0");
    expect([row.end, row.images]).toEqual([End.Delivered, ["node-a local 203.0.113.9:40000 > 192.0.2.1:22"]]);
  });

  test("a TTL that runs out on the far node is answered, and the answer travels back", () => {
    const frame = udp("10.244.1.20", 40000, "10.244.2.10", 8080);
    frame[8] = 2;
    const row = new Door(planeOf()).send(checksummed(frame), "node-a", "default/client");
    expect(row.end).toBe(End.Answered);
    expect(row.made).toEqual([0, 0, 1, 1, 1]);
    expect(row.images.at(-1)).toMatch(/^node-a out default\/client 192\.0\.2\.2/);
  });

  test("an address of the node's own range that no pod has is undecided, not a loop", () => {
    const row = new Door(planeOf()).send(udp("10.244.1.20", 40000, "10.244.1.99", 80), "node-a", "default/client");
    expect(row.end).toBe(End.Undecided);
    expect(row.reason).toMatch(/^undecided: leaves by an uplink for an address of the same node/);
  });
});

describe("choices", () => {
  test("a pin outside the eligible set is refused", () => {
    const row = new Door(planeOf()).send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client",
      { backend: { address: address("10.244.9.9"), port: 8080 }, sourcePort: null });
    expect([row.end, row.flags]).toEqual([End.Delivered, 2]);
  });

  test("every eligible endpoint is taken by some of 64 flows, and the seed decides by which", () => {
    const backends = (seed: number): string[] => {
      const door = new Door(planeOf({ seed }));
      return Array.from({ length: 64 }, (_, index) => (
        door.send(udp("10.244.1.20", 40000 + index, "10.96.0.10", 80), "node-a", "default/client")
          .images.at(-1)!.replace(/.*> /, "")));
    };
    expect(new Set(backends(1))).toEqual(new Set(["10.244.1.10:8080", "10.244.2.10:8080"]));
    expect(backends(1)).toEqual(backends(1));
    expect(backends(1)).not.toEqual(backends(2));
  });

  test("another flow in between changes nothing for the others", () => {
    const path = (more: boolean): string => {
      const door = new Door(planeOf());
      if (more) door.send(udp("10.244.1.20", 39999, "10.96.0.10", 80), "node-a", "default/client");
      return Array.from({ length: 16 }, (_, index) => door.send(udp("10.244.1.20", 40000 + index, "10.96.0.10", 80),
        "node-a", "default/client").images.at(-1)).join();
    };
    expect(path(true)).toBe(path(false));
  });

  test("with --random-fully the source port is one of a range, and the range is told", () => {
    const row = new Door(planeOf({ randomFully: true }))
      .send(udp("10.244.1.20", 40000, "203.0.113.9", 53), "node-a", "default/client");
    expect(row.journey.eligibleSourcePorts).toEqual([1024, 65535]);
  });
});

describe("policies", () => {
  const deny = { where: { file: "policy.yaml", line: 3 }, object: "default/deny", rule: "policyTypes Ingress" };
  const open = { verdict: "allow", by: [] } as const;

  test("a denial at the destination pod drops in its node's FORWARD, after DNAT", () => {
    const asked: string[] = [];
    const plane = planeOf({ profile: "kube-proxy+spec", policyEngine: () => (source, destination, protocol, port) => {
      asked.push(`${source.text} > ${destination.text} ${protocol}/${port}`);
      return { egress: open, ingress: destination.text === "10.244.2.10" ? { verdict: "deny", by: [deny] } : open };
    } });
    const row = new Door(plane).send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client",
      { backend: { address: address("10.244.2.10"), port: 8080 }, sourcePort: null });
    expect([row.end, row.reason]).toEqual([End.Dropped, "networkpolicy/default/deny"]);
    expect(row.images.at(-1)).toMatch(/^node-b in eth0/);
    expect(row.journey.becauses).toContainEqual(deny);
    expect(asked).toEqual(["10.244.1.20 > 10.244.2.10 17/8080", "10.244.1.20 > 10.244.2.10 17/8080"]);
  });

  test("what is established is not asked about again", () => {
    let denied = false;
    const plane = planeOf({ profile: "kube-proxy+spec", policyEngine: () => () => (
      { egress: denied ? { verdict: "deny", by: [deny] } : open, ingress: open }) });
    const door = new Door(plane);
    const request = udp("10.244.1.20", 40000, "10.244.2.10", 8080);
    door.send(request, "node-a", "default/client");
    door.send(udp("10.244.2.10", 8080, "10.244.1.20", 40000), "node-b", "default/web-b");
    denied = true;
    expect(door.send(request, "node-a", "default/client").end).toBe(End.Delivered);
    const fresh = door.send(udp("10.244.1.20", 40001, "10.244.2.10", 8080), "node-a", "default/client");
    expect([fresh.end, fresh.images]).toEqual([End.Dropped, []]);
  });

  test("an undecided policy makes the row undecided", () => {
    const plane = planeOf({ profile: "kube-proxy+spec", policyEngine: () => () => (
      { egress: { verdict: "undecided", by: [deny] }, ingress: open }) });
    const row = new Door(plane).send(udp("10.244.1.20", 40000, "10.244.2.10", 8080), "node-a", "default/client");
    expect([row.end, row.reason]).toEqual([End.Undecided, "undecided: network policy: default/deny"]);
  });

  test("a profile without its engine is our mistake", () => {
    expect(() => planeOf({ profile: "kube-proxy+spec" })).toThrow(/policy engine/);
  });
});

describe("changes", () => {
  const pin = { backend: { address: address("10.244.2.10"), port: 8080 }, sourcePort: null };

  test("kube-proxy deletes UDP entries to an endpoint that is gone; without that step they stay", () => {
    const destinationAfter = (options: Partial<Options>): string => {
      const plane = planeOf(options);
      const door = new Door(plane);
      door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client", pin);
      plane.change(clusterOf(""), 2e9);
      return door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client").images.at(-1)!;
    };
    expect(destinationAfter({})).toMatch(/> 10\.244\.1\.10:8080$/);
    expect(destinationAfter({ udpCleanup: false })).toMatch(/> 10\.244\.2\.10:8080$/);
  });

  test("deleting an entry makes the next packet a new flow", () => {
    const plane = planeOf();
    const door = new Door(plane);
    door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client", pin);
    plane.deleteConntrack({ node: "node-a", family: 4, protocol: 17, originalSource: null, originalSourcePort: 40000,
      originalDestination: address("10.96.0.10"), originalDestinationPort: 80, replySource: null }, 1e9);
    const other = { backend: { address: address("10.244.1.10"), port: 8080 }, sourcePort: null };
    const row = door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client", other);
    expect([row.flags, row.images.at(-1)]).toEqual([1, "node-a out default/web-a 10.244.1.20:40000 > 10.244.1.10:8080"]);
  });
});

describe("the rest", () => {
  test("a node's own dump replaces generated rules, and its lines are the becauses", () => {
    const text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      + "-A FORWARD -p udp -m udp --dport 8080 -j DROP\nCOMMIT\n";
    const rulesByNode = new Map<string, NodeDump>([["node-a", { v4: { file: "a.rules", text }, v6: null, sets: null }]]);
    const door = new Door(planeOf({ rulesByNode }));
    const row = door.send(udp("10.244.1.20", 40000, "10.244.2.10", 8080), "node-a", "default/client");
    expect([row.end, row.reason]).toEqual([End.Dropped, "filter/FORWARD"]);
    expect(row.journey.becauses.map((one) => one.where)).toEqual([{ file: "a.rules", line: 5 }]);
    const policy = door.send(udp("10.244.1.20", 40000, "10.244.2.10", 8081), "node-a", "default/client");
    expect([policy.end, policy.reason]).toEqual([End.Dropped, "filter/FORWARD policy"]);
  });

  test("a dump stays through a change, and what is wrong with it is said once", () => {
    const v4 = { file: "a.rules", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j NOSUCH\nCOMMIT\n" };
    const plane = planeOf({ rulesByNode: new Map([["node-a", { v4, v6: { file: "a6.rules", text: "" }, sets: null }]]) });
    const door = new Door(plane);
    const send = (): number => door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client").end;
    // Without kube-proxy's rules a ClusterIP is an address like any other; the bad rule decides nothing.
    expect(send()).toBe(End.Undecided);
    const problems = plane.problems.length;
    expect(plane.problems.map((problem) => problem.where)).toContainEqual({ file: "a.rules", line: 3 });
    plane.change(clusterOf(""), 1e9);
    expect(send()).toBe(End.Undecided);
    expect(plane.problems.length).toBe(problems);
  });

  test("steps are those of the last row, and only where asked for", () => {
    const traced = planeOf({ traced: true });
    const door = new Door(traced);
    door.send(udp("10.244.1.20", 40000, "10.96.0.20", 80), "node-a", "default/client");
    door.send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client");
    const steps = traced.lastSteps();
    expect(steps.find((step) => step.result === "DNAT")).toMatchObject({ node: "node-a", program: "nat" });
    expect(steps.find((step) => step.result === "DNAT")!.becauses.length).toBe(2);
    expect(steps.some((step) => step.result === "REJECT")).toBe(false);
    const plain = planeOf();
    new Door(plain).send(udp("10.244.1.20", 40000, "10.96.0.10", 80), "node-a", "default/client");
    expect(plain.lastSteps()).toEqual([]);
  });

  test("a node that is not in the cluster is undecided", () => {
    const plane = planeOf({ nodes: ["node-a", "node-b", "node-c"] });
    const row = new Door(plane).send(udp("203.0.113.9", 1, "192.0.2.3", 2), "node-c", null);
    expect([row.end, row.reason]).toEqual([End.Undecided, "undecided: the node is not in the cluster"]);
  });

  test("frames of any bytes end somehow", () => {
    const door = new Door(planeOf());
    let seed = 7;
    for (let round = 0; round < 3000; round++) {
      const frame = udp("10.244.1.20", 40000, "10.96.0.10", 80);
      for (let hits = 0; hits < 3; hits++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        frame[(seed >>> 8) % frame.length] = seed >>> 24;
      }
      const cut = frame.subarray(0, round % 5 === 0 ? seed % frame.length : frame.length);
      expect(door.send(cut, "node-a", "default/client").end).not.toBe(End.None);
    }
  });
});

// ---- the cluster and the door
// ------------------------------------------------------------------------------------

interface Options extends IptablesPlaneOptions {
  randomFully: boolean;
}

function planeOf(options: Partial<Options> = {}): Plane {
  const { randomFully = false, ...more } = options;
  const clusterCIDR = [prefix("10.244.0.0/16")];
  return createIptablesPlane({
    name: "current", profile: "kube-proxy", cluster: clusterOf(EXTRA_ENDPOINT), epochNs: 0n, seed: 1,
    config: { kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR, randomFully },
      masquerade: { agent: "cni", clusterCIDR, nonMasqueradeCIDRs: [prefix("192.0.2.0/24")], randomFully } },
    ...more,
  });
}

function clusterOf(endpoint: string): Cluster {
  const node = (name: string, number: number): string => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDRs: [10.244.${number}.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.${number}}]}
---`;
  const pod = (name: string, nodeName: string, ip: string): string => `
apiVersion: v1
kind: Pod
metadata: {namespace: default, name: ${name}}
spec: {nodeName: ${nodeName}}
status: {podIP: ${ip}, podIPs: [{ip: ${ip}}]}
---`;
  const text = `${node("node-a", 1)}${node("node-b", 2)}${pod("client", "node-a", "10.244.1.20")}
${pod("web-a", "node-a", "10.244.1.10")}${pod("web-b", "node-b", "10.244.2.10")}
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80, targetPort: 8080, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: empty}
spec: {clusterIP: 10.96.0.20, ports: [{port: 80, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: local}
spec: {clusterIP: 10.96.0.30, type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: local-1, labels: {kubernetes.io/service-name: local}}
addressType: IPv4
ports: [{port: 8080, protocol: UDP}]
endpoints: [{addresses: [10.244.2.10], nodeName: node-b}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080, protocol: UDP}]
endpoints:
- addresses: [10.244.1.10]
  nodeName: node-a${endpoint}
`;
  const { objects, problems } = readManifests([{ name: "cluster.yaml", text }]);
  expect(problems).toEqual([]);
  return buildCluster(objects, new Map<string, NodeFacts>());
}

const LAST = clusterOf(EXTRA_ENDPOINT);

/** Sends single frames and shows what became of them. */
class Door {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  private time = 0;

  constructor(private readonly plane: Plane) {}

  /** @param from a pod, a device's name, or null: a process of the node */
  send(frame: Uint8Array, node: string, from: string | null, pin: Pin | null = null): {
    end: number; reason: string; flags: number; journey: ReturnType<Plane["journey"]>; images: string[]; made: number[];
  } {
    const { plane, block, results } = this;
    const number = plane.nodes.indexOf(node);
    block.clear();
    block.push(frame, 0, frame.length, frame.length, 0x0800, PacketType.Host, number,
      from === null ? 0 : deviceOf(node, from), this.time += 1e6);
    if (pin !== null) block.pin[0] = block.pins.push(pin);
    plane.step(block, results);
    const journey = plane.journey(results.journey[0]);
    expect(journey.end).toBe(results.end[0]);
    expect(results.firstEmission[1]).toBe(results.emissions);
    return { end: results.end[0], reason: plane.reasons[results.reason[0]], flags: results.flags[0], journey,
      images: Array.from({ length: results.emissions }, (_, index) => this.image(index)),
      made: [...results.emissionMade.subarray(0, results.emissions)] };
  }

  private image(index: number): string {
    const { results, plane } = this;
    const node = plane.nodes[results.emissionNode[index]];
    const kind = ["out", "in", "local"][results.emissionKind[index]];
    const bytes = results.bytes.subarray(results.emissionOffset[index]);
    const ports = (at: number): number => (bytes[20 + at] << 8) | bytes[21 + at];
    const device = results.emissionKind[index] === Emission.Local ? "" : ` ${deviceName(node, results.emissionDevice[index])}`;
    return `${node} ${kind}${device} ${bytes.subarray(12, 16).join(".")}:${ports(0)} > ${bytes.subarray(16, 20).join(".")}:${ports(2)}`;
  }
}

function deviceOf(node: string, name: string): number {
  const facts = LAST.nodes.find((one) => one.name === node)!.facts;
  return facts.devices.find((device) => device.pod === name || device.name === name)!.index;
}

function deviceName(node: string, index: number): string {
  const device = LAST.nodes.find((one) => one.name === node)!.facts.devices.find((one) => one.index === index)!;
  return device.pod ?? device.name;
}

/** IPv4 UDP without UDP checksum, eight bytes of payload. */
function udp(source: string, sourcePort: number, destination: string, destinationPort: number): Uint8Array {
  const frame = new Uint8Array(36);
  frame.set([0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0, ...source.split(".").map(Number), ...destination.split(".").map(Number),
    sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255, 0, 16, 0, 0]);
  return checksummed(frame);
}

function checksummed(frame: Uint8Array): Uint8Array {
  frame.set([0, 0], 10);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += (frame[at] << 8) | frame[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.set([(~sum >> 8) & 255, ~sum & 255], 10);
  return frame;
}
