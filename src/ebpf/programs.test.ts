/**
 * The programs along whole ways: what a frame becomes between pods, services, nodes and the outside, and that
 * the reply comes back as the request went. Every image that leaves must have right checksums.
 */
import { describe, expect, it } from "vitest";
import { ACK, packet, type PacketInput, read, SYN, wrongChecksums } from "../../test/packets.js";
import {
  BASE_OPTIONS, Bench, field, type OptionName, POD_DEVICE, UPLINK, Verdict, type Walked,
} from "../../test/programs.js";
import { decode } from "../contract/codec.js";
import {
  DropReason, DsrMode, EmissionKind, EndpointFlag, FibKind, KernelReason, NodeOption, Program, ServiceFlag, StepKind,
  UndecidedReason,
} from "../contract/codes.js";
import { mapNumber } from "../contract/maps.js";
import { StepRecord } from "../contract/structs.js";
import { End } from "../dataplane.js";

const A = "10.1.0.1";
const B = "10.1.0.2";
const C = "10.2.0.3";
const CLIENT = "203.0.113.9";
const B_DEVICE = 11;
const C_DEVICE = 12;
const V6 = { A: "fd10:1::1", B: "fd10:1::2", C: "fd10:2::3", VIP: "fd96::1" };
const REMOTE_WORLD = 2;
const DUAL: readonly OptionName[] = ["ENABLE_IPV6", "ENABLE_IPV6_FRAGMENT_TRACKING",
  "ENABLE_BPF_MASQUERADE_IPV6"];

/**
 * Two nodes. a (id 300) and b (301) on node 0, c (302) on node 1; everything allowed unless a test says else.
 */
function cluster(options: readonly OptionName[] = [], version = 20, traced = false): Bench {
  const bench = new Bench(version, { traced });
  bench.options([...BASE_OPTIONS, ...DUAL, ...options]);
  bench.put("twinplane_nodes", { node: 1 }, { ipv4: field("192.168.0.2"), ipv6: field("fd00::2"),
    masquerade4: field("192.168.0.2"),
    masquerade6: field("fd00::2"), options: NodeOption.values.MANAGED, direct_routing_ifindex: UPLINK,
      host_sec_id: 1 });
  bench.put("twinplane_devices", { node: 1, ifindex: UPLINK }, { kind: 2, mtu: 1500 });
  bench.mapPolicy(1);
  for (const egress of [true, false]) {
    bench.allow(egress, 0);
    bench.allow(egress, 0, 0, 0, {}, 0, 1);
  }
  bench.configure({ native_routing_cidr6: field("fd10::"), native_routing_cidr6_length: 16 });
  const pods: [string, string, number, number, number][] = [[A, V6.A, POD_DEVICE, 300, 0], [B, V6.B,
    B_DEVICE, 301, 0], [C, V6.C, C_DEVICE, 302, 1]];
  for (const [v4, v6, device, identity, node] of pods) {
    bench.pod(v4, identity, 0, v6, device, node);
    for (const [ip, length] of [[v4, 32], [v6, 128]] as const) {
      bench.endpoint(ip, device, identity, 0, 0, node);
      bench.ipcache(`${ip}/${length}`, identity);
      bench.route(`${ip}/${length}`, FibKind.values.ENDPOINT, device, undefined, 0, node);
    }
  }
  for (const [node, ip] of [[0, "192.168.0.1"], [1, "192.168.0.2"]] as const) {
    bench.ipcache(`${ip}/32`, 6);
    bench.endpoint(ip, 0, 1, EndpointFlag.values.HOST, 0, node);
  }
  bench.ipcache("0.0.0.0/0", REMOTE_WORLD);
  bench.ipcache("::/0", REMOTE_WORLD);
  bench.route("10.2.0.0/16", FibKind.values.UPLINK, UPLINK, 1, UPLINK);
  bench.route("fd10:2::/32", FibKind.values.UPLINK, UPLINK, 1, UPLINK);
  bench.route("192.168.0.2/32", FibKind.values.UPLINK, UPLINK, 1, UPLINK);
  bench.route("192.168.0.2/32", FibKind.values.LOCAL_STACK, 0, undefined, 0, 1);
  bench.route("192.168.0.1/32", FibKind.values.UPLINK, UPLINK, 0, UPLINK, 1);
  bench.route("10.1.0.0/16", FibKind.values.UPLINK, UPLINK, 0, UPLINK, 1);
  bench.route("fd10:1::/32", FibKind.values.UPLINK, UPLINK, 0, UPLINK, 1);
  bench.route("0.0.0.0/0", FibKind.values.UPLINK, UPLINK, undefined, 0, 1);
  return bench;
}

function clusterIp(bench: Bench, backends: readonly [string, number][]): void {
  backends.forEach(([ip, port], index) => bench.backend(index + 1, ip, port));
  bench.service("10.96.0.1", 80, 6, 1, backends.map((_, index) => index + 1));
  bench.service("10.96.0.1", 53, 17, 2, backends.map((_, index) => index + 1));
}

function send(bench: Bench, input: PacketInput, device: number, node = 0, seconds = 1000): Walked {
  const [walked] = bench.walk([{ packet: packet(input), device, node, seconds }]);
  for (const image of walked.images) expect(wrongChecksums(image.packet)).toBe("");
  return walked;
}

/** `kind node/device from -> to` of each image. */
function way({ images }: Walked): string[] {
  return images.map(({ kind, node, device, packet: bytes }) => {
    const { from, to, sport, dport, ttl } = read(bytes);
    const name = Object.entries(EmissionKind.values).find(([, value]) => value === kind)![0];
    return `${name} ${node}/${device} ${from}:${sport} -> ${to}:${dport} ttl ${ttl}`;
  });
}

function ended({ outcome }: Walked): string {
  const name = Object.entries(End).find(([, value]) => value === outcome.end)![0];
  const reasons = outcome.end === End.Undecided
    ? UndecidedReason.values : { ...DropReason.values, ...KernelReason.values };
  const reason = Object.entries(reasons).find(([, value]) => value === outcome.reason)?.[0];
  return outcome.reason === 0 ? name : `${name} ${reason}`;
}

describe("a pod and a ClusterIP", () => {
  for (const [name, options, ttl] of [["endpoint routes off", [], 63], ["endpoint routes",
    ["ENABLE_ENDPOINT_ROUTES"], 63],
    ["host routing", ["ENABLE_HOST_ROUTING"], 63]] as const) {
    it(`reaches a backend of its node and gets the reply from the service (${name})`, () => {
      const bench = cluster(options);
      clusterIp(bench, [[B, 8080]]);
      const request = send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE);
      expect(ended(request)).toBe("Delivered");
      expect(way(request)).toEqual([`Out 0/${B_DEVICE} ${A}:40000 -> ${B}:8080 ttl ${ttl}`]);
      expect(request.outcome).toMatchObject({ service: 1, backend: 1, src_sec_id: 300, dst_sec_id: 301 });
      const reply = send(bench, { from: B, to: A, protocol: "TCP", sport: 8080, dport: 40000,
        flags: SYN | ACK }, B_DEVICE);
      expect(way(reply)).toEqual([`Out 0/${POD_DEVICE} 10.96.0.1:80 -> ${A}:40000 ttl ${ttl}`]);
    });
  }

  it("reaches a backend of another node, hop by hop, and back", () => {
    const bench = cluster();
    clusterIp(bench, [[C, 8080]]);
    const request = send(bench, { from: A, to: "10.96.0.1", protocol: "UDP", dport: 53 }, POD_DEVICE);
    expect(ended(request)).toBe("Delivered");
    const rest = `${A}:40000 -> ${C}:8080 ttl`;
    // One hop at node 0's stack; at node 1 the stack and the program behind cilium_host count one each.
    expect(way(request)).toEqual([`Out 0/${UPLINK} ${rest} 63`, `In 1/${UPLINK} ${rest} 63`,
      `Out 1/${C_DEVICE} ${rest} 61`]);
    const reply = send(bench, { from: C, to: A, protocol: "UDP", sport: 8080, dport: 40000 }, C_DEVICE, 1);
    expect(way(reply).at(-1)).toBe(`Out 0/${POD_DEVICE} 10.96.0.1:53 -> ${A}:40000 ttl 61`);
  });

  it("counts one hop a node where endpoints have routes of their own", () => {
    const bench = cluster(["ENABLE_ENDPOINT_ROUTES"]);
    const walked = send(bench, { from: A, to: C, protocol: "TCP" }, POD_DEVICE);
    expect(way(walked).at(-1)).toBe(`Out 1/${C_DEVICE} ${A}:40000 -> ${C}:80 ttl 62`);
  });

  it("reaches itself under the loopback address, without policy, and hears from the service", () => {
    const bench = cluster();
    clusterIp(bench, [[A, 8080]]);
    bench.pod(A, 300, 7, V6.A);
    const request = send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE);
    expect(way(request)).toEqual([`Out 0/${POD_DEVICE} 169.254.42.1:40000 -> ${A}:8080 ttl 63`]);
    const reply = send(bench, { from: A, to: "169.254.42.1", protocol: "TCP", sport: 8080, dport: 40000,
      flags: SYN | ACK }, POD_DEVICE);
    expect(way(reply)).toEqual([`Out 0/${POD_DEVICE} 10.96.0.1:80 -> ${A}:40000 ttl 63`]);
  });

  it("keeps the backend of a connection, and takes the captured one where it is a backend", () => {
    const bench = cluster();
    clusterIp(bench, [[B, 8080], [C, 8080]]);
    const pinned = (backend: string, sport: number): Walked => bench.walk([{ device: POD_DEVICE,
      pin: { backend, port: 8080 },
      packet: packet({ from: A, to: "10.96.0.1", protocol: "TCP", sport }) }])[0];
    for (let port = 0; port < 20; port++) {
      expect(pinned(C, 41000 + port).outcome).toMatchObject({ backend: 2, flags: 1 });
      expect(pinned(B, 41000 + port).outcome).toMatchObject({ backend: 2, flags: 0 });
    }
    expect(pinned("10.9.9.9", 45000).outcome.flags).toBe(2);
    const chosen = new Set<number>();
    for (let port = 0; port < 64; port++) {
      const input: PacketInput = { from: A, to: "10.96.0.1", protocol: "TCP", sport: 50000 + port };
      const first = send(bench, input, POD_DEVICE).outcome.backend;
      expect(send(bench, { ...input, flags: ACK }, POD_DEVICE).outcome.backend).toBe(first);
      chosen.add(first);
    }
    expect([...chosen].sort()).toEqual([1, 2]);
  });

  it("is refused by an answer where the service has no backend", () => {
    const bench = cluster();
    clusterIp(bench, []);
    const walked = send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE);
    expect(ended(walked)).toBe("Rejected DROP_NO_SERVICE");
    expect(walked.images[0]).toMatchObject({ made: 1, device: POD_DEVICE, node: 0 });
    expect([...walked.images[0].packet.subarray(20, 22)]).toEqual([3, 3]);
  });

  it("works the same over IPv6", () => {
    const bench = cluster();
    bench.backend(1, V6.C, 8080);
    bench.service(V6.VIP, 80, 6, 9, [1]);
    const request = send(bench, { from: V6.A, to: V6.VIP, protocol: "TCP" }, POD_DEVICE);
    expect(way(request).at(-1)).toBe(`Out 1/${C_DEVICE} ${V6.A}:40000 -> ${V6.C}:8080 ttl 61`);
    const reply = send(bench, { from: V6.C, to: V6.A, protocol: "TCP", sport: 8080, dport: 40000,
      flags: SYN | ACK }, C_DEVICE, 1);
    expect(way(reply).at(-1)).toBe(`Out 0/${POD_DEVICE} ${V6.VIP}:80 -> ${V6.A}:40000 ttl 61`);
    bench.service(V6.VIP, 81, 6, 10, []);
    const refused = send(bench, { from: V6.A, to: V6.VIP, protocol: "TCP", dport: 81 }, POD_DEVICE);
    expect([ended(refused), ...refused.images[0].packet.subarray(40,
      42)]).toEqual(["Rejected DROP_NO_SERVICE", 1, 4]);
  });

  it("translates every fragment, and loses a later one that comes first", () => {
    const bench = cluster();
    clusterIp(bench, [[B, 8080]]);
    const fragment = (offset: number, id: number): WalkedFragment => {
      const input: PacketInput = { from: A, to: "10.96.0.1", protocol: "UDP", dport: 53, id,
        fragment: offset, noChecksum: true,
        payload: new Uint8Array(16) };
      return bench.walk([{ packet: packet(input), device: POD_DEVICE }])[0];
    };
    expect(ended(fragment(0x2000, 5))).toBe("Delivered");
    const later = fragment(3, 5);
    expect([ended(later), read(later.images[0].packet).to]).toEqual(["Delivered", B]);
    expect(ended(fragment(3, 6))).toBe("Dropped DROP_FRAG_NOT_FOUND");
  });
});

type WalkedFragment = Walked;

describe("policy", () => {
  it("judges egress at the sender and ingress at the receiver", () => {
    const bench = cluster();
    clusterIp(bench, [[C, 8080]]);
    bench.pod(A, 300, 1, V6.A);
    bench.disallow({ prefixlen: 40, sec_label: 0, egress: 1, protocol: 0, dport: 0 }, 1);
    const frontend = bench.allow(true, 302, 6, 80, { cookie: 5 }, 16, 1);
    const denied = send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE);
    expect([ended(denied), denied.outcome.cookie,
      denied.outcome.dst_sec_id]).toEqual(["Dropped DROP_POLICY", 0, 302]);
    bench.disallow(frontend, 1);
    bench.allow(true, 302, 6, 8080, { cookie: 6 }, 16, 1);
    expect(ended(send(bench, { from: A, to: "10.96.0.1", protocol: "TCP", sport: 40001 },
      POD_DEVICE))).toBe("Delivered");
    bench.allow(false, 300, 6, 8080, { deny: 1, precedence: 0xffffffff, cookie: 7 });
    const walked = send(bench, { from: A, to: "10.96.0.1", protocol: "TCP", sport: 40002 }, POD_DEVICE);
    expect([ended(walked), walked.outcome.cookie,
      walked.images.length]).toEqual(["Dropped DROP_POLICY_DENY", 7, 2]);
  });

  it("judges a translated packet although the pods have a connection the other way round", () => {
    const bench = cluster();
    clusterIp(bench, [[B, 8080]]);
    expect(ended(send(bench, { from: B, to: A, protocol: "TCP", sport: 8080, dport: 40000 }, B_DEVICE))).toBe("Delivered");
    bench.allow(true, 301, 6, 8080, { deny: 1, precedence: 0xffffffff });
    expect(ended(send(bench, { from: A, to: B, protocol: "TCP", sport: 40000, dport: 8080, flags: SYN | ACK }, POD_DEVICE)))
      .toBe("Delivered");
    expect(ended(send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE))).toBe("Dropped DROP_POLICY_DENY");
  });

  it("does not take a packet from outside for the node's because it has the node's address", () => {
    const bench = cluster(["ENABLE_HOST_ROUTING"]);
    bench.allow(false, 1, 6, 80, { deny: 1, precedence: 0xffffffff });
    const spoofed = send(bench, { from: "192.168.0.1", to: A, protocol: "TCP" }, UPLINK);
    expect([ended(spoofed), spoofed.outcome.src_sec_id]).toEqual(["Delivered", 0]);
    expect(send(bench, { from: "192.168.0.2", to: A, protocol: "TCP" }, UPLINK).outcome.src_sec_id).toBe(6);
  });

  it("does not judge replies, nor errors about a known connection", () => {
    const bench = cluster();
    bench.endpoint(A, POD_DEVICE, 300, 0, 9);
    const request = packet({ from: A, to: CLIENT, protocol: "UDP", dport: 53 });
    bench.walk([{ packet: request, device: POD_DEVICE }]);
    bench.configure({ native_routing_cidr4: field("0.0.0.0"), native_routing_cidr4_length: 0 });
    expect(ended(send(bench, { from: CLIENT, to: A, protocol: "UDP", sport: 53, dport: 40000 },
      UPLINK))).toBe("Delivered");
    const error: PacketInput = { from: CLIENT, to: A, protocol: "ICMP", icmp: [3, 3, new Uint8Array(4)],
      payload: request };
    expect(ended(send(bench, error, UPLINK))).toBe("Delivered");
    // An error from a router in between is not related: conntrack looks at the outer addresses.
    expect(ended(send(bench, { ...error, from: "198.51.100.1" }, UPLINK))).toBe("Dropped DROP_POLICY");
    expect(ended(send(bench, { from: CLIENT, to: A, protocol: "TCP" }, UPLINK))).toBe("Dropped DROP_POLICY");
  });
});

describe("the outside", () => {
  const external = ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE;

  for (const protocol of ["TCP", "UDP"] as const) {
    for (const sport of [50000, 1025]) {
      it(`pod to world over ${protocol} from port ${sport}: masqueraded and back`, () => {
        const bench = cluster();
        const request = send(bench, { from: A, to: CLIENT, protocol, sport }, POD_DEVICE);
        expect(ended(request)).toBe("Left");
        const out = read(request.images[0].packet);
        expect(out.from).toBe("192.168.0.1");
        if (sport >= 32768) expect(out.sport).toBe(sport);
        else expect(out.sport).toBeGreaterThanOrEqual(32768);
        const reply = send(bench, { from: CLIENT, to: out.from, protocol, sport: 80, dport: out.sport,
          flags: SYN | ACK }, UPLINK);
        expect(way(reply).at(-1)).toBe(`Out 0/${POD_DEVICE} ${CLIENT}:80 -> ${A}:${sport} ttl 62`);
      });
    }
  }

  it("translates an ICMP error back to the pod, quote and checksums included", () => {
    const bench = cluster();
    const request = send(bench, { from: A, to: CLIENT, protocol: "TCP", sport: 1025 }, POD_DEVICE);
    const error = send(bench, { from: "198.51.100.1", to: "192.168.0.1", protocol: "ICMP", icmp: [11, 0,
      new Uint8Array(4)],
      payload: request.images[0].packet }, UPLINK);
    // The router is not the peer: the error meets ingress policy, which allows everything here.
    expect(ended(error)).toBe("Delivered");
    const quoted = error.images.at(-1)!.packet.subarray(28);
    expect(read(quoted)).toMatchObject({ from: A, sport: 1025, to: CLIENT, dport: 80 });
    expect(wrongChecksums(quoted)).toBe("");
  });

  it("translates an echo and its reply", () => {
    const bench = cluster();
    const request = send(bench, { from: A, to: CLIENT, protocol: "ICMP" }, POD_DEVICE);
    expect(read(request.images[0].packet).from).toBe("192.168.0.1");
    const reply = send(bench, { from: CLIENT, to: "192.168.0.1", protocol: "ICMP", icmp: [0, 0,
      Uint8Array.of(0, 7, 0, 1)] }, UPLINK);
    expect([ended(reply), read(reply.images.at(-1)!.packet).to]).toEqual(["Delivered", A]);
  });

  it("client to a load balancer: local backend keeps the client, remote one is reached through the node",
    () => {
    for (const [backend, source] of [[B, CLIENT], [C, "192.168.0.1"]] as const) {
      const bench = cluster();
      bench.backend(1, backend, 8080);
      bench.service("198.51.100.80", 80, 6, 1, [1], external);
      const request = send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP" }, UPLINK);
      expect(ended(request)).toBe("Delivered");
      const seen = read(request.images.at(-1)!.packet);
      expect([seen.from, seen.to, seen.dport]).toEqual([source, backend, 8080]);
      const [device, node] = backend === B ? [B_DEVICE, 0] : [C_DEVICE, 1];
      const reply = send(bench, { from: backend, to: seen.from, protocol: "TCP", sport: 8080,
        dport: seen.sport, flags: SYN | ACK }, device, node);
      expect(ended(reply)).toBe("Left");
      expect(read(reply.images.at(-1)!.packet)).toMatchObject({ from: "198.51.100.80", sport: 80,
        to: CLIENT, dport: 40000 });
    }
  });

  it("refuses what services say: source range, ClusterIP from outside, unknown port, no backend", () => {
    const bench = cluster();
    bench.backend(1, B, 8080);
    bench.service("198.51.100.80", 80, 6, 1, [1], external | ServiceFlag.values.SOURCE_RANGE);
    bench.put("cilium_lb4_source_range", { prefixlen: 32 + 8, rev_nat_id: 1, address: field("10.0.0.0") },
      { present: 1 });
    bench.service("10.96.0.1", 80, 6, 2, [1]);
    bench.service("198.51.100.80", 0, 0, 0, []);
    bench.service("198.51.100.81", 80, 6, 3, [], external);
    const to = (ip: string, dport: number): string => ended(send(bench, { from: CLIENT, to: ip,
      protocol: "TCP", dport }, UPLINK));
    expect(to("198.51.100.80", 80)).toBe("Dropped DROP_NOT_IN_SRC_RANGE");
    expect(to("198.51.100.80", 81)).toBe("Dropped DROP_NO_SERVICE");
    expect(to("10.96.0.1", 80)).toBe("Dropped DROP_IS_CLUSTER_IP");
    expect(to("198.51.100.81", 80)).toBe("Rejected DROP_NO_SERVICE");
  });

  it("a host port is never sent on to another node", () => {
    const bench = cluster();
    bench.backend(1, C, 8080);
    bench.service("192.168.0.1", 8443, 6, 1, [1],
      ServiceFlag.values.HOSTPORT | ServiceFlag.values.ROUTABLE, 0, 0, 0);
    expect(ended(send(bench, { from: CLIENT, to: "192.168.0.1", protocol: "TCP", dport: 8443 },
      UPLINK))).toBe("Dropped DROP_INVALID");
  });

  it("a node port is translated at the pod from 1.20 on, and the reply comes from the node it asked", () => {
    for (const version of [20, 19]) {
      const bench = cluster([], version);
      bench.backend(1, B, 8080);
      bench.service("0.0.0.0", 30080, 6, 1, [1], ServiceFlag.values.NODEPORT);
      const request = send(bench, { from: A, to: "192.168.0.2", protocol: "TCP", dport: 30080 }, POD_DEVICE);
      expect(read(request.images.at(-1)!.packet).to).toBe(version === 20 ? B : "192.168.0.2");
      if (version < 20) continue;
      const reply = send(bench, { from: B, to: A, protocol: "TCP", sport: 8080, dport: 40000,
        flags: SYN | ACK }, B_DEVICE);
      expect(way(reply)).toEqual([`Out 0/${POD_DEVICE} 192.168.0.2:30080 -> ${A}:40000 ttl 63`]);
    }
  });
});

describe("a process of the node", () => {
  it("is translated at connect and keeps its backend", () => {
    const bench = cluster(["ENABLE_SOCKET_LB"]);
    clusterIp(bench, [[B, 8080], [C, 8080]]);
    const input: PacketInput = { from: "192.168.0.1", to: "10.96.0.1", protocol: "TCP", sport: 40010 };
    const first = send(bench, input, 0);
    expect(ended(first)).toBe("Delivered");
    expect(send(bench, { ...input, flags: ACK }, 0).outcome.backend).toBe(first.outcome.backend);
    expect(first.outcome).toMatchObject({ service: 1, src_sec_id: first.outcome.backend === 1 ? 1 : 6 });
  });

  it("sees connect() fail where there is no backend, and reaches its own addresses", () => {
    const bench = cluster(["ENABLE_SOCKET_LB"]);
    clusterIp(bench, []);
    const refused = send(bench, { from: "192.168.0.1", to: "10.96.0.1", protocol: "TCP" }, 0);
    expect([ended(refused), refused.images.length]).toEqual(["Rejected DROP_NO_SERVICE", 0]);
    expect(way(send(bench, { from: "192.168.0.1", to: "192.168.0.1", protocol: "TCP" },
      0))[0]).toMatch(/^Local 0\/0 /);
  });
});

describe("what is not judged", () => {
  it("a pod's packet to a service, where pods are balanced at their sockets", () => {
    const bench = cluster();
    clusterIp(bench, [[B, 8080]]);
    expect(ended(send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE))).toBe("Delivered");
    bench.options([...BASE_OPTIONS.filter((name) => name !== "ENABLE_PER_PACKET_LB"), ...DUAL, "ENABLE_SOCKET_LB"]);
    expect(ended(send(bench, { from: A, to: "10.96.0.1", protocol: "TCP", sport: 40900 }, POD_DEVICE)))
      .toBe("Undecided SOCKET_LB");
    expect(ended(send(bench, { from: A, to: B, protocol: "TCP", sport: 40901 }, POD_DEVICE))).toBe("Delivered");
  });

  it("says so: unknown device, no route, kernel's own errors, another's frame, too little captured", () => {
    const bench = cluster();
    const tcp = packet({ from: A, to: C, protocol: "TCP" });
    const outcomes = bench.walk([
      { packet: tcp, device: 99 },
      { packet: packet({ from: A, to: C, protocol: "TCP", ttl: 1 }), device: POD_DEVICE },
      { packet: packet({ from: CLIENT, to: "192.168.0.1", protocol: "TCP" }), device: UPLINK, packetType: 3 },
      { packet: tcp.subarray(0, 30), wire: tcp.length, device: POD_DEVICE },
      { packet: packet({ from: A, to: "224.0.0.1", protocol: "UDP" }), device: POD_DEVICE },
    ]);
    expect(outcomes.map(ended)).toEqual(["Undecided NO_DEVICE", "Undecided TTL", "Dropped OTHERHOST",
      "Undecided TRUNCATED",
      "Undecided MULTICAST"]);
    bench.remove("twinplane_fib", { prefixlen: 32, node: 0, family: 1 });
    expect(ended(send(bench, { from: A, to: CLIENT, protocol: "TCP" },
      POD_DEVICE))).toBe("Undecided NO_ROUTE");
    bench.configure({ dsr_mode: DsrMode.values.IPIP_BY_XDP });
    bench.backend(1, C, 80);
    bench.service("198.51.100.80", 80, 6, 1, [1],
      ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE);
    expect(ended(send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP" },
      UPLINK))).toBe("Undecided DSR");
  });
});

describe("steps", () => {
  it("are written by the traced module, program by program, with keys and rule sets", () => {
    const bench = cluster([], 20, true);
    clusterIp(bench, [[B, 8080]]);
    bench.allow(true, 301, 6, 8080, { cookie: 42 });
    send(bench, { from: A, to: "10.96.0.1", protocol: "TCP" }, POD_DEVICE);
    const records = [...bench.machine.map("cilium_events").drain()].map((bytes) => decode(StepRecord, bytes));
    const programs = records.filter(({ kind }) => kind === StepKind.values.ENTER).map(({ program }) => program);
    expect(programs).toEqual([Program.values.FROM_CONTAINER, Program.values.TO_CONTAINER]);
    expect(records.filter(({ kind }) => kind === StepKind.values.VERDICT).map(({ result }) => result))
      .toEqual([Verdict.Endpoint, Verdict.Deliver]);
    expect(records.find(({ kind }) => kind === StepKind.values.POLICY)).toMatchObject({ cookie: 42, result: 0 });
    const services = records.filter(({ map }) => map === mapNumber("cilium_lb4_services_v2"));
    expect(services[0]).toMatchObject({ kind: StepKind.values.LOOKUP, result: 1, key_size: 24 });
    expect([...services[0].key.subarray(0, 4)]).toEqual([10, 96, 0, 1]);
  });
});

describe("a capture with checksum offload", () => {
  it("keeps the pseudo-header sum a pseudo-header sum", () => {
    const bench = cluster();
    clusterIp(bench, [[B, 8080]]);
    const bytes = packet({ from: A, to: "10.96.0.1", protocol: "TCP" });
    const partial = (packetBytes: Uint8Array): Uint8Array => {
      const copy = Uint8Array.from(packetBytes);
      const view = new DataView(copy.buffer);
      let sum = 6 + copy.length - 20;
      for (let at = 12; at < 20; at += 2) sum += view.getUint16(at);
      view.setUint16(36, (sum & 0xffff) + (sum >>> 16));
      return copy;
    };
    const [walked] = bench.walk([{ packet: partial(bytes), device: POD_DEVICE }]);
    const out = walked.images[0].packet;
    expect(Buffer.from(out).toString("hex")).toBe(Buffer.from(partial(out)).toString("hex"));
  });
});
