/**
 * Services through the whole plane, by version: the order of checks for what comes from outside and its drop reasons,
 * answers where there is no backend, direct server return over two nodes, options that change them.
 */
import { describe, expect, it } from "vitest";
import { modelHash, modelTable, type ModelBackend } from "../../test/maglev-model.js";
import { ACK, packet, type PacketInput, SYN } from "../../test/packets.js";
import { moduleBytes } from "../../test/programs.js";
import { parseAddress } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { Emission, End, FrameBlock, PacketType, StepResults } from "../dataplane.js";
import { maglevSeeds } from "./compile/maglev.js";
import { createEbpfPlane } from "./plane.js";

type Plain = Record<string, unknown>;

const ALL = ["1.16", "1.17", "1.18", "1.19", "1.20"] as const;
const CLIENT = "203.0.113.9";
const CLIENT6 = "2001:db8:9::9";

const meta = (name: string, annotations: Plain = {}, labels: Plain = {}) => ({ name, namespace: "d", annotations, labels });
const node = (n: number) => ({ apiVersion: "v1", kind: "Node", metadata: { name: `node-${n}` },
  spec: { podCIDRs: [`10.244.${n}.0/24`, `fd00:10:${n}::/64`] },
  status: { addresses: [`192.168.50.1${n}`, `fd00:50::1${n}`].map((address) => ({ type: "InternalIP", address })) } });
const pod = (n: number, more: Plain = {}) => ({ apiVersion: "v1", kind: "Pod", metadata: meta(`web-${n}`, {}, { app: "web" }),
  spec: { nodeName: `node-${n}`, containers: [{ name: "c", ...more }] },
  status: { phase: "Running", podIPs: [{ ip: `10.244.${n}.9` }, { ip: `fd00:10:${n}::9` }] } });
const service = (spec: Plain = {}, annotations: Plain = {}, name = "s") => ({ apiVersion: "v1", kind: "Service",
  metadata: meta(name, annotations), spec: { type: "LoadBalancer", clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00:96::1"],
    ipFamilies: ["IPv4", "IPv6"], ports: [{ port: 80, nodePort: 30080 }], ...spec },
  status: { loadBalancer: { ingress: [{ ip: "198.51.100.1" }, { ip: "2001:db8:1::1" }] } } });
const slices = (nodes: number[], of = "s", protocol = "TCP") => ["IPv4", "IPv6"].map((addressType) => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType, ports: [{ port: 8080, protocol }],
  metadata: meta(`${of}-${addressType.toLowerCase()}`, {}, { "kubernetes.io/service-name": of }),
  endpoints: nodes.map((n) => ({ addresses: [addressType === "IPv4" ? `10.244.${n}.9` : `fd00:10:${n}::9`], nodeName: `node-${n}`,
    conditions: { ready: true } })) }));
const BOTH = [node(1), node(2), pod(1), pod(2)];

interface Sent {
  readonly to: string;
  readonly port: number;
  readonly from?: string;
  readonly sport?: number;
  readonly at?: string;
  readonly protocol?: PacketInput["protocol"];
  readonly flags?: number;
  readonly payload?: number;
}

function clusterOf(objects: object[]): Cluster {
  const { objects: read } = readManifests([{ name: "c.json", text: JSON.stringify({ kind: "List", apiVersion: "v1", items: objects }) }]);
  return buildCluster(read);
}

function plane(version: string, objects: object[], cilium: Plain = {}) {
  const cluster = clusterOf(objects);
  const made = createEbpfPlane({ name: "target", profile: `cilium@${version}`, cluster, epochNs: 0n,
    wasm: { fast: moduleBytes(), traced: moduleBytes(true) }, connections: 4096, cilium });
  const results = new StepResults();
  const block = new FrameBlock();
  const send = ({ to, port, from, sport = 40000, at = "node-1", protocol = "TCP", flags = SYN, payload = 0 }: Sent) => {
    const v6 = to.includes(":");
    const source = from ?? (v6 ? CLIENT6 : CLIENT);
    const bytes = packet({ from: source, to, protocol, sport, dport: port, flags, payload: new Uint8Array(payload) });
    const owner = cluster.pods.find((one) => one.ips.some((ip) => ip.text === source));
    const place = cluster.nodes.find(({ name }) => name === (owner?.nodeName ?? at))!;
    const device = place.facts.devices.find((one) => (owner === undefined ? one.kind === "uplink" : one.pod === `d/${owner.name}`))!;
    block.clear();
    block.push(bytes, 0, bytes.length, bytes.length, v6 ? 0x86dd : 0x0800, PacketType.Host,
      made.nodes.indexOf(place.name), device.index, 1e9);
    made.step(block, results);
    const images = Array.from({ length: results.emissions }, (_, index) => results.bytes.slice(results.emissionOffset[index],
      results.emissionOffset[index] + results.emissionLength[index]));
    return { end: results.end[0] as End, reason: made.reasons[results.reason[0]], images,
      kinds: [...results.emissionKind.subarray(0, results.emissions)], last: images.at(-1) };
  };
  return { send, made };
}

const NAMES = new Map(Object.entries(End).map(([name, number]) => [number, name]));
const outcome = ({ end, reason }: { end: End; reason: string }) => (end === End.Dropped || end === End.Rejected
  ? `${NAMES.get(end)} ${reason}` : end === End.Undecided ? reason : NAMES.get(end)!);

describe("what comes from outside", () => {
  const ranged = service({ loadBalancerSourceRanges: ["192.0.2.0/24", "2001:db8:2::/64"] });

  it("meets source ranges, then the cluster IP's check, then the backends", () => {
    for (const version of ALL) {
      const { send } = plane(version, [...BOTH, ranged, ...slices([1])]);
      for (const [vip, cluster] of [["198.51.100.1", "10.96.0.1"], ["2001:db8:1::1", "fd00:96::1"]]) {
        const inside = vip.includes(":") ? "2001:db8:2::7" : "192.0.2.7";
        expect(outcome(send({ to: vip, port: 80 }))).toBe("Dropped DENIED_BY_LB_SRC_RANGE_CHECK");
        expect(outcome(send({ to: vip, port: 80, from: inside }))).toBe("Delivered");
        // 1.18 checks the ranges of every frontend of the service, before it looks whether it is a cluster IP.
        expect(outcome(send({ to: cluster, port: 80 })))
          .toBe(version === "1.18" ? "Dropped DENIED_BY_LB_SRC_RANGE_CHECK" : "Dropped IS_A_CLUSTERIP");
        expect(outcome(send({ to: cluster, port: 80, from: inside }))).toBe("Dropped IS_A_CLUSTERIP");
      }
    }
  });

  it("finds no unknown port of a service's address from 1.19 on, and the routes before", () => {
    for (const version of ALL) {
      const { send } = plane(version, [...BOTH, service(), ...slices([1])]);
      for (const to of ["198.51.100.1", "10.96.0.1", "2001:db8:1::1", "fd00:96::1"]) {
        const found = outcome(send({ to, port: 81 }));
        if (version >= "1.19") expect(found).toBe("Dropped SERVICE_BACKEND_NOT_FOUND");
        else expect(found).not.toContain("SERVICE_BACKEND_NOT_FOUND");
      }
    }
    const { send } = plane("1.20", [...BOTH, service(), ...slices([1])], { "default-lb-service-ipam": "none" });
    expect(outcome(send({ to: "198.51.100.1", port: 81 }))).not.toContain("SERVICE_BACKEND_NOT_FOUND");
  });

  it("reaches a cluster IP with bpf-lb-external-clusterip", () => {
    for (const version of ALL) {
      const { send } = plane(version, [...BOTH, service(), ...slices([1])], { "bpf-lb-external-clusterip": "true" });
      expect(outcome(send({ to: "10.96.0.1", port: 80 }))).toBe("Delivered");
    }
  });

  it("is refused by the list where the service says deny, from 1.17 on", () => {
    for (const version of ALL) {
      const deny = service({ loadBalancerSourceRanges: ["203.0.113.0/24"] }, { "service.cilium.io/src-ranges-policy": "deny" });
      const { send } = plane(version, [...BOTH, deny, ...slices([1])]);
      expect(outcome(send({ to: "198.51.100.1", port: 80 })))
        .toBe(version === "1.16" ? "Delivered" : "Dropped DENIED_BY_LB_SRC_RANGE_CHECK");
    }
  });

  it("of another protocol is a TCP service's in 1.16 only", () => {
    for (const version of ALL) {
      const { send } = plane(version, [...BOTH, service(), ...slices([1])], { "default-lb-service-ipam": "none" });
      const { end, last } = send({ to: "198.51.100.1", port: 80, protocol: "UDP" });
      const balanced = end === End.Delivered && last !== undefined && [...last.subarray(16, 20)].join(".") === "10.244.1.9";
      expect(balanced).toBe(version === "1.16");
    }
  });

  it("reaches a host port on its pod's node", () => {
    const hosted = [node(1), node(2), pod(1, { ports: [{ containerPort: 8080, hostPort: 8088 }] })];
    for (const version of ALL) {
      const { send } = plane(version, hosted);
      const there = send({ to: "192.168.50.11", port: 8088 });
      expect([there.end, [...there.last!.subarray(16, 20)].join(".")]).toEqual([End.Delivered, "10.244.1.9"]);
    }
  });

  it("to a health check's node port is the node's own", () => {
    const local = service({ externalTrafficPolicy: "Local", healthCheckNodePort: 32100 });
    for (const version of ALL) {
      const { send } = plane(version, [...BOTH, local, ...slices([1])]);
      const asked = send({ to: "192.168.50.11", port: 32100 });
      expect([asked.end, asked.kinds]).toEqual([End.Delivered, [Emission.Local]]);
    }
  });
});

describe("what is not evaluated", () => {
  const redirects = (kind: string, spec: Plain) => ({ apiVersion: "cilium.io/v2", kind, metadata: meta("r"), spec });
  const reached = (objects: object[], sent: Sent) => outcome(plane("1.20", [...BOTH, service(), ...slices([1]), ...objects]).send(sent));
  const fromPod = { to: "10.96.0.1", port: 80, from: "10.244.2.9" };

  it("is said of services that a CiliumLocalRedirectPolicy or a CiliumEnvoyConfig takes", () => {
    const local = redirects("CiliumLocalRedirectPolicy", { redirectFrontend: { serviceMatcher: { serviceName: "s" } } });
    expect(reached([], fromPod)).toBe("Delivered");
    expect(reached([local], fromPod)).toContain("undecided");
    expect(reached([local], { to: "198.51.100.1", port: 80 })).toBe("Delivered");
    const address = redirects("CiliumLocalRedirectPolicy", { redirectFrontend: { addressMatcher: { ip: "169.254.169.254",
      toPorts: [{ port: "8080", protocol: "TCP" }] } } });
    expect(reached([address], { ...fromPod, to: "169.254.169.254", port: 8080 })).toContain("undecided");
    expect(reached([address], { ...fromPod, to: "169.254.169.254", port: 8081 })).toBe("Left");
    const proxied = (ports?: number[]) => redirects("CiliumEnvoyConfig", { services: [{ name: "s", namespace: "d", ports }] });
    expect(reached([proxied()], fromPod)).toContain("undecided");
    expect(reached([proxied([80])], { to: "198.51.100.1", port: 80 })).toContain("undecided");
    expect(reached([proxied([81])], fromPod)).toBe("Delivered");
  });

  it("is said of a service that delegates to a proxy, from 1.18 on", () => {
    const delegating = service({}, { "service.cilium.io/proxy-delegation": "delegate-if-local" });
    for (const version of ALL) {
      const found = outcome(plane(version, [...BOTH, delegating, ...slices([1])]).send({ to: "198.51.100.1", port: 80 }));
      if (version >= "1.18") expect(found).toContain("undecided");
      else expect(found).toBe("Delivered");
    }
  });
});

describe("a service without backends", () => {
  const empty = [...BOTH, service(), ...slices([])];
  const ways = [{ to: "198.51.100.1", port: 80 }, { to: "2001:db8:1::1", port: 80 }, { to: "10.96.0.1", port: 80, from: "10.244.1.9" },
    { to: "fd00:96::1", port: 80, from: "fd00:10:1::9" }];

  it("is answered, or its packets dropped", () => {
    for (const version of ALL) {
      for (const way of ways) {
        const answered = plane(version, empty).send(way);
        expect(outcome(answered)).toBe("Rejected SERVICE_BACKEND_NOT_FOUND");
        expect(answered.last![way.to.includes(":") ? 40 : 20]).toBe(way.to.includes(":") ? 1 : 3);
        const dropped = plane(version, empty, { "service-no-backend-response": "drop" }).send(way);
        expect(outcome(dropped)).toBe("Dropped SERVICE_BACKEND_NOT_FOUND");
      }
    }
  });

  it("is left to the routes from 1.19 on where the agent says so, unless a Local policy keeps it", () => {
    const off = { "enable-no-service-endpoints-routable": "false" };
    for (const version of ALL) {
      for (const way of ways) {
        const found = outcome(plane(version, empty, off).send(way));
        if (version >= "1.19") expect(found).not.toContain("SERVICE_BACKEND_NOT_FOUND");
        else expect(found).toBe("Rejected SERVICE_BACKEND_NOT_FOUND");
      }
      const local = [...BOTH, service({ externalTrafficPolicy: "Local", internalTrafficPolicy: "Local" }), ...slices([2])];
      for (const way of ways.slice(0, 2)) {
        expect(outcome(plane(version, local, off).send(way)))
          .toBe(version >= "1.19" ? "Dropped SERVICE_BACKEND_NOT_FOUND" : "Rejected SERVICE_BACKEND_NOT_FOUND");
      }
    }
  });
});

describe("Maglev through the whole plane", () => {
  const [murmur, jhash4, jhash6] = maglevSeeds("AAECAwQFBgcICQoL");
  const cilium = { "bpf-lb-algorithm": "maglev", "bpf-lb-maglev-table-size": "251", "bpf-lb-maglev-hash-seed": "AAECAwQFBgcICQoL" };
  const nodes = [1, 2, 3, 4].flatMap((n) => [node(n), pod(n)]);
  /** The last node of the address that a packet from outside goes to, and the model's. */
  const chosen = (version: string, { send }: ReturnType<typeof plane>, to: string, sport: number, among: number[]) => {
    const v6 = to.includes(":");
    const { last } = send({ to, port: 80, sport });
    const members: ModelBackend[] = among.map((n) => ({ id: n, ip: v6 ? `fd00:10:${n}::9` : `10.244.${n}.9`, port: 8080,
      protocol: "TCP", weight: 100 }));
    const number = Number(version.slice(2));
    const client = Uint8Array.from(parseAddress(v6 ? CLIENT6 : CLIENT)!.bytes);
    const hash = modelHash({ client, clientPort: sport, servicePort: 80, protocol: 6, affinity: false }, v6 ? jhash6 : jhash4, number);
    return [v6 ? last![29] : last![18], modelTable(members, 251, murmur, number)[hash % 251]];
  };

  it("takes the model's backend, also after backends went and came", () => {
    for (const version of ALL) {
      const made = plane(version, [...nodes, service(), ...slices([1, 2, 3, 4])], cilium);
      for (let sport = 2000; sport < 2012; sport++) {
        for (const to of ["198.51.100.1", "2001:db8:1::1"]) {
          const [found, wanted] = chosen(version, made, to, sport, [1, 2, 3, 4]);
          expect(found).toBe(wanted);
        }
      }
      for (const left of [[1, 3], [1, 2, 3, 4]]) {
        made.made.change(clusterOf([...nodes, service(), ...slices(left)]), 2e9);
        for (let sport = 3000 + 100 * left.length; sport < 3008 + 100 * left.length; sport++) {
          const [found, wanted] = chosen(version, made, "198.51.100.1", sport, left);
          expect(found).toBe(wanted);
        }
      }
    }
  });
});

describe("direct server return", () => {
  const remote = [...BOTH, service(), ...slices([2])];
  const text = (bytes: Uint8Array, at: number) => [...bytes.subarray(at, at + 4)].join(".");

  it("takes the client's address to the backend's node, and the service's address to the client", () => {
    for (const version of ALL) {
      const { send } = plane(version, remote, { "bpf-lb-mode": "dsr" });
      const there = send({ to: "198.51.100.1", port: 80 });
      expect([outcome(there), text(there.last!, 12), text(there.last!, 16)]).toEqual(["Delivered", CLIENT, "10.244.2.9"]);
      expect(Buffer.from(there.last!.subarray(20, 28)).toString("hex")).toBe("9a0850000164" + "33c6");
      const more = send({ to: "198.51.100.1", port: 80, flags: ACK });
      expect([outcome(more), more.last![0]]).toEqual(["Delivered", 0x45]);
      const back = send({ from: "10.244.2.9", sport: 8080, to: CLIENT, port: 40000, flags: SYN | ACK });
      expect([outcome(back), text(back.last!, 12)]).toEqual(["Left", "198.51.100.1"]);
      // Over IPv4 the load balancer counts a hop, over IPv6 it does not; the delivery to the pod always does.
      expect(there.last![8]).toBe(62);
      const six = send({ to: "2001:db8:1::1", port: 80 });
      expect([outcome(six), six.last![6], six.last![7]]).toEqual(["Delivered", 60, 63]);
      const back6 = send({ from: "fd00:10:2::9", sport: 8080, to: CLIENT6, port: 40000, flags: SYN | ACK });
      expect(Buffer.from(back6.last!.subarray(8, 24)).toString("hex")).toBe("20010db8000100000000000000000001");
    }
  });

  it("is for TCP alone in hybrid mode, and for a local backend never", () => {
    const udp = [...BOTH, service({ ports: [{ port: 80, nodePort: 30080, protocol: "UDP" }] }), ...slices([2], "s", "UDP")];
    for (const version of ALL) {
      const hybrid = { "bpf-lb-mode": "hybrid" };
      const source = (objects: object[], protocol: "TCP" | "UDP", cilium: Plain, at = "node-1") =>
        text(plane(version, objects, cilium).send({ to: "198.51.100.1", port: 80, protocol, at }).last!, 12);
      expect(source(remote, "TCP", hybrid)).toBe(CLIENT);
      expect(source(udp, "UDP", hybrid)).toBe("192.168.50.11");
      expect(source(udp, "UDP", { "bpf-lb-mode": "dsr" })).toBe(CLIENT);
      expect(source(remote, "TCP", {})).toBe("192.168.50.11");
      const local = plane(version, remote, { "bpf-lb-mode": "dsr" }).send({ to: "198.51.100.1", port: 80, at: "node-2" });
      expect([outcome(local), local.last![0]]).toEqual(["Delivered", 0x45]);
    }
  });

  it("is a service's own choice with bpf-lb-mode-annotation", () => {
    const own = [...BOTH, service({}, {
       "service.cilium.io/forwarding-mode": "dsr", "service.cilium.io/lb-algorithm": "random" }), ...slices([2])];
    for (const version of ALL) {
      const source = (cilium: Plain) => text(plane(version, own, cilium).send({ to: "198.51.100.1", port: 80 }).last!, 12);
      expect(source({})).toBe("192.168.50.11");
      const asked = { "bpf-lb-mode-annotation": "true" };
      // 1.16 has no such annotation; 1.17 reads it where algorithms may be annotated.
      expect(source(asked)).toBe(version <= "1.17" ? "192.168.50.11" : CLIENT);
      expect(source({ ...asked, "bpf-lb-algorithm-annotation": "true" })).toBe(version === "1.16" ? "192.168.50.11" : CLIENT);
    }
  });

  it("answers what the option makes too large, with enable-pmtu-discovery", () => {
    const { send } = plane("1.20", remote, { "bpf-lb-mode": "dsr", "enable-pmtu-discovery": "true" });
    expect(outcome(send({ to: "198.51.100.1", port: 80, payload: 1452 }))).toBe("Delivered");
    // Hubble's name of 136 is that of an older reason.
    const large = send({ to: "198.51.100.1", port: 80, sport: 40001, payload: 1453 });
    expect(outcome(large)).toBe("Rejected CT_MISSING_TCP_ACK_FLAG");
    const [four] = [large.last!];
    expect([four.length, text(four, 12), text(four, 16), four[20], four[21], (four[26] << 8) | four[27]])
      .toEqual([56, "10.244.2.9", CLIENT, 3, 4, 1492]);
    expect([text(four, 44), (four[50] << 8) | four[51]]).toEqual(["198.51.100.1", 80]);
    expect([sum(four.subarray(0, 20)), sum(four.subarray(20)), sum(four.subarray(28, 48))]).toEqual([0xffff, 0xffff, 0xffff]);
    const six = send({ to: "2001:db8:1::1", port: 80, payload: 1417 }).last!;
    expect([six.length, six[40], (six[46] << 8) | six[47], (six[48 + 42] << 8) | six[48 + 43]]).toEqual([152, 2, 1476, 80]);
    const pseudo = Uint8Array.from([...six.subarray(8, 40), 0, 0, 0, 112, 0, 0, 0, 58, ...six.subarray(40)]);
    expect(sum(pseudo)).toBe(0xffff);
    expect(outcome(plane("1.20", remote, { "bpf-lb-mode": "dsr" }).send({ to: "198.51.100.1", port: 80, payload: 1453 })))
      .toContain("undecided");
  });
});

/** Ones' complement sum; 0xffff over bytes whose checksum is right. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let index = 0; index < bytes.length; index += 2) total += (bytes[index] << 8) | (bytes[index + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}
