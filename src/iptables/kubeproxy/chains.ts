/**
 * Names of kube-proxy's chains. The service chains of one service port share a hash; an endpoint chain's hash
 * takes in the endpoint too (proxier.go: portProtoHash, servicePortEndpointChainName).
 */
import { createHash } from "node:crypto";
import type { Protocol } from "../../cluster/cluster.js";

export interface ServiceChains {
  /** Cluster policy: all endpoints. */
  readonly svc: string;
  /** Local policy: this node's endpoints. */
  readonly svl: string;
  /** Load balancer source ranges. */
  readonly fw: string;
  /** Traffic from outside. */
  readonly ext: string;
}

/** `portName` is `namespace/name` or `namespace/name:port`: the colon goes when the port has no name. */
export function serviceChains(portName: string, protocol: Protocol): ServiceChains {
  const hash = chainHash(portName + protocol.toLowerCase());
  return { svc: `KUBE-SVC-${hash}`, svl: `KUBE-SVL-${hash}`, fw: `KUBE-FW-${hash}`, ext: `KUBE-EXT-${hash}` };
}

/** `endpoint` is `ip:port`, `[ip]:port` for IPv6. */
export function endpointChain(portName: string, protocol: Protocol, endpoint: string): string {
  return `KUBE-SEP-${chainHash(portName + protocol.toLowerCase() + endpoint)}`;
}

/** Whether a chain is one that kube-proxy deletes when nothing of this sync uses it. */
export function isServiceChain(chain: string): boolean {
  return /^KUBE-(SVC|SVL|SEP|FW|EXT)-/.test(chain);
}

/** The first 16 characters of RFC 4648 base32 of the SHA-256. */
function chainHash(text: string): string {
  const digest = createHash("sha256").update(text).digest();
  let hash = "";
  // Ten bytes are sixteen base32 digits; five bits at a time, high bits first.
  for (let bit = 0; bit < 80; bit += 5) {
    const pair = (digest[bit >> 3] << 8) | digest[(bit >> 3) + 1];
    hash += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(pair >> (11 - (bit & 7))) & 31];
  }
  return hash;
}
