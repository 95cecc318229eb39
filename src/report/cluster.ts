/** The cluster as it was read, as text: what a user checks first when a result looks odd. */
import type { Cluster } from "../cluster/cluster.js";
import { hasEnded } from "../cluster/pod-identity.js";

export function renderCluster(cluster: Cluster): string {
  const lines: string[] = [];
  for (const node of cluster.nodes) {
    const addresses = node.addresses.map((one) => one.address.text).join(" ");
    const ranges = node.podCIDRs.map((one) => one.text).join(" ");
    lines.push(`node ${node.name}  ${addresses}  pods ${ranges}  devices and routes ${node.facts.source}`);
    for (const device of node.facts.devices) {
      lines.push(`  ${String(device.index).padStart(3)} ${device.name.padEnd(12)} ${device.kind.padEnd(8)} mtu ${device.mtu}`
        + `${device.pod === null ? "" : `  ${device.pod}`}`);
    }
  }
  for (const pod of cluster.pods) {
    const ips = pod.ips.map((ip) => ip.text).join(" ");
    lines.push(`pod ${pod.namespace}/${pod.name}  ${ips}  on ${pod.nodeName}${pod.hostNetwork ? "  host network" : ""}`
      + (hasEnded(pod) ? `  ended (${pod.phase}): the address is no longer its own` : ""));
  }
  for (const service of cluster.services) {
    const ports = service.ports.map((port) => `${port.port}/${port.protocol}${port.nodePort > 0 ? `:${port.nodePort}` : ""}`).join(" ");
    const ips = service.clusterIPs.map((ip) => ip.text).join(" ");
    lines.push(`service ${service.namespace}/${service.name}  ${service.type}  ${ips}  ${ports}`);
  }
  for (const slice of cluster.endpointSlices) {
    const ready = slice.endpoints.filter((one) => one.ready).length;
    lines.push(`endpointslice ${slice.namespace}/${slice.name}  of ${slice.serviceName}  ${ready} of ${slice.endpoints.length} ready`);
  }
  for (const policy of cluster.networkPolicies) {
    const where = `${policy.where.file}:${policy.where.line}`;
    lines.push(`networkpolicy ${policy.namespace}/${policy.name}  ${policy.policyTypes.join(" ")}  (${where})`);
  }
  for (const policy of cluster.adminPolicies) {
    const where = `${policy.where.file}:${policy.where.line}`;
    lines.push(`${policy.kind.toLowerCase()} ${policy.name}  ${policy.tier} ${policy.priority}  (${where})`);
  }
  for (const policy of cluster.ciliumPolicies) {
    const name = policy.namespace === "" ? policy.name : `${policy.namespace}/${policy.name}`;
    const rules = `${policy.rules.length} rule${policy.rules.length === 1 ? "" : "s"}`;
    lines.push(`${policy.kind.toLowerCase()} ${name}  ${rules}  (${policy.where.file}:${policy.where.line})`);
  }
  for (const group of cluster.cidrGroups) lines.push(`ciliumcidrgroup ${group.name}  ${group.externalCIDRs.length} prefixes`);
  return `${lines.join("\n")}\n`;
}
