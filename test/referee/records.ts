/**
 * Our maps' records as fields of Cilium's own, for one node: addresses of a family in its own map, our node numbers left out. Sizes
 * and places of the fields are the object's, which tells them in its BTF; a leading "?" marks what some versions have not.
 */
import type { MapName } from "../../src/contract/maps.js";
import type { Machine } from "../../src/ebpf/machine.js";

type Fields = Record<string, unknown>;
/** Map, object that has a map of its own or null, key and value by field name. */
export type RealEntry = readonly [map: string, owner: string | null, key: Fields, value: Fields];

const ALL_NODES = 65535;
/** reserved:host. */
const HOST = 1;

/**
 * Everything that our image has put into the maps, as `node`, with addresses `own`, would have it: a node's own addresses are its host's
 * to itself, which ours says elsewhere. Policy and Maglev tables come by functions of their own.
 */
export function realEntries(machine: Machine, node: number, own: readonly string[]): RealEntry[] {
  const found: RealEntry[] = [];
  for (const family of [4, 6] as const) {
    const of = (name: string): [Fields, Fields][] => records(machine, name.replace("#", String(family)) as MapName);
    const put = (name: string, key: Fields, value: Fields): void => {
      found.push([name.replace("#", String(family)), null, key, value]);
    };
    const here = of("cilium_lb#_services_v2").filter(([key]) => key.node === node || key.node === ALL_NODES);
    for (const [key, value] of here.sort(([a], [b]) => Number(b.node) - Number(a.node))) {
      put("cilium_lb#_services_v2", { address: text(key.address, family), ...pick(key, "dport", "backend_slot", "proto", "scope") },
        { ...pick(value, "backend_id", "count", "rev_nat_index", "flags", "flags2"), "?qcount": value.qcount });
    }
    for (const [key, value] of of("cilium_lb#_backends_v3")) {
      put("cilium_lb#_backends_v3", { "": key.backend_id }, { address: text(value.address, family),
        ...pick(value, "port", "proto", "flags"), "?zone": value.zone });
    }
    for (const [key, value] of of("cilium_lb#_reverse_nat")) {
      put("cilium_lb#_reverse_nat", { "": key.rev_nat_index }, { address: text(value.address, family), port: value.port });
    }
    for (const [key] of of("cilium_lb#_source_range")) {
      put("cilium_lb#_source_range", { ...pick(key, "prefixlen", "rev_nat_id"), addr: text(key.address, family) }, { "": 1 });
    }
    for (const [key] of of("cilium_ipmasq_v#")) {
      put("cilium_ipmasq_v#", { prefixlen: key.prefixlen, addr: text(key.address, family) }, {});
    }
  }
  for (const [key] of records(machine, "cilium_lb_affinity_match")) {
    found.push(["cilium_lb_affinity_match", null, pick(key, "backend_id", "rev_nat_id"), { "": 1 }]);
  }
  return [...found, ...addresses(machine, node, own)];
}

function addresses(machine: Machine, node: number, own: readonly string[]): RealEntry[] {
  const found: RealEntry[] = [];
  for (const [key, value] of records(machine, "cilium_ipcache_v2")) {
    const family = key.family === 1 ? 4 : 6;
    const flags = Number(value.flags);
    const tunnel = (value.tunnel_endpoint as Uint8Array).some((byte) => byte !== 0) ? text(value.tunnel_endpoint, 4) : "0.0.0.0";
    found.push(["cilium_ipcache_v2", null, { ...pick(key, "prefixlen", "family", "cluster_id"), [`ip${family}`]: text(key.address, family) },
      { sec_identity: own.includes(text(key.address, family)) ? HOST : value.sec_identity, tunnel_endpoint: tunnel, key: value.key, "?flag_skip_tunnel": flags & 1,
        "?flag_has_tunnel_ep": flags >> 1 & 1 }]);
  }
  for (const [key, value] of records(machine, "cilium_lxc")) {
    if (key.node !== node) continue;
    const family = key.family === 1 ? 4 : 6;
    found.push(["cilium_lxc", null, { [`ip${family}`]: text(key.address, family), family: key.family },
      { ...pick(value, "ifindex", "lxc_id", "flags", "sec_id"), mac: hex(value.mac), node_mac: hex(value.node_mac) }]);
  }
  return found;
}

/** The policy map at `policy`, for the object `owner`. */
export function policyEntries(machine: Machine, policy: number, owner: string): RealEntry[] {
  const outer = machine.mapOfMaps("cilium_policy_v2");
  const at = outer.lookup({ policy } as never) as { inner: number } | null;
  if (at === null) return [];
  const inner = outer.innerMap(at.inner) as unknown as { entries(): Iterable<[Fields, Fields]> };
  return [...inner.entries()].map(([key, value]): RealEntry => {
    const packed = Number(value.deny);
    return ["cilium_policy_v2", owner, pick(key, "prefixlen", "sec_label", "egress", "protocol", "dport"),
      { proxy_port: value.proxy_port, deny: packed & 1, lpm_prefix_length: packed >> 3, "?precedence": value.precedence,
        "?proxy_port_priority": Number(value.precedence) & 0xff }];
  });
}

function records(machine: Machine, name: MapName): [Fields, Fields][] {
  return [...(machine.map(name) as unknown as { entries(): Iterable<[Fields, Fields]> }).entries()];
}

function pick(record: Fields, ...names: string[]): Fields {
  return Object.fromEntries(names.map((name) => [name, record[name]]));
}

/** 16 bytes, IPv4 in the first four, as an address. */
export function text(value: unknown, family: 4 | 6): string {
  const bytes = value as Uint8Array;
  if (family === 4) return [...bytes.subarray(0, 4)].join(".");
  return Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] << 8) | bytes[2 * index + 1]).toString(16)).join(":");
}

export function hex(value: unknown): string {
  return `hex:${Buffer.from(value as Uint8Array).toString("hex")}`;
}
