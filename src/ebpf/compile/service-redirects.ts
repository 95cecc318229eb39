/**
 * Frontends that objects of Cilium's take away from their service: those of a CiliumLocalRedirectPolicy go to pods of
 * the node, those of a CiliumEnvoyConfig to the node's proxy. Neither is evaluated; what matters is that nobody takes
 * such a frontend for the service's own, so the programs leave them undecided.
 *
 * Both are taken to be in force: the agent needs enable-local-redirect-policy and enable-envoy-config for them, which a
 * dump of the cluster does not always say.
 */
import type { Address } from "../../cluster/address.js";
import { parseAddress } from "../../cluster/address.js";
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import { IP_PROTOCOL } from "./policy/entry.js";

export interface RedirectedAddress {
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  readonly because: Because;
}

export interface Redirects {
  /** Services, `namespace/name`, whose cluster IPs a local redirect policy takes. */
  readonly local: ReadonlySet<string>;
  /** Services whose frontends lead to a proxy; of the ports named, or of all where the list is empty. */
  readonly proxied: ReadonlyMap<string, readonly number[]>;
  /** Addresses that a local redirect policy names itself. */
  readonly addresses: readonly RedirectedAddress[];
}

type Plain = Readonly<Record<string, unknown>>;

export function findRedirects(cluster: Cluster): Redirects {
  const local = new Set<string>();
  const proxied = new Map<string, number[]>();
  const addresses: RedirectedAddress[] = [];
  for (const object of cluster.others) {
    if (!object.apiVersion.startsWith("cilium.io/")) continue;
    if (object.kind === "CiliumLocalRedirectPolicy") readPolicy(object, local, addresses);
    if (object.kind === "CiliumEnvoyConfig" || object.kind === "CiliumClusterwideEnvoyConfig") readEnvoyConfig(object, proxied);
  }
  return { local, proxied, addresses };
}

/** A service is of the policy's own namespace, whatever else it says. */
function readPolicy(object: OtherObject, local: Set<string>, addresses: RedirectedAddress[]): void {
  const frontend = plain(plain(object.object["spec"])["redirectFrontend"]);
  const name = plain(frontend["serviceMatcher"])["serviceName"];
  if (typeof name === "string") local.add(`${object.namespace}/${name}`);
  const matcher = plain(frontend["addressMatcher"]);
  const address = typeof matcher["ip"] === "string" ? parseAddress(matcher["ip"]) : null;
  if (address === null) return;
  for (const { port, protocol } of list(matcher["toPorts"])) {
    const number = Number(port);
    const named = String(protocol ?? "TCP").toUpperCase();
    if (!(number > 0 && number < 65536) || !(named === "TCP" || named === "UDP")) continue;
    addresses.push({ address, port: number, protocol: IP_PROTOCOL[named], because: {
      where: object.where, object: `${object.namespace}/${object.name}`, rule: "redirectFrontend.addressMatcher" } });
  }
}

function readEnvoyConfig(object: OtherObject, proxied: Map<string, number[]>): void {
  for (const service of list(plain(object.object["spec"])["services"])) {
    const namespace = typeof service["namespace"] === "string" ? service["namespace"] : object.namespace;
    const ports = Array.isArray(service["ports"]) ? service["ports"].map(Number) : [];
    proxied.set(`${namespace}/${String(service["name"])}`, ports);
  }
}

function plain(value: unknown): Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Plain) : {};
}

function list(value: unknown): Plain[] {
  return Array.isArray(value) ? value.map(plain) : [];
}
