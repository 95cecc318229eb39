/** Random flows for a cluster: who speaks to whom, and how. Destinations are mostly what its services offer. */
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import type { KubeProxyConfig } from "../../src/iptables/kubeproxy/config.js";
import type { Flow } from "./case.js";
import { addressBytes, type Transport } from "./frames.js";
import type { Draws } from "./random-case.js";
import { OWN, PODS, podLink } from "./topology.js";

interface Place {
  readonly kind: string;
  readonly device: string;
  readonly address: string;
}

interface Target {
  readonly kind: string;
  readonly address: string;
  readonly protocol: Transport;
  readonly port: number;
  /** Endpoints of the service, for hairpin. */
  readonly endpoints: readonly string[];
}

/** @param elsewhere percent of the flows that go where no service is */
export function randomFlows(objects: readonly Plain[], later: readonly Plain[], config: KubeProxyConfig, draws: Draws,
  count: number, elsewhere: number): Flow[] {
  const targets = new Map<4 | 6, Target[]>([[4, targetsOf(objects, 4)], [6, targetsOf(objects, 6)]]);
  const laterTargets = new Map<4 | 6, Target[]>([[4, targetsOf(later, 4)], [6, targetsOf(later, 6)]]);
  const sources = new Map<4 | 6, Place[]>([[4, sourcesOf(4, draws)], [6, sourcesOf(6, draws)]]);
  const flows: Flow[] = [];
  const used = new Set<string>();
  while (flows.length < count) {
    const late = flows.length > count * 0.7;
    const family = draws.chance(60) ? 4 : 6;
    const offered = (late ? laterTargets : targets).get(family) ?? [];
    const target = offered.length > 0 && !draws.chance(elsewhere) ? served(offered, draws) : otherTarget(family, draws);
    const source = sourceFor(target, family, sources.get(family) ?? [], draws);
    const sport = draws.chance(3) ? draws.of([400, 700, 1000]) : 20000 + flows.length;
    const protocol = draws.chance(4) ? "ICMP" : target.protocol;
    const key = [protocol, source.address, sport, target.address, target.port].join(" ");
    if (used.has(key)) continue;
    used.add(key);
    const random = config.statisticMode === "random";
    flows.push({
      kind: `${source.kind} > ${protocol === "ICMP" ? "ping" : target.kind}`, device: source.device, from: source.address,
      to: target.address, protocol, sport, dport: target.port,
      // An answer from within the node would leave the choice of the rules unseen.
      ttl: !random && draws.chance(2) ? 1 : 64,
      // A raw socket of ICMPv6 keeps damaged packets to itself.
      opening: protocol === "ICMP" ? "open" : protocol === "TCP" || protocol === "SCTP" ? draws.of([...Array<"open">(17).fill("open"), "middle", "stray", "damaged"])
        : draws.chance(5) ? "damaged" : "open",
      error: draws.of(["none", "none", "none", "port", "host", "size"]), late,
    });
  }
  return flows;
}

function targetsOf(objects: readonly Plain[], family: 4 | 6): Target[] {
  return objects.filter((one) => one.kind === "Service").flatMap((service) => {
    const { spec, status, metadata } = service;
    const endpoints = objects.filter((one) => one.kind === "EndpointSlice" && one.addressType === `IPv${family}`
      && one.metadata.labels["kubernetes.io/service-name"] === metadata.name)
      .flatMap((slice) => (slice.endpoints as Plain[]).map((endpoint) => endpoint.addresses[0] as string));
    const found: Target[] = [];
    for (const port of spec.ports as Plain[]) {
      const add = (kind: string, address: string, number: number, protocol: Transport = port.protocol as Transport): void => {
        if (familyOf(address) === family) found.push({ kind, address, protocol, port: number, endpoints });
      };
      for (const address of (spec.clusterIPs ?? []) as string[]) {
        if (address === "None") continue;
        for (let copy = 0; copy < 4; copy++) add("cluster IP", address, port.port as number);
        add("unknown port of a cluster IP", address, 7);
      }
      for (const address of spec.externalIPs as string[]) {
        for (let copy = 0; copy < 2; copy++) add(isOwn(address) ? "external IP of the node" : "external IP", address, port.port as number);
      }
      for (const { ip } of status.loadBalancer.ingress as { ip: string }[]) {
        for (let copy = 0; copy < 2; copy++) add(isOwn(ip) ? "VIP on lo" : "VIP", ip, port.port as number);
      }
      if (port.nodePort !== undefined) for (const address of OWN[family]) add("node port", address, port.nodePort as number);
      for (const address of endpoints.slice(0, 2)) add("pod", address, 8080);
      if (spec.healthCheckNodePort !== undefined) add("health check port", OWN[family][0], spec.healthCheckNodePort as number, "TCP");
    }
    return found;
  });
}

/** Rather one that has endpoints. */
function served(targets: readonly Target[], draws: Draws): Target {
  const drawn = draws.of(targets);
  return drawn.endpoints.length > 0 || draws.chance(40) ? drawn : draws.of(targets);
}

/** Where no service is. */
function otherTarget(family: 4 | 6, draws: Draws): Target {
  const protocol = draws.of<Transport>(["TCP", "UDP", "SCTP", "ICMP"]);
  const [kind, address] = draws.of(family === 4 ? [["pod", `10.244.0.${1 + draws.below(PODS)}`], ["pod of another node", "10.244.1.5"],
    ["node", "192.168.0.2"], ["node", "192.168.0.22"], ["outside", "203.0.113.9"], ["outside", "203.0.113.200"], ["another node", "192.168.0.3"],
    ["localhost from outside", "127.0.0.1"]]
    : [["pod", `fd00:10:244::${(1 + draws.below(PODS)).toString(16)}`], ["pod of another node", "fd00:10:244:1::5"], ["node", "fd00::2"],
      ["node", "fd00::22"], ["outside", "2001:db8:c::9"], ["outside", "2001:db8:c::c8"], ["another node", "fd00::3"]]);
  return { kind, address, protocol, port: draws.of([53, 8080, 30000]), endpoints: [] };
}

/** A few of each kind, so that clients come again. */
function sourcesOf(family: 4 | 6, draws: Draws): Place[] {
  const v4 = family === 4;
  const places: Place[] = [];
  const add = (kind: string, device: string, address: string): void => {
    places.push({ kind, device, address });
  };
  for (let copy = 0; copy < 5; copy++) {
    // Two of them behind the bridge.
    const host = copy < 2 ? 5 * (1 + draws.below(4)) : 1 + draws.below(PODS);
    add("pod", podLink(host), v4 ? `10.244.0.${host}` : `fd00:10:244::${host.toString(16)}`);
  }
  for (const host of [5, 9]) add("pod of another node", "eth0", v4 ? `10.244.1.${host}` : `fd00:10:244:1::${host}`);
  for (const host of [7, 8]) add("client", "eth0", v4 ? `203.0.113.${host}` : `2001:db8:c::${host}`);
  add("client", "eth1", v4 ? "203.0.113.130" : "2001:db8:c::82");
  add("client", "eth0", v4 ? "192.168.0.77" : "fd00::77");
  add("client", "eth1", v4 ? "192.168.7.9" : "fd00:7::9");
  // From outside, with one of the node's own addresses.
  if (draws.chance(50)) add("forger", "eth0", OWN[family][draws.below(2)]);
  for (const address of OWN[family].slice(0, 1)) for (let copy = 0; copy < 3; copy++) add("node", "", address);
  for (const address of OWN[family].slice(1, 5)) if (draws.chance(60)) add("node", "", address);
  return places;
}

function sourceFor(target: Target, family: 4 | 6, places: readonly Place[], draws: Draws): Place {
  const loopback = OWN[family].at(-1)!;
  if (target.address === loopback && target.kind !== "localhost from outside") return { kind: "localhost", device: "", address: loopback };
  // A VIP that speaks to itself: from the node where it is bound, else from outside.
  if (target.kind === "VIP on lo" && draws.chance(35)) return { kind: "VIP", device: "", address: target.address };
  if (target.kind === "VIP" && draws.chance(30)) return { kind: "VIP", device: "eth0", address: target.address };
  const local = target.endpoints.filter((address) => podHost(address) > 0);
  // Hairpin, more often than chance would have it.
  if (local.length > 0 && draws.chance(12)) {
    const address = draws.of(local);
    return { kind: "endpoint", device: podLink(podHost(address)), address };
  }
  return draws.of(places);
}

/** The number of a pod of this node; 0 for anything else. */
function podHost(address: string): number {
  const bytes = addressBytes(address);
  const prefix = bytes.length === 4 ? address.startsWith("10.244.0.") : address.startsWith("fd00:10:244::");
  return prefix ? bytes[bytes.length - 1] : 0;
}

function familyOf(address: string): 4 | 6 {
  return address.includes(":") ? 6 : 4;
}

function isOwn(address: string): boolean {
  return OWN[familyOf(address)].includes(address);
}
