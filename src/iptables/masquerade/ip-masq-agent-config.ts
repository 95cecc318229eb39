/**
 * ip-masq-agent-v2's configuration as the cluster's objects say it: its DaemonSet, and the files that are mounted at
 * /etc/config from ConfigMaps. Without the DaemonSet the ConfigMaps are known by their names.
 *
 * The agent reads every file there whose name begins with `ip-masq`, unites their ranges and ORs their booleans. No
 * such file at all means its built-in list (RFC 1918); a file with an empty list means that nothing is kept. A file
 * that it cannot read or that holds a wrong range ends the agent before it writes rules.
 */
import { parsePrefix, type Prefix } from "../../cluster/address.js";
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import { innerDocument, type InnerDocument, whereOf } from "../../cluster/lines.js";
import type { Problem, Where } from "../../cluster/problem.js";
import { fieldAt, flagsOf } from "../flags.js";
import type { IpMasqAgentConfig } from "./ip-masq-agent.js";

export interface IpMasqAgentReading {
  readonly config: IpMasqAgentConfig;
  /** The objects it was read from; empty: none, and these are the agent's defaults. */
  readonly sources: readonly string[];
  /** The agent's DaemonSet is among the objects, so it is known to run. */
  readonly runs: boolean;
  readonly problems: readonly Problem[];
}

/** ConfigMaps of kube-system that AKS and the projects' manifests mount for the agent. */
const CONFIG_MAPS = ["azure-ip-masq-agent-config", "azure-ip-masq-agent-config-reconciled", "ip-masq-agent-config",
  "ip-masq-agent-config-reconciled", "ip-masq-agent"];
const MOST_RANGES = 64;
const RFC1918 = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/** What `--nomasq-all-reserved-ranges` adds to the built-in list. */
const RESERVED = ["100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
  "203.0.113.0/24", "240.0.0.0/4"];

interface MountedFile {
  readonly name: string;
  readonly object: OtherObject;
  readonly key: string;
}

/** Says what the agent ends of. */
type Stop = (where: Where, what: string) => void;

interface FileConfig {
  ranges: { range: Prefix; where: Where }[];
  masqLinkLocal: boolean;
  masqLinkLocalIPv6: boolean;
}

export function readIpMasqAgent(cluster: Cluster): IpMasqAgentReading {
  const problems: Problem[] = [];
  const daemonSet = cluster.others.find((object) => object.kind === "DaemonSet" && /(^|-)ip-masq-agent(-|$)/.test(object.name));
  const flags = new Map((daemonSet === undefined ? [] : flagsOf(daemonSet)).map((flag) => [flag.name, flag.value]));
  const on = (flag: string): boolean => flags.has(flag) && !/^(0|f|F|false|FALSE|False)$/.test(flags.get(flag) ?? "true");
  const enableIPv6 = on("enable-ipv6");
  const files = (daemonSet === undefined ? null : mountedFiles(daemonSet, cluster.others)) ?? filesByName(cluster.others);
  const used = files.filter((file) => file.name.startsWith("ip-masq"));
  const read = used.map((file) => readFile(file, enableIPv6, problems));
  const found = read.filter((one) => one !== null);
  const builtIn = [...RFC1918, ...(on("nomasq-all-reserved-ranges") ? RESERVED : [])]
    .map((text) => ({ range: parsePrefix(text)!, where: null }));
  return {
    config: {
      agent: "ip-masq-agent", chain: flags.get("masq-chain") ?? "IP-MASQ-AGENT", enableIPv6, randomFully: on("random-fully"),
      nonMasqueradeCIDRs: used.length === 0 ? builtIn : united(found),
      masqLinkLocal: found.some((one) => one.masqLinkLocal), masqLinkLocalIPv6: found.some((one) => one.masqLinkLocalIPv6),
      stopped: found.length < read.length,
    },
    sources: [...(daemonSet === undefined ? [] : [title(daemonSet)]), ...new Set(used.map((file) => title(file.object)))],
    runs: daemonSet !== undefined, problems,
  };
}

/** Files at /etc/config by the container's mounts; null where the object does not say. */
function mountedFiles(daemonSet: OtherObject, others: readonly OtherObject[]): MountedFile[] | null {
  const spec = fieldAt(daemonSet.object, ["spec", "template", "spec"]);
  const mounts = list(fieldAt(spec, ["containers"])).flatMap((container) => list(fieldAt(container, ["volumeMounts"])));
  const mount = mounts.find((one) => /^\/etc\/config\/?$/.test(String(fieldAt(one, ["mountPath"]))));
  const volume = list(fieldAt(spec, ["volumes"])).find((one) => fieldAt(one, ["name"]) === fieldAt(mount, ["name"]));
  if (mount === undefined || volume === undefined) return null;
  const sources = [volume, ...list(fieldAt(volume, ["projected", "sources"]))].map((one) => fieldAt(one, ["configMap"]))
    .filter((one) => one !== undefined && one !== null);
  return sources.flatMap((source) => {
    const name = fieldAt(source, ["name"]);
    const object = others.find((one) => one.kind === "ConfigMap" && one.namespace === daemonSet.namespace && one.name === name);
    if (object === undefined) return [];
    const items = list(fieldAt(source, ["items"]));
    if (items.length === 0) return keysOf(object).map((key) => ({ name: key, object, key }));
    return items.map((item) => ({ name: String(fieldAt(item, ["path"])), object, key: String(fieldAt(item, ["key"])) }))
      .filter((file) => keysOf(object).includes(file.key));
  });
}

/** As the projects' manifests mount them: a file for each key, and key `config` of ConfigMap ip-masq-agent as that name. */
function filesByName(others: readonly OtherObject[]): MountedFile[] {
  return others.filter((object) => object.kind === "ConfigMap" && object.namespace === "kube-system")
    .filter((object) => CONFIG_MAPS.includes(object.name)).flatMap((object) => keysOf(object).map((key) => (
      { name: object.name === "ip-masq-agent" && key === "config" ? "ip-masq-agent" : key, object, key })));
}

/** null where the agent would end. Field names match in any case, as encoding/json does; unknown ones are passed over. */
function readFile({ name, object, key }: MountedFile, enableIPv6: boolean, problems: Problem[]): FileConfig | null {
  const before = problems.length;
  const found: FileConfig = { ranges: [], masqLinkLocal: false, masqLinkLocalIPv6: false };
  const inner = innerDocument(object, ["data", key], problems);
  const stop: Stop = (where, what) => {
    problems.push({ where, severity: "error",
      what: `ip-masq-agent: ${name}: ${what}; the agent ends here, and no rule of it is used` });
  };
  const failed = (): boolean => problems.slice(before).some((problem) => problem.severity === "error");
  if (failed()) stop(whereOf(object, ["data", key]), "found no YAML");
  else if (inner !== null) readFields(inner, found, enableIPv6, stop, (where, what) => {
    problems.push({ where, severity: "warning", what: `ip-masq-agent: ${name}: ${what}` });
  });
  return failed() ? null : found;
}

function readFields(inner: InnerDocument, found: FileConfig, enableIPv6: boolean, stop: Stop, warn: Stop): void {
  const { value } = inner;
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    stop(inner.whereOf([]), "found no mapping, expected nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6");
    return;
  }
  for (const [field, given] of Object.entries(value)) {
    const where = inner.whereOf([field]);
    switch (field.toLowerCase()) {
      case "nonmasqueradecidrs":
        if (given === null) break;
        if (!Array.isArray(given)) stop(where, `${field} is no list, expected a list of CIDRs`);
        else if (given.length > MOST_RANGES) stop(where, `found ${given.length} CIDRs, expected at most ${MOST_RANGES}`);
        else given.forEach((text, index) => readRange(text, inner.whereOf([field, index]), found, enableIPv6, stop));
        break;
      case "masqlinklocal":
      case "masqlinklocalipv6":
        if (given !== null && typeof given !== "boolean") {
          stop(where, `${field} is ${JSON.stringify(given)}, expected true or false`);
        } else if (given === true) found[field.toLowerCase() === "masqlinklocal" ? "masqLinkLocal" : "masqLinkLocalIPv6"] = true;
        break;
      case "resyncinterval":
        break;
      default:
        warn(where, `${field}: unknown field, which the agent ignores`);
    }
  }
}

function readRange(text: unknown, where: Where, found: FileConfig, enableIPv6: boolean, stop: Stop): void {
  const range = typeof text === "string" && text.includes("/") ? parsePrefix(text) : null;
  if (range === null) stop(where, `found ${JSON.stringify(text)}, expected a CIDR such as 10.0.0.0/8`);
  else if (range.text !== text && range.address.text !== parsePrefix((text as string).split("/")[0])?.address.text) {
    stop(where, `${text as string} is not aligned, expected ${range.text}`);
  } else if (range.address.family === 6 && !enableIPv6) stop(where, `${range.text} is IPv6, expected flag --enable-ipv6 with it`);
  else found.ranges.push({ range, where });
}

function united(files: readonly FileConfig[]): { range: Prefix; where: Where }[] {
  const byText = new Map<string, { range: Prefix; where: Where }>();
  for (const one of files.flatMap((file) => file.ranges)) if (!byText.has(one.range.text)) byText.set(one.range.text, one);
  return [...byText.values()];
}

function keysOf(object: OtherObject): string[] {
  const data = fieldAt(object.object, ["data"]);
  return data === null || typeof data !== "object" ? [] : Object.keys(data).sort();
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function title(object: OtherObject): string {
  return `${object.kind} ${object.namespace}/${object.name}`;
}
