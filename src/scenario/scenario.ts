/**
 * Scenario files: YAML documents, one a scenario. A cluster, planes, probes (packets in order) and what must become of
 * each. Reading checks the shape by the schema, and what the schema cannot say: names of planes, addresses, times.
 * What is wrong is a Problem with file and line, and that scenario is not run.
 */
import { parseAddress, parsePrefix, type Address, type Prefix } from "../cluster/address.js";
import { type ManifestItem, readDocuments } from "../cluster/documents.js";
import type { Path, Positions } from "../cluster/positions.js";
import type { Problem, Where } from "../cluster/problem.js";
import type { NamedText } from "../cluster/source-text.js";
import { misfits } from "./check.js";
import { type CHECKSUMS, EXPECTATION_NAMES, type OUTCOMES, type REPLIES, SCENARIO_SCHEMA } from "./schema.js";

export type OutcomeWord = (typeof OUTCOMES)[number];
export type ReplyWord = (typeof REPLIES)[number];

/** As written; where a field is absent nothing is expected of it. */
export interface Expectation {
  readonly outcome?: OutcomeWord;
  readonly to?: string | readonly string[];
  readonly source?: string;
  readonly reason?: string;
  readonly because?: string | readonly string[];
  readonly reply?: ReplyWord;
}

export interface PlaneSpec {
  readonly profile: string;
  readonly cilium?: Readonly<Record<string, unknown>>;
  readonly kubeProxy?: Readonly<Record<string, unknown>>;
  readonly masquerade?: "cni" | "ip-masq-agent" | "none";
  readonly clusterCIDRs?: readonly string[];
  readonly nonMasqueradeCIDRs?: readonly string[];
  readonly program?: string;
  readonly seed?: number;
}

export type ClusterPart = string | ManifestItem;

export type Change =
  | { readonly kind: "apply"; readonly parts: readonly ClusterPart[] }
  | { readonly kind: "delete"; readonly object: string; readonly name: string; readonly where: Where };

export interface From {
  readonly pod?: string;
  readonly node?: string;
  readonly ip?: string;
  readonly via?: string;
}

export interface To {
  readonly pod?: string;
  readonly service?: string;
  readonly node?: string;
  readonly ip?: string;
}

export interface IcmpError {
  /** The earlier probe's name. */
  readonly about: string;
  readonly answer: boolean;
  readonly type: number;
  readonly code: number;
  /** The second word of the ICMP header. */
  readonly mtu: number;
}

export interface Probe {
  readonly name: string;
  readonly where: Where;
  readonly from: From;
  /** Absent only where the packet is given in bytes. */
  readonly to: To;
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP" | number;
  readonly port: number | string | null;
  readonly sourcePort: number | null;
  readonly family: 4 | 6 | null;
  readonly repeat: number;
  /** ns since the probe before. */
  readonly afterNs: number;
  readonly changes: readonly Change[];
  readonly ttl: number;
  readonly tcpFlags: readonly string[] | null;
  readonly fragment: { readonly id: number; readonly offset: number; readonly more: boolean } | null;
  /** In place of a packet: about the request of the last connection of an earlier probe, or about the answer. */
  readonly icmpError: IcmpError | null;
  /** Of the whole packet, bytes; null: no longer than its headers need. */
  readonly length: number | null;
  /** What is wrong about its checksums; null: nothing. */
  readonly checksum: (typeof CHECKSUMS)[number] | null;
  readonly packet: Uint8Array | null;
  readonly etherType: number | null;
  /** Identifier of the 802.1Q tag with which it enters; null: none. */
  readonly vlan: number | null;
  readonly answer: boolean;
  /** By plane name; every plane has one. */
  readonly expect: ReadonlyMap<string, Expectation>;
  /** Ids of differences; null: not compared. An empty list: none must show. */
  readonly differences: readonly string[] | null;
}

export type DeviceAddress = { readonly address: Address; readonly length: number };

/** What a scenario states of a node. */
export interface StatedNode {
  /** Of its uplink; empty: those assumed. */
  readonly addresses: readonly DeviceAddress[];
  /** The VLAN devices on its uplink; null: not known. */
  readonly vlans: readonly { readonly id: number; readonly addresses: readonly DeviceAddress[] }[] | null;
  /** A VXLAN device that leads to other nodes' pods; null: none. */
  readonly tunnel: { readonly mtu: number } | null;
}

export interface Scenario {
  readonly name: string;
  readonly where: Where;
  readonly cluster: readonly ClusterPart[];
  readonly planes: ReadonlyMap<string, PlaneSpec>;
  readonly nodes: ReadonlyMap<string, StatedNode>;
  readonly probes: readonly Probe[];
  /** Parts of the problems that must be said. */
  readonly problems: readonly string[];
  readonly positions: Positions;
  /** Line of a field, for what is found wrong later. */
  whereOf(path: Path): Where;
}

export const DEFAULT_PLANES: Readonly<Record<string, PlaneSpec>> = {
  current: { profile: "kube-proxy" }, target: { profile: "cilium@1.20" },
};
const DEFAULT_AFTER_NS = 1e7;

export function readScenarios(source: NamedText): { scenarios: Scenario[]; problems: Problem[] } {
  const { items, problems: ofText } = readDocuments(source);
  const problems = [...ofText];
  const scenarios: Scenario[] = [];
  if (items.length === 0 && problems.length === 0) {
    problems.push({ where: { file: source.name, line: 0 }, severity: "error", what: "this file is empty; expected a scenario" });
  }
  for (const item of items) {
    const reader = new ScenarioReader(item.positions);
    const scenario = reader.read(item.value);
    problems.push(...reader.problems);
    if (scenario !== null) scenarios.push(scenario);
  }
  return { scenarios, problems };
}

type Plain = Readonly<Record<string, unknown>>;

class ScenarioReader {
  readonly problems: Problem[] = [];

  constructor(private readonly positions: Positions) {}

  read(value: unknown): Scenario | null {
    for (const { path, what } of misfits(value, SCENARIO_SCHEMA)) this.wrong(path, unknownExpectation(path, value) ?? what);
    if (this.problems.length > 0) return null;
    const raw = value as Plain;
    const planes = new Map(Object.entries((raw["planes"] ?? DEFAULT_PLANES) as Readonly<Record<string, PlaneSpec>>));
    for (const name of planes.keys()) {
      if (name === "difference" || EXPECTATION_NAMES.includes(name)) {
        this.wrong(["planes", name], `a plane cannot be called ${name}, which is a field of expect`);
      }
    }
    const scenario: Scenario = {
      name: raw["name"] as string, where: this.positions.where(["name"]),
      cluster: this.parts(raw["cluster"] as readonly unknown[], ["cluster"]), planes,
      nodes: this.nodes((raw["nodes"] ?? {}) as Plain),
      probes: (raw["probes"] as readonly Plain[]).map((probe, index) => this.probe(probe, index, [...planes.keys()])),
      problems: (raw["problems"] ?? []) as readonly string[], positions: this.positions, whereOf: (path) => this.positions.where(path),
    };
    return this.problems.length > 0 ? null : scenario;
  }

  private parts(values: readonly unknown[], path: Path): ClusterPart[] {
    return values.map((value, index) => (typeof value === "string" ? value
      : { value, positions: this.positions.inside([...path, index]) }));
  }

  private nodes(raw: Plain): Map<string, StatedNode> {
    return new Map(Object.entries(raw).map(([name, facts]) => {
      const vlans = (facts as Plain)["vlans"] as readonly Plain[] | undefined;
      return [name, {
        addresses: this.addresses(facts as Plain, ["nodes", name]),
        vlans: vlans?.map((one, index) => (
          { id: one["id"] as number, addresses: this.addresses(one, ["nodes", name, "vlans", index]) })) ?? null,
        tunnel: ((facts as Plain)["tunnel"] ?? null) as StatedNode["tunnel"],
      }];
    }));
  }

  private addresses(raw: Plain, path: Path): DeviceAddress[] {
    return ((raw["addresses"] ?? []) as readonly string[]).flatMap((text, index) => {
      const prefix: Prefix | null = parsePrefix(text);
      const address = parseAddress(text.split("/")[0]);
      if (prefix !== null && address !== null) return [{ address, length: prefix.length }];
      this.wrong([...path, "addresses", index], `found "${text}", expected an address and length such as 192.168.50.11/24`);
      return [];
    });
  }

  private probe(raw: Plain, index: number, planes: readonly string[]): Probe {
    const path = ["probes", index];
    const to = raw["to"] as To | undefined;
    const icmpError = raw["icmpError"] as Plain | undefined;
    if (to === undefined && raw["packet"] === undefined && icmpError === undefined) {
      this.wrong(path, "found no to, expected {pod:}, {service:}, {node:} or {ip:}");
    }
    this.ends(raw["from"] as From, to, path);
    const { expect, differences } = this.expectations(raw["expect"] as Plain, [...path, "expect"], planes);
    const fragment = raw["fragment"] as Plain | undefined;
    return {
      name: (raw["name"] as string | undefined) ?? `probe ${index + 1}`, where: this.positions.where(path),
      from: raw["from"] as From, to: to ?? {},
      protocol: (raw["protocol"] ?? "TCP") as Probe["protocol"], port: (raw["port"] ?? null) as Probe["port"],
      sourcePort: (raw["sourcePort"] ?? null) as number | null, family: (raw["family"] ?? null) as Probe["family"],
      repeat: (raw["repeat"] ?? 1) as number,
      afterNs: raw["after"] === undefined ? DEFAULT_AFTER_NS : this.duration(raw["after"] as string, [...path, "after"]),
      changes: ((raw["change"] ?? []) as readonly Plain[]).map((one, at) => this.change(one, [...path, "change", at])),
      ttl: (raw["ttl"] ?? 64) as number, tcpFlags: (raw["tcpFlags"] ?? null) as Probe["tcpFlags"],
      fragment: fragment === undefined ? null : { id: (fragment["id"] ?? 1) as number, offset: (fragment["offset"] ?? 0) as number,
        more: (fragment["more"] ?? false) as boolean },
      icmpError: icmpError === undefined ? null : { about: icmpError["about"] as string, answer: icmpError["answer"] === true,
        type: icmpError["type"] as number, code: (icmpError["code"] ?? 0) as number, mtu: (icmpError["mtu"] ?? 0) as number },
      length: this.ofMade(raw, "length", path), checksum: this.ofMade(raw, "checksum", path),
      packet: raw["packet"] === undefined ? null : bytesOf(raw["packet"] as string),
      etherType: (raw["etherType"] ?? null) as number | null,
      vlan: (raw["vlan"] ?? null) as number | null,
      answer: (raw["answer"] ?? true) as boolean, expect, differences,
    };
  }

  /** Bytes of the user's own and ICMP errors are as they are. */
  private ofMade<Name extends "checksum" | "length">(raw: Plain, name: Name, path: Path): Probe[Name] {
    const value = (raw[name] ?? null) as Probe[Name];
    if (value !== null && (raw["packet"] !== undefined || raw["icmpError"] !== undefined)) {
      this.wrong([...path, name], `found ${name} beside packet or icmpError, expected it of a packet that is made`);
    }
    return value;
  }

  private ends(from: From, to: To | undefined, path: Path): void {
    const senders = [from.pod, from.node].filter((one) => one !== undefined).length;
    if (senders > 1) this.wrong([...path, "from"], "found pod and node, expected one of them");
    if (senders === 0 && from.ip === undefined) this.wrong([...path, "from"], "found no sender, expected {pod:}, {node:} or {ip:, via:}");
    if (senders > 0 && from.via !== undefined) this.wrong([...path, "from", "via"], "only an address outside comes in via a node");
    for (const [field, ip] of [["from", from.ip], ["to", to?.ip]] as const) {
      if (ip !== undefined && parseAddress(ip) === null) this.wrong([...path, field, "ip"], `found "${ip}", expected an address`);
    }
    const known = to === undefined ? [] : Object.keys(to).filter((name) => !(name === "service" && to.node !== undefined));
    if (to !== undefined && known.length !== 1) {
      this.wrong([...path, "to"], `found ${known.length === 0 ? "no destination" : known.join(" and ")}, expected one destination`);
    }
  }

  private expectations(raw: Plain, path: Path, planes: readonly string[]): Pick<Probe, "expect" | "differences"> {
    const common = Object.fromEntries(Object.entries(raw).filter(([name]) => EXPECTATION_NAMES.includes(name))) as Expectation;
    for (const name of Object.keys(raw)) {
      if (name === "difference" || EXPECTATION_NAMES.includes(name) || planes.includes(name)) continue;
      this.wrong([...path, name], noExpectation(name, planes));
    }
    const said = raw["difference"];
    if (said !== undefined && planes.length < 2) this.wrong([...path, "difference"], "a difference needs two planes");
    if (Object.keys(raw).length === 0) this.wrong(path, "nothing is expected, expected outcome or another field");
    return {
      expect: new Map(planes.map((name) => [name, { ...common, ...(raw[name] as Expectation | undefined) }])),
      differences: said === undefined ? null : listOf(said as string).filter((one) => one !== "none"),
    };
  }

  private change(raw: Plain, path: Path): Change {
    const gone = raw["delete"] as Readonly<Record<string, string>> | undefined;
    if (gone !== undefined) {
      const [object, name] = Object.entries(gone)[0];
      return { kind: "delete", object, name, where: this.positions.where([...path, "delete"]) };
    }
    const added = raw["apply"];
    if (Array.isArray(added)) return { kind: "apply", parts: this.parts(added, [...path, "apply"]) };
    return { kind: "apply", parts: [typeof added === "string" ? added
      : { value: added, positions: this.positions.inside([...path, "apply"]) }] };
  }

  /** In ns. */
  private duration(text: string, path: Path): number {
    const match = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/.exec(text);
    if (match === null || text === "") {
      this.wrong(path, `found "${text}", expected a time such as 30s`);
      return 0;
    }
    const [hours, minutes, seconds, ms] = match.slice(1).map((part) => Number(part ?? 0));
    return Math.round((hours * 3600 + minutes * 60 + seconds) * 1e9 + ms * 1e6);
  }

  private wrong(path: Path, what: string): void {
    const place = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("").replace(/^\./, "");
    this.problems.push({ where: this.positions.where(path), severity: "error",
      what: `${place === "" ? "scenario" : place}: ${what}; the scenario is not run` });
  }
}

/** What does not fit under a name of `expect` that is neither a field nor a plane: the name is what is wrong. */
function unknownExpectation(path: Path, value: unknown): string | null {
  const [probes, , expect, name] = path;
  if (probes !== "probes" || expect !== "expect" || typeof name !== "string") return null;
  const given = (value as Plain | null)?.["planes"];
  const planes = Object.keys(typeof given === "object" && given !== null ? given : DEFAULT_PLANES);
  return [...planes, ...EXPECTATION_NAMES, "difference"].includes(name) ? null : noExpectation(name, planes);
}

function noExpectation(name: string, planes: readonly string[]): string {
  return `${name} is no plane of this scenario and no field, expected ${[...planes, ...EXPECTATION_NAMES, "difference"].join(", ")}`;
}

export function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === "string" ? [value] : value;
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.replace(/\s/g, "").match(/../g)!, (pair) => Number.parseInt(pair, 16));
}
