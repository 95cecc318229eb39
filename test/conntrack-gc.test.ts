/**
 * Connections past their lifetime: judged where it does not matter whether the agent has collected the entry, undecided
 * where it does, and gone once the longest interval of collection has passed.
 */
import { describe, expect, it } from "vitest";
import { A, B, CLIENT, FAR, NODE, nodeStackBench, type NodeStackBench, type Went } from "./node-stack.fixture.js";
import { ACK, FIN, SYN } from "./packets.js";

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;
const GC = "undecided: conntrack-gc: an entry past its lifetime may or may not have been collected";
const NATIVE = { "ipv4-native-routing-cidr": "10.244.0.0/16" };
/** Nobody may reach pod a. */
const ISOLATED = { objects: "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: alone, namespace: default}\n"
  + "spec: {podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress]}\n" };

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

  it("a reply to the outside keeps the pod's address only while the entry lives", () => {
    const reply = (seconds: number): string => {
      const { send } = bench({ "conntrack-gc-interval": "30s" });
      send({ from: CLIENT, to: A, protocol: "UDP", sport: 7000, dport: 40053 }, { ...at(0), at: "uplink" });
      return said(send({ from: A, to: CLIENT, protocol: "UDP", sport: 40053, dport: 7000 }, at(seconds)));
    };
    expect([60, 61, 91].map(reply)).toEqual([`out ${A}:40053 > ${CLIENT}:7000`, GC, `out ${NODE}:40053 > ${CLIENT}:7000`]);
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
});
