/** The kinds that are kept, and of each the fields that twinplane reads (src/cluster/). */
import { address, asObject, domain, exactly, fields, type Fields, type Json, labels, list, name, plain, port, selector, type Shape, text,
  time } from "./shape.js";

const target = fields({ kind: text((value) => (value === "Pod" || value === "Node" ? value : "Other")), namespace: name, name });
const ports = list(fields({ name, containerPort: plain, protocol: plain, hostPort: plain, hostIP: address }));

/** Annotations that change what a dataplane does; all others are dropped. */
const ANNOTATION = new RegExp("^(service\\.cilium\\.io/|service\\.kubernetes\\.io/topology-|kubernetes\\.io/(in|e)gress-bandwidth$"
  + "|qos\\.projectcalico\\.org/)");
const annotations: Shape = (value, mapping, at) => {
  if (value === null) return null;
  const kept = Object.entries(asObject(value, at)).filter(([key]) => ANNOTATION.test(key));
  return Object.fromEntries(kept.map(([key, one]) => {
    const quantity = typeof one === "string" && /^\d+(\.\d+)?[a-zA-Z]{0,2}$/.test(one);
    return [key, quantity ? one : (key === "service.cilium.io/node" ? name : plain)(one, mapping, `${at}.${key}`)];
  }));
};

export const metadata: Shape = fields({ name, namespace: name, labels, annotations, creationTimestamp: time, deletionTimestamp: time });

/** Its owner is a Deployment by the hash behind the ReplicaSet's name, which is a label's value too. */
const pod: Shape = (value, mapping, at) => {
  const given = asObject(value, at);
  const meta = asObject(given["metadata"] ?? {}, `${at}.metadata`);
  const hash = (meta["labels"] as Json | null | undefined)?.["pod-template-hash"];
  const owner = text((one) => (typeof hash === "string" && hash !== "" && one.endsWith(`-${hash}`)
    ? `${mapping.name(one.slice(0, -hash.length - 1))}-${mapping.name(hash)}` : mapping.name(one)));
  const read = fields({
    spec: fields({ nodeName: name, hostNetwork: plain, serviceAccountName: name, containers: list(fields({ ports })),
      initContainers: list(fields({ restartPolicy: text((one) => (one === "Always" ? one : "Never")), ports })) }),
    status: fields({ podIP: address, podIPs: list(fields({ ip: address })), hostIP: address, hostIPs: list(fields({ ip: address })),
      phase: plain, startTime: time }),
  })(given, mapping, at) as Json;
  const owners = fields({ ownerReferences: list(fields({ controller: plain, name: owner })) })(meta, mapping, `${at}.metadata`) as Json;
  return { metadata: { ...metadata(meta, mapping, `${at}.metadata`) as Json, ...owners }, ...read };
};

/** A node's addresses; the other types of them are names. */
function nodeAddresses(item: Shape): Shape {
  const isAddress = (one: unknown): boolean => /^(InternalIP|ExternalIP|CiliumInternalIP)$/.test(String((one as Json | null)?.["type"]));
  return (value, mapping, at) => list(item)(Array.isArray(value) ? value.filter(isAddress) : value, mapping, at);
}

const service = fields({
  type: plain, clusterIP: address, clusterIPs: list(address), ipFamilies: list(plain), externalIPs: list(address),
  loadBalancerSourceRanges: list(address), externalTrafficPolicy: plain, internalTrafficPolicy: plain, sessionAffinity: plain,
  sessionAffinityConfig: fields({ clientIP: fields({ timeoutSeconds: plain }) }), healthCheckNodePort: plain,
  publishNotReadyAddresses: plain, trafficDistribution: plain, loadBalancerClass: text((one, mapping) => (one.startsWith("io.cilium/") ? one
    : mapping.name(one))), selector: labels,
  ports: list(fields({ name, protocol: plain, port: plain, targetPort: port, nodePort: plain })),
});

const endpoint = fields({
  addresses: list(address), nodeName: name, zone: name, conditions: fields({ ready: plain, serving: plain, terminating: plain }),
  targetRef: target, hints: fields({ forZones: list(fields({ name })), forNodes: list(fields({ name })) }),
});

const formerEndpoint = fields({ ip: address, nodeName: name, targetRef: target });

const policyPort = exactly({ protocol: plain, port, endPort: plain });
const policyPeers = list(exactly({ podSelector: selector, namespaceSelector: selector,
  ipBlock: exactly({ cidr: address, except: list(address) }) }));
const networkPolicy = exactly({ podSelector: selector, policyTypes: list(plain),
  ingress: list(exactly({ from: policyPeers, ports: list(policyPort) })),
  egress: list(exactly({ to: policyPeers, ports: list(policyPort) })) });

// ---- policies of the whole cluster ----

const keys = list(text((one, mapping) => mapping.labelKey(one)));
const namespaces = exactly({ matchLabels: labels, matchExpressions: (value, mapping, at) =>
  (selector({ matchExpressions: value }, mapping, at) as Json)["matchExpressions"],
namespaceSelector: selector, sameLabels: keys, notSameLabels: keys });
const pods = exactly({ namespaces, namespaceSelector: selector, podSelector: selector });
const range = exactly({ protocol: plain, port: plain, start: plain, end: plain });
const numbered = exactly({ destinationPort: exactly({ number: plain, range }) });
const adminRule = (peers: string): Shape => exactly({ action: plain,
  [peers]: list(exactly({ namespaces, pods, nodes: selector, networks: list(address), domainNames: list(domain) })),
  ports: list(exactly({ portNumber: range, portRange: range, namedPort: name })),
  protocols: list(exactly({ tcp: numbered, udp: numbered, sctp: numbered, destinationNamedPort: name })) }, ["name"]);
const adminPolicy = exactly({ tier: plain, priority: plain, subject: exactly({ namespaces, pods }),
  ingress: list(adminRule("from")), egress: list(adminRule("to")) });

// ---- Cilium ----

const secret = exactly({ namespace: name, name });
const tls = exactly({ secret, trustedCA: plain, certificate: plain, privateKey: plain });
const fqdn = exactly({ matchName: domain, matchPattern: domain });
/** What a proxy looks at; a packet meets only that there is a rule. */
const anything: Shape = () => ({});
const toPorts = list(exactly({
  ports: list(exactly({ port, endPort: plain, protocol: plain })), terminatingTLS: tls, originatingTLS: tls, serverNames: list(domain),
  listener: exactly({ envoyConfig: exactly({ kind: plain, name }), name, priority: plain }),
  rules: exactly({ http: list(anything), dns: list(fqdn), kafka: list(anything) }),
}));
const ciliumRule = (side: "from" | "to"): Shape => exactly({
  [`${side}Endpoints`]: list(selector), [`${side}Requires`]: list(selector), [`${side}CIDR`]: list(address),
  [`${side}CIDRSet`]: list(exactly({ cidr: address, cidrGroupRef: name, cidrGroupSelector: selector, except: list(address) })),
  [`${side}Entities`]: list(plain), [`${side}Nodes`]: list(selector), toPorts, toFQDNs: list(fqdn),
  icmps: list(exactly({ fields: list(exactly({ family: plain, type: plain })) })), authentication: exactly({ mode: plain }),
  toServices: list(exactly({ k8sService: exactly({ serviceName: name, namespace: name }),
    k8sServiceSelector: exactly({ selector, namespace: name }) })),
});
const ciliumSpec = exactly({ endpointSelector: selector, nodeSelector: selector, ingress: list(ciliumRule("from")),
  ingressDeny: list(ciliumRule("from")), egress: list(ciliumRule("to")), egressDeny: list(ciliumRule("to")),
  enableDefaultDeny: exactly({ ingress: plain, egress: plain }) }, ["labels", "description", "log"]);

const withSpec = (spec: Shape): Shape => fields({ metadata, spec });

/** A kind's groups, and its shape without kind and apiVersion. */
export interface KeptKind {
  readonly group: RegExp;
  readonly shape: Shape;
}

const kept = (group: RegExp, shape: Shape): KeptKind => ({ group, shape });
const CORE = /^v1$/;
const ADMIN = /^policy\.networking\.k8s\.io\//;
const CILIUM = /^cilium\.io\//;

export const KEPT_KINDS: Readonly<Record<string, KeptKind>> = {
  Namespace: kept(CORE, fields({ metadata })),
  Node: kept(CORE, fields({ metadata, spec: fields({ podCIDR: address, podCIDRs: list(address) }),
    status: fields({ addresses: nodeAddresses(fields({ type: plain, address })) }) })),
  Pod: kept(CORE, pod),
  Service: kept(CORE, fields({ metadata, spec: service,
    status: fields({ loadBalancer: fields({ ingress: list(fields({ ip: address, ipMode: plain })) }) }) })),
  Endpoints: kept(CORE, fields({ metadata, subsets: list(fields({ addresses: list(formerEndpoint),
    notReadyAddresses: list(formerEndpoint), ports: list(fields({ name, protocol: plain, port: plain })) })) })),
  EndpointSlice: kept(/^discovery\.k8s\.io\//, fields({ metadata, addressType: plain,
    ports: list(fields({ name, protocol: plain, port: plain })), endpoints: list(endpoint) } satisfies Fields)),
  NetworkPolicy: kept(/^networking\.k8s\.io\//, withSpec(networkPolicy)),
  AdminNetworkPolicy: kept(ADMIN, withSpec(adminPolicy)),
  BaselineAdminNetworkPolicy: kept(ADMIN, withSpec(adminPolicy)),
  ClusterNetworkPolicy: kept(ADMIN, withSpec(adminPolicy)),
  CiliumNetworkPolicy: kept(CILIUM, fields({ metadata, spec: ciliumSpec, specs: list(ciliumSpec) })),
  CiliumClusterwideNetworkPolicy: kept(CILIUM, fields({ metadata, spec: ciliumSpec, specs: list(ciliumSpec) })),
  CiliumCIDRGroup: kept(CILIUM, withSpec(exactly({ externalCIDRs: list(address) }))),
  CiliumNode: kept(CILIUM, withSpec(fields({ ipam: fields({ podCIDRs: list(address) }),
    addresses: nodeAddresses(fields({ type: plain, ip: address })) }))),
};
