/** `twinplane anonymise`: the same comparison of its output, the mapping's properties, and nothing of the original in any byte. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { CaptureAnonymiser } from "../src/anonymise/capture.js";
import { Mapping } from "../src/anonymise/mapping.js";
import { anonymiseFrame } from "../src/anonymise/packet.js";
import { LinkType } from "../src/capture/linktype.js";
import { PcapngWriter } from "../src/capture/pcapng-writer.js";
import { CaptureReader } from "../src/capture/reader.js";
import { SeenDirection } from "../src/capture/record.js";
import { parseAddress, parsePrefix, prefixContains } from "../src/cluster/address.js";
import type { Report } from "../src/report/report.js";
import { checksumState, Csum, Decoded, decode, ipv4ChecksumRight } from "../src/wire/index.js";
import { runCli } from "./cli.js";
import { testSeed } from "./seed.js";

const seed = testSeed("anonymise");
const LAB = join(import.meta.dirname, "..", "traces", "lab");
const FACTS = ["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].map((name) => join(LAB, name));
const RANGES = ["10.244.0.0/16", "fd00:10:244::/48", "192.168.50.0/24", "fd00:50::/64"];
const KEYS = ["5d", "a1"].map((byte) => byte.repeat(32));
const SPECIAL = ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8"].map((text) => parsePrefix(text)!);

const folder = mkdtempSync(join(tmpdir(), "twinplane-anonymise-"));
afterAll(() => rmSync(folder, { recursive: true }));
const keyFile = (at: number): string => {
  const file = join(folder, `key${at}`);
  writeFileSync(file, KEYS[at]);
  return file;
};

const PLANTED = `
apiVersion: v1
kind: Pod
metadata:
  name: pod-planted
  namespace: ns-planted
  labels: { team: label-planted, planted.example/key: v }
  annotations: { note: annotation-planted }
  managedFields: [{ manager: manager-planted }]
spec:
  nodeName: node1
  containers: [{ name: c-planted, image: image-planted, args: [arg-planted], env: [{ name: A, value: env-planted }] }]
---
{ apiVersion: v1, kind: Secret, metadata: { name: secret-planted }, data: { a: data-planted } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: cilium-config, namespace: kube-system }, data: { cluster-name: cluster-planted,
    enable-ipv6: "true", ipv4-native-routing-cidr: 10.244.0.0/16, hubble-export-file: path-planted } }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: policy-planted, namespace: ns-planted }
spec:
  podSelector: { matchLabels: { team: label-planted } }
  ingress: [{ from: [{ ipBlock: { cidr: 203.0.113.0/24, except: [203.0.113.128/25] } }], ports: [{ port: port-planted }] }]
`;

/** One run on a story, with what was printed. */
async function anonymise(story: string, out: string, key: number): Promise<{ out: string; ranges: string[] }> {
  const planted = join(folder, "planted.yaml");
  writeFileSync(planted, PLANTED);
  const ran = await runCli(["anonymise", "-f", ...FACTS, join(LAB, story), planted, "-r", join(LAB, story), "--cidr", ...RANGES,
    "--out", join(folder, out), "--key", keyFile(key)]);
  expect(ran.stderr).toContain("left out: 1 × Secret");
  expect(ran.exitCode).toBe(0);
  return { out: join(folder, out), ranges: [...ran.stdout.matchAll(/ is (\S+)/g)].map((match) => match[1]) };
}

async function compare(files: readonly string[], captures: string, [four, six, nets, sixes]: readonly string[]): Promise<Report> {
  const { stdout } = await runCli(["compare", "-f", ...files, "-r", captures, "--cluster-cidr", four, six, "--non-masquerade-cidr", nets,
    sixes, "--follow-capture", "-o", "json"]);
  return JSON.parse(stdout) as Report;
}

const contents = (path: string): [string, Buffer][] => readdirSync(path).sort().map((name) => [name, readFileSync(join(path, name))]);

describe.each(["nodeport-cluster", "ipv6", "icmp-errors"])("%s", (story) => {
  it("is compared alike, and holds nothing of the original", async () => {
    const { out, ranges } = await anonymise(story, `${story}-a`, 0);
    const planted = join(folder, "planted.yaml");
    const before = await compare([...FACTS, join(LAB, story), planted], join(LAB, story), RANGES);
    const after = await compare([out], out, ranges);
    expect(before.packets.replayed).toBeGreaterThan(0);
    expect(after.packets).toEqual(before.packets);
    expect(after.flows).toEqual(before.flows);
    expect(after.findings.map(({ id, packets, flows }) => [id, packets, flows]))
      .toEqual(before.findings.map(({ id, packets, flows }) => [id, packets, flows]));
    expect(after.truth).toEqual(before.truth);
    expect(after.truth?.disagreed).toBe(0);

    const source = FACTS.slice(0, 3).map((file) => readFileSync(file, "utf8")).join("\n");
    const addresses = [...new Set(source.match(/[0-9a-f]*[.:][0-9a-f.:]+/g))].map(parseAddress)
      .filter((one) => one?.bytes.some((byte) => byte !== 0 && byte !== 255)
        && !SPECIAL.some((range) => prefixContains(range, one))).map((one) => one!);
    expect(addresses.length).toBeGreaterThan(40);
    const names = [...source.matchAll(/^ {2}name: (.+)$/gm)].map((match) => match[1])
      .filter((name) => name.includes("-") && !name.startsWith("kube-"));
    expect(names.length).toBeGreaterThan(10);
    for (const [file, bytes] of contents(out)) {
      const all = `${file}\n${bytes.toString("latin1")}`;
      for (const text of [...names, "planted"]) expect(all.includes(text), `${text} in ${file}`).toBe(false);
      for (const { bytes: address, text } of addresses) {
        expect(bytes.includes(Buffer.from(address)), `${text} in ${file}`).toBe(false);
        const words = new Set(file.endsWith(".pcap") ? [] : bytes.toString().split(/[^0-9a-f.:]+/));
        expect(words.has(text), `${text} in ${file}`).toBe(false);
      }
    }
  });
});

it("the same key gives the same bytes, another one others; a key is made once, for its owner", async () => {
  const [first, again, other] = [await anonymise("icmp-errors", "one", 0), await anonymise("icmp-errors", "two", 0),
    await anonymise("icmp-errors", "three", 1)];
  expect(contents(again.out)).toEqual(contents(first.out));
  expect(contents(other.out).map(([name]) => name)).not.toEqual(contents(first.out).map(([name]) => name));
  const made = join(folder, "made");
  const { stderr } = await runCli(["anonymise", "-f", FACTS[0], "--out", join(folder, "four"), "--key", made]);
  expect(stderr).toContain("a new key was written");
  expect(statSync(made).mode & 0o777).toBe(0o600);
});

describe("programs on nodes", () => {
  const program = (name: string, container: unknown): string => `${JSON.stringify({ apiVersion: "apps/v1", kind: "DaemonSet",
    metadata: { name, namespace: "kube-system" }, spec: { template: { spec: { containers: [container] } } } })}\n`;

  it.each<[string, string, RegExp]>([
    ["Azure NPM", program("azure-npm", { image: "planted/azure-npm:v1", env: [{ name: "A", value: "planted" }] }),
      /^kube-proxy\+npm {2}-> .*DaemonSet azure-npm/],
    ["Calico", program("calico-node", { image: "planted/node:v3" }), /^kube-proxy\+calico {2}-> .*DaemonSet calico-node/],
    ["Cilium of a version", program("cilium", { image: "planted/cilium:v1.18.6@sha256:planted" }), /^cilium@1\.18 {2}-> .*DaemonSet cilium/],
    ["kube-proxy's ranges", program("kube-proxy", { command: ["kube-proxy", "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48",
      "--detect-local-mode=ClusterCIDR", "--kubeconfig=/planted"] }), /^kube-proxy {2}-> /],
  ])("%s are found in what is written too, and nothing else of them", async (name, text, said) => {
    const source = join(folder, `${name}.yaml`);
    writeFileSync(source, `${text}${program("planted", { args: ["--planted"] })}`);
    const out = join(folder, `programs ${name}`);
    const ran = await runCli(["anonymise", "-f", join(LAB, "cluster.yaml"), source, "--out", out, "--key", keyFile(0)]);
    expect([ran.exitCode, ran.stderr]).toEqual([0, expect.stringContaining("left out: 1 × DaemonSet")]);
    for (const file of readdirSync(out)) expect(readFileSync(join(out, file), "utf8")).not.toContain("planted");
    const check = async (...files: string[]) => (await runCli(["check", "-f", ...files, "--max-probes", "0"]));
    const [before, after] = [await check(join(LAB, "cluster.yaml"), source), await check(out)];
    expect(before.stdout).toMatch(said);
    expect(after.stdout.split("\n")[0]).toBe(before.stdout.split("\n")[0]);
    expect(/clusterCIDR|cluster-cidr|guess/.test(after.stderr)).toBe(/clusterCIDR|cluster-cidr|guess/.test(before.stderr));
  });
});

describe("what cannot be mapped", () => {
  it.each([
    ["apiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: { name: a }", "would change verdicts"],
    ["apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: a }\nspec: { podSelector: {}, secretField: x }", "spec"],
    ["apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nstatus: { podIP: not-an-address }", "podIP"],
  ])("%s", async (text, said) => {
    const file = join(folder, "refused.yaml");
    writeFileSync(file, text);
    const out = join(folder, "refused");
    mkdirSync(out, { recursive: true });
    const ran = await runCli(["anonymise", "-f", FACTS[0], file, "--out", out, "--key", keyFile(0)]);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(said);
    expect(ran.stderr).not.toContain("not-an-address");
    expect(readdirSync(out)).toEqual([]);
  });
});

describe("addresses", () => {
  const mapping = new Mapping(Buffer.from(KEYS[0], "hex"));
  const common = (a: Uint8Array, b: Uint8Array): number => {
    for (let bit = 0; bit < a.length * 8; bit++) if (((a[bit >> 3] ^ b[bit >> 3]) & (0x80 >> (bit & 7))) !== 0) return bit;
    return a.length * 8;
  };
  it.each([4, 16])("%s bytes: as long a common prefix as before; special ranges stay and nothing enters", (length) => {
    const any = fc.uint8Array({ minLength: length, maxLength: length });
    const near = fc.tuple(any, any, fc.integer({ min: 0, max: length * 8 - 1 })).map(([a, b, bits]) => [a,
      a.map((byte, at) => (at < bits >> 3 ? byte : at > bits >> 3 ? b[at] : byte ^ (0x80 >> (bits & 7))))] as const);
    fc.assert(fc.property(near, ([a, b]) => {
      const [x, y] = [mapping.bytes(a), mapping.bytes(b)];
      expect(common(x, y)).toBe(common(a, b));
      for (const { address: { bytes }, length: bits } of SPECIAL.filter((one) => one.address.bytes.length === length)) {
        expect(common(x, bytes) >= bits).toBe(common(a, bytes) >= bits);
        if (common(a, bytes) >= bits) expect(x).toEqual(a);
      }
    }), { seed, numRuns: 300 });
  });

  it("well-known ones stay, and ranges keep their lengths", () => {
    for (const text of ["0.0.0.0", "255.255.255.255", "169.254.169.254", "127.0.0.1", "224.0.0.251", "::", "::1", "ff02::1", "0.0.0.0/0",
      "::/0"]) {
      expect(mapping.addressText(text)).toBe(text);
    }
    expect(mapping.addressText("10.244.0.0/16")).toMatch(/^\d+\.\d+\.0\.0\/16$/);
    expect(mapping.addressText("10.244.3.255")).toMatch(/\.255$/);
    expect(mapping.addressText("nothing")).toBeNull();
  });
});

describe("frames", () => {
  const mapping = new Mapping(Buffer.from(KEYS[0], "hex"));
  const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
  const MACS = "0a0000000001 0a0000000002";
  const SECRET = Buffer.from("planted").toString("hex");
  const UDP = `4500 0023 0001 0000 4011 0000 0a010203 0a010204 1000 0035 000f 0000 ${SECRET}`;
  /** Addresses and payload of UDP above. */
  const ORIGINAL = ["0a010203", "0a010204", SECRET, "0a0000000001", "0a0000000002"].map((text) => Buffer.from(text, "hex"));
  const cases: readonly [string, string][] = [
    ["UDP", `${MACS} 0800 ${UDP}`],
    ["VLAN", `${MACS} 8100 0005 0800 ${UDP}`],
    ["ARP", `${MACS} 0806 0001 0800 0604 0001 0a0000000001 0a010203 0a0000000002 0a010204 ${SECRET}`],
    ["VXLAN", `${MACS} 0800 4500 0055 0001 0000 4011 0000 0a010203 0a010204 1000 12b5 0041 0000 0800000000000100 ${MACS} 0800 ${UDP}`],
    ["Geneve with Cilium's option", `${MACS} 0800 4500 0061 0001 0000 4011 0000 0a010203 0a010204 1000 17c1 004d 0000 0300655800000100`
      + ` 014b 0102 0a010203 00500000 ${MACS} 0800 ${UDP}`],
    ["an error's quote", `${MACS} 0800 4500 003f 0001 0000 4001 0000 0a010203 0a010204 0301 0000 00000000 ${UDP}`],
    ["IPIP", `${MACS} 0800 4500 0037 0001 0000 4004 0000 0a010203 0a010204 ${UDP}`],
    ["record route", `${MACS} 0800 4700 002b 0001 0000 4011 0000 0a010203 0a010204 0707040a01020300 1000 0035 000f 0000 ${SECRET}`],
    ["another EtherType", `${MACS} 88cc 0a010203 ${SECRET}`],
    ["a total length past the end", `${MACS} 0800 4500 0099 0001 0000 4011 0000 0a010203 0a010204 1000 0035 000f 0000 ${SECRET}`],
    ["a later fragment", `${MACS} 0800 4500 001b 0001 0001 4011 0000 0a010203 0a010204 ${SECRET}`],
    ["padding", `${MACS} 0800 4500 001c 0001 0000 4011 0000 0a010203 0a010204 1000 0035 0008 0000 ${SECRET}`],
  ];
  it.each(cases)("%s: nothing of the original, the length as before", (_, text) => {
    const bytes = hex(text);
    const { length } = bytes;
    expect(ORIGINAL.some((one) => Buffer.from(bytes).includes(one))).toBe(true);
    anonymiseFrame(bytes, length, LinkType.Ethernet, mapping);
    expect(bytes.length).toBe(length);
    for (const one of ORIGINAL) expect(Buffer.from(bytes).includes(one), one.toString("hex")).toBe(false);
  });

  it("neighbour discovery: target and link address", () => {
    const address = "fd000010024400010000000000000020";
    const bytes = hex(`${MACS} 86dd 60000000 0020 3aff ${address} ${address} 8700 0000 00000000 ${address} 0101 0a0000000001`);
    anonymiseFrame(bytes, bytes.length, LinkType.Ethernet, mapping);
    for (const one of [address, "0a0000000001"]) expect(Buffer.from(bytes).includes(Buffer.from(one, "hex"))).toBe(false);
    expect(bytes.subarray(62, 78)).toEqual(bytes.subarray(22, 38));
    expect(bytes.subarray(80, 86)).toEqual(bytes.subarray(0, 6));
  });

  it("checksums: right stays right, wrong wrong, none none", () => {
    const state = (bytes: Uint8Array): [Csum, boolean] => {
      const packet = new Decoded();
      decode(bytes, 0, bytes.length, bytes.length, 0, packet);
      return [checksumState(bytes, packet), ipv4ChecksumRight(bytes, packet)];
    };
    const right = hex("4500 0028 0001 0000 4006 0000 0a010203 0a010204 1000 0035 00000001 00000000 5002 0100 0000 0000");
    const sum = (from: number, to: number, start: number): number => {
      let total = start;
      for (let at = from; at < to; at += 2) total += (right[at] << 8) | right[at + 1];
      return ~((total & 0xffff) + (total >>> 16)) & 0xffff;
    };
    const [header, tcp] = [sum(0, 20, 0), sum(12, 40, 6 + 20)];
    right.set([header >>> 8, header & 255], 10);
    right.set([tcp >>> 8, tcp & 255], 36);
    const wrong = Uint8Array.from(right);
    wrong[37] ^= 0x10;
    wrong[11] ^= 0x10;
    const none = hex(UDP);
    expect([right, wrong, none].map(state)).toEqual([[Csum.Right, true], [Csum.Wrong, false], [Csum.None, false]]);
    for (const bytes of [right, wrong, none]) anonymiseFrame(bytes, bytes.length, LinkType.Raw, mapping);
    expect([right, wrong, none].map(state)).toEqual([[Csum.Right, true], [Csum.Wrong, false], [Csum.None, false]]);
  });

  it("no bytes make it fail", () => {
    const links = fc.constantFrom(0, 1, 101, 113, 228, 229, 276);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 160 }), links, fc.nat(2000), (bytes, link, more) => {
      anonymiseFrame(bytes, bytes.length + more, link, mapping);
    }), { seed, numRuns: 2000 });
  });

  it("pcapng keeps times, lengths and directions, and no comment or name", () => {
    const bytes = hex(`${MACS} 0800 ${UDP}`);
    const writer = new PcapngWriter("planted");
    const interfaceId = writer.addInterface({ linkType: LinkType.Ethernet, name: "veth-planted" });
    writer.write({ interfaceId, timeSec: 1700000000, timeFracNs: 123456789, bytes, offset: 0, capturedLength: 40, wireLength: bytes.length,
      direction: SeenDirection.Out, comments: ["planted"] });
    const anonymiser = new CaptureAnonymiser(mapping);
    const out = Buffer.concat([anonymiser.push(writer.take()), anonymiser.finish().bytes]);
    expect(out.includes("planted")).toBe(false);
    const reader = new CaptureReader();
    reader.push(out);
    expect(reader.next()).toBe(true);
    expect(reader.record).toMatchObject({ timeSec: 1700000000, timeFracNs: 123456789, capturedLength: 40, wireLength: bytes.length,
      direction: SeenDirection.Out, linkType: LinkType.Ethernet });
    expect(reader.record.interfaceName).toMatch(/^veth.{11}$/);
    expect(reader.next()).toBe(false);
  });
});
