/** The text that NPM writes, its configuration, what it refuses, and where its rules come from. */
import { describe, expect, test } from "vitest";
import type { Cluster } from "../../cluster/cluster.js";
import { readManifests } from "../../cluster/manifests.js";
import { buildCluster } from "../../cluster/timeline.js";
import { joinRules } from "../ruleset.js";
import type { NpmConfig } from "./config.js";
import { npmProblems, npmProgram, npmSetNames, npmSetRestore, npmSets } from "./generate.js";
import { WORD_LIMIT } from "./rules.js";

const PODS = `
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: red}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web, tier: ""}}
spec:
  nodeName: n1
  containers: [{ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}, {containerPort: 9}]}]
status: {podIP: 10.0.0.10}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: waiting, labels: {app: web}}
spec: {nodeName: n2}
status: {podIP: 10.0.0.9, phase: Pending}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: ended, labels: {app: web}}
spec: {nodeName: n1}
status: {podIP: 10.0.0.11, phase: Succeeded}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: agent, labels: {app: web}}
spec: {nodeName: n1, hostNetwork: true}
status: {podIP: 192.168.0.1}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: six, labels: {app: web}}
spec: {nodeName: n1}
status: {podIPs: [{ip: "fd00::1"}, {ip: 10.0.0.12}]}
`;

const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: web}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 0.0.0.0/0, except: [128.0.0.0/1, 10.1.2.3/32]}
    - podSelector: {matchExpressions: [{key: app, operator: Exists}]}
      namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [red, blue]}, {key: old, operator: DoesNotExist}]}
    ports: [{port: http}, {protocol: UDP, port: 5000, endPort: 5010}]
  - ports: [{protocol: SCTP}]
  egress:
  - to: [{namespaceSelector: {}}]
`;

function cluster(...documents: string[]): Cluster {
  const { objects, problems } = readManifests([{ name: "c.yaml", text: [PODS, ...documents].join("---\n") }]);
  expect(problems).toEqual([]);
  return buildCluster(objects);
}

function policy(name: string, spec: string): string {
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name: ${name}}\nspec: ${spec}\n`;
}

/** The rules, with the readable names of the sets in place of the hashed ones. */
function rules(of: Cluster, given: Partial<NpmConfig> = {}): string[] {
  const names = npmSetNames(of, given);
  return npmProgram(given)(of, of.nodes[0], 4).rules.map(({ chain, text }) => `${chain} ${text}`
    .replace(/--match-set (\S+)/g, (_, name: string) => `--match-set ${names.get(name)}`));
}

function config(toggles: object): string {
  return "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: azure-npm-config}\n"
    + `data:\n  azure-npm.json: '${JSON.stringify({ Toggles: toggles })}'\n`;
}

describe("rules", () => {
  test("without policies the chains are there and AZURE-NPM is empty", () => {
    expect(rules(cluster())).toEqual([
      "AZURE-NPM-INGRESS -j DROP -m mark --mark 0x400/0x400 -m comment --comment DROP-ON-INGRESS-DROP-MARK-0x400/0x400",
      "AZURE-NPM-INGRESS-ALLOW-MARK -j MARK --set-mark 0x200/0x200 -m comment --comment SET-INGRESS-ALLOW-MARK-0x200/0x200",
      "AZURE-NPM-INGRESS-ALLOW-MARK -j AZURE-NPM-EGRESS",
      "AZURE-NPM-EGRESS -j DROP -m mark --mark 0x800/0x800 -m comment --comment DROP-ON-EGRESS-DROP-MARK-0x800/0x800",
      "AZURE-NPM-EGRESS -j AZURE-NPM-ACCEPT -m mark --mark 0x200/0x200 -m comment --comment ACCEPT-ON-INGRESS-ALLOW-MARK-0x200/0x200",
      "AZURE-NPM-ACCEPT -j ACCEPT",
    ]);
  });

  test("of a policy, word by word", () => {
    const subject = "podlabel-app:web dst -m set ! --match-set nestedlabel-shop/web:tier:a:b dst -m set --match-set ns-shop dst";
    const named = "podlabel-app:web-AND-!nestedlabel-shop/web:tier:a:b-AND-ns-shop";
    const teams = (team: string): string => `--match-set nslabel-team:${team} src`;
    const pods = "--match-set podlabel-app src";
    const found = rules(cluster(POLICY));
    const own = (direction: string): string[] => found.filter((one) => one.startsWith(`${chainOf(found, direction)} `))
      .map((one) => one.slice(one.indexOf(" ") + 1));
    expect(found.slice(0, 4)).toEqual([
      "AZURE-NPM -j AZURE-NPM-INGRESS", "AZURE-NPM -j AZURE-NPM-EGRESS", "AZURE-NPM -j AZURE-NPM-ACCEPT",
      `AZURE-NPM-INGRESS -j ${chainOf(found, "INGRESS")} -m set --match-set ${subject} `
        + `-m comment --comment INGRESS-POLICY-shop/web-TO-${named}-IN-ns-shop`]);
    expect(chainOf(found, "INGRESS")).toHaveLength(28);
    const ports = [["-p TCP", " -m set --match-set namedport:http dst,dst", "-ON-TCP-TO-namedport:http"],
      ["-p UDP --dport 5000:5010", "", "-ON-UDP-TO-PORT-5000:5010"]];
    const allow = (match: string, who: string): string[] => ports.map(([protocol, set, comment]) => (
      `-j AZURE-NPM-INGRESS-ALLOW-MARK ${protocol} -m set ${match}${set} -m comment --comment ALLOW-FROM-${who}${comment}`));
    // The requirement that had several values comes last.
    const both = (team: string): string[] => allow(`! --match-set nslabel-old src -m set ${teams(team)} -m set ${pods}`,
      `!nslabel-old-AND-nslabel-team:${team}-AND-podlabel-app`);
    expect(own("INGRESS")).toEqual([
      ...allow("--match-set cidr-web:in-ns:shop-0-0IN src", "cidr-web:in-ns:shop-0-0IN"), ...both("red"), ...both("blue"),
      "-j AZURE-NPM-INGRESS-ALLOW-MARK -p SCTP -m comment --comment ALLOW-ALL-ON-SCTP",
      "-j MARK --set-mark 0x400/0x400 -m comment --comment DROP-ALL",
    ]);
    expect(own("EGRESS")).toEqual([
      "-j AZURE-NPM-ACCEPT -m set --match-set nslabel-all-namespaces dst -m comment --comment ALLOW-TO-nslabel-all-namespaces",
      "-j MARK --set-mark 0x800/0x800 -m comment --comment DROP-ALL",
    ]);
  });

  test("a rule that allows everything is all there is of a direction", () => {
    const found = rules(cluster(policy("open", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {}]}")));
    expect(found.filter((one) => /^AZURE-NPM-INGRESS-\w{10} /.test(one)).map((one) => one.slice(one.indexOf(" ") + 1)))
      .toEqual(["-j AZURE-NPM-INGRESS-ALLOW-MARK -m comment --comment ALLOW-ALL"]);
  });

  test("the jump in FORWARD stands behind that to KUBE-SERVICES, or first, and IPv6 has none", () => {
    const kube = { jumps: ["KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"].map((chain) => (
      { table: "filter" as const, chain: "FORWARD", text: `-j ${chain}`, becauses: [] })), chains: [], rules: [] };
    const order = (of: Cluster): string[] => joinRules([kube, npmProgram()(of, of.nodes[0], 4)]).text.split("\n")
      .filter((line) => line.startsWith("-A FORWARD")).map((line) => line.split("-j ")[1].split(" ")[0]);
    expect(npmProgram()(cluster(), cluster().nodes[0], 4).jumps.map(({ chain, text }) => `${chain} ${text}`))
      .toEqual(["FORWARD -j AZURE-NPM -m conntrack --ctstate NEW"]);
    expect(order(cluster())).toEqual(["KUBE-FORWARD", "KUBE-SERVICES", "AZURE-NPM", "KUBE-EXTERNAL-SERVICES"]);
    expect(order(cluster(config({ EnableV2NPM: true, PlaceAzureChainFirst: true }))))
      .toEqual(["AZURE-NPM", "KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"]);
    expect(npmProgram()(cluster(POLICY), cluster().nodes[0], 6)).toEqual({ jumps: [], chains: [], rules: [] });
  });

  test("each rule of a policy names it, with the line", () => {
    const of = cluster(POLICY);
    const becauses = npmProgram()(of, of.nodes[0], 4).rules
      .filter(({ chain, text }) => text.includes("shop/web") || /-\w{10}$/.test(chain))
      .flatMap((rule) => rule.becauses);
    expect(becauses.every(({ object, where }) => object === "shop/web" && where?.file === "c.yaml" && where.line > 40)).toBe(true);
    expect(becauses.map(({ rule }) => rule)).toEqual([
      "podSelector", "podSelector", "ingress[0].from[0] ports[0]", "ingress[0].from[0] ports[1]",
      ...Array.from({ length: 2 }, () => ["ingress[0].from[1] ports[0]", "ingress[0].from[1] ports[1]"]).flat(), "ingress[1] ports[0]",
      "policyTypes Ingress, and no rule matches", "egress[0].to[0]", "policyTypes Egress, and no rule matches"]);
  });

  test("the order of objects changes nothing", () => {
    const other = policy("another", "{podSelector: {}}");
    const [one, two] = [cluster(POLICY, other), cluster(other, POLICY)];
    expect(rules({ ...two, pods: [...two.pods].reverse() })).toEqual(rules(one));
    expect(npmSets({ ...two, pods: [...two.pods].reverse() })).toBe(npmSets(one));
  });
});

describe("sets", () => {
  const readable = (of: Cluster): Record<string, string[]> => {
    const names = npmSetNames(of);
    const found: Record<string, string[]> = {};
    for (const line of npmSets(of).trim().split("\n")) {
      const [verb, name, ...rest] = line.split(" ");
      if (verb === "create") found[names.get(name)!] = [rest[0]];
      else found[names.get(name)!].push(names.get(rest[0]) ?? rest.join(" "));
    }
    return found;
  };

  test("of pods with an IPv4 address that have not ended and are not on the host's network", () => {
    expect(readable(cluster())).toEqual({
      "ns-shop": ["hash:net", "10.0.0.10", "10.0.0.9"], "podlabel-app": ["hash:net", "10.0.0.10", "10.0.0.9"],
      "podlabel-app:web": ["hash:net", "10.0.0.10", "10.0.0.9"], "podlabel-tier": ["hash:net", "10.0.0.10"],
      "podlabel-tier:": ["hash:net", "10.0.0.10"],
      "namedport:http": ["hash:ip,port", "10.0.0.10,tcp:8080"], "namedport:dns": ["hash:ip,port", "10.0.0.10,udp:53"],
      "nslabel-all-namespaces": ["list:set", "ns-shop"], "nslabel-team": ["list:set", "ns-shop"],
      "nslabel-team:red": ["list:set", "ns-shop"], "nslabel-kubernetes.io/metadata.name": ["list:set", "ns-shop"],
      "nslabel-kubernetes.io/metadata.name:shop": ["list:set", "ns-shop"],
    });
  });

  test("what a policy names is there, members or none", () => {
    const found = readable(cluster(POLICY));
    expect(found["cidr-web:in-ns:shop-0-0IN"]).toEqual(["hash:net", "0.0.0.0/1", "10.1.2.3 nomatch", "128.0.0.0/1 nomatch"]);
    expect(found["nestedlabel-shop/web:tier:a:b"].sort()).toEqual(["list:set", "podlabel-tier:a", "podlabel-tier:b"]);
    expect(found["nslabel-team:blue"]).toEqual(["list:set"]);
    expect(found["nslabel-old"]).toEqual(["list:set"]);
    expect(npmSetRestore(cluster(POLICY))).toMatch(/^-N azure-npm-\w{20} --exist nethash maxelem 4294967295$/m);
  });

  test("a node gets those that rules name; all of them on request, named as the node's rules name them", () => {
    const of = cluster(POLICY);
    const { sets = [], rules: own } = npmProgram()(of, of.nodes[0], 4);
    const created = sets.filter((line) => line.startsWith("create")).map((line) => line.split(" ")[1]);
    for (const [, name] of own.map(({ text }) => text).join("\n").matchAll(/--match-set (\S+)/g)) expect(created).toContain(name);
    expect(npmSets(of)).toContain("create azure-npm-");
    expect(created.length).toBeLessThan(npmSets(of).match(/^create/gm)!.length);
    expect(npmSets(of, "-A AZURE-NPM -m set --match-set azure-npm-2064349730 src")).toMatch(/^create azure-npm-\d+ hash:net/m);
  });
});

describe("configuration and refusals", () => {
  test("toggles are the ConfigMap's, absent ones are false, and broken JSON means the defaults", () => {
    expect(npmProblems(cluster(config({ EnableV2NPM: true })))).toEqual([]);
    expect(npmProblems(cluster(config({}))).map(({ what }) => what)).toEqual([expect.stringMatching(/^Azure NPM runs as v1/)]);
    expect(npmProgram()(cluster(config({})), cluster().nodes[0], 4).jumps).toEqual([]);
    const broken = config({}).replace("{\"Toggles", "{Toggles");
    expect(npmProblems(cluster(broken)).map(({ what }) => what)).toEqual([expect.stringMatching(/has no azure-npm.json that is JSON/)]);
  });

  test.each<[string, string, Partial<NpmConfig>, RegExp]>([
    ["an IPv6 block", "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}]}]}", {}, /ipBlock fd00::\/8 is not IPv4/],
    ["a selector with NPM Lite", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", { EnableNPMLite: true }, /NPM Lite/],
    ["a named port with NPM Lite", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}", { EnableNPMLite: true }, /named port http/],
    ["a comment too long", `{podSelector: {matchExpressions: [{key: a, operator: In, values: [${Array.from({ length: 20 },
      (_, number) => `v${number}${"x".repeat(55)}`).join(", ")}]}]}}`, {}, /a comment of its rules has \d{4} characters/],
  ])("%s: the whole policy is left out and said", (_, spec, given, why) => {
    const of = cluster(policy("refused", spec), policy("kept", "{podSelector: {}}"));
    const problems = npmProblems(of, given);
    expect(problems).toMatchObject([{ severity: "warning", where: { file: "c.yaml" }, what: expect.stringMatching(why) }]);
    expect(rules(of, given).filter((one) => one.includes("shop/refused"))).toEqual([]);
    expect(rules(of, given).filter((one) => one.includes("shop/kept")).length).toBe(1);
  });

  test("where a rule allows everything, NPM does not look at the others", () => {
    expect(npmProblems(cluster(policy("open", "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}]}, {}]}")))).toEqual([]);
    expect(WORD_LIMIT).toBe(1024);
  });

  test("NPM Lite knows the node's own pods", () => {
    const lite = { EnableNPMLite: true };
    expect(npmSetRestore(cluster(), lite, "n1")).not.toContain("10.0.0.9");
    expect(npmSetRestore(cluster(), lite, "n2")).toContain("10.0.0.9");
  });
});

/** The policy's own chain of a direction. */
function chainOf(found: readonly string[], direction: string): string {
  return new RegExp(`-j (AZURE-NPM-${direction}-[0-9a-z]{10}) `).exec(found.join("\n"))![1];
}
