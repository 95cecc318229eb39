/**
 * Images into the module's maps: all of one at the start, afterwards what changed. Also how much memory to
 * reserve.
 *
 * An entry whose verdict is not known (see PolicyMap.undecided) has the proxy port UNDECIDED_PORT: the program then
 * hands the frame to a proxy, and the plane reads that as undecided.
 */
import type { MapName } from "../contract/maps.js";
import { maps } from "../contract/maps.js";
import type { MaglevTables } from "./compile/maglev.js";
import { TABLE_BYTES } from "./compile/maglev.js";
import { COLUMNS, type PolicyMap, sameColumn } from "./compile/policy/endpoints.js";
import {
  trafficDirection,
  trafficLpmLength,
  trafficPort,
  trafficPortPrefixLength,
  trafficProtocol,
} from "./compile/policy/traffic.js";
import { isDeny, precedenceFor, UNDECIDED_PORT } from "./compile/policy/values.js";
import type { MapImage } from "./image.js";
import { diffImages } from "./image.js";
import type { Capacities, Capacity, Machine } from "./machine.js";
import { MaglevLoader } from "./maglev-loader.js";
import type { CiliumOptions, CiliumVersion } from "./options.js";

/** Fixed part of a policy key's prefix: identity, and direction with its padding. */
const KEY_BITS = 40;
const KEY_SIZE = 12;
const VALUE_SIZE = 12;
/** Connections, translations and fragments that memory is reserved for, each map: bpf-ct-global-tcp-max. Untouched, it costs nothing. */
const LIVE_SLOTS = 1 << 19;

/** What to reserve for this image, with room for changes. `live` is the room for connections. */
export function capacitiesOf(image: MapImage, live = LIVE_SLOTS): Capacities {
  const { options, policies } = image;
  const sized: Partial<Record<MapName, Capacity>> = {};
  for (const { name, node, kind } of maps) {
    if (kind === "ringbuf" || kind === "array" || kind === "prog_array") continue;
    const six = /(lb6|ct6|any6|v6|ipv6)/.test(name);
    if (node !== null && kind === "lru_hash")
      sized[name] = { slots: six && !options["enable-ipv6"] ? 1024 : live };
    else sized[name] = { slots: image.maps.get(name)!.length * 2 + 4096 };
  }
  const lb = options["bpf-lb-map-max"];
  for (const name of ["cilium_lb4_services_v2", "cilium_lb6_services_v2"] as const) {
    // Rows of single nodes stand beside one another here; the limit is each node's, see checkLimits.
    sized[name] = {
      maxEntries: Math.max(lb, image.maps.get(name)!.length * 2),
      slots: image.maps.get(name)!.length * 2 + 4096,
    };
  }
  sized.cilium_ct4_global = { ...sized.cilium_ct4_global, maxEntries: options["bpf-ct-global-tcp-max"] };
  sized.cilium_ct6_global = { ...sized.cilium_ct6_global, maxEntries: options["bpf-ct-global-tcp-max"] };
  sized.cilium_ct_any4_global = {
    ...sized.cilium_ct_any4_global,
    maxEntries: options["bpf-ct-global-any-max"],
  };
  sized.cilium_ct_any6_global = {
    ...sized.cilium_ct_any6_global,
    maxEntries: options["bpf-ct-global-any-max"],
  };
  sized.cilium_snat_v4_external = {
    ...sized.cilium_snat_v4_external,
    maxEntries: options["bpf-nat-global-max"],
  };
  sized.cilium_snat_v6_external = {
    ...sized.cilium_snat_v6_external,
    maxEntries: options["bpf-nat-global-max"],
  };
  for (const name of ["cilium_ipv4_frag_datagrams", "cilium_ipv6_frag_datagrams"] as const)
    sized[name] = { ...sized[name], maxEntries: options["bpf-fragments-map-max"] };
  const entries = policies.endpoints.maps.reduce((sum, map) => sum + map.identity.length, 0);
  sized.cilium_policy_v2 = {
    slots: Math.ceil(entries * 1.5) + 65536,
    innerEntries: options["bpf-policy-map-max"],
    innerMaps: policies.endpoints.maps.length * 2 + 256,
  };
  // Each node's; the oldest entry of a node gives way, as in an LRU map of Cilium's.
  sized.cilium_lb4_affinity = { ...sized.cilium_lb4_affinity, maxEntries: lb };
  sized.cilium_lb6_affinity = { ...sized.cilium_lb6_affinity, maxEntries: lb };
  sized.cilium_lb4_maglev = maglevCapacity(image.maglev.v4, options);
  sized.cilium_lb6_maglev = maglevCapacity(image.maglev.v6, options);
  return { nodes: Math.max(1, image.nodes.length), maps: sized };
}

/** Room for half as many tables again, and some, where a service may have one; what is not touched costs nothing. */
function maglevCapacity({ tables, of, size }: MaglevTables, options: CiliumOptions): Capacity {
  const used = options["bpf-lb-algorithm"] === "maglev" || options["bpf-lb-algorithm-annotation"];
  const most = Math.floor(TABLE_BYTES / (size * 4));
  return {
    slots: used ? of.length * 2 + 4096 : 16,
    innerEntries: used ? size : 1,
    innerMaps: used ? Math.min(most, Math.ceil(tables.length * 1.5) + 64) : 1,
  };
}

export class Loader {
  private readonly maglev = { cilium_lb4_maglev: new MaglevLoader(), cilium_lb6_maglev: new MaglevLoader() };
  private image: MapImage | null = null;
  /** Number of the inner map at each outer index. */
  private readonly inner: number[] = [];

  constructor(private readonly machine: Machine) {}

  /** Brings the maps to this image. Entries that programs made themselves stay. */
  load(image: MapImage): void {
    const before = this.image;
    if (before === null) {
      for (const { name, kind } of maps) {
        const entries = image.maps.get(name)!;
        if (entries.length > 0 && kind !== "ringbuf") this.update(name, entries as [object, object][]);
      }
    } else {
      for (const [name, { updates, deletes }] of diffImages(before, image)) {
        // A full map takes nothing in before something is out.
        if (deletes.length > 0) this.machine.map(name).delete(deletes as never[]);
        this.update(name, updates as [object, object][]);
      }
    }
    this.loadPolicies(
      before?.policies.endpoints.maps ?? [],
      image.policies.endpoints.maps,
      image.options.version,
    );
    this.maglev.cilium_lb4_maglev.load(this.machine.mapOfMaps("cilium_lb4_maglev"), image.maglev.v4);
    this.maglev.cilium_lb6_maglev.load(this.machine.mapOfMaps("cilium_lb6_maglev"), image.maglev.v6);
    this.image = image;
  }

  private update(name: MapName, entries: readonly (readonly [object, object])[]): void {
    const { errno, done } = this.machine.map(name).update(entries as never);
    if (errno !== 0)
      throw new Error(`${name}: entry ${done} of ${entries.length} was refused with error ${errno}`);
  }

  private loadPolicies(
    before: readonly PolicyMap[],
    after: readonly PolicyMap[],
    version: CiliumVersion,
  ): void {
    const outer = this.machine.mapOfMaps("cilium_policy_v2");
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      const map = after[index];
      if (map !== undefined && before[index] !== undefined && sameEntries(before[index], map)) continue;
      const old = this.inner[index];
      if (map === undefined) outer.delete([{ policy: index }]);
      else {
        const created = outer.createInner();
        if (created === null) throw new Error(`no memory is reserved for policy map ${index}`);
        const { keys, values } = policyBytes(map, version);
        const { errno } = created.updateBytes(keys, values);
        if (errno !== 0) throw new Error(`policy map ${index} was refused with error ${errno}`);
        outer.update([[{ policy: index }, { inner: created.inner }]]);
        this.inner[index] = created.inner;
      }
      if (old !== undefined) outer.destroyInner(old);
    }
    this.inner.length = after.length;
  }
}

/** A policy map's entries in the layout of policy_key and policy_entry. */
export function policyBytes(
  map: PolicyMap,
  version: CiliumVersion,
): { keys: Uint8Array; values: Uint8Array } {
  const count = map.identity.length;
  const keys = new Uint8Array(count * KEY_SIZE);
  const values = new Uint8Array(count * VALUE_SIZE);
  const keyView = new DataView(keys.buffer);
  const valueView = new DataView(values.buffer);
  for (let row = 0; row < count; row++) {
    const traffic = map.traffic[row];
    const at = row * KEY_SIZE;
    const length = trafficLpmLength(traffic);
    keyView.setUint32(at, KEY_BITS + length, true);
    keyView.setUint32(at + 4, map.identity[row], true);
    keyView.setUint8(at + 8, trafficDirection(traffic));
    keyView.setUint8(at + 9, trafficProtocol(traffic));
    keyView.setUint16(at + 10, trafficPortPrefixLength(traffic) === 0 ? 0 : trafficPort(traffic), false);
    const to = row * VALUE_SIZE;
    const proxyPort = map.proxyPort[row] ?? 0;
    valueView.setUint16(to, proxyPort, false);
    const deny = isDeny(map.precedence[row]) && proxyPort !== UNDECIDED_PORT ? 1 : 0;
    valueView.setUint8(to + 2, deny | (length << 3));
    valueView.setUint8(to + 3, map.auth[row] ?? 0);
    valueView.setUint32(to + 4, precedenceFor(map.precedence[row], version), true);
    valueView.setUint32(to + 8, map.cookie[row], true);
  }
  return { keys, values };
}

function sameEntries(a: PolicyMap, b: PolicyMap): boolean {
  return COLUMNS.every((name) => sameColumn(a[name], b[name]));
}
