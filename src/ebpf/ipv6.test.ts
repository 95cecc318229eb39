/**
 * IPv6 where it is not IPv4 with longer addresses: neighbour discovery and "time exceeded" answered by the programs,
 * extension headers, what a pod may send at all; and policy-deny-response in both families. The programs' own bytes are
 * held against recorded runs in test/vectors.test.ts; here is what becomes of a frame on its way.
 */
import { describe, expect, it } from "vitest";
import { packet, read, wrongChecksums } from "../../test/packets.js";
import { address, type Bench, field, POD_DEVICE, UPLINK } from "../../test/programs.js";
import { A, B, C, CLIENT, ended, NODES6, ROUTERS6, send, twoNodes, V6, way } from "../../test/two-nodes.js";

const VERSIONS = [16, 17, 18, 19, 20];
const FE80 = "fe80::1234";

/** A neighbour solicitation (RFC 4861) with the sender's link address. */
function solicitation(from: string, target: string): Uint8Array {
  return packet({ from, to: "ff02::1:ff00:1", protocol: "ICMP", ttl: 255, icmp: [135, 0, new Uint8Array(4)],
    payload: Uint8Array.of(...address(target).bytes, 1, 1, 2, 0, 0, 0, 0, 2) });
}

/** Puts extension headers of eight bytes between the header and what it carries. */
function extended(bytes: Uint8Array, ...kinds: number[]): Uint8Array {
  const out = new Uint8Array(bytes.length + 8 * kinds.length);
  out.set(bytes.subarray(0, 40));
  kinds.forEach((_, index) => { out[40 + 8 * index] = kinds[index + 1] ?? bytes[6]; });
  out.set(bytes.subarray(40), 40 + 8 * kinds.length);
  out[6] = kinds[0] ?? bytes[6];
  new DataView(out.buffer).setUint16(4, out.length - 40);
  return out;
}

function ends(bench: Bench, bytes: Uint8Array, device = POD_DEVICE): string {
  return ended(bench.walk([{ packet: bytes, device }])[0]);
}

describe("neighbour discovery", () => {
  for (const version of VERSIONS) {
    it(`is answered for cilium_host and endpoints, from a pod and from the network (1.${version})`, () => {
      const bench = twoNodes({ version });
      for (const target of [ROUTERS6[0], V6.B]) {
        const [walked] = bench.walk([{ packet: solicitation(V6.A, target), device: POD_DEVICE }]);
        expect([ended(walked), walked.images.length, walked.images[0].made]).toEqual(["Answered", 1, 1]);
        const { from, to } = read(walked.images[0].packet);
        expect([from, to]).toEqual([version >= 18 ? target : ROUTERS6[0], V6.A]);
        expect(wrongChecksums(walked.images[0].packet)).toBe("");
      }
      expect(ends(bench, solicitation(V6.A, "fd10:1::77"))).toBe("Dropped DROP_UNKNOWN_TARGET");
      expect(ends(bench, solicitation("2001:db8::1", V6.A), UPLINK)).toBe("Answered");
      // What is for a process of the node, or for nobody, is the stack's, whose multicast is not followed.
      expect(ends(bench, solicitation("2001:db8::1", NODES6[0]), UPLINK)).toBe("Undecided MULTICAST");
      expect(ends(bench, solicitation("2001:db8::1", "2001:db8::2"), UPLINK)).toBe("Undecided MULTICAST");
    });
  }

  it("is undecided where nobody knows cilium_host's address, unless an endpoint has the target", () => {
    const bench = twoNodes();
    bench.put("twinplane_nodes", { node: 0 }, { ipv6: field(NODES6[0]), options: 1 });
    expect(ends(bench, solicitation(V6.A, "fd10:1::77"))).toBe("Undecided ROUTER_ADDRESS");
    expect(ends(bench, solicitation(V6.A, V6.B))).toBe("Answered");
  });

  it("needs no source of the pod's own, other messages do: routers and groups are not asked for from fe80::", () => {
    const bench = twoNodes();
    expect(ends(bench, solicitation(FE80, V6.B))).toBe("Answered");
    const message = (type: number): Uint8Array =>
      packet({ from: FE80, to: "ff02::2", protocol: "ICMP", icmp: [type, 0, new Uint8Array(4)] });
    expect(ends(bench, message(133))).toBe("Dropped DROP_INVALID_SIP");
    expect(ends(bench, extended(message(143), 0))).toBe("Dropped DROP_INVALID_SIP");
    // Behind an extension header it is a message like any other.
    expect(ends(bench, extended(solicitation(FE80, V6.B), 60))).toBe("Dropped DROP_INVALID_SIP");
  });
});

describe("a hop limit that runs out", () => {
  for (const version of VERSIONS) {
    it(`is answered from cilium_host's address, to the pod or the network (1.${version})`, () => {
      const bench = twoNodes({ version });
      const local = send(bench, { from: V6.A, to: V6.B, protocol: "TCP", ttl: 1 }, POD_DEVICE);
      expect(ended(local)).toBe("Rejected DROP_TTL_EXCEEDED");
      expect(way(local)[0]).toMatch(new RegExp(`^Out 0/${POD_DEVICE} ${ROUTERS6[0]}:\\d+ -> ${V6.A}`));
      expect([...local.images[0].packet.subarray(40, 42)]).toEqual([3, 0]);
      expect(wrongChecksums(local.images[0].packet)).toBe("");
      expect(ended(send(bench, { from: A, to: B, protocol: "TCP", ttl: 1 }, POD_DEVICE))).toBe("Dropped DROP_TTL_EXCEEDED");
    });
  }

  it("is dropped (142) where the packet has extension headers, and lost where it came through a tunnel", () => {
    const bench = twoNodes({ options: ["TUNNEL_MODE"] });
    expect(ends(bench, extended(packet({ from: V6.A, to: V6.B, protocol: "TCP", ttl: 1 }), 60))).toBe("Dropped DROP_UNKNOWN_L4");
    expect(ended(send(bench, { from: V6.A, to: V6.C, protocol: "TCP", ttl: 1 }, POD_DEVICE))).toBe("Dropped TUNNEL_TXINFO");
  });
});

describe("extension headers", () => {
  for (const version of VERSIONS) {
    it(`are walked up to three; one more, or none at the end, is 156; a fragment header is 157 up to 1.17 (1.${version})`, () => {
      const bench = twoNodes({ version });
      const tcp = packet({ from: V6.A, to: V6.B, protocol: "TCP" });
      const of = (...kinds: number[]): string => ends(bench, extended(tcp, ...kinds));
      expect([of(60), of(60, 43), of(60, 43, 60), of(60, 43, 60, 60)])
        .toEqual(["Delivered", "Delivered", "Delivered", "Dropped DROP_INVALID_EXTHDR"]);
      expect(of(60, 59)).toBe("Dropped DROP_INVALID_EXTHDR");
      expect(of(44)).toBe(version < 18 ? "Dropped DROP_FRAG_NOSUPPORT" : "Delivered");
      // The source is checked before anything is walked.
      expect(ends(bench, extended(packet({ from: V6.B, to: V6.A, protocol: "TCP" }), 60, 59))).toBe("Dropped DROP_INVALID_SIP");
    });
  }

  it("of fragments: the first one's ports serve the later ones, from 1.18; untracked ones are 157", () => {
    const fragment = (offset: number, more: number): Uint8Array => {
      const bytes = extended(packet({ from: V6.A, to: V6.B, protocol: "UDP", payload: new Uint8Array(64) }), 44);
      bytes.set([0, offset | more, 0, 0, 0, 9], 42);
      return bytes;
    };
    for (const version of VERSIONS) {
      const bench = twoNodes({ version });
      const got = [fragment(16, 0), fragment(0, 1), fragment(16, 0)].map((bytes) => ends(bench, bytes));
      expect(got).toEqual(version < 18 ? Array.from({ length: 3 }, () => "Dropped DROP_FRAG_NOSUPPORT")
        : ["Dropped DROP_FRAG_NOT_FOUND", "Delivered", "Delivered"]);
      const untracked = twoNodes({ version, without: ["ENABLE_IPV6_FRAGMENT_TRACKING"] });
      expect(ends(untracked, fragment(0, 1))).toBe("Dropped DROP_FRAG_NOSUPPORT");
    }
  });
});

describe("policy-deny-response=icmp", () => {
  const closed = (version: number, options: ("POLICY_DENY_RESPONSE_ICMP" | "ENABLE_ENDPOINT_ROUTES")[]): Bench => {
    const bench = twoNodes({ version, options });
    for (const identity of [302, 9, 10]) bench.allow(true, identity, 6, 443, { deny: 1, precedence: 0xffffffff, cookie: 4 });
    return bench;
  };

  for (const version of VERSIONS) {
    it(`answers "administratively prohibited" from whom the pod asked, from 1.19 (1.${version})`, () => {
      const bench = closed(version, ["POLICY_DENY_RESPONSE_ICMP"]);
      for (const [from, to, type, code] of [[A, C, 3, 13], [V6.A, V6.C, 1, 1], [A, CLIENT, 3, 13]] as const) {
        const walked = send(bench, { from, to, protocol: "TCP", dport: 443 }, POD_DEVICE);
        if (version < 19) {
          expect([ended(walked), walked.images.length]).toEqual(["Dropped DROP_POLICY_DENY", 0]);
          continue;
        }
        expect([ended(walked), walked.outcome.cookie]).toEqual(["Rejected DROP_POLICY_DENY", 4]);
        const image = walked.images[0];
        const answer = read(image.packet);
        expect([image.device, image.made, answer.from, answer.to]).toEqual([POD_DEVICE, 1, to, from]);
        const at = from === V6.A ? 40 : 20;
        expect([...image.packet.subarray(at, at + 2)]).toEqual([type, code]);
        expect(wrongChecksums(image.packet)).toBe("");
      }
      expect(ended(send(closed(version, []), { from: A, to: C, protocol: "TCP", dport: 443 }, POD_DEVICE)))
        .toBe("Dropped DROP_POLICY_DENY");
    });
  }

  it("does not answer what is denied on its way in, nor what is invalid", () => {
    const bench = twoNodes({ options: ["POLICY_DENY_RESPONSE_ICMP"] });
    bench.allow(false, 300, 6, 443, { deny: 1, precedence: 0xffffffff });
    expect(ended(send(bench, { from: A, to: B, protocol: "TCP", dport: 443 }, POD_DEVICE))).toBe("Dropped DROP_POLICY_DENY");
    expect(ended(send(bench, { from: B, to: A, protocol: "TCP", dport: 443 }, POD_DEVICE))).toBe("Dropped DROP_INVALID_SIP");
  });

  it("is itself judged at the pod's device where endpoints have routes of their own", () => {
    const bench = closed(20, ["POLICY_DENY_RESPONSE_ICMP", "ENABLE_ENDPOINT_ROUTES"]);
    expect(ended(send(bench, { from: A, to: C, protocol: "TCP", dport: 443 }, POD_DEVICE))).toBe("Rejected DROP_POLICY_DENY");
    bench.allow(false, 302, 1, 3 << 8, { deny: 1, precedence: 0xffffffff });
    bench.allow(false, 302, 0, 0, { deny: 1, precedence: 0xffffffff });
    expect(ended(send(bench, { from: A, to: C, protocol: "TCP", dport: 443, sport: 40001 }, POD_DEVICE))).toBe("Dropped DROP_POLICY_DENY");
  });
});
