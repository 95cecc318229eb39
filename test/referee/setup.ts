/** Puts a node's objects into the kernel and our compiled records into their maps. */
import { AllNodes } from "../../src/contract/codes.js";
import type { MapName } from "../../src/contract/maps.js";
import type { ObjectFiles } from "./objects.js";
import { policyEntries, realEntries, text } from "./records.js";
import { type Endpoint, settings } from "./settings.js";
import type { Worker } from "./worker.js";
import type { World } from "./world.js";

export type PodEndpoint = Endpoint & { readonly policy: number };

/** Objects into the kernel, our records into its maps. */
export async function load(world: World, worker: Worker, files: ObjectFiles, pods: readonly PodEndpoint[], uplink: number):
  Promise<{ refused: string[]; missing: string[] }> {
  const { options } = world.image;
  const node = firstRecord(world, "twinplane_nodes");
  const config = firstRecord(world, "twinplane_config");
  const node4 = world.families.includes(4) ? text(node.masquerade4, 4) : null;
  const node6 = world.families.includes(6) ? text(node.masquerade6, 6) : null;
  const base = { version: Number(files.version.slice(2)), options, ipv4: node4, ipv6: node6, uplink,
    hashSeeds: [Number(config.hash_init4_seed), Number(config.hash_init6_seed)] as const };
  const objects: Record<string, string> = { host: files.host };
  const values: Record<string, unknown> = { host: settings(base, null) };
  for (const pod of pods) {
    objects[`lxc:${pod.ifindex}`] = files.lxc;
    values[`lxc:${pod.ifindex}`] = settings(base, pod);
  }
  const loaded = await worker.ask<{ errors: Record<string, string> }>({ op: "load", objects, config: values, uplink,
    pods: pods.map((pod) => pod.ifindex), endpoints: pods.map((pod) => pod.lxcId), addresses: gateways(world) });
  const entries = [...realEntries(world.machine, 0, [world.node4, world.node6 ?? ""]), ...pods.flatMap((pod) =>
    policyEntries(world.machine, pod.policy, `lxc:${pod.ifindex}`))];
  const filled = await worker.ask<{ missing: string[] }>({ op: "fill", entries });
  for (const { map, rev_nat_id, table } of maglevTables(world)) await worker.ask({ op: "table", map, key: rev_nat_id, table });
  return { refused: Object.entries(loaded.errors).map(([name, why]) => `${name}: ${why}`), missing: filled.missing };
}

/** The pods of our node in the order of `world.local`. */
export function endpoints(world: World): PodEndpoint[] {
  const here = world.image.hosts.endpoints.filter((one) => one.node === 0 && !one.host);
  return world.local[world.families[0]].map((address) => {
    const found = here.find((one) => one.addresses.some((own) => text(own.bytes, own.family) === address))!;
    const of = (family: 4 | 6): string | null => {
      const own = found.addresses.find((one) => one.family === family);
      return own === undefined ? null : text(own.bytes, family);
    };
    return { ifindex: found.ifindex, lxcId: found.endpointId, identity: found.identity, ipv4: of(4), ipv6: of(6), policy: found.policy };
  });
}

function gateways({ node4, node6, families }: World): { address: string; gateway: string }[] {
  const found: { address: string; gateway: string }[] = [];
  if (families.includes(4)) found.push({ address: `${node4}/24`, gateway: node4.replace(/\d+$/, node4.endsWith(".254") ? "253" : "254") });
  if (node6 !== null) found.push({ address: `${node6}/64`, gateway: node6.replace(/[^:]*$/, "fe") });
  return found;
}

function maglevTables(world: World): { map: string; rev_nat_id: number; table: number[] }[] {
  return ([["cilium_lb4_maglev", world.image.maglev.v4], ["cilium_lb6_maglev", world.image.maglev.v6]] as const).flatMap(([map, tables]) =>
    tables.of.filter((one) => one.node === 0 || one.node === AllNodes.values.ALL).map((one) => {
      const outer = world.machine.mapOfMaps(map);
      const inner = outer.innerMap((outer.lookup({ rev_nat_id: one.revNatId, node: one.node } as never) as { inner: number }).inner);
      const table = [...(inner as unknown as { entries(): Iterable<[{ index: number }, { backend_id: number }]> }).entries()];
      return { map, rev_nat_id: one.revNatId, table: table.sort(([a], [b]) => a.index - b.index).map(([, value]) => value.backend_id) };
    }));
}

/** Node 0's, or the plane's only one. */
function firstRecord(world: World, name: MapName): Record<string, unknown> {
  const map = world.machine.map(name) as unknown as { lookup(key: unknown): Record<string, unknown> | null };
  const found = map.lookup({ node: 0 });
  if (found === null) throw new Error(`${name} is empty`);
  return found;
}
