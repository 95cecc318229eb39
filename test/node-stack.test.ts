/**
 * Cilium nodes that masquerade in iptables: what a program passes up goes through the node's netfilter, and comes back.
 */
import { describe, expect, it } from "vitest";
import { A, A6, B, CLIENT, CLIENT6, FAR, NODE, NODE6, nodeStackBench, OTHER_NODE } from "./node-stack.fixture.js";
import { ACK, packet, read, SYN, wrongChecksums } from "./packets.js";

const AKS = "aks:azure-cni-overlay+cilium@1.34";

describe("AKS: ip-masq-agent beside Cilium", () => {
  it("masquerades what leaves the pods' ranges, and takes the answer back to the pod", () => {
    const { send } = nodeStackBench(AKS);
    const there = send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 });
    expect([there.end, there.images.map(({ text }) => text)]).toEqual(["Left", [`out ${NODE}:40000 > ${CLIENT}:443`]]);
    const back = send({ from: CLIENT, to: NODE, protocol: "TCP", sport: 443, dport: 40000, flags: ACK | 2 }, { at: "uplink" });
    expect([back.end, back.images.map(({ text }) => text)]).toEqual(["Delivered", [`out ${CLIENT}:443 > ${A}:40000`]]);
    const on = send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443, flags: ACK });
    expect(on.last).toBe(`out ${NODE}:40000 > ${CLIENT}:443`);
    expect(on.journey.becauses.map(({ object, rule }) => `${object} ${rule}`)).toContain("ip-masq-agent no nonMasqueradeCIDRs");
  });

  it("leaves pods and answers to inbound connections alone, and masquerades towards other nodes", () => {
    const { send } = nodeStackBench(AKS);
    expect(send({ from: A, to: FAR, protocol: "TCP", dport: 80 }).last).toMatch(`out ${A}:`);
    expect(send({ from: A, to: B, protocol: "TCP", dport: 80 }).last).toMatch(`out ${A}:`);
    expect(send({ from: A, to: OTHER_NODE, protocol: "TCP", dport: 10250 }).last).toMatch(`local ${NODE}:`);
    expect(send({ from: CLIENT, to: A, protocol: "TCP", sport: 5000, dport: 80 }, { at: "uplink" }).end).toBe("Delivered");
    expect(send({ from: A, to: CLIENT, protocol: "TCP", sport: 80, dport: 5000,
      flags: ACK | 2 }).last).toBe(`out ${A}:80 > ${CLIENT}:5000`);
  });
});

describe.each(["1.16", "1.17", "1.18", "1.19", "1.20"])("Cilium %s with enable-bpf-masquerade=false", (version) => {
  const bench = (endpointRoutes: boolean): ReturnType<typeof nodeStackBench> => nodeStackBench(`cilium@${version}`, {
    "enable-bpf-masquerade": "false", "enable-ipv6": "true", "enable-endpoint-routes": String(endpointRoutes),
    "ipv4-native-routing-cidr": "10.244.0.0/16", "ipv6-native-routing-cidr": "fd00:10:244::/48",
  });

  it.each([true, false])("its own rules masquerade, but not towards nodes; endpoint routes %s", (endpointRoutes) => {
    const { send } = bench(endpointRoutes);
    expect(send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 }).last).toBe(`out ${NODE}:40000 > ${CLIENT}:443`);
    expect(send({ from: CLIENT, to: NODE, protocol: "TCP", sport: 443, dport: 40000, flags: SYN | ACK }, { at: "uplink" }).last)
      .toBe(`out ${CLIENT}:443 > ${A}:40000`);
    expect(send({ from: A, to: OTHER_NODE, protocol: "TCP", sport: 1, dport: 10250 }).last).toBe(`local ${A}:1 > ${OTHER_NODE}:10250`);
    expect(send({ from: A, to: B, protocol: "TCP", sport: 2, dport: 80 }).last).toBe(`out ${A}:2 > ${B}:80`);
    const six = send({ from: A6, to: CLIENT6, protocol: "TCP", sport: 40000, dport: 443 });
    expect(six.last).toBe(`out ${NODE6}:40000 > ${CLIENT6}:443`);
    expect(send({ from: CLIENT6, to: NODE6, protocol: "TCP", sport: 443, dport: 40000, flags: SYN | ACK }, { at: "uplink" }).last)
      .toBe(`out ${CLIENT6}:443 > ${A6}:40000`);
  });

  it("a port that another pod's connection has is replaced, from a range that the journey tells", () => {
    const { send } = bench(true);
    send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 });
    const second = send({ from: B, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 });
    expect(second.last).toMatch(new RegExp(`^out ${NODE}:`));
    expect(second.last).not.toContain(":40000");
    expect(second.journey.eligibleSourcePorts).toEqual([1024, 65535]);
    const port = read(second.images[0].bytes).sport;
    expect(send({ from: CLIENT, to: NODE, protocol: "TCP", sport: 443, dport: port, flags: SYN | ACK }, { at: "uplink" }).last)
      .toBe(`out ${CLIENT}:443 > ${B}:40000`);
  });

  it("services from outside and inside go on as without iptables", () => {
    const { send } = bench(true);
    expect(send({ from: CLIENT, to: NODE, protocol: "TCP", sport: 5000, dport: 30080 }, { at: "uplink" }).last)
      .toBe(`out ${CLIENT}:5000 > ${B}:8080`);
    expect(send({ from: B, to: CLIENT, protocol: "TCP", sport: 8080, dport: 5000, flags: SYN | ACK }).last)
      .toBe(`out ${NODE}:30080 > ${CLIENT}:5000`);
    expect(send({ from: A, to: "10.96.0.10", protocol: "TCP", sport: 6000 }).last).toBe(`out ${A}:6000 > ${B}:8080`);
    expect(send({ from: B, to: A, protocol: "TCP", sport: 8080, dport: 6000, flags: SYN | ACK }).last)
      .toBe(`out 10.96.0.10:80 > ${A}:6000`);
  });
});

describe("what the node's kernel answers itself", () => {
  it("a TTL that runs out: time exceeded to the pod", () => {
    const { send } = nodeStackBench(AKS);
    const went = send({ from: A, to: CLIENT, protocol: "UDP", sport: 1000, dport: 33434, ttl: 1 });
    expect([went.end, went.reason]).toEqual(["Answered", "TTL exceeded"]);
    expect(went.images.map(({ text }) => text.replace(/:\d+/g, ""))).toEqual([`out made ${NODE} > ${A}`]);
    expect([went.images[0].bytes[20], wrongChecksums(went.images[0].bytes)]).toEqual([11, ""]);
  });

  it("fragments are put together for the translation and cut again, each through to_netdev", () => {
    const { send } = nodeStackBench(AKS);
    const whole = packet({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53, payload: new Uint8Array(2000).fill(7), id: 99 });
    const [first, second] = cut(whole, 1480);
    expect(send({ from: A, to: CLIENT, protocol: "UDP" }, { bytes: first })).toMatchObject({ end: "Held" });
    const went = send({ from: A, to: CLIENT, protocol: "UDP" }, { bytes: second });
    expect([went.end, went.images.map(({ bytes }) => [read(bytes).from, bytes.length])])
      .toEqual(["Left", [[NODE, 1500], [NODE, 548]]]);
  });

  it("a path MTU below the device's, from a router outside, reaches the pod with its own addresses inside", () => {
    const { send } = nodeStackBench(AKS);
    const there = send({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 });
    const back = send({ from: "198.51.100.1", to: NODE, protocol: "ICMP", payload: there.images[0].bytes,
      icmp: [3, 4, Uint8Array.of(0, 0, 5, 0)] }, { at: "uplink" });
    expect([back.end, wrongChecksums(back.images[0].bytes)]).toEqual(["Delivered", ""]);
    expect(read(back.images[0].bytes.subarray(28))).toMatchObject({ from: A, to: CLIENT, sport: 40000 });
  });
});

describe("around it", () => {
  it("a pinned port is taken where the kernel chooses one", () => {
    const { send } = nodeStackBench(AKS);
    send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 });
    const second = send({ from: B, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 }, { pin: { backend: null, sourcePort: 2345 } });
    expect([second.last, second.flags]).toEqual([`out ${NODE}:2345 > ${CLIENT}:443`, 1]);
  });

  it("a trace has the rules between the programs", () => {
    const { plane, send } = nodeStackBench(AKS, {}, {}, { traced: true });
    send({ from: A, to: CLIENT, protocol: "TCP", dport: 443 });
    const programs = plane.lastSteps().map(({ program, result }) => `${program} ${result}`);
    const places = ["cil_from_container", "nat MASQUERADE", "cil_to_netdev"].map((text) => programs.findIndex((one) =>
      one.startsWith(text)));
    expect(places).toEqual(places.filter((place) => place >= 0).sort((a, b) => a - b));
  });

  it("the command line's conntrack deletions reach the kernel's table", () => {
    const { plane, send } = nodeStackBench(AKS);
    send({ from: A, to: CLIENT, protocol: "UDP", sport: 40000, dport: 53 });
    plane.deleteConntrack({ node: "node-1", family: 4, protocol: 17, originalSource: null, originalDestination: null,
      originalSourcePort: null, originalDestinationPort: null, replySource: null }, 0);
    expect(send({ from: CLIENT, to: NODE, protocol: "UDP", sport: 53, dport: 40000 }, { at: "uplink" }).last)
      .toBe(`local ${CLIENT}:53 > ${NODE}:40000`);
  });
});

/** Two fragments, the first with `size` bytes behind its header. */
function cut(whole: Uint8Array, size: number): [Uint8Array, Uint8Array] {
  const one = (from: number, to: number, more: number): Uint8Array => {
    const bytes = Uint8Array.of(...whole.subarray(0, 20), ...whole.subarray(20 + from, 20 + to));
    const view = new DataView(bytes.buffer);
    view.setUint16(2, bytes.length);
    view.setUint16(6, more | (from / 8));
    view.setUint16(10, 0);
    let total = 0;
    for (let at = 0; at < 20; at += 2) total += view.getUint16(at);
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    view.setUint16(10, ~total & 0xffff);
    return bytes;
  };
  return [one(0, size, 0x2000), one(size, whole.length - 20, 0)];
}
