/** What doubts ask of a cluster: whose an address is, what a device is, and which addresses belong to services. */
import type { Address } from "../../cluster/address.js";
import type { Cluster, Device } from "../../cluster/cluster.js";
import { type FrontendPlan, planFrontends } from "../compile/frontends.js";
import { isEndpoint } from "../compile/identity.js";
import { isGlobalService } from "../compile/service-annotations.js";
import type { CiliumOptions } from "../options.js";

const TCP = 6;

export class Surroundings {
  private readonly pods: Set<string>;
  private readonly owners = new Map<string, number>();
  private readonly devices: Map<number, Device>[];
  private elsewhere: Set<string> | null = null;
  private global: Set<string> | null = null;
  private health: Set<string> | null = null;

  /** `nodes`: names by number. */
  constructor(private readonly cluster: Cluster, private readonly nodes: readonly string[], readonly options: CiliumOptions) {
    this.pods = new Set(cluster.pods.filter(isEndpoint).flatMap((pod) => pod.ips.map((ip) => ip.text)));
    this.devices = nodes.map((name, number) => {
      const node = cluster.nodes.find((one) => one.name === name);
      const own: readonly Address[] = [...(node?.addresses ?? []).map(({ address }) => address),
        ...(node?.facts.devices ?? []).filter(({ kind }) => kind === "uplink")
          .flatMap(({ addresses }) => addresses.map(({ address }) => address))];
      for (const { text } of own) this.owners.set(text, number);
      return new Map((node?.facts.devices ?? []).map((device) => [device.index, device]));
    });
  }

  readonly kindOf = (node: number, device: number): Device["kind"] | null => this.devices[node]?.get(device)?.kind ?? null;

  /** Empty for a device of which nothing is known. */
  nameOf(node: number, device: number): string {
    return this.devices[node]?.get(device)?.name ?? "";
  }

  isPod(address: string): boolean {
    return this.pods.has(address);
  }

  /** Index of the node whose own an address is; -1: of none. */
  ownerOf(address: string): number {
    return this.owners.get(address) ?? -1;
  }

  /** A host port that a pod of this node asks for. */
  isHostPort(node: number, port: number): boolean {
    if (node < 0 || port === 0) return false;
    return this.cluster.pods.some((pod) => pod.nodeName === this.nodes[node] && pod.ports.some(({ hostPort }) => hostPort === port));
  }

  /** An address and port of a service that kube-proxy answers for beside Cilium. */
  isKubeProxys(address: string, port: number, protocol: number): boolean {
    this.elsewhere ??= this.frontendsOf(() => true);
    return this.elsewhere.has(`${address} ${port} ${protocol}`);
  }

  /** An address and port of a service that clusters of a mesh share. */
  isGlobal(address: string, port: number, protocol: number): boolean {
    this.global ??= this.frontendsOf(({ service }) => service !== null && isGlobalService(service));
    return this.global.has(`${address} ${port} ${protocol}`);
  }

  private frontendsOf(wanted: (plan: FrontendPlan) => boolean): Set<string> {
    return new Set(planFrontends(this.cluster, { ...this.options, "kube-proxy-replacement": true })
      .filter((plan) => plan.port !== 0 && plan.type !== "HostPort" && wanted(plan))
      .map((plan) => `${plan.address.text} ${plan.port} ${plan.protocol}`));
  }

  /** The health check's port at a load balancer's address (spec.healthCheckNodePort). */
  isHealthCheck(address: string, port: number, protocol: number): boolean {
    this.health ??= new Set(this.cluster.services.filter(({ type, healthCheckNodePort }) =>
      type === "LoadBalancer" && healthCheckNodePort !== 0)
      .flatMap((service) => service.loadBalancerIngress.map(({ ip }) => `${ip.text} ${service.healthCheckNodePort}`)));
    return protocol === TCP && this.health.has(`${address} ${port}`);
  }
}
