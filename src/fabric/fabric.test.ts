/** The fabric's table against a naive longest-prefix search, and its rows on a small cluster. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressFromBytes, parseAddress, parsePrefix, prefixContains, prefixOf, type Address }
  from "../cluster/address.js";
import type { Cluster, Device, Node, Pod } from "../cluster/cluster.js";
import { buildFabric, Fabric, type FabricRow } from "./fabric.js";

const SEED = Number(process.env.TWINPLANE_SEED ?? 20261122);

describe("lookup", () => {
  test(`agrees with a naive longest match (seed ${SEED})`, () => {
    // Few distinct bytes, so that prefixes overlap and addresses hit them.
    const byte = fc.constantFrom(0, 1, 128, 255);
    const address = fc.oneof(fc.array(byte, { minLength: 4, maxLength: 4 }), fc.array(byte, { minLength: 16, maxLength: 16 }))
      .map((bytes) => addressFromBytes(Uint8Array.from(bytes)));
    const row = fc.tuple(address, fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 9 }))
      .map(([one, share, node]): FabricRow => (
        { prefix: prefixOf(one, Math.round(share * one.bytes.length * 8)), node, device: 2 }));
    const rows = fc.uniqueArray(row, { maxLength: 40, selector: (one) => one.prefix.text });
    let hits = 0;
    fc.assert(fc.property(rows, fc.array(address, { minLength: 5, maxLength: 30 }), (table, probes) => {
      const fabric = new Fabric(table, []);
      for (const probe of probes) {
        const found = fabric.lookup(probe.bytes, 0, probe.family);
        expect(found).toBe(naive(table, probe));
        if (found >= 0) hits++;
      }
    }), { seed: SEED, numRuns: 300 });
    expect(hits).toBeGreaterThan(300);
  });
});

describe("a cluster's rows", () => {
  const cluster = clusterOf([node("b", "192.0.2.2", "10.0.2.0/24"), node("a", "192.0.2.1", "10.0.1.0/24")],
    [pod("roaming", "a", "10.0.2.9"), pod("done", "b", "10.0.1.7", { phase: "Succeeded" }),
      pod("host", "b", "192.0.2.1", { hostNetwork: true })]);
  const fabric = buildFabric(cluster, ["a", "b"]);
  const where = (text: string): string => {
    const address = parseAddress(text)!;
    const row = fabric.lookup(address.bytes, 0, address.family);
    return row < 0 ? "outside" : ["a", "b"][fabric.rows[row].node];
  };

  test("lead to nodes, pod ranges, and a pod that lives outside its node's range", () => {
    expect(where("192.0.2.1")).toBe("a");
    expect(where("10.0.2.8")).toBe("b");
    expect(where("10.0.2.9")).toBe("a");
    expect(where("10.0.1.7")).toBe("a");
    expect(where("198.51.100.1")).toBe("outside");
    expect(fabric.problems).toEqual([]);
  });

  test("a router's address as next hop falls back to the destination", () => {
    const destination = parseAddress("10.0.2.8")!.bytes;
    const to = (hop: string | null): string => {
      const row = fabric.next(hop === null ? null : parseAddress(hop), destination, 0, 4);
      return row < 0 ? "outside" : ["a", "b"][fabric.rows[row].node];
    };
    expect(to("192.0.2.254")).toBe("b");
    expect(to("192.0.2.1")).toBe("a");
    expect(to(null)).toBe("b");
  });

  test("two owners of one address are a problem", () => {
    const twice = buildFabric(clusterOf([node("a", "192.0.2.1", "10.0.1.0/24"), node("b", "192.0.2.2", "10.0.2.0/24")],
      [pod("one", "a", "10.0.9.9"), pod("two", "b", "10.0.9.9")]), ["a", "b"]);
    expect(twice.problems.map((problem) => problem.what).join()).toMatch(/default\/two on node b has 10\.0\.9\.9/);
  });
});

function naive(rows: readonly FabricRow[], address: Address): number {
  let best = -1;
  rows.forEach((row, index) => {
    if (prefixContains(row.prefix, address) && (best < 0 || row.prefix.length > rows[best].prefix.length)) best = index;
  });
  return best;
}

function clusterOf(nodes: Node[], pods: Pod[]): Cluster {
  return { namespaces: new Map(), nodes, pods, services: [], endpointSlices: [], networkPolicies: [], adminPolicies: [],
    ciliumPolicies: [], cidrGroups: [],
    others: [] };
}

function meta(kind: string, name: string): Pick<Node, "kind" | "namespace" | "name" | "labels" | "annotations" | "where"> {
  return { kind, namespace: kind === "Node" ? "" : "default", name, labels: {}, annotations: {},
    where: { file: "test.yaml", line: 1 } };
}

function node(name: string, address: string, range: string): Node {
  const eth0: Device = { index: 2, name: "eth0", kind: "uplink", mac: "", mtu: 1500, up: true, pod: null, vxlan: null,
    addresses: [{ address: parseAddress(address)!, length: 24 }, { address: parseAddress("fe80::1")!, length: 64 }] };
  return { ...meta("Node", name), addresses: [{ type: "InternalIP", address: parseAddress(address)! }],
    podCIDRs: [parsePrefix(range)!],
    facts: { devices: [eth0], routes: [], neighbours: [], sysctls: {}, source: "read" } };
}

function pod(name: string, nodeName: string, ip: string, more: Partial<Pod> = {}): Pod {
  return { ...meta("Pod", name), nodeName, ips: [parseAddress(ip)!], hostNetwork: false, serviceAccountName: "",
    ports: [], phase: "Running", ...more };
}
