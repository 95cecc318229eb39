/**
 * Which nodes forward a probe, and with which addresses, from how kube-proxy's services work and nothing of policies:
 * the places where a policy engine in FORWARD is asked. Written from kube-proxy's documentation, for a network in
 * which nodes route pods' addresses.
 */
export interface End {
  readonly kind: "pod" | "node" | "outside";
  readonly address: string;
  /** Where the pod runs, or the node itself; null outside. */
  readonly node: string | null;
}

export interface Entry {
  readonly kind: "direct" | "ClusterIP" | "NodePort" | "LoadBalancer";
  /** externalTrafficPolicy Local. */
  readonly local: boolean;
  /** The address and port asked for; where direct, the destination's. */
  readonly address: string;
  readonly port: number;
  /** The node whose address a node port is asked at. */
  readonly node: string | null;
}

/** A new connection's packet in the FORWARD chain of a node. */
export interface Leg {
  readonly node: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** kube-proxy's mark for masquerading is on it. */
  readonly marked: boolean;
}

/**
 * @param at the node where a frame from outside enters
 * @param nodeAddress a node's address
 */
export function legsOf(source: End, entry: Entry, backend: End, port: number, at: string, nodeAddress: (node: string) => string): Leg[] {
  const legs: Leg[] = [];
  const forward = (node: string, from: string, to: string, toPort: number, marked: boolean): void => {
    legs.push({ node, source: from, destination: to, port: toPort, marked });
  };
  const start = source.node ?? at;
  if (entry.kind === "direct") {
    if (source.kind === "pod" && !isNodeItself(backend, start)) forward(start, source.address, backend.address, port, false);
    if (backend.kind === "pod" && backend.node !== null && (backend.node !== start || source.kind === "outside")) {
      forward(backend.node, source.address, backend.address, port, false);
    }
    return legs;
  }
  // A node port is translated where the address is.
  const translator = entry.kind === "NodePort" && entry.node !== null ? entry.node : start;
  if (translator !== start && source.kind === "pod") forward(start, source.address, entry.address, entry.port, false);
  const marked = isMasqueraded(source, entry, backend, source.kind === "node" && translator === start);
  const own = source.kind === "node" && translator === start;
  if (!own && !isNodeItself(backend, translator)) forward(translator, source.address, backend.address, port, marked);
  if (backend.kind === "pod" && backend.node !== null && backend.node !== translator) {
    forward(backend.node, marked ? nodeAddress(translator) : source.address, backend.address, port, false);
  }
  return legs;
}

function isNodeItself(end: End, node: string): boolean {
  return end.kind === "node" && end.node === node;
}

/** @param own a process of the node that translates */
function isMasqueraded(source: End, entry: Entry, backend: End, own: boolean): boolean {
  if (source.address === backend.address) return true;
  if (entry.kind === "ClusterIP") return source.kind !== "pod";
  return entry.local ? own : true;
}
