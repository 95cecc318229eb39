/** Calico's rules in a node beside kube-proxy's: what policies see of services, masquerading, established flows, the unknown. */
import { describe, expect, test } from "vitest";
import { parseAddress, parsePrefix } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import { End } from "../../dataplane.js";
import { joinRules } from "../ruleset.js";
import { CALICO_DEFAULTS } from "./config.js";
import { parseExpression } from "./expression.js";
import { generateCalico } from "./generate.js";
import { calicoPlane, frameOf, type Fate, type Probe, Prober } from "./probe.fixture.js";
import { Chance, clusterOf, node, randomCluster } from "./random.fixture.js";

const CONFIG = { ...CALICO_DEFAULTS, assumedPools: ["10.244.0.0/16", "fd00:244::/32"]
  .map((cidr) => ({ cidr: parsePrefix(cidr)!, natOutgoing: true })) };
const CLIENT = "203.0.113.9";

describe("service traffic and ingress policy", () => {
  // The mark for masquerading is set, but the source is still the client's when the node's FORWARD judges.
  test("on the node with the endpoint the policy sees the client, the pod sees the node", () => {
    const seen = (cidr: string): Fate => toService([ingress("web", [{ from: [{ ipBlock: { cidr } }] }])], "n1", ["web-1"]);
    expect(brief(seen(`${CLIENT}/32`))).toEqual([End.Delivered, "", "192.0.2.1"]);
    expect(brief(seen("192.0.2.1/32")).slice(0, 2)).toEqual([End.Dropped, expect.stringMatching(/^filter\/cali-tw-/)]);
  });

  test("on another node it sees the first node's address", () => {
    const seen = (cidr: string): Fate => toService([ingress("web", [{ from: [{ ipBlock: { cidr } }] }])], "n1", ["web-2"]);
    expect(brief(seen("192.0.2.1/32"))).toEqual([End.Delivered, "", "192.0.2.1"]);
    expect(seen(`${CLIENT}/32`).end).toBe(End.Dropped);
  });

  test("a denial holds against the masquerade mark that KUBE-FORWARD accepts", () => {
    const fate = toService([ingress("web", [])], "n1", ["web-1"]);
    expect(fate.end).toBe(End.Dropped);
    expect(fate.journey.becauses.map((one) => [one.object, one.where?.line])).toContainEqual(["blue/web", 1]);
  });

  test("ports of policies are the endpoint's, not the service's", () => {
    const seen = (port: number): End => toService([ingress("web", [{ ports: [{ port }] }])], "n1", ["web-1"]).end;
    expect([seen(8080), seen(80)]).toEqual([End.Delivered, End.Dropped]);
  });
});

describe("a pod that reaches itself through a service", () => {
  test("is judged by its own policies, and seen with the node's address", () => {
    const toItself = (policies: readonly object[]): Fate => toService(policies, "n1", ["web-1"],
      { source: parseAddress("10.244.1.10")!, at: { node: "n1", from: { pod: "blue/web-1" } } });
    expect(brief(toItself([]))).toEqual([End.Delivered, "", "192.0.2.1"]);
    expect(toItself([ingress("web", [])]).reason).toMatch(/^filter\/cali-tw-/);
    expect(toItself([egress("web", [])]).reason).toMatch(/^filter\/cali-fw-/);
    expect(toItself([ingress("web", [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }])]).end).toBe(End.Delivered);
  });
});

describe("a service without endpoints", () => {
  test("refuses a pod unless an egress policy drops it before", () => {
    const sender = { source: parseAddress("10.244.1.10")!, at: { node: "n1", from: { pod: "blue/web-1" } } };
    expect(toService([], "n1", [], sender).end).toBe(End.Rejected);
    expect(toService([egress("web", [])], "n1", [], sender).reason).toMatch(/^filter\/cali-fw-/);
  });
});

describe("nodes and their pods", () => {
  test("a node reaches its own pods whatever they deny, another node does not", () => {
    const prober = proberOf([ingress("web", [])]);
    expect(prober.send(probe("192.0.2.1", "10.244.1.10", "n1", "process")).end).toBe(End.Delivered);
    expect(prober.send(probe("192.0.2.2", "10.244.1.10", "n2", "process")).end).toBe(End.Dropped);
  });

  test("a pod reaches its own node unless its egress policy denies", () => {
    const sent = (policies: object[]): Fate => proberOf(policies)
      .send(probe("10.244.1.10", "192.0.2.1", "n1", { pod: "blue/web-1" }));
    expect(sent([]).end).toBe(End.Delivered);
    expect(sent([egress("web", [])]).reason).toMatch(/^filter\/cali-fw-/);
  });

  test("neighbour discovery of a pod is not asked of its policies", () => {
    const prober = proberOf([egress("web", [])]);
    const at = { destination: parseAddress("fd00:2::1")!, at: { node: "n1", from: { pod: "blue/web-1" } } };
    const echo = frameOf({ source: parseAddress("fd00:244:1::10")!, destination: at.destination, protocol: "ICMP", port: 0 }, 1);
    expect(prober.frame(at, echo).reason).toMatch(/^filter\/cali-fw-/);
    // The same length and sum: an echo request's type and code made a neighbour solicitation's, with the checksum that fits.
    const solicitation = Uint8Array.from(echo);
    const view = new DataView(solicitation.buffer);
    view.setUint16(40, 135 << 8);
    view.setUint16(42, (view.getUint16(42) + (128 - 135) * 256 + 0xffff) % 0xffff);
    expect(prober.frame(at, solicitation).reason).not.toMatch(/^filter\/cali-fw-/);
  });

  test("a pod that sends with another's address is dropped", () => {
    const spoofed = proberOf([]).send(probe("10.244.1.20", "10.244.2.10", "n1", { pod: "blue/web-1" }));
    expect(brief(spoofed).slice(0, 2)).toEqual([End.Dropped, "raw/cali-PREROUTING"]);
  });
});

describe("masquerading of what leaves the pools", () => {
  const source = (to: string): string => proberOf([]).send(probe("10.244.1.10", to, "n1", { pod: "blue/web-1" })).seenSource;

  test("to strangers and to other nodes, not to pods", () => {
    expect([source("198.51.100.1"), source("192.0.2.2"), source("10.244.2.10")])
      .toEqual(["192.0.2.1", "192.0.2.1", "10.244.1.10"]);
  });

  test("what comes in is never masqueraded by the pools", () => {
    expect(proberOf([]).send(probe(CLIENT, "10.244.1.10", "n1", "uplink")).seenSource).toBe(CLIENT);
  });

  test("the cluster's own pools count, and a pool without natOutgoing", () => {
    const pool = (natOutgoing: boolean): object => ({ apiVersion: "crd.projectcalico.org/v1", kind: "IPPool",
      metadata: { name: "p" }, spec: { cidr: "10.244.0.0/16", natOutgoing } });
    const left = (natOutgoing: boolean): string => proberOf([pool(natOutgoing)])
      .send(probe("10.244.1.10", "198.51.100.1", "n1", { pod: "blue/web-1" })).seenSource;
    expect([left(true), left(false)]).toEqual(["192.0.2.1", "10.244.1.10"]);
    expect(problemsOf([pool(false)])).toEqual([]);
    expect(problemsOf([])).toEqual(["no IPPool among the objects, so pools are assumed: 10.244.0.0/16 with natOutgoing, "
      + "fd00:244::/32 with natOutgoing"]);
    const broken = { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "p" }, spec: { cidr: "10.244/16" } };
    expect(problemsOf([broken])).toEqual(["IPPool p: found cidr 10.244/16, expected a CIDR; the pool is not used"]);
  });
});

describe("a new policy", () => {
  test("does not end what is established, and holds for what is new", () => {
    const prober = proberOf([]);
    const send = (from: string, to: string, node: string, pod: string, ports: [number, number], flags: number): Fate => {
      const ends = { source: parseAddress(from)!, destination: parseAddress(to)!, protocol: "TCP", port: ports[1] } as const;
      return prober.frame({ destination: ends.destination, at: { node, from: { pod } } }, frameOf(ends, ports[0], flags));
    };
    const request = (port: number, flags: number): Fate => (
      send("10.244.1.20", "10.244.1.10", "n1", "red/client", [port, 8080], flags));
    expect(request(40000, 2).end).toBe(End.Delivered);
    expect(send("10.244.1.10", "10.244.1.20", "n1", "blue/web-1", [8080, 40000], 18).end).toBe(End.Delivered);
    prober.cluster = objects([ingress("web", [])]);
    prober.plane.change(prober.cluster, 1e9);
    expect(request(40000, 16).end).toBe(End.Delivered);
    expect(request(40001, 2).end).toBe(End.Dropped);
  });
});

describe("ports of a rule", () => {
  const open = (rule: object, ports: readonly number[]): number[] => {
    const prober = proberOf([ingress("web", [rule])]);
    return ports.filter((port) => prober.send({ ...probe(CLIENT, "10.244.1.10", "n1", "uplink"), port }).end === End.Delivered);
  };

  test("more than one match takes", () => {
    const ports = Array.from({ length: 40 }, (_, index) => 100 + 2 * index);
    expect(open({ ports: ports.map((port) => ({ port })) }, [...ports, 101, 179])).toEqual(ports);
  });

  test("an entry without a number opens its protocol", () => {
    expect(open({ ports: [{ port: 80 }, { protocol: "TCP" }] }, [80, 81])).toEqual([80, 81]);
    expect(open({ ports: [{ port: 80 }, { protocol: "UDP" }] }, [80, 81])).toEqual([80]);
  });

  test("a name is that of a selected pod's port", () => {
    const clients = { to: [{ podSelector: { matchLabels: { app: "client" } }, namespaceSelector: {} }] };
    const prober = proberOf([egress("web", [{ ...clients, ports: [{ port: "web" }] }])]);
    const sent = (to: string, port: number): End => (
      prober.send({ ...probe("10.244.1.10", to, "n1", { pod: "blue/web-1" }), port }).end);
    expect([sent("10.244.1.20", 8080), sent("10.244.1.20", 80), sent("10.244.2.10", 8080)])
      .toEqual([End.Delivered, End.Dropped, End.Dropped]);
  });
});

describe("many policies of one selector", () => {
  test("go through a chain of their own, and each of them allows", () => {
    const policies = Array.from({ length: 12 }, (_, index) => ({ ...ingress("web", [{ ports: [{ port: 100 + index }] }]),
      metadata: { namespace: "blue", name: `web-${index}` } }));
    const prober = proberOf(policies);
    const ends = Array.from({ length: 13 }, (_, index) => (
      prober.send({ ...probe(CLIENT, "10.244.1.10", "n1", "uplink"), port: 100 + index }).end));
    expect(ends).toEqual([...Array.from({ length: 12 }, () => End.Delivered), End.Dropped]);
  });
});

describe("the text", () => {
  test("depends on the objects, not on their order", () => {
    for (let run = 0; run < 20; run++) {
      const cluster = randomCluster(new Chance(run));
      const turned = { ...cluster, pods: [...cluster.pods].reverse(), networkPolicies: [...cluster.networkPolicies].reverse(),
        nodes: [...cluster.nodes].reverse() };
      for (const one of cluster.nodes) {
        const [a, b] = [cluster, turned].map((of) => joinRules([generateCalico(of, one, 4, CONFIG)]));
        expect([b.text, b.sets]).toEqual([a.text, a.sets]);
      }
    }
  });

  test("IPv6 is there where a pod has it, and devices are matched as they are named", () => {
    const cluster = objects([]);
    const v4Only = { ...cluster, pods: cluster.pods.map((pod) => ({ ...pod, ips: pod.ips.slice(0, 1) })) };
    expect(generateCalico(v4Only, cluster.nodes[0], 6, CONFIG).rules).toEqual([]);
    expect(generateCalico(cluster, cluster.nodes[0], 6, CONFIG).rules.length).toBeGreaterThan(20);
    const named = (name: string): string[] => {
      const [first] = cluster.nodes;
      const devices = first.facts.devices.map((one) => (one.pod === "blue/web-1" ? { ...one, name } : one));
      return generateCalico(cluster, { ...first, facts: { ...first.facts, devices } }, 4, CONFIG).rules
        .filter((one) => one.chain === "cali-FORWARD" && one.text.includes("--in-interface"))
        .map((one) => /--in-interface (\S+)/.exec(one.text)![1]);
    };
    expect(named("azv0123456789a")).toEqual(["azv+", "veth+"]);
    expect(named("cali0123456789a")).toEqual(["cali+", "veth+"]);
    expect(named("eth7")).toEqual(["eth7", "veth+"]);
  });
});

describe("what is not modelled", () => {
  const calico = (kind: string, namespace: string, spec: object, group = "projectcalico.org/v3"): object => (
    { apiVersion: group, kind, metadata: { name: "x", ...(namespace === "" ? {} : { namespace }) }, spec });
  const fates = (more: object): Record<string, string> => {
    const prober = proberOf([more, ingress("web", [])]);
    const reason = (one: Probe): string => {
      const { end, reason: why } = prober.send(one);
      return end === End.Undecided ? why : end === End.Dropped ? "dropped" : "passed";
    };
    return {
      denied: reason(probe("10.244.1.20", "10.244.1.10", "n1", { pod: "red/client" })),
      open: reason(probe("10.244.2.20", "10.244.1.20", "n2", { pod: "red/other" })),
      own: reason(probe(CLIENT, "192.0.2.1", "n1", "uplink")),
      process: reason(probe("192.0.2.1", CLIENT, "n1", "process")),
    };
  };
  const KNOWN = { denied: "dropped", open: "passed", own: "passed", process: "passed" };

  const IDLE = ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "NetworkSet", "GlobalNetworkSet", "Tier"];
  test.each(IDLE)("%s changes nothing", (kind) => {
    expect(fates(calico(kind, kind.startsWith("Global") || kind === "Tier" ? "" : "blue", {}))).toEqual(KNOWN);
  });

  const subject = { namespaces: {} };
  const object = (kind: string, version: string, spec: object, name = "x"): object => ({ apiVersion: version, kind, metadata: { name },
    spec });
  test.each([["GlobalNetworkPolicy x", object("GlobalNetworkPolicy", "crd.projectcalico.org/v1", {})],
    ["AdminNetworkPolicy x", object("AdminNetworkPolicy", "policy.networking.k8s.io/v1alpha1", { priority: 1, subject })],
    ["BaselineAdminNetworkPolicy default",
      object("BaselineAdminNetworkPolicy", "policy.networking.k8s.io/v1alpha1", { subject }, "default")],
    ["ClusterNetworkPolicy x", object("ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2", { tier: "Admin", priority: 1,
      subject })],
  ])("%s: every pod is undecided", (title, policy) => {
    const found = fates(policy);
    expect(found).toEqual({ ...KNOWN, denied: expect.stringContaining(`${title} is not modelled`),
      open: expect.stringContaining(title) });
    expect(problemsOf([policy]).at(-1)).toBe(`${title}: is not modelled, so traffic of the pods it selects is undecided`);
  });

  test("only the pods that a policy of Calico's selects are", () => {
    const denied = expect.stringContaining("GlobalNetworkPolicy x is not modelled");
    const selecting = (spec: object): object => fates(calico("GlobalNetworkPolicy", "", spec));
    expect(selecting({ selector: "app == 'web'" })).toEqual({ ...KNOWN, denied });
    expect(selecting({ namespaceSelector: "kubernetes.io/metadata.name == 'blue'" })).toEqual({ ...KNOWN, denied });
    expect(selecting({ selector: "app == 'db'" })).toEqual(KNOWN);
    expect(selecting({ selector: "app == 'web'", namespaceSelector: "global()" })).toEqual(KNOWN);
    expect(selecting({ selector: "app ===" })).toMatchObject({ denied, open: denied });
    expect(fates(calico("NetworkPolicy", "blue", { selector: "app != 'web'" }))).toEqual(KNOWN);
  });

  test.each([["", true], ["all()", true], ["a == 'x'", true], ["a == \"y\"", false], ["a != 'y'", true], ["none != 'y'", true],
    ["has(a) && has(none)", false], ["has(a)||has(none)", true], ["!has(none)", true], ["! ! has(a)", true],
    ["a in {'y', 'x'}", true], ["a not in { 'x' }", false], ["none not in {'x'}", true], ["a in {}", false],
    ["b/c.d contains 'ell'", true], ["b/c.d starts with 'he'", true], ["b/c.d ends  with 'he'", false],
    ["!(a == 'x' && b/c.d == 'hello') || in == 'word'", true], ["a == 'x' || a == 'y' && has(none)", true],
    ["a =", null], ["a == x", null], ["(a == 'x'", null], ["a == 'x' b", null], ["has()", null], ["a in 'x'", null], ["'x'", null],
    ["a == 'x' &&", null], ["a in {'x' 'y'}", null]] as const)("selector %s", (text, holds) => {
    const labels = new Map([["a", "x"], ["b/c.d", "hello"], ["in", "word"]]);
    expect(parseExpression(text)?.(labels) ?? null).toBe(holds);
  });

  test("a NetworkPolicy of Calico's: pods of its namespace are", () => {
    const found = fates(calico("NetworkPolicy", "blue", {}));
    expect(found).toEqual({ ...KNOWN,
      denied: expect.stringMatching(/^undecided: .*cali-tw-.*NetworkPolicy blue\/x is not modelled/) });
  });

  test("a HostEndpoint: its node's own sockets are, and with cluster-wide policies what it forwards", () => {
    const host = calico("HostEndpoint", "", { node: "n1" });
    const why = expect.stringContaining("HostEndpoint x is not modelled");
    expect(fates(host)).toEqual({ ...KNOWN, own: why, process: why });
    expect(fates(calico("HostEndpoint", "", { node: "n2" }))).toEqual(KNOWN);
    const both = proberOf([host, calico("GlobalNetworkPolicy", "", {})]);
    expect(both.send(probe(CLIENT, "198.51.100.1", "n1", "uplink")).reason).toContain("GlobalNetworkPolicy x is not modelled");
  });

  test("a pool with tunnels: nodes' own sockets are", () => {
    const pool = calico("IPPool", "", { cidr: "10.244.0.0/16", vxlanMode: "Always" });
    const why = expect.stringContaining("IPPool x is not modelled");
    expect(fates(pool)).toMatchObject({ denied: "dropped", own: why, process: why });
    expect(problemsOf([pool])).toEqual([expect.stringMatching(/^IPPool x: tunnels are not modelled/)]);
  });

  test("a pod with a limit of packets or connections is", () => {
    const limited = { apiVersion: "v1", kind: "Pod", metadata: { namespace: "red", name: "limited",
      annotations: { "qos.projectcalico.org/ingressMaxConnections": "5" } }, spec: { nodeName: "n1", containers: [] },
    status: { phase: "Running", podIPs: [{ ip: "10.244.1.30" }] } };
    const prober = new Prober(calicoPlane(objects([limited]), CONFIG), objects([limited]));
    expect(prober.send(probe(CLIENT, "10.244.1.30", "n1", "uplink")).reason)
      .toContain("qos.projectcalico.org/ingressMaxConnections of pod red/limited");
    expect(prober.plane.problems.map((one) => one.what).at(-1)).toContain("not modelled, so its traffic is undecided");
  });

  test("FelixConfiguration: fields that matter are named", () => {
    const felix = { apiVersion: "crd.projectcalico.org/v1", kind: "FelixConfiguration", metadata: { name: "default" },
      spec: { logSeverityScreen: "Info", chainInsertMode: "Append", defaultEndpointToHostAction: "Accept", bpfEnabled: true } };
    expect(problemsOf([felix]).at(-1)).toBe("FelixConfiguration default: found chainInsertMode, bpfEnabled, which are not read");
  });

  test("ranges that nobody may be forwarded to are dropped", () => {
    const bgp = { apiVersion: "crd.projectcalico.org/v1", kind: "BGPConfiguration", metadata: { name: "default" },
      spec: { serviceClusterIPs: [{ cidr: "10.0.0.0/16" }, { cidr: "fd00:10::/112" }] } };
    const fate = proberOf([bgp]).send(probe("10.244.1.20", "10.0.200.1", "n1", { pod: "red/client" }));
    expect(brief(fate).slice(0, 2)).toEqual([End.Dropped, "filter/cali-cidr-block"]);
  });
});

// ---- the cluster: two nodes, blue/web-1 and red/client on the first, blue/web-2 and red/other on the second

function objects(more: readonly object[]): Cluster {
  const pod = (namespace: string, name: string, at: number, host: number, app: string): object => ({
    apiVersion: "v1", kind: "Pod", metadata: { namespace, name, labels: { app } },
    spec: { nodeName: `n${at}`, containers: [{ name: "c", ports: [{ name: "web", containerPort: 8080 }] }] },
    status: { phase: "Running", podIPs: [{ ip: `10.244.${at}.${host}` }, { ip: `fd00:244:${at}::${host}` }] } });
  return clusterOf([node("n1", 1), node("n2", 2), pod("blue", "web-1", 1, 10, "web"), pod("blue", "web-2", 2, 10, "web"),
    pod("red", "client", 1, 20, "client"), pod("red", "other", 2, 20, "client"), ...more]);
}

function proberOf(more: readonly object[]): Prober {
  const cluster = objects(more);
  return new Prober(calicoPlane(cluster, CONFIG), cluster);
}

function problemsOf(more: readonly object[]): string[] {
  return calicoPlane(objects(more), CONFIG).problems.map((one) => one.what);
}

/** From a stranger through a node to a LoadBalancer service (policy Cluster) with these endpoints. */
function toService(policies: readonly object[], at: string, endpoints: readonly string[], sender: Partial<Probe> = {}): Fate {
  const service = { apiVersion: "v1", kind: "Service", metadata: { namespace: "blue", name: "web" },
    spec: { type: "LoadBalancer", clusterIP: "10.0.0.10", ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] },
    status: { loadBalancer: { ingress: [{ ip: "198.51.100.10" }] } } };
  const slice = { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
    metadata: { namespace: "blue", name: "web-x", labels: { "kubernetes.io/service-name": "web" } }, ports: [{ port: 8080 }],
    endpoints: endpoints.map((name) => ({ addresses: [`10.244.${name.slice(-1)}.10`], nodeName: `n${name.slice(-1)}` })) };
  return proberOf([service, slice, ...policies]).send({ ...probe(CLIENT, "198.51.100.10", at, "uplink"), ...sender, port: 80 });
}

function ingress(app: string, rules: readonly object[]): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "blue", name: app },
    spec: { podSelector: { matchLabels: { app } }, policyTypes: ["Ingress"], ingress: rules } };
}

function egress(app: string, rules: readonly object[]): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "blue", name: app },
    spec: { podSelector: { matchLabels: { app } }, policyTypes: ["Egress"], egress: rules } };
}

function probe(source: string, destination: string, node: string, from: Probe["at"]["from"]): Probe {
  return { source: parseAddress(source)!, destination: parseAddress(destination)!, protocol: "TCP", port: 8080,
    at: { node, from } };
}

function brief({ end, reason, seenSource }: Fate): [End, string, string] {
  return [end, reason, seenSource];
}
