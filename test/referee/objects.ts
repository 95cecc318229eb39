/** Finds a node's objects in a folder: which file is which program, of which version, with which configuration. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { NodeConfig } from "./node-config.js";

export interface ObjectFiles {
  readonly lxc: string;
  readonly host: string;
  readonly config: NodeConfig;
  /** "1.16" … "1.20". */
  readonly version: string;
}

/** The objects cannot be used; says what was looked for. */
export class ObjectsError extends Error {}

export function findObjects(folder: string, asked: string | null): ObjectFiles {
  const files = filesUnder(folder);
  const named = (name: string): string | undefined => files.find((file) => file.endsWith(`/${name}`));
  const lxc = named("bpf_lxc.o");
  const host = named("bpf_host.o");
  const header = named("node_config.h");
  const absent = [lxc === undefined ? "bpf_lxc.o" : "", host === undefined ? "bpf_host.o" : "", header === undefined ? "node_config.h" : ""]
    .filter((name) => name !== "");
  if (lxc === undefined || host === undefined || header === undefined) {
    throw new ObjectsError(`${folder}: no ${absent.join(", ")} in it; take them from /var/run/cilium/state of a node`);
  }
  const version = asked ?? versionOf(readFileSync(lxc));
  if (version === null) throw new ObjectsError(`${lxc}: which version this is cannot be told; say --version 1.16 … 1.20`);
  return { lxc, host, config: new NodeConfig(readFileSync(header, "utf8")), version };
}

function filesUnder(folder: string): string[] {
  try {
    return readdirSync(folder).sort().flatMap((name) => {
      const path = join(folder, name);
      // An endpoint's folder has links to templates that may not have been taken along.
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? [] : found.isDirectory() ? filesUnder(path) : [path];
    });
  } catch (error) {
    throw new ObjectsError((error as Error).message);
  }
}

/** By names that came with a version: configuration variables and maps. */
function versionOf(object: Buffer): string | null {
  const has = (name: string): boolean => object.includes(`${name}\0`);
  if (!has("cilium_metrics")) return null;
  if (has("__config_enable_arp_responder")) return "1.20";
  if (has("__config_allow_icmp_frag_needed")) return "1.19";
  if (has("__config_endpoint_id")) return "1.18";
  return has("__config_interface_ifindex") ? "1.17" : "1.16";
}
