/**
 * Generated text and the real tools: iptables-restore takes it, legacy and nft; what iptables-save prints of it is
 * what our own parser and printer make of it, line by line; and a partial sync leaves what a full one writes.
 *
 * The model of `iptables-restore --noflush` runs everywhere, the tools where they are.
 */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testSeed } from "../../../test/seed.js";
import type { Family } from "../../cluster/address.js";
import type { Cluster, Pod } from "../../cluster/cluster.js";
import { printRule } from "../../linux/netfilter/print.js";
import { parseRuleSet } from "../../linux/netfilter/rule-set.js";
import { address, clusterOf, type Plain } from "../manifests.fixture.js";
import { ipMasqAgentPart } from "../masquerade/ip-masq-agent.js";
import { PORTMAP_DEFAULTS, portmapPart } from "../portmap/portmap.js";
import { joinRules, type RulePart } from "../ruleset.js";
import { KUBE_PROXY_DEFAULTS, type KubeProxyConfig } from "./config.js";
import { generateKubeProxy } from "./generate.js";
import { HERE, RANGES, randomConfig, randomObjects } from "./random.fixture.js";

const seed = testSeed("src/iptables/kubeproxy/restore");
const BACKENDS = ["legacy", "nft"] as const;
const SPACE = `tw-restore-${process.pid}`;

describe("a partial sync", () => {
  test("leaves the chains that a full sync writes, and no stale ones", () => {
    fc.assert(fc.property(randomChange(), calmConfig(), ({ before, after, changed }, config) => {
      for (const family of [4, 6] as const) {
        const { restore, full } = syncTexts(before, after, changed, config, family);
        expect(applied(applied(new Map(), full[0]), restore)).toEqual(applied(new Map(), full[1]));
      }
    }), { seed, numRuns: 100 });
  });

  test("writes only the chains of changed services beside the shared ones", () => {
    fc.assert(fc.property(randomChange(), calmConfig(), ({ before, after, changed }, config) => {
      const { restore } = syncTexts(before, after, changed, config, 4);
      const touched = [...restore.matchAll(/^:(KUBE-(?:SVC|SVL|EXT|FW)-\S+)/gm)].map((match) => match[1]);
      const unchanged = { ...after, services: after.services.filter((one) => !changed.has(`ns/${one.name}`)) };
      const others = generateKubeProxy({ cluster: unchanged, node: HERE, family: 4, config }).chains.map((one) => one.chain);
      expect(touched.filter((chain) => others.includes(chain))).toEqual([]);
    }), { seed, numRuns: 100 });
  });
});

const missing = missingTools();
if (missing !== "" && process.env.TWINPLANE_REQUIRE_KERNEL === "1") throw new Error(`TWINPLANE_REQUIRE_KERNEL=1, but${missing}`);

describe.skipIf(missing !== "")(`the real tools${missing}`, () => {
  beforeAll(() => {
    for (const backend of BACKENDS) run("ip", ["netns", "add", `${SPACE}-${backend}`]);
  });
  afterAll(() => {
    for (const backend of BACKENDS) run("ip", ["netns", "del", `${SPACE}-${backend}`]);
  });

  test.each(BACKENDS)("iptables-restore (%s) takes the text, and iptables-save prints the rules as we do", (backend) => {
    let lines = 0;
    fc.assert(fc.property(randomObjects(), randomConfig(), (objects, config) => {
      for (const family of [4, 6] as const) {
        const { text } = joinRules(partsOf(clusterOf(objects), config, family));
        tool(backend, family, "restore", ["--test"], text);
        tool(backend, family, "restore", [], text);
        const saved = rulesOf(tool(backend, family, "save", [], ""));
        expect(saved).toEqual(printed(text, family));
        lines += saved.size;
      }
    }), { seed, numRuns: 30 });
    expect(lines).toBeGreaterThan(1000);
  });

  test.each(BACKENDS)("a partial sync through iptables-restore (%s) --noflush leaves what a full one writes", (backend) => {
    fc.assert(fc.property(randomChange(), calmConfig(), ({ before, after, changed }, config) => {
      for (const family of [4, 6] as const) {
        const { restore, full } = syncTexts(before, after, changed, config, family);
        tool(backend, family, "restore", [], full[0]);
        tool(backend, family, "restore", ["--noflush", "--counters"], restore);
        const partial = rulesOf(tool(backend, family, "save", [], ""));
        tool(backend, family, "restore", [], full[1]);
        expect(partial).toEqual(rulesOf(tool(backend, family, "save", [], "")));
      }
    }), { seed, numRuns: 8 });
  });

  // Not by --test alone: with nft it lets such a jump through.
  test.each(BACKENDS)("a text that leads to a chain nobody makes is refused (%s), so the checks above can fail", (backend) => {
    const text = joinRules(partsOf(clusterOf([]), KUBE_PROXY_DEFAULTS, 4)).text
      .replace(/(-A KUBE-SERVICES .*)-j KUBE-NODEPORTS/, "$1-j KUBE-NOWHERE");
    expect(() => tool(backend, 4, "restore", [], text)).toThrow();
  });
});

/** kube-proxy's part, ip-masq-agent's, and host ports of two pods. */
function partsOf(cluster: Cluster, config: KubeProxyConfig, family: Family): RulePart[] {
  const masq = { agent: "ip-masq-agent" as const, chain: "IP-MASQ-AGENT", enableIPv6: true, stopped: false,
    masqLinkLocal: config.masqueradeAll, masqLinkLocalIPv6: false, randomFully: config.randomFully,
    nonMasqueradeCIDRs: [...RANGES.pods, ...RANGES.nodes].map((range) => ({ range, where: null })) };
  const portmap = { ...PORTMAP_DEFAULTS, externalSetMarkChain: config.masqueradeAll ? "KUBE-MARK-MASQ" : null };
  return [generateKubeProxy({ cluster, node: HERE, family, config }), ipMasqAgentPart(masq, family),
    portmapPart(portmap, { ...cluster, pods: hostPortPods() }, HERE, family)];
}

function hostPortPods(): Pod[] {
  const [pod] = clusterOf([{ kind: "Pod", metadata: { namespace: "ns", name: "p" }, spec: { nodeName: "here" } }]).pods;
  const port = (hostPort: number, protocol: "TCP" | "UDP", hostIP: string): Pod["ports"][number] => (
    { name: "", containerPort: 8080, hostPort, protocol, hostIP });
  return [
    { ...pod, name: "a", ips: [address("10.244.0.30"), address("fd00:10:244::30")],
      ports: [port(8080, "TCP", ""), port(53, "UDP", "192.168.0.2"), port(53, "TCP", "::"), port(81, "TCP", "0.0.0.0")] },
    { ...pod, name: "b", ips: [address("10.244.0.31")],
      ports: Array.from({ length: 17 }, (_, index) => port(9000 + index, "TCP", "")) },
  ];
}

interface Change {
  readonly before: Cluster;
  readonly after: Cluster;
  readonly changed: ReadonlySet<string>;
}

/** Two clusters that share some services; the others are changed, new, or gone. */
function randomChange(): fc.Arbitrary<Change> {
  return fc.tuple(randomObjects(), randomObjects(), fc.infiniteStream(fc.boolean())).map(([first, second, keep]) => {
    const nameOf = (object: Plain): string => object.metadata.labels?.["kubernetes.io/service-name"] ?? object.metadata.name;
    const kept = new Set([...new Set(first.map(nameOf))].filter(() => keep.next().value));
    const after = [...first.filter((object) => kept.has(nameOf(object))), ...second.filter((object) => !kept.has(nameOf(object)))];
    const changed = new Set([...first, ...second].map(nameOf).filter((name) => !kept.has(name)).map((name) => `ns/${name}`));
    return { before: clusterOf(first), after: clusterOf(after), changed };
  });
}

/** Without crossing into a large cluster, which alone rewrites no unchanged service. */
function calmConfig(): fc.Arbitrary<KubeProxyConfig> {
  return randomConfig().map((config) => ({ ...config, largeClusterEndpointsThreshold: 1000 }));
}

/** The text of the partial sync, and what full syncs before and after it leave. */
function syncTexts(before: Cluster, after: Cluster, changed: ReadonlySet<string>, config: KubeProxyConfig,
  family: Family): { restore: string; full: [string, string] } {
  const first = generateKubeProxy({ cluster: before, node: HERE, family, config });
  const existingChains = [...first.chains.filter((one) => one.table === "nat").map((one) => one.chain), "OTHER"];
  const { restoreText } = generateKubeProxy({ cluster: after, node: HERE, family, config, changed, existingChains });
  return { restore: restoreText, full: [joinRules([first]).text,
    joinRules([generateKubeProxy({ cluster: after, node: HERE, family, config })]).text] };
}

/** `iptables-restore --noflush`: a chain line makes or empties its chain, -A appends, -X deletes what nothing leads to. */
function applied(chains: ReadonlyMap<string, readonly string[]>, text: string): Map<string, string[]> {
  const found = new Map([...chains].map(([name, rules]) => [name, [...rules]]));
  let table = "";
  for (const line of text.split("\n")) {
    const [word, chain] = line.split(" ");
    if (line.startsWith("*")) table = line.slice(1);
    else if (line.startsWith(":")) found.set(`${table} ${word.slice(1)}`, []);
    else if (word === "-A") found.get(`${table} ${chain}`)!.push(line);
    else if (word === "-X") {
      expect(found.get(`${table} ${chain}`), chain).toEqual([]);
      const leads = [...found].filter(([name, rules]) => name.startsWith(table) && rules.some((rule) => rule.endsWith(`-j ${chain}`)));
      expect(leads, `${chain} is still used`).toEqual([]);
      found.delete(`${table} ${chain}`);
    }
  }
  return found;
}

/** Rules of each chain as our parser reads and our printer prints them. */
function printed(text: string, family: Family): Map<string, string[]> {
  const { rules, problems } = parseRuleSet(text, "generated", family);
  expect(problems).toEqual([]);
  const found = new Map<string, string[]>();
  for (const [table, { chains }] of rules.tables) {
    for (const [name, chain] of chains) {
      found.set(`${table} ${name}`, chain.rules.map((rule) => `-A ${name}${printRule(rule, family)}`));
    }
  }
  return found;
}

/** Rules of each chain in what iptables-save printed; tables that nobody wrote to are left out. */
function rulesOf(saved: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let table = "";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    else if (table !== "filter" && table !== "nat") continue;
    else if (line.startsWith(":")) found.set(`${table} ${line.slice(1).split(" ")[0]}`, []);
    else if (line.startsWith("-A ")) found.get(`${table} ${line.split(" ")[1]}`)!.push(line);
  }
  return found;
}

function tool(backend: (typeof BACKENDS)[number], family: Family, what: "restore" | "save", args: readonly string[],
  input: string): string {
  const name = `${family === 4 ? "iptables" : "ip6tables"}-${backend}-${what}`;
  return run("ip", ["netns", "exec", `${SPACE}-${backend}`, name, ...args], input);
}

function run(command: string, args: readonly string[], input = ""): string {
  const done = spawnSync(command, args, { input, encoding: "utf8", maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${done.stderr}\n${input}`);
  return done.stdout;
}

function missingTools(): string {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return " (needs root on Linux)";
  const tools = ["ip", ...BACKENDS.flatMap((backend) => [`iptables-${backend}-restore`, `ip6tables-${backend}-restore`])];
  if (tools.some((one) => spawnSync("sh", ["-c", `command -v ${one}`]).status !== 0)) return " (needs iptables, legacy and nft)";
  if (spawnSync("ip", ["netns", "add", `${SPACE}-try`]).status !== 0) return " (needs network namespaces)";
  spawnSync("ip", ["netns", "del", `${SPACE}-try`]);
  return "";
}
