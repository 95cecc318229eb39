/**
 * `twinplane collect`: prints the commands that gather what the other commands read, as a bash script for people to look
 * through and run themselves. It touches nothing: not the cluster, not a file. Commands that it prints only read; those
 * that start something on a node (a debug pod, a capture) say so.
 */
import type { Command } from "commander";

const OBJECTS = "namespaces,nodes,pods,services,endpointslices,networkpolicies,deployments,statefulsets,daemonsets,jobs,cronjobs";
/** Kinds that not every cluster has: asked for one by one, so that one that is missing costs nothing. */
const CUSTOM = ["ciliumnetworkpolicies.cilium.io", "ciliumclusterwidenetworkpolicies.cilium.io", "ciliumcidrgroups.cilium.io",
  "ciliumnodes.cilium.io", "ciliumegressgatewaypolicies.cilium.io", "ciliumlocalredirectpolicies.cilium.io",
  "adminnetworkpolicies.policy.networking.k8s.io", "baselineadminnetworkpolicies.policy.networking.k8s.io",
  "clusternetworkpolicies.policy.networking.k8s.io", "networkpolicies.crd.projectcalico.org",
  "globalnetworkpolicies.crd.projectcalico.org"];

export function collectCommand(program: Command, exit: (code: number) => void): void {
  program.command("collect").description("print the read-only commands that gather what compare and check need; runs nothing")
    .option("--seconds <number>", "how long the captures it prints run", "60")
    .addHelpText("after", `
Examples:
  twinplane collect > collect.sh        # read it, then run it: bash collect.sh
  twinplane compare -f collected -r collected`)
    .action(({ seconds }: { seconds: string }) => {
      if (!/^[1-9]\d{0,5}$/.test(seconds)) {
        process.stderr.write(`twinplane: --seconds is a whole number from 1 to 999999, not '${seconds}'\n`);
        exit(2);
        return;
      }
      process.stdout.write(collectScript(Number(seconds)));
      exit(0);
    });
}

export function collectScript(seconds: number): string {
  return `#!/usr/bin/env bash
# What twinplane reads, gathered from a cluster. Every command reads only. Look through it before you run it.
#
# CONTAINS SECRETS: pods and workloads have environment variables, captures have payloads, ConfigMaps may have anything.
# Keep the folder as you would keep those. twinplane reads neither environment variables nor Secrets' data, and prints
# no payload; no command here asks for Secrets.
set -u
out=collected; mkdir -p "$out"

# 1. Objects (contains secrets: environment variables of pods). Without the workloads if pods are there: fine too.
kubectl get ${OBJECTS} -A -o json > "$out/objects.json"
for kind in ${CUSTOM.join(" \\\n  ")}; do
  kubectl get "$kind" -A -o json > "$out/$kind.json" 2>/dev/null || rm -f "$out/$kind.json"
done

# 2. Settings of kube-proxy, ip-masq-agent, Azure NPM and Cilium (ConfigMaps of kube-system; may contain secrets).
kubectl get configmaps -n kube-system -o json > "$out/kube-system.configmaps.json"

# 3. Each node: devices, routes, sysctls, rules, sets, connections. A debug pod on the node runs the commands and stays,
#    completed, until you delete it (kubectl delete pod); its image needs iproute2, iptables, ipset and conntrack.
image=\${TWINPLANE_DEBUG_IMAGE:-nicolaka/netshoot}
on_node() { kubectl debug "node/$1" -q --profile=sysadmin --image="$image" --attach -- sh -c "$2" 2>/dev/null; }
for node in $(kubectl get nodes -o jsonpath='{.items[*].metadata.name}'); do
  on_node "$node" 'ip -j -d link' > "$out/$node.link.json"
  on_node "$node" 'ip -j addr' > "$out/$node.addr.json"
  on_node "$node" 'ip -j route show table all' > "$out/$node.route.json"
  on_node "$node" 'ip -j -6 route show table all' > "$out/$node.route6.json"
  on_node "$node" 'sysctl -a' > "$out/$node.sysctl"
  on_node "$node" 'iptables-save' > "$out/$node.iptables"
  on_node "$node" 'ip6tables-save' > "$out/$node.ip6tables"
  on_node "$node" 'ipset save' > "$out/$node.ipset"
  on_node "$node" 'conntrack -L -o extended' > "$out/$node.conntrack"
done

# 4. Traffic: one of these. All contain payloads of your traffic (secrets).
#    a) tcpdump on each node, ${seconds} seconds, headers only (-s 128), one after another; run it in parallel for one moment of all.
for node in $(kubectl get nodes -o jsonpath='{.items[*].metadata.name}'); do
  on_node "$node" 'timeout ${seconds} tcpdump -i any -y LINUX_SLL2 -s 128 -U -w - 2>/dev/null' > "$out/$node.pcap"
done
#    b) Retina, all nodes at once, into archives that -r reads as they are:
# kubectl retina capture create --name twinplane --namespace default --duration ${seconds}s --node-selectors kubernetes.io/os=linux \\
#   --host-path /var/retina && kubectl cp … "$out"
#    c) flows of Hubble, where Cilium or Retina runs (no payloads; for --input-file):
# hubble observe -o jsonpb --last 100000 > "$out/flows.jsonl"

# 5. Where Cilium runs already, in place of 1 and 2 (contains secrets: logs and agents' dumps):
# cilium sysdump --output-filename "$out/cilium-sysdump"

echo "twinplane compare -f $out -r $out"
`;
}
