/**
 * Tunnel mode along whole ways: the inner packet at cilium_vxlan, the tunnel's packet between the nodes, the identity
 * that travels as VNI, and replies on the way back. The outer headers are read here by their RFCs.
 */
import { describe, expect, it } from "vitest";
import { ACK, packet, read, SYN, wrongChecksums } from "../../test/packets.js";
import { type Bench, field, type OptionName, POD_DEVICE, UPLINK, type Walked } from "../../test/programs.js";
import {
  A, B, B_DEVICE, C, C_DEVICE, CLIENT, ended, IDENTITY, NODES, ROUTERS, send, TUNNEL, twoNodes, V6, way,
} from "../../test/two-nodes.js";
import { CtBit, EmissionKind, ServiceFlag } from "../contract/codes.js";

const VERSIONS = [16, 17, 18, 19, 20];

interface Outer {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly sourcePort: number;
  readonly checksum: number;
  readonly ttl: number;
  readonly tos: number;
  readonly vni: number;
  readonly header: string;
  readonly inner: Uint8Array;
}

/** Takes a tunnel's packet apart: RFC 768, RFC 7348, RFC 8926. */
function open(bytes: Uint8Array): Outer {
  const v6 = bytes[0] >> 4 === 6;
  const udp = v6 ? 40 : 20;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { from, to, ttl } = read(bytes);
  expect(view.getUint16(udp + 4)).toBe(bytes.length - udp);
  return { from, to, ttl, tos: v6 ? (view.getUint16(0) >> 4) & 255 : bytes[1],
    port: view.getUint16(udp + 2), sourcePort: view.getUint16(udp),
    checksum: view.getUint16(udp + 6), vni: view.getUint32(udp + 12) >>> 8,
    header: Buffer.from(bytes.subarray(udp + 8, udp + 12)).toString("hex"),
    inner: bytes.slice(udp + 16 + 14) };
}

function outer(walked: Walked): Outer {
  return open(walked.images.find(({ kind, device }) => kind === EmissionKind.values.Out && device === UPLINK)!.packet);
}

describe("a pod and a pod of another node, in tunnel mode", () => {
  for (const version of VERSIONS) {
    it(`goes through the tunnel as itself and comes back (1.${version})`, () => {
      const bench = twoNodes({ version, options: ["TUNNEL_MODE"] });
      const request = send(bench, { from: A, to: C, protocol: "TCP" }, POD_DEVICE);
      expect(ended(request)).toBe("Delivered");
      const inner = `${A}:40000 -> ${C}:80 ttl`;
      const between = `${NODES[0]}:${outer(request).sourcePort} -> ${NODES[1]}:8472 ttl 64`;
      expect(way(request)).toEqual([`Out 0/${TUNNEL} ${inner} 64`, `Out 0/${UPLINK} ${between}`, `In 1/${UPLINK} ${between}`,
        `In 1/${TUNNEL} ${inner} 64`, `Out 1/${C_DEVICE} ${inner} 63`]);
      expect(outer(request)).toMatchObject({ vni: IDENTITY.A, header: "08000000", checksum: 0, tos: 0 });
      expect(request.outcome).toMatchObject({ src_sec_id: IDENTITY.A, dst_sec_id: IDENTITY.C });
      for (const image of request.images) expect(wrongChecksums(image.packet)).toBe("");
      const reply = send(bench, { from: C, to: A, protocol: "TCP", sport: 80, dport: 40000, flags: SYN | ACK }, C_DEVICE, 1);
      expect(ended(reply)).toBe("Delivered");
      expect(outer(reply)).toMatchObject({ from: NODES[1], to: NODES[0], vni: IDENTITY.C });
      expect(way(reply).at(-1)).toBe(`Out 0/${POD_DEVICE} ${C}:80 -> ${A}:40000 ttl 63`);
    });

    it(`is judged at the receiver by the identity that came along, and noted as from the tunnel (1.${version})`, () => {
      const bench = twoNodes({ version, options: ["TUNNEL_MODE"] });
      bench.allow(false, IDENTITY.A, 6, 80, { deny: 1, precedence: 0xffffffff, cookie: 9 });
      // The receiver's ipcache says something else of the address: the VNI counts.
      bench.ipcache(`${A}/32`, 777);
      const denied = send(bench, { from: A, to: C, protocol: "TCP" }, POD_DEVICE);
      expect([ended(denied), denied.outcome.cookie]).toEqual(["Dropped DROP_POLICY_DENY", 9]);
      send(bench, { from: A, to: C, protocol: "UDP", dport: 53 }, POD_DEVICE);
      const map = bench.machine.map("cilium_ct_any4_global");
      const entries = [...map.entries()] as unknown as [Record<string, number>, Record<string, number>][];
      const arrived = entries.filter(([key]) => key.node === 1 && key.flags === 1);
      expect(arrived.map(([, value]) => value.bits & CtBit.values.FROM_TUNNEL)).toEqual([CtBit.values.FROM_TUNNEL]);
    });
  }
});

describe("the tunnel's headers", () => {
  it("are Geneve's where tunnel-protocol says so, to its own port", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"], protocol: "GENEVE" });
    const walked = send(bench, { from: A, to: C, protocol: "TCP" }, POD_DEVICE);
    expect(ended(walked)).toBe("Delivered");
    expect(outer(walked)).toMatchObject({ port: 6081, vni: IDENTITY.A, header: "00006558" });
  });

  it("carry IPv6 over IPv4, and both over IPv6 with a checksum", () => {
    const over4 = send(twoNodes({ options: ["TUNNEL_MODE"] }), { from: V6.A, to: V6.C, protocol: "TCP" }, POD_DEVICE);
    expect(way(over4).at(-1)).toBe(`Out 1/${C_DEVICE} ${V6.A}:40000 -> ${V6.C}:80 ttl 63`);
    expect([...outer(over4).inner.subarray(0, 1)]).toEqual([0x60]);
    for (const [from, to] of [[A, C], [V6.A, V6.C]]) {
      const walked = send(twoNodes({ options: ["TUNNEL_MODE"], underlay6: true }), { from, to, protocol: "UDP" }, POD_DEVICE);
      expect(ended(walked)).toBe("Delivered");
      expect(outer(walked)).toMatchObject({ from: "fd00::1", to: "fd00::2", vni: IDENTITY.A });
      for (const image of walked.images) expect(wrongChecksums(image.packet)).toBe("");
    }
  });

  it("have the inner packet's ECN bits, congestion as ECT(0), and nothing else of its TOS", () => {
    for (const [inner, wanted] of [[0xb8, 0], [0x01, 1], [0xba, 2], [0x03, 2]]) {
      const bytes = packet({ from: A, to: C, protocol: "TCP" });
      bytes[1] = inner;
      bytes[10] = bytes[11] = 0;
      let sum = 0;
      for (let at = 0; at < 20; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
      sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
      bytes.set([sum >> 8, sum & 255], 10);
      const [walked] = twoNodes({ options: ["TUNNEL_MODE"] }).walk([{ packet: bytes, device: POD_DEVICE }]);
      expect([ended(walked), outer(walked).tos]).toEqual(["Delivered", wanted]);
    }
  });

  it("say world for either family's world in a dual-stack cluster", () => {
    const bench = northSouth();
    expect(outer(send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP" }, UPLINK)).vni).toBe(2);
  });

  it("need room: what does not fit the uplink with them is undecided, segments of a merged frame fit", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const of = (size: number, protocol: "TCP" | "UDP"): string => ended(send(bench, { from: A, to: C, protocol, flags: ACK,
      payload: new Uint8Array(size) }, POD_DEVICE));
    expect(of(1450 - 28, "UDP")).toBe("Delivered");
    expect(of(1451 - 28, "UDP")).toBe("Undecided MTU");
    expect(of(8000, "TCP")).toBe("Delivered");
  });
});

describe("a tunnel's packet that comes in", () => {
  const tunnelPacket = (vni: number, edit: (bytes: Uint8Array) => void = () => {}): Uint8Array => {
    const inner = packet({ from: A, to: C, protocol: "TCP" });
    const payload = new Uint8Array(8 + 14 + inner.length);
    payload[0] = 0x08;
    new DataView(payload.buffer).setUint32(4, vni << 8);
    payload.set([0x08, 0x00], 20);
    payload.set(inner, 22);
    edit(payload);
    return packet({ from: NODES[0], to: NODES[1], protocol: "UDP", sport: 45000, dport: 8472, payload, noChecksum: true });
  };

  it("is taken out at the node it is for, wherever it was captured", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const [walked] = bench.walk([{ packet: tunnelPacket(300), device: UPLINK, node: 1 }]);
    expect(way(walked)).toEqual([`In 1/${TUNNEL} ${A}:40000 -> ${C}:80 ttl 64`, `Out 1/${C_DEVICE} ${A}:40000 -> ${C}:80 ttl 63`]);
    expect(walked.outcome.src_sec_id).toBe(300);
    const native = twoNodes();
    expect(ended(native.walk([{ packet: tunnelPacket(300), device: UPLINK, node: 1 }])[0])).toBe("Delivered");
  });

  it("that says host is refused (171), and one with a strange header or cut short is undecided", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const at = (bytes: Uint8Array, more = {}): string => ended(bench.walk([{ packet: bytes, device: UPLINK, node: 1, ...more }])[0]);
    expect(at(tunnelPacket(1))).toBe("Dropped DROP_INVALID_IDENTITY");
    expect(at(tunnelPacket(300, (bytes) => { bytes[0] = 0; }))).toBe("Undecided TUNNEL");
    expect(at(tunnelPacket(300, (bytes) => { bytes[7] = 1; }))).toBe("Undecided TUNNEL");
    const whole = tunnelPacket(300);
    for (let length = 24; length < whole.length; length++) {
      expect(at(whole.subarray(0, length), { wire: whole.length }), `${length} bytes`).toMatch(/^(Undecided|Delivered)/);
    }
  });

  it("brings a node's identity, which its address makes exact", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    bench.ipcache(`${ROUTERS[0]}/32`, 0x02000001);
    const walked = send(bench, { from: ROUTERS[0], to: C, protocol: "TCP" }, 0);
    expect(outer(walked).vni).toBe(6);
    expect(walked.outcome.src_sec_id).toBe(0x02000001);
  });

  it("captured without its outer packet has the identity of its sender, where that is known", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const walked = send(bench, { from: A, to: C, protocol: "TCP" }, TUNNEL, 1);
    expect([ended(walked), walked.outcome.src_sec_id]).toEqual(["Delivered", IDENTITY.A]);
    expect(ended(send(bench, { from: CLIENT, to: C, protocol: "TCP" }, TUNNEL, 1))).toBe("Undecided TUNNEL_DEVICE");
  });

  it("runs out of hops like any other", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    expect(ended(send(bench, { from: A, to: C, protocol: "TCP", ttl: 1 }, POD_DEVICE))).toBe("Dropped DROP_TTL_EXCEEDED");
  });
});

/** A load balancer's address with a backend on the other node. */
function northSouth(version = 20, options: readonly OptionName[] = []): Bench {
  const bench = twoNodes({ version, options: ["TUNNEL_MODE", ...options] });
  bench.backend(1, C, 8080);
  bench.service("198.51.100.80", 80, 6, 7, [1], ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE);
  return bench;
}

describe("a service from outside with its backend behind the tunnel", () => {
  for (const version of VERSIONS) {
    it(`goes on from cilium_host's address as world, and comes back from the service (1.${version})`, () => {
      const bench = northSouth(version);
      const request = send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP", sport: 50000 }, UPLINK);
      expect(ended(request)).toBe("Delivered");
      expect(way(request).at(-1)).toBe(`Out 1/${C_DEVICE} ${ROUTERS[0]}:50000 -> ${C}:8080 ttl 62`);
      expect(request.outcome.src_sec_id).toBe(IDENTITY.WORLD4);
      const reply = send(bench, { from: C, to: ROUTERS[0], protocol: "TCP", sport: 8080, dport: 50000, flags: SYN | ACK }, C_DEVICE, 1);
      expect(ended(reply)).toBe("Left");
      expect(way(reply).at(-1)).toBe(`Out 0/${UPLINK} 198.51.100.80:80 -> ${CLIENT}:50000 ttl 63`);
      for (const image of [...request.images, ...reply.images]) expect(wrongChecksums(image.packet)).toBe("");
    });
  }

  it("is a remote node's where endpoints have routes of their own: the address is asked again at the device", () => {
    const bench = northSouth(20, ["ENABLE_ENDPOINT_ROUTES"]);
    const request = send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP" }, UPLINK);
    expect([ended(request), request.outcome.src_sec_id]).toEqual(["Delivered", 6]);
  });

  it("is undecided where nobody knows cilium_host's address", () => {
    const bench = northSouth();
    bench.put("twinplane_nodes", { node: 0 }, { ipv4: field(NODES[0]), options: 1, tunnel_ifindex: TUNNEL });
    expect(ended(send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP" }, UPLINK))).toBe("Undecided ROUTER_ADDRESS");
  });
});

describe("a pod in tunnel mode", () => {
  it("may not send to the tunnel's port (170), in whatever protocol's port that is", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const to = (dport: number, protocol: "TCP" | "UDP"): string => ended(send(bench, { from: A, to: C, protocol, dport }, POD_DEVICE));
    expect([to(8472, "UDP"), to(8472, "TCP"), to(6081, "UDP")]).toEqual(["Dropped DROP_ENCAP_PROHIBITED", "Delivered", "Delivered"]);
    expect(ended(send(twoNodes(), { from: A, to: C, protocol: "UDP", dport: 8472 }, POD_DEVICE))).toBe("Delivered");
  });

  it("reaches a pod of its own node without the tunnel, also where endpoints have routes of their own", () => {
    for (const options of [["TUNNEL_MODE"], ["TUNNEL_MODE", "ENABLE_ENDPOINT_ROUTES"]] as const) {
      const walked = send(twoNodes({ options }), { from: A, to: B, protocol: "TCP" }, POD_DEVICE);
      expect(way(walked)).toEqual([`Out 0/${B_DEVICE} ${A}:40000 -> ${B}:80 ttl 63`]);
    }
  });

  it("leaves the cluster by the uplink, masqueraded; another node's address is masqueraded as well", () => {
    for (const [to, source] of [[CLIENT, NODES[0]], [NODES[1], NODES[0]]]) {
      const walked = send(twoNodes({ options: ["TUNNEL_MODE"] }), { from: A, to, protocol: "TCP", sport: 50000 }, POD_DEVICE);
      expect(way(walked)[0]).toBe(`Out 0/${UPLINK} ${source}:50000 -> ${to}:80 ttl 63`);
    }
  });

  it("hears from a process of another node through the tunnel; the node's own choice of address is not known", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    const walked = send(bench, { from: ROUTERS[1], to: A, protocol: "TCP" }, 0, 1);
    expect([ended(walked), walked.outcome.src_sec_id]).toEqual(["Delivered", 6]);
    expect(ended(send(bench, { from: NODES[1], to: A, protocol: "TCP" }, 0, 1))).toBe("Undecided SOURCE_CHOICE");
  });
});

describe("an egress gateway", () => {
  /** Pods of node 0 leave by node 1 with its second address. */
  function gateway(version: number, options: readonly OptionName[] = [], gatewayIp: string = NODES[1], egressIp = "192.168.0.77"): Bench {
    const bench = twoNodes({ version, options: ["ENABLE_EGRESS_GATEWAY", "TUNNEL_MODE", ...options] });
    const policy = (to: string, length: number, value: Record<string, unknown>): void =>
      bench.put("cilium_egress_gw_policy_v4", { prefixlen: 128 + length, saddr: field(A), daddr: field(to) }, value);
    policy("0.0.0.0", 0, { egress_ip: egressIp === "" ? new Uint8Array(16) : field(egressIp), gateway_ip: field(gatewayIp) });
    policy("203.0.114.0", 24, { gateway_ip: field("0.0.0.1") });
    bench.endpoint("192.168.0.77", 0, 1, 1, 0, 1);
    bench.route("192.168.0.77/32", 3, 0, undefined, 0, 1);
    return bench;
  }

  for (const version of VERSIONS) {
    it(`takes a pod's packet through the tunnel, gives it the policy's address and brings the reply back (1.${version})`, () => {
      const bench = gateway(version);
      const request = send(bench, { from: A, to: CLIENT, protocol: "TCP", sport: 50000 }, POD_DEVICE);
      expect(ended(request)).toBe("Left");
      expect(way(request).at(-1)).toMatch(new RegExp(`^Out 1/${UPLINK} 192.168.0.77:50000 -> ${CLIENT}:80`));
      expect(outer(request)).toMatchObject({ to: NODES[1], vni: IDENTITY.A });
      const answer = { from: CLIENT, to: "192.168.0.77", protocol: "TCP", sport: 80, dport: 50000, flags: SYN | ACK } as const;
      const reply = send(bench, answer, UPLINK, 1);
      expect(ended(reply)).toBe("Delivered");
      expect(way(reply).at(-1)).toMatch(new RegExp(`^Out 0/${POD_DEVICE} ${CLIENT}:80 -> ${A}:50000`));
      for (const image of [...request.images, ...reply.images]) expect(wrongChecksums(image.packet)).toBe("");
    });

    it(`drops what has no gateway (194) or no address there (204), and leaves excluded and cluster traffic alone (1.${version})`, () => {
      const to = (bench: Bench, destination: string): string =>
        ended(send(bench, { from: A, to: destination, protocol: "TCP" }, POD_DEVICE));
      expect(to(gateway(version, [], "0.0.0.0"), CLIENT)).toBe("Dropped DROP_NO_EGRESS_GATEWAY");
      expect(to(gateway(version, [], NODES[1], ""), CLIENT)).toBe("Dropped DROP_NO_EGRESS_IP");
      expect(to(gateway(version, [], "0.0.0.0"), C)).toBe("Delivered");
      const excluded = send(gateway(version), { from: A, to: "203.0.114.9", protocol: "TCP", sport: 50000 }, POD_DEVICE);
      expect(way(excluded)[0]).toMatch(new RegExp(`^Out 0/${UPLINK} ${NODES[0]}:50000`));
      expect(way(send(gateway(version), { from: B, to: CLIENT, protocol: "TCP", sport: 50000 }, B_DEVICE))[0])
        .toMatch(new RegExp(`^Out 0/${UPLINK} ${NODES[0]}:50000`));
    });
  }
});
