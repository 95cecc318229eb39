/** kube-proxy's configuration from manifests: document, ConfigMap and flags, what is wrong in them, what comes first. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { readManifests } from "../../cluster/manifests.js";
import { formatProblem, type Problem } from "../../cluster/problem.js";
import { buildTimeline } from "../../cluster/timeline.js";
import { assumedNetwork, kubeProxyRefusal } from "../../network.js";
import { KUBE_PROXY_DEFAULTS } from "./config.js";
import { type KubeProxyConfiguration, readKubeProxyConfiguration } from "./configuration.js";
import { durationSeconds, SETTINGS } from "./settings.js";

const EVERYTHING = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 192.168.0.9
clientConnection: {kubeconfig: /x, qps: 5}
clusterCIDR: 10.1.0.0/16,fd01::/48
configSyncPeriod: 0s
conntrack:
  maxPerCore: 0
  min: null
  tcpBeLiberal: true
  tcpCloseWaitTimeout: 60s
  tcpEstablishedTimeout: 1h30m
  udpTimeout: 0s
  udpStreamTimeout: 300s
detectLocal: {bridgeInterface: cbr0, interfaceNamePrefix: veth}
detectLocalMode: BridgeInterface
featureGates: {LoadBalancerIPMode: false, PreferSameTrafficDistribution: true, SomethingElse: true}
iptables: {localhostNodePorts: false, masqueradeAll: true, masqueradeBit: 7, minSyncPeriod: 1s, syncPeriod: 30s}
mode: iptables
nodePortAddresses: [10.0.0.0/8, "::1/128"]
serviceProxyName: ours
`;
const READ = {
  ...KUBE_PROXY_DEFAULTS,
  detectLocalMode: "BridgeInterface", detectLocal: { bridgeInterface: "cbr0", interfaceNamePrefix: "veth" },
  localhostNodePorts: false, masqueradeAll: true, masqueradeBit: 7, tcpBeLiberal: true, loadBalancerIPMode: false,
  preferSameTrafficDistribution: true, serviceProxyName: "ours",
  conntrack: { maxPerCore: 0, min: 131072, tcpEstablishedTimeoutSeconds: 5400, tcpCloseWaitTimeoutSeconds: 60,
    udpTimeoutSeconds: 0, udpStreamTimeoutSeconds: 300 },
};
const FLAGS = ["--bind-address=192.168.0.9", "--cluster-cidr=10.1.0.0/16,fd01::/48", "--conntrack-max-per-core=0",
  "--conntrack-tcp-be-liberal", "--conntrack-tcp-timeout-close-wait=60s", "--conntrack-tcp-timeout-established=1h30m",
  "--conntrack-udp-timeout=0", "--conntrack-udp-timeout-stream=300s", "--pod-bridge-interface", "cbr0",
  "--pod-interface-name-prefix=veth", "--detect-local-mode=BridgeInterface", "--iptables-localhost-nodeports=false",
  "--feature-gates=LoadBalancerIPMode=false,PreferSameTrafficDistribution=true", "--masquerade-all=true",
  "--iptables-masquerade-bit=7", "--proxy-mode=iptables", "--nodeport-addresses=10.0.0.0/8,::1/128", "--v=3",
  "--metrics-bind-address=0.0.0.0:10249", "--kubeconfig=/var/lib/kubelet/kubeconfig"];

describe("every setting is read", () => {
  test("from a document of its own", () => expectRead(read(EVERYTHING), "KubeProxyConfiguration", "ours"));

  test("from kubeadm's ConfigMap", () => expectRead(read(configMap(EVERYTHING)), "ConfigMap kube-system/kube-proxy", "ours"));

  test("from the same objects as JSON", () => {
    const json = JSON.stringify({ kind: "List", apiVersion: "v1", items: [{ apiVersion: "v1", kind: "ConfigMap",
      metadata: { namespace: "kube-system", name: "kube-proxy" }, data: { "config.conf": EVERYTHING } }] });
    expectRead(read(json), "ConfigMap kube-system/kube-proxy", "ours");
  });

  test("from the flags of the DaemonSet, as a list, and inside one text for a shell", () => {
    expectRead(read(daemonSet(["kube-proxy", ...FLAGS])), "DaemonSet kube-system/kube-proxy", "");
    expectRead(read(daemonSet(["/bin/sh", "-c", `kube-proxy ${FLAGS.join(" ")} 1>>/var/log/kube-proxy.log 2>&1`])),
      "DaemonSet kube-system/kube-proxy", "");
  });
});

describe("what comes first", () => {
  const file = EVERYTHING.replace("masqueradeBit: 7", "masqueradeBit: 9");

  test("flags without --config, and the file with it", () => {
    expect(read(`${file}---\n${daemonSet(["kube-proxy", "--iptables-masquerade-bit=3"])}`).config.masqueradeBit).toBe(3);
    const withFile = daemonSet(["kube-proxy", "--config=/var/lib/config.conf", "--iptables-masquerade-bit=3"]);
    expect(read(`${file}---\n${withFile}`).config.masqueradeBit).toBe(9);
    expect(read(`${configMap(file)}---\n${withFile}`).config.masqueradeBit).toBe(9);
  });

  test("a document before the ConfigMap", () => {
    expect(read(`${configMap(EVERYTHING)}---\n${file}`).config.masqueradeBit).toBe(9);
  });

  test("objects of other names and namespaces do not count", () => {
    expect(read(configMap(file).replace("kube-system", "elsewhere")).source).toBeNull();
    expect(read(daemonSet(FLAGS).replace("name: kube-proxy", "name: kube-proxy-windows")).source).toBeNull();
  });

  test("a file that is not among the objects is said", () => {
    const found = read(daemonSet(["kube-proxy", "--config=/var/lib/config.conf"]));
    expect(found.source).toBeNull();
    expect(texts(found)).toEqual([expect.stringMatching(/^a\.yaml:10: warning: .*\/var\/lib\/config\.conf.*not among/)]);
  });
});

describe("what is wrong is said with its line, and the rest is used", () => {
  test("unknown fields, wrong types, values out of range", () => {
    const wrong = EVERYTHING.replace("maxPerCore: 0", "maxPerCore: many").replace("masqueradeBit: 7", "masqueradeBit: 32")
      .replace("detectLocalMode: BridgeInterface", "detectLocalMode: Bridge").replace("clientConnection:", "clientConection:")
      .replace("tcpCloseWaitTimeout: 60s", "tcpCloseWaitTimeout: 60").replace("10.0.0.0/8, ", "10.0.0.0/33, ");
    const found = read(wrong);
    expect(texts(found)).toEqual([
      expect.stringMatching(/^a\.yaml:4: warning: .*clientConection: unknown field/),
      expect.stringMatching(/^a\.yaml:8: error: .*conntrack\.maxPerCore: found "many", expected a whole number/),
      expect.stringMatching(/^a\.yaml:11: error: .*tcpCloseWaitTimeout: found 60, expected a duration/),
      expect.stringMatching(/^a\.yaml:16: error: .*detectLocalMode: found "Bridge", expected ClusterCIDR/),
      expect.stringMatching(/^a\.yaml:18: error: .*iptables\.masqueradeBit: found 32, expected a whole number from 0 to 31/),
      expect.stringMatching(/^a\.yaml:20: error: .*nodePortAddresses: found .*, expected a list of CIDRs, or the one word primary/),
    ]);
    expect(found.config).toMatchObject(
      { masqueradeBit: 14, masqueradeAll: true, detectLocalMode: "ClusterCIDR", nodePortAddresses: [] });
  });

  test("inside a ConfigMap the line is the file's", () => {
    const found = read(configMap(EVERYTHING.replace("masqueradeBit: 7", "masqueradeBit: x")));
    expect(texts(found)).toEqual([expect.stringMatching(/^a\.yaml:23: error: .*masqueradeBit/)]);
    const broken = read(configMap("apiVersion: [kubeproxy\n"));
    expect(broken.source).toBeNull();
    expect(broken.problems[0].where?.line).toBeGreaterThan(5);
  });

  test("flags too", () => {
    const found = read(daemonSet(["kube-proxy", "--masquerade-all=yes", "--no-such-flag", "--iptables-masquerade-bit"]));
    expect(texts(found)).toEqual([
      expect.stringMatching(/^a\.yaml:10: error: .*--masquerade-all: found "yes", expected true or false/),
      expect.stringMatching(/^a\.yaml:11: warning: .*--no-such-flag: unknown flag/),
      expect.stringMatching(/^a\.yaml:12: error: .*--iptables-masquerade-bit: found no value, expected a whole number/),
    ]);
  });

  test("another API version is not used", () => {
    const found = read(EVERYTHING.replace("v1alpha1", "v1alpha9"));
    expect(found.source).toBeNull();
    expect(found.config).toEqual(KUBE_PROXY_DEFAULTS);
    expect(texts(found)).toEqual([expect.stringMatching(/^a\.yaml:1: error: .*v1alpha9, expected kubeproxy/)]);
  });
});

describe("modes", () => {
  test.each(["ipvs", "nftables", "kernelspace", "userspace", "ebpf"])("%s is refused with its place and what to do", (mode) => {
    const cluster = clusterOf(EVERYTHING.replace("mode: iptables", `mode: ${mode}`));
    expect(kubeProxyRefusal(cluster))
      .toMatch(new RegExp(`^a\\.yaml:19: error: kube-proxy runs in .*${mode}.*only iptables mode is modelled`));
    expect(kubeProxyRefusal(clusterOf(daemonSet(["kube-proxy", `--proxy-mode=${mode}`])))).toMatch(/^a\.yaml:10: /);
  });

  test.each(["iptables", '""'])("%s is iptables", (mode) => {
    expect(kubeProxyRefusal(clusterOf(EVERYTHING.replace("mode: iptables", `mode: ${mode}`)))).toBeNull();
  });
});

describe("precedence of the pod ranges", () => {
  const nodes = "---\napiVersion: v1\nkind: Node\nmetadata: {name: one}\nspec: {podCIDRs: [10.244.3.0/24]}\n";
  const networkOf = (text: string, given: Parameters<typeof assumedNetwork>[1]): { cidrs: unknown[]; warnings: string[] } => {
    const problems: Problem[] = [];
    const { kubeProxy, clusterCidrs } = assumedNetwork(clusterOf(text), given, problems);
    return { cidrs: [kubeProxy!.clusterCIDR, clusterCidrs].map((list) => list.map((one) => one.text)),
      warnings: problems.map((one) => one.what).filter((what) => what.includes("--cluster-cidr")) };
  };

  test("the option, then the objects without a warning, then the nodes with one", () => {
    const { clusterCIDR } = read(EVERYTHING).config;
    expect(networkOf(EVERYTHING + nodes, { clusterCidrs: clusterCIDR.slice(1) }))
      .toEqual({ cidrs: [["fd01::/48"], ["fd01::/48"]], warnings: [] });
    expect(networkOf(EVERYTHING + nodes, {}))
      .toEqual({ cidrs: [["10.1.0.0/16", "fd01::/48"], ["10.1.0.0/16", "fd01::/48"]], warnings: [] });
    expect(networkOf(nodes, {}).cidrs).toEqual([["10.244.3.0/24"], ["10.244.3.0/24"]]);
    expect(networkOf(nodes, {}).warnings.length).toBe(1);
  });

  test("a kube-proxy that has no range has no detector, whatever the nodes' podCIDRs", () => {
    const none = networkOf(EVERYTHING.replace(/clusterCIDR: .*/, 'clusterCIDR: ""') + nodes, {});
    expect(none.cidrs).toEqual([[], ["10.244.3.0/24"]]);
    expect(none.warnings.length).toBe(1);
  });
});

describe("whatever stands in an object", () => {
  const seed = testSeed("src/iptables/kubeproxy/configuration");
  const paths = SETTINGS.map((setting) => setting.path);
  const file = fc.dictionary(fc.constantFrom(...paths, "conntrack", "iptables", "detectLocal", "x"), fc.jsonValue(), { maxKeys: 6 });
  const nested = (flat: Record<string, unknown>): object => {
    const root: Record<string, unknown> = { apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration" };
    for (const [path, value] of Object.entries(flat)) {
      const [head, tail] = path.split(".");
      if (tail === undefined) root[head] = value;
      else root[head] = { ...(typeof root[head] === "object" ? root[head] : {}), [tail]: value };
    }
    return root;
  };
  const objects = (flat: Record<string, unknown>, args: unknown, data: unknown): object[] => [nested(flat),
    { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "kube-system", name: "kube-proxy" },
      data: { "config.conf": typeof data === "string" ? data : JSON.stringify(nested(flat)) } },
    { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { namespace: "kube-system", name: "kube-proxy" },
      spec: { template: { spec: { containers: Array.isArray(args) ? [{ args }] : args } } } }];

  test("nothing is thrown, every problem has a line, and the configuration is one", () => {
    const args = fc.oneof(fc.jsonValue(), fc.array(fc.constantFrom(...FLAGS, "--x", "--masquerade-all", "--iptables-masquerade-bit", "7")));
    fc.assert(fc.property(file, args, fc.jsonValue(), fc.nat(2), (flat, words, data, which) => {
      const text = JSON.stringify({ kind: "List", apiVersion: "v1", items: [objects(flat, words, data)[which]] }, null, 1);
      const { objects: read } = readManifests([{ name: "a.json", text }]);
      const found = readKubeProxyConfiguration(buildTimeline({ initial: read }).initial);
      for (const problem of found.problems) expect(problem.where?.line).toBeGreaterThan(0);
      expect(Object.keys(found.config).sort()).toEqual(Object.keys(KUBE_PROXY_DEFAULTS).sort());
      expect(found.config.masqueradeBit).toBeLessThan(32);
      expect(typeof found.config.masqueradeAll).toBe("boolean");
    }), { seed, numRuns: 400 });
  });
});

test("durations are Go's", () => {
  expect(["24h0m0s", "0", "0s", "1.5h", "90m", "1m30s", "1500ms", "1us"].map(durationSeconds))
    .toEqual([86400, 0, 0, 5400, 5400, 90, 1, 0]);
  expect(["", "1", "s", "1d", "-1s", "1 s"].map(durationSeconds)).toEqual([null, null, null, null, null, null]);
});

function expectRead(found: KubeProxyConfiguration, source: string, serviceProxyName: string): void {
  expect(texts(found)).toEqual([]);
  expect(found.source).toBe(source);
  expect(found.refusal).toBeNull();
  const { clusterCIDR, nodePortAddresses, bindAddress, ...rest } = found.config;
  expect(clusterCIDR.map((one) => one.text)).toEqual(["10.1.0.0/16", "fd01::/48"]);
  expect(nodePortAddresses === "primary" ? [] : nodePortAddresses.map((one) => one.text)).toEqual(["10.0.0.0/8", "::1/128"]);
  expect(bindAddress?.text).toBe("192.168.0.9");
  expect({ ...READ, ...rest }).toEqual({ ...READ, serviceProxyName, clusterCIDR: [], nodePortAddresses: [], bindAddress: null });
}

function read(text: string): KubeProxyConfiguration {
  return readKubeProxyConfiguration(clusterOf(text));
}

function clusterOf(text: string): ReturnType<typeof buildTimeline>["initial"] {
  const { objects, problems } = readManifests([{ name: "a.yaml", text }]);
  expect(problems).toEqual([]);
  return buildTimeline({ initial: objects }).initial;
}

function texts(found: KubeProxyConfiguration): string[] {
  return found.problems.map(formatProblem);
}

function configMap(file: string): string {
  const indented = file.split("\n").map((line) => `    ${line}`.trimEnd()).join("\n");
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: kube-proxy}\ndata:\n  config.conf: |-\n${indented}\n`;
}

/** The first word of the command stands on line 9. */
function daemonSet(command: readonly string[]): string {
  return "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {namespace: kube-system, name: kube-proxy}\nspec:\n  template:\n    spec:\n"
    + `      containers:\n      - command:\n${command.map((word) => `        - ${JSON.stringify(word)}\n`).join("")}`;
}
