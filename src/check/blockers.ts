/**
 * What the target cannot do at all for objects of this cluster, whatever traffic there is: nodes it does not run on, services
 * it does not carry, ports it does not open, policies it does not read. And what of the current side cannot be compared.
 */
import type { Cluster, ObjectMeta, OtherObject } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import type { SettingSide } from "../compare/catalogue/index.js";

export interface Blocker {
  /** Of the catalogue; empty where it has no row. */
  readonly id: string;
  readonly object: string;
  readonly where: Where;
  readonly what: string;
}

/** The default range of node ports. */
const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;

export function blockersOf(cluster: Cluster, target: SettingSide): Blocker[] {
  return [...windowsNodes(cluster), ...sctpServices(cluster, target), ...hostPorts(cluster, target), ...unreadPolicies(cluster, target)];
}

/** Rules of this mode are not known here, so nothing can be said of pairs. */
export function currentBlockers({ mode, where }: { readonly mode: string; readonly where: Where | null }): Blocker[] {
  return [{ id: "", object: "kube-proxy", where: where ?? { file: "", line: 0 },
    what: `kube-proxy's mode ${mode} is not modelled; the comparison of pairs is not run` }];
}

function windowsNodes({ nodes }: Cluster): Blocker[] {
  return nodes.filter(({ labels }) => labels["kubernetes.io/os"] === "windows")
    .map((node) => of("", node, "a Windows node: Cilium runs on Linux alone; its pods need another dataplane"));
}

function sctpServices({ services }: Cluster, { options }: SettingSide): Blocker[] {
  return services.flatMap((service) => service.ports.filter(({ protocol }) => protocol === "SCTP").flatMap((port): Blocker[] => {
    if (options["enable-sctp"] !== true) {
      return [of("PROTO-SCTP", service, `port ${port.port} is SCTP, which the target drops: enable-sctp is off`)];
    }
    const whys = [port.targetPort === port.port ? ""
      : `its targetPort ${port.targetPort} is another, and Cilium does not rewrite ports of SCTP`,
      port.nodePort > 0 ? "Cilium has no node ports of SCTP" : ""].filter((why) => why !== "");
    return whys.map((why) => of("PROTO-SCTP", service, `port ${port.port} is SCTP: ${why}`));
  }));
}

function hostPorts({ pods }: Cluster, { version, options }: SettingSide): Blocker[] {
  const found: Blocker[] = [];
  for (const pod of pods) {
    if (pod.hostNetwork) continue;
    const own = pod.ports.filter(({ hostPort }) => hostPort > 0);
    for (const { hostPort, hostIP, protocol } of own) {
      if (options["kube-proxy-replacement"] === false) continue;
      if (hostPort >= FIRST_NODE_PORT && hostPort <= LAST_NODE_PORT) {
        found.push(of("SVC-HOSTPORT", pod, `host port ${hostPort} lies in the range of node ports, where Cilium ignores it`));
      }
      if (hostIP.startsWith("127.") || hostIP === "::1") {
        found.push(of("SVC-HOSTPORT", pod, `host port ${hostPort} at ${hostIP}: Cilium serves no loopback address`));
      }
      if (version === "1.16" && own.some((other) => other.hostPort === hostPort && other.protocol !== protocol && protocol === "TCP")) {
        found.push(of("SVC-HOSTPORT", pod, `host port ${hostPort} for TCP and UDP at once, which Cilium 1.16 does not serve`));
      }
    }
  }
  return found;
}

/** Policies of other engines' own kinds, and those of the Network Policy API where this Cilium reads none. */
function unreadPolicies({ others, adminPolicies }: Cluster, { profile, version, options }: SettingSide): Blocker[] {
  const foreign = others.filter((one: OtherObject) => one.apiVersion.includes("projectcalico.org")
    && (one.kind === "NetworkPolicy" || one.kind === "GlobalNetworkPolicy"));
  const reads = version === "1.20" && options["enable-k8s-cluster-network-policy"] === true;
  const admin = adminPolicies.filter(({ kind }) => !(kind === "ClusterNetworkPolicy" && reads));
  return [
    ...foreign.map((one) => of("", one, `a policy of Calico's own kind (${one.apiVersion}), which ${profile} does not read;`
      + " nothing of it would be enforced")),
    ...admin.map((one) => of("", one, `${profile} does not read ${one.kind}; nothing of it would be enforced`)),
  ];
}

function of(id: string, { kind, namespace, name, where }: ObjectMeta, what: string): Blocker {
  return { id, object: `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`, where, what };
}
