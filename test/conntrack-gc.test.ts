/**
 * Connections past their lifetime: judged where it does not matter whether the agent has collected the entry, undecided
 * where it does, and gone once the longest interval of collection has passed.
 */
import { describe, expect, it } from "vitest";
import { A, B, CLIENT, FAR, NODE, OTHER_NODE, nodeStackBench, type NodeStackBench, type Went } from "./node-stack.fixture.js";
import { ACK, FIN, packet, type PacketInput, read, SYN } from "./packets.js";

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;
const GC = "undecided: conntrack-gc: an entry past its lifetime may or may not have been collected";
const NATIVE = { "ipv4-native-routing-cidr": "10.244.0.0/16" };
/** Nobody may reach pod a. */
const ISOLATED = { objects: "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: alone, namespace: default}\n"
  + "spec: {podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress]}\n" };

const SERVICE = "10.96.0.20";
/** A service of pod b in this state (null: without it), and of another endpoint. */
const service = (state: string | null, other = ""): string => `
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: default}
spec:
  type: NodePort
  clusterIP: ${SERVICE}
  selector: {app: b}
  ports: [{name: dns, port: 53, protocol: UDP, nodePort: 30053}, {name: web, port: 80, targetPort: 8080, nodePort: 30081}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dns-1, namespace: default, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: web, port: 8080, protocol: TCP}]
endpoints: [${[state === null ? "" : `{addresses: [${B}], nodeName: node-1, conditions: {${state}}}`, other].filter((one) => one !== "")
  .join(", ")}]
`;

const TERMINATING = "ready: false, serving: true, terminating: true";
const OTHER = `{addresses: [${FAR}], nodeName: node-2, conditions: {ready: true}}`;

const at = (seconds: number): { timeNs: number } => ({ timeNs: (1000 + seconds) * 1e9 });
const said = ({ end, reason, last }: Went): string => (end === "Undecided" || end === "Dropped" ? reason : last);

/** A datagram from pod a to another node's pod at 0 s, and what becomes of the answer. */
function answer(bench: NodeStackBench, seconds: number): string {
  bench.send({ from: A, to: FAR, protocol: "UDP", sport: 5000, dport: 53 }, at(0));
  return said(bench.send({ from: FAR, to: A, protocol: "UDP", sport: 53, dport: 5000 }, { ...at(seconds), at: "uplink" }));
}

/** The same of a datagram to the outside, which is masqueraded. */
function answerFromOutside(bench: NodeStackBench, seconds: number): string {
  bench.send({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 }, at(0));
  return said(bench.send({ from: CLIENT, to: NODE, protocol: "UDP", sport: 53, dport: 40000 }, { ...at(seconds), at: "uplink" }));
}

const DELIVERED = `out ${FAR}:53 > ${A}:5000`;

describe.each(VERSIONS)("Cilium %s", (version) => {
  const bench = (config = {}, more = {}): NodeStackBench => nodeStackBench(`cilium@${version}`, { ...NATIVE, ...config }, {}, more);

  it("an answer that policy would let in anyway is judged", () => {
    for (const seconds of [60, 61, 9000, 60 + 43201]) expect([seconds, answer(bench(), seconds)]).toEqual([seconds, DELIVERED]);
  });

  it("an answer that policy would refuse is undecided, and refused when the entry is gone", () => {
    const ends = [60, 61, 60 + 43200, 60 + 43201].map((seconds) => answer(bench({}, ISOLATED), seconds));
    expect(ends).toEqual([DELIVERED, GC, GC, "POLICY_DENIED"]);
  });

  it.each(["conntrack-gc-interval", "conntrack-gc-max-interval"])("%s says how long that may last", (option) => {
    const ends = [60, 61, 90, 91].map((seconds) => answer(bench({ [option]: "30s" }, ISOLATED), seconds));
    expect(ends).toEqual([DELIVERED, GC, GC, "POLICY_DENIED"]);
  });

  it("bpf-ct-timeout-regular-any", () => {
    const ends = [5, 6].map((seconds) => answer(bench({ "bpf-ct-timeout-regular-any": "5s" }, ISOLATED), seconds));
    expect(ends).toEqual([DELIVERED, GC]);
  });

  it("a masqueraded connection's answer finds its way back only while the entry lives", () => {
    const config = { "conntrack-gc-interval": "30s" };
    expect([60, 61, 91].map((seconds) => answerFromOutside(bench(config), seconds)))
      .toEqual([`out ${CLIENT}:53 > ${A}:40000`, GC, `local ${CLIENT}:53 > ${NODE}:40000`]);
  });

  it("what was undecided stays so, until a packet of the connection's own direction gets through", () => {
    const { send } = bench({}, ISOLATED);
    const there = (seconds: number): string =>
      said(send({ from: A, to: FAR, protocol: "UDP", sport: 5000, dport: 53 }, at(seconds)));
    const back = (seconds: number): string =>
      said(send({ from: FAR, to: A, protocol: "UDP", sport: 53, dport: 5000 }, { ...at(seconds), at: "uplink" }));
    there(0);
    expect([back(61), back(62), back(100)]).toEqual([GC, GC, GC]);
    expect([there(101), back(102), back(160), back(221)]).toEqual([`out ${A}:5000 > ${FAR}:53`, DELIVERED, DELIVERED, GC]);
  });

  // A segment that makes the entry anew leaves it with the lifetime of a SYN.
  it("the same of TCP, and for as long as a new entry lives", () => {
    const { send } = bench({}, ISOLATED);
    const there = (seconds: number, flags = ACK): string =>
      said(send({ from: A, to: FAR, protocol: "TCP", sport: 5000, dport: 80, flags }, at(seconds)));
    const back = (seconds: number): string =>
      said(send({ from: FAR, to: A, protocol: "TCP", sport: 80, dport: 5000, flags: ACK }, { ...at(seconds), at: "uplink" }));
    there(0, SYN);
    there(0);
    const way = `out ${FAR}:80 > ${A}:5000`;
    expect([back(8001), back(8002)]).toEqual([GC, GC]);
    expect([there(8003), back(8004), back(9000)]).toEqual([`out ${A}:5000 > ${FAR}:80`, way, way]);
    expect([back(17_001), there(17_002), back(17_063), back(17_064)]).toEqual([GC, `out ${A}:5000 > ${FAR}:80`, GC, GC]);
  });

  it("a source port that was drawn stays in doubt", () => {
    const { send } = bench({ "enable-bpf-masquerade": "true" });
    const out = (from: string, seconds: number): string =>
      said(send({ from, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 }, at(seconds)));
    out(A, 0);
    expect(out(B, 0)).not.toBe(`out ${NODE}:40000 > ${CLIENT}:53`);
    expect([out(B, 61), out(B, 62)]).toEqual([GC, GC]);
    expect([out(A, 63), out(A, 64)]).toEqual([`out ${NODE}:40000 > ${CLIENT}:53`, `out ${NODE}:40000 > ${CLIENT}:53`]);
  });

  it("an error that a pod sends about what came to it masqueraded is translated only while the entry lives", () => {
    const error = (seconds: number): string[] => {
      const { send } = bench({ "conntrack-gc-interval": "30s", "enable-bpf-masquerade": "true" });
      send({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 }, at(0));
      const quoted = packet({ from: CLIENT, to: A, protocol: "UDP", sport: 53, dport: 40000 });
      const went = send({ from: A, to: CLIENT, protocol: "ICMP", icmp: [3, 4, new Uint8Array(4)], payload: quoted }, at(seconds));
      if (went.end === "Undecided") return [went.reason];
      const { bytes } = went.images.at(-1)!;
      return [read(bytes).from, read(bytes.subarray(28)).to];
    };
    expect([60, 61, 91].map(error)).toEqual([[NODE, NODE], [GC], [A, A]]);
  });

  it("a reply to the outside keeps the pod's address only while the entry lives", () => {
    const reply = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s" });
      send({ from: CLIENT, to: A, protocol: "UDP", sport: 7000, dport: 40053 }, { ...at(0), at: "uplink" });
      return said(send({ from: A, to: CLIENT, protocol: "UDP", sport: 40053, dport: 7000 }, at(seconds)));
    };
    expect([60, 61, 91].map(reply)).toEqual([`out ${A}:40053 > ${CLIENT}:7000`, GC, `out ${NODE}:40053 > ${CLIENT}:7000`]);
  });

  it("a reply to the outside passes masquerading rules that nobody gives only while the entry lives", () => {
    const reply = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s", "enable-bpf-masquerade": "false" }, { routesAlone: true });
      send({ from: CLIENT, to: A, protocol: "UDP", sport: 7000, dport: 40053 }, { ...at(0), at: "uplink" });
      return said(send({ from: A, to: CLIENT, protocol: "UDP", sport: 40053, dport: 7000 }, at(seconds)));
    };
    const rules = "undecided: masquerading in the node's iptables";
    expect([60, 61, 91].map(reply)).toEqual([`out ${A}:40053 > ${CLIENT}:7000`, rules, rules]);
  });

  it("a reply to the outside passes an egress gateway policy by only while the entry lives", () => {
    const policy = "\napiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {name: nowhere}\nspec: {selectors: [{podSelector: "
      + "{}}], destinationCIDRs: [203.0.113.0/24], egressGateway: {nodeSelector: {matchLabels: {no: node}}}}\n";
    const reply = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s", "enable-egress-gateway": "true", "enable-ipv4-egress-gateway": "true" },
        { objects: policy });
      send({ from: CLIENT, to: A, protocol: "UDP", sport: 7000, dport: 40053 }, { ...at(0), at: "uplink" });
      return said(send({ from: A, to: CLIENT, protocol: "UDP", sport: 40053, dport: 7000 }, at(seconds)));
    };
    expect([60, 61, 91].map(reply)).toEqual([`out ${A}:40053 > ${CLIENT}:7000`, GC, "NO_EGRESS_GATEWAY"]);
  });

  it("a service's answer comes from the service only while the entry lives", () => {
    const reply = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s" });
      send({ from: A, to: "10.96.0.10", protocol: "TCP", sport: 6000, dport: 80 }, at(0));
      return said(send({ from: B, to: A, protocol: "TCP", sport: 8080, dport: 6000, flags: SYN | ACK }, at(seconds)));
    };
    expect([60, 61, 91].map(reply)).toEqual([`out 10.96.0.10:80 > ${A}:6000`, GC, `out ${B}:8080 > ${A}:6000`]);
  });

  const established = (config: object, closing: boolean, seconds: number): string => {
    const { send } = bench(config, ISOLATED);
    const there = { from: A, to: FAR, protocol: "TCP", sport: 5000, dport: 80 } as const;
    const back = { from: FAR, to: A, protocol: "TCP", sport: 80, dport: 5000 } as const;
    send({ ...there, flags: SYN }, at(0));
    send({ ...back, flags: SYN | ACK }, { ...at(0), at: "uplink" });
    send({ ...there, flags: ACK }, at(0));
    if (closing) {
      send({ ...there, flags: FIN | ACK }, at(0));
      send({ ...back, flags: FIN | ACK }, { ...at(0), at: "uplink" });
    }
    return said(send({ ...back, flags: ACK }, { ...at(seconds), at: "uplink" }));
  };
  const OPEN = `out ${FAR}:80 > ${A}:5000`;

  it.each([
    ["bpf-ct-timeout-regular-tcp", "8000", false], ["bpf-ct-timeout-regular-tcp", "100s", false],
    ["bpf-ct-timeout-regular-tcp-fin", "10", true], ["bpf-ct-timeout-regular-tcp-fin", "40s", true],
  ] as const)("%s=%s", (option, text, closing) => {
    const seconds = Number.parseInt(text, 10);
    expect([seconds, seconds + 1].map((age) => established({ [option]: text }, closing, age))).toEqual([OPEN, GC]);
  });

  it.each(["60", "20s"])("bpf-ct-timeout-regular-tcp-syn=%s", (text) => {
    const seconds = Number.parseInt(text, 10);
    const half = (age: number): string => {
      const { send } = bench({ "bpf-ct-timeout-regular-tcp-syn": text }, ISOLATED);
      send({ from: A, to: FAR, protocol: "TCP", sport: 5000, dport: 80, flags: SYN }, at(0));
      return said(send({ from: FAR, to: A, protocol: "TCP", sport: 80, dport: 5000, flags: SYN | ACK }, { ...at(age), at: "uplink" }));
    };
    expect([seconds, seconds + 1].map(half)).toEqual([OPEN, GC]);
  });

  it.each([
    ["at a pod, random", "random", { from: A, to: SERVICE, protocol: "UDP", sport: 6000, dport: 53 }, {}],
    ["from outside, random", "random", { from: CLIENT, to: NODE, protocol: "UDP", sport: 6000, dport: 30053 }, { at: "uplink" }],
    ["from outside, maglev", "maglev", { from: CLIENT, to: NODE, protocol: "UDP", sport: 6000, dport: 30053 }, { at: "uplink" }],
  ] as const)("a backend that a new choice could not come to is kept only while the entry lives (%s)", (_, algorithm, packet, where) => {
    const terminating = (seconds: number): string => {
      const { send, change } = bench({ "conntrack-gc-interval": "30s", "bpf-lb-algorithm": algorithm },
        { objects: service("ready: true") });
      send(packet, { ...at(0), ...where });
      change(service(TERMINATING, OTHER));
      return said(send(packet, { ...at(seconds), ...where })).replace(/.* > /, "to ");
    };
    expect([60, 61, 91].map(terminating)).toEqual([`to ${B}:53`, GC, `to ${FAR}:53`]);
  });

  /** What a service's kept backend, which is terminating by then, comes to after these seconds. */
  const kept = (config: Record<string, string>, first: PacketInput, later: PacketInput, seconds: number): string => {
    const { send, change } = bench(config, { objects: service("ready: true") });
    send(first, at(0));
    send(later, at(0));
    change(service(TERMINATING, OTHER));
    return said(send(later, at(seconds))).replace(/.* > /, "to ");
  };

  it.each(["60", "5s"])("bpf-ct-timeout-service-any=%s", (text) => {
    const packet: PacketInput = { from: A, to: SERVICE, protocol: "UDP", sport: 6000, dport: 53 };
    const seconds = Number.parseInt(text, 10);
    expect([seconds, seconds + 1].map((age) => kept({ "bpf-ct-timeout-service-any": text }, packet, packet, age)))
      .toEqual([`to ${B}:53`, GC]);
  });

  it.each(["8000", "100s"])("bpf-ct-timeout-service-tcp=%s", (text) => {
    const segment: PacketInput = { from: A, to: SERVICE, protocol: "TCP", sport: 6000, dport: 80, flags: ACK };
    const seconds = Number.parseInt(text, 10);
    expect([seconds, seconds + 1].map((age) => kept({ "bpf-ct-timeout-service-tcp": text }, { ...segment, flags: SYN }, segment, age)))
      .toEqual([`to ${B}:8080`, GC]);
  });

  // A bare SYN to a closing entry chooses anew whatever the grace is (ACTION_CREATE of __ct_lookup).
  it.each(["60", "5s"])("bpf-ct-timeout-service-tcp-grace=%s", (text) => {
    const again = (seconds: number): string => {
      const { send, change } = bench({ "bpf-ct-timeout-service-tcp-grace": text, "bpf-ct-timeout-regular-tcp-fin": "9000s" },
        { objects: service("ready: true") });
      const segment: PacketInput = { from: A, to: SERVICE, protocol: "TCP", sport: 6000, dport: 80 };
      for (const flags of [SYN, ACK, FIN | ACK]) send({ ...segment, flags }, at(0));
      // Pod b stays a backend of another service, and so active.
      change(service(null, OTHER));
      return said(send({ ...segment, flags: SYN | ACK }, at(seconds))).replace(/.* > /, "to ");
    };
    const seconds = Number.parseInt(text, 10);
    expect([seconds - 1, seconds].map(again)).toEqual([`to ${B}:8080`, `to ${FAR}:8080`]);
  });

  it("a service's backend that a new choice comes to as well is judged", () => {
    const { send } = bench({}, { objects: service("ready: true") });
    send({ from: A, to: SERVICE, protocol: "UDP", sport: 6000, dport: 53 }, at(0));
    expect(said(send({ from: A, to: SERVICE, protocol: "UDP", sport: 6000, dport: 53 }, at(61)))).toBe(`out ${A}:6000 > ${B}:53`);
  });

  it("an error about a masqueraded packet finds its way back only while the entry lives", () => {
    const error = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s", "enable-bpf-masquerade": "true" });
      const masqueraded = send({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 }, at(0)).images.at(-1)!.bytes;
      return said(send({ from: CLIENT, to: NODE, protocol: "ICMP", icmp: [3, 4, new Uint8Array(4)], payload: masqueraded },
        { ...at(seconds), at: "uplink" })).replaceAll(/:\d+/g, "");
    };
    expect([60, 61, 91].map(error)).toEqual([`out ${CLIENT} > ${A}`, GC, `local ${CLIENT} > ${NODE}`]);
  });
});

it("1.20: a packet to a node port is an older connection's only while that one's entry lives", () => {
  const sent = (seconds: number): string => {
    const { send, change } = nodeStackBench("cilium@1.20", { ...NATIVE, "conntrack-gc-interval": "30s" });
    const packet = { from: A, to: OTHER_NODE, protocol: "UDP", sport: 6000, dport: 30053 } as const;
    send(packet, at(0));
    change(service("ready: true"));
    return said(send(packet, at(seconds)));
  };
  expect([60, 61, 91].map(sent)).toEqual([
    expect.stringMatching(/^out 192\.168\.50\.12:\d+ > 10\.244\.1\.11:53$/), GC, `out ${A}:6000 > ${B}:53`]);
});
