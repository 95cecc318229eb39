/**
 * kube-proxy's options as a dump shows them. Only what a rule states is read, never what is missing, because a rule
 * that was lost would then pass for an option: the mark, the way pods are told from others, the addresses of node
 * ports, and the counters. Where several rules state an option, most of them decide, so that one changed rule is
 * still found.
 */
import { parsePrefix, type Prefix } from "../../cluster/address.js";
import type { RuleSet } from "../../linux/netfilter/rule-set.js";
import type { Rule } from "../../linux/netfilter/rule.js";
import type { KubeProxyConfig, NfacctCounter } from "../kubeproxy/config.js";
import { commentOf } from "./owners.js";

export interface DumpOptions {
  readonly config: KubeProxyConfig;
  /** Options that the dump states other than `given`, as name and value. */
  readonly read: readonly (readonly [option: string, value: string])[];
}

type Reading = Partial<{ -readonly [K in keyof KubeProxyConfig]: KubeProxyConfig[K] }>;

/** @param fixed options the user stated; the dump does not change them */
export function optionsOfDump(set: RuleSet, given: KubeProxyConfig, fixed: ReadonlySet<keyof KubeProxyConfig>): DumpOptions {
  const reading: Reading = {
    ...masqueradeBit(set), ...localDetection(set, given), ...nodePorts(set), ...counters(set), ...selection(set),
  };
  for (const key of fixed) delete reading[key];
  const read = (Object.keys(reading) as (keyof KubeProxyConfig)[]).flatMap((key): [string, string][] => {
    const [before, after] = [shown(given[key]), shown(reading[key])];
    return before === after ? [] : [[key, after]];
  });
  return { config: { ...given, ...reading }, read };
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "object" && value !== null && "text" in value) return String(value.text);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function rulesOf(set: RuleSet, table: "nat" | "filter", chain: string | RegExp): Rule[] {
  const chains = set.tables.get(table)?.chains;
  if (chains === undefined) return [];
  return [...chains.values()].filter((one) => (typeof chain === "string" ? one.name === chain : chain.test(one.name)))
    .flatMap((one) => one.rules);
}

function masqueradeBit(set: RuleSet): Reading {
  const said: string[] = [];
  for (const rule of [...rulesOf(set, "nat", "KUBE-POSTROUTING"), ...rulesOf(set, "filter", "KUBE-FORWARD")]) {
    for (const match of rule.matches) if (match.kind === "mark") said.push(String(match.mark.mask >>> 0));
  }
  for (const rule of [...rulesOf(set, "nat", "KUBE-MARK-MASQ"), ...rulesOf(set, "nat", "KUBE-POSTROUTING")]) {
    if (rule.target.kind === "mark") said.push(String(rule.target.xor >>> 0));
  }
  const mark = Number(most(said) ?? 0);
  const bit = Math.log2(mark);
  return mark > 0 && Number.isInteger(bit) ? { masqueradeBit: bit } : {};
}

/** The rule that masquerades what comes to a cluster IP from elsewhere than a pod. */
function localDetection(set: RuleSet, given: KubeProxyConfig): Reading {
  const said = rulesOf(set, "nat", /^KUBE-SV[CL]-/).filter((rule) => rule.target.kind === "jump"
    && rule.target.chain === "KUBE-MARK-MASQ" && rule.destination !== null && / cluster IP$/.test(commentOf(rule)));
  const how = most(said.map((rule) => (rule.source?.invert === true ? `source ${rule.source.text}`
    : rule.inDevice?.invert === true ? `device ${rule.inDevice.name}${rule.inDevice.prefix ? "+" : ""}` : "all")));
  if (how === undefined) return {};
  if (how === "all") return { masqueradeAll: true };
  const value = how.slice(how.indexOf(" ") + 1);
  if (how.startsWith("source ")) {
    const prefix = parsePrefix(value);
    if (prefix === null) return {};
    const others = given.clusterCIDR.filter((one) => one.address.family !== prefix.address.family);
    const clusterCIDR = [...others, prefix].sort((a, b) => a.address.family - b.address.family);
    return { detectLocalMode: "ClusterCIDR", clusterCIDR };
  }
  return value.endsWith("+")
    ? { detectLocalMode: "InterfaceNamePrefix", detectLocal: { bridgeInterface: "", interfaceNamePrefix: value.slice(0, -1) } }
    : { detectLocalMode: "BridgeInterface", detectLocal: { bridgeInterface: value, interfaceNamePrefix: "" } };
}

function nodePorts(set: RuleSet): Reading {
  const tail = rulesOf(set, "nat", "KUBE-SERVICES")
    .filter(({ target }) => target.kind === "jump" && target.chain === "KUBE-NODEPORTS");
  const addresses = tail.flatMap(({ destination }) => (destination === null || destination.invert ? [] : [destination.text]));
  const ranges = addresses.map(parsePrefix).filter((one): one is Prefix => one !== null);
  if (ranges.length > 0) return { nodePortAddresses: ranges };
  return tail.some(({ destination }) => destination?.invert === true && destination.text === "127.0.0.0/8")
    ? { localhostNodePorts: false } : {};
}

function counters(set: RuleSet): Reading {
  const names = new Set<NfacctCounter>();
  const rules = [...rulesOf(set, "nat", "KUBE-NODEPORTS"), ...rulesOf(set, "filter", "KUBE-FORWARD")];
  for (const match of rules.flatMap((rule) => rule.matches)) {
    if (match.kind === "nfacct") names.add(match.name as NfacctCounter);
  }
  return names.size === 0 ? {} : { nfacctCounters: [...names].sort() };
}

function selection(set: RuleSet): Reading {
  const matches = rulesOf(set, "nat", /^KUBE-SV[CL]-/).flatMap((rule) => rule.matches);
  const mode = most(matches.flatMap((match) => (match.kind === "statistic" ? [match.mode] : [])));
  return mode === undefined ? {} : { statisticMode: mode as "random" | "nth" };
}

/** The text said most often; of equals the first said. */
function most(texts: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  let found: string | undefined;
  for (const [text, count] of counts) if (found === undefined || count > (counts.get(found) ?? 0)) found = text;
  return found;
}
