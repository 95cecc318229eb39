/**
 * What the agent programs for Services, by version: states of backends, scopes, which frontends, annotations, topology,
 * source ranges, algorithms. Expectations are read from the sources named in the compilers' headers.
 */
import { describe, expect, it } from "vitest";
import { readManifests } from "../../cluster/manifests.js";
import { buildCluster } from "../../cluster/timeline.js";
import { dumpServices } from "../dump.js";
import type { MapImage } from "../image.js";
import { compileImage } from "../image.js";
import { checkLimits } from "../limits.js";
import { affinityMatches } from "../records.js";
import { ciliumOptions } from "../options.js";
import { labelSelector } from "./service-annotations.js";

type Plain = Record<string, unknown>;

const ALL = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;

const node = (n: number, labels: Plain = {}, addresses: object[] = []) => ({
  apiVersion: "v1", kind: "Node", metadata: { name: `node-${n}`, labels }, spec: { podCIDRs: [`10.244.${n}.0/24`] },
  status: { addresses: [{ type: "InternalIP", address: `192.168.50.1${n}` }, ...addresses] },
});
const service = (spec: Plain, annotations: Plain = {}, status: Plain = {}, labels: Plain = {}) => ({
  apiVersion: "v1", kind: "Service", metadata: { name: "s", namespace: "d", annotations, labels },
  spec: { clusterIP: "10.96.0.1", ports: [{ port: 80, nodePort: 30080 }], ...spec }, status,
});
const BALANCED = { loadBalancer: { ingress: [{ ip: "198.51.100.1" }] } };
const slice = (endpoints: Plain[], annotations: Plain = {}, ports: object[] = [{ port: 8080 }]) => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
  metadata: { name: "s-1", namespace: "d", labels: { "kubernetes.io/service-name": "s" }, annotations },
  addressType: "IPv4", ports, endpoints,
});
const endpoint = (n: number, last: number, more: Plain = {}) => ({
  addresses: [`10.244.${n}.${last}`], nodeName: `node-${n}`, conditions: { ready: true }, ...more });

function image(version: string, objects: object[], cilium: Plain = {}): MapImage {
  const { objects: read } = readManifests([{ name: "c.json", text: JSON.stringify({ kind: "List", apiVersion: "v1", items: objects }) }]);
  const cluster = buildCluster(read);
  return compileImage({ cluster, options: ciliumOptions(`cilium@${version}`, cluster, cilium).options });
}

/** Lines of frontends themselves: `address:port/protocol[/i] [flags] active=… quarantined=… …`. */
function frontends({ ...compiled }: MapImage): string[] {
  return dumpServices(compiled).filter((line) => line.includes(" (0)\t"))
    .map((line) => line.replace(/ \(0\)\t\(\d+\)/, "").replace(/ d\/s$/, ""));
}

function addresses(compiled: MapImage): string[] {
  return [...new Set(frontends(compiled).map((line) => line.split(" ")[0]))].sort();
}

describe("states of backends", () => {
  const conditions = [
    { ready: true }, { ready: true, terminating: true }, { ready: false, serving: true, terminating: true },
    { ready: false, serving: false, terminating: true }, { ready: false, serving: true }, { ready: false, serving: false },
    { ready: false, terminating: true }, {},
  ];
  const endpoints = conditions.map((one, index) => endpoint(1, index + 1, { conditions: one }));
  const states = (version: string, cilium: Plain = {}) => {
    const { backends } = image(version, [node(1), service({}), slice(endpoints)], cilium).services;
    return conditions.map((_, index) => backends.find(({ address }) => address.text === `10.244.1.${index + 1}`)?.state ?? "-");
  };

  it("are the agent's of each version", () => {
    const old = ["active", "active", "terminating", "-", "active", "-", "-", "active"];
    const later = ["active", "active", "terminating", "not-serving", "maintenance", "maintenance", "terminating", "active"];
    for (const version of ALL) expect(states(version)).toEqual(version < "1.19" ? old : later);
  });

  it("need enable-k8s-terminating-endpoint up to 1.17", () => {
    for (const version of ALL) {
      const found = states(version, { "enable-k8s-terminating-endpoint": "false" });
      expect(found[2]).toBe(version <= "1.17" ? "-" : "terminating");
    }
  });

  it("decide who has a slot, who counts, and whom affinity may keep", () => {
    const affine = service({ sessionAffinity: "ClientIP" });
    for (const version of ALL) {
      const { services } = image(version, [node(1), affine, slice(endpoints)]);
      const [{ active, terminating, affinityTimeout }] = services.frontends.filter(({ flags }) => !flags.wildcard);
      expect([active.length, terminating.length, affinityTimeout]).toEqual(version < "1.19" ? [4, 1, 10800] : [3, 3, 10800]);
      expect(affinityMatches(services)[0][1].length).toBe(version <= "1.17" ? 5 : version === "1.18" ? 4 : 3);
    }
  });

  it("take weights of slices from 1.20 on, and 0 as maintenance", () => {
    for (const version of ALL) {
      const heavy = image(version, [node(1), service({}), slice([endpoint(1, 1)], { "service.cilium.io/weight": "300" })]);
      const [frontend] = heavy.services.frontends.filter(({ flags }) => !flags.wildcard);
      expect(frontend.weights).toEqual([version === "1.20" ? 300 : 100]);
      const none = image(version, [node(1), service({}), slice([endpoint(1, 1)], { "service.cilium.io/weight": "0" })]);
      expect(none.services.backends[0].state).toBe(version === "1.20" ? "maintenance" : "active");
    }
  });
});

describe("scopes and traffic policies", () => {
  const local = service({ type: "LoadBalancer", externalTrafficPolicy: "Local", externalIPs: ["203.0.113.1"] }, {}, BALANCED);
  const objects = [node(1), node(2), local, slice([endpoint(2, 1), { addresses: ["10.9.9.9"], conditions: { ready: true } }])];

  it("are two where policies differ; external IPs only say so", () => {
    for (const version of ALL) {
      const found = frontends(image(version, objects)).filter((line) => line.includes("198.51") || line.includes("203.0"));
      expect(found.filter((line) => line.startsWith("203.0.113.1:80/TCP/i"))).toEqual([]);
      expect(found.filter((line) => line.startsWith("198.51.100.1:80/TCP/i"))).toHaveLength(1);
      expect(found.find((line) => line.startsWith("203.0.113.1:80/TCP"))).toContain("two-scopes");
    }
  });

  it("count a backend of no known node as local everywhere", () => {
    const found = frontends(image("1.20", objects)).filter((line) => line.startsWith("198.51.100.1:80/TCP "));
    expect(found.map((line) => /active=\d+.*node=\S+/.exec(line)![0])).toEqual([
      "active=1 quarantined=0 node=node-1", "active=2 quarantined=0 node=node-2"]);
  });
});

describe("which frontends there are", () => {
  const balanced = (annotations: Plain = {}, labels: Plain = {}, spec: Plain = {}) => [
    node(1), service({ type: "LoadBalancer", ...spec }, annotations, BALANCED, labels), slice([endpoint(1, 1)])];

  it("are those of the type annotation from 1.17 on", () => {
    for (const version of ALL) {
      const only = addresses(image(version, balanced({ "service.cilium.io/type": "LoadBalancer" })));
      const wild = version >= "1.19" ? ["198.51.100.1:0/ANY"] : [];
      expect(only).toEqual(version === "1.16"
        ? ["0.0.0.0:30080/TCP", "10.96.0.1:80/TCP", "192.168.50.11:30080/TCP", "198.51.100.1:80/TCP"]
        : [...wild, "198.51.100.1:80/TCP"]);
      const unknown = addresses(image(version, balanced({ "service.cilium.io/type": "Other" })));
      expect(unknown).toContain("10.96.0.1:80/TCP");
    }
  });

  it("are none of a headless service, by label too, or of one that is another proxy's", () => {
    expect(addresses(image("1.20", balanced({}, { "service.kubernetes.io/headless": "" })))).toEqual([]);
    const other = balanced({}, { "service.kubernetes.io/service-proxy-name": "mine" });
    expect(addresses(image("1.20", other))).toEqual([]);
    expect(addresses(image("1.20", other, { "k8s-service-proxy-name": "mine" }))).toContain("10.96.0.1:80/TCP");
    expect(addresses(image("1.20", balanced(), { "k8s-service-proxy-name": "mine" }))).toEqual([]);
  });

  it("stand on the nodes that annotations name", () => {
    const nodes = [node(1, { "service.cilium.io/node": "edge", zone: "a" }), node(2, { zone: "b" })];
    const on = (version: string, annotations: Plain) => {
      const compiled = image(version, [...nodes, service({}, annotations), slice([endpoint(1, 1)])]);
      return [...new Set(compiled.services.frontends.map((one) => one.node))];
    };
    for (const version of ALL) {
      expect(on(version, { "service.cilium.io/node": "edge" })).toEqual(version === "1.16" ? [null] : ["node-1"]);
      expect(on(version, { "service.cilium.io/node-selector": "zone in (b, c)" })).toEqual(version <= "1.17" ? [null] : ["node-2"]);
    }
    expect(on("1.20", { "service.cilium.io/node-selector": "zone!=b", "service.cilium.io/node": "x" })).toEqual(["node-1"]);
  });

  it("of ports without a node port, and of ingress addresses in mode Proxy, are not made", () => {
    const none = balanced({}, {}, { ports: [{ port: 80 }] });
    expect(addresses(image("1.18", none))).toEqual(["10.96.0.1:80/TCP", "198.51.100.1:80/TCP"]);
    const proxied = [node(1), service({ type: "LoadBalancer" }, {}, {
      loadBalancer: { ingress: [{ ip: "198.51.100.1", ipMode: "Proxy" }] } }), slice([endpoint(1, 1)])];
    // 1.16 does not read the mode.
    const made = ALL.map((version) => addresses(image(version, proxied)).some((one) => one.startsWith("198.")));
    expect(made).toEqual(ALL.map((version) => version === "1.16"));
  });

  it("of external IPs have the external policy of a cluster IP's service too", () => {
    const objects = [node(1), node(2), service({ externalIPs: ["203.0.113.1"], externalTrafficPolicy: "Local" }), slice([endpoint(1, 1)])];
    for (const version of ALL) {
      const rows = image(version, objects).services.frontends.filter(({ address }) => address.text === "203.0.113.1");
      expect(rows.map((row) => [row.node, row.active.length, row.flags.externalLocal])).toEqual([["node-1", 1, true], ["node-2", 0, true]]);
    }
  });

  it("without kube-proxy replacement are cluster IPs, from 1.19 also load balancer addresses and external IPs", () => {
    for (const version of ALL) {
      const found = addresses(image(version, balanced({}, {}, { externalIPs: ["203.0.113.1"] }), { "kube-proxy-replacement": "false" }))
        .filter((one) => !one.includes("ANY"));
      expect(found).toEqual(version <= "1.18" ? ["10.96.0.1:80/TCP"]
        : ["10.96.0.1:80/TCP", "198.51.100.1:80/TCP", "203.0.113.1:80/TCP"]);
    }
  });

  it("have wildcards for addresses that Cilium manages, from 1.19 on", () => {
    const wild = (version: string, objects: object[], cilium: Plain = {}) =>
      addresses(image(version, objects, cilium)).filter((one) => one.endsWith(":0/ANY"));
    const both = ["10.96.0.1:0/ANY", "198.51.100.1:0/ANY"];
    for (const version of ALL) expect(wild(version, balanced())).toEqual(version >= "1.19" ? both : []);
    expect(wild("1.20", balanced(), { "default-lb-service-ipam": "none" })).toEqual([]);
    expect(wild("1.20", balanced({}, {}, { loadBalancerClass: "io.cilium/l2-announcer" }), { "default-lb-service-ipam": "none" }))
      .toEqual(both);
    expect(wild("1.20", balanced({}, {}, { loadBalancerClass: "example.com/other" }))).toEqual([]);
    const own = [node(1), service({ type: "LoadBalancer" }, {}, { loadBalancer: { ingress: [{ ip: "192.168.50.11" }] } })];
    expect(wild("1.20", own)).toEqual(["10.96.0.1:0/ANY"]);
    expect(wild("1.19", own)).toEqual(["10.96.0.1:0/ANY", "192.168.50.11:0/ANY"]);
  });

  it("of node ports are on one address of a device, or on those of nodeport-addresses", () => {
    const found = (cilium: Plain) => addresses(image("1.20",
      [node(1, {}, [{ type: "ExternalIP", address: "203.0.113.5" }]), service({ type: "NodePort" }), slice([endpoint(1, 1)])], cilium))
      .filter((one) => one.includes(":30080"));
    expect(found({})).toEqual(["0.0.0.0:30080/TCP", "192.168.50.11:30080/TCP"]);
    expect(found({ "nodeport-addresses": "172.16.0.0/12" })).toEqual(["0.0.0.0:30080/TCP"]);
    expect(found({ "nodeport-addresses": "192.168.0.0/16" })).toEqual(["0.0.0.0:30080/TCP", "192.168.50.11:30080/TCP"]);
    expect(image("1.20", [node(1)], { "nodeport-addresses": "here" }).problems
      .map(({ what }) => what).join()).toContain("nodeport-addresses");
  });

  it("of host ports follow hostIP and the node port range", () => {
    const pod = (hostIP: string | undefined, hostPort: number) => ({ apiVersion: "v1", kind: "Pod",
      metadata: { name: "p", namespace: "d" }, spec: { nodeName: "node-1", containers: [{ name: "c",
        ports: [{ containerPort: 80, hostPort, ...(hostIP === undefined ? {} : { hostIP }) }] }] },
      status: { phase: "Running", podIPs: [{ ip: "10.244.1.9" }] } });
    const found = (version: string, hostIP: string | undefined, port = 8088) =>
      frontends(image(version, [node(1), pod(hostIP, port)]))
      .map((line) => line.split(" ")[0] + (line.includes("loopback") ? " loopback" : ""));
    for (const version of ALL) {
      expect(found(version, undefined)).toEqual(["0.0.0.0:8088/TCP", "192.168.50.11:8088/TCP"]);
      expect(found(version, "0.0.0.0")).toEqual(version <= "1.17" ? ["0.0.0.0:8088/TCP", "192.168.50.11:8088/TCP"] : []);
      expect(found(version, "127.0.0.1")).toEqual(version <= "1.17"
        ? ["0.0.0.0:8088/TCP loopback"] : ["0.0.0.0:8088/TCP loopback", "192.168.50.11:8088/TCP loopback"]);
      expect(found(version, "192.168.50.99")).toEqual(["192.168.50.99:8088/TCP"]);
    }
    expect(["30000", "32767"].flatMap((port) => found("1.20", undefined, Number(port)))).toEqual([]);
    expect(["29999", "32768"].flatMap((port) => found("1.20", undefined, Number(port)))).toHaveLength(4);
  });

  it("are one for two protocols on a port in 1.16, and two later", () => {
    const two = [node(1), service({ ports: [{ name: "t", port: 53 }, { name: "u", port: 53, protocol: "UDP" }] }),
      slice([endpoint(1, 1)], {}, [{ name: "t", port: 53 }, { name: "u", port: 53, protocol: "UDP" }])];
    for (const version of ALL) {
      const compiled = image(version, two, { "default-lb-service-ipam": "none" });
      expect(compiled.services.frontends).toHaveLength(version === "1.16" ? 1 : 2);
    }
    const other = [node(1), two[1], slice([endpoint(1, 1)], {}, [{ name: "t", port: 53 }, { name: "u", port: 54, protocol: "UDP" }])];
    expect(image("1.16", other).problems.map(({ what }) => what).join()).toContain("for two protocols");
  });
});

describe("source ranges", () => {
  const objects = (annotations: Plain = {}) => [node(1), service({ type: "LoadBalancer", externalIPs: ["203.0.113.1"],
    loadBalancerSourceRanges: ["192.0.2.0/24"] }, annotations, BALANCED), slice([endpoint(1, 1)])];
  const checked = (version: string, cilium: Plain = {}) => [...new Set(image(version, objects(), cilium).services.frontends
    .filter(({ flags }) => flags.sourceRange).map(({ type }) => type))].sort().join();

  it("are checked at the types of each version", () => {
    expect(ALL.map((version) => checked(version))).toEqual([
      "LoadBalancer", "LoadBalancer", "ClusterIP,ExternalIPs,LoadBalancer,NodePort", "LoadBalancer", "ExternalIPs,LoadBalancer"]);
    const all = { "bpf-lb-source-range-all-types": "true" };
    expect(ALL.map((version) => checked(version, all))).toEqual(["LoadBalancer", "LoadBalancer,NodePort",
      "ClusterIP,ExternalIPs,LoadBalancer,NodePort", "ClusterIP,ExternalIPs,LoadBalancer,NodePort",
      "ClusterIP,ExternalIPs,LoadBalancer,NodePort"]);
    expect(checked("1.17", { ...all, "bpf-lb-external-clusterip": "true" })).toBe("ClusterIP,LoadBalancer,NodePort");
  });

  it("deny by annotation from 1.17 on", () => {
    for (const version of ALL) {
      const [balanced] = image(version, objects({ "service.cilium.io/src-ranges-policy": "Deny" })).services.frontends
        .filter(({ type, flags }) => type === "LoadBalancer" && !flags.wildcard);
      expect(balanced.flags.sourceRangeDeny).toBe(version >= "1.17");
    }
  });
});

describe("topology", () => {
  const hinted = (n: number, last: number, zone: string, more: Plain = {}) =>
    endpoint(n, last, { zone, hints: { forZones: [{ name: zone }] }, ...more });
  const nodes = [node(1, { "topology.kubernetes.io/zone": "a" }), node(2, { "topology.kubernetes.io/zone": "b" }), node(3)];
  const chosen = (version: string, spec: Plain, endpoints: Plain[], on = "true", annotations: Plain = {}) => {
    const { services } = image(version, [...nodes, service(spec, annotations), slice(endpoints)], { "enable-service-topology": on });
    const text = new Map(services.backends.map(({ id, address }) => [id, address.text.slice(7)]));
    const own = services.frontends.filter(({ flags }) => !flags.wildcard);
    return Object.fromEntries(own.map(({ node: name, active }) => [name ?? "all", active.map((id) => text.get(id)).join()]));
  };
  const both = [hinted(1, 1, "a"), hinted(2, 1, "b")];
  const near = { trafficDistribution: "PreferClose" };

  it("is asked for by the option and the service; up to 1.17 by hints alone", () => {
    for (const version of ALL) {
      const split = { "node-1": "1.1", "node-2": "2.1", "node-3": "1.1,2.1" };
      expect(chosen(version, near, both)).toEqual(split);
      expect(chosen(version, near, both, "false")).toEqual({ all: "1.1,2.1" });
      expect(chosen(version, {}, both)).toEqual(version <= "1.17" ? split : { all: "1.1,2.1" });
      expect(chosen(version, {}, both, "true", { "service.kubernetes.io/topology-mode": "Auto" })).toEqual(split);
    }
  });

  it("falls back where a hint is missing, and where no backend is hinted to the zone", () => {
    for (const version of ALL) {
      expect(chosen(version, near, [hinted(1, 1, "a"), endpoint(2, 1)])["node-1"]).toBe("1.1,2.1");
      expect(chosen(version, near, [hinted(1, 1, "a")])["node-2"]).toBe("1.1");
    }
  });

  it("looks at terminating backends' missing hints up to 1.19", () => {
    const leaving = endpoint(2, 2, { conditions: { ready: false, serving: true, terminating: true } });
    for (const version of ALL) {
      expect(chosen(version, near, [...both, leaving])["node-1"]).toBe(version === "1.20" ? "1.1" : "1.1,2.1");
    }
  });

  it("knows PreferSameZone and PreferSameNode from 1.20 on", () => {
    for (const version of ["1.18", "1.19", "1.20"]) {
      const split = version === "1.20";
      expect(chosen(version, { trafficDistribution: "PreferSameZone" }, both)).toEqual(split
        ? { "node-1": "1.1", "node-2": "2.1", "node-3": "1.1,2.1" } : { all: "1.1,2.1" });
      expect(chosen(version, { trafficDistribution: "PreferSameNode" }, [endpoint(1, 1), endpoint(2, 1)])).toEqual(split
        ? { "node-1": "1.1", "node-2": "2.1", "node-3": "1.1,2.1" } : { all: "1.1,2.1" });
    }
  });
});

describe("algorithms and modes of services", () => {
  const objects = (annotations: Plain = {}) => [node(1), service({ type: "NodePort" }, annotations), slice([endpoint(1, 1)])];
  const tables = (version: string, cilium: Plain, annotations: Plain = {}) => image(version, objects(annotations), cilium)
    .services.frontends.filter(({ maglev }) => maglev).map(({ type, address }) => `${type} ${address.text}`);
  const maglev = { "bpf-lb-algorithm": "maglev" };

  it("give tables to what can be reached from outside", () => {
    for (const version of ALL) {
      expect(tables(version, {})).toEqual([]);
      expect(tables(version, maglev)).toEqual(["NodePort 192.168.50.11"]);
      expect(tables(version, { ...maglev, "bpf-lb-external-clusterip": "true" }))
        .toEqual(["ClusterIP 10.96.0.1", "NodePort 192.168.50.11"]);
    }
  });

  it("follow the annotation from 1.17 on, where it is asked for", () => {
    const own = { "service.cilium.io/lb-algorithm": "maglev" };
    const on = { "bpf-lb-algorithm-annotation": "true" };
    for (const version of ALL) {
      expect(tables(version, {}, own)).toEqual([]);
      expect(tables(version, on, own)).toEqual(version === "1.16" ? []
        : version === "1.17" ? ["NodePort 192.168.50.11"] : ["ClusterIP 10.96.0.1", "NodePort 192.168.50.11"]);
      expect(tables(version, { ...on, ...maglev }, { "service.cilium.io/lb-algorithm": "random" }))
        .toEqual(version === "1.16" ? ["NodePort 192.168.50.11"] : []);
      // 1.17 forgets the default where services may have their own.
      expect(tables(version, { ...on, ...maglev })).toEqual(version === "1.17" ? [] : ["NodePort 192.168.50.11"]);
    }
  });

  it("share one table where backends are the same, in the size and by the seed that options give", () => {
    const two = [...objects(), { ...service({ clusterIP: "10.96.0.2", type: "NodePort", ports: [{ port: 81, nodePort: 30081 }] }),
      metadata: { name: "t", namespace: "d" } },
    { ...slice([endpoint(1, 1)]), metadata: { name: "t-1", namespace: "d", labels: { "kubernetes.io/service-name": "t" } } }];
    const { maglev: compiled } = image("1.20", two, { ...maglev, "bpf-lb-maglev-table-size": "251",
      "bpf-lb-maglev-hash-seed": "AAAAAQAAAAIAAAAD" });
    expect([compiled.v4.of.length, compiled.v4.tables.length, compiled.v4.size, compiled.v4.seed]).toEqual([2, 2, 251, 1]);
  });

  it("refuse table sizes and seeds that the agent refuses", () => {
    const { problems, options } = ciliumOptions("cilium@1.20", null, { "bpf-lb-maglev-table-size": "1000",
      "bpf-lb-maglev-hash-seed": "short" });
    expect(problems.map(({ what }) => what)).toEqual([expect.stringContaining("bpf-lb-maglev-table-size"),
      expect.stringContaining("12 bytes in base64")]);
    expect([options["bpf-lb-maglev-table-size"], options["bpf-lb-maglev-hash-seed"]]).toEqual([16381, "JLfvgnHc2kaSUFaI"]);
  });
});

describe("labelSelector", () => {
  it("reads what kubectl reads", () => {
    const matches = (text: string, labels: Record<string, string>) => labelSelector(text)?.(labels) ?? null;
    expect(["a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b)", "a", "!a", "a=b,!z", "a in b"].map((text) => matches(text, { a: "b" })))
      .toEqual([true, true, false, true, false, true, false, true, null]);
    expect(["a!=b", "a notin (b)", "!a"].map((text) => matches(text, {}))).toEqual([true, true, true]);
  });
});

describe("limits", () => {
  it("of the service map count slots and scopes", () => {
    const many = Array.from({ length: 60 }, (_, index) => endpoint(1, index + 1));
    const found = checkLimits(image("1.20", [node(1), service({ type: "NodePort" }), slice(many)], { "bpf-lb-map-max": "200" }));
    expect(found.map(({ limit, used, max }) => [limit, used, max])).toEqual([["cilium_lb4_services_v2", 184, 200]]);
  });
});
