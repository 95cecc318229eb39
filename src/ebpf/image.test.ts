/**
 * The compiled image: independent of the order and the division of the input, services as Cilium programs
 * them, limits.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../test/seed.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { encode } from "../contract/codec.js";
import { maps } from "../contract/maps.js";
import { dumpImage, dumpServices } from "./dump.js";
import { compileImage, diffImages } from "./image.js";
import type { MapImage } from "./image.js";
import { UNDECIDED_PORT } from "./compile/policy/values.js";
import { checkLimits } from "./limits.js";
import { policyBytes } from "./loader.js";
import { ciliumOptions } from "./options.js";

const seed = testSeed("image");

const node = (n: number) => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: `node-${n}` },
  spec: { podCIDRs: [`10.244.${n}.0/24`] },
  status: { addresses: [{ type: "InternalIP", address: `192.168.50.1${n}` }] },
});
const pod = (name: string, n: number, last: number, labels: object) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", labels },
  spec: { nodeName: `node-${n}`, containers: [{ name: "c" }] },
  status: { phase: "Running", podIPs: [{ ip: `10.244.${n}.${last}` }] },
});
const endpoint = (n: number, last: number, conditions: object = { ready: true }) => ({
  addresses: [`10.244.${n}.${last}`],
  nodeName: `node-${n}`,
  conditions,
});
const service = (name: string, spec: object, status: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "default" },
  spec,
  status,
});
const slice = (
  name: string,
  of: string,
  endpoints: object[],
  ports: object[] = [{ name: "", port: 8080, protocol: "TCP" }],
) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": of } },
  addressType: "IPv4",
  ports,
  endpoints,
});
const policy = (name: string, spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace: "default" },
  spec,
});

const OBJECTS: object[] = [
  node(1),
  node(2),
  pod("a", 1, 10, { app: "a" }),
  pod("b", 2, 10, { app: "b" }),
  pod("b2", 2, 11, { app: "b" }),
  service("web", { type: "NodePort", clusterIP: "10.96.0.10", ports: [{ port: 80, nodePort: 30080 }] }),
  service(
    "local",
    {
      type: "LoadBalancer",
      clusterIP: "10.96.0.11",
      externalTrafficPolicy: "Local",
      ports: [{ port: 80, nodePort: 30081 }],
    },
    { loadBalancer: { ingress: [{ ip: "198.51.100.10" }] } },
  ),
  slice("web-1", "web", [endpoint(1, 10), endpoint(2, 10)]),
  slice("web-2", "web", [endpoint(2, 11, { ready: false, serving: true, terminating: true })]),
  slice("local-1", "local", [endpoint(2, 10)]),
  policy("p", {
    podSelector: { matchLabels: { app: "b" } },
    ingress: [
      {
        from: [{ podSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }],
        ports: [{ port: 80, endPort: 90 }],
      },
    ],
  }),
  policy("q", { podSelector: {}, policyTypes: ["Egress"], egress: [{ to: [{ namespaceSelector: {} }] }] }),
];

function imageOf(objects: readonly object[], overrides: Record<string, unknown> = {}): MapImage {
  const { objects: read } = readManifests(
    objects.map((object) => ({
      name: `${(object as { kind: string }).kind}-${
        (object as { metadata: { name: string } }).metadata.name
      }.json`,
      text: JSON.stringify(object),
    })),
  );
  const cluster = buildCluster(read);
  return compileImage({ cluster, options: ciliumOptions("cilium@1.20", cluster, overrides).options });
}

/** Every map's bytes as one text. */
function bytesOf(image: MapImage): string {
  const parts = maps.flatMap(({ name, key, value }) =>
    image.maps.get(name)!.map(([k, v]) => `${name} ${encode(key, k)} ${encode(value, v)}`),
  );
  const policies = image.policies.endpoints.maps.map((map) => JSON.stringify(policyBytes(map, "1.20")));
  return [...parts, ...policies, dumpImage(image)].join("\n");
}

describe("compileImage", () => {
  it("gives the same bytes for the same objects in any order, given once or twice", () => {
    const wanted = bytesOf(imageOf(OBJECTS));
    fc.assert(
      fc.property(
        fc.shuffledSubarray(OBJECTS, { minLength: OBJECTS.length }),
        fc.subarray(OBJECTS),
        (shuffled, again) => {
          expect(bytesOf(imageOf([...shuffled, ...again]))).toBe(wanted);
        },
      ),
      { seed, numRuns: 30 },
    );
  });

  it("does not care how endpoints are divided into slices", () => {
    const joined = OBJECTS.filter(
      (object) => !["web-1", "web-2"].includes((object as { metadata: { name: string } }).metadata.name),
    );
    joined.push(
      slice("web-1", "web", [
        endpoint(2, 11, { ready: false, serving: true, terminating: true }),
        endpoint(2, 10),
        endpoint(1, 10),
      ]),
    );
    expect(dumpServices(imageOf(joined))).toEqual(dumpServices(imageOf(OBJECTS)));
  });

  it("programs services as Cilium's control plane does", () => {
    const lines = dumpServices(imageOf(OBJECTS))
      .filter((line) => line.includes("(0)"))
      .map((line) => line.replaceAll("\t", " "));
    const of = (start: string) =>
      lines
        .filter((line) => line.startsWith(start))
        .map((line) => line.slice(start.length).replace(/ \(\d+\)/, ""));
    expect(of("10.96.0.10:80/TCP (0)")).toEqual([
      " [ClusterIP, non-routable] active=2 quarantined=1 default/web",
    ]);
    expect(of("10.96.0.10:0/ANY (0)")).toEqual([
      " [ClusterIP, non-routable] active=0 quarantined=0 default/web",
    ]);
    expect(of("0.0.0.0:30080/TCP (0)")).toEqual([
      " [NodePort, non-routable] active=2 quarantined=1 default/web",
    ]);
    expect(of("192.168.50.11:30080/TCP (0)")).toEqual([
      " [NodePort] active=2 quarantined=1 node=node-1 default/web",
    ]);
    // Local outside, cluster-wide inside: two scopes, and outside a row for each node.
    expect(of("198.51.100.10:80/TCP (0)")).toEqual([
      " [LoadBalancer, Local, two-scopes] active=0 quarantined=0 node=node-1 default/local",
      " [LoadBalancer, Local, two-scopes] active=1 quarantined=0 node=node-2 default/local",
    ]);
    expect(of("198.51.100.10:80/TCP/i (0)")).toEqual([
      " [LoadBalancer, Local, two-scopes] active=1 quarantined=0 default/local",
    ]);
    expect(of("10.96.0.11:80/TCP (0)")[0]).toContain("active=1");
  });

  it("uses terminating backends only where no active one is left", () => {
    const terminating = { ready: false, serving: true, terminating: true };
    const only = imageOf([
      node(1),
      service("s", { clusterIP: "10.96.0.1", ports: [{ port: 80 }] }),
      slice("s", "s", [
        endpoint(1, 10, terminating),
        endpoint(1, 11, { ready: false, serving: false, terminating: true }),
        endpoint(1, 12, { ready: false }),
      ]),
    ]);
    const [frontend] = only.services.frontends.filter(({ flags }) => !flags.wildcard);
    // The one that does not serve keeps a slot for what it has; the one that is not ready keeps its entry only.
    expect([frontend.active.length, frontend.terminating.length]).toEqual([1, 1]);
    expect(only.services.backends.map(({ address, state }) => [address.text, state])).toEqual([
      ["10.244.1.10", "terminating"], ["10.244.1.11", "not-serving"], ["10.244.1.12", "maintenance"],
    ]);
  });

  it("numbers identities by label text and CIDRs in the local scope", () => {
    const { all } = imageOf(OBJECTS).policies.identities;
    const pods = all.filter(({ kind }) => kind === "pod");
    expect(pods.map(({ id }) => id)).toEqual([256, 257]);
    expect(pods[0].labels).toContain("k8s:app=a");
    expect(pods[0].labels).toContain(
      "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default",
    );
    expect(all.filter(({ kind }) => kind === "cidr").map(({ id, labels }) => [id, labels])).toEqual([
      [16777217, ["cidr:10.0.0.0/8", "reserved:world"]],
      [16777218, ["cidr:10.1.0.0/16", "reserved:world"]],
    ]);
  });

  it("gives both families a world of their own in dual stack", () => {
    const { identities } = imageOf(OBJECTS, { "enable-ipv6": true }).policies;
    expect([identities.world.v4.id, identities.world.v6.id]).toEqual([9, 10]);
  });

  it("says for each entry which rules it is from, joined where keys are equal", () => {
    const twice = imageOf([
      ...OBJECTS,
      policy("p2", {
        podSelector: { matchLabels: { app: "b" } },
        ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 88, endPort: 89 }] }],
      }),
    ]);
    const map = twice.policies.endpoints.maps.find(({ policies }) => policies.includes("default/p2"))!;
    const becauses = [...map.cookie].map((cookie) =>
      twice.cookies
        .get(cookie)!
        .map(({ object, rule }) => `${object} ${rule}`)
        .join(" + "),
    );
    expect(becauses).toContain("default/p ingress[0].from[0] + default/p2 ingress[0].from[0]");
    expect(becauses).toContain("allow-localhost auto");
    expect(twice.cookies.get(map.denyIngress)!.map(({ object }) => object)).toEqual([
      "default/p",
      "default/p2",
    ]);
  });

  it("differs from itself by nothing, and by one object's entries after a change", () => {
    const before = imageOf(OBJECTS);
    expect([...diffImages(before, imageOf(OBJECTS)).keys()]).toEqual([]);
    const after = imageOf([...OBJECTS, pod("z", 1, 99, { app: "a" })]);
    const changes = diffImages(before, after);
    expect([...changes.keys()].sort()).toEqual([
      "cilium_ipcache_v2",
      "cilium_lxc",
      "twinplane_devices",
      "twinplane_fib",
    ]);
    expect([...changes.values()].every(({ deletes }) => deletes.length === 0)).toBe(true);
    expect(diffImages(after, before).get("cilium_lxc")!.deletes).toHaveLength(1);
  });

  it("reports a policy map over its limit and leaves its verdicts open", () => {
    const image = imageOf(OBJECTS, { "bpf-policy-map-max": 5 });
    const finding = checkLimits(image).find(({ id, exceeded }) => id === "CAP-POLICYMAP" && exceeded)!;
    expect(finding).toMatchObject({
      max: 5,
      because: ["default/p", "default/q"],
      subject: "default/b and 1 more",
    });
    const map = image.policies.endpoints.maps.find(({ overflow }) => overflow)!;
    expect([map.undecided.length, [...map.proxyPort], map.identity.length]).toEqual([1, [UNDECIDED_PORT, UNDECIDED_PORT], 2]);
    expect(checkLimits(imageOf(OBJECTS)).filter(({ exceeded }) => exceeded)).toEqual([]);
  });
});

describe("ciliumOptions", () => {
  it("reads a cilium-config and reports what it cannot use", () => {
    const { objects } = readManifests([
      {
        name: "c.yaml",
        text: JSON.stringify({
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: "cilium-config", namespace: "kube-system" },
          data: {
            "enable-policy": "always",
            "bpf-ct-timeout-regular-tcp": "2h13m20s",
            "bpf-policy-map-max": "many",
          },
        }),
      },
    ]);
    const { options, problems } = ciliumOptions("cilium@1.20", buildCluster(objects));
    expect([
      options["enable-policy"],
      options["bpf-ct-timeout-regular-tcp"],
      options["bpf-policy-map-max"],
    ]).toEqual(["always", 8000, 16384]);
    expect([options.grades["enable-policy"], options.grades["bpf-policy-map-max"]]).toEqual([
      "read",
      "documented",
    ]);
    expect(problems.map(({ what }) => what)).toEqual([
      'option bpf-policy-map-max is "many"; expected a number, or a duration as 2h13m20s',
    ]);
  });

  it("enables the families that pods have, unless it is told", () => {
    const six = { ...pod("v6", 1, 20, {}), status: { phase: "Running", podIPs: [{ ip: "10.244.1.20" }, { ip: "fd00::20" }] } };
    const options = imageOf([node(1), six]).options;
    expect([options["enable-ipv4"], options["enable-ipv6"], options.grades["enable-ipv6"]]).toEqual([true, true, "assumed"]);
    expect(imageOf([node(1), six], { "enable-ipv6": false }).options["enable-ipv6"]).toBe(false);
    expect(imageOf(OBJECTS).options["enable-ipv6"]).toBe(false);
  });

  it("refuses versions without a profile", () => {
    expect(ciliumOptions("cilium@1.14.2", null).problems[0].severity).toBe("error");
    expect([
      ciliumOptions("cilium", null).options.version,
      ciliumOptions("cilium@v1.18.6", null).options.version,
    ]).toEqual(["1.20", "1.18"]);
  });
});
