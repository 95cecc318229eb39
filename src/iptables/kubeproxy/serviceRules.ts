/**
 * The rules of one service port: dispatch from the shared chains, and its own chains (proxier.go, the loop
 * over svcPortMap in syncProxyRules).
 *
 *   KUBE-SERVICES -- cluster IP ------------> SVC or SVL --> SEP-1 | SEP-2 | … --> DNAT
 *                 \- external IP, VIP -> (FW ->) EXT --/
 *                  \- NODEPORTS --------------^
 *
 * Without a usable endpoint the refusal stands in filter instead. Rules come in kube-proxy's order, because
 * inside a chain the first match wins.
 */
import { prefixContains, type Address } from "../../cluster/address.js";
import type { EndpointSlice } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { Rule, TableName } from "../ruleset.js";
import { endpointChain } from "./chains.js";
import type { KubeProxyConfig, LocalDetector } from "./config.js";
import type { CategorizedEndpoints, EndpointInfo } from "./endpoints.js";
import { nfacct } from "./fixed.js";
import type { ServicePortInfo } from "./servicePorts.js";

/** What the rules of one service port need to know beside it. */
export interface ServiceRuleInput {
  readonly info: ServicePortInfo;
  readonly endpoints: CategorizedEndpoints;
  /** All slices of the service, for the becauses of a refusal. */
  readonly slices: readonly EndpointSlice[];
  readonly config: KubeProxyConfig;
  readonly detector: LocalDetector | null;
  readonly nodeAddress: Address | null;
  /** Node ports answer on 127.0.0.0/8. */
  readonly localhostNodePorts: boolean;
  /** Per-endpoint rules without comments. */
  readonly largeCluster: boolean;
}

export interface ServiceRules {
  /** Own chains in nat, in order. */
  readonly chains: readonly string[];
  /** Written on every sync. */
  readonly dispatch: readonly Rule[];
  /** Written on a full sync, or when the service or its slices changed. */
  readonly own: readonly Rule[];
}

export function serviceRules(input: ServiceRuleInput): ServiceRules {
  const writer = new ServiceRuleWriter(input);
  const dispatch = writer.dispatch();
  const own = writer.own();
  return { chains: writer.chains, dispatch, own };
}

class ServiceRuleWriter {
  readonly chains: string[] = [];
  private readonly hasInternal: boolean;
  private readonly hasExternal: boolean;
  private readonly usesFirewall: boolean;
  private readonly internalChain: string;
  private readonly policyChain: string;
  private readonly protocolMatch: string;
  private rules: Rule[] = [];

  constructor(private readonly input: ServiceRuleInput) {
    const { info, endpoints } = input;
    const noLocal = endpoints.local.length === 0;
    this.hasInternal = endpoints.hasAny && !(info.internalPolicyLocal && noLocal);
    this.hasExternal = endpoints.hasAny && !(info.externalPolicyLocal && noLocal);
    this.usesFirewall = endpoints.hasAny && info.loadBalancerVIPs.length > 0 && info.sourceRanges.length > 0;
    this.internalChain = info.internalPolicyLocal ? info.chains.svl : info.chains.svc;
    this.policyChain = info.externalPolicyLocal ? info.chains.svl : info.chains.svc;
    const protocol = info.protocol.toLowerCase();
    this.protocolMatch = `-m ${protocol} -p ${protocol}`;
  }

  dispatch(): Rule[] {
    this.rules = [];
    this.dispatchClusterIP();
    this.dispatchExternalIPs();
    this.dispatchVIPs();
    this.dispatchNodePort();
    const { info } = this.input;
    if (info.healthCheckNodePort !== 0) {
      // The listener is kube-proxy's own HTTP server, with or without endpoints.
      this.add("filter", "KUBE-NODEPORTS", `${quoted(`${info.name} health check node port`)} -m tcp -p tcp `
        + `--dport ${info.healthCheckNodePort} -j ACCEPT`, this.service("spec.healthCheckNodePort"));
    }
    return this.rules;
  }

  own(): Rule[] {
    this.rules = [];
    const { info, endpoints } = this.input;
    this.clusterIPMasquerade();
    if (endpoints.hasAny && info.externallyAccessible) this.externalChain();
    if (this.usesFirewall) this.firewallChain();
    if (info.usesClusterEndpoints) this.endpointSelection(info.chains.svc, endpoints.cluster);
    if (info.usesLocalEndpoints) this.endpointSelection(info.chains.svl, endpoints.local);
    for (const endpoint of endpoints.reachable) this.endpointChain(endpoint);
    return this.rules;
  }

  private dispatchClusterIP(): void {
    const { info } = this.input;
    const match = this.destination(info.clusterIP);
    const becauses = this.service("spec.clusterIPs");
    if (this.hasInternal) {
      this.add("nat", "KUBE-SERVICES", `${quoted(`${info.name} cluster IP`)} ${match} -j ${this.internalChain}`,
        becauses);
    } else {
      this.add("filter", "KUBE-SERVICES", `${this.refusalComment()} ${match} -j ${this.refusalTarget()}`,
        this.refusalBecauses("spec.internalTrafficPolicy"));
    }
  }

  private dispatchExternalIPs(): void {
    const { info, endpoints } = this.input;
    for (const address of info.externalIPs) {
      const match = this.destination(address);
      if (endpoints.hasAny) {
        this.add("nat", "KUBE-SERVICES", `${quoted(`${info.name} external IP`)} ${match} -j ${info.chains.ext}`,
          this.service("spec.externalIPs"));
      }
      if (!this.hasExternal) this.refuseExternal(match);
    }
  }

  private dispatchVIPs(): void {
    const { info, endpoints } = this.input;
    const chain = this.usesFirewall ? info.chains.fw : info.chains.ext;
    for (const address of info.loadBalancerVIPs) {
      const match = this.destination(address);
      if (endpoints.hasAny) {
        this.add("nat", "KUBE-SERVICES", `${quoted(`${info.name} loadbalancer IP`)} ${match} -j ${chain}`,
          this.service("status.loadBalancer.ingress"));
      }
      if (this.usesFirewall) {
        this.add("filter", "KUBE-PROXY-FIREWALL",
          `${quoted(`${info.name} traffic not accepted by ${info.chains.fw}`)} ${match} -j DROP`,
          this.service("spec.loadBalancerSourceRanges"));
      }
    }
    if (this.hasExternal) return;
    for (const address of info.loadBalancerVIPs) this.refuseExternal(this.destination(address));
  }

  private dispatchNodePort(): void {
    const { info, endpoints, config } = this.input;
    if (info.nodePort === 0) return;
    const port = `--dport ${info.nodePort}`;
    if (endpoints.hasAny) {
      const counter = nfacct(config, "localhost_nps_accepted_pkts");
      if (this.input.localhostNodePorts && counter !== "") {
        this.add("nat", "KUBE-NODEPORTS", `${bare(info.name)} ${this.protocolMatch} -d 127.0.0.0/8 ${port} `
          + `${counter}-j ${info.chains.ext}`, this.service(this.portPath("nodePort")));
      }
      this.add("nat", "KUBE-NODEPORTS", `${bare(info.name)} ${this.protocolMatch} ${port} -j ${info.chains.ext}`,
        this.service(this.portPath("nodePort")));
    }
    // Source ranges never apply here.
    if (!this.hasExternal) this.refuseExternal(`-m addrtype --dst-type LOCAL ${this.protocolMatch} ${port}`);
  }

  /** Repeats the cluster IP match, because the same chain is entered from EXT too. */
  private clusterIPMasquerade(): void {
    const { info, config, detector } = this.input;
    if (!this.hasInternal) return;
    const source = config.masqueradeAll ? "" : detector === null ? null : `${detector.ifNotLocal} `;
    if (source === null) return;
    this.add("nat", this.internalChain, `${quoted(`${info.name} cluster IP`)} ${this.destination(info.clusterIP)} `
      + `${source}-j KUBE-MARK-MASQ`, [...this.service("spec.clusterIPs"), config.masqueradeAll
      ? { where: null, object: "kube-proxy masqueradeAll", rule: "true" }
      : { where: null, object: "kube-proxy detectLocalMode", rule: config.detectLocalMode }]);
  }

  private externalChain(): void {
    const { info, detector } = this.input;
    const chain = info.chains.ext;
    const policy = this.service("spec.externalTrafficPolicy");
    this.chains.push(chain);
    const comment = (text: string): string => quoted(`${text} for ${info.name} external destinations`);
    if (!info.externalPolicyLocal) {
      this.add("nat", chain, `${comment("masquerade traffic")} -j KUBE-MARK-MASQ`, policy);
    } else {
      // Pods and the node itself reach all endpoints whatever the policy; only the node is masqueraded.
      if (detector !== null) {
        this.add("nat", chain, `${comment("pod traffic")} ${detector.ifLocal} -j ${info.chains.svc}`, policy);
      }
      this.add("nat", chain, `${comment("masquerade LOCAL traffic")} -m addrtype --src-type LOCAL `
        + "-j KUBE-MARK-MASQ", policy);
      this.add("nat", chain, `${comment("route LOCAL traffic")} -m addrtype --src-type LOCAL `
        + `-j ${info.chains.svc}`, policy);
    }
    if (this.hasExternal) this.add("nat", chain, `-j ${this.policyChain}`, policy);
  }

  /** A packet that falls out of this chain keeps its destination, and KUBE-PROXY-FIREWALL drops it. */
  private firewallChain(): void {
    const { info, nodeAddress } = this.input;
    const becauses = this.service("spec.loadBalancerSourceRanges");
    const chain = info.chains.fw;
    this.chains.push(chain);
    const comment = quoted(`${info.name} loadbalancer IP`);
    for (const range of info.sourceRanges) {
      this.add("nat", chain, `${comment} -s ${range.text} -j ${info.chains.ext}`, becauses);
    }
    // A VIP bound to the node comes back with the VIP itself as source.
    if (nodeAddress !== null && info.sourceRanges.some((range) => prefixContains(range, nodeAddress))) {
      for (const address of info.loadBalancerVIPs) {
        this.add("nat", chain, `${comment} -s ${address.text} -j ${info.chains.ext}`, becauses);
      }
    }
    this.add("nat", chain, quoted(`other traffic to ${info.name} will be dropped by KUBE-PROXY-FIREWALL`), becauses);
  }

  /** Affinity first, for every endpoint; then one choice among n, n-1, … endpoints. */
  private endpointSelection(chain: string, endpoints: readonly EndpointInfo[]): void {
    if (endpoints.length === 0) return;
    this.chains.push(chain);
    const { info, config } = this.input;
    if (info.affinitySeconds > 0) {
      for (const endpoint of endpoints) {
        const target = this.endpointChainName(endpoint);
        this.add("nat", chain, `${this.arrow(endpoint)}-m recent --name ${target} --rcheck `
          + `--seconds ${info.affinitySeconds} --reap -j ${target}`, this.service("spec.sessionAffinity"));
      }
    }
    for (let index = 0; index < endpoints.length; index++) {
      const left = endpoints.length - index;
      this.add("nat", chain, `${this.arrow(endpoints[index])}${statistic(left, config.statisticMode)}`
        + `-j ${this.endpointChainName(endpoints[index])}`, this.endpoint(endpoints[index]));
    }
  }

  private endpointChain(endpoint: EndpointInfo): void {
    const { info, largeCluster } = this.input;
    const chain = this.endpointChainName(endpoint);
    this.chains.push(chain);
    const comment = largeCluster ? "" : `${bare(info.name)} `;
    const becauses = this.endpoint(endpoint);
    // Hairpin: an endpoint that reaches itself must see an answer from the node, not from itself.
    this.add("nat", chain, `${comment}-s ${endpoint.address.text} -j KUBE-MARK-MASQ`, becauses);
    const affinity = info.affinitySeconds > 0 ? `-m recent --name ${chain} --set ` : "";
    this.add("nat", chain, `${comment}${affinity}${this.protocolMatch} -j DNAT --to-destination ${endpoint.text}`,
      becauses);
  }

  private refuseExternal(match: string): void {
    this.add("filter", "KUBE-EXTERNAL-SERVICES", `${this.refusalComment()} ${match} -j ${this.refusalTarget()}`,
      this.refusalBecauses("spec.externalTrafficPolicy"));
  }

  private refusalComment(): string {
    const { info, endpoints } = this.input;
    return quoted(`${info.name} has no ${endpoints.hasAny ? "local " : ""}endpoints`);
  }

  /** REJECT without --reject-with is an ICMP port unreachable, for TCP too. */
  private refusalTarget(): string {
    return this.input.endpoints.hasAny ? "DROP" : "REJECT";
  }

  private refusalBecauses(policy: string): readonly Because[] {
    const { info, endpoints, slices } = this.input;
    return [...this.service(endpoints.hasAny ? policy : this.portPath("")),
      ...slices.map((slice) => ({ where: slice.where, object: `${info.service.namespace}/${slice.name}`,
        rule: "EndpointSlice endpoints" }))];
  }

  private destination(address: Address): string {
    return `${this.protocolMatch} -d ${address.text} --dport ${this.input.info.port}`;
  }

  private endpointChainName(endpoint: EndpointInfo): string {
    return endpointChain(this.input.info.name, this.input.info.protocol, endpoint.text);
  }

  private arrow(endpoint: EndpointInfo): string {
    return this.input.largeCluster ? "" : `${quoted(`${this.input.info.name} -> ${endpoint.text}`)} `;
  }

  private portPath(field: string): string {
    return `spec.ports[${this.input.info.portIndex}]${field === "" ? "" : `.${field}`}`;
  }

  private service(path: string): readonly Because[] {
    const { service } = this.input.info;
    return [{ where: service.where, object: `${service.namespace}/${service.name}`, rule: `Service ${path}` }];
  }

  private endpoint({ slice, index }: EndpointInfo): readonly Because[] {
    return [{ where: slice.where, object: `${slice.namespace}/${slice.name}`,
      rule: `EndpointSlice endpoints[${index}]` }, ...this.service(this.portPath(""))];
  }

  private add(table: TableName, chain: string, text: string, becauses: readonly Because[]): void {
    this.rules.push({ table, chain, text, becauses });
  }
}

/** A match that picks one of `left`; the last endpoint needs none. Go prints the probability with `%.10f`. */
export function statistic(left: number, mode: KubeProxyConfig["statisticMode"]): string {
  if (left === 1) return "";
  return mode === "nth" ? `-m statistic --mode nth --every ${left} --packet 0 `
    : `-m statistic --mode random --probability ${probability(left)} `;
}

export function probability(n: number): string {
  return (1 / n).toFixed(10);
}

function quoted(comment: string): string {
  return `-m comment --comment "${comment}"`;
}

function bare(comment: string): string {
  return `-m comment --comment ${comment}`;
}
