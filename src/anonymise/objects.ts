/**
 * Manifests under other names and addresses: only kinds and fields that twinplane reads. Objects that decide about packets and
 * whose kind is not mapped make the file Unmappable; the others are dropped, and counted.
 */
import { readDocuments } from "../cluster/documents.js";
import { OPTION_NAMES } from "../ebpf/option-values.js";
import { fieldAt, flagsOf } from "../iptables/flags.js";
import { SETTINGS as KUBE_PROXY_SETTINGS } from "../iptables/kubeproxy/settings.js";
import { KEPT_KINDS, metadata } from "./kinds.js";
import type { Mapping } from "./mapping.js";
import { asObject, type Json, Unmappable } from "./shape.js";
import { WORDS } from "./well-known.js";

/** What was left out, and how often: kinds, and settings of ConfigMaps. */
export type Dropped = Map<string, number>;

/** Groups whose objects decide about packets, and kinds of them that do not. */
const DECIDING = /^(cilium\.io|crd\.projectcalico\.org|projectcalico\.org|policy\.networking\.k8s\.io|networking\.k8s\.io|extensions)\//;
const IDLE = new RegExp("^(CiliumIdentity|CiliumEndpoint|CiliumEndpointSlice"
  + "|CiliumLoadBalancerIPPool|CiliumL2AnnouncementPolicy|CiliumPodIPPool|CiliumBGP.*|Ingress|IngressClass"
  + "|BlockAffinity|IPAM.*|ClusterInformation|WorkloadEndpoint|IPAddress|ServiceCIDR)$");

/** One object as it is to be written; null where it is dropped. Throws Unmappable. */
export function anonymiseObject(value: unknown, mapping: Mapping, dropped: Dropped): Json | null {
  const object = asObject(value, "object");
  const { kind, apiVersion } = object;
  if (typeof kind !== "string" || typeof apiVersion !== "string" || !/^[A-Za-z0-9]{1,63}$/.test(kind)
    || !/^[a-z0-9./-]{1,100}$/.test(apiVersion)) {
    throw new Unmappable("object", "a kind and an apiVersion");
  }
  const known = Object.hasOwn(KEPT_KINDS, kind) ? KEPT_KINDS[kind] : undefined;
  if (known?.group.test(apiVersion)) return { apiVersion, kind, ...known.shape(object, mapping, kind) as Json };
  if (kind === "ConfigMap") {
    const map = configMap(object, mapping, dropped);
    if (map !== null) return { apiVersion, kind, ...map };
  } else if (kind === "KubeProxyConfiguration") return configuration(object, mapping, dropped, kind) as Json;
  else if (kind === "DaemonSet" && apiVersion === "apps/v1") {
    const set = daemonSet(object, mapping, dropped);
    if (set !== null) return { apiVersion, kind, ...set };
  } else if (DECIDING.test(apiVersion) && !IDLE.test(kind))
    throw new Unmappable(kind, "a kind that is mapped: dropping it would change verdicts");
  drop(dropped, kind);
  return null;
}

/** The objects of a text; `onNode` is told the nodes' own names. Throws Unmappable also where the text cannot be read. */
export function anonymiseManifest(file: { readonly name: string; readonly text: string }, mapping: Mapping, dropped: Dropped,
  onNode: (name: string) => void): Json[] {
  const { items, problems } = readDocuments(file);
  if (problems.length > 0) throw new Unmappable(`line ${problems[0].where?.line ?? 0}`, "YAML or JSON that can be read to its end");
  return items.map(({ value }) => {
    const written = anonymiseObject(value, mapping, dropped);
    if (written?.["kind"] === "Node") onNode(String((value as { metadata?: { name?: unknown } }).metadata?.name));
    return written;
  }).filter((one) => one !== null);
}

// ---- configuration ----

const CONFIGURING = /^(kube-proxy|(azure-)?ip-masq-agent(-config(-reconciled)?)?|azure-npm-config)$/;
const CONFIGURATION_FILE = /^(config|config\.conf|ip-masq-agent(-reconciled)?|azure-npm\.json)$/;

/** ConfigMaps of programs on nodes; null: of nothing that is read. */
function configMap(object: Json, mapping: Mapping, dropped: Dropped): Json | null {
  const meta = asObject(object["metadata"], "ConfigMap.metadata");
  const called = String(meta["name"]);
  const data = asObject(object["data"] ?? {}, "ConfigMap.data");
  const written = { metadata: metadata({ name: meta["name"], namespace: meta["namespace"] }, mapping, "ConfigMap.metadata") };
  if (called === "cilium-config") return { ...written, data: ciliumConfig(data, mapping, dropped) };
  if (meta["namespace"] !== "kube-system" || !CONFIGURING.test(called)) return null;
  const files = Object.entries(data).filter(([key, text]) =>
    CONFIGURATION_FILE.test(key) && typeof text === "string");
  return { metadata: { ...written.metadata as Json, name: called }, data: Object.fromEntries(files.map(([key, text]) => {
    const { items, problems } = readDocuments({ name: key, text: text as string });
    if (problems.length > 0 || items.length > 1) throw new Unmappable(`ConfigMap.data.${key}`, "one YAML or JSON document");
    return [key, items.length === 0 ? "" : JSON.stringify(configuration(items[0].value, mapping, dropped, called))];
  })) };
}

/** Of programs on nodes that show which dataplane a cluster has, or how it is configured (src/check/detect.ts, flags). */
const PROGRAMS = /^(azure-npm|calico-node|cilium|kube-proxy|(azure-)?ip-masq-agent)$/;
/** Flags of them that change rules. */
const FLAGS: ReadonlySet<string> = new Set([...KUBE_PROXY_SETTINGS.map(({ flag }) => flag), "enable-ipv6", "random-fully",
  "nomasq-all-reserved-ranges"]);

/** A DaemonSet of such a program: its name, the version of Cilium's image, flags; null: any other. */
function daemonSet(object: Json, mapping: Mapping, dropped: Dropped): Json | null {
  const meta = asObject(object["metadata"], "DaemonSet.metadata");
  const called = String(meta["name"]);
  if (!PROGRAMS.test(called)) return null;
  const containers = fieldAt(object, ["spec", "template", "spec", "containers"]);
  const images = called === "cilium" && Array.isArray(containers) ? containers.map((one) => String(fieldAt(one, ["image"]))) : [];
  const version = images.map((one) => /\/cilium[^/]*:v?(\d+\.\d+(\.\d+)?)\b/.exec(one)?.[1]).find((one) => one !== undefined);
  const written = flagsOf({ kind: "DaemonSet", namespace: "", name: called, labels: {}, annotations: {}, where: { file: "", line: 0 },
    apiVersion: "apps/v1", object });
  // With a file in place of flags those say nothing.
  const args = written.some(({ name }) => name === "config") ? [] : written.flatMap(({ name, value }) => {
    const mapped = !FLAGS.has(name) ? null : value === null ? `--${name}` : settingText(value, mapping);
    if (mapped === null) drop(dropped, `flag of ${called}`);
    return mapped === null ? [] : [value === null ? mapped : `--${name}=${mapped}`];
  });
  const container = { ...version === undefined ? {} : { image: `quay.io/cilium/cilium:v${version}` },
    ...args.length === 0 ? {} : { args } };
  return { metadata: metadata({ name: called, namespace: meta["namespace"] }, mapping, "DaemonSet.metadata"),
    spec: { template: { spec: { containers: [container] } } } };
}

/** Options that twinplane knows; what it does not know is dropped, what it knows and is not mapped is refused. */
function ciliumConfig(data: Json, mapping: Mapping, dropped: Dropped): Json {
  const names: readonly string[] = OPTION_NAMES;
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(data)) {
    const mapped = typeof value === "string" ? settingText(value, mapping) : null;
    if (key === "cluster-name" || key === "k8s-service-proxy-name") kept[key] = mapping.name(String(value));
    else if (mapped !== null && names.includes(key)) kept[key] = mapped;
    else if (names.includes(key)) throw new Unmappable(`ConfigMap.data.${key}`, "numbers, addresses, CIDRs or the option's own words");
    else drop(dropped, "setting of cilium-config");
  }
  return kept;
}

const API_VERSION = /^kubeproxy\.config\.k8s\.io\/v\d[a-z0-9]*$/;

/** A document of settings: numbers, switches, addresses and words everybody has; other text is dropped. */
function configuration(value: unknown, mapping: Mapping, dropped: Dropped, of: string): unknown {
  if (Array.isArray(value)) return value.map((item) => configuration(item, mapping, dropped, of)).filter((item) => item !== undefined);
  if (typeof value === "object" && value !== null) {
    const known = Object.entries(value).filter(([key]) => /^[A-Za-z][A-Za-z0-9]{0,60}$/.test(key));
    return Object.fromEntries(known.map(([key, item]) => [key,
      (key === "kind" && item === "KubeProxyConfiguration") || (key === "apiVersion" && API_VERSION.test(String(item))) ? item
        : configuration(item, mapping, dropped, of)]));
  }
  if (typeof value !== "string") return value;
  const mapped = settingText(value, mapping);
  if (mapped === null) drop(dropped, `setting of ${of}`);
  return mapped ?? undefined;
}

/** Every word of it, or null. */
function settingText(value: string, mapping: Mapping): string | null {
  const parts = value.split(/([\s,]+)/).map((part, index) => (index % 2 === 1
    || /^(-?\d+(\.\d+)?%?|true|false)$/.test(part)
    || /^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$/.test(part) || WORDS.has(part) || SETTINGS.has(part) ? part : mapping.addressText(part)));
  return parts.includes(null) ? null : parts.join("");
}

/** Words that Cilium's options take. */
const SETTINGS: ReadonlySet<string> = new Set(["tunnel", "native", "vxlan", "geneve", "hybrid", "strict", "probe", "partial",
  "always", "never", "opt", "dispatch", "eth+", "eth0", "cluster-pool", "kubernetes", "delegated-plugin", "multi-pool", "azure", "eni",
  "crd", "kvstore",
  "soft", "hard", "veth", "netkit", "netkit-l2", "lb-only", "auto", "generic-veth", "portmap", "aws-cni", "flannel",
  "tuple", "legacy", "default"]);

function drop(dropped: Dropped, what: string): void {
  dropped.set(what, (dropped.get(what) ?? 0) + 1);
}
