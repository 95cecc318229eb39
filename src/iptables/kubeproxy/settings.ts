/**
 * The settings of kube-proxy that change rules or sysctls: where each stands in a KubeProxyConfiguration, what its flag
 * is called, what it accepts, and where it goes (cmd/kube-proxy/app/options.go, kube-proxy/config/v1alpha1/types.go).
 *
 * A file has typed values, a flag has text; both end in the same field. Does not look for files or flags.
 */
import { type Address, parseAddress, parsePrefix, type Prefix } from "../../cluster/address.js";
import type { DetectLocalMode, KubeProxyConfig } from "./config.js";

/** What is being built up: the configuration, and the proxy mode, which is not part of it. */
export type Settings = { -readonly [Key in keyof KubeProxyConfig]: KubeProxyConfig[Key] } & { mode: string };

export interface Setting {
  /** Path in a KubeProxyConfiguration. */
  readonly path: string;
  /** Name of the flag, without dashes; empty where there is none. */
  readonly flag: string;
  /** A flag without a value means true. */
  readonly boolean?: true;
  /**
   * Puts a value in place, or says what was expected instead.
   * @param value a file's value; a flag's text as it stands
   */
  readonly set: (settings: Settings, value: unknown) => string | null;
}

const INT32_MAX = 0x7fffffff;

export const SETTINGS: readonly Setting[] = [
  { path: "mode", flag: "proxy-mode", set: text((settings, value) => settings.mode = value) },
  { path: "clusterCIDR", flag: "cluster-cidr", set: (settings, value) => (
    put(prefixes(value), (found) => settings.clusterCIDR = found, "CIDRs with commas between them, such as 10.244.0.0/16")) },
  { path: "detectLocalMode", flag: "detect-local-mode", set: (settings, value) => (
    put(detectLocalMode(value), (found) => settings.detectLocalMode = found,
      "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")) },
  { path: "detectLocal.bridgeInterface", flag: "pod-bridge-interface", set: text((settings, value) => {
    settings.detectLocal = { ...settings.detectLocal, bridgeInterface: value };
  }) },
  { path: "detectLocal.interfaceNamePrefix", flag: "pod-interface-name-prefix", set: text((settings, value) => {
    settings.detectLocal = { ...settings.detectLocal, interfaceNamePrefix: value };
  }) },
  { path: "nodePortAddresses", flag: "nodeport-addresses", set: (settings, value) => (
    put(nodePortAddresses(value), (found) => settings.nodePortAddresses = found, "a list of CIDRs, or the one word primary")) },
  { path: "bindAddress", flag: "bind-address", set: (settings, value) => (
    put(bindAddress(value), ([found]) => settings.bindAddress = found, "an IP address")) },
  { path: "serviceProxyName", flag: "", set: text((settings, value) => settings.serviceProxyName = value) },
  flag("iptables.masqueradeAll", "masquerade-all", (settings, value) => settings.masqueradeAll = value),
  flag("iptables.localhostNodePorts", "iptables-localhost-nodeports", (settings, value) => settings.localhostNodePorts = value),
  flag("conntrack.tcpBeLiberal", "conntrack-tcp-be-liberal", (settings, value) => settings.tcpBeLiberal = value),
  number("iptables.masqueradeBit", "iptables-masquerade-bit", 31, (settings, value) => settings.masqueradeBit = value),
  number("conntrack.maxPerCore", "conntrack-max-per-core", INT32_MAX, (settings, maxPerCore) => {
    settings.conntrack = { ...settings.conntrack, maxPerCore };
  }),
  number("conntrack.min", "conntrack-min", INT32_MAX, (settings, min) => {
    settings.conntrack = { ...settings.conntrack, min };
  }),
  duration("conntrack.tcpEstablishedTimeout", "conntrack-tcp-timeout-established", "tcpEstablishedTimeoutSeconds"),
  duration("conntrack.tcpCloseWaitTimeout", "conntrack-tcp-timeout-close-wait", "tcpCloseWaitTimeoutSeconds"),
  duration("conntrack.udpTimeout", "conntrack-udp-timeout", "udpTimeoutSeconds"),
  duration("conntrack.udpStreamTimeout", "conntrack-udp-timeout-stream", "udpStreamTimeoutSeconds"),
  { path: "featureGates", flag: "feature-gates", set: featureGates },
];

/** Go's duration text (`24h0m0s`, `0`, `1.5h`) in whole seconds; null where it is none. */
export function durationSeconds(value: string): number | null {
  if (value === "0") return 0;
  if (!/^\+?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(value)) return null;
  let seconds = 0;
  for (const [, count, unit] of value.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)) seconds += Number(count) * UNITS[unit];
  return Math.trunc(seconds);
}

const UNITS: Readonly<Record<string, number>> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

function put<T>(found: T | null, into: (found: T) => unknown, expected: string): string | null {
  if (found === null) return expected;
  into(found);
  return null;
}

function text(into: (settings: Settings, value: string) => unknown): Setting["set"] {
  return (settings, value) => put(typeof value === "string" ? value : null, (found) => into(settings, found), "text");
}

function flag(path: string, name: string, into: (settings: Settings, value: boolean) => unknown): Setting {
  return { path, flag: name, boolean: true, set: (settings, value) => (
    put(booleanOf(value), (found) => into(settings, found), "true or false")) };
}

function number(path: string, name: string, most: number, into: (settings: Settings, value: number) => unknown): Setting {
  return { path, flag: name, set: (settings, value) => (
    put(wholeNumber(value, most), (found) => into(settings, found), `a whole number from 0 to ${most}`)) };
}

function duration(path: string, name: string, field: keyof KubeProxyConfig["conntrack"]): Setting {
  return { path, flag: name, set: (settings, value) => (
    put(typeof value === "string" ? durationSeconds(value) : null, (seconds) => {
      settings.conntrack = { ...settings.conntrack, [field]: seconds };
    }, "a duration such as 24h0m0s")) };
}

/** Go's strconv.ParseBool for flags. */
function booleanOf(value: unknown): boolean | null {
  if (typeof value === "boolean") return value;
  if (typeof value !== "string") return null;
  return /^(1|t|T|true|TRUE|True)$/.test(value) ? true : /^(0|f|F|false|FALSE|False)$/.test(value) ? false : null;
}

function wholeNumber(value: unknown, most: number): number | null {
  const found = typeof value === "string" && /^\d{1,10}$/.test(value) ? Number(value) : value;
  return typeof found === "number" && Number.isInteger(found) && found >= 0 && found <= most ? found : null;
}

/** Empty text is no range at all. */
function prefixes(value: unknown): Prefix[] | null {
  if (typeof value !== "string") return null;
  return prefixList(value === "" ? [] : value.split(","));
}

function prefixList(texts: readonly unknown[]): Prefix[] | null {
  const found = texts.map((one) => (typeof one === "string" && one.includes("/") ? parsePrefix(one.trim()) : null));
  return found.every((one) => one !== null) ? found : null;
}

function detectLocalMode(value: unknown): DetectLocalMode | null {
  if (value === "") return "ClusterCIDR";
  return (["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] as const).find((mode) => mode === value) ?? null;
}

function nodePortAddresses(value: unknown): KubeProxyConfig["nodePortAddresses"] | null {
  const list = typeof value === "string" ? (value === "" ? [] : value.split(",")) : value;
  if (!Array.isArray(list)) return null;
  return list.length === 1 && list[0] === "primary" ? "primary" : prefixList(list);
}

/** In a list of one, because null is a value here: no address. */
function bindAddress(value: unknown): [Address | null] | null {
  if (value === "") return [null];
  const found = typeof value === "string" ? parseAddress(value) : null;
  return found === null ? null : [found];
}

/** Gates that change no rule are passed over. */
function featureGates(settings: Settings, value: unknown): string | null {
  const gates = typeof value === "string" ? gatesOfText(value) : value;
  if (gates === null || typeof gates !== "object" || Array.isArray(gates)) return "gates, each true or false";
  for (const [gate, given] of Object.entries(gates)) {
    const on = booleanOf(given);
    if (on === null) return `true or false for ${gate}`;
    if (gate === "LoadBalancerIPMode") settings.loadBalancerIPMode = on;
    if (gate === "PreferSameTrafficDistribution") settings.preferSameTrafficDistribution = on;
  }
  return null;
}

function gatesOfText(value: string): Record<string, string> {
  return Object.fromEntries(value.split(",").filter((one) => one !== "").map((one) => {
    const equals = one.indexOf("=");
    return equals < 0 ? [one, ""] : [one.slice(0, equals).trim(), one.slice(equals + 1).trim()];
  }));
}
