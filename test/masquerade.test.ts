/**
 * Masquerading by the programs (enable-bpf-masquerade): to which address, and which destinations and senders are exempt,
 * in every version and both families.
 */
import { describe, expect, it } from "vitest";
import { A, A6, CLIENT, CLIENT6, NODE, NODE6, nodeStackBench, type NodeStackBench, OTHER_NODE } from "./node-stack.fixture.js";

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;
const NATIVE = { "enable-ipv6": "true", "ipv4-native-routing-cidr": "10.244.0.0/16", "ipv6-native-routing-cidr": "fd00:10:244::/48" };
const AGENT = { ...NATIVE, "enable-ip-masq-agent": "true" };
const FAR_NODE6 = "fd00:50::12";

const file = (text: string): { objects: string } => ({ objects: `
apiVersion: v1
kind: ConfigMap
metadata: {name: ip-masq-agent, namespace: kube-system}
data:
  config: |
${text.split("\n").map((line) => `    ${line}\n`).join("")}` });

/** The source that a destination sees. */
function source({ send }: NodeStackBench, to: string): string {
  const { images } = send({ from: to.includes(":") ? A6 : A, to, protocol: "TCP", dport: 443 });
  return /^out (.*):\d+ > /.exec(images[0].text)![1];
}

describe.each(VERSIONS)("Cilium %s", (version) => {
  const bench = (config: Readonly<Record<string, string>>, more = {}): NodeStackBench =>
    nodeStackBench(`cilium@${version}`, config, {}, more);

  it("masquerades what leaves the native routing CIDRs, in both families", () => {
    const plain = bench(NATIVE);
    expect([CLIENT, CLIENT6, "10.244.9.9", "fd00:10:244:9::9", OTHER_NODE, FAR_NODE6].map((to) => source(plain, to)))
      .toEqual([NODE, NODE6, A, A6, A, A6]);
  });

  it("remote nodes, where enable-remote-node-masquerade is known", () => {
    const nodes = bench({ ...NATIVE, "enable-remote-node-masquerade": "true" });
    const known = Number(version.slice(2)) >= 19;
    expect([source(nodes, OTHER_NODE), source(nodes, FAR_NODE6)]).toEqual(known ? [NODE, NODE6] : [A, A6]);
  });

  it("each family only where it is said", () => {
    expect(source(bench({ ...NATIVE, "enable-ipv4-masquerade": "false" }), CLIENT)).toBe(A);
    expect(source(bench({ ...NATIVE, "enable-ipv6-masquerade": "false" }), CLIENT6)).toBe(A6);
  });

  it("ip-masq-agent without a file keeps the reserved ranges and link-local", () => {
    const agent = bench(AGENT);
    expect(["10.9.9.9", "172.16.9.9", CLIENT, "169.254.1.1", "8.8.8.8", CLIENT6].map((to) => source(agent, to)))
      .toEqual([A, A, A, A, NODE, NODE6]);
  });

  it("ip-masq-agent with a file keeps what it lists, host bits cleared", () => {
    const agent = bench(AGENT, file('nonMasqueradeCIDRs: [8.8.4.4/16, "2001:db8::1/32"]\nMASQLINKLOCAL: true'));
    expect(["8.8.8.8", "10.9.9.9", "169.254.1.1", CLIENT6, "2001:db9::1"].map((to) => source(agent, to)))
      .toEqual([A, NODE, NODE, A6, NODE6]);
  });

  it("a file without ranges keeps link-local only, an empty one is none", () => {
    const none = bench(AGENT, file("{}"));
    expect(["10.9.9.9", "169.254.1.1"].map((to) => source(none, to))).toEqual([NODE, A]);
    const empty = bench(AGENT, { objects: "\napiVersion: v1\nkind: ConfigMap\n"
      + 'metadata: {name: ip-masq-agent, namespace: kube-system}\ndata: {config: ""}\n' });
    expect(source(empty, "10.9.9.9")).toBe(A);
  });

  it("a file that the agent cannot read exempts nothing, and is said", () => {
    const broken = bench(AGENT, file("nonMasqueradeCIDRs:\n- 10.0.0.0"));
    expect(source(broken, "10.9.9.9")).toBe(NODE);
    expect(broken.plane.problems.map(({ what, where }) => `${where?.line ?? 0} ${what}`).join("\n"))
      .toMatch(/^\d\d+ ip-masq-agent: found "10\.0\.0\.0", expected a CIDR/m);
  });

  it("without enable-ip-masq-agent the file means nothing", () => {
    expect(source(bench(NATIVE, file("nonMasqueradeCIDRs: [8.0.0.0/8]")), "8.8.8.8")).toBe(NODE);
  });
});

describe("the address", () => {
  it("is that of the device which the option names", () => {
    const plain = nodeStackBench("cilium@1.20", NATIVE);
    const [uplink] = plain.plane.image.hosts.devices.filter(({ node, device }) => node === 0 && device.kind === "uplink");
    expect(source(plain, CLIENT)).toBe(uplink.device.addresses.find(({ address }) => address.family === 4)!.address.text);
    const named = plain.plane.image.hosts.devices.find(({ node, device }) => node === 0 && device.kind === "loopback")!;
    expect(source(nodeStackBench("cilium@1.20", { ...NATIVE, "derive-masquerade-ip-addr-from-device": named.device.name }), CLIENT))
      .toBe(named.device.addresses.find(({ address }) => address.family === 4)!.address.text);
  });
});
