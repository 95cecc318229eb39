/**
 * Direct server return in IP headers of its own, from the client over two nodes to the pod and back. What the programs do is
 * recorded in test/vectors; here is what becomes of their packets: the kernel's outer header, and who takes it off.
 */
import { describe, expect, it } from "vitest";
import { runCli } from "../../test/cli.js";
import { type PacketInput, packet, SYN } from "../../test/packets.js";
import { CLIENT, CLIENT6, hex, plane, type Sent, SERVICE, SERVICE6 } from "./dsr.fixture.js";

const IPIP = { "bpf-lb-mode": "dsr", "bpf-lb-dsr-dispatch": "ipip" };
const REQUEST: PacketInput = { from: CLIENT, to: SERVICE, protocol: "TCP", sport: 40000, dport: 80, flags: SYN };
const REQUEST6: PacketInput = { ...REQUEST, from: CLIENT6, to: SERVICE6 };

/** The packet between the nodes. */
function outer({ images }: Sent): Uint8Array {
  return images.find((image) => image[image[0] >> 4 === 6 ? 6 : 9] === (image[0] >> 4 === 6 ? 41 : 4))!;
}

/** A frame of another balancing node that the one under test never saw. */
function arrival(input: PacketInput, to: string, change: (outer: Uint8Array) => void = () => undefined): Uint8Array {
  const inner = packet(input);
  const bytes = packet({ from: "192.168.50.11", to, protocol: "UDP", noChecksum: true, payload: new Uint8Array(inner.length - 8) });
  bytes.set(inner, 20);
  bytes[9] = 4;
  change(bytes);
  bytes.fill(0, 10, 12);
  const view = new DataView(bytes.buffer);
  let sum = 0;
  for (let at = 0; at < (bytes[0] & 15) * 4; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes;
}

describe.each(["1.19", "1.20"])("direct server return in IP headers, %s", (version) => {
  it.each([["native", {}], ["legacy host routing", { "enable-host-legacy-routing": "true" }]] as const)(
    "puts the client's packet into one from node to backend (%s)", (_, mode) => {
      const { send, made } = plane(version, { ...IPIP, ...mode });
      expect(made.problems.map(({ what }) => what).join()).not.toContain("dsr");
      const sent = send(REQUEST);
      const bytes = outer(sent);
      // 20 bytes of header, "don't fragment" off, TTL 64; identification is the kernel's own.
      expect([hex(bytes, 0, 10), hex(bytes, 12, 20)]).toEqual(["4500003c000000004004", "c0a8320b" + "0af40209"]);
      expect(hex(bytes, 20, 60)).toBe(Buffer.from(packet(REQUEST)).toString("hex"));
      const six = outer(send(REQUEST6));
      expect([hex(six, 0, 8), hex(six, 8, 40)]).toEqual(["60000000003c2940",
        "fd000050000000000000000000000011" + "fd000010000200000000000000000009"]);
      expect(hex(six, 40, 100)).toBe(Buffer.from(packet(REQUEST6)).toString("hex"));
    });

  it("comes to the pod from 1.20 on, at the service's port, and its reply goes straight to the client", () => {
    const { send } = plane(version, IPIP);
    for (const [request, reply, service] of [
      [REQUEST, { from: "10.244.2.9", to: CLIENT }, SERVICE], [REQUEST6, { from: "fd00:10:2::9", to: CLIENT6 }, SERVICE6],
    ] as const) {
      const sent = send(request);
      if (version === "1.19") {
        expect([sent.end, sent.reason]).toEqual(["Dropped", "CT_UNKNOWN_L4_PROTOCOL"]);
        continue;
      }
      const v6 = request === REQUEST6;
      expect([sent.end, hex(sent.images.at(-1)!, v6 ? 40 : 20, v6 ? 44 : 24)]).toEqual(["Delivered", "9c40" + "0050"]);
      const pod = hex(packet({ ...reply, protocol: "TCP" }), v6 ? 8 : 12, v6 ? 24 : 16);
      expect(hex(sent.images.at(-1)!, v6 ? 24 : 16, v6 ? 40 : 20)).toBe(pod);
      const back = send({ ...reply, protocol: "TCP", sport: 80, dport: 40000, flags: 18 });
      expect([back.end, hex(back.images.at(-1)!, v6 ? 8 : 12, v6 ? 24 : 16), hex(back.images.at(-1)!, v6 ? 40 : 20, v6 ? 44 : 24)])
        .toEqual(["Left", hex(packet({ from: service, to: request.from, protocol: "TCP" }), v6 ? 8 : 12, v6 ? 24 : 16), "0050" + "9c40"]);
    }
  });

  it("leaves a local backend's request as it is up to 1.19", () => {
    const { send } = plane(version, IPIP);
    const sent = send(REQUEST, { at: "node-2" });
    const last = sent.images.at(-1)!;
    if (version === "1.19") expect([sent.end, hex(last, 16, 20), hex(last, 22, 24)]).toEqual(["Left", "c6336401", "0050"]);
    else expect([sent.end, hex(last, 16, 20), hex(last, 22, 24)]).toEqual(["Delivered", "0af40209", "1f90"]);
  });

  it("is for TCP alone in hybrid mode", () => {
    const { send } = plane(version, { ...IPIP, "bpf-lb-mode": "hybrid" });
    expect(outer(send(REQUEST))).toBeDefined();
    const udp = send({ ...REQUEST, protocol: "UDP", dport: 53 });
    expect([udp.end, hex(udp.images.at(-1)!, 12, 16)]).toEqual(["Delivered", "c0a8320b"]);
  });

  it("leaves undecided what does not fit behind the outer header", () => {
    const { send } = plane(version, IPIP);
    const sized = (size: number): Sent => send({ ...REQUEST, protocol: "UDP", dport: 53, payload: new Uint8Array(size) });
    expect(outer(sized(1500 - 20 - 28))).toHaveLength(1500);
    expect(sized(1500 - 20 - 28 + 1).reason).toContain("MTU");
  });

  it("leaves undecided what the kernel may take off: for the node itself, in fragments, behind options", () => {
    const { sendBytes } = plane(version, IPIP);
    const received = (to: string, change?: (bytes: Uint8Array) => void): Sent =>
      sendBytes(arrival(REQUEST, to, change), "192.168.50.11", 1, "node-2");
    expect(received("10.244.2.9").end).toBe(version === "1.19" ? "Dropped" : "Delivered");
    if (version === "1.19") expect(received("192.168.50.12").reason).toContain("DSR");
    expect(received("10.244.2.9", (bytes) => { bytes[6] = 0x20; }).reason).toContain("DSR");
    expect(received("198.18.0.7").reason).toContain("DSR");
    const extended = plane(version, { ...IPIP, "enable-extended-ip-protocols": "true" });
    const sent = extended.sendBytes(arrival(REQUEST, "10.244.2.9"), "192.168.50.11", 1, "node-2");
    expect(version === "1.19" ? sent.reason : sent.end).toContain(version === "1.19" ? "DSR" : "Delivered");
  });

  it("sends a node's own address back and forth, which the backend's node does not know as a service's", () => {
    const { send } = plane(version, IPIP);
    const sent = send({ ...REQUEST, to: "192.168.50.11", dport: 30080 });
    if (version === "1.20") expect([sent.end, sent.reason]).toEqual(["Undecided", expect.stringContaining("round too often")]);
    else expect(sent.end).toBe("Dropped");
  });
});

it.each(["1.16", "1.17", "1.18"])("is undecided with %s, where it is XDP's", (version) => {
  const refused = plane(version, IPIP);
  for (const at of ["node-1", "node-2"]) expect(refused.send(REQUEST, { at }).reason).toContain("undecided");
  expect(refused.made.problems.map(({ what }) => what).join()).toContain("bpf-lb-dsr-dispatch=ipip: the agent does not start");
  const mode: Record<string, string> = version < "1.18" ? { "datapath-mode": "lb-only" } : {};
  const accelerated = plane(version, { ...IPIP, ...mode, "bpf-lb-acceleration": "native" });
  for (const at of ["node-1", "node-2"]) expect(accelerated.send(REQUEST, { at }).reason).toContain("undecided");
  expect(accelerated.made.problems.map(({ what }) => what).join()).not.toContain("does not start");
});

it("has a story", async () => {
  const { exitCode, stdout } = await runCli(["test", "traces/dsr/ipip/scenario.yaml"]);
  expect(exitCode, stdout).toBe(0);
});
