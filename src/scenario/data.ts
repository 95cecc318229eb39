/**
 * A scenario as plain data in a program, in place of YAML: the same fields, which `schema.ts` owns; `data.test.ts` holds
 * these types to it.
 */
import { DEFAULT_PLANES, type Expectation, type From, type PlaneSpec, type To } from "./scenario.js";
import type { CHECKSUMS, TCP_FLAGS } from "./schema.js";

/** A manifest: any object of Kubernetes. */
export type ManifestObject = Readonly<Record<string, unknown>>;

export interface ProbeData {
  readonly name?: string;
  readonly from: From;
  readonly to?: To;
  readonly protocol?: "TCP" | "UDP" | "SCTP" | "ICMP" | number;
  readonly port?: number | string;
  readonly sourcePort?: number;
  readonly family?: 4 | 6;
  readonly repeat?: number;
  /** Time since the probe before: 30s, 2m, 500ms. */
  readonly after?: string;
  readonly change?: readonly { readonly apply?: string | ManifestObject | readonly ManifestObject[];
    readonly delete?: Readonly<Record<string, string>> }[];
  readonly ttl?: number;
  readonly tcpFlags?: readonly (typeof TCP_FLAGS)[number][];
  readonly fragment?: { readonly id?: number; readonly offset?: number; readonly more?: boolean };
  readonly icmpError?: { readonly about: string; readonly answer?: boolean; readonly type: number; readonly code?: number;
    readonly mtu?: number };
  /** Of the whole packet, bytes. */
  readonly length?: number;
  readonly checksum?: (typeof CHECKSUMS)[number];
  /** Hex, from the network header on. */
  readonly packet?: string;
  readonly etherType?: number;
  /** Identifier of the VLAN tag that it comes with. */
  readonly vlan?: number;
  readonly answer?: boolean;
}

/** Expected of all planes, or in a block for each plane by its name. */
export type ExpectationData = Expectation & { readonly difference?: string | readonly string[] } & {
  readonly [plane: string]: Expectation | string | readonly string[] | undefined;
};

export interface SetupData {
  readonly name?: string;
  /** Paths of files and folders, and objects themselves. */
  readonly cluster: readonly (string | ManifestObject)[];
  readonly planes?: Readonly<Record<string, PlaneSpec>>;
  readonly nodes?: Readonly<Record<string, { readonly addresses?: readonly string[]; readonly tunnel?: { readonly mtu: number } }>>;
}

/** A scenario file's text of data (JSON is YAML). Nothing is asked of the probes before the last one. */
export function scenarioText(setup: SetupData, probes: readonly ProbeData[], expected: ExpectationData): string {
  const planes = Object.keys(setup.planes ?? DEFAULT_PLANES);
  const unasked = Object.fromEntries(planes.map((name) => [name, {}]));
  const last = probes.length - 1;
  return JSON.stringify({ name: "a test", ...setup,
    probes: probes.map((probe, index) => ({ ...probe, expect: index === last ? expected : unasked })) });
}
