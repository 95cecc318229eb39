/**
 * Direct server return through Geneve tunnels, from the client to the pod and back over two nodes: the option of RFC 8926 that
 * carries the service's address is read here byte by byte.
 */
import { describe, expect, it } from "vitest";
import { ACK, type PacketInput, SYN } from "../../test/packets.js";
import { CLIENT, CLIENT6, hex, plane, type Sent, SERVICE, SERVICE6 } from "./dsr.fixture.js";

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;
const GENEVE = { "bpf-lb-mode": "dsr", "bpf-lb-dsr-dispatch": "geneve", "tunnel-protocol": "geneve" };

/** Of the tunnel's packet between the nodes: outer addresses, port, Geneve header with options, and what is inside. */
function tunnelled({ images }: Sent) {
  const outer = images.find((image) => image[9] === 17 && hex(image, 22, 24) === "17c1")!;
  const at = 28 + 8 + (outer[28] & 63) * 4;
  return { from: [...outer.subarray(12, 16)].join("."), to: [...outer.subarray(16, 20)].join("."), header: hex(outer, 28, 36),
    option: hex(outer, 36, at), inner: outer.subarray(at + 14) };
}

describe.each(VERSIONS)("direct server return through Geneve, %s", (version) => {
  it.each([
    ["native", {}], ["tunnel", { "routing-mode": "tunnel" }], ["native, legacy host routing", { "enable-host-legacy-routing": "true" }],
  ] as const)("takes the client's address to the backend and the service's to the client (%s)", (_, mode) => {
    const { send, made } = plane(version, { ...GENEVE, ...mode });
    expect(made.problems.map(({ what }) => what).join()).not.toContain("dsr");
    const syn = send({ from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: SYN });
    expect([syn.end, syn.reason]).toEqual(["Delivered", ""]);
    expect(tunnelled(syn)).toMatchObject({ from: "192.168.50.11", to: "192.168.50.12",
      // Three words, critical; world's VNI.
      header: "0340655800000200", option: "014b8102c63364010050" + "0000" });
    // No hop is counted before the pod's node.
    expect([tunnelled(syn).inner[8], hex(tunnelled(syn).inner, 12, 20)]).toEqual([64, "cb0071090af40209"]);
    const pod = syn.images.at(-1)!;
    expect([hex(pod, 12, 20), hex(pod, 20, 24)]).toEqual(["cb0071090af40209", "9c401f90"]);
    const ack = send({ from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: ACK });
    expect([ack.end, tunnelled(ack).header, tunnelled(ack).option]).toEqual(["Delivered", "0000655800000200", ""]);
    const back = send({ from: "10.244.2.9", to: CLIENT, protocol: "TCP", sport: 8080, dport: 40000, flags: SYN | ACK });
    expect([back.end, hex(back.images.at(-1)!, 12, 24)]).toEqual(["Left", "c6336401cb007109" + "00509c40"]);
  });

  it("carries the option on every datagram, and IPv6 addresses in one of six words", () => {
    const { send } = plane(version, GENEVE);
    for (let count = 0; count < 2; count++) {
      const sent = send({ from: CLIENT6, to: SERVICE6, protocol: "UDP", sport: 40000, dport: 53 });
      expect([sent.end, tunnelled(sent).header.slice(0, 4), tunnelled(sent).option])
        .toEqual(["Delivered", "0640", "014b8105" + "20010db8000100000000000000000001" + "0035" + "0000"]);
    }
    const back = send({ from: "fd00:10:2::9", to: CLIENT6, protocol: "UDP", sport: 5353, dport: 40000 });
    expect([back.end, hex(back.images.at(-1)!, 8, 24), hex(back.images.at(-1)!, 40, 42)])
      .toEqual(["Left", "20010db8000100000000000000000001", "0035"]);
  });

  it("drops requests to a backend that is behind no tunnel", () => {
    const { send } = plane(version, GENEVE, ["198.18.0.7", "2001:db8:7::7"]);
    const sent = send({ from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: SYN });
    expect([sent.end, sent.reason]).toEqual(["Dropped", "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT"]);
  });

  it("is for TCP alone in hybrid mode", () => {
    const { send } = plane(version, { ...GENEVE, "bpf-lb-mode": "hybrid" });
    const tcp = send({ from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: SYN });
    expect(hex(tcp.images.at(-1)!, 12, 16)).toBe("cb007109");
    const udp = send({ from: CLIENT, to: SERVICE, protocol: "UDP", sport: 40000, dport: 53 });
    expect([udp.end, hex(udp.images.at(-1)!, 12, 16)]).toEqual(["Delivered", "c0a8320b"]);
  });

  it("leaves a segment undecided whose connection's entry may be collected", () => {
    const { send } = plane(version, GENEVE);
    const segment: PacketInput = { from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80 };
    send({ ...segment, flags: SYN });
    expect(send({ ...segment, flags: ACK }, { seconds: 61 }).end).toBe("Delivered");
    expect(send({ ...segment, flags: ACK }, { seconds: 61 + 8001 }).reason).toContain("conntrack-gc");
  });

  it("answers what the tunnel makes too large, with enable-pmtu-discovery", () => {
    const { send } = plane(version, { ...GENEVE, "enable-pmtu-discovery": "true" });
    const of = (size: number): Sent => send({ from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: SYN,
      payload: new Uint8Array(size) });
    // 1500 bytes without 20 + 8 + 8 + 14 of headers and 12 of the option, and without 40 of the packet's own.
    expect(of(1398).end).toBe("Delivered");
    const large = of(1399);
    expect([large.end, hex(large.images.at(-1)!, 20, 22), Number.parseInt(hex(large.images.at(-1)!, 26, 28), 16)])
      .toEqual(["Rejected", "0304", 1500 - 62]);
  });
});
