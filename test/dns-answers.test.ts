/**
 * DNS answers in captures and toFQDNs: an answer that went through the DNS proxy opens its addresses to the node's pods, from
 * then on and for its time to live; no other answer does.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { PcapWriter } from "../src/capture/index.js";
import { root, runCli } from "./cli.js";
import { packet, read } from "./packets.js";

const LAB = join(root, "traces/lab");
const CLUSTER = ["cluster.yaml", "node1.net.json", "node2.net.json"].flatMap((name) => ["-f", join(LAB, name)]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const [CLI_A, WEB_A, CLI_B, DNS, OUTSIDE] = ["10.244.1.20", "10.244.1.10", "10.244.2.20", "10.96.0.53", "203.0.113.80"];
const START = 1_800_000_000;
const LINKTYPE_LINUX_SLL2 = 276;
/** By pod: ifindex of its device on its node. */
const DEVICES: Readonly<Record<string, number>> = { [CLI_A]: 3, [WEB_A]: 4, [CLI_B]: 3 };
const folder = mkdtempSync(join(tmpdir(), "twinplane-dns-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The rules of every client, in Cilium's words. */
function policy(asks: string, to: string): string {
  const path = join(folder, "policy.yaml");
  writeFileSync(path, `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, namespace: default}
spec:
  endpointSelector: {}
  ingress: [{fromEntities: [all]}]
  egress:
  - toEndpoints: [{matchLabels: {app: dns}}]
    toPorts: [{ports: [{port: "53", protocol: ANY}]${asks === "" ? "" : `, rules: {dns: [${asks}]}`}}]
  - toFQDNs: [${to}]
    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
`);
  return path;
}

const labels = (text: string): number[] =>
  [...text.split(".").flatMap((label) => [label.length, ...[...label].map((one) => one.charCodeAt(0))]), 0];

/** What a resolver says of the name: one address. */
function answer(name: string, address: string, ttlSec = 300): Uint8Array {
  return Uint8Array.from([0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...labels(name), 0, 1, 0, 1,
    0xc0, 12, 0, 1, 0, 1, ttlSec >> 24, ttlSec >> 16, ttlSec >> 8, ttlSec, 0, 4, ...address.split(".").map(Number)].map((one) => one & 255));
}

function question(name: string): Uint8Array {
  return Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels(name), 0, 1, 0, 1]);
}

interface Sent {
  readonly atSec: number;
  readonly bytes: Uint8Array;
}

/** A lookup by a pod: two packets. */
function lookup(atSec: number, pod: string, name: string, address: string, ttlSec?: number): Sent[] {
  return [{ atSec, bytes: packet({ from: pod, to: DNS, protocol: "UDP", sport: 5353, dport: 53, payload: question(name) }) },
    { atSec: atSec + 0.01, bytes: packet({ from: DNS, to: pod, protocol: "UDP", sport: 53, dport: 5353, payload: answer(name, address, ttlSec) }) }];
}

function connect(atSec: number, pod: string, sport = 40000, to = OUTSIDE): Sent {
  return { atSec, bytes: packet({ from: pod, to, protocol: "TCP", sport, dport: 443 }) };
}

function capture(name: string, sent: readonly Sent[]): string {
  const writer = new PcapWriter({ linkType: LINKTYPE_LINUX_SLL2 });
  for (const { atSec, bytes: whole } of sent) {
    const { from, to } = read(whole);
    const out = DEVICES[to] !== undefined;
    // Interface number, and whether the packet came in (0) or went out (4) there.
    const bytes = Uint8Array.from([8, 0, 0, 0, 0, 0, 0, DEVICES[out ? to : from], 0, 1, out ? 4 : 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, ...whole]);
    writer.write(START + Math.floor(atSec), Math.round((atSec % 1) * 1e9), bytes, 0, bytes.length, bytes.length);
  }
  const path = join(folder, `${name}.pcap`);
  writeFileSync(path, writer.take());
  return path;
}

interface Case {
  readonly node1?: readonly Sent[];
  readonly node2?: readonly Sent[];
  readonly asks?: string;
  readonly to?: string;
  readonly more?: readonly string[];
}

/** What becomes of the last packet of a node's capture in the target, and what was said. */
async function fate(of: "node1" | "node2", given: Case): Promise<{ target: string; said: string }> {
  const { asks = '{matchPattern: "*"}', to = "{matchName: api.example.com}", more = [] } = given;
  const captures = (["node1", "node2"] as const).filter((node) => given[node] !== undefined)
    .map((node) => `${node}=${capture(node, given[node]!)}`);
  const ran = await runCli(["trace", ...CLUSTER, ...NETWORK, "-f", policy(asks, to), "-r", ...captures, "--capture", `${of}.pcap`,
    "--packet", String(given[of]!.length), ...more]);
  return { target: /^target \(.*?\): (.*)$/m.exec(ran.stdout)?.[1] ?? ran.stdout + ran.stderr, said: ran.stderr };
}

const LEFT = /^left, /;
const OPEN = /^undecided .*addresses are not known/;

describe("an answer through the DNS proxy", () => {
  it.each<[string, Case, RegExp]>([
    ["opens its address", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE), connect(2, CLI_A)] }, LEFT],
    ["whatever its letters are", { node1: [...lookup(1, CLI_A, "API.Example.com", OUTSIDE), connect(2, CLI_A)] }, LEFT],
    ["by a pattern", { to: '{matchPattern: "*.example.com"}', node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE), connect(2, CLI_A)] },
      LEFT],
    ["not another address", { node1: [...lookup(1, CLI_A, "api.example.com", "203.0.113.81"), connect(2, CLI_A)] }, OPEN],
    ["not by another name", { node1: [...lookup(1, CLI_A, "api.example.org", OUTSIDE), connect(2, CLI_A)] }, OPEN],
    ["not before it came", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE).slice(0, 1), connect(1.005, CLI_A)],
      node2: lookup(1, CLI_B, "api.example.com", OUTSIDE) }, OPEN],
    ["while it lives", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE, 30), connect(30, CLI_A)] }, LEFT],
    ["and nobody knows for how long after", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE, 30), connect(32, CLI_A)] },
      /^undecided .*the answer for api\.example\.com is older than its TTL/],
    ["again, with the next answer", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE, 30),
      ...lookup(40, CLI_A, "api.example.com", OUTSIDE, 30), connect(50, CLI_A)] }, LEFT],
    ["to the node's other pods", { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE), connect(2, WEB_A)] }, LEFT],
  ])("%s", async (_, given, wanted) => {
    expect((await fate("node1", given)).target).toMatch(wanted);
  });

  it("opens nothing to another node's pods", async () => {
    const given = { node1: lookup(1, CLI_A, "api.example.com", OUTSIDE), node2: [connect(2, CLI_B)] };
    expect((await fate("node2", given)).target).toMatch(OPEN);
    expect((await fate("node2", { ...given, more: ["--fqdn-cache", cache({})] })).target).toMatch(/^dropped \(POLICY_DENIED\)/);
  });

  it("lives as long as the agent's least time to live", async () => {
    const config = join(folder, "config.yaml");
    writeFileSync(config, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n"
      + 'data: {tofqdns-min-ttl: "3600"}\n');
    const given = { node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE, 30), connect(90, CLI_A)] };
    expect((await fate("node1", { ...given, more: ["-f", config] })).target).toMatch(LEFT);
  });
});

describe("an answer that Cilium's agent does not see opens nothing, and is said", () => {
  it.each<[string, string]>([["no rule asks for the proxy", ""], ["the rule lets other names through", "{matchName: other.example.com}"]])(
    "%s", async (_, asks) => {
      const { target, said } = await fate("node1", { asks, node1: [...lookup(1, CLI_A, "api.example.com", OUTSIDE), connect(2, CLI_A)] });
      expect(target).toMatch(OPEN);
      expect(said).toContain("default/cli-a was told the addresses of api.example.com, which a toFQDNs rule names, but no rule with dns");
    });
});

describe("with a list of names", () => {
  it("what it has not is denied, until an answer comes", async () => {
    const more = ["--fqdn-cache", cache({ "api.example.com": ["203.0.113.9"] })];
    const asked = lookup(1, CLI_A, "api.example.com", OUTSIDE);
    expect((await fate("node1", { more, node1: [connect(0.5, CLI_A)] })).target).toMatch(/^dropped \(POLICY_DENIED\)/);
    expect((await fate("node1", { more, node1: [...asked, connect(2, CLI_A)] })).target).toMatch(LEFT);
    expect((await fate("node1", { more, node1: [...asked, connect(2, CLI_A, 40001, "203.0.113.9")] })).target).toMatch(LEFT);
    expect((await fate("node1", { more, node1: [...asked, connect(400, CLI_A)] })).target).toMatch(/^undecided .*older than its TTL/);
  });
});

it("what the list denies is a known difference", async () => {
  const ran = await runCli(["compare", ...CLUSTER, ...NETWORK, "-f", policy('{matchPattern: "*"}', "{matchName: api.example.com}"), "-o", "json",
    "--fqdn-cache", cache({ "api.example.com": ["203.0.113.9"] }), "-r", `node1=${capture("node1", [connect(1, CLI_A)])}`]);
  expect((JSON.parse(ran.stdout) as { findings: { id: string }[] }).findings.map(({ id }) => id)).toEqual(["POL-NOENGINE"]);
});

function cache(names: Readonly<Record<string, readonly string[]>>): string {
  const path = join(folder, "names.json");
  writeFileSync(path, JSON.stringify(names));
  return path;
}

describe("in a review each side's own policies say what its proxy sees", () => {
  const asking = '{matchPattern: "*"}';
  it.each<[string, string, string, string[]]>([
    ["the rule with dns is gone: the answer teaches nothing", asking, "", ["DROPPED"]],
    ["it is added: the answer opens its address", "", asking, ["OPENED"]],
    ["it is the same", asking, asking, []],
  ])("%s", async (_, before, after, wanted) => {
    const [first, second] = [before, after].map((asks, index) => {
      const path = join(folder, `side${index}.yaml`);
      writeFileSync(path, readFileSync(policy(asks, "{matchName: api.example.com}")));
      return path;
    });
    const ran = await runCli(["review", ...CLUSTER, ...NETWORK, "--before", first, "--after", second, "-o", "json", "--min-judged", "10",
      "--fqdn-cache", cache({}), "-r", `node1=${capture("node1", [...lookup(1, CLI_A, "api.example.com", OUTSIDE), connect(2, CLI_A)])}`]);
    const found = JSON.parse(ran.stdout) as { rows: { id: string; destination: string }[]; newlyUndecided: number };
    const rows = found.rows.filter((row) => row.destination === OUTSIDE).map(({ id }) => id);
    expect([...rows, ...(found.newlyUndecided > 0 ? ["undecided"] : [])], ran.stdout).toEqual(wanted);
  });
});
