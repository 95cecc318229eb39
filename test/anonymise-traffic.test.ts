/** `twinplane anonymise` of nodes' rules, IP sets, flow logs and conntrack's entries: the same verdicts, and nothing of the original. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { ChainNames } from "../src/anonymise/chains.js";
import { anonymiseFlow } from "../src/anonymise/flows.js";
import { Mapping } from "../src/anonymise/mapping.js";
import { anonymiseRules, anonymiseSets } from "../src/anonymise/rules.js";
import { serviceChains } from "../src/iptables/kubeproxy/chains.js";
import type { Report } from "../src/report/report.js";
import { runCli } from "./cli.js";

const LAB = "traces/lab";
const FACTS = ["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].map((name) => join(LAB, name));
const RANGES = ["10.244.0.0/16", "fd00:10:244::/48", "192.168.50.0/24", "fd00:50::/64"];
const KEY = "5d".repeat(32);
const folder = mkdtempSync(join(tmpdir(), "twinplane-anonymise-"));
afterAll(() => rmSync(folder, { recursive: true }));
let made = 0;

function file(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  return path;
}
const keyFile = file("key", KEY);

interface Written {
  readonly out: string;
  /** As the command prints them behind `twinplane compare`. */
  readonly args: readonly string[];
}

async function anonymise(...args: string[]): Promise<Written> {
  const out = join(folder, `out${made++}`);
  const { exitCode, stdout, stderr } = await runCli(["anonymise", ...args, "--cidr", ...RANGES, "--out", out, "--key", keyFile]);
  expect([exitCode, stderr.replace(/^left out: .*\n/gm, "")]).toEqual([0, ""]);
  const [four, six, nets, sixes] = [...stdout.matchAll(/ is (\S+)/g)].map((match) => match[1]);
  return { out, args: [...stdout.trim().split("\n").at(-1)!.split(" ").slice(2), "--cluster-cidr", four, six, "--non-masquerade-cidr", nets,
    sixes] };
}

async function compare(...args: string[]): Promise<{ exitCode: number; report: Report }> {
  const { exitCode, stdout } = await runCli(["compare", ...args, "-o", "json", "--follow-capture"]);
  return { exitCode, report: JSON.parse(stdout) as Report };
}
const NETWORK = ["--cluster-cidr", RANGES[0], RANGES[1], "--non-masquerade-cidr", RANGES[2], RANGES[3]];

/** What a report says that hangs on no name. */
function gist({ exitCode, report }: { exitCode: number; report: Report }): unknown {
  const { packets, findings, undecided, truth, entries, flows } = report;
  const examples = flows?.fates.examples.map(({ line, port, recorded }) => [line, port, recorded]);
  const told = flows === null ? null : { ...flows, fates: { ...flows.fates, examples } };
  return { exitCode, packets, undecided, truth: { ...truth, disagreements: [] }, entries, flows: told,
    findings: findings.map(({ id, facet, packets: many, flows: connections, port }) => [id, facet, many, connections, port]).sort() };
}

/** Shares of the dumps' lines that are what this project would write. */
function reproduced({ report }: { report: Report }): number[] {
  return report.rules.flatMap(({ verified }) => (/(\d+) of (\d+) lines/.exec(verified) ?? []).slice(1).map(Number))
    .flatMap((number, index, all) => (index % 2 === 0 ? [number / all[index + 1]] : []));
}

/** Every word of the original that somebody could know it by: names, addresses, hashes of names. */
function expectNothingOf(words: Iterable<string>, out: string): void {
  const secrets = [...new Set(words)];
  expect(secrets.length).toBeGreaterThan(3);
  for (const name of readdirSync(out)) {
    const bytes = readFileSync(join(out, name));
    const text = `${name}\n${bytes.toString("latin1")}`;
    // A colon before or behind a word is the text's own.
    const words = new Set(text.split(/[^\da-f.:]+/).flatMap((word) => [word, word.replace(/^:|:$/g, "")]));
    const found = secrets.filter((word) => (/^[\da-f.:]+$/.test(word) ? words.has(word) : text.includes(word)));
    expect([name, found]).toEqual([name, []]);
  }
}

const KEPT_NAMES = new Set(["default", "kube-system", "kube-dns", "http", "dns", "dns-tcp"]);
/** Of the service that every cluster has: its name stays, so do the hashes of it. */
const KEPT_HASHES = new Set((["UDP", "TCP"] as const).flatMap((protocol) => ["", "-tcp"].map((port) =>
  serviceChains(`kube-system/kube-dns:dns${port}`, protocol).svc.slice(9))));
const KEPT_ADDRESSES = /^(127\.|0\.0\.0\.0|169\.254\.|22[4-9]\.|255\.|::1?$|fe80|ff0)/;
/** Names of services, made chains and addresses in rules. */
function secretsOf(rules: string): string[] {
  const services = [...rules.matchAll(/--comment "?([a-z0-9-]+)\/([a-z0-9.-]+)(?::([a-z0-9-]+))?/g)]
    .flatMap((match) => match.slice(1, 3)).filter((one) => one.length > 4 && !KEPT_NAMES.has(one));
  const chains = [...rules.matchAll(/KUBE-(?:SVC|SVL|SEP|EXT|FW)-(\w{16})/g)].map((match) => match[1])
    .filter((one) => !KEPT_HASHES.has(one));
  const addresses = [...rules.matchAll(/(?:-[sd]|--to-destination) \[?([\da-f.:]+?)(?:\/\d+|\]?:\d+)?(?= |$)/gm)].map((match) => match[1])
    .filter((one) => !KEPT_ADDRESSES.test(one));
  return [...services, ...chains, ...addresses];
}

describe("nodes' rules", () => {
  const dumps = ["node1.v4", "node1.v6", "node2.v4", "node2.v6"].map((name) => `${name.slice(0, 5)}=${LAB}/${name}.rules`);
  const texts = dumps.map((one) => readFileSync(one.slice(6), "utf8")).join("\n");

  it.each(["nodeport-cluster", "clusterip-tcp"])("%s: compared alike, and as many lines are what kube-proxy would write", async (story) => {
    const before = await compare("-f", ...FACTS, `${LAB}/${story}`, "--rules", ...dumps, "-r", `${LAB}/${story}`, ...NETWORK);
    const { out, args } = await anonymise("-f", ...FACTS, `${LAB}/${story}`, "--rules", ...dumps, "-r", `${LAB}/${story}`);
    const after = await compare(...args);
    expect(reproduced(before)).toEqual([1, 1, 1, 1]);
    // Endpoints of a service are balanced in the order of their addresses, which is another now.
    expect(Math.min(...reproduced(after))).toBeGreaterThan(0.85);
    expect(gist(after)).toEqual(gist(before));
    expectNothingOf(secretsOf(texts), out);
  });

  it("in a folder of -f and as --rules are the same", async () => {
    const all = [...FACTS, ...["node1.v4.rules", "node1.v6.rules"].map((name) => join(LAB, name))];
    const [one, two] = [await anonymise("-f", ...all), await anonymise("-f", ...FACTS, "--rules", `${LAB}/node1.v4.rules`, `${LAB}/node1.v6.rules`)];
    const names = (path: string): string[] => readdirSync(path).sort();
    expect(names(one.out)).toEqual(names(two.out));
    for (const name of names(one.out)) expect(readFileSync(join(one.out, name), "utf8")).toBe(readFileSync(join(two.out, name), "utf8"));
  });
});

it("Calico's rules and sets are compared alike", async () => {
  const lab = ["-f", ...FACTS, "examples/migration", `${LAB}/clusterip-tcp`];
  const calico = ["--current", "kube-proxy+calico"];
  const dumps: string[] = [];
  for (const node of ["node1", "node2"]) {
    const { stdout } = await runCli(["dump", "rules", ...lab, ...NETWORK, ...calico, "--node", node]);
    // Where devices begin alike Felix asks for the beginning first, which other names do not have: here for each device.
    const devices = [...new Set([...stdout.matchAll(/^:cali-tw-(v-\S+) /gm)].map((match) => match[1]))];
    dumps.push(file(`calico/${node}.txt`, stdout.replace(/^(.* )(v-\w+)\+( .*\n)/gm, (_, before: string, stem: string, after: string) =>
      devices.filter((device) => device.startsWith(stem)).map((device) => before + device + after).join(""))));
  }
  const texts = dumps.map((path) => readFileSync(path, "utf8")).join("\n");
  expect(texts).toMatch(/--match-set cali40/);
  const traffic = ["--rules", ...dumps, "-r", `${LAB}/clusterip-tcp`];
  const before = await compare(...lab, ...traffic, ...NETWORK, ...calico);
  const { out, args } = await anonymise(...lab, ...traffic);
  expect(before.report.findings.length).toBeGreaterThan(0);
  expect(gist(await compare(...args, ...calico))).toEqual(gist(before));
  expectNothingOf([...secretsOf(texts), ...[...texts.matchAll(/cali:([\w-]{16})/g)].map((match) => match[1]), "web-from-our-networks"], out);
});

describe("Azure NPM's rules and sets, with flows", () => {
  it("are compared alike", async () => {
    const npm = ["--current", "kube-proxy+npm"];
    const lab = ["-f", ...FACTS, "examples/migration"];
    const dumps: string[] = [];
    for (const node of ["node1", "node2"]) {
      const { stdout } = await runCli(["dump", "rules", ...lab, ...NETWORK, ...npm, "--node", node]);
      dumps.push(file(`npm/${node}.txt`, stdout));
    }
    const texts = dumps.map((path) => readFileSync(path, "utf8")).join("\n");
    expect(texts).toMatch(/--match-set azure-npm-/);
    const flows = file("npm.jsonl", [["10.244.1.20", "10.244.1.10", 8080, 40001], ["10.244.2.20", "10.244.1.10", 8080, 40002],
      ["10.244.1.20", "10.244.2.53", 53, 40003], ["203.0.113.10", "10.244.1.10", 8080, 40004], ["10.244.1.20", "10.96.0.70", 80, 40005]]
      .map(([source, destination, port, own]) => `${JSON.stringify({ flow: { time: "2026-11-01T10:00:00Z", verdict: "FORWARDED", is_reply: false,
        IP: { source, destination }, l4: { TCP: { source_port: own, destination_port: port } } } })}\n`).join(""));
    const before = await compare(...lab, "--rules", ...dumps, "--input-file", flows, ...NETWORK, ...npm);
    const { out, args } = await anonymise(...lab, "--rules", ...dumps, "--input-file", flows);
    const after = await compare(...args, ...npm);
    expect(before.report.findings.length).toBeGreaterThan(0);
    expect(gist(after)).toEqual(gist(before));
    expectNothingOf([...secretsOf(texts), ...[...texts.matchAll(/azure-npm-(\w+)/g)].map((match) => match[1]), "web-from-our-networks",
      "203.0.113.10", "podlabel"], out);
  });

  it("are refused where sets that rules name are in no file", async () => {
    const rules = file("node1.iptables", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set secret-set src -j DROP\nCOMMIT\n");
    const { exitCode, stderr } = await runCli(["anonymise", "-f", ...FACTS, "--rules", rules, "--out", join(folder, "none"), "--key", keyFile]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/names IP sets that none of the files holds/)]);
    expect(stderr).not.toContain("secret");
  });
});

const PARTY = { namespace: "ns-planted", pod_name: "pod-planted-7c9f-abcde", identity: 48213, ID: 1234,
  labels: ["k8s:app=label-planted", "k8s:io.kubernetes.pod.namespace=ns-planted", "k8s:planted.example/key=v"],
  workloads: [{ name: "workload-planted", kind: "Deployment" }] };
const EVENT = { time: "2026-11-01T10:00:00.5Z", verdict: "DROPPED", drop_reason_desc: "POLICY_DENIED", is_reply: false, uuid: "uuid-planted",
  IP: { source: "10.244.1.20", destination: "10.96.0.10", ipVersion: "IPv4" }, ethernet: { source: "0a:00:00:00:00:01" },
  l4: { TCP: { source_port: 40001, destination_port: 80, flags: { SYN: true } } }, source: { ...PARTY, pod_name: "cli-a", namespace: "default" },
  destination: { labels: ["reserved:world"], identity: 2 }, node_name: "cluster-planted/node1", event_type: { type: 5 },
  destination_service: { name: "web", namespace: "default" }, destination_names: ["domain-planted.example"], Summary: "summary-planted",
  ingress_denied_by: [{ name: "policy-planted" }], l7: { http: { url: "url-planted" } } };
const ROW = { Layer4: JSON.stringify(EVENT.l4), Verdict: "DROPPED", SourcePodName: "cli-a", SourceNamespace: "default", NodeName: "node1",
  IP: JSON.stringify({ source: "10.244.1.20", destination: "10.96.0.70" }), DestinationPodName: "", DestinationNamespace: "", Reply: "false",
  SourceLabels: JSON.stringify(["k8s:app=label-planted"]), TenantId: "tenant-planted", _ResourceId: "/subscriptions/planted" };
const CONNTRACK = "tcp 6 100 TIME_WAIT src=10.244.1.20 dst=10.96.0.10 sport=55558 dport=80 src=10.244.1.10 dst=10.244.1.20 sport=8080 dport=55558"
  + " [ASSURED] mark=0 use=1\n";
const csv = (row: Record<string, string>): string => [Object.keys(row), Object.values(row)]
  .map((line) => line.map((one) => `"${one.replaceAll('"', '""')}"`).join(",")).join("\r\n");

describe("flow logs and entries", () => {
  it.each<[string, string, string]>([
    ["hubble observe -o jsonpb", "hubble.jsonl", `${JSON.stringify({ flow: EVENT, node_name: "cluster-planted/node1", time: EVENT.time })}\n`
      + `${JSON.stringify({ lost_events: { source: "PERF_EVENT_RING_BUFFER", num_events_lost: "7" } })}\n`
      + `${JSON.stringify({ node_status: { node_names: ["planted"], message: "planted" } })}\n`
      + `${JSON.stringify({ flow: { ...EVENT, IP: { source: "10.244.1.20", destination: "10.244.2.99" } } })}\n`],
    ["Azure's table as CSV", "azure.csv", csv(ROW)],
    ["a query's result", "query.json", JSON.stringify({ tables: [{ columns: Object.keys(ROW).map((name) => ({ name })), rows: [Object.values(ROW)] }] })],
    ["an array of rows", "rows.json", JSON.stringify([ROW, { ...ROW, Verdict: "FORWARDED", Layer4: JSON.stringify({ UDP: { destination_port: 53 } }) }],
      null, 1)],
    ["conntrack -L", "node1.conntrack", CONNTRACK],
  ])("%s: replayed alike, and nothing of the original", async (_what, name, text) => {
    const log = file(`logs/${name}`, text);
    const before = await compare("-f", ...FACTS, "--input-file", log, ...NETWORK);
    const { out, args } = await anonymise("-f", ...FACTS, "--input-file", log);
    const after = await compare(...args);
    expect((before.report.flows?.replayed ?? 0) + (before.report.entries?.replayed ?? 0)).toBeGreaterThan(0);
    expect(gist(after)).toEqual(gist(before));
    expectNothingOf(["planted", "cli-a", "10.244.1.20", "10.96.0.10", "10.96.0.70", "48213", "10.244.1.10", "node1"], out);
  });

  it("packed, and in UTF-16 as PowerShell writes it, a log is read as it is", async () => {
    const text = Array.from({ length: 3000 }, (_, index) => `${JSON.stringify({ flow: { ...EVENT,
      l4: { TCP: { source_port: 20_000 + index, destination_port: 80, flags: { SYN: true } } } } })}\n`).join("");
    const source = file("plain.jsonl", text);
    const plain = await anonymise("-f", ...FACTS, "--input-file", source);
    const replayed = async (log: string) => (await compare("-f", ...FACTS, "--input-file", log, ...NETWORK)).report.flows?.replayed;
    const expected = await replayed(source);
    expect(expected).toBeGreaterThan(0);
    const before = readFileSync(join(plain.out, "flows-1.jsonl"), "utf8");
    expect(before.split("\n").length).toBe(3001);
    const others: [string, Uint8Array][] = [["packed.jsonl.gz", gzipSync(text)],
      ["wide.jsonl", Buffer.from(`\ufeff${text.replaceAll("\n", "\r\n")}`, "utf16le")]];
    for (const [name, bytes] of others) {
      const log = file(name, "");
      writeFileSync(log, bytes);
      const { out } = await anonymise("-f", ...FACTS, "--input-file", log);
      expect(readFileSync(join(out, "flows-1.jsonl"), "utf8") === before, name).toBe(true);
      // As other commands read it.
      expect(await replayed(log), name).toBe(expected);
    }
  });

  it("a log whose packed bytes end early is refused, and nothing is written", async () => {
    const log = file("cut.jsonl.gz", "");
    writeFileSync(log, gzipSync(`${JSON.stringify({ flow: EVENT })}\n`.repeat(2000)).subarray(0, 300));
    const out = join(folder, "cut");
    const { exitCode, stderr } = await runCli(["anonymise", "-f", ...FACTS, "--input-file", log, "--out", out, "--key", keyFile]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/cut\.jsonl\.gz: error: .*\n.*nothing was written/s)]);
    expect(readdirSync(out)).toEqual([]);
  });

  it("a line that is no flow is refused by its number, without its text", async () => {
    const log = file("bad.jsonl", `${JSON.stringify({ flow: EVENT })}\nsecret words\n`);
    const { exitCode, stderr } = await runCli(["anonymise", "-f", ...FACTS, "--input-file", log, "--out", join(folder, "bad"), "--key", keyFile]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/bad\.jsonl: error: line 2|line 2: /)]);
    expect(stderr).not.toContain("secret");
  });

  it("values that are none of the field's are refused", () => {
    const mapping = new Mapping(Buffer.from(KEY, "hex"));
    const broken: readonly object[] = [{ ...EVENT, verdict: "secret.text" }, { ...EVENT, IP: { source: "secret", destination: "10.0.0.1" } },
      { ...EVENT, l4: { TCP: { source_port: "secret" } } }, { ...EVENT, time: "secret" }];
    for (const one of broken) expect(() => anonymiseFlow({ flow: one }, mapping, "line 1")).toThrow(/cannot be mapped/);
  });
});

describe("lines of dumps", () => {
  const mapping = new Mapping(Buffer.from(KEY, "hex"));
  const names = new ChainNames(mapping);
  const rules = (...lines: string[]): string => anonymiseRules(["*filter", ":INPUT ACCEPT [1:2]", ":secret-chain - [0:0]", ...lines, "COMMIT", ""].join("\n"),
    4, names, mapping);
  const sets = (...lines: string[]): string => anonymiseSets(lines.join("\n"), names, mapping);

  it.each<[string, RegExp]>([
    ["-A INPUT -s 10.1.2.3/32 -i vethsecret -p tcp -m tcp --dport 80 -j secret-chain", /^-A INPUT -s [\d.]+\/32 -i veth\w{11} -p tcp -m tcp --dport 80 -j x\w+$/],
    ["[5:300] -A secret-chain ! -d 10.1.0.0/16 -m comment --comment \"secret words\" -j DNAT --to-destination 10.1.2.3:80-90",
      /^\[5:300\] -A x\w+ ! -d [\d.]+\/16 -m comment --comment x\w+ -j DNAT --to-destination [\d.]+:80-90$/],
    ["-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset", /--tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset$/],
    ["-A INPUT -m mac --mac-source 0A:00:00:00:00:01 -j LOG --log-prefix \"secret \"", /--mac-source (?!0a:00:00)[\da-f:]{17} -j LOG --log-prefix x\w{16}$/],
    ["-A INPUT -i cali+ -m statistic --mode random --probability 0.50000000000 -j ACCEPT", /-i cali\+ .*0\.50000000000 -j ACCEPT$/],
    ["-A INPUT -m comment --comment \"cali:6gwbT8clXdHdC1b1\" --in-interface cali0123456789a --protocol tcp --jump secret-chain",
      /--comment cali:\w{16} --in-interface cali(?!0123)\w{11} --protocol tcp --jump x\w+$/],
    ["-A INPUT -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-AAAAAAAAAAAAAAAA --mask 255.255.255.255 --rsource -j ACCEPT",
      /--reap --name KUBE-SEP-(?!A{16})[A-Z2-7]{16} --mask 255\.255\.255\.255 --rsource -j ACCEPT$/],
  ])("%s", (line, expected) => {
    const written = rules(line).split("\n")[3];
    expect(written).toMatch(expected);
    expect(written).not.toMatch(/secret|10\.1\./);
  });

  it.each([
    "-A INPUT -m u32 --u32 0xc=0xa010203 -j DROP", "-A INPUT -m string --algo bm --string secret -j DROP", "-A INPUT -j SECRET",
    "-A INPUT -m iprange --src-range 10.1.2.3-10.1.2.9 -j DROP", "-A INPUT -i secret+ -j DROP", "-A INPUT -i cali5+ -j DROP", "-A INPUT --unknown 10.1.2.3 -j DROP",
    "-A INPUT -m set --match-set secret -j DROP", "-A INPUT -s", "-A INPUT -m mark --mark 10.1.2.3 -j DROP", "secret words", "-A INPUT -m secret -j DROP",
    ":secret ALLOW [0:0]", "-A INPUT -s 10.1.2.3/255.0.255.0 -j DROP",
  ])("%s is refused", (line) => {
    expect(() => rules(line)).toThrow(/^line 4: found a value that cannot be mapped/);
  });

  it("sets keep types, options and entries, under other names", () => {
    const written = sets("create secret hash:ip,port,net family inet hashsize 1024 maxelem 65536 comment",
      "add secret 10.1.2.3,tcp:80,10.2.0.0/16 comment \"secret words\" timeout 5", "create secret-list list:set size 8", "add secret-list secret",
      "create ports bitmap:port range 0-1023", "add ports 80", "create links hash:mac hashsize 64 maxelem 10", "add links 0A:00:00:00:00:01");
    expect(written).not.toMatch(/secret|10\.[12]\.|0a:00:00/i);
    const [first, added, , member] = written.split("\n");
    expect(first).toMatch(/^create (x\w+) hash:ip,port,net family inet hashsize 1024 maxelem 65536 comment$/);
    expect(added).toMatch(/^add x\w+ [\d.]+,tcp:80,[\d.]+\/16 comment "x\w+" timeout 5$/);
    expect(member.split(" ")[2]).toBe(first.split(" ")[1]);
  });

  it.each(["create secret hash:secret", "add nowhere 10.1.2.3", "destroy secret", "create s bitmap:ip range 10.1.2.3-10.1.2.9"])("%s is refused", (line) => {
    expect(() => sets(line)).toThrow(/^line 1: /);
  });
});
