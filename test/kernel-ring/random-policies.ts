/** Pods, namespaces and NetworkPolicies for the ring's address plan, with every kind of peer, selector and port. */
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import { HERE } from "../../src/iptables/kubeproxy/random.fixture.js";
import type { Draws } from "./random-case.js";
import { PODS } from "./topology.js";

const NAMESPACES = ["ns", "apps"];
const LABELS: Readonly<Record<string, readonly string[]>> = { app: ["a", "b", "c"], tier: ["x", "y", ""] };
const TEAMS: Readonly<Record<string, readonly string[]>> = { team: ["red", "blue"] };
const PORTS = [53, 8080, 8081, 8082, 8180, 30000];
const NAMES = ["http", "alt"];
const BLOCKS = ["0.0.0.0/0", "10.244.0.0/16", "10.244.0.0/15", "10.244.0.0/24", "10.244.1.0/24", "192.168.0.0/24", "203.0.113.0/24", "203.0.113.7/32",
  "192.168.0.2/32", "10.244.0.254/32", "192.0.2.0/24", "198.51.100.0/24"];

export function randomPolicies(draws: Draws): Plain[] {
  const namespaces = NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: labels(TEAMS, draws) } }));
  const pods = Array.from({ length: PODS }, (_, at) => [pod(at + 1, true, draws), pod(at + 1, false, draws)]).flat();
  const policies = Array.from({ length: 1 + draws.below(5) }, (_, at) => policy(at, draws));
  return [...namespaces, ...pods, ...policies];
}

/** The same later on: a policy less, pods with other labels. */
export function changedPolicies(objects: readonly Plain[], draws: Draws): Plain[] {
  return objects.flatMap((one) => {
    if (one.kind === "NetworkPolicy" && draws.chance(25)) return [];
    if (one.kind !== "Pod" || draws.chance(80)) return [one];
    return [{ ...one, metadata: { ...one.metadata, labels: labels(LABELS, draws) } }];
  });
}

function pod(host: number, here: boolean, draws: Draws): Plain {
  const ips = here ? [`10.244.0.${host}`, `fd00:10:244::${host.toString(16)}`] : [`10.244.1.${host}`, `fd00:10:244:1::${host.toString(16)}`];
  return {
    apiVersion: "v1", kind: "Pod", metadata: { namespace: draws.of(NAMESPACES), name: `${here ? "p" : "q"}${host}`, labels: labels(LABELS, draws) },
    spec: { nodeName: here ? HERE.name : "there", containers: [{ name: "c", ports: NAMES.filter(() => draws.chance(70)).map((name) => (
      { name, containerPort: draws.of(PORTS), protocol: draws.of(["TCP", "TCP", "UDP", "SCTP"]) })) }] },
    status: { phase: draws.chance(92) ? "Running" : "Succeeded", podIPs: ips.map((ip) => ({ ip })) },
  };
}

function policy(at: number, draws: Draws): Plain {
  const types = draws.of([undefined, ["Ingress"], ["Egress"], ["Egress"], ["Ingress", "Egress"]]);
  const rules = (peers: string): unknown => {
    const count = draws.of([-1, 0, 1, 1, 2]);
    return count < 0 ? undefined : Array.from({ length: count }, () => ({
      ...(draws.chance(75) ? { [peers]: Array.from({ length: 1 + draws.below(3) }, () => peer(draws, peers === "to")) } : {}),
      ...(draws.chance(25) ? { ports: Array.from({ length: 1 + draws.below(2) }, () => port(draws)) } : {}),
    }));
  };
  return {
    apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: draws.of(NAMESPACES), name: `np${at}` },
    spec: { podSelector: draws.chance(15) ? {} : selector(LABELS, draws), ...(types === undefined ? {} : { policyTypes: types }),
      ingress: rules("from"), egress: rules("to") },
  };
}

/** Traffic to outside and to nodes is egress alone, so that has more of address blocks. */
function peer(draws: Draws, egress: boolean): Plain {
  const pods = (): Plain => ({ podSelector: draws.chance(25) ? {} : selector(LABELS, draws) });
  const namespaces = (): Plain => ({ namespaceSelector: draws.chance(30) ? {} : selector(TEAMS, draws) });
  switch (draws.below(egress ? 6 : 5)) {
    case 0:
      return pods();
    case 1:
      return namespaces();
    case 2:
      return { ...pods(), ...namespaces() };
    default: {
      const cidr = draws.chance(50) ? draws.of(BLOCKS.slice(0, 3)) : draws.of(BLOCKS);
      const except = BLOCKS.filter((one) => one !== cidr && within(one, cidr));
      return { ipBlock: { cidr, ...(except.length > 0 && draws.chance(40) ? { except: [draws.of(except)] } : {}) } };
    }
  }
}

function port(draws: Draws): Plain {
  const protocol = { protocol: draws.of(["TCP", "UDP", "SCTP"]) };
  const number = draws.of(PORTS);
  return draws.of<() => Plain>([() => protocol, () => ({ ...protocol, port: number }), () => ({ ...protocol, port: number, endPort: number + 200 }),
    () => ({ ...protocol, port: draws.of(NAMES) })])();
}

function selector(keys: Readonly<Record<string, readonly string[]>>, draws: Draws): Plain {
  const key = draws.of(Object.keys(keys));
  const operator = draws.of(["In", "NotIn", "Exists", "DoesNotExist"]);
  const values = keys[key].filter(() => draws.chance(50));
  if (draws.chance(40)) return { matchLabels: { [key]: draws.of(keys[key]) } };
  return { matchExpressions: [{ key, operator, ...(operator.endsWith("In") ? { values: values.length === 0 ? [keys[key][0]] : values } : {}) }] };
}

function labels(keys: Readonly<Record<string, readonly string[]>>, draws: Draws): Record<string, string> {
  return Object.fromEntries(Object.entries(keys).filter(() => draws.chance(80)).map(([key, values]) => [key, draws.of(values)]));
}

/** Whether the second of two IPv4 prefixes holds the first. */
function within(inner: string, outer: string): boolean {
  const read = (text: string): [number, number] => {
    const [address, length] = text.split("/");
    return [address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0), Number(length)];
  };
  const [[a, longer], [b, shorter]] = [read(inner), read(outer)];
  return longer > shorter && Math.floor(a / 2 ** (32 - shorter)) === Math.floor(b / 2 ** (32 - shorter));
}
