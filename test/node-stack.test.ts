/**
 * Cilium nodes that masquerade in iptables: what a program passes up goes through the node's netfilter, and comes back.
 */
import { describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../src/cluster/address.js";
import type { Device, Route } from "../src/cluster/cluster.js";
import { masqueradeRules } from "../src/ebpf/stack/masquerade-rules.js";
import { A, A6, B, CLIENT, CLIENT6, FAR, NODE, NODE6, nodeStackBench, OTHER_NODE } from "./node-stack.fixture.js";
import { ACK, packet, type PacketInput, read, SYN, wrongChecksums } from "./packets.js";

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

describe("options of Cilium's own rules", () => {
  const IPTABLES = { "enable-bpf-masquerade": "false", "ipv4-native-routing-cidr": "10.244.0.0/16" };
  const bench = (config: Readonly<Record<string, string>>, profile = "cilium@1.20"): ReturnType<typeof nodeStackBench> =>
    nodeStackBench(profile, { ...IPTABLES, ...config });
  const out = { from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 } as const;

  it("install-iptables-rules=false: nothing is masqueraded, and the node's own packets go on", () => {
    // 1.20 does not start without them (option-doubts.test.ts).
    const { plane, send } = bench({ "install-iptables-rules": "false", "enable-l7-proxy": "false" }, "cilium@1.19");
    expect([plane.stack, send(out).last]).toEqual([null, `out ${A}:40000 > ${CLIENT}:443`]);
    expect(send({ from: NODE, to: A, protocol: "TCP", dport: 80 }, { at: "process" }).end).toBe("Delivered");
    expect(bench({}).send(out).last).toBe(`out ${NODE}:40000 > ${CLIENT}:443`);
  });

  // The mark is what tells a node's own packets from others where the device's program asks host policies.
  it("install-iptables-rules=false: host policies do not know what the node itself sends", () => {
    const objects = `
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: node-1}
spec: {nodeSelector: {}, egress: [{toCIDR: [198.51.100.0/24]}]}
`;
    const end = (config: Readonly<Record<string, string>>): string => nodeStackBench("cilium@1.19", { ...config,
      "enable-host-firewall": "true", "enable-l7-proxy": "false", "ipv4-native-routing-cidr": "10.244.0.0/16" }, {}, { objects })
      .send({ from: NODE, to: CLIENT, protocol: "TCP", dport: 443 }, { at: "process" }).end;
    expect([end({}), end({ "install-iptables-rules": "false" })]).toEqual(["Dropped", "Left"]);
  });

  const BESIDE: readonly Readonly<Record<string, string>>[] = [
    {}, { "enable-ipv4-masquerade": "false" }, { "install-iptables-rules": "false", "enable-l7-proxy": "false" },
    { "enable-bpf-masquerade": "true" },
  ];
  it.each(BESIDE)("kube-proxy-replacement=false: kube-proxy may drop what conntrack has for INVALID (%j)", (config) => {
    const segment = (input: Partial<PacketInput>): PacketInput =>
      ({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443, ...input });
    // No segment of any connection has none of TCP's flags.
    const stray = { flags: 0, sport: 40001 };
    const reasons = (value: string): string[] => {
      const { send } = bench({ ...config, "kube-proxy-replacement": value });
      return [send(segment({})), send(segment(stray)), send(segment({ from: FAR, to: A, ...stray }), { at: "uplink" })]
        .map(({ reason }) => reason);
    };
    const doubt = expect.stringMatching(/^undecided: .*kube-proxy/);
    expect(reasons("false")).toEqual(["", doubt, doubt]);
    if (!("install-iptables-rules" in config)) expect(reasons("true")).toEqual(["", "", ""]);
  });

  it("prepend-iptables-chains=false: behind the masquerade agent's", () => {
    const order = (value: string): string[] => {
      const { plane } = nodeStackBench(AKS, { "prepend-iptables-chains": value, "enable-ipv4-masquerade": "true" });
      return [...plane.stack!.save(0, 4).matchAll(/-A POSTROUTING .*-j (\S+)/g)].map(([, target]) => target);
    };
    expect([order("true"), order("false")]).toEqual([["CILIUM_POST_nat", "IP-MASQ-AGENT"], ["IP-MASQ-AGENT", "CILIUM_POST_nat"]]);
  });

  it("iptables-random-fully: the port is drawn", () => {
    const { send } = bench({ "iptables-random-fully": "true" });
    const went = send(out);
    expect(went.last).toMatch(new RegExp(`^out ${NODE}:\\d+ > `));
    expect([read(went.images[0].bytes).sport === 40000, went.journey.eligibleSourcePorts]).toEqual([false, [1024, 65535]]);
  });

  it("egress-masquerade-interfaces: what leaves by them, whoever sends", () => {
    const source = (names: string): string => bench({ "egress-masquerade-interfaces": names }).send(out).last.split(" ")[1];
    expect([source("eth0"), source("eth+ ens1"), source("ens1,eth0"), source("ens1")])
      .toEqual([`${NODE}:40000`, `${NODE}:40000`, `${NODE}:40000`, `${A}:40000`]);
    expect(bench({ "egress-masquerade-interfaces": "eth0" }).send({ ...out, to: OTHER_NODE }).last).toMatch(`local ${A}:`);
  });

  it("enable-masquerade-to-route-source: undecided where routes are assumed", () => {
    expect(bench({ "enable-masquerade-to-route-source": "true" }).send(out))
      .toMatchObject({ end: "Undecided", reason: expect.stringContaining("the sources of the node's routes") });
  });
});

describe("enable-masquerade-to-route-source: one rule for each route with a source", () => {
  const route = (destination: string, prefSrc: string | null, device = 2, table = "main"): Route => ({ destination: parsePrefix(destination)!,
    table, type: "unicast", via: null, device, prefSrc: prefSrc === null ? null : parseAddress(prefSrc), metric: 0, mtu: null });
  const routes = [route("0.0.0.0/0", "192.168.50.11"), route("10.0.0.0/8", "192.168.50.12"), route("10.1.0.0/16", "192.168.50.13"),
    route("10.244.0.0/16", "192.168.50.14"), route("172.16.0.0/12", "192.168.60.1", 3), route("192.0.2.0/24", null),
    route("198.51.100.0/24", "192.168.50.15", 2, "local")];

  it.each([
    ["1.16", {}, ["10.0.0.0/8 eth0 192.168.50.12", "10.1.0.0/16 eth0 192.168.50.13", "! 10.244.0.0/16 eth0 192.168.50.11"]],
    ["1.20", {}, ["10.1.0.0/16 eth0 192.168.50.13", "10.0.0.0/8 eth0 192.168.50.12", "! 10.244.0.0/16 eth0 192.168.50.11"]],
    ["1.16", { "egress-masquerade-interfaces": "wlan+" }, []],
    ["1.17", { "egress-masquerade-interfaces": "wlan+" }, ["172.16.0.0/12 wlan0 192.168.60.1"]],
    ["1.18", { "egress-masquerade-interfaces": "!eth0 wlan+" }, ["172.16.0.0/12 wlan0 192.168.60.1"]],
    ["1.19", { "egress-masquerade-interfaces": "!wlan0 eth+ wlan+" },
      ["10.0.0.0/8 eth0 192.168.50.12", "10.1.0.0/16 eth0 192.168.50.13", "! 10.244.0.0/16 eth0 192.168.50.11"]],
  ])("Cilium %s %j", (version, config, expected) => {
    const { plane, cluster } = nodeStackBench(`cilium@${version}`, { "enable-bpf-masquerade": "false", "enable-masquerade-to-route-source": "true",
      "ipv4-native-routing-cidr": "10.244.0.0/16", ...config });
    const [node] = cluster.nodes;
    const devices = [...node.facts.devices.filter(({ kind }) => kind !== "uplink"),
      ...[["eth0", 2, "uplink"], ["wlan0", 3, "other"]].map(([name, index, kind]) => (
        { ...node.facts.devices.find((one) => one.kind === "uplink")!, name, index, kind }) as Device)];
    const rules = masqueradeRules({ ...node, facts: { ...node.facts, devices, routes, source: "read" } }, 4, plane.options);
    expect(rules.flatMap(({ text }) => /^-s \S+ (! )?-d (\S+) -o (\S+) .*source route" -j SNAT --to-source (\S+)$/.exec(text)?.slice(1) ?? [])
      .map((part) => part ?? "").join(" ").replaceAll("!  ", "! ").trim().replaceAll(/ +/g, " ")).toBe(expected.join(" "));
    expect(rules.filter(({ text }) => text.includes("MASQUERADE"))).toEqual([]);
  });
});

describe.each(["1.16", "1.17", "1.18", "1.19", "1.20"])("Cilium %s in tunnel mode with enable-bpf-masquerade=false", (version) => {
  const HOST = "10.244.1.200";
  const NODE_OBJECT = `
apiVersion: cilium.io/v2
kind: CiliumNode
metadata: {name: node-1}
spec: {addresses: [{type: CiliumInternalIP, ip: ${HOST}}]}
`;
  const bench = (endpointRoutes: boolean, objects = NODE_OBJECT): ReturnType<typeof nodeStackBench> => nodeStackBench(`cilium@${version}`, {
    "enable-bpf-masquerade": "false", "routing-mode": "tunnel", "enable-endpoint-routes": String(endpointRoutes) }, {}, { objects });

  it.each([true, false])("masquerades what leaves the cluster, and takes the answer back; endpoint routes %s", (endpointRoutes) => {
    const { send } = bench(endpointRoutes);
    expect(send({ from: A, to: CLIENT, protocol: "TCP", sport: 40000, dport: 443 }).images.map(({ text }) => text))
      .toEqual([`out ${NODE}:40000 > ${CLIENT}:443`]);
    expect(send({ from: CLIENT, to: NODE, protocol: "TCP", sport: 443, dport: 40000, flags: SYN | ACK }, { at: "uplink" }))
      .toMatchObject({ end: "Delivered", last: `out ${CLIENT}:443 > ${A}:40000` });
    expect(send({ from: A, to: OTHER_NODE, protocol: "TCP", sport: 1, dport: 10250 }).last).toBe(`local ${NODE}:1 > ${OTHER_NODE}:10250`);
  });

  it.each([true, false])("pods' packets to pods of other nodes keep their source; endpoint routes %s", (endpointRoutes) => {
    const { send } = bench(endpointRoutes);
    const { end, images } = send({ from: A, to: FAR, protocol: "TCP", sport: 40000, dport: 80 });
    expect([end, images.at(-1)!.text]).toEqual(["Delivered", `out ${A}:40000 > ${FAR}:80`]);
    expect(images.map(({ text }) => text.replace(/:\d+ >/, " >"))).toContain(`out ${NODE} > ${OTHER_NODE}:8472`);
    expect(send({ from: FAR, to: A, protocol: "TCP", sport: 80, dport: 40000, flags: SYN | ACK }))
      .toMatchObject({ end: "Delivered", last: `out ${FAR}:80 > ${A}:40000` });
  });

  it("what the node itself sends them comes from cilium_host's address, and answers find it", () => {
    const { send } = bench(false);
    expect(send({ from: NODE, to: FAR, protocol: "TCP", sport: 40000, dport: 80 }, { at: "process" }))
      .toMatchObject({ end: "Delivered", last: `out ${HOST}:40000 > ${FAR}:80` });
    expect(send({ from: FAR, to: HOST, protocol: "TCP", sport: 80, dport: 40000, flags: SYN | ACK }))
      .toMatchObject({ end: "Delivered", last: `local ${FAR}:80 > ${NODE}:40000` });
  });

  it("which is undecided where no object says that address", () => {
    expect(bench(false, "").send({ from: NODE, to: FAR, protocol: "TCP", sport: 40000, dport: 80 }, { at: "process" }))
      .toMatchObject({ end: "Undecided", reason: expect.stringContaining("the address of cilium_host") });
  });

  it("what comes by the tunnel is tracked by no connection of the kernel's", () => {
    const { plane, send } = bench(false);
    send({ from: FAR, to: A, protocol: "TCP", sport: 5, dport: 80 });
    expect(plane.stack!.save(0, 4)).toMatch(/\[1:\d+\] -A CILIUM_PRE_raw -p udp -m udp --dport 8472 .*-j CT --notrack/);
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
