/** Section by section: what kube-proxy writes for which Service, and that order of input never shows. */
import { execFileSync, spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Cluster } from "../../cluster/cluster.js";
import { clusterOf, deviceOf, nodeNamed, type Plain, prefix } from "../manifests.fixture.js";
import { joinRules } from "../ruleset.js";
import { KUBE_PROXY_DEFAULTS, masqueradeMark, type KubeProxyConfig } from "./config.js";
import { generateKubeProxy, type KubeProxyInput } from "./generate.js";
import { HERE, randomCluster, randomConfig } from "./random.fixture.js";

const CONFIG: KubeProxyConfig = { ...KUBE_PROXY_DEFAULTS, clusterCIDR: [prefix("10.0.0.0/8"), prefix("fd00::/16")] };
const SEED = Number(process.env.TWINPLANE_SEED ?? 20261122);

describe("endpoints", () => {
  test("are sorted by text, not by number, and 1/n is of what is left", () => {
    const lines = rules(service({}), slice(["10.0.0.2", "10.0.0.10", "10.0.0.1"]));
    expect(grep(lines, /-A KUBE-SVC.*->/).map((line) => line.replace(/.*-> (\S+)" (.*)-j.*/, "$1 $2"))).toEqual([
      "10.0.0.10:8080 -m statistic --mode random --probability 0.3333333333 ",
      "10.0.0.1:8080 -m statistic --mode random --probability 0.5000000000 ",
      "10.0.0.2:8080 ",
    ]);
  });

  test("have the slice's port, and the slice port's name and protocol must be the service port's", () => {
    const other = slice(["10.0.0.9"], {}, { name: "other" });
    const lines = rules(service({ ports: [{ name: "http", port: 80, targetPort: 4711 }] }), slice(["10.0.0.1"]), other);
    expect(grep(lines, /DNAT --to/).length).toBe(1);
    expect(grep(lines, /--to-destination 10\.0\.0\.1:8080$/).length).toBe(1);
  });

  test("with the same ip:port count once, and a terminating one does not replace a ready one", () => {
    const lines = rules(service({}), slice(["10.0.0.1"]), slice(["10.0.0.1"], { terminating: true, ready: false }));
    expect(grep(lines, /DNAT --to/).length).toBe(1);
  });

  test("fall back to serving terminating ones, for cluster and for local apart", () => {
    const local = service({ type: "NodePort", externalTrafficPolicy: "Local",
      ports: [{ name: "http", port: 80, nodePort: 30080 }] });
    const lines = rules(local, slice(["10.0.0.1"], {}, {}, "other"),
      slice(["10.0.0.2", "10.0.0.3"], { ready: false, serving: true, terminating: true }, {}, "here"));
    expect(grep(lines, /-A KUBE-SVC.*->/).join()).toMatch(/10\.0\.0\.1:8080/);
    expect(grep(lines, /-A KUBE-SVC.*->/).length).toBe(1);
    expect(grep(lines, /-A KUBE-SVL.*->/).length).toBe(2);
    expect(grep(lines, /DNAT --to/).length).toBe(3);
  });

  test("that serve but are neither ready nor terminating are no fall back", () => {
    const lines = rules(service({}), slice(["10.0.0.1"], { ready: false, serving: true, terminating: false }));
    expect(grep(lines, /has no endpoints.*REJECT$/).length).toBe(1);
  });

  test("follow zone hints when every ready one has a hint; one without switches topology off", () => {
    const near = slice(["10.0.0.1"], {}, {}, "x", { forZones: [{ name: "a" }] });
    const far = slice(["10.0.0.2"], {}, {}, "x", { forZones: [{ name: "b" }] });
    expect(grep(rules(service({}), near, far), /-j DNAT/).length).toBe(1);
    expect(grep(rules(service({}), near, far, slice(["10.0.0.3"])), /-j DNAT/).length).toBe(3);
  });

  test("on this node serve Local traffic whatever their zone hint", () => {
    const lines = rules(service({ type: "NodePort", externalTrafficPolicy: "Local",
      ports: [{ name: "http", port: 80, nodePort: 30080 }] }),
    slice(["10.0.0.1"], {}, {}, "x", { forZones: [{ name: "a" }] }),
    slice(["10.0.0.2"], {}, {}, "here", { forZones: [{ name: "b" }] }));
    expect(grep(lines, /-A KUBE-SVC.*-> 10\.0\.0\.1/).length).toBe(1);
    expect(grep(lines, /-A KUBE-SVC.*-> 10\.0\.0\.2/).length).toBe(0);
    expect(grep(lines, /-A KUBE-SVL.*-> 10\.0\.0\.2/).length).toBe(1);
  });

  test("node hints count only with the gate", () => {
    const mine = slice(["10.0.0.1"], {}, {}, "here", { forNodes: [{ name: "here" }] });
    const theirs = slice(["10.0.0.2"], {}, {}, "x", { forNodes: [{ name: "x" }] });
    expect(grep(rules(service({}), mine, theirs), /-j DNAT/).length).toBe(2);
    const gate = { ...CONFIG, preferSameTrafficDistribution: true };
    expect(grep(rulesWith(gate, service({}), mine, theirs), /-j DNAT/).length).toBe(1);
  });
});

describe("without usable endpoints", () => {
  const everything = { type: "LoadBalancer", externalIPs: ["192.0.2.1"], externalTrafficPolicy: "Local",
    ports: [{ name: "http", port: 80, nodePort: 30080 }] };

  test("none anywhere is REJECT, even for policy Local, and nothing in nat", () => {
    const lines = rules(service(everything, ["192.0.2.2"]));
    expect(grep(lines, /has no endpoints.*REJECT$/).length).toBe(4);
    expect(grep(lines, /-A KUBE-(SVC|SVL|EXT|SEP)-/).length).toBe(0);
  });

  test("some elsewhere is DROP from outside, and nat still leads pods and the node there", () => {
    const lines = rules(service(everything, ["192.0.2.2"]), slice(["10.0.0.1"], {}, {}, "other"));
    expect(grep(lines, /-A KUBE-EXTERNAL-SERVICES.*has no local endpoints.*DROP$/).length).toBe(3);
    expect(grep(lines, /-A KUBE-EXT-/).map((line) => line.replace(/.*(-j KUBE-[A-Z-]+)-?.*/, "$1").slice(0, 11)))
      .toEqual(["-j KUBE-SVC", "-j KUBE-MAR", "-j KUBE-SVC"]);
  });

  test("a remote serving terminating endpoint makes it DROP too", () => {
    const lines = rules(service({ internalTrafficPolicy: "Local" }),
      slice(["10.0.0.1"], { ready: false, serving: true, terminating: true }, {}, "other"));
    expect(grep(lines, /-A KUBE-SERVICES.*has no local endpoints.*-j DROP/).length).toBe(1);
    expect(grep(lines, /-j DNAT/).length).toBe(0);
  });
});

describe("external traffic", () => {
  test("policy Local without a detector treats pods as external", () => {
    const local = service({ type: "NodePort", externalTrafficPolicy: "Local",
      ports: [{ name: "http", port: 80, nodePort: 30080 }] });
    const lines = rulesWith({ ...CONFIG, detectLocalMode: "None" }, local, slice(["10.0.0.1"], {}, {}, "here"));
    expect(grep(lines, /pod traffic/).length).toBe(0);
    expect(grep(lines, /cluster IP.*KUBE-MARK-MASQ/).length).toBe(0);
  });

  test("device detectors use -i, a prefix with +", () => {
    const lines = rulesWith({ ...CONFIG, detectLocalMode: "InterfaceNamePrefix",
      detectLocal: { bridgeInterface: "", interfaceNamePrefix: "veth" } }, service({}), slice(["10.0.0.1"]));
    expect(grep(lines, /! -i veth\+ -j KUBE-MARK-MASQ/).length).toBe(1);
  });

  test("ranges that hold the node's address let the VIP itself in; the last rule has no target", () => {
    const ranged = service({ type: "LoadBalancer", loadBalancerSourceRanges: ["192.168.0.0/24"],
      ports: [{ name: "http", port: 80, nodePort: 30080 }] }, ["192.0.2.2"]);
    const lines = grep(rules(ranged, slice(["10.0.0.1"])), /-A KUBE-FW-/);
    expect(lines.map((line) => line.replace(/-A KUBE-FW-\w+ -m comment --comment /, ""))).toEqual([
      expect.stringMatching(/^"ns\/s:http loadbalancer IP" -s 192\.168\.0\.0\/24 -j KUBE-EXT-/),
      expect.stringMatching(/^"ns\/s:http loadbalancer IP" -s 192\.0\.2\.2 -j KUBE-EXT-/),
      '"other traffic to ns/s:http will be dropped by KUBE-PROXY-FIREWALL"',
    ]);
  });

  test("ipMode Proxy writes no rule for the address", () => {
    const proxied = service({ type: "LoadBalancer" }, []);
    proxied.status = { loadBalancer: { ingress: [{ ip: "192.0.2.2", ipMode: "Proxy" }] } };
    expect(grep(rules(proxied, slice(["10.0.0.1"])), /192\.0\.2\.2/)).toEqual([]);
    const gateOff = { ...CONFIG, loadBalancerIPMode: false };
    expect(grep(rulesWith(gateOff, proxied, slice(["10.0.0.1"])), /192\.0\.2\.2/).length).toBe(1);
  });

  test("nodePortAddresses become one rule per address of the node", () => {
    const lines = rulesWith({ ...CONFIG, nodePortAddresses: [prefix("192.168.0.0/24"), prefix("127.0.0.0/8")] });
    expect(grep(lines, /-j KUBE-NODEPORTS$/).filter((line) => line.includes("KUBE-SERVICES"))
      .map((line) => line.replace(/.*chain" /, ""))).toEqual(
      ["-d 127.0.0.1 -j KUBE-NODEPORTS", "-d 192.168.0.2 -j KUBE-NODEPORTS"]);
    const remote = rulesWith({ ...CONFIG, nodePortAddresses: [prefix("192.168.0.0/24")] });
    expect(grep(remote, /127\.0\.0/)).toEqual([]);
  });

  test("IPv6 node ports leave out localhost, and KUBE-FIREWALL stays empty", () => {
    const text = generateKubeProxy(input(clusterOf([]), { family: 6 })).restoreText;
    expect(text).toMatch(/--dst-type LOCAL ! -d ::1\/128 -j KUBE-NODEPORTS/);
    expect(text).not.toMatch(/KUBE-FIREWALL/);
  });
});

describe("the rest", () => {
  test("affinity rules come before the choice, one list per endpoint", () => {
    const lines = rules(service({ sessionAffinity: "ClientIP" }), slice(["10.0.0.1", "10.0.0.2"]));
    expect(grep(lines, /-A KUBE-SVC.*->/).map((line) => /rcheck/.test(line))).toEqual([true, true, false, false]);
    expect(grep(lines, /--name (KUBE-SEP-\w+) --set -m tcp -p tcp -j DNAT/).length).toBe(2);
  });

  test("a port without a name has no colon, and the chain hash of default/nginx is the known one", () => {
    const lines = rules(service({ ports: [{ port: 80 }] }, [], { namespace: "default", name: "nginx" }),
      slice(["10.0.0.1"], {}, { name: "" }, "x", {}, { namespace: "default", name: "nginx" }));
    expect(grep(lines, /"default\/nginx cluster IP".*-j KUBE-SVC-2CMXP7HKUVJN7L6M/).length).toBe(1);
  });

  test("more than 1000 endpoints take the comments off the endpoint rules only", () => {
    const many = Array.from({ length: 1001 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
    const lines = rules(service({ type: "NodePort", ports: [{ name: "http", port: 80, nodePort: 30080 }] }),
      slice(many));
    expect(grep(lines, /-A KUBE-SEP-.*comment/)).toEqual([]);
    expect(grep(lines, /->/)).toEqual([]);
    expect(grep(lines, /-A KUBE-(SERVICES|NODEPORTS|EXT-\w+) .*comment/).length).toBeGreaterThan(3);
    expect(grep(lines, /-A KUBE-SVC.*comment.*cluster IP/).length).toBe(1);
  });

  test("the mark is padded, whatever the bit", () => {
    expect(masqueradeMark(KUBE_PROXY_DEFAULTS)).toBe("0x00004000");
    expect(masqueradeMark({ ...KUBE_PROXY_DEFAULTS, masqueradeBit: 31 })).toBe("0x80000000");
  });

  test("a partial sync leaves unchanged services' chains alone and deletes what nothing uses", () => {
    const cluster = clusterOf([service({}), slice(["10.0.0.1"])]);
    const text = generateKubeProxy(input(cluster, { changed: new Set(),
      existingChains: ["KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SERVICES", "OTHER"] })).restoreText;
    expect(text).not.toMatch(/-A KUBE-SVC/);
    expect(text).toMatch(/-A KUBE-SERVICES .*cluster IP.* -j KUBE-SVC/);
    expect(text).toMatch(/:KUBE-SVC-A{16} - \[0:0\]\n[\s\S]*-X KUBE-SVC-A{16}\n-A KUBE-SERVICES .*nodeports/);
    expect(text).not.toMatch(/-X (KUBE-SERVICES|OTHER)/);
  });

  test("every rule knows where it comes from, and the manifest line where there is one", () => {
    const cluster = clusterOf([{ ...service({}), line: 7 }, { ...slice(["10.0.0.1"]), line: 42 }]);
    const joined = joinRules([generateKubeProxy(input(cluster))]);
    let table = "";
    for (const line of joined.text.split("\n")) {
      if (line.startsWith("*")) table = line.slice(1);
      if (line.startsWith("-A")) expect(joined.because(table, line).length, line).toBeGreaterThan(0);
    }
    const dnat = joined.text.split("\n").find((line) => line.includes("DNAT --to"))!;
    expect(joined.because("nat", dnat).map((because) => because.where?.line)).toEqual([42, 7]);
  });
});

describe("random clusters", () => {
  test(`the order of objects never shows (seed ${SEED})`, () => {
    fc.assert(fc.property(randomCluster(), randomConfig(), fc.integer(), (cluster, config, salt) => {
      const shuffled = shuffle(cluster, salt);
      for (const family of [4, 6] as const) {
        expect(generateKubeProxy({ cluster: shuffled, node: HERE, config, family }).restoreText)
          .toBe(generateKubeProxy({ cluster, node: HERE, config, family }).restoreText);
      }
    }), { seed: SEED, numRuns: 150 });
  });

  const missing = missingTool();
  test.skipIf(missing !== null)(`iptables-restore takes the text (seed ${SEED})${missing ?? ""}`, () => {
    fc.assert(fc.property(randomCluster(), randomConfig(), (cluster, config) => {
      for (const family of [4, 6] as const) {
        const { text } = joinRules([generateKubeProxy({ cluster, node: HERE, family, config })]);
        const tool = family === 4 ? "iptables-restore" : "ip6tables-restore";
        const run = spawnSync(tool, ["--test"], { input: text, encoding: "utf8" });
        expect(run.stderr + (run.status === 0 ? "" : text)).toBe("");
      }
    }), { seed: SEED, numRuns: 40 });
  });
});

function missingTool(): string | null {
  if (process.getuid?.() !== 0) return " (needs root)";
  try {
    execFileSync("iptables-restore", ["--test"], { input: "*nat\nCOMMIT\n", stdio: ["pipe", "ignore", "ignore"] });
    return null;
  } catch {
    return " (needs iptables)";
  }
}

function input(cluster: Cluster, more: Partial<KubeProxyInput> = {}): KubeProxyInput {
  const devices = [deviceOf(1, "lo", "loopback", ["127.0.0.1/8", "::1/128"]),
    deviceOf(2, "eth0", "uplink", ["192.168.0.2/24", "fd00::2/64"])];
  const node = nodeNamed("here", ["192.168.0.2", "fd00::2"], { "topology.kubernetes.io/zone": "a" }, devices);
  return { cluster, node, family: 4, config: CONFIG, ...more };
}

function rules(...objects: Plain[]): string[] {
  return rulesWith(CONFIG, ...objects);
}

function rulesWith(config: KubeProxyConfig, ...objects: Plain[]): string[] {
  return generateKubeProxy(input(clusterOf(objects), { config })).restoreText.split("\n");
}

function grep(lines: readonly string[], pattern: RegExp): string[] {
  return lines.filter((line) => pattern.test(line));
}

function service(spec: Plain, vips: readonly string[] = [], metadata: Plain = { namespace: "ns", name: "s" }): Plain {
  return { kind: "Service", metadata,
    spec: { clusterIP: "172.30.0.1", ports: [{ name: "http", port: 80 }], ...spec },
    status: { loadBalancer: { ingress: vips.map((ip) => ({ ip })) } } };
}

let sliceNumber = 0;
function slice(addresses: readonly string[], conditions: Plain = {}, port: Plain = {}, nodeName = "x", hints: Plain = {},
  { namespace, name }: Plain = { namespace: "ns", name: "s" }): Plain {
  return { kind: "EndpointSlice", metadata: { namespace, name: `${name}-${sliceNumber++}`,
    labels: { "kubernetes.io/service-name": name } }, addressType: "IPv4",
  ports: [{ name: "http", port: 8080, ...port }],
  endpoints: addresses.map((one) => ({ addresses: [one], conditions, nodeName, hints })) };
}

function shuffle(cluster: Cluster, salt: number): Cluster {
  const mixed = <T extends { name: string }>(list: readonly T[]): T[] => (
    [...list].sort((a, b) => (hash(a.name, salt) - hash(b.name, salt))));
  return { ...cluster, services: mixed(cluster.services), endpointSlices: mixed(cluster.endpointSlices) };
}

function hash(text: string, salt: number): number {
  let value = salt | 0;
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 0x01000193);
  return value >>> 0;
}
