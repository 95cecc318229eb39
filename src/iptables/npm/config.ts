/**
 * What Azure NPM is told: the toggles of its ConfigMap `kube-system/azure-npm-config` that change what it writes on a
 * Linux node. Other options set intervals, batches, ports and logs.
 *
 * NPM merges nothing with its defaults: a toggle that the file leaves out is false. Without a readable file it takes
 * the defaults, which are those AKS ships.
 *
 * Source: Azure/azure-container-networking npm/config/config.go, npm/cmd/root.go, npm/azure-npm.yaml.
 */
import type { Cluster } from "../../cluster/cluster.js";
import type { Problem, Where } from "../../cluster/problem.js";
import type { NpmNaming } from "./names.js";

export interface NpmConfig {
  /** false: NPM v1, with other chains. */
  readonly EnableV2NPM: boolean;
  /** The jump to AZURE-NPM stands first in FORWARD; false: behind the jump to KUBE-SERVICES. */
  readonly PlaceAzureChainFirst: boolean;
  /** Policies of address blocks only, and each node's NPM knows its own pods only. */
  readonly EnableNPMLite: boolean;
  /** Not an option of NPM but its age. */
  readonly naming: NpmNaming;
}

export const NPM_DEFAULTS: NpmConfig = {
  EnableV2NPM: true, PlaceAzureChainFirst: false, EnableNPMLite: false, naming: "sha256",
};

const FILE = "azure-npm.json";

/** The cluster's own configuration, else the defaults; `given` comes before both. */
export function npmConfig(cluster: Cluster, given: Partial<NpmConfig> = {}): { config: NpmConfig; problems: Problem[] } {
  const map = cluster.others.find((one) => one.kind === "ConfigMap" && one.namespace === "kube-system"
    && one.name === "azure-npm-config");
  const problems: Problem[] = [];
  const toggles = map === undefined ? null : readToggles(map.object.data, map.where, problems);
  const read = toggles === null ? NPM_DEFAULTS : {
    EnableV2NPM: toggles.EnableV2NPM === true, PlaceAzureChainFirst: toggles.PlaceAzureChainFirst === true,
    EnableNPMLite: toggles.EnableNPMLite === true, naming: NPM_DEFAULTS.naming,
  };
  return { config: { ...read, ...given }, problems };
}

function readToggles(data: unknown, where: Where, problems: Problem[]): Record<string, unknown> | null {
  const text = (data as Record<string, unknown> | undefined)?.[FILE];
  try {
    const file = JSON.parse(String(text)) as { Toggles?: unknown } | null;
    if (typeof file === "object" && file !== null) return { ...(file.Toggles as object) };
  } catch {
    // Said below.
  }
  problems.push({ where, severity: "warning",
    what: `ConfigMap kube-system/azure-npm-config has no ${FILE} that is JSON; expected one, as without it NPM takes its `
      + "defaults, and so it is judged here" });
  return null;
}
