/** `twinplane test`: scenarios that hold, that fail, that cannot be judged, that cannot be read. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SCENARIO_SCHEMA } from "../src/scenario/schema.js";
import { CLI, root, runCli } from "./cli.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-scenario-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CLUSTER = join(root, "traces/reasons/cluster.yaml");
const DENY = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: default}, spec: {podSelector: {}}}";

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** One probe from the client to the service's port on both planes. */
function scenario(expected: string, more = "", objects = ""): string {
  return `name: made\ncluster: [${CLUSTER}${objects === "" ? "" : `, ${objects}`}]\nprobes:\n  - name: one\n    from: {pod: default/client}\n`
    + `    to: {service: default/web}\n    port: 80\n${more}    expect: ${expected}\n`;
}

describe("expectations", () => {
  it("hold", async () => {
    const path = file("good.yaml", scenario("{outcome: delivered, to: [default/web-1, default/web-2], source: client, difference: none}",
      "    repeat: 32\n"));
    const ran = await runCli(["test", path]);
    expect(ran.stdout).toContain("1 scenario, 1 probe: 1 passed");
    expect(ran.exitCode).toBe(0);
  });

  it.each([
    ["outcome", "{outcome: dropped}", "expected dropped, found delivered to default/web-"],
    ["a destination", "{to: default/client}", "expected destination default/client, found delivered to default/web-"],
    ["a destination's port", "{to: ['10.244.1.20:80', '10.244.2.20:80']}", "expected destination 10.244.1.20:80 or 10.244.2.20:80"],
    ["a source", "{source: node-1}", "expected source node-1, found delivered"],
    ["a reason", "{reason: POLICY_DENIED}", "expected reason POLICY_DENIED"],
    ["why", "{because: default/deny}", "expected because default/deny, found "],
    ["an answer", "{reply: lost}", "expected the answer lost, found restored"],
    ["a difference", "{difference: POL-NOENGINE}", "expected difference POL-NOENGINE, found none"],
    ["one plane alone", "{target: {outcome: left}}", "target: expected left, found delivered"],
  ])("%s that is not so fails", async (name, expected, said) => {
    const ran = await runCli(["test", file("bad.yaml", scenario(expected)), "-o", "text"]);
    expect(ran.stdout, name).toContain(said);
    expect(ran.stdout).toMatch(/FAIL one {2}\(.*bad\.yaml:4\)/);
    expect(ran.exitCode).toBe(1);
  });

  it("every member of the set must be chosen", async () => {
    const ran = await runCli(["test", file("set.yaml", scenario("{to: [default/web-1, default/web-2, default/client]}", "    repeat: 16\n"))]);
    expect(ran.stdout).toContain("never found default/client");
    expect(ran.exitCode).toBe(1);
  });

  it("a difference that shows where none is expected fails", async () => {
    const ran = await runCli(["test", file("none.yaml", scenario("{difference: none}", "", DENY))]);
    expect(ran.stdout).toContain("expected no difference, found POL-NOENGINE");
    expect(ran.exitCode).toBe(1);
  });

  it("what a plane cannot judge is not passed", async () => {
    const v1 = "{apiVersion: v1, kind: ConfigMap, metadata: {name: azure-npm-config, namespace: kube-system},"
      + ` data: {azure-npm.json: '{"Toggles": {"EnableV2NPM": false}}'}}`;
    const text = `planes: {current: {profile: kube-proxy+npm}}\n${scenario("{outcome: delivered}", "", v1)}`;
    const ran = await runCli(["test", file("undecided.yaml", text)]);
    expect(ran.stdout).toMatch(/\?\? {3}one .*\n +current: expected delivered, found undecided/);
    expect(ran.exitCode).toBe(3);
  });

  it("changes take effect at their probe, and stay", async () => {
    const text = `${scenario("{outcome: delivered}")}  - from: {pod: default/client}\n    to: {service: default/web}\n    repeat: 8\n`
      + "    change: [{delete: {pod: default/web-1}}]\n    expect: {to: default/web-2}\n"
      + `  - from: {pod: default/client}\n    to: {service: default/web}\n    change: [{apply: ${DENY}}]\n    expect: {target: {reason: POLICY_DENIED}}\n`;
    expect((await runCli(["test", file("change.yaml", text)])).stdout).toContain("3 probes: 3 passed");
  });
});

it("problems that must be said, and their errors stop nothing", async () => {
  const pod = "{apiVersion: v1, kind: Pod, metadata: {name: 7}}";
  const said = (part: string): string => `problems: ["${part}"]\n${scenario("{outcome: delivered}", "", pod)}`;
  const good = await runCli(["test", file("said.yaml", said("metadata.name"))]);
  expect(good.stdout).toContain("2 probes: 2 passed");
  expect(good.exitCode).toBe(0);
  const bad = await runCli(["test", file("unsaid.yaml", said("quite other"))]);
  expect(bad.stdout).toContain('expected a problem that says "quite other", found ');
  expect(bad.exitCode).toBe(2);
});

describe("what cannot be read", () => {
  it.each([
    ["an unknown field", "name: a\ncluster: []\nprobs: []\n", ":3: error: probs: unknown field probs"],
    ["no probes", "name: a\ncluster: []\n", ":1: error: scenario: found no probes"],
    ["a wrong word", scenario("{outcome: passed}"), ':8: error: probes[0].expect.outcome: found "passed", expected delivered, left'],
    ["an unknown plane", scenario("{tagret: {outcome: left}}"), ":8: error: probes[0].expect.tagret: tagret is no plane"],
    ["an unknown field of expect", scenario("{outcom: left}"), ":8: error: probes[0].expect.outcom: outcom is no plane of this scenario and no"
      + " field, expected current, target, outcome, to, source, reason, because, reply, difference"],
    ["nothing expected", scenario("{}"), ":8: error: probes[0].expect: nothing is expected"],
    ["an unknown pod", scenario("{outcome: left}").replace("default/client", "default/nobody"), ":4: error: the cluster has no pod default/nobody"],
    ["an unknown port", scenario("{outcome: left}").replace("port: 80", "port: smtp"), ":4: error: service default/web has no port named smtp"],
    ["an unknown profile", `planes: {a: {profile: cilium@9}}\n${scenario("{outcome: left}")}`, ":1: error: no profile 'cilium@9'"],
    ["an unknown option", `planes: {a: {profile: cilium@1.20, cilium: {enable-polcy: never}}}\n${scenario("{outcome: left}")}`,
      ":1: error: a: no option enable-polcy is known"],
    ["an option's value", `planes: {a: {profile: cilium@1.20, cilium: {enable-policy: maybe}}}\n${scenario("{outcome: left}")}`,
      ':1: error: a: option enable-policy is "maybe"'],
    ["a file that is not there", scenario("{outcome: left}").replace(CLUSTER, "nowhere.yaml"), ":2: error: "],
    ["no YAML", "name: [", ":1: error: "],
    ["an object that is none", scenario("{outcome: left}", "", "{kind: Pod}"), ":2: error: "],
    ["a time", scenario("{outcome: left}", "    after: soon\n"), ':8: error: probes[0].after: found "soon"'],
  ])("%s: a Problem with its line, and exit code 2", async (_, text, said) => {
    const ran = await runCli(["test", file("wrong.yaml", text)]);
    expect(ran.stdout).toContain(`wrong.yaml${said}`);
    expect(ran.stdout).not.toContain("    at ");
    expect(ran.exitCode).toBe(2);
  });

  it("a folder without scenarios", async () => {
    mkdirSync(join(folder, "empty"), { recursive: true });
    expect((await runCli(["test", join(folder, "empty")])).exitCode).toBe(2);
    expect((await runCli(["test"])).exitCode).toBe(2);
  });
});

it("JUnit: a case a probe, failures with what was found", async () => {
  const path = file("junit.yaml", scenario("{outcome: dropped}").replace("name: one", 'name: "a < b & \\"c\\""'));
  const { stdout } = await runCli(["test", path, "-o", "junit"]);
  expect(stdout).toContain('<testsuites name="twinplane" tests="1" failures="1" errors="0">');
  expect(stdout).toContain('name="a &lt; b &amp; &quot;c&quot;"');
  expect(stdout).toMatch(/<failure type="failed" message="current: expected dropped, found delivered/);
});

describe("checksum and length", () => {
  const probe = (more: string, from = "{pod: default/client}"): string => `name: sums
cluster: [traces/differences/two-nodes.yaml]
planes: {target: {profile: kube-proxy}}
probes:
  - from: ${from}
    to: {pod: default/web-2}
    port: 8080
    ${more}
`;
  const run = async (name: string, text: string): Promise<{ exitCode: number; stdout: string; stderr: string }> =>
    runCli(["test", file(name, text.replace("traces/", `${root}/traces/`))]);

  it.each([
    ["UDP", "protocol: UDP", "{outcome: dropped}"], ["TCP", "protocol: TCP", "{outcome: dropped}"], ["IPv6", "family: 6", "{outcome: dropped}"],
  ])("of %s that is wrong makes conntrack call it INVALID", async (name, more, expected) => {
    const wrong = await run(`sum-${name}.yaml`, probe(`${more}\n    checksum: wrong\n    expect: ${expected}`));
    expect(wrong.exitCode, wrong.stdout).toBe(0);
    const right = await run(`right-${name}.yaml`, probe(`${more}\n    expect: {outcome: delivered}`));
    expect(right.exitCode, right.stdout).toBe(0);
  });

  it.each([["UDP", 1400], ["TCP", 1401], ["ICMP", 1399], ["TCP\n    family: 6", 1400]])("a packet of %s with a length is whole", async (protocol, length) => {
    const ran = await run(`long-${length}-${protocol.length}.yaml`, probe(`protocol: ${protocol}\n    length: ${length}\n    expect: {outcome: delivered}`)
      .replace(protocol === "ICMP" ? "    port: 8080\n" : "\0", ""));
    expect(ran.exitCode, ran.stdout).toBe(0);
  });

  it("a node's tunnel is a device with an MTU of its own", async () => {
    const tunnels = "nodes: {node-1: {tunnel: {mtu: 1300}}, node-2: {tunnel: {mtu: 1300}}}\nplanes:";
    for (const [length, outcome] of [[1300, "delivered"], [1301, "answered"]] as const) {
      const ran = await run(`tunnel-${length}.yaml`, probe(`protocol: UDP\n    length: ${length}\n    expect: {outcome: ${outcome}}`)
        .replace("planes:", tunnels));
      expect(ran.exitCode, ran.stdout).toBe(0);
    }
    const { exitCode, stdout } = await run("bad-tunnel.yaml", probe("expect: {outcome: delivered}").replace("planes:",
      "nodes: {node-1: {tunnel: {}}}\nplanes:"));
    expect([exitCode, stdout]).toEqual([2, expect.stringMatching(/yaml:\d+.*mtu/)]);
  });

  it("of the IPv4 header is what ip_rcv_core drops", async () => {
    const { exitCode, stdout } = await run("header.yaml", probe("checksum: wrong-header\n    expect: {outcome: dropped, reason: IP_CSUM}",
      "{ip: 203.0.113.9, via: node-2}"));
    expect(exitCode, stdout).toBe(0);
  });

  it.each([
    ["another word", "checksum: bad", /checksum.*wrong/], ["beside bytes", 'packet: "45"\n    checksum: wrong', /found checksum beside packet or icmpError/],
    ["of an IPv6 header", "family: 6\n    checksum: wrong-header", /an IPv6 header has none/],
    ["a length shorter than its headers", "length: 30", /expected at least the 40 bytes of its headers/],
    ["a length of SCTP", "protocol: SCTP\n    length: 400", /SCTP has chunks/],
    ["a length beside an error", "icmpError: {about: x, type: 3}\n    length: 400", /found length beside packet or icmpError/],
    ["of a protocol without one", "protocol: 47\n    checksum: wrong", /expected one that has a checksum/],
  ])("%s is said with its line", async (name, more, said) => {
    const { exitCode, stdout, stderr } = await run(`bad-${name.replaceAll(" ", "-")}.yaml`, probe(`${more}\n    expect: {outcome: dropped}`));
    expect(`${stdout}${stderr}`).toMatch(said);
    expect(`${stdout}${stderr}`).toMatch(/\.yaml:\d+/);
    expect(exitCode).toBe(2);
  });
});

it("the published schema is the one that files are read by", () => {
  const published = JSON.parse(readFileSync(join(root, "schema/scenario.schema.json"), "utf8"));
  expect(published).toEqual(JSON.parse(JSON.stringify(SCENARIO_SCHEMA)));
});

describe("--watch", () => {
  it("runs again when a file that the scenario names changes", async () => {
    const manifest = file("watched-policy.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n");
    const path = file("watched.yaml", scenario("{target: {outcome: delivered}}", "", manifest));
    const child = spawn(process.execPath, [...CLI, "test", "--watch", path], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    try {
      let printed = "";
      const says = (what: string): Promise<void> => new Promise((resolve) => {
        const look = (text: string): void => {
          printed += text;
          if (printed.includes(what)) resolve();
        };
        child.stdout.on("data", (text) => look(String(text)));
        child.stderr.on("data", (text) => look(String(text)));
      });
      await says("watching");
      expect(printed).toContain("1 passed");
      printed = "";
      const again = says("1 failed");
      writeFileSync(manifest, DENY);
      await again;
    } finally {
      child.kill();
    }
  }, 60_000);
});
