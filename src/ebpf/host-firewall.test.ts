/**
 * The host firewall along whole ways: where host policies are asked, what passes them by, and that what a node sent comes
 * back. The programs' own verdicts are held against recorded runs in test/vectors.test.ts.
 */
import { describe, expect, it } from "vitest";
import { packet, SYN, ACK } from "../../test/packets.js";
import { type Bench, type OptionName, POD_DEVICE, UPLINK } from "../../test/programs.js";
import { A, C, C_DEVICE, CLIENT, ended, IDENTITY, NODES, NODES6, send, twoNodes, V6 } from "../../test/two-nodes.js";
import { ServiceFlag } from "../contract/codes.js";

const VERSIONS = [16, 17, 18, 19, 20];

/** The host's own policy (map 2) on both nodes: nothing is allowed but what a test says; pods may do everything. */
function closed(version = 20, options: readonly OptionName[] = []): Bench {
  const bench = twoNodes({ version, options: ["ENABLE_HOST_FIREWALL", ...options] });
  bench.mapPolicy(2);
  for (const node of [0, 1]) {
    const key = { node };
    bench.put("twinplane_nodes", key, { ...bench.lookup("twinplane_nodes", key), host_policy: 2 });
  }
  return bench;
}

function tcp(bench: Bench, from: string, to: string, device: number, more: { node?: number; sport?: number; flags?: number } = {}): string {
  return ended(send(bench, { from, to, protocol: "TCP", sport: more.sport ?? 40000, flags: more.flags ?? SYN }, device, more.node ?? 0));
}

for (const version of VERSIONS) {
  describe(`a node with a host firewall (1.${version})`, () => {
    it("takes from outside what a rule allows, by the sender's identity, and not more", () => {
      const bench = closed(version);
      expect(tcp(bench, CLIENT, NODES[0], UPLINK)).toBe("Dropped DROP_POLICY");
      bench.allow(false, IDENTITY.WORLD4, 6, 80, {}, 16, 2);
      expect(tcp(bench, CLIENT, NODES[0], UPLINK)).toBe("Delivered");
      bench.allow(false, 6, 6, 80, { deny: 1, precedence: 0xffffffff }, 16, 2);
      expect(tcp(bench, NODES[1], NODES[0], UPLINK)).toBe("Dropped DROP_POLICY_DENY");
    });

    it("sends what a rule allows, and hears the answer without one", () => {
      const bench = closed(version);
      expect(tcp(bench, NODES[0], CLIENT, 0)).toBe("Dropped DROP_POLICY");
      bench.allow(true, IDENTITY.WORLD4, 6, 80, {}, 16, 2);
      expect(tcp(bench, NODES[0], CLIENT, 0)).toBe("Left");
      expect(ended(send(bench, { from: CLIENT, to: NODES[0], protocol: "TCP", sport: 80, dport: 40000, flags: SYN | ACK }, UPLINK)))
        .toBe("Delivered");
    });

    it("does not say what becomes of an answer whose connection may have been collected, unless policy allows it anyway", () => {
      const bench = closed(version);
      bench.configure({ ct_gc_seconds: 600 });
      bench.allow(true, IDENTITY.WORLD4, 6, 80, {}, 16, 2);
      // Below the ports that source NAT reserves.
      expect(tcp(bench, NODES[0], CLIENT, 0, { sport: 20000 })).toBe("Left");
      const answer = { from: CLIENT, to: NODES[0], protocol: "TCP", sport: 80, dport: 20000, flags: SYN | ACK } as const;
      const late = (): string => ended(send(bench, answer, UPLINK, 0, { seconds: 1100 }));
      expect(late()).toBe("Undecided CONNTRACK_GC");
      bench.allow(false, IDENTITY.WORLD4, 6, 20000, {}, 16, 2);
      expect(late()).toBe("Delivered");
    });

    it("leaves pods' traffic alone: to the outside, masqueraded, and back, and to other nodes' pods", () => {
      const bench = closed(version);
      expect(tcp(bench, A, CLIENT, POD_DEVICE, { sport: 50000 })).toBe("Left");
      expect(ended(send(bench, { from: CLIENT, to: NODES[0], protocol: "TCP", sport: 80, dport: 50000, flags: SYN | ACK }, UPLINK)))
        .toBe("Delivered");
      expect(tcp(bench, A, C, POD_DEVICE)).toBe("Delivered");
    });

    it("judges a pod that asks its own node, with and without routes of its own", () => {
      for (const options of [[], ["ENABLE_ENDPOINT_ROUTES"]] as const) {
        const bench = closed(version, options);
        expect(tcp(bench, A, NODES[0], POD_DEVICE)).toBe("Dropped DROP_POLICY");
        bench.allow(false, IDENTITY.A, 6, 80, {}, 16, 2);
        expect(tcp(bench, A, NODES[0], POD_DEVICE)).toBe("Delivered");
      }
    });

    it("is judged as it asks a pod of its own, with and without routes of the pod's own", () => {
      for (const options of [[], ["ENABLE_ENDPOINT_ROUTES"]] as const) {
        const bench = closed(version, options);
        expect(tcp(bench, NODES[0], A, 0)).toBe("Dropped DROP_POLICY");
        bench.allow(true, IDENTITY.A, 6, 80, {}, 16, 2);
        expect(tcp(bench, NODES[0], A, 0)).toBe("Delivered");
      }
    });

    it("sends a tunnel's packets as its own: the host's egress policy and the other's ingress policy must allow them", () => {
      const bench = closed(version, ["TUNNEL_MODE"]);
      expect(tcp(bench, A, C, POD_DEVICE)).toBe("Dropped DROP_POLICY");
      bench.allow(true, 6, 17, 8472, {}, 16, 2);
      expect(tcp(bench, A, C, POD_DEVICE)).toBe("Dropped DROP_POLICY");
      bench.allow(false, 6, 17, 8472, {}, 16, 2);
      expect(tcp(bench, A, C, POD_DEVICE)).toBe("Delivered");
    });

    it("exempts ICMPv6 that RFC 4890 keeps open, refuses what it closes (176), and lets policy judge echoes", () => {
      const bench = closed(version);
      const message = (type: number): string => ended(send(bench, { from: V6.CLIENT, to: NODES6[0], protocol: "ICMP",
        icmp: [type, 0, new Uint8Array(4)] }, UPLINK));
      expect([message(1), message(3), message(134), message(143)]).toEqual(Array.from({ length: 4 }, () => "Delivered"));
      expect([message(137), message(139), message(200)]).toEqual(Array.from({ length: 3 }, () => "Dropped DROP_FORBIDDEN_ICMP6"));
      expect(message(128)).toBe("Dropped DROP_POLICY");
    });

    it("takes frames that are neither IP nor ARP for unknown (139), and some lengths for unsupported (166)", () => {
      const bench = closed(version);
      const frame = (etherType: number, node = bench): string =>
        ended(node.walk([{ packet: packet({ from: CLIENT, to: NODES[0], protocol: "TCP" }), device: UPLINK, etherType }])[0]);
      expect([frame(0x88cc), frame(0x0500), frame(0x0806)])
        .toEqual(["Dropped DROP_UNKNOWN_L3", "Dropped DROP_UNSUPPORTED_L2", "Undecided LINK_LAYER"]);
      expect(frame(0x88cc, twoNodes({ version }))).toBe("Undecided LINK_LAYER");
    });
  });
}

describe("services and the host firewall", () => {
  it("come first: a load balancer's request to a pod is no matter of host policies, on either node", () => {
    const bench = closed();
    bench.backend(1, C, 8080);
    bench.service("198.51.100.80", 80, 6, 7, [1], ServiceFlag.values.LOADBALANCER | ServiceFlag.values.ROUTABLE);
    expect(ended(send(bench, { from: CLIENT, to: "198.51.100.80", protocol: "TCP", sport: 50000 }, UPLINK))).toBe("Delivered");
    expect(ended(send(bench, { from: C, to: NODES[0], protocol: "TCP", sport: 8080, dport: 50000, flags: SYN | ACK }, C_DEVICE, 1)))
      .toBe("Left");
  });

  it("judges a node port that a process of the node serves", () => {
    const bench = closed();
    bench.backend(1, NODES[0], 9100);
    bench.service(NODES[0], 30100, 6, 8, [1], ServiceFlag.values.NODEPORT | ServiceFlag.values.ROUTABLE);
    const ask = (): string => ended(send(bench, { from: CLIENT, to: NODES[0], protocol: "TCP", dport: 30100 }, UPLINK));
    expect(ask()).toBe("Dropped DROP_POLICY");
    bench.allow(false, IDENTITY.WORLD4, 6, 9100, {}, 16, 2);
    expect(ask()).toBe("Delivered");
  });
});
