/**
 * `twinplane collect`: prints the commands that gather what the other commands read, as a bash script for people to look
 * through and run themselves. It touches nothing: not the cluster, not a file. Commands that it prints only read; those
 * that start something on a node (a debug pod, a capture) say so.
 */
import type { Command } from "commander";

const OBJECTS = "namespaces,nodes,pods,services,endpointslices,networkpolicies,deployments,statefulsets,daemonsets,jobs,cronjobs";
/** Kinds that not every cluster has: asked for one by one, and one that the API server does not know is passed over. */
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
errors=$(mktemp); trap 'rm -f "$errors"' EXIT
unread=0

# What cannot be read (RBAC, a lost connection) is said here, and in a file that twinplane reads: that there is none of a kind,
# and that nobody may list it, are two things. FILE, then what kubectl get takes.
get() {
  local file=$1; shift
  rm -f "$out/$file.not-read.json"
  kubectl get "$@" -o json > "$out/$file.json" 2> "$errors" && return
  [ -s "$out/$file.json" ] || rm -f "$out/$file.json"
  [ "$file" = "$1" ] && grep -q "the server doesn't have a resource type" "$errors" && return
  cat "$errors" >&2
  printf '{"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "%s: %s"}\\n' "$file" \\
    "$(tr '\\n"\\\\' " ''" < "$errors" | tr -cd '[:print:]' | cut -c 1-2000)" > "$out/$file.not-read.json"
  unread=$((unread + 1))
}

# 1. Objects (contains secrets: environment variables of pods). Without the workloads if pods are there: fine too.
get objects ${OBJECTS} -A
for kind in ${CUSTOM.join(" \\\n  ")}; do
  get "$kind" "$kind" -A
done

# 2. Settings of kube-proxy, ip-masq-agent, Azure NPM and Cilium (ConfigMaps of kube-system; may contain secrets).
get kube-system.configmaps configmaps -n kube-system

# 3. Each node: devices, routes, sysctls, rules, sets, connections. A debug pod on the node runs the commands and stays,
#    completed, until you delete it (kubectl delete pod); its image needs iproute2, iptables, ipset and conntrack.
image=\${TWINPLANE_DEBUG_IMAGE:-nicolaka/netshoot}
#    What fails there is said, and leaves no empty file behind. NODE, FILE, COMMAND.
on_node() {
  kubectl debug "node/$1" -q --profile=sysadmin --image="$image" --attach -- sh -c "$3" > "$out/$2" 2> "$errors" \\
    && { [ -s "$out/$2" ] || [ ! -s "$errors" ]; } && return
  { echo "$1: $3:"; cat "$errors"; } >&2
  [ -s "$out/$2" ] || rm -f "$out/$2"
  unread=$((unread + 1))
}
nodes=$(kubectl get nodes -o jsonpath='{.items[*].metadata.name}') || unread=$((unread + 1))
for node in $nodes; do
  on_node "$node" "$node.link.json" 'ip -j -d link'
  on_node "$node" "$node.addr.json" 'ip -j addr'
  on_node "$node" "$node.route.json" 'ip -j route show table all'
  on_node "$node" "$node.route6.json" 'ip -j -6 route show table all'
  on_node "$node" "$node.sysctl" 'sysctl -a'
  on_node "$node" "$node.iptables" 'iptables-save'
  on_node "$node" "$node.ip6tables" 'ip6tables-save'
  on_node "$node" "$node.ipset" 'ipset save'
  on_node "$node" "$node.conntrack" 'conntrack -L -o extended'
done

# 4. Traffic: one of these. All contain payloads of your traffic (secrets).
#    a) tcpdump on each node, ${seconds} seconds, headers only (-s 128), one after another; run it in parallel for one moment of all.
for node in $nodes; do
  on_node "$node" "$node.pcap" 'timeout ${seconds} tcpdump -i any -y LINUX_SLL2 -s 128 -U -w - || true'
done
#    b) Retina, all nodes at once, into archives that -r reads as they are:
# kubectl retina capture create --name twinplane --namespace default --duration ${seconds}s --node-selectors kubernetes.io/os=linux \\
#   --host-path /var/retina && kubectl cp … "$out"
#    c) flows of Hubble, where Cilium or Retina runs (no payloads; for --input-file):
# hubble observe -o jsonpb --last 100000 > "$out/flows.jsonl"

# 5. Where Cilium runs already, in place of 1 and 2 (contains secrets: logs and agents' dumps):
# cilium sysdump --output-filename "$out/cilium-sysdump"

[ "$unread" = 0 ] || echo "$unread of these could not be read, as said above: what is in $out is not all of the cluster" >&2
echo "twinplane compare -f $out -r $out"
`;
}
