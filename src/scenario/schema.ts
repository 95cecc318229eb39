/**
 * What a scenario file may hold, as a JSON Schema (draft 2020-12): the one statement of its fields. Published with the
 * package for editors (`twinplane test --schema`), and what `check.ts` reads files by.
 */

/** The part of JSON Schema that is used here. */
export interface Schema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly enum?: readonly (string | number | boolean)[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** One for each kind of value; the value's kind says which is meant. */
  readonly anyOf?: readonly Schema[];
}

const DURATION = "^(\\d+h)?(\\d+m)?(\\d+(\\.\\d+)?s)?(\\d+ms)?$";
const NAMED = "^[^/\\s]+/[^/\\s]+$";
const PROTOCOLS = ["TCP", "UDP", "SCTP", "ICMP"] as const;
export const OUTCOMES = ["delivered", "left", "dropped", "rejected", "answered", "held", "redirected", "undecided"] as const;
export const REPLIES = ["restored", "lost", "undecided", "none"] as const;
export const TCP_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"] as const;

const text = (description: string, pattern?: string): Schema =>
  ({ type: "string", description, ...(pattern === undefined ? {} : { pattern }) });
const whole = (description: string, minimum: number, maximum: number): Schema => ({ type: "integer", description, minimum, maximum });
const closed = (description: string, properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema =>
  ({ type: "object", description, properties, ...(required.length > 0 ? { required } : {}), additionalProperties: false });
const option: Schema = {
  anyOf: [{ type: "string" }, { type: "integer" }, { type: "boolean" }, { type: "array", items: { type: "string" } }],
};
const manyTexts = (description: string): Schema =>
  ({ anyOf: [{ type: "string", description }, { type: "array", description: `${description}, several`, items: { type: "string" } }] });

/** What is expected of one plane. */
const EXPECTATION = {
  outcome: { ...text("what becomes of the packet"), enum: OUTCOMES },
  to: manyTexts("destination after NAT: a pod (namespace/name), a node, an address or address:port; with repeat the exact set"),
  source: text("source the destination sees: a pod, a node, an address, or `client` for the sender's own address"),
  reason: text("drop reason as Hubble names it (POLICY_DENIED), a chain (KUBE-FORWARD), or why it is undecided"),
  because: manyTexts("object or option that an entry or rule comes from: default/web"),
  reply: { ...text("what becomes of the answer; restored where it is not said and the packet arrived"), enum: REPLIES },
} as const satisfies Readonly<Record<string, Schema>>;
export const EXPECTATION_NAMES = Object.keys(EXPECTATION);

const expectation = closed("what is expected of this plane", EXPECTATION);

const plane = closed("one dataplane", {
  profile: text("a profile's name: cilium@1.20, kube-proxy+npm, aks@1.33"),
  cilium: { type: "object", description: "Cilium's options, by Cilium's names", additionalProperties: option },
  kubeProxy: { type: "object", description: "fields of KubeProxyConfiguration" },
  masquerade: { ...text("who masquerades pods beside kube-proxy"), enum: ["cni", "ip-masq-agent", "none"] },
  clusterCIDRs: { type: "array", description: "pod address ranges", items: text("a CIDR") },
  nonMasqueradeCIDRs: { type: "array", description: "destinations that see a pod's own address", items: text("a CIDR") },
  program: text("a module or source of a program of your own, in place of Cilium's policy step; relative to this file"),
  seed: whole("seed of every random choice", 0, 0xffffffff),
}, ["profile"]);

/** What may be wrong about a made packet's checksums. */
export const CHECKSUMS = ["wrong", "wrong-header"] as const;

const from = closed("who sends: a pod, a node, or an address outside by way of a node", {
  pod: text("namespace/name", NAMED),
  node: text("a node's own process"),
  ip: text("an address outside; beside pod or node: the source address that the packet bears"),
  via: text("the node whose uplink it comes in by"),
});

const to = closed("whom the packet is addressed to", {
  pod: text("namespace/name", NAMED),
  service: text("namespace/name; beside node: the port's name is looked up here", NAMED),
  node: text("a node's address"),
  ip: text("an address"),
});

const change: Schema = {
  ...closed("a change of the cluster", {
    apply: { anyOf: [text("a file or folder of manifests"), { type: "object", description: "an object" },
      { type: "array", description: "objects", items: { type: "object" } }] },
    delete: { type: "object", description: "a kind and namespace/name: {pod: default/web-1}", minProperties: 1, maxProperties: 1,
      additionalProperties: text("namespace/name, or name") },
  }), minProperties: 1, maxProperties: 1,
};

const probe = closed("new connections, and what is expected of them", {
  name: text("what it shows"),
  from, to,
  protocol: { anyOf: [{ ...text("TCP where it is not said"), enum: PROTOCOLS }, whole("an IP protocol number", 0, 255)] },
  port: { anyOf: [whole("the destination port", 0, 65535), text("a port's name, of the service or pod")] },
  sourcePort: whole("of the first connection; the others follow", 1, 65535),
  family: { type: "integer", description: "4 or 6, where both are possible", enum: [4, 6] },
  repeat: whole("new connections; with more than one every member of `to` must be chosen", 1, 65536),
  after: text("time since the probe before: 30s, 2m, 500ms", DURATION),
  change: { type: "array", description: "changes of the cluster before it", items: change },
  ttl: whole("TTL or hop limit", 0, 255),
  tcpFlags: { type: "array", description: "instead of SYN", items: { ...text("a flag"), enum: TCP_FLAGS } },
  fragment: closed("a fragment of a datagram (IPv4)", {
    id: whole("identification", 0, 65535), offset: whole("in bytes, a multiple of 8", 0, 65528),
    more: { type: "boolean", description: "more fragments follow" },
  }),
  icmpError: closed("an ICMP error about a packet of an earlier probe, as it arrived in each plane, in place of a packet", {
    about: text("the earlier probe's name; of several connections the last"),
    answer: { type: "boolean", description: "true: about the answer to it, as the probe's sender got it" },
    type: whole("ICMP or ICMPv6 type", 0, 255), code: whole("0 where it is not said", 0, 255),
    mtu: whole("of the next hop, where the error says one", 0, 0xffffffff),
  }, ["about", "type"]),
  length: whole("of the whole packet in bytes, with its IP header; zeros fill it up", 28, 65535),
  checksum: { ...text("what is wrong about its checksums: `wrong` the one of TCP, UDP, SCTP or ICMP, `wrong-header` that of the IPv4"
    + " header"), enum: CHECKSUMS },
  packet: text("the packet in hex from the network header on, in place of one that is made", "^([0-9a-fA-F]{2}\\s*)+$"),
  etherType: whole("of `packet`", 0, 65535),
  vlan: whole("identifier of the VLAN tag (802.1Q) that it comes with; 0: a priority tag", 0, 4095),
  answer: { type: "boolean", description: "false: nothing answers" },
  expect: {
    type: "object",
    description: "of all planes, or a block for each plane by its name; in a block, what stands there comes first",
    properties: { ...EXPECTATION,
      difference: manyTexts("id of the known difference that the first two planes show; none: no difference") },
    additionalProperties: expectation,
  },
}, ["from", "expect"]);

const node = closed("what is known of a node", {
  addresses: { type: "array", description: "of its uplink, with the length of the network: 192.168.50.11/24",
    items: text("an address/length") },
  vlans: { type: "array", description: "the VLAN devices (802.1Q) on its uplink; where it is not said they are not known",
    items: closed("a VLAN device", {
      id: whole("identifier", 0, 4095),
      addresses: { type: "array", description: "its own, with the length of the network", items: text("an address/length") },
    }, ["id"]) },
  tunnel: closed("a VXLAN device of the CNI that the node has now, as flannel makes it, with routes to other nodes' IPv4 pod ranges",
    { mtu: whole("of the device", 576, 65535) }, ["mtu"]),
});

export const SCENARIO_SCHEMA: Schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "twinplane scenario",
  ...closed("A regression test of dataplane logic: a cluster, planes, packets, and what must become of them", {
    name: text("what it shows"),
    cluster: { type: "array", description: "manifests: files, folders, and objects",
      items: { anyOf: [text("a file or folder, relative to this file"), { type: "object", description: "an object" }] } },
    planes: { type: "object", description: "planes by names of your own", minProperties: 1, additionalProperties: plane },
    nodes: { type: "object", description: "node facts by node name", additionalProperties: node },
    problems: { type: "array",
      description: "what must be said of the objects and options, by a part of each sentence; such errors do not stop it",
      items: text("part of a problem's text") },
    probes: { type: "array", description: "packets, in order", items: probe },
  }, ["name", "cluster", "probes"]),
};
