/**
 * cilium_ipmasq_v4 and cilium_ipmasq_v6: destinations that see a pod's own address, as the agent's ip-masq-agent keeps them
 * (pkg/ipmasq/ipmasq.go, the same in all versions). Its file is key `config` of ConfigMap ip-masq-agent in the agent's
 * namespace, which Helm mounts at the default of `ip-masq-agent-config-path`.
 *
 * No file, or an empty one, means the ranges reserved by RFCs; a file without ranges means none. A file that the agent
 * cannot read leaves the maps as they were, which is empty.
 */
import type { Prefix } from "../../cluster/address.js";
import { parsePrefix } from "../../cluster/address.js";
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import { type InnerDocument, innerDocument, textAt, whereOf } from "../../cluster/lines.js";
import type { Problem, Where } from "../../cluster/problem.js";
import type { CiliumOptions } from "../options.js";

export interface IpMasqEntry {
  readonly range: Prefix;
  /** Null: built into the agent. */
  readonly where: Where | null;
}

const NAME = "ip-masq-agent";
const KEY = "config";
const RESERVED = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
  "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"];
const LINK_LOCAL = { masqlinklocal: "169.254.0.0/16", masqlinklocalipv6: "fe80::/10" } as const;

interface FileConfig {
  readonly ranges: IpMasqEntry[];
  masqlinklocal: boolean;
  masqlinklocalipv6: boolean;
}

/** In the order of the file; empty where the agent does not run or masquerading is not in the programs. */
export function compileIpMasq(cluster: Cluster, options: CiliumOptions, problems: Problem[]): IpMasqEntry[] {
  if (!options["enable-ip-masq-agent"] || !options["enable-bpf-masquerade"]) return [];
  const config = readConfig(cluster, problems);
  if (config === null) return [];
  const found = new Map<string, IpMasqEntry>();
  for (const entry of config.ranges) found.set(entry.range.text, entry);
  for (const field of ["masqlinklocal", "masqlinklocalipv6"] as const) {
    if (!config[field]) found.set(LINK_LOCAL[field], builtIn(LINK_LOCAL[field]));
  }
  return [...found.values()].filter(({ range }) => options[`enable-ipv${range.address.family}`]);
}

/** Null where the agent cannot read its file. */
function readConfig(cluster: Cluster, problems: Problem[]): FileConfig | null {
  const object = configMap(cluster);
  const text = object === null ? null : textAt(object, ["data", KEY]);
  const config: FileConfig = { ranges: [], masqlinklocal: false, masqlinklocalipv6: false };
  if (object === null || text === null || text === "") return { ...config, ranges: RESERVED.map(builtIn) };
  const before = problems.length;
  const inner = innerDocument(object, ["data", KEY], problems);
  if (problems.length === before && inner !== null) readFields(inner, config, problems);
  if (problems.length === before) return config;
  problems.push({ where: whereOf(object, ["data", KEY]), severity: "error",
    what: `ip-masq-agent: ConfigMap ${object.namespace}/${NAME}: the agent cannot read its file, and exempts nothing from masquerading` });
  return null;
}

function configMap(cluster: Cluster): OtherObject | null {
  const maps = cluster.others.filter((object) => object.kind === "ConfigMap");
  const agents = maps.filter((object) => object.name === "cilium-config").map((object) => object.namespace);
  const namespace = agents.length === 0 || agents.includes("kube-system") ? "kube-system" : [...agents].sort()[0];
  return maps.find((object) => object.name === NAME && object.namespace === namespace) ?? null;
}

/** Field names match in any case, as encoding/json does; others are passed over, and null leaves a field as it was. */
function readFields({ value, whereOf: at }: InnerDocument, config: FileConfig, problems: Problem[]): void {
  const wrong = (where: Where, what: string): void => {
    problems.push({ where, severity: "error", what: `ip-masq-agent: ${what}` });
  };
  if (value === null) return;
  if (typeof value !== "object" || Array.isArray(value)) {
    return wrong(at([]), "found no mapping, expected nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6");
  }
  for (const [field, given] of Object.entries(value)) {
    if (given === null) continue;
    const name = field.toLowerCase();
    if (name === "masqlinklocal" || name === "masqlinklocalipv6") {
      if (typeof given === "boolean") config[name] = given;
      else wrong(at([field]), `${field} is ${JSON.stringify(given)}, expected true or false`);
    } else if (name === "nonmasqueradecidrs") {
      if (!Array.isArray(given)) wrong(at([field]), `${field} is no list, expected a list of CIDRs`);
      else given.forEach((text: unknown, index) => {
        const range = typeof text === "string" && text.includes("/") ? parsePrefix(text) : null;
        if (range === null) wrong(at([field, index]), `found ${JSON.stringify(text)}, expected a CIDR such as 10.0.0.0/8`);
        else config.ranges.push({ range, where: at([field, index]) });
      });
    }
  }
}

function builtIn(text: string): IpMasqEntry {
  return { range: parsePrefix(text)!, where: null };
}
