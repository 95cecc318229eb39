/**
 * What the traffic exercised, by what the planes themselves say they decided by: which statements of policies, which
 * default denies, which services, frontends and backends. No selector is evaluated here.
 *
 * A packet that neither plane could be asked about, or of which one was undecided, exercises nothing.
 */
import { addressText } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import type { Because, Plane } from "../dataplane.js";
import type { Outcome } from "../replay/outcome.js";
import { Tuple } from "../replay/tuple.js";
import type { Frontend } from "./names.js";
import { peerOf, portItemOf, type Statement, statementKey, statementsOf } from "./statements.js";

/** Something that traffic can exercise, and how often it did. */
export interface CoverageRow {
  readonly kind: "rule" | "port" | "default deny" | "frontend" | "backend";
  /** `default/web`. */
  readonly object: string;
  /** `ingress[0].from[1]`, `ports[0] 80/TCP`, `10.244.1.5:8080/TCP`. */
  readonly what: string;
  readonly where: Where | null;
  /** By plane; of frontends and backends, flows. */
  readonly packets: readonly [current: number, target: number];
}

export interface CoverageReport {
  /** Sorted by kind, object and place. */
  readonly rows: readonly CoverageRow[];
  /** Rows of rules, ports and default denies, and how many of them some packet exercised. */
  readonly policy: { readonly exercised: number; readonly all: number };
  readonly services: { readonly exercised: number; readonly all: number };
}

export class Coverage {
  private readonly services = new Set<string>();
  /** `ADDRESS PORT/PROTOCOL` of frontends addressed, and of backends reached behind one -> flows. */
  private readonly frontends = new Map<string, [number, number]>();
  private readonly backends = new Map<string, [number, number]>();
  /** By plane: journey, protocol and destination port -> packets. */
  private readonly walks = [new Map<number, number>(), new Map<number, number>()] as const;

  /** A flow that addresses a frontend. */
  touch(frontend: Frontend | null): void {
    if (frontend !== null) this.services.add(`${frontend.service.namespace}/${frontend.service.name}`);
  }

  /** A packet's way through one plane. */
  walk(plane: 0 | 1, outcome: Outcome, tuple: Uint8Array): void {
    const seen = outcome.arrived ? outcome.image : tuple;
    const key = outcome.journey * JOURNEY + Tuple.protocol(seen) * PROTOCOL + Tuple.destinationPort(seen);
    const walks = this.walks[plane];
    walks.set(key, (walks.get(key) ?? 0) + 1);
  }

  /** A request to a service's frontend, and where a plane took it. */
  serve(plane: 0 | 1, outcome: Outcome, tuple: Uint8Array): void {
    add(this.frontends, endText(tuple), plane);
    if (outcome.arrived) add(this.backends, endText(outcome.image), plane);
  }

  /** Whether a packet addressed the service (`namespace/name`). */
  addressed(service: string): boolean {
    return this.services.has(service);
  }

  /** @param planes those whose cluster it is; null: another plane's packets are not counted */
  report(cluster: Cluster, planes: readonly [Plane | null, Plane | null]): CoverageReport {
    const rows = [...this.policyRows(statementsOf(cluster), planes), ...this.serviceRows(cluster)];
    const count = (kinds: readonly CoverageRow["kind"][]): CoverageReport["policy"] => {
      const counted = rows.filter((row) => kinds.includes(row.kind));
      return { exercised: counted.filter(isExercised).length, all: counted.length };
    };
    return { rows, policy: count(["rule", "port", "default deny"]), services: count(["frontend", "backend"]) };
  }

  /** Services that no packet addressed, sorted. */
  untouchedServices(cluster: Cluster): string[] {
    return cluster.services.filter((one) => !one.headless && one.type !== "ExternalName")
      .map((one) => `${one.namespace}/${one.name}`).filter((name) => !this.services.has(name)).sort();
  }

  /** Every because of a plane's journeys, with the packets that met it by protocol and port. */
  *becauses(index: 0 | 1, plane: Plane): Generator<{ because: Because; protocol: number; port: number; packets: number }> {
    for (const [key, packets] of this.walks[index]) {
      const journey = plane.journey(Math.floor(key / JOURNEY));
      const protocol = Math.floor((key % JOURNEY) / PROTOCOL);
      for (const because of [...journey.becauses, ...journey.passed]) yield { because, protocol, port: key % PROTOCOL, packets };
    }
  }

  private policyRows(statements: readonly Statement[], planes: readonly [Plane | null, Plane | null]): CoverageRow[] {
    const rules = new Map<string, [number, number]>();
    const ports = new Map<string, [number, number]>();
    const byKey = new Map(statements.map((one) => [one.key, one]));
    for (const index of [0, 1] as const) {
      const plane = planes[index];
      if (plane === null) continue;
      for (const { because, protocol, port, packets } of this.becauses(index, plane)) {
        const statement = byKey.get(statementKey(because) ?? "");
        if (statement === undefined) continue;
        add(rules, `${statement.key} ${peerOf(because)}`, index, packets);
        const named = portItemOf(because);
        const item = statement.ports.find((one) => (named === "" ? one.matches(protocol, port) : one.path === named));
        if (item !== undefined) add(ports, `${statement.key} ${item.path}`, index, packets);
      }
    }
    return statements.flatMap((one): CoverageRow[] => {
      const { key, object, path, where, isDefaultDeny } = one;
      if (isDefaultDeny) return [{ kind: "default deny", object, what: path, where, packets: rules.get(`${key} `) ?? [0, 0] }];
      return [
        ...one.peers.map((peer): CoverageRow => ({ kind: "rule", object, what: peer.path === "" ? path : `${path}.${peer.path}`, where,
          packets: rules.get(`${key} ${peer.path}`) ?? [0, 0] })),
        ...one.ports.map((item): CoverageRow => ({ kind: "port", object, what: `${path}.${item.path}`, where,
          packets: ports.get(`${key} ${item.path}`) ?? [0, 0] })),
      ];
    });
  }

  private serviceRows(cluster: Cluster): CoverageRow[] {
    const rows: CoverageRow[] = [];
    const nodes = cluster.nodes.flatMap((node) => node.addresses.map(({ address }) => address.text));
    for (const service of cluster.services) {
      if (service.headless || service.type === "ExternalName") continue;
      const object = `${service.namespace}/${service.name}`;
      const own = [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIngress.map(({ ip }) => ip)]
        .map(({ text }) => text);
      for (const { port, nodePort, protocol } of service.ports) {
        const row = (addresses: readonly string[], number: number, what: string): void => {
          rows.push({ kind: "frontend", object, what, where: service.where,
            packets: sum(addresses.map((address) => this.frontends.get(`${address} ${number}/${protocol}`))) });
        };
        for (const address of own) row([address], port, `${bracketed(address)}:${port}/${protocol}`);
        if (nodePort !== 0) row(nodes, nodePort, `node port ${nodePort}/${protocol}`);
      }
    }
    for (const slice of cluster.endpointSlices) {
      for (const { addresses } of slice.endpoints) {
        for (const { text } of addresses) {
          for (const { port, protocol } of slice.ports) {
            rows.push({ kind: "backend", object: `${slice.namespace}/${slice.serviceName}`, what: `${bracketed(text)}:${port}/${protocol}`,
              where: slice.where, packets: this.backends.get(`${text} ${port}/${protocol}`) ?? [0, 0] });
          }
        }
      }
    }
    return rows.sort((a, b) => compare(a.kind, b.kind) || compare(a.object, b.object) || compare(a.what, b.what));
  }
}

export function isExercised({ packets }: CoverageRow): boolean {
  return packets[0] + packets[1] > 0;
}

const PROTOCOL = 1 << 16;
const JOURNEY = PROTOCOL * 256;
const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

function endText(tuple: Uint8Array): string {
  return `${addressText(Tuple.destination(tuple))} ${Tuple.destinationPort(tuple)}/${PROTOCOLS[Tuple.protocol(tuple)] ?? ""}`;
}

function add(counts: Map<string, [number, number]>, key: string, plane: 0 | 1, packets = 1): void {
  const count = counts.get(key);
  if (count === undefined) counts.set(key, plane === 0 ? [packets, 0] : [0, packets]);
  else count[plane] += packets;
}

function sum(counts: readonly (readonly [number, number] | undefined)[]): [number, number] {
  return [counts.reduce((all, one) => all + (one?.[0] ?? 0), 0), counts.reduce((all, one) => all + (one?.[1] ?? 0), 0)];
}

function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
