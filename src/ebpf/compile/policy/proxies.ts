/**
 * Ports of proxies. A running agent takes free ones as redirects come; here each proxy has a number of its own, so that a
 * redirect to one is told from a redirect to another. 1.18 and later prefer the better listener by precedence; older
 * ones, and ties, the lower port.
 */
import type { Redirect } from "./entry.js";
import { Traffic } from "./traffic.js";

const FIRST_PORT = 10000;

export class Proxies {
  private readonly ports = new Map<string, number>();

  /** @param redirects all there are, so that numbers do not depend on the order of use */
  constructor(redirects: readonly Redirect[]) {
    const names = [Traffic.Ingress, Traffic.Egress].flatMap((direction) => redirects.map((one) => nameOf(one, direction)));
    for (const name of [...new Set(names)].sort()) this.ports.set(name, FIRST_PORT + this.ports.size);
  }

  portOf(redirect: Redirect, direction: number): number {
    return this.ports.get(nameOf(redirect, direction))!;
  }
}

/** DNS has a proxy of its own; HTTP and TLS share Envoy's; a listener is one more. */
function nameOf({ parser, listener }: Redirect, direction: number): string {
  const side = direction === Traffic.Ingress ? "ingress" : "egress";
  if (listener !== "") return `listener ${listener}`;
  return parser === "dns" ? "cilium-dns-egress" : `cilium-${parser === "tls" ? "http" : parser}-${side}`;
}
