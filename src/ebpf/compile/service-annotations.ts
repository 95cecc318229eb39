/**
 * What annotations and labels of a Service and its slices say to Cilium's agent, by version (pkg/annotation/k8s.go,
 * pkg/k8s/service.go up to 1.17, pkg/loadbalancer/reflectors from 1.18). A name that a version does not know says
 * nothing to it.
 *
 *     type               1.17   only frontends of this Service type
 *     node               1.17   only on nodes whose label of the same name has this value
 *     node-selector      1.18   only on nodes that this label selector matches; comes before `node`
 *     src-ranges-policy  1.17   deny: the source ranges are refused instead of allowed
 *     lb-algorithm       1.17   with bpf-lb-algorithm-annotation
 *     forwarding-mode    1.17   with bpf-lb-mode-annotation
 *     proxy-delegation   1.18   delegate-if-local hands packets to a proxy of the node
 *     weight             1.20   of an EndpointSlice: its backends' weight; 0 takes them out
 *     global             1.16   shared with the other clusters of a mesh; io.cilium/global-service before
 */
import type { EndpointSlice, Node, Service } from "../../cluster/cluster.js";
import { LbAlgorithm } from "../../contract/codes.js";
import type { CiliumOptions } from "../options.js";

const PREFIX = "service.cilium.io";
/** loadbalancer.DefaultBackendWeight. */
export const DEFAULT_WEIGHT = 100;

/** Profile number of a version: 16 for 1.16. */
export function release(options: CiliumOptions): number {
  return Number(options.version.slice(2));
}

/** Whether keys of services have a protocol; without bpf-lb-proto-diff 1.18 still writes it, and looks for none. */
export function keepsProtocol(options: CiliumOptions): boolean {
  return options["bpf-lb-proto-diff"] || release(options) === 18;
}

/** The agent takes Services that name no other proxy, or name the one it is told to be. */
export function isServed(service: Service, options: CiliumOptions): boolean {
  return (service.labels["service.kubernetes.io/service-proxy-name"] ?? "") === options["k8s-service-proxy-name"];
}

/** Whether clusters of a mesh share it. */
export function isGlobalService({ annotations }: Service): boolean {
  return (annotations[`${PREFIX}/global`] ?? annotations["io.cilium/global-service"] ?? "").toLowerCase() === "true";
}

/** Headless by its label, whatever its cluster IPs are. */
export function isHeadless(service: Service): boolean {
  return service.headless || Object.hasOwn(service.labels, "service.kubernetes.io/headless");
}

/** Whether frontends of this type are made (canExpose). An unknown type is ignored. */
export function exposes(service: Service, type: "ClusterIP" | "NodePort" | "LoadBalancer", options: CiliumOptions): boolean {
  const only = release(options) >= 17 ? service.annotations[`${PREFIX}/type`] : undefined;
  return only === undefined || !["ClusterIP", "NodePort", "LoadBalancer"].includes(only) || only === type;
}

/** Nodes that have the service; null: every node. */
export function exposedNodes(service: Service, nodes: readonly Node[], options: CiliumOptions): readonly Node[] | null {
  const selector = release(options) >= 18 ? service.annotations[`${PREFIX}/node-selector`] : undefined;
  if (selector !== undefined) {
    const matches = labelSelector(selector);
    // A selector that cannot be read is logged, and the service is everywhere.
    return matches === null ? null : nodes.filter(({ labels }) => matches(labels));
  }
  const value = release(options) >= 17 ? service.annotations[`${PREFIX}/node`] : undefined;
  return value === undefined ? null : nodes.filter(({ labels }) => labels[`${PREFIX}/node`] === value);
}

/** A label selector as kubectl takes it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`; null where it is none. */
export function labelSelector(text: string): ((labels: Readonly<Record<string, string>>) => boolean) | null {
  const parts = text.split(/,(?![^()]*\))/).map((part) => part.trim()).filter((part) => part !== "");
  const name = "[\\w./-]+";
  const tests = parts.map((part) => {
    const equal = new RegExp(`^(${name})\\s*(=|==|!=)\\s*([\\w.-]*)$`).exec(part);
    if (equal !== null) {
      const [, key, operator, value] = equal;
      return (labels: Readonly<Record<string, string>>) => (labels[key] === value) === (operator !== "!=");
    }
    const set = new RegExp(`^(${name})\\s+(in|notin)\\s*\\(([^()]*)\\)$`).exec(part);
    if (set !== null) {
      const values = set[3].split(",").map((value) => value.trim());
      return (labels: Readonly<Record<string, string>>) => values.includes(labels[set[1]]) === (set[2] === "in");
    }
    const exists = new RegExp(`^(!?)\\s*(${name})$`).exec(part);
    if (exists === null) return null;
    return (labels: Readonly<Record<string, string>>) => Object.hasOwn(labels, exists[2]) === (exists[1] === "");
  });
  return tests.includes(null) ? null : (labels) => tests.every((test) => test!(labels));
}

/** The source ranges are a list of whom to refuse. */
export function deniesRanges(service: Service, options: CiliumOptions): boolean {
  return release(options) >= 17 && lower(service, "src-ranges-policy") === "deny";
}

/** LbAlgorithm that the service names for itself; UNSPEC where annotations are off or name none. */
export function ownAlgorithm(service: Service | null, options: CiliumOptions): number {
  if (service === null || !options["bpf-lb-algorithm-annotation"] || release(options) < 17) return LbAlgorithm.values.UNSPEC;
  const text = release(options) === 17 ? lower(service, "lb-algorithm") : service.annotations[`${PREFIX}/lb-algorithm`];
  if (text === "maglev") return LbAlgorithm.values.MAGLEV;
  return text === "random" ? LbAlgorithm.values.RANDOM : LbAlgorithm.values.UNSPEC;
}

/** Whether the service's remote backends answer directly (bpf-lb-mode, or the service's own word). */
export function usesDsr(service: Service | null, protocol: number, options: CiliumOptions): boolean {
  const mode = options["bpf-lb-mode"];
  const standard = mode === "dsr" || (mode === "hybrid" && protocol === TCP);
  // 1.17 asks for the other annotation's option (pkg/k8s/service.go, ParseService).
  const asked = release(options) === 17 ? options["bpf-lb-algorithm-annotation"] : options["bpf-lb-mode-annotation"];
  if (service === null || !asked || release(options) < 17) return standard;
  const own = lower(service, "forwarding-mode");
  return own === "dsr" || own === "snat" ? own === "dsr" : standard;
}

const TCP = 6;

/** The service hands packets to a proxy where its backend is a process of the node. */
export function delegates(service: Service, options: CiliumOptions): boolean {
  return release(options) >= 18 && lower(service, "proxy-delegation") === "delegate-if-local";
}

/** Weight of the slice's backends; 0: in maintenance. */
export function sliceWeight(slice: EndpointSlice, options: CiliumOptions): number {
  const text = release(options) >= 20 ? slice.annotations[`${PREFIX}/weight`] : undefined;
  return text !== undefined && /^\d{1,5}$/.test(text) && Number(text) <= 0xffff ? Number(text) : DEFAULT_WEIGHT;
}

/** Topology mode of the service: what `trafficDistribution` and the older annotations ask for. */
export function topologyOf(service: Service, options: CiliumOptions): "" | "zone" | "node" {
  const version = release(options);
  if (version >= 18 && service.internalTrafficPolicy === "Local") return "";
  const wanted = service.trafficDistribution;
  if (wanted === "PreferClose" || (version >= 20 && wanted === "PreferSameZone")) return "zone";
  if (version >= 20 && wanted === "PreferSameNode") return "node";
  const hints = service.annotations["service.kubernetes.io/topology-aware-hints"]
    ?? service.annotations["service.kubernetes.io/topology-mode"] ?? "";
  return hints === "" || hints === "disabled" || hints === "Disabled" ? "" : "zone";
}

function lower(service: Service, name: string): string {
  return (service.annotations[`${PREFIX}/${name}`] ?? "").toLowerCase();
}
